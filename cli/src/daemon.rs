//! The one place where the CLI meets the daemon's crate: to run a daemon, to prepare a home, to start one.

use crate::End;
use chinwag_api::{Check, Exit, Failure, Finding, InitReply, Kind, Overlay};
use chinwag_base::{Name, OverlayName};
use chinwag_daemon::{Founded, home};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

pub(crate) use chinwag_daemon::DaemonArgs;
pub(crate) use chinwag_daemon::command;
pub(crate) use chinwag_daemon::config::parse_invite;

/// Runs a daemon in this process until it ends, or starts one in the background.
pub(crate) fn run(args: &DaemonArgs) -> ExitCode {
    chinwag_daemon::run(args)
}

/// Makes an overlay in a data directory that no daemon uses. The name is the one that the daemon will take.
pub(crate) fn found(
    data: Option<&Path>,
    name: Option<Name>,
    overlay: OverlayName,
) -> Result<InitReply, Failure> {
    let data = data.map_or_else(home::default_dir, |dir| Ok(dir.to_owned()))?;
    let Founded { papers, id } = chinwag_daemon::found(&data, overlay)?;
    let overlay = Overlay { id: papers.overlay().into(), name: papers.name };
    Ok(InitReply { overlay, name: name.unwrap_or_else(home::default_name).to_string(), id })
}

/// Examines a data directory, and what this process may use of the machine, without a daemon.
pub(crate) fn examine(data: &Path) -> Vec<Finding> {
    let mut findings = chinwag_daemon::doctor::examine_home(data);
    findings.extend(chinwag_daemon::doctor::examine_machine());
    findings
}

/// Checks the store in a data directory on which no daemon runs.
pub(crate) fn check(data: &Path, blobs: bool) -> Result<Check, Failure> {
    chinwag_daemon::doctor::check_home(data, blobs)
}

/// The data directory of a daemon that is told of none.
pub(crate) fn default_data() -> Result<PathBuf, Failure> {
    home::default_dir()
}

/// Starts a daemon in the background that joins an overlay. What it says goes to our standard error; when this
/// returns, it runs.
pub(crate) fn start_detached(
    data: Option<&Path>,
    name: Option<&Name>,
    token: &str,
    merge: bool,
) -> Result<(), End> {
    let failed = |error: std::io::Error| {
        Failure::new(Kind::Permission, "the daemon cannot be started").because(error.to_string())
    };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    // By the environment, which other users cannot read, unlike a command line.
    command.args(["up", "--detach"]).env("CHINWAG_JOIN", token).stdin(Stdio::null()).stdout(Stdio::null());
    if merge {
        command.arg("--merge");
    }
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    if let Some(name) = name {
        command.args(["--name", name.as_str()]);
    }
    let status = command.status().map_err(failed)?;
    match status.code() {
        Some(0) => Ok(()),
        // It has told why on our standard error.
        Some(code) => Err(End::Told(u8::try_from(code).ok().and_then(Exit::from_code).unwrap_or(Exit::Bug))),
        None => Err(Failure::new(Kind::Internal, format!("the daemon ended at its start: {status}")).into()),
    }
}

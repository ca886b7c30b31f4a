use crate::daemon::{self, DaemonArgs};
use std::process::ExitCode;

/// Run a daemon
///
/// It runs until it is told to leave by TERM, Ctrl-C or `chinwag leave`; HUP makes it read its configuration again. The
/// program `chinwagd` is the same.
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
}

/// Runs a daemon in this process until it ends.
pub(crate) fn run(args: &UpArgs) -> ExitCode {
    daemon::run(&args.daemon)
}

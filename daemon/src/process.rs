//! A daemon as a process: flags, signals, the background, and the way an error is printed.
//!
//! TERM and INT leave the overlay; a second one means now. HUP reads the configuration again ([`crate::reload`]). What
//! a service manager wants to know is in [`crate::service`].

use crate::clock;
use crate::config::{Config, DaemonArgs, JoinBy, Logging};
use crate::daemon::{Daemon, Handle};
use crate::home::{Home, Papers};
use crate::log;
use crate::reload::Reload;
use crate::service;
use chinwag_api::runtime::Runtime;
use chinwag_api::{Failure, Kind};
use chinwag_base::key::printable;
use chinwag_base::{NodeId, OverlayName};
use clap::{CommandFactory, Parser};
use std::fs::OpenOptions;
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Told to the process in the background by the one that started it.
const DETACHED_ENV: &str = "CHINWAG_DETACHED";
/// How long a daemon in the background may take until it answers.
const DETACH_WITHIN: Duration = Duration::from_secs(20);

/// An overlay that was founded while no daemon ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founded {
    /// The overlay's name and id, and this node's grant.
    pub papers: Papers,
    /// This node.
    pub id: NodeId,
}

/// Founds an overlay in the home `data`, whose daemon must not be running.
///
/// # Errors
/// If a daemon runs there, an overlay is there already, or the disk refuses.
pub fn found(data: &Path, name: OverlayName) -> Result<Founded, Failure> {
    let home = Home::open(data)?;
    let papers = home.found(name, clock::wall(), clock::entropy)?;
    let id = home.keypair(clock::entropy)?.id();
    Ok(Founded { papers, id })
}

/// A member of a peer-to-peer overlay: agrees with the others on who is alive and on a shared, replicated state
#[derive(Debug, Parser)]
#[command(name = "chinwagd", version)]
struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
}

/// The command line of `chinwagd`, for its manual page.
pub fn command() -> clap::Command {
    Args::command()
}

/// All of `chinwagd`.
pub fn main() -> ExitCode {
    run(&Args::parse().daemon)
}

/// Runs a daemon until it is told to stop, or starts one in the background: all that `chinwagd` and `chinwag up` do.
pub fn run(args: &DaemonArgs) -> ExitCode {
    match try_run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print_failure(&failure);
            ExitCode::from(failure.exit().code())
        }
    }
}

fn try_run(args: &DaemonArgs) -> Result<(), Failure> {
    let (config, logging) = Config::from_args(args)?;
    if args.detach {
        return detach(&config);
    }
    if std::env::var_os(DETACHED_ENV).is_some() {
        // A session of its own, so that the terminal's end is not this process's. It fails only for a group's
        // leader, which has no terminal to lose.
        let _ = rustix::process::setsid();
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| {
            Failure::new(Kind::Permission, "the system refuses what a daemon needs to run")
                .because(e.to_string())
        })?;
    let result = runtime.block_on(serve(args, config, logging));
    // Whatever still blocks is not worth waiting for: the store is closed.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

async fn serve(args: &DaemonArgs, config: Config, logging: Logging) -> Result<(), Failure> {
    let log = log::install(&logging)?;
    let mut stop = stop_signals(args.stop_on_stdin_close)?;
    // On a terminal, HUP is the terminal's end.
    let mut hangup = listen_for(SignalKind::hangup())?;
    let is_on_terminal = std::io::stdin().is_terminal();
    let mut reload = Reload::new(args.clone(), config.clone(), logging);
    service::starting(&beginning(&config));
    let daemon = tokio::select! {
        daemon = Daemon::start(config) => daemon?,
        // Waiting for an invite can take for ever.
        _ = stop.recv() => return Ok(()),
        Some(()) = hangup.recv(), if is_on_terminal => return Ok(()),
    };
    announce(&daemon).await;
    let stopped = tokio::select! {
        stopped = daemon.stopped() => stopped,
        _ = stop.recv() => Ok(()),
        () = attend(&daemon) => Ok(()),
        () = hang_ups(&mut hangup, &mut reload, &log, &daemon, is_on_terminal) => Ok(()),
    };
    service::stopping();
    // A second signal means now.
    tokio::select! {
        () = daemon.leave() => {}
        _ = stop.recv() => {}
    }
    stopped
}

/// What a daemon does first.
fn beginning(config: &Config) -> String {
    match &config.join {
        Some(JoinBy::File(path)) => {
            format!("waiting for an invite in {}, or opening the store", path.display())
        }
        Some(JoinBy::Invite(invite)) => format!("joining {}", invite.overlay_name),
        None => "opening the store".into(),
    }
}

/// Keeps the service manager informed, for as long as it is polled.
async fn attend(daemon: &Handle) {
    if daemon.opened().await.is_err() {
        // It stops already, and says why elsewhere.
        return std::future::pending().await;
    }
    service::ready();
    service::attend(daemon).await;
}

/// Reads the configuration again at each HUP; on a terminal it returns at the first.
async fn hang_ups(
    hangup: &mut Signal,
    reload: &mut Reload,
    log: &log::Guard,
    daemon: &Handle,
    is_on_terminal: bool,
) {
    while hangup.recv().await.is_some() && !is_on_terminal {
        service::reloading();
        reload.again(log, daemon).await;
        service::ready();
    }
}

/// One line of the log at the start: whoever runs a daemon in a terminal sees that it runs, and what comes next.
async fn announce(daemon: &Handle) {
    let overlay = daemon.overlay().await.ok().flatten();
    let overlay = overlay.map_or_else(|| "none".to_owned(), |papers| papers.name.to_string());
    let next = if overlay == "none" { "chinwag init NAME, or chinwag join TOKEN" } else { "chinwag status" };
    tracing::info!(
        target: "chinwag",
        event = "daemon.started",
        name = daemon.name().as_str(),
        overlay,
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        next,
    );
}

/// A message for each reason to stop.
fn stop_signals(stdin_too: bool) -> Result<mpsc::Receiver<()>, Failure> {
    let (tell, stop) = mpsc::channel(2);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signal = listen_for(kind)?;
        let tell = tell.clone();
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                let _ = tell.try_send(());
            }
        });
    }
    if stdin_too {
        // A thread, because a read of standard input cannot be given up.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            let _ = tell.blocking_send(());
        });
    }
    Ok(stop)
}

fn listen_for(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|e| Failure::new(Kind::Internal, "cannot listen for signals").because(e.to_string()))
}

/// Starts this very command again without `--detach`, and returns once it answers.
fn detach(config: &Config) -> Result<(), Failure> {
    let failed = |what: &str, e: std::io::Error| Failure::new(Kind::Permission, what).because(e.to_string());
    // The home is made, and found free, before anything is started.
    drop(Home::open(&config.data)?);
    let path = config.data.join("chinwagd.log");
    let mut log = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| failed("cannot write the log", e))?;
    let start = log.seek(SeekFrom::End(0)).unwrap_or(0);
    let to_log = || log.try_clone().map(Stdio::from);
    let program = std::env::current_exe().map_err(|e| failed("cannot find this program", e))?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1).filter(|arg| arg != "-d" && arg != "--detach"))
        .env(DETACHED_ENV, "1")
        .stdin(Stdio::null())
        .stdout(to_log().map_err(|e| failed("cannot write the log", e))?)
        .stderr(to_log().map_err(|e| failed("cannot write the log", e))?)
        .spawn()
        .map_err(|e| failed("cannot start the daemon", e))?;

    let runtime = config.runtime_dir.as_ref().map_or_else(Runtime::of_user, Runtime::at);
    let by = Instant::now() + DETACH_WITHIN;
    while Instant::now() < by {
        if let Ok(Some(entry)) = runtime.entry_of(child.id()) {
            let mut out = std::io::stdout();
            let _ = writeln!(
                out,
                "✓ {} is running (pid {}); its log is {}",
                entry.name,
                entry.pid,
                path.display()
            );
            return Ok(());
        }
        if let Ok(Some(status)) = child.try_wait() {
            let mut said = String::new();
            let _ = log
                .seek(SeekFrom::Start(start))
                .and_then(|_| (&log).take(16 * 1024).read_to_string(&mut said));
            let failure = told_at_start(&said, status.code());
            return Err(failure);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Failure::new(Kind::Timeout, "the daemon does not answer yet")
        .because(format!("see {}", path.display())))
}

/// The error that a daemon in the background has left in its log, as if it had been told here.
fn told_at_start(said: &str, code: Option<i32>) -> Failure {
    let lines: Vec<&str> = said.lines().collect();
    let Some(at) = lines.iter().rposition(|line| line.starts_with("error: ")) else {
        let failure = Failure::new(kind_of_exit(code), "the daemon ended at its start without a word");
        return lines.last().map_or(failure.clone(), |last| failure.because(*last));
    };
    let message = lines[at].trim_start_matches("error: ");
    lines[at + 1..].iter().fold(Failure::new(kind_of_exit(code), message), |failure, line| {
        match line.trim().strip_prefix("try: ") {
            Some(hint) => failure.hint(hint),
            None => failure.because(line.trim()),
        }
    })
}

fn kind_of_exit(code: Option<i32>) -> Kind {
    match code {
        Some(2) => Kind::BadRequest,
        Some(4) => Kind::Permission,
        Some(5) => Kind::Timeout,
        _ => Kind::Internal,
    }
}

/// Prints an error as every command does: what, why, what to try.
fn print_failure(failure: &Failure) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "error: {}", printable(&failure.message));
    for why in &failure.because {
        let _ = writeln!(err, "  {}", printable(why));
    }
    if !failure.tries.is_empty() {
        let _ = writeln!(err, "  try: {}", printable(&failure.tries.join("    or: ")));
    }
}

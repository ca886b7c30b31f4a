//! One daemon of a lab, as a process.

use super::POLL;
use super::ground::Ground;
use crate::{process, text};
use chinwag_api::runtime::{Entry, RUNTIME_DIR_ENV, Runtime};
use chinwag_api::{Client, Failure, Kind};
use rustix::process::Signal;
use std::collections::VecDeque;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc;

/// How long a daemon may take to leave before it is killed.
pub(super) const END_TIMEOUT: Duration = Duration::from_secs(3);
/// Log lines that wait to be shown; what a daemon logs beyond waits in its pipe.
const LOG_LINES_MAX: usize = 4_096;
/// Settings of the user's own daemon that a lab's daemons must not take for theirs.
const NOT_INHERITED: [&str; 9] = [
    "CHINWAG_NAME",
    "CHINWAG_DATA",
    "CHINWAG_CONFIG",
    "CHINWAG_JOIN",
    "CHINWAG_INIT",
    "CHINWAG_INVITE_TO",
    "CHINWAG_OPEN",
    "CHINWAG_TAGS",
    "CHINWAG_ON_MEMBER",
];

/// A daemon.
pub(super) struct Child {
    name: String,
    process: tokio::process::Child,
    pid: u32,
    /// Held open: the daemon leaves when it ends, however we end.
    _stdin: Option<ChildStdin>,
    spawned: Instant,
    entry: Option<Entry>,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts a daemon. It returns at once.
    pub(super) fn spawn(
        ground: &Ground,
        name: &str,
        invite: Option<&Path>,
        profile: Option<&str>,
        log: mpsc::Sender<Line>,
    ) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Kind::Permission, format!("cannot start {name}")).because(error.to_string())
        };
        ground.keep_settings(name)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["up", "--stop-on-stdin-close", "--data"]);
        command.arg(ground.data(name)).env(RUNTIME_DIR_ENV, ground.runtime.path());
        if let Some(invite) = invite.filter(|_| !ground.has_papers(name)) {
            command.arg("--join").arg(format!("@{}", invite.display()));
        }
        if let Some(profile) = profile {
            command.args(["--profile", profile]);
        }
        for variable in NOT_INHERITED {
            command.env_remove(variable);
        }
        // In a group of its own, so that Ctrl-C reaches the lab alone, which then ends them in order.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(failed)?;
        if let Some(stderr) = process.stderr.take() {
            let source = name.to_owned();
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(text)) = lines.next_line().await {
                    if log.send(Line { source: source.clone(), text }).await.is_err() {
                        break;
                    }
                }
            });
        }
        let pid = process.id().unwrap_or(0);
        let stdin = process.stdin.take();
        let name = name.to_owned();
        Ok(Child { name, process, pid, _stdin: stdin, spawned: Instant::now(), entry: None, ended: None })
    }

    /// The name by which it can be asked, which has a suffix where another daemon has its name.
    pub(super) fn name(&self) -> &str {
        self.entry.as_ref().map_or(&self.name, |entry| entry.name.as_str())
    }

    /// The name that its data directory has.
    pub(super) fn label(&self) -> &str {
        &self.name
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// A client of it, once it is up.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        match &self.entry {
            Some(entry) => Ok(Client::new(&entry.socket)),
            None => Err(Failure::new(Kind::Internal, format!("{} was asked before it was up", self.name))),
        }
    }

    /// Its line in the lab's table.
    pub(super) fn line(&self, note: &str) -> String {
        let (address, id) = match &self.entry {
            Some(entry) => (text::address(&entry.addresses), entry.id.short()),
            None => (text::UNKNOWN.into(), text::UNKNOWN.into()),
        };
        format!("  {:<6} {address:<16} {id}  {note}", self.name()).trim_end().to_owned()
    }

    /// Waits until it has shown itself in the runtime directory, which it does once its socket listens.
    pub(super) async fn wait_until_up(
        &mut self,
        runtime: &Runtime,
        patience: Duration,
    ) -> Result<(), Failure> {
        let give_up = Instant::now() + patience;
        loop {
            if let Some(entry) = runtime.entry_of(self.pid)? {
                self.entry = Some(entry);
                return Ok(());
            }
            self.still_runs()?;
            if Instant::now() > give_up {
                return Err(Failure::new(Kind::Timeout, format!("{} does not answer", self.name)));
            }
            tokio::time::sleep(POLL / 2).await;
        }
    }

    /// Waits until it belongs to the overlay and knows another member. How long that took since its start.
    pub(super) async fn wait_until_joined(&mut self, patience: Duration) -> Result<Duration, Failure> {
        let give_up = Instant::now() + patience;
        let client = self.client()?;
        loop {
            let status = client.status().await?;
            if status.overlay.is_some() && status.members.alive > 1 {
                // The entry tells its addresses only once it listens.
                if let Some(entry) = &mut self.entry {
                    entry.addresses = status.addresses;
                }
                return Ok(self.spawned.elapsed());
            }
            self.still_runs()?;
            if Instant::now() > give_up {
                return Err(Failure::new(Kind::Timeout, format!("{} has not joined", self.name)));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn still_runs(&mut self) -> Result<(), Failure> {
        match self.has_ended() {
            Some(how) => Err(Failure::new(Kind::Gone, format!("{} has ended: {how}", self.name))),
            None => Ok(()),
        }
    }

    /// How it ended, told once.
    pub(super) fn has_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_some() {
            return None;
        }
        self.ended = self.process.try_wait().ok().flatten();
        self.ended
    }

    pub(super) fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    /// How it ended, if it has been waited for.
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        self.ended
    }

    /// Asks it to leave gracefully.
    pub(super) fn ask_to_end(&self) {
        if self.is_running() {
            process::signal(self.pid, Signal::TERM);
        }
    }

    /// Waits until it has ended, and kills it when it takes too long. Whether it ended by itself.
    pub(super) async fn wait_until_ended(&mut self, give_up: Instant) -> bool {
        if !self.is_running() {
            return true;
        }
        match tokio::time::timeout_at(give_up.into(), self.process.wait()).await {
            Ok(status) => {
                self.ended = status.ok();
                true
            }
            Err(_) => {
                self.kill().await;
                false
            }
        }
    }

    /// `kill -9`.
    pub(super) async fn kill(&mut self) {
        if self.is_running() {
            process::signal(self.pid, Signal::KILL);
            self.ended = self.process.wait().await.ok();
        }
    }
}

/// A line that a daemon logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) source: String,
    pub(super) text: String,
}

/// What all daemons log, in the order of arrival.
pub(super) struct Log {
    to: mpsc::Sender<Line>,
    from: mpsc::Receiver<Line>,
    kept: VecDeque<Line>,
}

impl Log {
    pub(super) fn new() -> Self {
        let (to, from) = mpsc::channel(LOG_LINES_MAX);
        Log { to, from, kept: VecDeque::new() }
    }

    pub(super) fn writer(&self) -> mpsc::Sender<Line> {
        self.to.clone()
    }

    /// The next line. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Line {
        match self.from.recv().await {
            Some(line) => line,
            // Never, because we hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// Keeps what has arrived, so that no daemon waits for its log to be read.
    pub(super) fn collect(&mut self) {
        while let Ok(line) = self.from.try_recv() {
            self.kept.push_back(line);
            if self.kept.len() > LOG_LINES_MAX {
                self.kept.pop_front();
            }
        }
    }

    /// The last lines that were kept.
    pub(super) fn last(&self, n: usize) -> impl Iterator<Item = &Line> {
        self.kept.iter().skip(self.kept.len().saturating_sub(n))
    }
}

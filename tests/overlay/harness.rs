//! A piece of the machine for each test, commands as processes, and patience.

pub(crate) use crate::daemon::{Daemon, Row};
use chinwag_api::runtime::Runtime;
use chinwag_api::{Bytes, Content, WriteOp};
use chinwag_base::key::is_unprintable;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a condition may take to come true. Far above what is usual, because the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Where daemons listen, unless a test is about that.
const LOOPBACK: &str = "127.0.0.1:0";

/// Waits until `look` says yes, and panics with its last no.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually_within(PATIENCE, what, look).await
}

/// The same, with a patience of its own.
pub(crate) async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(yes) => return yes,
            Err(no) if begun.elapsed() > patience => panic!("not within {patience:?}: {what}: {no}"),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Yes, or why not.
pub(crate) fn so(yes: bool, why_not: impl FnOnce() -> String) -> Result<(), String> {
    if yes { Ok(()) } else { Err(why_not()) }
}

/// One test's own piece of the machine.
#[derive(Debug)]
pub(crate) struct Ground {
    dir: TempDir,
    runtime: PathBuf,
}

/// What a command told before it ended.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Told {
    /// The same, if it ended with this code and printed nothing that steers a terminal.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "the exit code of {self:#?}");
        let steers = |c: char| c != '\n' && c != '\t' && is_unprintable(c);
        assert!(!self.out.contains(steers) && !self.err.contains(steers), "raw control characters: {self:?}");
        assert!(!self.err.contains("panicked") && !self.err.contains("backtrace"), "{self:#?}");
        self
    }

    /// The same, if its standard error has this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "{text:?} is missing from {self:#?}");
        self
    }

    /// Standard output as one JSON object.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e} in {self:#?}"))
    }
}

impl Ground {
    pub(crate) fn new() -> Self {
        // A short path, because sockets are in it.
        let dir = tempfile::Builder::new().prefix("cw-").tempdir_in("/tmp").unwrap();
        let runtime = dir.path().join("run");
        Runtime::at(&runtime).create().unwrap();
        Ground { dir, runtime }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// The data directory of the daemon of this name.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.path()).env("CHINWAG_RUNTIME_DIR", &self.runtime);
        command.env("TZ", "UTC").env("RUST_BACKTRACE", "0").current_dir(self.path());
        command
    }

    pub(crate) fn chinwag(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_chinwag"))
    }

    fn chinwagd(&self, name: &str) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_chinwagd"));
        command.env("CHINWAG_DATA", self.data(name)).args(["--name", name, "--stop-on-stdin-close"]);
        command
    }

    /// Runs `chinwag` with these arguments to its end.
    pub(crate) async fn cli<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Told {
        let mut command = self.chinwag();
        command.args(args);
        finish(command).await
    }

    /// Runs `chinwag` with the words of `line`.
    pub(crate) async fn type_in(&self, line: &str) -> Told {
        self.cli(line.split_whitespace()).await
    }

    /// Runs a daemon that is expected to end by itself.
    pub(crate) async fn chinwagd_ends(&self, name: &str, flags: &[&str]) -> Told {
        let mut command = self.chinwagd(name);
        command.args(flags);
        finish(command).await
    }

    /// The same, with no flag but its home: its name is to come from elsewhere.
    pub(crate) async fn chinwagd_ends_unnamed(&self, home: &str) -> Told {
        let mut command = self.command(env!("CARGO_BIN_EXE_chinwagd"));
        command.arg("--data").arg(self.data(home)).arg("--stop-on-stdin-close");
        finish(command).await
    }

    /// Makes an overlay in the home of `name`, whose daemon does not run.
    pub(crate) async fn found(&self, name: &str, overlay: &str) {
        let data = self.data(name);
        self.cli([OsStr::new("init"), overlay.as_ref(), "--data".as_ref(), data.as_os_str()]).await.exits(0);
    }

    /// Starts a daemon that listens on loopback, and waits until it answers.
    pub(crate) async fn start(&self, name: &str) -> Daemon {
        self.start_with(name, &["--listen", LOOPBACK], &[]).await
    }

    /// Starts a daemon that may refuse to.
    pub(crate) async fn try_start(&self, name: &str) -> Result<Daemon, Told> {
        // A refusal is quick and changes nothing, so it is asked for its words by a start of its own.
        let mut daemon = self.spawn(name, &["--listen", LOOPBACK], &[]);
        match daemon.answers().await {
            Ok(()) => Ok(daemon),
            Err(_) => Err(self.chinwagd_ends(name, &[]).await),
        }
    }

    /// Starts a daemon: with `flags` whenever it starts, with `once` only now.
    pub(crate) async fn start_with(&self, name: &str, flags: &[&str], once: &[&str]) -> Daemon {
        let mut daemon = self.spawn(name, flags, once);
        daemon.must_answer().await;
        daemon
    }

    /// Starts a daemon through another program, such as `ip netns exec NAME`, that becomes the daemon.
    pub(crate) async fn start_under(
        &self,
        program: &[&str],
        name: &str,
        flags: &[&str],
        once: &[&str],
    ) -> Daemon {
        let daemon = self.chinwagd(name);
        let mut command = self.command(program[0]);
        command.args(&program[1..]).arg(daemon.get_program()).args(daemon.get_args());
        command.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut daemon = self.spawn_command(command, name, flags, once);
        daemon.must_answer().await;
        daemon
    }

    /// Starts a daemon and does not wait for it.
    pub(crate) fn spawn(&self, name: &str, flags: &[&str], once: &[&str]) -> Daemon {
        self.spawn_command(self.chinwagd(name), name, flags, once)
    }

    fn spawn_command(&self, mut command: Command, name: &str, flags: &[&str], once: &[&str]) -> Daemon {
        command.args(["--log-format", "json", "--log", "warn,chinwag=debug"]).args(flags);
        Daemon::spawn(self, name, command, once)
    }

    /// An overlay of daemons with these names. The first founds it; all agree when this returns.
    pub(crate) async fn overlay<const N: usize>(&self, names: [&str; N]) -> [Daemon; N] {
        self.overlay_with(names, &["--listen", LOOPBACK]).await
    }

    /// The same, with flags of their own.
    pub(crate) async fn overlay_with<const N: usize>(&self, names: [&str; N], flags: &[&str]) -> [Daemon; N] {
        self.found(names[0], "home").await;
        let mut daemons = vec![self.start_with(names[0], flags, &[]).await];
        for name in &names[1..] {
            let token = daemons[0].invite().await;
            daemons.push(self.start_with(name, flags, &["--join", &token]).await);
        }
        agree(&daemons.iter().collect::<Vec<_>>()).await;
        daemons.try_into().unwrap()
    }
}

async fn finish(mut command: Command) -> Told {
    let begun = Instant::now();
    command.stdin(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    // Held open, because a daemon leaves when it closes.
    let stdin = child.stdin.take();
    let output = tokio::time::timeout(2 * PATIENCE, child.wait_with_output());
    let output = output.await.unwrap_or_else(|_| panic!("it does not end: {command:?}")).unwrap();
    drop(stdin);
    Told {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: begun.elapsed(),
    }
}

/// Waits until all of them see all of them alive and hold the same state. Returns its digest.
pub(crate) async fn agree(daemons: &[&Daemon]) -> String {
    eventually("all agree", async || {
        let mut digests = Vec::new();
        for daemon in daemons {
            let status = daemon.client.status().await.map_err(|e| format!("{}: {e}", daemon.name))?;
            let alive = status.members.alive;
            so(alive as usize == daemons.len() && status.members.suspect == 0, || {
                format!("{} sees {:?}", daemon.name, status.members)
            })?;
            digests.push(status.digest.to_string());
        }
        so(digests.iter().all(|digest| *digest == digests[0]), || format!("{digests:?}"))?;
        Ok(digests.swap_remove(0))
    })
    .await
}

pub(crate) fn set(key: impl Into<String>, value: &str) -> WriteOp {
    WriteOp::Set { key: key.into(), value: value.into() }
}

pub(crate) fn del(key: impl Into<String>) -> WriteOp {
    WriteOp::Del { key: key.into(), kind: None }
}

pub(crate) fn incr(key: impl Into<String>, by: i64) -> WriteOp {
    WriteOp::Incr { key: key.into(), by }
}

pub(crate) fn add(key: impl Into<String>, elements: &[&str]) -> WriteOp {
    WriteOp::Add { key: key.into(), elements: elements.iter().map(|e| Bytes::from(*e)).collect() }
}

pub(crate) fn rm(key: impl Into<String>, elements: &[&str]) -> WriteOp {
    WriteOp::Rm { key: key.into(), elements: elements.iter().map(|e| Bytes::from(*e)).collect() }
}

/// A register with this value and no siblings to show.
pub(crate) fn register(value: &str) -> Content {
    Content::Register { value: value.into(), siblings: Vec::new() }
}

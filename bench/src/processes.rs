//! Real daemons, as processes: the binaries that people run.

use anyhow::{Context as _, Result, bail, ensure};
use chinwag_api::Client;
use chinwag_api::runtime::{RUNTIME_DIR_ENV, Runtime};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// Where `cargo build --release` in the repository puts them, seen from here.
const BUILT: &str = "../target/release";
/// How long a daemon may take to answer, and all of them to meet.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one may take to leave before it is killed.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// How often we look.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Names, as many as daemons are ever needed here.
const NAMES: [&str; 5] = ["alpha", "beta", "gamma", "delta", "epsilon"];

/// The two programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    chinwag: PathBuf,
    chinwagd: PathBuf,
}

impl Binaries {
    /// In `dir`, or where the repository's release build is.
    ///
    /// # Errors
    /// If they are not there.
    pub fn find(dir: Option<&Path>) -> Result<Self> {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join(BUILT);
        let dir = dir.unwrap_or(&built);
        let find = |name: &str| {
            let path = dir.join(name);
            let help = "try: cargo build --release (in the repository), or --bin-dir DIR";
            path.canonicalize().with_context(|| format!("there is no {}; {help}", path.display()))
        };
        Ok(Binaries { chinwag: find("chinwag")?, chinwagd: find("chinwagd")? })
    }

    /// The daemon's program.
    pub fn chinwagd(&self) -> Command {
        Command::new(&self.chinwagd)
    }

    /// How long ago they were built: whoever measures an old build should see it.
    pub fn age(&self) -> Option<Duration> {
        let modified = self.chinwagd.metadata().and_then(|of| of.modified()).ok()?;
        SystemTime::now().duration_since(modified).ok()
    }
}

/// An overlay of real daemons on loopback, which ends with this value.
#[derive(Debug)]
pub struct Lab {
    binaries: Binaries,
    daemons: Vec<Running>,
    /// Goes last.
    dir: TempDir,
}

/// A daemon.
#[derive(Debug)]
pub struct Running {
    /// Its name.
    pub name: &'static str,
    /// Its API.
    pub client: Client,
    child: Child,
}

impl Running {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Lab {
    /// Starts `count` daemons with their usual settings, quietly logging, and waits until all see all.
    ///
    /// # Errors
    /// If one does not start, or they do not meet.
    pub async fn start(binaries: Binaries, count: usize) -> Result<Self> {
        ensure!((1..=NAMES.len()).contains(&count), "1 to {} daemons", NAMES.len());
        // A short path, because sockets are in it.
        let dir = tempfile::Builder::new().prefix("cw-bench-").tempdir_in("/tmp");
        let dir = dir.context("cannot make a directory in /tmp")?;
        let runtime = Runtime::at(dir.path().join("run"));
        runtime.create()?;
        let mut lab = Lab { binaries, daemons: Vec::new(), dir };
        lab.found()?;
        for name in &NAMES[..count] {
            let invite = match lab.daemons.first() {
                Some(first) => Some(first.client.invite(&Default::default()).await?.token),
                None => None,
            };
            let child = lab.spawn(name, invite.as_deref())?;
            let client = Client::new("/");
            lab.daemons.push(Running { name, client, child });
            lab.await_last(&runtime).await?;
        }
        lab.meet().await?;
        Ok(lab)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.dir.path()).env(RUNTIME_DIR_ENV, self.dir.path().join("run"));
        command.current_dir(self.dir.path());
        command
    }

    fn found(&self) -> Result<()> {
        let mut command = self.chinwag();
        command.args(["init", "bench", "--data"]).arg(self.dir.path().join(NAMES[0]));
        let output = command.output().context("cannot run chinwag init")?;
        ensure!(output.status.success(), "chinwag init: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    fn spawn(&self, name: &str, invite: Option<&str>) -> Result<Child> {
        let mut command = self.command(&self.binaries.chinwagd);
        command.args(["--name", name, "--listen", "127.0.0.1:0", "--log", "error", "--stop-on-stdin-close"]);
        command.arg("--data").arg(self.dir.path().join(name));
        if let Some(invite) = invite {
            command.args(["--join", invite]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.spawn().with_context(|| format!("cannot start {name}"))
    }

    async fn await_last(&mut self, runtime: &Runtime) -> Result<()> {
        let Some(daemon) = self.daemons.last_mut() else { return Ok(()) };
        let begun = Instant::now();
        loop {
            if let Some(entry) = runtime.entry_of(daemon.pid())? {
                daemon.client = Client::new(entry.socket);
                return Ok(());
            }
            if let Some(status) = daemon.child.try_wait()? {
                bail!("{} ended at once: {status}", daemon.name);
            }
            ensure!(begun.elapsed() < PATIENCE, "{} does not answer", daemon.name);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn meet(&self) -> Result<()> {
        let (begun, all) = (Instant::now(), self.daemons.len() as u64);
        for daemon in &self.daemons {
            while daemon.client.status().await?.members.alive != all {
                ensure!(begun.elapsed() < PATIENCE, "{} does not see all", daemon.name);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// The daemons.
    pub fn daemons(&self) -> &[Running] {
        &self.daemons
    }

    /// The CLI, as a user of this lab has it.
    pub fn chinwag(&self) -> Command {
        self.command(&self.binaries.chinwag)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Each leaves when its standard input closes.
        for daemon in &mut self.daemons {
            drop(daemon.child.stdin.take());
        }
        let begun = Instant::now();
        for daemon in &mut self.daemons {
            while matches!(daemon.child.try_wait(), Ok(None)) && begun.elapsed() < LEAVE_WITHIN {
                std::thread::sleep(LOOK_EVERY);
            }
            // Both fail only if it has ended, as it should have.
            let _ = daemon.child.kill();
            let _ = daemon.child.wait();
        }
    }
}

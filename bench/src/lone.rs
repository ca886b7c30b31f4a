//! One real daemon, as a process: alone in its overlay, with its data where we want it, and started again where it was.

use crate::http::{Connections, Endpoint};
use crate::processes::Binaries;
use anyhow::{Context as _, Result, bail, ensure};
use chinwag_api::runtime::{RUNTIME_DIR_ENV, Runtime};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often we look.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The daemon. It ends, killed, with this value.
#[derive(Debug)]
pub struct Lone {
    binaries: Binaries,
    data: PathBuf,
    flags: Vec<String>,
    child: Child,
    runtime: Runtime,
    /// Goes last.
    sockets: TempDir,
}

impl Lone {
    /// Starts one with its data in `data` and these flags besides, and does not wait for it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(binaries: &Binaries, data: &Path, flags: &[String]) -> Result<Self> {
        // A short path of its own, because a socket is in it.
        let sockets = tempfile::Builder::new().prefix("cw-bench-").tempdir_in("/tmp");
        let sockets = sockets.context("cannot make a directory in /tmp")?;
        let runtime = Runtime::at(sockets.path().join("run"));
        runtime.create()?;
        let child = spawn(binaries, data, flags, &sockets)?;
        let (binaries, data, flags) = (binaries.clone(), data.to_owned(), flags.to_vec());
        Ok(Lone { binaries, data, flags, child, runtime, sockets })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Waits until its socket is there, and says what leads to it.
    ///
    /// # Errors
    /// If it ends, or takes too long.
    pub async fn connections(&mut self) -> Result<Connections> {
        let begun = Instant::now();
        loop {
            if let Some(entry) = self.runtime.entry_of(self.pid())? {
                return Ok(Connections::to(Endpoint::Unix(entry.socket)));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended at once: {status}");
            }
            ensure!(begun.elapsed() < PATIENCE, "the daemon does not answer");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Kills it with `SIGKILL`, and waits until it is gone.
    pub fn kill_9(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, and does not wait for it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        self.kill_9();
        self.child = spawn(&self.binaries, &self.data, &self.flags, &self.sockets)?;
        Ok(())
    }
}

impl Drop for Lone {
    fn drop(&mut self) {
        self.kill_9();
    }
}

fn spawn(binaries: &Binaries, data: &Path, flags: &[String], sockets: &TempDir) -> Result<Child> {
    let mut command = binaries.chinwagd();
    command.env_clear().env("HOME", sockets.path()).env(RUNTIME_DIR_ENV, sockets.path().join("run"));
    command.args(["--name", "lone", "--init", "bench", "--listen", "127.0.0.1:0", "--no-mdns"]);
    command.args(["--log", "error", "--stop-on-stdin-close", "--data"]).arg(data).args(flags);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().context("cannot start chinwagd")
}

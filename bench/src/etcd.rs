//! etcd, as a process: one server, asked over its HTTP/JSON gateway.

use crate::http::{Connections, Endpoint};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Debian's package `etcd-server` has it.
const PROGRAM: &str = "etcd";
/// Why there are no figures of it where it is not.
pub const NOT_INSTALLED: &str = "it is not installed; try: apt-get install etcd-server";
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often we look.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Room for all that we write, history included; the default of 2 GiB is for less.
const QUOTA_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Operations in one request, as many as etcd takes by default.
pub const OPS_MAX: usize = 128;

/// The server. It ends, killed, with this value.
#[derive(Debug)]
pub struct Etcd {
    data: PathBuf,
    clients: SocketAddr,
    peers: SocketAddr,
    child: Child,
}

/// Whether there is one on this machine.
pub fn is_installed() -> bool {
    let version = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// What it is, as it says itself.
pub fn version() -> Option<String> {
    let output = Command::new(PROGRAM).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next()?.rsplit_once(' ')?.1.to_owned())
}

impl Etcd {
    /// Starts one with its data in `data`, and does not wait for it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(data: &Path) -> Result<Self> {
        let held = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [clients, peers] = [held[0].local_addr()?, held[1].local_addr()?];
        drop(held);
        let child = spawn(data, clients, peers)?;
        Ok(Etcd { data: data.to_owned(), clients, peers, child })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What leads to it.
    pub fn connections(&self) -> Connections {
        Connections::to(Endpoint::Tcp(self.clients))
    }

    /// Waits until it can be written to.
    ///
    /// # Errors
    /// If that takes too long.
    pub async fn ready(&mut self) -> Result<()> {
        let (begun, connections) = (Instant::now(), self.connections());
        while put(&connections, "bench-ready", b"").await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("etcd ended at once: {status}");
            }
            ensure!(begun.elapsed() < PATIENCE, "etcd does not answer");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
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
        self.child = spawn(&self.data, self.clients, self.peers)?;
        Ok(())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill_9();
    }
}

fn spawn(data: &Path, clients: SocketAddr, peers: SocketAddr) -> Result<Child> {
    let (clients, peers) = (format!("http://{clients}"), format!("http://{peers}"));
    let mut command = Command::new(PROGRAM);
    command.args(["--name", "bench", "--log-level", "error", "--logger", "zap", "--data-dir"]).arg(data);
    command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("bench={peers}")]);
    command.args(["--quota-backend-bytes", &QUOTA_BYTES.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context(NOT_INSTALLED)
}

fn put_request(key: &str, value: &[u8]) -> Value {
    json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) })
}

/// Writes one key, durably.
///
/// # Errors
/// If it refuses.
pub async fn put(connections: &Connections, key: &str, value: &[u8]) -> Result<()> {
    let request = put_request(key, value).to_string();
    connections.post("/v3/kv/put", request.into_bytes()).await.map(drop)
}

/// Writes at most [`OPS_MAX`] keys in one transaction.
///
/// # Errors
/// If it refuses.
pub async fn put_all(connections: &Connections, rows: &[(String, Vec<u8>)]) -> Result<()> {
    let puts = rows.iter().map(|(key, value)| json!({ "requestPut": put_request(key, value) }));
    let request = json!({ "success": puts.collect::<Vec<_>>() }).to_string();
    connections.post("/v3/kv/txn", request.into_bytes()).await.map(drop)
}

/// What a key holds.
///
/// # Errors
/// If it does not answer, or has no such key.
pub async fn get(connections: &Connections, key: &str) -> Result<Vec<u8>> {
    let request = json!({ "key": STANDARD.encode(key) }).to_string();
    let answer = connections.post("/v3/kv/range", request.into_bytes()).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let value = answer["kvs"][0]["value"].as_str().with_context(|| format!("etcd has no {key}"))?;
    Ok(STANDARD.decode(value)?)
}

/// Who its members are: it must have none but itself.
///
/// # Errors
/// If it does not answer.
pub async fn members(connections: &Connections) -> Result<()> {
    let answer = connections.post("/v3/cluster/member/list", b"{}".to_vec()).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    ensure!(answer["members"].as_array().is_some_and(|all| all.len() == 1), "{answer}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_is_there_after_kill_9() {
        if !is_installed() {
            // Nothing can be said of it here.
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut etcd = Etcd::start(&dir.path().join("etcd")).unwrap();
        etcd.ready().await.unwrap();
        let rows = [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())];
        put_all(&etcd.connections(), &rows).await.unwrap();
        etcd.start_again().unwrap();
        etcd.ready().await.unwrap();
        let connections = etcd.connections();
        members(&connections).await.unwrap();
        assert_eq!(get(&connections, "b").await.unwrap(), b"2");
        assert!(get(&connections, "c").await.is_err());
        assert!(version().is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())));
    }
}

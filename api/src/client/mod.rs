//! The client of the API: HTTP/1.1 over a daemon's Unix socket, one connection a request.
//!
//! Every error is a [`Failure`]: the daemon's own words where it answered, else what was tried and why it failed.
//! Whatever a daemon sends is bounded before it is parsed.

mod dht;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod file;
mod request;
pub mod sse;
mod store;
mod stream;

pub use stream::{Events, Heard, Stream, Watch};

use crate::cell::{Cell, CellQuery, Cells, CellsQuery, Keys, KeysQuery};
use crate::doctor::Doctor;
use crate::explain::Explained;
use crate::failure::{Failure, Kind};
use crate::member::Members;
use crate::overlay::{
    InitReply, InitRequest, InviteReply, InviteRequest, JoinReply, JoinRequest, LeaveReply,
};
use crate::paths;
use crate::reach::Reach;
use crate::status::{Status, Version};
use crate::write::{WriteReply, WriteRequest};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of one reply. The largest is a set of 10,000 elements of 4 KiB, in base64.
pub const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an answer may take that waits for nothing: a daemon that is only slow answers well within it.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How much longer than the daemon was asked to wait we wait for the daemon.
const GRACE: Duration = Duration::from_secs(5);

/// A client of one daemon. It holds no connection and costs nothing to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    /// A client of the daemon that listens on this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Client { socket: socket.into(), timeout: ANSWER_TIMEOUT }
    }

    /// With another time limit for answers that wait for nothing.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What the daemon is.
    ///
    /// # Errors
    /// The daemon's, or why it could not be asked.
    pub async fn version(&self) -> Result<Version, Failure> {
        self.get(paths::VERSION, self.timeout).await
    }

    /// How the daemon is.
    ///
    /// # Errors
    /// The daemon's, or why it could not be asked.
    pub async fn status(&self) -> Result<Status, Failure> {
        self.get(paths::STATUS, self.timeout).await
    }

    /// What it finds when it examines itself.
    ///
    /// # Errors
    /// The daemon's, or why it could not be asked.
    pub async fn doctor(&self) -> Result<Doctor, Failure> {
        self.get(paths::DOCTOR, self.timeout).await
    }

    /// Who is alive.
    ///
    /// # Errors
    /// The daemon's, or why it could not be asked.
    pub async fn members(&self) -> Result<Members, Failure> {
        self.get(paths::MEMBERS, self.timeout).await
    }

    /// Why a member, by its name or id, is held for what it is.
    ///
    /// # Errors
    /// `no_such_member`, or why the daemon could not be asked.
    pub async fn explain(&self, member: &str) -> Result<Explained, Failure> {
        self.get(&format!("{}/{}", paths::EXPLAIN, paths::escape(member)), self.timeout).await
    }

    /// Calls all members, and tells who answers and who cannot reach whom.
    ///
    /// # Errors
    /// `busy`, or why the daemon could not be asked.
    pub async fn reach(&self) -> Result<Reach, Failure> {
        self.get(paths::REACH, self.timeout).await
    }

    /// What a key holds.
    ///
    /// # Errors
    /// `no_such_key`, `timeout` where `after` was waited for in vain, or why the daemon could not be asked.
    pub async fn cell(&self, key: &str, query: &CellQuery) -> Result<Cell, Failure> {
        self.field(key, &[], query).await
    }

    /// What a field of a key holds: the names down to it. None is the key itself.
    ///
    /// # Errors
    /// Those of [`Client::cell`].
    pub async fn field(&self, key: &str, field: &[String], query: &CellQuery) -> Result<Cell, Failure> {
        let timeout_ms = query.timeout_ms.map(|ms| ms.to_string());
        let path = paths::cell(key, field)
            + &paths::query(&[
                ("siblings", query.siblings.then_some("")),
                ("after", query.after.as_ref().map(|t| t.0.as_str())),
                ("timeout_ms", timeout_ms.as_deref()),
            ]);
        self.get(&path, self.patience(query.timeout_ms)).await
    }

    /// One page of cells.
    ///
    /// # Errors
    /// `timeout` where `after_write` was waited for in vain, or why it could not be asked.
    pub async fn cells(&self, query: &CellsQuery) -> Result<Cells, Failure> {
        let limit = query.limit.map(|n| n.to_string());
        let timeout_ms = query.timeout_ms.map(|ms| ms.to_string());
        let path = paths::CELLS.to_owned()
            + &paths::query(&[
                ("prefix", query.prefix.as_deref()),
                ("siblings", query.siblings.then_some("")),
                ("limit", limit.as_deref()),
                ("after", query.after.as_deref()),
                ("after_write", query.after_write.as_ref().map(|t| t.0.as_str())),
                ("timeout_ms", timeout_ms.as_deref()),
            ]);
        self.get(&path, self.patience(query.after_write.as_ref().and(query.timeout_ms))).await
    }

    /// One page of keys.
    ///
    /// # Errors
    /// `timeout` where `after_write` was waited for in vain, or why it could not be asked.
    pub async fn keys(&self, query: &KeysQuery) -> Result<Keys, Failure> {
        let limit = query.limit.map(|n| n.to_string());
        let timeout_ms = query.timeout_ms.map(|ms| ms.to_string());
        let path = paths::KEYS.to_owned()
            + &paths::query(&[
                ("pattern", query.pattern.as_deref()),
                ("limit", limit.as_deref()),
                ("after", query.after.as_deref()),
                ("after_write", query.after_write.as_ref().map(|t| t.0.as_str())),
                ("timeout_ms", timeout_ms.as_deref()),
            ]);
        self.get(&path, self.patience(query.after_write.as_ref().and(query.timeout_ms))).await
    }

    /// Writes. A wait that was not met is no error: the write is durable, and the reply says so.
    ///
    /// # Errors
    /// The daemon's, and then nothing is written; or why it could not be asked, and then it may be.
    pub async fn write(&self, request: &WriteRequest) -> Result<WriteReply, Failure> {
        self.post(paths::WRITE, request, self.patience(request.timeout_ms)).await
    }

    /// Makes an overlay.
    ///
    /// # Errors
    /// `has_overlay`, or why the daemon could not be asked.
    pub async fn init(&self, request: &InitRequest) -> Result<InitReply, Failure> {
        self.post(paths::INIT, request, self.timeout).await
    }

    /// Makes an invite.
    ///
    /// # Errors
    /// `no_overlay`, `not_admin`, or why the daemon could not be asked.
    pub async fn invite(&self, request: &InviteRequest) -> Result<InviteReply, Failure> {
        self.post(paths::INVITE, request, self.timeout).await
    }

    /// Joins an overlay.
    ///
    /// # Errors
    /// `has_overlay`, `has_keys`, an `invite_*`, or why the daemon could not be asked.
    pub async fn join(&self, request: &JoinRequest) -> Result<JoinReply, Failure> {
        self.post(paths::JOIN, request, self.patience(request.timeout_ms)).await
    }

    /// Makes the daemon leave its overlay gracefully and end. It answers before it is gone.
    ///
    /// # Errors
    /// The daemon's, or why it could not be asked.
    pub async fn leave(&self) -> Result<LeaveReply, Failure> {
        self.post(paths::LEAVE, &serde_json::Map::new(), self.timeout).await
    }

    fn patience(&self, waits_ms: Option<u64>) -> Duration {
        waits_ms.map_or(self.timeout, |ms| Duration::from_millis(ms).saturating_add(GRACE))
    }

    fn unreachable(&self, error: &std::io::Error) -> Failure {
        Failure::new(Kind::Unreachable, format!("no chinwagd answers on {}", self.socket.display()))
            .because(error.to_string())
            .hint("chinwag up")
    }
}

#[cfg(test)]
mod tests;

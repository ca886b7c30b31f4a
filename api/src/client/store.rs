//! What an operator asks of the replicated state.

use super::Client;
use crate::{Check, CheckQuery, Compacted, Diff, Failure, ForgetRequest, Forgotten, Trace, paths};
use std::time::Duration;

/// How long a whole store may take to be read or moved. A gigabyte on a slow disk takes minutes.
const STORE_WITHIN: Duration = Duration::from_secs(600);

/// The same for all blobs, of which a daemon may have 64 GiB.
const BLOBS_WITHIN: Duration = Duration::from_secs(3_600);

impl Client {
    /// Reads the store again, and compares it with what the daemon holds.
    ///
    /// # Errors
    /// `storage` if the disk does not give it, or why the daemon could not be asked.
    pub async fn check(&self, query: &CheckQuery) -> Result<Check, Failure> {
        let path = paths::CHECK.to_owned() + &paths::query(&[("blobs", query.blobs.then_some(""))]);
        let within = if query.blobs { BLOBS_WITHIN } else { STORE_WITHIN };
        self.get(&path, self.timeout.max(within)).await
    }

    /// Writes the state down and gives back the room that its file does not need.
    ///
    /// # Errors
    /// `storage` if the disk has no room for that, or why the daemon could not be asked.
    pub async fn compact(&self) -> Result<Compacted, Failure> {
        self.post(paths::COMPACT, &serde_json::Map::new(), self.timeout.max(STORE_WITHIN)).await
    }

    /// Forgets a member that is down or has left, here and everywhere.
    ///
    /// # Errors
    /// `not_admin`, `no_such_member`, `refused` if it is there, or why the daemon could not be asked.
    pub async fn forget(&self, request: &ForgetRequest) -> Result<Forgotten, Failure> {
        self.post(paths::FORGET, request, self.timeout).await
    }

    /// What a member, by its name or id, and the daemon lack of each other.
    ///
    /// # Errors
    /// `no_such_member`, `refused` if it is not connected, or why the daemon could not be asked.
    pub async fn diff(&self, member: &str) -> Result<Diff, Failure> {
        self.get(&format!("{}/{}", paths::DIFF, paths::escape(member)), self.timeout).await
    }

    /// How and when the last write to a key, or to a field of it, came to each member.
    ///
    /// # Errors
    /// `no_such_key` if no write to it is remembered, `busy`, or why the daemon could not be asked.
    pub async fn trace(&self, key: &str, field: &[String]) -> Result<Trace, Failure> {
        self.get(&paths::trace(key, field), self.timeout).await
    }
}

//! Asking for records.

use super::Client;
use super::request::JSON;
use crate::dht::{
    BlobHash, DhtBlob, DhtBlobQuery, DhtCell, DhtCellQuery, DhtFound, DhtRecords, DhtRecordsQuery, DhtWrite,
    DhtWritten,
};
use crate::failure::{Failure, Kind};
use crate::paths;
use chinwag_base::limits::RECORD_BYTES_MAX;
use hyper::body::Bytes;

/// The content type of a blob.
const BLOB: &str = "application/octet-stream";

impl Client {
    /// Changes a cell.
    ///
    /// # Errors
    /// `timeout` if too few owners held it in time (some may hold it all the same); a refusal; or why the daemon could
    /// not be asked.
    pub async fn dht_write(&self, request: &DhtWrite) -> Result<DhtWritten, Failure> {
        self.post(paths::DHT_WRITE, request, self.patience(request.timeout_ms)).await
    }

    /// What a cell holds.
    ///
    /// # Errors
    /// `no_such_key`, `timeout` if too few owners answered, or why the daemon could not be asked.
    pub async fn dht_cell(&self, key: &str, query: &DhtCellQuery) -> Result<DhtCell, Failure> {
        let (quorum, timeout_ms) = (number(query.quorum), number(query.timeout_ms));
        let path = format!("{}/{}", paths::DHT_CELLS, paths::escape(key))
            + &paths::query(&[
                ("quorum", quorum.as_deref()),
                ("siblings", query.siblings.then_some("")),
                ("trace", query.trace.then_some("")),
                ("timeout_ms", timeout_ms.as_deref()),
            ]);
        self.get(&path, self.patience(query.timeout_ms)).await
    }

    /// Who holds a cell.
    ///
    /// # Errors
    /// Why the daemon could not be asked. That nobody holds it is none.
    pub async fn dht_find_cell(&self, key: &str, timeout_ms: Option<u64>) -> Result<DhtFound, Failure> {
        self.find(&format!("{}/{}", paths::DHT_FIND_CELL, paths::escape(key)), timeout_ms).await
    }

    /// Who holds a blob.
    ///
    /// # Errors
    /// Why the daemon could not be asked. That nobody holds it is none.
    pub async fn dht_find_blob(&self, hash: BlobHash, timeout_ms: Option<u64>) -> Result<DhtFound, Failure> {
        self.find(&format!("{}/{hash}", paths::DHT_FIND_BLOB), timeout_ms).await
    }

    async fn find(&self, path: &str, timeout_ms: Option<u64>) -> Result<DhtFound, Failure> {
        let query = paths::query(&[("timeout_ms", number(timeout_ms).as_deref())]);
        self.get(&format!("{path}{query}"), self.patience(timeout_ms)).await
    }

    /// Keeps a blob.
    ///
    /// # Errors
    /// `too_large`; `refused` if the owners do not take it; `timeout` if too few of them held it in time; another refusal;
    /// or why the daemon could not be asked.
    pub async fn dht_put_blob(
        &self,
        bytes: impl Into<Bytes>,
        query: &DhtBlobQuery,
    ) -> Result<DhtBlob, Failure> {
        let (expires_ms, quorum) = (number(query.expires_ms), number(query.quorum));
        let timeout_ms = number(query.timeout_ms);
        let path = paths::DHT_BLOBS.to_owned()
            + &paths::query(&[
                ("expires_ms", expires_ms.as_deref()),
                ("quorum", quorum.as_deref()),
                ("timeout_ms", timeout_ms.as_deref()),
            ]);
        self.post_body(&path, bytes.into(), BLOB, self.patience(query.timeout_ms)).await
    }

    /// A blob's bytes. They have the hash that was asked for: it is checked here too, whatever the daemon says.
    ///
    /// # Errors
    /// `no_such_key`, `incompatible` for other bytes, or why the daemon could not be asked.
    pub async fn dht_blob(&self, hash: BlobHash, timeout_ms: Option<u64>) -> Result<Vec<u8>, Failure> {
        let query = paths::query(&[("timeout_ms", number(timeout_ms).as_deref())]);
        let path = format!("{}/{hash}{query}", paths::DHT_BLOBS);
        let accept = format!("{BLOB}, {JSON}");
        let bytes = self.get_body(&path, &accept, RECORD_BYTES_MAX, self.patience(timeout_ms)).await?;
        let actual = BlobHash::of(&bytes);
        if actual != hash {
            return Err(Failure::new(Kind::Incompatible, format!("the bytes of blob {hash} are others"))
                .because(format!("what came has the hash {actual}")));
        }
        Ok(bytes.into())
    }

    /// One page of what the daemon itself holds.
    ///
    /// # Errors
    /// The daemon's, or why it could not be asked.
    pub async fn dht_records(&self, query: &DhtRecordsQuery) -> Result<DhtRecords, Failure> {
        let limit = number(query.limit);
        let path = paths::DHT_RECORDS.to_owned()
            + &paths::query(&[
                ("prefix", query.prefix.as_deref()),
                ("limit", limit.as_deref()),
                ("after", query.after.as_deref()),
            ]);
        self.get(&path, self.timeout).await
    }
}

fn number<N: ToString>(n: Option<N>) -> Option<String> {
    n.map(|n| n.to_string())
}

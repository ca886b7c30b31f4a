//! Files of any size in a DHT whose blobs are small.
//!
//! A file is cut into *chunks*, blobs of [`CHUNK_BYTES`] each but for the last. Their hashes stand in a *manifest*, a blob
//! too; where one manifest is full, several stand in a manifest above them, and so on: a hash tree (Merkle, "A Digital
//! Signature Based on a Conventional Encryption Function", CRYPTO 1987), as in IPFS and BitTorrent v2. The hash of the
//! topmost manifest names the file: whoever has it can check every byte, whoever sent it. [`manifest`] says how one is
//! written down.
//!
//! Each file has exactly one tree, so that the same bytes have the same name wherever they are added, and chunks that two
//! files share are held once. Even an empty file has a manifest: a name that [`add`] returned never means the bytes of
//! a blob as they are.
//!
//! [`add`] reads, and [`cat`] writes, with at most [`IN_FLIGHT`] chunks under way and one manifest of each height in
//! memory: some megabytes, however large the file. The topmost manifest is put last, once all that it leads to is held
//! by a quorum of its owners.

mod add;
mod cat;
pub mod manifest;
#[cfg(test)]
mod tests;

pub use add::{AddOptions, Added, add};
pub use cat::{Written, cat};

use super::Client;
use crate::dht::{BlobHash, DhtBlob, DhtBlobQuery};
use crate::failure::{Failure, Kind};
use chinwag_base::limits::RECORD_BYTES_MAX;
use hyper::body::Bytes;
use std::time::Duration;

/// Bytes of a chunk: the largest blob there is, because each costs its owners a row and the network a round trip.
pub const CHUNK_BYTES: usize = RECORD_BYTES_MAX;
/// Chunks under way at once: enough to keep five owners' disks busy, few enough to stay within a slow peer's bulk lane.
pub const IN_FLIGHT: usize = 8;

/// How often one chunk is tried before the whole is given up.
const TRIES: u32 = 6;
/// How long after a failed try the next begins; twice as long each time, three seconds in all.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The tries that one blob has.
struct Tries {
    left: u32,
    pause: Duration,
}

impl Tries {
    fn new() -> Self {
        Tries { left: TRIES, pause: TRY_AGAIN_AFTER }
    }

    /// Waits before the next try, where one makes sense: an owner is busy, late or just gone.
    async fn again(&mut self, failure: Failure, missing_too: bool) -> Result<(), Failure> {
        // A chunk that a manifest names was held once: its owners may be handing it on at this moment.
        let may_pass = matches!(failure.kind, Kind::Busy | Kind::Timeout)
            || missing_too && failure.kind == Kind::NoSuchKey;
        self.left -= 1;
        if !may_pass || self.left == 0 {
            return Err(failure);
        }
        tokio::time::sleep(self.pause).await;
        self.pause *= 2;
        Ok(())
    }
}

/// Puts a blob, patiently.
async fn put(client: &Client, blob: Bytes, query: &DhtBlobQuery) -> Result<DhtBlob, Failure> {
    let mut tries = Tries::new();
    loop {
        match client.dht_put_blob(blob.clone(), query).await {
            Ok(put) => return Ok(put),
            Err(failure) => tries.again(failure, false).await?,
        }
    }
}

/// Gets a blob, patiently: if it is part of a file, also where it seems to be missing.
async fn get(
    client: &Client,
    hash: BlobHash,
    timeout_ms: Option<u64>,
    is_part: bool,
) -> Result<Vec<u8>, Failure> {
    let mut tries = Tries::new();
    loop {
        match client.dht_blob(hash, timeout_ms).await {
            Ok(bytes) => return Ok(bytes),
            Err(failure) => tries.again(failure, is_part).await?,
        }
    }
}

/// A task of ours that ended by a panic.
fn bug(error: &tokio::task::JoinError) -> Failure {
    Failure::new(Kind::Internal, "a transfer ended by a bug").because(error.to_string())
}

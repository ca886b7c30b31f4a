//! A file into the DHT.

use super::manifest::{CHILDREN_MAX, Child, HEIGHT_MAX, Manifest};
use super::{CHUNK_BYTES, IN_FLIGHT, bug};
use crate::client::Client;
use crate::dht::{BlobHash, DhtBlobQuery};
use crate::failure::{Failure, Kind};
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinSet;

/// How a file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddOptions {
    /// For how long, from now; for ever without it.
    pub expires_ms: Option<u64>,
    /// How many owners must hold each of its blobs durably; a majority without it.
    pub quorum: Option<u32>,
    /// How long one blob may take.
    pub timeout_ms: Option<u64>,
}

/// A file that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Its name.
    pub hash: BlobHash,
    /// Its length.
    pub len: u64,
    /// How many chunks it has.
    pub chunks: u64,
    /// How many manifests lead to them.
    pub manifests: u64,
    /// When the first of its blobs is gone; never without it.
    pub expires_unix_ms: Option<u64>,
}

/// Adds what `reader` has left, and tells `progress` how many bytes are held so far.
///
/// # Errors
/// If it cannot be read, or a blob is refused for good. Chunks that are held then stay until they expire; adding the same again
/// goes on with them.
pub async fn add(
    client: &Client,
    reader: &mut (impl AsyncRead + Unpin),
    options: &AddOptions,
    progress: impl FnMut(u64),
) -> Result<Added, Failure> {
    let query = DhtBlobQuery {
        expires_ms: options.expires_ms,
        quorum: options.quorum,
        timeout_ms: options.timeout_ms,
    };
    let mut adding = Adding::new(client, query, progress);
    loop {
        let chunk = next_chunk(reader).await?;
        if chunk.is_empty() {
            return adding.finish().await;
        }
        let len = chunk.len() as u64;
        adding.chunks += 1;
        let hash = adding.put(chunk, len).await?;
        adding.append(0, Child { hash, len }).await?;
    }
}

/// A whole chunk, or what is left.
async fn next_chunk(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Failure> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    reader
        .take(CHUNK_BYTES as u64)
        .read_to_end(&mut chunk)
        .await
        .map_err(|e| Failure::new(Kind::Permission, "the file cannot be read").because(e.to_string()))?;
    Ok(chunk)
}

/// A file on its way.
pub(super) struct Adding<'a, P> {
    client: &'a Client,
    query: DhtBlobQuery,
    /// Each says how many bytes of the file it was, and when they are gone.
    puts: JoinSet<Result<(u64, Option<u64>), Failure>>,
    /// Of each height the children that no manifest has yet.
    levels: Vec<Vec<Child>>,
    held: u64,
    chunks: u64,
    manifests: u64,
    expires: Option<u64>,
    progress: P,
}

impl<'a, P: FnMut(u64)> Adding<'a, P> {
    pub(super) fn new(client: &'a Client, query: DhtBlobQuery, progress: P) -> Self {
        Adding {
            client,
            query,
            puts: JoinSet::new(),
            levels: vec![Vec::new()],
            held: 0,
            chunks: 0,
            manifests: 0,
            expires: None,
            progress,
        }
    }

    /// Begins to put a blob, once there is room among those under way.
    async fn put(&mut self, blob: Vec<u8>, file_bytes: u64) -> Result<BlobHash, Failure> {
        let hash = BlobHash::of(&blob);
        while self.puts.len() >= IN_FLIGHT {
            self.one_is_held().await?;
        }
        let (client, query, blob) = (self.client.clone(), self.query, Bytes::from(blob));
        self.puts.spawn(async move {
            let put = super::put(&client, blob, &query).await?;
            if put.hash != hash {
                return Err(Failure::new(
                    Kind::Incompatible,
                    "the daemon keeps other bytes than it was given",
                )
                .because(format!("{} instead of {hash}", put.hash)));
            }
            Ok((file_bytes, put.expires_unix_ms))
        });
        Ok(hash)
    }

    async fn one_is_held(&mut self) -> Result<(), Failure> {
        let Some(put) = self.puts.join_next().await else { return Ok(()) };
        let (file_bytes, expires) = put.map_err(|e| bug(&e))??;
        self.expires = self.expires.into_iter().chain(expires).min();
        self.held += file_bytes;
        (self.progress)(self.held);
        Ok(())
    }

    /// Puts a child at the end of its level. A level that is full becomes a manifest only now, when more comes: the last
    /// one of a file may be its topmost.
    pub(super) async fn append(&mut self, height: usize, child: Child) -> Result<(), Failure> {
        let mut carried = Some((height, child));
        while let Some((height, child)) = carried.take() {
            if self.levels.len() <= height {
                self.levels.push(Vec::new());
            }
            if self.levels[height].len() == CHILDREN_MAX {
                carried = Some((height + 1, self.close(height).await?));
            }
            self.levels[height].push(child);
        }
        Ok(())
    }

    /// Makes a manifest of a level's children.
    async fn close(&mut self, height: usize) -> Result<Child, Failure> {
        let children = std::mem::take(&mut self.levels[height]);
        let too_long = || Failure::new(Kind::TooLarge, "the file is longer than any can be");
        let height = u8::try_from(height).ok().filter(|h| *h <= HEIGHT_MAX).ok_or_else(too_long)?;
        let manifest = Manifest::new(height, children).map_err(|e| too_long().because(e.to_string()))?;
        let len = manifest.len();
        self.manifests += 1;
        let hash = self.put(manifest.to_blob(), 0).await?;
        Ok(Child { hash, len })
    }

    pub(super) async fn finish(mut self) -> Result<Added, Failure> {
        let mut height = 0;
        while height + 1 < self.levels.len() {
            let below = self.close(height).await?;
            self.append(height + 1, below).await?;
            height += 1;
        }
        // Whoever finds the topmost manifest must find all that it leads to.
        while !self.puts.is_empty() {
            self.one_is_held().await?;
        }
        let Child { hash, len } = self.close(height).await?;
        while !self.puts.is_empty() {
            self.one_is_held().await?;
        }
        Ok(Added { hash, len, chunks: self.chunks, manifests: self.manifests, expires_unix_ms: self.expires })
    }
}

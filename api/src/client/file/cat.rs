//! A file out of the DHT.

use super::manifest::{Child, Manifest};
use super::{IN_FLIGHT, bug};
use crate::client::Client;
use crate::dht::BlobHash;
use crate::failure::{Failure, Kind};
use std::collections::VecDeque;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinHandle;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub len: u64,
    /// Chunks.
    pub chunks: u64,
    /// Whether it was a file; else one blob, as it is.
    pub is_file: bool,
}

/// Writes the file of this name in order, each chunk as soon as it and all before it have come, and tells `progress` how many
/// bytes of how many are written. A blob that is no manifest is written itself.
///
/// Every byte that is written has been checked against `hash`. If this fails, what has been written is a true beginning of the file.
///
/// # Errors
/// `no_such_key` if the name or a part of the file is not found, what the daemon refuses, or that `writer` does.
pub async fn cat(
    client: &Client,
    hash: BlobHash,
    writer: &mut (impl AsyncWrite + Unpin),
    timeout_ms: Option<u64>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Written, Failure> {
    let blob = super::get(client, hash, timeout_ms, false).await?;
    let Ok(root) = Manifest::from_blob(&blob) else {
        writer.write_all(&blob).await.map_err(|e| unwritable(&e))?;
        writer.flush().await.map_err(|e| unwritable(&e))?;
        return Ok(Written { len: blob.len() as u64, chunks: 1, is_file: false });
    };
    drop(blob);
    let of = root.len();
    let mut walk = Walk::new(client, timeout_ms, root);
    let mut coming: VecDeque<Coming> = VecDeque::new();
    let mut written = Written { len: 0, chunks: 0, is_file: true };
    let mut more = true;
    progress(0, of);
    loop {
        while more && coming.len() < IN_FLIGHT {
            match walk.next_chunk().await? {
                Some(chunk) => coming.push_back(Coming::begin(client.clone(), chunk, timeout_ms)),
                None => more = false,
            }
        }
        let Some(next) = coming.pop_front() else { break };
        let bytes = next.chunk().await.map_err(|failure| incomplete(failure, written.len, of))?;
        writer.write_all(&bytes).await.map_err(|e| unwritable(&e))?;
        written.len += bytes.len() as u64;
        written.chunks += 1;
        progress(written.len, of);
    }
    writer.flush().await.map_err(|e| unwritable(&e))?;
    Ok(written)
}

/// A walk through a file's tree, from chunk to chunk: of each height the children that are left.
pub(super) struct Walk<'a> {
    client: &'a Client,
    timeout_ms: Option<u64>,
    path: Vec<(u8, std::vec::IntoIter<Child>)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(client: &'a Client, timeout_ms: Option<u64>, root: Manifest) -> Self {
        Walk { client, timeout_ms, path: vec![(root.height(), root.into_children().into_iter())] }
    }

    pub(super) async fn next_chunk(&mut self) -> Result<Option<Child>, Failure> {
        while let Some((height, children)) = self.path.last_mut() {
            let height = *height;
            match children.next() {
                None => {
                    self.path.pop();
                }
                Some(chunk) if height == 0 => return Ok(Some(chunk)),
                Some(below) => {
                    let manifest = self.manifest(below, height - 1).await?;
                    self.path.push((height - 1, manifest.into_children().into_iter()));
                }
            }
        }
        Ok(None)
    }

    async fn manifest(&self, child: Child, height: u8) -> Result<Manifest, Failure> {
        let Child { hash, len } = child;
        let blob = super::get(self.client, hash, self.timeout_ms, true).await?;
        let foreign = |why: String| {
            Failure::new(Kind::Incompatible, "the name is not that of a whole file").because(why)
        };
        let manifest = Manifest::from_blob(&blob).map_err(|e| foreign(format!("blob {hash}: {e}")))?;
        if manifest.height() != height || manifest.len() != len {
            return Err(foreign(format!("blob {hash} is the manifest of something else")));
        }
        Ok(manifest)
    }
}

/// A chunk on its way. It is given up when this is dropped.
struct Coming(JoinHandle<Result<Vec<u8>, Failure>>);

impl Coming {
    fn begin(client: Client, chunk: Child, timeout_ms: Option<u64>) -> Self {
        let Child { hash, len } = chunk;
        Coming(tokio::spawn(async move {
            let bytes = super::get(&client, hash, timeout_ms, true).await?;
            if bytes.len() as u64 != len {
                return Err(Failure::new(Kind::Incompatible, "the name is not that of a whole file")
                    .because(format!(
                        "chunk {hash} has {} bytes, and its manifest says {len}",
                        bytes.len()
                    )));
            }
            Ok(bytes)
        }))
    }

    async fn chunk(mut self) -> Result<Vec<u8>, Failure> {
        (&mut self.0).await.map_err(|e| bug(&e))?
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn incomplete(failure: Failure, written: u64, of: u64) -> Failure {
    failure.because(format!("{written} of {of} bytes had come"))
}

fn unwritable(error: &std::io::Error) -> Failure {
    Failure::new(Kind::Permission, "the output cannot be written").because(error.to_string())
}

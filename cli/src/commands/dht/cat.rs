use crate::commands::Context;
use crate::commands::progress::Bar;
use crate::commands::write::{seconds, to_ms};
use crate::output::Output;
use crate::{End, text};
use chinwag_api::client::file::{self, Written};
use chinwag_api::{BlobHash, Client, DhtGot, Exit, Failure, Kind};
use chinwag_base::key::printable;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Write a file's bytes, by its hash
///
/// Every byte is checked against the hash before it is written. With -o the file appears only when it is whole.
#[derive(Debug, clap::Args)]
pub(super) struct CatArgs {
    /// The hash that `dht add` printed
    hash: BlobHash,
    /// Write to this file rather than to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the bytes of this one blob as they are, even if they describe a file
    #[arg(long)]
    blob: bool,
    /// Wait so many seconds at most for one piece [default: the daemon's]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<f64>,
}

impl CatArgs {
    pub(super) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let begun = Instant::now();
        let client = context.client()?;
        let Some(path) = self.output.as_deref().filter(|path| *path != Path::new("-")) else {
            if context.out.is_json() {
                let failure = Failure::new(
                    Kind::BadRequest,
                    "the bytes and a JSON object cannot both go to standard output",
                );
                return Err(failure.hint(format!("chinwag dht cat {} --json -o FILE", self.hash)).into());
            }
            return self.to_output(&client, &mut context.out).await;
        };
        let bar = Bar::new(context, None);
        let written = self.to_file(&client, path, &bar).await;
        drop(bar);
        let Some(written) = written? else {
            context.out.say(&format!("interrupted; {} is as it was", printable(&path.to_string_lossy())))?;
            return Ok(Exit::No);
        };
        let took_ms = begun.elapsed().as_secs_f64() * 1_000.0;
        if context.out.is_json() {
            let Written { len: bytes, chunks, is_file } = written;
            context.out.json(&DhtGot { hash: self.hash, bytes, chunks, is_file, took_ms })?;
        } else {
            let (len, took) = (text::bytes(written.len as f64), text::time_ms(took_ms));
            context.out.say(&format!("{}: {len} after {took}", printable(&path.to_string_lossy())))?;
        }
        Ok(Exit::Yes)
    }

    async fn to_output(&self, client: &Client, out: &mut Output) -> Result<Exit, End> {
        let mut data = Data { out, gone: false };
        match self.fetch(client, &mut data, |_, _| {}).await {
            Err(_) if data.gone => Err(End::ReaderGone),
            Err(failure) => Err(failure.into()),
            Ok(_) => Ok(Exit::Yes),
        }
    }

    /// `None` if it was interrupted.
    async fn to_file(&self, client: &Client, path: &Path, bar: &Bar) -> Result<Option<Written>, Failure> {
        let failed = |what: &Path, error: io::Error| {
            let shown = what.to_string_lossy();
            Failure::new(Kind::Permission, format!("cannot write {}", printable(&shown)))
                .because(error.to_string())
        };
        // What is no plain file, a device or a pipe, is written to: a rename would take its place.
        let is_special = tokio::fs::metadata(path).await.is_ok_and(|about| !about.is_file());
        let part = if is_special { path.to_owned() } else { beside(path) };
        let mut file = tokio::fs::File::create(&part).await.map_err(|e| failed(&part, e))?;
        let fetched = tokio::select! {
            fetched = self.fetch(client, &mut file, |bytes, of| bar.at_of(bytes, of)) => fetched.map(Some),
            _ = tokio::signal::ctrl_c() => Ok(None),
        };
        if is_special {
            return fetched;
        }
        let done = match fetched {
            Ok(Some(written)) => match file.sync_all().await {
                Ok(()) => {
                    tokio::fs::rename(&part, path).await.map(|()| Some(written)).map_err(|e| failed(path, e))
                }
                Err(error) => Err(failed(&part, error)),
            },
            other => other,
        };
        if !matches!(done, Ok(Some(_))) {
            // It is only half a file: what stops us has been told, or is about to be.
            let _ = tokio::fs::remove_file(&part).await;
        }
        done
    }

    async fn fetch(
        &self,
        client: &Client,
        writer: &mut (impl AsyncWrite + Unpin),
        progress: impl FnMut(u64, u64),
    ) -> Result<Written, Failure> {
        let timeout_ms = self.timeout.map(to_ms);
        if !self.blob {
            return file::cat(client, self.hash, writer, timeout_ms, progress).await;
        }
        let bytes = client.dht_blob(self.hash, timeout_ms).await?;
        let written = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        written.await.map_err(|e| {
            Failure::new(Kind::Permission, "the output cannot be written").because(e.to_string())
        })?;
        Ok(Written { len: bytes.len() as u64, chunks: 1, is_file: false })
    }
}

/// A name of our own in the same directory, where a rename is one step.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

/// Standard output as the transfer writes to it.
struct Data<'a> {
    out: &'a mut Output,
    /// Whoever read it has gone.
    gone: bool,
}

impl AsyncWrite for Data<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.out.raw(bytes).map(|()| bytes.len());
        self.gone |= written.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

use super::expires::{self, Expires};
use crate::commands::Context;
use crate::commands::progress::Bar;
use crate::commands::write::{seconds, to_ms};
use crate::{End, text};
use chinwag_api::client::file::{self, AddOptions};
use chinwag_api::{DhtAdded, Exit, Failure, Kind};
use chinwag_base::key::printable;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::io::AsyncRead;

/// Keep a file of any size, and print its hash
///
/// The file is cut into chunks that many members hold. The same bytes have the same hash, whoever adds them. To keep a
/// file for longer, add it again.
#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// The file; - reads standard input
    file: PathBuf,
    /// Keep it for so long: 90s, 10m, 2h, 7d or never
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = expires::parse)]
    expires: Expires,
    /// Return once so many owners hold each piece durably [default: a majority]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    w: Option<u32>,
    /// Wait so many seconds at most for one piece [default: the daemon's]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<f64>,
}

impl AddArgs {
    pub(super) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let begun = Instant::now();
        let client = context.client()?;
        let (mut reader, len) = open(&self.file).await?;
        let options =
            AddOptions { expires_ms: self.expires.ms, quorum: self.w, timeout_ms: self.timeout.map(to_ms) };
        let bar = Bar::new(context, len);
        let added = file::add(&client, &mut reader, &options, |bytes| bar.at(bytes)).await;
        drop(bar);
        let added = added?;
        let reply = DhtAdded {
            hash: added.hash,
            bytes: added.len,
            chunks: added.chunks,
            manifests: added.manifests,
            took_ms: begun.elapsed().as_secs_f64() * 1_000.0,
            expires_unix_ms: added.expires_unix_ms,
        };
        if context.out.is_json() {
            context.out.json(&reply)?;
            return Ok(Exit::Yes);
        }
        context.out.line(&added.hash.to_string())?;
        let until = added
            .expires_unix_ms
            .map_or_else(|| "kept for ever".into(), |at| format!("kept until {}", expires::day(at)));
        let name = self.file.to_string_lossy();
        context.out.say(&format!(
            "{}: {} in {} after {} · {until}",
            if name == "-" { "standard input".into() } else { printable(&name) },
            text::bytes(added.len as f64),
            text::count(added.chunks, "chunk"),
            text::time_ms(reply.took_ms)
        ))?;
        Ok(Exit::Yes)
    }
}

/// The file, and how long it is if anybody knows.
async fn open(path: &Path) -> Result<(Box<dyn AsyncRead + Unpin>, Option<u64>), Failure> {
    if path == Path::new("-") {
        let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(|e| {
            Failure::new(Kind::BadRequest, "standard input cannot be read").because(e.to_string())
        })?;
        return Ok((Box::new(tokio::fs::File::from_std(input.into())), None));
    }
    let failed = |why: String| {
        let shown = path.to_string_lossy();
        Failure::new(Kind::BadRequest, format!("cannot read {}", printable(&shown))).because(why)
    };
    let file = tokio::fs::File::open(path).await.map_err(|e| failed(e.to_string()))?;
    let about = file.metadata().await.map_err(|e| failed(e.to_string()))?;
    if about.is_dir() {
        return Err(failed("it is a directory".into()).hint("tar -c DIR | chinwag dht add -"));
    }
    Ok((Box::new(file), about.is_file().then_some(about.len())))
}

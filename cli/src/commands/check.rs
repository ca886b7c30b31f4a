use super::{Context, doctor};
use crate::{End, choose, daemon};
use chinwag_api::{Check, CheckQuery, Exit, Failure, Kind};
use std::path::PathBuf;

/// Read the store again from disk, and compare it with what the daemon holds
///
/// Every row's checksum is verified; the state is recovered as a start would recover it; and its cells, clock, log and
/// digests are compared with each other, and with those of the running daemon at the same commit. The index of the DHT's records
/// is verified too. Nothing is changed, and the daemon goes on meanwhile. Takes as long as a start, and as much memory. Exits 1 if somebody has to do something.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Check this data directory, whether a daemon runs on it or not [default: the chosen daemon's]
    #[arg(long, value_name = "DIR", env = "CHINWAG_DATA")]
    data: Option<PathBuf>,
    /// Read every blob of the DHT as well, and compare it with its hash: as long as the disk takes to give them
    #[arg(long)]
    blobs: bool,
}

impl CheckArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let check = self.check(context).await?;
        let exit = if check.healthy { Exit::Yes } else { Exit::No };
        if context.out.is_json() {
            context.out.json(&check)?;
            return Ok(exit);
        }
        doctor::show_all(context, &check.findings)?;
        Ok(exit)
    }

    async fn check(&self, context: &Context) -> Result<Check, Failure> {
        let is_chosen = context.global.name.is_some() || context.global.socket.is_some();
        let client = match &self.data {
            Some(data) if !is_chosen => choose::find_at(data, &context.runtime)?,
            _ => choose::find(&context.global, &context.runtime)?,
        };
        match (client, &self.data) {
            (Some(client), _) => client.check(&CheckQuery { blobs: self.blobs }).await,
            (None, Some(data)) => daemon::check(data, self.blobs),
            (None, None) => {
                let data = daemon::default_data()?;
                if data.is_dir() {
                    return daemon::check(&data, self.blobs);
                }
                let none = "no chinwagd is running for this user, and there is no data directory";
                Err(Failure::new(Kind::Unreachable, none)
                    .because(format!("looked for {}", data.display()))
                    .hint("chinwag check --data DIR"))
            }
        }
    }
}

//! Records that their owners hold: cells that merge, blobs, and files made of them.

mod add;
mod cat;
mod del;
mod expires;
mod find;
mod get;
mod ls;
mod put;
mod trace;

use super::Context;
use crate::nearest::nearest;
use crate::{End, text};
use chinwag_api::{Client, DhtRecordsQuery, DhtWritten, Exit, Failure, Kind};

/// Put, get and find records that only their owners hold, and files of any size
///
/// The replicated state is on every member. A record is on five of them, its owners: the members whose ids are nearest to its
/// key's. So there can be many records, and large ones.
#[derive(Debug, clap::Args)]
pub(crate) struct DhtArgs {
    #[command(subcommand)]
    command: DhtCommand,
}

/// The commands, in the order of the help.
#[derive(Debug, clap::Subcommand)]
enum DhtCommand {
    Put(put::PutArgs),
    Get(get::GetArgs),
    Del(del::DelArgs),
    Find(find::FindArgs),
    Add(add::AddArgs),
    Cat(cat::CatArgs),
    Ls(ls::LsArgs),
}

impl DhtArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        match self.command {
            DhtCommand::Put(args) => args.run(context).await,
            DhtCommand::Get(args) => args.run(context).await,
            DhtCommand::Del(args) => args.run(context).await,
            DhtCommand::Find(args) => args.run(context).await,
            DhtCommand::Add(args) => args.run(context).await,
            DhtCommand::Cat(args) => args.run(context).await,
            DhtCommand::Ls(args) => args.run(context).await,
        }
    }
}

/// `on 3 of 5 owners after 1.2 ms`.
fn held(holders: u64, owners: u64, took_ms: f64) -> String {
    let noun = if owners == 1 { "owner" } else { "owners" };
    format!("on {holders} of {owners} {noun} after {}", text::time_ms(took_ms))
}

/// Prints what came of a write.
fn written(context: &mut Context, what: &str, reply: &DhtWritten) -> Result<Exit, End> {
    if context.out.is_json() {
        context.out.json(reply)?;
        return Ok(Exit::Yes);
    }
    let until = reply.expires_unix_ms.map_or_else(String::new, |at| format!(" · until {}", expires::day(at)));
    context.out.line(&format!("{what} · {}{until}", held(reply.holders, reply.owners, reply.took_ms)))?;
    for line in trace::lines(&reply.trace) {
        context.out.say(&line)?;
    }
    Ok(Exit::Yes)
}

/// The failure with the key that was probably meant, of those that the daemon itself holds. That none can be found is no
/// second failure.
async fn with_nearest(client: &Client, failure: Failure, key: &str, verb: &str) -> Failure {
    if failure.kind != Kind::NoSuchKey || !failure.tries.is_empty() {
        return failure;
    }
    let Ok(page) = client.dht_records(&DhtRecordsQuery::default()).await else { return failure };
    let keys: Vec<String> = page.records.into_iter().filter_map(|row| row.key).collect();
    match nearest(key, keys.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("chinwag dht {verb} {near}")),
        None => failure.hint(format!("chinwag dht find {key} --trace")),
    }
}

use super::{trace, with_nearest};
use crate::End;
use crate::commands::Context;
use crate::commands::get::print;
use crate::commands::write::{seconds, to_ms};
use chinwag_api::{Content, DhtCellQuery, Exit};

/// Show what a key holds, as its owners have it
#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// The key
    key: String,
    /// Show all concurrent values of a register, the winner first
    #[arg(long)]
    siblings: bool,
    /// Ask until so many owners have answered [default: a majority]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    r: Option<u32>,
    /// Wait so many seconds at most [default: the daemon's]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<f64>,
    /// Write the exact bytes of a register and nothing else
    #[arg(long, conflicts_with_all = ["siblings", "json"])]
    raw: bool,
    /// Draw whom it was asked of
    #[arg(long)]
    trace: bool,
}

impl GetArgs {
    pub(super) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let client = context.client()?;
        let query = DhtCellQuery {
            quorum: self.r,
            siblings: self.siblings,
            trace: self.trace,
            timeout_ms: self.timeout.map(to_ms),
        };
        let cell = match client.dht_cell(&self.key, &query).await {
            Ok(cell) => cell,
            Err(failure) => return Err(with_nearest(&client, failure, &self.key, "get").await.into()),
        };
        if context.out.is_json() {
            context.out.json(&cell)?;
        } else {
            print(context, "dht get", &self.key, &[], &cell.content, self.siblings, self.raw)?;
            for line in trace::lines(&cell.trace) {
                context.out.say(&line)?;
            }
        }
        Ok(if matches!(cell.content, Content::Conflict { .. }) { Exit::No } else { Exit::Yes })
    }
}

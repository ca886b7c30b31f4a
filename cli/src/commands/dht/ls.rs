use super::expires;
use crate::End;
use crate::commands::Context;
use crate::output::Tone;
use crate::text::{self, Side};
use chinwag_api::{DhtRecords, DhtRecordsQuery, DhtRow, Exit};
use chinwag_base::key::printable;

/// List the records that the daemon itself holds
///
/// RANK is how many members are nearer to the record; a stray is one that this daemon no longer owns, and drops once all
/// owners have it.
#[derive(Debug, clap::Args)]
pub(super) struct LsArgs {
    /// Only cells whose key begins so, and blobs whose hash does
    prefix: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

const COLUMNS: [(&str, Side); 6] = [
    ("KIND", Side::Left),
    ("SIZE", Side::Right),
    ("RANK", Side::Right),
    ("UNTIL", Side::Left),
    ("PUT BY", Side::Left),
    ("RECORD", Side::Left),
];

impl LsArgs {
    pub(super) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let client = context.client()?;
        let mut query = DhtRecordsQuery { prefix: self.prefix, limit: None, after: None };
        let mut all = DhtRecords { records: Vec::new(), next: None };
        loop {
            let left = (self.limit as usize).saturating_sub(all.records.len());
            query.limit = u32::try_from(left).ok();
            let page = client.dht_records(&query).await?;
            all.records.extend(page.records.into_iter().take(left));
            // A daemon that says the same place twice would have us ask for ever.
            let is_stuck = page.next == query.after;
            all.next = page.next;
            if all.next.is_none() || is_stuck || all.records.len() >= self.limit as usize {
                break;
            }
            query.after = all.next.clone();
        }
        all.records.sort_by(|a, b| (&a.key, a.hash).cmp(&(&b.key, b.hash)));
        if context.out.is_json() {
            context.out.json(&all)?;
            return Ok(Exit::Yes);
        }
        let rows: Vec<Vec<String>> = all.records.iter().map(row).collect();
        for (i, line) in text::table(&COLUMNS, &rows).iter().enumerate() {
            let line = if i == 0 { context.out.paint(Tone::Heading, line) } else { line.clone() };
            context.out.line(&line)?;
        }
        if all.next.is_some() {
            context.out.say(&format!(
                "There are more than {}; --limit N shows more.",
                text::thousands(self.limit.into())
            ))?;
        }
        Ok(Exit::Yes)
    }
}

fn row(row: &DhtRow) -> Vec<String> {
    let name = row.key.as_deref().map(|key| printable(key).into_owned());
    vec![
        row.kind.to_string(),
        text::bytes(row.bytes as f64),
        row.rank.map_or_else(|| "stray".into(), |rank| rank.to_string()),
        row.expires_unix_ms.map_or_else(|| "for ever".into(), expires::day),
        printable(&row.publisher).into_owned(),
        name.or_else(|| row.hash.map(|hash| hash.to_string())).unwrap_or_default(),
    ]
}

use super::Context;
use super::after::AfterArgs;
use crate::End;
use crate::complete;
use chinwag_api::{Exit, Failure, Keys, KeysQuery, Kind, Pattern};
use chinwag_base::key::printable;

/// List keys, sorted
#[derive(Debug, clap::Args)]
pub(crate) struct KeysArgs {
    /// Which: * is any run of characters, ? any one [default: all]
    #[arg(add = complete::keys())]
    pattern: Option<String>,
    /// Show each key's type before it
    #[arg(long, short)]
    long: bool,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    #[command(flatten)]
    after: AfterArgs,
}

impl KeysArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        if let Some(pattern) = &self.pattern {
            // Told before anybody is asked.
            pattern.parse::<Pattern>().map_err(|e| Failure::new(Kind::BadRequest, e.to_string()))?;
        }
        let client = context.client()?;
        let mut left = self.limit;
        let (after_write, timeout_ms) = (self.after.token(), self.after.timeout_ms());
        let pattern = self.pattern.clone();
        let mut query = KeysQuery { pattern, after_write, timeout_ms, ..KeysQuery::default() };
        let mut all = Keys { keys: Vec::new(), next: None };
        loop {
            query.limit = left;
            let mut page = client.keys(&query).await?;
            if let Some(left) = &mut left {
                page.keys.truncate(*left as usize);
                *left -= page.keys.len() as u32;
            }
            let is_stuck = page.keys.is_empty();
            if context.out.is_json() {
                all.keys.append(&mut page.keys);
            } else {
                for row in &page.keys {
                    let key = printable(&row.key);
                    let line = if self.long { format!("{:<8}  {key}", row.kind) } else { key.into_owned() };
                    context.out.line(&line)?;
                }
            }
            match page.next {
                Some(next) if left != Some(0) && !is_stuck => query.after = Some(next),
                next => {
                    all.next = next;
                    break;
                }
            }
        }
        if context.out.is_json() {
            context.out.json(&all)?;
        }
        Ok(Exit::Yes)
    }
}

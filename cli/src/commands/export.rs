use super::Context;
use super::after::AfterArgs;
use crate::{End, complete, output, text};
use chinwag_api::{CellsQuery, Content, Exit};

/// Write all that is held to standard output, one JSON object a line
///
/// Each line is what `get --json` shows of a key: a register with its value, and with all of them where there are
/// several concurrent ones; a counter with its sum; a set with its elements; a flag; a map
/// with its fields. `import` reads it.
///
/// Keys come page by page, so that any number of them takes little memory. What is written meanwhile may be in it or
/// not: each line is true, and all of them together are no picture of one moment.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Only keys that begin with this [default: all]
    #[arg(add = complete::keys())]
    prefix: Option<String>,
    #[command(flatten)]
    after: AfterArgs,
}

impl ExportArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let client = context.client()?;
        let (after_write, timeout_ms) = (self.after.token(), self.after.timeout_ms());
        let prefix = self.prefix;
        let mut query =
            CellsQuery { prefix, siblings: true, after_write, timeout_ms, ..CellsQuery::default() };
        let mut count = 0;
        loop {
            let page = client.cells(&query).await?;
            count += page.cells.len() as u64;
            let mut cells = page.cells;
            cells.iter_mut().for_each(|cell| plain(&mut cell.content));
            let lines: String = cells.iter().map(|cell| output::json(cell) + "\n").collect();
            context.out.raw(lines.as_bytes())?;
            match page.next {
                Some(next) if !lines.is_empty() => query.after = Some(next),
                _ => break,
            }
        }
        context.out.say(&format!("{} exported", text::count(count, "key")))?;
        Ok(Exit::Yes)
    }
}

/// Without the siblings of values that have none: they would say the same twice.
fn plain(content: &mut Content) {
    match content {
        Content::Register { siblings, .. } if siblings.len() < 2 => siblings.clear(),
        Content::Map { fields } => fields.values_mut().for_each(plain),
        Content::Conflict { contents } => contents.iter_mut().for_each(plain),
        _ => {}
    }
}

use super::Context;
use super::after::AfterArgs;
use super::write::{FieldArgs, place};
use crate::complete;
use crate::nearest::nearest;
use crate::text::{self, Side};
use crate::{End, output::Tone};
use chinwag_api::{CellQuery, Client, Content, Exit, Failure, KeysQuery, Kind, Sibling};
use chinwag_base::key::printable;
use std::collections::BTreeMap;

/// Pages of keys that are looked through for the nearest; a suggestion is not worth more.
const PAGES_MAX: usize = 4;

/// Show what a key holds
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// The key
    #[arg(add = complete::keys())]
    key: String,
    /// Show all concurrent values of a register, the winner first: who wrote each, when, and its dot, by which the log
    /// names the write
    #[arg(long)]
    siblings: bool,
    #[command(flatten)]
    field: FieldArgs,
    #[command(flatten)]
    after: AfterArgs,
    /// Write the exact bytes of a register and nothing else
    #[arg(long, conflicts_with_all = ["siblings", "json"])]
    raw: bool,
}

impl GetArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let client = context.client()?;
        let (after, timeout_ms) = (self.after.token(), self.after.timeout_ms());
        let query = CellQuery { siblings: self.siblings, after, timeout_ms };
        let cell = match client.field(&self.key, &self.field.field, &query).await {
            Ok(cell) => cell,
            Err(failure) if failure.kind == Kind::NoSuchKey => {
                return Err(with_nearest(&client, failure, &self.key, "get").await.into());
            }
            Err(failure) => return Err(failure.into()),
        };
        if context.out.is_json() {
            context.out.json(&cell)?;
        } else {
            print(context, "get", &self.key, &self.field.field, &cell.content, self.siblings, self.raw)?;
            if let Some(unix_ms) = cell.expires_unix_ms {
                let what = match cell.content {
                    Content::Register { .. } | Content::Flag { .. } => "it",
                    _ => "a part of it",
                };
                context
                    .out
                    .say(&format!("{what} goes by itself at {}", super::watch::time_of_day(unix_ms)))?;
            }
        }
        Ok(if matches!(cell.content, Content::Conflict { .. }) { Exit::No } else { Exit::Yes })
    }
}

/// Prints what a key holds, or a field of it, for the command `verb`.
pub(crate) fn print(
    context: &mut Context,
    verb: &str,
    key: &str,
    field: &[String],
    content: &Content,
    with_siblings: bool,
    raw: bool,
) -> Result<(), End> {
    let (named, typed) = (place(key, field), typed(key, field));
    match content {
        Content::Register { siblings, .. } if with_siblings && !siblings.is_empty() => {
            let rows = text::table(
                &[
                    ("VALUE", Side::Left),
                    ("ORIGIN", Side::Left),
                    ("WRITTEN", Side::Left),
                    ("DOT", Side::Left),
                ],
                &siblings.iter().map(row).collect::<Vec<_>>(),
            );
            for (i, line) in rows.iter().enumerate() {
                let line = if i == 0 { context.out.paint(Tone::Heading, line) } else { line.clone() };
                context.out.line(&line)?;
            }
        }
        Content::Register { value, .. } if raw => context.out.raw(value.as_bytes())?,
        Content::Register { value, .. } => match value.as_text() {
            Some(text) => context.out.line(&text::lines(text))?,
            None => return Err(not_text(verb, &typed, value.as_bytes().len()).into()),
        },
        _ if raw => {
            let kind = content.kind();
            return Err(Failure::new(
                Kind::WrongKind,
                format!("{named} is a {kind}, which has no raw bytes"),
            )
            .hint(format!("chinwag {verb} {typed}"))
            .into());
        }
        Content::Counter { count } => context.out.line(&count.to_string())?,
        Content::Set { elements } => {
            for element in elements {
                let line =
                    element.as_text().map_or_else(|| element.to_string(), |t| printable(t).into_owned());
                context.out.line(&line)?;
            }
        }
        Content::Flag { .. } => context.out.line("on")?,
        Content::Map { fields } => {
            let mut rows = Vec::new();
            rows_of(fields, "", &mut rows);
            for line in
                text::table(&[("FIELD", Side::Left), ("TYPE", Side::Left), ("VALUE", Side::Left)], &rows)
            {
                context.out.line(&line)?;
            }
        }
        Content::Conflict { contents } => {
            for content in contents {
                context.out.line(&format!("{:<8}  {}", content.kind(), summary(content)))?;
            }
            let kind = contents.first().map_or("TYPE".into(), |c| c.kind().to_string());
            let what = match verb {
                "get" => format!("delete all but one: chinwag del {typed} --kind {kind}"),
                _ => format!("delete it, and put what it should be: chinwag dht del {typed}"),
            };
            context.out.say(&format!("{named} was written as several types at once; {what}"))?;
        }
    }
    Ok(())
}

/// A row for each field that is no map, with the names down to it.
fn rows_of(fields: &BTreeMap<String, Content>, above: &str, rows: &mut Vec<Vec<String>>) {
    for (name, content) in fields {
        let name = format!("{above}{}", printable(name));
        match content {
            Content::Map { fields } => rows_of(fields, &format!("{name} / "), rows),
            content => rows.push(vec![name, content.kind().to_string(), summary(content)]),
        }
    }
}

/// A key, or a field of it, as it stands in a command.
fn typed(key: &str, field: &[String]) -> String {
    let fields: String = field.iter().map(|name| format!(" --field {}", printable(name))).collect();
    format!("{}{fields}", printable(key))
}

fn not_text(verb: &str, typed: &str, bytes: usize) -> Failure {
    Failure::new(Kind::BadRequest, format!("the value is not text ({})", text::count(bytes as u64, "byte")))
        .hint(format!("chinwag {verb} {typed} --raw > FILE"))
        .hint(format!("chinwag {verb} {typed} --json"))
}

fn row(sibling: &Sibling) -> Vec<String> {
    vec![
        super::write::shown(&sibling.value),
        printable(&sibling.origin).into_owned(),
        super::watch::time_of_day(sibling.at_unix_ms),
        printable(&sibling.dot).into_owned(),
    ]
}

/// A content on one line.
pub(super) fn summary(content: &Content) -> String {
    match content {
        Content::Register { value, .. } => super::write::shown(value),
        Content::Counter { count } => count.to_string(),
        Content::Set { elements } => text::values(elements),
        Content::Flag { .. } => "on".into(),
        Content::Map { fields } => text::count(fields.len() as u64, "field"),
        Content::Conflict { .. } => "…".into(),
    }
}

/// The failure with the key that was probably meant. That none can be found is no second failure.
pub(crate) async fn with_nearest(client: &Client, failure: Failure, key: &str, verb: &str) -> Failure {
    if !failure.tries.is_empty() {
        return failure;
    }
    let mut keys = Vec::new();
    let mut query = KeysQuery::default();
    for _ in 0..PAGES_MAX {
        let Ok(page) = client.keys(&query).await else { break };
        keys.extend(page.keys.into_iter().map(|row| row.key));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    match nearest(key, keys.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("chinwag {verb} {near}")),
        None => failure.hint("chinwag keys"),
    }
}

mod line;

use super::Context;
use super::write::{WaitArgs, held, place};
use crate::ndjson::{self, Line, Lines, at_line};
use crate::{End, text};
use chinwag_api::client::REPLY_BYTES_MAX;
use chinwag_api::{
    Cell, CellKind, CellQuery, Client, Condition, Content, Exit, Failure, Kind, Operation, Schema, WriteOp,
    WriteReply, from_json,
};
use line::{ops_of, plus, time_left, weight};
use serde::Serialize;
use std::path::PathBuf;

/// Operations in one write: a commit's worth, and four times as many still fit a request, because what is there may
/// have to be deleted first, type by type.
const BATCH_OPS: usize = 256;
/// Bytes of keys and values in one write: as JSON six times as many still fit a request.
const BATCH_BYTES: usize = 1024 * 1024;
/// Deletions of what is there in one write: with the operations of the batch they fit what a daemon takes.
const DELETIONS_MAX: usize = 2 * BATCH_OPS;
/// How often a batch is written again whose keys others write meanwhile.
const TRIES_MAX: usize = 8;

/// Write what `export` wrote
///
/// Each line is written with its type: a register's value, a counter's sum as one increment, a set's elements, a flag, a
/// map's fields. They are ordinary writes of this daemon, in batches of all or nothing; a line that cannot be written ends it, and is
/// told by its number. Of several concurrent values of a register the one that a plain read shows is written. A key
/// that was written as several types at once is an error; so are keys that exist, unless you say otherwise. A set of
/// more than 256 elements, or a map of more than 256 writes, takes several batches. An empty set is no key, and nothing
/// is written for it.
///
/// A register or a flag that goes by itself gets the time that it had left; one that has gone meanwhile, or that went
/// with its daemon, is skipped. In sets and maps such things are written to stay.
///
/// If it ends early, what was written stays: go on with `--existing skip`, or with `--existing overwrite` if there are
/// sets of more than 256 elements, of which a part may be there already.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// The file; - or none is standard input
    #[arg(value_parser = ndjson::file)]
    file: Option<PathBuf>,
    /// What to do with a key that exists
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    existing: Existing,
    #[command(flatten)]
    wait: WaitArgs,
}

/// What to do with a key that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Existing {
    /// End there
    #[default]
    Fail,
    /// Leave it as it is
    Skip,
    /// Delete what it holds, and write the line
    Overwrite,
}

/// What became of the lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Imported {
    /// Keys that were written, those that existed among them.
    imported: u64,
    /// Keys of these that existed.
    overwritten: u64,
    /// Keys that were left as they are.
    skipped: u64,
}

impl Schema for Imported {
    const SCHEMA: &'static str = "chinwag.import/1";
}

impl ImportArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let client = context.client()?;
        let mut lines = Lines::open(self.file.as_deref(), REPLY_BYTES_MAX)?;
        let mut import = Import::new(client, self.existing, self.wait);
        while let Some(Line { number, bytes }) = lines.next()? {
            if let Err(failure) = import.take(number, &bytes).await {
                return Err(import.ended_early(failure).into());
            }
        }
        if let Err(failure) = import.flush().await {
            return Err(import.ended_early(failure).into());
        }
        if context.out.is_json() {
            context.out.json(&import.done)?;
        } else {
            context.out.line(&import.summary())?;
        }
        Ok(Exit::Yes)
    }
}

/// An import on its way.
struct Import {
    client: Client,
    existing: Existing,
    wait: WaitArgs,
    /// What the next batch writes.
    batch: Vec<Part>,
    done: Imported,
    /// The line of a set that is left as it is, of which more parts may come.
    skipped: Option<u64>,
    last: Option<WriteReply>,
}

/// One line, or a part of it.
struct Part {
    line: u64,
    op: Operation,
    /// The field that the line is about, if it is not the key: what is beside it stays.
    at: Vec<String>,
    /// Whether it is the first of its line: then the key must be as it was found.
    is_first: bool,
    found: Found,
    /// Whether a map was deleted before it.
    has_replaced: bool,
}

/// What a key held when it was last looked at.
enum Found {
    Nothing,
    Something { kinds: Vec<CellKind>, condition: Option<Condition> },
}

impl Part {
    /// What its line is about, for people.
    fn place(&self) -> String {
        place(self.op.op.key(), &self.at)
    }
}

/// The types of what a key holds.
fn kinds_of(content: &Content) -> Vec<CellKind> {
    match content {
        Content::Conflict { contents } => contents.iter().map(Content::kind).collect(),
        content => vec![content.kind()],
    }
}

/// How many writes it takes to delete what a key holds.
fn deletions_of(content: &Content) -> usize {
    match content {
        Content::Map { fields } => fields.values().map(deletions_of).sum(),
        Content::Conflict { contents } => contents.iter().map(deletions_of).sum(),
        _ => 1,
    }
}

impl Import {
    fn new(client: Client, existing: Existing, wait: WaitArgs) -> Self {
        let (batch, done) = (Vec::new(), Imported::default());
        Import { client, existing, wait, batch, done, skipped: None, last: None }
    }

    /// Takes a line, and writes those before it if they are enough.
    async fn take(&mut self, line: u64, json: &[u8]) -> Result<(), Failure> {
        let cell: Cell = from_json(json).map_err(|why| {
            at_line(line, Failure::new(Kind::BadRequest, "that is no line of an export").because(why))
        })?;
        let Some(ttl_ms) = time_left(&cell, now_unix_ms()) else {
            self.done.skipped += 1;
            return Ok(());
        };
        let mut ops = Vec::new();
        ops_of(&cell.key, &cell.field, cell.content, &mut ops).map_err(|failure| at_line(line, failure))?;
        ops.iter_mut().for_each(|op| op.ttl_ms = ttl_ms);
        for (number, op) in ops.into_iter().enumerate() {
            let is_first = number == 0;
            // Twice the same key in one batch: the second must find what the first has done.
            let is_there = is_first && self.batch.iter().any(|part| part.op.op.key() == op.op.key());
            let (ops, bytes) = self.batch.iter().map(|part| weight(&part.op.op)).fold(weight(&op.op), plus);
            if is_there || ops > BATCH_OPS || bytes > BATCH_BYTES {
                self.flush().await?;
            }
            let at = cell.field.clone();
            self.batch.push(Part { line, op, at, is_first, found: Found::Nothing, has_replaced: false });
        }
        Ok(())
    }

    /// Writes the batch.
    async fn flush(&mut self) -> Result<(), Failure> {
        self.look_at_maps().await?;
        for _ in 0..TRIES_MAX {
            let skipped = self.skipped;
            self.batch.retain(|part| skipped != Some(part.line));
            if self.batch.is_empty() {
                return Ok(());
            }
            let (ops, part_of) = self.request();
            let failure = match self.client.write(&self.wait.request(ops)).await {
                Ok(reply) => return self.written(reply),
                Err(failure) => failure,
            };
            let part = failure.op.map_or(0, |op| part_of.get(op).copied().unwrap_or_default());
            // What a key holds has changed since it was looked at, or it was never looked at.
            let is_changed = matches!(
                failure.kind,
                Kind::ConditionFailed | Kind::WrongKind | Kind::NoSuchKey | Kind::Conflict
            );
            if self.existing == Existing::Fail || !is_changed {
                return Err(self.refused(part, failure));
            }
            self.look(part).await?;
            // Nothing is where the line writes, and what is above it is no map.
            let part_at = self.batch.get(part).filter(|_| failure.kind == Kind::WrongKind);
            if part_at.is_some_and(|part| !part.at.is_empty() && matches!(part.found, Found::Nothing)) {
                return Err(self.refused(part, failure));
            }
        }
        Err(Failure::new(Kind::Busy, "others write the same keys all the time")
            .because(format!("line {} and those near it", self.batch.first().map_or(0, |part| part.line))))
    }

    /// The operations of the batch, and for each of them which part it is for.
    fn request(&self) -> (Vec<Operation>, Vec<usize>) {
        let (mut ops, mut part_of) = (Vec::new(), Vec::new());
        for (number, part) in self.batch.iter().enumerate() {
            if part.is_first {
                match &part.found {
                    Found::Nothing => {
                        ops.push(Operation { condition: Some(Condition::Absent), ..part.op.clone() });
                    }
                    Found::Something { kinds, condition } => {
                        let mut condition = condition.clone();
                        for kind in kinds {
                            let op = WriteOp::Del { key: part.op.op.key().to_owned(), kind: Some(*kind) };
                            let (field, condition) = (part.at.clone(), condition.take());
                            ops.push(Operation { field, condition, ..op.into() });
                        }
                        ops.push(part.op.clone());
                    }
                }
            } else {
                ops.push(part.op.clone());
            }
            part_of.resize(ops.len(), number);
        }
        (ops, part_of)
    }

    /// A condition on a field says nothing of its map, so that is looked at before. What is there is in the way, as what a
    /// condition finds is; a map that is overwritten is deleted on its own, because it may be as large as a batch.
    async fn look_at_maps(&mut self) -> Result<(), Failure> {
        for number in 0..self.batch.len() {
            let part = &self.batch[number];
            if !part.is_first || part.op.field.len() == part.at.len() {
                continue;
            }
            let Some(cell) = self.cell(number).await? else { continue };
            match self.existing {
                Existing::Fail => {
                    let exists = Failure::new(Kind::ConditionFailed, format!("{} exists", part.place()));
                    return Err(self.refused(number, exists));
                }
                Existing::Skip => return self.look(number).await,
                Existing::Overwrite if cell.content.kind() == CellKind::Map => {
                    self.delete_map(number, &cell).await.map_err(|failure| self.refused(number, failure))?;
                }
                // Another type is found, and deleted, when the batch is refused.
                Existing::Overwrite => {}
            }
        }
        Ok(())
    }

    /// What is where a part's line is to be.
    async fn cell(&self, number: usize) -> Result<Option<Cell>, Failure> {
        let part = &self.batch[number];
        match self.client.field(part.op.op.key(), &part.at, &CellQuery::default()).await {
            Ok(cell) => Ok(Some(cell)),
            Err(failure) if failure.kind == Kind::NoSuchKey => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn delete_map(&mut self, number: usize, cell: &Cell) -> Result<(), Failure> {
        let part = &self.batch[number];
        let op = WriteOp::Del { key: part.op.op.key().to_owned(), kind: Some(CellKind::Map) };
        let condition = cell.version.map(Condition::Version);
        let op = Operation { field: part.at.clone(), condition, ..op.into() };
        self.client.write(&self.wait.request(vec![op])).await?;
        self.batch[number].has_replaced = true;
        Ok(())
    }

    /// Looks what the keys hold, from this part of the batch on.
    async fn look(&mut self, from: usize) -> Result<(), Failure> {
        let mut deletions = 0;
        for number in from..self.batch.len() {
            if !self.batch[number].is_first {
                continue;
            }
            let mut cell = self.cell(number).await?;
            if let Some(found) = &cell
                && self.existing == Existing::Overwrite
            {
                deletions += deletions_of(&found.content);
                // More do not fit the batch.
                if deletions > DELETIONS_MAX && kinds_of(&found.content).contains(&CellKind::Map) {
                    match self.delete_map(number, found).await {
                        Ok(()) => cell = self.cell(number).await?,
                        // Somebody was quicker: the batch is refused again, and this looked at again.
                        Err(failure) if matches!(failure.kind, Kind::ConditionFailed | Kind::NoSuchKey) => {}
                        Err(failure) => return Err(self.refused(number, failure)),
                    }
                }
            }
            self.batch[number].found = match cell {
                Some(Cell { content, version, .. }) => {
                    Found::Something { kinds: kinds_of(&content), condition: version.map(Condition::Version) }
                }
                None => Found::Nothing,
            };
        }
        if self.existing == Existing::Skip {
            let exists = |part: &&Part| matches!(part.found, Found::Something { .. });
            let lines: Vec<u64> = self.batch.iter().filter(exists).map(|part| part.line).collect();
            self.done.skipped += lines.len() as u64;
            // Only of the last can more come.
            self.skipped =
                lines.last().copied().filter(|last| self.batch.last().is_some_and(|p| p.line == *last));
            self.batch.retain(|part| !lines.contains(&part.line));
        }
        Ok(())
    }

    fn written(&mut self, reply: WriteReply) -> Result<(), Failure> {
        for part in self.batch.drain(..).filter(|part| part.is_first) {
            self.done.imported += 1;
            let has_replaced = part.has_replaced || matches!(part.found, Found::Something { .. });
            self.done.overwritten += u64::from(has_replaced);
        }
        let judged = self.wait.judged(&reply);
        self.last = Some(reply);
        judged
    }

    /// The failure of a part, and with it of its batch.
    fn refused(&self, part: usize, mut failure: Failure) -> Failure {
        let Some(of_line) = self.batch.get(part) else { return failure };
        let line = &of_line.line;
        if failure.kind == Kind::ConditionFailed {
            failure.message = format!("{} exists already", of_line.place());
            failure.because.truncate(1);
            failure.tries = ["chinwag import --existing skip", "chinwag import --existing overwrite"]
                .map(Into::into)
                .to_vec();
        }
        if failure.op.is_some() || self.batch.len() == 1 || failure.kind == Kind::ConditionFailed {
            failure = at_line(*line, failure);
        }
        failure.op = None;
        let lines = self.batch.iter().map(|part| part.line);
        let (first, last) = (lines.clone().min().unwrap_or_default(), lines.max().unwrap_or_default());
        match first == last {
            true => failure,
            false => failure.because(format!("nothing of lines {first} to {last} is written")),
        }
    }

    /// The failure, and what stands all the same.
    fn ended_early(&self, failure: Failure) -> Failure {
        match self.done.imported {
            0 => failure,
            1 => failure.because("1 key before it is written"),
            count => failure.because(format!("{} before it are written", text::count(count, "key"))),
        }
    }

    fn summary(&self) -> String {
        let Imported { imported, overwritten, skipped } = self.done;
        let mut summary = format!("{} imported", text::count(imported, "key"));
        if overwritten > 0 {
            summary += &format!(" ({} overwritten)", text::thousands(overwritten));
        }
        if skipped > 0 {
            summary += &format!(" · {} skipped", text::thousands(skipped));
        }
        match &self.last {
            // The last batch speaks for all: if they waited, each has been waited for.
            Some(reply) => format!("{summary} · {}", held(reply)),
            None => summary,
        }
    }
}

fn now_unix_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}

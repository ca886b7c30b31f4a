//! The cells on disk, read by as many threads as there are processors.
//!
//! A start is nearly all this: a million cells are a million checksums to verify, values to decode and terms to hash. The
//! table is walked by one thread at a time, which takes a batch of rows as they are; what is in them each finds out by
//! itself. A [`Stock`] does not mind in which order its stretches come.

use super::rows::Row as _;
use super::state::OUT_OF_PLACE;
use chinwag_base::Key;
use chinwag_crdt::{Part, Stock};
use redb::{Range, ReadableTable};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::thread;

/// Rows that a thread takes at a time.
const BATCH_ROWS: usize = 4_096;
/// More would only wait for each other to take rows.
const THREADS_MAX: usize = 4;

/// A table of pieces.
pub(super) trait Pieces: ReadableTable<(&'static str, u32), &'static [u8]> {}
impl<T: ReadableTable<(&'static str, u32), &'static [u8]>> Pieces for T {}

/// What is in the table of cells.
#[derive(Default)]
pub(super) struct Scanned {
    /// The cells of which every piece is believed.
    pub(super) cells: Stock,
    /// The pieces that are not believed.
    pub(super) bad: Vec<BadPiece>,
    /// The keys of the cells that such a piece is missing in.
    pub(super) keys: BTreeSet<String>,
}

/// A piece of a cell that is not believed.
pub(super) struct BadPiece {
    /// Where it stands.
    pub(super) text: String,
    pub(super) index: u32,
    pub(super) row: Vec<u8>,
    /// The key that it names, if it can be read: a row in another's place is missing in its own.
    names: Option<Key>,
    pub(super) why: String,
}

/// Reads every piece of every cell.
pub(super) fn scan(table: &impl Pieces) -> Result<Scanned, redb::Error> {
    let mut scanned = scan_but(table, &BTreeSet::new())?;
    for BadPiece { text, names, .. } in &scanned.bad {
        scanned.keys.insert(text.clone());
        scanned.keys.extend(names.iter().map(|key| key.as_str().to_owned()));
    }
    if !scanned.keys.is_empty() {
        // Pieces of theirs that are believed have been taken for the whole cell. It happens once in a disk's life.
        scanned.cells = scan_but(table, &scanned.keys)?.cells;
    }
    Ok(scanned)
}

/// Reads every piece of every cell but of those under these keys.
fn scan_but(table: &impl Pieces, but: &BTreeSet<String>) -> Result<Scanned, redb::Error> {
    let source = Mutex::new(Source { pieces: table.iter()?, kept: None });
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = processors.min(THREADS_MAX).min(table.len()? as usize / BATCH_ROWS + 1);
    let mut scanned = thread::scope(|scope| {
        let work = || Source::scan(&source, but);
        // One that the system refuses is one less.
        let others: Vec<_> = (1..threads)
            .filter_map(|_| thread::Builder::new().name("opening".into()).spawn_scoped(scope, work).ok())
            .collect();
        let mut scanned = work()?;
        for other in others {
            let Scanned { cells, bad, .. } = other.join().unwrap_or_else(|e| std::panic::resume_unwind(e))?;
            scanned.cells.append(cells);
            scanned.bad.extend(bad);
        }
        Ok::<_, redb::Error>(scanned)
    })?;
    scanned.bad.sort_by(|one, other| (&one.text, one.index).cmp(&(&other.text, other.index)));
    Ok(scanned)
}

/// The rows that nobody has taken yet.
struct Source<'a> {
    pieces: Range<'a, (&'static str, u32), &'static [u8]>,
    /// The first row of the next batch, which was taken in order to see where this one ends.
    kept: Option<(String, u32, Vec<u8>)>,
}

impl Source<'_> {
    /// Takes batches until there are none.
    fn scan(source: &Mutex<Source<'_>>, but: &BTreeSet<String>) -> Result<Scanned, redb::Error> {
        let (mut scanned, mut batch) = (Scanned::default(), Batch::default());
        loop {
            batch.clear();
            // Poisoned if redb panics over its pages, which ends all of this.
            source.lock().expect("nobody panics who reads a sound store").fill(&mut batch)?;
            if batch.pieces.is_empty() {
                return Ok(scanned);
            }
            let cells = batch.cells(but, &mut scanned.bad);
            scanned.cells.append(cells);
        }
    }

    /// Takes the next rows, so that all pieces of a cell are in one batch.
    fn fill(&mut self, batch: &mut Batch) -> Result<(), redb::Error> {
        if let Some((text, index, row)) = self.kept.take() {
            batch.push(&text, index, &row);
        }
        for piece in &mut self.pieces {
            let (at, row) = piece?;
            let (text, index) = at.value();
            if batch.pieces.len() >= BATCH_ROWS && index == 0 {
                self.kept = Some((text.to_owned(), index, row.value().to_vec()));
                break;
            }
            batch.push(text, index, row.value());
        }
        Ok(())
    }
}

/// Rows as they stand in the table, in one piece of memory that the next ones use again.
#[derive(Default)]
struct Batch {
    texts: String,
    rows: Vec<u8>,
    /// Where the text and the row end, and the number between.
    pieces: Vec<(usize, u32, usize)>,
}

impl Batch {
    fn clear(&mut self) {
        self.texts.clear();
        self.rows.clear();
        self.pieces.clear();
    }

    fn push(&mut self, text: &str, index: u32, row: &[u8]) {
        self.texts.push_str(text);
        self.rows.extend_from_slice(row);
        self.pieces.push((self.texts.len(), index, self.rows.len()));
    }

    /// The cells that these rows are.
    fn cells(&self, but: &BTreeSet<String>, bad: &mut Vec<BadPiece>) -> Stock {
        let mut cells = Stock::default();
        let mut last: Option<(Key, Vec<Part>)> = None;
        let (mut text_from, mut row_from) = (0, 0);
        for &(text_to, index, row_to) in &self.pieces {
            let (text, row) = (&self.texts[text_from..text_to], &self.rows[row_from..row_to]);
            (text_from, row_from) = (text_to, row_to);
            if !but.is_empty() && but.contains(text) {
                continue;
            }
            match <(Key, u32, Vec<Part>)>::from_row(row) {
                Ok((key, at, parts)) if key.as_str() == text && at == index => match &mut last {
                    // All pieces of a cell stand together.
                    Some((same, cell)) if *same == key => cell.extend(parts),
                    _ => {
                        if let Some((key, parts)) = last.replace((key, parts)) {
                            cells.put(key, parts);
                        }
                    }
                },
                piece => bad.push(BadPiece {
                    text: text.to_owned(),
                    index,
                    row: row.to_vec(),
                    why: piece.as_ref().err().cloned().unwrap_or_else(|| OUT_OF_PLACE.into()),
                    names: piece.ok().map(|(key, ..)| key),
                }),
            }
        }
        if let Some((key, parts)) = last {
            cells.put(key, parts);
        }
        cells
    }
}

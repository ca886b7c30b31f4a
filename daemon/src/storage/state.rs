//! The replicated state on disk: rows of the log, and the checkpoint that they follow.
//!
//! What must not be lost with one bad sector is small and is kept twice: the clock, the notes on doomed dots, and the
//! rest of what stands beside the cells. A damaged cell is known to be, by its key, and peers repair it; a damaged row of
//! the log becomes [`Row::Lost`], so that whatever depends on it is known to be incomplete.

use super::cells::{BadPiece, Pieces, Scanned, scan};
use super::rows::{Row as _, to_row};
use super::{BadRow, CELLS, CHECKPOINT, LOG_OF_FORMAT_1, QUARANTINE, ROWS};
use chinwag_base::{Digest, Key, ReplicaId};
use chinwag_crdt::{Checkpoint, Clock, Dot, Entry, Part, Row, Session, Stock};
use chinwag_gossip::Recovered;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a checkpoint is besides its lists and cells.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Head {
    position: u64,
    session: Option<Session>,
    unsettled: bool,
}

/// Notes and keys in one piece.
const NOTES_PER_PIECE: usize = 1_024;
/// Bytes of a cell's parts in one piece, unless a part alone has more.
const PIECE_BYTES: usize = 128 * 1024;
/// The copies of what is kept twice.
pub(super) const COPIES: [&str; 2] = ["", "copy of "];

const HEAD: &str = "head";
const CLOCK: &str = "clock";
const DOOMED: &str = "doomed";
const DAMAGED: &str = "damaged";
/// Stores of earlier versions have none, and are written without one where a cell was lost.
const DIGEST: &str = "digest";

/// Appends rows to the log.
pub(super) fn append(txn: &WriteTransaction, first: u64, rows: &[Row]) -> Result<(), redb::Error> {
    let mut table = txn.open_table(ROWS)?;
    for (position, row) in (first..).zip(rows) {
        table.insert(position, to_row(&(position, row)).as_slice())?;
    }
    Ok(())
}

/// Writes a checkpoint down, in place of the one before; rows up to `cut` that are in it go.
pub(super) fn write(txn: &WriteTransaction, checkpoint: &Checkpoint, cut: u64) -> Result<(), redb::Error> {
    let mut cells = txn.open_table(CELLS)?;
    for (key, parts) in &checkpoint.cells {
        let text = key.as_str();
        let pieces = pieces_of(parts);
        cells.retain_in((text, pieces.len() as u32)..=(text, u32::MAX), |_, _| false)?;
        for (index, piece) in (0_u32..).zip(pieces) {
            cells.insert((text, index), to_row(&(key, index, piece)).as_slice())?;
        }
    }
    drop(cells);

    let Checkpoint { position, clock, session, unsettled, digest, doomed, damaged, cells: _ } = checkpoint;
    let head = Head { position: *position, session: session.clone(), unsettled: *unsettled };
    let damaged: Vec<&Key> = damaged.iter().collect();
    let mut lists: Vec<(&str, Vec<Vec<u8>>)> = vec![(HEAD, vec![to_row(&head)])];
    let clocks = pieces_of_clock(clock).into_iter();
    lists.push((CLOCK, clocks.map(|replicas| to_row(&clock.only(replicas))).collect()));
    lists.push((DOOMED, doomed.chunks(NOTES_PER_PIECE).map(|notes| to_row(&notes)).collect()));
    lists.push((DIGEST, digest.iter().map(to_row).collect()));
    lists.push((DAMAGED, damaged.chunks(NOTES_PER_PIECE).map(|keys| to_row(&keys)).collect()));
    let mut table = txn.open_table(CHECKPOINT)?;
    table.retain(|_, _| false)?;
    for copy in COPIES {
        for (name, pieces) in &lists {
            let name = format!("{copy}{name}");
            for (index, piece) in (0_u32..).zip(pieces) {
                table.insert((name.as_str(), index), piece.as_slice())?;
            }
        }
    }
    drop(table);

    let mut rows = txn.open_table(ROWS)?;
    rows.retain_in(..=cut.min(*position), |_, _| false)?;
    Ok(())
}

/// Rows of the log up to `cut` that are in the checkpoint go.
pub(super) fn cut(txn: &WriteTransaction, cut: u64) -> Result<(), redb::Error> {
    let head = txn.open_table(CHECKPOINT)?.get((HEAD, 0))?.map(|row| Head::from_row(row.value()));
    // Without a head that can be read, every row may be needed.
    let Some(Ok(head)) = head else { return Ok(()) };
    txn.open_table(ROWS)?.retain_in(..=cut.min(head.position), |_, _| false)?;
    Ok(())
}

/// The replicas of a clock, so many to a piece that it fits a row. One with as many gaps as there may be does.
fn pieces_of_clock(clock: &Clock) -> Vec<Vec<ReplicaId>> {
    /// An id and a base, and a gap, encoded at most.
    const REPLICA_BYTES: usize = 64;
    const GAP_BYTES: usize = 18;
    let mut pieces: Vec<Vec<ReplicaId>> = Vec::new();
    let mut room = 0;
    for replica in clock.replicas() {
        let weight = REPLICA_BYTES + GAP_BYTES * clock.gaps_of(replica);
        match pieces.last_mut() {
            Some(piece) if weight <= room => {
                room -= weight;
                piece.push(replica);
            }
            _ => {
                room = PIECE_BYTES.saturating_sub(weight);
                pieces.push(vec![replica]);
            }
        }
    }
    pieces
}

/// A cell's parts in pieces that fit a row.
fn pieces_of(parts: &[Part]) -> Vec<Vec<&Part>> {
    let mut pieces: Vec<Vec<&Part>> = Vec::new();
    let mut room = 0;
    for part in parts {
        let weight = part.weight();
        match pieces.last_mut() {
            Some(piece) if weight <= room => {
                room -= weight;
                piece.push(part);
            }
            _ => {
                room = PIECE_BYTES.saturating_sub(weight);
                pieces.push(vec![part]);
            }
        }
    }
    pieces
}

/// Whether the log has this row, or the checkpoint is the one of this position.
pub(super) fn holds(
    txn: &ReadTransaction,
    row: Option<u64>,
    checkpoint: Option<u64>,
) -> Result<bool, redb::Error> {
    if let Some(row) = row
        && txn.open_table(ROWS)?.get(row)?.is_some()
    {
        return Ok(true);
    }
    let Some(position) = checkpoint else { return Ok(false) };
    let head = txn.open_table(CHECKPOINT)?.get((HEAD, 0))?.map(|row| Head::from_row(row.value()));
    Ok(matches!(head, Some(Ok(head)) if head.position == position))
}

/// Why the state cannot be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Disk(redb::Error),
    /// Both copies of what stands beside the cells are damaged.
    Damaged(String),
}

impl<E: Into<redb::Error>> From<E> for ReadError {
    fn from(error: E) -> Self {
        ReadError::Disk(error.into())
    }
}

/// Reads the state. Damaged rows of the log and damaged cells are moved to the quarantine.
pub(super) fn read(txn: &WriteTransaction, bad_rows: &mut Vec<BadRow>) -> Result<Recovered, ReadError> {
    let mut head = read_head(&txn.open_table(CHECKPOINT)?)?;
    let known = head.damaged.len();
    let cells = read_cells(txn, &mut head.damaged, bad_rows)?;
    if head.damaged.len() > known {
        // It was that of more than is left.
        head.digest = None;
        // In the transaction that takes the damaged rows away: nobody would know of them any more.
        write(txn, &head, 0)?;
    }
    let rows = read_log(txn, bad_rows)?;
    Ok(Recovered { checkpoint: head.with(cells), rows })
}

/// What stands beside the cells, without any: the first copy that is whole.
pub(super) fn read_head(table: &impl Pieces) -> Result<Checkpoint, ReadError> {
    if table.first()?.is_none() {
        return Ok(Checkpoint::default());
    }
    let mut damaged = String::new();
    for copy in COPIES {
        match read_copy(table, copy) {
            Err(ReadError::Damaged(why)) => damaged = why,
            other => return other,
        }
    }
    Err(ReadError::Damaged(damaged))
}

pub(super) fn read_copy(table: &impl Pieces, copy: &str) -> Result<Checkpoint, ReadError> {
    let head: Head = list(table, copy, HEAD)?
        .pop()
        .ok_or_else(|| ReadError::Damaged("the head of the checkpoint is not there".into()))?;
    let mut clock = Clock::new();
    for piece in list::<Clock>(table, copy, CLOCK)? {
        clock.merge(&piece);
    }
    Ok(Checkpoint {
        position: head.position,
        clock,
        session: head.session,
        unsettled: head.unsettled,
        digest: list::<Digest>(table, copy, DIGEST)?.pop(),
        doomed: list::<Vec<(Dot, Key)>>(table, copy, DOOMED)?.concat(),
        damaged: list::<Vec<Key>>(table, copy, DAMAGED)?.into_iter().flatten().collect(),
        cells: Vec::new(),
    })
}

fn list<T: DeserializeOwned + Serialize>(
    table: &impl Pieces,
    copy: &str,
    name: &str,
) -> Result<Vec<T>, ReadError> {
    let name = format!("{copy}{name}");
    let mut values = Vec::new();
    for piece in table.range((name.as_str(), 0)..=(name.as_str(), u32::MAX))? {
        let (_, row) = piece?;
        let value = T::from_row(row.value());
        values.push(value.map_err(|why| ReadError::Damaged(format!("the {name} of the checkpoint: {why}")))?);
    }
    Ok(values)
}

fn read_cells(
    txn: &WriteTransaction,
    damaged: &mut BTreeSet<Key>,
    bad_rows: &mut Vec<BadRow>,
) -> Result<Stock, ReadError> {
    let mut table = txn.open_table(CELLS)?;
    let Scanned { cells, bad, keys } = scan(&table)?;
    let mut quarantine = txn.open_table(QUARANTINE)?;
    for BadPiece { text, index, row, why, .. } in bad {
        let at = [b"cells", text.as_bytes(), &index.to_be_bytes()].concat();
        quarantine.insert(at.as_slice(), row.as_slice())?;
        bad_rows.push(BadRow { table: "cells", why });
    }
    for text in keys {
        table.retain_in((text.as_str(), 0)..=(text.as_str(), u32::MAX), |_, _| false)?;
        damaged.extend(Key::try_from(text));
    }
    Ok(cells)
}

pub(super) const OUT_OF_PLACE: &str = "the row stands in another one's place";

/// A row of the log that is not believed: its position, the row, and why.
type BadLogRow = (u64, Vec<u8>, String);
type Log = Vec<(u64, Row)>;

fn read_log(txn: &WriteTransaction, bad_rows: &mut Vec<BadRow>) -> Result<Log, ReadError> {
    let mut quarantine = txn.open_table(QUARANTINE)?;
    let mut table = txn.open_table(ROWS)?;
    let (rows, bad) = scan_log(&table)?;
    for (position, bytes, why) in bad {
        quarantine
            .insert([b"log".as_slice(), &position.to_be_bytes()].concat().as_slice(), bytes.as_slice())?;
        table.insert(position, to_row(&(position, Row::Lost)).as_slice())?;
        bad_rows.push(BadRow { table: "log", why });
    }
    Ok(rows)
}

/// Every row of the log, in place of damaged ones [`Row::Lost`]; and the damaged ones.
pub(super) fn scan_log(
    table: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<(Log, Vec<BadLogRow>), redb::Error> {
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    for row in table.iter()? {
        let (position, bytes) = row?;
        let position = position.value();
        match <(u64, Row)>::from_row(bytes.value()) {
            Ok((at, row)) if at == position => rows.push((position, row)),
            row => {
                bad.push((
                    position,
                    bytes.value().to_vec(),
                    row.err().unwrap_or_else(|| OUT_OF_PLACE.into()),
                ));
                rows.push((position, Row::Lost));
            }
        }
    }
    Ok((rows, bad))
}

/// Format 1 had entries alone, in a table of another name, and no checkpoint.
pub(super) fn migrate_from_1(txn: &WriteTransaction, bad_rows: &mut Vec<BadRow>) -> Result<(), redb::Error> {
    let mut quarantine = txn.open_table(QUARANTINE)?;
    let old = txn.open_table(LOG_OF_FORMAT_1)?;
    let mut table = txn.open_table(ROWS)?;
    for row in old.iter()? {
        let (position, bytes) = row?;
        let position = position.value();
        let row = Entry::from_row(bytes.value()).map(|entry| Row::Write(Arc::new(entry))).or_else(|why| {
            quarantine
                .insert([b"log".as_slice(), &position.to_be_bytes()].concat().as_slice(), bytes.value())?;
            bad_rows.push(BadRow { table: "log", why });
            Ok::<Row, redb::Error>(Row::Lost)
        })?;
        table.insert(position, to_row(&(position, row)).as_slice())?;
    }
    drop(old);
    txn.delete_table(LOG_OF_FORMAT_1)?;
    Ok(())
}

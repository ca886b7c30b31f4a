//! The store, read again row by row: is every checksum right, and does what comes of it agree with itself?
//!
//! Nothing is changed, and nothing waits: redb shows a reader one commit while others follow. What is found here would
//! have been found at the next start, which sets damaged rows aside and has peers repair them.

use super::cells::{Pieces, scan};
use super::invites::OpenInvite;
use super::rows::Row as _;
use super::state::{ReadError, read_copy, read_head, scan_log};
use super::{CELLS, CHECKPOINT, FORMAT, FORMAT_OLDEST, INVITES, MEMBERS, QUARANTINE, ROWS};
use super::{cannot_read, check_format, guarded, open_database};
use chinwag_api::Failure;
use chinwag_base::{Digest, Key, ReplicaId};
use chinwag_crdt::{Audit, Replica, Stock};
use chinwag_gossip::Recovered;
use chinwag_membership::Record;
use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use redb::{TableDefinition, TableError, Value};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

/// The store as of one commit.
pub(crate) struct Snapshot {
    pub(super) txn: ReadTransaction,
    /// The writer closes no database that somebody reads.
    pub(super) lease: Arc<()>,
}

/// How many rows each table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rows {
    pub(crate) log: usize,
    pub(crate) cells: usize,
    pub(crate) checkpoint: usize,
    pub(crate) members: usize,
    pub(crate) invites: usize,
    pub(crate) quarantine: usize,
}

/// What was found in a store.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    pub(crate) rows: Rows,
    /// Rows that are not believed: where each is, and why.
    pub(crate) bad: Vec<String>,
    /// Positions of the log at which there should be a row.
    pub(crate) gaps: Vec<RangeInclusive<u64>>,
    /// The position of the newest row of the log.
    pub(crate) position: u64,
    /// Cells that were damaged before and wait for a peer to repair them.
    pub(crate) unrepaired: usize,
    /// Whether the cells and notes are those of which the checkpoint has the digest; `None` if it has none.
    pub(crate) checkpoint_agrees: Option<bool>,
    /// What a start would make of it.
    pub(crate) clock: Digest,
    pub(crate) state: Digest,
    pub(crate) audit: Audit,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Reads all of it, which takes as long as a start does, and as much memory.
    ///
    /// # Errors
    /// If the disk does not give it, or both copies of what stands beside the cells are damaged.
    pub(crate) fn examine(self, path: &Path) -> Result<Examined, Failure> {
        let Snapshot { txn, lease } = self;
        guarded(path, || {
            let mut examined = Examined::default();
            let recovered = read(&txn, &mut examined).map_err(|error| cannot_read(path, error))?;
            // The disk is not needed any more.
            drop((txn, lease));
            live_again(&mut examined, recovered);
            Ok(examined)
        })
    }
}

/// Examines the store at `path`, which no daemon has open. `None` if it is not there.
///
/// # Errors
/// If it cannot be read, or is none of this version's.
pub(crate) fn examine(path: &Path) -> Result<Option<Examined>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let (db, is_new) = open_database(path, super::CACHE_BYTES)?;
    if is_new {
        return Ok(None);
    }
    check_format(&db, path, FORMAT_OLDEST..=FORMAT)?;
    let txn = guarded(path, || db.begin_read().map_err(|e| cannot_read(path, ReadError::from(e))))?;
    Snapshot { txn, lease: Arc::new(()) }.examine(path).map(Some)
}

/// A table, if there is one: before the first commit there is none.
fn table<K: redb::Key + 'static, V: Value + 'static>(
    txn: &ReadTransaction,
    definition: TableDefinition<K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>, redb::Error> {
    match txn.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read(txn: &ReadTransaction, examined: &mut Examined) -> Result<Recovered, ReadError> {
    let Examined { rows: counts, bad, unrepaired, .. } = examined;
    let mut recovered = Recovered::default();
    if let Some(pieces) = table(txn, CHECKPOINT)? {
        counts.checkpoint = pieces.len()? as usize;
        bad.extend(bad_copies(&pieces)?);
        recovered.checkpoint = read_head(&pieces)?.with(Stock::default());
        *unrepaired = recovered.checkpoint.damaged.len();
    }
    if let Some(pieces) = table(txn, CELLS)? {
        counts.cells = pieces.len()? as usize;
        let scanned = scan(&pieces)?;
        for piece in scanned.bad {
            bad.push(format!("{}, piece {} of its cell: {}", piece.text, piece.index, piece.why));
        }
        recovered.checkpoint.damaged.extend(scanned.keys.into_iter().flat_map(Key::try_from));
        recovered.checkpoint.cells = scanned.cells;
    }
    if let Some(log) = table(txn, ROWS)? {
        let (scanned, bad_rows) = scan_log(&log)?;
        recovered.rows = scanned;
        counts.log = recovered.rows.len();
        bad.extend(
            bad_rows.iter().map(|(position, _, why)| format!("position {position} of the log: {why}")),
        );
    }
    if let Some(members) = table(txn, MEMBERS)? {
        counts.members = members.len()? as usize;
        for row in members.iter()? {
            if let Err(why) = Record::from_row(row?.1.value()) {
                bad.push(format!("a member of the address book: {why}"));
            }
        }
    }
    if let Some(invites) = table(txn, INVITES)? {
        counts.invites = invites.len()? as usize;
        for row in invites.iter()? {
            if let Err(why) = OpenInvite::from_row(row?.1.value()) {
                bad.push(format!("an invite: {why}"));
            }
        }
    }
    counts.quarantine = table(txn, QUARANTINE)?.map_or(Ok(0), |table| table.len())? as usize;
    Ok(recovered)
}

/// What stands beside the cells is kept twice, and a start is content with one of them.
fn bad_copies(table: &impl Pieces) -> Result<Vec<String>, ReadError> {
    let mut bad = Vec::new();
    if table.is_empty()? {
        return Ok(bad);
    }
    for copy in super::state::COPIES {
        match read_copy(table, copy) {
            Ok(_) => {}
            Err(ReadError::Damaged(why)) => bad.push(why),
            Err(disk) => return Err(disk),
        }
    }
    Ok(bad)
}

/// What a start makes of it.
fn live_again(examined: &mut Examined, Recovered { checkpoint, rows }: Recovered) {
    let mut expected = rows.first().map_or(0, |(first, _)| (*first).min(checkpoint.position + 1));
    for (position, _) in &rows {
        if *position > expected {
            examined.gaps.push(expected..=position - 1);
        }
        expected = position + 1;
    }
    let mut replica = Replica::new(ReplicaId::ZERO);
    let digest = checkpoint.digest;
    replica.recover_checkpoint(checkpoint);
    examined.checkpoint_agrees = digest.map(|digest| digest == replica.digest());
    for (position, row) in rows {
        replica.replay(position, row);
    }
    examined.position = replica.position();
    examined.clock = replica.clock_digest();
    examined.state = replica.digest();
    examined.audit = replica.audit();
}

//! The disk: one redb database, one writer thread, group commit.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | `format`: version of all of this; `generation`: the last one opened |
//! | `rows` | position, 1, 2, 3 … | its position again, and a [`Row`](chinwag_crdt::Row) of the log |
//! | `cells` | key, 0, 1, 2 … | both again, and some parts of the key's cell |
//! | `checkpoint` | name, 0, 1, 2 … | what stands beside the cells, twice: see `state` |
//! | `members` | node id | a member's signed record: the address book |
//! | `invites` | hash of the secret | what the invite gives, and to whom it was given |
//! | `quarantine` | table name and key | a row whose checksum was wrong, as it was found |
//!
//! A row is four bytes of CRC-32 and then the encoded value. A commit appends to the log, one fsync for all that waited,
//! and nothing is acknowledged before it. Cells follow behind, some thousand at once, and then the rows of the log that
//! nobody needs any more go. So what is read at the start is a state and a short log. An entry that is lost leaves an
//! explicit gap in the clock, and a lost cell is known by its key: peers fill the one and repair the other.
//! [`MemoryStore`](chinwag_gossip::MemoryStore) says in a few lines what this must do.
//!
//! A commit that fails is one of two things. If it failed for want of room, and the database can be opened again and
//! does *not* hold the batch, the batch is known not to have happened: its clients are told, and the daemon goes on.
//! Anything else is a crash, because after a failed fsync nobody knows what the disk holds.

mod cells;
mod compact;
pub(crate) mod database;
mod examine;
#[cfg(test)]
pub(crate) mod faulty;
mod invites;
mod meter;
pub(crate) mod rows;
mod state;
mod writer;

pub(crate) use compact::Compacted;
pub(crate) use examine::{Examined, Snapshot, examine};
pub(crate) use invites::{OpenInvite, Redeemed};
pub(crate) use meter::Meter;
pub(crate) use writer::{Storage, Stored};

use chinwag_api::Failure;
use chinwag_base::{Generation, ReplicaId, WallTime};
use chinwag_crdt::Replica;
use chinwag_gossip::Recovered;
use chinwag_membership::Record;
use database::{META, check_format, guarded, open_database, unreadable};
use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};
use rows::Row;
use state::ReadError;
use std::path::{Path, PathBuf};

/// Its rows were entries.
const LOG_OF_FORMAT_1: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");
const CELLS: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("cells");
const CHECKPOINT: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("checkpoint");
const MEMBERS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("members");
const INVITES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("invites");
const QUARANTINE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("quarantine");

/// The version of the tables above. Since 3 there are flags, fields and leases in the rows, which a build that knows 2 would take
/// for damage.
const FORMAT: u64 = 3;
/// The oldest version that is brought up to it.
const FORMAT_OLDEST: u64 = 1;
/// redb's own choice: everything is read once, at the start.
const CACHE_BYTES: Option<usize> = None;

/// An open store and what was in it.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The database, to be handed to [`Storage::start`].
    pub(crate) store: Store,
    /// The generation opened for this process, durable already.
    pub(crate) generation: Generation,
    /// The replicated state.
    pub(crate) state: Recovered,
    /// The address book.
    pub(crate) members: Vec<Record>,
    /// Rows whose checksum was wrong or that did not decode. They are in the quarantine now.
    pub(crate) bad_rows: Vec<BadRow>,
}

/// A row that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRow {
    /// The table that it was in.
    pub(crate) table: &'static str,
    /// Why it was not believed.
    pub(crate) why: String,
}

/// The database.
#[derive(Debug)]
pub(crate) struct Store {
    db: Database,
    path: PathBuf,
}

/// Opens the store at `path`, making it if it is not there, and opens a new generation in it.
///
/// # Errors
/// If it cannot be read or written, is corrupt, or has a newer format. The file is left as it is.
pub(crate) fn open(path: &Path, now: WallTime, entropy: u32) -> Result<Opened, Failure> {
    let (db, is_new) = open_database(path, CACHE_BYTES)?;
    if !is_new {
        check_format(&db, path, FORMAT_OLDEST..=FORMAT)?;
    }
    let mut opened = Opened {
        store: Store { db, path: path.to_owned() },
        generation: Generation::default(),
        state: Recovered::default(),
        members: Vec::new(),
        bad_rows: Vec::new(),
    };
    guarded(path, || opened.begin(now, entropy).map_err(|error| cannot_read(path, error)))?;
    Ok(opened)
}

/// How many live keys the store at `path` holds; none if it is not there. The store must not be open.
pub(crate) fn live_keys(path: &Path) -> Result<usize, Failure> {
    if !path.exists() {
        return Ok(0);
    }
    let (db, _) = open_database(path, CACHE_BYTES)?;
    check_format(&db, path, FORMAT_OLDEST..=FORMAT)?;
    let read = || -> Result<usize, ReadError> {
        // What it would become, and then not: this is a look.
        let txn = db.begin_write()?;
        let state = state_of(&txn, &mut Vec::new())?;
        txn.abort()?;
        let mut replica = Replica::new(ReplicaId::ZERO);
        replica.recover_checkpoint(state.checkpoint);
        for (position, row) in state.rows {
            replica.replay(position, row);
        }
        Ok(replica.len())
    };
    guarded(path, || read().map_err(|error| cannot_read(path, error)))
}

fn cannot_read(path: &Path, error: ReadError) -> Failure {
    match error {
        ReadError::Disk(error) => unreadable(path, &error.to_string()),
        ReadError::Damaged(why) => unreadable(path, &format!("it is damaged in two places at once: {why}")),
    }
}

/// The state in a store of this format or an older one.
fn state_of(txn: &WriteTransaction, bad_rows: &mut Vec<BadRow>) -> Result<Recovered, ReadError> {
    let format = txn.open_table(META)?.get("format")?.map(|v| v.value());
    if format == Some(FORMAT_OLDEST) {
        state::migrate_from_1(txn, bad_rows)?;
    }
    state::read(txn, bad_rows)
}

impl Opened {
    /// One transaction: the new generation, and every bad row moved to the quarantine.
    fn begin(&mut self, now: WallTime, entropy: u32) -> Result<(), ReadError> {
        let mut txn = self.store.db.begin_write()?;
        txn.set_quick_repair(true);
        self.state = state_of(&txn, &mut self.bad_rows)?;
        {
            let mut meta = txn.open_table(META)?;
            meta.insert("format", FORMAT)?;
            let previous = meta.get("generation")?.map(|v| Generation::new(v.value()));
            self.generation = Generation::next(previous, now, entropy);
            meta.insert("generation", self.generation.get())?;

            let mut quarantine = txn.open_table(QUARANTINE)?;
            let mut members = txn.open_table(MEMBERS)?;
            let mut bad = Vec::new();
            for row in members.iter()? {
                let (id, bytes) = row?;
                match Record::from_row(bytes.value()) {
                    Ok(record) => self.members.push(record),
                    Err(why) => bad.push((id.value().to_vec(), bytes.value().to_vec(), why)),
                }
            }
            for (id, bytes, why) in bad {
                quarantine.insert([b"members".as_slice(), &id].concat().as_slice(), bytes.as_slice())?;
                members.remove(id.as_slice())?;
                self.bad_rows.push(BadRow { table: "members", why });
            }
            txn.open_table(INVITES)?;
        }
        txn.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

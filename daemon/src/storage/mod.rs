//! The disk: one redb database, one writer thread, group commit.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | `format`: version of all of this; `generation`: the last one opened |
//! | `log` | position, 1, 2, 3 … | a log entry |
//! | `members` | node id | a member's signed record: the address book |
//! | `invites` | hash of the secret | what the invite gives, and to whom it was given |
//! | `quarantine` | table name and key | a row whose checksum was wrong, as it was found |
//!
//! A row is four bytes of CRC-32 and then the encoded value. The log is the truth: cells, clock and digest are what
//! its entries add up to, so a row that is lost leaves an explicit gap in the clock, which peers fill. A commit is
//! one fsync for all that waited, and nothing is acknowledged before it.
//!
//! A commit that fails is one of two things. If it failed for want of room, and the database can be opened again and
//! does *not* hold the batch, the batch is known not to have happened: its clients are told, and the daemon goes on.
//! Anything else is a crash, because after a failed fsync nobody knows what the disk holds.

pub(crate) mod database;
#[cfg(test)]
pub(crate) mod faulty;
mod invites;
pub(crate) mod rows;
mod writer;

pub(crate) use invites::{OpenInvite, Redeemed};
pub(crate) use writer::{Storage, Stored};

use chinwag_api::Failure;
use chinwag_base::{Generation, NodeId, ReplicaId, WallTime};
use chinwag_crdt::{Entry, Replica};
use chinwag_membership::Record;
use database::{META, check_format, guarded, open_database, unreadable};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use rows::Row;
use std::path::{Path, PathBuf};

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const MEMBERS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("members");
const INVITES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("invites");
const QUARANTINE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("quarantine");

/// The version of the tables above.
const FORMAT: u64 = 1;
/// redb's own choice: the log is read once, at the start.
const CACHE_BYTES: Option<usize> = None;

/// An open store and what was in it.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The database, to be handed to [`Storage::start`].
    pub(crate) store: Store,
    /// The generation opened for this process, durable already.
    pub(crate) generation: Generation,
    /// The log, in its order.
    pub(crate) entries: Vec<Entry>,
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

/// The database and the position of its next log row.
#[derive(Debug)]
pub(crate) struct Store {
    db: Database,
    path: PathBuf,
    next_row: u64,
}

/// Opens the store at `path`, making it if it is not there, and opens a new generation in it.
///
/// # Errors
/// If it cannot be read or written, is corrupt, or has a newer format. The file is left as it is.
pub(crate) fn open(path: &Path, now: WallTime, entropy: u32) -> Result<Opened, Failure> {
    let (db, is_new) = open_database(path, CACHE_BYTES)?;
    let failed = |e: redb::Error| unreadable(path, &e.to_string());
    if !is_new {
        check_format(&db, path, FORMAT)?;
    }
    let mut opened = Opened {
        store: Store { db, path: path.to_owned(), next_row: 1 },
        generation: Generation::default(),
        entries: Vec::new(),
        members: Vec::new(),
        bad_rows: Vec::new(),
    };
    guarded(path, || opened.begin(now, entropy).map_err(failed))?;
    Ok(opened)
}

/// How many live keys the store at `path` holds; none if it is not there. The store must not be open.
pub(crate) fn live_keys(path: &Path) -> Result<usize, Failure> {
    if !path.exists() {
        return Ok(0);
    }
    let (db, _) = open_database(path, CACHE_BYTES)?;
    check_format(&db, path, FORMAT)?;
    let read = || -> Result<usize, redb::Error> {
        let nobody = ReplicaId { node: NodeId::from_bytes([0; 32]), generation: Generation::default() };
        let mut replica = Replica::new(nobody);
        let log = match db.begin_read()?.open_table(LOG) {
            Ok(log) => log,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        for row in log.iter()? {
            if let Ok(entry) = Entry::from_row(row?.1.value()) {
                replica.recover(entry);
            }
        }
        Ok(replica.len())
    };
    guarded(path, || read().map_err(|e| unreadable(path, &e.to_string())))
}

impl Opened {
    /// One transaction: the new generation, and every bad row moved to the quarantine.
    fn begin(&mut self, now: WallTime, entropy: u32) -> Result<(), redb::Error> {
        let mut txn = self.store.db.begin_write()?;
        txn.set_quick_repair(true);
        {
            let mut meta = txn.open_table(META)?;
            meta.insert("format", FORMAT)?;
            let previous = meta.get("generation")?.map(|v| Generation::new(v.value()));
            self.generation = Generation::next(previous, now, entropy);
            meta.insert("generation", self.generation.get())?;

            let mut quarantine = txn.open_table(QUARANTINE)?;
            let mut log = txn.open_table(LOG)?;
            let mut bad = Vec::new();
            for row in log.iter()? {
                let (position, bytes) = row?;
                self.store.next_row = position.value() + 1;
                match Entry::from_row(bytes.value()) {
                    Ok(entry) => self.entries.push(entry),
                    Err(why) => bad.push((position.value(), bytes.value().to_vec(), why)),
                }
            }
            for (position, bytes, why) in bad {
                quarantine.insert(
                    [b"log".as_slice(), &position.to_be_bytes()].concat().as_slice(),
                    bytes.as_slice(),
                )?;
                log.remove(position)?;
                self.bad_rows.push(BadRow { table: "log", why });
            }

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

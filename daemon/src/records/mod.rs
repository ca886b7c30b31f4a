//! Records on the disk: a redb database of their own, beside the replicated state's.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | `format`: version of all of this; `commits`: how many there were |
//! | `index` | a record's place | its row: a [`Held`], in the form of [`crate::storage::rows`] |
//! | `blobs` | a blob's place | its bytes |
//! | `quarantine` | a place | an index row that was damaged, as it was found |
//!
//! The index is read whole at the start and lives in memory; blobs are read one by one. A blob's bytes need no checksum,
//! because its key is their hash: the core checks it whenever they are read. An index row that is damaged is set aside
//! and told: the record's other owners bring it again, and a blob's bytes stay until then.
//!
//! Records have a file of their own because they are many, large and expendable: a damaged `records.redb` costs what the
//! other owners send again, a damaged `store.redb` the node's own history.
//!
//! Two threads use it. One commits batches, one fsync each; the other reads blobs, so that a slow disk holds up no timer
//! and no client of the rest. redb lets readers see the last commit while the next is made.

mod examine;
mod shared;
mod shelf;
mod threads;

pub(crate) use examine::{ExaminedRecords, examine};
pub(crate) use shelf::OverlayShelf;
pub(crate) use threads::{RecordStorage, RecordsStored};

use crate::storage::BadRow;
use crate::storage::database::{META, check_format, guarded, open_database, unreadable};
use crate::storage::rows::Row;
use chinwag_api::Failure;
use chinwag_dht::{Held, Id};
use redb::{Database, ReadableTable, TableDefinition};
use shared::Shared;
use std::path::Path;
use std::sync::Arc;

const INDEX: TableDefinition<&[u8], &[u8]> = TableDefinition::new("index");
const BLOBS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("blobs");
const QUARANTINE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("quarantine");

/// The version of the tables above.
const FORMAT: u64 = 1;
/// What redb may keep in memory, where its own choice is a gigabyte. The index is in memory already, and a blob that is read
/// twice is in the system's page cache: what is left are the pages on the way to them.
const CACHE_BYTES: Option<usize> = Some(4 * 1024 * 1024);

/// Open records and what was in them.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The database, to be handed to [`RecordStorage::start`].
    pub(crate) store: RecordStore,
    /// The index.
    pub(crate) records: Vec<Held>,
    /// Index rows that were not believed. They are in the quarantine now.
    pub(crate) bad_rows: Vec<BadRow>,
}

/// The database and how often it was written.
#[derive(Debug)]
pub(crate) struct RecordStore {
    db: Shared,
    commits: u64,
}

/// Opens the records at `path`, making the file if it is not there.
///
/// # Errors
/// If it cannot be read or written, is no such database, or has a newer format. The file is left as it is.
pub(crate) fn open(path: &Path) -> Result<Opened, Failure> {
    let (db, is_new) = open_database(path, CACHE_BYTES)?;
    if !is_new {
        check_format(&db, path, FORMAT..=FORMAT)?;
    }
    let (mut records, mut bad_rows) = (Vec::new(), Vec::new());
    let commits = guarded(path, || {
        begin(&db, &mut records, &mut bad_rows).map_err(|e: redb::Error| unreadable(path, &e.to_string()))
    })?;
    let again = path.to_owned();
    let opener = move || open_database(&again, CACHE_BYTES).map(|(db, _)| db).map_err(|e| e.to_string());
    let store = RecordStore { db: Shared::new(db, Box::new(opener)), commits };
    Ok(Opened { store, records, bad_rows })
}

/// One transaction: tables that are there, the index read, and every bad row moved to the quarantine.
fn begin(db: &Database, records: &mut Vec<Held>, bad_rows: &mut Vec<BadRow>) -> Result<u64, redb::Error> {
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    let commits = {
        let mut meta = txn.open_table(META)?;
        meta.insert("format", FORMAT)?;
        let commits = meta.get("commits")?.map_or(0, |n| n.value());
        txn.open_table(BLOBS)?;
        let mut quarantine = txn.open_table(QUARANTINE)?;
        let mut index = txn.open_table(INDEX)?;
        let mut bad = Vec::new();
        for row in index.iter()? {
            let (place, bytes) = row?;
            match read_row(place.value(), bytes.value()) {
                Ok(held) => records.push(held),
                Err(why) => bad.push((place.value().to_vec(), bytes.value().to_vec(), why)),
            }
        }
        for (place, bytes, why) in bad {
            quarantine.insert(place.as_slice(), bytes.as_slice())?;
            index.remove(place.as_slice())?;
            bad_rows.push(BadRow { table: "index", why });
        }
        commits
    };
    txn.commit()?;
    Ok(commits)
}

pub(crate) fn read_row(place: &[u8], row: &[u8]) -> Result<Held, String> {
    let held = Held::from_row(row)?;
    if held.key.id().as_bytes() != place {
        return Err("the row is in another record's place".into());
    }
    Ok(held)
}

/// A record as it is kept: its row, and a blob's bytes.
pub(crate) type Kept = (Held, Option<Arc<[u8]>>);

/// A reader of records: cheap to copy, for any thread. It waits for the disk, so it is not for the driver's task.
#[derive(Debug, Clone)]
pub(crate) struct RecordReader {
    db: Shared,
}

impl RecordReader {
    /// The durable record in this place, with a blob's bytes. Neither its end nor its hash has been looked at.
    ///
    /// # Errors
    /// If the disk does not give it.
    pub(crate) fn get(&self, id: &Id) -> Result<Option<Kept>, String> {
        parse(id, self.db.read(|txn| row_and_blob(txn, id))?)
    }

    /// The same for those who must not wait: `None` if the database is being opened again. It is tried once.
    pub(crate) fn try_get(&self, id: &Id) -> Option<Result<Option<Kept>, String>> {
        let found = self.db.try_read(|txn| row_and_blob(txn, id))?;
        Some(found.and_then(|found| parse(id, found)))
    }

    /// The bytes of the blob in this place, as they are on the disk.
    ///
    /// # Errors
    /// If the disk does not give them.
    pub(crate) fn blob(&self, id: &Id) -> Result<Option<Arc<[u8]>>, String> {
        self.db.read(|txn| blob(txn, id))
    }
}

type Found = Option<(Vec<u8>, Option<Arc<[u8]>>)>;

fn row_and_blob(txn: &redb::ReadTransaction, id: &Id) -> Result<Found, redb::Error> {
    let index = txn.open_table(INDEX)?;
    let row = index.get(id.as_bytes().as_slice())?;
    Ok(row.map(|row| row.value().to_vec()).zip(Some(blob(txn, id)?)))
}

fn parse(id: &Id, found: Found) -> Result<Option<Kept>, String> {
    found.map(|(row, blob)| Ok((read_row(id.as_bytes(), &row)?, blob))).transpose()
}

fn blob(txn: &redb::ReadTransaction, id: &Id) -> Result<Option<Arc<[u8]>>, redb::Error> {
    let blobs = txn.open_table(BLOBS)?;
    Ok(blobs.get(id.as_bytes().as_slice())?.map(|bytes| Arc::from(bytes.value())))
}

#[cfg(test)]
mod failing;
#[cfg(test)]
mod tests;

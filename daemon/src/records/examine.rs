//! The records, read again: is every row of the index what it was, and every blob what its name says?

use super::{BLOBS, CACHE_BYTES, FORMAT, INDEX, QUARANTINE, RecordReader, read_row};
use super::{check_format, open_database, shared::Shared};
use chinwag_api::Failure;
use chinwag_dht::{BlobHash, RecordKey};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableError};
use std::path::Path;

/// What was found among the records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExaminedRecords {
    pub(crate) rows: usize,
    /// Blobs among them, and whether each was read.
    pub(crate) blobs: usize,
    pub(crate) read: bool,
    pub(crate) quarantine: usize,
    /// Which rows and blobs are not believed, and why.
    pub(crate) bad: Vec<String>,
}

/// Examines the records at `path`, which no daemon has open, and changes nothing. `None` if they are not there.
///
/// # Errors
/// If they cannot be read, or are none of this version's.
pub(crate) fn examine(path: &Path, blobs: bool) -> Result<Option<ExaminedRecords>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let (db, is_new) = open_database(path, CACHE_BYTES)?;
    if is_new {
        return Ok(None);
    }
    check_format(&db, path, FORMAT..=FORMAT)?;
    let again = path.to_owned();
    let opener = move || open_database(&again, CACHE_BYTES).map(|(db, _)| db).map_err(|e| e.to_string());
    let reader = RecordReader { db: Shared::new(db, Box::new(opener)) };
    let examined = reader.examine(blobs);
    examined.map(Some).map_err(|why| super::unreadable(path, &why))
}

impl RecordReader {
    /// Reads every row of the index, and if `blobs` is true every blob, one by one: nobody waits for long.
    ///
    /// # Errors
    /// If the disk does not give the index.
    pub(crate) fn examine(&self, blobs: bool) -> Result<ExaminedRecords, String> {
        let (mut examined, named) = self.db.read(read_index)?;
        examined.read = blobs;
        for hash in named {
            let blob = if blobs { self.blob(&RecordKey::Blob(hash).id()) } else { self.has_blob(hash) };
            match blob {
                Ok(Some(bytes)) if blobs && BlobHash::of(&bytes) != hash => {
                    examined.bad.push(format!("the blob {hash}: its bytes are not those that its name says"));
                }
                Ok(Some(_)) => {}
                // One that has ended since the index was read is in neither.
                Ok(None) if !self.is_listed(hash)? => {}
                Ok(None) => examined.bad.push(format!("the blob {hash}: its bytes are not there")),
                Err(why) => examined.bad.push(format!("the blob {hash}: {why}")),
            }
        }
        Ok(examined)
    }

    fn has_blob(&self, hash: BlobHash) -> Result<Option<std::sync::Arc<[u8]>>, String> {
        let id = RecordKey::Blob(hash).id();
        self.db.read(|txn| {
            let found = txn.open_table(BLOBS)?.get(id.as_bytes().as_slice())?.is_some();
            Ok(found.then(|| std::sync::Arc::from([].as_slice())))
        })
    }

    fn is_listed(&self, hash: BlobHash) -> Result<bool, String> {
        let id = RecordKey::Blob(hash).id();
        self.db.read(|txn| Ok(txn.open_table(INDEX)?.get(id.as_bytes().as_slice())?.is_some()))
    }
}

/// Every row of the index, and the blobs that it names.
fn read_index(txn: &ReadTransaction) -> Result<(ExaminedRecords, Vec<BlobHash>), redb::Error> {
    let (mut examined, mut named) = (ExaminedRecords::default(), Vec::new());
    let index = match txn.open_table(INDEX) {
        // A crash before the very first commit.
        Err(TableError::TableDoesNotExist(_)) => return Ok((examined, named)),
        index => index?,
    };
    for row in index.iter()? {
        let (place, bytes) = row?;
        examined.rows += 1;
        match read_row(place.value(), bytes.value()).map(|held| held.key) {
            Ok(RecordKey::Blob(hash)) => named.push(hash),
            Ok(RecordKey::Cell(_)) => {}
            Err(why) => examined.bad.push(format!("a row of the records' index: {why}")),
        }
    }
    examined.blobs = named.len();
    examined.quarantine = match txn.open_table(QUARANTINE) {
        Err(TableError::TableDoesNotExist(_)) => 0,
        quarantine => quarantine?.len()? as usize,
    };
    Ok((examined, named))
}

//! What a durable write costs at least: a bare file, and a bare redb.

use anyhow::{Context as _, Result};
use redb::{Database, TableDefinition};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");

/// A file that grows by one row at a time.
#[derive(Debug)]
pub struct Appended(Mutex<File>);

impl Appended {
    /// An empty file in `dir`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(dir: &Path) -> Result<Self> {
        let path = dir.join("appended");
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Appended(Mutex::new(file)))
    }

    /// Appends a row, durably: `write`, then `fdatasync`.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn append(&self, row: &[u8]) -> Result<()> {
        let mut file = self.0.lock().expect("nothing panics while it holds the file");
        file.write_all(row).and_then(|()| file.sync_data()).context("cannot append")
    }
}

/// A redb that grows by one row at a time.
#[derive(Debug)]
pub struct Stored(Database);

impl Stored {
    /// An empty database in `dir`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(dir: &Path) -> Result<Self> {
        Ok(Stored(Database::create(dir.join("stored.redb")).context("cannot create a database")?))
    }

    /// Inserts a row and commits, with the settings of the daemon's own log: durable at once, quick repair.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn insert(&self, number: u64, row: &[u8]) -> Result<()> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_quick_repair(true);
        transaction.open_table(LOG)?.insert(number, row)?;
        transaction.commit().context("cannot commit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{ReadableDatabase as _, ReadableTableMetadata as _};

    #[test]
    fn rows_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (file, db) = (Appended::create(dir.path()).unwrap(), Stored::create(dir.path()).unwrap());
        for number in 0..3 {
            file.append(b"1234").unwrap();
            db.insert(number, b"1234").unwrap();
        }
        assert_eq!(std::fs::metadata(dir.path().join("appended")).unwrap().len(), 12);
        let rows = db.0.begin_read().unwrap().open_table(LOG).unwrap().len().unwrap();
        assert_eq!(rows, 3);
    }
}

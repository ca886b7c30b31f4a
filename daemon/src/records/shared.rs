//! The open database, for those who read and the one who writes.
//!
//! redb refuses everything after an I/O error, even one of a read, until the file is opened again. So whoever meets an
//! error has it opened again and tries once more; only what fails on a fresh database is told. Opening waits until nobody
//! has the file open, and of several who met the same error the first does it for all.

use crate::driver::UNPOISONED;
use crate::storage::database::close;
use redb::{Database, ReadTransaction, ReadableDatabase};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, RwLock, RwLockReadGuard};

/// Opens the file.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, String> + Send + Sync>;

/// The database. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shared(Arc<Inner>);

struct Inner {
    slot: RwLock<Slot>,
    opener: Opener,
}

struct Slot {
    /// None after the file could not be opened again; whoever comes next tries to.
    db: Option<Database>,
    /// How often it was opened.
    opened: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            close(db);
        }
    }
}

/// What a use of the database came to, and which opening of it that was.
pub(super) struct Used<T> {
    pub(super) result: Result<T, redb::Error>,
    pub(super) opened: u64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub(super) fn new(db: Database, opener: Opener) -> Self {
        let slot = RwLock::new(Slot { db: Some(db), opened: 1 });
        Shared(Arc::new(Inner { slot, opener }))
    }

    /// Uses the database, which nobody opens again meanwhile.
    ///
    /// # Errors
    /// If it is not open and cannot be opened.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<Used<T>, String> {
        let mut slot = self.0.slot.read().expect(UNPOISONED);
        if slot.db.is_none() {
            let opened = slot.opened;
            drop(slot);
            self.reopen(opened)?;
            slot = self.0.slot.read().expect(UNPOISONED);
        }
        let db = slot.db.as_ref().ok_or("it is not open")?;
        Ok(Used { result: work(db), opened: slot.opened })
    }

    /// Reads; after a failure once more, on a database that was opened meanwhile.
    ///
    /// # Errors
    /// If the second time fails too.
    pub(super) fn read<T>(
        &self,
        read: impl Fn(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, String> {
        let look = |db: &Database| Ok(looked(db, &read));
        let first = self.with(look)?;
        match first.result.map_err(|e| e.to_string()).and_then(|read| read) {
            Ok(found) => Ok(found),
            Err(why) => {
                self.reopen(first.opened)
                    .map_err(|e| format!("{why}; and it cannot be opened again: {e}"))?;
                self.with(look)?.result.map_err(|e| e.to_string())?
            }
        }
    }

    /// Reads once, and only if nobody has the database locked: for those who must not wait.
    pub(super) fn try_read<T>(
        &self,
        read: impl Fn(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Option<Result<T, String>> {
        let slot: RwLockReadGuard<'_, Slot> = self.0.slot.try_read().ok()?;
        slot.db.as_ref().map(|db| looked(db, &read))
    }

    /// Opens the file again, unless somebody has done so since the opening that failed.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(super) fn reopen(&self, failed: u64) -> Result<(), String> {
        let mut slot = self.0.slot.write().expect(UNPOISONED);
        if slot.opened != failed && slot.db.is_some() {
            return Ok(());
        }
        // The file is locked by whoever has it open, so it is closed first.
        if let Some(db) = slot.db.take() {
            close(db);
        }
        slot.db = Some((self.0.opener)()?);
        slot.opened += 1;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn while_locked<T>(&self, then: impl FnOnce() -> T) -> T {
        let _slot = self.0.slot.write().unwrap();
        then()
    }
}

fn looked<T>(db: &Database, read: impl Fn(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, String> {
    let look = || -> Result<T, redb::Error> { read(&db.begin_read()?) };
    // Pages that contradict each other are answered with a panic; nothing of it is left behind but the transaction.
    catch_unwind(AssertUnwindSafe(look))
        .map_err(|_| "the pages of the records contradict each other".to_owned())?
        .map_err(|e| e.to_string())
}

//! Giving room back: a store's file grows by doubling and does not shrink by itself.

use super::database::is_for_want_of_room;
use super::state;
use super::writer::Writer;
use redb::CompactionError;
use std::sync::Arc;

/// What a compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// Bytes of the file before.
    pub(crate) before: u64,
    /// And after.
    pub(crate) after: u64,
}

impl Writer {
    /// Compacts the file. The inner error says why that could not be done, and nothing has changed.
    ///
    /// # Errors
    /// The disk cannot be trusted any more.
    pub(super) fn compact(&mut self, cut: u64) -> Result<Result<Compacted, String>, String> {
        if Arc::strong_count(&self.lease) > 1 {
            return Ok(Err("somebody is reading it: a check is under way".into()));
        }
        let before = self.length();
        match self.try_compact(cut) {
            Ok(()) => Ok(Ok(Compacted { before, after: self.length() })),
            Err(error) => {
                let why = error.to_string();
                if !is_for_want_of_room(&error) {
                    return Err(why);
                }
                // A compaction moves pages and loses none, whichever of its commits was the last.
                self.reopen(&why)?;
                Ok(Err(why))
            }
        }
    }

    fn try_compact(&mut self, cut: u64) -> Result<(), redb::Error> {
        let mut txn = self.store.db.begin_write()?;
        txn.set_quick_repair(true);
        state::cut(&txn, cut)?;
        txn.commit()?;
        match self.store.db.compact() {
            Ok(_) => Ok(()),
            Err(CompactionError::Storage(error)) => Err(error.into()),
            // Nobody but this thread writes, there are no savepoints, and readers have been asked for.
            Err(other) => Err(redb::StorageError::Corrupted(other.to_string()).into()),
        }
    }

    fn length(&self) -> u64 {
        std::fs::metadata(&self.store.path).map_or(0, |meta| meta.len())
    }
}

//! What a disk must do for a [`Gossip`](crate::Gossip), and a disk in memory that does it.
//!
//! A store has a log, whose rows have positions, and a checkpoint: the cells as of one position. A commit appends rows, so
//! that its cost is one write at the end of a file; cells follow behind, many at once. To open it is to read the
//! checkpoint and to live the rows after it again.

use crate::Recovered;
use chinwag_base::Key;
use chinwag_crdt::{Checkpoint, Part, Row, Stock};
use std::collections::BTreeMap;

/// A store in memory: what tests and simulations have for a disk, and the reference for stores that have files.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    rows: BTreeMap<u64, Row>,
    checkpoint: Checkpoint,
    pub(crate) cells: BTreeMap<Key, Vec<Part>>,
}

impl MemoryStore {
    /// Appends rows, all or nothing; the first gets the position `first`.
    pub fn commit(&mut self, first: u64, rows: &[Row]) {
        self.rows.extend((first..).zip(rows.iter().cloned()));
    }

    /// Takes up a checkpoint, all or nothing. Rows up to `cut` that are in it go.
    pub fn checkpoint(&mut self, mut checkpoint: Checkpoint, cut: u64) {
        for (key, parts) in std::mem::take(&mut checkpoint.cells) {
            if parts.is_empty() {
                self.cells.remove(&key);
            } else {
                self.cells.insert(key, parts);
            }
        }
        self.rows = self.rows.split_off(&(cut.min(checkpoint.position) + 1));
        self.checkpoint = checkpoint;
    }

    /// What it holds.
    pub fn read(&self) -> Recovered {
        let mut cells = Stock::default();
        for (key, parts) in &self.cells {
            cells.put(key.clone(), parts.iter().cloned());
        }
        Recovered {
            checkpoint: self.checkpoint.clone().with(cells),
            rows: self.rows.iter().map(|(position, row)| (*position, row.clone())).collect(),
        }
    }

    /// The rows of the log, oldest first.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// How many rows the log has.
    pub fn log_len(&self) -> usize {
        self.rows.len()
    }

    /// How many cells the checkpoint has.
    pub fn cells_len(&self) -> usize {
        self.cells.len()
    }

    /// Damages rows of the log and cells for which `is_bad` says so, in that order. They are known to be damaged.
    pub fn damage(&mut self, mut is_bad: impl FnMut() -> bool) {
        self.rows.values_mut().filter(|_| is_bad()).for_each(|row| *row = Row::Lost);
        let bad: Vec<Key> = self.cells.keys().filter(|_| is_bad()).cloned().collect();
        for key in bad {
            self.cells.remove(&key);
            self.checkpoint.damaged.insert(key);
        }
    }
}

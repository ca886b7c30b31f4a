//! Which cells have changed since the last checkpoint.
//!
//! A cell says so itself, so that one that changes often is not looked up each time; of cells that are gone the keys are
//! kept until the checkpoint has told that they are.

use crate::Replica;
use chinwag_base::Key;
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(crate) struct Dirty {
    /// Keys, each once, in no order.
    keys: Vec<Key>,
    /// Those of them that have no cell.
    gone: BTreeSet<Key>,
}

impl Dirty {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The cell under a key has changed, which was dirty already or was not.
    pub(crate) fn touch(&mut self, key: &Key, was_dirty: bool) {
        if !was_dirty {
            self.keys.push(key.clone());
        }
    }

    /// There is a cell again under a key. Says whether it is dirty.
    pub(crate) fn come(&mut self, key: &Key) -> bool {
        self.gone.remove(key)
    }

    /// A dirty cell is gone. Says whether it was none before.
    pub(crate) fn go(&mut self, key: &Key) -> bool {
        self.gone.insert(key.clone())
    }
}

impl Replica {
    /// What is kept of a key has changed, if perhaps not its cell.
    pub(crate) fn make_dirty(&mut self, key: &Key) {
        let was_dirty = match self.cells.get_mut(key) {
            Some(cell) => std::mem::replace(&mut cell.is_dirty, true),
            None => !self.dirty.go(key),
        };
        self.dirty.touch(key, was_dirty);
    }

    /// The keys that are dirty, sorted. None is any more.
    pub(crate) fn clean(&mut self) -> Vec<Key> {
        let Dirty { mut keys, .. } = std::mem::take(&mut self.dirty);
        keys.sort_unstable();
        for key in &keys {
            if let Some(cell) = self.cells.get_mut(key) {
                cell.is_dirty = false;
            }
        }
        keys
    }
}

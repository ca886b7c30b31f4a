//! What a coordinator remembers of the cells that it has put or read: enough to replace a value without reading it anew.

use crate::cell::Cell;
use crate::distance::Id;
use chinwag_base::limits::SEEN_CELLS_MAX;
use std::collections::BTreeMap;

/// Larger cells are not worth remembering.
const CELL_BYTES_MAX: usize = 4 * 1024;

/// Cells by place, and the counters of this node's own dots.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    cells: BTreeMap<Id, (u64, Cell)>,
    by_age: BTreeMap<u64, Id>,
    age: u64,
    /// The last counter that was used for a key.
    minted: BTreeMap<Id, u64>,
    /// The highest counter of the keys that have been forgotten.
    floor: u64,
}

impl Seen {
    /// What was last seen of the cell there.
    pub(crate) fn cell(&self, id: &Id) -> Option<&Cell> {
        self.cells.get(id).map(|(_, cell)| cell)
    }

    /// Remembers a cell; of too many the oldest is forgotten.
    pub(crate) fn note(&mut self, id: Id, cell: &Cell) {
        if let Some((age, _)) = self.cells.remove(&id) {
            self.by_age.remove(&age);
        }
        if cell.weight() > CELL_BYTES_MAX {
            return;
        }
        self.age += 1;
        self.cells.insert(id, (self.age, cell.clone()));
        self.by_age.insert(self.age, id);
        if self.cells.len() > SEEN_CELLS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.cells.remove(&oldest);
        }
    }

    /// The counter of this node's next dot for a key: never one that it has used, and mostly the one after the last, so that
    /// a context has few runs.
    pub(crate) fn mint(&mut self, id: Id) -> u64 {
        if !self.minted.contains_key(&id) && self.minted.len() >= SEEN_CELLS_MAX {
            self.floor = self.minted.values().copied().fold(self.floor, u64::max);
            self.minted.clear();
        }
        let counter = self.minted.entry(id).or_insert(self.floor);
        *counter += 1;
        *counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn counters_are_never_used_twice_and_mostly_follow_each_other() {
        let mut seen = Seen::default();
        let id = |n: usize| Id::hash(&n.to_be_bytes());
        assert_eq!([seen.mint(id(0)), seen.mint(id(0)), seen.mint(id(1))], [1, 2, 1]);
        let mut used = BTreeSet::from([(0, 1), (0, 2), (1, 1)]);
        for turn in 0..3 * SEEN_CELLS_MAX {
            let n = turn % (SEEN_CELLS_MAX + 10);
            assert!(used.insert((n, seen.mint(id(n)))), "key {n}");
        }
        assert!(seen.minted.len() <= SEEN_CELLS_MAX);
    }

    #[test]
    fn the_oldest_cell_is_forgotten_first() {
        let mut seen = Seen::default();
        let id = |n: usize| Id::hash(&n.to_be_bytes());
        let cell = crate::testing::put(1, 1, "x");
        for n in 0..=SEEN_CELLS_MAX {
            seen.note(id(n), &cell);
        }
        assert!(seen.cell(&id(0)).is_none() && seen.cell(&id(1)).is_some());
        assert_eq!((seen.cells.len(), seen.by_age.len()), (SEEN_CELLS_MAX, SEEN_CELLS_MAX));
    }
}

//! What a coordinator remembers of the cells that it has put or read: enough to replace a value without reading it anew.

use crate::cell::Cell;
use crate::distance::Id;
use chinwag_base::limits::{COUNTERS_MAX, SEEN_CELLS_MAX};
use std::collections::BTreeMap;

/// Larger cells are not worth remembering.
const CELL_BYTES_MAX: usize = 4 * 1024;

/// Cells by place, and the counters of this node's own dots.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    cells: BTreeMap<Id, (u64, Cell)>,
    by_age: BTreeMap<u64, Id>,
    age: u64,
    /// The last counter that was used, by slot. Keys share a slot, but a counter of it is used once.
    counters: BTreeMap<u16, u64>,
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

    /// The counter of this node's next dot for a key, until [`Seen::used`] says that it is taken: never one that the key has
    /// had, and mostly the one after its last, so that a context has few runs.
    pub(crate) fn next_counter(&self, id: &Id) -> u64 {
        self.counters.get(&slot(id)).map_or(1, |last| last + 1)
    }

    /// The next counter of this key is taken.
    pub(crate) fn used(&mut self, id: &Id) {
        *self.counters.entry(slot(id)).or_default() += 1;
    }
}

/// One of [`COUNTERS_MAX`].
fn slot(id: &Id) -> u16 {
    const { assert!(COUNTERS_MAX == 1 << 16, "a slot is the first two bytes of a place") }
    let bytes = id.as_bytes();
    u16::from_be_bytes([bytes[0], bytes[1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn counters_follow_each_other_unless_keys_share_a_slot() {
        let mut seen = Seen::default();
        let id = |n: usize| Id::hash(&n.to_be_bytes());
        let mut mint = |n: usize| {
            let counter = seen.next_counter(&id(n));
            assert_eq!(seen.next_counter(&id(n)), counter, "not taken yet");
            seen.used(&id(n));
            counter
        };
        assert_eq!([mint(0), mint(0), mint(1)], [1, 2, 1]);
        let mut used = BTreeSet::from([(0, 1), (0, 2), (1, 1)]);
        for turn in 0..20_000 {
            let n = turn % 5_000;
            assert!(used.insert((n, mint(n))), "key {n}");
        }
        assert!(seen.counters.len() <= COUNTERS_MAX);
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

//! Telling whole cells: what a [`Replica`] says of its state to whoever is too far behind for the log.
//!
//! Cells are told by range, in the order of keys and cut wherever a slice is full; or by name, once two replicas have found
//! out which differ ([`CellId`], [`crate::sketch`]). Before either comes a promise, which says under what they are.

use crate::cell::Cell;
use crate::index::{CellId, id_of};
use crate::sketch::Sketch;
use crate::whole::{CELL_HEAD_BYTES, Extent, Part, Place, Promise, Slice, keys_after};
use crate::{Dot, Replica, Run};
use chinwag_base::limits::SLICE_CELLS_MAX;
use chinwag_base::{Key, ReplicaId};
use std::collections::{BTreeMap, BTreeSet};

/// Telling whole cells.
impl Replica {
    /// Whether whole cells may be told: not while one of ours is damaged, because what is not in it reads as removed.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty()
    }

    /// What a session by range with this replica would be under.
    pub fn promised(&self) -> Promise {
        self.promise_with(|replica, floor| !self.has_counted(replica, floor))
    }

    /// The same if cells are told by name: then those are not told in which nothing but a floor differs, because nobody can
    /// see a floor. So all that stand alone are part of the promise.
    pub fn promised_by_name(&self) -> Promise {
        self.promise_with(|_, _| true)
    }

    fn promise_with(&self, is_told: impl Fn(ReplicaId, Run) -> bool) -> Promise {
        let lone = |key: &Key| self.cells.get(key).and_then(Cell::counter).map(|c| (key.clone(), c));
        let counters = self.floors.iter().filter_map(lone);
        let floors = counters.flat_map(|(key, counter)| {
            let alone = counter.shares().filter(|(_, share)| share.run.is_none());
            alone.filter_map(move |(replica, share)| Some((key.clone(), replica, share.floor?)))
        });
        let floors = floors.filter(|(_, replica, floor)| is_told(*replica, *floor)).collect();
        Promise { clock: self.clock.clone(), doomed: self.notes(), floors }
    }

    /// Whether the clock covers all of a run, and not only its end.
    pub(crate) fn has_counted(&self, replica: ReplicaId, run: Run) -> bool {
        self.clock.covers_all(replica, run.start..=run.last)
    }

    pub(crate) fn notes(&self) -> Vec<(Dot, Key)> {
        self.doomed.iter().map(|(dot, key)| (dot, key.clone())).collect()
    }

    /// Whether the disk had lost this cell, and it has not been repaired.
    pub fn is_damaged(&self, key: &Key) -> bool {
        self.damaged.contains(key)
    }

    /// The keys whose cells the disk had lost, and that have not been repaired.
    pub fn damaged(&self) -> impl Iterator<Item = &Key> {
        self.damaged.iter()
    }

    /// How many cells there are to tell.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Everything after a place, as much as fits `bytes_max`, but at least one part.
    pub fn slice_after(&self, after: Option<&Place>, bytes_max: usize) -> Slice {
        let extent = |until| Extent::Range { after: after.cloned(), until };
        let mut cells: Vec<(Key, Vec<Part>)> = Vec::new();
        let (mut room, mut is_all) = (bytes_max, true);
        for (key, cell) in self.cells.range::<Key, _>(keys_after(after)) {
            let head = CELL_HEAD_BYTES + key.as_str().len();
            if cells.len() >= SLICE_CELLS_MAX || !cells.is_empty() && head > room {
                is_all = false;
                break;
            }
            room = room.saturating_sub(head);
            let mut parts = Vec::new();
            let begin = after.filter(|after| after.key == *key).and_then(|after| after.part);
            for part in cell.parts_after(begin) {
                let weight = part.weight();
                if weight > room && !(cells.is_empty() && parts.is_empty()) {
                    // What did not fit begins the next slice.
                    let until = match parts.last().map(Part::id) {
                        Some(id) => Some(Place { key: key.clone(), part: Some(id) }),
                        None => cells.last().map(|(key, _)| Place::end_of(key.clone())),
                    };
                    if !parts.is_empty() {
                        cells.push((key.clone(), parts));
                    }
                    return Slice { extent: extent(until), cells };
                }
                room = room.saturating_sub(weight);
                parts.push(part);
            }
            if !parts.is_empty() {
                cells.push((key.clone(), parts));
            }
        }
        let told = cells.last().filter(|_| !is_all);
        let until = told.map(|(key, _)| Place::end_of(key.clone()));
        Slice { extent: extent(until), cells }
    }

    /// The whole cells of these keys, those that fit `bytes_max`, in ascending order; and the keys for which there was no
    /// room.
    pub fn slice_of<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a Key>,
        bytes_max: usize,
    ) -> (Slice, Vec<Key>) {
        let keys: BTreeSet<&Key> = keys.into_iter().collect();
        let (mut cells, mut left, mut room) = (Vec::new(), Vec::new(), bytes_max);
        for key in keys {
            let parts: Vec<Part> = self.parts_of(key).collect();
            let weight = CELL_HEAD_BYTES + key.as_str().len() + parts.iter().map(Part::weight).sum::<usize>();
            if weight > room || cells.len() >= SLICE_CELLS_MAX {
                left.push(key.clone());
                continue;
            }
            room -= weight;
            cells.push((key.clone(), parts));
        }
        (Slice { extent: Extent::Keys, cells }, left)
    }

    /// The sketch of the ids of all cells in which something is live.
    pub fn sketch(&self) -> &Sketch {
        self.index.sketch()
    }

    /// The keys of the cells with these ids, or that had them lately; and whether there is one for each. This looks at all
    /// cells.
    pub fn keys_of(&self, ids: &BTreeSet<CellId>) -> (BTreeSet<Key>, bool) {
        let id = |cell: &Cell| id_of(cell.sum).filter(|id| ids.contains(id));
        let mut found: BTreeMap<CellId, &Key> =
            self.index.renamed().filter(|(id, _)| ids.contains(id)).collect();
        found.extend(self.cells.iter().filter_map(|(key, cell)| Some((id(cell)?, key))));
        let keys: Vec<Option<&Key>> = ids.iter().map(|id| found.get(id).copied()).collect();
        let is_each = keys.iter().all(Option::is_some);
        (keys.into_iter().flatten().cloned().collect(), is_each)
    }

    pub(crate) fn parts_of(&self, key: &Key) -> impl Iterator<Item = Part> + '_ {
        self.cells.get(key).into_iter().flat_map(Cell::parts)
    }
}

//! Writes, and what the definition of their types says that a reader must see of them.
//!
//! As in [`deltas::writes`](crate::deltas::writes), but what a write replaces is what its writer was *shown*. In the middle
//! of a session, or after one that was given up, that may be more than its clock covers.

use crate::deltas::writes::Ask;
use chinwag_base::Key;
use chinwag_crdt::{Dot, Entry, Kind, Part};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The number of a write, the same in all states of one model.
pub type WriteId = usize;

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its log entry, as the replica made it.
    pub entry: Arc<Entry>,
    /// What was asked for.
    pub ask: Ask,
    /// The dots of what it replaces: all that its writer was shown of that.
    pub kills: BTreeSet<Dot>,
}

impl Write {
    fn kills(&self, other: &Write) -> bool {
        self.kills.contains(&other.entry.dot)
            && self.entry.key == other.entry.key
            && self.ask.replaces() == other.ask.brings()
    }
}

/// All writes that were ever made in any state of a model.
#[derive(Debug, Default)]
pub struct Writes {
    all: Vec<Write>,
    by_dot: BTreeMap<Dot, Vec<WriteId>>,
}

impl Writes {
    /// The number of a write, a new one if it is new.
    pub(crate) fn id(&mut self, write: Write) -> WriteId {
        let with_dot = self.by_dot.entry(write.entry.dot).or_default();
        with_dot.iter().copied().find(|id| self.all[*id] == write).unwrap_or_else(|| {
            with_dot.push(self.all.len());
            self.all.push(write);
            self.all.len() - 1
        })
    }

    /// A write by its number.
    pub(crate) fn get(&self, id: WriteId) -> &Write {
        &self.all[id]
    }

    /// Of these writes, those that bring something which none of the others replaces.
    pub(crate) fn live(&self, made: &BTreeSet<WriteId>) -> BTreeSet<WriteId> {
        let brings = |id: &WriteId| self.all[*id].ask.brings().is_some();
        made.iter().copied().filter(|id| brings(id) && !self.is_killed(*id, made)).collect()
    }

    /// Whether one of these writes replaces that one.
    pub(crate) fn is_killed(&self, id: WriteId, by: &BTreeSet<WriteId>) -> bool {
        by.iter().any(|killer| self.all[*killer].kills(&self.all[id]))
    }

    /// Of these writes, those that can be seen in cells.
    pub(crate) fn shown(&self, made: &BTreeSet<WriteId>, cells: &[(Key, Vec<Part>)]) -> BTreeSet<WriteId> {
        let is_shown = |id: &WriteId| {
            let Write { entry, ask, .. } = &self.all[*id];
            let parts = cells.iter().find(|(key, _)| *key == entry.key).map_or(&[][..], |(_, parts)| parts);
            ask.brings().is_some_and(|kind| dots(kind, parts).contains(&entry.dot))
        };
        made.iter().copied().filter(is_shown).collect()
    }

    /// The sum of the increments of one key among these writes.
    pub(crate) fn sum(&self, of: &BTreeSet<WriteId>, key: &Key) -> i128 {
        let amounts = of
            .iter()
            .map(|id| &self.all[*id])
            .filter(|write| write.ask == Ask::Increment && write.entry.key == *key);
        amounts.map(|write| 10_i128.pow(u32::from(write.entry.dot.replica.node.as_bytes()[0]) - 1)).sum()
    }
}

/// The dots that a cell's parts show of one kind; of a counter those that its runs count.
pub(crate) fn dots(kind: Kind, parts: &[Part]) -> BTreeSet<Dot> {
    let mut dots = BTreeSet::new();
    for part in parts {
        match part {
            Part::Sibling { dot, .. } if kind == Kind::Register => drop(dots.insert(*dot)),
            Part::Element { dot, .. } if kind == Kind::Set => drop(dots.insert(*dot)),
            Part::Share { replica, run: Some(run), floor } if kind == Kind::Counter => {
                let reset = floor.filter(|floor| floor.start == run.start).map_or(0, |floor| floor.last);
                dots.extend((run.start.max(reset + 1)..=run.last).map(|counter| Dot::new(*replica, counter)));
            }
            _ => {}
        }
    }
    dots
}

//! What waits for the disk: entries that are not visible yet, and how the cells will look with them.

use crate::account::Account;
use crate::{Cell, Dot, Entry};
use chinwag_base::{Generation, Key, NodeId, ReplicaId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// The staged entries, in order. A cell is copied only when a local operation has to see what is staged for it, so
/// that a stream of entries from elsewhere, or single writes to many keys, copy nothing.
#[derive(Debug, Default)]
pub(crate) struct Staging {
    entries: Vec<Arc<Entry>>,
    bytes: usize,
    /// Dots that the staged entries remove, added up.
    removed: usize,
    dots: BTreeSet<Dot>,
    by_key: BTreeMap<Key, VecDeque<Arc<Entry>>>,
    views: BTreeMap<Key, View>,
}

/// A cell as it will be once everything that is staged has been committed.
#[derive(Debug)]
struct View {
    cell: Cell,
    /// What the staged entries remove: it dooms those that are staged after them.
    removed: BTreeSet<Dot>,
}

impl View {
    fn apply(&mut self, entry: &Entry, doomed_before: bool) {
        let doomed = doomed_before || self.removed.contains(&entry.dot);
        self.cell.apply(entry, doomed, &mut Account::new(&entry.key));
        self.removed.extend(entry.removed.iter());
    }
}

impl Staging {
    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn removed(&self) -> usize {
        self.removed
    }

    /// The staged dots of all generations of one node.
    pub(crate) fn dots_of(&self, node: NodeId) -> impl Iterator<Item = Dot> + '_ {
        let from = Dot::new(ReplicaId { node, generation: Generation::new(0) }, 0);
        self.dots.range(from..).copied().take_while(move |dot| dot.replica.node == node)
    }

    /// The keys beneath a key for which something is staged.
    pub(crate) fn keys_beneath<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Key> {
        let keys = self.by_key.range::<Key, _>((Bound::Excluded(key), Bound::Unbounded)).map(|(key, _)| key);
        keys.take_while(|beneath| beneath.step_from(key).is_some())
    }

    pub(crate) fn contains(&self, dot: Dot) -> bool {
        self.dots.contains(&dot)
    }

    /// Stages an entry. `doomed` says of a dot whether a committed entry has removed it from the entry's key.
    pub(crate) fn push(&mut self, entry: Arc<Entry>, doomed: impl Fn(Dot) -> bool) {
        self.bytes += entry.weight();
        self.removed += entry.removed.len();
        self.dots.insert(entry.dot);
        if let Some(view) = self.views.get_mut(&entry.key) {
            view.apply(&entry, doomed(entry.dot));
        }
        self.by_key.entry(entry.key.clone()).or_default().push_back(entry.clone());
        self.entries.push(entry);
    }

    /// The cell under `key` as it will be, if anything is staged for it. `committed` is the cell as it is.
    pub(crate) fn view(
        &mut self,
        key: &Key,
        committed: &Cell,
        doomed: impl Fn(Dot) -> bool,
    ) -> Option<&Cell> {
        let staged = self.by_key.get(key)?;
        let view = self.views.entry(key.clone()).or_insert_with(|| {
            let mut view = View { cell: committed.clone(), removed: BTreeSet::new() };
            staged.iter().for_each(|entry| view.apply(entry, doomed(entry.dot)));
            view
        });
        Some(&view.cell)
    }

    /// Takes back the newest entries until `len` are left.
    pub(crate) fn truncate(&mut self, len: usize) {
        while self.entries.len() > len
            && let Some(entry) = self.entries.pop()
        {
            self.views.remove(&entry.key);
            self.forget(&entry, VecDeque::pop_back);
        }
    }

    /// Takes out the oldest `count` entries, to be committed. What is left sees them in the cells instead.
    pub(crate) fn take_first(&mut self, count: usize) -> Vec<Arc<Entry>> {
        let taken: Vec<Arc<Entry>> = self.entries.drain(..count.min(self.entries.len())).collect();
        taken.iter().for_each(|entry| self.forget(entry, VecDeque::pop_front));
        taken
    }

    fn forget(&mut self, entry: &Entry, pop: fn(&mut VecDeque<Arc<Entry>>) -> Option<Arc<Entry>>) {
        self.bytes -= entry.weight();
        self.removed -= entry.removed.len();
        self.dots.remove(&entry.dot);
        if let Some(staged) = self.by_key.get_mut(&entry.key) {
            pop(staged);
            if staged.is_empty() {
                self.by_key.remove(&entry.key);
                self.views.remove(&entry.key);
            }
        }
    }
}

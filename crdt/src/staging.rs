//! What waits for the disk: entries that are not visible yet, and how the cells will look with them.

use crate::account::Account;
use crate::{Cell, Dot, Entry};
use chinwag_base::{Generation, Key, NodeId, ReplicaId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// The staged entries, in order. They are sorted by key, and a cell is copied, only when a local operation has to see what
/// is staged, so that a stream of entries from elsewhere pays for neither.
#[derive(Debug, Default)]
pub(crate) struct Staging {
    entries: Vec<Arc<Entry>>,
    bytes: usize,
    /// Dots that the staged entries remove, added up.
    removed: usize,
    dots: BTreeMap<ReplicaId, BTreeSet<u64>>,
    /// How many of the entries, the oldest, are in `by_key` and in the views.
    sorted: usize,
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
        self.cell.apply(entry, doomed, &mut Account::of_copy(&entry.key));
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
        let from = ReplicaId { node, generation: Generation::new(0) };
        let replicas = self.dots.range(from..).take_while(move |(replica, _)| replica.node == node);
        replicas.flat_map(|(replica, counters)| counters.iter().map(|counter| Dot::new(*replica, *counter)))
    }

    /// The keys beneath a key for which something is staged, as of the last [`Staging::sort`].
    pub(crate) fn keys_beneath<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Key> {
        let keys = self.by_key.range::<Key, _>((Bound::Excluded(key), Bound::Unbounded)).map(|(key, _)| key);
        keys.take_while(|beneath| beneath.step_from(key).is_some())
    }

    pub(crate) fn contains(&self, dot: Dot) -> bool {
        self.dots.get(&dot.replica).is_some_and(|counters| counters.contains(&dot.counter))
    }

    /// Stages an entry.
    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        self.bytes += entry.weight();
        self.removed += entry.removed.len();
        self.dots.entry(entry.dot.replica).or_default().insert(entry.dot.counter);
        self.entries.push(entry);
    }

    /// Sorts what was staged since the last time by key. `doomed` says of a dot whether a committed entry has removed it
    /// from that key.
    pub(crate) fn sort(&mut self, doomed: impl Fn(Dot, &Key) -> bool) {
        for entry in &self.entries[self.sorted..] {
            if let Some(view) = self.views.get_mut(&entry.key) {
                view.apply(entry, doomed(entry.dot, &entry.key));
            }
            self.by_key.entry(entry.key.clone()).or_default().push_back(entry.clone());
        }
        self.sorted = self.entries.len();
    }

    /// The cell under `key` as it will be, if anything is staged for it. `committed` is the cell as it is.
    pub(crate) fn view(
        &mut self,
        key: &Key,
        committed: &Cell,
        doomed: impl Fn(Dot, &Key) -> bool,
    ) -> Option<&Cell> {
        self.sort(&doomed);
        let staged = self.by_key.get(key)?;
        let view = self.views.entry(key.clone()).or_insert_with(|| {
            let mut view = View { cell: committed.clone(), removed: BTreeSet::new() };
            staged.iter().for_each(|entry| view.apply(entry, doomed(entry.dot, key)));
            view
        });
        Some(&view.cell)
    }

    /// Takes back the newest entries until `len` are left.
    pub(crate) fn truncate(&mut self, len: usize) {
        while self.entries.len() > len
            && let Some(entry) = self.entries.pop()
        {
            if self.sorted > self.entries.len() {
                self.sorted = self.entries.len();
                self.views.remove(&entry.key);
                self.unsort(&entry, VecDeque::pop_back);
            }
            self.forget(&entry);
        }
    }

    /// Takes out the oldest `count` entries, to be committed. What is left sees them in the cells instead.
    pub(crate) fn take_first(&mut self, count: usize) -> Vec<Arc<Entry>> {
        if count >= self.entries.len() {
            return std::mem::take(self).entries;
        }
        let taken: Vec<Arc<Entry>> = self.entries.drain(..count).collect();
        for entry in &taken {
            if self.sorted > 0 {
                self.sorted -= 1;
                self.unsort(entry, VecDeque::pop_front);
            }
            self.forget(entry);
        }
        taken
    }

    fn unsort(&mut self, entry: &Entry, pop: fn(&mut VecDeque<Arc<Entry>>) -> Option<Arc<Entry>>) {
        if let Some(staged) = self.by_key.get_mut(&entry.key) {
            pop(staged);
            if staged.is_empty() {
                self.by_key.remove(&entry.key);
                self.views.remove(&entry.key);
            }
        }
    }

    fn forget(&mut self, entry: &Entry) {
        self.bytes -= entry.weight();
        self.removed -= entry.removed.len();
        if let Some(counters) = self.dots.get_mut(&entry.dot.replica) {
            counters.remove(&entry.dot.counter);
            if counters.is_empty() {
                self.dots.remove(&entry.dot.replica);
            }
        }
    }
}

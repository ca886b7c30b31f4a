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
    dots: BTreeMap<ReplicaId, Counters>,
    /// How many of the entries, the oldest, are in `by_key` and in the views.
    sorted: usize,
    by_key: BTreeMap<Key, VecDeque<Arc<Entry>>>,
    views: BTreeMap<Key, View>,
}

/// The staged counters of one replica. They nearly always come in order, and go from one of the two ends.
#[derive(Debug, Default)]
struct Counters {
    /// Those that came after all before them: ascending.
    in_order: VecDeque<u64>,
    late: BTreeSet<u64>,
}

impl Counters {
    fn is_empty(&self) -> bool {
        self.in_order.is_empty() && self.late.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.in_order.iter().chain(&self.late).copied()
    }

    fn contains(&self, counter: u64) -> bool {
        let is_beyond = self.in_order.back().is_none_or(|last| *last < counter);
        !is_beyond && self.in_order.binary_search(&counter).is_ok() || self.late.contains(&counter)
    }

    fn insert(&mut self, counter: u64) {
        if self.in_order.back().is_none_or(|last| *last < counter) {
            self.in_order.push_back(counter);
        } else {
            self.late.insert(counter);
        }
    }

    /// Takes out the one that came first or last of all.
    fn remove(&mut self, counter: u64) {
        if self.in_order.front() == Some(&counter) {
            self.in_order.pop_front();
        } else if self.in_order.back() == Some(&counter) {
            self.in_order.pop_back();
        } else {
            self.late.remove(&counter);
        }
    }
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
        replicas.flat_map(|(replica, counters)| counters.iter().map(|counter| Dot::new(*replica, counter)))
    }

    /// The keys beneath a key for which something is staged, as of the last [`Staging::sort`].
    pub(crate) fn keys_beneath<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Key> {
        let keys = self.by_key.range::<Key, _>((Bound::Excluded(key), Bound::Unbounded)).map(|(key, _)| key);
        keys.take_while(|beneath| beneath.step_from(key).is_some())
    }

    pub(crate) fn contains(&self, dot: Dot) -> bool {
        self.dots.get(&dot.replica).is_some_and(|counters| counters.contains(dot.counter))
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
            counters.remove(entry.dot.counter);
            if counters.is_empty() {
                self.dots.remove(&entry.dot.replica);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::{key, replica_id};
    use crate::{Dots, Effect, Hlc};
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(u8, u64, u8),
        Take(usize),
        Truncate(usize),
        Sort,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (1_u8..4, 1_u64..20, 0_u8..3).prop_map(|(replica, n, k)| Step::Push(replica, n, k)),
            1 => (0_usize..6).prop_map(Step::Take),
            1 => (0_usize..12).prop_map(Step::Truncate),
            1 => Just(Step::Sort),
        ];
        vec(step, 0..60)
    }

    proptest! {
        /// Whatever is staged, committed and taken back, and whenever somebody looks: what is kept of it is what is there.
        #[test]
        fn what_is_kept_of_staged_entries_is_theirs(steps in steps()) {
            let mut staging = Staging::default();
            for step in steps {
                match step {
                    Step::Push(replica, counter, k) => {
                        let dot = Dot::new(replica_id(replica), counter);
                        if !staging.contains(dot) {
                            let removed: Dots = [Dot::new(replica_id(9), counter)].into_iter().collect();
                            let (key, effect) = (key(&format!("k.{k}")), Effect::Enable);
                            staging.push(Arc::new(Entry { dot, hlc: Hlc::ZERO, key, effect, removed }));
                        }
                    }
                    Step::Take(count) => {
                        let first: Vec<Dot> = staging.entries.iter().take(count).map(|e| e.dot).collect();
                        prop_assert!(staging.take_first(count).iter().map(|e| e.dot).eq(first));
                    }
                    Step::Truncate(len) => staging.truncate(len),
                    Step::Sort => staging.sort(|_, _| false),
                }
                let dots: BTreeSet<Dot> = staging.entries.iter().map(|entry| entry.dot).collect();
                let kept = (1..4).flat_map(|replica| staging.dots_of(replica_id(replica).node));
                prop_assert_eq!(kept.collect::<BTreeSet<_>>(), dots);
                prop_assert_eq!(staging.removed(), staging.entries.len());
                prop_assert_eq!(staging.bytes(), staging.entries.iter().map(|e| e.weight()).sum::<usize>());
                let mut by_key: BTreeMap<Key, VecDeque<Arc<Entry>>> = BTreeMap::new();
                for entry in &staging.entries[..staging.sorted] {
                    by_key.entry(entry.key.clone()).or_default().push_back(entry.clone());
                }
                prop_assert_eq!(&staging.by_key, &by_key);
            }
        }
    }
}

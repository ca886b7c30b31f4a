//! The log in memory: the entries that others may still ask for, in the order in which this replica applied them.
//!
//! Every row that becomes durable has a *position*, from 1. Entries are kept until nobody needs them ([`Log::cut`]); who
//! asks for one that is gone is told whole cells instead.

use crate::{Dot, Entry};
use chinwag_base::ReplicaId;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: BTreeMap<ReplicaId, Shelf>,
    /// The same in the order in which they were applied, each with its position.
    order: VecDeque<(u64, Arc<Entry>)>,
    /// The position of the newest row, of any kind.
    last: u64,
    /// Entries up to this position have been dropped.
    floor: u64,
    bytes: usize,
}

/// What an entry costs in memory besides its own bytes: map nodes, reference counts, allocations.
const OVERHEAD_BYTES: usize = 160;

impl Log {
    /// The position of the newest row; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Counts a row that holds no entry.
    pub(crate) fn pass(&mut self) {
        self.last += 1;
    }

    /// The next row will be at `position`, if that is ahead: rows before it are lost or were cut.
    pub(crate) fn skip_to(&mut self, position: u64) {
        self.last = self.last.max(position.saturating_sub(1));
    }

    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        self.last += 1;
        self.keep(self.last, entry);
    }

    /// Keeps an entry of a row before the newest, in the order of positions.
    pub(crate) fn keep(&mut self, position: u64, entry: Arc<Entry>) {
        if self.order.back().is_none_or(|(last, _)| *last < position) {
            self.bytes += entry.weight() + OVERHEAD_BYTES;
            self.order.push_back((position, entry.clone()));
            self.entries.entry(entry.dot.replica).or_default().insert(entry);
        }
    }

    /// The position up to which entries have been dropped.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// At start-up: the row at this position is still on the disk.
    pub(crate) fn begin_before(&mut self, position: u64) {
        self.floor = self.floor.min(position.saturating_sub(1));
    }

    /// Drops the oldest entries until the others take at most so many bytes.
    pub(crate) fn cut_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some((oldest, _)) = self.order.front()
        {
            self.cut(*oldest);
        }
    }

    /// Drops the entries up to a position.
    pub(crate) fn cut(&mut self, position: u64) {
        self.floor = self.floor.max(position);
        while self.order.front().is_some_and(|(at, _)| *at <= position)
            && let Some((_, entry)) = self.order.pop_front()
        {
            self.bytes -= entry.weight() + OVERHEAD_BYTES;
            if let Some(shelf) = self.entries.get_mut(&entry.dot.replica) {
                shelf.remove_oldest(entry.dot.counter);
                if shelf.is_empty() {
                    self.entries.remove(&entry.dot.replica);
                }
            }
        }
    }

    /// The entries that are kept, oldest first, from the first after a position on.
    pub(crate) fn after(&self, position: u64) -> impl Iterator<Item = (u64, Dot)> + '_ {
        let from = self.order.partition_point(|(at, _)| *at <= position);
        self.order.range(from..).map(|(at, entry)| (*at, entry.dot))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn get(&self, dot: Dot) -> Option<&Arc<Entry>> {
        self.entries.get(&dot.replica)?.get(dot.counter)
    }

    /// Of one replica, ascending.
    pub(crate) fn range(
        &self,
        replica: ReplicaId,
        counters: RangeInclusive<u64>,
    ) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.get(&replica).into_iter().flat_map(move |shelf| shelf.range(counters.clone()))
    }
}

/// The entries of one writer. They nearly always come in order, and they go in the order in which they came.
#[derive(Debug, Default)]
struct Shelf {
    /// Those that came after all before them: ascending.
    in_order: VecDeque<Arc<Entry>>,
    /// Those that came late.
    late: BTreeMap<u64, Arc<Entry>>,
}

impl Shelf {
    fn is_empty(&self) -> bool {
        self.in_order.is_empty() && self.late.is_empty()
    }

    fn insert(&mut self, entry: Arc<Entry>) {
        if self.in_order.back().is_none_or(|last| last.dot.counter < entry.dot.counter) {
            self.in_order.push_back(entry);
        } else {
            self.late.insert(entry.dot.counter, entry);
        }
    }

    /// Takes out the entry with this counter, which came before all others that are here.
    fn remove_oldest(&mut self, counter: u64) {
        if self.in_order.front().is_some_and(|first| first.dot.counter == counter) {
            self.in_order.pop_front();
        } else {
            self.late.remove(&counter);
        }
    }

    fn get(&self, counter: u64) -> Option<&Arc<Entry>> {
        let at = self.in_order.binary_search_by_key(&counter, |entry| entry.dot.counter);
        at.ok().map(|at| &self.in_order[at]).or_else(|| self.late.get(&counter))
    }

    /// Those with these counters, ascending.
    fn range(&self, counters: RangeInclusive<u64>) -> impl Iterator<Item = &Arc<Entry>> {
        let (start, end) = counters.into_inner();
        let from = self.in_order.partition_point(|entry| entry.dot.counter < start);
        let mut in_order = self.in_order.range(from..).take_while(move |e| e.dot.counter <= end).peekable();
        let late = (start <= end).then(|| self.late.range(start..=end).map(|(_, entry)| entry));
        let mut late = late.into_iter().flatten().peekable();
        std::iter::from_fn(move || match (in_order.peek(), late.peek()) {
            (Some(one), Some(other)) if other.dot.counter < one.dot.counter => late.next(),
            (None, _) => late.next(),
            _ => in_order.next(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::{key, replica_id};
    use crate::{Dots, Effect, Hlc};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn entry(replica: u8, counter: u64) -> Arc<Entry> {
        let dot = Dot::new(replica_id(replica), counter);
        Arc::new(Entry { dot, hlc: Hlc::ZERO, key: key("k"), effect: Effect::Enable, removed: Dots::new() })
    }

    proptest! {
        /// Whatever the order in which entries came, they are found by dot, by range, and in that order.
        #[test]
        fn entries_are_found_in_whichever_order_they_came(
            dots in vec((1_u8..4, 1_u64..30), 0..60),
            cuts in vec(0_u64..60, 1..4),
            range in (0_u64..32, 0_u64..32),
        ) {
            let mut log = Log::default();
            let mut came: Vec<Dot> = Vec::new();
            for (replica, counter) in dots {
                let entry = entry(replica, counter);
                if !came.contains(&entry.dot) {
                    came.push(entry.dot);
                    log.push(entry);
                }
            }
            let all = came.clone();
            for cut in cuts {
                log.cut(cut);
                let kept = &all[(log.floor() as usize).min(all.len())..];
                prop_assert!(log.after(0).map(|(_, dot)| dot).eq(kept.iter().copied()));
                prop_assert!(all.iter().all(|dot| log.get(*dot).is_some() == kept.contains(dot)));
                for replica in (1..4).map(replica_id) {
                    let mut expected: Vec<Dot> = kept.iter().copied().filter(|dot| {
                        dot.replica == replica && (range.0..=range.1).contains(&dot.counter)
                    }).collect();
                    expected.sort();
                    let found = log.range(replica, range.0..=range.1).map(|entry| entry.dot);
                    prop_assert!(found.eq(expected));
                }
                prop_assert_eq!(log.bytes() == 0, kept.is_empty());
            }
        }
    }
}

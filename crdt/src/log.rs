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
    /// By writer: ids are compared once for each, and not at every step to one of its thousands.
    entries: BTreeMap<ReplicaId, BTreeMap<u64, Arc<Entry>>>,
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
            self.entries.entry(entry.dot.replica).or_default().insert(entry.dot.counter, entry);
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
            let Some(of_writer) = self.entries.get_mut(&entry.dot.replica) else { continue };
            if of_writer.remove(&entry.dot.counter).is_some() {
                self.bytes -= entry.weight() + OVERHEAD_BYTES;
            }
            if of_writer.is_empty() {
                self.entries.remove(&entry.dot.replica);
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
        self.entries.get(&dot.replica)?.get(&dot.counter)
    }

    /// Of one replica, ascending.
    pub(crate) fn range(
        &self,
        replica: ReplicaId,
        counters: RangeInclusive<u64>,
    ) -> impl Iterator<Item = &Arc<Entry>> {
        let of_writer = self.entries.get(&replica).filter(|_| !counters.is_empty());
        of_writer.into_iter().flat_map(move |entries| entries.range(counters.clone())).map(|(_, entry)| entry)
    }
}

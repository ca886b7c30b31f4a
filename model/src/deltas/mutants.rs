//! Rules that are wrong in one place each. The checker must find a counterexample to every one.

use super::rules::Rules;
use chinwag_base::Key;
use chinwag_crdt::{Dot, Dots, Effect, Entry, Read, Replica, Sibling};
use std::sync::Arc;

/// All entries that a replica has applied.
fn log(replica: &Replica) -> impl Iterator<Item = &Arc<Entry>> {
    replica.clock().replicas().flat_map(|writer| replica.entries(writer, 1..=u64::MAX))
}

/// A clock without gaps: the highest counter of a writer covers all below it, as in a plain version vector.
#[derive(Debug, Clone, Copy)]
pub struct ClockWithoutGaps;

impl Rules for ClockWithoutGaps {
    fn arrive(&self, replica: &Replica, entry: &Entry) -> Option<Entry> {
        (!self.covers(replica, entry.dot)).then(|| entry.clone())
    }

    fn covers(&self, replica: &Replica, dot: Dot) -> bool {
        dot.counter <= replica.clock().last(dot.replica)
    }
}

/// The paper's rule, entry by entry: a removed dot is covered at once, so its entry is a duplicate when it comes.
#[derive(Debug, Clone, Copy)]
pub struct RemovedIsCovered;

impl Rules for RemovedIsCovered {
    fn arrive(&self, replica: &Replica, entry: &Entry) -> Option<Entry> {
        let is_removed = log(replica).any(|other| other.removed.contains(entry.dot));
        (!is_removed).then(|| entry.clone())
    }
}

/// A removed dot that has not come is not remembered.
#[derive(Debug, Clone, Copy)]
pub struct NothingIsDoomed;

impl Rules for NothingIsDoomed {
    fn arrive(&self, replica: &Replica, entry: &Entry) -> Option<Entry> {
        let removed: Dots = entry.removed.iter().filter(|dot| replica.clock().covers(*dot)).collect();
        Some(Entry { removed, ..entry.clone() })
    }
}

/// What an entry removes is left alone.
#[derive(Debug, Clone, Copy)]
pub struct RemovalsAreIgnored;

impl Rules for RemovalsAreIgnored {
    fn arrive(&self, _: &Replica, entry: &Entry) -> Option<Entry> {
        Some(Entry { removed: Dots::new(), ..entry.clone() })
    }
}

/// A remove takes all that is here when it arrives, not what it had seen.
#[derive(Debug, Clone, Copy)]
pub struct RemoveTakesWhatItFinds;

impl Rules for RemoveTakesWhatItFinds {
    fn arrive(&self, replica: &Replica, entry: &Entry) -> Option<Entry> {
        let mut entry = entry.clone();
        if entry.only_removes() {
            entry.removed.extend(log(replica).map(|other| other.dot).filter(|dot| *dot != entry.dot));
        }
        Some(entry)
    }
}

/// Entries leave when they are staged.
#[derive(Debug, Clone, Copy)]
pub struct StagedIsSent;

impl Rules for StagedIsSent {
    fn sends_what_is_staged(&self) -> bool {
        true
    }
}

/// The clock covers what is staged.
#[derive(Debug, Clone, Copy)]
pub struct StagedIsCovered;

impl Rules for StagedIsCovered {
    fn covers(&self, replica: &Replica, dot: Dot) -> bool {
        replica.clock().covers(dot) || replica.staged().iter().any(|entry| entry.dot == dot)
    }
}

/// A process that starts again takes the generation that it had.
#[derive(Debug, Clone, Copy)]
pub struct GenerationIsKept;

impl Rules for GenerationIsKept {
    fn next_generation(&self, last: u64) -> u64 {
        last
    }
}

/// What is delivered twice counts twice: a counter adds up increments as they come.
#[derive(Debug, Clone, Copy)]
pub struct DuplicatesCount;

impl Rules for DuplicatesCount {
    fn read(&self, replica: &Replica, key: &Key, arrived: &[Arc<Entry>]) -> Option<Read> {
        let by = |entry: &Arc<Entry>| match &entry.effect {
            // The step by which the run grew: that of its writer, since each adds always the same.
            Effect::Count { run } => i128::from(run.plus) / i128::from(run.last - run.start + 1),
            _ => 0,
        };
        replica.get(key).map(|_| Read::Counter(arrived.iter().map(by).sum()))
    }
}

/// The highest clock time wins, whatever has seen what.
#[derive(Debug, Clone, Copy)]
pub struct ClockTimeDecides;

impl Rules for ClockTimeDecides {
    fn read(&self, replica: &Replica, _: &Key, _: &[Arc<Entry>]) -> Option<Read> {
        let newest = log(replica).max_by_key(|entry| (entry.hlc, entry.dot))?;
        let Effect::Set { value } = &newest.effect else { return None };
        let sibling = Sibling { value: value.clone(), hlc: newest.hlc, dot: newest.dot };
        Some(Read::Register { value: value.clone(), siblings: vec![sibling] })
    }
}

//! Which entries from elsewhere are taken: those that can be what they say, as long as there is room for them.
//!
//! Entries are not signed one by one, so little can be proved about one. What is refused for good is what can be seen
//! to be wrong. Everything else is bounded, so that no writer, hostile or crashing in a loop, makes the *metadata* grow
//! without end: the generations of a node and the gaps of a replica stay in every clock, and removed dots that have not
//! come stay in memory. The bounds are chosen so that refusing never stops two honest replicas from meeting:
//!
//! - A gap is closed from below, and an entry that touches what is covered opens none: fetched in ascending order, a
//!   writer's entries are taken whatever the number of its gaps.
//! - A removal follows what it removes. So among any entries that are missing there is one that removes nothing which
//!   is missing too, and it is taken however many removed dots are remembered. When it has come, there is a next one.
//!
//! What remains possible to a hostile member: to write under any name, that of a node that never was included; to
//! remove dots that honest writers have yet to use, up to the bound, which is to destroy those writes wherever they
//! arrive (a removal that came before what it removes looks exactly alike); and with a reset's floor to swallow a
//! writer's future increments of a counter. Only the writer itself can tell, and refuses what has seen its future.

use crate::{Dot, Entry, Refusal, Replica};
use chinwag_base::ReplicaId;
use chinwag_base::limits::{
    CLOCK_GAPS_MAX, DOOMED_DOTS_MAX, GENERATIONS_PER_NODE_MAX, STAGED_BYTES_MAX, STAGED_ENTRIES_MAX,
};
use std::collections::BTreeSet;

impl Replica {
    /// Whether the clock has room for a dot that is not covered: it neither begins a generation too many nor leaves a
    /// gap too many. There is no point in asking for one that it has no room for.
    pub fn has_room_for(&self, dot: Dot) -> bool {
        let (last, gaps) = self.clock.reach(dot.replica);
        self.room_for(dot, last == 0, gaps).is_ok()
    }

    fn room_for(&self, dot: Dot, is_first: bool, gaps: usize) -> Result<(), Refusal> {
        if is_first && self.lives.get(&dot.replica.node).is_some_and(|n| *n >= GENERATIONS_PER_NODE_MAX) {
            return Err(Refusal::TooManyGenerations);
        }
        if gaps >= CLOCK_GAPS_MAX && !self.touches(dot) {
            return Err(Refusal::TooManyGaps);
        }
        Ok(())
    }

    /// Whether the dot follows or precedes one that is covered or staged, and so leaves no gap of its own.
    fn touches(&self, dot: Dot) -> bool {
        let has = |counter: u64| {
            let dot = Dot::new(dot.replica, counter);
            self.clock.covers(dot) || self.staging.contains(dot)
        };
        dot.counter <= 1 || has(dot.counter - 1) || dot.counter.checked_add(1).is_some_and(has)
    }

    /// Whether an entry that is not here would be taken now.
    pub fn would_take(&self, entry: &Entry) -> bool {
        self.admit(entry).is_ok()
    }

    pub(crate) fn admit(&self, entry: &Entry) -> Result<(), Refusal> {
        entry.check()?;
        if entry.dot.replica == self.me {
            return Err(Refusal::NotOurs);
        }
        // What is staged has not left this process, so nobody can have seen it either.
        let seen = entry.has_seen_of(self.me);
        if seen > 0 && seen > self.clock.last(self.me) {
            return Err(Refusal::FromOurFuture { counter: seen });
        }
        let (last, gaps) = self.clock.reach(entry.dot.replica);
        self.room_for(entry.dot, last == 0, gaps)?;
        self.room_beside_staged(entry.dot, last == 0, gaps)?;
        self.room_for_doomed(entry)?;
        let weight = entry.weight();
        if self.staging.entries().len() >= STAGED_ENTRIES_MAX
            || self.staging.bytes() + weight > STAGED_BYTES_MAX
        {
            return Err(Refusal::Busy);
        }
        if self.bytes + self.staging.bytes() + weight > self.bytes_max.saturating_mul(2) {
            return Err(Refusal::StateFull { bytes: self.bytes });
        }
        Ok(())
    }

    /// The same bounds, with what is staged counted. It is counted only where it could matter.
    fn room_beside_staged(&self, dot: Dot, is_first: bool, gaps: usize) -> Result<(), Refusal> {
        let staged = self.staging.entries().len();
        let is_new = |replica: ReplicaId| self.clock.last(replica) == 0;
        let lives = || self.lives.get(&dot.replica.node).copied().unwrap_or(0);
        if is_first && lives() + staged >= GENERATIONS_PER_NODE_MAX {
            let begun = self.staging.dots_of(dot.replica.node).map(|dot| dot.replica).filter(|r| is_new(*r));
            let begun: BTreeSet<ReplicaId> = begun.collect();
            if !begun.contains(&dot.replica) && lives() + begun.len() >= GENERATIONS_PER_NODE_MAX {
                return Err(Refusal::TooManyGenerations);
            }
        }
        if gaps + staged >= CLOCK_GAPS_MAX && !self.touches(dot) {
            let beside = self.staging.dots_of(dot.replica.node).filter(|d| d.replica == dot.replica).count();
            if gaps + beside >= CLOCK_GAPS_MAX {
                return Err(Refusal::TooManyGaps);
            }
        }
        Ok(())
    }

    fn room_for_doomed(&self, entry: &Entry) -> Result<(), Refusal> {
        let remembered = self.doomed.notes() + self.staging.removed();
        if remembered + entry.removed.len() <= DOOMED_DOTS_MAX {
            return Ok(());
        }
        let is_missing = |dot: &Dot| !self.clock.covers(*dot) && !self.staging.contains(*dot);
        let count = entry.removed.iter().filter(is_missing).count();
        if count > 0 && remembered + count > DOOMED_DOTS_MAX {
            return Err(Refusal::TooManyDoomed { count });
        }
        Ok(())
    }
}

//! The counter's store: per replica a run of increments, and how much of it has been reset.
//!
//! A positive-negative counter with resets that take only what they have seen. Keeping a dot per increment would
//! grow for ever; keeping only a sum per replica could not be reset, since a concurrent increment and the reset would
//! fight over one number. So each replica has a *run* {start, last, plus, minus} that only it extends, and a reset
//! records how far it saw each run come: the run's *floor*. The value is the sum over runs of what exceeds the floor.
//!
//! A replica whose run is at its floor begins a new one with its next increment. It knows its own run, so a later
//! start means that everything earlier has been reset; hence the later of two runs (or floors) of one replica always
//! replaces the earlier, and a floor of an earlier run says nothing about a later one. Runs and floors are ordered by
//! (start, last), and merging is taking the maximum: commutative, associative, idempotent.

use crate::account::{Account, Item};
use crate::mark::Writer;
use crate::read::Read;
use crate::{Dot, Run};
use chinwag_base::{Digest, Key, ReplicaId};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
pub(crate) struct Counter {
    shares: BTreeMap<Writer, Share>,
}

/// One replica's part in a counter. Never wholly empty, and normal: a run is kept only above its floor, and a floor
/// only if it can still matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share {
    pub(crate) run: Option<Run>,
    pub(crate) floor: Option<Run>,
}

const SHARE_BYTES: usize = size_of::<Writer>() + size_of::<Share>();

impl Counter {
    /// Whether there is nothing at all, not even a floor.
    pub(crate) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Whether some run is above its floor.
    pub(crate) fn is_live(&self) -> bool {
        self.shares.values().any(|share| share.run.is_some())
    }

    /// The sum of what exceeds the floors. Exact: each share is below 2^65, and there are far fewer than 2^62.
    pub(crate) fn total(&self) -> i128 {
        self.shares.values().map(Share::value).fold(0, i128::saturating_add)
    }

    pub(crate) fn read(&self) -> Option<Read> {
        self.is_live().then(|| Read::Counter(self.total()))
    }

    /// The run of `dot`'s replica extended by `by` in the write `dot`; a new one if it has none above its floor.
    /// None if its sum would not fit 64 bits.
    pub(crate) fn extended(&self, dot: Dot, by: i64) -> Option<Run> {
        let fresh = Run { start: dot.counter, last: dot.counter, plus: 0, minus: 0 };
        let mut run = self.shares.get(&dot.replica).and_then(|share| share.run).unwrap_or(fresh);
        run.last = dot.counter;
        let sum = if by < 0 { &mut run.minus } else { &mut run.plus };
        *sum = sum.checked_add(by.unsigned_abs())?;
        Some(run)
    }

    /// The floors that a reset made now records: each live run as it is.
    pub(crate) fn floors(&self) -> BTreeMap<ReplicaId, Run> {
        self.shares.iter().filter_map(|(writer, share)| share.run.map(|run| (writer.id(), run))).collect()
    }

    pub(crate) fn join_run(&mut self, replica: ReplicaId, run: Run, account: &mut Account<'_>) {
        self.join(replica, Share { run: Some(run), floor: None }, account);
    }

    pub(crate) fn join_floor(&mut self, replica: ReplicaId, floor: Run, account: &mut Account<'_>) {
        self.join(replica, Share { run: None, floor: Some(floor) }, account);
    }

    /// All shares, by replica.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (ReplicaId, Share)> + '_ {
        self.shares.iter().map(|(writer, &share)| (writer.id(), share))
    }

    /// Whether some share is a floor alone.
    pub(crate) fn has_lone_floors(&self) -> bool {
        self.shares.values().any(|share| share.run.is_none())
    }

    pub(crate) fn share(&self, replica: ReplicaId) -> Option<Share> {
        self.shares.get(&replica).copied()
    }

    /// Takes a share away: nothing of it counts, and nothing that is still to come could bring it back.
    pub(crate) fn forget(&mut self, replica: ReplicaId, account: &mut Account<'_>) {
        if let Some(share) = self.shares.remove(&replica) {
            account.subtract(|key| share.term(key, replica), SHARE_BYTES);
        }
    }

    pub(crate) fn join(&mut self, replica: ReplicaId, other: Share, account: &mut Account<'_>) {
        let before = self.shares.get(&replica).copied();
        let after = before.unwrap_or_default().joined(other);
        if before == Some(after) {
            return;
        }
        if let Some(before) = before {
            account.subtract(|key| before.term(key, replica), SHARE_BYTES);
        }
        account.add(|key| after.term(key, replica), SHARE_BYTES);
        self.shares.insert(account.writer(replica), after);
    }

    /// The digest, from scratch.
    pub(crate) fn digest(&self, key: &Key) -> Digest {
        self.shares.iter().fold(Digest::EMPTY, |sum, (writer, share)| sum + share.term(key, writer.id()))
    }
}

impl Share {
    /// The later of each, then normalised. Normalising forgets only what no later run or floor can bring back.
    fn joined(self, other: Share) -> Share {
        let mut joined = Share { run: self.run.max(other.run), floor: self.floor.max(other.floor) };
        if let (Some(run), Some(floor)) = (joined.run, joined.floor) {
            if run.start > floor.start {
                joined.floor = None;
            } else if !run.is_after(&floor) {
                joined.run = None;
            }
        }
        joined
    }

    fn value(&self) -> i128 {
        let Some(run) = self.run else { return 0 };
        let (plus, minus) = self.floor.map_or((0, 0), |floor| (floor.plus, floor.minus));
        (i128::from(run.plus) - i128::from(plus)) - (i128::from(run.minus) - i128::from(minus))
    }

    /// A floor alone is a note that replicas drop when each of them is sure that it has done its work. Nobody can see it,
    /// so it has no part in the digest.
    fn term(&self, key: &Key, replica: ReplicaId) -> Digest {
        if self.run.is_none() {
            return Digest::EMPTY;
        }
        let mut item = Item::of_key("chinwag counter", key).replica(replica);
        for part in [self.run, self.floor] {
            item = match part {
                Some(run) => item.number(1).run(run),
                None => item.number(0),
            };
        }
        item.digest()
    }
}

//! An entry: one row of the log. It is what travels between replicas and what is stored on disk.

use crate::dots::{NUMBER_BYTES, REPLICA_ID_BYTES};
use crate::{Dot, Dots, Hlc, Lease, Lent};
use chinwag_base::limits::{
    CLOCK_GAPS_MAX, ELEMENT_BYTES_MAX, ENTRY_BYTES_MAX, GENERATIONS_PER_NODE_MAX, REMOVED_DOTS_MAX,
};
use chinwag_base::{Key, ReplicaId, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One write: what it adds under its dot, and which dots it has seen and removes. Both are under one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub dot: Dot,
    /// When it was written, for ordering concurrent writes.
    pub hlc: Hlc,
    /// The key that it is about.
    pub key: Key,
    /// What it adds.
    pub effect: Effect,
    /// The dots of this key that it replaces.
    pub removed: Dots,
}

/// What an entry adds to its cell, besides removing dots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Nothing: it deletes a register, a set or a flag whole.
    Delete,
    /// A register's value.
    Set {
        /// The value.
        value: Value,
    },
    /// A set's element.
    Add {
        /// The element.
        element: Value,
    },
    /// Nothing: it takes one element out of a set.
    Remove,
    /// A counter's increment: the writer's whole run up to this dot. The last such entry of a run says all that the
    /// earlier ones said.
    Count {
        /// The run as of this entry; `run.last` is the entry's own counter.
        run: Run,
    },
    /// A counter's reset: how far each replica's run had come when it was made. What is above still counts.
    Reset {
        /// Per replica the run as seen.
        floors: BTreeMap<ReplicaId, Run>,
    },
    /// A flag is on. (To disable it is a [`Delete`](Effect::Delete).)
    Enable,
    /// A value, an element or a flag, for a time.
    Lend {
        /// What.
        lent: Lent,
        /// For how long.
        lease: Lease,
    },
}

/// The sum of one replica's increments of one counter since it was last reset to nothing: cumulative, so that the
/// newest replaces the older ones. Ordered by age: a later start is a later run, a later last is a later state of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Run {
    /// The counter of the dot that began it.
    pub start: u64,
    /// The counter of the last dot that extended it.
    pub last: u64,
    /// The sum of the positive increments.
    pub plus: u64,
    /// The sum of the negative increments, without their sign.
    pub minus: u64,
}

impl Run {
    /// Whether it can be: dots count from 1, and the first is not after the last.
    pub(crate) fn is_possible(&self) -> bool {
        1 <= self.start && self.start <= self.last
    }

    /// Whether this run is a later one than `other`, or the same further on.
    pub(crate) fn is_after(&self, other: &Run) -> bool {
        (self.start, self.last) > (other.start, other.last)
    }
}

/// Why an entry from elsewhere is not taken. It changes nothing and its dot stays uncovered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its dot, or a dot that it removes, has counter 0, which names no write.
    #[error("a dot has counter 0")]
    CounterZero,
    /// It removes its own dot.
    #[error("it removes itself")]
    RemovesItself,
    /// A run that begins before 1 or after its end, or does not end at its entry's own dot.
    #[error("a counter's run from {} to {} is not possible", run.start, run.last)]
    RunImpossible {
        /// The run.
        run: Run,
    },
    /// An element over its limit.
    #[error("an element has at most {ELEMENT_BYTES_MAX} bytes, this one has {len}")]
    ElementTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// More removed dots of one replica than any honest write names.
    #[error("it removes {count} dots of one replica, at most {REMOVED_DOTS_MAX} are allowed")]
    RemovesTooMany {
        /// How many.
        count: usize,
    },
    /// More bytes than an entry may have.
    #[error("it has up to {bytes} bytes, at most {ENTRY_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size in bytes, at most.
        bytes: usize,
    },
    /// Whole cells that are not in order, or not where their slice says.
    #[error("its cells are not in order")]
    SliceMalformed,
    /// It bears our own replica id, and we did not write it: two processes run with one key and generation.
    #[error("it bears our own replica id, but we did not write it")]
    NotOurs,
    /// It claims to have seen writes of ours that we have not made.
    #[error("it has seen our write {counter}, which we have not made")]
    FromOurFuture {
        /// The counter that we have not reached.
        counter: u64,
    },
    /// Its node has written in so many process lives that those of a further one are not taken.
    #[error("its node has written in {GENERATIONS_PER_NODE_MAX} process lives already")]
    TooManyGenerations,
    /// It would leave one gap too many below it. Once others have closed it is taken.
    #[error("it leaves a gap, and its writer has {CLOCK_GAPS_MAX} already")]
    TooManyGaps,
    /// It removes dots that have not come, and too many of those are remembered. Once they are here it is taken.
    #[error("it removes {count} writes that are not here yet, and too many of those are remembered")]
    TooManyDoomed {
        /// How many that have not come.
        count: usize,
    },
    /// So much waits for the disk that nothing more is taken until the next commit.
    #[error("too much waits for the disk")]
    Busy,
    /// Memory is used up, with a reserve for others' writes too.
    #[error("the state has {bytes} bytes, more than twice its limit")]
    StateFull {
        /// Bytes in use.
        bytes: usize,
    },
}

/// Dot, HLC, the effect's tag and the lengths of key and value, encoded, at most.
const HEAD_BYTES: usize = REPLICA_ID_BYTES + 5 * NUMBER_BYTES;
const RUN_BYTES: usize = 4 * NUMBER_BYTES;
/// A lease with its tag, and the tag of what is lent.
const LEASE_BYTES: usize = 2 + NUMBER_BYTES;

impl Entry {
    /// A cheap upper bound of the entry's encoded size in bytes.
    pub fn weight(&self) -> usize {
        let effect = match &self.effect {
            Effect::Delete | Effect::Remove | Effect::Enable => 0,
            Effect::Set { value } => value.as_bytes().len(),
            Effect::Add { element } => element.as_bytes().len(),
            Effect::Count { .. } => RUN_BYTES,
            Effect::Lend { lent, .. } => lent.bytes() + LEASE_BYTES,
            Effect::Reset { floors } => floors.len() * (REPLICA_ID_BYTES + RUN_BYTES),
        };
        HEAD_BYTES + self.key.as_str().len() + effect + self.removed.weight()
    }

    /// Whether the entry only takes away, and so is what helps when memory is short.
    pub fn only_removes(&self) -> bool {
        matches!(self.effect, Effect::Delete | Effect::Remove | Effect::Reset { .. })
    }

    /// Whether the entry can be what it says, looked at alone.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.dot.counter == 0 || self.removed.iter().any(|dot| dot.counter == 0) {
            return Err(Refusal::CounterZero);
        }
        if self.removed.contains(self.dot) {
            return Err(Refusal::RemovesItself);
        }
        if self.removed.largest_group() > REMOVED_DOTS_MAX {
            return Err(Refusal::RemovesTooMany { count: self.removed.largest_group() });
        }
        if self.weight() > ENTRY_BYTES_MAX {
            return Err(Refusal::TooLarge { bytes: self.weight() });
        }
        match &self.effect {
            Effect::Count { run } if !run.is_possible() || run.last != self.dot.counter => {
                Err(Refusal::RunImpossible { run: *run })
            }
            Effect::Reset { floors } => match floors.values().find(|floor| !floor.is_possible()) {
                Some(floor) => Err(Refusal::RunImpossible { run: *floor }),
                None => Ok(()),
            },
            Effect::Add { element } | Effect::Lend { lent: Lent::Element(element), .. }
                if element.as_bytes().len() > ELEMENT_BYTES_MAX =>
            {
                Err(Refusal::ElementTooLong { len: element.as_bytes().len() })
            }
            _ => Ok(()),
        }
    }

    /// The highest counter of `replica` that this entry claims to have seen.
    pub(crate) fn has_seen_of(&self, replica: ReplicaId) -> u64 {
        let floor = match &self.effect {
            Effect::Reset { floors } => floors.get(&replica).map(|floor| floor.last),
            _ => None,
        };
        floor.max(self.removed.last(replica)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::{key, replica_id};
    use chinwag_base::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
    use chinwag_base::{Generation, NodeId};

    fn round_trip(entry: &Entry) -> usize {
        let config = bincode::config::standard();
        let bytes = bincode::serde::encode_to_vec(entry, config).unwrap();
        let (again, len): (Entry, usize) = bincode::serde::decode_from_slice(&bytes, config).unwrap();
        assert_eq!((&again, len), (entry, bytes.len()));
        bytes.len()
    }

    /// With the largest numbers everywhere, which is where an estimate could be too low.
    #[test]
    fn the_weight_bounds_the_encoding_closely() {
        let replica =
            |n: u8| ReplicaId { node: NodeId::from_bytes([n; 32]), generation: Generation::new(u64::MAX) };
        let run = Run { start: u64::MAX, last: u64::MAX, plus: u64::MAX, minus: u64::MAX };
        let large = Value::new(vec![7; VALUE_BYTES_MAX]).unwrap();
        let effects = [
            Effect::Delete,
            Effect::Remove,
            Effect::Enable,
            Effect::Lend { lent: Lent::Flag, lease: Lease::Life },
            Effect::Lend { lent: Lent::Value(large.clone()), lease: Lease::Until { unix_ms: u64::MAX } },
            Effect::Set { value: large.clone() },
            Effect::Add { element: large },
            Effect::Count { run },
            Effect::Reset { floors: (0..200).map(|n| (replica(n), run)).collect() },
        ];
        for effect in effects {
            let mut entry = Entry {
                dot: Dot::new(replica(1), u64::MAX),
                hlc: Hlc::new(u64::MAX, u16::MAX),
                key: key(&"k".repeat(KEY_BYTES_MAX)),
                effect,
                removed: Dots::new(),
            };
            assert!((round_trip(&entry)..round_trip(&entry) + 64).contains(&entry.weight()), "{entry:?}");
            entry.removed = (0..200).map(|n| Dot::new(replica(n), u64::MAX)).collect();
            assert!(round_trip(&entry) <= entry.weight());
        }
    }

    #[test]
    fn a_small_write_is_small() {
        let entry = Entry {
            dot: Dot::new(replica_id(1), 7),
            hlc: Hlc::new(1_700_000_000_000, 0),
            key: key("app/greeting"),
            effect: Effect::Set { value: Value::new(*b"hello").unwrap() },
            removed: Dots::from_iter([Dot::new(replica_id(1), 6)]),
        };
        assert!(round_trip(&entry) <= 105, "{}", round_trip(&entry));
    }
}

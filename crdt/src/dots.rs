//! A set of dots, grouped by replica so that each replica's 40-byte id is kept and sent once.

use crate::Dot;
use chinwag_base::ReplicaId;
use chinwag_base::limits::{ENTRY_BYTES_MAX, REMOVED_DOTS_MAX};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of an encoded replica id, at most: 32 of the key and a 9-byte generation.
pub(crate) const REPLICA_ID_BYTES: usize = 41;
/// Bytes of an encoded 64-bit number, at most.
pub(crate) const NUMBER_BYTES: usize = 9;

/// A set of dots. Iterates by replica, then by counter.
///
/// Encoded, counters are differences from the one before, so that a run of neighbours costs a byte each, and there
/// is exactly one encoding of a set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dots(BTreeMap<ReplicaId, BTreeSet<u64>>);

impl Dots {
    /// No dots.
    pub const fn new() -> Self {
        Dots(BTreeMap::new())
    }

    /// Puts a dot in. Says whether it is new.
    pub fn insert(&mut self, dot: Dot) -> bool {
        self.0.entry(dot.replica).or_default().insert(dot.counter)
    }

    /// Whether the dot is here.
    pub fn contains(&self, dot: Dot) -> bool {
        self.0.get(&dot.replica).is_some_and(|counters| counters.contains(&dot.counter))
    }

    /// The dots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.iter().flat_map(|(&replica, counters)| counters.iter().map(move |&c| Dot::new(replica, c)))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The highest counter of one replica.
    pub fn last(&self, replica: ReplicaId) -> Option<u64> {
        self.0.get(&replica)?.last().copied()
    }

    /// The most dots that one replica has here.
    pub(crate) fn largest_group(&self) -> usize {
        self.0.values().map(BTreeSet::len).max().unwrap_or(0)
    }

    /// No more bytes than this when encoded.
    pub(crate) fn weight(&self) -> usize {
        let groups = self.0.values().map(|c| REPLICA_ID_BYTES + NUMBER_BYTES * (1 + c.len()));
        NUMBER_BYTES + groups.sum::<usize>()
    }
}

impl FromIterator<Dot> for Dots {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut set = Dots::new();
        set.extend(dots);
        set
    }
}

impl Extend<Dot> for Dots {
    fn extend<I: IntoIterator<Item = Dot>>(&mut self, dots: I) {
        for dot in dots {
            self.insert(dot);
        }
    }
}

impl Serialize for Dots {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let steps = |counters: &BTreeSet<u64>| -> Vec<u64> {
            let before = std::iter::once(&0).chain(counters);
            counters.iter().zip(before).map(|(counter, before)| counter - before).collect()
        };
        serializer.collect_seq(self.0.iter().map(|(replica, counters)| (replica, steps(counters))))
    }
}

impl<'de> Deserialize<'de> for Dots {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let groups = Vec::<(ReplicaId, Vec<u64>)>::deserialize(deserializer)?;
        let mut dots = BTreeMap::new();
        // A group costs at least an id, so more groups than this cannot have come in one entry.
        if groups.len() > ENTRY_BYTES_MAX / (REPLICA_ID_BYTES - NUMBER_BYTES) {
            return Err(de::Error::custom("too many replicas in a set of dots"));
        }
        for (replica, steps) in groups {
            if dots.last_key_value().is_some_and(|(last, _)| *last >= replica) {
                return Err(de::Error::custom("the replicas in a set of dots are not ascending"));
            }
            if steps.is_empty() || steps.len() > REMOVED_DOTS_MAX {
                return Err(de::Error::custom("a replica in a set of dots has none or too many"));
            }
            let mut counters = BTreeSet::new();
            let mut counter = 0_u64;
            for step in steps {
                counter = match counter.checked_add(step) {
                    Some(next) if step > 0 => next,
                    _ => return Err(de::Error::custom("the counters in a set of dots are not ascending")),
                };
                counters.insert(counter);
            }
            dots.insert(replica, counters);
        }
        Ok(Dots(dots))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::replica_id;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const CONFIG: bincode::config::Configuration = bincode::config::standard();

    fn decode(bytes: &[u8]) -> Option<Dots> {
        bincode::serde::decode_from_slice(bytes, CONFIG).ok().map(|(dots, _)| dots)
    }

    fn encode(value: impl Serialize) -> Vec<u8> {
        bincode::serde::encode_to_vec(value, CONFIG).unwrap()
    }

    #[test]
    fn there_is_one_encoding_of_a_set() {
        let (a, b) = (replica_id(1), replica_id(2));
        assert_eq!(
            decode(&encode(vec![(a, vec![3_u64, 1])])).unwrap().iter().map(|d| d.counter).sum::<u64>(),
            7
        );
        let none = Vec::<u64>::new;
        assert_eq!(decode(&encode(vec![(b, vec![1_u64]), (a, vec![1])])), None, "descending");
        assert_eq!(decode(&encode(vec![(a, vec![1_u64]), (a, vec![2])])), None, "twice");
        assert_eq!(decode(&encode(vec![(a, none())])), None, "an empty group");
        assert_eq!(decode(&encode(vec![(a, vec![1_u64, 0])])), None, "the same counter again");
        assert_eq!(decode(&encode(vec![(a, vec![u64::MAX, 1])])), None, "out of range");
        assert_eq!(decode(&encode(vec![(a, vec![1_u64; REMOVED_DOTS_MAX + 1])])), None, "too many");
        assert!(decode(&encode(vec![(a, vec![1_u64; REMOVED_DOTS_MAX])])).is_some());
        // Neighbours cost a byte each.
        let dots: Dots = (1_000_000..1_001_000).map(|counter| Dot::new(a, counter)).collect();
        assert!(encode(&dots).len() < 1_100);
    }

    proptest! {
        #[test]
        fn encoding_keeps_every_dot(dots in vec((1_u8..5, prop_oneof![0_u64..50, any::<u64>()]), 0..60)) {
            let dots: Dots = dots.into_iter().filter(|d| d.1 > 0).map(|(r, c)| Dot::new(replica_id(r), c)).collect();
            let bytes = encode(&dots);
            prop_assert!(bytes.len() <= dots.weight());
            prop_assert_eq!(dots.iter().count(), dots.len());
            prop_assert!(dots.iter().all(|dot| dots.contains(dot)));
            prop_assert_eq!(decode(&bytes), Some(dots));
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
            if let Some(dots) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&dots)), Some(dots));
            }
        }
    }
}

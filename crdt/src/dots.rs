//! A set of dots, grouped by replica so that each replica's 40-byte id is kept and sent once.

use crate::Dot;
use chinwag_base::ReplicaId;
use chinwag_base::limits::{ENTRY_BYTES_MAX, REMOVED_DOTS_MAX};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Bytes of an encoded replica id, at most: 32 of the key and a 9-byte generation.
pub(crate) const REPLICA_ID_BYTES: usize = 41;
/// Bytes of an encoded 64-bit number, at most.
pub(crate) const NUMBER_BYTES: usize = 9;

/// A set of dots. Iterates by replica, then by counter.
///
/// Encoded, counters are differences from the one before, so that a run of neighbours costs a byte each, and there
/// is exactly one encoding of a set.
#[derive(Clone, PartialEq, Eq)]
pub struct Dots(Kept);

/// How the dots are kept. Nearly every write replaces one value, so a single dot takes no memory elsewhere.
#[derive(Clone, PartialEq, Eq)]
enum Kept {
    One(Dot),
    /// None, or more than one, so that equal sets are equal values: replicas, ascending, and of each its counters.
    Groups(Vec<(ReplicaId, Vec<u64>)>),
}

impl Dots {
    /// No dots.
    pub const fn new() -> Self {
        Dots(Kept::Groups(Vec::new()))
    }

    /// Puts a dot in. Says whether it is new. Quickest in ascending order.
    pub fn insert(&mut self, dot: Dot) -> bool {
        let groups = match &mut self.0 {
            Kept::One(one) if *one == dot => return false,
            Kept::One(one) => {
                self.0 = Kept::Groups(vec![(one.replica, vec![one.counter])]);
                return self.insert(dot);
            }
            Kept::Groups(groups) if groups.is_empty() => {
                self.0 = Kept::One(dot);
                return true;
            }
            Kept::Groups(groups) => groups,
        };
        let at = match groups.last() {
            Some((last, _)) if *last == dot.replica => Ok(groups.len() - 1),
            Some((last, _)) if *last < dot.replica => Err(groups.len()),
            _ => groups.binary_search_by_key(&dot.replica, |(replica, _)| *replica),
        };
        let counters = match at {
            Ok(at) => &mut groups[at].1,
            Err(at) => {
                groups.insert(at, (dot.replica, vec![dot.counter]));
                return true;
            }
        };
        if counters.last().is_some_and(|last| *last < dot.counter) {
            counters.push(dot.counter);
            return true;
        }
        let at = counters.binary_search(&dot.counter);
        if let Err(at) = at {
            counters.insert(at, dot.counter);
        }
        at.is_err()
    }

    /// The replicas, ascending, each with its counters.
    #[inline]
    pub(crate) fn groups(&self) -> impl Iterator<Item = (ReplicaId, &[u64])> {
        let (one, groups) = match &self.0 {
            Kept::One(dot) => (Some((dot.replica, std::slice::from_ref(&dot.counter))), &[][..]),
            Kept::Groups(groups) => (None, groups.as_slice()),
        };
        one.into_iter().chain(groups.iter().map(|(replica, counters)| (*replica, counters.as_slice())))
    }

    /// The set of these: replicas, ascending, and of each its counters, ascending.
    pub(crate) fn of_groups(groups: Vec<(ReplicaId, Vec<u64>)>) -> Result<Self, &'static str> {
        if !groups.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err("the replicas in a set of dots are not ascending");
        }
        for (_, counters) in &groups {
            if counters.is_empty() || counters.len() > REMOVED_DOTS_MAX {
                return Err("a replica in a set of dots has none or too many");
            }
            if counters[0] == 0 || !counters.is_sorted_by(|one, next| one < next) {
                return Err("the counters in a set of dots are not ascending");
            }
        }
        Ok(match groups.as_slice() {
            [(replica, counters)] if counters.len() == 1 => Dots(Kept::One(Dot::new(*replica, counters[0]))),
            _ => Dots(Kept::Groups(groups)),
        })
    }

    fn of(&self, replica: ReplicaId) -> &[u64] {
        match &self.0 {
            Kept::One(dot) if dot.replica == replica => std::slice::from_ref(&dot.counter),
            Kept::One(_) => &[],
            Kept::Groups(groups) => {
                let at = groups.binary_search_by_key(&replica, |(replica, _)| *replica);
                at.map_or(&[], |at| groups[at].1.as_slice())
            }
        }
    }

    /// Whether the dot is here.
    pub fn contains(&self, dot: Dot) -> bool {
        self.of(dot.replica).binary_search(&dot.counter).is_ok()
    }

    /// The dots, ascending.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.groups().flat_map(|(replica, counters)| counters.iter().map(move |&c| Dot::new(replica, c)))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.groups().map(|(_, counters)| counters.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Kept::Groups(groups) if groups.is_empty())
    }

    /// The highest counter of one replica.
    pub fn last(&self, replica: ReplicaId) -> Option<u64> {
        self.of(replica).last().copied()
    }

    /// The most dots that one replica has here.
    pub(crate) fn largest_group(&self) -> usize {
        self.groups().map(|(_, counters)| counters.len()).max().unwrap_or(0)
    }

    /// No more bytes than this when encoded.
    pub(crate) fn weight(&self) -> usize {
        let groups = self.groups().map(|(_, c)| REPLICA_ID_BYTES + NUMBER_BYTES * (1 + c.len()));
        NUMBER_BYTES + groups.sum::<usize>()
    }
}

impl Default for Dots {
    fn default() -> Self {
        Dots::new()
    }
}

impl fmt::Debug for Dots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
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

/// Counters, each as the difference from the one before.
struct Steps<'a>(&'a [u64]);

impl Serialize for Steps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let before = std::iter::once(&0).chain(self.0);
        serializer.collect_seq(self.0.iter().zip(before).map(|(counter, before)| counter - before))
    }
}

impl Serialize for Dots {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut groups = serializer.serialize_seq(Some(self.groups().count()))?;
        self.groups()
            .try_for_each(|(replica, counters)| groups.serialize_element(&(replica, Steps(counters))))?;
        groups.end()
    }
}

impl<'de> Deserialize<'de> for Dots {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut groups = Vec::<(ReplicaId, Vec<u64>)>::deserialize(deserializer)?;
        // A group costs at least an id, so more groups than this cannot have come in one entry.
        if groups.len() > ENTRY_BYTES_MAX / (REPLICA_ID_BYTES - NUMBER_BYTES) {
            return Err(de::Error::custom("too many replicas in a set of dots"));
        }
        for (_, steps) in &mut groups {
            let mut counter = 0_u64;
            for step in steps {
                // A sum that would not fit ends the ascent.
                counter = counter.wrapping_add(*step);
                *step = counter;
            }
        }
        Dots::of_groups(groups).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::replica_id;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

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
            let dots: Vec<Dot> =
                dots.into_iter().filter(|d| d.1 > 0).map(|(r, c)| Dot::new(replica_id(r), c)).collect();
            let sorted: BTreeSet<Dot> = dots.iter().copied().collect();
            let mut again = Dots::new();
            let new = dots.iter().filter(|dot| again.insert(**dot)).count();
            let dots: Dots = dots.into_iter().collect();
            prop_assert_eq!((dots.iter().collect::<BTreeSet<_>>(), new), (sorted.clone(), sorted.len()));
            prop_assert!(dots.iter().eq(sorted.iter().copied()), "ascending");
            prop_assert_eq!(&again, &sorted.iter().copied().collect::<Dots>(), "in whichever order they came");
            let last = sorted.iter().rev().find(|dot| dot.replica == replica_id(2)).map(|dot| dot.counter);
            prop_assert_eq!((dots.last(replica_id(2)), dots.is_empty()), (last, sorted.is_empty()));
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

//! What a cell has seen: a set of dots, as runs.
//!
//! A record's causal context is its own. The replica's clock would not do, because most members never see the record's
//! writes and their clocks would be full of gaps. Preguiça, Baquero and others, "Dotted Version Vectors: Efficient Causality
//! Tracking for Distributed Key-Value Stores" (2012) give a server that coordinates every write of a key one counter and so a
//! vector without gaps. Here any member coordinates any put in one round trip and two of its puts may overtake each other, so the context is
//! the set itself. A coordinator counts its puts of one key without gaps, so that the set is a run or two for each.

use chinwag_base::ReplicaId;
use chinwag_base::limits::{CONTEXT_RUNS_MAX, JOINED_FACTOR};
use chinwag_crdt::Dot;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::collections::BTreeMap;

/// Counters from the first to the last, both included.
type Run = (u64, u64);

/// A set of dots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct Context(BTreeMap<ReplicaId, Vec<Run>>);

impl Context {
    /// No dots.
    pub const fn new() -> Self {
        Context(BTreeMap::new())
    }

    /// Whether the dot is in it.
    pub fn contains(&self, dot: Dot) -> bool {
        let Some(runs) = self.0.get(&dot.replica) else { return false };
        let after = runs.partition_point(|(first, _)| *first <= dot.counter);
        after > 0 && runs[after - 1].1 >= dot.counter
    }

    /// Puts a dot in.
    pub fn insert(&mut self, dot: Dot) {
        self.insert_run(dot.replica, (dot.counter, dot.counter));
    }

    /// Puts in the dot and all earlier ones of its replica.
    pub fn insert_up_to(&mut self, dot: Dot) {
        self.insert_run(dot.replica, (1, dot.counter));
    }

    /// How many dots are in it.
    pub fn len(&self) -> u64 {
        let run = |(first, last): &Run| last.saturating_sub(*first).saturating_add(1);
        self.0.values().flatten().map(run).fold(0, u64::saturating_add)
    }

    /// Puts in all that the other one has.
    pub fn join(&mut self, other: &Context) {
        for (replica, runs) in &other.0 {
            for run in runs {
                self.insert_run(*replica, *run);
            }
        }
    }

    /// How many runs it takes to say it.
    pub fn runs(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether there are no dots.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn insert_run(&mut self, replica: ReplicaId, (mut first, mut last): Run) {
        let runs = self.0.entry(replica).or_default();
        // Every run that overlaps or touches the new one becomes part of it.
        let from = runs.partition_point(|run| run.1.saturating_add(1) < first);
        let until = runs.partition_point(|run| run.0 <= last.saturating_add(1));
        if from < until {
            first = first.min(runs[from].0);
            last = last.max(runs[until - 1].1);
        }
        runs.splice(from..until, [(first, last)]);
    }
}

impl FromIterator<Dot> for Context {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut context = Context::new();
        dots.into_iter().for_each(|dot| context.insert(dot));
        context
    }
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let runs = BTreeMap::<ReplicaId, Vec<Run>>::deserialize(deserializer)?;
        let context = Context(runs);
        if context.runs() > JOINED_FACTOR * CONTEXT_RUNS_MAX {
            return Err(de::Error::custom("a causal context has too many runs"));
        }
        let is_legal = |runs: &Vec<Run>| {
            let apart = runs.windows(2).all(|pair| pair[0].1.saturating_add(1) < pair[1].0);
            !runs.is_empty() && runs[0].0 > 0 && runs.iter().all(|(first, last)| first <= last) && apart
        };
        if !context.0.values().all(is_legal) {
            return Err(de::Error::custom("the runs of a causal context are not ascending and apart"));
        }
        Ok(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::replica;
    use chinwag_base::codec;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn dots() -> impl Strategy<Value = BTreeSet<Dot>> {
        btree_set((1_u8..4, prop_oneof![1_u64..30, Just(u64::MAX)]), 0..40)
            .prop_map(|dots| dots.into_iter().map(|(r, c)| Dot::new(replica(r), c)).collect())
    }

    proptest! {
        #[test]
        fn it_is_a_set(one in dots(), other in dots()) {
            let mut joined: Context = one.iter().copied().collect();
            joined.join(&other.iter().copied().collect());
            let union: Context = one.union(&other).copied().collect();
            prop_assert_eq!(&joined, &union);
            for counter in (0..32).chain([u64::MAX - 1, u64::MAX]) {
                for r in 0..5 {
                    let dot = Dot::new(replica(r), counter);
                    prop_assert_eq!(joined.contains(dot), one.contains(&dot) || other.contains(&dot));
                }
            }
            let bytes = codec::encode(&joined);
            prop_assert_eq!(codec::decode::<100_000, Context>(&bytes).unwrap(), joined);
        }

        #[test]
        fn hostile_runs_are_refused_or_legal(runs in vec((0_u64..9, 0_u64..9), 0..5)) {
            let raw: BTreeMap<ReplicaId, Vec<Run>> = [(replica(1), runs)].into();
            if let Ok(context) = codec::decode::<100_000, Context>(&codec::encode(&raw)) {
                let again: Context = (1..10).map(|c| Dot::new(replica(1), c)).filter(|d| context.contains(*d)).collect();
                prop_assert_eq!(again, context, "one spelling of a set");
            }
        }
    }
}

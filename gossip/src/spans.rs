//! Sets of dots as runs of counters: what is asked for, what waits for the disk, what was refused.

use chinwag_base::ReplicaId;
use chinwag_crdt::Dot;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Runs `first..=last` of counters, per replica. Dots of one writer are consecutive, so that thousands of entries
/// are a handful of runs.
///
/// What was decoded need not be normal: readers of a peer's spans check each run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spans(BTreeMap<ReplicaId, BTreeMap<u64, u64>>);

impl Spans {
    /// Whether there is no run at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs in all.
    pub fn runs(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Every run: replica, first and last counter. Ascending, and disjoint if this set was built here.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, u64, u64)> + '_ {
        self.0.iter().flat_map(|(replica, runs)| runs.iter().map(|(first, last)| (*replica, *first, *last)))
    }

    /// The number of dots, if every run is well-formed: it starts above zero, after the run before it, and does
    /// not end before it starts.
    pub fn dots(&self) -> Option<u64> {
        let mut dots = 0_u64;
        for runs in self.0.values() {
            let mut after = 0;
            for (first, last) in runs {
                if *first <= after || last < first {
                    return None;
                }
                after = *last;
                dots = dots.checked_add(last - first + 1)?;
            }
        }
        Some(dots)
    }

    /// Whether the set has this dot.
    pub fn contains(&self, dot: Dot) -> bool {
        self.run_of(dot.replica, dot.counter).is_some()
    }

    /// The first counter from `counter` on that the set lacks; `None` after the last number there is.
    pub fn skip(&self, replica: ReplicaId, counter: u64) -> Option<u64> {
        match self.run_of(replica, counter) {
            Some((_, last)) => last.checked_add(1),
            None => Some(counter),
        }
    }

    /// Whether the two sets share a dot.
    pub fn meets(&self, other: &Spans) -> bool {
        self.iter().any(|(replica, first, last)| {
            let Some(runs) = other.0.get(&replica) else { return false };
            runs.range(..=last).next_back().is_some_and(|(_, end)| *end >= first)
        })
    }

    /// Adds a dot. Returns whether it is new.
    pub fn insert(&mut self, dot: Dot) -> bool {
        if self.contains(dot) {
            return false;
        }
        let runs = self.0.entry(dot.replica).or_default();
        let (mut first, mut last) = (dot.counter, dot.counter);
        if let Some((before, end)) = runs.range(..dot.counter).next_back().map(|(f, l)| (*f, *l))
            && end.checked_add(1) == Some(dot.counter)
        {
            runs.remove(&before);
            first = before;
        }
        if let Some(next) = dot.counter.checked_add(1)
            && let Some(end) = runs.remove(&next)
        {
            last = end;
        }
        runs.insert(first, last);
        true
    }

    /// Takes a dot away. Returns whether it was there.
    pub fn remove(&mut self, dot: Dot) -> bool {
        let Some((first, last)) = self.run_of(dot.replica, dot.counter) else { return false };
        let Some(runs) = self.0.get_mut(&dot.replica) else { return false };
        runs.remove(&first);
        if first < dot.counter {
            runs.insert(first, dot.counter - 1);
        }
        if dot.counter < last {
            runs.insert(dot.counter + 1, last);
        }
        if runs.is_empty() {
            self.0.remove(&dot.replica);
        }
        true
    }

    fn run_of(&self, replica: ReplicaId, counter: u64) -> Option<(u64, u64)> {
        let (first, last) = self.0.get(&replica)?.range(..=counter).next_back()?;
        (counter <= *last).then_some((*first, *last))
    }
}

impl Extend<Dot> for Spans {
    fn extend<T: IntoIterator<Item = Dot>>(&mut self, dots: T) {
        for dot in dots {
            self.insert(dot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_base::{Generation, NodeId};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn replica(n: u8) -> ReplicaId {
        ReplicaId { node: NodeId::from_bytes([n; 32]), generation: Generation::new(1) }
    }

    proptest! {
        #[test]
        fn spans_are_a_set_of_dots(steps in prop::collection::vec((any::<bool>(), 0..2_u8, 1..24_u64), 0..80)) {
            let (mut spans, mut model) = (Spans::default(), BTreeSet::new());
            for (add, r, counter) in steps {
                let dot = Dot { replica: replica(r), counter };
                if add {
                    prop_assert_eq!(spans.insert(dot), model.insert(dot));
                } else {
                    prop_assert_eq!(spans.remove(dot), model.remove(&dot));
                }
                let dots: BTreeSet<Dot> = spans
                    .iter()
                    .flat_map(|(replica, a, b)| (a..=b).map(move |counter| Dot { replica, counter }))
                    .collect();
                prop_assert_eq!(&dots, &model);
                prop_assert_eq!(spans.dots(), Some(model.len() as u64));
                let probe = Spans([(replica(r), [(counter, counter + 3)].into())].into());
                let shared = (counter..=counter + 3).any(|c| model.contains(&Dot { replica: replica(r), counter: c }));
                prop_assert_eq!(probe.meets(&spans), shared);
                let mut at = counter;
                while model.contains(&Dot { replica: replica(r), counter: at }) { at += 1; }
                prop_assert_eq!(spans.skip(replica(r), counter), Some(at));
            }
        }
    }

    #[test]
    fn neighbours_are_one_run_and_ends_do_not_overflow() {
        let mut spans = Spans::default();
        spans.extend([1, 3, 2, u64::MAX, u64::MAX - 1].map(|counter| Dot { replica: replica(1), counter }));
        assert_eq!(spans.runs(), 2);
        assert_eq!(spans.skip(replica(1), u64::MAX - 1), None);
        assert_eq!(spans.dots(), Some(5));
    }

    #[test]
    fn malformed_runs_are_noticed() {
        let bad = |runs: &[(u64, u64)]| Spans([(replica(1), runs.iter().copied().collect())].into()).dots();
        assert_eq!(bad(&[(1, 4), (5, 6)]), Some(6));
        assert_eq!(bad(&[(3, 2)]), None);
        assert_eq!(bad(&[(0, 2)]), None);
        assert_eq!(bad(&[(1, 4), (4, 6)]), None);
        assert_eq!(bad(&[(1, u64::MAX)]), Some(u64::MAX));
    }
}

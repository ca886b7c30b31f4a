//! One process life of a node in a clock: which of its writes are covered.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// One replica's covered counters: `1..=base`, and islands above, of which none touches the base or another.
/// Keeping them apart makes the form unique, so that equal sets are equal values.
///
/// Nearly all lives are over and have no gaps, so the islands are elsewhere: 16 bytes without.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Track {
    base: u64,
    /// Some if there is one.
    islands: Option<Box<Islands>>,
}

/// First counter of an island to its last.
type Islands = BTreeMap<u64, u64>;

impl Track {
    /// The counter up to which all are covered.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The highest that is covered; 0 if none is.
    pub(super) fn last(&self) -> u64 {
        self.islands().last().map_or(self.base, |(_, end)| end)
    }

    /// How many ranges of uncovered counters lie below covered ones.
    pub(super) fn gaps(&self) -> usize {
        self.islands.as_ref().map_or(0, |islands| islands.len())
    }

    /// First and last counter of each island, ascending.
    pub(super) fn islands(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.islands.iter().flat_map(|islands| islands.iter()).map(|(&start, &end)| (start, end))
    }

    /// First and last of each range that is covered, ascending.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        (self.base > 0).then_some((1, self.base)).into_iter().chain(self.islands())
    }

    /// The island that begins at a counter or before it, if there is one.
    fn island_before(&self, counter: u64) -> Option<(u64, u64)> {
        let (&start, &end) = self.islands.as_ref()?.range(..=counter).next_back()?;
        Some((start, end))
    }

    /// Whether it is plain, without a look at each range, that all of `other` is covered.
    pub(super) fn has_all_of(&self, other: &Track) -> bool {
        self.base >= other.last() || self == other
    }

    pub(super) fn covers(&self, counter: u64) -> bool {
        self.covers_all(counter, counter)
    }

    /// Whether `start..=end` is covered; not if it is empty, or begins with 0.
    pub(super) fn covers_all(&self, start: u64, end: u64) -> bool {
        let in_island = || self.island_before(start).is_some_and(|(_, last)| end <= last);
        1 <= start && start <= end && (end <= self.base || in_island())
    }

    /// Covers `start..=end`, where 1 <= start <= end, and joins whatever now touches.
    pub(super) fn insert(&mut self, mut start: u64, mut end: u64) {
        if start <= self.base.saturating_add(1) {
            self.base = self.base.max(end);
            if let Some(islands) = &mut self.islands {
                while let Some(island) = islands.first_entry() {
                    if *island.key() > self.base.saturating_add(1) {
                        break;
                    }
                    self.base = self.base.max(island.remove());
                }
            }
            return self.tidy();
        }
        if let Some((before, its_end)) = self.island_before(start)
            && its_end >= start - 1
        {
            (start, end) = (before, end.max(its_end));
        }
        let islands = self.islands.get_or_insert_default();
        while let Some((&next, &its_end)) = islands.range(start..=end.saturating_add(1)).next() {
            end = end.max(its_end);
            islands.remove(&next);
        }
        islands.insert(start, end);
    }

    /// Leaves out what is above the first so many gaps. Says whether there was nothing.
    pub(super) fn round_down(&mut self, gaps_max: usize) -> bool {
        let is_whole = self.gaps() <= gaps_max;
        if let Some(islands) = &mut self.islands {
            while islands.len() > gaps_max {
                islands.pop_last();
            }
        }
        self.tidy();
        is_whole
    }

    fn tidy(&mut self) {
        self.islands.take_if(|islands| islands.is_empty());
    }

    /// What is covered here and not there.
    pub(super) fn minus(&self, other: &Track) -> Vec<RangeInclusive<u64>> {
        let mut missing = Vec::new();
        let mut theirs = other.ranges().peekable();
        for (start, end) in self.ranges() {
            // `from` is the first counter not yet decided; None once the whole range is.
            let mut from = Some(start);
            while let Some(first) = from
                && let Some(&(their_start, their_end)) = theirs.peek()
                && their_start <= end
            {
                if first < their_start {
                    missing.push(first..=their_start - 1);
                }
                if their_end > end {
                    // It may reach into our next range, so it stays.
                    from = None;
                } else {
                    theirs.next();
                    from =
                        Some(first.max(their_end.saturating_add(1))).filter(|&f| f <= end && their_end < end);
                }
            }
            missing.extend(from.map(|first| first..=end));
        }
        missing
    }

    /// The first so many islands, each as (counters skipped before it, counters in it).
    pub(super) fn skips(&self, max: usize) -> Vec<(u64, u64)> {
        let mut last = self.base;
        let skip = |(start, end)| {
            let skip = (start - last - 1, end - start + 1);
            last = end;
            skip
        };
        self.islands().take(max).map(skip).collect()
    }

    /// The track with this base and these islands, each as (counters skipped before it, counters in it). None if one is empty
    /// or ends beyond the highest counter that there is.
    pub(super) fn of_skips(base: u64, skips: impl IntoIterator<Item = (u64, u64)>) -> Option<Self> {
        let mut track = Track { base, islands: None };
        let mut last = base;
        for (skipped, length) in skips {
            let start = last.checked_add(skipped)?.checked_add(1)?;
            let end = start.checked_add(length.checked_sub(1)?)?;
            track.insert(start, end);
            last = end;
        }
        Some(track)
    }
}

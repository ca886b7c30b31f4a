//! Which entries a replica has applied: per writer a contiguous base, and explicit islands above its gaps.
//!
//! Server-wide clocks (Gonçalves, Almeida, Baquero, Fonte: *DottedDB*, 2017, section IV): one clock for a whole
//! database instead of one per key. A plain version vector, one number per writer, would have to claim everything
//! below its number; entries arrive out of order, so it would claim entries that have not come, and those would never
//! be asked for again. So gaps are kept explicitly. They close as the missing entries arrive.

use crate::Dot;
use crate::account::Item;
use chinwag_base::limits::{CLOCK_GAPS_MAX, CLOCK_REPLICAS_MAX};
use chinwag_base::{Digest, ReplicaId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A set of dots, compact because each replica's are nearly contiguous.
///
/// It travels rounded down where it is too large: beyond [`CLOCK_GAPS_MAX`] gaps of a replica or
/// [`CLOCK_REPLICAS_MAX`] replicas the rest is left out. Its reader then sends some entries twice, and never too few.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clock {
    /// Shared until one of its holders changes it: of a thousand peers in step, each is known to hold this very clock.
    tracks: Arc<Tracks>,
}

/// Replicas, ascending, each with at least one covered dot, but between [`Clock::expect`] and [`Clock::settle`]. A vector, because clocks are compared and copied whole all
/// the time, while a replica is new once in its life.
type Tracks = Vec<(ReplicaId, Track)>;

fn find(tracks: &Tracks, replica: ReplicaId) -> Result<usize, usize> {
    tracks.binary_search_by(|(other, _)| other.cmp(&replica))
}

/// The track of a replica, a new and empty one if there is none: whoever asks covers something there.
fn track_mut(tracks: &mut Tracks, replica: ReplicaId) -> &mut Track {
    let at = find(tracks, replica).unwrap_or_else(|at| {
        tracks.insert(at, (replica, Track::default()));
        at
    });
    &mut tracks[at].1
}

impl Clock {
    /// The clock that covers nothing.
    pub fn new() -> Self {
        Clock::default()
    }

    fn track(&self, replica: ReplicaId) -> Option<&Track> {
        find(&self.tracks, replica).ok().map(|at| &self.tracks[at].1)
    }

    /// Whether the entry with this dot has been applied.
    pub fn covers(&self, dot: Dot) -> bool {
        self.track(dot.replica).is_some_and(|track| track.covers(dot.counter))
    }

    /// Whether all entries of a replica with these counters have been applied. None of an empty range.
    pub fn covers_all(&self, replica: ReplicaId, counters: RangeInclusive<u64>) -> bool {
        self.track(replica).is_some_and(|track| track.covers_all(*counters.start(), *counters.end()))
    }

    /// Covers a dot. Says whether it is new; counter 0 names no write and never is.
    pub fn insert(&mut self, dot: Dot) -> bool {
        self.cover(dot).is_some()
    }

    /// Covers a dot. Says whether it is the first of its replica; none if it is covered already or names no write.
    pub(crate) fn cover(&mut self, dot: Dot) -> Option<bool> {
        let at = find(&self.tracks, dot.replica);
        if dot.counter == 0 || at.is_ok_and(|at| self.tracks[at].1.covers(dot.counter)) {
            return None;
        }
        let tracks = Arc::make_mut(&mut self.tracks);
        let at = at.unwrap_or_else(|at| {
            tracks.insert(at, (dot.replica, Track::default()));
            at
        });
        let track = &mut tracks[at].1;
        let is_first = track.last() == 0;
        track.insert(dot.counter, dot.counter);
        Some(is_first)
    }

    /// The highest counter of a replica that is covered, 0 if none is, and how many gaps there are below it.
    pub(crate) fn reach(&self, replica: ReplicaId) -> (u64, usize) {
        self.track(replica).map_or((0, 0), |track| (track.last(), track.islands.len()))
    }

    /// Covers all that `other` covers.
    pub fn merge(&mut self, other: &Clock) {
        if self.tracks.is_empty() {
            self.tracks = other.tracks.clone();
            return;
        }
        if Arc::ptr_eq(&self.tracks, &other.tracks) {
            return;
        }
        for (replica, theirs) in &*other.tracks {
            if !self.track(*replica).is_some_and(|ours| ours.has_all_of(theirs)) {
                let track = track_mut(Arc::make_mut(&mut self.tracks), *replica);
                theirs.ranges().for_each(|(start, end)| track.insert(start, end));
            }
        }
    }

    /// The counter up to which all of a replica's dots are covered; 0 if not even the first is.
    pub fn base(&self, replica: ReplicaId) -> u64 {
        self.track(replica).map_or(0, |track| track.base)
    }

    /// The highest counter of a replica that is covered; 0 if none is.
    pub fn last(&self, replica: ReplicaId) -> u64 {
        self.track(replica).map_or(0, Track::last)
    }

    /// The dots that are covered here and not there, as ranges of counters, ascending.
    pub fn minus<'a>(
        &'a self,
        other: &'a Clock,
    ) -> impl Iterator<Item = (ReplicaId, RangeInclusive<u64>)> + 'a {
        // Side by side: overlays in which many write compare clocks all the time.
        let is_same = Arc::ptr_eq(&self.tracks, &other.tracks);
        let tracks: &Tracks = if is_same { const { &Vec::new() } } else { &self.tracks };
        let mut others = other.tracks.iter().peekable();
        tracks.iter().flat_map(move |&(replica, ref ours)| {
            while others.next_if(|(their_replica, _)| *their_replica < replica).is_some() {}
            let theirs = others.next_if(|(their_replica, _)| *their_replica == replica);
            let missing = match theirs.map(|(_, theirs)| theirs) {
                Some(theirs) if ours.is_same(theirs) => Vec::new(),
                Some(theirs) => ours.minus(theirs),
                None => ours.ranges().map(|(start, end)| start..=end).collect(),
            };
            missing.into_iter().map(move |range| (replica, range))
        })
    }

    /// How many dots are covered here and not there.
    pub fn count_minus(&self, other: &Clock) -> u64 {
        self.minus(other).fold(0, |n: u64, (_, range)| n.saturating_add(range.end() - range.start() + 1))
    }

    /// Whether all that `other` covers is covered here too.
    pub fn contains_all(&self, other: &Clock) -> bool {
        other.minus(self).next().is_none()
    }

    /// A canonical digest: clocks that cover the same dots have the same one, however they came by them.
    pub fn digest(&self) -> Digest {
        let mut sum = Digest::EMPTY;
        for (replica, track) in &*self.tracks {
            sum += track.term(*replica);
        }
        sum
    }

    /// What one replica contributes to [`Clock::digest`].
    pub(crate) fn term(&self, replica: ReplicaId) -> Digest {
        self.track(replica).map_or(Digest::EMPTY, |track| track.term(replica))
    }

    /// The part of this clock that speaks of these replicas.
    pub fn only(&self, replicas: impl IntoIterator<Item = ReplicaId>) -> Clock {
        let kept = replicas.into_iter().filter_map(|r| self.track(r).map(|track| (r, track.clone())));
        let mut tracks: Tracks = kept.collect();
        tracks.sort_unstable_by_key(|(replica, _)| *replica);
        tracks.dedup_by_key(|(replica, _)| *replica);
        Clock { tracks: Arc::new(tracks) }
    }

    /// The replicas of which at least one dot is covered, ascending.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.tracks.iter().map(|(replica, _)| *replica)
    }

    /// Whether its encoding leaves nothing out.
    pub fn is_told_whole(&self) -> bool {
        let is_whole = |track: &Track| track.islands.len() <= CLOCK_GAPS_MAX;
        self.tracks.len() <= CLOCK_REPLICAS_MAX && self.tracks.iter().all(|(_, track)| is_whole(track))
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Makes room for replicas, ascending, of which something is about to be covered: all in one pass, where to insert
    /// each by itself would move those behind it each time.
    pub fn expect(&mut self, replicas: &[ReplicaId]) {
        let new: Vec<_> = replicas.iter().filter(|replica| self.track(**replica).is_none()).collect();
        if new.is_empty() {
            return;
        }
        let tracks = Arc::make_mut(&mut self.tracks);
        tracks.extend(new.into_iter().map(|replica| (*replica, Track::default())));
        // Two sorted runs: this merges them.
        tracks.sort_by_key(|(replica, _)| *replica);
    }

    /// Drops replicas of which nothing is covered in the end.
    pub fn settle(&mut self) {
        if self.tracks.iter().any(|(_, track)| track.last() == 0) {
            Arc::make_mut(&mut self.tracks).retain(|(_, track)| track.last() > 0);
        }
    }

    /// Covers what `other` covers of one replica, but keeps at most `gaps_max` gaps of it: what is above those is left
    /// out. Says whether all of it is covered now. For many replicas: [`Clock::expect`] before, [`Clock::settle`] after.
    pub fn merge_replica(&mut self, other: &Clock, replica: ReplicaId, gaps_max: usize) -> bool {
        let Some(theirs) = other.track(replica) else { return true };
        if let Some(ours) = self.track(replica)
            && ours.islands.len() <= gaps_max
            && ours.has_all_of(theirs)
        {
            return true;
        }
        let tracks = Arc::make_mut(&mut self.tracks);
        let track = track_mut(tracks, replica);
        theirs.ranges().for_each(|(start, end)| track.insert(start, end));
        let is_whole = track.islands.len() <= gaps_max;
        while track.islands.len() > gaps_max {
            track.islands.pop_last();
        }
        is_whole
    }

    /// How many ranges of one replica's uncovered dots lie below covered ones.
    pub fn gaps_of(&self, replica: ReplicaId) -> usize {
        self.track(replica).map_or(0, |track| track.islands.len())
    }

    /// How many ranges of uncovered dots lie below covered ones.
    pub fn gaps(&self) -> usize {
        self.tracks.iter().map(|(_, track)| track.islands.len()).sum()
    }
}

/// One replica's covered counters: `1..=base`, and islands above, of which none touches the base or another.
/// Keeping them apart makes the form unique, so that equal sets are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Track {
    base: u64,
    /// First counter of an island to its last.
    islands: BTreeMap<u64, u64>,
}

impl Track {
    /// Whether it is plain, without a look at each range, that all of `other` is covered.
    fn has_all_of(&self, other: &Track) -> bool {
        self.base >= other.last() || self == other
    }

    /// What it contributes to [`Clock::digest`].
    fn term(&self, replica: ReplicaId) -> Digest {
        let mut item = Item::new("chinwag clock").replica(replica).number(self.base);
        for (&start, &end) in &self.islands {
            item = item.number(start).number(end);
        }
        item.digest()
    }

    fn covers(&self, counter: u64) -> bool {
        let in_island = || self.islands.range(..=counter).next_back().is_some_and(|(_, &end)| counter <= end);
        counter > 0 && (counter <= self.base || in_island())
    }

    fn covers_all(&self, start: u64, end: u64) -> bool {
        let in_island = || self.islands.range(..=start).next_back().is_some_and(|(_, &last)| end <= last);
        1 <= start && start <= end && (end <= self.base || in_island())
    }

    fn last(&self) -> u64 {
        self.islands.last_key_value().map_or(self.base, |(_, &end)| end)
    }

    fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let base = (self.base > 0).then_some((1, self.base));
        base.into_iter().chain(self.islands.iter().map(|(&start, &end)| (start, end)))
    }

    /// Covers `start..=end`, where 1 <= start <= end, and joins whatever now touches.
    fn insert(&mut self, mut start: u64, mut end: u64) {
        if start <= self.base.saturating_add(1) {
            self.base = self.base.max(end);
            while let Some(island) = self.islands.first_entry() {
                if *island.key() > self.base.saturating_add(1) {
                    break;
                }
                self.base = self.base.max(island.remove());
            }
            return;
        }
        if let Some((&before, &its_end)) = self.islands.range(..=start).next_back()
            && its_end >= start - 1
        {
            (start, end) = (before, end.max(its_end));
        }
        while let Some((&next, &its_end)) = self.islands.range(start..=end.saturating_add(1)).next() {
            end = end.max(its_end);
            self.islands.remove(&next);
        }
        self.islands.insert(start, end);
    }

    fn is_same(&self, other: &Track) -> bool {
        let no_islands = self.islands.is_empty() && other.islands.is_empty();
        self.base == other.base && (no_islands || self.islands == other.islands)
    }

    fn minus(&self, other: &Track) -> Vec<RangeInclusive<u64>> {
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
}

/// A replica's base, then each island as (counters skipped before it, counters in it): small numbers, and no way
/// to write a set in two ways.
type Encoded = (ReplicaId, u64, Vec<(u64, u64)>);

impl Serialize for Clock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let encode = |&(replica, ref track): &(ReplicaId, Track)| -> Encoded {
            let mut last = track.base;
            let mut islands = Vec::with_capacity(track.islands.len().min(CLOCK_GAPS_MAX));
            for (start, end) in track.islands.iter().take(CLOCK_GAPS_MAX) {
                islands.push((start - last - 1, end - start + 1));
                last = *end;
            }
            (replica, track.base, islands)
        };
        let count = self.tracks.len().min(CLOCK_REPLICAS_MAX);
        let encoded: Vec<Encoded> = self.tracks.iter().take(count).map(encode).collect();
        encoded.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Clock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tracks = Tracks::new();
        let encoded = Vec::<Encoded>::deserialize(deserializer)?;
        for (replica, base, islands) in encoded.into_iter().take(CLOCK_REPLICAS_MAX) {
            let mut track = Track { base, islands: BTreeMap::new() };
            let mut last = base;
            for (skipped, length) in islands.into_iter().take(CLOCK_GAPS_MAX) {
                let start = last.checked_add(skipped).and_then(|n| n.checked_add(1));
                let end = start.and_then(|n| n.checked_add(length.checked_sub(1)?));
                let (Some(start), Some(end)) = (start, end) else {
                    return Err(de::Error::custom("an island of a clock is empty or out of range"));
                };
                track.insert(start, end);
                last = end;
            }
            if track.last() == 0 {
                continue;
            }
            tracks.push((replica, track));
        }
        // Whoever keeps to the format tells replicas ascending, and each once.
        if !tracks.is_sorted_by(|(one, _), (next, _)| one < next) {
            tracks.sort_by_key(|(replica, _)| *replica);
            tracks.dedup_by(|(next, more), (replica, track)| {
                let is_same = next == replica;
                if is_same {
                    more.ranges().for_each(|(start, end)| track.insert(start, end));
                }
                is_same
            });
        }
        Ok(Clock { tracks: Arc::new(tracks) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::replica_id;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const CONFIG: bincode::config::Configuration = bincode::config::standard();

    fn encode(value: impl Serialize) -> Vec<u8> {
        bincode::serde::encode_to_vec(value, CONFIG).unwrap()
    }

    fn decode(bytes: &[u8]) -> Option<Clock> {
        bincode::serde::decode_from_slice(bytes, CONFIG).ok().map(|(clock, _)| clock)
    }

    /// Counters near the start, where ranges touch, and at the very end, where arithmetic could wrap.
    fn counters() -> impl Strategy<Value = Vec<(u8, u64)>> {
        let counter = prop_oneof![9 => 1_u64..24, 1 => u64::MAX - 3..=u64::MAX];
        vec((1_u8..4, counter), 0..40)
    }

    fn clock_of(dots: &[(u8, u64)]) -> Clock {
        let mut clock = Clock::new();
        dots.iter().for_each(|&(r, c)| {
            clock.insert(Dot::new(replica_id(r), c));
        });
        clock
    }

    fn all(clock: &Clock) -> BTreeSet<(ReplicaId, u64)> {
        let none = Clock::new();
        let mut last = None;
        let mut all = BTreeSet::new();
        for (replica, range) in clock.minus(&none) {
            assert!(last < Some((replica, *range.start())) && !range.is_empty(), "ascending");
            last = Some((replica, *range.end()));
            all.extend(range.map(|counter| (replica, counter)));
        }
        all
    }

    #[test]
    fn gaps_are_explicit_and_close() {
        let (me, mut clock) = (replica_id(1), Clock::new());
        for counter in [1, 2, 5, 7] {
            assert!(clock.insert(Dot::new(me, counter)));
        }
        assert_eq!((clock.base(me), clock.last(me), clock.gaps()), (2, 7, 2));
        assert!(
            !clock.covers(Dot::new(me, 3)) && !clock.covers(Dot::new(me, 6)) && clock.covers(Dot::new(me, 5))
        );
        assert!(!clock.insert(Dot::new(me, 5)), "it is covered already");
        clock.insert(Dot::new(me, 6));
        assert_eq!((clock.base(me), clock.gaps()), (2, 1));
        clock.insert(Dot::new(me, 4));
        clock.insert(Dot::new(me, 3));
        assert_eq!((clock.base(me), clock.last(me), clock.gaps()), (7, 7, 0));
        assert_eq!(clock.base(replica_id(2)), 0);
    }

    #[test]
    fn counter_zero_names_no_write() {
        let mut clock = Clock::new();
        assert!(!clock.insert(Dot::new(replica_id(1), 0)) && clock.is_empty());
        clock.insert(Dot::new(replica_id(1), 1));
        assert!(!clock.covers(Dot::new(replica_id(1), 0)));
    }

    #[test]
    fn what_others_lack_comes_as_ranges() {
        let ours = clock_of(&[(1, 1), (1, 2), (1, 3), (1, 4), (1, 8), (1, 9), (2, 3)]);
        let theirs = clock_of(&[(1, 2), (1, 9), (1, 10), (3, 1)]);
        let lacking: Vec<_> = ours.minus(&theirs).collect();
        let (one, two) = (replica_id(1), replica_id(2));
        assert_eq!(lacking, [(one, 1..=1), (one, 3..=4), (one, 8..=8), (two, 3..=3)]);
        assert_eq!(ours.count_minus(&theirs), 5);
        assert_eq!(ours.only([two, replica_id(9)]), clock_of(&[(2, 3)]));
        let whole = decode(&encode(vec![(one, u64::MAX, Vec::<(u64, u64)>::new())])).unwrap();
        assert_eq!(whole.count_minus(&Clock::new()), u64::MAX);
        assert_eq!(whole.count_minus(&ours), u64::MAX - 6);
    }

    #[test]
    fn what_is_decoded_is_normal_bounded_and_possible() {
        let id = replica_id(1);
        let unsorted = vec![
            (replica_id(2), 1_u64, vec![]),
            (id, 2, vec![(0_u64, 1_u64), (1, 1)]),
            (id, 0, vec![(0, 5)]),
        ];
        let clock = decode(&encode(unsorted)).unwrap();
        assert_eq!(clock, clock_of(&[(2, 1), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]));
        assert_eq!(decode(&encode(vec![(id, 0_u64, Vec::<(u64, u64)>::new())])), Some(Clock::new()));
        for (base, island) in [(1, (1, 0)), (u64::MAX, (0, 1)), (1, (u64::MAX, 1)), (1, (1, u64::MAX))] {
            assert_eq!(decode(&encode(vec![(id, base, vec![island])])), None, "{base} {island:?}");
        }
        // Too many gaps: rounded down on either side, never up.
        let mut ragged = Clock::new();
        (1..=CLOCK_GAPS_MAX as u64 + 9).for_each(|i| {
            ragged.insert(Dot::new(id, 2 * i));
        });
        let rounded = decode(&encode(&ragged)).unwrap();
        assert_eq!(rounded.gaps(), CLOCK_GAPS_MAX);
        assert!(ragged.contains_all(&rounded) && ragged.count_minus(&rounded) == 9);
        let hostile = vec![(id, 1_u64, vec![(1_u64, 1_u64); CLOCK_GAPS_MAX + 9])];
        assert_eq!(decode(&encode(hostile)).unwrap().gaps(), CLOCK_GAPS_MAX);
    }

    proptest! {
        #[test]
        fn a_clock_is_a_set_of_dots(dots in counters(), others in counters()) {
            let (clock, other) = (clock_of(&dots), clock_of(&others));
            let (here, there) = (all(&clock), all(&other));
            let named = |dots: &[(u8, u64)]| dots.iter().map(|&(r, c)| (replica_id(r), c)).collect::<BTreeSet<_>>();
            prop_assert_eq!(&here, &named(&dots));

            let lacking: BTreeSet<_> = clock.minus(&other).flat_map(|(r, range)| range.map(move |c| (r, c))).collect();
            prop_assert_eq!(&lacking, &here.difference(&there).copied().collect());
            prop_assert_eq!(clock.count_minus(&other), lacking.len() as u64);
            prop_assert_eq!(clock.contains_all(&other), there.is_subset(&here));
            prop_assert_eq!(clock == other, here == there);
            prop_assert_eq!(clock.digest() == other.digest(), here == there);

            let (mut ours, mut theirs) = (clock.clone(), other.clone());
            ours.merge(&other);
            theirs.merge(&clock);
            prop_assert_eq!(all(&ours), here.union(&there).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(ours.digest(), theirs.digest());
            prop_assert_eq!(&ours, &theirs);
            ours.merge(&other);
            prop_assert_eq!(&ours, &theirs);

            for replica in clock.replicas() {
                let base = (1..).take_while(|&c| here.contains(&(replica, c))).count() as u64;
                let last = here.iter().filter(|(r, _)| *r == replica).map(|&(_, c)| c).max();
                prop_assert_eq!((clock.base(replica), Some(clock.last(replica))), (base, last));
            }
            prop_assert_eq!(decode(&encode(&clock)), Some(clock));
        }

        #[test]
        fn the_order_of_insertion_does_not_show(dots in btree_set(1_u64..40, 0..30), at in any::<prop::sample::Index>()) {
            let ascending: Vec<_> = dots.iter().map(|&c| (1, c)).collect();
            let mut turned = ascending.clone();
            if !turned.is_empty() {
                turned.rotate_left(at.index(ascending.len()));
            }
            turned.reverse();
            prop_assert_eq!(clock_of(&ascending), clock_of(&turned));
            prop_assert_eq!(clock_of(&ascending).digest(), clock_of(&turned).digest());
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
            if let Some(clock) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&clock)), Some(clock));
            }
        }
    }
}

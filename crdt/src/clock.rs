//! Which entries a replica has applied: per writer a contiguous base, and explicit islands above its gaps.
//!
//! Server-wide clocks (Gonçalves, Almeida, Baquero, Fonte: *DottedDB*, 2017, section IV): one clock for a whole
//! database instead of one per key. A plain version vector, one number per writer, would have to claim everything
//! below its number; entries arrive out of order, so it would claim entries that have not come, and those would never
//! be asked for again. So gaps are kept explicitly. They close as the missing entries arrive.
//!
//! # Lives that are over
//!
//! A writer is one process life of a node, so a clock grows by an item, 24 bytes, whenever a process starts and writes. Items
//! are never dropped, not even when every member covers them: a member whose disk has gone back in time, or who has been
//! away for long, may tell of a life that has no item here. With the items kept, that is a life of which nothing is known, and
//! its writes are taken; without, it could as well be one that all had covered and dropped, and to take its writes would
//! bring back what was deleted. What is forgotten cannot be told from what was never heard of, whatever is kept in its
//! place: a highest generation below which everything is over, say, drops the writes of a life that only the returning
//! member has ever met. So old lives are made cheap instead. A node's lives are shared by all clocks that have the same ones,
//! members that meet tell each other only the items in which they differ ([`Clock::names`]), and those who have met
//! before only what has changed since.

use crate::Dot;
use crate::account::Item;
use crate::index::id_of;
use crate::sketch::Sketch;
use crate::track::Track;
use chinwag_base::limits::{CLOCK_GAPS_MAX, CLOCK_REPLICAS_MAX};
use chinwag_base::{Digest, Generation, NodeId, ReplicaId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// All members of an overlay hash names alike.
const NAMES_KEY: [u8; 16] = *b"chinwag lives in";

/// A set of dots, compact because each replica's are nearly contiguous.
///
/// It travels rounded down where it is too large: beyond [`CLOCK_GAPS_MAX`] gaps of a replica or
/// [`CLOCK_REPLICAS_MAX`] replicas the rest is left out. Its reader then sends some entries twice, and never too few.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clock {
    /// Shared until one of its holders changes it: of a thousand peers in step, each is known to hold this very clock. Of
    /// those that are not, each has most nodes' lives in common with it.
    nodes: Arc<Nodes>,
}

/// Nodes, ascending, each with at least one life. A vector, because clocks are compared and copied whole all the time, while
/// a node or a life is new once.
type Nodes = Vec<(NodeId, Arc<Lives>)>;

/// The process lives of a node that wrote, ascending, each with at least one covered dot, but between [`Clock::expect`] and
/// [`Clock::settle`].
type Lives = Vec<(Generation, Track)>;

fn node_at(nodes: &Nodes, node: NodeId) -> Result<usize, usize> {
    nodes.binary_search_by(|(other, _)| other.cmp(&node))
}

fn life_at(lives: &Lives, generation: Generation) -> Result<usize, usize> {
    lives.binary_search_by(|(other, _)| other.cmp(&generation))
}

/// The lives of a node, none yet if it is new.
fn lives_mut(nodes: &mut Nodes, node: NodeId) -> &mut Lives {
    let at = node_at(nodes, node).unwrap_or_else(|at| {
        nodes.insert(at, (node, Arc::default()));
        at
    });
    Arc::make_mut(&mut nodes[at].1)
}

/// The track of a replica, a new and empty one if there is none: whoever asks covers something there.
fn track_mut(nodes: &mut Nodes, replica: ReplicaId) -> &mut Track {
    let lives = lives_mut(nodes, replica.node);
    let at = life_at(lives, replica.generation).unwrap_or_else(|at| {
        lives.insert(at, (replica.generation, Track::default()));
        at
    });
    &mut lives[at].1
}

/// Covers in `ours` all that is covered in `theirs`, in one pass.
fn merge_lives(ours: &mut Lives, theirs: &Lives) {
    let mut merged = Lives::with_capacity(ours.len().max(theirs.len()));
    let mut theirs = theirs.iter().peekable();
    for (generation, mut track) in ours.drain(..) {
        while let Some(before) = theirs.next_if(|(other, _)| *other < generation) {
            merged.push(before.clone());
        }
        if let Some((_, same)) = theirs.next_if(|(other, _)| *other == generation) {
            same.ranges().for_each(|(start, end)| track.insert(start, end));
        }
        merged.push((generation, track));
    }
    merged.extend(theirs.cloned());
    *ours = merged;
}

/// Tracks of replicas, ascending, by node.
fn grouped(tracks: Vec<(ReplicaId, Track)>) -> Arc<Nodes> {
    let mut nodes: Vec<(NodeId, Lives)> = Vec::new();
    for (ReplicaId { node, generation }, track) in tracks {
        match nodes.last_mut() {
            Some((last, lives)) if *last == node => lives.push((generation, track)),
            _ => nodes.push((node, vec![(generation, track)])),
        }
    }
    Arc::new(nodes.into_iter().map(|(node, lives)| (node, Arc::new(lives))).collect())
}

/// What a replica with this track contributes to [`Clock::digest`].
fn term(replica: ReplicaId, track: &Track) -> Digest {
    let mut item = Item::new("chinwag clock").replica(replica).number(track.base());
    for (start, end) in track.islands() {
        item = item.number(start).number(end);
    }
    item.digest()
}

/// The dots of a node that are in `ours` and not in `theirs`, as ranges, ascending.
fn lives_minus(node: NodeId, ours: &Lives, theirs: Option<&Lives>) -> Vec<(ReplicaId, RangeInclusive<u64>)> {
    let mut missing = Vec::new();
    let mut theirs = theirs.map_or(&[][..], |lives| lives).iter().peekable();
    for &(generation, ref track) in ours {
        let replica = ReplicaId { node, generation };
        while theirs.next_if(|(other, _)| *other < generation).is_some() {}
        match theirs.next_if(|(other, _)| *other == generation) {
            Some((_, same)) if track == same => {}
            Some((_, other)) => missing.extend(track.minus(other).into_iter().map(|range| (replica, range))),
            None => missing.extend(track.ranges().map(|(start, end)| (replica, start..=end))),
        }
    }
    missing
}

impl Clock {
    /// The clock that covers nothing.
    pub fn new() -> Self {
        Clock::default()
    }

    fn track(&self, replica: ReplicaId) -> Option<&Track> {
        let lives = &self.nodes[node_at(&self.nodes, replica.node).ok()?].1;
        life_at(lives, replica.generation).ok().map(|at| &lives[at].1)
    }

    fn tracks(&self) -> impl Iterator<Item = (ReplicaId, &Track)> {
        self.nodes.iter().flat_map(|&(node, ref lives)| {
            lives.iter().map(move |&(generation, ref track)| (ReplicaId { node, generation }, track))
        })
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
        if dot.counter == 0 || self.covers(dot) {
            return None;
        }
        let track = track_mut(Arc::make_mut(&mut self.nodes), dot.replica);
        let is_first = track.last() == 0;
        track.insert(dot.counter, dot.counter);
        Some(is_first)
    }

    /// The highest counter of a replica that is covered, 0 if none is, and how many gaps there are below it.
    pub(crate) fn reach(&self, replica: ReplicaId) -> (u64, usize) {
        self.track(replica).map_or((0, 0), |track| (track.last(), track.gaps()))
    }

    /// Covers all that `other` covers.
    pub fn merge(&mut self, other: &Clock) {
        if self.nodes.is_empty() {
            self.nodes = other.nodes.clone();
            return;
        }
        if Arc::ptr_eq(&self.nodes, &other.nodes) {
            return;
        }
        for (node, theirs) in &*other.nodes {
            match node_at(&self.nodes, *node) {
                Err(at) => Arc::make_mut(&mut self.nodes).insert(at, (*node, theirs.clone())),
                Ok(at) => {
                    let ours = &self.nodes[at].1;
                    if !Arc::ptr_eq(ours, theirs) && !lives_minus(*node, theirs, Some(ours)).is_empty() {
                        let nodes = Arc::make_mut(&mut self.nodes);
                        merge_lives(Arc::make_mut(&mut nodes[at].1), theirs);
                    }
                }
            }
        }
    }

    /// The counter up to which all of a replica's dots are covered; 0 if not even the first is.
    pub fn base(&self, replica: ReplicaId) -> u64 {
        self.track(replica).map_or(0, Track::base)
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
        let is_same = Arc::ptr_eq(&self.nodes, &other.nodes);
        let nodes: &Nodes = if is_same { const { &Vec::new() } } else { &self.nodes };
        let mut others = other.nodes.iter().peekable();
        nodes.iter().flat_map(move |&(node, ref ours)| {
            while others.next_if(|(their_node, _)| *their_node < node).is_some() {}
            match others.next_if(|(their_node, _)| *their_node == node) {
                Some((_, theirs)) if Arc::ptr_eq(ours, theirs) => Vec::new(),
                Some((_, theirs)) => lives_minus(node, ours, Some(theirs)),
                None => lives_minus(node, ours, None),
            }
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
        self.tracks().fold(Digest::EMPTY, |sum, (replica, track)| sum + term(replica, track))
    }

    /// What one replica contributes to [`Clock::digest`].
    pub(crate) fn term(&self, replica: ReplicaId) -> Digest {
        self.track(replica).map_or(Digest::EMPTY, |track| term(replica, track))
    }

    /// What each replica's part is known by as long as it stays as it is: eight bytes of what it contributes to
    /// [`Clock::digest`]. Two clocks differ in those replicas whose names differ (and in those of which two have one name,
    /// once in 2^64 by chance; who could make one collide shows in the digest).
    pub fn names(&self) -> impl Iterator<Item = (u64, ReplicaId)> + '_ {
        self.tracks().filter_map(|(replica, track)| Some((id_of(term(replica, track))?, replica)))
    }

    /// The first `len` symbols of the set of [`Clock::names`].
    pub fn sketch(&self, len: usize) -> Sketch {
        let mut sketch = Sketch::new(NAMES_KEY, len);
        self.names().for_each(|(name, _)| sketch.insert(name));
        sketch
    }

    /// The part of this clock that speaks of these replicas.
    pub fn only(&self, replicas: impl IntoIterator<Item = ReplicaId>) -> Clock {
        let kept = replicas.into_iter().filter_map(|r| self.track(r).map(|track| (r, track.clone())));
        let mut tracks: Vec<(ReplicaId, Track)> = kept.collect();
        tracks.sort_unstable_by_key(|(replica, _)| *replica);
        tracks.dedup_by_key(|(replica, _)| *replica);
        Clock { nodes: grouped(tracks) }
    }

    /// The part of this clock that does not speak of these replicas.
    pub fn without(&self, replicas: &BTreeSet<ReplicaId>) -> Clock {
        let touched: BTreeSet<NodeId> = replicas.iter().map(|replica| replica.node).collect();
        let mut nodes = self.nodes.clone();
        if !touched.is_empty() {
            let nodes = Arc::make_mut(&mut nodes);
            for (node, lives) in nodes.iter_mut().filter(|(node, _)| touched.contains(node)) {
                let node = *node;
                Arc::make_mut(lives)
                    .retain(|&(generation, _)| !replicas.contains(&ReplicaId { node, generation }));
            }
            nodes.retain(|(_, lives)| !lives.is_empty());
        }
        Clock { nodes }
    }

    /// The replicas of which at least one dot is covered, ascending.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.tracks().map(|(replica, _)| replica)
    }

    /// How many replicas there are of which at least one dot is covered.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|(_, lives)| lives.len()).sum()
    }

    /// Whether its encoding leaves nothing out.
    pub fn is_told_whole(&self) -> bool {
        self.len() <= CLOCK_REPLICAS_MAX && self.tracks().all(|(_, track)| track.gaps() <= CLOCK_GAPS_MAX)
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Makes room for replicas, ascending, of which something is about to be covered: all in one pass, where to insert
    /// each by itself would move those behind it each time.
    pub fn expect(&mut self, replicas: &[ReplicaId]) {
        let new = replicas.iter().copied().filter(|replica| self.track(*replica).is_none());
        let new: Vec<(ReplicaId, Track)> = new.map(|replica| (replica, Track::default())).collect();
        if new.is_empty() {
            return;
        }
        let new = grouped(new);
        let nodes = Arc::make_mut(&mut self.nodes);
        for (node, lives) in nodes.iter_mut() {
            if let Ok(at) = node_at(&new, *node) {
                merge_lives(Arc::make_mut(lives), &new[at].1);
            }
        }
        let known: BTreeSet<NodeId> = nodes.iter().map(|(node, _)| *node).collect();
        nodes.extend(new.iter().filter(|(node, _)| !known.contains(node)).cloned());
        // Two sorted runs: this merges them.
        nodes.sort_by_key(|(node, _)| *node);
    }

    /// Drops replicas of which nothing is covered in the end.
    pub fn settle(&mut self) {
        if self.tracks().any(|(_, track)| track.last() == 0) {
            let nodes = Arc::make_mut(&mut self.nodes);
            for (_, lives) in nodes.iter_mut().filter(|(_, lives)| lives.iter().any(|(_, t)| t.last() == 0)) {
                Arc::make_mut(lives).retain(|(_, track)| track.last() > 0);
            }
            nodes.retain(|(_, lives)| !lives.is_empty());
        }
    }

    /// Covers what `other` covers of one replica, but keeps at most `gaps_max` gaps of it: what is above those is left
    /// out. Says whether all of it is covered now. For many replicas: [`Clock::expect`] before, [`Clock::settle`] after.
    pub fn merge_replica(&mut self, other: &Clock, replica: ReplicaId, gaps_max: usize) -> bool {
        let Some(theirs) = other.track(replica) else { return true };
        if let Some(ours) = self.track(replica)
            && ours.gaps() <= gaps_max
            && ours.has_all_of(theirs)
        {
            return true;
        }
        let track = track_mut(Arc::make_mut(&mut self.nodes), replica);
        theirs.ranges().for_each(|(start, end)| track.insert(start, end));
        track.round_down(gaps_max)
    }

    /// How many ranges of one replica's uncovered dots lie below covered ones.
    pub fn gaps_of(&self, replica: ReplicaId) -> usize {
        self.track(replica).map_or(0, Track::gaps)
    }

    /// How many ranges of uncovered dots lie below covered ones.
    pub fn gaps(&self) -> usize {
        self.tracks().map(|(_, track)| track.gaps()).sum()
    }
}

/// A replica's base, then each island as (counters skipped before it, counters in it): small numbers, and no way
/// to write a set in two ways.
type Encoded = (ReplicaId, u64, Vec<(u64, u64)>);

impl Serialize for Clock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = self.tracks().take(CLOCK_REPLICAS_MAX);
        let encoded = told.map(|(replica, track)| (replica, track.base(), track.skips(CLOCK_GAPS_MAX)));
        encoded.collect::<Vec<Encoded>>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Clock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tracks: Vec<(ReplicaId, Track)> = Vec::new();
        let encoded = Vec::<Encoded>::deserialize(deserializer)?;
        for (replica, base, skips) in encoded.into_iter().take(CLOCK_REPLICAS_MAX) {
            let track = Track::of_skips(base, skips.into_iter().take(CLOCK_GAPS_MAX));
            let track =
                track.ok_or_else(|| de::Error::custom("an island of a clock is empty or out of range"))?;
            if track.last() > 0 {
                tracks.push((replica, track));
            }
        }
        Ok(Clock { nodes: grouped(sorted(tracks)) })
    }
}

/// Whoever keeps to a format tells replicas ascending, and each once. What anybody else tells is brought into that form.
fn sorted(mut tracks: Vec<(ReplicaId, Track)>) -> Vec<(ReplicaId, Track)> {
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
    tracks
}

/// A clock as members tell it to each other, for `serde(with)`: each node once, and its generations as differences, so that a
/// life takes some 13 bytes instead of 45.
pub mod compact {
    use super::{Clock, grouped, sorted};
    use crate::track::Track;
    use chinwag_base::limits::{CLOCK_GAPS_MAX, CLOCK_REPLICAS_MAX};
    use chinwag_base::{Generation, NodeId, ReplicaId};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    /// A generation less the one before, a base, and islands as in the other form.
    type Life = (u64, u64, Vec<(u64, u64)>);

    /// Rounded down as the other form is.
    pub fn serialize<S: Serializer>(clock: &Clock, serializer: S) -> Result<S::Ok, S::Error> {
        let mut told: Vec<(NodeId, Vec<Life>)> = Vec::new();
        let mut before = 0;
        for (ReplicaId { node, generation }, track) in clock.tracks().take(CLOCK_REPLICAS_MAX) {
            if told.last().is_none_or(|(last, _)| *last != node) {
                told.push((node, Vec::new()));
                before = 0;
            }
            let life = (generation.get() - before, track.base(), track.skips(CLOCK_GAPS_MAX));
            before = generation.get();
            told.last_mut().expect("a node, because one was put there").1.push(life);
        }
        told.serialize(serializer)
    }

    /// The clock, in its normal form.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Clock, D::Error> {
        let mut tracks = Vec::new();
        for (node, lives) in Vec::<(NodeId, Vec<Life>)>::deserialize(deserializer)? {
            let mut before = 0_u64;
            for (more, base, skips) in lives.into_iter().take(CLOCK_REPLICAS_MAX - tracks.len()) {
                let track = Track::of_skips(base, skips.into_iter().take(CLOCK_GAPS_MAX));
                let (Some(track), Some(generation)) = (track, before.checked_add(more)) else {
                    return Err(de::Error::custom("an island or a generation of a clock is out of range"));
                };
                before = generation;
                if track.last() > 0 {
                    tracks.push((ReplicaId { node, generation: Generation::new(generation) }, track));
                }
            }
        }
        Ok(Clock { nodes: grouped(sorted(tracks)) })
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

    #[derive(Serialize, Deserialize)]
    struct Compact(#[serde(with = "super::compact")] Clock);

    fn decode_compact(bytes: &[u8]) -> Option<Clock> {
        bincode::serde::decode_from_slice::<Compact, _>(bytes, CONFIG).ok().map(|(Compact(clock), _)| clock)
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
    fn lives_that_are_over_are_small() {
        assert_eq!(size_of::<(Generation, Track)>(), 24);
        let mut clock = Clock::new();
        let of = |life: u64| ReplicaId {
            node: replica_id(1).node,
            generation: Generation::new((1 << 60) + (life << 42)),
        };
        (0..CLOCK_REPLICAS_MAX as u64).for_each(|life| _ = clock.insert(Dot::new(of(life), 1)));
        let bytes = encode(Compact(clock.clone())).len();
        assert!((bytes as f64) < 13.0 * CLOCK_REPLICAS_MAX as f64, "{bytes} bytes");
        assert!(
            clock.is_told_whole() && decode_compact(&encode(Compact(clock.clone()))).as_ref() == Some(&clock)
        );
        clock.insert(Dot::new(of(1 << 17), 1));
        assert!(
            !clock.is_told_whole()
                && decode_compact(&encode(Compact(clock.clone()))).unwrap().len() == CLOCK_REPLICAS_MAX
        );
    }

    #[test]
    fn a_writer_in_one_clock_does_not_copy_the_others_of_another() {
        let mut clock = clock_of(&[(1, 1), (2, 1), (3, 1)]);
        let peer = clock.clone();
        clock.insert(Dot::new(replica_id(2), 2));
        let is_shared = |n: usize| Arc::ptr_eq(&clock.nodes[n].1, &peer.nodes[n].1);
        assert_eq!([0, 1, 2].map(is_shared), [true, false, true]);
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
            prop_assert_eq!(decode_compact(&encode(Compact(clock.clone()))), Some(clock.clone()));

            // Names tell apart what differs, and nothing else.
            let names = |clock: &Clock| clock.names().collect::<BTreeSet<_>>();
            let differing: BTreeSet<ReplicaId> =
                names(&clock).symmetric_difference(&names(&other)).map(|(_, replica)| *replica).collect();
            let is_other = |r: &ReplicaId| clock.only([*r]) != other.only([*r]);
            let replicas: BTreeSet<_> = clock.replicas().chain(other.replicas()).filter(is_other).collect();
            prop_assert_eq!(&differing, &replicas);
            prop_assert_eq!(clock.without(&replicas), other.without(&replicas));
            let mut whole = clock.without(&replicas);
            whole.merge(&clock.only(replicas));
            prop_assert_eq!(&whole, &clock);
            prop_assert_eq!(clock.len(), clock.replicas().count());
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
            if let Some(clock) = decode_compact(&bytes) {
                prop_assert_eq!(decode_compact(&encode(Compact(clock.clone()))), Some(clock));
            }
        }
    }
}

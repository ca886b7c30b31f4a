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

pub mod compact;
mod track;

use crate::Dot;
use crate::account::Item;
use crate::index::id_of;
use crate::sketch::Sketch;
use chinwag_base::limits::{CLOCK_GAPS_MAX, CLOCK_REPLICAS_MAX};
use chinwag_base::{Digest, Generation, NodeId, ReplicaId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use track::Track;

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
        let mut new = Nodes::new();
        for (node, theirs) in &*other.nodes {
            let Ok(at) = node_at(&self.nodes, *node) else {
                new.push((*node, theirs.clone()));
                continue;
            };
            let ours = &self.nodes[at].1;
            if !Arc::ptr_eq(ours, theirs) && !lives_minus(*node, theirs, Some(ours)).is_empty() {
                let nodes = Arc::make_mut(&mut self.nodes);
                merge_lives(Arc::make_mut(&mut nodes[at].1), theirs);
            }
        }
        if !new.is_empty() {
            let nodes = Arc::make_mut(&mut self.nodes);
            nodes.append(&mut new);
            // Two sorted runs: this merges them.
            nodes.sort_by_key(|(node, _)| *node);
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
    pub fn term(&self, replica: ReplicaId) -> Digest {
        self.track(replica).map_or(Digest::EMPTY, |track| term(replica, track))
    }

    /// What each replica's part is known by as long as it stays as it is: eight bytes of what it contributes to
    /// [`Clock::digest`]. Two clocks differ in those replicas whose names differ (and in those of which two have one name,
    /// once in 2^64 by chance; who could make one collide shows in the digest).
    pub fn names(&self) -> impl Iterator<Item = (u64, ReplicaId)> + '_ {
        self.tracks().filter_map(|(replica, track)| Some((id_of(term(replica, track))?, replica)))
    }

    /// The name of one replica's part; none if nothing of it is covered.
    pub fn name(&self, replica: ReplicaId) -> Option<u64> {
        id_of(self.term(replica))
    }

    /// The sketch in which [`Clock::names`] are compared, without any: `len` symbols.
    pub fn sketch_of_names(len: usize) -> Sketch {
        Sketch::new(NAMES_KEY, len)
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

#[cfg(test)]
mod tests;

//! Who observes whom: K hash rings.
//!
//! On ring r, members stand in the order of hash(r, id), and each observes its successor there, passing over
//! subjects that it has from lower rings. So each member has about K observers and K subjects, whoever comes and
//! goes, and pairs last long enough for a history of arrivals. Views that briefly disagree add or miss a probe, no more.
//! (Rapid, Suresh and others 2018, section 4.1, uses such rings to the same end.)

use chinwag_base::NodeId;
use std::collections::BTreeSet;

/// K. With at most K + 1 members everyone observes everyone.
pub(crate) const RINGS: usize = 8;

/// Members that are kept of each ring: those that follow next. Enough that most of them may go before all are looked at.
const FOLLOWERS_MAX: usize = 16;

/// The rings as one member needs them: on each, those that follow it next. To hold eight rings of a thousand members, of
/// which eight are ever chosen, would take more memory than all else that is known of them.
#[derive(Debug)]
pub(crate) struct Rings {
    me: NodeId,
    places: [u64; RINGS],
    members: usize,
    rings: [Followers; RINGS],
}

/// The members that follow next on one ring.
#[derive(Debug)]
struct Followers {
    /// In the order of the ring, each with how far away it is: all members up to the last of these.
    next: Vec<(u64, NodeId)>,
    /// Whether these are all.
    whole: bool,
}

impl Followers {
    const NONE: Followers = Followers { next: Vec::new(), whole: true };

    fn insert(&mut self, follower: (u64, NodeId)) {
        let at = self.next.partition_point(|other| *other < follower);
        if self.next.get(at) == Some(&follower) || at == self.next.len() && !self.whole {
            return;
        }
        self.next.insert(at, follower);
        if self.next.len() > FOLLOWERS_MAX {
            self.next.pop();
            self.whole = false;
        }
    }

    fn remove(&mut self, follower: &(u64, NodeId)) {
        if let Ok(at) = self.next.binary_search(follower) {
            self.next.remove(at);
        }
    }
}

/// Where a member stands on each ring.
fn places(id: &NodeId) -> [u64; RINGS] {
    let mut bytes = [0; 8 * RINGS];
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"chinwag rings 1");
    hasher.update(id.as_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    let mut places = [0; RINGS];
    for (place, chunk) in places.iter_mut().zip(bytes.chunks_exact(8)) {
        *place = chunk.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    }
    places
}

/// Those of `members` that come just before `subject` on a ring: most of its observers, and nobody else's business in an
/// overlay of many.
pub(crate) fn predecessors(subject: &NodeId, members: impl Iterator<Item = NodeId>) -> BTreeSet<NodeId> {
    let own = places(subject);
    let mut nearest = [None; RINGS];
    for id in members.filter(|id| id != subject) {
        for (ring, place) in places(&id).into_iter().enumerate() {
            let before = (own[ring].wrapping_sub(place), id);
            if nearest[ring].is_none_or(|other| before < other) {
                nearest[ring] = Some(before);
            }
        }
    }
    nearest.into_iter().flatten().map(|(_, id)| id).collect()
}

impl Rings {
    /// Rings with nobody on them, as `me` sees them.
    pub(crate) fn new(me: NodeId) -> Self {
        Rings { me, places: places(&me), members: 0, rings: [Followers::NONE; RINGS] }
    }

    /// A member that was not on the rings comes onto them.
    pub(crate) fn insert(&mut self, id: NodeId) {
        self.members += 1;
        self.follow(id);
    }

    /// A member that was on the rings leaves them. Returns whether so few followers are left that [`Rings::refill`]
    /// must be called.
    pub(crate) fn remove(&mut self, id: &NodeId) -> bool {
        self.members -= 1;
        let mut is_short = false;
        let distances = self.distances(id);
        for (ring, distance) in self.rings.iter_mut().zip(distances) {
            ring.remove(&(distance, *id));
            is_short |= !ring.whole && ring.next.len() < RINGS;
        }
        is_short
    }

    /// Looks at all members on the rings anew.
    pub(crate) fn refill(&mut self, members: impl Iterator<Item = NodeId>) {
        self.rings = [Followers::NONE; RINGS];
        members.for_each(|id| self.follow(id));
    }

    fn follow(&mut self, id: NodeId) {
        if id != self.me {
            let distances = self.distances(&id);
            for (ring, distance) in self.rings.iter_mut().zip(distances) {
                ring.insert((distance, id));
            }
        }
    }

    /// How far a member is from us on each ring, in the ring's direction.
    fn distances(&self, id: &NodeId) -> [u64; RINGS] {
        let mut distances = places(id);
        for (distance, own) in distances.iter_mut().zip(self.places) {
            *distance = distance.wrapping_sub(own);
        }
        distances
    }

    /// How many members are on the rings.
    pub(crate) fn len(&self) -> usize {
        self.members
    }

    /// Whom we observe. Each ring passes over seven at most, so eight followers are enough.
    pub(crate) fn subjects(&self) -> BTreeSet<NodeId> {
        let mut subjects = BTreeSet::new();
        for ring in &self.rings {
            let next = ring.next.iter().map(|(_, id)| *id).find(|id| !subjects.contains(id));
            subjects.extend(next);
        }
        subjects
    }

    /// Up to `count` members beside the subjects, one on each ring: the next that is in neither.
    pub(crate) fn neighbours(&self, count: usize, subjects: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let mut neighbours = BTreeSet::new();
        for ring in self.rings.iter().take(count) {
            let is_new = |id: &NodeId| !subjects.contains(id) && !neighbours.contains(id);
            neighbours.extend(ring.next.iter().map(|(_, id)| *id).find(is_new));
        }
        neighbours
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// The definition: whole rings.
    #[derive(Default)]
    struct Whole([BTreeSet<(u64, NodeId)>; RINGS]);

    impl Whole {
        fn insert(&mut self, id: NodeId) {
            for (ring, place) in self.0.iter_mut().zip(places(&id)) {
                ring.insert((place, id));
            }
        }

        fn remove(&mut self, id: &NodeId) {
            for (ring, place) in self.0.iter_mut().zip(places(id)) {
                ring.remove(&(place, *id));
            }
        }

        fn subjects(&self, me: NodeId) -> BTreeSet<NodeId> {
            let mut subjects = BTreeSet::new();
            for (ring, place) in self.0.iter().zip(places(&me)) {
                let from = (place, me);
                let next = ring
                    .range(from..)
                    .chain(ring.range(..from))
                    .map(|&(_, id)| id)
                    .find(|id| *id != me && !subjects.contains(id));
                subjects.extend(next);
            }
            subjects
        }
    }

    fn rings(count: u8) -> (Whole, Vec<NodeId>) {
        let ids: Vec<_> = (0..count).map(|n| NodeId::from_bytes([n; 32])).collect();
        let mut rings = Whole::default();
        ids.iter().for_each(|id| rings.insert(*id));
        (rings, ids)
    }

    #[test]
    fn up_to_nine_members_everyone_observes_everyone() {
        let (rings, ids) = rings(9);
        assert!(ids.iter().all(|id| rings.subjects(*id).len() == 8));
    }

    #[test]
    fn most_observers_come_just_before_their_subject() {
        let (rings, ids) = rings(200);
        let (mut found, mut all) = (0, 0);
        for subject in &ids {
            let before = predecessors(subject, ids.iter().copied());
            let observers = ids.iter().filter(|id| rings.subjects(**id).contains(subject));
            all += observers.clone().count();
            found += observers.filter(|id| before.contains(id)).count();
            assert!(before.len() <= RINGS && before.iter().all(|id| rings.subjects(*id).contains(subject)));
        }
        assert!(found * 100 > all * 95, "{found} of {all}");
    }

    #[test]
    fn of_many_members_each_has_about_k_observers() {
        let (mut rings, ids) = rings(200);
        let observers =
            |rings: &Whole, subject| ids.iter().filter(|id| rings.subjects(**id).contains(&subject)).count();
        for id in &ids {
            assert_eq!(rings.subjects(*id).len(), RINGS);
            assert!((4..=16).contains(&observers(&rings, *id)));
        }
        rings.remove(&ids[7]);
        assert_eq!(observers(&rings, ids[7]), 0);
        assert_eq!(rings.0[0].len(), 199);
    }

    /// Members come and go, at first mostly the one, then mostly the other.
    #[test]
    fn the_followers_are_those_of_the_whole_rings() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let me = NodeId::from_bytes([77; 32]);
        let (mut whole, mut rings, mut here) = (Whole::default(), Rings::new(me), BTreeSet::new());
        let mut refills = 0;
        for turn in 0..6_000 {
            let mut bytes = [0; 32];
            bytes[0] = rng.random_range(0..200);
            let id = if turn == 40 { me } else { NodeId::from_bytes(bytes) };
            let comes = rng.random_bool(if turn / 500 % 2 == 0 { 0.7 } else { 0.3 });
            if comes && here.insert(id) {
                whole.insert(id);
                rings.insert(id);
            } else if !comes && here.remove(&id) {
                whole.remove(&id);
                if rings.remove(&id) {
                    rings.refill(here.iter().copied());
                    refills += 1;
                }
            }
            assert_eq!(rings.subjects(), whole.subjects(me));
            assert_eq!(rings.len(), here.len());
        }
        assert!((1..200).contains(&refills), "{refills}");
    }
}

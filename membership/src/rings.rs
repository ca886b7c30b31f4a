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

#[derive(Debug, Default)]
pub(crate) struct Rings {
    rings: [BTreeSet<(u64, NodeId)>; RINGS],
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

impl Rings {
    pub(crate) fn insert(&mut self, id: NodeId) {
        for (ring, place) in self.rings.iter_mut().zip(places(&id)) {
            ring.insert((place, id));
        }
    }

    pub(crate) fn remove(&mut self, id: &NodeId) {
        for (ring, place) in self.rings.iter_mut().zip(places(id)) {
            ring.remove(&(place, *id));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rings[0].len()
    }

    /// Whom `me` observes.
    pub(crate) fn subjects(&self, me: NodeId) -> BTreeSet<NodeId> {
        let mut subjects = BTreeSet::new();
        for (ring, place) in self.rings.iter().zip(places(&me)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(count: u8) -> (Rings, Vec<NodeId>) {
        let ids: Vec<_> = (0..count).map(|n| NodeId::from_bytes([n; 32])).collect();
        let mut rings = Rings::default();
        ids.iter().for_each(|id| rings.insert(*id));
        (rings, ids)
    }

    #[test]
    fn up_to_nine_members_everyone_observes_everyone() {
        let (rings, ids) = rings(9);
        assert!(ids.iter().all(|id| rings.subjects(*id).len() == 8));
    }

    #[test]
    fn of_many_members_each_has_about_k_observers() {
        let (mut rings, ids) = rings(200);
        let observers =
            |rings: &Rings, subject| ids.iter().filter(|id| rings.subjects(**id).contains(&subject)).count();
        for id in &ids {
            assert_eq!(rings.subjects(*id).len(), RINGS);
            assert!((4..=16).contains(&observers(&rings, *id)));
        }
        rings.remove(&ids[7]);
        assert_eq!(observers(&rings, ids[7]), 0);
        assert_eq!(rings.len(), 199);
    }
}

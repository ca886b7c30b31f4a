//! Who holds a record: its k nearest members (Kademlia, section 2.3), without a walk.
//!
//! The ids of a sorted list form a binary tree: those that agree with a target on the first bits lie in one run of the
//! list. So the members in the order of their XOR distance come from descending into the half that has the target's
//! next bit, and then into the other one. That visits the k nearest of n in O(k + log n) steps on average; sorting by distance
//! would hash and compare all n for each key.

use crate::distance::{ID_BITS, Id};
use crate::record::RecordKey;
use chinwag_base::NodeId;
use chinwag_base::limits::{MEMBERS_MAX, OWNERS_MAX};

/// How many members hold a record unless the overlay says otherwise. A write survives two of five.
pub const OWNERS_DEFAULT: usize = 5;

/// A member with its place. Sorted by place; the id only settles a collision.
type Placed = (Id, NodeId);

/// Where the members of a view lie. Each is hashed once, when it is added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Sorted, without doubles.
    members: Vec<Placed>,
}

impl Placement {
    /// The placement of nobody.
    pub fn new() -> Self {
        Placement::default()
    }

    /// Adds a member. Returns whether it was new; above [`MEMBERS_MAX`] nobody is added.
    pub fn insert(&mut self, node: NodeId) -> bool {
        let entry = (Id::of_node(&node), node);
        match self.members.binary_search(&entry) {
            Err(at) if self.members.len() < MEMBERS_MAX => {
                self.members.insert(at, entry);
                true
            }
            _ => false,
        }
    }

    /// Removes a member. Returns whether it was there.
    pub fn remove(&mut self, node: &NodeId) -> bool {
        match self.members.binary_search(&(Id::of_node(node), *node)) {
            Ok(at) => {
                self.members.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The `k` members nearest to `target` (at most [`OWNERS_MAX`]), nearest first.
    pub fn nearest(&self, target: &Id, k: usize) -> Vec<NodeId> {
        let k = k.min(OWNERS_MAX);
        let mut found = Vec::with_capacity(k.min(self.members.len()));
        collect_nearest(&self.members, 0, target, k, &mut found);
        found
    }

    /// How many members are nearer to `target` than `node` is; `None` if it is no member. Rank 0 is the nearest.
    pub fn rank(&self, target: &Id, node: &NodeId) -> Option<usize> {
        let mut run = &self.members[..];
        let own = Id::of_node(node);
        run.binary_search(&(own, *node)).ok()?;
        let mut nearer = 0;
        let mut depth = 0;
        while run.len() > 1 && depth < ID_BITS {
            let (near, far) = split(run, depth, target);
            if own.bit(depth) == target.bit(depth) {
                run = near;
            } else {
                nearer += near.len();
                run = far;
            }
            depth += 1;
        }
        Some(nearer)
    }
}

impl FromIterator<NodeId> for Placement {
    /// The placement of these members, each once; of the first [`MEMBERS_MAX`] if there are more.
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        let mut members: Vec<_> =
            nodes.into_iter().take(MEMBERS_MAX).map(|node| (Id::of_node(&node), node)).collect();
        members.sort_unstable();
        members.dedup();
        Placement { members }
    }
}

/// The `k` members that own `key`, nearest first. For more than one key, keep a [`Placement`].
pub fn owners(key: &RecordKey, members: impl IntoIterator<Item = NodeId>, k: usize) -> Vec<NodeId> {
    members.into_iter().collect::<Placement>().nearest(&key.id(), k)
}

/// The rank of `node` among the owners of `key`: 0 is the nearest member, `None` is none of them.
pub fn rank_of(
    node: &NodeId,
    key: &RecordKey,
    members: impl IntoIterator<Item = NodeId>,
    k: usize,
) -> Option<usize> {
    let placement: Placement = members.into_iter().collect();
    placement.rank(&key.id(), node).filter(|rank| *rank < k.min(OWNERS_MAX))
}

/// A run of members that share `depth` bits, cut by their next bit: who has the target's, and who has not.
fn split<'a>(run: &'a [Placed], depth: u32, target: &Id) -> (&'a [Placed], &'a [Placed]) {
    let (zeros, ones) = run.split_at(run.partition_point(|(id, _)| !id.bit(depth)));
    if target.bit(depth) { (ones, zeros) } else { (zeros, ones) }
}

/// Appends the members of `run`, which share `depth` bits, in the order of their distance, until there are `k`.
/// A run of two at the last bit would be a collision of SHA-256; `depth` ends the descent in any case.
fn collect_nearest(run: &[Placed], depth: u32, target: &Id, k: usize, found: &mut Vec<NodeId>) {
    if found.len() >= k || run.is_empty() {
        return;
    }
    if run.len() == 1 || depth == ID_BITS {
        found.extend(run.iter().map(|(_, node)| *node).take(k - found.len()));
        return;
    }
    let (near, far) = split(run, depth, target);
    collect_nearest(near, depth + 1, target, k, found);
    collect_nearest(far, depth + 1, target, k, found);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    fn node() -> impl Strategy<Value = NodeId> {
        any::<[u8; 32]>().prop_map(NodeId::from_bytes)
    }

    fn key(text: &str) -> RecordKey {
        RecordKey::Cell(text.parse().unwrap())
    }

    /// The definition, in one line.
    fn sorted_by_distance(key: &RecordKey, mut members: Vec<NodeId>) -> Vec<NodeId> {
        members.sort_by_key(|node| key.id().distance(&Id::of_node(node)));
        members
    }

    proptest! {
        #[test]
        fn the_descent_finds_what_sorting_finds(
            members in btree_set(node(), 0..60),
            name in "[a-z]{1,8}",
            k in 0..30_usize,
        ) {
            let key = key(&name);
            let expected = sorted_by_distance(&key, members.iter().copied().collect());
            let found = owners(&key, members.iter().copied(), k);
            prop_assert_eq!(&found[..], &expected[..k.min(OWNERS_MAX).min(expected.len())]);
            let placement: Placement = members.iter().copied().collect();
            for (rank, member) in expected.iter().enumerate() {
                prop_assert_eq!(placement.rank(&key.id(), member), Some(rank));
                prop_assert_eq!(
                    rank_of(member, &key, members.iter().copied(), k),
                    (rank < k.min(OWNERS_MAX)).then_some(rank)
                );
            }
        }

        #[test]
        fn far_members_change_nothing(
            members in btree_set(node(), 6..40),
            newcomer in node(),
            name in "[a-z]{1,8}",
        ) {
            let key = key(&name);
            let before = owners(&key, members.iter().copied(), 5);
            let after = owners(&key, members.iter().copied().chain([newcomer]), 5);
            let distance = |node: &NodeId| key.id().distance(&Id::of_node(node));
            if distance(&newcomer) > distance(&before[4]) {
                prop_assert_eq!(after, before);
            } else {
                // A near one takes one place and moves the last out; nobody else is touched.
                let kept: Vec<_> = after.into_iter().filter(|n| *n != newcomer).collect();
                prop_assert_eq!(&kept[..], &before[..kept.len()]);
                prop_assert!(kept.len() >= 4);
            }
        }

        #[test]
        fn a_loss_promotes_exactly_one(members in btree_set(node(), 7..40), lost in 0..5_usize) {
            let key = key("app/config");
            let ranked = sorted_by_distance(&key, members.iter().copied().collect());
            let mut placement: Placement = members.iter().copied().collect();
            prop_assert!(placement.remove(&ranked[lost]));
            let mut expected = ranked[..6].to_vec();
            expected.remove(lost);
            prop_assert_eq!(placement.nearest(&key.id(), 5), expected);
        }

        #[test]
        fn adding_one_by_one_is_adding_all(members in proptest::collection::vec(node(), 0..40)) {
            let mut placement = Placement::new();
            for member in &members {
                placement.insert(*member);
            }
            prop_assert_eq!(placement, members.into_iter().collect::<Placement>());
        }
    }

    #[test]
    fn doubles_count_once_and_strangers_have_no_rank() {
        let (ada, bob) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        let mut placement: Placement = [ada, bob, ada].into_iter().collect();
        assert_eq!(placement.len(), 2);
        assert!(!placement.insert(ada));
        let key = key("k");
        assert_eq!(placement.nearest(&key.id(), 5).len(), 2);
        assert!(placement.remove(&bob));
        assert!(!placement.remove(&bob));
        assert_eq!(placement.rank(&key.id(), &bob), None);
        assert_eq!(placement.rank(&key.id(), &ada), Some(0));
        assert!(owners(&key, [], 5).is_empty());
    }

    #[test]
    fn load_is_even_over_members() {
        // 64 members, 20,000 keys, k = 5: 1,562 keys a member on average. Hashing ids places members at random, so
        // shares differ, but no member has more than a few times the mean.
        let members: Vec<_> = (0..64).map(|n| NodeId::from_bytes([n; 32])).collect();
        let placement: Placement = members.iter().copied().collect();
        let mut load = std::collections::BTreeMap::<NodeId, u32>::new();
        for n in 0..20_000 {
            for owner in placement.nearest(&key(&format!("key/{n}")).id(), OWNERS_DEFAULT) {
                *load.entry(owner).or_default() += 1;
            }
        }
        assert_eq!(load.len(), 64);
        assert!(load.values().all(|share| *share < 3 * 1_562), "{load:?}");
    }
}

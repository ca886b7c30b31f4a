//! Clocks are sets of dots, however they are kept and told.

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
    let unsorted =
        vec![(replica_id(2), 1_u64, vec![]), (id, 2, vec![(0_u64, 1_u64), (1, 1)]), (id, 0, vec![(0, 5)])];
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

/// Twelve replicas: three nodes with four lives each, of which one is the last that there can be.
fn life(n: u8) -> ReplicaId {
    let generations = [1, 2, 1 << 40, u64::MAX];
    let node = NodeId::from_bytes([n / 4 + 1; 32]);
    ReplicaId { node, generation: Generation::new(generations[usize::from(n % 4)]) }
}

fn clock_of_lives(dots: &[(u8, u64)]) -> Clock {
    let mut clock = Clock::new();
    dots.iter().for_each(|&(r, c)| _ = clock.insert(Dot::new(life(r), c)));
    clock
}

/// One form for one set: everything ascending, and nothing empty.
fn is_normal(clock: &Clock) -> bool {
    let is_track = |track: &Track| {
        track.last() > 0 && Track::of_skips(track.base(), track.skips(usize::MAX)).as_ref() == Some(track)
    };
    clock.nodes.is_sorted_by(|(one, _), (next, _)| one < next)
        && clock.nodes.iter().all(|(_, lives)| {
            !lives.is_empty()
                && lives.is_sorted_by(|(one, _), (next, _)| one < next)
                && lives.iter().all(|(_, track)| is_track(track))
        })
}

proptest! {
    #[test]
    fn a_clock_of_many_lives_is_a_set_of_dots_in_one_form(
        dots in vec((0_u8..12, 1_u64..12), 0..60),
        others in vec((0_u8..12, 1_u64..12), 0..60),
        picks in btree_set(0_u8..12, 0..12),
        gaps_max in 0_usize..4,
    ) {
        let (clock, other) = (clock_of_lives(&dots), clock_of_lives(&others));
        let (here, there) = (all(&clock), all(&other));
        prop_assert!(is_normal(&clock));
        let mut merged = clock.clone();
        merged.merge(&other);
        prop_assert!(is_normal(&merged));
        prop_assert_eq!(all(&merged), here.union(&there).copied().collect::<BTreeSet<_>>());
        let lacking: BTreeSet<_> = clock.minus(&other).flat_map(|(r, range)| range.map(move |c| (r, c))).collect();
        prop_assert_eq!(lacking, here.difference(&there).copied().collect());

        let picked: BTreeSet<ReplicaId> = picks.iter().map(|&pick| life(pick)).collect();
        let (only, rest) = (clock.only(picked.iter().copied()), clock.without(&picked));
        prop_assert!(is_normal(&only) && is_normal(&rest));
        let (in_only, in_rest): (BTreeSet<_>, BTreeSet<_>) = here.iter().partition(|(r, _)| picked.contains(r));
        prop_assert_eq!((all(&only), all(&rest)), (in_only, in_rest));
        prop_assert_eq!(only.digest() + rest.digest(), clock.digest());

        // Many replicas at once, and one by one.
        let (mut expected, mut one_by_one, mut is_whole) = (clock.clone(), clock, true);
        expected.expect(&picked.iter().copied().collect::<Vec<_>>());
        for replica in &picked {
            is_whole &= expected.merge_replica(&other, *replica, gaps_max);
            one_by_one.merge_replica(&other, *replica, gaps_max);
        }
        expected.settle();
        one_by_one.settle();
        prop_assert!(is_normal(&expected) && expected == one_by_one && expected.digest() == one_by_one.digest());
        let may_be: BTreeSet<_> = here.into_iter().chain(there.into_iter().filter(|(r, _)| picked.contains(r))).collect();
        prop_assert!(all(&expected).is_subset(&may_be) && (!is_whole || all(&expected) == may_be));
        prop_assert!(picked.iter().all(|r| expected.gaps_of(*r) <= gaps_max || other.last(*r) == 0));
        prop_assert_eq!(decode_compact(&encode(Compact(expected.clone()))), Some(expected.clone()));
        prop_assert_eq!(decode(&encode(&expected)), Some(expected));
    }
}

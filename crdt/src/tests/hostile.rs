//! Entries that no honest replica writes: refused, or applied in a way that does not depend on order. Never a panic.

use super::world::*;
use crate::{Dot, Dots, Effect, Entry, Extent, Hlc, Lease, Part, Refusal, Replica, Run, Slice, Staged};
use chinwag_base::Value;
use chinwag_base::limits::{
    CLOCK_GAPS_MAX, DOOMED_DOTS_MAX, ELEMENT_BYTES_MAX, GENERATIONS_PER_NODE_MAX, REMOVED_DOTS_MAX,
};
use chinwag_base::{Generation, ReplicaId};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn entry(counter: u64, effect: Effect) -> Entry {
    let dot = Dot::new(replica_id(1), counter);
    Entry { dot, hlc: Hlc::ZERO, key: key("k"), effect, removed: Dots::new() }
}

fn refusal(entry: Entry) -> Refusal {
    let mut replica = Replica::new(replica_id(2));
    replica.stage_local(&[set("mine", "x")], NOON).unwrap();
    replica.commit();
    let before = state(&replica);
    let Staged::Refused(why) = replica.stage_remote(entry.clone(), NOON) else {
        panic!("{entry:?} was taken")
    };
    assert_eq!(entry.check().is_ok(), replica.recover(entry.clone()), "recovery checks alike");
    if entry.check().is_err() {
        assert_eq!(state(&replica), before);
    }
    why
}

#[test]
fn impossible_entries_are_refused() {
    let text = Effect::Set { value: value("x") };
    assert_eq!(refusal(entry(0, text.clone())), Refusal::CounterZero);
    let removing = |dots: Vec<Dot>| Entry { removed: dots.into_iter().collect(), ..entry(5, text.clone()) };
    assert_eq!(refusal(removing(vec![Dot::new(replica_id(3), 0)])), Refusal::CounterZero);
    assert_eq!(refusal(removing(vec![Dot::new(replica_id(1), 5)])), Refusal::RemovesItself);
    let many = (10..=10 + REMOVED_DOTS_MAX as u64).map(|c| Dot::new(replica_id(3), c)).collect();
    assert_eq!(refusal(removing(many)), Refusal::RemovesTooMany { count: REMOVED_DOTS_MAX + 1 });
    let of_two = (0..REMOVED_DOTS_MAX as u64 * 2).map(|c| Dot::new(replica_id(3 + (c % 2) as u8), c / 2 + 1));
    assert!(matches!(refusal(removing(of_two.collect())), Refusal::TooLarge { .. }));

    for (start, last) in [(0, 5), (6, 5), (1, 4), (1, 6)] {
        let run = Run { start, last, plus: 1, minus: 0 };
        assert_eq!(refusal(entry(5, Effect::Count { run })), Refusal::RunImpossible { run });
    }
    let floor = Run { start: 3, last: 2, plus: 0, minus: 0 };
    let floors = BTreeMap::from([(replica_id(4), floor)]);
    assert_eq!(refusal(entry(5, Effect::Reset { floors })), Refusal::RunImpossible { run: floor });
    let element = Value::new(vec![0; ELEMENT_BYTES_MAX + 1]).unwrap();
    assert!(matches!(refusal(entry(5, Effect::Add { element })), Refusal::ElementTooLong { .. }));
}

/// Whoever takes it and writes to the key names it as removed, in an entry that nobody takes.
#[test]
fn a_lease_of_no_write_is_refused() {
    let replica = Replica::new(replica_id(2));
    let lease = Part::Lease { dot: Dot::new(replica_id(1), 0), lease: Lease::Until { unix_ms: 0 } };
    let slice = Slice { extent: Extent::Keys, cells: vec![(key("k"), vec![lease])] };
    assert_eq!(replica.admit_slice(&slice), Err(Refusal::CounterZero));
}

#[test]
fn nobody_else_writes_in_our_name_or_has_seen_our_future() {
    let ours = Entry { dot: Dot::new(replica_id(2), 9), ..entry(1, Effect::Delete) };
    assert_eq!(refusal(ours), Refusal::NotOurs);
    let removed = Dots::from_iter([Dot::new(replica_id(2), 2)]);
    assert_eq!(refusal(Entry { removed, ..entry(1, Effect::Delete) }), Refusal::FromOurFuture { counter: 2 });
    let floor = Run { start: 1, last: u64::MAX, plus: 0, minus: 0 };
    let floors = BTreeMap::from([(replica_id(2), floor)]);
    assert_eq!(refusal(entry(1, Effect::Reset { floors })), Refusal::FromOurFuture { counter: u64::MAX });
}

/// Offers a replica entries, then commits. Says how many were taken, and why the last was not.
fn offer(replica: &mut Replica, entries: impl IntoIterator<Item = Entry>) -> (usize, Option<Refusal>) {
    let (mut taken, mut why) = (0, None);
    for entry in entries {
        match replica.stage_remote(entry, NOON) {
            Staged::Refused(refusal) => why = Some(refusal),
            Staged::New => taken += 1,
            Staged::Duplicate | Staged::Promised => {}
        }
    }
    replica.commit();
    (taken, why)
}

#[test]
fn gaps_stay_bounded_and_close_from_below() {
    let mut replica = Replica::new(replica_id(2));
    let half = CLOCK_GAPS_MAX as u64 / 2;
    let islands = |from: u64, to: u64| (from..to).map(|n| entry(2 * n, Effect::Delete));
    assert_eq!(offer(&mut replica, islands(1, half)), (half as usize - 1, None));
    // What is staged counts too.
    let more = offer(&mut replica, islands(half, 3 * half));
    assert_eq!(more, (CLOCK_GAPS_MAX + 1 - half as usize, Some(Refusal::TooManyGaps)));
    assert_eq!(replica.clock().gaps(), CLOCK_GAPS_MAX);
    assert!(!replica.has_room_for(Dot::new(replica_id(1), u64::MAX)));
    assert!(matches!(offer(&mut replica, [entry(u64::MAX, Effect::Delete)]), (0, Some(_))));
    // Each of these closes a gap or touches what is there, and then there is room again.
    assert_eq!(offer(&mut replica, [1, 5, 3].map(|n| entry(n, Effect::Delete))), (3, None));
    assert_eq!(offer(&mut replica, [entry(u64::MAX, Effect::Delete)]), (1, None));
    // Other writers are not touched by it.
    let other = Entry { dot: Dot::new(replica_id(3), 9), ..entry(1, Effect::Delete) };
    assert_eq!(offer(&mut replica, [other]), (1, None));
}

#[test]
fn the_process_lives_of_a_node_are_bounded() {
    let mut replica = Replica::new(replica_id(2));
    let life = |node: u8, generation: usize, counter: u64| {
        let generation = Generation::new(generation as u64 + 1);
        let dot = Dot::new(ReplicaId { generation, ..replica_id(node) }, counter);
        Entry { dot, ..entry(1, Effect::Delete) }
    };
    let max = GENERATIONS_PER_NODE_MAX;
    assert_eq!(offer(&mut replica, (0..max / 2).map(|g| life(1, g, 1))), (max / 2, None));
    let rest = offer(&mut replica, (max / 2..max + 9).map(|g| life(1, g, 1)));
    assert_eq!(rest, (max - max / 2, Some(Refusal::TooManyGenerations)));
    assert!(!replica.has_room_for(life(1, max, 1).dot));
    assert_eq!(offer(&mut replica, [life(1, max, 1)]), (0, Some(Refusal::TooManyGenerations)));
    assert_eq!(offer(&mut replica, [life(1, 0, 2), life(3, max, 1)]), (2, None), "what goes on, and others");
}

#[test]
fn removed_dots_that_have_not_come_are_bounded_and_the_rest_waits_for_them() {
    let dot = |counter| Dot::new(replica_id(3), counter);
    let delete = |n: u64| {
        let removed = (1..=1_000).map(|i| dot((n - 1) * 1_000 + i)).collect();
        Entry { removed, ..entry(n, Effect::Delete) }
    };
    let adds = || (1..=1_000).map(|n| Entry { dot: dot(n), ..entry(1, Effect::Set { value: value("x") }) });
    let fit = DOOMED_DOTS_MAX as u64 / 1_000;
    let mut replica = Replica::new(replica_id(2));
    let why = Some(Refusal::TooManyDoomed { count: 1_000 });
    assert_eq!(
        offer(&mut replica, (1..fit + 3).map(delete)),
        (fit as usize, why.clone()),
        "staged ones count"
    );
    assert_eq!(offer(&mut replica, [delete(fit + 1)]), (0, why), "and committed ones");
    // The same dots under another key are more to remember, too.
    let elsewhere = Entry { key: key("elsewhere"), dot: Dot::new(replica_id(4), 1), ..delete(1) };
    assert!(matches!(offer(&mut replica, [elsewhere]), (0, Some(_))));
    // One that removes nothing that is missing is taken, and so is what waits, once there is room.
    assert_eq!(offer(&mut replica, adds()), (1_000, None));
    assert_eq!(offer(&mut replica, [delete(fit + 1)]), (1, None));
    let mut in_order = Replica::new(replica_id(5));
    offer(&mut in_order, adds().chain((1..=fit).map(delete)));
    offer(&mut in_order, [delete(fit + 1)]);
    assert_eq!(in_order.digest(), replica.digest());
    assert!(replica.doomed() <= DOOMED_DOTS_MAX);
}

#[test]
fn our_own_entry_coming_home_is_a_duplicate() {
    let mut world = World::new(2);
    let mine = world.write(0, set("k", "x")).unwrap();
    assert!(world.deliver(&mine, 1));
    assert!(!world.deliver(&mine, 0));
}

/// Anything that passes the check: removals of dots under other keys, of counters' dots, of dots that never come,
/// runs and floors that contradict each other.
fn any_entry() -> impl Strategy<Value = Entry> {
    let number = prop_oneof![1_u64..6, Just(u64::MAX), Just(u64::MAX - 1)];
    let run = (1_u64..6, 0_u64..3, any::<u64>(), any::<u64>()).prop_map(|(start, more, plus, minus)| Run {
        start,
        last: start + more,
        plus,
        minus,
    });
    let effect = prop_oneof![
        Just(Effect::Delete),
        Just(Effect::Remove),
        "[ab]".prop_map(|v| Effect::Set { value: value(&v) }),
        "[ab]".prop_map(|v| Effect::Add { element: value(&v) }),
        run.clone().prop_map(|run| Effect::Count { run }),
        btree_map((1_u8..4).prop_map(replica_id), run, 0..3).prop_map(|floors| Effect::Reset { floors }),
    ];
    let dot = ((1_u8..4).prop_map(replica_id), number).prop_map(|(r, c)| Dot::new(r, c));
    let hlc = prop_oneof![Just(Hlc::ZERO), Just(Hlc::new(u64::MAX, u16::MAX)), Just(Hlc::new(5, 0))];
    (dot.clone(), hlc, "[kl]", effect, vec(dot, 0..4)).prop_map(|(dot, hlc, k, mut effect, removed)| {
        if let Effect::Count { run } = &mut effect {
            run.last = dot.counter;
            run.start = run.start.min(dot.counter);
        }
        let removed = removed.into_iter().filter(|other| *other != dot).collect();
        Entry { dot, hlc, key: key(&k), effect, removed }
    })
}

proptest! {
    /// Bytes of a peer or of a damaged disk: an entry or none, and one that is written again as itself.
    #[test]
    fn any_bytes_are_an_entry_or_refused(
        noise in vec(prop_oneof![any::<u8>(), 0..6_u8], 0..120),
        real in any_entry(),
        at: prop::sample::Index,
        to: u8,
    ) {
        let mut damaged = chinwag_base::codec::encode(&real);
        prop_assert!(damaged.len() <= real.weight());
        let at = at.index(damaged.len());
        damaged[at] = to;
        for bytes in [noise, damaged] {
            if let Ok(entry) = chinwag_base::codec::decode::<65_536, Entry>(&bytes) {
                let _ = entry.check();
                let again = chinwag_base::codec::encode(&entry);
                prop_assert!(again.len() <= entry.weight());
                prop_assert_eq!(chinwag_base::codec::decode::<65_536, Entry>(&again), Ok(entry));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn lies_do_not_make_order_matter(
        entries in vec(any_entry(), 1..14),
        swaps in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..14),
        batch in 1_usize..5,
    ) {
        // One content for each dot: two would be two processes with one key, which is fatal elsewhere.
        let unique: BTreeMap<Dot, Entry> = entries.into_iter().map(|e| (e.dot, e)).collect();
        let first: Vec<Entry> = unique.into_values().collect();
        let mut second = first.clone();
        for (i, j) in swaps {
            second.swap(i.index(first.len()), j.index(first.len()));
        }
        let mut a = Replica::new(replica_id(9));
        for entry in first {
            prop_assert_eq!(a.stage_remote(entry, NOON), Staged::New);
            a.commit();
        }
        let mut b = Replica::new(replica_id(9));
        for chunk in second.chunks(batch) {
            for entry in chunk {
                prop_assert_eq!(b.stage_remote(entry.clone(), NOON), Staged::New);
            }
            // What a local operation sees of the staged is what is there after the commit.
            let seen: Vec<_> = ["k", "l"].map(|k| b.shown_with_staged(&key(k)).read()).into();
            b.commit();
            let then: Vec<_> = ["k", "l"].map(|k| b.get(&key(k))).into();
            prop_assert_eq!(seen, then);
        }
        prop_assert_eq!(state(&a), state(&b));
        prop_assert_eq!(a.clock(), b.clock());
    }
}

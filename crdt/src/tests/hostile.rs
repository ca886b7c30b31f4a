//! Entries that no honest replica writes: refused, or applied in a way that does not depend on order. Never a panic.

use super::world::*;
use crate::{Dot, Dots, Effect, Entry, Hlc, Refusal, Replica, Run, Staged};
use chinwag_base::Value;
use chinwag_base::limits::{ELEMENT_BYTES_MAX, REMOVED_DOTS_MAX};
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
            let seen: Vec<_> = ["k", "l"].map(|k| b.cell_with_staged(&key(k)).read()).into();
            b.commit();
            let then: Vec<_> = ["k", "l"].map(|k| b.get(&key(k))).into();
            prop_assert_eq!(seen, then);
        }
        prop_assert_eq!(state(&a), state(&b));
        prop_assert_eq!(a.clock(), b.clock());
    }
}

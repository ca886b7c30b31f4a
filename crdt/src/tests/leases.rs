//! What is written for a time, against other writes and against whoever lies about it.

use super::world::*;
use crate::{Dot, Extent, Lease, Part, PartId, Place, Promise, Read, Replica, Slice, Term};
use chinwag_base::limits::{ENTRY_BYTES_MAX, REMOVED_DOTS_MAX, SET_ELEMENTS_MAX};

fn elements(replica: &Replica) -> Vec<String> {
    match replica.get(&key("s")) {
        Some(Read::Set(elements)) => elements.iter().map(|e| e.as_text().unwrap().to_owned()).collect(),
        None => Vec::new(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_element_that_is_hidden_outlives_writes_to_others() {
    let mut world = World::new(2);
    let here = world.write(0, lend(Term::Life, add("s", "one"))).unwrap();
    let passing = world.write(0, lend(Term::Ms(1_000), add("s", "passing"))).unwrap();
    world.deliver(&here, 1);
    world.deliver(&passing, 1);
    // The writer is down for the other, whose clock is an hour ahead too.
    world.replicas[1].pass_time(NOON.plus_ms(3_600_000));
    assert_eq!(elements(&world.replicas[1]), [""; 0]);
    let two = world.write(1, add("s", "two")).unwrap();
    let again = world.write(1, add("s", "two")).unwrap();
    let gone = world.write(1, remove("s", "two")).unwrap();
    for entry in [&two, &again, &gone] {
        world.deliver(entry, 0);
    }
    assert_eq!(elements(&world.replicas[0]), ["one", "passing"], "nobody has said a word about these");
    world.replicas[1].set_present(here.dot.replica.node, Some(here.dot.replica.generation));
    assert_eq!(elements(&world.replicas[1]), ["one"]);
    // The same element is written to stay, and does not go with what was hidden of it.
    world.replicas[1].set_present(here.dot.replica.node, None);
    let kept = world.write(1, add("s", "one")).unwrap();
    assert!(kept.removed.contains(here.dot) && !kept.removed.contains(passing.dot));
}

#[test]
fn what_is_hidden_does_not_fill_a_set() {
    let mut replica = Replica::new(replica_id(1));
    let lot = |from: usize| {
        let name = |n: usize| lend(Term::Ms(1_000), add("s", &format!("e{n}")));
        (from..from + SET_ELEMENTS_MAX).map(name).collect::<Vec<_>>()
    };
    for ops in lot(0).chunks(1_000) {
        replica.stage_local(ops, NOON).unwrap();
        replica.commit();
    }
    let later = NOON.plus_ms(2_000);
    replica.pass_time(later);
    let dots = replica.stage_local(&[add("s", "more")], later).unwrap();
    replica.commit();
    let gone = replica.entry(dots[0]).unwrap().removed.len();
    assert!((1_000..SET_ELEMENTS_MAX).contains(&gone), "room is made, and one write stays a small one");
    assert_eq!((replica.set_len(&key("s")), replica.expired().count()), (1, SET_ELEMENTS_MAX - gone));
}

/// Else it would write entries that nobody takes, and that it does not take itself after a restart; or delete none of them.
#[test]
fn however_much_is_hidden_a_write_is_one_that_others_take() {
    for thousands in [REMOVED_DOTS_MAX as u64 / 1_000 + 5, ENTRY_BYTES_MAX as u64 / 9_000 + 5] {
        let mut replica = Replica::new(replica_id(2));
        replica.promise(Promise::default());
        let dot = |n| Dot::new(replica_id(1), n);
        let place = |n| Place { key: key("k"), part: Some(PartId::Lease(dot(n))) };
        for from in (0..thousands * 1_000).step_by(1_000) {
            let lease = |n| Part::Lease { dot: dot(n), lease: Lease::Until { unix_ms: 0 } };
            let parts = (from + 1..=from + 1_000).map(lease).collect();
            let extent = Extent::Range { after: Some(place(from)), until: Some(place(from + 1_000)) };
            let slice = Slice { extent, cells: vec![(key("k"), parts)] };
            assert_eq!(replica.admit_slice(&slice), Ok(()));
            replica.join(&slice);
        }
        replica.pass_time(NOON);
        let (of, last) = replica.expired().last().map(|(key, dot, _)| (key.clone(), dot)).unwrap();
        assert!(replica.stage_expiry(&of, last, NOON).unwrap().is_some());
        replica.stage_local(&[set("k", "x")], NOON).unwrap();
        assert!(replica.staged()[0].removed.contains(last));
        for entry in replica.staged() {
            assert_eq!(entry.check(), Ok(()));
        }
    }
}

#[test]
fn what_is_hidden_above_or_beneath_does_not_come_back_beside() {
    let mut world = World::new(2);
    for (lent, kept) in [("a", "a.f"), ("b.f", "b"), ("c.f.g", "c.f")] {
        let entry = world.write(0, lend(Term::Life, set(lent, "lent"))).unwrap();
        world.deliver(&entry, 1);
        world.write(1, set(kept, "kept")).unwrap();
        let life = entry.dot.replica;
        world.replicas[1].set_present(life.node, Some(life.generation));
        let root = key(lent).root();
        let read = world.replicas[1].get(&root);
        assert!(!format!("{read:?}").contains("Conflict"), "{lent}: {read:?}");
        world.replicas[1].set_present(life.node, None);
    }
}

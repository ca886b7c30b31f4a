//! An audit finds each thing that does not agree with another, and nothing where all agrees.

use super::world::*;
use crate::{Dot, Fault, Replica};
use chinwag_base::Digest;

/// A replica with cells of all kinds, removals in its log, and a note on a dot that has not come.
fn busy() -> Replica {
    let mut world = World::new(2);
    for op in [
        set("k", "v"),
        set("k", "w"),
        add("s", "a"),
        add("s", "b"),
        remove("s", "a"),
        increment("n", 3),
        delete("n", None),
        increment("n", 1),
    ] {
        world.write(0, op).unwrap();
    }
    world.write(1, set("doomed", "x")).unwrap();
    let gone = world.write(1, delete("doomed", None)).unwrap();
    let mut replica = world.replicas.remove(0);
    replica.stage_remote((*gone).clone(), NOON);
    replica.commit();
    replica
}

fn faults(spoil: impl FnOnce(&mut Replica)) -> Vec<Fault> {
    let mut replica = busy();
    replica.clock_digest();
    spoil(&mut replica);
    replica.audit().faults
}

#[test]
fn where_all_agrees_there_is_no_fault() {
    let audit = busy().audit();
    assert!(audit.is_clean(), "{:?}", audit.faults);
    assert_eq!((audit.cells, audit.keys, audit.notes, audit.entries), (3, 3, 1, 9));
}

#[test]
fn a_sum_that_is_not_that_of_what_it_sums_is_found() {
    let one = Digest::of("test", b"1");
    let found = faults(|replica| replica.cells.get_mut(&key("k")).unwrap().sum += one);
    assert_eq!(found, [Fault::Cell { key: key("k") }]);
    let found = faults(|replica| replica.settle(&key("k"), one, 0, 0));
    assert_eq!(found, [Fault::State]);
    let found = faults(|replica| {
        replica.index.exchange(&key("k"), one, Digest::EMPTY);
        replica.index.settle();
    });
    assert_eq!(found, [Fault::Sketch]);
}

#[test]
fn a_lost_cell_is_found() {
    let found = faults(|replica| drop(replica.cells.remove(&key("k"))));
    assert_eq!(found, [Fault::State, Fault::Sketch]);
}

#[test]
fn a_clock_that_says_too_little_is_found() {
    let found = faults(|replica| replica.clock = replica.clock.only([replica_id(2)]));
    assert!(found.contains(&Fault::Clock), "{found:?}");
    let first = replica_id(1);
    let value = Fault::Uncovered { key: key("k"), dot: Dot::new(first, 2) };
    let element = Fault::Uncovered { key: key("s"), dot: Dot::new(first, 4) };
    assert!(found.contains(&value) && found.contains(&element), "{found:?}");
    assert!(found.contains(&Fault::Unclaimed { dot: Dot::new(first, 1) }), "{found:?}");
}

#[test]
fn a_clock_that_says_too_much_is_found() {
    let dot = Dot::new(replica_id(2), 1);
    let found = faults(|replica| {
        replica.clock.insert(dot);
        replica.clock_digest = std::sync::OnceLock::new();
    });
    assert_eq!(found, [Fault::Noted { key: key("doomed"), dot }]);
}

/// What the log has removed is back, and all sums are right.
#[test]
fn what_came_back_is_found() {
    let mut before = World::new(2);
    before.write(0, set("k", "v")).unwrap();
    let old = before.replicas[0].parts_of(&key("k")).next().unwrap();
    let found = faults(|replica| replica.alter(&key("k"), |cell, _, account| cell.insert(old, account)));
    let dot = |counter| Dot::new(replica_id(1), counter);
    assert_eq!(found, [Fault::Survived { key: key("k"), dot: dot(1), by: dot(2) }]);
}

/// Nobody wants a million lines.
#[test]
fn of_many_faults_the_first_are_told() {
    let mut world = World::new(1);
    for n in 0..40 {
        world.write(0, set(&format!("k{n}"), "v")).unwrap();
    }
    let mut replica = world.replicas.remove(0);
    replica.cells.values_mut().for_each(|cell| cell.sum += Digest::of("test", b"1"));
    let audit = replica.audit();
    assert_eq!((audit.faults.len(), audit.more), (16, 24));
}

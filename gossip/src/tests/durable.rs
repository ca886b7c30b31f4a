//! Group commit, crashes, and disks that refuse.

use super::world::*;
use crate::{Event, RequestId, Wait, WriteError};
use chinwag_base::Value;
use chinwag_base::limits::*;
use chinwag_crdt::{Condition, Found, Op, OpError, Read};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

#[test]
fn writes_that_wait_share_a_commit() {
    let mut world = World::new(1, 41);
    world.rules.fsync_us = 10_000..=10_000;
    let requests: Vec<RequestId> = (0..500).map(|_| world.write(0, vec![increment("n", 1)])).collect();
    assert_eq!(world.read(0, "n"), None, "what is not durable is not visible");
    // The first takes an fsync alone; all others share the second.
    world.run_for(20 * MS);
    assert!(requests.iter().all(|r| world.written(*r).met));
    assert_eq!(world.read(0, "n"), Some(Read::Counter(500)));
    assert_eq!(world.gossip(0).queued_entries(), 0);
}

#[test]
fn an_impossible_write_costs_only_itself() {
    let mut world = World::new(1, 42);
    world.write(0, vec![increment("n", 1)]);
    let good = world.write(0, vec![set("a", "1")]);
    let bad = world.write(0, vec![set("b", "1"), set("n", "not a counter")]);
    let also_good = world.write(0, vec![set("c", "1")]);
    world.run_for(50 * MS);
    assert!(world.written(good).met && world.written(also_good).met);
    assert!(matches!(world.reply(bad), Some(Err(WriteError::Op(_)))), "{:?}", world.reply(bad));
    assert_eq!(world.read(0, "b"), None, "all or nothing");
    let none = world.write(0, vec![]);
    assert_eq!(world.reply(none), Some(&Err(WriteError::NoOps)));
    let many = world.write(0, vec![set("a", "2"); BATCH_OPS_MAX + 1]);
    assert!(matches!(world.reply(many), Some(Err(WriteError::TooManyOps { .. }))));
}

/// The first write goes to the disk alone; both conditional ones are staged together in the next commit, when neither is
/// visible to any read. The condition is judged against what is staged.
#[test]
fn of_two_writes_on_one_condition_in_one_commit_one_is_done() {
    let mut world = World::new(1, 45);
    world.rules.fsync_us = 10_000..=10_000;
    let acquire = |who| Op::If { condition: Condition::Absent, op: Box::new(set("lock", who)) };
    let commits = world.gossip(0).commits;
    world.write(0, vec![set("other", "keeps the disk busy")]);
    let ada = world.write(0, vec![acquire("ada")]);
    let bob = world.write(0, vec![increment("n", 1), acquire("bob")]);
    let release = Op::If {
        condition: Condition::Value(Value::new(*b"ada").unwrap()),
        op: Box::new(Op::Delete { key: "lock".parse().unwrap(), kind: None }),
    };
    let released = world.write(0, vec![release.clone()]);
    let again = world.write(0, vec![release]);
    world.run_for(50 * MS);
    assert_eq!(world.gossip(0).commits, commits + 2, "all four were judged for one commit");
    assert!(world.written(ada).met && world.written(released).met);
    let unmet = |request, found: Found, at| {
        let Some(Err(WriteError::Op(error))) = world.reply(request) else { panic!("it was written") };
        let (index, error) = error.clone().parts();
        let OpError::Unmet { found: is, version, .. } = error else { panic!("{error:?}") };
        assert_eq!((index, &is, version.is_some()), (at, &found, found != Found::Nothing));
    };
    unmet(bob, Found::Register { value: Value::new(*b"ada").unwrap(), values: 1 }, 1);
    unmet(again, Found::Nothing, 0);
    assert_eq!((world.read(0, "n"), world.read(0, "lock")), (None, None), "all or nothing");
}

#[test]
fn a_crash_loses_only_what_nobody_was_told() {
    for survives in [false, true] {
        let mut world = World::new(3, 43);
        world.run_for(500 * MS);
        let acknowledged = world.write(0, vec![increment("n", 1)]);
        world.run_for(10 * MS);
        assert!(world.written(acknowledged).met);
        let unanswered = world.write(0, vec![increment("n", 10)]);
        let queued = world.write(0, vec![increment("n", 100)]);
        world.crash_with(0, survives);
        world.run_for(100 * MS);
        assert_eq!(world.read(1, "n"), Some(Read::Counter(1)), "it had not left");
        world.start(0);
        world.connect_all();
        world.run_for(500 * MS);
        assert!(world.reply(unanswered).is_none() && world.reply(queued).is_none());
        let expected = if survives { 11 } else { 1 };
        for node in 0..3 {
            assert_eq!(world.read(node, "n"), Some(Read::Counter(expected)));
        }
        assert_eq!(world.digests().len(), 1);
    }
}

#[test]
fn a_full_disk_is_told_to_every_client_and_nothing_leaks() {
    let mut world = World::new(3, 44);
    world.run_for(500 * MS);
    world.write(0, vec![set("k", "before")]);
    world.run_for(100 * MS);
    world.set_disk_full(0, true);
    let requests: Vec<RequestId> = (0..20)
        .map(|i| {
            world.write_and_wait(0, vec![set("k", "lost"), increment("n", 1)], wait_of(i), Some(50 * MS))
        })
        .collect();
    // Others go on writing; what arrives cannot be kept either, and is fetched later.
    world.write(1, vec![increment("elsewhere", 1)]);
    world.run_for(300 * MS);
    for request in &requests {
        assert!(
            matches!(world.reply(*request), Some(Err(WriteError::Storage(why))) if why.contains("no space"))
        );
    }
    assert!(world.count(|e| matches!(e, Event::StorageFailed { .. })) >= 2);
    for node in 0..3 {
        assert!(
            matches!(world.read(node, "k"), Some(Read::Register { value, .. }) if value.as_text() == Some("before"))
        );
        assert_eq!(world.read(node, "n"), None);
    }
    assert_eq!(world.read(0, "elsewhere"), None);
    assert_eq!((world.gossip(0).queued_entries(), world.gossip(0).open_waits()), (0, 0));
    let attempts = world.count(|e| matches!(e, Event::StorageFailed { .. }));
    world.run_for(5_000 * MS);
    let attempts = world.count(|e| matches!(e, Event::StorageFailed { .. })) - attempts;
    assert!(attempts <= 10, "{attempts} attempts in five seconds: a full disk is not hammered");

    world.set_disk_full(0, false);
    let again = world.write(0, vec![set("k", "after")]);
    world.run_until(3_000 * MS, "all agree again", |w| w.is_settled());
    assert_eq!(world.written(again).token, [dot(0, 1, 2)], "the dots of what never was are used again");
    assert_eq!(world.read(0, "elsewhere"), Some(Read::Counter(1)));
}

fn wait_of(i: usize) -> Wait {
    [Wait::Local, Wait::Majority, Wait::All][i % 3]
}

#[test]
fn a_slow_disk_refuses_what_it_cannot_take() {
    let mut world = World::new(2, 45);
    world.run_for(500 * MS);
    world.rules.fsync_us = 400_000..=400_000;
    let ops = || (0..1_024).map(|i| set(&format!("k{i}"), "v")).collect::<Vec<_>>();
    let requests: Vec<RequestId> = (0..14).map(|_| world.write(0, ops())).collect();
    // One batch is at the disk, eight wait, and the others were refused at once.
    let refused: Vec<bool> =
        requests.iter().map(|r| matches!(world.reply(*r), Some(Err(WriteError::Busy { .. })))).collect();
    assert_eq!(refused.iter().filter(|refused| **refused).count(), 5, "{refused:?}");
    assert!(world.gossip(0).queued_entries() <= STAGED_ENTRIES_MAX + COMMIT_ENTRIES_MAX);
    world.run_until(30_000 * MS, "the others arrive", |w| w.is_settled());
    assert_eq!(world.gossip(1).replica().clock().count_minus(&Default::default()), 9 * 1_024);
}

#[test]
fn open_waits_are_bounded() {
    let mut world = World::new(2, 46);
    world.cut(0, 1);
    for _ in 0..WAITS_MAX {
        world.write_and_wait(0, vec![increment("n", 1)], Wait::Count(2), None);
    }
    let one_more = world.write_and_wait(0, vec![increment("n", 1)], Wait::Count(2), None);
    assert!(matches!(world.reply(one_more), Some(Err(WriteError::TooManyWaits { .. }))));
    world.run_for(1_000 * MS);
    assert_eq!(world.gossip(0).open_waits(), WAITS_MAX);
    world.connect(0, 1);
    world.run_until(1_000 * MS, "all are met", |w| w.gossip(0).open_waits() == 0);
}

#[test]
fn catching_up_survives_a_disk_that_was_full_meanwhile() {
    let mut world = World::new(2, 47);
    world.run_for(500 * MS);
    world.cut(0, 1);
    for i in 0..5 {
        world.write(0, (0..1_000).map(|j| set(&format!("k{}", i * 1_000 + j), "v")).collect());
    }
    world.run_for(100 * MS);
    world.set_disk_full(1, true);
    world.connect(0, 1);
    world.run_for(3_500 * MS);
    assert!(world.gossip(1).replica().is_empty());
    assert!(world.traffic.pulled >= 2_048, "it did try");
    world.set_disk_full(1, false);
    world.run_until(2_000 * MS, "it has caught up, with no write of its own", |w| w.is_settled());
}

#[test]
fn clients_that_write_again_at_once_share_commits() {
    const CLIENTS: usize = 16;
    const TURN: Duration = Duration::from_micros(300);
    let mut world = World::new(1, 9);
    world.rules.fsync_us = 4_000..=4_000;
    let write = |w: &mut World| w.write(0, vec![increment("n", 1)]);
    let mut waiting: Vec<RequestId> = (0..CLIENTS).map(|_| write(&mut world)).collect();
    let (begun, mut answered, mut alone) = (world.now, 0, 0);
    while answered < 100 * CLIENTS {
        world.run_for(TURN);
        let (done, still): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|r| world.reply(*r).is_some());
        answered += done.len();
        waiting = still;
        waiting.extend(done.iter().map(|_| write(&mut world)));
        alone += usize::from(done.len() == 1);
    }
    // Each commit takes all of them, and begins as soon as all are there.
    let took = world.now.since(begun);
    assert!(world.gossip(0).next_batch <= 104, "{} commits", world.gossip(0).next_batch);
    assert!(took <= 101 * (Duration::from_millis(4) + 2 * TURN), "{took:?}");
    assert!(alone <= 1, "{alone}");
    // Who does not write again is waited for a millisecond at most, and a lone client for nobody.
    world.run_for(Duration::from_millis(20));
    let one = write(&mut world);
    let took = world.run_until(Duration::from_millis(20), "it is answered", |w| w.reply(one).is_some());
    assert_eq!(took, Duration::from_millis(4));
    let (first, second) = (write(&mut world), write(&mut world));
    world.run_until(Duration::from_millis(20), "both are answered", |w| {
        w.reply(first).is_some() && w.reply(second).is_some()
    });
    let one = write(&mut world);
    let took = world.run_until(Duration::from_millis(20), "it is answered", |w| w.reply(one).is_some());
    assert!(took <= Duration::from_millis(5), "{took:?}");
}

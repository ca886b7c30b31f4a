//! Damaged cells, full disks and members that are gone, while whole cells travel.

use super::cells::{forgetful, settle};
use super::world::*;
use crate::{Event, Input, Message, Summary};
use chinwag_base::Digest;
use chinwag_crdt::Dot;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Damages the n-th cell of a node's checkpoint.
fn damage_cell(world: &mut World, node: usize, n: usize) {
    let nth = world.nodes[node].disk.log_len() + n;
    let mut rows = 0..;
    world.nodes[node].disk.damage(|| rows.next() == Some(nth));
}

/// Node 2's cell is damaged; node 1, which it is connected to, was away when it was written; node 0, which it is not, holds it.
fn with_an_ignorant_peer() -> World {
    let mut world = forgetful(3, 21, 2_000);
    world.write(0, vec![set("old", "x")]);
    settle(&mut world);
    world.partition(&[1]);
    let asked =
        world.write_and_wait(0, vec![set("aaa", "precious")], crate::Wait::Count(2), Some(5_000 * MS));
    for i in 0..200 {
        world.write(0, vec![set(&format!("k{i:03}"), "x")]);
        world.run_for(10 * MS);
    }
    world.run_for(3_000 * MS);
    assert!(world.written(asked).met && world.read(2, "aaa").is_some());
    world.crash(2);
    damage_cell(&mut world, 2, 0);
    world.start(2);
    assert_eq!(damaged(&world, 2), ["aaa"]);
    world.connect(1, 2);
    world.run_for(20_000 * MS);
    for i in 0..1_200 {
        world.write(2, vec![set(&format!("m{i:04}"), "x")]);
        world.run_for(2 * MS);
    }
    assert_eq!(damaged(&world, 2), ["aaa"]);
    world
}

/// Node 0 is connected to node 2, has told it that it covers what has this digest, and tells nothing else.
fn only_summarises(world: &mut World, clock: Digest) {
    let state = Digest::of("a test", &[2]);
    let summary = Summary { number: 1_000_000, clock, state, unsettled: false };
    world.stop(0);
    world.connect(0, 2);
    world.run_for(100 * MS);
    world.handle(2, Input::Message { from: id(0), message: Message::Summary { summary, ask: false } });
}

/// Nobody has repaired the cell of node 2 before node 0 tells what it covers; then all have what was in it.
fn all_have_it_in_the_end(world: &mut World) {
    assert_eq!(damaged(world, 2), ["aaa"]);
    world.resume(0);
    world.connect_all();
    world.run_for(60_000 * MS);
    assert_eq!([0, 1, 2].map(|n| world.read(n, "aaa").is_some()), [true; 3]);
}

fn damaged(world: &World, node: usize) -> Vec<String> {
    world.gossip(node).replica().damaged().map(|key| key.to_string()).collect()
}

#[test]
fn a_cell_is_not_repaired_by_who_has_never_heard_of_what_was_in_it() {
    let mut world = with_an_ignorant_peer();
    world.connect_all();
    world.run_for(60_000 * MS);
    assert_eq!([0, 1, 2].map(|n| world.read(n, "aaa").is_some()), [true; 3]);
}

/// Everybody is connected, but of node 0 it is only known that it covers something else.
#[test]
fn a_summary_alone_does_not_say_who_can_repair_a_cell() {
    let mut world = with_an_ignorant_peer();
    only_summarises(&mut world, Digest::of("a test", &[1]));
    world.run_for(5_000 * MS);
    all_have_it_in_the_end(&mut world);
}

/// Node 0 has only said what it covers, before we came to cover the same by somebody else.
#[test]
fn whoever_covers_what_we_have_come_to_cover_is_asked_before_the_ignorant() {
    let mut world = with_an_ignorant_peer();
    world.run_for(2_000 * MS);
    // Node 0 has heard of the next write of node 1 before we have.
    let mut clock = world.gossip(2).replica().clock().clone();
    let writer = dot(1, world.nodes[1].life, 1).replica;
    assert!(clock.insert(Dot::new(writer, clock.last(writer) + 1)));
    only_summarises(&mut world, clock.digest());
    world.write(1, vec![set("w", "x")]);
    world.run_for(5_000 * MS);
    assert!(*world.gossip(2).replica().clock() == clock);
    all_have_it_in_the_end(&mut world);
}

#[test]
fn two_members_with_a_damaged_cell_each_repair_each_other() {
    let mut world = forgetful(2, 1, 2_000);
    for i in 0..200 {
        world.write(0, vec![set(&format!("k{i:03}"), "x")]);
        world.run_for(10 * MS);
    }
    settle(&mut world);
    world.run_for(5_000 * MS);
    world.crash(0);
    world.crash(1);
    damage_cell(&mut world, 0, 3);
    damage_cell(&mut world, 1, 7);
    world.start(0);
    world.start(1);
    world.connect_all();
    world.run_for(600_000 * MS);
    let damaged = [0, 1].map(|n| world.gossip(n).replica().damaged().count());
    assert_eq!(damaged, [0, 0]);
}

#[test]
fn a_newcomer_is_told_by_a_lone_member_with_a_damaged_cell() {
    let mut world = World::unconnected(1, 1);
    world.config.checkpoint_rows = 64;
    world.crash(0);
    world.start(0);
    for i in 0..200 {
        world.write(0, vec![set(&format!("k{i:03}"), "x")]);
        world.run_for(10 * MS);
    }
    world.run_for(5_000 * MS);
    world.crash(0);
    damage_cell(&mut world, 0, 3);
    world.start(0);
    world.write(0, vec![set("k003", "again")]);
    world.write(0, vec![set("new", "again")]);
    world.run_for(5_000 * MS);
    world.join();
    world.connect_all();
    world.run_for(600_000 * MS);
    let held = [0, 1].map(|n| world.gossip(n).replica().len());
    assert_eq!(held[0], held[1], "of {held:?}");
}

#[test]
fn what_a_member_wrote_before_it_became_a_reader_stays() {
    let mut world = forgetful(3, 9, 2_000);
    world.write(2, vec![set("by-two", "x")]);
    settle(&mut world);
    world.make_reader(2, &[]);
    world.partition(&[1]);
    for i in 0..1_200 {
        world.write(0, vec![set(&format!("k{i:04}"), "x")]);
        world.run_for(2 * MS);
    }
    world.connect_all();
    world.run_for(60_000 * MS);
    println!(
        "{:?} sessions {} corrupt {}",
        world.traffic.by_name,
        world.count(|e| matches!(e, Event::CellsDone { .. })),
        world.count(|e| matches!(e, Event::Corrupt { .. }))
    );
    let has = [0, 1, 2].map(|n| world.read(n, "by-two").is_some());
    assert_eq!(has, [true; 3]);
}

#[test]
fn a_full_disk_is_not_offered_checkpoints_without_end() {
    let mut world = World::unconnected(1, 1);
    world.config.checkpoint_rows = 64;
    world.crash(0);
    world.start(0);
    for i in 0..70 {
        world.write(0, vec![set(&format!("k{i:03}"), "x")]);
    }
    world.run_until(1_000 * MS, "written", |w| w.gossip(0).replica().position() >= 64);
    world.set_disk_full(0, true);
    world.run_for(10_000 * MS);
    let failed = world.count(|e| matches!(e, Event::CheckpointFailed { .. }));
    assert!(failed <= 20, "{failed} checkpoints in 10 s");
}

#[test]
fn a_reset_stays_although_a_member_was_struck_from_the_view() {
    let mut world = World::new(3, 5);
    world.write(2, vec![increment("n", 100)]);
    settle(&mut world);
    world.partition(&[2]);
    world.write(2, vec![increment("n", 5)]);
    world.write(0, vec![delete("n")]);
    world.run_for(5_000 * MS);
    // Three days later it is struck from the others' views; its process sleeps.
    let shown: Vec<_> = world.members().into_iter().filter(|m| m.node != id(2)).collect();
    for n in [0, 1] {
        world.handle(n, Input::Members { members: shown.clone() });
    }
    world.run_for(20_000 * MS);
    let all = world.members();
    for n in [0, 1] {
        world.handle(n, Input::Members { members: all.clone() });
    }
    world.connect_all();
    settle(&mut world);
    assert_eq!(world.read(0, "n"), Some(chinwag_crdt::Read::Counter(5)));
}

#[test]
fn a_session_outlives_a_full_disk() {
    let mut world = forgetful(2, 7, 300);
    world.cut(0, 1);
    for i in 0..1_500 {
        world.write(0, vec![set(&format!("k{i}"), "v")]);
        world.run_for(MS);
    }
    world.connect_all();
    for least in [300, 600, 900] {
        world.run_until(40_000 * MS, "some have come", |w| w.gossip(1).replica().len() > least);
        world.set_disk_full(1, true);
        world.write(1, vec![set("mine", "x")]);
        world.run_for(4_000 * MS);
        world.set_disk_full(1, false);
    }
    world.write(1, vec![set("mine", "y")]);
    world.run_until(60_000 * MS, "all agree", |w| w.is_settled() && w.digests().len() == 1);
    world.crash(1);
    world.start(1);
    world.connect_all();
    settle(&mut world);
    assert_eq!(world.gossip(1).replica().len(), 1_501);
}

/// Two newcomers that each know a part, both mid-session when the only teller goes for good.
#[test]
fn a_session_whose_teller_is_gone_for_good_ends() {
    let mut world = forgetful(3, 5, 300);
    world.partition(&[0]);
    for i in 0..1_500 {
        world.write(0, vec![set(&format!("k{i:04}"), "v")]);
        world.run_for(MS);
    }
    world.connect_all();
    world.run_until(20_000 * MS, "begun", |w| {
        w.gossip(2).replica().len() > 200 && w.gossip(1).replica().len() > 200
    });
    world.crash(0);
    world.write(1, vec![set("one", "x")]);
    world.write(2, vec![set("two", "x")]);
    world.run_for(120_000 * MS);
    let open = [1, 2].map(|n| world.gossip(n).replica().session().is_some());
    let held = [1, 2].map(|n| world.gossip(n).replica().len());
    println!("open {open:?} held {held:?} digests {} settled {}", world.digests().len(), world.is_settled());
    assert!(world.is_settled() && world.digests().len() == 1);
}

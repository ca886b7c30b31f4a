//! Partitions, restarts, and what catching up costs.

use super::world::*;
use crate::{Event, Wait};
use chinwag_base::Lane;
use chinwag_base::limits::*;
use chinwag_crdt::Read;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const ROUND: Duration = Duration::from_secs(1);

#[test]
fn both_sides_of_a_partition_keep_what_they_wrote() {
    let mut world = World::new(6, 21);
    let start = vec![set("reg", "before"), add("set", "old"), add("set", "kept"), increment("n", 5)];
    world.write(0, start);
    world.run_for(500 * MS);
    world.partition(&[0, 1, 2]);
    world.write(0, vec![set("reg", "left"), increment("n", 10), remove("set", "old"), set("mine", "l")]);
    world.write(1, vec![increment("n", -1), add("set", "left"), delete("reg")]);
    world.write(3, vec![set("reg", "right"), increment("n", 100), add("set", "right"), add("set", "old")]);
    world.write(5, vec![delete("n"), set("theirs", "r")]);
    world.run_for(5_000 * MS);
    assert_eq!(world.digests().len(), 2, "the partition is real");
    world.connect_all();
    world.run_until(3 * ROUND, "equal digests within three rounds", |w| w.digests().len() == 1);
    for node in 0..6 {
        assert!(world.read(node, "mine").is_some() && world.read(node, "theirs").is_some());
        let Some(Read::Set(elements)) = world.read(node, "set") else { panic!("a set") };
        let elements: Vec<_> = elements.iter().filter_map(|e| e.as_text()).collect();
        assert_eq!(elements, ["kept", "left", "old", "right"], "an add beats a concurrent remove");
        assert!(
            matches!(world.read(node, "n"), Some(Read::Counter(n)) if n >= 9),
            "a reset spares what it missed"
        );
        assert!(matches!(world.read(node, "reg"), Some(Read::Register { .. })), "a write beats a delete");
    }
}

#[test]
fn healing_does_not_wait_for_a_round() {
    let mut world = World::new(2, 22);
    world.run_for(2_000 * MS);
    world.cut(0, 1);
    for i in 0..50 {
        world.write(i % 2, vec![set(&format!("k{i}"), "v")]);
        world.run_for(2 * MS);
    }
    world.run_for(100 * MS);
    world.traffic = Traffic::default();
    world.connect(0, 1);
    world.run_until(60 * MS, "three round trips and an fsync", |w| w.is_settled());
    assert_eq!(world.traffic.pulled, 50, "each entry travels once");
    world.run_for(100 * MS);
    assert!(world.count(|e| matches!(e, Event::Behind { ops: 25, .. })) >= 2);
}

fn write_many(world: &mut World, nodes: &[usize], count: usize) {
    for i in 0..count / 100 {
        let ops = (0..100)
            .map(|j| set(&format!("bench/{}", (i * 100 + j) % 5_000), &format!("value {i}")))
            .collect();
        world.write(nodes[i % nodes.len()], ops);
        world.run_for(2 * MS);
    }
    world.run_for(100 * MS);
}

#[test]
fn a_node_that_was_away_gets_fifteen_thousand_entries_at_once() {
    let mut world = World::new(4, 23);
    world.rules =
        Rules { latency_us: 5_000..=20_000, loss: 0.0, fsync_us: 2_000..=10_000, ..Rules::default() };
    world.run_for(2_000 * MS);
    for node in 0..3 {
        world.cut(3, node);
    }
    write_many(&mut world, &[0, 1, 2], 15_000);
    assert!(
        (0..3)
            .all(|n| world.gossip(n).replica().clock().count_minus(world.gossip(3).replica().clock())
                == 15_000)
    );
    let ideal: usize =
        world.nodes[0].logged().iter().map(|entry| chinwag_base::codec::encode(entry).len()).sum();
    world.traffic = Traffic::default();
    world.connect_all();
    let took = world.run_until(2_000 * MS, "it has caught up", |w| w.is_settled());
    assert!(took < 1_500 * MS, "{took:?}");
    let traffic = &world.traffic;
    assert_eq!(traffic.pulled, 15_000, "nothing travels twice, although three peers have it");
    assert!(traffic.by_name["chunk"] <= 24, "{traffic:?}");
    assert!(traffic.longest["chunk"] <= CHUNK_BYTES_MAX + 1_024, "{traffic:?}");
    let bytes = traffic.bytes[&Lane::Bulk];
    assert!(bytes <= ideal * 110 / 100, "{bytes} bytes for {ideal}");
    assert!(world.gossip(3).queued_entries() == 0);
}

#[test]
fn a_newcomer_gets_everything() {
    let mut world = World::unconnected(3, 24);
    world.connect(0, 1);
    world.run_for(100 * MS);
    write_many(&mut world, &[0, 1], 3_000);
    world.connect_all();
    world.run_until(1_000 * MS, "the newcomer is in step", |w| w.is_settled());
    world.run_for(1_000 * MS);
    assert!(world.gossip(2).is_converged());
}

#[test]
fn a_node_whose_disk_is_lost_gets_its_own_old_writes_back() {
    let mut world = World::new(3, 25);
    for i in 0..30 {
        world.write(i % 3, vec![increment("n", 1), set(&format!("k{i}"), "v")]);
        world.run_for(5 * MS);
    }
    world.run_for(100 * MS);
    world.crash_with(0, false);
    world.lose_disk(0);
    world.start(0);
    assert_eq!(world.gossip(0).replica().len(), 0);
    // It writes before it meets anybody: a new generation, so these are new dots.
    world.write(0, vec![increment("n", 1)]);
    world.run_for(20 * MS);
    world.connect_all();
    world.run_until(1_000 * MS, "all is back", |w| w.is_settled());
    for node in 0..3 {
        assert_eq!(world.read(node, "n"), Some(Read::Counter(31)));
        assert!(world.read(node, "k0").is_some());
    }
}

#[test]
fn after_a_restart_both_sides_meet_as_for_the_first_time() {
    let mut world = World::new(2, 26);
    world.write(0, vec![set("a", "1")]);
    world.run_for(1_000 * MS);
    // The disk goes back to nothing: what was told before must not be told against.
    world.crash_with(1, false);
    world.lose_disk(1);
    world.start(1);
    world.connect_all();
    world.run_until(200 * MS, "all is back", |w| w.is_settled());

    // One side notices that the connection was renewed, the other does not.
    world.run_for(3_000 * MS);
    assert_eq!(world.gossip(0).peers().next().unwrap().behind, Some(0));
    world.handle(0, crate::Input::PeerUp { peer: id(1) });
    assert_eq!(world.gossip(0).peers().next().unwrap().behind, None, "whatever was remembered is forgotten");
    world.run_for(100 * MS);
    world.rules.loss = 1.0;
    world.write(0, vec![set("b", "1")]);
    world.write(1, vec![set("c", "1")]);
    world.run_for(20 * MS);
    world.rules.loss = 0.0;
    world.run_until(3_000 * MS, "both agree again", |w| w.is_settled());
}

#[test]
fn a_report_that_does_not_fit_is_told_in_full() {
    let mut world = World::new(2, 27);
    world.write(0, vec![set("a", "1")]);
    world.run_for(3_000 * MS);
    // Node 1 forgets what node 0 told it; node 0 does not know that.
    world.handle(1, crate::Input::PeerDown { peer: id(0) });
    world.handle(1, crate::Input::PeerUp { peer: id(0) });
    // Its exchange at once finds equality; that is forgotten as well.
    world.handle(1, crate::Input::PeerDown { peer: id(0) });
    world.handle(1, crate::Input::PeerUp { peer: id(0) });
    world.rules.loss = 1.0;
    world.write(0, vec![set("b", "1")]);
    world.write(1, vec![set("c", "1")]);
    world.run_until(3_000 * MS, "both agree", |w| w.is_settled());
    world.rules.loss = 0.0;
    assert!(world.traffic.by_name.contains_key("tell"), "{:?}", world.traffic);
    world.run_for(2_000 * MS);
    assert_eq!(
        world.count(|e| matches!(e, Event::ExchangeAbandoned { why: crate::Abandoned::Timeout, .. })),
        0
    );
}

#[test]
fn a_silent_peer_holds_up_nobody() {
    let mut world = World::new(3, 28);
    world.run_for(500 * MS);
    world.cut(0, 1);
    world.cut(0, 2);
    write_many(&mut world, &[1, 2], 6_000);
    // Node 2 says what it has, and then is stopped: it answers nothing.
    world.connect(0, 2);
    world.run_until(200 * MS, "it was asked", |w| w.traffic.by_name.get("want").is_some_and(|n| *n >= 2));
    let stopped = world.nodes[2].gossip.take();
    world.connect(0, 1);
    // What it owes is asked of another one after a moment.
    let here = |w: &World| w.gossip(0).replica().clock() == w.gossip(1).replica().clock();
    world.run_until(4_000 * MS, "the other one gives it all", here);
    world.nodes[2].gossip = stopped;
    world.run_until(20_000 * MS, "the stopped one is back", |w| w.is_settled());
}

#[test]
fn a_majority_is_waited_for_across_a_heal() {
    let mut world = World::new(3, 29);
    world.run_for(500 * MS);
    world.partition(&[0]);
    let request = world.write_and_wait(0, vec![set("k", "v")], Wait::Majority, Some(10 * ROUND));
    world.run_for(2_000 * MS);
    assert!(world.reply(request).is_none());
    world.connect_all();
    world.run_until(200 * MS, "the majority has it", |w| w.reply(request).is_some());
    assert!(world.written(request).met);
}

#[test]
fn a_node_that_was_stopped_catches_up_in_a_second_or_two() {
    for nodes in [2, 4] {
        let mut world = World::new(nodes, 30);
        let others: Vec<usize> = (1..nodes).collect();
        world.run_for(500 * MS);
        // It is stopped in the middle of an exchange, so that much is overdue when it wakes.
        world.write(1, vec![set("k", "v")]);
        world.rules.loss = 1.0;
        world.write(1, vec![set("k", "w")]);
        world.run_for(900 * MS);
        world.rules.loss = 0.0;
        world.stop(0);
        write_many(&mut world, &others, 15_000);
        world.run_for(20_000 * MS);
        assert!(!world.is_settled());
        world.traffic = Traffic::default();
        world.resume(0);
        let took = world.run_until(2_000 * MS, "it has caught up", |w| w.is_settled());
        assert!(took < 1_500 * MS, "{took:?}");
        assert!(world.traffic.pulled <= 15_100, "{:?}", world.traffic);
        assert_eq!(world.count(|e| matches!(e, Event::MessageRefused { .. })), 0);
    }
}

/// No round comes to its aid: what was asked of a peer that is gone, and what another one holds too, is asked of that one.
#[test]
fn what_a_lost_peer_was_asked_for_is_asked_of_another_at_once() {
    let mut asked = 0;
    for cut_after in (20..200).step_by(10) {
        let mut world = World::unconnected(3, 26);
        world.config.round = Duration::from_secs(3_600);
        for node in 0..3 {
            world.crash_with(node, true);
            world.start(node);
        }
        world.rules =
            Rules { latency_us: 20_000..=30_000, loss: 0.0, fsync_us: 1_000..=2_000, ..Rules::default() };
        world.connect(0, 1);
        write_many(&mut world, &[0, 1], 1_000);
        world.run_for(1_000 * MS);
        assert_eq!(world.digests().len(), 2, "two hold it all, the third nothing");
        world.connect(2, 0);
        world.connect(2, 1);
        world.traffic = Traffic::default();
        world.run_for(cut_after * MS);
        asked += usize::from(world.traffic.by_name.contains_key("want") && world.digests().len() > 1);
        world.cut(2, 0);
        world.run_until(600 * MS, "the other gives it", |w| w.digests().len() == 1);
    }
    assert!(asked >= 3, "the cut fell between the asking and the last answer {asked} times");
}

/// All of the other half comes back at once, and all of it holds the same.
#[test]
fn of_the_half_that_comes_back_one_or_two_are_met() {
    for seed in [0, 1, 2, 16, 19] {
        let mut world = World::new(20, 500 + seed);
        world.run_for(2_000 * MS);
        let half: Vec<usize> = (0..10).collect();
        world.partition(&half);
        for n in 0..400 {
            world.write(n % 20, vec![set(&format!("k{n}"), "v")]);
            world.run_for(5 * MS);
        }
        world.run_for(5_000 * MS);
        let before = world.traffic.by_name["compare"];
        world.connect_all();
        let took = world.run_until(1_000 * MS, "all hold the same", |w| w.is_settled());
        let met = (world.traffic.by_name["compare"] - before) as f64 / 20.0;
        assert!((0.5..=3.0).contains(&met), "{met} exchanges a node");
        assert!(took <= 50 * MS, "seed {seed}: {took:?}");
        // And each knows of each that it does.
        world.run_for(2_000 * MS);
        assert!((0..20).all(|n| world.gossip(n).is_converged()));
    }
}

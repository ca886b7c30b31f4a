//! Whole cells, where the log does not reach back far enough; and that the log does not grow.

use super::world::*;
use crate::Event;
use chinwag_base::Lane;
use chinwag_crdt::Read;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Nodes that keep hardly any log.
pub(super) fn forgetful(nodes: usize, seed: u64, slice_bytes: usize) -> World {
    let mut world = World::unconnected(nodes, seed);
    world.config.log_bytes_max = 1_000;
    world.config.slice_bytes_max = slice_bytes;
    world.config.checkpoint_rows = 64;
    for node in 0..nodes {
        world.crash(node);
        world.start(node);
    }
    world.connect_all();
    world
}

fn sessions(world: &World) -> usize {
    world.count(|event| matches!(event, Event::CellsDone { .. }))
}

pub(super) fn settle(world: &mut World) {
    world.run_until(20_000 * MS, "all agree", |w| w.is_settled() && w.digests().len() == 1);
}

/// A node that is alone keeps no log, and whoever joins it is told its state.
#[test]
fn a_lone_node_keeps_no_log_and_a_newcomer_is_told_all() {
    let mut world = World::unconnected(1, 1);
    for i in 0..300 {
        world.write(0, vec![set(&format!("k{i}"), "v")]);
    }
    world.run_for(3_000 * MS);
    assert_eq!(world.gossip(0).replica().log_len(), 0);
    world.join();
    world.connect_all();
    settle(&mut world);
    assert_eq!(world.gossip(1).replica().len(), 300);
    assert_eq!((sessions(&world), world.traffic.pulled), (1, 0));
}

/// Who was away is told what differs, in bytes that do not depend on how much there is.
#[test]
fn little_that_differs_costs_little() {
    let mut world = forgetful(2, 3, usize::MAX);
    for i in 0..3_000 {
        world.write(0, vec![set(&format!("key/{i:05}"), &"v".repeat(50))]);
        world.run_for(MS);
    }
    settle(&mut world);
    world.cut(0, 1);
    for i in 0..40 {
        let key = format!("key/{:05}", i * 70);
        world.write(0, vec![if i % 4 == 0 { delete(&key) } else { set(&key, &"w".repeat(50)) }]);
    }
    world.write(1, vec![set("mine", "x")]);
    world.run_for(1_000 * MS);
    let before = (sessions(&world), world.traffic.bytes[&Lane::Bulk]);
    world.connect_all();
    settle(&mut world);
    let bytes = world.traffic.bytes[&Lane::Bulk] - before.1;
    assert_eq!(sessions(&world) - before.0, 1, "the other one's log was enough");
    // 30 values with their keys and dots are 3.3 kB; ten more keys are told to be empty, and 40 that differ take some 100 symbols
    // of 17 bytes.
    assert!(bytes < 6_000, "{bytes}");
    assert_eq!(world.gossip(0).replica().len(), 2_991);
}

/// A cell that has changed has one id here and another one there.
#[test]
fn many_cells_that_changed_are_found_too() {
    let mut world = forgetful(2, 3, usize::MAX);
    let batch = |value: &str, from: usize, to: usize| -> Vec<_> {
        (from..to).map(|i| set(&format!("key/{i:05}"), value)).collect()
    };
    for i in 0..60 {
        world.write(0, batch(&"v".repeat(50), i * 100, i * 100 + 100));
        world.run_for(5 * MS);
    }
    settle(&mut world);
    for differ in [100, 500, 1_500] {
        world.cut(0, 1);
        for i in (0..differ).step_by(50) {
            world.write(0, batch(&format!("{differ:050}"), i, i + 50));
            world.run_for(5 * MS);
        }
        world.run_for(1_000 * MS);
        let before = (sessions(&world), world.traffic.bytes[&Lane::Bulk]);
        world.connect_all();
        settle(&mut world);
        let bytes = world.traffic.bytes[&Lane::Bulk] - before.1;
        assert_eq!(sessions(&world) - before.0, 1);
        // The cell, told once and without its writer's name, takes some 60 bytes, its symbols 50, and its id 8.
        assert!(bytes < 130 * differ + 2_000, "{bytes} for {differ}");
    }
}

/// What a piece of a sketch is of, a further piece must be of too. If the teller has other cells by then, it promises anew.
#[test]
fn a_sketch_comes_in_pieces_though_its_teller_goes_on_writing() {
    let mut world = forgetful(2, 3, usize::MAX);
    let batch = |value: &str, from: usize| -> Vec<_> {
        (from..from + 50).map(|i| set(&format!("key/{i:05}"), value)).collect()
    };
    for i in 0..60 {
        world.write(0, batch("before", i * 50));
        world.run_for(5 * MS);
    }
    settle(&mut world);
    world.cut(0, 1);
    for i in 0..10 {
        world.write(0, batch("after", i * 50));
        world.run_for(5 * MS);
    }
    world.run_for(1_000 * MS);
    let count = |world: &World, name: &str| world.traffic.by_name.get(name).copied().unwrap_or(0);
    let before = (sessions(&world), count(&world, "promise"), world.traffic.bytes[&Lane::Bulk]);
    world.connect_all();
    let mut writes = 0;
    while sessions(&world) == before.0 {
        world.write(0, vec![set("now", &format!("{writes}"))]);
        writes += 1;
        world.run_for(2 * MS);
        assert!(writes < 2_000);
    }
    let promises = count(&world, "promise") - before.1;
    assert!(count(&world, "further") >= 1 && promises >= 2, "{:?}", world.traffic);
    let bytes = world.traffic.bytes[&Lane::Bulk] - before.2;
    settle(&mut world);
    assert_eq!(sessions(&world) - before.0, 1, "one session for all of it");
    // All 3,000 cells would be 90 kB.
    assert!(bytes < 60_000, "{bytes}");
}

/// The peer that a session began with dies, and another one goes on with it.
#[test]
fn a_session_outlives_its_peer() {
    let mut world = forgetful(3, 5, 300);
    world.cut(0, 2);
    world.cut(1, 2);
    for i in 0..2_500 {
        world.write(0, vec![set(&format!("k{i}"), "v")]);
        world.run_for(MS);
    }
    world.run_for(5_000 * MS);
    world.connect(0, 2);
    world.run_until(5_000 * MS, "the session has begun", |w| w.gossip(2).replica().len() > 200);
    let before = sessions(&world);
    let had = world.gossip(2).replica().len();
    assert!(had < 2_000 && world.gossip(2).replica().session().is_some());
    world.crash(0);
    world.connect(1, 2);
    world.run_until(60_000 * MS, "somebody goes on", |w| sessions(w) > before);
    assert_eq!(world.gossip(2).replica().len(), 2_500);
    let slices = world.traffic.by_name["slice"];
    assert!(slices < 2_500 * 110 / 300 + 40, "nothing was told twice: {slices} slices");
}

/// Three, of which the last has missed 2,500 writes that the logs of the others do not have any more.
fn one_far_behind() -> World {
    let mut world = forgetful(3, 5, 300);
    world.partition(&[2]);
    for i in 0..2_500 {
        world.write(0, vec![set(&format!("k{i}"), "v")]);
        world.run_for(MS);
    }
    world.run_for(5_000 * MS);
    world
}

/// The only one that covers what was promised loses its disk: the session is given up, and the next one is with somebody else.
#[test]
fn a_session_that_nobody_can_go_on_with_is_given_up_soon() {
    let mut world = one_far_behind();
    world.cut(0, 1);
    // More than its log keeps, so that nobody else will ever cover them.
    for i in 0..60 {
        world.write(0, vec![set("z", &i.to_string())]);
        world.run_for(10 * MS);
    }
    world.connect(0, 2);
    world.run_until(5_000 * MS, "the session has begun", |w| w.gossip(2).replica().len() > 200);
    let promised = |w: &World| w.gossip(2).replica().session().map(|session| session.clock.clone());
    let first = promised(&world);
    assert!(first.is_some() && world.gossip(2).replica().len() < 2_000);
    world.crash(0);
    world.lose_disk(0);
    // Alone it keeps what it was promised: somebody may yet come.
    world.run_for(10_000 * MS);
    assert_eq!(promised(&world), first);
    world.start(0);
    world.connect_all();
    world.run_until(5_000 * MS, "it is given up", |w| promised(w) != first);
    world.run_until(60_000 * MS, "all agree", |w| w.is_settled() && w.digests().len() == 1);
    assert_eq!(world.gossip(2).replica().len(), 2_500);
}

/// A reader may cover all that was promised, and is not asked: what it told would be believed.
#[test]
fn a_session_does_not_go_on_with_a_reader() {
    let mut world = one_far_behind();
    world.make_reader(1, &[]);
    world.connect(0, 2);
    world.run_until(5_000 * MS, "the session has begun", |w| w.gossip(2).replica().len() > 200);
    world.crash(0);
    world.run_for(100 * MS);
    let had = world.gossip(2).replica().len();
    world.connect(1, 2);
    world.run_for(10_000 * MS);
    let replica = world.gossip(2).replica();
    assert_eq!((replica.len(), replica.session().is_some()), (had, true));
    world.start(0);
    world.connect(0, 2);
    world.run_until(60_000 * MS, "its maker goes on", |w| w.gossip(2).replica().len() == 2_500);
}

/// The one that is behind is killed in the middle, and goes on where it was.
#[test]
fn a_session_outlives_a_restart() {
    let mut world = forgetful(2, 7, 300);
    world.cut(0, 1);
    for i in 0..2_500 {
        world.write(0, vec![set(&format!("k{i}"), "v")]);
        world.run_for(MS);
    }
    world.connect_all();
    for least in [300, 900, 1_500] {
        world.run_until(20_000 * MS, "some have come", |w| w.gossip(1).replica().len() > least);
        world.crash(1);
        world.run_for(100 * MS);
        world.start(1);
        assert!(world.gossip(1).replica().len() >= least);
        world.connect_all();
    }
    settle(&mut world);
    let slices = world.traffic.by_name["slice"];
    assert!(slices < 2_500 * 110 / 300 + 40, "nothing was told twice: {slices} slices");
}

/// What is deleted while somebody is away, for however long, does not come back with him, and what he wrote stays.
#[test]
fn the_long_absent_bring_nothing_back_and_lose_nothing() {
    let mut world = forgetful(3, 10, 2_000);
    for i in 0..100 {
        world.write(0, vec![set(&format!("k{i}"), "old"), add("set", &format!("e{i}")), increment("n", 1)]);
    }
    settle(&mut world);
    world.partition(&[2]);
    world.write(2, vec![set("k7", "mine"), add("set", "mine"), increment("n", 1_000)]);
    for i in 0..100 {
        world.write(1, vec![delete(&format!("k{i}")), remove("set", &format!("e{i}"))]);
        world.run_for(10 * MS);
    }
    world.write(1, vec![delete("n")]);
    for i in 0..3_000 {
        world.write(0, vec![set(&format!("t{}", i % 10), "x"), increment("m", 1)]);
        world.run_for(MS);
    }
    world.run_for(5_000 * MS);
    world.connect_all();
    settle(&mut world);
    assert!(sessions(&world) >= 2, "both sides were behind");
    for node in 0..3 {
        let keys: Vec<String> = world.gossip(node).replica().keys().map(|key| key.to_string()).collect();
        let mut expected: Vec<String> = (0..10).map(|i| format!("t{i}")).collect();
        expected.extend(["k7", "m", "n", "set"].map(str::to_owned));
        expected.sort();
        assert_eq!(keys, expected);
        assert_eq!(world.read(node, "n"), Some(Read::Counter(1_000)));
        let Some(Read::Set(elements)) = world.read(node, "set") else { panic!("a set") };
        assert_eq!(elements.len(), 1);
    }
}

/// Ten thousand keys made and deleted, alone and with others, one of them down for half of it: nothing is left of them in
/// memory and on the disk, but what one process life costs.
#[test]
fn what_is_deleted_leaves_nothing_behind() {
    for nodes in [1, 3] {
        let mut world = World::new(nodes, 11);
        world.config.checkpoint_rows = 200;
        world.config.log_bytes_max = 20_000;
        for node in 0..nodes {
            world.crash(node);
            world.start(node);
        }
        world.connect_all();
        for i in 0..10_000 {
            let (node, key) = (i % nodes.min(2), format!("k{i}"));
            let ops = match i % 3 {
                0 => vec![set(&key, "v"), delete(&key)],
                1 => vec![add(&key, "e"), remove(&key, "e")],
                _ => vec![increment(&key, 5), delete(&key)],
            };
            world.write(node, ops);
            world.run_for(Duration::from_micros(500));
            if nodes == 3 && i == 3_000 {
                world.crash(2);
            }
        }
        if nodes == 3 {
            world.start(2);
            world.connect_all();
        }
        settle(&mut world);
        world.run_for(5_000 * MS);
        // A last few rows, so that a checkpoint follows the last cut.
        for _ in 0..300 {
            world.write(0, vec![set("last", "v")]);
            world.run_for(5 * MS);
        }
        world.run_for(5_000 * MS);
        for node in 0..nodes {
            let (replica, disk) = (world.gossip(node).replica(), &world.nodes[node].disk);
            assert_eq!(replica.len(), 1);
            assert!(replica.state_bytes() < 500, "{} bytes of {nodes}", replica.state_bytes());
            assert!(replica.log_len() < 20, "{} entries of {nodes}", replica.log_len());
            assert_eq!(disk.cells_len(), 1, "at {node} of {nodes}");
            assert!(disk.log_len() <= 400, "{} rows of {nodes}", disk.log_len());
        }
    }
}

/// Two replicas with one clock and different states, as a broken disk makes them that nobody noticed: it is told, and what
/// one has lost is not taken from the others.
#[test]
fn equal_clocks_with_unequal_states_are_told_and_nothing_is_lost_by_it() {
    let mut world = forgetful(3, 13, 2_000);
    for i in 0..100 {
        world.write(0, vec![set(&format!("k{i:02}"), "x")]);
        world.run_for(10 * MS);
    }
    settle(&mut world);
    world.run_for(2_000 * MS);
    world.crash(1);
    let lost = world.nodes[1].disk.cells.pop_first();
    assert!(lost.is_some(), "a checkpoint has been made");
    world.start(1);
    world.connect_all();
    world.run_for(20_000 * MS);
    assert!(world.count(|event| matches!(event, Event::Corrupt { .. })) > 0);
    let held = [0, 1, 2].map(|node| world.gossip(node).replica().len());
    assert_eq!(held, [100, 99, 100]);
}

/// Somebody writes all the time, so that there is always something to be had from a log. Whole cells come all the same.
#[test]
fn a_session_begins_although_others_write_all_the_time() {
    let mut world = forgetful(3, 15, usize::MAX);
    world.partition(&[2]);
    for i in 0..200 {
        world.write(0, vec![set(&format!("k{i}"), "v")]);
        world.run_for(2 * MS);
    }
    world.connect_all();
    let before = sessions(&world);
    for i in 0..4_000 {
        world.write(1, vec![set("busy", &i.to_string())]);
        world.run_for(MS);
    }
    assert!(sessions(&world) > before);
    assert!(world.gossip(2).replica().len() >= 200);
}

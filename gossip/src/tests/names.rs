//! First contacts of large clocks.

use super::hostile::{deletion, hear, lives, stranger};
use super::world::*;
use crate::{Basis, Message, Report, Summary};
use chinwag_base::{Digest, Lane};
use chinwag_crdt::{Clock, Dot};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Two who have not met: both hold so many lives that are over, and each some that the other does not.
fn two(lives_of_both: u64, of_one: u64, of_other: u64, seed: u64) -> World {
    let mut world = World::new(2, seed);
    for node in [0, 1] {
        world.crash_with(node, false);
        lives(lives_of_both).for_each(|dot| world.nodes[node].plant(deletion(dot)));
    }
    for (node, range) in [(0, 0..of_one), (1, of_one..of_one + of_other)] {
        range.for_each(|n| world.nodes[node].plant(deletion(Dot::new(stranger(n), 1))));
    }
    [0, 1].into_iter().for_each(|node| world.start(node));
    world.connect_all();
    world
}

fn know_each_other(world: &World) -> bool {
    [(0, 1), (1, 0)].into_iter().all(|(node, other)| {
        world.gossip(node).peers[&id(other)].known == *world.gossip(other).replica().clock()
    })
}

#[test]
fn of_twenty_thousand_lives_those_that_differ_are_told() {
    for (of_one, of_other) in [(0, 1), (3, 0), (5, 4), (9, 2)] {
        let mut world = two(20_000, of_one, of_other, 80);
        world.run_until(5_000 * MS, "they hold the same", |w| w.is_settled() && know_each_other(w));
        assert_eq!(world.traffic.pulled as u64, of_one + of_other, "once");
        let bytes = world.traffic.bytes[&Lane::Bulk];
        assert!(bytes < 8_000, "{bytes} bytes for {of_one} and {of_other}");
        assert!(world.traffic.longest["report"] < 2_000);
    }
}

#[test]
fn a_sketch_that_does_not_tell_is_followed_by_a_longer_one() {
    let mut world = two(20_000, 300, 200, 81);
    world.run_until(5_000 * MS, "they hold the same", |w| w.is_settled() && know_each_other(w));
    let (tells, bytes) = (world.traffic.by_name["tell"], world.traffic.bytes[&Lane::Bulk]);
    assert!((1..=6).contains(&tells), "{tells}");
    // Their entries are 500 times some 110 bytes.
    assert!(bytes < 200_000, "{bytes} bytes");
}

#[test]
fn whoever_has_nearly_nothing_is_told_everything_at_once() {
    let mut world = World::new(2, 82);
    world.crash_with(0, false);
    lives(3_000).for_each(|dot| world.nodes[0].plant(deletion(dot)));
    world.start(0);
    world.connect_all();
    world.run_until(5_000 * MS, "the newcomer has all of it", |w| w.is_settled() && know_each_other(w));
    assert!(world.traffic.by_name["tell"] <= 2);
    // Afterwards it is told what changes.
    let before = world.traffic.bytes[&Lane::Bulk];
    world.write(0, vec![set("k", "v")]);
    world.run_for(3_000 * MS);
    assert!(world.read(1, "k").is_some() && know_each_other(&world));
    assert!(world.traffic.bytes[&Lane::Bulk] - before < 2_000);
}

#[test]
fn writes_while_clocks_are_told_as_sketches_are_not_missed() {
    for seed in 90..110 {
        let mut world = two(400, 4, 3, seed);
        for n in 0..40 {
            world.write(n % 2, vec![set(&format!("k{n}"), "v")]);
            world.run_for(Duration::from_millis(seed % 7 + 1));
        }
        world.run_until(5_000 * MS, "they hold the same", |w| w.is_settled() && know_each_other(w));
    }
}

/// What the clock of the peer is said to be does not have the digest that the peer says it has.
#[test]
fn what_does_not_add_up_is_not_believed() {
    let mut world = two(400, 0, 0, 83);
    world.run_until(5_000 * MS, "they hold the same", |w| w.is_settled());
    let ours = world.gossip(0).replica().clock().clone();
    let digest = |n: u8| Digest::of("a test", &[n]);
    let summary = |n: u32| Summary { number: 900 + n, clock: digest(1), state: digest(2), unsettled: false };
    let report = |n: u32, basis: Basis, clock: Clock| {
        Message::Report(Report { summary: summary(n), basis, clock, more: false, ask: true })
    };
    let invented = |n: u64| {
        let mut clock = Clock::new();
        clock.insert(Dot::new(stranger(n), 1));
        clock
    };
    let sketch = |clock: &Clock, len: usize| Basis::Sketch(clock.sketch(len).symbols().to_vec());
    let mut more = ours.clone();
    more.merge(&invented(1));
    let before = world.gossip(0).peers[&id(1)].known.clone();
    let bases = [
        Basis::Sketch(Vec::new()),
        sketch(&ours, 64),
        sketch(&more, 64),
        // The rest of the one before it.
        Basis::Rest { of: digest(1) },
        Basis::Rest { of: digest(3) },
        Basis::Yours { of: digest(1), except: vec![1, 2, 3] },
        Basis::Yours { of: ours.digest(), except: vec![1, 2, 3] },
        Basis::Yours { of: ours.digest(), except: Vec::new() },
        sketch(&ours, 5_000),
    ];
    for (n, basis) in (0..).zip(bases) {
        let clock = if matches!(basis, Basis::Sketch(_)) { Clock::new() } else { invented(2) };
        // As after a reconnection, so that a sketch of ours is under way.
        world.handle(0, crate::Input::PeerDown { peer: id(1) });
        world.handle(0, crate::Input::PeerUp { peer: id(1) });
        hear(&mut world, Message::Compare { summary: summary(2 * n) });
        hear(&mut world, report(2 * n + 1, basis.clone(), clock));
        let known = &world.gossip(0).peers[&id(1)].known;
        assert!(before.contains_all(known), "{basis:?}");
    }
    world.handle(0, crate::Input::PeerDown { peer: id(1) });
    world.handle(0, crate::Input::PeerUp { peer: id(1) });
    world.write(1, vec![set("k", "v")]);
    world.run_until(20_000 * MS, "they hold the same", |w| w.is_settled());
    assert!(world.read(0, "k").is_some());
}

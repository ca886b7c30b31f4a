//! First contacts of large clocks.

use super::hostile::{deletion, hear, lives, stranger};
use super::world::*;
use crate::{
    Basis, Config, Gossip, Identity, Input, MemoryStore, Message, Output, Report, RequestId, Summary, Wait,
};
use chinwag_base::{Digest, Lane, Moment, WallTime};
use chinwag_crdt::{Clock, Dot, Row, Symbol};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
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

fn symbols(clock: &Clock, len: usize) -> Vec<Symbol> {
    let mut sketch = Clock::sketch_of_names(len);
    clock.names().for_each(|(name, _)| sketch.insert(name));
    sketch.symbols().to_vec()
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

/// 256 KiB are not enough for lives with thousands of gaps each.
#[test]
fn a_rest_that_fits_no_report_is_told_as_everything() {
    let mut world = World::new(2, 84);
    for node in [0, 1] {
        world.crash_with(node, false);
        lives(400).for_each(|dot| world.nodes[node].plant(deletion(dot)));
    }
    for life in 0..6 {
        (1..=4_000).for_each(|n| world.nodes[0].plant(deletion(Dot::new(stranger(life), 2 * n))));
    }
    world.nodes[1].plant(deletion(Dot::new(stranger(100), 1)));
    [0, 1].into_iter().for_each(|node| world.start(node));
    world.connect_all();
    world.run_until(10_000 * MS, "they hold the same", |w| w.is_settled());
}

/// A core by itself, with 400 lives that are over and some further ones.
fn core(node: usize, further: u64) -> Gossip {
    let mut disk = MemoryStore::default();
    let dots = lives(400).chain((0..further).map(|n| Dot::new(stranger(n), 1)));
    for (position, dot) in (1..).zip(dots) {
        disk.commit(position, &[Row::Write(Arc::new(deletion(dot)))]);
    }
    let me = Identity { replica: dot(node, 7, 1).replica };
    let at = Moment::from_millis(1_000);
    let mut gossip = Gossip::new(Config::default(), me, disk.read(), 5, at);
    gossip.handle(at, Input::Wall(WallTime::from_unix_ms(1_700_000_000_000)));
    gossip.handle(at, Input::PeerUp { peer: id(1 - node) });
    gossip
}

/// What it sends on the bulk lane; its disk takes everything at once.
fn said(gossip: &mut Gossip, at: Moment) -> Vec<Message> {
    let mut said = Vec::new();
    while let Some(output) = gossip.poll_output() {
        match output {
            Output::Send { message, .. } if message.lane() == Lane::Bulk => said.push(message),
            Output::Persist { batch, .. } => gossip.handle(at, Input::Persisted { batch }),
            _ => {}
        }
    }
    said
}

/// Two sketches are under way at once, because between them something was written and an older question arrived. The answers
/// to both come, the older one first.
#[test]
fn the_answer_to_an_older_sketch_does_not_spoil_that_to_the_newer_one() {
    let at = |ms: u64| Moment::from_millis(1_001 + ms);
    let (mut one, mut other) = (core(0, 0), core(1, 5));
    let hear = |gossip: &mut Gossip, at: Moment, from: usize, messages: Vec<Message>| {
        for message in messages {
            gossip.handle(at, Input::Message { from: id(from), message });
        }
    };
    // The exchange that the other began was given up before.
    said(&mut other, at(0));
    let compare = said(&mut one, at(0));
    hear(&mut other, at(0), 0, compare);
    let mut to_one = said(&mut other, at(0));
    let ops = vec![set("k", "v")];
    other.handle(at(0), Input::Write { request: RequestId(1), ops, wait: Wait::Local, wait_until: None });
    to_one.extend(said(&mut other, at(0)));
    hear(&mut other, at(0), 0, vec![Message::Tell { symbols: 64 }]);
    to_one.extend(said(&mut other, at(0)));
    let sketches =
        to_one.iter().filter(|m| matches!(m, Message::Report(Report { basis: Basis::Sketch(_), .. })));
    assert_eq!(sketches.count(), 2);
    let mut to_other = Vec::new();
    for ms in 0..500 {
        let at = at(10 * ms);
        hear(&mut one, at, 1, std::mem::take(&mut to_one));
        hear(&mut other, at, 0, std::mem::take(&mut to_other));
        for gossip in [&mut one, &mut other] {
            if gossip.next_deadline().is_some_and(|deadline| deadline <= at) {
                gossip.handle(at, Input::Tick);
            }
        }
        (to_other, to_one) = (said(&mut one, at), said(&mut other, at));
    }
    assert!(one.replica().clock() == other.replica().clock());
}

fn summary(number: u32, of: u8) -> Summary {
    let digest = |n: u8| Digest::of("a test", &[n]);
    Summary { number, clock: digest(of), state: digest(2), unsettled: false }
}

/// What comes after a sketch that we could not follow to the end does not add up to what its sender said.
#[test]
fn a_rest_that_does_not_add_up_is_not_believed_and_everything_is_asked_for() {
    let mut world = two(400, 1, 0, 86);
    world.run_until(5_000 * MS, "they hold the same", |w| w.is_settled() && know_each_other(w));
    let before = world.gossip(0).peers[&id(1)].known.clone();
    let mut more = world.gossip(0).replica().clock().clone();
    more.insert(Dot::new(stranger(77), 1));
    let sketch = Basis::Sketch(symbols(&more, 64));
    let report = |basis: Basis, clock: Clock, summary: Summary| {
        Message::Report(Report { summary, basis, clock, more: false, ask: false })
    };
    let said = summary(900, 1);
    hear(&mut world, report(sketch, Clock::new(), said));
    assert!(world.gossip(0).peers[&id(1)].partial.is_some());
    let tells = |w: &World| w.traffic.by_name.get("tell").copied().unwrap_or(0);
    let asked = tells(&world);
    // Not the life that was named.
    let mut other = Clock::new();
    other.insert(Dot::new(stranger(78), 1));
    hear(&mut world, report(Basis::Rest { of: said.clock }, other, summary(901, 1)));
    assert_eq!(tells(&world), asked + 1);
    let peer = &world.gossip(0).peers[&id(1)];
    assert!(peer.partial.is_none() && before.contains_all(&peer.known));
    world.write(1, vec![set("k", "v")]);
    world.run_until(20_000 * MS, "they hold the same", |w| w.is_settled());
}

/// Two or three with clocks of a few lives that are told as sketches; lanes that are full, frames that are lost, cuts and
/// crashes. Nobody ever believes that a peer holds more than it does, and in the end all know each other.
#[test]
fn whatever_happens_on_the_way_nobody_believes_too_much() {
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let nodes = rng.random_range(2..=3);
        let mut world = World::new(nodes, seed);
        world.config.names_from = rng.random_range(0..6);
        world.rules = Rules {
            latency_us: 200..=rng.random_range(1_000..60_000),
            loss: rng.random_range(0.3..1.0),
            fsync_us: 500..=rng.random_range(1_000..30_000),
            full: [0.0, 0.05, 0.2][rng.random_range(0..3)],
            ..Rules::default()
        };
        let shared = rng.random_range(0..300);
        for node in 0..nodes {
            world.crash_with(node, false);
            lives(shared).for_each(|dot| world.nodes[node].plant(deletion(dot)));
            let own = [0, 3, 40, 300][rng.random_range(0..4)];
            let own = (0..own).map(|n| Dot::new(stranger(node as u64 * 1_000 + n), 1));
            own.for_each(|dot| world.nodes[node].plant(deletion(dot)));
            world.start(node);
        }
        world.connect_all();
        for step in 0..rng.random_range(5..60) {
            let node = rng.random_range(0..nodes);
            match rng.random_range(0..20) {
                0..12 if world.is_up(node) => drop(world.write(node, vec![set(&format!("k{step}"), "v")])),
                12..14 if world.is_up(node) => world.crash(node),
                14..16 if !world.is_up(node) => {
                    world.start(node);
                    world.connect_all();
                }
                16 => world.partition(&[node]),
                17 | 18 => world.connect_all(),
                _ => {}
            }
            world.run_for(rng.random_range(0..80) * MS);
            nobody_believes_too_much(&world);
        }
        world.rules.full = 0.0;
        world.rules.loss = [0.0, 1.0][rng.random_range(0..2)];
        (0..nodes).filter(|n| !world.is_up(*n)).collect::<Vec<_>>().into_iter().for_each(|n| world.start(n));
        world.connect_all();
        world.run_until(20_000 * MS, "they hold the same", |w| w.is_settled());
        world.run_for(15_000 * MS);
        nobody_believes_too_much(&world);
        for (node, other) in (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b))).filter(|(a, b)| a != b)
        {
            let known = &world.gossip(node).peers[&id(other)].known;
            assert!(known == world.gossip(other).replica().clock(), "seed {seed}: {node} of {other}");
        }
    }
}

fn nobody_believes_too_much(world: &World) {
    for node in (0..world.nodes.len()).filter(|node| world.is_up(*node)) {
        for (peer, state) in world.gossip(node).peers.iter() {
            let other = (0..world.nodes.len()).find(|n| id(*n) == *peer).unwrap();
            assert!(world.nodes[other].durable.contains_all(&state.known), "{node} of {other}");
        }
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
    let sketch = |clock: &Clock, len: usize| Basis::Sketch(symbols(clock, len));
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
        world.handle(0, Input::PeerDown { peer: id(1) });
        world.handle(0, Input::PeerUp { peer: id(1) });
        let Summary { number, unsettled, .. } = summary(2 * n);
        hear(&mut world, Message::Compare { number, both: summary(2 * n).both(), unsettled });
        hear(&mut world, report(2 * n + 1, basis.clone(), clock));
        let known = &world.gossip(0).peers[&id(1)].known;
        assert!(before.contains_all(known), "{basis:?}");
    }
    world.handle(0, Input::PeerDown { peer: id(1) });
    world.handle(0, Input::PeerUp { peer: id(1) });
    world.write(1, vec![set("k", "v")]);
    world.run_until(20_000 * MS, "they hold the same", |w| w.is_settled());
    assert!(world.read(0, "k").is_some());
}

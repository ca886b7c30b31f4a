//! The tree: how far it reaches, what it costs, how it mends itself, and what a peer of ill will makes of it.

use super::world::*;
use crate::{Event, Input, Message, Path, Refusal};
use chinwag_base::limits::PUSH_PEERS_MAX;
use chinwag_crdt::Clock;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Nodes in a ring, each with so many further links to others drawn at random.
fn connect_some(world: &mut World, links: usize, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let nodes = world.nodes.len();
    for a in 0..nodes {
        world.connect(a, (a + 1) % nodes);
        let mut others: Vec<usize> = (0..nodes).filter(|b| *b != a).collect();
        let (chosen, _) = others.partial_shuffle(&mut rng, links);
        for b in chosen {
            world.connect(a, *b);
        }
    }
}

/// A world of `nodes` on links of 5 to 25 ms that has written often enough to have a tree.
fn grown(nodes: usize, links: usize, seed: u64) -> World {
    let mut world = World::unconnected(nodes, seed);
    (world.rules.link_us, world.rules.latency_us) = (5_000..=25_000, 0..=500);
    if links == 0 {
        world.connect_all();
    } else {
        connect_some(&mut world, links, seed);
    }
    world.run_for(2_000 * MS);
    for i in 0..10 {
        world.write(i * 7 % nodes, vec![set("seed", &format!("{i}"))]);
        world.run_for(1_000 * MS);
    }
    world
}

/// Connections along which both sides pass on.
fn edges(world: &World) -> usize {
    let eager = |n: usize| world.gossip(n).peers.values().filter(|peer| peer.eager).count();
    let both: usize = (0..world.nodes.len()).filter(|n| world.is_up(*n)).map(eager).sum();
    both / 2
}

fn named(world: &World, name: &str) -> usize {
    world.traffic.by_name.get(name).copied().unwrap_or(0)
}

fn relayed(world: &World) -> usize {
    world.count(|e| matches!(e, Event::Applied { path: Path::Relayed { .. }, .. }))
}

#[test]
fn what_is_left_is_a_tree_and_everything_comes_once() {
    // Each with a few connections; and all connected to all, but too many to push to.
    for (nodes, links) in [(60, 8), (PUSH_PEERS_MAX + 28, 0)] {
        let mut world = grown(nodes, links, 1);
        assert_eq!(edges(&world), nodes - 1, "{nodes} nodes");
        world.traffic = Traffic::default();
        world.events.clear();
        for i in 0..10 {
            world.write(i * 11 % nodes, vec![set("k", &format!("{i}"))]);
            // As deep as it may be, and no exchange in between.
            world.run_until(350 * MS, "all have it", |w| w.is_settled());
            world.run_for(1_000 * MS);
        }
        assert_eq!(named(&world, "relay"), 10 * (nodes - 1), "each of them once");
        assert_eq!(relayed(&world), 10 * (nodes - 1), "and nobody by an exchange");
        // A round may fall into the moment in which something spreads.
        assert!(world.traffic.pulled <= nodes / 10, "{}", world.traffic.pulled);
        assert_eq!(named(&world, "prune") + named(&world, "graft") + named(&world, "push"), 0);
    }
}

#[test]
fn in_a_full_mesh_nobody_is_the_middle_of_a_star() {
    let world = grown(100, 0, 2);
    let widest = (0..100).map(|n| world.gossip(n).peers.values().filter(|peer| peer.eager).count()).max();
    assert!(widest.unwrap() <= PUSH_PEERS_MAX, "{widest:?}");
}

#[test]
fn passing_on_waits_for_no_disk() {
    let nodes = 8;
    let mut world = World::unconnected(nodes, 3);
    for node in 1..nodes {
        world.connect(node - 1, node);
    }
    world.run_for(2_000 * MS);
    (world.rules.latency_us, world.rules.fsync_us) = (1_000..=1_000, 40_000..=40_000);
    world.write(0, vec![set("k", "v")]);
    let took = world.run_until(500 * MS, "the far end has it", |w| w.is_settled());
    // The writer's fsync, seven hops, and the last one's fsync.
    assert_eq!(took, 87 * MS);
}

#[test]
fn the_tree_mends_itself_around_the_dead() {
    let mut world = grown(60, 8, 4);
    // Those in the middle of it.
    let branches = |w: &World, n: usize| w.gossip(n).peers.values().filter(|peer| peer.eager).count();
    let mut by_branches: Vec<usize> = (1..60).collect();
    by_branches.sort_by_key(|n| std::cmp::Reverse(branches(&world, *n)));
    for node in &by_branches[..6] {
        // They hang: their connections stand, and what is sent to them is sent in vain.
        world.stop(*node);
    }
    let up: Vec<usize> = (0..60).filter(|n| !by_branches[..6].contains(n)).collect();
    let have = |w: &World, text: &str| {
        let reads = |n: &usize| w.read(*n, "k").is_some_and(|read| format!("{read:?}").contains(text));
        up.iter().all(reads)
    };
    world.write(0, vec![set("k", "first")]);
    world.run_until(1_500 * MS, "all that are up have it", |w| have(w, "first"));
    for i in 0..5 {
        world.run_for(2_000 * MS);
        world.write(up[i * 7 % up.len()], vec![set("k", &format!("next {i}"))]);
        world.run_for(350 * MS);
    }
    // Whoever could not be reached by the old tree is a part of the new one, and that is a tree again.
    world.run_for(world.config.trouble + 2_000 * MS);
    for i in 0..10 {
        world.write(up[i * 11 % up.len()], vec![set("k", &format!("then {i}"))]);
        world.run_for(1_000 * MS);
    }
    world.events.clear();
    world.traffic = Traffic::default();
    world.write(up[5], vec![set("k", "last")]);
    world.run_until(350 * MS, "all that are up have it", |w| have(w, "last"));
    assert!(world.traffic.pulled <= 2, "{:?}", world.traffic);
    assert_eq!(relayed(&world) + world.traffic.pulled, up.len() - 1, "and everything comes once");
}

#[test]
fn on_a_lossy_network_everybody_has_it_soon_and_after_it_there_is_a_tree_again() {
    let (mut relays, mut edges_left) = (0, 0);
    for seed in 5..8 {
        let mut world = grown(60, 8, seed);
        world.rules.loss = 0.05;
        let mut slowest = Duration::ZERO;
        for i in 0..60 {
            world.write(i * 13 % 60, vec![set("k", &format!("{i}"))]);
            let took = world.run_until(1_500 * MS, "all have it", |w| w.is_settled());
            if i >= 20 {
                slowest = slowest.max(took);
            }
            world.run_for(500 * MS);
        }
        assert!(world.traffic.lost > 100 && named(&world, "graft") > 10, "{:?}", world.traffic);
        // By two ways at least, so that few had to be fetched, and soon.
        assert!(slowest <= 500 * MS, "{slowest:?}");
        world.rules.loss = 0.0;
        world.run_for(world.config.trouble + 2_000 * MS);
        for i in 0..20 {
            if i == 10 {
                world.traffic = Traffic::default();
            }
            world.write(i * 7 % 60, vec![set("k", &format!("again {i}"))]);
            world.run_for(1_000 * MS);
        }
        relays += named(&world, "relay");
        edges_left += edges(&world);
    }
    // A branch so long that what is announced overtakes what comes along it gets another one now and then.
    assert!((3 * 59..=3 * 62).contains(&edges_left), "{edges_left} edges");
    let duplicates = relays as f64 / (3 * 590) as f64 - 1.0;
    assert!(duplicates <= 0.05, "{duplicates} duplicates a message");
}

#[test]
fn what_no_disk_takes_does_not_go_round_and_round() {
    let mut world = World::unconnected(4, 6);
    for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 1)] {
        world.connect(a, b);
    }
    world.run_for(2_000 * MS);
    for node in 1..4 {
        world.set_disk_full(node, true);
    }
    world.traffic = Traffic::default();
    world.write(0, vec![set("k", "v")]);
    world.run_for(3_000 * MS);
    assert!(named(&world, "relay") <= 8, "{:?}", world.traffic);
    for node in 1..4 {
        world.set_disk_full(node, false);
    }
    world.run_until(10_000 * MS, "all have it", |w| w.is_settled());
}

#[test]
fn what_a_reader_writes_is_not_passed_on() {
    let mut world = World::unconnected(4, 7);
    for node in 1..4 {
        world.connect(node - 1, node);
    }
    world.run_for(2_000 * MS);
    world.make_reader(0, &[]);
    world.traffic = Traffic::default();
    world.write(0, vec![set("k", "v")]);
    world.run_for(3_000 * MS);
    assert_eq!(named(&world, "relay"), 1, "to its neighbour, who refuses it");
    assert!(world.count(|e| matches!(e, Event::EntryRefused { .. })) >= 1);
    assert!((1..4).all(|n| world.read(n, "k").is_none()));
}

/// It never comes to be known, so nothing would keep it from going round.
#[test]
fn what_will_be_refused_is_not_passed_on() {
    let mut world = World::unconnected(4, 10);
    for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 1)] {
        world.connect(a, b);
    }
    world.run_for(2_000 * MS);
    world.write(0, vec![set("k", "v")]);
    world.run_for(2_000 * MS);
    let mut entry = (*world.nodes[0].logged()[0]).clone();
    entry.dot = dot(0, 1, 2);
    entry.removed = [entry.dot].into_iter().collect();
    world.traffic = Traffic::default();
    let message = Message::Relay { entries: vec![entry.into()] };
    world.handle(1, Input::Message { from: id(0), message });
    world.run_for(1_000 * MS);
    assert_eq!(named(&world, "relay"), 0);
    assert_eq!(world.count(|e| matches!(e, Event::EntryRefused { .. })), 1);
}

#[test]
fn relays_that_cannot_be_are_refused_by_name() {
    let mut world = World::unconnected(3, 8);
    world.connect(0, 1);
    world.connect(1, 2);
    world.run_for(2_000 * MS);
    world.write(0, vec![set("k", "v")]);
    world.run_for(2_000 * MS);
    let mut entry = (*world.nodes[0].logged()[0]).clone();
    let mut relay = |world: &mut World, dot| {
        entry.dot = dot;
        let message = Message::Relay { entries: vec![entry.clone().into()] };
        world.handle(1, Input::Message { from: id(0), message });
    };
    // A write of ours that we never made, and one of a life of the sender's that is over.
    relay(&mut world, dot(1, 1, 9));
    relay(&mut world, dot(0, 0, 1));
    let refused: Vec<Refusal> = world
        .events
        .iter()
        .filter_map(|(_, _, event)| match event {
            Event::MessageRefused { why, .. } => Some(*why),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [Refusal::BogusClock, Refusal::EarlierLife]);
}

#[test]
fn grafts_prunes_and_announcements_of_ill_will_cost_little() {
    let mut world = grown(40, 0, 9);
    // Everybody grafts himself on to one: it passes on to so many and no more.
    for _ in 0..3 {
        for from in 1..40 {
            world.handle(0, Input::Message { from: id(from), message: Message::Graft });
        }
    }
    let eager = world.gossip(0).peers.values().filter(|peer| peer.eager).count();
    assert!(eager <= PUSH_PEERS_MAX, "{eager}");
    // Everybody prunes it: its writes are announced, and fetched.
    for from in 1..40 {
        world.handle(0, Input::Message { from: id(from), message: Message::Prune });
        world.handle(from, Input::Message { from: id(0), message: Message::Prune });
    }
    world.write(0, vec![set("k", "v")]);
    world.run_until(1_000 * MS, "all have it", |w| w.is_settled());
    // Somebody announces what does not exist, again and again. It is asked for it, and then left alone.
    world.traffic = Traffic::default();
    for _ in 0..50 {
        let mut clock = Clock::default();
        clock.insert(dot(1, 1, 1_000));
        world.handle(0, Input::Message { from: id(2), message: Message::Ack { clock } });
        world.run_for(100 * MS);
    }
    assert!((1..=4).contains(&named(&world, "want")), "{:?}", world.traffic);
}

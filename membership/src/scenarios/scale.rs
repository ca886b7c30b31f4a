//! More members than observers: crashes are known to all, joins complete, traffic stays small.

use crate::harness::{Network, ms, s};
use crate::{Event, Input, Profile, State};

fn nobody_else_down(network: &Network, dead: usize) -> bool {
    (0..network.nodes.len())
        .filter(|n| *n != dead)
        .all(|n| !network.accusations(n).iter().any(|(_, _, e)| matches!(e, Event::Down { .. })))
}

fn detect(network: &mut Network, dead: usize) -> (std::time::Duration, std::time::Duration) {
    let known = |n: &Network, a: usize| n.state(a, dead) == Some(State::Down);
    let suspected =
        network.run_until(s(12), |n| n.running().iter().any(|&a| n.state(a, dead) != Some(State::Alive)));
    let down = network.run_until(s(12), |n| n.running().iter().all(|&a| known(n, a)));
    (suspected, suspected + down)
}

#[test]
fn a_crash_is_known_to_all() {
    for (count, seeds) in [(16, 10), (64, 3)] {
        let (mut suspects, mut downs, mut killed) = (Vec::new(), Vec::new(), Vec::new());
        for seed in 0..seeds {
            let mut network = Network::grown(Profile::Lan, seed, count, s(20) + ms(seed * 137));
            network.vanish(5);
            let (suspected, down) = detect(&mut network, 5);
            assert!(suspected <= ms(2_000), "{count}, seed {seed}: suspected after {suspected:?}");
            assert!(down <= ms(7_600), "{count}, seed {seed}: down after {down:?}");
            suspects.push(suspected);
            downs.push(down);
            assert!(nobody_else_down(&network, 5));

            let mut network = Network::grown(Profile::Lan, seed, count, s(20) + ms(seed * 137));
            network.kill(5);
            let (_, down) = detect(&mut network, 5);
            assert!(down <= ms(1_500), "{count}, seed {seed}: killed, down after {down:?}");
            killed.push(down);
            assert!(nobody_else_down(&network, 5));
        }
        for times in [&mut suspects, &mut downs, &mut killed] {
            times.sort();
        }
        let middle = seeds as usize / 2;
        println!(
            "N = {count}: vanished: suspect {:?} (max {:?}), all down {:?} (max {:?}); killed: all down {:?} (max {:?})",
            suspects[middle],
            suspects.last().unwrap(),
            downs[middle],
            downs.last().unwrap(),
            killed[middle],
            killed.last().unwrap()
        );
    }
}

#[test]
fn a_killed_process_is_down_at_once_in_every_profile() {
    for profile in [Profile::Fast, Profile::Lan, Profile::Wan] {
        for count in [3, 12] {
            let mut network = Network::grown(profile, 3, count, s(30));
            network.kill(2);
            let (_, down) = detect(&mut network, 2);
            assert!(down <= ms(1_500), "{profile:?}, {count} nodes: {down:?}");
            assert!(nobody_else_down(&network, 2));
        }
    }
}

#[test]
fn the_fast_profile_is_fast() {
    let mut network = Network::grown(Profile::Fast, 3, 16, s(20));
    network.vanish(2);
    let (suspected, down) = detect(&mut network, 2);
    println!("fast: suspect {suspected:?}, all down {down:?}");
    assert!(suspected <= ms(750) && down <= ms(3_300), "{suspected:?}, {down:?}");
}

/// Whoever is connected to a suspect has looked for itself by the time that somebody convicts it.
#[test]
fn a_verdict_waits_for_nobody() {
    for profile in [Profile::Fast, Profile::Lan, Profile::Wan] {
        let mut network = Network::grown(profile, 3, 16, s(20));
        network.vanish(2);
        let known = |n: &Network, a: usize| n.state(a, 2) == Some(State::Down);
        network.run_until(s(15), |n| n.running().iter().any(|&a| known(n, a)));
        let rest = network.run_until(s(1), |n| n.running().iter().all(|&a| known(n, a)));
        assert!(rest <= ms(150), "{profile:?}: {rest:?}");
    }
}

/// Nobody takes the quiet after a large join for its own deafness, and everybody is observed.
#[test]
fn after_a_large_join_all_are_observed() {
    let mut network = Network::new(Profile::Lan, 2);
    network.config.mesh_max = 16;
    (0..160).for_each(|n| {
        network.add(n);
    });
    (1..160).for_each(|n| network.seed(n, 0));
    network.run_until(s(10), Network::is_complete);
    network.run(s(5));
    network.vanish(7);
    let (suspected, down) = detect(&mut network, 7);
    println!("160 joined, then one was gone: suspect {suspected:?}, all down {down:?}");
    assert!(suspected <= s(2) && down <= ms(7_600), "{suspected:?}, {down:?}");
    assert!(!network.events.iter().any(|(_, _, e)| matches!(e, Event::SelfStalled { .. })));
}

#[test]
fn a_crash_is_known_without_a_full_mesh() {
    for seed in 0..3 {
        let mut network = Network::new(Profile::Lan, seed);
        network.config.mesh_max = 5;
        let mut network = network.grow(24, s(30));
        let connections: Vec<_> = network.nodes.iter().map(|n| n.membership.connected().count()).collect();
        assert!(connections.iter().any(|count| *count < 23), "{connections:?}");
        // Verifiers without a connection dial, and find life where there is life.
        network.cut.insert((1, 2));
        network.run(s(60));
        assert!((0..24).all(|n| network.accusations(n).is_empty()));
        network.cut.clear();
        network.run(s(5));
        network.vanish(7);
        let (_, down) = detect(&mut network, 7);
        assert!(down <= s(8), "{down:?}");
        network.kill(9);
        let (_, down) = detect(&mut network, 9);
        assert!(down <= ms(1_500), "{down:?}");
        let wrong = |n: usize| network.accusations(n).iter().any(|(_, _, e)| matches!(e, Event::Down { .. }));
        assert!((0..24).filter(|n| ![7, 9].contains(n)).all(|n| !wrong(n)));
    }
}

/// Each has its subjects, its observers and a few more, and nobody else for long; whom another protocol wants is
/// connected while it is of use.
#[test]
fn in_a_large_overlay_connections_are_few() {
    let mut network = Network::new(Profile::Lan, 4);
    network.config.mesh_max = 32;
    let mut network = network.grow(80, s(30));
    let connections = |network: &Network| -> Vec<usize> {
        network.nodes.iter().map(|n| n.membership.connected().count()).collect()
    };
    for _ in 0..4 {
        let few = connections(&network);
        assert!(few.iter().all(|count| (12..=40).contains(count)), "{few:?}");
        // Verifiers connect too, for as long as it takes.
        assert!(few.iter().sum::<usize>() <= 80 * 26, "2K + 8 on the average: {few:?}");
        network.run(s(30));
    }

    let stranger = (1..80).find(|n| !network.nodes[0].membership.is_connected(&network.id(*n))).unwrap();
    let peer = network.id(stranger);
    let meets = |n: &Network| n.nodes[0].membership.is_connected(&peer);
    network.input(0, Input::Wanted { peer });
    assert!(network.run_until(s(2), meets) < s(1));
    network.run(s(50));
    assert!(meets(&network), "it was wanted a minute ago at most");
    network.run(s(30));
    assert!(!meets(&network));
    assert!((0..80).all(|n| network.accusations(n).is_empty()), "an end that was meant accuses nobody");
}

/// The overlay shrinks until everybody can be connected to everybody again.
#[test]
fn a_mesh_is_full_again_when_few_are_left() {
    let mut network = Network::new(Profile::Lan, 5);
    network.config.mesh_max = 16;
    let mut network = network.grow(24, s(30));
    assert!(network.nodes.iter().all(|n| n.membership.connected().count() < 23));
    (12..24).for_each(|n| network.input(n, Input::Leave));
    network.run(s(30));
    assert!((0..12).all(|n| network.nodes[n].membership.connected().count() >= 11));
}

#[test]
fn a_quiet_overlay_is_quiet() {
    let mut network = Network::on_loopback(1, 3, s(30));
    let (frames, events) = (network.frames, network.events.len());
    network.run(s(60));
    let rate = (network.frames - frames) as f64 / 60.0 / 3.0;
    println!("three at rest: {rate:.2} frames a node and second");
    assert!(rate <= 2.5, "a ping and an ack a second, {rate}");
    assert_eq!(network.events.len(), events, "{:?}", &network.events[events..]);
}

#[test]
fn many_join_through_one_seed() {
    let mut network = Network::new(Profile::Lan, 1);
    (0..128).for_each(|n| {
        network.add(n);
    });
    (1..128).for_each(|n| network.seed(n, 0));
    let took = network.run_until(s(10), Network::is_complete);
    println!("128 joined after {took:?}, {} frames, {} KiB", network.frames, network.bytes / 1024);
    assert!(took <= s(3), "{took:?}");
    network.run(s(20));
    assert!(network.is_complete());
    let (frames, bytes) = (network.frames, network.bytes);
    network.run(s(30));
    let rate = (network.bytes - bytes) / 30 / 128;
    println!("steady: {} frames, {} bytes a node and second", (network.frames - frames) / 30 / 128, rate);
    assert!(rate <= 200, "{rate} bytes a node and second");
    assert!((0..128).all(|n| network.accusations(n).is_empty()));
}

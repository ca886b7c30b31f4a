//! More members than observers: crashes are known to all, joins complete, traffic stays small.

use crate::harness::{Network, ms, s};
use crate::{Event, Profile, State};

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

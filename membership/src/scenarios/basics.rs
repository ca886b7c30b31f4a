//! Joining, killing, stopping, leaving, restarting: what somebody sees who plays with three to five daemons.

use crate::harness::{Network, ms, s};
use crate::{Event, Input, Profile, State};

const SIZES: [usize; 3] = [3, 4, 5];

#[test]
fn nodes_join_through_one_seed() {
    for count in [2, 3, 5, 16] {
        for seed in 0..5 {
            let mut network = Network::new(Profile::Lan, seed);
            (0..count).for_each(|n| {
                network.add(n);
            });
            (1..count).for_each(|n| network.seed(n, 0));
            let took = network.run_until(s(2), Network::is_complete);
            assert!(took <= ms(1_000), "{count} nodes, seed {seed}: {took:?}");
            network.run(s(3));
            let digest = network.nodes[0].membership.digest();
            assert!(network.nodes.iter().all(|node| node.membership.digest() == digest));
            assert!((0..count).all(|n| network.accusations(n).is_empty()));
        }
    }
}

#[test]
fn a_killed_process_is_suspected_and_down_at_once() {
    for count in SIZES {
        for seed in 0..10 {
            let mut network = Network::grown(Profile::Lan, seed, count, s(10 + seed));
            network.kill(1);
            let suspected =
                network.run_until(s(3), |n| n.running().iter().all(|&a| n.state(a, 1) != Some(State::Alive)));
            let down =
                network.run_until(s(3), |n| n.running().iter().all(|&a| n.state(a, 1) == Some(State::Down)));
            assert!(suspected <= ms(600), "{count} nodes, seed {seed}: suspected after {suspected:?}");
            assert!(
                suspected + down <= ms(1_500),
                "{count} nodes, seed {seed}: down after {:?}",
                suspected + down
            );
            assert!(network.running().iter().all(|&a| !network.belief(a, 1).unwrap().unverified));
            assert!(network.running().iter().all(|&a| network.accusations(a).is_empty()));
        }
    }
}

#[test]
fn a_stopped_process_is_suspected_alone_and_refutes_when_it_runs_again() {
    for count in SIZES {
        for seed in 0..10 {
            let mut network = Network::grown(Profile::Lan, seed, count, s(10 + seed));
            network.pause(1);
            let suspected =
                network.run_until(s(3), |n| n.running().iter().all(|&a| n.state(a, 1) != Some(State::Alive)));
            assert!(suspected <= ms(2_000), "{count} nodes, seed {seed}: suspected after {suspected:?}");
            network.run(s(20) - suspected);
            assert!(network.running().iter().all(|&a| network.state(a, 1) == Some(State::Down)));
            network.resume(1);
            let back = network.run_until(s(5), Network::is_complete);
            assert!(back <= s(2), "{count} nodes, seed {seed}: alive again after {back:?}");
            network.run(s(20));
            assert!(network.is_complete());
            assert!((0..count).filter(|n| *n != 1).all(|n| network.accusations(n).is_empty()));
            assert!(network.events.iter().any(|(_, n, e)| *n == 1 && matches!(e, Event::SelfStalled { .. })));
            assert!(network.belief(0, 1).unwrap().incarnation.get() > 1);
            assert!(network.belief(0, 1).unwrap().stall_mean > s(1), "it is given more time from now on");
        }
    }
}

#[test]
fn a_goodbye_is_heard_by_all() {
    for seed in 0..10 {
        let mut network = Network::grown(Profile::Lan, seed, 5, s(10));
        network.input(2, Input::Leave);
        let took =
            network.run_until(s(1), |n| n.running().iter().all(|&a| n.state(a, 2) == Some(State::Left)));
        assert!(took < ms(500), "{took:?}");
        network.run_until(s(1), |n| n.nodes[2].departed.is_some());
        network.kill(2);
        network.run(s(30));
        assert!(network.accusations(2).is_empty(), "leaving is no failure");
        assert!(network.running().iter().all(|&a| network.state(a, 2) == Some(State::Left)));
    }
}

#[test]
fn a_restart_is_alive_at_once() {
    for seed in 0..10 {
        let mut network = Network::grown(Profile::Lan, seed, 5, s(10));
        network.kill(3);
        network.run(s(5));
        assert_eq!(network.state(0, 3), Some(State::Down));
        network.restart(3, 3);
        let took = network.run_until(s(2), Network::is_complete);
        assert!(took <= ms(1_000), "{took:?}");
    }
}

#[test]
fn of_two_silence_alone_decides_and_late() {
    for seed in 0..5 {
        let mut network = Network::grown(Profile::Lan, seed, 2, s(10));
        network.kill(1);
        let took = network.run_until(s(40), |n| n.state(0, 1) == Some(State::Down));
        assert!((s(29)..s(33)).contains(&took), "{took:?}");
        assert!(network.belief(0, 1).unwrap().unverified);
        network.restart(1, 1);
        network.run_until(s(3), Network::is_complete);
    }
}

#[test]
fn the_death_of_most_is_known_to_the_rest() {
    for (count, dead) in [(3, vec![1, 2]), (5, vec![1, 2, 4])] {
        for seed in 0..5 {
            let mut network = Network::grown(Profile::Lan, seed, count, s(10));
            dead.iter().for_each(|n| network.kill(*n));
            let took = network.run_until(s(40), |n| {
                n.running().iter().all(|&a| dead.iter().all(|&d| n.state(a, d) == Some(State::Down)))
            });
            assert!(took <= s(33), "{took:?}");
            assert!(network.is_complete());
        }
    }
}

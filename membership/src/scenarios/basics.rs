//! Joining, killing, stopping, leaving, restarting: what somebody sees who plays with three to five daemons.

use crate::harness::{Network, ms, s};
use crate::{Event, Input, Profile, State};

/// Twenty runs, half of them with the latency of a network, half with that of one machine.
fn each_network(count: usize, scenario: impl Fn(u64, Network)) {
    for seed in 0..10 {
        scenario(seed, Network::grown(Profile::Lan, seed, count, s(10) + ms(seed * 173)));
        scenario(seed, Network::on_loopback(seed, count, s(10) + ms(seed * 173)));
    }
}

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
        each_network(count, |seed, mut network| {
            network.kill(1);
            let others = |n: &Network, state| n.running().iter().all(|&a| n.state(a, 1) >= Some(state));
            let suspected = network.run_until(s(3), |n| others(n, State::Suspect));
            let down = suspected + network.run_until(s(3), |n| others(n, State::Down));
            assert!(suspected <= ms(600), "{count} nodes, seed {seed}: suspected after {suspected:?}");
            assert!(down <= ms(1_500), "{count} nodes, seed {seed}: down after {down:?}");
            assert!(network.running().iter().all(|&a| !network.belief(a, 1).unwrap().unverified));
            assert!(network.running().iter().all(|&a| network.accusations(a).is_empty()));
        });
    }
}

#[test]
fn a_stopped_process_is_suspected_alone_and_is_back_when_it_runs_again() {
    for count in SIZES {
        each_network(count, |seed, mut network| {
            network.pause(1);
            let others = |n: &Network, state| n.running().iter().all(|&a| n.state(a, 1) >= Some(state));
            let suspected = network.run_until(s(3), |n| others(n, State::Suspect));
            assert!(suspected <= ms(2_000), "{count} nodes, seed {seed}: suspected after {suspected:?}");
            let down = suspected + network.run_until(s(9), |n| others(n, State::Down));
            assert!(down <= s(8), "{count} nodes, seed {seed}: down after {down:?}");
            network.run(s(20) - down);
            network.resume(1);
            let back = network.run_until(s(5), Network::is_complete);
            assert!(back <= s(2), "{count} nodes, seed {seed}: alive again after {back:?}");
            network.run(s(20));
            assert!(network.is_complete());
            assert!((0..count).filter(|n| *n != 1).all(|n| network.accusations(n).is_empty()));
            assert!(network.events.iter().any(|(_, n, e)| *n == 1 && matches!(e, Event::SelfStalled { .. })));
            assert!(network.belief(0, 1).unwrap().incarnation.get() > 1);
            assert!(network.belief(0, 1).unwrap().stall_mean > s(1), "it is given more time from now on");
        });
    }
}

#[test]
fn a_short_stall_accuses_nobody_for_long() {
    each_network(4, |_, mut network| {
        network.pause(2);
        network.run(ms(1_500));
        network.resume(2);
        network.run(s(2));
        assert!(network.is_complete(), "{}", network.describe());
        assert!(network.accusations(2).iter().all(|(_, _, e)| matches!(e, Event::Suspect { .. })));
        assert!([0, 1, 3].iter().all(|&n| network.accusations(n).is_empty()));
    });
}

#[test]
fn all_restart_and_find_each_other_by_their_address_books() {
    each_network(4, |_, mut network| {
        (0..4).for_each(|n| network.kill(n));
        network.run(s(1));
        (0..4).for_each(|n| network.restart(n, n));
        let took = network.run_until(s(3), Network::is_complete);
        assert!(took <= s(2), "{took:?}");
        network.run(s(10));
        assert!(network.is_complete());
    });
}

#[test]
fn whom_only_the_address_book_knows_is_shown_as_down_and_unverified() {
    let mut network = Network::grown(Profile::Lan, 1, 3, s(5));
    (0..3).for_each(|n| network.kill(n));
    network.restart(0, 0);
    network.restart(1, 1);
    network.run(s(20));
    let absent = network.belief(0, 2).unwrap();
    assert!(absent.state == State::Down && absent.unverified, "{absent:?}");
    network.restart(2, 2);
    let took = network.run_until(s(2), Network::is_complete);
    assert!(took <= s(1), "it dials by its own book: {took:?}");
}

#[test]
fn of_two_a_long_stop_is_no_death() {
    each_network(2, |_, mut network| {
        network.pause(1);
        network.run(s(20));
        assert_eq!(
            network.state(0, 1),
            Some(State::Alive),
            "there is nobody to ask, so it takes half a minute"
        );
        assert!(network.belief(0, 1).unwrap().phi > 8.0, "but phi shows it");
        network.resume(1);
        network.run(s(2));
        assert!(network.is_complete());
        assert!((0..2).all(|n| network.accusations(n).is_empty()));
    });
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

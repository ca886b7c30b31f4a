//! Cut links, stalls, partitions, loss: nobody healthy is convicted, and all heals.

use crate::harness::{Network, identity, ms, overlay, s};
use crate::{Config, Event, Input, Membership, Message, Profile, Purpose, Recovered, State, Update};

#[test]
fn a_link_cut_one_way_accuses_nobody() {
    for count in [5, 12] {
        for seed in 0..5 {
            let mut network = Network::grown(Profile::Lan, seed, count, s(10));
            network.cut.insert((1, 2));
            network.run(s(120));
            assert!((0..count).all(|n| network.accusations(n).is_empty()), "{:?}", network.accusations(2));
        }
    }
}

#[test]
fn who_is_vouched_for_is_asked_about_once_a_turn() {
    // Node 1 is never answered by node 2, which all others hear.
    for count in [3, 12] {
        let mut network = Network::grown(Profile::Lan, 1, count, s(10));
        let frames = |network: &mut Network| {
            let before = network.frames;
            network.run(s(120));
            network.frames - before
        };
        let quiet = frames(&mut network);
        network.cut.insert((1, 2));
        let cut = frames(&mut network);
        assert!(cut < quiet * 2, "{count}: {cut} frames where {quiet} are usual");
    }
}

#[test]
fn a_record_that_fits_no_ack_refutes_all_the_same() {
    let mut network = Network::grown(Profile::Lan, 1, 5, s(10));
    let word = "w".repeat(60);
    let tags = (10..26).map(|n| (format!("{n}{word}"), word.clone())).collect();
    network.input(1, Input::Tags(tags));
    network.run(s(2));
    network.pause(1);
    network.run_until(s(5), |n| n.state(0, 1) == Some(State::Suspect));
    network.resume(1);
    network.run(s(2));
    assert!(network.is_complete(), "{}", network.describe());
    assert_eq!(network.belief(0, 1).unwrap().tags.len(), 16);
}

#[test]
fn a_node_that_is_cut_off_convicts_nobody() {
    for seed in 0..5 {
        let mut network = Network::grown(Profile::Lan, seed, 6, s(10));
        let others = [0, 1, 3, 4, 5];
        network.part(&[2], &others);
        network.run(s(25));
        assert!(others.iter().all(|&n| network.state(n, 2) == Some(State::Down)), "{}", network.describe());
        assert!(others.iter().all(|&n| network.accusations(n).is_empty()), "{}", network.describe());
        // Silence decides at last, but for the one who is alone only, and not as a verdict.
        network.run(s(20));
        for n in others {
            assert!(
                network
                    .accusations(n)
                    .iter()
                    .all(|(_, by, e)| *by == 2 && matches!(e, Event::Down { unverified: true, .. }))
            );
        }
        network.cut.clear();
        let healed = network.run_until(s(60), Network::is_complete);
        assert!(healed <= s(60), "{healed:?}");
    }
}

#[test]
fn a_deaf_node_convicts_nobody() {
    // It is heard, but hears nothing.
    for seed in 0..3 {
        let mut network = Network::grown(Profile::Lan, seed, 6, s(10));
        (0..6).filter(|n| *n != 2).for_each(|n| {
            network.cut.insert((n, 2));
        });
        network.run(s(25));
        assert!((0..6).filter(|n| *n != 2).all(|n| network.accusations(n).is_empty()));
    }
}

#[test]
fn silence_from_both_of_two_others_is_our_own() {
    for seed in 0..5 {
        let mut network = Network::grown(Profile::Lan, seed, 3, s(10));
        // Node 0 is heard, and hears nothing. When it hears node 2 again, node 1 is out of everybody's reach for a moment.
        network.cut.extend([(1, 0), (2, 0)]);
        network.run(s(8));
        network.cut.clear();
        network.part(&[1], &[0, 2]);
        network.run(s(2));
        network.cut.clear();
        network.run(s(10));
        let down: Vec<_> =
            network.accusations(1).into_iter().filter(|(_, _, e)| matches!(e, Event::Down { .. })).collect();
        assert!(down.is_empty(), "seed {seed}: {down:?}");
        assert!(network.is_complete(), "{}", network.describe());
        // Where both are gone indeed, and one comes back, the other is found out all the same.
        network.vanish(1);
        network.kill(2);
        network.run(s(4));
        network.restart(2, 2);
        network.run_until(s(15), |n| n.state(0, 1) == Some(State::Down));
        let stalls = network.events.iter().any(|(_, n, e)| *n == 0 && matches!(e, Event::SelfStalled { .. }));
        assert!(!stalls, "that was not our own");
    }
}

#[test]
fn a_stall_of_our_own_voids_the_evidence_that_we_collected() {
    let mut network = Network::grown(Profile::Lan, 1, 5, s(10));
    network.vanish(1);
    network.run_until(s(5), |n| n.belief(0, 1).unwrap().phi > 4.0);
    network.input(0, Input::Stalled { lasted: s(2) });
    assert_eq!(network.belief(0, 1).unwrap().phi, 0.0);
    assert_ne!(network.state(0, 1), Some(State::Down));
    network.run(s(10));
    assert_eq!(network.state(0, 1), Some(State::Down), "collected anew");
}

/// It reads first that another is down, and only then that it is not.
#[test]
fn who_was_stalled_believes_no_verdict_that_waited() {
    let mut network = Network::grown(Profile::Lan, 1, 6, s(10));
    network.pause(1);
    network.run(s(1));
    network.pause(2);
    network.run(s(9));
    assert_eq!(network.state(0, 1), Some(State::Down), "it has not admitted any stall");
    network.resume(1);
    network.run(s(2));
    assert_eq!(network.state(0, 1), Some(State::Alive));
    network.vanish(3);
    network.run(s(9));
    network.resume(2);
    let wrong = |(_, by, e): &(_, usize, &Event)| *by == 2 && matches!(e, Event::Down { .. });
    assert!(!network.accusations(1).iter().any(wrong));
    let told = network.run_until(s(5), |n| n.state(2, 3) == Some(State::Down));
    assert!(told <= s(5), "a true one is told again: {told:?}");
}

#[test]
fn a_ping_lost_long_ago_does_not_accuse_a_new_subject() {
    let mut network = Network::grown(Profile::Lan, 1, 6, s(10));
    let (now, id) = (network.now, network.id(1));
    let this = &mut network.nodes[0].membership;
    this.subjects.remove(&id);
    this.ping(now, id, Purpose::Check, None);
    this.choose_subjects(now);
    assert!(
        this.subjects.contains(&id) && !this.links[&id].unanswered.is_empty(),
        "it may still be answered"
    );
    this.subjects.remove(&id);
    this.choose_subjects(now + s(3));
    assert!(this.subjects.contains(&id) && this.links[&id].unanswered.is_empty());
}

#[test]
fn whoever_is_behind_learns_by_the_beliefs_on_pings() {
    let mut network = Network::grown(Profile::Lan, 1, 5, s(10));
    let port = |port: u16| vec![format!("/ip4/10.0.0.9/tcp/{port}").parse().unwrap()];
    network.input(2, Input::Addresses(port(9)));
    let two = network.id(2);
    network.nodes[2].membership.news.forget(&two);
    network.run(s(5));
    assert!((0..5).all(|n| network.belief(n, 2).unwrap().addresses == port(9)));
}

#[test]
fn what_news_missed_is_found_by_digests() {
    let mut network = Network::grown(Profile::Lan, 1, 5, s(10));
    // Node 1 alone learns of a member that nobody can reach, and its news is lost.
    let stranger =
        Membership::new(Config::new(overlay()), identity(9, 1), Recovered::default(), 1, network.now);
    let (from, id) = (network.id(0), stranger.me());
    let message = Message::News(vec![Update::Record(stranger.record().clone())]);
    network.input(1, Input::Message { from, message });
    network.nodes[1].membership.news.forget(&id);
    let knows = |network: &Network, n: usize| network.nodes[n].membership.member(network.now, &id).is_some();
    assert!(knows(&network, 1) && !knows(&network, 0));
    network.run(s(5));
    assert!((0..5).all(|n| knows(&network, n)));
}

#[test]
fn partitions_heal() {
    for count in [4, 16] {
        for seed in 0..3 {
            let mut network = Network::grown(Profile::Lan, seed, count, s(10));
            let (left, right): (Vec<_>, Vec<_>) = (0..count).partition(|n| n % 2 == 0);
            network.part(&left, &right);
            network.run(s(60));
            assert!(!network.is_complete(), "the partition was felt");
            network.cut.clear();
            let healed = network.run_until(s(60), Network::is_complete);
            network.run(s(60));
            assert!(network.is_complete(), "it stays so, after {healed:?}");
            let digest = network.nodes[0].membership.digest();
            assert!(network.nodes.iter().all(|node| node.membership.digest() == digest));
        }
    }
}

/// Five minutes in which 5 % of the members stall for `shortest` to `longest`, again and again.
fn stall_some(count: usize, seed: u64, loss: f64, shortest: u64, longest: u64) -> Network {
    let mut network = Network::grown(Profile::Lan, seed, count, s(10));
    network.loss = loss;
    let ill = (count / 20).max(1);
    for round in 0..(300_000 / (longest + 5_000)) {
        (1..=ill).for_each(|n| network.pause(n));
        network.run(ms(shortest + (round * 7_919) % (longest - shortest)));
        (1..=ill).for_each(|n| network.resume(n));
        let rest = longest + 5_000 - shortest - (round * 7_919) % (longest - shortest);
        network.run(ms(rest));
    }
    let convicted: Vec<_> = (0..count)
        .filter(|n| !(1..=ill).contains(n))
        .flat_map(|n| network.accusations(n).into_iter().filter(|(_, _, e)| matches!(e, Event::Down { .. })))
        .collect();
    assert!(convicted.is_empty(), "{convicted:?}");
    network
}

#[test]
fn stalling_members_convict_nobody_healthy() {
    for seed in 0..2 {
        let mut network = stall_some(40, seed, 0.0, 1_000, 5_000);
        network.run(s(10));
        assert!(network.is_complete());
        stall_some(16, seed, 0.0, 5_000, 30_000);
    }
}

#[test]
fn stalls_once_admitted_are_forgiven() {
    let network = stall_some(20, 7, 0.0, 3_000, 5_000);
    let first_admission =
        network.events.iter().find(|(_, n, e)| *n == 1 && matches!(e, Event::SelfStalled { .. })).unwrap().0;
    let later = network.accusations(1).into_iter().filter(|(at, _, _)| *at > first_admission + s(10));
    assert_eq!(later.filter(|(_, _, e)| matches!(e, Event::Down { .. })).count(), 0);
}

#[test]
fn loss_convicts_nobody_and_hides_nobody() {
    for (loss, seed) in [(0.05, 1), (0.2, 2), (0.2, 3)] {
        let mut network = Network::grown(Profile::Lan, seed, 16, s(10));
        network.loss = loss;
        network.run(s(120));
        let downs = network.events.iter().filter(|(_, _, e)| matches!(e, Event::Down { .. })).count();
        assert_eq!(downs, 0);
        network.vanish(5);
        network.run_until(s(15), |n| n.running().iter().all(|&a| n.state(a, 5) == Some(State::Down)));
    }
}

//! Long absences, goodbyes across restarts, false deaths, and accusers in a loop.

use crate::harness::{Network, identity, ms, overlay, s};
use crate::*;
use chinwag_base::{Incarnation, Moment, NodeId};
use std::sync::Arc;

const HOUR: u64 = 3_600;

/// A week apart in little time: what is shown of the dead is shown for ten minutes only.
fn impatient(seed: u64, count: usize) -> Network {
    let mut network = Network::new(Profile::Lan, seed);
    network.config.retention = s(600);
    network.grow(count, s(5))
}

fn claim(network: &Network, of: usize, verdict: Verdict) -> Update {
    let record = network.nodes[of].membership.record().version();
    Update::Claim(Claim {
        id: network.id(of),
        generation: record.generation,
        incarnation: record.incarnation,
        verdict,
        by: network.id(0),
        phi_tenths: 90,
    })
}

fn tell(network: &mut Network, to: usize, update: Update) {
    let from = network.id(0);
    network.input(to, Input::Message { from, message: Message::News(vec![update]) });
}

fn downs(network: &Network, of: usize) -> usize {
    network.accusations(of).iter().filter(|(_, _, e)| matches!(e, Event::Down { .. })).count()
}

#[test]
fn a_laptop_is_back_after_a_long_journey() {
    for seed in 0..5 {
        let mut network = impatient(seed, 4);
        let others = [0, 1, 2];
        network.part(&[3], &others);
        network.run(s(HOUR / 2));
        assert!(others.iter().all(|&n| network.state(n, 3).is_none()), "it is not shown for ever");
        assert!(others.iter().all(|&n| network.state(3, n).is_none()));
        assert!(others.iter().all(|&n| network.nodes[n].book.contains_key(&network.id(3))), "but not struck");
        assert_eq!(network.nodes[3].book.len(), 3);
        network.cut.clear();
        let back = network.run_until(s(15 * 60), Network::is_complete);
        assert!(back <= s(13 * 60), "{back:?}");
        network.run(s(60));
        assert!(network.is_complete());
        assert!(network.nodes.iter().all(|n| n.membership.record().version().generation.get() == 1));
    }
}

#[test]
fn two_halves_that_convicted_each_other_long_ago_are_one_again() {
    for seed in 0..3 {
        let mut network = impatient(seed, 10);
        let (left, right) = ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9]);
        network.part(&left, &right);
        network.run(s(HOUR / 2));
        assert!(left.iter().all(|&l| right.iter().all(|&r| network.state(l, r).is_none())));
        network.cut.clear();
        let back = network.run_until(s(15 * 60), Network::is_complete);
        assert!(back <= s(13 * 60), "{back:?}");
        network.run(s(60));
        assert!(network.is_complete());
        let digest = network.nodes[0].membership.digest();
        assert!(network.nodes.iter().all(|node| node.membership.digest() == digest));
    }
}

#[test]
fn whoever_is_away_is_dialled_seldom() {
    let (mut alone, friend, now) =
        alone_with_a_memory(Config { retention: s(600), ..Config::new(overlay()) });
    let mut dials = Vec::new();
    run(&mut alone, now, now + s(6 * HOUR), |alone, at, output| match output {
        Output::Dial { peer, .. } => {
            dials.push(at);
            alone.handle(at, Input::DialFailed { peer, why: DialFailure::TimedOut });
        }
        Output::Forget(id) => panic!("{id} is struck"),
        _ => {}
    });
    assert!(alone.member(now + s(6 * HOUR), &friend).is_none());
    let gap = |from: u64, to: u64| {
        let gaps: Vec<_> =
            dials.windows(2).filter(|d| d[0] >= now + s(from) && d[1] <= now + s(to)).collect();
        gaps.iter().map(|d| d[1].since(d[0])).max().unwrap()
    };
    assert!(gap(0, 600) <= s(76), "a minute while it is shown");
    assert!(gap(600, 900) <= s(165), "then growing");
    assert!((s(450)..=s(751)).contains(&gap(2 * HOUR, 6 * HOUR)), "to ten minutes");
}

/// Found by the model checker: what is older than our last word of it is no sign of life.
#[test]
fn whoever_was_not_heard_does_not_come_back_as_it_was_before() {
    let (mut alone, friend, now) =
        alone_with_a_memory(Config { retention: s(600), ..Config::new(overlay()) });
    let later = now + s(HOUR);
    run(&mut alone, now, later, |alone, at, output| {
        if let Output::Dial { peer, .. } = output {
            alone.handle(at, Input::DialFailed { peer, why: DialFailure::TimedOut });
        }
    });
    assert!(alone.member(later, &friend).is_none());
    let mut hear_of_life = |generation| {
        let me = identity(1, generation);
        let record =
            Record::sign(&Config::new(overlay()), &me, Incarnation::new(1), Standing::Alive, ms(300));
        let message = Message::News(vec![Update::Record(Arc::new(record))]);
        alone.handle(later, Input::Message { from: identity(2, 1).keypair.id(), message });
        alone.member(later, &friend).map(|member| member.state)
    };
    assert_eq!(hear_of_life(0), None, "an earlier life");
    assert_eq!(hear_of_life(1), Some(State::Alive), "the life that was known");
}

#[test]
fn who_left_is_known_to_have_left_after_a_restart() {
    let mut network = impatient(1, 3);
    for n in [1, 2] {
        network.input(n, Input::Leave);
        network.run(s(3));
        network.kill(n);
    }
    network.kill(0);
    network.events.clear();
    network.restart(0, 0);
    assert!([1, 2].iter().all(|&n| network.state(0, n) == Some(State::Left)), "{}", network.describe());
    let frames = network.frames;
    network.run(s(300));
    assert_eq!(network.frames, frames);
    assert_eq!((network.accusations(1).len(), network.accusations(2).len()), (0, 0));
    let old =
        Record::sign(&Config::new(overlay()), &identity(1, 1), Incarnation::new(1), Standing::Alive, ms(300));
    let (from, message) = (network.id(2), Message::News(vec![Update::Record(Arc::new(old))]));
    network.input(0, Input::Message { from, message });
    assert_eq!(network.state(0, 1), Some(State::Left), "old news does not bring it back");
    network.run(s(400));
    assert!([1, 2].iter().all(|&n| network.state(0, n).is_none()));
    assert!(network.nodes[0].book.is_empty(), "in time it is forgotten");
}

#[test]
fn one_members_word_kills_nobody_whom_we_can_ask() {
    for count in [3, 5, 12] {
        for seed in 0..10 {
            let mut network = Network::grown(Profile::Lan, seed, count, s(5) + ms(seed * 171));
            for _ in 0..5 {
                let update = claim(&network, 2, Verdict::Down);
                (1..count).filter(|n| *n != 2).for_each(|n| tell(&mut network, n, update.clone()));
                network.run(s(2));
            }
            assert_eq!(downs(&network, 2), 0, "{:?}", network.accusations(2));
            assert!(network.is_complete(), "{}", network.describe());
            assert!(network.belief(1, 2).unwrap().incarnation.get() > 1, "it refuted");
            assert!(network.nodes.iter().all(|node| node.membership.held.is_empty()));
        }
    }
}

#[test]
fn many_false_deaths_at_once_kill_nobody() {
    let mut network = Network::grown(Profile::Lan, 1, 80, s(5));
    let lies: Vec<_> = (2..80).map(|n| claim(&network, n, Verdict::Down)).collect();
    let (from, message) = (network.id(0), Message::News(lies));
    network.input(1, Input::Message { from, message });
    network.run(s(20));
    assert!((2..80).all(|n| downs(&network, n) == 0));
    assert!(network.is_complete());
}

#[test]
fn a_true_death_that_one_member_reports_is_believed_before_our_own_waiting_is_over() {
    for seed in 0..5 {
        let mut network = Network::grown(Profile::Lan, seed, 6, s(10));
        network.vanish(2);
        network.run(ms(300));
        let update = claim(&network, 2, Verdict::Down);
        tell(&mut network, 1, update);
        let believed = network.run_until(s(5), |n| n.state(1, 2) == Some(State::Down));
        assert!((ms(20)..s(2)).contains(&believed), "{believed:?}");
        network.run(s(2));
        assert!(network.running().iter().all(|&n| network.state(n, 2) == Some(State::Down)));
    }
}

#[test]
fn whoever_accuses_in_a_loop_is_refuted_a_few_times_a_second() {
    let mut network = Network::grown(Profile::Lan, 1, 3, s(5));
    let before = network.nodes[2].membership.record().version().incarnation.get();
    for _ in 0..1_000 {
        let update = claim(&network, 2, Verdict::Suspect);
        tell(&mut network, 2, update);
        network.run(ms(10));
    }
    let last = network.nodes[2].membership.record().version().incarnation.get();
    assert!((20..=40).contains(&(last - before)), "{} in ten seconds", last - before);
    network.run(s(1));
    let record = network.nodes[2].membership.record().version();
    assert_eq!(record.incarnation.get(), last + 1, "the last one too");
    assert!(network.is_complete());
}

/// Somebody who starts, alone, and remembers one member.
fn alone_with_a_memory(config: Config) -> (Membership, NodeId, Moment) {
    let now = Moment::from_millis(1);
    let friend =
        Record::sign(&Config::new(overlay()), &identity(1, 1), Incarnation::new(1), Standing::Alive, ms(300));
    let id = friend.id();
    let recovered = Recovered { members: vec![friend] };
    (Membership::new(config, identity(0, 1), recovered, 1, now), id, now)
}

fn run(
    alone: &mut Membership,
    mut now: Moment,
    end: Moment,
    mut output: impl FnMut(&mut Membership, Moment, Output),
) {
    loop {
        while let Some(out) = alone.poll_output() {
            output(alone, now, out);
        }
        match alone.next_deadline().filter(|at| *at <= end) {
            Some(at) => now = now.max(at),
            None => break,
        }
        alone.handle(now, Input::Tick);
    }
}

#[test]
fn a_member_has_a_page_a_second_and_its_last_words_are_kept() {
    let (mut alone, from, mut now) = alone_with_a_memory(Config::new(overlay()));
    let mut pages: Vec<(Moment, u64)> = Vec::new();
    let mut note = |at: Moment, output: Output| match output {
        Output::Remember(record) => pages.push((at, record.version().incarnation.get())),
        Output::Departed => pages.push((at, 0)),
        _ => {}
    };
    let say = |alone: &mut Membership, now, incarnation: u64| {
        let record = Record::sign(
            &Config::new(overlay()),
            &identity(1, 1),
            Incarnation::new(incarnation),
            Standing::Alive,
            ms(300),
        );
        let message = Message::News(vec![Update::Record(Arc::new(record))]);
        alone.handle(now, Input::Message { from, message });
    };
    alone.handle(now, Input::Connected { peer: from });
    for incarnation in 2..=302 {
        say(&mut alone, now, incarnation);
        run(&mut alone, now, now + ms(10), |_, at, out| note(at, out));
        now += ms(10);
    }
    run(&mut alone, now, now + s(2), |_, at, out| note(at, out));
    now += s(2);
    // Its last words before we exit.
    (303..=305).for_each(|incarnation| say(&mut alone, now, incarnation));
    alone.handle(now, Input::Leave);
    run(&mut alone, now, now + ms(500), |_, at, out| note(at, out));
    let [rest @ .., (_, last), (_, 0)] = &pages[..] else { panic!("{pages:?}") };
    assert_eq!(*last, 305);
    assert!((4..=6).contains(&rest.len()), "{pages:?}");
    assert!(rest[..rest.len() - 1].windows(2).all(|pair| pair[1].0.since(pair[0].0) >= s(1)), "{pages:?}");
    assert_eq!(rest[rest.len() - 2].1, 302, "{pages:?}");
}

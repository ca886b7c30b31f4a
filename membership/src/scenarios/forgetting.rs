//! Members that are forgotten, and what no order can do.

use crate::harness::{Network, as_admin, identity, ms, overlay, s};
use crate::*;
use chinwag_base::{Incarnation, NodeId};
use std::sync::Arc;

/// So many members, of which the first is an admin.
fn grown(seed: u64, count: usize) -> Network {
    let mut network = Network::new(Profile::Lan, seed);
    network.admins.insert(0);
    network.grow(count, s(5))
}

fn forget(network: &mut Network, by: usize, id: NodeId) -> Result<(), ForgetError> {
    network.input(by, Input::Forget { request: 1, id });
    network.forgotten.pop().expect("each request has an answer")
}

fn tell(network: &mut Network, to: usize, from: usize, update: Update) {
    let from = network.id(from);
    network.input(to, Input::Message { from, message: Message::News(vec![update]) });
}

/// An order by one, about another's present incarnation.
fn order(network: &Network, by: Identity, of: usize) -> Update {
    let belief = network.nodes[of].membership.record().version();
    Update::Forget(Arc::new(Order::sign(&by.keypair, by.grant, network.id(of), belief)))
}

#[test]
fn who_is_down_is_forgotten_everywhere_and_dialled_by_nobody() {
    for seed in 0..5 {
        let mut network = grown(seed, 6);
        let gone = network.id(4);
        network.vanish(4);
        network.run(s(15));
        assert_eq!(network.state(1, 4), Some(State::Down));
        assert_eq!(forget(&mut network, 0, gone), Ok(()));
        assert_eq!(network.state(0, 4), None, "at once here");
        let spread = network.run_until(s(5), |n| n.running().iter().all(|&m| n.state(m, 4).is_none()));
        assert!(spread < s(1), "{spread:?}");
        let by = network.id(0);
        for n in network.running() {
            let told = |(_, at, event): &(_, usize, Event)| {
                *at == n
                    && matches!(event, Event::Reaped { id, by: Some(who), .. } if (*id, *who) == (gone, by))
            };
            assert_eq!(network.events.iter().filter(|event| told(event)).count(), 1);
            assert!(!network.nodes[n].book.contains_key(&gone), "it is struck");
        }
        network.run(s(400));
        let is_dialled = |n: &usize| network.nodes[*n].membership.dialer.has_plan(&gone);
        assert!(!network.running().iter().any(is_dialled));
        assert!(network.running().iter().all(|&n| network.state(n, 4).is_none()), "nor does it come back");
    }
}

#[test]
fn who_was_away_hears_of_it_when_it_is_back() {
    let mut network = grown(1, 5);
    let gone = network.id(4);
    network.kill(3);
    network.vanish(4);
    network.run(s(15));
    forget(&mut network, 0, gone).unwrap();
    network.run(s(60));
    network.restart(3, 3);
    assert_eq!(network.state(3, 4), Some(State::Down), "it remembers it");
    network.run_until(s(20), |n| n.state(3, 4).is_none());
    assert_eq!(network.state(3, 4), None);
    assert!(!network.nodes[3].book.contains_key(&gone));
    network.run(s(60));
    assert!(network.running().iter().all(|&n| network.state(n, 4).is_none()), "and tells nobody of it");
}

#[test]
fn who_left_is_forgotten_before_its_time() {
    let mut network = grown(2, 3);
    let gone = network.id(2);
    network.input(2, Input::Leave);
    network.run(s(3));
    network.kill(2);
    assert_eq!(network.state(1, 2), Some(State::Left));
    assert_eq!(forget(&mut network, 0, gone), Ok(()));
    network.run(s(2));
    assert!([0, 1].iter().all(|&n| network.state(n, 2).is_none()));
}

/// It may come back by joining anew: a life after the one that was forgotten.
#[test]
fn who_was_forgotten_comes_back_in_a_new_life() {
    let mut network = grown(3, 4);
    let gone = network.id(3);
    network.kill(3);
    network.run(s(10));
    forget(&mut network, 0, gone).unwrap();
    network.run(s(10));
    network.restart(3, 3);
    network.run_until(s(10), Network::is_complete);
    network.run(s(60));
    assert!(network.is_complete(), "{}", network.describe());
    network.kill(3);
    network.run(s(10));
    assert_eq!(network.state(1, 3), Some(State::Down), "an old order does not forget a new life");
    assert_eq!(forget(&mut network, 0, gone), Ok(()));
    network.run(s(10));
    assert_eq!(network.state(1, 3), None);
}

/// It was only cut off, and nobody dials it any more; it dials the others, hears that it is held for gone, and refutes.
#[test]
fn who_lives_after_all_is_a_member_again() {
    for seed in 0..5 {
        let mut network = grown(seed, 5);
        let (gone, others) = (network.id(4), [0, 1, 2, 3]);
        network.part(&others, &[4]);
        network.run(s(40));
        forget(&mut network, 0, gone).unwrap();
        network.run(s(60));
        assert!(others.iter().all(|&n| network.state(n, 4).is_none()));
        network.cut.clear();
        network.run_until(s(120), Network::is_complete);
        network.run(s(30));
        assert!(network.is_complete(), "{}", network.describe());
        assert!(network.belief(1, 4).unwrap().incarnation.get() > 1, "in the same life");
    }
}

#[test]
fn who_is_there_cannot_be_forgotten() {
    let mut network = grown(4, 4);
    let (me, there) = (network.id(0), network.id(2));
    assert_eq!(forget(&mut network, 0, there), Err(ForgetError::Present(State::Alive)));
    assert_eq!(forget(&mut network, 0, me), Err(ForgetError::Ourselves));
    let nobody = identity(99, 1).keypair.id();
    assert_eq!(forget(&mut network, 0, nobody), Err(ForgetError::Unknown));
    let role = chinwag_base::Role::Member;
    assert_eq!(forget(&mut network, 1, there), Err(ForgetError::NotAdmin(role)));
    assert!(network.is_complete());
}

/// An admin whose view is wrong, or that lies: whoever is there refutes, and nobody loses sight of it.
#[test]
fn an_order_against_one_who_is_there_only_makes_it_speak() {
    for seed in 0..5 {
        let mut network = grown(seed, 5);
        let order = order(&network, as_admin(identity(0, 1)), 2);
        (0..5).for_each(|to| tell(&mut network, to, 1, order.clone()));
        network.run(s(20));
        assert!(network.is_complete(), "{}", network.describe());
        let lost = |(_, _, event): &(_, usize, Event)| {
            matches!(event, Event::Reaped { .. } | Event::Down { .. } | Event::Suspect { .. })
        };
        assert!(!network.events.iter().any(lost));
        assert!(network.belief(1, 2).unwrap().incarnation.get() > 1, "it refuted");
        assert!(network.nodes.iter().all(|n| n.membership.orders.get(&network.id(2)).is_none()));
    }
}

#[test]
fn nobody_but_an_admin_is_obeyed() {
    let mut network = grown(5, 4);
    network.vanish(3);
    network.run(s(15));
    // A member's, one in an admin's name, and one that was changed on its way.
    let (member, admin) = (identity(1, 1), as_admin(identity(0, 1)));
    let borrowed = Identity { keypair: member.keypair.clone(), ..admin.clone() };
    let Update::Forget(signed) = order(&network, admin, 2) else { panic!() };
    let mut changed = (*signed).clone();
    changed.id = network.id(3);
    let lies = [order(&network, member, 3), order(&network, borrowed, 3), Update::Forget(Arc::new(changed))];
    for lie in lies {
        let before = network.events.len();
        tell(&mut network, 2, 1, lie);
        assert_eq!(network.state(2, 3), Some(State::Down));
        let refused =
            |(_, n, event): &(_, usize, Event)| *n == 2 && matches!(event, Event::FrameRefused { .. });
        assert!(network.events[before..].iter().any(refused));
    }
}

/// Whoever has not noticed yet follows as soon as it has.
#[test]
fn an_order_that_comes_before_the_verdict_waits_for_it() {
    let mut network = grown(6, 4);
    network.vanish(3);
    network.run(ms(50));
    let order = order(&network, as_admin(identity(0, 1)), 3);
    tell(&mut network, 2, 0, order);
    assert_eq!(network.state(2, 3), Some(State::Alive));
    network.run_until(s(40), |n| n.state(2, 3).is_none());
    assert_eq!(network.state(2, 3), None);
}

/// An old word of what was forgotten is a ghost, whoever repeats it.
#[test]
fn ghosts_of_the_forgotten_do_not_return() {
    let mut network = grown(7, 4);
    let gone = network.id(3);
    let old = network.nodes[3].membership.record().clone();
    network.kill(3);
    network.run(s(10));
    forget(&mut network, 0, gone).unwrap();
    network.run(s(5));
    tell(&mut network, 1, 2, Update::Record(old));
    network.run(s(5));
    assert_eq!(network.state(1, 3), None);
    let me = identity(3, 1);
    let next = Record::sign(&Config::new(overlay()), &me, Incarnation::new(9), Standing::Alive, ms(300));
    tell(&mut network, 1, 2, Update::Record(Arc::new(next)));
    assert_eq!(network.state(1, 3), Some(State::Alive), "a later word of its own brings it back");
}

/// A life that there never was cannot be ordered away, so that nobody is kept out for days.
#[test]
fn an_order_against_a_life_to_come_is_of_no_use() {
    let mut network = grown(9, 4);
    let (gone, me) = (network.id(3), as_admin(identity(0, 1)));
    let never = Version {
        generation: chinwag_base::Generation::new(u64::MAX),
        incarnation: Incarnation::new(1),
        state: State::Down,
    };
    for id in [gone, identity(99, 1).keypair.id()] {
        let order = Update::Forget(Arc::new(Order::sign(&me.keypair, me.grant.clone(), id, never)));
        (0..3).for_each(|to| tell(&mut network, to, (to + 1) % 3, order.clone()));
    }
    network.run(s(5));
    assert!(network.is_complete(), "{}", network.describe());
    network.kill(3);
    network.run(s(30));
    assert_eq!(network.state(1, 3), Some(State::Down), "nobody follows it");
    network.restart(3, 3);
    let stranger = network.add(99);
    network.seed(stranger, 0);
    network.run_until(s(20), Network::is_complete);
    assert!(network.is_complete(), "{}", network.describe());
}

/// Each forgets an order at another time, and none learns it anew from those who still know it.
#[test]
fn orders_do_not_live_for_ever() {
    let mut network = Network::new(Profile::Lan, 10);
    network.config.retention = s(600);
    network.admins.insert(0);
    let mut network = network.grow(5, s(5));
    let gone = network.id(4);
    network.kill(3);
    network.vanish(4);
    network.run(s(30));
    forget(&mut network, 0, gone).unwrap();
    network.run(s(400));
    network.restart(3, 3);
    network.run(s(20));
    let knows = |network: &Network, n: usize| network.nodes[n].membership.orders.get(&gone).is_some();
    assert_eq!(network.state(3, 4), None, "it hears of it late");
    assert!((0..4).all(|n| knows(&network, n)));
    network.run(s(220));
    assert!(!knows(&network, 1) && knows(&network, 3));
    // They meet again, one that knows it and one that does no more.
    network.part(&[3], &[0, 1, 2]);
    network.run(s(60));
    network.cut.clear();
    network.run_until(s(120), |n| {
        (0..4).all(|m| n.running().iter().all(|&r| n.state(r, m) == Some(State::Alive)))
    });
    network.run(s(20));
    assert!(knows(&network, 3) && (0..3).all(|n| network.state(n, 3) == Some(State::Alive)));
    assert!(!(0..3).any(|n| knows(&network, n)), "what is forgotten stays so");
    network.run(s(500));
    assert!(!(0..4).any(|n| knows(&network, n)));
}

/// Orders do not pile up.
#[test]
fn orders_are_remembered_for_a_while() {
    let mut network = Network::new(Profile::Lan, 8);
    network.config.retention = s(600);
    network.admins.insert(0);
    let mut network = network.grow(3, s(5));
    let gone = network.id(2);
    network.kill(2);
    network.run(s(10));
    forget(&mut network, 0, gone).unwrap();
    network.run(s(500));
    assert!([0, 1].iter().all(|&n| network.nodes[n].membership.orders.get(&gone).is_some()));
    network.run(s(150));
    assert!([0, 1].iter().all(|&n| network.nodes[n].membership.orders.get(&gone).is_none()));
}

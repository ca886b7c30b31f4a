//! What is written for a time goes: who deletes it, and when.

use super::world::*;
use chinwag_base::Generation;
use chinwag_crdt::{Op, Term};
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn lend(term: Term, op: Op) -> Vec<Op> {
    vec![Op::Lend { term, op: Box::new(op) }]
}

fn is_shown(world: &World, node: usize) -> bool {
    world.read(node, "k").is_some()
}

/// How many nodes hold anything, shown or not.
fn holders(world: &World) -> usize {
    (0..world.nodes.len()).filter(|n| world.is_up(*n) && !world.gossip(*n).replica().is_empty()).count()
}

#[test]
fn its_writer_deletes_what_has_run_out() {
    let mut world = World::new(3, 61);
    world.write(1, lend(Term::Ms(5_000), set("k", "for a while")));
    world.run_for(4 * S);
    assert!((0..3).all(|node| is_shown(&world, node)));
    world.run_for(S + S / 5);
    assert!((0..3).all(|node| !is_shown(&world, node)), "nobody needs to be told to hide it");
    world.run_until(2 * S, "one write ends it for everybody", |w| holders(w) == 0);
    let written: u64 =
        (0..3).map(|node| world.gossip(node).replica().clock().last(dot(1, 1, 1).replica)).max().unwrap();
    assert_eq!(written, 2, "the write and its deletion");
}

#[test]
fn somebody_else_deletes_it_if_its_writer_is_down() {
    let mut world = World::new(4, 62);
    world.make_reader(0, &[]);
    world.write(3, lend(Term::Ms(3_000), set("k", "for a while")));
    world.run_for(S);
    world.crash(3);
    world.run_for(4 * S);
    assert_eq!((holders(&world), is_shown(&world, 0)), (3, false), "hidden, but its writer may be about to");
    world.run_until(10 * S, "the lowest that may write, which a reader may not", |w| holders(w) == 0);
    assert_eq!(world.gossip(2).replica().clock().last(dot(1, 1, 1).replica), 1);
}

#[test]
fn what_is_lent_for_life_is_hidden_while_its_writer_is_down_and_shown_again() {
    let mut world = World::new(3, 63);
    world.write(2, lend(Term::Life, set("k", "here")));
    world.run_for(S);
    assert!((0..3).all(|node| is_shown(&world, node)));
    let present = world.members();
    let mut down = present.clone();
    down[2].alive = false;
    for node in 0..2 {
        world.handle(node, crate::Input::Members { members: down.clone() });
    }
    assert!(!is_shown(&world, 0) && is_shown(&world, 2));
    world.run_for(120 * S);
    assert_eq!(holders(&world), 3, "it may come back as it was");
    for node in 0..2 {
        world.handle(node, crate::Input::Members { members: present.clone() });
    }
    assert!(is_shown(&world, 0) && is_shown(&world, 1));
}

#[test]
fn what_is_lent_for_life_goes_with_a_restart_and_with_leaving() {
    let mut world = World::new(3, 64);
    world.write(2, lend(Term::Life, set("k", "here")));
    world.run_for(S);
    world.crash(2);
    world.start(2);
    world.connect_all();
    world.run_until(5 * S, "its next life deletes it", |w| holders(w) == 0);

    world.write(2, lend(Term::Life, set("k", "here again")));
    world.run_for(S);
    world.crash(2);
    let mut left = world.members();
    left.truncate(2);
    for node in 0..2 {
        world.handle(node, crate::Input::Members { members: left.clone() });
    }
    assert!(!is_shown(&world, 0));
    world.run_until(70 * S, "who is sure to know all members deletes it", |w| holders(w) == 0);
    assert_eq!(world.nodes[2].life, 2);
    let life = Generation::new(2);
    assert!(
        world.gossip(0).replica().clock().replicas().any(|r| r.generation == life),
        "by an ordinary write"
    );
}

#[test]
fn what_a_reader_wrote_before_it_was_one_is_deleted_in_its_stead() {
    let mut world = World::new(3, 65);
    world.write(2, lend(Term::Ms(3_000), set("k", "for a while")));
    world.write(2, lend(Term::Life, set("here", "as long")));
    world.run_for(S);
    world.crash(2);
    world.make_reader(2, &[]);
    world.start(2);
    world.connect_all();
    world.run_until(20 * S, "it may not, so another does", |w| holders(w) == 0);
}

//! Messages that no peer of good faith sends.

use super::world::*;
use crate::{Abandoned, Event, Input, Message, Refusal, Report, Spans, Summary};
use chinwag_base::limits::*;
use chinwag_base::{Digest, Generation, NodeId, ReplicaId};
use chinwag_crdt::{Clock, Dot, Dots, Effect, Entry, Hlc};
use std::sync::Arc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn entry(dot: Dot) -> Arc<Entry> {
    let value = b"v".to_vec().try_into().unwrap();
    let key = "forged".parse().unwrap();
    Arc::new(Entry { dot, hlc: Hlc::ZERO, key, effect: Effect::Set { value }, removed: Dots::new() })
}

fn up_to(dot: Dot) -> Clock {
    let mut clock = Clock::new();
    clock.insert(dot);
    clock
}

fn report(number: u32, clock: Clock) -> Message {
    let summary = Summary { number, clock: clock.digest(), state: Digest::EMPTY };
    Message::Report(Report { summary, since: None, clock, more: false, ask: false })
}

/// Node 0 hears messages in the name of node 1, which itself is cut off in the next moment.
fn hear(world: &mut World, message: Message) {
    world.handle(0, Input::Message { from: id(1), message });
}

fn refusals(world: &World) -> Vec<Refusal> {
    let refusal = |event: &Event| match event {
        Event::MessageRefused { why, .. } => Some(*why),
        _ => None,
    };
    world.events.iter().filter_map(|(_, _, event)| refusal(event)).collect()
}

#[test]
fn strange_messages_are_refused_by_name() {
    let mut world = World::new(2, 61);
    world.write(0, vec![set("k", "v")]);
    world.run_for(1_000 * MS);
    let ours = world.gossip(0).replica().clock().clone();

    hear(&mut world, Message::Chunk { chunk: 77, entries: vec![entry(dot(1, 1, 1))] });
    hear(&mut world, Message::Push { entries: vec![entry(dot(0, 1, 9))] });
    hear(&mut world, Message::Push { entries: vec![entry(dot(5, 1, 1))] });
    hear(&mut world, Message::Ack { clock: up_to(dot(0, 1, 2)) });
    hear(&mut world, report(900, up_to(dot(0, 1, u64::MAX))));
    let mut too_many = Spans::default();
    too_many.extend((1..=CHUNK_ENTRIES_MAX as u64 + 1).map(|counter| dot(0, 1, counter)));
    hear(&mut world, Message::Want { chunk: 1, spans: too_many });
    hear(&mut world, Message::Same { exchange: 4_000 });
    hear(&mut world, Message::Tell);
    world.run_for(20 * MS);
    use Refusal::*;
    assert_eq!(refusals(&world), [Unsolicited, NotItsOwn, NotItsOwn, BogusClock, BogusClock, MalformedWant]);
    assert_eq!(world.gossip(0).replica().clock(), &ours);
    // A stranger is not heard at all.
    world.handle(
        0,
        Input::Message { from: id(7), message: Message::Push { entries: vec![entry(dot(7, 1, 1))] } },
    );
    world.run_for(20 * MS);
    assert_eq!(world.gossip(0).replica().clock(), &ours);
}

#[test]
fn a_peer_that_claims_what_it_does_not_give_is_left_alone() {
    let mut world = World::new(2, 62);
    world.run_for(1_000 * MS);
    hear(&mut world, report(900, up_to(dot(5, 1, u64::MAX))));
    // The true node 1 is asked for it, and has nothing.
    world.run_for(100 * MS);
    let barren =
        |w: &World| w.count(|e| matches!(e, Event::ExchangeAbandoned { why: Abandoned::Barren, .. }));
    assert_eq!(barren(&world), 1);
    assert_eq!(world.traffic.by_name["want"], 1, "one chunk was asked for");
    world.run_for(3_000 * MS);
    assert_eq!(barren(&world), 1);
    world.write(1, vec![set("k", "v")]);
    world.run_until(8_000 * MS, "what it does have still comes", |w| w.is_settled());
}

#[test]
fn entries_that_were_not_asked_for_end_a_chunk() {
    let mut world = World::new(2, 63);
    world.run_for(1_000 * MS);
    hear(&mut world, report(900, up_to(dot(5, 1, 3))));
    let want = world.gossip(0).next_chunk - 1;
    let entries = vec![entry(dot(5, 1, 3)), entry(dot(5, 1, 4)), entry(dot(0, 1, 4))];
    hear(&mut world, Message::Chunk { chunk: want, entries });
    hear(&mut world, Message::Chunk { chunk: want, entries: vec![entry(dot(5, 1, 3))] });
    world.run_for(20 * MS);
    assert_eq!(refusals(&world)[..2], [Refusal::Unsolicited, Refusal::Unsolicited]);
    let clock = world.gossip(0).replica().clock();
    assert!(clock.covers(dot(5, 1, 3)) && !clock.covers(dot(5, 1, 4)) && !clock.covers(dot(0, 1, 4)));
}

#[test]
fn an_entry_that_cannot_be_is_refused_and_not_asked_for_again() {
    let mut world = World::new(2, 64);
    world.run_for(1_000 * MS);
    let mut bad = Entry::clone(&entry(dot(1, 1, 1)));
    // It has seen a write of ours that we have not made.
    bad.removed.insert(dot(0, 1, 50));
    hear(&mut world, Message::Push { entries: vec![Arc::new(bad)] });
    world.run_for(50 * MS);
    assert_eq!(world.count(|e| matches!(e, Event::EntryRefused { .. })), 1);
    hear(&mut world, report(900, up_to(dot(1, 1, 1))));
    let wants = world.traffic.by_name.get("want").copied();
    world.run_for(1_000 * MS);
    assert_eq!(world.traffic.by_name.get("want").copied(), wants);
}

#[test]
fn clocks_do_not_grow_without_bound() {
    let mut world = World::new(2, 65);
    world.run_for(1_000 * MS);
    let replica = |n: u64| ReplicaId { node: NodeId::from_bytes([200; 32]), generation: Generation::new(n) };
    for round in 0..9_u64 {
        let mut clock = Clock::new();
        for n in 0..4_000 {
            clock.insert(Dot::new(replica(round * 4_000 + n), 1));
        }
        hear(&mut world, Message::Ack { clock });
        let known = world.gossip(0).peers[&id(1)].known.replicas().count();
        assert!(known <= CLOCK_REPLICAS_MAX, "{known}");
    }
    assert_eq!(refusals(&world), [Refusal::ClockTooLarge]);
    // The same with gaps.
    for round in 0..9_u64 {
        let mut clock = Clock::new();
        (1..=3_000).for_each(|n| _ = clock.insert(Dot::new(replica(1), (round * 3_000 + n) * 2)));
        hear(&mut world, Message::Ack { clock });
        assert!(world.gossip(0).peers[&id(1)].known.gaps() <= CLOCK_REPLICAS_MAX);
    }
}

#[test]
fn a_large_clock_is_told_in_parts() {
    let mut clock = Clock::new();
    let replica = |n: u64| ReplicaId { node: NodeId::from_bytes([200; 32]), generation: Generation::new(n) };
    for n in 0..10_000 {
        clock.insert(Dot::new(replica(n << 40), u64::MAX / 2));
    }
    (1..=CLOCK_GAPS_MAX as u64).for_each(|n| _ = clock.insert(Dot::new(replica(1), n * (1 << 50))));
    let replicas: Vec<ReplicaId> = clock.replicas().collect();
    let parts = crate::message::parts(&clock, &replicas, CLOCK_PART_BYTES_MAX);
    assert!(parts.len() >= 3);
    let mut whole = Clock::new();
    for part in &parts {
        assert!(chinwag_base::codec::encode(part).len() <= CLOCK_PART_BYTES_MAX + 100_000);
        assert!(!part.is_empty());
        whole.merge(part);
    }
    assert!(whole == clock);
    assert_eq!(crate::message::parts(&clock, &[], ACK_BYTES_MAX), [Clock::new()]);
}

#[test]
fn equal_clocks_with_unequal_states_are_reported_once() {
    let mut world = World::new(2, 66);
    world.write(0, vec![set("k", "v")]);
    world.run_for(1_000 * MS);
    let clock = world.gossip(0).replica().clock_digest();
    for number in 900..905 {
        let summary = Summary { number, clock, state: Digest::of("another state", b"") };
        hear(&mut world, Message::Compare { summary });
    }
    assert_eq!(world.count(|e| matches!(e, Event::Corrupt { .. })), 1);
    assert!(!world.gossip(0).is_converged());
}

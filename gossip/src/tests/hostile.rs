//! Messages that no peer of good faith sends.

use super::world::*;
use crate::{
    Abandoned, Basis, Config, Event, Gossip, Identity, Input, Message, Output, Recovered, Refusal, Report,
    Spans, Summary, Wait, WriteError,
};
use chinwag_base::limits::*;
use chinwag_base::{Digest, Generation, Moment, NodeId, ReplicaId};
use chinwag_crdt::{Clock, Dot, Dots, Effect, Entry, Hlc, Row};
use std::sync::Arc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn entry(dot: Dot) -> Arc<Entry> {
    let value = b"v".to_vec().try_into().unwrap();
    let key = "forged".parse().unwrap();
    Arc::new(Entry { dot, hlc: Hlc::ZERO, key, effect: Effect::Set { value }, removed: Dots::new() })
}

/// An entry that leaves nothing but its dot, so that thousands are cheap.
pub(super) fn deletion(dot: Dot) -> Entry {
    Entry { effect: Effect::Delete, ..Entry::clone(&entry(dot)) }
}

fn up_to(dot: Dot) -> Clock {
    let mut clock = Clock::new();
    clock.insert(dot);
    clock
}

fn report(number: u32, clock: Clock) -> Message {
    let summary = Summary { number, clock: clock.digest(), state: Digest::EMPTY, unsettled: false };
    Message::Report(Report { summary, basis: Basis::Nothing, clock, more: false, ask: false })
}

/// Node 0 hears messages in the name of node 1, which itself is cut off in the next moment.
pub(super) fn hear(world: &mut World, message: Message) {
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

    hear(&mut world, Message::Chunk { chunk: 77, entries: vec![entry(dot(1, 1, 1))], cut: false });
    hear(&mut world, Message::Push { entries: vec![entry(dot(0, 1, 9))] });
    hear(&mut world, Message::Push { entries: vec![entry(dot(5, 1, 1))] });
    hear(&mut world, Message::Ack { clock: up_to(dot(0, 1, 2)) });
    hear(&mut world, report(900, up_to(dot(0, 1, u64::MAX))));
    let mut too_many = Spans::default();
    too_many.extend((1..=CHUNK_ENTRIES_MAX as u64 + 1).map(|counter| dot(0, 1, counter)));
    hear(&mut world, Message::Want { chunk: 1, spans: too_many });
    hear(&mut world, Message::Same { exchange: 4_000, unsettled: false });
    hear(&mut world, Message::Tell { symbols: 0 });
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
    hear(&mut world, Message::Chunk { chunk: want, entries, cut: false });
    hear(&mut world, Message::Chunk { chunk: want, entries: vec![entry(dot(5, 1, 3))], cut: false });
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
    for round in 0..18_u64 {
        let mut clock = Clock::new();
        for n in 0..4_000 {
            clock.insert(Dot::new(stranger(round * 4_000 + n), 1));
        }
        hear(&mut world, Message::Ack { clock });
        let known = world.gossip(0).peers[&id(1)].known.replicas().count();
        assert_eq!(known, CLOCK_REPLICAS_MAX.min((round as usize + 1) * 4_000), "the rest is left out");
    }
    // The same with gaps, of one replica and of several.
    for round in 0..9_u64 {
        for replica in 0..6 {
            let mut clock = Clock::new();
            (1..=3_000).for_each(|n| _ = clock.insert(Dot::new(stranger(replica), (round * 3_000 + n) * 2)));
            hear(&mut world, Message::Ack { clock });
        }
        let known = &world.gossip(0).peers[&id(1)].known;
        assert!((0..6).all(|replica| known.gaps_of(stranger(replica)) <= CLOCK_GAPS_MAX));
        assert!(known.gaps() <= KNOWN_GAPS_MAX);
    }
    // What is known anyhow still has room.
    world.write(0, vec![set("k", "v")]);
    world.run_for(1_000 * MS);
    assert!(world.gossip(0).peers[&id(1)].known.covers(dot(0, 1, 1)));
    assert_eq!(refusals(&world), []);
}

pub(super) fn stranger(generation: u64) -> ReplicaId {
    ReplicaId { node: NodeId::from_bytes([200; 32]), generation: Generation::new(generation) }
}

/// Nodes that were here once, with so many process lives between them.
pub(super) fn lives(count: u64) -> impl Iterator<Item = Dot> {
    (0..count).map(|n| {
        let node = NodeId::from_bytes([100 + (n / 4_000) as u8; 32]);
        Dot::new(ReplicaId { node, generation: Generation::new(1 + n % 4_000) }, 1)
    })
}

#[test]
fn twenty_thousand_process_lives_still_meet() {
    let mut world = World::new(2, 67);
    world.crash_with(0, false);
    for dot in lives(20_000) {
        world.nodes[0].plant(deletion(dot));
    }
    world.start(0);
    world.connect_all();
    world.run_until(10_000 * MS, "the newcomer has all of it", |w| w.is_settled());
    assert_eq!(world.traffic.pulled, 20_000, "once");
    for (writer, reader) in [(0, 1), (1, 0)] {
        world.write(writer, vec![set(&format!("by {writer}"), "v")]);
        world.run_for(2_000 * MS);
        assert!(world.read(reader, &format!("by {writer}")).is_some());
        assert!(world.gossip(reader).is_converged());
    }
    assert_eq!(refusals(&world), []);
}

#[test]
fn a_clock_too_large_for_one_report_is_told_in_turns() {
    let dots: Vec<Dot> = lives(80_000).collect();
    let row = |dot: &Dot| Row::Write(Arc::new(deletion(*dot)));
    let rows = (1..).zip(dots.iter().map(row)).collect();
    let recovered = Recovered { rows, ..Recovered::default() };
    let me = Identity { replica: dot(0, 1, 1).replica };
    let mut gossip = Gossip::new(Config::default(), me, recovered, 1, Moment::from_millis(1));
    gossip.handle(Moment::from_millis(1), Input::PeerUp { peer: id(1) });
    while gossip.poll_output().is_some() {}
    let mut heard = Clock::new();
    for turn in 0..2 {
        gossip.report_whole(id(1), false);
        let mut parts = 0;
        while let Some(output) = gossip.poll_output() {
            let Output::Send { message: Message::Report(report), .. } = output else { continue };
            assert_eq!(report.basis, Basis::Nothing);
            heard.merge(&report.clock);
            parts += 1;
        }
        assert!((1..=REPORT_PARTS_MAX).contains(&parts));
        assert_eq!(&heard == gossip.replica().clock(), turn == 1);
    }
}

#[test]
fn one_nodes_process_lives_are_bounded_and_harm_nobody_else() {
    let mut world = World::new(3, 68);
    world.run_for(1_000 * MS);
    let of_one = |life: u64| dot(1, 10 + life, 1);
    for round in 0..17 {
        hear(
            &mut world,
            Message::Push {
                entries: (1..=1_000).map(|n| Arc::new(deletion(of_one(round * 1_000 + n)))).collect(),
            },
        );
        world.run_for(100 * MS);
    }
    world.run_for(3_000 * MS);
    for node in [0, 2] {
        let held = world.gossip(node).replica().clock().replicas().filter(|r| r.node == id(1)).count();
        assert_eq!(held, GENERATIONS_PER_NODE_MAX, "node {node}");
    }
    let refused = |event: &Event| matches!(event, Event::EntryRefused { from, .. } if *from == id(1));
    assert_eq!(world.count(refused), 17_000 - GENERATIONS_PER_NODE_MAX);
    world.write(2, vec![set("k", "v")]);
    world.run_for(2_000 * MS);
    assert!(world.read(0, "k").is_some() && world.read(1, "k").is_some());
    // The node itself says so to its clients, rather than take what would stay with it.
    let used_up = world.write(1, vec![set("k", "w")]);
    world.run_for(1_000 * MS);
    assert_eq!(world.reply(used_up), Some(&Err(WriteError::TooManyLives)));
}

#[test]
fn a_push_of_an_earlier_process_life_is_refused() {
    let mut world = World::new(2, 69);
    world.run_for(1_000 * MS);
    hear(&mut world, Message::Push { entries: vec![entry(dot(1, 5, 1))] });
    hear(&mut world, Message::Push { entries: vec![entry(dot(1, 4, 1))] });
    hear(&mut world, Message::Push { entries: vec![entry(dot(1, 6, 1))] });
    world.run_for(100 * MS);
    assert_eq!(refusals(&world), [Refusal::EarlierLife]);
    let clock = world.gossip(0).replica().clock();
    assert!(clock.covers(dot(1, 5, 1)) && !clock.covers(dot(1, 4, 1)) && clock.covers(dot(1, 6, 1)));
}

#[test]
fn what_a_reader_writes_is_refused_whoever_brings_it() {
    let mut world = World::new(3, 70);
    world.run_for(1_000 * MS);
    // Node 1 does not know itself that it is a reader, and node 2 has not heard.
    world.make_reader(1, &[2]);
    let write = world.write_and_wait(1, vec![set("forbidden", "v")], Wait::All, None);
    world.run_for(5_000 * MS);
    assert!(world.read(2, "forbidden").is_some() && world.read(0, "forbidden").is_none());
    assert_eq!(world.reply(write), None, "it was not acknowledged by all");
    let refused = |w: &World| w.count(|e| matches!(e, Event::EntryRefused { from, .. } if *from == id(1)));
    assert_eq!(refused(&world), 1);
    assert_eq!(world.traffic.by_name.get("want"), None, "and nobody asks for it");
    // What was asked for before the role was known is refused when it comes.
    world.handle(
        0,
        Input::Members { members: world.members().into_iter().filter(|m| m.node != id(1)).collect() },
    );
    hear(&mut world, report(900, up_to(dot(1, 1, 1))));
    let want = world.gossip(0).next_chunk - 1;
    world.make_reader(1, &[2]);
    hear(&mut world, Message::Chunk { chunk: want, entries: vec![entry(dot(1, 1, 1))], cut: false });
    world.run_for(1_000 * MS);
    assert_eq!(refused(&world), 2);
    assert!(world.read(0, "forged").is_none());
    world.write(0, vec![set("allowed", "v")]);
    world.write(2, vec![set("allowed too", "v")]);
    world.run_for(2_000 * MS);
    assert!((0..3).all(|n| world.read(n, "allowed").is_some() && world.read(n, "allowed too").is_some()));
    // Once it knows, it refuses its own clients.
    world.make_reader(1, &[]);
    world.handle(1, Input::Members { members: world.members() });
    let write = world.write(1, vec![set("k", "v")]);
    assert_eq!(world.reply(write), Some(&Err(WriteError::ReadOnly)));
}

#[test]
fn a_removal_that_came_too_early_is_asked_for_again() {
    let mut world = World::new(2, 71);
    world.crash_with(0, false);
    let replica = |n: u8| ReplicaId { node: NodeId::from_bytes([n; 32]), generation: Generation::new(1) };
    // The remover's writes are fetched before those of the one that it removes from.
    let (remover, writer, nobody) = (replica(50), replica(60), replica(70));
    let delete = |n: u64, removed: Dots| Entry {
        dot: Dot::new(remover, n),
        removed,
        effect: Effect::Delete,
        ..Entry::clone(&entry(Dot::new(remover, n)))
    };
    let mut entries: Vec<Entry> = (0..65)
        .map(|n| delete(n + 1, (1..=1_000).map(|i| Dot::new(nobody, n * 1_000 + i)).collect()))
        .collect();
    entries.push(delete(66, (1..=1_000).map(|i| Dot::new(writer, i)).collect()));
    entries.extend((1..=1_000).map(|i| Entry::clone(&entry(Dot::new(writer, i)))));
    for entry in entries {
        world.nodes[0].plant(entry);
    }
    world.start(0);
    world.connect_all();
    world.run_for(500 * MS);
    let clock = world.gossip(1).replica().clock();
    assert_eq!((clock.base(remover), clock.base(writer)), (65, 1_000));
    assert!(world.read(1, "forged").is_some());
    world.run_until(5_000 * MS, "the rest is here", |w| w.is_settled());
    assert!(world.read(1, "forged").is_none());
    assert_eq!(world.digests().len(), 1);
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
        let summary = Summary { number, clock, state: Digest::of("another state", b""), unsettled: false };
        hear(&mut world, Message::Summary { summary, ask: false });
    }
    assert_eq!(world.count(|e| matches!(e, Event::Corrupt { .. })), 1);
    assert!(!world.gossip(0).is_converged());
}

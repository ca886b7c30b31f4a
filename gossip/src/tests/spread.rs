//! Eager push, acknowledgements, summaries, and what idleness costs.

use super::world::*;
use crate::{Event, Input, Message, Path, Wait};
use chinwag_base::limits::PUSH_PEERS_MAX;
use chinwag_base::{Digest, Lane};
use chinwag_crdt::Read;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn pushed(event: &Event) -> bool {
    matches!(event, Event::Applied { path: Path::Pushed { .. }, .. })
}

#[test]
fn a_write_reaches_everybody_by_push() {
    let mut world = World::new(5, 1);
    world.run_for(500 * MS);
    world.traffic = Traffic::default();
    let request = world.write(2, vec![set("app/greeting", "hello"), increment("app/visits", 3)]);
    // One fsync here, one hop, one fsync there.
    world.run_until(13 * MS, "all have it", |w| w.is_settled());
    assert_eq!(world.written(request).token, [dot(2, 1, 1), dot(2, 1, 2)]);
    assert_eq!(world.count(pushed), 8);
    assert_eq!(world.traffic.pulled, 0);
    assert_eq!(world.traffic.by_name["push"], 4, "both entries share a frame");
    assert_eq!(world.read(4, "app/visits"), Some(Read::Counter(3)));
    // Nobody asks for what came by push, then or later.
    world.run_for(3_000 * MS);
    assert_eq!(world.traffic.pulled, 0);
}

#[test]
fn convergence_is_told_once_for_each_change() {
    let mut world = World::new(4, 2);
    world.run_for(3_000 * MS);
    let converged = |w: &World| w.count(|e| matches!(e, Event::Converged { members: 4, .. }));
    assert_eq!(converged(&world), 4, "all agree on nothing, first");
    world.write(0, vec![set("k", "v")]);
    world.run_until(150 * MS, "all know that all have it", |w| converged(w) == 8);
    world.run_for(5_000 * MS);
    assert_eq!(converged(&world), 8);
    for node in 0..4 {
        assert!(world.gossip(node).is_converged());
        assert!(world.gossip(node).peers().all(|peer| peer.in_step && peer.behind == Some(0)));
    }
    let digest = world.gossip(0).replica().digest();
    let last = world.events.iter().rev().find_map(|(_, _, event)| match event {
        Event::Converged { digest, after, .. } => Some((*digest, *after)),
        _ => None,
    });
    let (told, after) = last.unwrap();
    assert_eq!(told, digest);
    assert!(after > 10 * MS && after < 150 * MS, "{after:?}");
}

#[test]
fn an_idle_round_costs_thirty_bytes() {
    let mut world = World::new(3, 3);
    for i in 0..20 {
        world.write(i % 3, vec![set(&format!("k{i}"), "v")]);
        world.run_for(10 * MS);
    }
    world.run_for(3_000 * MS);
    world.traffic = Traffic::default();
    world.run_for(10_000 * MS);
    let traffic = &world.traffic;
    assert!(traffic.by_name["compare"] >= 24, "{traffic:?}");
    assert_eq!(traffic.by_name["compare"], traffic.by_name["same"]);
    assert_eq!(traffic.by_name.len(), 2, "nothing else is said: {traffic:?}");
    // The node puts two bytes before each.
    assert!(traffic.longest["compare"] + traffic.longest["same"] <= 30 - 4, "{traffic:?}");
    // Numbers grow while a daemon lives.
    let compare = Message::Compare { number: u32::MAX, both: Digest::of("all", b"k"), unsettled: true };
    let same = Message::Same { exchange: u32::MAX, unsettled: true };
    let encoded = |message| chinwag_base::codec::encode(message).len();
    assert!(encoded(&compare) + encoded(&same) <= 40 - 4);
}

#[test]
fn lost_pushes_are_healed_by_an_exchange_that_the_gap_begins() {
    let mut world = World::new(2, 4);
    world.run_for(500 * MS);
    world.rules.loss = 1.0;
    world.write(0, vec![set("lost", "1")]);
    world.run_for(5 * MS);
    world.rules.loss = 0.0;
    world.write(0, vec![set("found", "2")]);
    let took = world.run_until(200 * MS, "the gap is filled", |w| w.is_settled());
    assert!(took > 20 * MS, "it was not lost: {took:?}");
    assert_eq!(world.traffic.lost, 1);
    assert_eq!(world.traffic.pulled, 1, "exactly what was lost is fetched");
    assert!(world.read(1, "lost").is_some());
}

#[test]
fn a_summary_reveals_a_lost_push_that_leaves_no_gap() {
    let mut world = World::new(2, 5);
    world.config.round = Duration::from_secs(3_600);
    world.crash_with(0, true);
    world.crash_with(1, true);
    world.start(0);
    world.start(1);
    world.connect_all();
    world.run_for(500 * MS);
    world.rules.loss = 1.0;
    world.write(0, vec![set("k", "v")]);
    world.run_for(6 * MS);
    world.rules.loss = 0.0;
    // No round will come; the summary shows that the two differ, and goes on showing it.
    world.run_until(300 * MS, "it is fetched", |w| w.is_settled());
    assert_eq!(world.traffic.pulled, 1);
}

#[test]
fn news_crosses_a_chain_without_waiting_for_rounds() {
    let mut world = World::unconnected(5, 6);
    for node in 1..5 {
        world.connect(node - 1, node);
    }
    world.run_for(2_000 * MS);
    world.write(0, vec![set("k", "v")]);
    world.run_until(30 * MS, "the far end has it", |w| w.is_settled());
    assert_eq!(world.count(|e| matches!(e, Event::Applied { path: Path::Relayed { .. }, .. })), 4);
}

#[test]
fn waits_are_met_by_durable_holders() {
    let mut world = World::new(5, 7);
    world.run_for(500 * MS);
    let soon = Some(2_000 * MS);
    let ask = |w: &mut World, wait| w.write_and_wait(0, vec![increment("n", 1)], wait, soon);
    let requests = [Wait::Local, Wait::Count(2), Wait::Majority, Wait::All].map(|wait| ask(&mut world, wait));
    world.run_until(200 * MS, "all are answered", |w| w.open_requests() == 0);
    let answers = requests.map(|r| {
        let written = world.written(r);
        (written.met, written.needed, written.of)
    });
    assert_eq!(answers, [(true, 1, 5), (true, 2, 5), (true, 3, 5), (true, 5, 5)]);
    assert_eq!(world.written(requests[0]).holders, 1);
    assert_eq!(world.written(requests[3]).holders, 5);

    // Two of five are dead: a majority is still there, and all that live answer too.
    world.crash(3);
    world.crash(4);
    let requests = [Wait::Majority, Wait::All, Wait::Count(4)].map(|wait| ask(&mut world, wait));
    world.run_until(3_000 * MS, "all are answered", |w| w.open_requests() == 0);
    let answers = requests.map(|r| {
        let written = world.written(r);
        (written.met, written.holders, written.needed, written.of)
    });
    assert_eq!(answers, [(true, 3, 3, 5), (true, 3, 3, 3), (false, 3, 4, 5)]);
    assert!(world.written(requests[2]).after >= 2_000 * MS);

    // A third one: no majority is left. The write stands and says so.
    world.crash(2);
    let request = ask(&mut world, Wait::Majority);
    world.run_for(3_000 * MS);
    assert!(!world.written(request).met);
    assert_eq!(world.read(1, "n"), Some(Read::Counter(8)));
}

#[test]
fn a_lost_acknowledgement_does_not_hold_a_wait_for_long() {
    let mut world = World::new(3, 8);
    world.run_for(500 * MS);
    let request = world.write_and_wait(0, vec![set("k", "v")], Wait::All, Some(5_000 * MS));
    world.run_until(20 * MS, "the others have it", |w| w.is_settled());
    world.rules.loss = 1.0;
    world.run_for(100 * MS);
    world.rules.loss = 0.0;
    world.run_until(2_500 * MS, "summaries tell the same", |w| w.open_requests() == 0);
    assert!(world.written(request).met);
}

#[test]
fn a_cancelled_wait_is_not_answered() {
    let mut world = World::new(2, 9);
    world.run_for(500 * MS);
    world.cut(0, 1);
    let waiting = world.write_and_wait(0, vec![set("a", "1")], Wait::Count(2), None);
    let queued = world.write(0, vec![set("b", "1")]);
    world.run_for(1 * MS / 2);
    world.cancel(0, queued);
    world.run_for(100 * MS);
    assert_eq!(world.gossip(0).open_waits(), 1);
    world.cancel(0, waiting);
    assert_eq!(world.gossip(0).open_waits(), 0);
    world.connect(0, 1);
    world.run_for(1_000 * MS);
    assert!(
        world.read(1, "a").is_some() && world.read(1, "b").is_none(),
        "what had not been staged is not made"
    );
    let at_disk = world.write(0, vec![set("c", "1")]);
    world.cancel(0, at_disk);
    world.run_for(100 * MS);
    assert!([waiting, queued, at_disk].iter().all(|r| world.reply(*r).is_none()));
    assert!(world.read(1, "c").is_some(), "what was at the disk is made, and nobody is told");
}

#[test]
fn a_wrong_clock_is_told_once_in_a_while_and_its_writes_are_kept() {
    let mut world = World::new(2, 10);
    world.run_for(100 * MS);
    world.nodes[0].skew_ms = 3_600_000;
    world.tell_wall(0);
    for i in 0..5 {
        world.write(0, vec![set("k", &format!("{i}"))]);
        world.run_for(20 * MS);
    }
    assert_eq!(world.count(|e| matches!(e, Event::ClockAhead { ms, .. } if *ms > 3_000_000)), 1);
    // What has seen the other is later, whatever the clocks say.
    world.write(1, vec![set("k", "after")]);
    world.run_for(100 * MS);
    assert!(matches!(world.read(0, "k"), Some(Read::Register { value, siblings })
        if value.as_text() == Some("after") && siblings.len() == 1));
}

#[test]
fn entries_too_large_for_a_gossip_frame_travel_by_anti_entropy() {
    let mut world = World::new(2, 11);
    world.run_for(500 * MS);
    let value = "x".repeat(60_000);
    // Both add the same elements at the same time, so that a delete names twice as many dots.
    world.cut(0, 1);
    for batch in 0..10 {
        for node in 0..2 {
            world.write(node, (0..1_000).map(|i| add("large", &format!("{}", batch * 1_000 + i))).collect());
        }
        world.run_for(50 * MS);
    }
    world.connect(0, 1);
    world.write(0, vec![set("a", &value), set("b", &value), set("c", &value)]);
    world.run_until(2_000 * MS, "all is here", |w| w.is_settled());
    world.run_for(1_000 * MS);
    let (pushes, pulled) = (world.traffic.by_name["push"], world.traffic.pulled);
    world.write(1, vec![delete("large")]);
    world.run_until(2_000 * MS, "the delete is here", |w| w.is_settled());
    assert_eq!((world.traffic.by_name["push"], world.traffic.pulled), (pushes, pulled + 1));
    assert!(world.read(0, "large").is_none());
    assert_eq!(world.digests().len(), 1);
}

#[test]
fn a_full_bulk_lane_ends_the_exchange_and_not_the_peer() {
    let mut world = World::new(2, 12);
    world.run_for(500 * MS);
    world.cut(0, 1);
    world.write(0, vec![set("k", "v")]);
    world.run_for(20 * MS);
    world.connect(0, 1);
    world.handle(1, Input::SendRefused { to: id(0), lane: Lane::Bulk });
    assert_eq!(world.count(|e| matches!(e, Event::ExchangeAbandoned { .. })), 1);
    world.run_until(10_000 * MS, "it comes all the same", |w| w.is_settled());
}

#[test]
fn under_steady_writes_little_travels_twice() {
    let mut world = World::new(5, 13);
    world.rules.latency_us = 1_000..=10_000;
    world.run_for(2_000 * MS);
    world.traffic = Traffic::default();
    let mut writes = 0;
    for i in 0..2_000 {
        world.write(i % 5, vec![set(&format!("k{}", i % 300), &format!("{i}"))]);
        writes += 1;
        world.run_for(5 * MS);
    }
    world.run_until(200 * MS, "all is here", |w| w.is_settled());
    let traffic = &world.traffic;
    assert!(traffic.pulled <= writes * 4 / 40, "{} of {} entries came twice", traffic.pulled, writes * 4);
    // Rounds, and some exchanges out of turn, but not one for each difference that is merely under way.
    assert!(traffic.by_name["compare"] <= 400, "{traffic:?}");
    assert!(traffic.by_name.get("tell").is_none_or(|n| *n <= 10), "{traffic:?}");
    assert_eq!(world.count(|e| matches!(e, Event::Overflow { .. } | Event::ExchangeAbandoned { .. })), 0);
}

#[test]
fn beyond_the_push_bound_a_write_travels_along_a_tree() {
    let mut world = World::new(PUSH_PEERS_MAX + 9, 14);
    world.run_for(2_000 * MS);
    world.traffic = Traffic::default();
    world.write(0, vec![set("k", "v")]);
    world.run_until(50 * MS, "all have it", |w| w.is_settled());
    assert_eq!((world.traffic.by_name.get("push"), world.traffic.pulled), (None, 0));
    world.run_for(3_000 * MS);
    assert!((0..PUSH_PEERS_MAX + 9).all(|n| world.gossip(n).is_converged()));
}

#[test]
fn acknowledgements_answer_a_wait_without_any_summary() {
    let mut world = World::unconnected(3, 15);
    // Nobody tells a summary or begins a round in this test's time.
    world.config.settle = 60_000 * MS;
    world.config.round = 3_600_000 * MS;
    for node in 0..3 {
        world.crash_with(node, true);
        world.start(node);
    }
    world.connect_all();
    world.run_for(1_000 * MS);
    let request = world.write_and_wait(0, vec![set("k", "v")], Wait::All, None);
    world.run_until(20 * MS, "two fsyncs and two hops", |w| w.reply(request).is_some());
    assert_eq!(world.written(request).holders, 3);

    // An entry that came by another way before its push is acknowledged all the same.
    let acks = world.traffic.by_name["ack"];
    let entries = world.nodes[0].logged();
    world.handle(1, Input::Message { from: id(0), message: Message::Push { entries } });
    assert_eq!(world.traffic.by_name["ack"], acks + 1);
}

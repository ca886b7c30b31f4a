//! What an operator asks for: where a write went, who lacks what, and the state written down now. And what a clock that
//! is an hour ahead does, which is nearly nothing.

use super::world::*;
use crate::{Arrival, Diff, Event, Footprint, Input, Path, RequestId, Trace, TraceError, Wait};
use chinwag_base::limits::TRACED_WRITES_MAX;
use chinwag_crdt::{Read, Row};
use std::collections::BTreeSet;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn ask(world: &mut World, node: usize, key: &str) -> RequestId {
    let request = RequestId(1_000_000 + world.traces.len() as u64);
    world.handle(node, Input::Trace { request, key: key.parse().unwrap() });
    request
}

fn trace(world: &mut World, node: usize, key: &str) -> Result<Trace, TraceError> {
    let request = ask(world, node, key);
    world.run_until(3_000 * MS, "an answer", |w| w.traces.contains_key(&request));
    world.traces[&request].clone()
}

fn came(trace: &Trace, node: usize) -> Arrival {
    match trace.members[&id(node)] {
        Footprint::Came(arrival) => arrival,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trace_tells_how_and_when_a_write_came_to_each() {
    let mut world = World::new(3, 61);
    world.run_for(500 * MS);
    world.cut(0, 2);
    world.cut(1, 2);
    world.write(0, vec![set("k", "old")]);
    world.run_for(200 * MS);
    world.tell_wall(0);
    let written = world.gossip(0).wall();
    world.write(0, vec![set("k", "v")]);
    world.run_for(3_000 * MS);
    world.connect(1, 2);
    world.run_for(100 * MS);
    let trace = trace(&mut world, 1, "k").unwrap();
    assert_eq!((trace.dot, trace.hlc.millis()), (dot(0, 1, 2), written.unix_ms()));
    let (own, relayed, synced) = (came(&trace, 0), came(&trace, 1), came(&trace, 2));
    assert_eq!((own.path, own.arrived), (Path::Local, written));
    assert_eq!(relayed.path, Path::Relayed { by: id(0) });
    assert_eq!(synced.path, Path::Synced { from: id(1) });
    for arrival in [own, relayed, synced] {
        let durable = arrival.durable.unwrap();
        assert!((1..=5).contains(&(durable.unix_ms() - arrival.arrived.unix_ms())), "a disk's time");
    }
    assert!(own.durable.unwrap() <= relayed.arrived, "what is not durable does not leave");
}

#[test]
fn each_tells_its_own_clocks_time() {
    let mut world = World::new(2, 62);
    world.nodes[1].skew_ms = 3_600_000;
    world.tell_wall(1);
    world.run_for(500 * MS);
    world.write(0, vec![set("k", "v")]);
    world.run_for(500 * MS);
    let trace = trace(&mut world, 0, "k").unwrap();
    let apart = came(&trace, 1).arrived.unix_ms() - came(&trace, 0).arrived.unix_ms();
    assert!((3_600_000..3_600_020).contains(&apart), "{apart}");
}

#[test]
fn who_cannot_tell_is_told_of() {
    let mut world = World::new(4, 63);
    world.run_for(500 * MS);
    assert_eq!(trace(&mut world, 0, "k"), Err(TraceError::Unknown));
    world.write(0, vec![set("k", "v")]);
    world.run_for(500 * MS);
    // One restarts, one does not answer, one is not connected to whom is asked.
    world.crash(1);
    world.start(1);
    world.connect_all();
    world.run_for(500 * MS);
    world.cut(0, 3);
    world.stop(2);
    let request = ask(&mut world, 0, "k");
    world.run_for(1_000 * MS);
    assert!(!world.traces.contains_key(&request), "it waits for the one that does not answer");
    world.run_for(1_500 * MS);
    let trace = world.traces[&request].clone().unwrap();
    let of = |node: usize| trace.members[&id(node)];
    assert_eq!((of(1), of(2), of(3)), (Footprint::Forgotten, Footprint::Silent, Footprint::Unconnected));
    assert!(matches!(of(0), Footprint::Came(_)));
}

/// The newest are remembered, however many there are; a delete is a write like others.
#[test]
fn the_last_writes_are_remembered() {
    let mut world = World::new(1, 64);
    world.write(0, vec![set("first", "v")]);
    for batch in 0..TRACED_WRITES_MAX / 64 {
        world.write(0, (0..64).map(|n| set(&format!("k{}", batch * 64 + n), "v")).collect());
        world.run_for(10 * MS);
    }
    assert_eq!(trace(&mut world, 0, "first"), Err(TraceError::Unknown));
    assert!(trace(&mut world, 0, "k0").is_ok());
    let key = "k0".parse().unwrap();
    world.write(0, vec![chinwag_crdt::Op::Delete { key, kind: None }]);
    world.run_for(100 * MS);
    let gone = trace(&mut world, 0, "k0").unwrap();
    assert_eq!(gone.dot, dot(0, 1, TRACED_WRITES_MAX as u64 + 2));
}

/// An answer that nobody asked for, and a second one, change nothing.
#[test]
fn only_who_was_asked_answers_and_once() {
    let mut world = World::new(2, 65);
    world.run_for(500 * MS);
    world.write(0, vec![set("k", "v")]);
    world.run_for(500 * MS);
    world.stop(1);
    let request = ask(&mut world, 0, "k");
    let lie = |number, holds| crate::Message::Traced { number, holds, arrival: None };
    for (from, message) in [(id(1), lie(77, true)), (id(7), lie(1, true)), (id(1), lie(1, false))] {
        world.handle(0, Input::Message { from, message });
    }
    let trace = world.traces[&request].clone().unwrap();
    assert_eq!(trace.members[&id(1)], Footprint::Lacks, "its own first word");
    world.handle(0, Input::Message { from: id(1), message: lie(1, true) });
    assert_eq!(world.traces.len(), 1);
}

#[test]
fn a_diff_names_what_either_lacks() {
    let mut world = World::new(2, 66);
    world.run_for(500 * MS);
    let diff = |world: &World, of: usize| world.gossip(0).diff(id(of));
    assert!(matches!(diff(&world, 1), Some(Diff { in_step: true, they_lack: 0, .. })));
    assert_eq!(diff(&world, 7), None);
    world.stop(1);
    world.write(0, vec![set("a", "1"), set("b", "1")]);
    world.write(0, vec![set("a", "2")]);
    world.run_for(100 * MS);
    let found = diff(&world, 1).unwrap();
    let keys: Vec<(&str, u64)> = found.keys.iter().map(|(key, n)| (key.as_str(), *n)).collect();
    assert_eq!((found.they_lack, keys, found.beyond_log), (3, vec![("a", 2), ("b", 1)], 0));
    assert!(!found.in_step && found.told && found.we_lack.is_empty());
}

/// What the other side has said that it holds, and has not been able to give.
#[test]
fn a_diff_names_whose_writes_we_lack() {
    let mut world = World::new(2, 67);
    world.run_for(500 * MS);
    world.cut(0, 1);
    world.write(1, (0..5).map(|n| set(&format!("k{n}"), "v")).collect());
    world.run_for(100 * MS);
    world.set_disk_full(0, true);
    world.connect(0, 1);
    world.run_for(300 * MS);
    let found = world.gossip(0).diff(id(1)).unwrap();
    assert_eq!(found.we_lack.into_iter().collect::<Vec<_>>(), [(id(1), 5)]);
}

#[test]
fn a_diff_says_what_is_in_no_log_any_more() {
    let mut world = super::cells::forgetful(2, 68, usize::MAX);
    world.run_for(500 * MS);
    world.stop(1);
    for n in 0..50 {
        world.write(0, vec![set(&format!("k{n}"), "v")]);
        world.run_for(10 * MS);
    }
    let found = world.gossip(0).diff(id(1)).unwrap();
    let logged = world.gossip(0).replica().log_len() as u64;
    assert!(logged > 0 && found.keys.len() as u64 == logged, "{found:?}");
    assert_eq!((found.they_lack, found.beyond_log), (50, 50 - logged));
}

/// Asked for, the state is written down at once, and the log is cut to what somebody lacks.
#[test]
fn the_state_is_written_down_when_asked_for() {
    let mut world = World::new(2, 69);
    world.run_for(500 * MS);
    for n in 0..20 {
        world.write(0, vec![set(&format!("k{n}"), "v")]);
        world.run_for(10 * MS);
    }
    // Each knows by then that the other holds it.
    world.run_for(3_000 * MS);
    assert_eq!((world.nodes[0].disk.cells_len(), world.nodes[0].disk.log_len()), (0, 20));
    assert!(world.gossip(0).is_written_down());
    world.handle(0, Input::WriteDown);
    assert!(!world.gossip(0).is_written_down());
    world.run_until(100 * MS, "it is", |w| w.gossip(0).is_written_down());
    assert_eq!((world.nodes[0].disk.cells_len(), world.nodes[0].disk.log_len()), (20, 0));
    assert!(world.gossip(0).log_waits_for().is_empty());
    // With nothing new there is nothing to do.
    world.handle(0, Input::WriteDown);
    assert!(world.gossip(0).is_written_down());

    world.crash(1);
    world.write(0, vec![set("more", "v")]);
    world.run_for(100 * MS);
    world.handle(0, Input::WriteDown);
    world.run_until(100 * MS, "it is", |w| w.gossip(0).is_written_down());
    assert_eq!(
        (world.nodes[0].disk.cells_len(), world.nodes[0].disk.log_len()),
        (21, 1),
        "somebody lacks it"
    );
    assert_eq!(world.gossip(0).log_waits_for(), [id(1)]);
    // Nobody waits for a member that is no more.
    world.handle(0, Input::MembersChanged { members: Vec::new(), gone: vec![id(1)] });
    assert!(world.gossip(0).log_waits_for().is_empty());
    world.write(0, vec![set("last", "v")]);
    world.run_for(100 * MS);
    world.handle(0, Input::WriteDown);
    world.run_until(100 * MS, "it is", |w| w.gossip(0).is_written_down());
    assert_eq!((world.gossip(0).replica().log_len(), world.nodes[0].disk.log_len()), (0, 0));
    let lost = |row: &Row| matches!(row, Row::Lost);
    assert!(!world.nodes[0].disk.rows().any(lost));
}

/// One of two clocks is an hour ahead. All that comes of a story, but for which of two truly concurrent writes is shown.
fn with_skew(seed: u64, skew_ms: u64) -> (Vec<Option<Read>>, Vec<Vec<chinwag_crdt::Dot>>, Vec<bool>) {
    let mut world = World::new(2, seed);
    world.nodes[1].skew_ms = skew_ms;
    world.tell_wall(1);
    world.run_for(500 * MS);
    let mut waited = Vec::new();
    let mut write = |world: &mut World, node: usize, op| {
        let request = world.write_and_wait(node, vec![op], Wait::All, Some(1_000 * MS));
        world.run_until(2_000 * MS, "an answer", |w| w.reply(request).is_some());
        let written = world.written(request);
        waited.push((written.token.clone(), written.met));
    };
    // Each has seen the write before it, whichever clock is ahead.
    write(&mut world, 1, set("seen", "ahead"));
    write(&mut world, 0, set("seen", "later"));
    write(&mut world, 0, set("again", "first"));
    write(&mut world, 1, set("again", "ahead"));
    write(&mut world, 0, set("again", "last"));
    write(&mut world, 1, set("gone", "ahead"));
    write(&mut world, 0, chinwag_crdt::Op::Delete { key: "gone".parse().unwrap(), kind: None });
    for node in [0, 1, 0] {
        write(&mut world, node, increment("n", 2));
        let element = chinwag_base::Value::new(node.to_string().as_bytes()).unwrap();
        write(&mut world, node, chinwag_crdt::Op::Add { key: "s".parse().unwrap(), element });
    }
    write(&mut world, 1, chinwag_crdt::Op::Delete { key: "n".parse().unwrap(), kind: None });
    write(&mut world, 0, increment("n", 7));
    world.run_until(3_000 * MS, "both agree", |w| w.is_settled());
    let mut reads = Vec::new();
    for node in 0..2 {
        for key in ["seen", "again", "gone", "n", "s"] {
            // Values, not when they were written.
            reads.push(world.read(node, key).map(|read| match read {
                Read::Register { value, siblings } => {
                    assert_eq!(siblings.len(), 1, "{key}");
                    Read::Register { value, siblings: Vec::new() }
                }
                other => other,
            }));
        }
    }
    let told = world.count(|event| matches!(event, Event::ClockAhead { .. }));
    assert_eq!(told > 0, skew_ms > 0, "it is told of");
    let (tokens, met) = waited.into_iter().unzip();
    (reads, tokens, met)
}

#[test]
fn an_hours_skew_changes_no_outcome_of_writes_that_saw_each_other() {
    for seed in 0..5 {
        let (straight, ahead) = (with_skew(seed, 0), with_skew(seed, 3_600_000));
        assert_eq!(straight, ahead);
        assert!(straight.2.iter().all(|met| *met), "every wait is met");
    }
}

/// What it does change: of two writes that did not see each other, which is shown. Both are kept, on both sides alike.
#[test]
fn an_hours_skew_orders_concurrent_writes_and_nothing_else() {
    for skew_ms in [0, 3_600_000] {
        let mut world = World::new(2, 70);
        world.nodes[1].skew_ms = skew_ms;
        world.tell_wall(1);
        world.run_for(500 * MS);
        world.cut(0, 1);
        world.write(1, vec![set("k", "ahead")]);
        world.run_for(5_000 * MS);
        world.write(0, vec![set("k", "five seconds later")]);
        world.run_for(500 * MS);
        world.connect(0, 1);
        world.run_until(3_000 * MS, "both agree", |w| w.is_settled());
        let shown: BTreeSet<String> = (0..2)
            .map(|node| match world.read(node, "k") {
                Some(Read::Register { value, siblings }) if siblings.len() == 2 => {
                    value.as_text().unwrap().to_owned()
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let winner = if skew_ms == 0 { "five seconds later" } else { "ahead" };
        assert_eq!(shown.into_iter().collect::<Vec<_>>(), [winner]);
        // Whoever has seen both ends it, whatever its clock says.
        world.write(0, vec![set("k", "settled")]);
        world.run_until(3_000 * MS, "both agree", |w| w.is_settled());
        for node in 0..2 {
            assert!(
                matches!(world.read(node, "k"), Some(Read::Register { value, siblings }) if siblings.len() == 1 && value.as_text() == Some("settled"))
            );
        }
    }
}

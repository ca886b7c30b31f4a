//! Any history of writes, crashes, cuts, losses and full disks ends in agreement, with every acknowledged write.

use super::world::*;
use crate::{Event, RequestId, Wait};
use chinwag_crdt::{Op, Read};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// What a run did, so that a run that did nothing does not count.
#[derive(Debug, Default, Clone, PartialEq)]
struct Deeds {
    acknowledged: usize,
    crashes: usize,
    cuts: usize,
    lost: usize,
    failed_commits: usize,
    sessions: usize,
    sessions_dropped: usize,
    trace: Vec<String>,
}

fn run(seed: u64, steps: usize) -> Deeds {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let nodes = rng.random_range(2..=5);
    let mut world = World::new(nodes, seed);
    world.rules = Rules {
        latency_us: 200..=rng.random_range(1_000..40_000),
        loss: rng.random_range(0.0..0.5),
        fsync_us: 500..=rng.random_range(1_000..30_000),
        ..Rules::default()
    };
    if rng.random_bool(0.7) {
        // Nodes that start later have it too.
        world.config.log_bytes_max = [0, 700, 5_000][rng.random_range(0..3)];
        world.config.slice_bytes_max = [1, 300, 2_000][rng.random_range(0..3)];
        world.config.checkpoint_rows = [1, 7, 50][rng.random_range(0..3)];
        for node in 0..nodes {
            world.crash(node);
            world.start(node);
        }
        world.connect_all();
    }
    let mut deeds = Deeds::default();
    let mut removals: BTreeMap<RequestId, String> = BTreeMap::new();
    let mut increments: BTreeMap<RequestId, i64> = BTreeMap::new();
    let mut elements: BTreeMap<RequestId, String> = BTreeMap::new();
    for step in 0..steps {
        let node = rng.random_range(0..nodes);
        match rng.random_range(0..100) {
            0..60 if world.is_up(node) => {
                let by = rng.random_range(-5..=20);
                let element = format!("e{step}");
                let ops: Vec<Op> = vec![
                    increment("count", by),
                    add("set", &element),
                    set(&format!("reg{}", rng.random_range(0..3)), &element),
                ];
                let wait = [Wait::Local, Wait::Majority, Wait::All, Wait::Count(2)][rng.random_range(0..4)];
                let request = world.write_and_wait(node, ops, wait, Some(300 * MS));
                increments.insert(request, by);
                elements.insert(request, element);
            }
            60..62 if world.is_up(node) => _ = world.write(node, vec![delete("reg0")]),
            // What is removed here stays away everywhere.
            62..64 if world.is_up(node) => {
                world.write(node, vec![add("gone", &format!("g{step}"))]);
                if let Some(Read::Set(held)) = world.read(node, "gone") {
                    let element = held[0].as_text().unwrap().to_owned();
                    let request = world.write(node, vec![remove("gone", &element)]);
                    removals.insert(request, element);
                }
            }
            64..68 if world.is_up(node) => {
                world.crash(node);
                deeds.crashes += 1;
            }
            68..80 if !world.is_up(node) => {
                world.start(node);
                world.connect_all();
            }
            80..85 => {
                world.partition(&[node]);
                deeds.cuts += 1;
            }
            85..92 => world.connect_all(),
            92..94 => world.set_disk_full(node, true),
            94..100 => world.set_disk_full(node, false),
            _ => {}
        }
        world.run_for(rng.random_range(0..60) * MS);
    }
    heal(&mut world);
    check(&world, &increments, &elements);
    let gone = world.read(0, "gone");
    for (request, element) in &removals {
        let is_back =
            matches!(&gone, Some(Read::Set(held)) if held.iter().any(|e| e.as_text() == Some(element)));
        assert!(!is_back || !matches!(world.reply(*request), Some(Ok(_))), "{element} is back");
    }
    deeds.acknowledged = world.replies.values().filter(|(_, reply)| reply.is_ok()).count();
    deeds.lost = world.traffic.lost;
    deeds.sessions = world.count(|e| matches!(e, Event::CellsDone { .. }));
    deeds.sessions_dropped = world.count(|e| matches!(e, Event::ExchangeAbandoned { .. }));
    deeds.failed_commits = world.count(|e| matches!(e, Event::StorageFailed { .. }));
    deeds.trace = world.events.iter().map(|event| format!("{event:?}")).collect();
    deeds
}

fn heal(world: &mut World) {
    world.rules.loss = 0.0;
    for node in 0..world.nodes.len() {
        world.set_disk_full(node, false);
        if !world.is_up(node) {
            world.start(node);
        }
    }
    world.connect_all();
    world.run_for(500 * MS);
    // Three rounds; a node that has just seen its disk fail waits one of them out. Where logs are cut, whole cells come
    // after that, slice by slice, and perhaps after a rest, from one peer or another.
    let is_short = world.config.log_bytes_max < 10_000;
    let patience = if is_short { 60_000 } else { 4_000 };
    world.run_until(patience * MS, "equal clocks after healing", |w| w.is_settled());
    assert_eq!(world.digests().len(), 1, "equal clocks mean equal states");
    world.run_for(if is_short { 12_500 } else { 2_500 } * MS);
    assert_eq!(world.open_requests(), 0, "every client has its answer");
    for node in 0..world.nodes.len() {
        let gossip = world.gossip(node);
        assert!(gossip.is_converged(), "node {node} knows that all agree");
        assert_eq!((gossip.queued_entries(), gossip.open_waits()), (0, 0));
        assert!(gossip.pending.is_empty() && gossip.peers.values().all(|peer| peer.chunks.is_empty()));
    }
}

/// What replicas of good faith never give cause for.
fn is_wrong(event: &Event) -> bool {
    matches!(
        event,
        Event::MessageRefused { .. }
            | Event::EntryRefused { .. }
            | Event::CellsRefused { .. }
            | Event::Corrupt { .. }
    )
}

fn check(world: &World, increments: &BTreeMap<RequestId, i64>, elements: &BTreeMap<RequestId, String>) {
    let wrong = world.events.iter().find(|(_, _, event)| is_wrong(event));
    assert!(wrong.is_none(), "{wrong:?}");
    let held: Vec<String> = match world.read(0, "set") {
        Some(Read::Set(held)) => held.iter().filter_map(|e| e.as_text()).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let mut total = 0;
    for (request, element) in elements {
        let is_held = held.contains(element);
        match world.reply(*request) {
            Some(Ok(_)) => assert!(is_held, "an acknowledged write is lost: {element}"),
            Some(Err(_)) => assert!(!is_held, "a refused write was made: {element}"),
            // Its node crashed before it could answer: either is fine.
            None => {}
        }
        // The counter took part in the same batches, so it is the sum over exactly those that are held.
        if is_held {
            total += i128::from(increments[request]);
        }
    }
    let read = match world.read(0, "count") {
        Some(Read::Counter(n)) => n,
        None => 0,
        other => panic!("{other:?}"),
    };
    assert_eq!(read, total);
    for node in 1..world.nodes.len() {
        for key in ["set", "count", "reg0", "reg1", "reg2"] {
            assert_eq!(world.read(node, key), world.read(0, key));
        }
    }
}

#[test]
fn one_seed_has_one_trace() {
    let (first, second) = (run(7, 60), run(7, 60));
    assert!(first.trace.len() > 100);
    assert_eq!(first, second);
    assert_ne!(first.trace, run(8, 60).trace);
}

#[test]
fn the_runs_do_what_they_are_for() {
    let mut sum = Deeds::default();
    for seed in 100..110 {
        let deeds = run(seed, 80);
        sum.acknowledged += deeds.acknowledged;
        sum.crashes += deeds.crashes;
        sum.cuts += deeds.cuts;
        sum.lost += deeds.lost;
        sum.failed_commits += deeds.failed_commits;
        sum.sessions += deeds.sessions;
    }
    assert!(sum.sessions > 20, "{sum:?}");
    assert!(sum.acknowledged > 200 && sum.crashes > 10 && sum.cuts > 10, "{sum:?}");
    assert!(sum.lost > 50 && sum.failed_commits > 5, "{sum:?}");
}

/// 48 unless the environment says otherwise: `PROPTEST_CASES=10000 cargo test --release -p chinwag-gossip random`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_history_ends_in_agreement(seed: u64, steps in 5..100_usize) {
        run(seed, steps);
    }
}

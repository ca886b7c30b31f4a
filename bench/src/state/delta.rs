//! What the other lacks: how long it takes to find out, and what is sent.
//!
//! Two replicas hold all keys and have met. Then other members write to some of the keys, and only the second hears of it.
//! Computing is what both take to compare clocks, tell them, find what is lacking and gather it; not to apply it.

use super::chitchat::{NEVER, Pair};
use super::figures::{Bound, Column, Of, Sheet};
use super::material::{self, Material};
use super::world::{Rules, World, phantoms};
use super::{MEET, us};
use crate::membership::options::Delivery;
use anyhow::{Context as _, Result, ensure};
use chinwag_base::Lane;
use chinwag_gossip::{Config, Input, Message, Recovered};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// What a replica is told in an exchange before anything is applied.
const COMPUTING: [&str; 9] = ["compare", "same", "report", "tell", "want", "open", "cells", "more", "tick"];
/// Entries in one push.
const PUSHED: usize = 200;
/// A difference that takes longer is not counted.
const LIMIT: Duration = Duration::from_secs(120);

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nodes that write.
    pub writers: usize,
    /// Keys of each.
    pub keys: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// How many keys differ, one after the other.
    pub differ: Vec<usize>,
    /// How often each, but for large ones.
    pub runs: usize,
    /// Whether chitchat is measured as well.
    pub chitchat: bool,
}

/// Does it.
///
/// # Errors
/// If the replicas do not become equal.
pub fn run(options: &Options) -> Result<Sheet> {
    let mut sheet = Sheet {
        details: vec![
            ("writers", json!(options.writers)),
            ("keys", json!(options.writers * options.keys)),
            ("value_bytes", json!(options.value_bytes)),
            ("runs", json!(options.runs)),
        ],
        ..Sheet::default()
    };
    sheet.columns.push(("chinwag", chinwag(options)?));
    if options.chitchat {
        sheet.columns.push(("chitchat", chitchat(options)?));
    }
    for differ in &options.differ {
        if *differ == 160 {
            sheet.goal("differ_160_compute_us", Of::Median, Bound::AtMost, 20.0);
        }
    }
    Ok(sheet)
}

fn runs(options: &Options, differ: usize) -> usize {
    /// So many keys are written in all, so that no difference takes minutes.
    const WRITES_MAX: usize = 200_000;
    options.runs.min(WRITES_MAX / differ.max(1)).max(1)
}

/// Two replicas with all keys that have met, of which only the second hears the phantoms.
pub(super) fn pair(material: &mut Material, config: Config, in_log: bool) -> Result<World> {
    let base = material.write(0..material.keys())?;
    material.live_again();
    let rules = Rules { delivery: Delivery::Streams, timed: true, ..Rules::default() };
    let mut world = World::new(config, rules, 1);
    let recovered = if in_log {
        let rows = (1..).zip(base.iter().cloned().map(chinwag_crdt::Row::Write)).collect();
        Recovered { rows, ..Recovered::default() }
    } else {
        let whole = material::replica_of(material::replica(9_999, 1), &base);
        Recovered { checkpoint: material::checkpoint(&whole), rows: Vec::new() }
    };
    world.add(material::replica(10_000, 1), recovered.clone());
    world.add(material::replica(10_001, 1), recovered);
    let writers = phantoms(material.writers());
    world.tell_members(&writers);
    world.connect(0, 1);
    for peer in writers {
        world.handle(1, "peer_up", Input::PeerUp { peer });
    }
    world.run(MEET);
    ensure!(world.are_equal(0, 1), "the two replicas begin with the same");
    Ok(world)
}

/// The phantoms push what they write to the second replica, and the first hears nothing.
pub(super) fn push(world: &mut World, entries: &[Arc<chinwag_crdt::Entry>]) -> Result<()> {
    world.rules.gossip_lane = false;
    let mut by_writer: std::collections::BTreeMap<_, Vec<_>> = std::collections::BTreeMap::new();
    for entry in entries {
        by_writer.entry(entry.dot.replica.node).or_default().push(entry.clone());
    }
    let before = world.gossip(1).replica().clock().clone();
    for (from, entries) in by_writer {
        for entries in entries.chunks(PUSHED) {
            let message = Message::Push { entries: entries.to_vec() };
            debug_assert_eq!(message.lane(), Lane::Gossip);
            world.handle(1, "push", Input::Message { from, message });
            // The disk is at once, but it is a turn of its own.
            world.run(Duration::ZERO);
        }
    }
    let came = world.gossip(1).replica().clock().count_minus(&before);
    ensure!(came == entries.len() as u64, "{came} of {} writes arrived", entries.len());
    Ok(())
}

fn chinwag(options: &Options) -> Result<Column> {
    let mut material = Material::new(options.writers, options.writers * options.keys, options.value_bytes);
    let mut world = pair(&mut material, Config::default(), true)?;
    let mut column = Column::default();
    for &differ in &options.differ {
        let (mut compute, mut bytes, mut over, mut apply, mut codec) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for run in 0..runs(options, differ) {
            let all = material.keys();
            let step = (all / differ.max(1)).max(1);
            let entries = material.write((0..differ).map(|n| (n * step + run) % all))?;
            let ideal: usize = entries.iter().map(|entry| material::ideal_bytes(entry)).sum();
            push(&mut world, &entries)?;
            world.take_tally();
            let came = world.run_until(LIMIT, |world| world.are_equal(0, 1));
            came.with_context(|| format!("{differ} keys were not reconciled within {LIMIT:?}"))?;
            let tally = world.take_tally();
            let computing = tally.handled(&COMPUTING);
            compute.push(us(computing));
            apply.push(us(tally.work().saturating_sub(computing + tally.codec)));
            codec.push(us(tally.codec));
            bytes.push(tally.bytes() as f64);
            over.push(tally.bytes() as f64 / ideal as f64);
            world.rules.gossip_lane = true;
            world.run(MEET);
        }
        column.spread(format!("differ_{differ}_compute_us"), compute);
        column.spread(format!("differ_{differ}_apply_us"), apply);
        column.spread(format!("differ_{differ}_codec_us"), codec);
        column.spread(format!("differ_{differ}_sent_bytes"), bytes);
        column.spread(format!("differ_{differ}_times_ideal_bytes"), over);
    }
    Ok(column)
}

fn chitchat(options: &Options) -> Result<Column> {
    let material = Material::new(options.writers, options.writers * options.keys, options.value_bytes);
    let mut column = Column::default();
    for &differ in &options.differ {
        let mut pair = Pair::new(NEVER, 1_000..50_000, 1)?;
        let step = (material.keys() / differ.max(1)).max(1);
        let newer: Vec<usize> = (0..differ).map(|n| n * step % material.keys()).collect();
        pair.fill(0, &material, options.value_bytes, &[]);
        pair.fill(1, &material, options.value_bytes, &newer);
        let mut compute = Vec::new();
        for _ in 0..runs(options, differ) {
            pair.exchange(false)?;
        }
        let tally = pair.take_tally();
        compute.extend(tally.answering.get("syn_ack").into_iter().flatten().map(|time| us(*time)));
        // It sends what fits a datagram; the rest takes further exchanges.
        let mut exchanges = 0;
        while !pair.are_equal(options.writers) {
            pair.exchange(true)?;
            exchanges += 1;
            ensure!(exchanges < 1_000, "chitchat did not reconcile {differ} keys in {exchanges} exchanges");
        }
        let tally = pair.take_tally();
        column.spread(format!("differ_{differ}_compute_us"), compute);
        column.one(format!("differ_{differ}_sent_bytes"), tally.bytes() as f64);
        column.one(format!("differ_{differ}_exchanges"), f64::from(exchanges));
        column.one(format!("differ_{differ}_all_exchanges_work_us"), us(tally.work()));
    }
    Ok(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_systems_reconcile_and_are_counted() {
        let options =
            Options { writers: 4, keys: 100, value_bytes: 32, differ: vec![8, 400], runs: 2, chitchat: true };
        let sheet = run(&options).unwrap();
        let systems = sheet.systems();
        for system in ["chinwag", "chitchat"] {
            for differ in [8, 400] {
                let time = &systems[system][format!("differ_{differ}_compute_us")]["median"];
                assert!(time.as_f64().unwrap() > 0.0, "{systems:#}");
            }
        }
        // Names and beginnings of keys are told once; values, half of this, are not told for less.
        let times = systems["chinwag"]["differ_400_times_ideal_bytes"]["median"].as_f64().unwrap();
        assert!((0.3..1.1).contains(&times), "{times}");
    }
}

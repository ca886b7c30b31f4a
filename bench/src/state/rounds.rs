//! Anti-entropy alone: every push, acknowledgement and summary is lost, and one write is left to the rounds. After how many of them
//! does everybody hold it?
//!
//! In a round each member meets one other. Members do not begin their rounds at the same moment, and a round is a fifth
//! shorter or longer than the next; so rounds are counted as time, in units of [`Config::round`].

use super::figures::{Bound, Column, Of, Sheet};
use super::material;
use super::spread::connect;
use super::world::{Rules, World};
use crate::report::note;
use anyhow::{Result, ensure};
use chinwag_crdt::Op;
use chinwag_gossip::{Config, Recovered};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::time::Duration;

/// A write that takes longer is counted as not delivered.
const LIMIT_ROUNDS: u32 = 60;
/// Rounds until new members have met, and none remembers an exchange that brought nothing.
const SETTLE_ROUNDS: u32 = 20;
/// Bytes of the value.
const VALUE_BYTES: usize = 64;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many members.
    pub nodes: usize,
    /// How many overlays, each with its own seed.
    pub seeds: usize,
    /// How many writes in each, one after the other, each of another member.
    pub writes: usize,
}

/// Does it.
///
/// # Errors
/// If nothing is delivered.
pub fn run(options: &Options) -> Result<Sheet> {
    let config = Config::default();
    let mut column = Column::default();
    let mut runs = Runs::default();
    for seed in 1..=options.seeds {
        note(&format!("overlay {seed} of {} ...", options.seeds));
        one_overlay(options, &config, seed as u64, &mut runs)?;
    }
    let all = (options.seeds * options.writes) as f64;
    ensure!(!runs.rounds.is_empty(), "no write has reached everybody within {LIMIT_ROUNDS} rounds");
    column.one("delivered_ratio", runs.rounds.len() as f64 / all);
    column.spread("all_have_it_rounds", runs.rounds);
    column.spread("half_have_it_rounds", runs.half);
    column.spread("exchanges_per_node_and_round", runs.exchanges);
    let mut sheet = Sheet {
        details: vec![
            ("nodes", json!(options.nodes)),
            ("seeds", json!(options.seeds)),
            ("writes_each", json!(options.writes)),
            ("runs", json!(all)),
            ("round_ms", json!(config.round.as_millis() as u64)),
            ("latency_ms", json!([10, 50])),
        ],
        columns: vec![("chinwag", column)],
        ..Sheet::default()
    };
    sheet.goal("all_have_it_rounds", Of::P99, Bound::AtMost, 13.0);
    sheet.goal("delivered_ratio", Of::Median, Bound::AtLeast, 1.0);
    Ok(sheet)
}

#[derive(Debug, Default)]
struct Runs {
    rounds: Vec<f64>,
    half: Vec<f64>,
    exchanges: Vec<f64>,
}

fn one_overlay(options: &Options, config: &Config, seed: u64, runs: &mut Runs) -> Result<()> {
    let rules = Rules { latency_us: 10_000..50_000, gossip_lane: false, ..Rules::default() };
    let mut world = World::new(config.clone(), rules, seed);
    for number in 0..options.nodes {
        world.add(material::replica(number, 1), Recovered::default());
    }
    world.tell_members(&[]);
    connect(&mut world, options.nodes, seed);
    world.watches = true;
    world.run(config.round * SETTLE_ROUNDS);
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
    for number in 0..options.writes {
        // Somewhere within a round of the writer's.
        world.run(config.round.mul_f64(rng.random_range(1.0..2.0)));
        let writer = rng.random_range(0..options.nodes);
        let value = material::as_value(&material::value(number, 1, VALUE_BYTES))?;
        world.applied.clear();
        world.take_tally();
        let begun = world.now;
        world.write(writer, vec![Op::Set { key: material::key(1, number)?, value }]);
        let has_all = |world: &World| world.applied.values().any(|at| at.len() == options.nodes);
        let Some(took) = world.run_until(config.round * LIMIT_ROUNDS, has_all) else { continue };
        let in_rounds = |time: Duration| time.as_secs_f64() / config.round.as_secs_f64();
        let mut times: Vec<f64> = world
            .applied
            .values()
            .filter(|at| at.len() == options.nodes)
            .flatten()
            .map(|(_, at)| in_rounds(at.since(begun)))
            .collect();
        times.sort_by(f64::total_cmp);
        runs.rounds.push(in_rounds(took));
        runs.half.push(times[options.nodes / 2]);
        let exchanges = world.take_tally().exchanges.0 as f64;
        runs.exchanges.push(exchanges / options.nodes as f64 / in_rounds(took));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_alone_bring_a_write_to_everybody_in_no_less_than_each_doubles_it() {
        let sheet = run(&Options { nodes: 64, seeds: 2, writes: 3 }).unwrap();
        let systems = sheet.systems();
        let chinwag = &systems["chinwag"];
        assert_eq!(chinwag["delivered_ratio"], 1, "{systems:#}");
        let rounds = chinwag["all_have_it_rounds"]["median"].as_f64().unwrap();
        assert!((2.0..20.0).contains(&rounds), "{systems:#}");
        assert!(chinwag["half_have_it_rounds"]["median"].as_f64().unwrap() < rounds, "{systems:#}");
    }
}

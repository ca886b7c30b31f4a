//! What it takes to become equal again: cells that nobody's log explains, and two halves of an overlay that both wrote.

use super::MEET;
use super::delta::{pair, push};
use super::figures::{Bound, Column, Of, Sheet};
use super::material::{self, Material};
use super::world::{Rules, World};
use anyhow::{Context as _, Result};
use chinwag_crdt::Op;
use chinwag_gossip::{Config, Recovered};
use serde_json::json;
use std::time::Duration;

/// A difference that takes longer is not counted.
const LIMIT: Duration = Duration::from_secs(300);
/// Operations in one write.
const BATCH: usize = 100;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Cells that two replicas hold.
    pub cells: usize,
    /// In how many they differ, one after the other.
    pub differ: Vec<usize>,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Members of the overlay that is split, half and half.
    pub nodes: usize,
    /// Writes on each side.
    pub writes: usize,
}

/// Does it.
///
/// # Errors
/// If the replicas do not become equal.
pub fn run(options: &Options) -> Result<Sheet> {
    let mut sheet = Sheet {
        details: vec![
            ("cells", json!(options.cells)),
            ("value_bytes", json!(options.value_bytes)),
            ("split_nodes", json!(options.nodes)),
            ("split_writes_each_side", json!(options.writes)),
        ],
        ..Sheet::default()
    };
    let mut column = Column::default();
    for (name, in_log) in [("by_log", true), ("by_cells", false)] {
        by(options, in_log, name, &mut column)?;
    }
    heal(options, &mut column)?;
    sheet.columns.push(("chinwag", column));
    for differ in &options.differ {
        sheet.goal(
            format!("by_log_differ_{differ}_times_ideal_and_64_bytes"),
            Of::Median,
            Bound::AtMost,
            1.10,
        );
        sheet.goal(format!("by_cells_differ_{differ}_times_ideal_bytes"), Of::Median, Bound::AtMost, 1.6);
    }
    sheet.goal("heal_exchanges_per_node", Of::Median, Bound::AtMost, 3.0);
    sheet.goal("heal_times_ideal_bytes", Of::Median, Bound::AtMost, 1.2);
    Ok(sheet)
}

/// Two replicas that have met, one of which has heard more: by what its log has, or, if it keeps none, by whole cells.
fn by(options: &Options, in_log: bool, name: &str, column: &mut Column) -> Result<()> {
    let writers = 16;
    let mut material = Material::new(writers, options.cells, options.value_bytes);
    let log_bytes_max = if in_log { usize::MAX } else { 0 };
    let config = Config { log_bytes_max, ..Config::default() };
    let mut world = pair(&mut material, config, in_log)?;
    for &differ in &options.differ {
        let all = material.keys();
        let step = (all / differ.max(1)).max(1);
        let entries = material.write((0..differ).map(|n| n * step % all))?;
        let ideal: usize = entries.iter().map(|entry| material::ideal_bytes(entry)).sum();
        push(&mut world, &entries)?;
        world.take_tally();
        let took = world.run_until(LIMIT, |world| world.are_equal(0, 1));
        let took = took.with_context(|| format!("{name}: {differ} cells were not reconciled"))?;
        let tally = world.take_tally();
        let sent = tally.bytes() as f64;
        column.one(format!("{name}_differ_{differ}_sent_bytes"), sent);
        column.one(format!("{name}_differ_{differ}_times_ideal_bytes"), sent / ideal as f64);
        column.one(format!("{name}_differ_{differ}_times_ideal_and_64_bytes"), (sent - 64.0) / ideal as f64);
        column.one(format!("{name}_differ_{differ}_took_virtual_ms"), took.as_secs_f64() * 1e3);
        column.one(format!("{name}_differ_{differ}_work_of_both_us"), super::us(tally.work()));
        world.rules.gossip_lane = true;
        world.run(MEET);
    }
    Ok(())
}

/// An overlay in two halves, each of which writes; then they meet.
fn heal(options: &Options, column: &mut Column) -> Result<()> {
    let mut world = World::new(Config::default(), Rules::default(), 1);
    for number in 0..options.nodes {
        world.add(material::replica(number, 1), Recovered::default());
    }
    world.tell_members(&[]);
    world.connect_all();
    world.run(MEET);
    let border = options.nodes / 2;
    world.set_border(Some(border));
    let mut ideal = 0;
    for batch in 0..options.writes / BATCH {
        for (side, from, of) in [(0, 0, border), (1, border, options.nodes - border)] {
            let set = |n: usize| -> Result<Op> {
                let n = (batch * BATCH + n) * 2 + side;
                let value = material::as_value(&material::value(n, 1, options.value_bytes))?;
                Ok(Op::Set { key: material::key(1, n)?, value })
            };
            let ops: Vec<Op> = (0..BATCH).map(set).collect::<Result<_>>()?;
            ideal +=
                ops.iter().map(|op| op.key().as_str().len() + options.value_bytes + DOT_BYTES).sum::<usize>();
            world.write(from + batch % of, ops);
        }
        world.run(Duration::from_millis(20));
    }
    world.run(MEET);
    world.take_tally();
    world.set_border(None);
    let took = world.run_until(LIMIT, World::all_equal).context("the halves did not become equal")?;
    let tally = world.take_tally();
    // Everybody lacks what the other half wrote.
    let ideal = (ideal / 2 * options.nodes) as f64;
    column.one("heal_took_virtual_s", took.as_secs_f64());
    column.one("heal_exchanges_per_node", tally.exchanges.0 as f64 / options.nodes as f64);
    column.one("heal_sent_bytes", tally.bytes() as f64);
    column.one("heal_times_ideal_bytes", tally.bytes() as f64 / ideal);
    column.one("heal_entries_per_node", tally.entries as f64 / options.nodes as f64);
    Ok(())
}

/// A node's id with some of its generation and counter.
const DOT_BYTES: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_what_is_sent() {
        let options = Options { cells: 2_000, differ: vec![10, 200], value_bytes: 64, nodes: 6, writes: 400 };
        let sheet = run(&options).unwrap();
        let systems = sheet.systems();
        let figure = |name: &str| systems["chinwag"][name].as_f64().unwrap();
        for name in ["by_log", "by_cells"] {
            assert!(figure(&format!("{name}_differ_200_times_ideal_bytes")) < 3.0, "{systems:#}");
        }
        assert!(figure("heal_entries_per_node") >= 400.0, "{systems:#}");
    }
}

//! A newcomer takes all that there is.

use super::chitchat::Pair;
use super::figures::{Bound, Column, Of, Sheet};
use super::material::{self, Material};
use super::world::{Rules, World};
use anyhow::{Context as _, Result, ensure};
use chinwag_crdt::Row;
use chinwag_gossip::{Config, Recovered};
use serde_json::json;
use std::time::Duration;

/// What takes longer is not counted.
const LIMIT: Duration = Duration::from_secs(3_600);

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nodes that write.
    pub writers: usize,
    /// Keys of each.
    pub keys: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// How often.
    pub runs: usize,
    /// What a commit takes, in microseconds, uniform.
    pub fsync_us: std::ops::Range<u64>,
    /// Whether chitchat is measured as well.
    pub chitchat: bool,
}

/// Does it.
///
/// # Errors
/// If the newcomer does not get everything.
pub fn run(options: &Options) -> Result<Sheet> {
    let mut sheet = Sheet {
        details: vec![
            ("writers", json!(options.writers)),
            ("keys", json!(options.writers * options.keys)),
            ("value_bytes", json!(options.value_bytes)),
            ("latency_ms", json!([1, 50])),
            ("fsync_us", json!([options.fsync_us.start, options.fsync_us.end])),
            ("runs", json!(options.runs)),
        ],
        ..Sheet::default()
    };
    let mut column = Column::default();
    for (prefix, in_log) in [("", false), ("by_log_", true)] {
        chinwag(options, in_log, prefix, &mut column)?;
    }
    sheet.columns.push(("chinwag", column));
    if options.chitchat {
        sheet.columns.push(("chitchat", chitchat(options)?));
    }
    sheet.goal("work_of_both_s", Of::Median, Bound::AtMost, 1.0);
    Ok(sheet)
}

/// The one that has everything holds it in cells, its log having been cut; or all of its log still has it.
fn chinwag(options: &Options, in_log: bool, prefix: &str, column: &mut Column) -> Result<()> {
    let mut material = Material::new(options.writers, options.writers * options.keys, options.value_bytes);
    let base = material.write(0..material.keys())?;
    let ideal: usize = base.iter().map(|entry| material::ideal_bytes(entry)).sum();
    let recovered = if in_log {
        let rows = (1..).zip(base.iter().cloned().map(Row::Write)).collect();
        Recovered { rows, ..Recovered::default() }
    } else {
        let whole = material::replica_of(material::replica(9_999, 1), &base);
        Recovered { checkpoint: material::checkpoint(&whole), rows: Vec::new() }
    };
    // As much log as that takes, or none.
    let config = Config { log_bytes_max: if in_log { usize::MAX } else { 0 }, ..Config::default() };
    let (mut took, mut work, mut ours, mut codec, mut bytes, mut messages) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for run in 0..options.runs {
        let rules = Rules { timed: true, fsync_us: options.fsync_us.clone(), ..Rules::default() };
        let mut world = World::new(config.clone(), rules, run as u64 + 1);
        world.add(material::replica(10_000, 1), recovered.clone());
        world.add(material::replica(10_001, 1), Recovered::default());
        world.tell_members(&[]);
        world.take_tally();
        world.connect(1, 0);
        let time =
            world.run_until(LIMIT, |world| world.are_equal(0, 1)).context("the newcomer did not get all")?;
        ensure!(world.gossip(1).replica().len() == material.keys(), "the newcomer has all keys");
        let tally = world.take_tally();
        took.push(time.as_secs_f64());
        work.push(tally.work().as_secs_f64());
        let newcomers = tally.handling.iter().filter(|((node, _), _)| *node == 1).map(|(_, time)| *time);
        ours.push(newcomers.sum::<Duration>().as_secs_f64());
        codec.push(tally.codec.as_secs_f64());
        bytes.push(tally.bytes() as f64);
        messages.push(tally.messages() as f64);
    }
    column.spread(format!("{prefix}took_virtual_s"), took);
    column.spread(format!("{prefix}work_of_both_s"), work);
    column.spread(format!("{prefix}work_of_newcomer_without_codec_s"), ours);
    column.spread(format!("{prefix}work_of_codec_s"), codec);
    column.spread(format!("{prefix}times_ideal_bytes"), bytes.iter().map(|b| b / ideal as f64).collect());
    column.spread(format!("{prefix}sent_bytes"), bytes);
    column.spread(format!("{prefix}messages"), messages);
    Ok(())
}

fn chitchat(options: &Options) -> Result<Column> {
    /// How often chitchat gossips unless told otherwise.
    const EVERY: Duration = Duration::from_secs(1);
    let material = Material::new(options.writers, options.writers * options.keys, options.value_bytes);
    let (mut took, mut work, mut bytes, mut messages) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for run in 0..options.runs {
        let mut pair = Pair::new(EVERY, 1_000..50_000, run as u64 + 1)?;
        pair.fill(0, &material, options.value_bytes, &[]);
        pair.take_tally();
        let begun = pair.now();
        while pair.known(1, options.writers) < material.keys() {
            pair.run(Duration::from_millis(20));
            ensure!(pair.now() - begun < LIMIT, "chitchat's newcomer did not get all within {LIMIT:?}");
        }
        let tally = pair.take_tally();
        took.push((pair.now() - begun).as_secs_f64());
        work.push(tally.work().as_secs_f64());
        bytes.push(tally.bytes() as f64);
        messages.push(tally.sent.values().map(|(messages, _)| *messages as f64).sum());
    }
    let mut column = Column::default();
    column.spread("took_virtual_s", took);
    column.spread("work_of_both_s", work);
    column.spread("sent_bytes", bytes);
    column.spread("messages", messages);
    Ok(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_gets_everything_from_cells_from_the_log_and_from_chitchat() {
        let options = Options {
            writers: 4,
            keys: 500,
            value_bytes: 32,
            runs: 1,
            fsync_us: 1_000..4_000,
            chitchat: true,
        };
        let systems = run(&options).unwrap().systems();
        for (system, figure) in [
            ("chinwag", "work_of_both_s"),
            ("chinwag", "by_log_work_of_both_s"),
            ("chitchat", "work_of_both_s"),
            ("chitchat", "took_virtual_s"),
        ] {
            assert!(systems[system][figure]["median"].as_f64().unwrap() > 0.0, "{systems:#}");
        }
    }
}

//! What two replicas that hold the same say to each other, however many have written.

use super::MEET;
use super::chitchat::{NEVER, Pair};
use super::figures::{Bound, Column, Of, Sheet};
use super::material::{self, Material};
use super::world::{Rules, World};
use anyhow::{Result, ensure};
use chinwag_crdt::Row;
use chinwag_gossip::{Config, Recovered};
use serde_json::json;
use std::time::Duration;

/// How long they are listened to.
const LISTEN: Duration = Duration::from_secs(120);
/// Bytes of a value: it is never sent.
const VALUE_BYTES: usize = 16;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes have written one key each, one after the other.
    pub writers: Vec<usize>,
    /// Whether chitchat is measured as well.
    pub chitchat: bool,
}

/// Does it.
///
/// # Errors
/// If they do not hold the same.
pub fn run(options: &Options) -> Result<Sheet> {
    let mut sheet = Sheet { details: vec![("writers", json!(options.writers))], ..Sheet::default() };
    let mut column = Column::default();
    for writers in &options.writers {
        chinwag(*writers, &mut column)?;
    }
    sheet.columns.push(("chinwag", column));
    if options.chitchat {
        let mut column = Column::default();
        for writers in &options.writers {
            chitchat(*writers, &mut column)?;
        }
        sheet.columns.push(("chitchat", column));
    }
    for writers in &options.writers {
        sheet.goal(format!("writers_{writers}_exchange_bytes"), Of::Median, Bound::AtMost, 40.0);
    }
    Ok(sheet)
}

fn chinwag(writers: usize, column: &mut Column) -> Result<()> {
    let entries = Material::new(writers, writers, VALUE_BYTES).write(0..writers)?;
    let rows: Vec<_> = (1..).zip(entries.into_iter().map(Row::Write)).collect();
    let mut world = World::new(Config::default(), Rules::default(), 1);
    for number in 0..2 {
        let recovered = Recovered { rows: rows.clone(), ..Recovered::default() };
        world.add(material::replica(1_000_000 + number, 1), recovered);
    }
    world.tell_members(&[]);
    world.connect(0, 1);
    world.run(MEET);
    world.take_tally();
    world.run(LISTEN);
    ensure!(world.are_equal(0, 1), "the two replicas hold the same");
    let tally = world.take_tally();
    ensure!(tally.exchanges.0 == tally.exchanges.1 && tally.exchanges.0 > 0, "{:?}", tally.exchanges);
    let compared = |name: &str| tally.frames.get(name).copied().unwrap_or_default();
    let (question, answer) = (compared("compare"), compared("same"));
    let each = |(frames, bytes): (u64, u64)| bytes as f64 / frames.max(1) as f64;
    column.one(format!("writers_{writers}_exchange_bytes"), each(question) + each(answer));
    let seconds = LISTEN.as_secs_f64() * 2.0;
    column.one(format!("writers_{writers}_bytes_per_node_second"), tally.bytes() as f64 / seconds);
    Ok(())
}

fn chitchat(writers: usize, column: &mut Column) -> Result<()> {
    let material = Material::new(writers, writers, VALUE_BYTES);
    let mut pair = Pair::new(NEVER, 1_000..50_000, 1)?;
    pair.fill(0, &material, VALUE_BYTES, &[]);
    pair.fill(1, &material, VALUE_BYTES, &[]);
    // They learn of each other.
    pair.exchange(true)?;
    pair.take_tally();
    pair.exchange(true)?;
    let tally = pair.take_tally();
    let digest = tally.sent.get("syn").map_or(0, |(_, bytes)| *bytes);
    column.one(format!("writers_{writers}_exchange_bytes"), tally.bytes() as f64);
    column.one(format!("writers_{writers}_digest_bytes"), digest as f64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_at_rest_does_not_grow_with_writers() {
        let sheet = run(&Options { writers: vec![1, 64], chitchat: true }).unwrap();
        let systems = sheet.systems();
        let bytes = |system: &str, writers: usize| {
            systems[system][format!("writers_{writers}_exchange_bytes")].as_f64().unwrap()
        };
        assert!((bytes("chinwag", 1) - bytes("chinwag", 64)).abs() <= 2.0, "{systems:#}");
        assert!(bytes("chitchat", 64) > 2.0 * bytes("chitchat", 1), "{systems:#}");
    }
}

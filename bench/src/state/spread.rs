//! One write: when do all members have it, and how often is it sent?
//!
//! Up to [`MESH_MAX`] members everybody is connected to everybody, as in a daemon's overlay; beyond, each to some others
//! drawn at random, about as many as membership keeps. Each link has a latency of its own, for good. Disks take no time, so
//! that it is the network that is measured. The first writes find the tree and are not counted.

use super::figures::{Bound, Column, Of, Sheet};
use super::iroh::{self, Lost};
use super::material;
use super::world::{Rules, World};
use crate::membership::options::Delivery;
use anyhow::{Context as _, Result};
use chinwag_crdt::Op;
use chinwag_gossip::{Config, Recovered};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Members beyond which connections are bounded.
const MESH_MAX: usize = 128;
/// Connections that each member of a larger overlay opens.
const LINKS: usize = 12;
/// A write that takes longer is counted as not delivered.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// Between two writes: everything is told and compared again.
pub(super) const CALM: Duration = Duration::from_secs(3);
/// Bytes of the value.
pub(super) const VALUE_BYTES: usize = 64;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many members.
    pub nodes: usize,
    /// How many writes, each of another member, one after the other.
    pub writes: usize,
    /// The part of frames of the gossip lane that is lost.
    pub loss: f64,
    /// Whether iroh-gossip is measured as well.
    pub iroh_gossip: bool,
}

/// Does it.
///
/// # Errors
/// If the members do not become equal before anything is lost.
pub fn run(options: &Options) -> Result<Sheet> {
    let mut sheet = Sheet {
        details: vec![
            ("nodes", json!(options.nodes)),
            ("writes", json!(options.writes)),
            ("loss", json!(options.loss)),
            ("latency_ms", json!([10, 50])),
        ],
        ..Sheet::default()
    };
    sheet.columns.push(("chinwag", chinwag(options)?));
    if options.iroh_gossip {
        sheet.columns.push(("iroh_gossip", iroh::column(options, Lost::Late)?));
    }
    if options.iroh_gossip && options.loss > 0.0 {
        sheet.columns.push(("iroh_gossip_datagrams", iroh::column(options, Lost::Never)?));
    }
    sheet.goal("delivered_ratio", Of::Median, Bound::AtLeast, 1.0);
    if options.loss == 0.0 {
        sheet.goal("all_have_it_ms", Of::Median, Bound::AtMost, 250.0);
        sheet.goal("duplicates_per_message", Of::Median, Bound::AtMost, 0.05);
    }
    Ok(sheet)
}

/// What was measured of writes, one after the other.
#[derive(Debug, Default)]
pub(super) struct Spread {
    half: Vec<f64>,
    all: Vec<f64>,
    duplicates: Vec<f64>,
    bytes: Vec<f64>,
}

impl Spread {
    /// One write was everywhere: when at each node, how often it was received, and what was sent until all was calm.
    pub(super) fn count(&mut self, mut times_ms: Vec<f64>, received: u64, bytes: u64) {
        times_ms.sort_by(f64::total_cmp);
        let nodes = times_ms.len();
        self.half.push(times_ms[nodes / 2]);
        self.all.push(times_ms[nodes - 1]);
        let needed = (nodes - 1) as f64;
        self.duplicates.push((received as f64 - needed) / needed);
        self.bytes.push(bytes as f64 / nodes as f64);
    }

    /// The same of so many writes, some of which may not have come everywhere.
    pub(super) fn column(self, writes: usize) -> Column {
        let mut column = Column::default();
        column.one("delivered_ratio", self.all.len() as f64 / writes as f64);
        column.spread("half_have_it_ms", self.half);
        column.spread("all_have_it_ms", self.all);
        column.spread("duplicates_per_message", self.duplicates);
        column.spread("bytes_per_node_until_calm", self.bytes);
        column
    }
}

/// Connects members, each of many to some that are drawn at random.
pub(super) fn connect(world: &mut World, nodes: usize, seed: u64) {
    if nodes <= MESH_MAX {
        return world.connect_all();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut links = BTreeSet::new();
    for a in 0..nodes {
        let mut others: Vec<usize> = (0..nodes).filter(|b| *b != a).collect();
        let (chosen, _) = others.partial_shuffle(&mut rng, LINKS);
        // A ring keeps it in one piece.
        links.extend(chosen.iter().copied().chain([(a + 1) % nodes]).map(|b| (a.min(b), a.max(b))));
    }
    for (a, b) in links {
        world.connect(a, b);
    }
}

fn chinwag(options: &Options) -> Result<Column> {
    let delivery = if options.loss > 0.0 { Delivery::Datagrams } else { Delivery::Streams };
    let rules =
        Rules { latency_us: 10_000..50_000, links: true, loss: options.loss, delivery, ..Rules::default() };
    let mut world = World::new(Config::default(), rules, 1);
    for number in 0..options.nodes {
        world.add(material::replica(number, 1), Recovered::default());
    }
    world.tell_members(&[]);
    connect(&mut world, options.nodes, 1);
    world.watches = true;
    world.run(CALM);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut spread = Spread::default();
    for number in 0..iroh::WARM_UP + options.writes {
        let writer = rng.random_range(0..options.nodes);
        let value = material::as_value(&material::value(number, 1, VALUE_BYTES))?;
        world.take_tally();
        let begun = world.now;
        world.applied.clear();
        world.write(writer, vec![Op::Set { key: material::key(1, number)?, value }]);
        let has_all = |world: &World| world.applied.values().any(|at| at.len() == options.nodes);
        let has_come = world.run_until(LIMIT, has_all).is_some();
        if number < iroh::WARM_UP {
            world.run(CALM);
        }
        if !has_come || number < iroh::WARM_UP {
            continue;
        }
        let arrivals =
            world.applied.values().find(|at| at.len() == options.nodes).context("it has arrived")?;
        let times = arrivals.iter().map(|(_, at)| at.since(begun).as_secs_f64() * 1e3).collect();
        world.run(CALM);
        let tally = world.take_tally();
        spread.count(times, tally.entries, tally.bytes());
    }
    Ok(spread.column(options.writes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_reaches_everybody_also_where_not_everybody_is_connected() {
        for (nodes, loss) in [(8, 0.0), (200, 0.0), (8, 0.1)] {
            let sheet = run(&Options { nodes, writes: 2, loss, iroh_gossip: false }).unwrap();
            let systems = sheet.systems();
            assert_eq!(systems["chinwag"]["delivered_ratio"], 1, "{systems:#}");
            assert!(systems["chinwag"]["all_have_it_ms"]["median"].as_f64().unwrap() >= 10.0, "{systems:#}");
        }
    }
}

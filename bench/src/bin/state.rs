//! What is known: chinwag's replicated state beside systems that do the same work.
//!
//! ```console
//! $ cargo run --release --bin state -- delta
//! ```

use anyhow::{Context as _, Result};
use chinwag_bench::machine::Machine;
use chinwag_bench::report;
use chinwag_bench::scratch::Store;
use chinwag_bench::state::figures::Sheet;
use chinwag_bench::state::{churn, delta, idle, join, merge, open, reconcile, rounds, spread, writes};
use clap::{Args, Parser, Subcommand};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Measure how fast, how cheaply and how surely members come to hold the same
#[derive(Debug, Parser)]
#[command(name = "state")]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Two replicas differ in some keys: how long does it take to find out, and what is sent?
    Delta {
        #[command(flatten)]
        keys: Keys,
        /// How many keys differ; several, one after the other
        #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [160, 1_600, 160_000])]
        differ: Vec<usize>,
        /// How often each, fewer where many differ
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = number(1, 10_000))]
        runs: usize,
        #[command(flatten)]
        common: Common,
    },
    /// How fast is what others wrote taken in, on one core?
    Merge {
        /// Registers, and elements of sets
        #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = number(100, 10_000_000))]
        elements: usize,
        /// Sets that elements are added to
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = number(1, 100_000))]
        sets: usize,
        /// Bytes of a value or an element
        #[arg(long, value_name = "BYTES", default_value_t = 32, value_parser = number(16, 4_096))]
        value_bytes: usize,
        /// Elements in which the two sets differ that are merged
        #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = number(2, 100_000))]
        differ: usize,
        /// How often
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = number(1, 1_000))]
        runs: usize,
        #[command(flatten)]
        common: Common,
    },
    /// A newcomer takes all that there is: what work is that, and how long does it take on a link of 1 to 50 ms?
    Join {
        #[command(flatten)]
        keys: Keys,
        /// How often
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = number(1, 1_000))]
        runs: usize,
        /// The longest that a commit of the newcomer's takes, in microseconds; the shortest is a quarter of it
        #[arg(long, value_name = "US", default_value_t = 4_000, value_parser = number(0, 1_000_000))]
        fsync_us: usize,
        #[command(flatten)]
        common: Common,
    },
    /// One write: when do all members have it, and how often is it sent?
    Spread {
        /// How many members; more than 128 are not all connected to each other
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = number(2, 5_000))]
        nodes: usize,
        /// How many writes, each of another member
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = number(1, 10_000))]
        writes: usize,
        /// The part of frames that is lost
        #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
        loss: f64,
        #[command(flatten)]
        common: Common,
    },
    /// One write that nothing but anti-entropy spreads: after how many rounds do all members have it?
    Rounds {
        /// How many members; more than 128 are not all connected to each other
        #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = number(2, 5_000))]
        nodes: usize,
        /// How many overlays, each with its own seed
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = number(1, 10_000))]
        seeds: usize,
        /// How many writes in each, one after the other
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = number(1, 10_000))]
        writes: usize,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// What it takes to become equal again: two replicas of which one has heard more, and two halves that both wrote
    Reconcile {
        /// Cells that two replicas hold
        #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = number(1_000, 10_000_000))]
        cells: usize,
        /// In how many they differ; several, one after the other
        #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 100, 1_000])]
        differ: Vec<usize>,
        /// Bytes of a value
        #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = number(1, 65_536))]
        value_bytes: usize,
        /// Members of the overlay that is split, half and half
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = number(2, 1_000))]
        nodes: usize,
        /// Writes on each side
        #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = number(100, 1_000_000))]
        writes: usize,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Two replicas hold the same: what do they say to each other?
    Idle {
        /// Nodes that have written; several, one after the other
        #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 16, 1_000, 10_000])]
        writers: Vec<usize>,
        #[command(flatten)]
        common: Common,
    },
    /// Durable writes of one daemon, of SQLite and of etcd: how many a second, how long does each take, and what does the
    /// disk allow?
    Writes {
        /// Clients that write at once; several, one after the other
        #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 16, 64])]
        clients: Vec<usize>,
        /// How long each system is measured with so many clients, in all rounds together
        #[arg(long, value_name = "SECONDS", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// Bytes of a value
        #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = number(1, 32_768))]
        value_bytes: usize,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        common: Common,
    },
    /// How long does a store of many keys take to open after kill -9, a daemon's, SQLite's and etcd's?
    Open {
        /// How many keys
        #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = number(1, 3_000_000))]
        keys: usize,
        /// Bytes of a value
        #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = number(16, 4_096))]
        value_bytes: usize,
        /// How often
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = number(1, 100))]
        runs: usize,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        common: Common,
    },
    /// Keys are made and deleted without end at a lone daemon: do its memory and its disk stay flat?
    Churn {
        /// How many are made
        #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = number(1_000, 1_000_000_000))]
        keys: usize,
        /// How many live at any time
        #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = number(1, 1_000_000))]
        live: usize,
        /// Bytes of a value
        #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = number(1, 4_096))]
        value_bytes: usize,
        #[command(flatten)]
        place: Place,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Where real daemons run.
#[derive(Debug, Clone, Args)]
struct Place {
    /// Where to write
    #[arg(long, value_enum, default_value_t = Store::Disk)]
    store: Store,
    /// The directory; its file system is what is measured
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where chinwag and chinwagd are
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// What there is.
#[derive(Debug, Clone, Args)]
struct Keys {
    /// Nodes that have written
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = number(1, 10_000))]
    writers: usize,
    /// Keys of each
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = number(1, 10_000_000))]
    keys: usize,
    /// Bytes of a value
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = number(1, 65_536))]
    value_bytes: usize,
}

#[derive(Debug, Clone, Args)]
struct Common {
    /// Leave the other systems out
    #[arg(long)]
    alone: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A number within bounds.
fn number(least: u64, most: u64) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number: u64 = text.replace('_', "").parse().map_err(|_| format!("{text} is no number"))?;
        if (least..=most).contains(&number) {
            Ok(number as usize)
        } else {
            Err(format!("{number} is not between {least} and {most}"))
        }
    }
}

fn main() -> ExitCode {
    report::end(run())
}

fn run() -> Result<ExitCode> {
    let command = Command::parse();
    let machine = Machine::here();
    let begun = Instant::now();
    let (name, sheet, json) = measure(command.what)?;
    let took = (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    let mut result = Map::new();
    result.insert("bench".to_owned(), json!("state"));
    result.insert("experiment".to_owned(), json!(name));
    result.extend(sheet.details.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    result.insert("systems".to_owned(), sheet.systems());
    result.insert("goals".to_owned(), json!(sheet.goals));
    result.insert("took_s".to_owned(), json!(took));
    result.insert("machine".to_owned(), json!(machine));
    report::print(json, &Value::Object(result), &text(name, &sheet, &machine))
        .context("standard output is closed")?;
    Ok(ExitCode::SUCCESS)
}

fn measure(what: What) -> Result<(&'static str, Sheet, bool)> {
    Ok(match what {
        What::Delta { keys, differ, runs, common } => {
            let Keys { writers, keys, value_bytes } = keys;
            let all = writers * keys;
            let differ = differ.into_iter().map(|differ| differ.min(all)).collect();
            let options =
                delta::Options { writers, keys, value_bytes, differ, runs, chitchat: !common.alone };
            ("delta", delta::run(&options)?, common.json)
        }
        What::Merge { elements, sets, value_bytes, differ, runs, common } => {
            let options = merge::Options { elements, sets, value_bytes, differ, runs, crdts: !common.alone };
            ("merge", merge::run(&options)?, common.json)
        }
        What::Join { keys, runs, fsync_us, common } => {
            let Keys { writers, keys, value_bytes } = keys;
            let fsync_us = fsync_us as u64 / 4..fsync_us as u64;
            let options =
                join::Options { writers, keys, value_bytes, runs, fsync_us, chitchat: !common.alone };
            ("join", join::run(&options)?, common.json)
        }
        What::Spread { nodes, writes, loss, common } => {
            let options = spread::Options { nodes, writes, loss, iroh_gossip: !common.alone };
            ("spread", spread::run(&options)?, common.json)
        }
        What::Rounds { nodes, seeds, writes, json } => {
            ("rounds", rounds::run(&rounds::Options { nodes, seeds, writes })?, json)
        }
        What::Reconcile { cells, differ, value_bytes, nodes, writes, json } => {
            let options = reconcile::Options { cells, differ, value_bytes, nodes, writes };
            ("reconcile", reconcile::run(&options)?, json)
        }
        What::Idle { writers, common } => {
            let options = idle::Options { writers, chitchat: !common.alone };
            ("idle", idle::run(&options)?, common.json)
        }
        What::Writes { clients, seconds, value_bytes, place, common } => {
            let (Place { store, dir, bin_dir }, others) = (place, !common.alone);
            let options = writes::Options { clients, seconds, value_bytes, store, dir, bin_dir, others };
            ("writes", writes::run(&options)?, common.json)
        }
        What::Open { keys, value_bytes, runs, place, common } => {
            let (Place { store, dir, bin_dir }, others) = (place, !common.alone);
            let options = open::Options { keys, value_bytes, runs, store, dir, bin_dir, others };
            ("open", open::run(&options)?, common.json)
        }
        What::Churn { keys, live, value_bytes, place, json } => {
            let Place { store, dir, bin_dir } = place;
            let options = churn::Options { keys, live, value_bytes, store, dir, bin_dir };
            ("churn", churn::run(&options)?, json)
        }
    })
}

fn text(name: &str, sheet: &Sheet, machine: &Machine) -> String {
    let details: Vec<String> = sheet.details.iter().map(|(name, value)| format!("{name} {value}")).collect();
    format!("{name}: {}\n\n{}\n{}\n", details.join(", "), sheet.table(), machine.line())
}

//! What three daemons cost while nothing is asked of them.
//!
//! ```console
//! $ cargo run --release --bin idle
//! ```

use anyhow::{Context as _, Result};
use chinwag_bench::cost::{cpu_of, memory_of};
use chinwag_bench::machine::Machine;
use chinwag_bench::processes::{Binaries, Lab};
use chinwag_bench::report::{self, note, number};
use clap::Parser;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What an idle daemon is to cost at most; the README has where the goals are from.
const GOAL_MIB: f64 = 14.0;
const GOAL_CPU_PERCENT: f64 = 0.3;
const MIB: f64 = 1_048_576.0;

/// Measure memory and processor time of idle daemons, as processes
#[derive(Debug, Parser)]
#[command(name = "idle")]
struct Args {
    /// Daemons
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    nodes: u8,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How long to wait before, until they have settled
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=600))]
    settle: u64,
    /// Where chinwag and chinwagd are
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    resident_mib: f64,
    private_mib: f64,
    cpu_percent: f64,
}

fn main() -> ExitCode {
    report::end(run())
}

#[tokio::main]
async fn run() -> Result<ExitCode> {
    let args = Args::parse();
    let machine = Machine::here();
    let binaries = Binaries::find(args.bin_dir.as_deref())?;
    let age = binaries.age().unwrap_or_default();
    let lab = Lab::start(binaries, usize::from(args.nodes)).await?;
    note(&format!("{} daemons agree; measuring for {} s ...", args.nodes, args.seconds));
    tokio::time::sleep(Duration::from_secs(args.settle)).await;

    let read = || lab.daemons().iter().map(|daemon| cpu_of(daemon.pid())).collect::<Result<Vec<_>>>();
    let (begun, before) = (Instant::now(), read()?);
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let (elapsed, after) = (begun.elapsed(), read()?);
    let rows = lab.daemons().iter().zip(before.iter().zip(after)).map(|(daemon, (before, after))| {
        let memory = memory_of(daemon.pid())?;
        Ok(Row {
            name: daemon.name,
            resident_mib: memory.resident_bytes as f64 / MIB,
            private_mib: memory.private_bytes as f64 / MIB,
            cpu_percent: after.saturating_sub(*before).as_secs_f64() / elapsed.as_secs_f64() * 100.0,
        })
    });
    let rows = rows.collect::<Result<Vec<Row>>>()?;
    let most = |of: fn(&Row) -> f64| rows.iter().map(of).fold(0.0, f64::max);
    let (resident, cpu) = (most(|row| row.resident_mib), most(|row| row.cpu_percent));

    let result = json!({
        "bench": "idle", "nodes": args.nodes, "seconds": elapsed.as_secs_f64(), "daemons": rows,
        "most": {"resident_mib": resident, "cpu_percent": cpu},
        "goal": {"resident_mib": GOAL_MIB, "cpu_percent": GOAL_CPU_PERCENT},
        "built_s_ago": age.as_secs(), "machine": machine,
    });
    let mut lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let figures = [row.resident_mib, row.private_mib, row.cpu_percent].map(number);
            std::iter::once(row.name.to_owned()).chain(figures).collect()
        })
        .collect();
    lines.push(vec!["goal".to_owned(), number(GOAL_MIB), "-".to_owned(), number(GOAL_CPU_PERCENT)]);
    let text = report::table(&["", "resident MiB", "private MiB", "% of a core"], &lines);
    let text = format!(
        "{} idle daemons for {} s, built {} min ago\n\n{text}\n{}\n",
        args.nodes,
        args.seconds,
        age.as_secs() / 60,
        machine.line()
    );
    report::print(args.json, &result, &text).context("standard output is closed")?;
    Ok(ExitCode::SUCCESS)
}

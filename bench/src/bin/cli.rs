//! How long a command takes, from the start of its process to its end.
//!
//! ```console
//! $ cargo run --release --bin cli
//! ```

use anyhow::{Context as _, Result, ensure};
use chinwag_bench::latency::{Latencies, Summary};
use chinwag_bench::machine::Machine;
use chinwag_bench::processes::{Binaries, Lab};
use chinwag_bench::report::{self, note, number, us};
use clap::Parser;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// What an answer is to take at most; the README has where the goal is from.
const GOAL: Duration = Duration::from_millis(50);
/// Runs before the measured ones, which find everything in the page cache.
const WARM_UP: usize = 5;
/// A process that does nothing.
const NOTHING: &str = "true";

/// Measure commands of the CLI, as processes, beside a process that does nothing
#[derive(Debug, Parser)]
#[command(name = "cli")]
struct Args {
    /// Runs of each command
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    count: u64,
    /// Start no run of a command after so long
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Where chinwag and chinwagd are
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    command: String,
    runs: u64,
    #[serde(flatten)]
    latency: Summary,
    /// Times the median of a process that does nothing.
    over_nothing: f64,
}

fn main() -> ExitCode {
    report::end(run())
}

#[tokio::main]
async fn run() -> Result<ExitCode> {
    let args = Args::parse();
    let machine = Machine::here();
    let lab = Lab::start(Binaries::find(args.bin_dir.as_deref())?, 3).await?;
    let lines = [
        NOTHING.to_owned(),
        "chinwag -n alpha set greeting hello".to_owned(),
        "chinwag -n beta get greeting".to_owned(),
        "chinwag -n gamma status".to_owned(),
        "chinwag -n gamma members".to_owned(),
    ];
    // What is read exists, everywhere, before it is read.
    let mut first = lab.chinwag();
    first.args(["-n", "alpha", "set", "greeting", "hello", "--wait", "all"]);
    first.stdout(Stdio::null()).stderr(Stdio::null());
    once(&mut first)?;
    let mut rows: Vec<Row> = Vec::new();
    for line in lines {
        note(&format!("{line} ..."));
        let mut words = line.split(' ');
        let program = words.next().unwrap_or_default();
        let mut command = if program == NOTHING { Command::new(NOTHING) } else { lab.chinwag() };
        command.args(words);
        let latencies = time(&mut command, &args)?;
        let latency = latencies.summary();
        let nothing = rows.first().map_or(latency.p50_us, |row| row.latency.p50_us);
        rows.push(Row {
            command: line,
            runs: latencies.count(),
            latency,
            over_nothing: latency.p50_us / nothing,
        });
    }
    let result = json!({
        "bench": "cli", "commands": rows, "goal_us": GOAL.as_micros() as u64, "machine": machine,
    });
    let table: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let figures = [row.latency.p50_us, row.latency.p90_us, row.latency.p99_us, row.latency.max_us];
            let cells = figures.map(us).into_iter().chain([number(row.over_nothing)]);
            [row.command.clone(), row.runs.to_string()].into_iter().chain(cells).collect()
        })
        .collect();
    let table = report::table(&["", "runs", "p50", "p90", "p99", "max", "x nothing"], &table);
    let goal = us(GOAL.as_micros() as f64);
    let text = format!("commands, from start to end; goal {goal}\n\n{table}\n{}\n", machine.line());
    report::print(args.json, &result, &text).context("standard output is closed")?;
    Ok(ExitCode::SUCCESS)
}

fn time(command: &mut Command, args: &Args) -> Result<Latencies> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for _ in 0..WARM_UP {
        once(command)?;
    }
    let (begun, mut latencies) = (Instant::now(), Latencies::default());
    while latencies.count() < args.count && begun.elapsed() < Duration::from_secs(args.seconds) {
        latencies.record(once(command)?);
    }
    Ok(latencies)
}

fn once(command: &mut Command) -> Result<Duration> {
    let started = Instant::now();
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    let took = started.elapsed();
    ensure!(status.success(), "{command:?}: {status}");
    Ok(took)
}

//! chinwag's daemons beside serf's agents, as processes on loopback: how long they take to meet and to miss who was killed, and
//! what they cost when nothing happens.
//!
//! ```console
//! $ cargo run --release --bin agents -- --nodes 3,10,30
//! ```

use anyhow::{Context as _, Result, ensure};
use chinwag_bench::agents::{Agents, System};
use chinwag_bench::cost::{cpu_of, memory_of};
use chinwag_bench::machine::Machine;
use chinwag_bench::processes::Binaries;
use chinwag_bench::report::{self, note, number, us};
use clap::{Parser, ValueEnum};
use serde::Serialize;
use serde_json::{Map, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const MIB: f64 = 1_048_576.0;

/// Compare chinwag's daemons with serf's agents, as processes on this machine
#[derive(Debug, Parser)]
#[command(name = "agents")]
struct Args {
    /// How many run at once
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "3,10,30", value_parser = clap::value_parser!(u16).range(2..=100))]
    nodes: Vec<u16>,
    /// How often they are started, and some of them killed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
    /// How many are killed at once: a tenth, and one at least, unless told
    #[arg(long, value_name = "N")]
    gone: Option<u16>,
    /// How long to wait before the cost is measured, and before anybody is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    settle: u64,
    /// For how long the cost is measured, in the first round
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How long to wait until all have met, or know who is gone
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=600))]
    limit: u64,
    /// One of them alone
    #[arg(long)]
    only: Option<Only>,
    /// Where chinwagd is
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    Chinwag,
    Serf,
}

/// Of all rounds.
#[derive(Debug, Default, Serialize)]
struct Figures {
    nodes: u16,
    gone: u16,
    join_ms: Vec<f64>,
    all_down_ms: Vec<f64>,
    /// Rounds in which somebody did not learn of the deaths within the limit.
    incomplete: u32,
    false_deaths: usize,
    idle_cpu_percent_median: f64,
    idle_cpu_percent_max: f64,
    resident_mib_median: f64,
    private_mib_median: f64,
}

fn main() -> ExitCode {
    report::end(run())
}

#[tokio::main]
async fn run() -> Result<ExitCode> {
    let args = Args::parse();
    let machine = Machine::here();
    let binaries = Binaries::find(args.bin_dir.as_deref())?;
    let built_s_ago = binaries.age().unwrap_or_default().as_secs();
    let mut results = Vec::new();
    for &nodes in &args.nodes {
        for system in [System::Chinwag, System::Serf] {
            let left_out = matches!(
                (args.only, system),
                (Some(Only::Chinwag), System::Serf) | (Some(Only::Serf), System::Chinwag)
            );
            if !left_out {
                note(&format!("{nodes} of {} ...", system.name()));
                results.push((system, measure(&args, &binaries, system, nodes).await?));
            }
        }
    }
    let mut systems = Map::new();
    for (system, figures) in &results {
        let of = systems.entry(system.name()).or_insert_with(|| json!([]));
        of.as_array_mut().context("an array, because it was made one")?.push(serde_json::to_value(figures)?);
    }
    let result = json!({
        "bench": "agents", "rounds": args.rounds, "settle_s": args.settle, "idle_s": args.seconds, "limit_s": args.limit,
        "systems": systems, "built_s_ago": built_s_ago, "machine": machine,
    });
    let head = [
        "",
        "join",
        "killed",
        "all down",
        "false deaths",
        "idle, % of a core",
        "most",
        "resident MiB",
        "private MiB",
    ];
    let lines: Vec<Vec<String>> = results.iter().map(|(system, figures)| line(*system, figures)).collect();
    let text = format!(
        "median (most) of {} rounds, chinwagd built {} min ago\n\n{}\n{}\n",
        args.rounds,
        built_s_ago / 60,
        report::table(&head, &lines),
        machine.line()
    );
    report::print(args.json, &result, &text).context("standard output is closed")?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(args: &Args, binaries: &Binaries, system: System, nodes: u16) -> Result<Figures> {
    let gone = args.gone.unwrap_or((nodes / 10).max(1));
    ensure!(gone < nodes, "somebody has to be left: --gone is below each of --nodes");
    let (settle, limit) = (Duration::from_secs(args.settle), Duration::from_secs(args.limit));
    let mut figures = Figures { nodes, gone, ..Figures::default() };
    for round in 0..args.rounds {
        let mut agents = Agents::start(system, binaries, usize::from(nodes), limit).await?;
        figures.join_ms.push(ms(agents.joined));
        tokio::time::sleep(settle).await;
        if round == 0 {
            cost(&agents, Duration::from_secs(args.seconds), &mut figures).await?;
        }
        match agents.kill(usize::from(gone), limit).await? {
            Some(after) => figures.all_down_ms.push(ms(after)),
            None => figures.incomplete += 1,
        }
        figures.false_deaths += agents.false_deaths();
    }
    Ok(figures)
}

async fn cost(agents: &Agents, during: Duration, figures: &mut Figures) -> Result<()> {
    let read = || agents.running().iter().map(|agent| cpu_of(agent.pid())).collect::<Result<Vec<_>>>();
    let (begun, before) = (Instant::now(), read()?);
    tokio::time::sleep(during).await;
    let (elapsed, after) = (begun.elapsed(), read()?);
    let used = before.iter().zip(&after).map(|(before, after)| after.saturating_sub(*before));
    let cpu: Vec<f64> = used.map(|used| used.as_secs_f64() / elapsed.as_secs_f64() * 100.0).collect();
    let memory: Vec<_> =
        agents.running().iter().map(|agent| memory_of(agent.pid())).collect::<Result<_>>()?;
    figures.idle_cpu_percent_median = median(&cpu);
    figures.idle_cpu_percent_max = most(&cpu);
    figures.resident_mib_median =
        median(&memory.iter().map(|m| m.resident_bytes as f64 / MIB).collect::<Vec<_>>());
    figures.private_mib_median =
        median(&memory.iter().map(|m| m.private_bytes as f64 / MIB).collect::<Vec<_>>());
    Ok(())
}

fn line(system: System, figures: &Figures) -> Vec<String> {
    let times = |of: &[f64]| match of {
        [] => "-".to_owned(),
        of => format!("{} ({})", us(median(of) * 1e3), us(most(of) * 1e3)),
    };
    let down = times(&figures.all_down_ms);
    vec![
        format!("{} {}", figures.nodes, system.name()),
        times(&figures.join_ms),
        figures.gone.to_string(),
        if figures.incomplete > 0 { format!("{down}, {} never", figures.incomplete) } else { down },
        figures.false_deaths.to_string(),
        number(figures.idle_cpu_percent_median),
        number(figures.idle_cpu_percent_max),
        number(figures.resident_mib_median),
        number(figures.private_mib_median),
    ]
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

fn most(of: &[f64]) -> f64 {
    of.iter().copied().fold(0.0, f64::max)
}

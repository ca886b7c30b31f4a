//! How long a write takes from its acknowledgement at one daemon until it is visible at two others.
//!
//! ```console
//! $ cargo run --release --bin propagation
//! ```

use anyhow::{Context as _, Result, bail};
use chinwag_bench::disk::Appended;
use chinwag_bench::latency::{Latencies, Summary};
use chinwag_bench::machine::Machine;
use chinwag_bench::ours::Overlay;
use chinwag_bench::ping::ping;
use chinwag_bench::report::{self, note, number, us};
use chinwag_bench::scratch::{self, Store};
use chinwag_daemon::{Handle, Op, Wait};
use clap::Parser;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The one that writes, and those that see it.
const MEMBERS: usize = 3;
/// Writes before the measured ones.
const WARM_UP: u64 = 20;
/// Echoes and durable appends that the floor is taken from.
const FLOOR: u64 = 1_000;
const FLOOR_FOR: Duration = Duration::from_secs(3);
/// How long one write may take to be seen.
const PATIENCE: Duration = Duration::from_secs(30);
/// Sightings that wait to be read; one write makes two.
const SEEN_MAX: usize = 64;

/// Measure how long a write takes to be visible at two other daemons
#[derive(Debug, Parser)]
#[command(name = "propagation")]
struct Args {
    /// Writes, one after the other
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// Start no write after so long
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Where the daemons keep their logs
    #[arg(long, value_enum, default_value_t = Store::Disk)]
    store: Store,
    /// The directory for them
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was timed.
#[derive(Debug, Default)]
struct Times {
    acknowledged: Latencies,
    /// From the acknowledgement until the first, and until both others show it. Zero if that was before.
    first: Latencies,
    both: Latencies,
    /// From the call until both others show it.
    whole: Latencies,
}

fn main() -> ExitCode {
    report::end(run())
}

#[tokio::main]
async fn run() -> Result<ExitCode> {
    let args = Args::parse();
    let machine = Machine::here();
    let ping = ping(LOOPBACK, FLOOR, FLOOR_FOR).await?.summary();
    let sync = appends(&args)?;
    let overlay = Overlay::start(LOOPBACK, MEMBERS, 0, args.store, args.dir.as_deref()).await?;
    note("three daemons agree; writing ...");
    let timed = times(overlay.daemons(), &args).await;
    overlay.end().await;
    let times = timed?;

    let rows: Vec<(&str, Summary)> = vec![
        ("TCP echo", ping),
        ("file + fdatasync", sync),
        ("write acknowledged", times.acknowledged.summary()),
        ("then seen by the first", times.first.summary()),
        ("then seen by both", times.both.summary()),
        ("call to seen by both", times.whole.summary()),
    ];
    let floor = ping.p50_us + sync.p50_us;
    let both = times.both.summary();
    let result = json!({
        "bench": "propagation", "store": args.store, "writes": times.both.count(),
        "ping": ping, "fdatasync": sync, "acknowledged": rows[2].1, "first": rows[3].1, "both": both,
        "call_to_both": rows[5].1,
        "ratio": {
            "both_p50_over_ping": both.p50_us / ping.p50_us,
            "both_p99_over_ping": both.p99_us / ping.p50_us,
            "both_p50_over_ping_and_fdatasync": both.p50_us / floor,
        },
        "machine": machine,
    });
    let table: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, row)| {
            let cells = [row.p50_us, row.p90_us, row.p99_us, row.max_us].map(us).into_iter();
            let cells = cells.chain([number(row.p50_us / ping.p50_us), number(row.p50_us / floor)]);
            std::iter::once((*name).to_owned()).chain(cells).collect()
        })
        .collect();
    let head = ["", "p50", "p90", "p99", "max", "p50 x echo", "x (echo + fdatasync)"];
    let table = report::table(&head, &table);
    let text = format!("{} writes, one after the other\n\n{table}\n{}\n", times.both.count(), machine.line());
    report::print(args.json, &result, &text).context("standard output is closed")?;
    Ok(ExitCode::SUCCESS)
}

/// What one durable append costs where the daemons keep their logs.
fn appends(args: &Args) -> Result<Summary> {
    let dir = scratch::directory(args.store, args.dir.as_deref())?;
    let (file, begun, mut latencies) = (Appended::create(dir.path())?, Instant::now(), Latencies::default());
    while latencies.count() < FLOOR && begun.elapsed() < FLOOR_FOR {
        let started = Instant::now();
        file.append(&[0; 128])?;
        latencies.record(started.elapsed());
    }
    Ok(latencies.summary())
}

async fn times(daemons: &[Arc<Handle>], args: &Args) -> Result<Times> {
    let (writer, others) = daemons.split_first().context("there are no daemons")?;
    let (tell, mut seen) = mpsc::channel(SEEN_MAX);
    for other in others {
        tokio::spawn(watch(other.clone(), tell.clone()));
    }
    drop(tell);
    let (mut begun, mut times) = (Instant::now(), Times::default());
    for number in 0..WARM_UP + args.count {
        if number == WARM_UP {
            (begun, times) = (Instant::now(), Times::default());
        }
        if begun.elapsed() > Duration::from_secs(args.seconds) {
            break;
        }
        let key = format!("bench/{number}");
        let op = Op::Set { key: key.parse()?, value: vec![b'v'; 128].try_into()? };
        let called = Instant::now();
        writer.write(vec![op], Wait::Local, PATIENCE).await?;
        let acknowledged = Instant::now();
        times.acknowledged.record(acknowledged - called);
        let mut at = Vec::new();
        while at.len() < others.len() {
            let sighting = timeout(PATIENCE, seen.recv()).await;
            let sighting = sighting.with_context(|| format!("{key} is not seen"))?;
            match sighting.context("nobody watches any more")? {
                Ok((seen, when)) if seen == key => at.push(when),
                Ok((other, _)) => bail!("{other} was seen, and {key} was expected"),
                Err(why) => bail!("{why}"),
            }
        }
        at.sort();
        if let [first, .., both] = at[..] {
            times.first.record(first.saturating_duration_since(acknowledged));
            times.both.record(both.saturating_duration_since(acknowledged));
            times.whole.record(both - called);
        }
    }
    Ok(times)
}

/// A key, and when it became visible; or why nothing can be told any more.
type Sighting = Result<(String, Instant), String>;

async fn watch(daemon: Arc<Handle>, tell: mpsc::Sender<Sighting>) {
    let mut events = daemon.events();
    // The daemon ends when nobody holds it.
    drop(daemon);
    loop {
        let sighting = match events.recv().await {
            Ok(told) => match &told.change {
                Some(change) => Ok((change.key.clone(), Instant::now())),
                None => continue,
            },
            Err(broadcast::error::RecvError::Lagged(missed)) => Err(format!("{missed} events were missed")),
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if tell.send(sighting).await.is_err() {
            return;
        }
    }
}

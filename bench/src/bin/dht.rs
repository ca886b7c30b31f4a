//! DHT puts and gets: chinwag beside stock libp2p Kademlia, on one kind of transport, in one run.
//!
//! ```console
//! $ cargo run --release --bin dht -- put --nodes 64 --delay-ms 50
//! ```

use anyhow::{Context as _, Result, ensure};
use chinwag_bench::cost;
use chinwag_bench::hung::{self, Hung, Member};
use chinwag_bench::kad::{Contact, Node};
use chinwag_bench::latency::Summary;
use chinwag_bench::load::{self, Figures, Outcome, Plan};
use chinwag_bench::machine::Machine;
use chinwag_bench::ours::{self, Overlay};
use chinwag_bench::ping::ping;
use chinwag_bench::report::{self, note, number, us};
use chinwag_bench::scratch::Store;
use chinwag_bench::wire::{self, Wire};
use clap::{Parser, ValueEnum};
use futures::future::try_join_all;
use libp2p::kad::Quorum;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Owners of a record, as chinwag has them by default; also what Kademlia is set to for an equal promise.
const OWNERS: usize = 5;
/// Kademlia's own replication factor.
const K: usize = 20;
/// Operations before the measured ones, so that nothing is done for the first time.
const WARM_UP: u64 = 64;
/// Records that gets go through, over and over.
const RECORDS: u64 = 500;
/// How many of the operations that are not measured are under way at once.
const PREPARING: usize = 32;
/// How long those may take.
const PREPARE_WITHIN: Duration = Duration::from_secs(120);
/// How long the cost of doing nothing is measured.
const IDLE: Duration = Duration::from_secs(2);
/// Echoes that the round trip is taken from.
const PINGS: u64 = 1_000;
const PING_FOR: Duration = Duration::from_secs(3);

/// Measure DHT puts or gets of chinwag and of stock libp2p Kademlia
#[derive(Debug, Clone, Parser)]
#[command(name = "dht")]
struct Args {
    /// What to measure
    #[arg(value_enum)]
    op: Op,
    /// Members, those that hang among them
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(3..=256))]
    nodes: u16,
    /// The network's round trip; above 0 takes root or user namespaces, and /dev/net/tun
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    delay_ms: u64,
    /// Members that hang from the first operation on: a number, or a share such as 10%
    #[arg(long, value_name = "N", default_value = "0")]
    hung: Hung,
    /// Operations of each system
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    count: u64,
    /// How many are under way at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    concurrent: u16,
    /// Start no operation after so long
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How long the members are left alone before anything is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=600))]
    settle: u64,
    /// Bytes of a value
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=32_768))]
    value_bytes: u16,
    /// Which systems
    #[arg(long, value_enum, default_value_t = Which::Both)]
    system: Which,
    /// Where chinwag keeps its logs; Kademlia keeps nothing
    #[arg(long, value_enum, default_value_t = Store::Memory)]
    store: Store,
    /// The directory for them
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Put,
    Get,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Chinwag,
    Kad,
    Both,
}

/// What is printed of a system.
#[derive(Debug, Serialize)]
struct Row {
    settings: String,
    #[serde(flatten)]
    figures: Figures,
    rtt_multiple_p50: f64,
    rtt_multiple_p99: f64,
    rtt_multiple_p999: f64,
    /// From the first start to all members knowing all.
    bring_up_ms: f64,
    /// Processor time that the same members use in a second in which nothing is asked of them.
    idle_cpu_us_per_s: f64,
    /// `cpu_us_per_op` without what the members would have used anyhow.
    cpu_us_per_op_net: f64,
}

fn main() -> ExitCode {
    report::end(run())
}

fn run() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some(wire::CARRY) => {
            let one_way = words.get(1).context("how long?")?.parse()?;
            return wire::carry(Duration::from_micros(one_way)).map(|()| ExitCode::SUCCESS);
        }
        Some(hung::MEMBER) => {
            return runtime()?.block_on(hung::member(&words[1..])).map(|()| ExitCode::SUCCESS);
        }
        _ => {}
    }
    let args = Args::parse();
    let nodes = usize::from(args.nodes);
    ensure!(args.hung.of(nodes) * 2 < nodes, "half of the members or more would hang; try: fewer");
    let wire = if args.delay_ms > 0 {
        if let Some(code) = wire::enclose()? {
            return Ok(code);
        }
        Some(Wire::start(Duration::from_millis(args.delay_ms))?)
    } else {
        None
    };
    let ip = wire.as_ref().map_or(Ipv4Addr::LOCALHOST.into(), Wire::address);
    runtime()?.block_on(measure(&args, ip))?;
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("cannot start threads")
}

async fn measure(args: &Args, ip: IpAddr) -> Result<()> {
    let machine = Machine::here();
    let ping = ping(ip, PINGS, PING_FOR).await?.summary();
    let mut systems: Vec<(&str, Row)> = Vec::new();
    if args.system != Which::Kad {
        note("chinwag ...");
        systems.push(("chinwag", chinwag(args, ip, &ping).await?));
    }
    if args.system != Which::Chinwag {
        note("kad, 5 copies ...");
        systems.push(("kad", kad(args, ip, &ping, OWNERS).await?));
        note("kad, 20 copies ...");
        systems.push(("kad_k20", kad(args, ip, &ping, K).await?));
    }
    let nodes = usize::from(args.nodes);
    let mut result = json!({
        "bench": "dht", "op": args.op, "nodes": nodes, "delay_ms": args.delay_ms,
        "hung": args.hung.of(nodes), "count": args.count, "concurrent": args.concurrent,
        "settle_s": args.settle, "value_bytes": args.value_bytes, "store": args.store, "ping": ping,
    });
    let fields = result.as_object_mut().context("an object was just made")?;
    let rows: Map<String, Value> = systems
        .iter()
        .map(|(name, row)| Ok(((*name).to_owned(), serde_json::to_value(row)?)))
        .collect::<Result<_>>()?;
    fields.insert("systems".to_owned(), rows.into());
    fields.insert("ratio".to_owned(), ratios(&systems));
    fields.insert("machine".to_owned(), serde_json::to_value(&machine)?);
    report::print(args.json, &result, &text(args, &ping, &systems, &machine))?;
    Ok(())
}

/// How many times as much the others take as chinwag, where both did the same work.
fn ratios(systems: &[(&str, Row)]) -> Value {
    let Some((_, ours)) = systems.iter().find(|(name, _)| *name == "chinwag") else {
        return Value::Null;
    };
    let others = systems.iter().filter(|(name, _)| *name != "chinwag");
    let ratios = others.map(|(name, row)| {
        let (theirs, ours) = (&row.figures, &ours.figures);
        let ratio = json!({
            "p50": theirs.latency.p50_us / ours.latency.p50_us,
            "p99": theirs.latency.p99_us / ours.latency.p99_us,
            "p999": theirs.latency.p999_us / ours.latency.p999_us,
            "cpu_per_op": theirs.cpu_us_per_op / ours.cpu_us_per_op,
            "per_second": ours.per_second / theirs.per_second.max(1e-9),
        });
        (format!("{name}_over_chinwag"), ratio)
    });
    Value::Object(ratios.collect())
}

fn text(args: &Args, ping: &Summary, systems: &[(&str, Row)], machine: &Machine) -> String {
    let op = if args.op == Op::Put { "put" } else { "get" };
    let hung = args.hung.of(usize::from(args.nodes));
    let mut text = format!(
        "{op}, {} members of which {hung} hang, {} ms RTT (measured {}), {} at a time, {} bytes, store: {}\n\n",
        args.nodes,
        args.delay_ms,
        us(ping.p50_us),
        args.concurrent,
        args.value_bytes,
        if args.store == Store::Memory { "memory" } else { "disk" },
    );
    let head = [
        "",
        "ops",
        "failed",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "p50/RTT",
        "ops/s",
        "CPU/op",
        "net",
        "elsewhere",
    ];
    let rows: Vec<Vec<String>> = systems
        .iter()
        .map(|(name, row)| {
            let (figures, latency) = (&row.figures, &row.figures.latency);
            vec![
                (*name).to_owned(),
                figures.operations.to_string(),
                figures.failed.to_string(),
                us(latency.p50_us),
                us(latency.p90_us),
                us(latency.p99_us),
                us(latency.p999_us),
                us(latency.max_us),
                number(row.rtt_multiple_p50),
                number(figures.per_second),
                us(figures.cpu_us_per_op),
                us(row.cpu_us_per_op_net),
                format!("{:.0} %", figures.elsewhere_percent),
            ]
        })
        .collect();
    text.push_str(&report::table(&head, &rows));
    text.push('\n');
    for (name, row) in systems {
        text.push_str(&format!("{name}: {}; up after {}\n", row.settings, us(row.bring_up_ms * 1e3)));
        for (reason, count) in &row.figures.reasons {
            text.push_str(&format!("{name}: failed {count} times: {reason}\n"));
        }
    }
    text.push_str(&format!("{}\n", machine.line()));
    text
}

fn key(phase: &str, number: u64) -> String {
    format!("bench/{phase}/{number}")
}

fn value(args: &Args) -> Vec<u8> {
    vec![b'v'; usize::from(args.value_bytes)]
}

fn plan(args: &Args) -> Plan {
    Plan {
        count: args.count,
        concurrent: usize::from(args.concurrent),
        at_most: Duration::from_secs(args.seconds),
    }
}

/// What is done before anything is measured: warming up, or writing what will be read.
fn preparation(args: &Args) -> (&'static str, Plan) {
    let (phase, count) = match args.op {
        Op::Put => ("warm-up", WARM_UP),
        Op::Get => ("put", args.count.min(RECORDS)),
    };
    (phase, Plan { count, concurrent: PREPARING, at_most: PREPARE_WITHIN })
}

fn prepared(outcome: &Outcome, plan: &Plan) -> Result<()> {
    let (made, failed, reasons) = (outcome.latencies.count(), outcome.failed, &outcome.reasons);
    ensure!(failed == 0, "{failed} of {made} operations failed before anything was measured: {reasons:?}");
    ensure!(made == plan.count, "only {made} records were written in time; try: a smaller --count");
    Ok(())
}

/// Processor time a second while nothing is asked, once what a member does because it is new has been done.
async fn idle(args: &Args) -> f64 {
    tokio::time::sleep(Duration::from_secs(args.settle)).await;
    let (begun, cpu) = (Instant::now(), cost::cpu());
    tokio::time::sleep(IDLE).await;
    (cost::cpu() - cpu).as_secs_f64() * 1e6 / begun.elapsed().as_secs_f64()
}

fn row(settings: String, outcome: &Outcome, ping: &Summary, bring_up: Duration, idle_us_per_s: f64) -> Row {
    let figures = outcome.figures();
    let each = figures.operations.max(1) as f64;
    let idle_us_per_op = idle_us_per_s * outcome.elapsed.as_secs_f64() / each;
    Row {
        settings,
        rtt_multiple_p50: figures.latency.p50_us / ping.p50_us,
        rtt_multiple_p99: figures.latency.p99_us / ping.p50_us,
        rtt_multiple_p999: figures.latency.p999_us / ping.p50_us,
        bring_up_ms: bring_up.as_secs_f64() * 1e3,
        idle_cpu_us_per_s: idle_us_per_s,
        cpu_us_per_op_net: (figures.cpu_us_per_op - idle_us_per_op).max(0.0),
        figures,
    }
}

async fn chinwag(args: &Args, ip: IpAddr, ping: &Summary) -> Result<Row> {
    let (nodes, begun) = (usize::from(args.nodes), Instant::now());
    let hung = args.hung.of(nodes);
    let overlay = Overlay::start(ip, nodes, hung, args.store, args.dir.as_deref()).await?;
    let bring_up = begun.elapsed();

    let daemons: Arc<[_]> = overlay.daemons().into();
    // Whoever reads is not who wrote.
    let of = |daemons: &Arc<[_]>, number: u64| Arc::clone(&daemons[number as usize % daemons.len()]);
    let (phase, preparing) = preparation(args);
    let (all, bytes) = (daemons.clone(), value(args));
    let put = move |phase: &'static str| {
        let (all, bytes) = (all.clone(), bytes.clone());
        move |number: u64| {
            let (daemon, bytes) = (of(&all, number), bytes.clone());
            async move { ours::put(&daemon, &key(phase, number), &bytes).await }
        }
    };
    prepared(&load::drive(preparing, put(phase)).await, &preparing)?;
    let idle = idle(args).await;
    overlay.hang()?;
    let outcome = match args.op {
        Op::Put => load::drive(plan(args), put("put")).await,
        Op::Get => {
            let get = move |number: u64| {
                let record = number % preparing.count;
                let daemon = of(&daemons, record + 1);
                async move { ours::get(&daemon, &key("put", record)).await }
            };
            load::drive(plan(args), get).await
        }
    };
    overlay.end().await;
    let settings = "5 owners, majority; TCP, Noise, Yamux, one lane kept open".to_owned();
    Ok(row(settings, &outcome, ping, bring_up, idle))
}

async fn kad(args: &Args, ip: IpAddr, ping: &Summary, replication: usize) -> Result<Row> {
    let (nodes, begun) = (usize::from(args.nodes), Instant::now());
    let hung = args.hung.of(nodes);
    // A node does not count itself among those that it asks to keep a record.
    let replication = NonZeroUsize::new(replication.min(nodes - 1)).context("no other node")?;
    let mut running = Vec::new();
    for _ in 0..nodes - hung {
        running.push(Arc::new(Node::start(ip, replication).await?));
    }
    let mut contacts: Vec<Contact> = running.iter().map(|node| node.contact.clone()).collect();
    let mut stopped = Vec::new();
    for _ in 0..hung {
        let (member, contact) = Member::kad(ip, replication).await?;
        stopped.push(member);
        contacts.push(contact);
    }
    // All at once, as after a power cut.
    let ours = running.iter().map(|node| async {
        let others = contacts.iter().filter(|(peer, _)| *peer != node.contact.0).cloned().collect();
        node.bootstrap(others).await.map_err(anyhow::Error::msg).context("a node does not bootstrap")
    });
    let theirs = stopped.iter_mut().map(|member| member.bootstrap(&contacts));
    futures::try_join!(try_join_all(ours), try_join_all(theirs))?;
    let bring_up = begun.elapsed();

    let running: Arc<[_]> = running.into();
    let of = |nodes: &Arc<[Arc<Node>]>, number: u64| Arc::clone(&nodes[number as usize % nodes.len()]);
    let (phase, preparing) = preparation(args);
    let (all, bytes) = (running.clone(), value(args));
    let put = move |phase: &'static str| {
        let (all, bytes) = (all.clone(), bytes.clone());
        move |number: u64| {
            let (node, bytes) = (of(&all, number), bytes.clone());
            async move { node.put(&key(phase, number), bytes, Quorum::Majority).await }
        }
    };
    prepared(&load::drive(preparing, put(phase)).await, &preparing)?;
    let idle = idle(args).await;
    stopped.iter().try_for_each(Member::hang)?;
    // With Kademlia's own factor a get is as most programs make it: the first copy will do.
    let copies = if replication.get() > OWNERS { 1 } else { replication.get() / 2 + 1 };
    let outcome = match args.op {
        Op::Put => load::drive(plan(args), put("put")).await,
        Op::Get => {
            let get = move |number: u64| {
                let record = number % preparing.count;
                let node = of(&running, record + 1);
                async move { node.get(&key("put", record), copies).await }
            };
            load::drive(plan(args), get).await
        }
    };
    let settings = format!(
        "libp2p-kad 0.49, replication {replication}, put: majority, get: {copies} {}, in memory",
        if copies == 1 { "copy" } else { "copies" }
    );
    Ok(row(settings, &outcome, ping, bring_up, idle))
}

//! Durable writes: a daemon beside a bare redb and a bare file, on the same disk, in the same minutes.
//!
//! ```console
//! $ cargo run --release --bin write -- --dir /var/tmp
//! ```

use anyhow::{Context as _, Result};
use chinwag_api::runtime::Runtime;
use chinwag_api::{Client, WriteOp, WriteRequest};
use chinwag_base::Name;
use chinwag_bench::disk::{Appended, Stored};
use chinwag_bench::load::{self, Figures, Outcome, Plan};
use chinwag_bench::machine::Machine;
use chinwag_bench::report::{self, note, number, us};
use chinwag_bench::scratch::{self, Store};
use chinwag_daemon::{Config, Daemon, Handle, Op, Wait};
use clap::Parser;
use serde::Serialize;
use serde_json::json;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Every subject has its turn this often, so that a minute in which others use the disk is nobody's alone.
const ROUNDS: u32 = 3;
/// Clients that write at once.
const CLIENTS: [usize; 3] = [1, 16, 64];
/// Keys that are written over and over.
const KEYS: u64 = 1_000;
/// How long the daemon may take over one write.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// Measure durable writes of one daemon, beside a bare redb and a bare file
#[derive(Debug, Parser)]
#[command(name = "write")]
struct Args {
    /// How long each subject is measured, in all rounds together
    #[arg(long, value_name = "SECONDS", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Bytes of a value
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=32_768))]
    value_bytes: u16,
    /// Where to write
    #[arg(long, value_enum, default_value_t = Store::Disk)]
    store: Store,
    /// The directory; its file system is what is measured
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Who writes, and how many at once.
struct Subject {
    name: String,
    clients: usize,
    sum: Option<Outcome>,
}

#[derive(Debug, Serialize)]
struct Row {
    subject: String,
    clients: usize,
    #[serde(flatten)]
    figures: Figures,
    /// Times the median of the bare file.
    p50_over_file: f64,
    /// Of `clients` times what the bare file writes a second: the disk's bound on writes that wait for it.
    of_what_the_disk_allows: f64,
}

fn main() -> ExitCode {
    report::end(run())
}

#[tokio::main]
async fn run() -> Result<ExitCode> {
    let args = Args::parse();
    let machine = Machine::here();
    let dir = scratch::directory(args.store, args.dir.as_deref())?;
    // A short path of its own, because a socket is in it.
    let sockets = tempfile::Builder::new().prefix("cw-bench-").tempdir_in("/tmp").context("no /tmp")?;
    let runtime = sockets.path().join("run");
    Runtime::at(&runtime).create()?;
    let name: Name = "bench".parse()?;
    let config =
        Config { runtime_dir: Some(runtime.clone()), ..Config::new(dir.path().join("daemon"), name) };
    let daemon = Arc::new(Daemon::start(config).await?);
    let client = client(&runtime).await?;
    let file = Arc::new(Appended::create(dir.path())?);
    let redb = Arc::new(Stored::create(dir.path())?);

    let bare = ["file + fdatasync", "redb commit"].map(|name| (name.to_owned(), 1));
    let ours = CLIENTS.into_iter().flat_map(|n| [("chinwag", n), ("chinwag over HTTP", n)]);
    let ours = ours.map(|(name, clients)| (name.to_owned(), clients));
    let mut subjects: Vec<Subject> =
        bare.into_iter().chain(ours).map(|(name, clients)| Subject { name, clients, sum: None }).collect();
    let value = vec![b'v'; usize::from(args.value_bytes)];
    let at_most = Duration::from_secs(args.seconds) / ROUNDS;
    let rows = Arc::new(AtomicU64::new(0));
    for round in 0..ROUNDS {
        note(&format!("round {} of {ROUNDS} ...", round + 1));
        for subject in &mut subjects {
            let plan = Plan { count: u64::MAX, concurrent: subject.clients, at_most };
            let value = value.clone();
            let outcome = match subject.name.as_str() {
                "chinwag" => write_with(plan, daemon.clone(), value).await,
                "chinwag over HTTP" => write_over_http(plan, client.clone(), value).await,
                "redb commit" => {
                    let (redb, rows) = (redb.clone(), rows.clone());
                    blocking(plan, move || redb.insert(rows.fetch_add(1, Ordering::Relaxed), &value)).await
                }
                _ => {
                    let file = file.clone();
                    blocking(plan, move || file.append(&value)).await
                }
            };
            match &mut subject.sum {
                Some(sum) => sum.absorb(outcome),
                none => *none = Some(outcome),
            }
        }
    }
    if let Some(daemon) = Arc::into_inner(daemon) {
        daemon.leave().await;
    }
    let measured: Vec<(Subject, Figures)> = subjects
        .into_iter()
        .filter_map(|mut subject| subject.sum.take().map(|sum| (subject, sum.figures())))
        .collect();
    print(&args, &measured, &machine)?;
    Ok(ExitCode::SUCCESS)
}

async fn client(runtime: &std::path::Path) -> Result<Client> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < WRITE_WITHIN {
        if let Some(entry) = Runtime::at(runtime).entry_of(std::process::id())? {
            return Ok(Client::new(entry.socket));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    anyhow::bail!("the daemon does not announce itself")
}

fn key(number: u64) -> String {
    format!("bench/{}", number % KEYS)
}

async fn write_with(plan: Plan, daemon: Arc<Handle>, value: Vec<u8>) -> Outcome {
    let write = move |number| {
        let (daemon, value) = (daemon.clone(), value.clone());
        async move {
            let op = Op::Set {
                key: key(number).parse().map_err(|e| format!("{e}"))?,
                value: value.try_into().map_err(|e| format!("{e}"))?,
            };
            daemon.write(vec![op], Wait::Local, WRITE_WITHIN).await.map(drop).map_err(|e| e.to_string())
        }
    };
    load::drive(plan, write).await
}

async fn write_over_http(plan: Plan, client: Client, value: Vec<u8>) -> Outcome {
    let write = move |number| {
        let (client, value) = (client.clone(), value.clone());
        async move {
            let op = WriteOp::Set { key: key(number), value: value.into() };
            let request = WriteRequest { ops: vec![op.into()], ..WriteRequest::default() };
            client.write(&request).await.map(drop).map_err(|e| e.to_string())
        }
    };
    load::drive(plan, write).await
}

/// The same for work that holds a thread: one at a time, on a thread of its own.
async fn blocking(plan: Plan, work: impl Fn() -> Result<()> + Send + Sync + 'static) -> Outcome {
    let work = Arc::new(work);
    load::drive(plan, move |_| -> std::pin::Pin<Box<dyn Future<Output = _> + Send>> {
        let work = work.clone();
        Box::pin(async move { tokio::task::block_in_place(|| work().map_err(|e| e.to_string())) })
    })
    .await
}

fn print(args: &Args, measured: &[(Subject, Figures)], machine: &Machine) -> Result<()> {
    let bare = measured.first().map(|(_, figures)| figures).context("nothing was measured")?;
    let rows: Vec<Row> = measured
        .iter()
        .map(|(subject, figures)| Row {
            subject: subject.name.clone(),
            clients: subject.clients,
            p50_over_file: figures.latency.p50_us / bare.latency.p50_us,
            of_what_the_disk_allows: figures.per_second / (bare.per_second * subject.clients as f64),
            figures: figures.clone(),
        })
        .collect();
    let result = json!({
        "bench": "write", "store": args.store, "value_bytes": args.value_bytes, "subjects": rows, "machine": machine,
    });
    let table: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let latency = &row.figures.latency;
            let times = [latency.p50_us, latency.p90_us, latency.p99_us, latency.max_us].map(us);
            let head = [row.subject.clone(), row.clients.to_string()];
            let rates = [row.figures.per_second, row.p50_over_file, row.of_what_the_disk_allows].map(number);
            let failed = [row.figures.failed.to_string(), format!("{:.0} %", row.figures.elsewhere_percent)];
            head.into_iter().chain(times).chain(rates).chain(failed).collect()
        })
        .collect();
    let head = [
        "",
        "clients",
        "p50",
        "p90",
        "p99",
        "max",
        "writes/s",
        "p50 x file",
        "of the disk's",
        "failed",
        "elsewhere",
    ];
    let text = format!(
        "durable writes of {} bytes, store: {}\n\n{}\n{}\n",
        args.value_bytes,
        if args.store == Store::Memory { "memory" } else { "disk" },
        report::table(&head, &table),
        machine.line()
    );
    report::print(args.json, &result, &text).context("standard output is closed")
}

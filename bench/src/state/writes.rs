//! Durable writes: a daemon, SQLite and etcd on the same disk, in the same minutes, and what the disk allows.
//!
//! Each system has the same clients, who write one key after the other and wait for each. chinwag's and etcd's are this
//! process, on connections that stay open, and what they ask is another one. All take turns, so that a minute in which
//! others use the disk is nobody's alone.

use super::figures::{Bound, Column, Of, Sheet};
use crate::disk::{Appended, Stored};
use crate::http::Connections;
use crate::load::{self, Outcome, Plan};
use crate::lone::Lone;
use crate::metrics::Commits;
use crate::processes::Binaries;
use crate::report::note;
use crate::scratch::{self, Store};
use crate::sqlite::Sqlite;
use crate::{etcd, fsyncs};
use anyhow::{Context as _, Result, bail, ensure};
use chinwag_api::runtime::Runtime;
use chinwag_api::{WriteOp, WriteRequest};
use chinwag_daemon::{Config, Daemon, Handle, Op, Wait};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Every system has its turn this often.
const ROUNDS: u32 = 3;
/// Keys that are written over and over.
const KEYS: u64 = 1_000;
/// How long a daemon may take over one write.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// What the disk allows counts up to here: beyond, it is processors that are measured.
const PER_SECOND_MAX: f64 = 50_000.0;
/// How long fsyncs are counted.
const COUNT: Duration = Duration::from_secs(2);

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many clients write at once; several, one after the other.
    pub clients: Vec<usize>,
    /// How long each system is measured with so many clients, in all rounds together.
    pub seconds: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Where to write.
    pub store: Store,
    /// The directory; its file system is what is measured.
    pub dir: Option<PathBuf>,
    /// Where chinwag's binaries are.
    pub bin_dir: Option<PathBuf>,
    /// Whether SQLite and etcd are measured as well.
    pub others: bool,
}

/// Who is written to.
enum System {
    Chinwag(Connections),
    Embedded(Handle),
    Sqlite(Sqlite),
    Etcd(Connections),
    Redb(Stored, AtomicU64),
    File(Appended),
}

impl System {
    fn name(&self) -> &'static str {
        match self {
            System::Chinwag(_) => "chinwag",
            System::Embedded(_) => "chinwag_embedded",
            System::Sqlite(_) => "sqlite",
            System::Etcd(_) => "etcd",
            System::Redb(..) => "redb",
            System::File(_) => "file",
        }
    }

    /// What is one commit at a time is asked by one client.
    fn clients(&self, clients: &[usize]) -> Vec<usize> {
        if matches!(self, System::Redb(..) | System::File(_)) { vec![1] } else { clients.to_vec() }
    }

    async fn write(&self, number: u64, value_bytes: usize) -> Result<()> {
        let key = format!("bench/{}", number % KEYS);
        // Another one each time: what is there already, SQLite does not write again.
        let mut value = format!("{number:0value_bytes$}").into_bytes();
        value.truncate(value_bytes);
        match self {
            System::Chinwag(connections) => {
                let op = WriteOp::Set { key, value: value.into() };
                let request = WriteRequest { ops: vec![op.into()], ..WriteRequest::default() };
                connections.post(chinwag_api::paths::WRITE, serde_json::to_vec(&request)?).await.map(drop)
            }
            System::Embedded(daemon) => {
                let op = Op::Set { key: key.parse()?, value: value.try_into()? };
                daemon.write(vec![op], Wait::Local, WRITE_WITHIN).await?;
                Ok(())
            }
            System::Sqlite(db) => db.put(key, value).await,
            System::Etcd(connections) => etcd::put(connections, &key, &value).await,
            System::Redb(db, rows) => {
                tokio::task::block_in_place(|| db.insert(rows.fetch_add(1, Ordering::Relaxed), &value))
            }
            System::File(file) => tokio::task::block_in_place(|| file.append(&value)),
        }
    }
}

/// A system with so many clients, and what came of all its turns.
struct Turn {
    system: Arc<System>,
    clients: usize,
    sum: Option<Outcome>,
    commits: Commits,
}

/// Does it.
///
/// # Errors
/// If a system does not start, or refuses.
pub fn run(options: &Options) -> Result<Sheet> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options))
}

/// What has been started. It ends with this value.
struct Started {
    systems: Vec<Arc<System>>,
    chinwag: Lone,
    _etcd: Option<etcd::Etcd>,
    /// These go last.
    _dirs: [TempDir; 2],
}

async fn start(options: &Options) -> Result<Started> {
    let dir = scratch::directory(options.store, options.dir.as_deref())?;
    let at = |name: &str| -> Result<PathBuf> {
        let path = dir.path().join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    };
    let binaries = Binaries::find(options.bin_dir.as_deref())?;
    let mut chinwag = Lone::start(&binaries, &at("chinwag")?, &[])?;
    let connections = chinwag.connections().await?;
    // A short path of its own, because a socket is in it.
    let sockets = tempfile::Builder::new().prefix("cw-bench-").tempdir_in("/tmp").context("no /tmp")?;
    let embedded = embedded(&at("embedded")?, sockets.path()).await?;
    let mut systems = vec![
        System::File(Appended::create(dir.path())?),
        System::Redb(Stored::create(dir.path())?, AtomicU64::new(0)),
        System::Chinwag(connections),
        System::Embedded(embedded),
    ];
    let mut server = None;
    if options.others {
        systems.push(System::Sqlite(Sqlite::start(&at("sqlite")?)?));
        if etcd::is_installed() {
            let mut etcd = etcd::Etcd::start(&at("etcd")?)?;
            etcd.ready().await?;
            systems.push(System::Etcd(etcd.connections()));
            server = Some(etcd);
        }
    }
    let systems = systems.into_iter().map(Arc::new).collect();
    Ok(Started { systems, chinwag, _etcd: server, _dirs: [dir, sockets] })
}

/// A daemon in this process.
async fn embedded(data: &Path, sockets: &Path) -> Result<Handle> {
    let runtime = sockets.join("run");
    Runtime::at(&runtime).create()?;
    let config = Config { runtime_dir: Some(runtime), ..Config::new(data.join("daemon"), "bench".parse()?) };
    Ok(Daemon::start(config).await?)
}

async fn measure(options: &Options) -> Result<Sheet> {
    let started = start(options).await?;
    let mut turns: Vec<Turn> = Vec::new();
    for system in &started.systems {
        let turn = |clients| Turn { system: system.clone(), clients, sum: None, commits: Commits::default() };
        turns.extend(system.clients(&options.clients).into_iter().map(turn));
    }
    for round in 1..=ROUNDS {
        note(&format!("round {round} of {ROUNDS} ..."));
        for turn in &mut turns {
            turn.take(Duration::from_secs(options.seconds) / ROUNDS, options.value_bytes).await?;
        }
    }
    let counted = count_fsyncs(&started, options.value_bytes).await;
    drop(started.systems);
    let mut sheet = sheet(options, &turns, counted);
    for turn in turns {
        // All others have gone with the list.
        if let Some(System::Embedded(daemon)) = Arc::into_inner(turn.system) {
            daemon.leave().await;
        }
    }
    if options.others && !etcd::is_installed() {
        sheet.columns.push(("etcd", Column::skipped(etcd::NOT_INSTALLED)));
    }
    Ok(sheet)
}

impl Turn {
    async fn take(&mut self, at_most: Duration, value_bytes: usize) -> Result<()> {
        let before = self.commits_so_far().await?;
        let outcome = drive(&self.system, self.clients, at_most, value_bytes).await;
        self.commits += self.commits_so_far().await? - before;
        match &mut self.sum {
            Some(sum) => sum.absorb(outcome),
            none => *none = Some(outcome),
        }
        Ok(())
    }

    /// How many commits the daemon has made since its start; of others it is not known.
    async fn commits_so_far(&self) -> Result<Commits> {
        match &*self.system {
            System::Chinwag(connections) => Commits::of(connections).await,
            _ => Ok(Commits::default()),
        }
    }
}

/// Numbers of writes, of all turns.
static WRITES: AtomicU64 = AtomicU64::new(0);

async fn drive(system: &Arc<System>, concurrent: usize, at_most: Duration, value_bytes: usize) -> Outcome {
    let system = system.clone();
    let plan = Plan { count: u64::MAX, concurrent, at_most };
    load::drive(plan, move |_| {
        let (system, number) = (system.clone(), WRITES.fetch_add(1, Ordering::Relaxed));
        async move { system.write(number, value_bytes).await.map_err(|e| format!("{e:#}")) }
    })
    .await
}

/// How many fsyncs a commit of the daemon's is, seen from outside: the kernel is asked about each. It slows the daemon down, so
/// it is in no other figure.
async fn count_fsyncs(started: &Started, value_bytes: usize) -> Result<f64> {
    ensure!(fsyncs::can_be_counted(), "strace is not installed");
    let system = started.systems.iter().find(|system| matches!(***system, System::Chinwag(_)));
    let system = system.context("there is no daemon")?;
    let System::Chinwag(connections) = &**system else { bail!("there is no daemon") };
    let counting = fsyncs::Counting::of(started.chinwag.pid()).await?;
    let before = Commits::of(connections).await?;
    drive(system, 1, COUNT, value_bytes).await;
    let commits = Commits::of(connections).await? - before;
    let fsyncs = counting.end().await?;
    let commits = commits.commits + commits.checkpoints;
    ensure!(commits > 0, "nothing was committed");
    Ok(fsyncs as f64 / commits as f64)
}

fn sheet(options: &Options, turns: &[Turn], fsyncs_per_commit: Result<f64>) -> Sheet {
    let how = match &fsyncs_per_commit {
        Ok(_) => "by strace of the daemon, one client, beside its own count of commits".to_owned(),
        Err(why) => format!("not counted: {why:#}"),
    };
    let mut sheet = Sheet {
        details: vec![
            ("value_bytes", json!(options.value_bytes)),
            ("store", json!(options.store)),
            ("seconds_each", json!(options.seconds)),
            ("fsyncs_counted", json!(how)),
            ("etcd_version", json!(etcd::version().filter(|_| options.others))),
            ("sqlite_version", json!(Some(rusqlite::version()).filter(|_| options.others))),
        ],
        ..Sheet::default()
    };
    let figures = |turn: &Turn| turn.sum.as_ref().map(Outcome::figures);
    let bare = turns.iter().find(|turn| turn.system.name() == "file").and_then(figures);
    let (fsyncs_per_s, fsync_us) = bare.map_or((0.0, 0.0), |bare| (bare.per_second, bare.latency.p50_us));
    let mut columns: Vec<(&'static str, Column)> = Vec::new();
    let mut goals = Vec::new();
    for turn in turns {
        let (Some(figures), name) = (figures(turn), turn.system.name()) else { continue };
        if columns.iter().all(|(known, _)| *known != name) {
            columns.push((name, Column::default()));
        }
        let Some((_, column)) = columns.iter_mut().find(|(known, _)| *known == name) else { continue };
        let clients = turn.clients;
        let named = |what: &str| format!("clients_{clients}_{what}");
        let allowed = fsyncs_per_s * clients as f64;
        column.one(named("writes_per_s"), figures.per_second);
        column.one(named("of_what_the_disk_allows_ratio"), figures.per_second / allowed);
        column.one(named("p50_us"), figures.latency.p50_us);
        column.one(named("p99_us"), figures.latency.p99_us);
        column.one(named("p99_in_fsync_times_ratio"), figures.latency.p99_us / fsync_us);
        column.one(named("failed_writes"), figures.failed as f64);
        if name == "chinwag" {
            let commits = turn.commits.commits.max(1) as f64;
            column.one(named("writes_per_commit"), turn.commits.rows as f64 / commits);
            column.one(named("checkpoints"), turn.commits.checkpoints as f64);
            let goal = (0.8 * allowed).min(PER_SECOND_MAX);
            goals.push((named("writes_per_s"), Bound::AtLeast, goal));
            goals.push((named("p99_in_fsync_times_ratio"), Bound::AtMost, 3.0));
        }
    }
    if let Ok(fsyncs) = fsyncs_per_commit {
        columns.iter_mut().filter(|(name, _)| *name == "chinwag").for_each(|(_, column)| {
            column.one("fsyncs_per_commit", fsyncs);
        });
        goals.push(("fsyncs_per_commit".to_owned(), Bound::AtMost, 1.0));
    }
    // The first is the one with goals.
    columns.sort_by_key(|(name, _)| *name != "chinwag");
    sheet.columns = columns;
    for (figure, bound, goal) in goals {
        sheet.goal(figure, Of::Median, bound, goal);
    }
    sheet
}

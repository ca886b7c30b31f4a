//! How long a store of many keys takes to open after `kill -9`: until its process says who is a member, and until it
//! answers reads.
//!
//! What is killed is the process, not the machine: the files are in the page cache, of all systems alike. SQLite is no
//! process; what `kill -9` would leave of it are its files as they are, so a copy of them is opened.

use super::figures::{Bound, Column, Of, Sheet};
use crate::cost;
use crate::etcd::{self, Etcd};
use crate::http::Connections;
use crate::load::{self, Plan};
use crate::lone::Lone;
use crate::processes::Binaries;
use crate::report::note;
use crate::scratch::{self, Store};
use crate::sqlite;
use anyhow::{Context as _, Result, ensure};
use chinwag_api::{WriteOp, WriteRequest, paths};
use serde_json::{Value, json};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Operations in one request to chinwag.
const BATCH: usize = 256;
/// Requests under way while a store is filled.
const FILLERS: usize = 8;
/// How long it may take to fill one.
const FILL_WITHIN: Duration = Duration::from_secs(3_600);
/// How long it may take to open one.
const OPEN_WITHIN: Duration = Duration::from_secs(600);
/// How often it is tried whether it answers.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const MIB: f64 = 1_048_576.0;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many keys.
    pub keys: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// How often each store is killed and opened.
    pub runs: usize,
    /// Where to write.
    pub store: Store,
    /// The directory; its file system is what is measured.
    pub dir: Option<PathBuf>,
    /// Where chinwag's binaries are.
    pub bin_dir: Option<PathBuf>,
    /// Whether SQLite and etcd are measured as well.
    pub others: bool,
}

impl Options {
    fn value(&self, number: usize) -> Vec<u8> {
        format!("{number:0width$}", width = self.value_bytes).into_bytes()
    }

    /// One that is in the middle of the file.
    fn probe(&self) -> usize {
        self.keys / 2
    }
}

fn key(number: usize) -> String {
    format!("open/{number:09}")
}

/// Does it.
///
/// # Errors
/// If a system does not start, refuses, or has lost something.
pub fn run(options: &Options) -> Result<Sheet> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> Result<Sheet> {
    let dir = scratch::directory(options.store, options.dir.as_deref())?;
    let at = |name: &str| -> Result<PathBuf> {
        let path = dir.path().join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    };
    let mut sheet = Sheet {
        details: vec![
            ("keys", json!(options.keys)),
            ("value_bytes", json!(options.value_bytes)),
            ("runs", json!(options.runs)),
            ("store", json!(options.store)),
            ("page_cache", json!("warm")),
            ("etcd_version", json!(etcd::version().filter(|_| options.others))),
            ("sqlite_version", json!(Some(rusqlite::version()).filter(|_| options.others))),
        ],
        ..Sheet::default()
    };
    sheet.columns.push(("chinwag", chinwag(options, &at("chinwag")?).await?));
    if options.others {
        sheet.columns.push(("sqlite", of_sqlite(options, &at("sqlite")?, &at("copy")?)?));
        let etcd = if etcd::is_installed() {
            of_etcd(options, &at("etcd")?).await?
        } else {
            Column::skipped(etcd::NOT_INSTALLED)
        };
        sheet.columns.push(("etcd", etcd));
    }
    sheet.goal("reads_answered_after_ms", Of::Median, Bound::AtMost, 2_000.0);
    sheet.goal("members_answered_after_ms", Of::Median, Bound::AtMost, 100.0);
    Ok(sheet)
}

/// Figures of several openings.
#[derive(Debug, Default)]
struct Opened {
    members: Vec<f64>,
    reads: Vec<f64>,
    /// Processor time of the process until then: what else the machine does is not in it.
    processor: Vec<f64>,
}

impl Opened {
    fn into_column(self, fill: Duration, disk: u64, resident: Option<u64>) -> Column {
        let mut column = Column::default();
        column.spread("reads_answered_after_ms", self.reads);
        column.spread("members_answered_after_ms", self.members);
        column.spread("processor_time_until_then_ms", self.processor);
        column.one("disk_mib", disk as f64 / MIB);
        if let Some(resident) = resident {
            column.one("resident_mib", resident as f64 / MIB);
        }
        column.one("fill_s", fill.as_secs_f64());
        column
    }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Tries until it answers, and says how long after `begun` that was.
async fn until<T, F>(begun: Instant, mut ask: impl FnMut() -> F) -> Result<f64>
where
    F: Future<Output = Result<T>>,
{
    loop {
        match ask().await {
            Ok(_) => return Ok(ms(begun)),
            Err(error) if begun.elapsed() > OPEN_WITHIN => return Err(error.context("it does not open")),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn chinwag(options: &Options, data: &Path) -> Result<Column> {
    note(&format!("chinwag takes {} keys ...", options.keys));
    let binaries = Binaries::find(options.bin_dir.as_deref())?;
    let mut daemon = Lone::start(&binaries, data, &[])?;
    let begun = Instant::now();
    fill(options, BATCH, daemon.connections().await?, |connections, rows| async move {
        let ops = rows.into_iter().map(|(key, value)| WriteOp::Set { key, value: value.into() }.into());
        let request = WriteRequest { ops: ops.collect(), ..WriteRequest::default() };
        connections.post(paths::WRITE, serde_json::to_vec(&request)?).await.map(drop)
    })
    .await?;
    let filled = begun.elapsed();
    let (mut opened, path) = (Opened::default(), paths::cell(&key(options.probe()), &[]));
    for run in 1..=options.runs {
        note(&format!("chinwag is opened, {run} of {} ...", options.runs));
        daemon.kill_9();
        let begun = Instant::now();
        daemon.start_again()?;
        let connections = daemon.connections().await?;
        opened.members.push(until(begun, || connections.get(paths::MEMBERS)).await?);
        opened.reads.push(until(begun, || connections.get(&path)).await?);
        opened.processor.push(cost::cpu_of(daemon.pid())?.as_secs_f64() * 1e3);
        let cell: Value = serde_json::from_slice(&connections.get(&path).await?)?;
        let value = String::from_utf8(options.value(options.probe()))?;
        ensure!(cell.to_string().contains(&value), "the daemon has lost a value: {cell}");
        let status: Value = serde_json::from_slice(&connections.get(paths::STATUS).await?)?;
        ensure!(status["keys"] == options.keys, "the daemon has lost keys: {status}");
    }
    let resident = cost::memory_of(daemon.pid())?.resident_bytes;
    Ok(opened.into_column(filled, bytes_of(data)?, Some(resident)))
}

async fn of_etcd(options: &Options, data: &Path) -> Result<Column> {
    note(&format!("etcd takes {} keys ...", options.keys));
    let mut server = Etcd::start(data)?;
    server.ready().await?;
    let begun = Instant::now();
    fill(options, etcd::OPS_MAX, server.connections(), |connections, rows| async move {
        etcd::put_all(&connections, &rows).await
    })
    .await?;
    let filled = begun.elapsed();
    let (mut opened, probe) = (Opened::default(), key(options.probe()));
    for run in 1..=options.runs {
        note(&format!("etcd is opened, {run} of {} ...", options.runs));
        server.kill_9();
        let begun = Instant::now();
        server.start_again()?;
        let connections = server.connections();
        opened.members.push(until(begun, || etcd::members(&connections)).await?);
        opened.reads.push(until(begun, || etcd::get(&connections, &probe)).await?);
        opened.processor.push(cost::cpu_of(server.pid())?.as_secs_f64() * 1e3);
        let value = etcd::get(&connections, &probe).await?;
        ensure!(value == options.value(options.probe()), "etcd has lost a value");
    }
    let resident = cost::memory_of(server.pid())?.resident_bytes;
    Ok(opened.into_column(filled, bytes_of(data)?, Some(resident)))
}

fn of_sqlite(options: &Options, dir: &Path, copy: &Path) -> Result<Column> {
    note(&format!("SQLite takes {} keys ...", options.keys));
    let mut db = sqlite::open(dir)?;
    let begun = Instant::now();
    sqlite::fill(&mut db, (0..options.keys).map(|n| (key(n), options.value(n))))?;
    let filled = begun.elapsed();
    let mut opened = Opened::default();
    for _ in 0..options.runs {
        let files = sqlite::copy_of_files(dir, copy)?;
        let begun = Instant::now();
        let db = sqlite::open(copy)?;
        let value = sqlite::get(&db, &key(options.probe()))?;
        opened.reads.push(ms(begun));
        ensure!(value == Some(options.value(options.probe())), "SQLite has lost a value");
        drop(db);
        for file in files {
            // Its log goes when it is closed.
            let _ = std::fs::remove_file(file);
        }
    }
    Ok(opened.into_column(filled, bytes_of(dir)?, None))
}

/// Writes all keys, so many in one request, some requests at a time.
async fn fill<W, F>(options: &Options, batch: usize, connections: Connections, write: W) -> Result<()>
where
    W: Fn(Arc<Connections>, Vec<(String, Vec<u8>)>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (options, connections) = (options.clone(), Arc::new(connections));
    let count = options.keys.div_ceil(batch) as u64;
    let plan = Plan { count, concurrent: FILLERS, at_most: FILL_WITHIN };
    let outcome = load::drive(plan, move |number| {
        let from = number as usize * batch;
        let rows = (from..options.keys.min(from + batch)).map(|n| (key(n), options.value(n))).collect();
        let written = write(connections.clone(), rows);
        async move { written.await.map_err(|e| format!("{e:#}")) }
    })
    .await;
    ensure!(outcome.failed == 0, "it cannot be filled: {:?}", outcome.reasons);
    ensure!(outcome.latencies.count() == count, "it takes too long to fill it");
    Ok(())
}

/// Bytes on the disk of all files in a directory and below.
pub(super) fn bytes_of(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let about = path.symlink_metadata()?;
        bytes += if about.is_dir() { bytes_of(&path)? } else { about.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_opens_what_it_was_given() {
        let [dir, copy] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let options = Options {
            keys: 25_000,
            value_bytes: 16,
            runs: 2,
            store: Store::Disk,
            dir: None,
            bin_dir: None,
            others: true,
        };
        let column = of_sqlite(&options, dir.path(), copy.path()).unwrap();
        let systems = Sheet { columns: vec![("sqlite", column)], ..Sheet::default() }.systems();
        let of = |name: &str| systems["sqlite"][name].clone();
        assert!(of("reads_answered_after_ms")["median"].as_f64().unwrap() > 0.0, "{systems:#}");
        assert!(of("disk_mib").as_f64().unwrap() > 25_000.0 * 30.0 / MIB, "{systems:#}");
        // It is in this process, and nobody is a member.
        assert!(of("members_answered_after_ms").is_null() && of("resident_mib").is_null(), "{systems:#}");
    }

    #[test]
    fn files_below_count() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b"), [0; 10]).unwrap();
        std::fs::write(dir.path().join("c"), [0; 5]).unwrap();
        assert_eq!(bytes_of(dir.path()).unwrap(), 15);
    }
}

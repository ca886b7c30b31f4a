//! Keys that are made and deleted without end, at a daemon that is alone: what is left of them, in memory and on the disk?
//!
//! As `tests/overlay/faults/soak.rs` does for ten minutes, but by number, with the daemon's usual settings, and with
//! keys that live for a while.

use super::figures::{Bound, Column, Of, Sheet};
use super::open::bytes_of;
use crate::cost;
use crate::http::Connections;
use crate::lone::Lone;
use crate::processes::Binaries;
use crate::report::note;
use crate::scratch::{self, Store};
use anyhow::{Result, ensure};
use chinwag_api::{WriteOp, WriteRequest, paths};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Keys that one request makes, and at most as many that it deletes.
const BATCH: usize = 250;
/// How often is looked.
const SAMPLES: usize = 80;
/// How much larger the end may be than the second quarter, in which history has become as long as it gets.
const GROWTH_MAX: f64 = 1.05;
const MIB: f64 = 1_048_576.0;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many keys are made.
    pub keys: usize,
    /// How many live at any time.
    pub live: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Where to write.
    pub store: Store,
    /// The directory.
    pub dir: Option<PathBuf>,
    /// Where chinwag's binaries are.
    pub bin_dir: Option<PathBuf>,
}

/// What the daemon takes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Size {
    resident_mib: f64,
    disk_mib: f64,
}

impl Size {
    fn of(daemon: &Lone, data: &Path) -> Result<Size> {
        Ok(Size {
            resident_mib: cost::memory_of(daemon.pid())?.resident_bytes as f64 / MIB,
            disk_mib: bytes_of(data)? as f64 / MIB,
        })
    }
}

/// Does it.
///
/// # Errors
/// If the daemon does not start, refuses, or does not hold what it should in the end.
pub fn run(options: &Options) -> Result<Sheet> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> Result<Sheet> {
    let dir = scratch::directory(options.store, options.dir.as_deref())?;
    let data = dir.path().join("data");
    let mut daemon = Lone::start(&Binaries::find(options.bin_dir.as_deref())?, &data, &[])?;
    let connections = daemon.connections().await?;
    let value = "v".repeat(options.value_bytes);
    let (begun, mut samples, mut made) = (Instant::now(), Vec::new(), 0);
    for sample in 1..=SAMPLES {
        let until = options.keys * sample / SAMPLES;
        while made < until {
            let keys = made..until.min(made + BATCH);
            made = keys.end;
            // As many go as come, once there are enough.
            let gone = keys.start.saturating_sub(options.live)..keys.end.saturating_sub(options.live);
            let set = |n| WriteOp::Set { key: key(n), value: value.as_bytes().to_vec().into() };
            let del = |n| WriteOp::Del { key: key(n), kind: None };
            let ops = keys.map(set).chain(gone.map(del)).map(Into::into).collect();
            write(&connections, &WriteRequest { ops, ..WriteRequest::default() }).await?;
        }
        let size = Size::of(&daemon, &data)?;
        if sample % (SAMPLES / 8) == 0 {
            let Size { resident_mib, disk_mib } = size;
            note(&format!("{made} keys: {resident_mib:.1} MiB resident, {disk_mib:.1} MiB on the disk"));
        }
        samples.push(size);
    }
    let took = begun.elapsed();
    let check: Value = serde_json::from_slice(&connections.get(paths::CHECK).await?)?;
    ensure!(check["healthy"] == true, "the daemon's store is not sound: {check}");
    let status: Value = serde_json::from_slice(&connections.get(paths::STATUS).await?)?;
    ensure!(status["keys"] == options.live.min(options.keys), "not so many keys: {status}");
    let mut column = Column::default();
    column.one("keys_per_s", options.keys as f64 / took.as_secs_f64());
    column.one("took_s", took.as_secs_f64());
    grown(&mut column, "resident", samples.iter().map(|size| size.resident_mib).collect());
    grown(&mut column, "disk", samples.iter().map(|size| size.disk_mib).collect());
    let mut sheet = Sheet {
        details: vec![
            ("keys", json!(options.keys)),
            ("live", json!(options.live)),
            ("value_bytes", json!(options.value_bytes)),
            ("samples", json!(SAMPLES)),
            ("store", json!(options.store)),
        ],
        columns: vec![("chinwag", column)],
        ..Sheet::default()
    };
    sheet.goal("resident_growth_ratio", Of::Median, Bound::AtMost, GROWTH_MAX);
    sheet.goal("disk_growth_ratio", Of::Median, Bound::AtMost, GROWTH_MAX);
    Ok(sheet)
}

fn key(number: usize) -> String {
    format!("churn/{number}")
}

async fn write(connections: &Connections, request: &WriteRequest) -> Result<()> {
    connections.post(paths::WRITE, serde_json::to_vec(request)?).await.map(drop)
}

/// The first, the highest and the last of some samples, and how much the highest of the last quarter is above the highest
/// of the second.
fn grown(column: &mut Column, what: &str, samples: Vec<f64>) {
    let highest = |of: &[f64]| of.iter().copied().fold(0.0, f64::max);
    let (quarter, end) = (samples.len() / 4, samples.len());
    let growth = highest(&samples[end - quarter..]) / highest(&samples[quarter..2 * quarter]);
    column.one(format!("{what}_first_mib"), samples[0]);
    column.one(format!("{what}_max_mib"), highest(&samples));
    column.one(format!("{what}_last_mib"), samples[end - 1]);
    column.one(format!("{what}_growth_ratio"), growth);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen_and_history_that_fills_is_not() {
        let ratio = |samples: Vec<f64>| {
            let mut column = Column::default();
            grown(&mut column, "disk", samples);
            let mut sheet = Sheet { columns: vec![("chinwag", column)], ..Sheet::default() };
            sheet.goal("disk_growth_ratio", Of::Median, Bound::AtMost, GROWTH_MAX);
            (sheet.systems()["chinwag"]["disk_max_mib"].as_f64().unwrap(), sheet.goals[0].met)
        };
        let fills = (0..80).map(|n| f64::from(n).min(20.0)).collect();
        assert_eq!(ratio(fills), (20.0, true));
        let grows = (0..80).map(f64::from).collect();
        assert_eq!(ratio(grows), (79.0, false));
    }
}

//! How fast replicas take in what others wrote, on one core, in memory.
//!
//! - *Register joins*: writes of somebody else to registers that hold a value already, each replacing it.
//! - *Set joins*: somebody else's elements, added to sets.
//! - *Merging two sets* of as many elements, of which one side has half of the difference more and the other the other half,
//!   all by adding and removing: by the writes that make the difference, as replicas do that have met; and as whole cells,
//!   as they do that have not. The crate `crdts` merges whole values only.

use super::figures::{Bound, Column, Of, Sheet};
use super::material::{self, Material, WALL_MS, as_value};
use crate::cost;
use anyhow::{Result, ensure};
use chinwag_base::{Key, ReplicaId, WallTime};
use chinwag_crdt::{Dot, Dots, Effect, Entry, Extent, Hlc, Place, Replica, Staged};
use crdts::{CmRDT, CvRDT, MVReg, Map, Orswot};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Writes in one commit: as many as a chunk of an exchange has.
const COMMIT: usize = 1_024;
/// The element type of the others: as long as ours.
type Element = String;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Registers, and elements in all sets.
    pub elements: usize,
    /// Sets that the elements are spread over.
    pub sets: usize,
    /// Bytes of a value or element.
    pub value_bytes: usize,
    /// Elements in which the two sets differ.
    pub differ: usize,
    /// How often.
    pub runs: usize,
    /// Whether `crdts` is measured as well.
    pub crdts: bool,
}

/// Does it.
///
/// # Errors
/// If something merges to what it should not.
pub fn run(options: &Options) -> Result<Sheet> {
    let mut sheet = Sheet {
        details: vec![
            ("elements", json!(options.elements)),
            ("sets", json!(options.sets)),
            ("value_bytes", json!(options.value_bytes)),
            ("differ", json!(options.differ)),
            ("runs", json!(options.runs)),
        ],
        ..Sheet::default()
    };
    sheet.columns.push(("chinwag", chinwag(options)?));
    if options.crdts {
        sheet.columns.push(("crdts", others(options)?));
    }
    sheet.goal("register_joins_per_s", Of::Median, Bound::AtLeast, 2e6);
    sheet.goal("set_joins_per_s", Of::Median, Bound::AtLeast, 1e6);
    sheet.goal("merge_sets_ms", Of::Median, Bound::AtMost, 1.0);
    Ok(sheet)
}

/// Processor time of something, in seconds.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let begun = cost::thread_cpu();
    let result = work();
    (result, (cost::thread_cpu() - begun).as_secs_f64().max(Duration::from_nanos(1).as_secs_f64()))
}

fn element(n: usize, bytes: usize) -> String {
    let mut text = format!("element-{n:07}-");
    text.push_str(&material::value(n, 1, bytes.saturating_sub(text.len())));
    text
}

/// Stages and commits as a replica does with a chunk of an exchange.
fn take(replica: &mut Replica, entries: Vec<Entry>) -> Result<()> {
    let wall = WallTime::from_unix_ms(WALL_MS);
    let mut staged = 0;
    for entry in entries {
        ensure!(replica.stage_remote(entry, wall) == Staged::New, "an entry was not taken");
        staged += 1;
        if staged % COMMIT == 0 {
            replica.commit();
            replica.cut_log(replica.position());
        }
    }
    replica.commit();
    replica.cut_log(replica.position());
    Ok(())
}

fn owned(entries: Vec<Arc<Entry>>) -> Vec<Entry> {
    entries.into_iter().map(Arc::unwrap_or_clone).collect()
}

/// A writer of sets.
struct Writer {
    me: ReplicaId,
    counter: u64,
}

impl Writer {
    fn entry(&mut self, key: &Key, effect: Effect, removed: Dots) -> Entry {
        self.counter += 1;
        let dot = Dot::new(self.me, self.counter);
        Entry { dot, hlc: Hlc::new(WALL_MS - 1_000, 0), key: key.clone(), effect, removed }
    }

    fn add(&mut self, key: &Key, n: usize, bytes: usize) -> Result<Entry> {
        Ok(self.entry(key, Effect::Add { element: as_value(&element(n, bytes))? }, Dots::new()))
    }
}

fn chinwag(options: &Options) -> Result<Column> {
    let mut column = Column::default();
    let (mut registers, mut sets) = (Vec::new(), Vec::new());
    for run in 0..options.runs {
        let mut material = Material::new(16, options.elements, options.value_bytes);
        let mut replica = Replica::new(material::replica(10_000, 1));
        take(&mut replica, owned(material.write(0..options.elements)?))?;
        let newer = owned(material.write(0..options.elements)?);
        let (taken, seconds) = timed(|| take(&mut replica, newer));
        taken?;
        ensure!(replica.len() == options.elements, "all registers are there");
        registers.push(options.elements as f64 / seconds);

        let mut writer = Writer { me: material::replica(run, 1), counter: 0 };
        let mut replica = Replica::new(material::replica(10_000, 1));
        let keys: Vec<Key> = (0..options.sets).map(|n| material::key(16, n)).collect::<Result<_>>()?;
        let adds: Vec<Entry> = (0..options.elements)
            .map(|n| writer.add(&keys[n % keys.len()], n, options.value_bytes))
            .collect::<Result<_>>()?;
        let (taken, seconds) = timed(|| take(&mut replica, adds));
        taken?;
        let all: usize = keys.iter().map(|key| replica.set_len(key)).sum();
        ensure!(all == options.elements, "all elements are there");
        sets.push(options.elements as f64 / seconds);
    }
    column.spread("register_joins_per_s", registers);
    column.spread("set_joins_per_s", sets);
    merge_sets(options, &mut column)?;
    Ok(column)
}

fn merge_sets(options: &Options, column: &mut Column) -> Result<()> {
    let key: Key = "app/large-set".parse()?;
    let mut writer = Writer { me: material::replica(1, 1), counter: 0 };
    let base: Vec<Entry> =
        (0..options.elements).map(|n| writer.add(&key, n, options.value_bytes)).collect::<Result<_>>()?;
    let mut theirs = Replica::new(material::replica(2, 1));
    take(&mut theirs, base.clone())?;
    let half = options.differ / 2;
    let mut other = Writer { me: material::replica(2, 1), counter: 0 };
    let mut difference = Vec::new();
    for n in 0..half {
        difference.push(other.add(&key, options.elements + n, options.value_bytes)?);
        let gone = base[n * (options.elements / half.max(1))].dot;
        difference.push(other.entry(&key, Effect::Remove, [gone].into_iter().collect()));
    }
    for entry in &difference {
        theirs.recover(entry.clone());
    }
    let (mut by_writes, mut by_cells) = (Vec::new(), Vec::new());
    let me = material::replica(3, 1);
    for _ in 0..options.runs {
        let mut ours = Replica::new(me);
        take(&mut ours, base.clone())?;
        let entries = difference.clone();
        let (taken, seconds) = timed(|| take(&mut ours, entries));
        taken?;
        ensure!(ours.digest() == theirs.digest(), "the sets are equal after their writes");
        by_writes.push(seconds * 1e3);

        let mut ours = Replica::new(me);
        take(&mut ours, base.clone())?;
        let ((), seconds) = timed(|| join_all(&mut ours, &theirs));
        ensure!(ours.digest() == theirs.digest(), "the sets are equal as whole cells");
        by_cells.push(seconds * 1e3);
    }
    column.spread("merge_sets_ms", by_writes);
    column.spread("merge_sets_as_whole_cells_ms", by_cells);
    Ok(())
}

/// Takes all of another replica, slice by slice, as a session does.
fn join_all(ours: &mut Replica, theirs: &Replica) {
    ours.promise(theirs.promised());
    let mut after: Option<Place> = None;
    loop {
        let slice = theirs.slice_after(after.as_ref(), chinwag_base::limits::CHUNK_BYTES_MAX);
        ours.join(&slice);
        match slice.extent {
            Extent::Range { until: Some(until), .. } => after = Some(until),
            _ => break,
        }
    }
    ours.cover();
}

fn others(options: &Options) -> Result<Column> {
    type Registers = Map<String, MVReg<String, ReplicaId>, ReplicaId>;
    let mut column = Column::default();
    let actor = material::replica(1, 1);
    let (mut registers, mut sets, mut merged, mut maps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let mut origin = Registers::new();
        let mut replica = Registers::new();
        let write = |origin: &mut Registers, version: u64| -> Vec<_> {
            let write = |n: usize| {
                let ctx = origin.read_ctx().derive_add_ctx(actor);
                let value = material::value(n, version, options.value_bytes);
                let op =
                    origin.update(material::key_name(16, n), ctx, |register, ctx| register.write(value, ctx));
                origin.apply(op.clone());
                op
            };
            (0..options.elements).map(write).collect()
        };
        for op in write(&mut origin, 1) {
            replica.apply(op);
        }
        let newer = write(&mut origin, 2);
        let ((), seconds) = timed(|| newer.into_iter().for_each(|op| replica.apply(op)));
        ensure!(replica.len().val == options.elements, "all registers are there");
        registers.push(options.elements as f64 / seconds);

        // The map merged with one in which as many registers are newer.
        let mut theirs = replica.clone();
        for n in 0..options.differ {
            let ctx = theirs.read_ctx().derive_add_ctx(actor);
            let value = material::value(n, 3, options.value_bytes);
            let op =
                theirs.update(material::key_name(16, n), ctx, |register, ctx| register.write(value, ctx));
            theirs.apply(op);
        }
        let copy = theirs.clone();
        let ((), seconds) = timed(|| replica.merge(copy));
        ensure!(replica == theirs, "the maps are equal");
        maps.push(seconds * 1e3);

        let mut ours = Orswot::<Element, ReplicaId>::new();
        let mut origin = ours.clone();
        let mut adds = Vec::new();
        for n in 0..options.elements {
            let ctx = origin.read_ctx().derive_add_ctx(actor);
            let op = origin.add(element(n, options.value_bytes), ctx);
            origin.apply(op.clone());
            adds.push(op);
        }
        let ((), seconds) = timed(|| adds.into_iter().for_each(|op| ours.apply(op)));
        ensure!(ours.read().val.len() == options.elements, "all elements are there");
        sets.push(options.elements as f64 / seconds);

        let mut theirs = ours.clone();
        let half = options.differ / 2;
        for n in 0..half {
            let ctx = theirs.read_ctx().derive_add_ctx(material::replica(2, 1));
            let op = theirs.add(element(options.elements + n, options.value_bytes), ctx);
            theirs.apply(op);
            let gone = element(n * (options.elements / half.max(1)), options.value_bytes);
            let op = theirs.rm(gone.clone(), theirs.contains(&gone).derive_rm_ctx());
            theirs.apply(op);
        }
        let copy = theirs.clone();
        let ((), seconds) = timed(|| ours.merge(copy));
        ensure!(ours == theirs, "the sets are equal");
        merged.push(seconds * 1e3);
    }
    column.spread("register_joins_per_s", registers);
    column.spread("set_joins_per_s", sets);
    column.spread("merge_sets_as_whole_cells_ms", merged);
    column.spread("merge_maps_whole_ms", maps);
    Ok(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_systems_merge() {
        let options = Options { elements: 400, sets: 4, value_bytes: 32, differ: 20, runs: 2, crdts: true };
        let sheet = run(&options).unwrap();
        let systems = sheet.systems();
        for (system, figure) in [
            ("chinwag", "merge_sets_ms"),
            ("chinwag", "merge_sets_as_whole_cells_ms"),
            ("crdts", "merge_sets_as_whole_cells_ms"),
            ("crdts", "register_joins_per_s"),
        ] {
            assert!(systems[system][figure]["median"].as_f64().unwrap() > 0.0, "{systems:#}");
        }
        assert_eq!(sheet.goals.len(), 3);
    }
}

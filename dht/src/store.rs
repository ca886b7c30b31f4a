//! The records that one owner holds: an index in memory, what waits for the disk, and the bounds of both.
//!
//! The store decides and counts; it writes to no disk and asks nobody for the time. Cells are held in memory, because every
//! put of one joins it. A blob's bytes are on the disk alone: the index knows their length and their hash.
//!
//! A change is *staged* until its batch is durable. Puts join what is staged, reads see only what is durable, and a
//! batch that the disk refuses leaves the store as it was.

use crate::cell::{Cell, CellError};
use crate::distance::Id;
use crate::held::Held;
use crate::record::ValidRecord;
use chinwag_base::limits::{
    BLOB_STORE_BYTES_MAX, PUBLISHER_BYTES_MAX, PUBLISHER_RECORDS_MAX, RECORD_MEMORY_BYTES_MAX, RECORDS_MAX,
};
use chinwag_base::{Digest, NodeId, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// What a store holds at most. The defaults are the bounds in `base::limits`; a small machine sets less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Records.
    pub records_max: usize,
    /// Bytes of cells and of the index, in memory.
    pub memory_bytes_max: usize,
    /// Bytes of blobs, on the disk.
    pub blob_bytes_max: usize,
    /// Records of one publisher.
    pub publisher_records_max: usize,
    /// Bytes of one publisher's records, of either sort.
    pub publisher_bytes_max: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        StoreLimits {
            records_max: RECORDS_MAX,
            memory_bytes_max: RECORD_MEMORY_BYTES_MAX,
            blob_bytes_max: BLOB_STORE_BYTES_MAX,
            publisher_records_max: PUBLISHER_RECORDS_MAX,
            publisher_bytes_max: PUBLISHER_BYTES_MAX,
        }
    }
}

/// Why a valid record is not taken. The store is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The index is full.
    #[error("this owner holds at most {records_max} records")]
    Records {
        /// The limit.
        records_max: usize,
    },
    /// Cells and index have all the memory that they may.
    #[error("this owner holds at most {bytes_max} bytes of records in memory, and has {bytes}")]
    Memory {
        /// The limit.
        bytes_max: usize,
        /// What is held.
        bytes: usize,
    },
    /// Blobs have all the disk that they may.
    #[error("this owner holds at most {bytes_max} bytes of blobs, and has {bytes}")]
    Blobs {
        /// The limit.
        bytes_max: usize,
        /// What is held.
        bytes: usize,
    },
    /// The publisher has as many records here as it may.
    #[error("an owner holds at most {records_max} records of one publisher")]
    PublisherRecords {
        /// The limit.
        records_max: usize,
    },
    /// The publisher's records here are as large as they may be.
    #[error("an owner holds at most {bytes_max} bytes of one publisher's records, and has {bytes}")]
    PublisherBytes {
        /// The limit.
        bytes_max: usize,
        /// What is held for it.
        bytes: usize,
    },
    /// The cell would be too large.
    #[error(transparent)]
    Cell(#[from] CellError),
}

/// How much one publisher has here, or all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Records.
    pub records: usize,
    /// Bytes of cells and of the index.
    pub memory_bytes: usize,
    /// Bytes of blobs.
    pub blob_bytes: usize,
}

impl Usage {
    fn add(&mut self, held: &Held) {
        self.records += 1;
        self.memory_bytes += held.memory_bytes();
        self.blob_bytes += held.blob_bytes();
    }

    fn subtract(&mut self, held: &Held) {
        self.records -= 1;
        self.memory_bytes -= held.memory_bytes();
        self.blob_bytes -= held.blob_bytes();
    }
}

/// What a batch does to one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The row becomes this one; a new blob's bytes with it.
    Keep {
        /// The row.
        held: Arc<Held>,
        /// The blob's bytes, unless they are on the disk already.
        blob: Option<Arc<[u8]>>,
    },
    /// The row goes, and the blob's bytes with it.
    Drop,
}

/// A durable row and its digest.
#[derive(Debug, Clone)]
struct Row {
    held: Arc<Held>,
    digest: Digest,
}

/// An owner's records.
#[derive(Debug, Clone, Default)]
pub struct Store {
    limits: StoreLimits,
    /// By place rather than by key: hand-off goes through them in this order.
    rows: BTreeMap<Id, Row>,
    /// Changes that wait for the disk, or are at it.
    staged: BTreeMap<Id, Change>,
    by_end: BTreeSet<(WallTime, Id)>,
    publishers: BTreeMap<NodeId, Usage>,
    all: Usage,
    staged_memory_bytes: usize,
    staged_blob_bytes: usize,
}

impl Store {
    /// An empty store.
    pub fn new(limits: StoreLimits) -> Self {
        Store { limits, ..Store::default() }
    }

    /// The durable row under `id`, a tombstone too; `None` from the moment that it ends, collected or not.
    pub fn get(&self, id: &Id, now: WallTime) -> Option<&Arc<Held>> {
        self.rows.get(id).map(|row| &row.held).filter(|held| !held.has_ended(now))
    }

    /// Its digest.
    pub fn digest(&self, id: &Id) -> Option<Digest> {
        self.rows.get(id).map(|row| row.digest)
    }

    /// What a put joins: the newest row, staged or not; of one that has ended, what it leaves.
    fn joins(&self, id: &Id, now: WallTime) -> Option<Held> {
        let held = match self.staged.get(id) {
            Some(Change::Keep { held, .. }) => held,
            Some(Change::Drop) => return None,
            None => &self.rows.get(id)?.held,
        };
        if held.has_ended(now) { held.entombed() } else { Some((**held).clone()) }
    }

    /// The row as it will be once what is staged is durable.
    pub fn newest(&self, id: &Id, now: WallTime) -> Option<&Arc<Held>> {
        match self.staged.get(id) {
            Some(Change::Keep { held, .. }) => Some(held).filter(|held| !held.has_ended(now)),
            Some(Change::Drop) => None,
            None => self.get(id, now),
        }
    }

    /// Stages the join of `record` with what is held and staged. `None`: it would change nothing that is not durable already.
    /// What has ended by `now` is as if it were not there. A client's put may not make a cell larger than a cell may be; what
    /// owners pass on to each other (`passed_on`) has been acknowledged, and may.
    ///
    /// # Errors
    /// [`PutError`]; nothing has changed.
    pub fn stage(
        &mut self,
        record: ValidRecord,
        passed_on: bool,
        now: WallTime,
    ) -> Result<Option<Id>, PutError> {
        let id = record.key.id();
        let (mut held, mut blob) = Held::of(record);
        if let Some(before) = self.joins(&id, now) {
            let mut joined = before.clone();
            joined.join(&held, now)?;
            let is_staged = self.staged.contains_key(&id);
            if joined == before && (is_staged || self.get(&id, now).is_some()) {
                return Ok(is_staged.then_some(id));
            }
            held = joined;
            // On the disk already, and nothing is about to take it away: a staged removal would have hidden `before`.
            if self.get(&id, now).is_some() {
                blob = None;
            }
        }
        if !passed_on && held.cell().is_some_and(Cell::is_too_large) {
            return Err(CellError::Full.into());
        }
        self.check_room(&id, &held)?;
        self.unstage(&id);
        self.staged_memory_bytes += held.memory_bytes();
        self.staged_blob_bytes += held.blob_bytes();
        self.staged.insert(id, Change::Keep { held: Arc::new(held), blob });
        Ok(Some(id))
    }

    /// Stages the removal of a record, unless something else is staged for it.
    pub fn stage_drop(&mut self, id: Id) -> bool {
        let drops = self.rows.contains_key(&id) && !self.staged.contains_key(&id);
        if drops {
            self.staged.insert(id, Change::Drop);
        }
        drops
    }

    /// Stages what is left of a record that has ended: a tombstone, or nothing. False if something else is staged for it.
    pub fn stage_end(&mut self, id: Id) -> bool {
        let Some(left) = self.rows.get(&id).map(|row| row.held.entombed()) else { return false };
        match left {
            None => self.stage_drop(id),
            Some(_) if self.staged.contains_key(&id) => false,
            Some(held) => {
                self.staged_memory_bytes += held.memory_bytes();
                self.staged.insert(id, Change::Keep { held: Arc::new(held), blob: None });
                true
            }
        }
    }

    /// What is staged for a record.
    pub fn staged(&self, id: &Id) -> Option<&Change> {
        self.staged.get(id)
    }

    /// The change of `id` in a batch is durable: it becomes visible. If more was staged for it since, that stays staged.
    pub fn apply(&mut self, id: Id, change: &Change) {
        self.remove(&id);
        if let Change::Keep { held, .. } = change {
            self.insert(id, held.clone());
        }
        if self.staged.get(&id) == Some(change) {
            self.unstage(&id);
        }
    }

    /// Forgets what is staged for a record: the disk did not take it.
    pub fn unstage(&mut self, id: &Id) {
        if let Some(Change::Keep { held, .. }) = self.staged.remove(id) {
            self.staged_memory_bytes -= held.memory_bytes();
            self.staged_blob_bytes -= held.blob_bytes();
        }
    }

    /// A row that the disk had at the start. Bounds do not apply: it is there.
    pub fn recover(&mut self, held: Held) {
        let id = held.key.id();
        self.remove(&id);
        self.insert(id, Arc::new(held));
    }

    /// Takes a row whose bytes turned out to be damaged out of the index, so that it can come anew.
    pub fn forget(&mut self, id: &Id) -> Option<Arc<Held>> {
        // What is staged on top of it relies on its bytes.
        self.unstage(id);
        self.remove(id)
    }

    /// When the next record ends that nothing is staged for.
    pub fn next_end(&self) -> Option<WallTime> {
        self.by_end.iter().find(|(_, id)| !self.staged.contains_key(id)).map(|(end, _)| *end)
    }

    /// Up to `at_most` records that have ended by `now`, the oldest first.
    pub fn ended(&self, now: WallTime, at_most: usize) -> Vec<Id> {
        let ended = self.by_end.iter().take_while(|(end, _)| *end <= now);
        ended.map(|(_, id)| *id).filter(|id| !self.staged.contains_key(id)).take(at_most).collect()
    }

    /// The durable rows after `cursor`, in the order of their places.
    pub fn after(&self, cursor: Option<Id>) -> impl Iterator<Item = (&Id, &Arc<Held>, Digest)> {
        let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        self.rows.range((from, Bound::Unbounded)).map(|(id, row)| (id, &row.held, row.digest))
    }

    /// How many durable records there are, and how large.
    pub fn usage(&self) -> Usage {
        self.all
    }

    /// What `publisher` has here.
    pub fn usage_of(&self, publisher: &NodeId) -> Usage {
        self.publishers.get(publisher).copied().unwrap_or_default()
    }

    /// Whether `held` fits in the place of what is under `id` now. What is staged counts beside what is held.
    fn check_room(&self, id: &Id, held: &Held) -> Result<(), PutError> {
        let before = self.rows.get(id).map(|row| &row.held);
        let limits = self.limits;
        if before.is_none() && self.all.records + self.staged.len() >= limits.records_max {
            return Err(PutError::Records { records_max: limits.records_max });
        }
        let freed = |of: fn(&Held) -> usize| before.map_or(0, |before| of(before));
        let memory_bytes = self.all.memory_bytes + self.staged_memory_bytes - freed(Held::memory_bytes);
        if memory_bytes + held.memory_bytes() > limits.memory_bytes_max {
            return Err(PutError::Memory { bytes_max: limits.memory_bytes_max, bytes: memory_bytes });
        }
        let blob_bytes = self.all.blob_bytes + self.staged_blob_bytes - freed(Held::blob_bytes);
        if blob_bytes + held.blob_bytes() > limits.blob_bytes_max {
            return Err(PutError::Blobs { bytes_max: limits.blob_bytes_max, bytes: blob_bytes });
        }
        let mut usage = self.usage_of(&held.publisher);
        if let Some(own) = before.filter(|before| before.publisher == held.publisher) {
            usage.subtract(own);
        }
        if usage.records >= limits.publisher_records_max {
            return Err(PutError::PublisherRecords { records_max: limits.publisher_records_max });
        }
        let bytes = usage.memory_bytes + usage.blob_bytes;
        if bytes + held.memory_bytes() + held.blob_bytes() > limits.publisher_bytes_max {
            return Err(PutError::PublisherBytes { bytes_max: limits.publisher_bytes_max, bytes });
        }
        Ok(())
    }

    fn insert(&mut self, id: Id, held: Arc<Held>) {
        self.all.add(&held);
        self.publishers.entry(held.publisher).or_default().add(&held);
        self.by_end.extend(held.expires.map(|end| (end, id)));
        let digest = held.digest();
        self.rows.insert(id, Row { held, digest });
    }

    fn remove(&mut self, id: &Id) -> Option<Arc<Held>> {
        let held = self.rows.remove(id)?.held;
        self.all.subtract(&held);
        if let Some(end) = held.expires {
            self.by_end.remove(&(end, *id));
        }
        if let Some(usage) = self.publishers.get_mut(&held.publisher) {
            usage.subtract(&held);
            if usage.records == 0 {
                self.publishers.remove(&held.publisher);
            }
        }
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Edit;
    use crate::record::{Record, RecordKey};
    use crate::testing::{NOW, any_record, node, put, replica};
    use chinwag_base::limits::{RECORD_OVERHEAD_BYTES, TOMBSTONE_LIFE_MS};
    use chinwag_crdt::{Dot, Hlc};
    use proptest::prelude::*;

    fn record(key: &str, cell: Cell, publisher: u8) -> ValidRecord {
        Record::cell(key.parse().unwrap(), cell, node(publisher), NOW).validate(NOW).unwrap()
    }

    fn blob(bytes: &[u8], publisher: u8) -> ValidRecord {
        Record::blob(bytes.to_vec(), node(publisher), NOW).validate(NOW).unwrap()
    }

    fn id(key: &str) -> Id {
        RecordKey::Cell(key.parse().unwrap()).id()
    }

    /// Stages and applies.
    fn take(store: &mut Store, record: ValidRecord) -> Result<(), PutError> {
        if let Some(id) = store.stage(record, false, NOW)? {
            let change = store.staged(&id).unwrap().clone();
            store.apply(id, &change);
        }
        Ok(())
    }

    #[test]
    fn reads_see_what_is_durable_and_puts_join_what_is_staged() {
        let mut store = Store::default();
        let first = store.stage(record("k", put(1, 1, "one"), 1), false, NOW).unwrap().unwrap();
        assert_eq!(store.get(&first, NOW), None);
        let at_disk = store.staged(&first).unwrap().clone();
        // A second put comes while the first is at the disk.
        store.stage(record("k", put(2, 1, "two"), 2), false, NOW).unwrap().unwrap();
        store.apply(first, &at_disk);
        assert!(store.get(&first, NOW).unwrap().cell().unwrap().includes(&put(1, 1, "one")));
        let both = store.newest(&first, NOW).unwrap().cell().unwrap().clone();
        assert!(both.includes(&put(1, 1, "one")) && both.includes(&put(2, 1, "two")));
        // The disk refuses it: as if it had never come.
        store.unstage(&first);
        assert!(!store.newest(&first, NOW).unwrap().cell().unwrap().includes(&put(2, 1, "two")));
        assert_eq!((store.staged_memory_bytes, store.staged_blob_bytes), (0, 0));
        // The same again changes nothing.
        assert_eq!(store.stage(record("k", put(1, 1, "one"), 1), false, NOW), Ok(None));
    }

    #[test]
    fn a_tombstone_keeps_late_copies_away_and_ends() {
        let mut store = Store::default();
        let one = put(1, 1, "one");
        take(&mut store, record("k", one.clone(), 1)).unwrap();
        let gone = one.plan(&Edit::Delete, Dot::new(replica(2), 1), Hlc::ZERO, None).unwrap();
        take(&mut store, record("k", gone, 2)).unwrap();
        assert_eq!(store.stage(record("k", one, 1), false, NOW), Ok(None), "a late copy does not come back");
        let held = store.get(&id("k"), NOW).unwrap();
        assert!(held.is_tombstone());
        let end = NOW.plus_ms(TOMBSTONE_LIFE_MS);
        assert_eq!(held.expires, Some(end));
        assert!(store.ended(WallTime::from_unix_ms(end.unix_ms() - 1), 9).is_empty());
        assert_eq!(store.ended(end, 9), [id("k")]);
        assert_eq!(store.get(&id("k"), end), None);
        assert!(store.stage_drop(id("k")));
        store.apply(id("k"), &Change::Drop);
        assert_eq!((store.usage(), store.by_end.len()), (Usage::default(), 0));
    }

    #[test]
    fn a_blobs_bytes_are_written_once_and_its_end_is_the_later_one() {
        let mut store = Store::default();
        let first = store.stage(blob(b"hello", 1), false, NOW).unwrap().unwrap();
        let change = store.staged(&first).unwrap().clone();
        assert!(matches!(&change, Change::Keep { blob: Some(bytes), .. } if **bytes == *b"hello"));
        store.apply(first, &change);
        let longer = Record::blob(*b"hello", node(1), NOW).until(None).validate(NOW).unwrap();
        store.stage(longer, false, NOW).unwrap().unwrap();
        let change = store.staged(&first).unwrap().clone();
        assert!(matches!(&change, Change::Keep { blob: None, held } if held.expires.is_none()));
        store.apply(first, &change);
        assert_eq!(store.stage(blob(b"hello", 1), false, NOW), Ok(None), "a shorter life changes nothing");
        assert_eq!(store.usage().blob_bytes, 5);
    }

    #[test]
    fn each_limit_says_its_name() {
        let limits = StoreLimits {
            records_max: 4,
            memory_bytes_max: 5 * RECORD_OVERHEAD_BYTES,
            blob_bytes_max: 1_000,
            publisher_records_max: 3,
            publisher_bytes_max: 3 * RECORD_OVERHEAD_BYTES + 600,
        };
        let mut store = Store::new(limits);
        take(&mut store, blob(&[1; 500], 1)).unwrap();
        let refused = take(&mut store, blob(&[2; 500], 1));
        assert!(matches!(refused, Err(PutError::PublisherBytes { .. })), "{refused:?}");
        let refused = take(&mut store, blob(&[2; 501], 2));
        assert_eq!(refused, Err(PutError::Blobs { bytes_max: 1_000, bytes: 500 }));
        take(&mut store, blob(b"a", 1)).unwrap();
        take(&mut store, blob(b"b", 1)).unwrap();
        assert_eq!(take(&mut store, blob(b"c", 1)), Err(PutError::PublisherRecords { records_max: 3 }));
        let big = "x".repeat(3 * RECORD_OVERHEAD_BYTES);
        let refused = take(&mut store, record("k", put(2, 1, &big), 2));
        assert!(matches!(refused, Err(PutError::Memory { .. })), "{refused:?}");
        take(&mut store, blob(b"d", 2)).unwrap();
        assert_eq!(take(&mut store, blob(b"e", 2)), Err(PutError::Records { records_max: 4 }));
        take(&mut store, blob(b"d", 2)).unwrap();
    }

    proptest! {
        #[test]
        fn bounds_hold_and_counts_are_true_whatever_is_put(
            puts in proptest::collection::vec((any_record(), any::<u8>()), 0..60),
        ) {
            let limits = StoreLimits {
                records_max: 6,
                memory_bytes_max: 3_000,
                blob_bytes_max: 150,
                publisher_records_max: 4,
                publisher_bytes_max: 1_400,
            };
            let mut store = Store::new(limits);
            for (record, choice) in puts {
                let Ok(valid) = record.validate(NOW) else { continue };
                let Ok(Some(id)) = store.stage(valid, false, NOW) else { continue };
                match choice % 4 {
                    0 => store.unstage(&id),
                    1 => {}
                    _ => {
                        let change = store.staged(&id).unwrap().clone();
                        store.apply(id, &change);
                    }
                }
                let mut all = Usage::default();
                store.rows.values().for_each(|row| all.add(&row.held));
                prop_assert_eq!(store.usage(), all);
                prop_assert!(all.records <= limits.records_max && all.blob_bytes <= limits.blob_bytes_max);
                prop_assert!(all.memory_bytes <= limits.memory_bytes_max);
                let ends = store.rows.values().filter(|row| row.held.expires.is_some()).count();
                prop_assert_eq!(store.by_end.len(), ends);
                let of_publishers: usize = store.publishers.values().map(|usage| usage.records).sum();
                prop_assert_eq!(of_publishers, all.records);
            }
        }

        #[test]
        fn owners_that_took_the_same_records_in_any_order_agree(
            records in proptest::collection::vec(any_record(), 0..20),
            seed in any::<usize>(),
        ) {
            let valid: Vec<_> = records.into_iter().filter_map(|r| r.validate(NOW).ok()).collect();
            let mut other = valid.clone();
            other.rotate_left(if valid.is_empty() { 0 } else { seed % valid.len() });
            other.reverse();
            let fill = |records: Vec<ValidRecord>| {
                let mut store = Store::default();
                records.into_iter().for_each(|record| take(&mut store, record).unwrap());
                store.rows.into_iter().map(|(id, row)| (id, row.digest)).collect::<Vec<_>>()
            };
            prop_assert_eq!(fill(valid), fill(other));
        }
    }
}

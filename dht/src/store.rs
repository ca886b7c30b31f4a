//! The records that one owner holds, in memory and within bounds.
//!
//! The store decides and counts; it does not write to disk and asks nobody for the time. Each refusal names the limit
//! that it hit, so that a publisher learns what to change.

use crate::distance::Id;
use crate::record::{RecordKey, ValidRecord};
use chinwag_base::limits::{PUBLISHER_BYTES_MAX, PUBLISHER_RECORDS_MAX, RECORD_STORE_BYTES_MAX};
use chinwag_base::{NodeId, WallTime};
use std::collections::{BTreeMap, BTreeSet};

/// What a store holds at most. The defaults are the bounds in `base::limits`; a small machine sets less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of all records, by [`ValidRecord::cost_bytes`].
    pub bytes_max: usize,
    /// Records of one publisher.
    pub publisher_records_max: usize,
    /// Bytes of one publisher's records.
    pub publisher_bytes_max: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        StoreLimits {
            bytes_max: RECORD_STORE_BYTES_MAX,
            publisher_records_max: PUBLISHER_RECORDS_MAX,
            publisher_bytes_max: PUBLISHER_BYTES_MAX,
        }
    }
}

/// What became of a record that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Nothing was held under its key.
    New,
    /// It took the place of another.
    Replaced,
    /// The very same is held already.
    Same,
}

/// Why a valid record was not stored. The store is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// What is held supersedes it. Whoever put it should read first.
    #[error("version {held_version} is held, which supersedes version {version}")]
    Stale {
        /// The version that is held.
        held_version: u64,
        /// The version that was put.
        version: u64,
    },
    /// The owner is full.
    #[error("this owner holds at most {bytes_max} bytes of records, and has {bytes}")]
    Full {
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
}

/// How much one publisher has here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Its records.
    pub records: usize,
    /// Their bytes, by [`ValidRecord::cost_bytes`].
    pub bytes: usize,
}

/// An owner's records.
#[derive(Debug, Clone, Default)]
pub struct Store {
    limits: StoreLimits,
    /// By place rather than by key: hand-off asks for what is near a member.
    records: BTreeMap<Id, ValidRecord>,
    by_end: BTreeSet<(WallTime, Id)>,
    publishers: BTreeMap<NodeId, Usage>,
    bytes: usize,
}

impl Store {
    /// An empty store.
    pub fn new(limits: StoreLimits) -> Self {
        Store { limits, ..Store::default() }
    }

    /// The record under `key`, a tombstone too; `None` from the moment that it ends, collected or not.
    pub fn get(&self, key: &RecordKey, now: WallTime) -> Option<&ValidRecord> {
        self.records.get(&key.id()).filter(|record| record.expires > now)
    }

    /// Takes the record, unless what is held supersedes it or a limit is met. What has ended by `now` neither
    /// supersedes nor stays.
    ///
    /// # Errors
    /// [`PutError`]; nothing of the records that are alive has changed.
    pub fn put(&mut self, record: ValidRecord, now: WallTime) -> Result<Stored, PutError> {
        let id = record.key.id();
        if self.records.get(&id).is_some_and(|held| held.expires <= now) {
            self.remove(&id);
        }
        let held = self.records.get(&id);
        if let Some(held) = held {
            if *held == record {
                return Ok(Stored::Same);
            }
            if !record.supersedes(held) {
                let (held_version, version) = (held.content.version(), record.content.version());
                return Err(PutError::Stale { held_version, version });
            }
        }
        self.check_room(&record, held)?;
        let stored = if self.remove(&id).is_some() { Stored::Replaced } else { Stored::New };
        self.insert(id, record);
        Ok(stored)
    }

    /// Removes up to `at_most` records that have ended by `now`, the oldest first, and returns them. Fewer than
    /// `at_most` means that none is left.
    pub fn expire(&mut self, now: WallTime, at_most: usize) -> Vec<ValidRecord> {
        let mut ended = Vec::new();
        while ended.len() < at_most {
            match self.by_end.first() {
                Some((end, id)) if *end <= now => {
                    let id = *id;
                    ended.extend(self.remove(&id));
                }
                _ => break,
            }
        }
        ended
    }

    /// When the next record ends: the time at which to call [`Store::expire`].
    pub fn next_end(&self) -> Option<WallTime> {
        self.by_end.first().map(|(end, _)| *end)
    }

    /// All records by their place, those too that have ended and are not collected yet.
    pub fn iter(&self) -> impl Iterator<Item = (&Id, &ValidRecord)> {
        self.records.iter()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What all records cost.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What `publisher` has here.
    pub fn usage(&self, publisher: &NodeId) -> Usage {
        self.publishers.get(publisher).copied().unwrap_or_default()
    }

    /// Whether `record` fits in the place of `held`.
    fn check_room(&self, record: &ValidRecord, held: Option<&ValidRecord>) -> Result<(), PutError> {
        let cost = record.cost_bytes();
        let freed = held.map_or(0, ValidRecord::cost_bytes);
        let StoreLimits { bytes_max, publisher_records_max, publisher_bytes_max } = self.limits;
        if self.bytes - freed + cost > bytes_max {
            return Err(PutError::Full { bytes_max, bytes: self.bytes });
        }
        let usage = self.usage(&record.publisher);
        let own = held.filter(|held| held.publisher == record.publisher);
        let (own_records, own_freed) = own.map_or((0, 0), |held| (1, held.cost_bytes()));
        if usage.records - own_records + 1 > publisher_records_max {
            return Err(PutError::PublisherRecords { records_max: publisher_records_max });
        }
        if usage.bytes - own_freed + cost > publisher_bytes_max {
            return Err(PutError::PublisherBytes { bytes_max: publisher_bytes_max, bytes: usage.bytes });
        }
        Ok(())
    }

    fn insert(&mut self, id: Id, record: ValidRecord) {
        let cost = record.cost_bytes();
        self.bytes += cost;
        let usage = self.publishers.entry(record.publisher).or_default();
        usage.records += 1;
        usage.bytes += cost;
        self.by_end.insert((record.expires, id));
        self.records.insert(id, record);
    }

    fn remove(&mut self, id: &Id) -> Option<ValidRecord> {
        let record = self.records.remove(id)?;
        let cost = record.cost_bytes();
        self.bytes -= cost;
        self.by_end.remove(&(record.expires, *id));
        if let Some(usage) = self.publishers.get_mut(&record.publisher) {
            usage.records -= 1;
            usage.bytes -= cost;
            if usage.records == 0 {
                self.publishers.remove(&record.publisher);
            }
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::record::tests::{NOW, any_record};
    use chinwag_base::limits::{RECORD_LIFE_MS_MAX, TOMBSTONE_LIFE_MS};
    use proptest::prelude::*;

    const ADA: NodeId = NodeId::from_bytes([1; 32]);
    const BOB: NodeId = NodeId::from_bytes([2; 32]);

    fn cell(key: &str, version: u64, value: &[u8], publisher: NodeId) -> ValidRecord {
        Record::cell(key.parse().unwrap(), version, value, publisher, NOW).validate(NOW).unwrap()
    }

    fn tombstone(key: &str, version: u64) -> ValidRecord {
        Record::tombstone(key.parse().unwrap(), version, ADA, NOW).validate(NOW).unwrap()
    }

    #[test]
    fn a_cell_is_written_replaced_deleted_and_forgotten() {
        let mut store = Store::default();
        assert_eq!(store.put(cell("k", 1, b"one", ADA), NOW), Ok(Stored::New));
        assert_eq!(store.put(cell("k", 1, b"one", ADA), NOW), Ok(Stored::Same));
        assert_eq!(store.put(cell("k", 2, b"two", BOB), NOW), Ok(Stored::Replaced));
        let stale = PutError::Stale { held_version: 2, version: 1 };
        assert_eq!(store.put(cell("k", 1, b"one", ADA), NOW), Err(stale));
        assert_eq!(
            store.usage(&ADA),
            Usage::default(),
            "the replacing publisher is counted, not the replaced"
        );
        assert_eq!(store.usage(&BOB).records, 1);

        assert_eq!(store.put(tombstone("k", 3), NOW), Ok(Stored::Replaced));
        let stale = PutError::Stale { held_version: 3, version: 2 };
        assert_eq!(store.put(cell("k", 2, b"two", BOB), NOW), Err(stale), "a late copy does not come back");

        let end = NOW.plus_ms(TOMBSTONE_LIFE_MS);
        assert_eq!(store.next_end(), Some(end));
        assert!(store.expire(WallTime::from_unix_ms(end.unix_ms() - 1), 10).is_empty());
        assert_eq!(store.expire(end, 10).len(), 1);
        assert!(store.is_empty() && store.bytes() == 0 && store.next_end().is_none());
    }

    #[test]
    fn what_has_ended_is_not_read_and_does_not_stand_in_the_way() {
        let mut store = Store::default();
        store.put(cell("k", 9, b"old", ADA), NOW).unwrap();
        let key = RecordKey::Cell("k".parse().unwrap());
        let end = NOW.plus_ms(RECORD_LIFE_MS_MAX);
        assert!(store.get(&key, NOW).is_some());
        assert!(store.get(&key, end).is_none());
        let anew = Record::cell("k".parse().unwrap(), 1, *b"new", BOB, end).validate(end).unwrap();
        assert_eq!(store.put(anew, end), Ok(Stored::New));
        assert_eq!(store.get(&key, end).and_then(|r| r.content.bytes()), Some(&b"new"[..]));
    }

    #[test]
    fn expiry_works_in_pieces() {
        let mut store = Store::default();
        for n in 0..10 {
            store.put(cell(&format!("k{n}"), 1, b"x", ADA), NOW).unwrap();
        }
        let end = NOW.plus_ms(RECORD_LIFE_MS_MAX);
        assert_eq!(store.expire(end, 4).len(), 4);
        assert_eq!(store.len(), 6);
        assert_eq!(store.expire(end, 100).len(), 6);
    }

    #[test]
    fn each_limit_says_its_name() {
        let small = StoreLimits { bytes_max: 2_000, publisher_records_max: 2, publisher_bytes_max: 900 };
        let mut store = Store::new(small);
        store.put(cell("a", 1, b"", ADA), NOW).unwrap();
        store.put(cell("b", 1, b"", ADA), NOW).unwrap();
        let refused = store.put(cell("c", 1, b"", ADA), NOW);
        assert_eq!(refused, Err(PutError::PublisherRecords { records_max: 2 }));
        assert_eq!(store.put(cell("a", 2, &[0; 300], ADA), NOW), Ok(Stored::Replaced), "in place of its own");
        let refused = store.put(cell("b", 2, &[0; 300], ADA), NOW);
        assert!(matches!(refused, Err(PutError::PublisherBytes { bytes_max: 900, .. })), "{refused:?}");

        store.put(cell("d", 1, &[0; 600], BOB), NOW).unwrap();
        let carol = NodeId::from_bytes([3; 32]);
        let refused = store.put(cell("e", 1, &[0; 500], carol), NOW);
        assert!(matches!(refused, Err(PutError::Full { bytes_max: 2_000, .. })), "{refused:?}");
        assert_eq!(store.usage(&carol), Usage::default());
    }

    proptest! {
        #[test]
        fn bounds_hold_and_counts_are_true_whatever_is_put(
            puts in proptest::collection::vec((any_record(), 0..TOMBSTONE_LIFE_MS), 0..60),
        ) {
            let limits = StoreLimits { bytes_max: 3_000, publisher_records_max: 4, publisher_bytes_max: 1_400 };
            let mut store = Store::new(limits);
            for (record, later_ms) in puts {
                if let Ok(valid) = record.validate(NOW) {
                    let _refused = store.put(valid, NOW);
                }
                if later_ms % 7 == 0 {
                    store.expire(NOW.plus_ms(later_ms), 3);
                }
                let bytes: usize = store.iter().map(|(_, record)| record.cost_bytes()).sum();
                prop_assert_eq!(store.bytes(), bytes);
                prop_assert!(bytes <= limits.bytes_max);
                for n in 0..3 {
                    let publisher = NodeId::from_bytes([n; 32]);
                    let own: Vec<_> = store.iter().filter(|(_, r)| r.publisher == publisher).collect();
                    let bytes = own.iter().map(|(_, r)| r.cost_bytes()).sum();
                    prop_assert_eq!(store.usage(&publisher), Usage { records: own.len(), bytes });
                    prop_assert!(own.len() <= limits.publisher_records_max);
                    prop_assert!(bytes <= limits.publisher_bytes_max);
                }
                prop_assert_eq!(store.by_end.len(), store.len());
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
                for record in records {
                    let _stale = store.put(record, NOW);
                }
                store.records
            };
            prop_assert_eq!(fill(valid), fill(other));
        }
    }
}

//! Records that were verified before, once for all nodes of a process.
//!
//! A record's signature and its grant cost some hundred microseconds to check. A daemon checks each record once, for it
//! ignores what it knows. But where many nodes live in one process, as in a simulator, each of N nodes would check the
//! same N records, and keep a copy of each. What was verified stays verified, so they may share a pool: a record that
//! is equal, byte for byte, to one that it holds is taken for verified, and becomes that very one.

use crate::record::{Record, RecordError};
use crate::version::Version;
use chinwag_base::limits::VERIFIED_RECORDS_MAX;
use chinwag_base::{Grant, NodeId, OverlayId};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Where verified records are looked up. The default remembers nothing; clones of a shared one share it.
#[derive(Clone, Default)]
pub struct RecordPool(Option<Arc<Mutex<Verified>>>);

#[derive(Default)]
struct Verified {
    records: BTreeMap<(NodeId, Version), Arc<Record>>,
    /// The keys of `records`, oldest first.
    order: VecDeque<(NodeId, Version)>,
}

impl RecordPool {
    /// A pool that its clones share. It holds the last [`VERIFIED_RECORDS_MAX`] records that were verified.
    pub fn shared() -> Self {
        RecordPool(Some(Arc::default()))
    }

    /// Verifies a record, unless an equal one was verified before. Returns the one to keep. A grant that equals `known`
    /// was checked before.
    pub(crate) fn verify(
        &self,
        record: Arc<Record>,
        overlay: OverlayId,
        known: Option<&Grant>,
    ) -> Result<Arc<Record>, RecordError> {
        let Some(pool) = &self.0 else {
            record.verify_knowing(overlay, known)?;
            return Ok(record);
        };
        // What is in the pool is whole at every moment, so a panic elsewhere does not spoil it.
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (record.id(), record.version());
        // Of two equal records both pass or neither, if they are checked for the same overlay.
        if record.statement().overlay == overlay
            && let Some(equal) = pool.records.get(&key).filter(|verified| **verified == record)
        {
            return Ok(equal.clone());
        }
        record.verify_knowing(overlay, known)?;
        pool.insert(key, record.clone());
        Ok(record)
    }
}

impl Verified {
    fn insert(&mut self, key: (NodeId, Version), record: Arc<Record>) {
        if self.records.insert(key, record).is_some() {
            return; // Another process with the same key said something else at this version.
        }
        self.order.push_back(key);
        if self.order.len() > VERIFIED_RECORDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
    }
}

/// Equal are pools that share their records.
impl PartialEq for RecordPool {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl fmt::Debug for RecordPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "RecordPool(shared)" } else { "RecordPool(none)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{identity, overlay, root};
    use crate::{Config, Standing};
    use chinwag_base::{Incarnation, OverlayId};
    use std::time::Duration;

    fn record(n: usize) -> Record {
        let config = Config::new(overlay());
        Record::sign(&config, &identity(n, 1), Incarnation::new(1), Standing::Alive, Duration::ZERO)
    }

    #[test]
    fn equal_records_become_one() {
        let pool = RecordPool::shared();
        let first = pool.verify(Arc::new(record(1)), overlay(), None).unwrap();
        let second = pool.clone().verify(Arc::new(record(1)), overlay(), None).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let other = RecordPool::default().verify(Arc::new(record(1)), overlay(), None).unwrap();
        assert!(!Arc::ptr_eq(&first, &other));
        assert_ne!(pool, RecordPool::shared());
    }

    /// Same member, same version, other words under the old signature; and the same words for another overlay.
    #[test]
    fn a_forgery_of_a_pooled_record_is_refused() {
        let pool = RecordPool::shared();
        let honest = pool.verify(Arc::new(record(1)), overlay(), None).unwrap();
        let mut statement = honest.statement().clone();
        statement.name = "eve".parse().unwrap();
        let forged = Record::sign_statement(&identity(2, 1).keypair, honest.grant().clone(), statement);
        assert_eq!(pool.verify(Arc::new(forged), overlay(), None), Err(RecordError::Forged));
        let elsewhere = OverlayId::of_root(&identity(9, 1).keypair.id());
        assert_ne!(elsewhere, OverlayId::of_root(&root().id()));
        assert_eq!(pool.verify(honest, elsewhere, None), Err(RecordError::Foreign));
    }

    #[test]
    fn the_pool_is_bounded() {
        let mut verified = Verified::default();
        let record = Arc::new(record(1));
        for n in 0..VERIFIED_RECORDS_MAX as u64 + 10 {
            let version = Version { incarnation: Incarnation::new(n), ..record.version() };
            verified.insert((record.id(), version), record.clone());
        }
        assert_eq!(
            (verified.records.len(), verified.order.len()),
            (VERIFIED_RECORDS_MAX, VERIFIED_RECORDS_MAX)
        );
    }
}

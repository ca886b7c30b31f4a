//! What a host's disk holds, and what becomes of it.
//!
//! The disk is what the daemon's two stores promise to be: a batch is on it whole or not at all, and a row that is
//! damaged is known to be. What is still at the disk when the power goes was written or was not; the world draws which.

use crate::observation::Damage;
use chinwag_base::{Generation, NodeId};
use chinwag_crdt::{Clock, Dot, Entry};
use chinwag_dht::{Body, Change, Held, Id};
use chinwag_membership::Record;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One disk.
#[derive(Debug, Default, Clone)]
pub(crate) struct Disk {
    /// The log, in its order.
    pub(crate) log: Vec<Arc<Entry>>,
    /// Which dots the log has.
    pub(crate) covers: Clock,
    /// The newest process life that was opened on it.
    pub(crate) generation: Option<Generation>,
    /// The address book.
    pub(crate) book: BTreeMap<NodeId, Arc<Record>>,
    /// The index of records.
    pub(crate) records: BTreeMap<Id, Held>,
    /// The bytes of blobs.
    pub(crate) blobs: BTreeMap<Id, Arc<[u8]>>,
    /// It has no room.
    pub(crate) full: bool,
    /// How long a commit takes, if it is slow.
    pub(crate) slow_us: Option<u64>,
    /// What it may go back to.
    snapshot: Option<Box<Disk>>,
}

impl Disk {
    pub(crate) fn commit(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            if self.covers.insert(entry.dot) {
                self.log.push(entry.clone());
            }
        }
    }

    pub(crate) fn commit_records(&mut self, changes: &[(Id, Change)]) {
        for (id, change) in changes {
            match change {
                Change::Keep { held, blob } => {
                    self.records.insert(*id, (**held).clone());
                    if let Some(bytes) = blob {
                        self.blobs.insert(*id, bytes.clone());
                    }
                }
                Change::Drop => {
                    self.records.remove(id);
                    self.blobs.remove(id);
                }
            }
        }
    }

    pub(crate) fn holds_all(&self, dots: &[Dot]) -> bool {
        dots.iter().all(|dot| self.covers.covers(*dot))
    }

    pub(crate) fn take_snapshot(&mut self) {
        let mut copy = self.clone();
        copy.snapshot = None;
        self.snapshot = Some(Box::new(copy));
    }

    /// Damages the disk. What it no longer holds is found by comparing it with what it was.
    pub(crate) fn damage(&mut self, how: Damage, rng: &mut ChaCha8Rng) {
        let (full, slow_us) = (self.full, self.slow_us);
        match how {
            Damage::Wiped => *self = Disk::default(),
            Damage::RolledBack => {
                if let Some(snapshot) = self.snapshot.take() {
                    *self = *snapshot;
                }
            }
            Damage::Corrupt => self.corrupt(rng),
        }
        (self.full, self.slow_us) = (full, slow_us);
    }

    /// About one row in eight of each table fails its checksum.
    fn corrupt(&mut self, rng: &mut ChaCha8Rng) {
        self.log.retain(|_| !rng.random_bool(0.125));
        self.covers = Clock::new();
        for entry in &self.log {
            self.covers.insert(entry.dot);
        }
        self.book.retain(|_, _| !rng.random_bool(0.125));
        let blobs = &mut self.blobs;
        self.records.retain(|id, held| {
            let stays = !rng.random_bool(0.125);
            if !stays && matches!(held.body, Body::Blob { .. }) {
                blobs.remove(id);
            }
            stays
        });
    }
}

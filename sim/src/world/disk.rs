//! What a host's disk holds, and what becomes of it.
//!
//! The disk is what the daemon's two stores promise to be: a batch is on it whole or not at all, and a row that is
//! damaged is known to be. What is still at the disk when the power goes was written or was not; the world draws which.

use crate::observation::Damage;
use chinwag_base::{Generation, Key, NodeId, ReplicaId};
use chinwag_crdt::{Checkpoint, Clock, Dot, Replica, Row};
use chinwag_dht::{Body, Change, Held, Id};
use chinwag_gossip::MemoryStore;
use chinwag_membership::Record;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One disk.
#[derive(Debug, Default, Clone)]
pub(crate) struct Disk {
    /// The replicated state.
    pub(crate) state: MemoryStore,
    /// Which writes are in it, lived along with it.
    covers: Clock,
    /// Under what whole cells are coming.
    promised: Clock,
    /// Keys whose cells are damaged.
    damaged: BTreeSet<Key>,
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
    pub(crate) fn commit(&mut self, first: u64, rows: &[Row]) {
        for row in rows {
            match row {
                Row::Write(entry) => drop(self.covers.insert(entry.dot)),
                Row::Promised(promise) => self.promised = promise.clock.clone(),
                Row::Covered => self.covers.merge(&self.promised),
                Row::Joined(_) | Row::Broken | Row::Forsaken | Row::Lost => {}
            }
        }
        self.state.commit(first, rows);
    }

    pub(crate) fn checkpoint(&mut self, checkpoint: &Checkpoint, cut: u64) {
        self.damaged = checkpoint.damaged.clone();
        self.state.checkpoint(checkpoint.clone(), cut);
    }

    /// Whether a write to that key is on it, or what it did.
    pub(crate) fn holds(&self, dot: Dot, key: &Key) -> bool {
        self.covers.covers(dot) && !self.damaged.contains(key)
    }

    /// The same, or in what is left of a damaged cell: whatever was written there since the damage is in it.
    pub(crate) fn may_hold(&self, dot: Dot) -> bool {
        self.covers.covers(dot)
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
        self.state.damage(|| rng.random_bool(0.125));
        // What is left is what a process would find that starts from it.
        let recovered = self.state.read();
        let mut replica = Replica::new(ReplicaId::ZERO);
        replica.recover_checkpoint(recovered.checkpoint);
        for (position, row) in recovered.rows {
            replica.replay(position, row);
        }
        self.covers = replica.clock().clone();
        self.damaged = replica.damaged().cloned().collect();
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

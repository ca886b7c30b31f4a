//! An owner takes records: staged, made durable, and only then visible and acknowledged.
//!
//! One batch is at the disk at a time; what comes meanwhile makes the next one, so that many puts share an fsync.

use crate::Dht;
use crate::cell::Cell;
use crate::distance::Id;
use crate::event::Event;
use crate::io::{BatchId, Output};
use crate::message::{Message, Question, Refusal, Stored, Text};
use crate::operation::Answer;
use crate::record::{Content, ValidRecord};
use crate::store::Change;
use chinwag_base::NodeId;
use chinwag_base::limits::{
    COMMIT_BYTES_MAX, COMMIT_ENTRIES_MAX, STAGED_RECORD_BYTES_MAX, STAGED_RECORDS_MAX,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who is told when a record is durable.
#[derive(Debug, Clone)]
pub(crate) enum Waiter {
    /// A peer that put it.
    Peer { to: NodeId, question: Question, change: Option<Cell> },
    /// An operation of our own that asked ourselves.
    Own { operation: u64, asked: usize, change: Option<Cell> },
    /// A repair of a damaged blob.
    Repair,
    /// Nobody: it came from beside the overlay.
    Door,
    /// Nobody: it is the join of what a read found.
    Nobody,
}

/// What waits for the disk.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    order: VecDeque<Id>,
    queued: BTreeSet<Id>,
    bytes: usize,
    waiters: BTreeMap<Id, Vec<Waiter>>,
    at_disk: Option<AtDisk>,
    next_batch: u64,
}

#[derive(Debug)]
struct AtDisk {
    batch: BatchId,
    changes: BTreeMap<Id, Change>,
    waiters: BTreeMap<Id, Vec<Waiter>>,
}

impl Commits {
    fn queue(&mut self, id: Id, bytes: usize) {
        if self.queued.insert(id) {
            self.order.push_back(id);
            self.bytes += bytes;
        }
    }

    fn is_full(&self) -> bool {
        self.order.len() >= STAGED_RECORDS_MAX || self.bytes >= STAGED_RECORD_BYTES_MAX
    }
}

impl Dht {
    /// Stages a record, to be made durable with the next batch; `waiter` is told.
    pub(crate) fn stage(&mut self, record: ValidRecord, waiter: Waiter) {
        if self.commits.is_full() {
            return self.tell(waiter, None, Err(Refusal::Busy));
        }
        let key = record.key.clone();
        let id = key.id();
        let bytes = record.content.len();
        match self.store.stage(record, self.wall()) {
            Err(why) => {
                if let Waiter::Door = waiter {
                    self.event(Event::Refused { from: None, key, why: why.to_string() });
                }
                self.tell(waiter, None, Err(Refusal::Record(Text::new(why.to_string()))));
            }
            Ok(None) => self.tell(waiter, Some(id), Ok(())),
            Ok(Some(id)) => {
                let staged = self.store.staged(&id);
                match &mut self.commits.at_disk {
                    // Nothing beyond what is at the disk already.
                    Some(at_disk) if staged.is_some() && at_disk.changes.get(&id) == staged => {
                        at_disk.waiters.entry(id).or_default().push(waiter);
                    }
                    _ => {
                        self.commits.waiters.entry(id).or_default().push(waiter);
                        self.commits.queue(id, bytes);
                    }
                }
            }
        }
    }

    /// Stages the removal of a record. Says whether it is on its way.
    pub(crate) fn stage_drop(&mut self, id: Id) -> bool {
        let drops = self.store.stage_drop(id);
        if drops {
            self.commits.queue(id, 0);
        }
        drops
    }

    /// If the disk is free, gives it what waits, up to the size of a commit.
    pub(crate) fn commit(&mut self) {
        if self.commits.at_disk.is_some() {
            return;
        }
        let mut changes = BTreeMap::new();
        let mut bytes = 0;
        while changes.len() < COMMIT_ENTRIES_MAX && bytes < COMMIT_BYTES_MAX {
            let Some(id) = self.commits.order.pop_front() else { break };
            self.commits.queued.remove(&id);
            let Some(change) = self.store.staged(&id) else { continue };
            if let Change::Keep { held, .. } = change {
                bytes += held.memory_bytes() + held.blob_bytes();
            }
            changes.insert(id, change.clone());
        }
        if self.commits.order.is_empty() {
            self.commits.bytes = 0;
        } else {
            self.commits.bytes = self.commits.bytes.saturating_sub(bytes);
        }
        if changes.is_empty() {
            return;
        }
        let waiters = changes.keys().filter_map(|id| Some((*id, self.commits.waiters.remove(id)?))).collect();
        self.commits.next_batch += 1;
        let batch = BatchId(self.commits.next_batch);
        let persist = changes.iter().map(|(id, change)| (*id, change.clone())).collect();
        self.commits.at_disk = Some(AtDisk { batch, changes, waiters });
        self.output(Output::Persist { batch, changes: persist });
    }

    pub(crate) fn on_persisted(&mut self, batch: BatchId) {
        let Some(at_disk) = self.commits.at_disk.take_if(|at_disk| at_disk.batch == batch) else { return };
        for (id, change) in &at_disk.changes {
            let before = self.store.digest(id);
            self.store.apply(*id, change);
            self.row_changed(*id, before);
        }
        for (id, waiters) in at_disk.waiters {
            waiters.into_iter().for_each(|waiter| self.tell(waiter, Some(id), Ok(())));
        }
    }

    pub(crate) fn on_persist_failed(&mut self, batch: BatchId, why: &str) {
        let Some(at_disk) = self.commits.at_disk.take_if(|at_disk| at_disk.batch == batch) else { return };
        for (id, change) in &at_disk.changes {
            // What was staged on top of it goes to the disk with the next batch, and this with it.
            if self.store.staged(id) == Some(change) {
                self.store.unstage(id);
            }
        }
        for waiter in at_disk.waiters.into_values().flatten() {
            self.tell(waiter, None, Err(Refusal::Disk(Text::new(why))));
        }
    }

    /// Tells whoever waits. On success `id` is the durable row.
    fn tell(&mut self, waiter: Waiter, id: Option<Id>, result: Result<(), Refusal>) {
        match waiter {
            Waiter::Peer { to, question, change } => {
                let verdict = self.verdict(id, change.as_ref(), result);
                self.send(to, Message::Stored { question, verdict });
            }
            Waiter::Own { operation, asked, change } => {
                let verdict = self.verdict(id, change.as_ref(), result);
                self.answered(operation, asked, Answer::Stored(verdict));
            }
            Waiter::Repair => {
                if let (Ok(()), Some(held)) = (result, id.and_then(|id| self.store.get(&id, self.wall()))) {
                    let key = held.key.clone();
                    self.event(Event::Repaired { key });
                }
            }
            Waiter::Door | Waiter::Nobody => {}
        }
    }

    /// Whether the cell holds more than a change of it had seen.
    fn verdict(&self, id: Option<Id>, change: Option<&Cell>, result: Result<(), Refusal>) -> Stored {
        if let Err(why) = result {
            return Stored::Refused(why);
        }
        let held = id.and_then(|id| self.store.get(&id, self.wall()));
        match (held, change) {
            (Some(held), Some(change)) if held.cell().is_some_and(|cell| cell.has_unseen_by(change)) => {
                held.to_record(None).map_or(Stored::Alone, Stored::Merged)
            }
            _ => Stored::Alone,
        }
    }

    pub(crate) fn on_put(
        &mut self,
        from: NodeId,
        question: Question,
        record: crate::record::Record,
        passed_on: bool,
    ) {
        let may_write = self.members.get(&from).is_none_or(|member| member.may_write);
        let key = record.key.clone();
        let refused = if !may_write && !passed_on {
            Refusal::Reader
        } else if record.publisher != from && !passed_on {
            Refusal::Publisher
        } else {
            match record.validate(self.wall()) {
                Ok(record) => {
                    let change = match &record.content {
                        Content::Cell(cell) => Some(cell.clone()),
                        Content::Blob(_) => None,
                    };
                    return self.stage(record, Waiter::Peer { to: from, question, change });
                }
                Err(why) => Refusal::Record(Text::new(why.to_string())),
            }
        };
        self.event(Event::Refused { from: Some(from), key, why: refused.to_string() });
        self.send(from, Message::Stored { question, verdict: Stored::Refused(refused) });
    }
}

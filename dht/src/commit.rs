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
    Peer { to: NodeId, question: Question, change: Option<Cell>, passed_on: bool },
    /// An operation of our own that asked ourselves.
    Own { operation: u64, asked: usize, change: Option<Cell> },
    /// A repair of a damaged blob.
    Repair,
    /// Nobody: it came from beside the overlay.
    Door,
    /// Nobody: it is the join of what a read found.
    Nobody,
}

impl Waiter {
    /// Whether the record has been acknowledged before.
    fn passes_on(&self) -> bool {
        match self {
            Waiter::Peer { passed_on, .. } => *passed_on,
            Waiter::Own { .. } | Waiter::Door => false,
            Waiter::Repair | Waiter::Nobody => true,
        }
    }
}

/// What waits for the disk.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    order: VecDeque<Id>,
    queued: BTreeSet<Id>,
    waiters: BTreeMap<Id, Vec<Waiter>>,
    /// Puts that are staged and not answered, those at the disk too, and their bytes: several may be of one record.
    waiting: Load,
    /// Of those, what waits for a further batch, by place.
    queued_load: BTreeMap<Id, Load>,
    at_disk: Option<AtDisk>,
    next_batch: u64,
}

#[derive(Debug)]
struct AtDisk {
    batch: BatchId,
    changes: BTreeMap<Id, Change>,
    waiters: BTreeMap<Id, Vec<Waiter>>,
    load: Load,
}

/// Puts and their bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    puts: usize,
    bytes: usize,
}

impl Load {
    fn add(&mut self, bytes: usize) {
        self.puts += 1;
        self.bytes += bytes;
    }
}

impl Commits {
    fn queue(&mut self, id: Id) {
        if self.queued.insert(id) {
            self.order.push_back(id);
        }
    }

    /// The batch is no longer at the disk.
    fn done(&mut self, batch: BatchId) -> Option<AtDisk> {
        let at_disk = self.at_disk.take_if(|at_disk| at_disk.batch == batch)?;
        self.waiting.puts -= at_disk.load.puts;
        self.waiting.bytes -= at_disk.load.bytes;
        Some(at_disk)
    }

    fn is_full(&self) -> bool {
        self.waiting.puts >= STAGED_RECORDS_MAX || self.waiting.bytes >= STAGED_RECORD_BYTES_MAX
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
        // The waiter keeps a put's change beside the store's copy.
        let bytes = 2 * record.content.len();
        let passed_on = waiter.passes_on();
        match self.store.stage(record, passed_on, self.wall()) {
            Err(why) => {
                if let Waiter::Door = waiter {
                    self.event(Event::Refused { from: None, key, why: why.to_string() });
                }
                self.tell(waiter, None, Err(Refusal::Record(Text::new(why.to_string()))));
            }
            Ok(None) => self.tell(waiter, Some(id), Ok(())),
            Ok(Some(id)) => {
                self.commits.waiting.add(bytes);
                let staged = self.store.staged(&id);
                match &mut self.commits.at_disk {
                    // Nothing beyond what is at the disk already.
                    Some(at_disk) if staged.is_some() && at_disk.changes.get(&id) == staged => {
                        at_disk.load.add(bytes);
                        at_disk.waiters.entry(id).or_default().push(waiter);
                    }
                    _ => {
                        self.commits.queued_load.entry(id).or_default().add(bytes);
                        self.commits.waiters.entry(id).or_default().push(waiter);
                        self.commits.queue(id);
                    }
                }
            }
        }
    }

    /// Stages the removal of a record. Says whether it is on its way.
    pub(crate) fn stage_drop(&mut self, id: Id) -> bool {
        let drops = self.store.stage_drop(id);
        if drops {
            self.commits.queue(id);
        }
        drops
    }

    /// Stages what is left of a record that has ended. Says whether it is on its way.
    pub(crate) fn stage_end(&mut self, id: Id) -> bool {
        let ends = self.store.stage_end(id);
        if ends {
            self.commits.queue(id);
        }
        ends
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
        if changes.is_empty() {
            return;
        }
        let waiters = changes.keys().filter_map(|id| Some((*id, self.commits.waiters.remove(id)?))).collect();
        self.commits.next_batch += 1;
        let batch = BatchId(self.commits.next_batch);
        let persist = changes.iter().map(|(id, change)| (*id, change.clone())).collect();
        let mut load = Load::default();
        for part in changes.keys().filter_map(|id| self.commits.queued_load.remove(id)) {
            load.puts += part.puts;
            load.bytes += part.bytes;
        }
        self.commits.at_disk = Some(AtDisk { batch, changes, waiters, load });
        self.output(Output::Persist { batch, changes: persist });
    }

    pub(crate) fn on_persisted(&mut self, batch: BatchId) {
        let Some(at_disk) = self.commits.done(batch) else { return };
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
        let Some(at_disk) = self.commits.done(batch) else { return };
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
            Waiter::Peer { to, question, change, .. } => {
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
            // Who adds to a set replaces nothing, so the rest of it need not travel.
            (_, Some(change)) if change.adds_elements() => Stored::Alone,
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
        // A reader owns nothing, so it has nothing to pass on either.
        let refused = if !may_write {
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
                    return self.stage(record, Waiter::Peer { to: from, question, change, passed_on });
                }
                Err(why) => Refusal::Record(Text::new(why.to_string())),
            }
        };
        self.event(Event::Refused { from: Some(from), key, why: refused.to_string() });
        self.send(from, Message::Stored { question, verdict: Stored::Refused(refused) });
    }
}

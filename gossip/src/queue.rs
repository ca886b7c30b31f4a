//! What waits for the disk: clients' writes and received entries, in two bounded queues.
//!
//! Group commit (DeWitt et al. 1984): one batch is at the disk, and everything that arrives meanwhile is the next
//! one. So a commit costs one fsync however many wait for it, and a lone client waits for nobody: only after several were
//! answered together is there a moment's wait, for them.

use crate::{BatchId, Path, RequestId, Wait};
use chinwag_base::limits::{STAGED_BYTES_MAX, STAGED_ENTRIES_MAX};
use chinwag_base::{Moment, NodeId};
use chinwag_crdt::{Dot, Entry, Op, Row};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A client's write that has not been staged.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) request: RequestId,
    pub(crate) ops: Vec<Op>,
    pub(crate) wait: Wait,
    pub(crate) until: Option<Moment>,
    pub(crate) asked: Moment,
}

/// A peer's entry that has not been staged.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) entry: Arc<Entry>,
    pub(crate) path: Path,
}

/// Both queues. The sum of their entries and of their bytes is bounded.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    writes: VecDeque<Write>,
    received: VecDeque<Received>,
    entries: usize,
    bytes: usize,
}

impl Queue {
    /// Entries that wait, an operation counting as one.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes that wait, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Clients' writes that wait.
    pub(crate) fn writes(&self) -> &VecDeque<Write> {
        &self.writes
    }

    pub(crate) fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    /// Takes a write, unless too much waits.
    pub(crate) fn push_write(&mut self, write: Write) -> Result<(), Write> {
        if !self.has_room(write.ops.len(), ops_bytes(&write.ops)) {
            return Err(write);
        }
        self.grow(write.ops.len(), ops_bytes(&write.ops));
        self.writes.push_back(write);
        Ok(())
    }

    /// Takes a received entry, unless too much waits.
    pub(crate) fn push_received(&mut self, received: Received) -> bool {
        let bytes = received.entry.weight();
        let fits = self.has_room(1, bytes);
        if fits {
            self.grow(1, bytes);
            self.received.push_back(received);
        }
        fits
    }

    /// The next write, if it has at most so many operations and bytes.
    pub(crate) fn pop_write(&mut self, ops_max: usize, bytes_max: usize) -> Option<Write> {
        self.writes.front().filter(|w| w.ops.len() <= ops_max && ops_bytes(&w.ops) <= bytes_max)?;
        let write = self.writes.pop_front()?;
        self.shrink(write.ops.len(), ops_bytes(&write.ops));
        Some(write)
    }

    /// The next received entry, if it has at most so many bytes.
    pub(crate) fn pop_received(&mut self, bytes_max: usize) -> Option<Received> {
        self.received.front().filter(|r| r.entry.weight() <= bytes_max)?;
        let received = self.received.pop_front()?;
        self.shrink(1, received.entry.weight());
        Some(received)
    }

    /// Forgets a write that nobody waits for any more. Returns whether it was here.
    pub(crate) fn cancel(&mut self, request: RequestId) -> bool {
        let Some(at) = self.writes.iter().position(|w| w.request == request) else { return false };
        if let Some(write) = self.writes.remove(at) {
            self.shrink(write.ops.len(), ops_bytes(&write.ops));
        }
        true
    }

    fn has_room(&self, entries: usize, bytes: usize) -> bool {
        self.entries + entries <= STAGED_ENTRIES_MAX && self.bytes + bytes <= STAGED_BYTES_MAX
    }

    fn grow(&mut self, entries: usize, bytes: usize) {
        self.entries += entries;
        self.bytes += bytes;
    }

    fn shrink(&mut self, entries: usize, bytes: usize) {
        self.entries -= entries;
        self.bytes -= bytes;
    }
}

/// What the entries of these operations will weigh, about.
fn ops_bytes(ops: &[Op]) -> usize {
    /// A dot, a hybrid logical clock and the lengths.
    const HEAD_BYTES: usize = 96;
    ops.iter()
        .map(|op| {
            HEAD_BYTES
                + match op.bare() {
                    Op::Set { key, value } => key.as_str().len() + value.as_bytes().len(),
                    Op::Add { key, element } | Op::Remove { key, element } => {
                        key.as_str().len() + element.as_bytes().len()
                    }
                    _ => op.key().as_str().len(),
                }
        })
        .sum()
}

/// A batch that is not begun yet, because those who were answered with the last one are about to write again.
///
/// Without it half of the clients are in each commit: one begins with whoever waits when the one before ends, those that were
/// just answered come too late for it by a trip, and wait for all of it. (MySQL and PostgreSQL know the same wait as
/// `binlog_group_commit_sync_delay` and `commit_delay`.)
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gathering {
    /// How many may come: those that have been answered, and those that wait already.
    pub(crate) writes: usize,
    /// For how long they are waited for.
    pub(crate) until: Moment,
}

/// The batch that is at the disk: what its fate means to whom.
#[derive(Debug)]
pub(crate) struct AtDisk {
    pub(crate) id: BatchId,
    /// When it was given to the disk.
    pub(crate) given: Moment,
    /// Writes with the dots that they were given.
    pub(crate) writes: Vec<(Write, Vec<Dot>)>,
    /// Requests whose clients left after staging: the write stands, nobody is told.
    pub(crate) cancelled: BTreeSet<RequestId>,
    /// How each received entry came.
    pub(crate) paths: BTreeMap<Dot, Path>,
    /// What a session brought, and from whom. Then there is nothing else in the batch.
    pub(crate) jobs: Vec<(NodeId, Row)>,
}

impl AtDisk {
    pub(crate) fn new(id: BatchId, given: Moment) -> Self {
        AtDisk {
            id,
            given,
            writes: Vec::new(),
            cancelled: BTreeSet::new(),
            paths: BTreeMap::new(),
            jobs: Vec::new(),
        }
    }

    /// Who else wants to know that these entries are durable here.
    pub(crate) fn sender_of(&self, dot: Dot) -> Option<NodeId> {
        match self.paths.get(&dot)? {
            Path::Local => None,
            Path::Pushed { by } | Path::Relayed { by } => Some(*by),
            Path::Synced { from } | Path::Joined { from } => Some(*from),
        }
    }
}

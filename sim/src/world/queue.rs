//! What is going to happen, in the order of time.

use crate::observation::Host;
use chinwag_base::{Lane, Moment};
use chinwag_crdt::{Checkpoint, Row};
use chinwag_dht::{Change, Id, LoadId};
use chinwag_gossip::BatchId;
use chinwag_membership::{DialFailure, Lost};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The number of a process life, over all hosts of a run.
pub(crate) type Life = u32;
/// The number of a connection.
pub(crate) type ConnectionId = u32;

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The step of the plan with this number.
    Step(usize),
    /// Everything is mended.
    Heal,
    /// The run looks at its hosts.
    Look,
    /// A process begins, and is shown whom to ask.
    Join(Host),
    /// A node's deadline, about.
    Tick(Host, Life),
    /// A node is told what the wall clock reads.
    Wall(Host, Life),
    /// A frame arrives at the end `to` of a connection.
    Frame { connection: ConnectionId, to: u8, lane: Lane, bytes: Vec<u8> },
    /// A stream whose packet was lost sends it again.
    Retry { connection: ConnectionId, from: u8, group: u8 },
    /// A link has carried what it was given.
    Free { connection: ConnectionId, from: u8 },
    /// A dial reaches the other host.
    Dialled { from: Host, to: Host, dial: u64, attempt: u8 },
    /// Both have shown their grants.
    Admitted { from: Host, to: Host, dial: u64, lives: (Life, Life) },
    /// A dial came to nothing.
    DialFailed { host: Host, life: Life, peer: Host, dial: u64, why: DialFailure },
    /// A connection ended; the end `to` is told.
    Lost { connection: ConnectionId, to: u8, reason: Lost },
    /// A connection over which nothing may have passed for long.
    Idle { connection: ConnectionId },
    /// A batch of the log has been written.
    Logged { host: Host, life: Life, batch: BatchId, first: u64, rows: Vec<Row> },
    /// A checkpoint is on the disk, or is refused.
    WrittenDown { host: Host, life: Life, checkpoint: Box<Checkpoint>, cut: u64 },
    /// A batch of records has been written.
    Recorded { host: Host, life: Life, batch: chinwag_dht::BatchId, changes: Vec<(Id, Change)> },
    /// A blob has been read.
    Loaded { host: Host, life: Life, load: LoadId, id: Id },
    /// A process that says goodbye ends.
    Gone(Host, Life),
    /// A process ends because it must not go on.
    Fails(Host, Life),
}

impl Happening {
    /// A number for each kind.
    pub(crate) fn tag(&self) -> u8 {
        match self {
            Happening::Step(_) => 0,
            Happening::Heal => 1,
            Happening::Look => 2,
            Happening::Join(_) => 3,
            Happening::Tick(..) => 4,
            Happening::Wall(..) => 5,
            Happening::Frame { .. } => 6,
            Happening::Retry { .. } => 7,
            Happening::Free { .. } => 8,
            Happening::Dialled { .. } => 9,
            Happening::Admitted { .. } => 10,
            Happening::DialFailed { .. } => 11,
            Happening::Lost { .. } => 12,
            Happening::Idle { .. } => 13,
            Happening::Logged { .. } => 14,
            Happening::WrittenDown { .. } => 17,
            Happening::Recorded { .. } => 15,
            Happening::Loaded { .. } => 16,
            Happening::Gone(..) => 17,
            Happening::Fails(..) => 18,
        }
    }
}

/// A place in the queue, small because the heap moves it about; what happens lies still in [`Queue::happenings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    at: Moment,
    /// Also settles all comparisons, so that what follows it counts for nothing.
    serial: u64,
    index: u32,
}

/// The queue. What was put in first happens first among equals.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Slot>>,
    happenings: Vec<Option<Happening>>,
    vacant: Vec<u32>,
    serial: u64,
}

impl Queue {
    pub(crate) fn put(&mut self, at: Moment, what: Happening) {
        self.serial += 1;
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.happenings.push(None);
            (self.happenings.len() - 1) as u32
        });
        self.happenings[index as usize] = Some(what);
        self.heap.push(Reverse(Slot { at, serial: self.serial, index }));
    }

    pub(crate) fn next_at(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse(slot)| slot.at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Moment, Happening)> {
        let Reverse(slot) = self.heap.pop()?;
        self.vacant.push(slot.index);
        let what = self.happenings[slot.index as usize].take();
        Some((slot.at, what.expect("something happens, because each slot has its own index")))
    }
}

//! What happens in a replica that is worth telling: the source of logs, metrics, `watch` and checkers.

use chinwag_base::{Digest, Key, NodeId};
use chinwag_crdt::{Change, Dot};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An entry is durable here and now visible.
    Applied {
        /// What it changed.
        change: Change,
        /// How it came.
        path: Path,
        /// Its age by its origin's wall clock and ours, in milliseconds; zero if the origin's clock is ahead.
        age_ms: u64,
    },
    /// An exchange that we began is complete: we hold all that the peer said it holds.
    ExchangeDone {
        /// The peer.
        peer: NodeId,
        /// Whether both held the same from the start.
        equal: bool,
        /// Entries given to the peer since the exchange began. It may still be asking for more.
        sent: usize,
        /// Entries that the exchange brought here.
        received: usize,
        /// How long it took.
        after: Duration,
    },
    /// An exchange, or the pull of a chunk, was given up.
    ExchangeAbandoned {
        /// The peer.
        peer: NodeId,
        /// Why.
        why: Abandoned,
    },
    /// Every member that is alive is known to hold what we hold. Once for each change that spread. A member that is
    /// alive and not connected to us says nothing to us, so that then this is not told.
    Converged {
        /// The digest that all share.
        digest: Digest,
        /// Members that share it, ourselves included.
        members: usize,
        /// How long they differed.
        after: Duration,
    },
    /// Members that shared one digest no longer do: somebody wrote, or somebody with another state appeared.
    Diverged {
        /// Our digest now.
        digest: Digest,
    },
    /// A peer's clock shows that it lacks entries that we hold. It will ask for them. Told once until it is in step
    /// again; [`Gossip::peers`](crate::Gossip::peers) has the figure of the moment.
    Behind {
        /// The peer.
        peer: NodeId,
        /// Entries that it lacks.
        ops: u64,
    },
    /// A peer has applied exactly the entries that we have, and holds another state: memory or disk is corrupt on
    /// one side, or the two run different rules.
    Corrupt {
        /// The peer.
        peer: NodeId,
        /// Our digest.
        ours: Digest,
        /// The peer's digest.
        theirs: Digest,
    },
    /// The wall clock behind an entry is far ahead of ours. The entry is kept.
    ClockAhead {
        /// The node that wrote it.
        peer: NodeId,
        /// How far, in milliseconds.
        ms: u64,
    },
    /// A received entry was not taken.
    EntryRefused {
        /// Who sent it.
        from: NodeId,
        /// The entry.
        dot: Dot,
        /// Why, for people.
        why: String,
    },
    /// Whole cells are coming, because what we lack is in nobody's log any more. Once a second.
    CellsComing {
        /// Who tells them.
        from: NodeId,
        /// How many have come.
        cells: usize,
        /// Of how many, as far as is known.
        of: Option<usize>,
    },
    /// All of the state has been compared, whole cell by whole cell.
    CellsDone {
        /// Who told the last of them.
        from: NodeId,
        /// How many came.
        cells: usize,
        /// How long it took.
        after: Duration,
    },
    /// Cells that the disk has lost are with nobody else: what was in them is gone.
    CellsLost {
        /// Their keys.
        keys: Vec<Key>,
    },
    /// Whole cells, or what they would be under, were not taken.
    CellsRefused {
        /// Who sent them.
        from: NodeId,
        /// Why, for people.
        why: String,
    },
    /// The disk did not take the state. It will be offered again.
    CheckpointFailed {
        /// Cells that had changed.
        cells: usize,
        /// Why, for people.
        why: String,
    },
    /// A message that no peer of good faith sends was refused.
    MessageRefused {
        /// Who sent it.
        from: NodeId,
        /// What was wrong.
        why: Refusal,
    },
    /// Received entries were dropped because too much waits for the disk. Anti-entropy brings them again.
    Overflow {
        /// Who sent them.
        from: NodeId,
        /// How many.
        entries: usize,
    },
    /// The disk did not take a batch. Its clients have been told; received entries will be asked for again.
    StorageFailed {
        /// Entries that are not durable.
        entries: usize,
        /// Why, for people.
        why: String,
    },
}

/// How an entry came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Path {
    /// A client of this node wrote it.
    Local,
    /// Its writer pushed it, to everybody at once.
    Pushed {
        /// The writer.
        by: NodeId,
    },
    /// It was passed on along the tree.
    Relayed {
        /// Who passed it on.
        by: NodeId,
    },
    /// An exchange brought it.
    Synced {
        /// The other side.
        from: NodeId,
    },
    /// A whole cell brought it, because its entry is in nobody's log any more.
    Joined {
        /// Who told the cell.
        from: NodeId,
    },
}

/// Why an exchange or a pull was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// No answer in time.
    Timeout,
    /// The peer is gone.
    PeerDown,
    /// The peer's bulk lane is full.
    LaneFull,
    /// The peer did not give what it says it holds.
    Barren,
    /// Our own disk did not take what came.
    Disk,
}

/// What was wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A chunk, or entries within it, that nobody asked for.
    #[error("it sent entries that were not asked for")]
    Unsolicited,
    /// Pushed entries that the sender did not write.
    #[error("it pushed entries that it did not write")]
    NotItsOwn,
    /// A clock that covers dots of ours that we never wrote.
    #[error("its clock covers writes that this node never made")]
    BogusClock,
    /// Pushed entries of a process life before the one that it pushed entries of already.
    #[error("it pushed entries of an earlier process life")]
    EarlierLife,
    /// A request for more than a chunk, or for ranges that end before they start.
    #[error("it asked for a malformed range of entries")]
    MalformedWant,
}

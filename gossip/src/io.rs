//! What can happen to a [`Gossip`](crate::Gossip), and what it can do.

use crate::{Event, Message, Trace, TraceError};
use chinwag_base::{Generation, Key, Lane, Moment, NodeId, WallTime};
use chinwag_crdt::{Checkpoint, Dot, Op, OpError, Row};
use std::time::Duration;

/// A client's request, named by whoever passes it in; unique while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A group commit, numbered by the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// What can happen to a replica.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Time passed: the deadline has come.
    Tick,
    /// A peer's message arrived.
    Message {
        /// Who sent it.
        from: NodeId,
        /// The message.
        message: Message,
    },
    /// A peer is connected and admitted. Its messages are heard only from now on.
    PeerUp {
        /// The peer.
        peer: NodeId,
    },
    /// The last connection to a peer is gone. What was remembered of its clock is forgotten, because it may be
    /// another process with another disk when it returns.
    PeerDown {
        /// The peer.
        peer: NodeId,
    },
    /// The membership changed: every member except those that left, ourselves included.
    Members {
        /// The members.
        members: Vec<Member>,
    },
    /// Some members changed, and the others did not.
    MembersChanged {
        /// Those that are new, or are other than before.
        members: Vec<Member>,
        /// Those that left, or are shown no more.
        gone: Vec<NodeId>,
    },
    /// What the wall clock reads now. To be repeated now and then (each second, say); between two readings it is
    /// carried forward by the monotonic clock.
    Wall(WallTime),
    /// A client writes.
    Write {
        /// The request, for the reply.
        request: RequestId,
        /// What to do, all or nothing, visible together.
        ops: Vec<Op>,
        /// Who must hold it durably before the client is told.
        wait: Wait,
        /// When to tell the client anyhow. Without one the wait lasts until it is met or cancelled.
        wait_until: Option<Moment>,
    },
    /// A client wants to know where the last write to a key went. Answered by [`Output::Traced`].
    Trace {
        /// The request, for the reply.
        request: RequestId,
        /// The key.
        key: Key,
    },
    /// The client is gone: no reply is wanted. A write that has not been staged is not made.
    Cancel {
        /// The request.
        request: RequestId,
    },
    /// A batch is durable.
    Persisted {
        /// The batch.
        batch: BatchId,
    },
    /// A batch is known *not* to be durable. (A batch that might be is a crash, never this.)
    PersistFailed {
        /// The batch.
        batch: BatchId,
        /// Why, for people.
        why: String,
    },
    /// Write the state down now, and drop from the log what nobody needs. [`Gossip::is_written_down`] says when.
    ///
    /// [`Gossip::is_written_down`]: crate::Gossip::is_written_down
    WriteDown,
    /// A checkpoint is durable.
    Checkpointed,
    /// A checkpoint is known *not* to be durable.
    CheckpointFailed {
        /// Why, for people.
        why: String,
    },
    /// A message could not be queued for a peer. Only bulk frames matter: gossip frames may be dropped silently.
    SendRefused {
        /// The peer.
        to: NodeId,
        /// The lane that was full.
        lane: Lane,
    },
}

/// A member as the membership view has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The member.
    pub node: NodeId,
    /// Whether it is believed alive (suspects are; the dead are not).
    pub alive: bool,
    /// Its process life, as far as the view knows.
    pub generation: Generation,
    /// Whether its role lets it write. What a reader wrote is refused, whoever brings it.
    pub may_write: bool,
}

/// Who must hold a write durably before the client is told. We ourselves count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// This node alone.
    #[default]
    Local,
    /// So many members.
    Count(usize),
    /// More than half of all members except those that left, the dead included.
    Majority,
    /// Every member that was believed alive when the write was durable here.
    All,
}

/// What a replica does.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a message to a peer.
    Send {
        /// The peer.
        to: NodeId,
        /// The lane, which is [`Message::lane`].
        lane: Lane,
        /// The message.
        message: Message,
    },
    /// Make these rows durable, in this order, all or nothing; then answer `Persisted` or `PersistFailed`. The
    /// next batch is given only after that answer.
    Persist {
        /// The batch.
        batch: BatchId,
        /// The position in the log of the first of its rows.
        first: u64,
        /// Its rows.
        rows: Vec<Row>,
    },
    /// Write this state down, all or nothing, after every batch given before; then answer `Checkpointed` or
    /// `CheckpointFailed`. The next one is given only after that answer.
    Checkpoint {
        /// What of the state has changed since the last one.
        checkpoint: Box<Checkpoint>,
        /// Rows of the log up to this position that are in the checkpoint are needed no more.
        cut: u64,
    },
    /// Answer a client. Each request that was not cancelled gets exactly one answer.
    Reply {
        /// The request.
        request: RequestId,
        /// What came of it.
        reply: Result<Written, WriteError>,
    },
    /// Answer a client.
    Traced {
        /// The request.
        request: RequestId,
        /// Where the write went.
        trace: Result<Trace, TraceError>,
    },
    /// Something worth telling.
    Event(Event),
}

/// A write that is durable here, and perhaps elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The write's dots, one for each operation. Whoever covers them has seen it.
    pub token: Vec<Dot>,
    /// Members known to hold it durably, ourselves included.
    pub holders: usize,
    /// How many the wait asked for.
    pub needed: usize,
    /// Members that could have held it: all that have not left, or with [`Wait::All`] those that were alive.
    pub of: usize,
    /// Whether the wait was met. If not, the write stands all the same and keeps spreading.
    pub met: bool,
    /// How long it took, from the request.
    pub after: Duration,
}

/// Why a write was not made. Nothing of it has been applied.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// An operation does not apply to what the key holds.
    #[error(transparent)]
    Op(#[from] OpError),
    /// Too much waits for the disk already.
    #[error("busy: {waiting} writes and entries wait for the disk; try again in a moment")]
    Busy {
        /// Entries that wait.
        waiting: usize,
    },
    /// Too many clients wait for other members.
    #[error("busy: {waiting} clients wait for other members; try again in a moment, or do not wait")]
    TooManyWaits {
        /// Clients that wait.
        waiting: usize,
    },
    /// Too many operations in one request.
    #[error("{ops} operations in one request; at most {max} are taken")]
    TooManyOps {
        /// How many there are.
        ops: usize,
        /// How many may be.
        max: usize,
    },
    /// A request with no operations.
    #[error("a write needs at least one operation")]
    NoOps,
    /// This node is a reader: the others would refuse what it writes.
    #[error("this node is a reader: its grant does not let it write")]
    ReadOnly,
    /// This node has written in so many process lives that the others take no further one's writes.
    #[error(
        "this node's key is used up, after writes in {} process lives; join again as a new node",
        chinwag_base::limits::GENERATIONS_PER_NODE_MAX
    )]
    TooManyLives,
    /// The disk did not take it.
    #[error("the disk did not take the write: {0}")]
    Storage(String),
}

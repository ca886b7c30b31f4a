//! What can happen to a node, and all that a node can do.

use crate::event::Event;
use chinwag_base::{Address, Key, Lane, Moment, NodeId, Tags, WallTime};
use chinwag_crdt::{Checkpoint, Dot, Op, Row};
use chinwag_gossip::{BatchId, RequestId, Trace, TraceError, Wait, WriteError, Written};
use chinwag_membership::{DialFailure, Lost, Record};
use std::sync::Arc;
use std::time::Duration;

pub use chinwag_membership::Identity;

/// How a node behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Failure detection.
    pub membership: chinwag_membership::Config,
    /// Replication.
    pub gossip: chinwag_gossip::Config,
    /// Records.
    pub dht: chinwag_dht::Config,
}

/// What the disk remembers of earlier process lives.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// The replicated state: a checkpoint, and the log after it.
    pub state: chinwag_gossip::Recovered,
    /// The address book.
    pub members: Vec<Record>,
    /// The index of records.
    pub records: Vec<chinwag_dht::Held>,
}

/// What can happen to a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// A frame arrived from a peer that the transport has authenticated and admitted.
    Frame {
        /// Who sent it.
        from: NodeId,
        /// On which lane.
        lane: Lane,
        /// Its bytes, without the length.
        bytes: Vec<u8>,
    },
    /// The first connection to a peer opened.
    Connected {
        /// The peer.
        peer: NodeId,
    },
    /// The last connection to a peer is gone.
    Disconnected {
        /// The peer.
        peer: NodeId,
        /// How it ended.
        reason: Lost,
    },
    /// A dial came to nothing.
    DialFailed {
        /// The peer.
        peer: NodeId,
        /// Why.
        why: DialFailure,
    },
    /// A frame could not be queued for a peer.
    SendRefused {
        /// The peer.
        to: NodeId,
        /// The lane that was full.
        lane: Lane,
        /// The frame's slot, which tells whose it was.
        slot: u8,
    },
    /// Where we listen has changed.
    Addresses(Vec<Address>),
    /// What we say of ourselves has changed.
    Tags(Tags),
    /// Somebody to dial, from an invite or from discovery.
    Seed {
        /// Who.
        peer: NodeId,
        /// Where.
        addresses: Vec<Address>,
    },
    /// The driver measured that this process did not run.
    Stalled {
        /// For how long.
        lasted: Duration,
    },
    /// What the wall clock reads. Once a second is enough.
    Wall(WallTime),
    /// A client writes. Answered by [`Answer::Written`].
    Write {
        /// Names the answer.
        request: RequestId,
        /// What to do, all or nothing.
        ops: Vec<Op>,
        /// Who must hold it durably before the answer.
        wait: Wait,
        /// When to answer anyhow.
        wait_until: Option<Moment>,
    },
    /// A client waits until a write is visible here. Answered by [`Answer::Visible`] or, if too many
    /// wait, at once by [`Answer::TooManyAwaits`].
    Await {
        /// Names the answer.
        request: RequestId,
        /// The write.
        token: Vec<Dot>,
        /// When to answer anyhow.
        until: Moment,
    },
    /// A client asks who answers, and who cannot reach whom. Answered by [`Answer::Reached`].
    Reach {
        /// Names the answer.
        request: RequestId,
    },
    /// A client wants to know where the last write to a key went. Answered by [`Answer::Traced`].
    Trace {
        /// Names the answer.
        request: RequestId,
        /// The key.
        key: Key,
    },
    /// A client orders a member to be forgotten. Answered by [`Answer::Forgotten`].
    Forget {
        /// Names the answer.
        request: RequestId,
        /// Whom.
        id: NodeId,
    },
    /// The client is gone.
    Cancel {
        /// Its request.
        request: RequestId,
    },
    /// A batch is durable.
    Persisted {
        /// The batch.
        batch: BatchId,
    },
    /// A batch is known not to be durable.
    PersistFailed {
        /// The batch.
        batch: BatchId,
        /// Why, for people.
        why: String,
    },
    /// Write the replicated state down now, and drop from its log what nobody needs.
    WriteDown,
    /// A checkpoint is durable.
    Checkpointed,
    /// A checkpoint is known not to be durable.
    CheckpointFailed {
        /// Why, for people.
        why: String,
    },
    /// A client asks something of the DHT. Answered by [`Output::Told`].
    Ask {
        /// Names the answer.
        request: chinwag_dht::RequestId,
        /// What.
        ask: chinwag_dht::Ask,
        /// When to answer anyhow.
        until: Moment,
    },
    /// The client is gone.
    CancelAsk {
        /// Its request.
        request: chinwag_dht::RequestId,
    },
    /// A record from beside the overlay's own operations, such as Kademlia's. Nobody waits for an answer.
    AcceptRecord(chinwag_dht::Record),
    /// A batch of records is durable.
    RecordsPersisted {
        /// The batch.
        batch: chinwag_dht::BatchId,
    },
    /// A batch of records is known not to be on the disk.
    RecordsPersistFailed {
        /// The batch.
        batch: chinwag_dht::BatchId,
        /// Why, for people.
        why: String,
    },
    /// A blob's bytes, as the disk has them.
    BlobLoaded {
        /// The read.
        load: chinwag_dht::LoadId,
        /// The bytes, none, or why they cannot be read.
        blob: Result<Option<Arc<[u8]>>, String>,
    },
    /// Say goodbye to everyone; [`Output::Departed`] follows.
    Leave,
}

/// All that a node can do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a frame.
    Send {
        /// To whom.
        to: NodeId,
        /// On which lane.
        lane: Lane,
        /// On the probe lane, the newest frame of a slot replaces an older one that still waits.
        slot: u8,
        /// The frame's bytes, without a length.
        bytes: Vec<u8>,
    },
    /// Open a connection. Answered by `Connected` or `DialFailed`.
    Dial {
        /// To whom.
        peer: NodeId,
        /// Where, best first.
        addresses: Vec<Address>,
    },
    /// Close all connections to a peer.
    Close {
        /// Whom.
        peer: NodeId,
    },
    /// Make these rows of the log durable, all or nothing, then answer `Persisted` or `PersistFailed`.
    Persist {
        /// The batch.
        batch: BatchId,
        /// The position in the log of the first of its rows.
        first: u64,
        /// Its rows.
        rows: Vec<Row>,
    },
    /// Write this state down, all or nothing, after every batch given before; then answer `Checkpointed` or
    /// `CheckpointFailed`.
    Checkpoint {
        /// What of the state has changed since the last one.
        checkpoint: Box<Checkpoint>,
        /// Rows of the log up to this position that are in the checkpoint are needed no more.
        cut: u64,
    },
    /// Make these changes of records durable, all or nothing, then answer `RecordsPersisted` or `RecordsPersistFailed`.
    PersistRecords {
        /// The batch.
        batch: chinwag_dht::BatchId,
        /// The changes, by place.
        changes: Vec<(chinwag_dht::Id, chinwag_dht::Change)>,
    },
    /// Read a blob's bytes, then answer `BlobLoaded`.
    LoadBlob {
        /// The read.
        load: chinwag_dht::LoadId,
        /// Its place.
        id: chinwag_dht::Id,
    },
    /// Answer a client of the DHT.
    Told {
        /// Its request.
        request: chinwag_dht::RequestId,
        /// The answer.
        reply: chinwag_dht::Reply,
    },
    /// Keep a member in the address book.
    Remember(Arc<Record>),
    /// Strike a member from the address book.
    Forget(NodeId),
    /// Answer a client.
    Answer {
        /// Its request.
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// Tell people.
    Event(Event),
    /// Goodbyes are out: flush the lanes and exit.
    Departed,
}

/// The answer to a client.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// What came of a write.
    Written(Result<Written, WriteError>),
    /// Whether the awaited write became visible in time.
    Visible(bool),
    /// Too many wait already.
    TooManyAwaits,
    /// Who answered a call; `None` if too many call at once.
    Reached(Option<chinwag_membership::Reached>),
    /// Where the last write to a key went.
    Traced(Result<Trace, TraceError>),
    /// Whether a member is forgotten.
    Forgotten(Result<(), chinwag_membership::ForgetError>),
}

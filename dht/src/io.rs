//! What can happen to a [`Dht`](crate::Dht), and what it can do.

use crate::cell::{CellError, Edit};
use crate::distance::Id;
use crate::event::Event;
use crate::held::Held;
use crate::message::{Message, Refusal};
use crate::record::{Record, RecordError, RecordKey};
use crate::store::{Change, StoreLimits};
use chinwag_base::{Key, Moment, NodeId, ReplicaId, WallTime};
use std::sync::Arc;
use std::time::Duration;

/// A client's request, named by whoever passes it in; unique while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A group commit, numbered by the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// A read of a blob's bytes, numbered by the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(pub u64);

/// How records are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How many members own a record. All members of an overlay should agree; where they do not, the more of them hold it.
    pub owners: usize,
    /// What this one holds at most.
    pub limits: StoreLimits,
    /// How long after a change of the membership owners compare what they share: members come and go in bursts.
    pub settle: Duration,
    /// How often they compare it in any case.
    pub compare_every: Duration,
    /// How often one blob is read and checked against its hash, in turn.
    pub scrub_every: Duration,
    /// For how long a record is still held that this node no longer owns, and that all owners have.
    pub linger: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            owners: crate::placement::OWNERS_DEFAULT,
            limits: StoreLimits::default(),
            settle: Duration::from_millis(500),
            compare_every: Duration::from_secs(60),
            scrub_every: Duration::from_secs(10),
            linger: Duration::from_secs(30),
        }
    }
}

/// Who this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its key, and the generation that is new with this process: dots of puts are unique because of it.
    pub replica: ReplicaId,
}

/// What the disk remembers.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// The index.
    pub records: Vec<Held>,
}

/// A member, as far as the DHT cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its key.
    pub node: NodeId,
    /// Whether it is believed to be here, suspected or not: it can be an owner.
    pub alive: bool,
    /// Whether others doubt it: somebody else is asked at once beside it.
    pub suspect: bool,
    /// Whether its role lets it write.
    pub may_write: bool,
    /// Its round trip by the membership's probes.
    pub rtt: Option<Duration>,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// A peer's message arrived.
    Message {
        /// Who sent it.
        from: NodeId,
        /// It.
        message: Message,
    },
    /// A peer is connected and admitted.
    PeerUp {
        /// The peer.
        peer: NodeId,
    },
    /// The last connection to a peer is gone, and its answers with it.
    PeerDown {
        /// The peer.
        peer: NodeId,
    },
    /// The bulk lane to a peer is full: the message just sent was not.
    SendRefused {
        /// The peer.
        to: NodeId,
    },
    /// Every member except those that left, this node included.
    Members {
        /// They.
        members: Vec<Member>,
    },
    /// Some members changed, and the others did not.
    MembersChanged {
        /// Those that are new, or are other than before.
        members: Vec<Member>,
        /// Those that left, or are shown no more.
        gone: Vec<NodeId>,
    },
    /// How long the way to some members and back takes, by others' measurement.
    RoundTrips(Vec<(NodeId, Duration)>),
    /// What the wall clock reads. Carried forward by the monotonic clock in between.
    Wall(WallTime),
    /// A client asks for something. Answered by [`Output::Reply`].
    Ask {
        /// Names the reply.
        request: RequestId,
        /// What.
        ask: Ask,
        /// When to reply anyhow.
        until: Moment,
    },
    /// The client is gone.
    Cancel {
        /// Its request.
        request: RequestId,
    },
    /// A record from beside the overlay's own doors, such as Kademlia's: it is staged like a put, and nobody is told.
    Accept(Record),
    /// A batch is durable.
    Persisted {
        /// The batch.
        batch: BatchId,
    },
    /// A batch is known not to be on the disk.
    PersistFailed {
        /// The batch.
        batch: BatchId,
        /// Why.
        why: String,
    },
    /// A blob's bytes, as the disk has them: none if it has none. They are checked here.
    Loaded {
        /// The read.
        load: LoadId,
        /// The bytes, or why they cannot be read.
        blob: Result<Option<Arc<[u8]>>, String>,
    },
}

/// What a client can ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Change a cell.
    Put {
        /// Which.
        key: Key,
        /// How.
        edit: Edit,
        /// When it is gone; `None` is never.
        expires: Option<WallTime>,
        /// How many owners must hold it durably before the reply. Without it, a majority of them.
        quorum: Option<usize>,
    },
    /// Keep a blob under its hash.
    PutBlob {
        /// Its bytes.
        bytes: Arc<[u8]>,
        /// When it is gone; `None` is never.
        expires: Option<WallTime>,
        /// How many owners must hold it durably before the reply. Without it, a majority of them.
        quorum: Option<usize>,
    },
    /// Read a record.
    Get {
        /// Which.
        key: RecordKey,
        /// How many owners of a cell must answer. Without it, a majority of them. One holder of a blob is enough.
        quorum: Option<usize>,
    },
    /// Ask every owner what it holds, without the bytes.
    Find {
        /// Of which record.
        key: RecordKey,
    },
}

/// What a node can do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a message on the bulk lane.
    Send {
        /// To whom.
        to: NodeId,
        /// It.
        message: Message,
    },
    /// Make these changes durable, all or nothing, then say `Persisted` or `PersistFailed`. One batch at a time.
    Persist {
        /// The batch.
        batch: BatchId,
        /// By place.
        changes: Vec<(Id, Change)>,
    },
    /// This member has to be asked, or handed records, and is not connected.
    Reach {
        /// Who.
        peer: NodeId,
    },
    /// Read the bytes of the blob in this place, then say `Loaded`.
    Load {
        /// The read.
        load: LoadId,
        /// The place.
        id: Id,
    },
    /// Answer a client.
    Reply {
        /// Its request.
        request: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// Tell people.
    Event(Event),
}

/// The answer to a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What came of it.
    pub result: Result<Outcome, AskError>,
    /// Whom it was asked of, in the order of asking.
    pub trace: Vec<Asked>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The put is durable on so many members.
    Stored {
        /// Under which key.
        key: RecordKey,
        /// How many hold it durably already, stand-ins among them.
        holders: usize,
        /// Of how many owners.
        owners: usize,
    },
    /// What the owners hold, merged; none if nothing is live.
    Found(Option<Record>),
    /// The trace says who holds it.
    Traced,
}

/// One member that was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The member; it may be this node itself.
    pub node: NodeId,
    /// How many members are nearer to the record. Those below the number of owners are owners.
    pub rank: usize,
    /// How long after the request began it was asked.
    pub after: Duration,
    /// How long its answer took; `None` while there is none.
    pub took: Option<Duration>,
    /// What it said.
    pub verdict: Verdict,
}

/// What a member that was asked said, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has not answered yet.
    Waiting,
    /// It has not answered within its RTO, and somebody else was asked beside it.
    Late,
    /// There is no connection to it.
    Unreachable,
    /// It holds the put durably.
    Stored,
    /// It holds the record.
    Holds,
    /// It holds something else than the others do; the read has sent it the merged record.
    Stale,
    /// It holds a tombstone.
    Deleted,
    /// It holds nothing.
    Absent,
    /// It refused.
    Refused(Refusal),
}

/// Why a request came to nothing. A put may have reached some owners all the same, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Too many requests are open. Nothing was done.
    #[error("{open} requests are open, and no more are taken")]
    Busy {
        /// How many.
        open: usize,
    },
    /// The node's role does not let it write. Nothing was done.
    #[error("a reader may not put records")]
    Reader,
    /// More owners were asked for than there are. Nothing was done.
    #[error("{asked} owners were asked for, and there are {owners}")]
    Quorum {
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        owners: usize,
    },
    /// Too few owners answered in time.
    #[error("{answered} of the {needed} owners needed have answered in time")]
    Timeout {
        /// How many did.
        answered: usize,
        /// How many are needed.
        needed: usize,
    },
    /// So many owners refused that the rest is too few.
    #[error("the owners refused: {why}")]
    Refused {
        /// What one of them said.
        why: Refusal,
    },
    /// The record is not valid. Nothing was done.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The cell does not take the edit. Nothing was done.
    #[error(transparent)]
    Cell(#[from] CellError),
}

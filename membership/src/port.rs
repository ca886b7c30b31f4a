//! The only way in and the only way out.

use crate::event::Event;
use crate::forgetting::ForgetError;
use crate::message::{Message, Report};
use crate::record::Record;
use chinwag_base::{Address, Lane, NodeId, Tags};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What can happen to a membership.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The deadline has come. Only this runs timers, so frames that waited during a stall are handled before them
    /// if the driver hands them in first, as it should.
    Tick,
    /// A frame from a member whose key and grant the transport has checked.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// Some other frame of that member arrived (state, records): a sign of life.
    Heard {
        /// Who.
        peer: NodeId,
    },
    /// The first connection to that member opened.
    Connected {
        /// Who.
        peer: NodeId,
    },
    /// The last connection to that member is gone.
    Disconnected {
        /// Who.
        peer: NodeId,
        /// How.
        reason: Lost,
    },
    /// A dial asked for by [`Output::Dial`] came to nothing.
    DialFailed {
        /// Who.
        peer: NodeId,
        /// How.
        why: DialFailure,
    },
    /// Another protocol has something to say to that member. In an overlay that is too large for a full mesh, it is
    /// dialled, and the connection is kept for a while.
    Wanted {
        /// Who.
        peer: NodeId,
    },
    /// Where we listen has changed.
    Addresses(Vec<Address>),
    /// What we say of ourselves has changed.
    Tags(Tags),
    /// Somebody to dial: from an invite, from discovery on this machine or network.
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
    /// A client asks who answers, and who cannot reach whom. Answered by [`Output::Reached`].
    Reach {
        /// Names the answer.
        request: u64,
    },
    /// A client orders a member to be forgotten. Answered by [`Output::Forgotten`].
    Forget {
        /// Names the answer.
        request: u64,
        /// Whom.
        id: NodeId,
    },
    /// Say goodbye.
    Leave,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lost {
    /// The other end reset it: its process may be dead.
    Reset,
    /// The other end closed it: its process may be dead, for the kernel closes what a killed process leaves.
    Closed,
    /// It timed out.
    TimedOut,
    /// This end closed it: on [`Output::Close`], over a limit, or for another connection to the same peer.
    Local,
}

/// How a dial failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DialFailure {
    /// The host answered that nothing listens there: refused, unreachable port, or reset at once. No address timed out.
    Refused,
    /// No answer.
    TimedOut,
    /// The peer answered and does not admit us.
    Denied(String),
    /// Anything else: no address, no route, our own limit, a wrong key.
    Other,
}

/// Who answered a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    /// Members that were alive or suspect when the call went out, ourselves apart.
    pub asked: BTreeSet<NodeId>,
    /// What they and we say, in the order of ids, and after how long.
    pub reports: Vec<(Report, Duration)>,
    /// When the last answer had come, or when we stopped waiting.
    pub after: Duration,
}

/// What a membership can do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a frame. Dropped if no connection is open.
    Send {
        /// To whom.
        to: NodeId,
        /// On which lane.
        lane: Lane,
        /// What.
        message: Message,
    },
    /// Open a connection. Answered by `Connected` or `DialFailed`, exactly one of them.
    Dial {
        /// To whom.
        peer: NodeId,
        /// Where, best first.
        addresses: Vec<Address>,
    },
    /// Close all connections to a member: it is down or left, or the connection is of no use.
    Close {
        /// To whom.
        peer: NodeId,
    },
    /// Keep this record in the address book on disk, in place of an older one; of members that left too, so that a
    /// restart does not wait for them. At most once a second for each member, and before [`Output::Departed`].
    Remember(Arc<Record>),
    /// Strike this member from the address book: it left long ago, is to be forgotten, or there is no room.
    Forget(NodeId),
    /// Answer a client.
    Reached {
        /// Its request.
        request: u64,
        /// The answer; `None` if too many ask at once.
        reached: Option<Reached>,
    },
    /// Answer a client: whether the member is forgotten here, and the order on its way to the others.
    Forgotten {
        /// Its request.
        request: u64,
        /// What came of it.
        result: Result<(), ForgetError>,
    },
    /// Tell people.
    Event(Event),
    /// Goodbyes are out: flush the lanes, and the process may exit.
    Departed,
}

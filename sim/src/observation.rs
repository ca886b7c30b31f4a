//! What can be observed of a run: the one stream that checkers, reports and pictures are made from.
//!
//! A run is a sequence of [`Observation`]s in the order of time. Some come from the nodes (their events), some from
//! whoever drives them (clients' requests and their answers, crashes, cuts, damage), some are looks at a node's state.
//! A checker sees nothing else, so it can be shown a history that somebody wrote by hand, a simulated one, or one put
//! together from the logs of real daemons.

use chinwag_base::{Digest, Generation, Incarnation, Key, Moment, Value};
use chinwag_crdt::{Op, Read, What};
use chinwag_membership::State;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A machine of a run, by number. It keeps its number, its key and its address over all its process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Host(pub u32);

impl Host {
    /// Its place in a list of all hosts.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// A client's request, numbered by whoever drives the run; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request(pub u64);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// When, by the run's own clock, which no node sees.
    pub at: Moment,
    /// What.
    pub fact: Fact,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A process began on a host. All that an earlier one believed is gone with it.
    Started {
        /// Where.
        host: Host,
    },
    /// When all was mended and calm, a host called the roll.
    Called {
        /// Who called.
        host: Host,
        /// Hosts that ran.
        running: usize,
        /// Hosts that answered.
        answered: usize,
        /// How often one that ran did not hear another one that ran and that it should have heard.
        unheard: usize,
    },
    /// A process is gone.
    Stopped {
        /// Where.
        host: Host,
        /// How.
        how: Stop,
    },
    /// A process does not run for a while (SIGSTOP, a suspended laptop).
    Paused {
        /// Where.
        host: Host,
    },
    /// It runs again.
    Resumed {
        /// Where.
        host: Host,
    },
    /// A disk lost what it held, while no process ran on it.
    Damaged {
        /// Whose.
        host: Host,
        /// How.
        how: Damage,
        /// Writes that this disk alone held durably, by value: they may be gone for good, and nobody is to blame.
        lost: Vec<Lost>,
    },
    /// Frames no longer pass from one host to another.
    Cut {
        /// From here.
        from: Host,
        /// To there.
        to: Host,
    },
    /// They pass again.
    Mended {
        /// From here.
        from: Host,
        /// To there.
        to: Host,
    },
    /// The driver made no further fault from here on: all cuts are mended, all pauses over, all disks have room, and
    /// every process that is to run has been started.
    Healed,
    /// Every process that runs holds exactly those that run for alive, and is connected to all of them by streams that flow.
    Meshed,
    /// A client asks a node to write, all or nothing.
    Asked {
        /// The request.
        request: Request,
        /// Of whom.
        host: Host,
        /// What to write. Values of registers and elements of sets are used once in a run.
        ops: Arc<[Op]>,
    },
    /// The client is answered. A request without an answer, because the process died, may have been done or not.
    Answered {
        /// The request.
        request: Request,
        /// How.
        answer: Answer,
    },
    /// A client that held the token of a write waited at a node until it was visible there.
    Awaited {
        /// At which node.
        host: Host,
        /// Whose token it held.
        request: Request,
        /// Whether the node said that it is visible.
        told: bool,
        /// Whether it was, by a look at the node's state.
        holds: bool,
    },
    /// An entry became visible at a node.
    Applied {
        /// Where.
        host: Host,
        /// The key.
        key: Key,
        /// What is different there now.
        what: What,
        /// Whether a client of this very node wrote it.
        local: bool,
    },
    /// A look at one key of a node that runs.
    Shown {
        /// Where.
        host: Host,
        /// Which.
        key: Key,
        /// What a read gives.
        read: Option<Read>,
    },
    /// A look at a node's whole state.
    Summed {
        /// Where.
        host: Host,
        /// The digest of its replicated state.
        state: Digest,
        /// The digest of its clock.
        clock: Digest,
    },
    /// A client asks for a record of the DHT to be put: an element into a set.
    RecordAsked {
        /// The request.
        request: Request,
        /// Of whom.
        host: Host,
        /// Which record.
        key: Key,
        /// The element, used once in a run.
        element: Value,
    },
    /// The put is answered.
    RecordAnswered {
        /// The request.
        request: Request,
        /// Whether it is durable on as many owners as were asked for.
        stored: bool,
    },
    /// A read of a record through a node, after all is healed.
    RecordShown {
        /// Through which.
        host: Host,
        /// Which.
        key: Key,
        /// The elements, or none if the read failed.
        elements: Option<Vec<Value>>,
    },
    /// What a node believes of a member has changed.
    Believed {
        /// Who believes.
        host: Host,
        /// Of whom.
        about: Host,
        /// What.
        state: State,
        /// Of which process life, where the event tells.
        generation: Option<Generation>,
        /// At which incarnation, where the event tells.
        incarnation: Option<Incarnation>,
        /// By silence alone; this node's own belief.
        unverified: bool,
    },
    /// A node does not show a member any more.
    Reaped {
        /// Who.
        host: Host,
        /// Whom.
        about: Host,
    },
    /// A look at what a node believes of a member.
    Believes {
        /// Who believes.
        host: Host,
        /// Of whom.
        about: Host,
        /// What; none if it does not know the member.
        state: Option<State>,
    },
    /// A size that has a bound, looked at.
    Measured {
        /// Where.
        host: Host,
        /// What it is, by the name of its bound in `base::limits`.
        bound: &'static str,
        /// How large it is.
        value: u64,
        /// How large it may be.
        max: u64,
    },
    /// The run is over.
    Ended,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// kill -9: its host resets what was open and refuses what is dialled.
    Killed,
    /// With its host, which answers nothing any more.
    PowerCut,
    /// It said goodbye.
    Left,
}

/// How a disk was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// It is empty: a new disk, with the old key.
    Wiped,
    /// It holds what it held some time ago.
    RolledBack,
    /// Some rows are not what was written. They are found by their checksums and left out.
    Corrupt,
}

/// A write that may be gone for good.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    /// Under which key.
    pub key: Key,
    /// The value of a register or the element of a set that was written, if it was one of these.
    pub value: Option<Value>,
    /// The request that wrote it.
    pub request: Option<Request>,
}

/// How a client was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is durable.
    Written {
        /// Members that hold it durably, as the node said.
        holders: usize,
        /// Hosts whose disks hold it at this moment, by a look at the disks.
        durable_on: usize,
        /// Whether the wait was met, as the node said.
        met: bool,
    },
    /// It was not done, and will not be.
    Refused,
}

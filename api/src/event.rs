//! What is told as it happens, over server-sent events.
//!
//! A stream starts with an event `ready`, once nothing more can be missed. `GET /v1/watch` then sends `change`, each with its
//! [`Position`]. A watcher that comes back with a position is told what came after it. Where that is not known any more,
//! and where a watcher has fallen too far behind, it is told `reset`, then a `cell` for each key as it is now, then `ready`
//! again. `GET /v1/events` sends `event`. The name of the server-sent event
//! is in [`Watched::NAMES`] and beside; its data is one JSON object with its schema.

use crate::bytes::Bytes;
use crate::cell::{Cell, Count};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The query of `GET /v1/watch`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchQuery {
    /// Which keys: see [`Pattern`](crate::Pattern). All without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Tell first what came after this: the position of the last change that was heard. The header `Last-Event-ID`, which
    /// browsers send by themselves, means the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Position>,
}

/// A place in what one daemon tells in one of its lives. Opaque to clients; it is the `id` of the server-sent event too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub String);

/// The server-sent event's name of [`Ready`].
pub const READY: &str = "ready";
/// The server-sent event's name of [`Change`].
pub const CHANGE: &str = "change";
/// The server-sent event's name of [`Reset`].
pub const RESET: &str = "reset";
/// The server-sent event's name of a [`Cell`].
pub const CELL: &str = "cell";
/// The server-sent event's name of [`NodeEvent`].
pub const EVENT: &str = "event";

/// What `GET /v1/watch` sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// From here on nothing is missed.
    Ready(Ready),
    /// A change became visible.
    Change(Change),
    /// Changes were left out. What the watcher knows is void; what is there follows, and then `ready`.
    Reset(Reset),
    /// After a reset: what a key holds.
    Cell(Cell),
}

impl Watched {
    /// The names of the server-sent events, in the order of the variants.
    pub const NAMES: [&'static str; 4] = [READY, CHANGE, RESET, CELL];

    /// The server-sent event's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Watched::Ready(_) => READY,
            Watched::Change(_) => CHANGE,
            Watched::Reset(_) => RESET,
            Watched::Cell(_) => CELL,
        }
    }
}

/// The stream is set up: whatever happens from here on is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The member that tells.
    pub name: String,
    /// Of a watch: where it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// The watcher fell behind, and some changes were left out. What it knows is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Why, for people.
    pub message: String,
}

/// A change that became visible on the answering daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When it became visible, by this daemon's clock.
    pub at_unix_ms: u64,
    /// The key.
    pub key: String,
    /// The field of it that changed: the names down to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub field: Vec<String>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
    /// The name of the member that wrote it; of a removal that a whole cell showed, of the member that told the cell.
    pub origin: String,
    /// How long ago it was written, by the two clocks; zero where they disagree.
    pub age_ms: u64,
    /// The values that it replaced, or that lost against it.
    #[serde(default)]
    pub was: Vec<Bytes>,
    /// Whether it was concurrent with what it met.
    #[serde(default)]
    pub concurrent: bool,
    /// Where it is in what this daemon tells: a watch can go on after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

impl Change {
    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        /// Its fields, and the row of the log that goes along with it.
        const HEAD_BYTES: usize = 1024;
        let what = match &self.what {
            What::Set { value } | What::Merge { value } | What::Add { value } | What::Rm { value } => {
                value.as_bytes().len()
            }
            What::Del {} | What::Incr { .. } | What::Enable {} | What::Disable {} => 0,
        };
        let was: usize = self.was.iter().map(|value| value.as_bytes().len()).sum();
        HEAD_BYTES
            + self.key.len()
            + self.field.iter().map(String::len).sum::<usize>()
            + self.origin.len()
            + what
            + was
    }
}

/// What happened to a cell, by its `"what"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// A register was set by a write that had seen what it replaced.
    Set {
        /// The value now.
        #[serde(flatten, with = "crate::bytes::field")]
        value: Bytes,
    },
    /// A concurrent write of a register arrived. The value is the winner, old or new.
    Merge {
        /// The value now.
        #[serde(flatten, with = "crate::bytes::field")]
        value: Bytes,
    },
    /// What the key held was deleted.
    Del {},
    /// A counter moved.
    Incr {
        /// By how much.
        by: Count,
        /// The sum now.
        count: Count,
    },
    /// An element was added to a set.
    Add {
        /// The element.
        #[serde(flatten, with = "crate::bytes::field")]
        value: Bytes,
    },
    /// An element was removed from a set.
    Rm {
        /// The element.
        #[serde(flatten, with = "crate::bytes::field")]
        value: Bytes,
    },
    /// A flag was switched on.
    Enable {},
    /// A flag was switched off.
    Disable {},
}

impl What {
    /// Its name, as in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            What::Set { .. } => "set",
            What::Merge { .. } => "merge",
            What::Del {} => "del",
            What::Incr { .. } => "incr",
            What::Add { .. } => "add",
            What::Rm { .. } => "rm",
            What::Enable {} => "enable",
            What::Disable {} => "disable",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For the debugging of a protocol.
    Trace,
    /// For the curious.
    Debug,
    /// Something changed.
    Info,
    /// Somebody should look.
    Warn,
    /// Something is broken.
    Error,
}

/// An event of the node: what the logs show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// When, by this daemon's clock.
    pub at_unix_ms: u64,
    /// How much it matters.
    pub level: Level,
    /// Its stable name, such as `member.suspect`.
    pub event: String,
    /// What it says, by name; the same names as in the logs.
    #[serde(default)]
    pub fields: serde_json::Map<String, serde_json::Value>,
}

//! Where a write went.

use chinwag_base::NodeId;
use serde::{Deserialize, Serialize};

/// `GET /v1/trace/KEY`: how and when the last write to a key, or to any field of it, came to each member. Each says so by its own clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// What was written: the key, or a field of it.
    pub key: String,
    /// The write, as the log names it.
    pub dot: String,
    /// Who made it.
    pub writer: String,
    /// The same, by id.
    pub writer_id: NodeId,
    /// When, by the writer's clock.
    pub written_unix_ms: u64,
    /// What each member says: the writer first, then in the order in which it came to them.
    pub members: Vec<TraceMember>,
}

/// What one member says of a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceMember {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// How the write came there.
    pub path: TracePath,
    /// From whom it came; null for a client's write and where nobody knows.
    pub from: Option<String>,
    /// The same, by id.
    pub from_id: Option<NodeId>,
    /// When it was received there, or asked for by a client, by that member's clock.
    pub arrived_unix_ms: Option<u64>,
    /// When it was durable and visible there.
    pub durable_unix_ms: Option<u64>,
}

/// How a write came to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TracePath {
    /// A client of that member wrote it.
    Local,
    /// Its writer sent it as soon as it was durable there.
    Pushed,
    /// It was passed on along the tree.
    Relayed,
    /// An exchange brought it.
    Synced,
    /// It came as part of a whole cell.
    Joined,
    /// That member holds it, and does not remember how it came.
    Forgotten,
    /// That member does not hold it.
    Lacks,
    /// That member has not answered.
    Silent,
    /// That member is not connected to the asked daemon, and so was not asked.
    Unconnected,
    /// A way that this build does not know.
    #[serde(other)]
    Unknown,
}

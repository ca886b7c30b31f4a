//! What a member and the asked daemon lack of each other.

use crate::{Hex, MemberState};
use chinwag_base::NodeId;
use serde::{Deserialize, Serialize};

/// `GET /v1/diff/NAME`: by the clocks that both have told; nothing is sent for it. What the member is known to hold may be
/// a little less than it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The member's name.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// What it is held for.
    pub state: MemberState,
    /// Whether it is known to hold exactly what the daemon holds.
    pub in_step: bool,
    /// Whether it has told anything of what it holds yet.
    pub told: bool,
    /// The daemon's digest.
    pub digest: Hex,
    /// The member's, as it last said.
    pub their_digest: Option<Hex>,
    /// Writes that the daemon holds and the member is not known to hold.
    pub they_lack: u64,
    /// The keys of those that are in the daemon's log, sorted; at most 1,000.
    pub keys: Vec<DiffKey>,
    /// How many more keys there are.
    pub more_keys: u64,
    /// Those of the writes that are in the daemon's log no more: the member will be sent whole cells instead.
    pub beyond_log: u64,
    /// Writes that the member holds and the daemon does not, by who wrote them. Which keys they change is not known here.
    pub we_lack: Vec<DiffWriter>,
    /// Whether the daemon may lack more, because the member told of more than is remembered at once.
    pub we_may_lack_more: bool,
}

/// Writes to one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffKey {
    /// The key.
    pub key: String,
    /// How many.
    pub writes: u64,
}

/// Writes of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffWriter {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// How many.
    pub writes: u64,
}

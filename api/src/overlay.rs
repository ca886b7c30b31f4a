//! Making, inviting to, joining and leaving an overlay.

use crate::hex::Hex;
use chinwag_base::{Address, NodeId, OverlayName, Role};
use serde::{Deserialize, Serialize};

/// An overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// What its members call it.
    pub name: OverlayName,
    /// The hash of its root key.
    pub id: Hex,
}

/// `POST /v1/init`: makes an overlay with this daemon as its first admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitRequest {
    /// What to call it.
    pub name: OverlayName,
}

/// `POST /v1/init`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitReply {
    /// The new overlay.
    pub overlay: Overlay,
    /// The member's name.
    pub name: String,
    /// The node.
    pub id: NodeId,
}

/// `POST /v1/invite`. What is left out has the daemon's default: one use, ten minutes, role `member`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// How many nodes may join by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// For how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
    /// As what they join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// `POST /v1/invite`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteReply {
    /// The token for `chinwag join`. It is a secret until it is used up.
    pub token: String,
    /// The overlay.
    pub overlay: Overlay,
    /// How many nodes may join by it.
    pub uses: u32,
    /// As what they join.
    pub role: Role,
    /// When it ends.
    pub expires_unix_ms: u64,
    /// How long that is from now.
    pub expires_in_s: u64,
    /// Where the token says that the inviter listens.
    pub addresses: Vec<Address>,
}

/// `POST /v1/join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The invite.
    pub token: String,
    /// Bring the keys that this daemon holds along.
    #[serde(default)]
    pub merge: bool,
    /// How long to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// `POST /v1/join`, answered once the daemon is a member and has met its inviter's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinReply {
    /// The overlay.
    pub overlay: Overlay,
    /// Through whom.
    pub through: Through,
    /// How long it took.
    pub after_ms: u64,
    /// Members alive, this one among them.
    pub members: u64,
    /// Live keys.
    pub keys: u64,
}

/// The inviter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Through {
    /// Its name.
    pub name: String,
    /// Where it was reached.
    pub address: Option<Address>,
}

/// `POST /v1/leave`: answered before the daemon tells the others and ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveReply {
    /// The member's name.
    pub name: String,
    /// The process that will be gone.
    pub pid: u32,
}

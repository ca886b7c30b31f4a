//! Who may connect: the exchange that two peers have before anything else.
//!
//! It is a step of the *transport*: after the secure and multiplexed upgrade, on the connection's first substream,
//! and before the swarm learns of the connection.
//!
//! ```text
//! dialler                               listener
//!    | -- Hello {versions, overlay, proof} --> |   checks the proof: a grant, or an invite's secret
//!    | <-- Welcome {version, its own grant} -- |   or Refused {why}, and lingers until the dialler has read it
//! checks the listener's grant
//! ```
//!
//! The transport has proved both keys, so a grant cannot be borrowed.

use chinwag_base::invite::Secret;
use chinwag_base::{Grant, GrantError, NodeId, OverlayId, Role, WallTime};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// What a dialler shows to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// It is a member.
    Grant(Grant),
    /// It holds an invite and wants a grant.
    Invite(Secret),
}

/// What an admitted peer may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Its role.
    pub role: Role,
    /// The grant issued to it, if it came with an invite. Such a connection ends after the exchange: the joiner
    /// connects again with its grant.
    pub issued: Option<Grant>,
}

/// Why a peer is not let in. It travels to the peer, so that a person can be told what to do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
pub enum RefusalReason {
    /// The peer belongs to another overlay.
    #[error("it belongs to another overlay")]
    Foreign,
    /// The grant's time is over.
    #[error("the grant has expired")]
    Expired,
    /// The key was evicted.
    #[error("the node was evicted from the overlay")]
    Revoked,
    /// The grant names another node, or nobody who may sign has signed it.
    #[error("the grant is not valid for this node")]
    NotGranted,
    /// The invite has been redeemed by another key.
    #[error("the invite has been used")]
    InviteUsed,
    /// The invite's time is over.
    #[error("the invite has expired")]
    InviteExpired,
    /// No such invite was made here.
    #[error("the invite is not known here")]
    InviteUnknown,
    /// The versions of the protocol have nothing in common.
    #[error("it speaks versions {min} to {max} of the protocol only")]
    Version {
        /// The oldest version that the refuser speaks.
        min: u16,
        /// The newest version that the refuser speaks.
        max: u16,
    },
    /// Too many are asking at once; try again.
    #[error("too many peers are connecting at once")]
    Busy,
    /// What was sent is not this exchange.
    #[error("it does not speak chinwag's protocol")]
    Malformed,
    /// No answer in time.
    #[error("it took too long to introduce itself")]
    TooSlow,
}

impl From<GrantError> for RefusalReason {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::Foreign => RefusalReason::Foreign,
            GrantError::Expired => RefusalReason::Expired,
            GrantError::Borrowed | GrantError::Forged => RefusalReason::NotGranted,
        }
    }
}

/// Who decides. Called from many tasks at once; nothing here may block.
pub trait Admission: Send + Sync + 'static {
    /// The overlay that we belong to.
    fn overlay(&self) -> OverlayId;
    /// Our own grant.
    fn grant(&self) -> Grant;
    /// The wall clock.
    fn now(&self) -> WallTime;
    /// Decides about `peer`, whose key the transport has proved. Asked by listeners about diallers, and by diallers
    /// about listeners (these always with a grant). Redeeming an invite is durable before this resolves.
    fn admit(&self, peer: NodeId, proof: Proof) -> BoxFuture<'static, Result<Admitted, RefusalReason>>;
}

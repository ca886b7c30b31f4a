//! What every other crate speaks of: identity, time as a value, addresses, grants, invites and limits.
//!
//! This crate imports nothing of ours and does no I/O. Time is a [`Moment`] or a [`WallTime`] that somebody
//! passes in, randomness is a seeded generator that somebody passes in.

pub mod address;
pub mod codec;
pub mod digest;
pub mod grant;
pub mod identity;
pub mod invite;
pub mod key;
pub mod limits;
pub mod name;
pub mod tag;
pub mod time;

pub use address::Address;
pub use digest::Digest;
pub use grant::{Grant, GrantError, Role};
pub use identity::{Generation, Incarnation, Keypair, NodeId, OverlayId, ReplicaId, Signature};
pub use invite::{Invite, InviteError};
pub use key::{Key, Value};
pub use name::{Name, OverlayName};
pub use tag::{Tag, TagError, Tags};
pub use time::{Moment, WallTime};

/// The lane that a frame travels on. Each lane is one long-lived substream per connection, so that a probe
/// costs one round trip and never waits behind data or behind a protocol negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Tiny frames of failure detection. Only the newest frame of each kind is kept for a slow peer.
    Probe,
    /// News and deltas. A bounded queue that drops its oldest frame; clocks show the gap and anti-entropy fills it.
    Gossip,
    /// Requests and replies: view exchange, reconciliation, anti-entropy. Flow-controlled, bounded, never dropped silently.
    Bulk,
}

impl Lane {
    /// Every lane, in the order of their urgency.
    pub const ALL: [Lane; 3] = [Lane::Probe, Lane::Gossip, Lane::Bulk];

    /// The longest frame, in bytes, that may travel on this lane (length prefix apart).
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Lane::Probe => limits::PROBE_FRAME_BYTES_MAX,
            Lane::Gossip => limits::GOSSIP_FRAME_BYTES_MAX,
            Lane::Bulk => limits::BULK_FRAME_BYTES_MAX,
        }
    }
}

/// The version of the wire protocol that this build speaks.
pub const PROTOCOL_VERSION: u16 = 1;
/// The oldest version of the wire protocol that this build still speaks.
pub const PROTOCOL_VERSION_MIN: u16 = 1;

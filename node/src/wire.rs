//! The one codec for what travels between nodes: a version byte, then a [`Frame`] in bincode.
//!
//! The transport frames bytes and bounds them by lane; this module turns bytes into typed frames and back, strictly
//! ([`chinwag_base::codec`]). It is pure, so a simulator's frames pass through the same code.

use chinwag_base::codec::{self, DecodeError};
use chinwag_base::{Lane, PROTOCOL_VERSION};
use serde::{Deserialize, Serialize};

/// What travels between two nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Frame {
    /// Who is alive.
    Membership(chinwag_membership::Message),
    /// What is known.
    Gossip(chinwag_gossip::Message),
    /// Where records live.
    Dht(chinwag_dht::Message),
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No bytes at all.
    #[error("an empty frame")]
    Empty,
    /// A version that was not agreed on at admission.
    #[error("version {0} of the protocol")]
    Version(u8),
    /// The rest does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The slot of gossip's frames.
pub(crate) const GOSSIP_SLOT: u8 = 0;
/// The slot of the DHT's frames.
pub(crate) const DHT_SLOT: u8 = 1;

/// The version byte of every frame.
const VERSION: u8 = PROTOCOL_VERSION as u8;

/// Encodes a frame. Its length is the sender's business: cores keep within their lane's limit.
pub fn encode(frame: &Frame) -> Vec<u8> {
    codec::encode(&(VERSION, frame))
}

/// Decodes a frame that came on `lane`.
///
/// # Errors
/// [`WireError`]; nothing more than the lane's limit has been allocated.
pub fn decode(lane: Lane, bytes: &[u8]) -> Result<Frame, WireError> {
    use chinwag_base::limits::{BULK_FRAME_BYTES_MAX, GOSSIP_FRAME_BYTES_MAX, PROBE_FRAME_BYTES_MAX};
    let (&version, body) = bytes.split_first().ok_or(WireError::Empty)?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let frame = match lane {
        Lane::Probe => codec::decode::<PROBE_FRAME_BYTES_MAX, _>(body),
        Lane::Gossip => codec::decode::<GOSSIP_FRAME_BYTES_MAX, _>(body),
        Lane::Bulk => codec::decode::<BULK_FRAME_BYTES_MAX, _>(body),
    };
    Ok(frame?)
}

impl Frame {
    /// Frames of one slot replace each other on the probe lane. On the bulk lane the slot says whose a refused frame was.
    pub fn slot(&self) -> u8 {
        match self {
            Frame::Membership(message) => message.slot(),
            Frame::Gossip(_) => GOSSIP_SLOT,
            Frame::Dht(_) => DHT_SLOT,
        }
    }

    /// Whether a frame of this kind may travel on `lane`.
    pub fn may_travel_on(&self, lane: Lane) -> bool {
        use chinwag_membership::Message::{Ack, Finding, Ping, Verify};
        match self {
            Frame::Membership(Ping(_) | Ack(_) | Verify(_) | Finding(_)) => lane == Lane::Probe,
            Frame::Membership(_) => lane != Lane::Probe,
            Frame::Gossip(message) => lane == message.lane(),
            Frame::Dht(_) => lane == Lane::Bulk,
        }
    }
}

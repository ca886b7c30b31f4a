//! Everything that happens in a node and is worth telling: the one stream that feeds logs, `watch`, the API and
//! the checkers of a simulation.

use crate::wire::WireError;
use chinwag_base::{Lane, NodeId};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// In the membership.
    Membership(chinwag_membership::Event),
    /// In the replicated state.
    Gossip(chinwag_gossip::Event),
    /// To records.
    Dht(chinwag_dht::Event),
    /// A frame was not understood.
    FrameRefused {
        /// Who sent it.
        from: NodeId,
        /// On which lane.
        lane: Lane,
        /// Why.
        why: FrameFault,
    },
}

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// It does not decode.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It is of a kind that does not travel on this lane.
    #[error("a frame of this kind does not travel on this lane")]
    Lane,
}

impl From<chinwag_membership::Event> for Event {
    fn from(event: chinwag_membership::Event) -> Self {
        Event::Membership(event)
    }
}

impl From<chinwag_gossip::Event> for Event {
    fn from(event: chinwag_gossip::Event) -> Self {
        Event::Gossip(event)
    }
}

impl From<chinwag_dht::Event> for Event {
    fn from(event: chinwag_dht::Event) -> Self {
        Event::Dht(event)
    }
}

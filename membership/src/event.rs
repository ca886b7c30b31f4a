//! What happened, for people: the single source of logs, metrics, `watch` and the checkers of simulations.

use crate::record::RecordError;
use chinwag_base::{Digest, Generation, Incarnation, Name, NodeId, Tags};

/// Something that happened to the membership, as this node sees it.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A member is alive: new, restarted, back, or it refuted a suspicion.
    Alive {
        /// Who.
        id: NodeId,
        /// Its name.
        name: Name,
        /// Its process life.
        generation: Generation,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// A member that is here says something else of itself than before.
    Tagged {
        /// Who.
        id: NodeId,
        /// Its name.
        name: Name,
        /// Its tags.
        tags: Tags,
    },
    /// A member does not answer, and somebody else could not reach it either.
    Suspect {
        /// Who.
        id: NodeId,
        /// Its name.
        name: Name,
        /// Its incarnation.
        incarnation: Incarnation,
        /// Who found it; ourselves perhaps.
        by: NodeId,
        /// With which phi.
        phi: f64,
    },
    /// A member is gone.
    Down {
        /// Who.
        id: NodeId,
        /// Its name.
        name: Name,
        /// Its incarnation.
        incarnation: Incarnation,
        /// Who found it; ourselves perhaps.
        by: NodeId,
        /// With which phi.
        phi: f64,
        /// By silence alone, because too few others could be asked. A belief of this node only.
        unverified: bool,
    },
    /// A member said goodbye.
    Left {
        /// Who.
        id: NodeId,
        /// Its name.
        name: Name,
    },
    /// A member that left, or has been down for long, is not shown any more. One that is down is still dialled, unless an
    /// admin ordered it to be forgotten.
    Reaped {
        /// Who.
        id: NodeId,
        /// Its name.
        name: Name,
        /// Who ordered it, if it was not time alone.
        by: Option<NodeId>,
    },
    /// Somebody thought that we were gone; we said otherwise.
    SelfRefuted {
        /// Our incarnation now.
        incarnation: Incarnation,
    },
    /// This process did not run, or heard nobody, for a while. All evidence against others is void.
    SelfStalled {
        /// For how long, in milliseconds.
        ms: u64,
    },
    /// Two live members have one name. Ids decide; names are for people.
    NameConflict {
        /// The name.
        name: Name,
        /// One.
        first: NodeId,
        /// The other.
        second: NodeId,
    },
    /// Another live process has our key, and a higher generation. One of the two must stop.
    Conflict {
        /// Its generation.
        generation: Generation,
    },
    /// A record was not believed.
    RecordRefused {
        /// Who sent it; ourselves if it came from disk.
        from: NodeId,
        /// Who it is about.
        about: NodeId,
        /// Why.
        why: RecordError,
    },
    /// A frame held more than it may, or was addressed to another.
    FrameRefused {
        /// Who sent it.
        from: NodeId,
        /// Why.
        why: &'static str,
    },
    /// A peer does not admit us.
    Denied {
        /// Who.
        peer: NodeId,
        /// In its words.
        why: String,
    },
    /// The view and a peer's differ without news in flight: a reconciliation starts.
    Diverged {
        /// With whom.
        peer: NodeId,
        /// Our view.
        digest: Digest,
    },
}

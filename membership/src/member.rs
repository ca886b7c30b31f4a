//! A member as it is shown.

use crate::version::State;
use chinwag_base::{Address, Generation, Incarnation, Name, NodeId, Role, Tags};
use std::time::Duration;

/// What this node believes of one member, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: Name,
    /// Whether another live member has that name too.
    pub name_conflict: bool,
    /// Its state.
    pub state: State,
    /// Down by silence alone, or not heard yet since our start: this node's own belief.
    pub unverified: bool,
    /// Its process life.
    pub generation: Generation,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// How unlikely its silence is, as -log10 of the probability; 0 for members that others observe.
    pub phi: f64,
    /// Silent beyond what would be a verdict if enough others could be asked.
    pub overdue: bool,
    /// The smoothed round trip.
    pub rtt: Option<Duration>,
    /// The time since its last sign of life here.
    pub heard: Option<Duration>,
    /// Where it listens.
    pub addresses: Vec<Address>,
    /// After how long without an answer a ping to it counts as lost.
    pub rto: Duration,
    /// Its tags.
    pub tags: Tags,
    /// What its grant allows.
    pub role: Role,
    /// Who accuses it: ourselves and the one whose claim we believed.
    pub suspected_by: Vec<NodeId>,
    /// About when it will be down, if it stays silent and others confirm it.
    pub down_in: Option<Duration>,
    /// The mean stall that it admits.
    pub stall_mean: Duration,
    /// Whether a connection is open.
    pub connected: bool,
    /// Whether this node is one of its observers.
    pub observed: bool,
}

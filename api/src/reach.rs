//! Who answers when all are called, and who cannot reach whom.

use crate::member::MemberState;
use chinwag_base::NodeId;
use serde::{Deserialize, Serialize};

/// `GET /v1/reach`: all members that are alive or suspect are called, and say whom they hear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// When the last answer had come, or when this daemon stopped waiting.
    pub after_ms: f64,
    /// The members that answered, the asked daemon first.
    pub answers: Vec<ReachAnswer>,
    /// Those that did not.
    pub missing: Vec<ReachMember>,
    /// Those that were not called, because the asked daemon holds them for down.
    #[serde(default)]
    pub down: Vec<ReachMember>,
}

/// What one member says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReachAnswer {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// After how long its answer was here.
    pub after_ms: f64,
    /// How many others it heard since it was called. In a large overlay a member listens to some of the others only.
    pub hears: u32,
    /// Whom it does not hear and should, of those that were called or have answered. At most 64.
    pub unheard: Vec<Unheard>,
    /// How many more there are, without those that it holds for down.
    pub more: u32,
}

/// A member as one daemon knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachMember {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// What the asked daemon believes of it.
    pub state: MemberState,
}

/// A member that another one does not hear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheard {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// Why.
    pub why: Hindrance,
}

/// What keeps one member from hearing another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Hindrance {
    /// They are connected, and nothing that it sends arrives, pinged or not.
    Silent,
    /// It could not be connected to.
    Unconnected,
    /// It is held for down.
    Down,
    /// Something that this build does not know.
    #[serde(other)]
    Unknown,
}

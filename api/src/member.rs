//! Who is alive, as one daemon sees it.

use crate::hex::Hex;
use crate::status::generation;
use chinwag_base::{Address, Generation, NodeId, Tags};
use serde::{Deserialize, Serialize};
use std::fmt;

/// `GET /v1/members`: this daemon first, then by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Members {
    /// Every member, dead ones too.
    pub members: Vec<Member>,
    /// The part of this daemon's pings to live members that comes to nothing, as measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_loss: Option<f64>,
}

/// A member's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It may be dead; it is being asked to refute.
    Suspect,
    /// It is dead, as far as anyone can tell.
    Down,
    /// It said goodbye.
    Left,
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            MemberState::Alive => "alive",
            MemberState::Suspect => "suspect",
            MemberState::Down => "down",
            MemberState::Left => "left",
        })
    }
}

/// One member. What this daemon does not measure itself is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name, for people.
    pub name: String,
    /// The node.
    pub id: NodeId,
    /// Whether it is the daemon that answers.
    #[serde(rename = "self", default)]
    pub is_self: bool,
    /// Its state.
    pub state: MemberState,
    /// Down by silence alone, without the verdict of others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
    /// How suspicious its silence is: -log10 of the chance that it is alive all the same.
    pub phi: Option<f64>,
    /// Its own version number, which it raises to refute.
    pub incarnation: u64,
    /// Its process life, in hexadecimal.
    #[serde(with = "generation")]
    pub generation: Generation,
    /// Round trip.
    pub rtt_ms: Option<f64>,
    /// How long ago it was last heard.
    pub heard_ms: Option<u64>,
    /// Operations that we know and it does not, when it was last met.
    pub behind: Option<u64>,
    /// Its state's digest, when it was last met.
    pub digest: Option<Hex>,
    /// Where it listens.
    pub addresses: Vec<Address>,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// After how long without an answer a ping to it counts as lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_ms: Option<f64>,
    /// How long it admits to stall on the average; it is given that much more time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_ms: Option<u64>,
    /// The names of those who suspect it.
    #[serde(default)]
    pub suspected_by: Vec<String>,
    /// When it counts as down unless it answers.
    pub down_in_ms: Option<u64>,
}

//! What a membership is told at its start.

use crate::pool::RecordPool;
use crate::record::Record;
use chinwag_base::{
    Address, Generation, Grant, Keypair, Name, OverlayId, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Tags,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How fast the failure detector runs, and how much stalling it forgives at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// One wired network: each member is pinged five times a second.
    Fast,
    /// Laptops on one network (Wi-Fi roams for seconds): once a second.
    #[default]
    Lan,
    /// Across the internet: every two seconds.
    Wan,
}

impl Profile {
    /// T: each member is pinged about once in this time, by all its observers together.
    pub const fn period(self) -> Duration {
        Duration::from_millis(match self {
            Profile::Fast => 200,
            Profile::Lan => 1_000,
            Profile::Wan => 2_000,
        })
    }

    /// The mean stall that is forgiven even to members that admit none.
    pub const fn stall_floor(self) -> Duration {
        Duration::from_millis(match self {
            Profile::Fast => 150,
            Profile::Lan => 300,
            Profile::Wan => 500,
        })
    }

    /// The time between pushes while news is hot.
    pub const fn news_interval(self) -> Duration {
        Duration::from_millis(match self {
            Profile::Fast => 50,
            Profile::Lan | Profile::Wan => 100,
        })
    }

    /// The retransmission time-out for a peer without a measured round trip.
    pub const fn rto_initial(self) -> Duration {
        Duration::from_millis(match self {
            Profile::Fast => 200,
            Profile::Lan => 300,
            Profile::Wan => 1_000,
        })
    }
}

/// How a membership behaves. [`Config::new`] gives the defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The overlay whose members are wanted.
    pub overlay: OverlayId,
    /// Timings.
    pub profile: Profile,
    /// Suspect at this phi: 1 means wrong once in ten.
    pub phi_suspect: f64,
    /// Down at this phi: 8 means wrong once in 10^8.
    pub phi_down: f64,
    /// How long members that are down or left are shown. Those that are down stay in the address book and are
    /// dialled after that too, but seldom.
    pub retention: Duration,
    /// Silence alone decides after this time at the earliest, when too few others can be asked.
    pub silence_min: Duration,
    /// Up to so many members everybody is connected to everybody; beyond, with about 2K + 8 others.
    pub mesh_max: usize,
    /// The oldest and the newest wire protocol that this node says it speaks.
    pub protocols: (u16, u16),
    /// Records that other nodes of this process have verified. A process with one node has no use for it.
    pub pool: RecordPool,
}

impl Config {
    /// The defaults for `overlay`.
    pub fn new(overlay: OverlayId) -> Self {
        Config {
            overlay,
            profile: Profile::default(),
            phi_suspect: 1.0,
            phi_down: 8.0,
            retention: Duration::from_secs(72 * 3_600),
            silence_min: Duration::from_secs(30),
            mesh_max: 128,
            protocols: (PROTOCOL_VERSION_MIN, PROTOCOL_VERSION),
            pool: RecordPool::default(),
        }
    }
}

/// Who we are.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Our key; its public half is our id.
    pub keypair: Keypair,
    /// What admits us.
    pub grant: Grant,
    /// What people call us.
    pub name: Name,
    /// This process life; higher than any before it.
    pub generation: Generation,
    /// Where we listen, as far as it is known. [`crate::Input::Addresses`] changes it.
    pub addresses: Vec<Address>,
    /// Short words for people and tools.
    pub tags: Tags,
}

/// What an earlier process life left on disk.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// Members that were known then: those that left as left, the others as down, unverified, and dialled, until they
    /// answer.
    pub members: Vec<Record>,
}

//! What a daemon says of itself.

use crate::dht::DhtStatus;
use crate::hex::Hex;
use crate::overlay::Overlay;
use chinwag_base::{Address, Generation, NodeId, Role};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The release, such as `0.1.0`.
    pub version: String,
    /// The wire protocol that the daemon speaks.
    pub protocol: u16,
    /// The oldest wire protocol that it still speaks.
    pub protocol_min: u16,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The member's name.
    pub name: String,
    /// The node.
    pub id: NodeId,
    /// This process life, in hexadecimal.
    #[serde(with = "generation")]
    pub generation: Generation,
    /// The overlay, if it belongs to one.
    pub overlay: Option<Overlay>,
    /// What its grant lets it do; nothing without an overlay.
    pub role: Option<Role>,
    /// The process.
    pub pid: u32,
    /// The release.
    pub version: String,
    /// The wire protocol.
    pub protocol: u16,
    /// How long the process has run.
    pub uptime_ms: u64,
    /// Whether all is well. What is not is in `problems`.
    pub healthy: bool,
    /// What is not well, such as a full disk.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// Members by state, this one among them.
    pub members: Counts,
    /// The highest suspicion of any member.
    #[serde(default)]
    pub phi_highest: Option<Phi>,
    /// Live keys.
    pub keys: u64,
    /// The digest of the whole replicated state. Equal digests mean equal state.
    pub digest: Hex,
    /// How many of the other members alive were last seen with the same state.
    pub in_step: InStep,
    /// Whole cells that are on their way, because this daemon is new or was away for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coming: Option<Coming>,
    /// Anti-entropy and pushes.
    pub gossip: Gossip,
    /// Records of the DHT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dht: Option<DhtStatus>,
    /// Where it listens for members.
    pub addresses: Vec<Address>,
    /// The open door, if it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<OpenDoor>,
    /// The socket of this API.
    pub socket: PathBuf,
    /// The data directory.
    pub data: PathBuf,
}

/// Where programs that are no members use the DHT.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OpenDoor {
    /// Its libp2p peer id. The door has a key of its own, which is not the node's.
    pub peer: String,
    /// Where it listens: whole multiaddrs, with the peer id at their end.
    pub addresses: Vec<String>,
    /// Connections at this moment.
    #[serde(default)]
    pub connections: u64,
    /// Records that came in there and are held.
    pub records: u64,
    /// What they take in memory.
    #[serde(default)]
    pub bytes: u64,
    /// How much was refused since the start, by reason.
    #[serde(default)]
    pub refused: BTreeMap<String, u64>,
}

/// The state on its way from another member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coming {
    /// Who sends it.
    pub from: String,
    /// How many cells have come.
    pub cells: u64,
    /// Of how many, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

/// Something that is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its stable name, such as `storage` or `clock_ahead`.
    pub kind: String,
    /// What a person should know.
    pub message: String,
}

/// Members by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Alive, this one among them.
    pub alive: u64,
    /// Suspected.
    pub suspect: u64,
    /// Down.
    pub down: u64,
    /// Left by themselves.
    pub left: u64,
}

/// A member's suspicion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phi {
    /// Whose.
    pub name: String,
    /// How high.
    pub phi: f64,
    /// Where it counts as down.
    pub down_at: f64,
}

/// How many others hold the same state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InStep {
    /// Others alive whose last known digest is ours.
    pub peers: u64,
    /// Others alive.
    pub of: u64,
}

/// Anti-entropy and pushes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Gossip {
    /// Writes and received entries that wait for the disk.
    pub queue: u64,
    /// How many may wait before writes are refused.
    pub queue_max: u64,
    /// Anti-entropy rounds a second, lately.
    #[serde(default)]
    pub rounds_per_s: Option<f64>,
    /// Bytes received a second, lately.
    #[serde(default)]
    pub in_bytes_per_s: Option<f64>,
    /// Bytes sent a second, lately.
    #[serde(default)]
    pub out_bytes_per_s: Option<f64>,
}

/// `GET /healthz` (the process answers and its disk takes writes) and `GET /readyz` (it can serve clients now).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether all is well; also the HTTP status, 200 or 503.
    pub ok: bool,
    /// What is not.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// A generation as the hexadecimal text that logs show: it has more digits than a JSON number keeps.
pub(crate) mod generation {
    use chinwag_base::Generation;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(generation: &Generation, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(generation)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Generation, D::Error> {
        let text = String::deserialize(d)?;
        u64::from_str_radix(&text, 16).map(Generation::new).map_err(serde::de::Error::custom)
    }
}

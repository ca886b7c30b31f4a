//! How a node reaches others: libp2p's QUIC and TCP under admission and lanes of our own.
//!
//! ```text
//! TCP + Noise + Yamux ─┐
//!                      ├─ admission ── swarm ── lanes (3 substreams a connection) ── Inbox ── driver
//! QUIC (TLS 1.3) ──────┘  (a stranger stops here)     ^
//!                                                     └── Network::send (never waits)
//! ```
//!
//! - **Admission** ([`admission`]) is a step of the transport: on a connection's first substream both sides show
//!   their grants. Only then does the swarm learn of the connection, so no behaviour ever sees a stranger.
//! - **Lanes** (`lanes`): each connection has three long-lived substreams, one per [`Lane`], opened by the dialler.
//!   A frame is a length and that many bytes, so that a probe costs one round trip and never waits behind data.
//! - **Sending** puts a frame into a queue that the connection's own task writes from, without a detour over
//!   the swarm; the queues are bounded, each in the way that its lane allows.
//! - **Receiving** goes through [`Inbox`], which gives connections first, then probes, then gossip, then bulk. A lane
//!   whose inbox is full is not read, and the transport's flow control carries that to the sender.
//! - **One connection a peer**: of two dialled at the same time both ends keep the one that the smaller id dialled.

mod address;
pub mod admission;
mod clocks;
mod connection;
mod dialling;
mod door;
pub(crate) mod exchange;
pub(crate) mod frame;
mod handler;
mod hasty;
mod inbox;
mod lanes;
mod queue;
mod redeem;
mod task;
#[cfg(test)]
mod tests;

pub use clocks::{Clocks, Difference};
pub use inbox::Inbox;
pub use redeem::{RedeemError, redeem};

pub(crate) use address::{from_multiaddr, to_multiaddr, to_node, to_peer};
pub(crate) use door::{bare_within, innermost_io, libp2p_keypair};
pub(crate) use task::check_free;

use crate::kad::Records;
use admission::{Admission, RefusalReason};
use chinwag_base::limits::{CONNECTIONS_INBOUND_MAX, KAD_WALKS_MAX};
use chinwag_base::{Address, Grant, Keypair, Lane, NodeId, Role};
use connection::{Peer, lock};
use door::Shared;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use task::{Command, Task};
use tokio::sync::{mpsc, oneshot};

/// How long a listener may take to bind.
const LISTEN_MS_MAX: u64 = 3_000;
/// How long the encryption's handshake of an incoming connection may take; the admission has its own time.
const HANDSHAKE_MS_MAX: u64 = 5_000;
/// How long one attempt to dial one address may take, admission included.
const DIAL_MS_MAX: u64 = 5_000;
/// How long an address has before the next one of the same peer is tried too.
const DIAL_STAGGER_MS: u64 = 250;
/// How long the lanes of an admitted connection may take to open.
const LANES_MS_MAX: u64 = 5_000;
/// How long a connection that is better replaced stays, so that the other end has its lanes open too.
const RETIRE_MS: u64 = 1_000;
/// How long a goodbye may take: everything queued is written, and the peer has read it and closed.
const LEAVE_MS_MAX: u64 = 500;
/// Connections that were established within this time of each other were dialled at the same time.
const SIMULTANEOUS_MS: u64 = 2 * DIAL_MS_MAX;
/// QUIC hides resets, so its silence must not last much longer than a suspicion does.
const QUIC_IDLE_MS_MAX: u32 = 8_000;
/// Keeps an idle QUIC connection alive, with room for a lost packet.
const QUIC_KEEP_ALIVE_MS: u64 = 2_500;
/// Two of the largest frames, so that one can be read while the next arrives.
const QUIC_STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// What a connection, admitted or not, may make us hold.
const QUIC_CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Substreams of one connection: three lanes, identify both ways, one request of Kademlia for each walk and for a bootstrap
/// in either direction, and some that are being closed. Yamux ends a connection that has more, and holds up to 256 KiB
/// for each, strangers' in the admission too: at 32 of those it is 192 MiB at worst.
const STREAMS_MAX: usize = 14 + 2 * (KAD_WALKS_MAX + 1);
/// How long a stranger keeps its place in the queue for admission when others wait behind it.
const ADMISSION_MS_SURE: u64 = 1_000;
/// Dials that wait for the swarm's task.
const COMMANDS_MAX: usize = 1_024;

/// What [`start`] needs to know.
pub struct NetworkConfig {
    /// The node's key, which is its identity on the wire too.
    pub keypair: Keypair,
    /// Where to listen. Port 0 asks for any free port, see [`free_port`] for one that both transports share.
    pub listen: Vec<Address>,
    /// What identify tells peers about this program, such as `chinwag/0.1.0`.
    pub agent: String,
    /// Who may connect.
    pub admission: Arc<dyn Admission>,
    /// What Kademlia serves to members.
    pub(crate) records: Records,
}

/// Why the network could not start. Nothing is left listening.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// An address could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: Address,
        /// What the operating system said; `AddrInUse` if somebody else has the port.
        source: std::io::Error,
    },
    /// The key, the TLS or the Noise configuration is unusable.
    #[error("cannot set up the transport: {0}")]
    Transport(String),
}

/// Why a frame was not taken. Nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no connection to the peer whose lanes are open.
    #[error("not connected")]
    NotConnected,
    /// The frame is longer than its lane allows, or empty.
    #[error("the frame is empty or longer than its lane allows")]
    Length,
    /// As many bulk frames as allowed wait for this peer already.
    #[error("too many bulk frames wait for this peer")]
    BulkFull,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The peer vanished without saying goodbye: its process died, or something between us cut the connection.
    Reset,
    /// The peer said goodbye.
    ClosedByPeer,
    /// We closed it, see [`Network::close`].
    ClosedByUs,
    /// Nothing came for too long.
    TimedOut,
    /// The peer started anew, and its new connection is already there; or a better connection had replaced this one, and
    /// was lost before it.
    Superseded,
    /// The peer broke the lanes' rules, in these words.
    Misbehaved(&'static str),
}

/// Why a dial failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialFailure {
    /// The operating system at the other end refused: nobody listens there.
    Refused,
    /// The connection was cut before it was one: the process is just dying, or has too many at its door.
    Reset,
    /// No answer in time.
    TimedOut,
    /// The peer answered, and one side did not admit the other.
    Denied(RefusalReason),
    /// Another node answered at these addresses.
    WrongPeer(NodeId),
    /// No address is left to try: all were our own, or there were none.
    NoAddress,
    /// Anything else, in words.
    Other(String),
}

/// What happened on the network.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// The complete list of addresses that we listen on, with their ports; `0.0.0.0` and `::` are expanded to
    /// the addresses of the interfaces. Told whenever it changes.
    Listening(Vec<Address>),
    /// The lanes to a peer are open, and frames will follow. Told once until [`Happening::Disconnected`].
    Connected {
        /// The peer.
        peer: NodeId,
        /// Its address as we see it: where we dialled, or where its connection comes from.
        address: Address,
        /// Whether we dialled.
        dialled: bool,
        /// What the peer's grant lets it do.
        role: Role,
        /// The grant that it showed.
        grant: Arc<Grant>,
    },
    /// The last connection to a peer is gone, and all frames that it brought have been given.
    Disconnected {
        /// The peer.
        peer: NodeId,
        /// Why.
        reason: DisconnectReason,
    },
    /// A dial failed on every address. The peer is not connected by other means either.
    DialFailed {
        /// The peer.
        peer: NodeId,
        /// The most telling of the failures.
        why: DialFailure,
    },
    /// A frame arrived.
    Frame {
        /// From whom.
        peer: NodeId,
        /// On which lane.
        lane: Lane,
        /// The frame, at most [`Lane::frame_bytes_max`] long and never empty.
        bytes: Vec<u8>,
    },
    /// We refused somebody who connected to us. Told as far as the inbox has room; [`Network::refusals`] counts all.
    Refused {
        /// Where it came from.
        address: Option<Address>,
        /// The key that it proved, if it came so far.
        peer: Option<NodeId>,
        /// Why.
        why: RefusalReason,
    },
}

/// The connected peers, as the handle finds them.
type Routes = Arc<Mutex<BTreeMap<NodeId, Arc<Peer>>>>;

/// The handle to a running network. Cheap to clone; only [`Network::shutdown`] waits. The network ends with the last handle.
#[derive(Clone)]
pub struct Network {
    routes: Routes,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

impl Network {
    /// Queues a frame for a peer. On the probe lane it replaces a waiting frame of the same `slot`; on the gossip lane
    /// the oldest waiting frames make room; the bulk lane refuses what is too much.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&self, peer: NodeId, lane: Lane, slot: u8, bytes: Vec<u8>) -> Result<(), SendError> {
        if bytes.is_empty() || bytes.len() > lane.frame_bytes_max() {
            return Err(SendError::Length);
        }
        let route = lock(&self.routes).get(&peer).cloned();
        route.ok_or(SendError::NotConnected)?.push(lane, slot, bytes)
    }

    /// Connects to `peer` at these addresses. Ends in one [`Happening::Connected`] or [`Happening::DialFailed`]; does
    /// nothing while the peer is connected or being dialled. False if too many dials wait.
    pub fn dial(&self, peer: NodeId, addresses: Vec<Address>) -> bool {
        self.commands.try_send(Command::Dial(peer, addresses)).is_ok()
    }

    /// Says goodbye to a peer and closes its connection once everything queued is written, or after half a second. Frames
    /// that are sent from now on are refused.
    pub fn close(&self, peer: NodeId) {
        let route = lock(&self.routes).get(&peer).cloned();
        if let Some(peer) = route {
            peer.leave();
        }
    }

    /// Looks for a blob by Kademlia's walk: here, then at the connected members that are nearest to it. `None` if none of
    /// those asked has it, or as many walks as allowed are under way. The bytes have the hash that was asked for.
    pub async fn find_blob(&self, hash: chinwag_dht::BlobHash) -> Option<Vec<u8>> {
        let (found, answer) = oneshot::channel();
        self.commands.try_send(Command::FindBlob(hash, found)).ok()?;
        answer.await.ok().flatten()
    }

    /// How often each reason has kept somebody out. Versions are counted together.
    pub fn refusals(&self) -> Vec<(RefusalReason, u64)> {
        self.shared.refusals()
    }

    /// What the other members' clocks said; it follows what comes, and outlives the network.
    pub fn clocks(&self) -> Clocks {
        self.shared.clocks.clone()
    }

    /// Says goodbye to every peer, stops listening and returns when all is closed, after a second or so at most. The
    /// inbox ends.
    pub async fn shutdown(self) {
        let (stopped, done) = oneshot::channel();
        if self.commands.send(Command::Shutdown(stopped)).await.is_ok() {
            let _gone = done.await;
        }
    }
}

/// Starts the network: when it returns, every listener is bound and told by the first
/// [`Happening::Listening`].
///
/// # Errors
/// See [`NetworkError`]; nothing is left running.
pub async fn start(config: NetworkConfig) -> Result<(Network, Inbox), NetworkError> {
    let (events, frames, inbox) = inbox::inbox();
    let routes = Routes::default();
    let shared = Shared::new(config.admission.clone(), rand::random(), &events);
    let task = Task::bind(&config, shared.clone(), routes.clone(), events, frames).await?;
    let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
    tokio::spawn(task.run(commands_out));
    Ok((Network { routes, shared, commands }, inbox))
}

/// A port of this address that is free for TCP and UDP alike at this moment.
///
/// # Errors
/// What the operating system said to the last of several tries.
pub fn free_port(ip: std::net::IpAddr) -> std::io::Result<u16> {
    const TRIES_MAX: usize = 64;
    let mut error = std::io::ErrorKind::AddrInUse.into();
    for _ in 0..TRIES_MAX {
        let port = std::net::TcpListener::bind((ip, 0))?.local_addr()?.port();
        match std::net::UdpSocket::bind((ip, port)) {
            Ok(_) => return Ok(port),
            Err(taken) => error = taken,
        }
    }
    Err(error)
}

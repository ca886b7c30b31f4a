//! The behaviour: which connections there are, which of a peer's is used, and what the driver is told of them.
//!
//! A peer is told as connected when the first of its connections has all its lanes open, and as disconnected when the
//! last such connection is gone. Of two connections that were dialled at the same time both ends keep the one
//! that the smaller id dialled; otherwise the newer one, because nobody dials a peer that it is connected to. The other
//! one *retires*: after a moment, in which the other end finishes opening the better one, it says goodbye and ends without
//! losing a frame. A peer whose process started anew (another `instance`) is told as disconnected and connected.

use super::address::{from_multiaddr, to_multiaddr, to_node, to_peer};
use super::connection::{Connection, Leaving, Peer, lock};
use super::dialling::{in_order, most_telling};
use super::door::{DoorError, Shared};
use super::exchange::Introduced;
use super::frame::is_timeout;
use super::handler::{CUT_SHORT, FromHandler, Handler};
use super::inbox::{FrameSenders, Told};
use super::{CONNECTIONS_INBOUND_MAX, Routes, SIMULTANEOUS_MS};
use super::{DialFailure, DisconnectReason, Happening};
use chinwag_base::limits::{ADDRESSES_MAX, CONNECTIONS_MAX, CONNECTIONS_PER_PEER_MAX};
use chinwag_base::{Address, NodeId};
use libp2p::core::Endpoint;
use libp2p::core::transport::{PortUse, TransportError};
use libp2p::swarm::behaviour::{ConnectionClosed, DialFailure as SwarmDialFailure, FromSwarm};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionError, ConnectionId, DialError, NetworkBehaviour,
    THandlerInEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// One established connection.
struct Link {
    id: ConnectionId,
    connection: Arc<Connection>,
    dialled: bool,
    address: Option<Address>,
    introduced: Introduced,
    established: Instant,
    /// All lanes are open.
    ready: bool,
}

/// All connections to one peer.
#[derive(Default)]
struct Links {
    all: Vec<Link>,
    /// The peer as the driver knows it, and the instance of its process; `None` if it is not told as connected.
    told: Option<(Arc<Peer>, u64)>,
    /// The connection that is written to.
    used: Option<ConnectionId>,
}

/// The behaviour.
pub(super) struct Lanes {
    me: NodeId,
    shared: Arc<Shared>,
    routes: Routes,
    inbox: FrameSenders,
    own: Vec<Address>,
    peers: BTreeMap<NodeId, Links>,
    /// Dials that wait for their answer, with the failure that was told first.
    dials: BTreeMap<NodeId, Option<DialFailure>>,
    actions: VecDeque<ToSwarm<Told, std::convert::Infallible>>,
    waker: Option<Waker>,
}

#[derive(Debug, thiserror::Error)]
enum Denied {
    #[error("too many connections")]
    TooMany,
    #[error("the peer was not introduced")]
    NotIntroduced,
}

impl Lanes {
    pub(super) fn new(me: NodeId, shared: Arc<Shared>, routes: Routes, inbox: FrameSenders) -> Self {
        Lanes {
            me,
            shared,
            routes,
            inbox,
            own: Vec::new(),
            peers: BTreeMap::new(),
            dials: BTreeMap::new(),
            actions: VecDeque::new(),
            waker: None,
        }
    }

    /// Where we listen, so that nobody dials it.
    pub(super) fn listening(&mut self, own: Vec<Address>) {
        self.own = own;
    }

    /// See [`Network::dial`](super::Network::dial).
    pub(super) fn dial(&mut self, peer: NodeId, addresses: &[Address]) {
        if self.peers.get(&peer).is_some_and(|links| links.told.is_some()) || self.dials.contains_key(&peer) {
            return;
        }
        let mut order = in_order(addresses, &self.own);
        order.truncate(ADDRESSES_MAX);
        let Some(peer_id) = to_peer(&peer).filter(|_| !order.is_empty() && peer != self.me) else {
            self.tell(Told::Plain(Happening::DialFailed { peer, why: DialFailure::NoAddress }));
            return;
        };
        self.dials.insert(peer, None);
        let order: Vec<Multiaddr> = order.iter().map(to_multiaddr).collect();
        self.shared.plans.announce(peer_id, &order);
        // A new local port each time: dialling from the listener's port meets a simultaneous dial of the other side in
        // one and the same TCP connection, with two diallers and no listener.
        let opts = DialOpts::peer_id(peer_id)
            .condition(PeerCondition::Always)
            .addresses(order)
            .allocate_new_port()
            .build();
        self.act(ToSwarm::Dial { opts });
    }

    fn act(&mut self, action: ToSwarm<Told, std::convert::Infallible>) {
        self.actions.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn tell(&mut self, told: Told) {
        self.act(ToSwarm::GenerateEvent(told));
    }

    fn close(&mut self, peer_id: PeerId, id: ConnectionId) {
        self.act(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) });
    }

    /// A connection that admission let through, before it is one.
    fn accept(
        &mut self,
        id: ConnectionId,
        peer_id: PeerId,
        dialled: bool,
        address: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        let introduced = self.shared.take(peer_id, dialled, address);
        let (Some(peer), Some(introduced)) = (to_node(&peer_id), introduced) else {
            return Err(ConnectionDenied::new(Denied::NotIntroduced));
        };
        let all: usize = self.peers.values().map(|links| links.all.len()).sum();
        let max = if dialled { CONNECTIONS_MAX } else { CONNECTIONS_INBOUND_MAX };
        let links = self.peers.entry(peer).or_default();
        if all >= max || links.all.len() >= CONNECTIONS_PER_PEER_MAX {
            return Err(ConnectionDenied::new(Denied::TooMany));
        }
        let connection = Connection::new();
        links.all.push(Link {
            id,
            connection: connection.clone(),
            dialled,
            address: from_multiaddr(address),
            introduced,
            established: Instant::now(),
            ready: false,
        });
        self.shared.connections.store(all + 1, Ordering::Relaxed);
        Ok(Handler::new(connection, self.inbox.clone(), dialled))
    }

    /// All lanes of a connection are open.
    fn ready(&mut self, peer_id: PeerId, id: ConnectionId) {
        let Some(peer) = to_node(&peer_id) else { return };
        let Some(links) = self.peers.get_mut(&peer) else { return };
        let Some(at) = links.all.iter().position(|link| link.id == id) else { return };
        links.all[at].ready = true;
        let instance = links.all[at].introduced.instance;
        let mut told = Vec::new();
        let mut dead = Vec::new();
        if let Some((old, _)) = links.told.take_if(|(_, known)| *known != instance) {
            // The old connections are to a process that is no more.
            dead.extend(
                links.all.iter().filter(|link| link.introduced.instance != instance).map(|link| link.id),
            );
            links.all.iter_mut().filter(|link| link.introduced.instance != instance).for_each(|link| {
                link.ready = false;
                link.connection.judge(DisconnectReason::Superseded);
            });
            links.used = None;
            let happening = Happening::Disconnected { peer, reason: DisconnectReason::Superseded };
            told.push(Told::Disconnected(old, happening));
        }
        let link = &links.all[at];
        let shared_peer = match &links.told {
            Some((shared_peer, _)) => shared_peer.clone(),
            None => {
                let shared_peer = Peer::new(peer);
                links.told = Some((shared_peer.clone(), instance));
                // An address of another kind cannot be: the transport has no other.
                if let Some(address) = link.address {
                    let Introduced { role, ref grant, .. } = link.introduced;
                    let grant = grant.clone();
                    let happening =
                        Happening::Connected { peer, address, dialled: link.dialled, role, grant };
                    told.push(Told::Connected(shared_peer.clone(), happening));
                }
                shared_peer
            }
        };
        link.connection.belong_to(shared_peer.clone());
        links.choose(self.me, peer);
        lock(&self.routes).insert(peer, shared_peer);
        self.dials.remove(&peer);
        told.into_iter().for_each(|told| self.tell(told));
        dead.into_iter().for_each(|id| self.close(peer_id, id));
    }

    fn closed(&mut self, peer_id: PeerId, id: ConnectionId, cause: Option<&ConnectionError>) {
        let Some(peer) = to_node(&peer_id) else { return };
        let Some(links) = self.peers.get_mut(&peer) else { return };
        let Some(at) = links.all.iter().position(|link| link.id == id) else { return };
        let link = links.all.remove(at);
        let reason = reason_of(&link, cause);
        tracing::debug!(peer = %peer, dialled = link.dialled, ?reason, "connection closed");
        links.choose(self.me, peer);
        if links.used.is_none()
            && let Some((shared_peer, _)) = links.told.take()
        {
            lock(&self.routes).remove(&peer);
            let happening = Happening::Disconnected { peer, reason: reason.clone() };
            self.tell(Told::Disconnected(shared_peer, happening));
        } else if link.dialled && !link.ready && self.dials.contains_key(&peer) {
            let words = format!("the connection ended before its lanes were open: {reason:?}");
            self.dials.insert(peer, Some(DialFailure::Other(words)));
            self.answer_dial(peer);
        }
        if self.peers.get(&peer).is_some_and(|links| links.all.is_empty()) {
            self.peers.remove(&peer);
        }
        let all = self.peers.values().map(|links| links.all.len()).sum();
        self.shared.connections.store(all, Ordering::Relaxed);
        // A dial that failed while this connection, dialled by the peer, was still opening.
        self.answer_dial(peer);
    }

    fn dial_failed(&mut self, peer_id: Option<PeerId>, error: &DialError) {
        let Some(peer) = peer_id.as_ref().and_then(to_node) else { return };
        if let Some(failure) = self.dials.get_mut(&peer) {
            *failure = Some(failure_of(error, &self.own));
            self.answer_dial(peer);
        }
    }

    /// Tells that a dial failed, unless the peer is about to be connected by its own dial.
    fn answer_dial(&mut self, peer: NodeId) {
        let opening = self.peers.get(&peer).is_some_and(|links| !links.all.is_empty());
        if !opening && let Some(Some(why)) = self.dials.get(&peer).cloned() {
            self.dials.remove(&peer);
            self.tell(Told::Plain(Happening::DialFailed { peer, why }));
        }
    }
}

impl Links {
    /// Chooses the connection that is used and retires the others.
    fn choose(&mut self, me: NodeId, peer: NodeId) {
        let better = |a: &&Link, b: &&Link| {
            let apart = a.established.abs_diff_(b.established);
            let by_smaller = |link: &Link| link.dialled == (me < peer);
            if apart < Duration::from_millis(SIMULTANEOUS_MS) && by_smaller(a) != by_smaller(b) {
                by_smaller(a).cmp(&by_smaller(b))
            } else {
                a.established.cmp(&b.established)
            }
        };
        let best = self.all.iter().filter(|link| link.ready).max_by(better);
        self.used = best.map(|link| link.id);
        let Some((shared_peer, _)) = &self.told else { return };
        let mut ready: Vec<&Link> = self.all.iter().filter(|link| link.ready).collect();
        ready.sort_by_key(|link| Some(link.id) != self.used);
        shared_peer.set_connections(ready.iter().map(|link| link.connection.clone()).collect());
        ready.iter().skip(1).for_each(|link| link.connection.leave(Leaving::Retired));
    }
}

/// The time between two instants, whichever is earlier.
trait Apart {
    fn abs_diff_(self, other: Self) -> Duration;
}

impl Apart for Instant {
    fn abs_diff_(self, other: Self) -> Duration {
        self.max(other).duration_since(self.min(other))
    }
}

/// Why a connection ended, from what its task and the transport say.
fn reason_of(link: &Link, cause: Option<&ConnectionError>) -> DisconnectReason {
    let by_transport = match cause {
        Some(ConnectionError::KeepAliveTimeout) => Some(DisconnectReason::TimedOut),
        Some(ConnectionError::IO(error)) if is_timeout(error) => Some(DisconnectReason::TimedOut),
        Some(ConnectionError::IO(_)) => Some(DisconnectReason::Reset),
        None => None,
    };
    match (link.connection.verdict(), by_transport) {
        // A frame that was cut short by the end of the whole connection is nobody's fault, and of a lane's end the
        // transport knows the reason better.
        (Some(DisconnectReason::Misbehaved(CUT_SHORT) | DisconnectReason::Reset) | None, Some(reason)) => {
            reason
        }
        (Some(reason), _) => reason,
        (None, None) => DisconnectReason::ClosedByUs,
    }
}

fn failure_of(error: &DialError, own: &[Address]) -> DialFailure {
    match error {
        DialError::Transport(failures) => {
            let failures: Vec<_> = failures
                .iter()
                .map(|(address, error)| (from_multiaddr(address), failure_of_transport(error)))
                .collect();
            most_telling(&failures, own)
        }
        DialError::WrongPeerId { obtained, .. } => {
            to_node(obtained).map_or_else(|| DialFailure::Other(error.to_string()), DialFailure::WrongPeer)
        }
        DialError::NoAddresses => DialFailure::NoAddress,
        other => DialFailure::Other(other.to_string()),
    }
}

fn failure_of_transport(error: &TransportError<io::Error>) -> DialFailure {
    match error {
        TransportError::Other(error) => {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<DoorError>()) {
                Some(DoorError::Failed(failure)) => failure.clone(),
                _ => DialFailure::Other(error.to_string()),
            }
        }
        TransportError::MultiaddrNotSupported(address) => {
            DialFailure::Other(format!("no transport for {address}"))
        }
    }
}

impl NetworkBehaviour for Lanes {
    type ConnectionHandler = Handler;
    type ToSwarm = Told;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        self.accept(id, peer, false, from)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        to: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        self.accept(id, peer, true, to)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, cause, .. }) => {
                self.closed(peer_id, connection_id, cause);
            }
            FromSwarm::DialFailure(SwarmDialFailure { peer_id, error, .. }) => {
                self.dial_failed(peer_id, error)
            }
            FromSwarm::ListenFailure(failure) => {
                tracing::debug!(from = %failure.send_back_addr, error = %failure.error, "no connection");
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer_id: PeerId, id: ConnectionId, event: FromHandler) {
        match event {
            FromHandler::Ready => self.ready(peer_id, id),
            FromHandler::Done => self.close(peer_id, id),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Told, THandlerInEvent<Self>>> {
        match self.actions.pop_front() {
            Some(action) => Poll::Ready(action),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

//! How many strangers stand at the open door, and how many are inside.
//!
//! A behaviour that speaks nothing and only counts: all connections, those still being encrypted, those of one peer and
//! those from one IP address. And it lets the swarm dial nobody: the door answers, it does not call.

use super::refusals::Reason;
use chinwag_base::limits::{
    DOOR_CONNECTIONS_MAX, DOOR_CONNECTIONS_PER_IP_MAX, DOOR_CONNECTIONS_PER_PEER_MAX, DOOR_PENDING_MAX,
};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionEstablished, FromSwarm};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

/// A connection that is not let in.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.0.name())]
pub(super) struct Crowded(pub(super) Reason);

/// The door asked for a dial, which it never does.
#[derive(Debug, thiserror::Error)]
#[error("the open door dials nobody")]
struct NoDials;

/// Counts connections.
#[derive(Default)]
pub(super) struct Threshold {
    pending: HashMap<ConnectionId, Option<IpAddr>>,
    inside: HashMap<ConnectionId, (PeerId, Option<IpAddr>)>,
}

impl Threshold {
    pub(super) fn inside(&self) -> usize {
        self.inside.len()
    }

    fn knock(&mut self, id: ConnectionId, ip: Option<IpAddr>) -> Result<(), Reason> {
        let from_there = |known: &&Option<IpAddr>| ip.is_some() && **known == ip;
        let of_ip =
            self.inside.values().map(|(_, ip)| ip).chain(self.pending.values()).filter(from_there).count();
        if self.inside.len() + self.pending.len() >= DOOR_CONNECTIONS_MAX {
            Err(Reason::Connections)
        } else if self.pending.len() >= DOOR_PENDING_MAX {
            Err(Reason::Pending)
        } else if of_ip >= DOOR_CONNECTIONS_PER_IP_MAX {
            Err(Reason::IpConnections)
        } else {
            self.pending.insert(id, ip);
            Ok(())
        }
    }

    fn enter(&mut self, id: ConnectionId, peer: PeerId) -> Result<(), Reason> {
        let ip = self.pending.remove(&id).flatten();
        if self.inside.values().filter(|(known, _)| *known == peer).count() >= DOOR_CONNECTIONS_PER_PEER_MAX {
            return Err(Reason::PeerConnections);
        }
        self.inside.insert(id, (peer, ip));
        Ok(())
    }

    fn gone(&mut self, id: ConnectionId) {
        self.pending.remove(&id);
        self.inside.remove(&id);
    }
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

fn denied(reason: Reason) -> ConnectionDenied {
    ConnectionDenied::new(Crowded(reason))
}

impl NetworkBehaviour for Threshold {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _local: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.knock(id, ip_of(from)).map_err(denied)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        _from: &Multiaddr,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        self.enter(id, peer).map(|()| dummy::ConnectionHandler).map_err(denied)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _id: ConnectionId,
        _peer: Option<PeerId>,
        _addresses: &[Multiaddr],
        _role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Err(ConnectionDenied::new(NoDials))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _id: ConnectionId,
        _peer: PeerId,
        _to: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        Err(ConnectionDenied::new(NoDials))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, .. }) => {
                self.pending.remove(&connection_id);
            }
            FromSwarm::ListenFailure(failure) => self.gone(failure.connection_id),
            FromSwarm::ConnectionClosed(closed) => self.gone(closed.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn ip(n: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, n]))
    }

    #[test]
    fn each_limit_holds_and_opens_again() {
        let mut threshold = Threshold::default();
        for n in 0..DOOR_PENDING_MAX {
            assert_eq!(threshold.knock(id(n), ip(n as u8)), Ok(()));
        }
        assert_eq!(threshold.knock(id(99), ip(99)), Err(Reason::Pending));
        threshold.gone(id(0));
        let (one, at) = (PeerId::random(), id(100));
        assert_eq!(threshold.knock(at, ip(100)), Ok(()));
        assert_eq!(threshold.enter(at, one), Ok(()));
        (1..DOOR_PENDING_MAX).for_each(|n| threshold.gone(id(n)));

        // One peer, then one address, then all.
        let mut enter =
            |n: usize, ip, peer| threshold.knock(id(n), ip).and_then(|()| threshold.enter(id(n), peer));
        for n in 1..DOOR_CONNECTIONS_PER_PEER_MAX {
            assert_eq!(enter(200 + n, ip(1), one), Ok(()));
        }
        assert_eq!(enter(300, ip(2), one), Err(Reason::PeerConnections));
        for n in 0..DOOR_CONNECTIONS_PER_IP_MAX {
            assert_eq!(enter(400 + n, ip(3), PeerId::random()), Ok(()));
        }
        assert_eq!(enter(500, ip(3), PeerId::random()), Err(Reason::IpConnections));
        let inside = DOOR_CONNECTIONS_PER_PEER_MAX + DOOR_CONNECTIONS_PER_IP_MAX;
        for n in inside..DOOR_CONNECTIONS_MAX {
            assert_eq!(enter(600 + n, ip(n as u8 + 10), PeerId::random()), Ok(()));
        }
        assert_eq!(enter(700, ip(200), PeerId::random()), Err(Reason::Connections));
        threshold.gone(at);
        assert_eq!(threshold.knock(id(700), ip(200)), Ok(()));
    }
}

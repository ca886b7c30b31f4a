//! Between our addresses and libp2p's.

use chinwag_base::address::Transport;
use chinwag_base::{Address, NodeId};
use libp2p::identity::{PublicKey, ed25519};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use std::net::{IpAddr, SocketAddr};

/// The multiaddr of `address`.
pub(crate) fn to_multiaddr(address: &Address) -> Multiaddr {
    let ip = match address.socket.ip() {
        IpAddr::V4(ip) => Protocol::Ip4(ip),
        IpAddr::V6(ip) => Protocol::Ip6(ip),
    };
    let port = address.socket.port();
    let base = Multiaddr::empty().with(ip);
    match address.transport {
        Transport::Tcp => base.with(Protocol::Tcp(port)),
        Transport::Quic => base.with(Protocol::Udp(port)).with(Protocol::QuicV1),
    }
}

/// The address that a multiaddr names, whatever stands behind it (`/p2p/…`). `None` if it is of another kind.
pub(crate) fn from_multiaddr(multiaddr: &Multiaddr) -> Option<Address> {
    let mut parts = multiaddr.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match (parts.next()?, parts.next()) {
        (Protocol::Tcp(port), None | Some(Protocol::P2p(_))) => {
            Some(Address::new(Transport::Tcp, SocketAddr::new(ip, port)))
        }
        (Protocol::Udp(port), Some(Protocol::QuicV1)) => {
            Some(Address::new(Transport::Quic, SocketAddr::new(ip, port)))
        }
        _ => None,
    }
}

/// The peer that a multiaddr names at its end.
pub(super) fn peer_of(multiaddr: &Multiaddr) -> Option<PeerId> {
    match multiaddr.iter().last()? {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}

/// The multiaddr without the peer at its end.
pub(super) fn without_peer(multiaddr: &Multiaddr) -> Multiaddr {
    multiaddr.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

/// The node whose key a peer id holds. `None` if it is not an Ed25519 key: such a peer is no node.
pub(crate) fn to_node(peer: &PeerId) -> Option<NodeId> {
    let multihash = peer.as_ref();
    let key = PublicKey::try_decode_protobuf(multihash.digest()).ok()?;
    Some(NodeId::from_bytes(key.try_into_ed25519().ok()?.to_bytes()))
}

/// libp2p's id of a node. `None` if the node's bytes are no key at all.
pub(crate) fn to_peer(node: &NodeId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(node.as_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_base::Keypair;

    #[test]
    fn addresses_and_ids_survive_the_way_to_libp2p_and_back() {
        for text in ["/ip4/127.0.0.1/tcp/7171", "/ip6/::1/udp/7171/quic-v1", "/ip4/10.0.0.1/udp/1/quic-v1"] {
            let address: Address = text.parse().unwrap();
            let multiaddr = to_multiaddr(&address);
            assert_eq!(multiaddr.to_string(), text);
            assert_eq!(from_multiaddr(&multiaddr), Some(address));
            let peer = to_peer(&Keypair::from_secret([3; 32]).id()).unwrap();
            let with = multiaddr.clone().with(Protocol::P2p(peer));
            assert_eq!(from_multiaddr(&with), Some(address));
            assert_eq!(peer_of(&with), Some(peer));
            assert_eq!(without_peer(&with), multiaddr);
        }
        assert_eq!(from_multiaddr(&"/ip4/1.2.3.4/tcp/1/ws".parse().unwrap()), None);
        let node = Keypair::from_secret([7; 32]).id();
        let peer = to_peer(&node).unwrap();
        assert_eq!(peer.to_string(), node.to_string());
        assert_eq!(to_node(&peer), Some(node));
    }
}

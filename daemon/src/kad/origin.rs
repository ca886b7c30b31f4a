//! Where a guest comes from, as far as its share of the room goes.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or the 64 bits of an IPv6 address that name a network: the rest of it costs its owner nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Origin {
    pub(super) fn of(address: &Multiaddr) -> Option<Self> {
        match address.iter().next()? {
            Protocol::Ip4(ip) => Some(Origin::of_ip(ip.into())),
            Protocol::Ip6(ip) => Some(Origin::of_ip(ip.into())),
            _ => None,
        }
    }

    fn of_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Origin::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let network = ip.to_bits() & !u128::from(u64::MAX);
                let octets = Ipv6Addr::from_bits(network).octets();
                Origin::V6(*octets.first_chunk().expect("8 of 16 bytes, because an IPv6 address has so many"))
            }
        }
    }

    /// Its bytes, as a row of the disk keeps them: 4 or 8.
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Origin::V4(bytes) => bytes,
            Origin::V6(bytes) => bytes,
        }
    }

    /// Reads [`Origin::as_bytes`].
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            4 => bytes.first_chunk().copied().map(Origin::V4),
            8 => bytes.first_chunk().copied().map(Origin::V6),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Option<Origin> {
        Origin::of(&address.parse().unwrap())
    }

    #[test]
    fn a_network_is_one_origin_however_it_is_written() {
        assert_eq!(of("/ip6/2001:db8::1/tcp/1"), of("/ip6/2001:db8::ffff:2/udp/9/quic-v1"));
        assert_ne!(of("/ip6/2001:db8::1/tcp/1"), of("/ip6/2001:db8:0:1::1/tcp/1"));
        assert_eq!(of("/ip4/10.0.0.1/tcp/1"), of("/ip6/::ffff:10.0.0.1/tcp/2"));
        assert_ne!(of("/ip4/10.0.0.1/tcp/1"), of("/ip4/10.0.0.2/tcp/1"));
        assert_eq!(of("/dns4/example.org/tcp/1"), None);
        for origin in [of("/ip4/10.0.0.1/tcp/1").unwrap(), of("/ip6/2001:db8::1/tcp/1").unwrap()] {
            assert_eq!(Origin::from_bytes(origin.as_bytes()), Some(origin));
        }
        assert_eq!(Origin::from_bytes(b"12345"), None);
    }
}

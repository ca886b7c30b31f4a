//! Where a node can be reached, as the cores carry it: the text of a multiaddr, bounded.

use crate::limits::ADDRESS_BYTES_MAX;
use core::net::{IpAddr, SocketAddr};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an address: expected /ip4/A/tcp/PORT or /ip4/A/udp/PORT/quic-v1 (or /ip6/…)")]
pub struct AddressError;

/// How bytes travel to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// TCP with Noise and Yamux.
    Tcp,
    /// QUIC version 1 over UDP.
    Quic,
}

/// An address of a daemon: an IP socket address and a transport. It prints as a multiaddr.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The transport.
    pub transport: Transport,
    /// The IP address and port.
    pub socket: SocketAddr,
}

impl Address {
    /// The address of `socket` over `transport`.
    pub const fn new(transport: Transport, socket: SocketAddr) -> Self {
        Address { transport, socket }
    }

    /// Whether it means nothing on another machine, nor on this one without saying by which interface: IPv6 link-local
    /// addresses carry no interface here.
    pub fn is_link_local(&self) -> bool {
        match self.socket.ip() {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
    }

    /// Whether it names this machine only.
    pub fn is_loopback(&self) -> bool {
        self.socket.ip().is_loopback()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket.ip() {
            IpAddr::V4(ip) => write!(f, "/ip4/{ip}")?,
            IpAddr::V6(ip) => write!(f, "/ip6/{ip}")?,
        }
        match self.transport {
            Transport::Tcp => write!(f, "/tcp/{}", self.socket.port()),
            Transport::Quic => write!(f, "/udp/{}/quic-v1", self.socket.port()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(s: &str) -> Result<Self, AddressError> {
        if s.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError);
        }
        let mut parts = s.split('/');
        let mut next = || parts.next().ok_or(AddressError);
        if !next()?.is_empty() {
            return Err(AddressError);
        }
        let family = next()?;
        let ip: IpAddr = next()?.parse().map_err(|_| AddressError)?;
        if family != if ip.is_ipv4() { "ip4" } else { "ip6" } {
            return Err(AddressError);
        }
        let protocol = next()?;
        let port: u16 = next()?.parse().map_err(|_| AddressError)?;
        let transport = match (protocol, parts.next()) {
            ("tcp", None) => Transport::Tcp,
            ("udp", Some("quic-v1")) => Transport::Quic,
            _ => return Err(AddressError),
        };
        if parts.next().is_some() {
            return Err(AddressError);
        }
        Ok(Address { transport, socket: SocketAddr::new(ip, port) })
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { (self.transport, self.socket).serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
        } else {
            <(Transport, SocketAddr)>::deserialize(d).map(|(transport, socket)| Address { transport, socket })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_multiaddrs() {
        for good in ["/ip4/127.0.0.1/tcp/7171", "/ip6/::1/udp/7171/quic-v1", "/ip4/10.0.0.1/udp/1/quic-v1"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "/",
            "127.0.0.1:1",
            "/ip6/1.2.3.4/tcp/1",
            "/ip4/1.2.3.4/tcp/70000",
            "/ip4/1.2.3.4/tcp/1/ws",
            "/dns/x/tcp/1",
        ] {
            assert_eq!(bad.parse::<Address>(), Err(AddressError), "{bad}");
        }
    }
}

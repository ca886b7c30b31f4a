//! A link: one of our addresses, and a multicast socket on the interface that has it.
//!
//! The socket is bound to the group's address, not to every address: it then gets multicasts alone and never takes a
//! unicast answer from another program of this machine that speaks mDNS (avahi, systemd-resolved), with which it shares
//! the port. Multicasts of these groups are not forwarded by routers, so what is heard comes from this very network.

use chinwag_base::Address;
use chinwag_base::limits::LAN_LINKS_MAX;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use tokio::net::UdpSocket;
use tokio::time::Instant;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const PORT: u16 = 5353;
/// What RFC 6762, section 11, asks for: whoever wants can see that it came from no further away.
const HOPS: u32 = 255;
/// Where Linux tells which interface has an IPv6 address. Under `self`, because a service may see its own process alone.
const INTERFACES_V6: &str = "/proc/self/net/if_inet6";

/// An address on which members are looked for.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ip: IpAddr,
    /// What we announce here: where we listen on this very address.
    pub(super) addresses: Vec<Address>,
    pub(super) socket: UdpSocket,
    group: SocketAddr,
    /// When an answer is due, if one is.
    pub(super) answer_at: Option<Instant>,
    pub(super) answered: Option<Instant>,
    /// Unasked announcements that are still to come.
    pub(super) unasked: u32,
    pub(super) is_broken: bool,
}

impl Link {
    /// Joins the group on the interface that has `ip`.
    pub(super) fn open(ip: IpAddr, addresses: Vec<Address>) -> io::Result<Self> {
        let (socket, group) = match ip {
            IpAddr::V4(ip) => open_v4(ip)?,
            IpAddr::V6(ip) => open_v6(ip)?,
        };
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Link {
            ip,
            addresses,
            socket,
            group,
            answer_at: None,
            answered: None,
            unasked: 0,
            is_broken: false,
        })
    }

    /// Sends without waiting: what does not fit into the socket's buffer is lost, as any datagram may be.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        match self.socket.try_send_to(packet, self.group) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether somebody at `from` may announce these addresses: over IPv4 a member sends from the address that it announces,
    /// so nobody can send us to a third machine. Over IPv6 it sends from its link-local address.
    pub(super) fn believes(&self, from: SocketAddr, address: &Address) -> bool {
        match self.ip {
            IpAddr::V4(_) => address.socket.ip() == from.ip(),
            IpAddr::V6(_) => address.socket.is_ipv6(),
        }
    }
}

fn open_v4(ip: Ipv4Addr) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    share_port(&socket)?;
    let group = SocketAddrV4::new(GROUP_V4, PORT);
    socket.bind(&group.into())?;
    // Otherwise it would hear what other sockets of this machine have joined on other interfaces.
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    socket.join_multicast_v4(&GROUP_V4, &ip)?;
    socket.set_multicast_if_v4(&ip)?;
    socket.set_multicast_ttl_v4(HOPS)?;
    // Another daemon of this machine may be in another container, or another user's.
    socket.set_multicast_loop_v4(true)?;
    Ok((socket, group.into()))
}

fn open_v6(ip: Ipv6Addr) -> io::Result<(Socket, SocketAddr)> {
    let interface = interface_of(ip, &std::fs::read_to_string(INTERFACES_V6)?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "no interface has this address"))?;
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    share_port(&socket)?;
    let group = SocketAddrV6::new(GROUP_V6, PORT, 0, interface);
    socket.bind(&SockAddr::from(group))?;
    socket.join_multicast_v6(&GROUP_V6, interface)?;
    socket.set_multicast_if_v6(interface)?;
    socket.set_multicast_hops_v6(HOPS)?;
    socket.set_multicast_loop_v6(true)?;
    Ok((socket, group.into()))
}

fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    // Linux gives a multicast to every socket that shares the address; the BSDs want this word for it.
    #[cfg(not(target_os = "linux"))]
    socket.set_reuse_port(true)?;
    Ok(())
}

/// The number of the interface that has `ip`: lines of address, number, prefix, scope, flags and name.
fn interface_of(ip: Ipv6Addr, lines: &str) -> Option<u32> {
    let wanted = format!("{:032x}", u128::from(ip));
    lines.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let found = words.next()? == wanted;
        let number = u32::from_str_radix(words.next()?, 16).ok()?;
        found.then_some(number)
    })
}

/// Our addresses by the IP address that they share, without those that mean nothing to another machine. Nothing here: we
/// are on no network.
pub(super) fn by_ip(addresses: &[Address]) -> BTreeMap<IpAddr, Vec<Address>> {
    let mut links: BTreeMap<IpAddr, Vec<Address>> = BTreeMap::new();
    for address in addresses.iter().filter(|a| !a.is_loopback() && !a.is_link_local()) {
        let ip = address.socket.ip();
        if !ip.is_unspecified() && (links.len() < LAN_LINKS_MAX || links.contains_key(&ip)) {
            links.entry(ip).or_default().push(*address);
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_the_addresses_that_others_can_use() {
        let addresses: Vec<Address> = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/10.0.0.1/udp/1/quic-v1",
            "/ip6/::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
        ]
        .map(|a| a.parse().unwrap())
        .to_vec();
        let links = by_ip(&addresses);
        assert_eq!(links.keys().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1", "fd00::1"]);
        assert_eq!(links[&IpAddr::from([10, 0, 0, 1])], addresses[1..3]);
        assert!(by_ip(&addresses[..1]).is_empty(), "loopback alone is silent");
        let many: Vec<Address> =
            (0..=255).map(|n| format!("/ip4/10.0.0.{n}/tcp/1").parse().unwrap()).collect();
        assert_eq!(by_ip(&many).len(), LAN_LINKS_MAX);
    }

    #[test]
    fn the_interface_of_an_address_is_read_from_the_systems_table() {
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fd000000000000000000000000000001 1f 40 00 80     eth0\n";
        assert_eq!(interface_of("fd00::1".parse().unwrap(), table), Some(31));
        assert_eq!(interface_of("::1".parse().unwrap(), table), Some(1));
        assert_eq!(interface_of("fd00::2".parse().unwrap(), table), None);
        assert_eq!(interface_of("fd00::1".parse().unwrap(), "fd000000000000000000000000000001 zz\n"), None);
    }
}

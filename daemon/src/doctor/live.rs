//! A running daemon: its listeners, its connections, its network, its clock.

use super::{quic, span};
use crate::clock;
use crate::daemon::Shared;
use crate::discovery::{Lan, LanLink};
use crate::driver::UNPOISONED;
use crate::gauges::{Connected, Gauges};
use crate::network::Difference;
use chinwag_api::{Failure, Finding, Verdict};
use chinwag_base::address::Transport;
use chinwag_base::limits::{ADDRESSES_MAX, CLOCK_AHEAD_MS_MAX, EXPIRY_TOLERANCE_MS};
use chinwag_base::{Address, NodeId};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Members whose UDP port is tried: enough to tell a firewall here from one there.
const ASKED_MAX: usize = 8;
/// How long ago who is on the local network was heard at the latest: members ask every five minutes, and one may be missed.
const HEARD_WITHIN: Duration = Duration::from_secs(660);
/// Peers that one finding names.
const NAMED_MAX: usize = 3;
/// How long this machine may take to connect to itself.
const CONNECT_WITHIN: Duration = Duration::from_millis(700);

/// What the checks take from the node, in one look.
struct Other {
    id: NodeId,
    name: String,
    is_present: bool,
    addresses: Vec<Address>,
}

/// Examines a daemon from within.
///
/// # Errors
/// Only if the daemon is stopping or overwhelmed.
pub(crate) async fn examine(shared: &Shared) -> Result<Vec<Finding>, Failure> {
    let engine = shared.running().await?;
    let gauges = engine.gauges();
    let mut findings = storage(&gauges);
    if engine.papers.is_none() {
        findings
            .push(Finding::unknown("listen", "without an overlay a daemon listens nowhere and meets nobody"));
        return Ok(findings);
    }
    let others = engine.look(|node, _, now| {
        let me = node.membership().me();
        let others = node.membership().members(now).filter(|member| member.id != me);
        others
            .map(|m| Other {
                id: m.id,
                name: m.name.to_string(),
                is_present: m.state.is_present(),
                addresses: m.addresses,
            })
            .collect::<Vec<_>>()
    });
    let others = others.await?;
    let addresses = shared.addresses();
    let names: BTreeMap<NodeId, String> = others.iter().map(|other| (other.id, other.name.clone())).collect();
    let (listen, udp) = tokio::join!(listeners(&addresses), udp(&others, &gauges));
    findings.extend(listen);
    findings.push(reached(&addresses, &gauges, &names));
    findings.push(members(&others, &gauges));
    findings.extend(udp);
    let mut lan = shared.lan.lock().expect(UNPOISONED).clone();
    let now = clock::now();
    lan.in_vain
        .retain(|(peer, heard)| !gauges.connections.contains_key(peer) && now.since(*heard) < HEARD_WITHIN);
    findings.extend(multicast(shared.config.mdns, &lan));
    let clocks = engine.clocks.differences(clock::now(), clock::wall());
    let named = clocks
        .into_iter()
        .map(|(id, difference)| (names.get(&id).cloned().unwrap_or_else(|| id.short()), difference));
    findings.push(clocks_differ(&named.collect::<Vec<_>>()));
    Ok(findings)
}

fn storage(gauges: &Gauges) -> Vec<Finding> {
    let refused = |why: &String| {
        Finding::bad(
            "storage",
            format!("writes are refused: {why}"),
            "make room on the disk; it goes on by itself",
        )
    };
    gauges.storage_fault.iter().map(refused).collect()
}

/// Whether the listeners take connections, seen from this machine.
async fn listeners(addresses: &[Address]) -> Vec<Finding> {
    if addresses.is_empty() {
        let message = "it belongs to an overlay and listens nowhere: its sockets are not open yet, or no interface is up";
        return vec![Finding::bad(
            "listen",
            message,
            "chinwag status, in a moment; then the log of the daemon",
        )];
    }
    let tried =
        join_all(addresses.iter().take(ADDRESSES_MAX).map(async |address| (address, takes(address).await)))
            .await;
    let deaf: Vec<String> = tried.iter().filter(|(_, takes)| !takes).map(|(a, _)| a.to_string()).collect();
    // Both transports share a port.
    let sockets: BTreeSet<SocketAddr> = tried.iter().map(|(address, _)| address.socket).collect();
    let sockets: Vec<String> = sockets.iter().map(ToString::to_string).collect();
    vec![match deaf.is_empty() {
        true => Finding::good("listen", format!("{} answer on this machine", sockets.join(", "))),
        false => Finding::bad(
            "listen",
            format!("{} take no connections, not even from this machine", deaf.join(", ")),
            "look for a packet filter on this machine that drops them",
        ),
    }]
}

async fn takes(address: &Address) -> bool {
    match address.transport {
        Transport::Tcp => {
            matches!(timeout(CONNECT_WITHIN, TcpStream::connect(address.socket)).await, Ok(Ok(_)))
        }
        Transport::Quic => matches!(quic::ask(address.socket).await, Ok(Some(_))),
    }
}

/// Whether others have come in by themselves: the one proof that the port can be reached from elsewhere.
fn reached(addresses: &[Address], gauges: &Gauges, names: &BTreeMap<NodeId, String>) -> Finding {
    let here = |ip: IpAddr| ip.is_loopback() || addresses.iter().any(|own| own.socket.ip() == ip);
    let inbound = gauges.connections.iter().find(|(_, c)| !c.dialled && !here(c.address.socket.ip()));
    if let Some((id, connected)) = inbound {
        let name = names.get(id).cloned().unwrap_or_else(|| id.short());
        return Finding::good(
            "port",
            format!("{name} has connected to it from {}", connected.address.socket.ip()),
        );
    }
    if addresses.iter().all(Address::is_loopback) {
        return Finding::unknown("port", "it listens on loopback only, where no other machine can reach it");
    }
    let message =
        "nobody from another machine has connected to it lately, so whether they could is not known";
    Finding::unknown("port", message).hint("chinwag doctor on another member, when this one is down there")
}

fn members(others: &[Other], gauges: &Gauges) -> Finding {
    if others.is_empty() {
        return Finding::unknown("members", "there is no other member yet").hint("chinwag invite");
    }
    let connections = &gauges.connections;
    if connections.is_empty() {
        let message = format!("none of {} other members is connected", others.len());
        return Finding::warning(
            "members",
            message,
            "chinwag members, to see where they were; is their machine up?",
        );
    }
    let over = |transport| connections.values().filter(|c| c.address.transport == transport).count();
    let (tcp, quic) = (over(Transport::Tcp), over(Transport::Quic));
    let absent: Vec<&str> = others.iter().filter(|o| !o.is_present).map(|o| o.name.as_str()).collect();
    let absent =
        if absent.is_empty() { String::new() } else { format!("; down or gone: {}", absent.join(", ")) };
    Finding::good(
        "members",
        format!("{} connected, {tcp} by TCP and {quic} by QUIC{absent}", connections.len()),
    )
}

/// Whether UDP gets through to connected members.
async fn udp(others: &[Other], gauges: &Gauges) -> Vec<Finding> {
    let asked: Vec<(&Other, Connected, SocketAddr)> = others
        .iter()
        .filter_map(|other| {
            let connected = *gauges.connections.get(&other.id)?;
            Some((other, connected, quic_port(other, &connected)?))
        })
        .take(ASKED_MAX)
        .collect();
    if asked.is_empty() {
        return vec![Finding::unknown(
            "udp",
            "no connected member listens on QUIC, so UDP could not be tried",
        )];
    }
    let answers = join_all(asked.iter().map(|(_, _, to)| quic::ask(*to))).await;
    let mut through = Vec::new();
    let mut findings = Vec::new();
    for ((other, connected, to), answer) in asked.iter().zip(answers) {
        let name = &other.name;
        let why = match answer {
            Ok(Some(took)) => {
                through.push((name.as_str(), took));
                continue;
            }
            Ok(None) => "does not answer".to_owned(),
            Err(error) => format!("cannot be sent to ({error})"),
        };
        let how = if connected.address.transport == Transport::Tcp { "TCP" } else { "QUIC" };
        findings.push(Finding::warning(
            "udp",
            format!("{name} {why} over UDP at {to}, and is connected by {how}"),
            format!("let UDP port {} through the packet filters of both machines", to.port()),
        ));
    }
    if let Some((_, slowest)) = through.iter().max_by_key(|(_, took)| *took) {
        let names = through.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        findings.insert(
            0,
            Finding::good("udp", format!("gets through to {names} and back within {}", span(*slowest))),
        );
    }
    findings
}

/// The member's QUIC address on the network on which it is connected, or else any.
fn quic_port(other: &Other, connected: &Connected) -> Option<SocketAddr> {
    let quic = || other.addresses.iter().filter(|a| a.transport == Transport::Quic && !a.is_link_local());
    let same = quic().find(|a| a.socket.ip() == connected.address.socket.ip());
    let elsewhere = || quic().find(|a| a.is_loopback() == connected.address.is_loopback());
    same.or_else(elsewhere).map(|address| address.socket)
}

fn multicast(wanted: bool, lan: &Lan) -> Vec<Finding> {
    if !wanted {
        return vec![Finding::unknown(
            "multicast",
            "turned off, so no members are looked for on the local network",
        )];
    }
    if lan.service.is_none() {
        let message = "not used: it listens on loopback only, or no interface has an address";
        return vec![Finding::unknown("multicast", message)];
    }
    let mut findings: Vec<Finding> = lan.links.iter().map(multicast_on).collect();
    if !lan.in_vain.is_empty() {
        let peers: Vec<String> = lan.in_vain.iter().take(NAMED_MAX).map(|(peer, _)| peer.short()).collect();
        let message = format!(
            "on the local network as members, and not connected after several dials: {} in all, {}",
            lan.in_vain.len(),
            peers.join(", ")
        );
        findings.push(Finding::warning(
            "multicast",
            message,
            "chinwag doctor there; chinwagd --log chinwag=debug shows here what comes of each dial",
        ));
    }
    findings
}

fn multicast_on(link: &LanLink) -> Finding {
    let LanLink { ip, sent, own, others, fault } = link;
    let route = match ip {
        IpAddr::V4(_) => "ip route add 224.0.0.0/4 dev INTERFACE, or --no-mdns",
        IpAddr::V6(_) => "ip -6 route add ff00::/8 dev INTERFACE table local, or --no-mdns",
    };
    if let Some(why) = fault {
        return Finding::warning("multicast", format!("not possible on {ip}: {why}"), route);
    }
    if *sent > 0 && *own == 0 {
        let message = format!("{sent} packets were sent on {ip}, and none came back");
        return Finding::warning(
            "multicast",
            message,
            "let UDP port 5353 through this machine's packet filter, or --no-mdns",
        );
    }
    match others {
        0 => Finding::new(
            "multicast",
            Verdict::Good,
            format!("works on {ip}; no other member was heard there"),
        ),
        _ => Finding::good(
            "multicast",
            format!("works on {ip}; {others} announcements of other members were heard"),
        ),
    }
}

/// Judges what other members' clocks said when they were met. It sees no drift since then, unless it was this clock that
/// was set.
fn clocks_differ(readings: &[(String, Difference)]) -> Finding {
    let set = "timedatectl set-ntp true, or chrony, on the machine that is wrong";
    if readings.is_empty() {
        return Finding::unknown("clock", "no other member was met, so there is no clock to compare with");
    }
    let certain = |d: &Difference| d.ahead_ms.unsigned_abs().saturating_sub(d.error_ms.unwrap_or(0));
    let (off, near): (Vec<_>, Vec<_>) = readings.iter().partition(|(_, d)| certain(d) > CLOCK_AHEAD_MS_MAX);
    let oldest = readings.iter().map(|(_, d)| d.age).max().unwrap_or_default();
    let Some((name, worst)) = off.iter().max_by_key(|(_, d)| certain(d)) else {
        let most = readings.iter().map(|(_, d)| d.ahead_ms.unsigned_abs()).max().unwrap_or(0);
        let of =
            if readings.len() == 1 { readings[0].0.clone() } else { format!("{} members", readings.len()) };
        let message =
            format!("within {most} ms of {of}, as measured when they were met, up to {} ago", span(oldest));
        return Finding::good("clock", message);
    };
    let by = span(Duration::from_millis(worst.ahead_ms.unsigned_abs()));
    let theirs = if worst.ahead_ms > 0 { "ahead of" } else { "behind" };
    let ours = if worst.ahead_ms > 0 { "behind" } else { "ahead of" };
    let message = match (off.len(), near.len()) {
        (1, 0) => format!(
            "{name}'s clock is {by} {theirs} this one; which of the two is right cannot be seen from here"
        ),
        (n, 0) => {
            format!("this clock is {by} {ours} {name}'s, and differs from all {n} members that were met")
        }
        (1, 1) => format!("{name}'s clock is {by} {theirs} this one, with which one other agrees"),
        (1, agree) => format!("{name}'s clock is {by} {theirs} this one, with which {agree} others agree"),
        (n, agree) => {
            format!("{n} members' clocks differ from this one ({name}'s is {by} {theirs} it), {agree} do not")
        }
    };
    let verdict = if certain(worst) > EXPIRY_TOLERANCE_MS { Verdict::Bad } else { Verdict::Warning };
    Finding::new("clock", verdict, message).hint(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_base::Moment;

    fn reading(name: &str, ahead_ms: i64, error_ms: Option<u64>) -> (String, Difference) {
        (name.into(), Difference { ahead_ms, error_ms, age: Duration::from_secs(60) })
    }

    #[test]
    fn clocks_are_judged_by_what_is_certain() {
        let judge = |readings: &[(String, Difference)]| {
            let finding = clocks_differ(readings);
            assert_eq!(finding.verdict.needs_action(), !finding.tries.is_empty(), "{finding:?}");
            (finding.verdict, finding.message)
        };
        assert_eq!(judge(&[]).0, Verdict::Unknown);
        assert_eq!(judge(&[reading("beta", -120, Some(3))]).0, Verdict::Good);
        let slow_link = [reading("beta", 900, Some(600))];
        assert_eq!(judge(&slow_link).0, Verdict::Good, "the measurement may be as wrong as that");
        let (verdict, message) = judge(&[reading("beta", 7_200_000, Some(3))]);
        assert_eq!(verdict, Verdict::Bad);
        assert!(message.contains("beta's clock is 2 hours ahead of this one; which of the two"), "{message}");
        let (verdict, message) = judge(&[reading("beta", -2_000, None), reading("gamma", 3, Some(1))]);
        assert_eq!(verdict, Verdict::Warning);
        assert!(
            message.contains("beta's clock is 2.0 s behind this one, with which one other agrees"),
            "{message}"
        );
        let (_, message) = judge(&[reading("beta", -2_000, None), reading("gamma", -2_100, Some(1))]);
        assert!(
            message.contains("this clock is 2.1 s ahead of gamma's, and differs from all 2"),
            "{message}"
        );
        let absurd = [reading("beta", i64::MIN, Some(0)), reading("gamma", i64::MAX, None)];
        assert_eq!(judge(&absurd).0, Verdict::Bad);
    }

    #[test]
    fn multicast_is_judged_by_what_comes_back() {
        let link = |sent, own, others, fault: Option<&str>| LanLink {
            ip: IpAddr::from([10, 0, 0, 1]),
            sent,
            own,
            others,
            fault: fault.map(Into::into),
        };
        let lan = |links| Lan { service: Some("s".into()), links, in_vain: Vec::new() };
        let verdicts = |wanted, lan: &Lan| {
            let findings = multicast(wanted, lan);
            assert!(findings.iter().all(|f| f.verdict.needs_action() != f.tries.is_empty()), "{findings:?}");
            findings.iter().map(|f| f.verdict).collect::<Vec<_>>()
        };
        let all = lan(vec![
            link(3, 2, 0, None),
            link(3, 0, 0, None),
            link(0, 0, 0, Some("no route")),
            link(0, 0, 0, None),
        ]);
        assert_eq!(verdicts(true, &all), [Verdict::Good, Verdict::Warning, Verdict::Warning, Verdict::Good]);
        assert_eq!(verdicts(false, &all), [Verdict::Unknown]);
        assert_eq!(verdicts(true, &Lan::default()), [Verdict::Unknown]);
        let crowd = Lan {
            in_vain: vec![(NodeId::from_bytes([3; 32]), Moment::from_millis(0))],
            ..lan(vec![link(1, 1, 5, None)])
        };
        assert_eq!(verdicts(true, &crowd), [Verdict::Good, Verdict::Warning]);
    }

    #[tokio::test]
    async fn a_listener_that_takes_nothing_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::new(Transport::Tcp, listener.local_addr().unwrap());
        assert_eq!(listeners(&[address]).await[0].verdict, Verdict::Good);
        drop(listener);
        let found = listeners(&[address, Address::new(Transport::Quic, address.socket)]).await;
        assert_eq!(found[0].verdict, Verdict::Bad);
        assert!(found[0].message.contains("quic-v1") && found[0].message.contains("/tcp/"), "{found:?}");
        assert_eq!(listeners(&[]).await[0].verdict, Verdict::Bad);
    }
}

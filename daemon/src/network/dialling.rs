//! In which order the addresses of a peer are tried.
//!
//! TCP first between addresses of one machine or one LAN, because it shows refusals and resets at once, which QUIC
//! hides; QUIC first elsewhere. Each next address starts when all earlier ones have failed, or a quarter of a second
//! after the one before it (Happy Eyeballs, RFC 8305), and the first connection wins. Where TCP was refused or
//! cut off, nobody waits for QUIC at the same IP address: the process is gone, or has no room.

use super::address::{from_multiaddr, without_peer};
use super::connection::lock;
use super::door::DoorError;
use super::{DIAL_STAGGER_MS, DialFailure};
use chinwag_base::Address;
use chinwag_base::address::Transport;
use libp2p::{Multiaddr, PeerId};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Whether an address is of this machine or of a private network.
fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The addresses in the order in which to try them, without `own` ones, without repetitions, and without link-local
/// ones, of which nobody knows the interface.
pub(super) fn in_order(addresses: &[Address], own: &[Address]) -> Vec<Address> {
    let mut order: Vec<Address> = Vec::new();
    for address in addresses {
        if !own.contains(address) && !order.contains(address) && !address.is_link_local() {
            order.push(*address);
        }
    }
    // Stable, so that the caller's order decides the rest.
    order.sort_by_key(|address| match (is_near(address.socket.ip()), address.transport) {
        (true, Transport::Tcp) => 0,
        (false, Transport::Quic) => 1,
        (false, Transport::Tcp) => 2,
        (true, Transport::Quic) => 3,
    });
    order
}

/// The one failure that says most about the peer. What happened on *this* machine (its loopback, its bridges: `own`
/// are our addresses) says nothing about a peer that was to be found elsewhere too. And where one address refused and
/// another was silent, the peer was silent: a refusal counts as proof of death, and an old address may be somebody
/// else's today.
pub(super) fn most_telling(failures: &[(Option<Address>, DialFailure)], own: &[Address]) -> DialFailure {
    let is_here = |address: &Address| {
        address.is_loopback() || own.iter().any(|own| own.socket.ip() == address.socket.ip())
    };
    let elsewhere = failures.iter().any(|(address, _)| address.is_some_and(|address| !is_here(&address)));
    let rank = |(address, failure): &&(Option<Address>, DialFailure)| {
        let here = address.is_some_and(|address| is_here(&address));
        match failure {
            DialFailure::Denied(_) => 0,
            _ if here && elsewhere => 9,
            DialFailure::TimedOut => 1,
            DialFailure::Refused => 2,
            DialFailure::Reset => 3,
            DialFailure::WrongPeer(_) => 4,
            DialFailure::Other(_) => 5,
            DialFailure::NoAddress => 6,
        }
    };
    failures.iter().min_by_key(rank).map_or(DialFailure::NoAddress, |(_, failure)| failure.clone())
}

/// What the attempts of one dial tell each other.
#[derive(Default, Clone)]
struct Progress {
    failed: usize,
    /// Where TCP showed that nobody answers, and how.
    gone: Vec<(IpAddr, DialFailure)>,
}

/// The place of one address in its dial.
pub(super) struct Turn {
    rank: usize,
    address: Address,
    progress: Arc<watch::Sender<Progress>>,
}

/// The dials under way, by the address that the swarm will ask the transport for.
#[derive(Default)]
pub(super) struct Plans {
    turns: Mutex<BTreeMap<(PeerId, Multiaddr), Turn>>,
}

impl Plans {
    /// Before the swarm is told to dial: these addresses in this order.
    pub(super) fn announce(&self, peer: PeerId, order: &[Multiaddr]) {
        let progress = Arc::new(watch::Sender::new(Progress::default()));
        let mut turns = lock(&self.turns);
        for (rank, multiaddr) in order.iter().enumerate() {
            if let Some(address) = from_multiaddr(multiaddr) {
                let turn = Turn { rank, address, progress: progress.clone() };
                turns.insert((peer, multiaddr.clone()), turn);
            }
        }
    }

    /// The transport takes each turn as the swarm dials, at once; nothing stays behind.
    pub(super) fn turn(&self, multiaddr: &Multiaddr) -> Option<Turn> {
        let peer = super::address::peer_of(multiaddr)?;
        lock(&self.turns).remove(&(peer, without_peer(multiaddr)))
    }
}

impl Turn {
    /// Waits for this address's turn and runs the attempt.
    pub(super) async fn take<T>(
        turn: Option<Turn>,
        attempt: impl Future<Output = Result<T, DoorError>>,
    ) -> Result<T, DoorError> {
        let Some(turn) = turn else { return attempt.await };
        let result = tokio::select! {
            // First, so that an attempt that would be in vain is not begun.
            biased;
            failure = turn.in_vain() => Err(DoorError::Failed(failure)),
            result = async { turn.wait().await; attempt.await } => result,
        };
        if let Err(error) = &result {
            turn.progress.send_modify(|progress| {
                progress.failed += 1;
                if let DoorError::Failed(failure) = error
                    && turn.address.transport == Transport::Tcp
                    && !matches!(failure, DialFailure::TimedOut)
                {
                    progress.gone.push((turn.address.socket.ip(), failure.clone()));
                }
            });
        }
        result
    }

    /// Until all earlier attempts have failed, or have had their time.
    async fn wait(&self) {
        let mut progress = self.progress.subscribe();
        tokio::select! {
            _ = progress.wait_for(|progress| progress.failed >= self.rank) => {}
            () = sleep(Duration::from_millis(DIAL_STAGGER_MS * self.rank as u64)) => {}
        }
    }

    /// Until it is known that nobody can answer here, and how that showed.
    async fn in_vain(&self) -> DialFailure {
        if self.address.transport == Transport::Tcp {
            return std::future::pending().await;
        }
        let ip = self.address.socket.ip();
        let of = |progress: &Progress| {
            progress.gone.iter().find(|(gone, _)| *gone == ip).map(|(_, how)| how.clone())
        };
        let mut progress = self.progress.subscribe();
        let known = progress
            .wait_for(|progress| of(progress).is_some())
            .await
            .ok()
            .and_then(|progress| of(&progress));
        match known {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn near_addresses_are_tried_over_tcp_first_and_far_ones_over_quic() {
        let [far_tcp, far_quic] = ["/ip4/8.8.8.8/tcp/1", "/ip4/8.8.8.8/udp/1/quic-v1"].map(address);
        let [near_tcp, near_quic] = ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/udp/1/quic-v1"].map(address);
        let own = address("/ip4/10.0.0.2/tcp/1");
        assert_eq!(
            in_order(&[far_tcp, near_quic, own, far_quic, near_tcp, near_tcp], &[own]),
            [near_tcp, far_quic, far_tcp, near_quic]
        );
    }

    #[test]
    fn our_own_loopback_does_not_speak_for_a_peer_elsewhere() {
        let here = Some(address("/ip4/127.0.0.1/tcp/1"));
        let there = Some(address("/ip4/10.0.0.1/tcp/1"));
        assert_eq!(most_telling(&[(here, DialFailure::Refused)], &[]), DialFailure::Refused);
        let both = [(here, DialFailure::Refused), (there, DialFailure::TimedOut)];
        assert_eq!(most_telling(&both, &[]), DialFailure::TimedOut);
        let denied = DialFailure::Denied(super::super::admission::RefusalReason::Expired);
        assert_eq!(most_telling(&[(there, DialFailure::Refused), (here, denied.clone())], &[]), denied);
        let old = Some(address("/ip4/10.0.0.9/tcp/1"));
        let silent = [(old, DialFailure::Refused), (there, DialFailure::TimedOut)];
        assert_eq!(
            most_telling(&silent, &[]),
            DialFailure::TimedOut,
            "a stalled peer is not proved dead by another host"
        );
        let bridge = [address("/ip4/10.0.0.9/tcp/7")];
        let ours = [(old, DialFailure::Refused), (there, DialFailure::Reset)];
        assert_eq!(most_telling(&ours, &bridge), DialFailure::Reset, "our own bridge speaks for nobody");
        assert_eq!(most_telling(&[], &[]), DialFailure::NoAddress);
    }

    #[tokio::test(start_paused = true)]
    async fn quic_is_not_waited_for_where_tcp_was_refused() {
        let plans = Plans::default();
        let peer = PeerId::random();
        let texts = ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.2/udp/1/quic-v1"];
        let order: Vec<Multiaddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        plans.announce(peer, &order);
        let turns = order.iter().map(|multiaddr| {
            let turn = plans.turn(&multiaddr.clone().with_p2p(peer).unwrap()).unwrap();
            let refused = DoorError::Failed(DialFailure::Refused);
            let tcp = turn.address.transport == Transport::Tcp;
            Turn::take(Some(turn), async move { if tcp { Err(refused) } else { Ok(()) } })
        });
        let refused = Err(DoorError::Failed(DialFailure::Refused));
        assert_eq!(futures::future::join_all(turns).await, [refused.clone(), refused, Ok(())]);
    }
}

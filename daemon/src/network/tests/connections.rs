//! Connections that come, double, break and end.

use super::harness::*;
use crate::network::{DialFailure, DisconnectReason, Happening, NetworkError, free_port, start};
use chinwag_base::address::Transport as Kind;
use chinwag_base::{Address, Lane};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn ends(happenings: &[Happening]) -> Vec<&Happening> {
    let told = |happening: &&Happening| {
        matches!(
            happening,
            Happening::Connected { .. } | Happening::Disconnected { .. } | Happening::DialFailed { .. }
        )
    };
    happenings.iter().filter(told).collect()
}

#[tokio::test]
async fn a_simultaneous_dial_settles_on_one_connection() {
    let settles = async |listen: &str| {
        let listen = &[listen];
        let (mut a, mut b) = (Node::start(1, listen).await, Node::start(2, listen).await);
        a.dial(&b);
        b.dial(&a);
        let (a_id, b_id) = (a.id, b.id);
        tokio::join!(a.until_connected(b_id), b.until_connected(a_id));
        // Frames flow from the start, and none is lost while the connections are sorted out.
        let mut most = 0;
        let send = async {
            for i in 0..150u32 {
                a.network.send(b_id, Lane::Gossip, 0, i.to_be_bytes().to_vec()).unwrap();
                b.network.send(a_id, Lane::Gossip, 0, i.to_be_bytes().to_vec()).unwrap();
                most = most.max(a.network.shared.connections.load(Ordering::Relaxed));
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        };
        let (network_a, network_b) = (a.network.clone(), b.network.clone());
        let ((), at_a, at_b) = tokio::join!(send, collect(&mut a.inbox), collect(&mut b.inbox));
        for at in [&at_a, &at_b] {
            assert!(ends(at).is_empty(), "{:?}", ends(at));
            let mut numbers: Vec<u32> = at
                .iter()
                .filter_map(|happening| match happening {
                    Happening::Frame { bytes, .. } => Some(u32::from_be_bytes(bytes[..].try_into().unwrap())),
                    _ => None,
                })
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..150).collect::<Vec<u32>>());
        }
        assert_eq!(network_a.shared.connections.load(Ordering::Relaxed), 1);
        assert_eq!(network_b.shared.connections.load(Ordering::Relaxed), 1);
        most
    };
    let pairs = [TCP, QUIC, TCP, QUIC, TCP, QUIC, TCP, QUIC].map(settles);
    let most = futures::future::join_all(pairs).await;
    assert!(most.contains(&2), "at least one pair did dial at the same time: {most:?}");
}

async fn collect(inbox: &mut crate::network::Inbox) -> Vec<Happening> {
    let mut all = Vec::new();
    let until = tokio::time::Instant::now() + Duration::from_millis(3_500);
    while let Ok(Some(happening)) = tokio::time::timeout_at(until, inbox.next()).await {
        all.push(happening);
    }
    all
}

/// A node in a runtime of its own, which can be killed: its sockets close and nobody says goodbye.
async fn mortal(seed: u8, listen: &'static [&'static str]) -> (tokio::runtime::Runtime, Node) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let node = runtime.spawn(Node::start(seed, listen)).await.unwrap();
    (runtime, node)
}

#[tokio::test]
async fn a_killed_peer_is_reset_at_once_and_then_refuses() {
    let mut a = Node::start(1, &[TCP]).await;
    let (runtime, mut b) = mortal(2, &[TCP, QUIC]).await;
    let b_id = b.id;
    let addresses = b.addresses.clone();
    connect(&mut a, &mut b).await;
    let killed = Instant::now();
    runtime.shutdown_background();
    let happening = a.next().await;
    assert_eq!(happening, Happening::Disconnected { peer: b_id, reason: DisconnectReason::Reset });
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    drop(b);
    // A runtime takes its time to close everything; a kernel does not.
    let listener = addresses.iter().find(|address| address.transport == Kind::Tcp).unwrap().socket;
    while tokio::net::TcpStream::connect(listener).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let redialled = Instant::now();
    a.network.dial(b_id, addresses);
    let happening = a.next().await;
    assert_eq!(happening, Happening::DialFailed { peer: b_id, why: DialFailure::Refused });
    assert!(redialled.elapsed() < Duration::from_secs(2), "TCP's refusal is not held up by QUIC");
}

#[tokio::test]
async fn a_peer_that_starts_anew_supersedes_itself() {
    let mut a = Node::start(1, &[QUIC]).await;
    let (runtime, mut b) = mortal(2, &[QUIC]).await;
    let b_id = b.id;
    connect(&mut a, &mut b).await;
    // Gone without a packet; over QUIC nobody notices for seconds.
    runtime.shutdown_background();
    drop(b);
    let mut b = Node::start(2, &[QUIC]).await;
    b.dial(&a);
    b.until_connected(a.id).await;
    let told = [a.next().await, a.next().await];
    assert!(
        matches!(&told[0], Happening::Disconnected { peer, .. } if *peer == b_id)
            && matches!(&told[1], Happening::Connected { peer, .. } if *peer == b_id),
        "{told:?}"
    );
    a.network.send(b_id, Lane::Probe, 0, vec![1]).unwrap();
    assert_eq!(b.frame().await, (a.id, Lane::Probe, vec![1]));
}

#[tokio::test]
async fn a_shutdown_says_goodbye_and_ends_the_inbox() {
    let (mut a, mut b) = (Node::start(1, &[TCP]).await, Node::start(2, &[TCP]).await);
    connect(&mut a, &mut b).await;
    let address = a.addresses[0];
    a.network.send(b.id, Lane::Bulk, 0, b"last words".to_vec()).unwrap();
    let begun = Instant::now();
    a.network.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(b.frame().await, (a.id, Lane::Bulk, b"last words".to_vec()));
    assert_eq!(
        b.next().await,
        Happening::Disconnected { peer: a.id, reason: DisconnectReason::ClosedByPeer }
    );
    while let Some(happening) = a.inbox.next().await {
        assert!(matches!(happening, Happening::Disconnected { .. }), "{happening:?}");
    }
    // The port is free again.
    let book = Book::of(grant_for(key(1).id()));
    let again = Node::start_with(1, book, &[&address.to_string()]).await;
    assert_eq!(again.addresses, [address]);
}

#[tokio::test]
async fn a_taken_port_is_told_by_its_address() {
    let first = Node::start(1, &[TCP, QUIC]).await;
    for address in &first.addresses {
        let book = Book::of(grant_for(key(2).id()));
        let free = "/ip4/127.0.0.1/tcp/0";
        let error =
            start(config(2, book, &[free, &address.to_string()])).await.err().expect("the port is taken");
        let NetworkError::Listen { address: told, ref source } = error else { panic!("{error}") };
        assert_eq!((told, source.kind()), (*address, std::io::ErrorKind::AddrInUse), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}

#[tokio::test]
async fn both_transports_share_one_port_number() {
    let ip = "127.0.0.1".parse().unwrap();
    let port = free_port(ip).unwrap();
    let tcp: Address = format!("/ip4/{ip}/tcp/{port}").parse().unwrap();
    let quic: Address = format!("/ip4/{ip}/udp/{port}/quic-v1").parse().unwrap();
    let mut a = Node::start(1, &[&tcp.to_string(), &quic.to_string()]).await;
    let mut b = Node::start(2, &[]).await;
    connect(&mut b, &mut a).await;
}

#[tokio::test]
async fn all_interfaces_are_listed_one_by_one() {
    let node = Node::start(1, &["/ip4/0.0.0.0/tcp/0"]).await;
    assert!(node.addresses.iter().all(|address| !address.socket.ip().is_unspecified()));
}

#[tokio::test]
async fn tcp_is_preferred_on_this_machine() {
    let (mut a, mut b) = (Node::start(1, &[QUIC, TCP]).await, Node::start(2, &[]).await);
    b.dial(&a);
    let address = b
        .until(|happening| match happening {
            Happening::Connected { address, dialled, role, grant, .. } => {
                assert!(*dialled && *role == chinwag_base::Role::Member && grant.node() == key(1).id());
                Some(*address)
            }
            _ => None,
        })
        .await;
    assert_eq!(address.transport, Kind::Tcp);
    a.until_connected(b.id).await;
    // A second dial has nothing to do.
    b.dial(&a);
    assert_eq!(ends(&b.during(300).await), Vec::<&Happening>::new());
}

#[tokio::test]
async fn nobody_dials_itself_or_nowhere() {
    let mut node = Node::start(1, &[TCP]).await;
    let own = node.addresses.clone();
    for (peer, addresses) in [(key(2).id(), own.clone()), (key(2).id(), vec![]), (node.id, own)] {
        node.network.dial(peer, addresses);
        assert_eq!(node.next().await, Happening::DialFailed { peer, why: DialFailure::NoAddress });
    }
}

#[tokio::test]
async fn an_idle_connection_stays() {
    let stays = async |listen| {
        let (mut a, mut b) = (Node::start(1, &[listen]).await, Node::start(2, &[listen]).await);
        connect(&mut a, &mut b).await;
        // Longer than QUIC's and the swarm's idle limits.
        assert_eq!(ends(&a.during(12_000).await), Vec::<&Happening>::new());
        a.network.send(b.id, Lane::Probe, 0, vec![1]).unwrap();
        b.frame().await;
    };
    tokio::join!(stays(TCP), stays(QUIC));
}

#[tokio::test]
async fn a_peer_that_vanishes_behind_quic_times_out() {
    let mut a = Node::start(1, &[]).await;
    let (runtime, mut b) = mortal(2, &[QUIC]).await;
    let b_id = b.id;
    connect(&mut a, &mut b).await;
    let killed = Instant::now();
    runtime.shutdown_background();
    let Happening::Disconnected { peer, reason } = a.next().await else { panic!("the connection is lost") };
    assert_eq!((peer, reason), (b_id, DisconnectReason::TimedOut));
    assert!(killed.elapsed() < Duration::from_secs(12), "{:?}", killed.elapsed());
}

#[tokio::test]
async fn a_dial_that_is_hung_up_on_is_told_at_once() {
    let rude = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = rude.local_addr().unwrap().port();
    tokio::spawn(async move { while rude.accept().await.is_ok() {} });
    let tcp = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    let quic = format!("/ip4/127.0.0.1/udp/{port}/quic-v1").parse().unwrap();
    let mut node = Node::start(1, &[]).await;
    let begun = Instant::now();
    node.network.dial(key(2).id(), vec![quic, tcp]);
    let why = DialFailure::Reset;
    assert_eq!(node.next().await, Happening::DialFailed { peer: key(2).id(), why });
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

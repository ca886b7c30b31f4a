//! Those who were never let in: they reach nobody but the admission.

use super::harness::*;
use crate::network::address::to_multiaddr;
use crate::network::admission::{Proof, RefusalReason};
use crate::network::door::libp2p_keypair;
use crate::network::exchange::tests::bytes_of;
use crate::network::exchange::{self, ExchangeError, Hello};
use crate::network::{DialFailure, Happening};
use chinwag_base::address::Transport as Kind;
use chinwag_base::limits::{ADMISSION_MS_MAX, ADMISSIONS_MAX};
use futures::{AsyncReadExt, StreamExt};
use libp2p::swarm::{Swarm, SwarmEvent, dummy};
use libp2p::{identify, noise, tcp, yamux};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

fn refusal(happening: &Happening) -> Option<RefusalReason> {
    match happening {
        Happening::Refused { why, .. } => Some(*why),
        Happening::Connected { peer, .. } => panic!("{peer:?} must not connect"),
        _ => None,
    }
}

/// A plain libp2p program with identify, as anybody could write it.
fn stock_swarm(kind: Kind) -> Swarm<identify::Behaviour> {
    let keypair = libp2p_keypair(&key(50)).unwrap();
    let identify = identify::Behaviour::new(identify::Config::new("/ipfs/1".to_owned(), keypair.public()));
    let builder = libp2p::SwarmBuilder::with_existing_identity(keypair).with_tokio();
    match kind {
        Kind::Tcp => builder
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| identify)
            .unwrap()
            .build(),
        Kind::Quic => builder.with_quic().with_behaviour(|_| identify).unwrap().build(),
    }
}

#[tokio::test]
async fn a_plain_libp2p_program_negotiates_nothing() {
    for listen in [TCP, QUIC] {
        let mut node = Node::start(1, &[listen]).await;
        let mut swarm = stock_swarm(node.addresses[0].transport);
        swarm.dial(to_multiaddr(&node.addresses[0])).unwrap();
        let stranger = async {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::Behaviour(
                        identify::Event::Received { .. } | identify::Event::Sent { .. },
                    ) => {
                        panic!("identify was served")
                    }
                    SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => break,
                    _ => {}
                }
            }
        };
        let (why, ()) =
            timeout(PATIENCE, async { tokio::join!(node.until(refusal), stranger) }).await.unwrap();
        assert_eq!(why, RefusalReason::Malformed, "over {listen}");
        assert_eq!(node.network.shared.connections.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn a_program_that_only_listens_is_not_dialled_into_either() {
    let keypair = libp2p_keypair(&key(50)).unwrap();
    let mut stranger = libp2p::SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| dummy::Behaviour)
        .unwrap()
        .build();
    stranger.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = stranger.select_next_some().await {
            break address.to_string().parse().unwrap();
        }
    };
    tokio::spawn(async move { while stranger.next().await.is_some() {} });
    let mut node = Node::start(1, &[]).await;
    node.network.dial(key(50).id(), vec![address]);
    let happening = node.next().await;
    assert!(matches!(happening, Happening::DialFailed { .. }), "{happening:?}");
}

#[tokio::test]
async fn a_client_that_skips_admission_gets_no_lane() {
    for listen in [TCP, QUIC] {
        let mut node = Node::start(1, &[listen]).await;
        let mut raw = Raw::connect(2, node.addresses[0]).await;
        let (_stream, agreed) = raw.negotiate("/chinwag/probe/1").await;
        assert_eq!(agreed, None);
        assert_eq!(node.until(refusal).await, RefusalReason::Malformed);
        raw.closed().await;
    }
}

#[tokio::test]
async fn random_bytes_get_no_answer() {
    let mut node = Node::start(1, &[TCP]).await;
    for (seed, bytes) in [(2u8, vec![0; 64]), (3, vec![0xff; 64]), (4, vec![0, 0, 0, 3, 1, 2, 3])] {
        let mut raw = Raw::connect(seed, node.addresses[0]).await;
        let mut stream = raw.say(&bytes).await;
        let mut answer = Vec::new();
        let read = async { stream.read_to_end(&mut answer).await };
        let read = timeout(PATIENCE, exchange::drive(&mut raw.muxer, read));
        let (why, reset) = tokio::join!(node.until(refusal), read);
        assert_eq!(why, RefusalReason::Malformed);
        assert!(reset.is_ok() && answer.is_empty());
    }
    let mut other = Node::start(9, &[]).await;
    connect(&mut other, &mut node).await;
}

#[tokio::test]
async fn a_newer_protocol_is_refused_by_name_on_both_sides() {
    let mut node = Node::start(1, &[TCP]).await;
    let mut raw = Raw::connect(2, node.addresses[0]).await;
    let grant = grant_for(key(2).id());
    let mut hello = Hello::new(grant.overlay(), 1, Proof::Grant(grant));
    (hello.version_min, hello.version_max) = (40, 42);
    let told = exchange::introduce(&mut raw.muxer, &hello).await;
    let ours = RefusalReason::Version {
        min: chinwag_base::PROTOCOL_VERSION_MIN,
        max: chinwag_base::PROTOCOL_VERSION,
    };
    assert!(matches!(told, Err(ExchangeError::Refused(why)) if why == ours), "{told:?}");
    assert_eq!(node.until(refusal).await, RefusalReason::Version { min: 40, max: 42 });

    // A later shape of the exchange itself is told the same.
    let mut raw = Raw::connect(3, node.addresses[0]).await;
    let mut bytes = bytes_of(&hello);
    bytes[11] = 9;
    let mut stream = raw.say(&bytes).await;
    let mut head = [0; 4];
    exchange::drive(&mut raw.muxer, async { stream.read_exact(&mut head).await }).await.unwrap();
    assert!(matches!(node.until(refusal).await, RefusalReason::Version { .. }));
}

#[tokio::test]
async fn the_silent_are_dropped_in_time() {
    let mut node = Node::start(1, &[TCP]).await;
    let begun = Instant::now();
    // One says nothing after the encryption, one sends half a message, one does not even encrypt.
    let raw = Raw::connect(2, node.addresses[0]).await;
    let mut half = Raw::connect(3, node.addresses[0]).await;
    let _stream = half.say(&[0, 0, 1, 0, b'c', b'h']).await;
    let mut plain = tokio::net::TcpStream::connect(node.addresses[0].socket).await.unwrap();
    let both = async { (node.until(refusal).await, node.until(refusal).await) };
    let (refusals, (), ()) = tokio::join!(both, raw.closed(), half.closed());
    assert_eq!(refusals, (RefusalReason::TooSlow, RefusalReason::TooSlow));
    let mut rest = Vec::new();
    let _reset = timeout(PATIENCE, plain.read_to_end(&mut rest)).await.expect("closed");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(ADMISSION_MS_MAX), "{took:?}");
    assert!(took < Duration::from_millis(3 * ADMISSION_MS_MAX), "{took:?}");
}

#[tokio::test]
async fn garbage_on_the_open_port_costs_nobody_else() {
    let mut node = Node::start(1, &[TCP, QUIC]).await;
    let tcp = node.addresses.iter().find(|address| address.transport == Kind::Tcp).unwrap().socket;
    let udp = node.addresses.iter().find(|address| address.transport == Kind::Quic).unwrap().socket;
    let garbage = [
        vec![0xff; 4],
        vec![0; 1_000],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff, 0xff, 0xff, 0xff, 1, 2],
    ];
    let sender = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for round in 0..40 {
        for bytes in &garbage {
            let _sent = sender.send_to(bytes, udp).await;
            let mut stream = tokio::net::TcpStream::connect(tcp).await.unwrap();
            let _sent = stream.write_all(bytes).await;
            if round % 2 == 0 {
                let mut rest = Vec::new();
                let _reset = timeout(Duration::from_millis(50), stream.read_to_end(&mut rest)).await;
            }
        }
    }
    let mut other = Node::start(2, &[]).await;
    connect(&mut other, &mut node).await;
}

#[tokio::test]
async fn those_who_wait_at_the_door_are_counted() {
    let mut node = Node::start(1, &[TCP]).await;
    let mut waiting = Vec::new();
    for _ in 0..ADMISSIONS_MAX + 4 {
        waiting.push(tokio::net::TcpStream::connect(node.addresses[0].socket).await.unwrap());
    }
    assert_eq!(node.until(refusal).await, RefusalReason::Busy);
    // When they are gone, there is room again.
    drop(waiting);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut other = Node::start(2, &[]).await;
    connect(&mut other, &mut node).await;
}

#[tokio::test]
async fn a_crowd_that_waits_in_silence_keeps_no_member_out() {
    let mut node = Node::start(1, &[TCP]).await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(tokio::net::TcpStream::connect(node.addresses[0].socket).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let mut member = Node::start(2, &[]).await;
    connect(&mut member, &mut node).await;
}

#[tokio::test]
async fn a_dial_that_nobody_answers_times_out() {
    // Accepts, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap();
    let mut node = Node::start(1, &[]).await;
    node.network.dial(key(2).id(), vec![address]);
    let happening = node.next().await;
    assert_eq!(happening, Happening::DialFailed { peer: key(2).id(), why: DialFailure::TimedOut });
}

#[tokio::test]
async fn quic_on_a_silent_port_times_out() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address =
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", silent.local_addr().unwrap().port()).parse().unwrap();
    let mut node = Node::start(1, &[]).await;
    node.network.dial(key(2).id(), vec![address]);
    let happening = node.next().await;
    assert_eq!(happening, Happening::DialFailed { peer: key(2).id(), why: DialFailure::TimedOut });
}

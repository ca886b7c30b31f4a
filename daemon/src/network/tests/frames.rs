//! Frames on lanes, by peers that keep the rules and by members that do not.

use super::harness::*;
use crate::network::{DisconnectReason, Happening, SendError};
use chinwag_base::Lane;
use chinwag_base::limits::BULK_QUEUE_BYTES_MAX;
use std::time::{Duration, Instant};

async fn exchange_on_all_lanes(listen: &str) {
    let (mut a, mut b) = (Node::start(1, &[listen]).await, Node::start(2, &[listen]).await);
    connect(&mut a, &mut b).await;
    for lane in Lane::ALL {
        for size in [1, 100, lane.frame_bytes_max()] {
            a.network.send(b.id, lane, 0, vec![7; size]).unwrap();
            assert_eq!(b.frame().await, (a.id, lane, vec![7; size]));
            b.network.send(a.id, lane, 0, vec![8; size]).unwrap();
            assert_eq!(a.frame().await, (b.id, lane, vec![8; size]));
        }
        assert_eq!(
            a.network.send(b.id, lane, 0, vec![0; lane.frame_bytes_max() + 1]),
            Err(SendError::Length)
        );
        assert_eq!(a.network.send(b.id, lane, 0, vec![]), Err(SendError::Length));
    }
    assert_eq!(a.network.send(key(9).id(), Lane::Probe, 0, vec![1]), Err(SendError::NotConnected));
}

#[tokio::test]
async fn two_networks_exchange_frames_over_tcp() {
    exchange_on_all_lanes(TCP).await;
}

#[tokio::test]
async fn two_networks_exchange_frames_over_quic() {
    exchange_on_all_lanes(QUIC).await;
}

#[tokio::test]
async fn two_networks_exchange_frames_over_ipv6() {
    exchange_on_all_lanes(TCP6).await;
    exchange_on_all_lanes(QUIC6).await;
}

#[tokio::test]
async fn three_networks_talk_to_each_other() {
    let mut nodes = Vec::new();
    for seed in 1..=3 {
        nodes.push(Node::start(seed, &[TCP, QUIC]).await);
    }
    let [a, b, c] = &mut nodes[..] else { panic!("three") };
    connect(a, b).await;
    connect(a, c).await;
    connect(b, c).await;
    for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 2)] {
        let (from_id, to_id) = (nodes[from].id, nodes[to].id);
        nodes[from].network.send(to_id, Lane::Gossip, 0, vec![from as u8 + 1]).unwrap();
        assert_eq!(nodes[to].frame().await, (from_id, Lane::Gossip, vec![from as u8 + 1]));
    }
}

#[tokio::test]
async fn a_probe_takes_no_longer_than_the_wire() {
    for listen in [TCP, QUIC] {
        let (mut a, mut b) = (Node::start(1, &[listen]).await, Node::start(2, &[listen]).await);
        let begun = Instant::now();
        connect(&mut a, &mut b).await;
        let connected = begun.elapsed();
        let (a_id, b_id) = (a.id, b.id);
        let mut round_trips = Vec::new();
        for _ in 0..200 {
            let begun = Instant::now();
            a.network.send(b_id, Lane::Probe, 0, vec![1; 60]).unwrap();
            b.frame().await;
            b.network.send(a_id, Lane::Probe, 0, vec![2; 60]).unwrap();
            a.frame().await;
            round_trips.push(begun.elapsed());
        }
        round_trips.sort();
        println!(
            "{listen}: connected in {connected:?}, round trip {:?}, worst {:?}",
            round_trips[100], round_trips[199]
        );
        // Generous, because the machine may be busy; a detour over a timer or Nagle's algorithm would show.
        assert!(round_trips[100] < Duration::from_millis(20), "{:?}", round_trips[100]);
    }
}

#[tokio::test]
async fn many_frames_arrive_in_order_and_none_is_lost() {
    let (mut a, mut b) = (Node::start(1, &[TCP]).await, Node::start(2, &[TCP]).await);
    connect(&mut a, &mut b).await;
    let b_id = b.id;
    let sender = async {
        for i in 0..500u32 {
            let frame = [i.to_be_bytes().to_vec(), vec![0; 50_000]].concat();
            while a.network.send(b_id, Lane::Bulk, 0, frame.clone()).is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let receiver = async {
        for i in 0..500u32 {
            let (_, _, bytes) = b.frame().await;
            assert_eq!(bytes[..4], i.to_be_bytes());
            assert_eq!(bytes.len(), 50_004);
        }
    };
    tokio::join!(sender, receiver);
}

#[tokio::test]
async fn what_was_sent_before_a_goodbye_arrives_before_the_end() {
    for listen in [TCP, QUIC] {
        let (mut a, mut b) = (Node::start(1, &[listen]).await, Node::start(2, &[listen]).await);
        connect(&mut a, &mut b).await;
        for i in 0..100 {
            a.network.send(b.id, Lane::Gossip, 0, vec![i; 10_000]).unwrap();
        }
        a.network.send(b.id, Lane::Probe, 0, b"leaving".to_vec()).unwrap();
        a.network.close(b.id);
        assert_eq!(a.network.send(b.id, Lane::Probe, 0, vec![1]), Err(SendError::NotConnected));
        let mut frames = 0;
        let reason = b
            .until(|happening| match happening {
                Happening::Frame { .. } => {
                    frames += 1;
                    None
                }
                Happening::Disconnected { reason, .. } => Some(reason.clone()),
                _ => None,
            })
            .await;
        assert_eq!((frames, reason), (101, DisconnectReason::ClosedByPeer));
        let reason = a.until(disconnected).await;
        assert_eq!(reason, DisconnectReason::ClosedByUs);
    }
}

fn disconnected(happening: &Happening) -> Option<DisconnectReason> {
    match happening {
        Happening::Disconnected { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

/// What a member that misbehaves on each lane is told as.
async fn misbehaves(listen: &str, bytes: &[u8], close: bool, expected: &[&'static str]) {
    for lane in Lane::ALL {
        let mut node = Node::start(1, &[listen]).await;
        let mut raw = Raw::admitted(2, node.addresses[0]).await;
        let mut lanes = raw.lanes().await;
        node.until_connected(key(2).id()).await;
        raw.write(&mut lanes[lane as usize], bytes).await;
        if close {
            use futures::AsyncWriteExt;
            let stream = &mut lanes[lane as usize];
            let _gone = crate::network::exchange::drive(&mut raw.muxer, async { stream.close().await }).await;
        }
        let reason = tokio::select! {
            reason = node.until(disconnected) => reason,
            () = async { crate::network::exchange::linger(raw.muxer).await; std::future::pending().await } => unreachable!(),
        };
        assert!(
            expected.iter().any(|words| reason == DisconnectReason::Misbehaved(words)),
            "{lane:?} over {listen}: {reason:?}"
        );
        // Nothing is left of it, and the node still serves others.
        let mut other = Node::start(3, &[listen]).await;
        connect(&mut other, &mut node).await;
    }
}

#[tokio::test]
async fn a_length_above_the_limit_ends_the_connection() {
    for listen in [TCP, QUIC] {
        misbehaves(listen, &[0xff; 4], false, &["it announced a frame above its lane's limit"]).await;
    }
}

#[tokio::test]
async fn a_truncated_frame_ends_the_connection() {
    for listen in [TCP, QUIC] {
        misbehaves(listen, &[0, 0, 0, 9, 1, 2], true, &["a frame was cut short"]).await;
    }
}

#[tokio::test]
async fn a_second_substream_of_a_lane_ends_the_connection() {
    let mut node = Node::start(1, &[TCP]).await;
    let mut raw = Raw::admitted(2, node.addresses[0]).await;
    let _lanes = raw.lanes().await;
    node.until_connected(key(2).id()).await;
    let _fourth = raw.negotiate("/chinwag/probe/1").await;
    let (reason, ()) = tokio::join!(node.until(disconnected), raw.closed());
    assert_eq!(reason, DisconnectReason::Misbehaved("it opened a lane twice"));
}

#[tokio::test]
async fn a_stalled_reader_gets_the_newest_probe_and_the_newest_gossip() {
    const PROBES: u32 = 3_000;
    const GOSSIP: u32 = 200;
    let mut node = Node::start(1, &[TCP]).await;
    let peer = key(2).id();
    let mut raw = Raw::admitted(2, node.addresses[0]).await;
    let mut lanes = raw.lanes().await;
    node.until_connected(peer).await;
    let numbered = |number: u32, len: usize| [number.to_be_bytes().to_vec(), vec![0; len]].concat();
    for i in 0..PROBES {
        node.network.send(peer, Lane::Probe, 0, numbered(i, 1_000)).unwrap();
        if i % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for i in 0..GOSSIP {
        node.network.send(peer, Lane::Gossip, 0, numbered(i, 100_000)).unwrap();
        tokio::task::yield_now().await;
    }
    let mut refused = 0;
    for i in 0..BULK_QUEUE_BYTES_MAX as u32 / 1_000_000 + 20 {
        refused += u32::from(node.network.send(peer, Lane::Bulk, 0, numbered(i, 1_000_000)).is_err());
        tokio::task::yield_now().await;
    }
    assert!(refused > 0, "the bulk lane refuses what is too much");
    for (lane, last) in [(Lane::Probe, PROBES - 1), (Lane::Gossip, GOSSIP - 1)] {
        let (mut count, mut before) = (0, None);
        loop {
            let frame = raw.read_frame(&mut lanes[lane as usize]).await;
            let number = u32::from_be_bytes(frame[..4].try_into().unwrap());
            assert!(before < Some(number), "in order");
            before = Some(number);
            count += 1;
            if number == last {
                break;
            }
        }
        assert!(count < last, "{lane:?}: {count} of {last} frames came, so some were dropped");
    }
}

#[tokio::test]
async fn a_driver_that_does_not_read_holds_its_peers_back() {
    let (mut a, mut b) = (Node::start(1, &[TCP]).await, Node::start(2, &[TCP]).await);
    connect(&mut a, &mut b).await;
    // More than b's inbox and the windows on the way hold.
    let mut sent = 0u32;
    let mut waited = 0;
    while waited < 100 {
        match a.network.send(b.id, Lane::Bulk, 0, [sent.to_be_bytes().to_vec(), vec![0; 900_000]].concat()) {
            Ok(()) => (sent, waited) = (sent + 1, 0),
            Err(_) => waited += 1,
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // Probes and connections are not held back by it.
    a.network.send(b.id, Lane::Probe, 0, b"quick".to_vec()).unwrap();
    let (_, lane, _) = loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let frame = b.frame().await;
        if frame.1 == Lane::Probe {
            break frame;
        }
    };
    assert_eq!(lane, Lane::Probe);
}

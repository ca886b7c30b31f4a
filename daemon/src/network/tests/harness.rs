//! Nodes, an invite book, and a peer that speaks the protocol by hand so that it can break it.

use crate::kad::tests::MemoryShelf;
use crate::kad::{Records, Teller};
use crate::network::address::to_multiaddr;
use crate::network::admission::{Admission, Admitted, Proof, RefusalReason};
use crate::network::door::bare;
use crate::network::exchange::{self, Hello};
use crate::network::handler::protocol;
use crate::network::{Happening, Inbox, Network, NetworkConfig, start};
use chinwag_base::invite::Secret;
use chinwag_base::{Address, Grant, Keypair, Lane, NodeId, OverlayId, Role, WallTime};
use futures::future::BoxFuture;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, SubstreamBox};
use libp2p::core::transport::{Boxed, DialOpts, PortUse, Transport};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

pub(super) const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);
pub(super) const HOUR_MS: u64 = 3_600_000;
/// Far above what anything takes, far below what a person waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn key(seed: u8) -> Keypair {
    Keypair::from_secret([seed; 32])
}

pub(super) fn root() -> Keypair {
    key(200)
}

pub(super) fn grant_for(node: NodeId) -> Grant {
    Grant::by_root(&root(), node, Role::Member, NOW.plus_ms(HOUR_MS))
}

/// By the secret's hash: the end, and who redeemed it.
type Invites = BTreeMap<[u8; 32], (WallTime, Option<NodeId>)>;

/// Decides as a daemon does, from memory.
pub(super) struct Book {
    pub(super) overlay: OverlayId,
    pub(super) grant: Mutex<Grant>,
    pub(super) now: WallTime,
    pub(super) evicted: Mutex<Vec<NodeId>>,
    invites: Arc<Mutex<Invites>>,
}

impl Book {
    pub(super) fn of(grant: Grant) -> Arc<Self> {
        Arc::new(Book {
            overlay: grant.overlay(),
            grant: Mutex::new(grant),
            now: NOW,
            evicted: Mutex::default(),
            invites: Arc::default(),
        })
    }

    pub(super) fn invite(&self, secret: Secret, not_after: WallTime) {
        self.invites.lock().unwrap().insert(secret.hash(), (not_after, None));
    }
}

impl Admission for Book {
    fn overlay(&self) -> OverlayId {
        self.overlay
    }

    fn grant(&self) -> Grant {
        self.grant.lock().unwrap().clone()
    }

    fn now(&self) -> WallTime {
        self.now
    }

    fn admit(&self, peer: NodeId, proof: Proof) -> BoxFuture<'static, Result<Admitted, RefusalReason>> {
        if self.evicted.lock().unwrap().contains(&peer) {
            return async { Err(RefusalReason::Revoked) }.boxed();
        }
        let (overlay, now, invites) = (self.overlay, self.now, self.invites.clone());
        async move {
            match proof {
                Proof::Grant(grant) => Ok(Admitted { role: grant.verify(overlay, peer, now)?, issued: None }),
                Proof::Invite(secret) => {
                    // As if it were written to disk.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    let mut invites = invites.lock().unwrap();
                    let (not_after, by) =
                        invites.get_mut(&secret.hash()).ok_or(RefusalReason::InviteUnknown)?;
                    match *by {
                        Some(other) if other != peer => return Err(RefusalReason::InviteUsed),
                        None if *not_after < now => return Err(RefusalReason::InviteExpired),
                        _ => *by = Some(peer),
                    }
                    Ok(Admitted { role: Role::Member, issued: Some(grant_for(peer)) })
                }
            }
        }
        .boxed()
    }
}

/// A running network.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) network: Network,
    pub(super) inbox: Inbox,
    pub(super) addresses: Vec<Address>,
    pub(super) book: Arc<Book>,
}

pub(super) fn config(seed: u8, book: Arc<Book>, listen: &[&str]) -> NetworkConfig {
    let records = Records { shelf: Arc::new(MemoryShelf::default()), tell: Teller::new(|_| {}) };
    NetworkConfig {
        keypair: key(seed),
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        agent: "chinwag/test".to_owned(),
        admission: book,
        records,
    }
}

pub(super) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(super) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub(super) const TCP6: &str = "/ip6/::1/tcp/0";
pub(super) const QUIC6: &str = "/ip6/::1/udp/0/quic-v1";

impl Node {
    pub(super) async fn start(seed: u8, listen: &[&str]) -> Node {
        Node::start_with(seed, Book::of(grant_for(key(seed).id())), listen).await
    }

    pub(super) async fn start_with(seed: u8, book: Arc<Book>, listen: &[&str]) -> Node {
        let (network, mut inbox) = start(config(seed, book.clone(), listen)).await.unwrap();
        let Some(Happening::Listening(addresses)) = inbox.next().await else {
            panic!("listening comes first")
        };
        assert!(
            addresses.len() >= listen.len() && addresses.iter().all(|address| address.socket.port() != 0)
        );
        Node { id: key(seed).id(), network, inbox, addresses, book }
    }

    pub(super) fn dial(&self, other: &Node) {
        assert!(self.network.dial(other.id, other.addresses.clone()));
    }

    /// The next happening.
    pub(super) async fn next(&mut self) -> Happening {
        timeout(PATIENCE, self.inbox.next()).await.expect("something happens").expect("the network lives")
    }

    /// The first happening that `wanted` takes; what comes before it is forgotten.
    pub(super) async fn until<T>(&mut self, mut wanted: impl FnMut(&Happening) -> Option<T>) -> T {
        let search = async {
            loop {
                let happening = self.inbox.next().await.expect("the network lives");
                if let Some(found) = wanted(&happening) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, search).await.expect("what is waited for happens")
    }

    pub(super) async fn until_connected(&mut self, other: NodeId) {
        self.until(|happening| match happening {
            Happening::Connected { peer, .. } if *peer == other => Some(()),
            Happening::DialFailed { peer, why } => panic!("dialling {peer:?} failed: {why:?}"),
            _ => None,
        })
        .await;
    }

    pub(super) async fn frame(&mut self) -> (NodeId, Lane, Vec<u8>) {
        self.until(|happening| match happening {
            Happening::Frame { peer, lane, bytes } => Some((*peer, *lane, bytes.clone())),
            Happening::Disconnected { peer, reason } => panic!("{peer:?} is gone: {reason:?}"),
            _ => None,
        })
        .await
    }

    /// Everything that happens within `ms`.
    pub(super) async fn during(&mut self, ms: u64) -> Vec<Happening> {
        let mut all = Vec::new();
        let collect = async {
            while let Some(happening) = self.inbox.next().await {
                all.push(happening);
            }
        };
        let _elapsed = timeout(Duration::from_millis(ms), collect).await;
        all
    }
}

pub(super) async fn connect(a: &mut Node, b: &mut Node) {
    a.dial(b);
    let (a_id, b_id) = (a.id, b.id);
    tokio::join!(a.until_connected(b_id), b.until_connected(a_id));
}

/// A peer that does by hand what it likes.
pub(super) struct Raw {
    pub(super) muxer: StreamMuxerBox,
    // QUIC's sockets live in the transport.
    _transport: Boxed<(libp2p::PeerId, StreamMuxerBox)>,
}

impl Raw {
    /// Encrypted and multiplexed, but not admitted.
    pub(super) async fn connect(seed: u8, address: Address) -> Raw {
        let mut transport = bare(&key(seed)).unwrap();
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport.dial(to_multiaddr(&address), opts).unwrap();
        let (_, muxer) = timeout(PATIENCE, dial).await.expect("in time").expect("connected");
        Raw { muxer, _transport: transport }
    }

    /// Admitted with a good grant.
    pub(super) async fn admitted(seed: u8, address: Address) -> Raw {
        let mut raw = Raw::connect(seed, address).await;
        let grant = grant_for(key(seed).id());
        let hello = Hello::new(grant.overlay(), u64::from(seed), Proof::Grant(grant));
        exchange::introduce(&mut raw.muxer, &hello).await.expect("admitted");
        raw
    }

    /// Opens a substream and writes these bytes to it.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> SubstreamBox {
        let mut stream = exchange::open(&mut self.muxer).await.unwrap();
        let write = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        exchange::drive(&mut self.muxer, write).await.unwrap();
        stream
    }

    /// Negotiates a protocol with multistream-select; its name if the other side agreed.
    pub(super) async fn negotiate(&mut self, name: &str) -> (SubstreamBox, Option<String>) {
        let message = |text: &str| {
            let mut bytes = vec![text.len() as u8 + 1];
            bytes.extend(text.as_bytes());
            bytes.push(b'\n');
            bytes
        };
        let mut stream = self.say(&[message("/multistream/1.0.0"), message(name)].concat()).await;
        let read = async {
            let mut last = String::new();
            for _ in 0..2 {
                let mut len = [0];
                stream.read_exact(&mut len).await?;
                let mut text = vec![0; len[0].into()];
                stream.read_exact(&mut text).await?;
                last = String::from_utf8_lossy(&text).trim_end().to_owned();
            }
            Ok(last)
        };
        let agreed = timeout(PATIENCE, exchange::drive(&mut self.muxer, read)).await.expect("in time").ok();
        (stream, agreed.filter(|agreed| agreed == name))
    }

    /// The three lanes.
    pub(super) async fn lanes(&mut self) -> [SubstreamBox; 3] {
        let mut lanes = Vec::new();
        for lane in Lane::ALL {
            let (stream, agreed) = self.negotiate(protocol(lane).as_ref()).await;
            assert!(agreed.is_some(), "{lane:?} is served");
            lanes.push(stream);
        }
        lanes.try_into().unwrap_or_else(|_| panic!("three lanes"))
    }

    pub(super) async fn write(&mut self, stream: &mut SubstreamBox, bytes: &[u8]) {
        let write = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        exchange::drive(&mut self.muxer, write).await.unwrap();
    }

    pub(super) async fn read_frame(&mut self, stream: &mut SubstreamBox) -> Vec<u8> {
        let read = async {
            let mut head = [0; 4];
            stream.read_exact(&mut head).await?;
            let mut body = vec![0; u32::from_be_bytes(head) as usize];
            stream.read_exact(&mut body).await?;
            Ok(body)
        };
        timeout(PATIENCE, exchange::drive(&mut self.muxer, read)).await.expect("in time").unwrap()
    }

    /// Until the other side closes.
    pub(super) async fn closed(self) {
        timeout(PATIENCE, exchange::linger(self.muxer)).await.expect("the other side closes");
    }
}

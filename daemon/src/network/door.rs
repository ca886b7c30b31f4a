//! The transport: TCP and QUIC, with admission as their last step.
//!
//! What leaves here towards the swarm is a connection to a member. Every failure is one of [`DoorError`], so that
//! nobody above has to dig through nested transport errors.

use super::address::{from_multiaddr, peer_of, to_node, without_peer};
use super::admission::{Admission, RefusalReason};
use super::clocks::Clocks;
use super::connection::lock;
use super::dialling::{Plans, Turn};
use super::exchange::{self, ExchangeError, Introduced, Outcome};
use super::hasty::Hasty;
use super::inbox::{EventSender, Told};
use super::queue::Queue;
use super::{CONNECTIONS_INBOUND_MAX, QUIC_CONNECTION_WINDOW_BYTES, QUIC_STREAM_WINDOW_BYTES, STREAMS_MAX};
use super::{
    DIAL_MS_MAX, DialFailure, HANDSHAKE_MS_MAX, Happening, NetworkError, QUIC_IDLE_MS_MAX, QUIC_KEEP_ALIVE_MS,
};
use crate::clock;
use chinwag_base::limits::{ADMISSION_LINGER_MS, ADMISSION_MS_MAX, ADMISSIONS_MAX, CONNECTIONS_MAX};
use chinwag_base::{Keypair, NodeId};
use futures::FutureExt;
use futures::future::{BoxFuture, Either};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::{Multiaddr, PeerId, Transport, identity, noise, quic, tcp, yamux};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::WeakSender;
use tokio::time::timeout;

type Muxed = (PeerId, StreamMuxerBox);

/// libp2p's form of a node's key.
pub(crate) fn libp2p_keypair(keypair: &Keypair) -> Result<identity::Keypair, NetworkError> {
    identity::Keypair::ed25519_from_bytes(keypair.secret())
        .map_err(|error| NetworkError::Transport(error.to_string()))
}

/// TCP and QUIC with encryption and multiplexing, but without admission.
pub(super) fn bare(keypair: &Keypair) -> Result<Boxed<Muxed>, NetworkError> {
    bare_within(keypair, STREAMS_MAX)
}

/// The same for connections that have other bounds.
pub(crate) fn bare_within(keypair: &Keypair, streams_max: usize) -> Result<Boxed<Muxed>, NetworkError> {
    let keypair = libp2p_keypair(keypair)?;
    let noise = noise::Config::new(&keypair).map_err(|error| NetworkError::Transport(error.to_string()))?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(streams_max);
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .map_err(Visible)
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let mut config = quic::Config::new(&keypair);
    config.handshake_timeout = Duration::from_millis(HANDSHAKE_MS_MAX);
    config.max_idle_timeout = QUIC_IDLE_MS_MAX;
    config.keep_alive_interval = Duration::from_millis(QUIC_KEEP_ALIVE_MS);
    config.max_concurrent_stream_limit = streams_max as u32;
    config.max_stream_data = QUIC_STREAM_WINDOW_BYTES;
    config.max_connection_data = QUIC_CONNECTION_WINDOW_BYTES;
    let quic = quic::tokio::Transport::new(config)
        .map_err(|error| Visible(quic_io(error)))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(tcp
        .or_transport(quic)
        .map(|either, _| match either {
            Either::Left(muxed) | Either::Right(muxed) => muxed,
        })
        .boxed())
}

fn quic_io(error: quic::Error) -> io::Error {
    match error {
        quic::Error::Io(error) => error,
        quic::Error::HandshakeTimedOut => io::ErrorKind::TimedOut.into(),
        // The variants of the connection's error are private to libp2p; this is quinn's text.
        quic::Error::Connection(error) if error.to_string() == "timed out" => io::ErrorKind::TimedOut.into(),
        other => io::Error::other(other),
    }
}

/// An I/O error that is its own source: libp2p's `Either` shows the sources of what it holds, but not that itself.
#[derive(Debug)]
struct Visible(io::Error);

impl fmt::Display for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Visible {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// The innermost I/O error with a kind of its own.
pub(crate) fn innermost_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        // Transparent: it shows the source of what it holds, but not that itself.
        if let Some(noise::Error::Io(io)) = error.downcast_ref() {
            return Some(innermost_io(io).unwrap_or(io));
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.get_ref() {
                Some(inner) => found = innermost_io(inner).or(found),
                None => return Some(io),
            }
            if io.kind() != io::ErrorKind::Other {
                found = found.or(Some(io));
            }
        }
    }
    found
}

/// Why a connection did not come about.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum DoorError {
    #[error("the connection failed: {0:?}")]
    Failed(DialFailure),
    #[error("cannot listen: {1}")]
    Listen(io::ErrorKind, String),
}

impl DoorError {
    pub(super) fn of_io(error: &io::Error) -> Self {
        DoorError::Failed(match innermost_io(error).map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => DialFailure::Refused,
            Some(io::ErrorKind::TimedOut) => DialFailure::TimedOut,
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => DialFailure::Reset,
            _ => DialFailure::Other(error.to_string()),
        })
    }

    fn of_listen(error: &io::Error) -> Self {
        let innermost = innermost_io(error);
        DoorError::Listen(
            innermost.map_or(io::ErrorKind::Other, io::Error::kind),
            innermost.unwrap_or(error).to_string(),
        )
    }
}

/// What the door knows and shares with the behaviour and the handle.
pub(super) struct Shared {
    pub(super) admission: Arc<dyn Admission>,
    /// Drawn at the start of this process.
    pub(super) instance: u64,
    /// Established connections.
    pub(super) connections: AtomicUsize,
    pub(super) plans: Plans,
    /// What the exchange found, until the swarm brings the connection. By peer, whether we dialled, and address.
    introduced: Mutex<VecDeque<(Key, Introduced)>>,
    refusals: Mutex<BTreeMap<RefusalReason, u64>>,
    pub(super) clocks: Clocks,
    queue: Queue,
    lingering: Arc<Semaphore>,
    /// Weak, because handles keep this and the inbox must end without them.
    events: WeakSender<Told>,
}

type Key = (PeerId, bool, Multiaddr);

impl Shared {
    pub(super) fn new(admission: Arc<dyn Admission>, instance: u64, events: &EventSender) -> Arc<Self> {
        Arc::new(Shared {
            admission,
            instance,
            connections: AtomicUsize::new(0),
            plans: Plans::default(),
            introduced: Mutex::default(),
            refusals: Mutex::default(),
            clocks: Clocks::default(),
            queue: Queue::default(),
            lingering: Arc::new(Semaphore::new(ADMISSIONS_MAX)),
            events: events.downgrade(),
        })
    }

    fn note_clock(&self, peer: NodeId, introduced: &Introduced) {
        if let Some(reading) = introduced.clock {
            self.clocks.note(peer, reading, clock::now());
        }
    }

    fn keep(&self, key: Key, introduced: Introduced) {
        let mut all = lock(&self.introduced);
        // A connection that the swarm dropped on the way leaves its row behind.
        if all.len() >= CONNECTIONS_MAX {
            all.pop_front();
        }
        all.push_back((key, introduced));
    }

    /// What the exchange with this peer found.
    pub(super) fn take(&self, peer: PeerId, dialled: bool, address: &Multiaddr) -> Option<Introduced> {
        let key = (peer, dialled, without_peer(address));
        let mut all = lock(&self.introduced);
        let at = all.iter().rposition(|(other, _)| *other == key)?;
        all.remove(at).map(|(_, introduced)| introduced)
    }

    /// Counts a refusal and tells it, as far as there is room.
    pub(super) fn refused(&self, address: &Multiaddr, peer: Option<NodeId>, why: RefusalReason) {
        let mut refusals = lock(&self.refusals);
        // A peer chooses the numbers in `Version`, and must not choose how long this list gets.
        let reason = match why {
            RefusalReason::Version { .. } => RefusalReason::Version { min: 0, max: 0 },
            other => other,
        };
        *refusals.entry(reason).or_default() += 1;
        drop(refusals);
        let happening = Happening::Refused { address: from_multiaddr(address), peer, why };
        // Half of the room is for what members do.
        if let Some(events) =
            self.events.upgrade().filter(|events| events.capacity() > events.max_capacity() / 2)
        {
            let _full = events.try_send(Told::Plain(happening));
        }
    }

    pub(super) fn refusals(&self) -> Vec<(RefusalReason, u64)> {
        lock(&self.refusals).iter().map(|(why, count)| (*why, *count)).collect()
    }

    /// The listener's side, from an encrypted connection to a member or an error.
    async fn admit(
        self: Arc<Self>,
        peer: PeerId,
        mut muxer: StreamMuxerBox,
        from: Multiaddr,
    ) -> Result<Muxed, DoorError> {
        let denied = |why| DoorError::Failed(DialFailure::Denied(why));
        let Some(node) = to_node(&peer) else {
            self.refused(&from, None, RefusalReason::Malformed);
            return Err(denied(RefusalReason::Malformed));
        };
        let full = self.connections.load(Ordering::Relaxed) >= CONNECTIONS_INBOUND_MAX;
        let exchange = exchange::listen(&mut muxer, node, &*self.admission, self.instance, full);
        let limit = Duration::from_millis(ADMISSION_MS_MAX);
        let refused = match timeout(limit, exchange).await {
            Ok(Ok((Outcome::Admitted(introduced), _stream))) => {
                self.note_clock(node, &introduced);
                self.keep((peer, false, without_peer(&from)), introduced);
                return Ok((peer, Hasty::wrap(muxer)));
            }
            Ok(Ok((Outcome::Refused(why), stream))) => {
                self.linger(muxer, stream);
                why
            }
            Ok(Ok((Outcome::Issued, stream))) => {
                self.linger(muxer, stream);
                return Err(DoorError::Failed(DialFailure::Other("the invite was redeemed".to_owned())));
            }
            Ok(Ok((Outcome::Stranger(why), _))) => why,
            Ok(Err(error)) => return Err(DoorError::of_io(&error)),
            Err(_elapsed) => RefusalReason::TooSlow,
        };
        self.refused(&from, Some(node), refused);
        Err(denied(refused))
    }

    /// Keeps a connection moving until the peer has read our answer.
    fn linger(&self, muxer: StreamMuxerBox, stream: impl Send + 'static) {
        let Ok(permit) = self.lingering.clone().try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _elapsed = timeout(Duration::from_millis(ADMISSION_LINGER_MS), exchange::linger(muxer)).await;
            drop((stream, permit));
        });
    }

    /// The dialler's side.
    async fn introduce(
        self: Arc<Self>,
        expected: Option<PeerId>,
        peer: PeerId,
        mut muxer: StreamMuxerBox,
        to: Multiaddr,
    ) -> Result<Muxed, DoorError> {
        let node = to_node(&peer);
        let (Some(node), true) = (node, expected.is_none_or(|expected| expected == peer)) else {
            let why = node.map_or(DialFailure::Denied(RefusalReason::Malformed), DialFailure::WrongPeer);
            return Err(DoorError::Failed(why));
        };
        match exchange::dial(&mut muxer, node, &*self.admission, self.instance).await {
            Ok(introduced) => {
                self.note_clock(node, &introduced);
                self.keep((peer, true, without_peer(&to)), introduced);
                Ok((peer, Hasty::wrap(muxer)))
            }
            Err(ExchangeError::Refused(why)) => Err(DoorError::Failed(DialFailure::Denied(why))),
            Err(ExchangeError::Io(error)) => Err(DoorError::of_io(&error)),
        }
    }
}

/// The transport that the swarm uses.
pub(super) struct Door {
    bare: Boxed<Muxed>,
    shared: Arc<Shared>,
}

impl Door {
    pub(super) fn new(bare: Boxed<Muxed>, shared: Arc<Shared>) -> Self {
        Door { bare, shared }
    }
}

impl Transport for Door {
    type Output = Muxed;
    type Error = DoorError;
    type ListenerUpgrade = BoxFuture<'static, Result<Muxed, DoorError>>;
    type Dial = BoxFuture<'static, Result<Muxed, DoorError>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<DoorError>> {
        self.bare.listen_on(id, addr).map_err(|error| error.map(|io| DoorError::of_listen(&io)))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.bare.remove_listener(id)
    }

    fn dial(&mut self, addr: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<DoorError>> {
        let connect =
            self.bare.dial(addr.clone(), opts).map_err(|error| error.map(|io| DoorError::of_io(&io)))?;
        let turn = self.shared.plans.turn(&addr);
        let shared = self.shared.clone();
        Ok(async move {
            let expected = peer_of(&addr);
            let attempt = async {
                let (peer, muxer) = connect.await.map_err(|error| DoorError::of_io(&error))?;
                shared.introduce(expected, peer, muxer, addr).await
            };
            Turn::take(turn, async {
                timeout(Duration::from_millis(DIAL_MS_MAX), attempt)
                    .await
                    .unwrap_or(Err(DoorError::Failed(DialFailure::TimedOut)))
            })
            .await
        }
        .boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, DoorError>> {
        let event = std::task::ready!(Pin::new(&mut self.bare).poll(cx));
        Poll::Ready(match event {
            TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } => {
                let (shared, from) = (self.shared.clone(), send_back_addr.clone());
                let ticket = shared.queue.enter();
                let upgrade = async move {
                    let Some(mut ticket) = ticket else {
                        shared.refused(&from, None, RefusalReason::Busy);
                        return Err(DoorError::Failed(DialFailure::Denied(RefusalReason::Busy)));
                    };
                    let entering = async {
                        let (peer, muxer) = timeout(Duration::from_millis(HANDSHAKE_MS_MAX), upgrade)
                            .await
                            .map_err(|_| DoorError::Failed(DialFailure::TimedOut))?
                            .map_err(|error| DoorError::of_io(&error))?;
                        shared.clone().admit(peer, muxer, from.clone()).await
                    };
                    tokio::select! {
                        entered = entering => entered,
                        () = ticket.sent_away() => {
                            shared.refused(&from, None, RefusalReason::TooSlow);
                            Err(DoorError::Failed(DialFailure::Denied(RefusalReason::TooSlow)))
                        }
                    }
                }
                .boxed();
                TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr }
            }
            other => other
                .map_upgrade(|_| unreachable!("incoming connections are matched above"))
                .map_err(|error| DoorError::of_listen(&error)),
        })
    }
}

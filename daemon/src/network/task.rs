//! The task that owns the swarm.

use super::address::{from_multiaddr, to_multiaddr};
use super::connection::lock;
use super::door::{Door, DoorError, Shared, bare, innermost_io, libp2p_keypair};
use super::inbox::{EventSender, FrameSenders, Told};
use super::lanes::Lanes;
use super::{Happening, LEAVE_MS_MAX, LISTEN_MS_MAX, NetworkConfig, NetworkError, Routes, STREAMS_MAX};
use crate::kad;
use chinwag_base::address::Transport as Kind;
use chinwag_base::limits::ADDRESSES_MAX;
use chinwag_base::{Address, NodeId};
use futures::StreamExt;
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{Transport, identify, swarm};
use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// What the handle asks of the task.
pub(super) enum Command {
    Dial(NodeId, Vec<Address>),
    FindBlob(chinwag_dht::BlobHash, kad::members::Found),
    Shutdown(oneshot::Sender<()>),
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    lanes: Lanes,
    identify: identify::Behaviour,
    kad: kad::Attended<kad::MemberShelf>,
}

/// The swarm and what its task needs beside it.
pub(super) struct Task {
    swarm: Swarm<Behaviour>,
    routes: Routes,
    events: EventSender,
    listening: BTreeSet<Address>,
    walks: kad::Walks,
}

impl Task {
    /// Binds every listener, or none.
    pub(super) async fn bind(
        config: &NetworkConfig,
        shared: Arc<Shared>,
        routes: Routes,
        events: EventSender,
        frames: FrameSenders,
    ) -> Result<Self, NetworkError> {
        let keypair = libp2p_keypair(&config.keypair)?;
        let lanes = Lanes::new(config.keypair.id(), shared.clone(), routes.clone(), frames);
        let identify = identify::Config::new("/chinwag/1".to_owned(), keypair.public())
            .with_agent_version(config.agent.clone())
            .with_cache_size(0);
        let kad = kad::members(keypair.public().to_peer_id(), &config.records);
        let behaviour = Behaviour { lanes, identify: identify::Behaviour::new(identify), kad };
        let door = Door::new(bare(&config.keypair)?, shared).boxed();
        let dials =
            NonZeroU8::new(ADDRESSES_MAX as u8).expect("a peer has addresses, because the limit is above 0");
        let swarm_config = swarm::Config::with_tokio_executor()
            .with_dial_concurrency_factor(dials)
            .with_max_negotiating_inbound_streams(STREAMS_MAX);
        let swarm = Swarm::new(door, behaviour, keypair.public().to_peer_id(), swarm_config);
        let mut task =
            Task { swarm, routes, events, listening: BTreeSet::new(), walks: kad::Walks::default() };
        task.listen(&config.listen).await?;
        Ok(task)
    }

    async fn listen(&mut self, addresses: &[Address]) -> Result<(), NetworkError> {
        for address in addresses {
            check_free(address).map_err(|source| NetworkError::Listen { address: *address, source })?;
        }
        let mut unbound: Vec<(ListenerId, Address)> = Vec::new();
        for address in addresses {
            let listener = self
                .swarm
                .listen_on(to_multiaddr(address))
                .map_err(|error| NetworkError::Listen { address: *address, source: listen_io(error) })?;
            unbound.push((listener, *address));
        }
        let bound = async {
            while let Some((_, address)) = unbound.first().copied() {
                match self.swarm.select_next_some().await {
                    SwarmEvent::NewListenAddr { listener_id, address } => {
                        unbound.retain(|(id, _)| *id != listener_id);
                        self.listening.extend(from_multiaddr(&address));
                    }
                    SwarmEvent::ListenerClosed { reason: Err(source), .. } => {
                        return Err(NetworkError::Listen { address, source });
                    }
                    _ => {}
                }
            }
            Ok(())
        };
        timeout(Duration::from_millis(LISTEN_MS_MAX), bound).await.unwrap_or_else(|_| {
            let address = unbound.first().map_or(addresses[0], |(_, address)| *address);
            Err(NetworkError::Listen { address, source: io::ErrorKind::TimedOut.into() })
        })?;
        self.tell_listening().await;
        Ok(())
    }

    async fn tell_listening(&mut self) {
        let mut all: Vec<Address> = self.listening.iter().copied().collect();
        self.swarm.behaviour_mut().lanes.listening(all.clone());
        // Nobody else can use them, because a link-local address is nothing without its interface.
        all.retain(|address| !address.is_link_local());
        let _gone = self.events.send(Told::Plain(Happening::Listening(all))).await;
    }

    /// Runs until it is told to stop, or until nobody holds a handle or reads the inbox.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let events = self.events.clone();
        let stopped = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event).await,
                command = commands.recv() => match command {
                    Some(Command::Dial(peer, addresses)) => self.swarm.behaviour_mut().lanes.dial(peer, &addresses),
                    Some(Command::FindBlob(hash, found)) => self.walks.begin(&mut self.swarm.behaviour_mut().kad, hash, found),
                    Some(Command::Shutdown(stopped)) => break Some(stopped),
                    None => break None,
                },
                () = events.closed() => break None,
            }
        };
        self.leave().await;
        drop(self);
        if let Some(stopped) = stopped {
            let _gone = stopped.send(());
        }
    }

    async fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => {
                self.walks.on_event(&mut self.swarm.behaviour_mut().kad, event);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Lanes(told)) => {
                match &told {
                    Told::Connected(_, Happening::Connected { peer, address, .. }) => {
                        self.swarm.behaviour_mut().kad.meet(*peer, to_multiaddr(address));
                    }
                    Told::Disconnected(_, Happening::Disconnected { peer, .. }) => {
                        self.swarm.behaviour_mut().kad.part(*peer);
                    }
                    _ => {}
                }
                let _gone = self.events.send(told).await;
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => {
                let observed = from_multiaddr(&info.observed_addr);
                tracing::debug!(peer = %peer_id, agent = info.agent_version.escape_debug().to_string(), ?observed, "identified");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.listening.extend(from_multiaddr(&address));
                self.tell_listening().await;
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                if let Some(address) = from_multiaddr(&address) {
                    self.listening.remove(&address);
                }
                self.tell_listening().await;
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener failed"),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?reason, "a listener has closed");
                for address in addresses.iter().filter_map(from_multiaddr) {
                    self.listening.remove(&address);
                }
                self.tell_listening().await;
            }
            _ => {}
        }
    }

    /// Says goodbye to everybody.
    async fn leave(&mut self) {
        lock(&self.routes).values().for_each(|peer| peer.leave());
        let deadline = sleep(Duration::from_millis(2 * LEAVE_MS_MAX));
        tokio::pin!(deadline);
        while self.swarm.connected_peers().next().is_some() {
            tokio::select! {
                event = self.swarm.select_next_some() => {
                    // Nobody may be reading any more, and nothing may wait for them.
                    if let SwarmEvent::Behaviour(BehaviourEvent::Lanes(told)) = event {
                        let _full = self.events.try_send(told);
                    }
                }
                () = &mut deadline => break,
            }
        }
        lock(&self.routes).clear();
    }
}

/// libp2p listens with `SO_REUSEPORT`, so two daemons of one user could share a TCP port without noticing. A socket
/// without that option tells.
pub(crate) fn check_free(address: &Address) -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
    if address.transport == Kind::Quic || address.socket.port() == 0 {
        return Ok(());
    }
    let family = if address.socket.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let probe = socket(family, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&probe, true)?;
    if address.socket.is_ipv6() {
        sockopt::set_ipv6_v6only(&probe, true)?;
    }
    bind(&probe, &address.socket)?;
    listen(&probe, 1)?;
    Ok(())
}

fn listen_io(error: TransportError<io::Error>) -> io::Error {
    match error {
        TransportError::MultiaddrNotSupported(address) => {
            io::Error::other(format!("no transport for {address}"))
        }
        TransportError::Other(error) => {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<DoorError>()) {
                Some(DoorError::Listen(kind, words)) => io::Error::new(*kind, words.clone()),
                _ => innermost_io(&error)
                    .map_or_else(|| io::Error::other(error.to_string()), |io| io.kind().into()),
            }
        }
    }
}

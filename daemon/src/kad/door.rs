//! The open door: a swarm of its own, for programs that are no members.
//!
//! It has a key of its own, so that nobody mistakes it for the node: what the door signs or serves says nothing about
//! membership. Behind it there are identify, ping and Kademlia, and nothing else; it answers and never dials. Its routing
//! table stays empty, so it lists no closer peers: members are nobody's business outside, and where other members'
//! doors are is not announced yet.

use super::attended::Attended;
use super::disk::{self, Disk};
use super::guests::{DoorShelf, SharedGuests, lock};
use super::meter::Meter;
use super::providers::Providers;
use super::refusals::Refusals;
use super::threshold::{Crowded, Threshold};
use super::{Records, config};
use crate::clock;
use crate::network::{bare_within, check_free, from_multiaddr, innermost_io, libp2p_keypair, to_multiaddr};
use crate::observe::Row;
use chinwag_api::event::Level;
use chinwag_api::{Failure, Kind, OpenDoor};
use chinwag_base::limits::{DOOR_IDLE_MS_MAX, DOOR_STREAMS_MAX};
use chinwag_base::{Address, Keypair};
use chinwag_dht::BlobHash;
use futures::StreamExt;
use libp2p::swarm::{ListenError, NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Transport, identify, ping, swarm};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long a listener may take to bind.
const LISTEN_MS_MAX: u64 = 3_000;
/// How long a stranger may take to encrypt its connection.
const HANDSHAKE_MS_MAX: u64 = 5_000;
/// How often blobs that have ended are dropped.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// What [`Door::open`] needs to know.
pub(crate) struct DoorConfig {
    /// The door's own key.
    pub(crate) keypair: Keypair,
    /// Where to listen.
    pub(crate) listen: Vec<Address>,
    /// The file of the guests' blobs.
    pub(crate) path: PathBuf,
    /// What identify tells about this program.
    pub(crate) agent: String,
    /// The members' records, to be read.
    pub(crate) records: Records,
}

/// A running door. It closes with [`Door::close`], or when it is dropped.
pub(crate) struct Door {
    me: PeerId,
    guests: SharedGuests,
    refusals: Refusals,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<(tokio::task::JoinHandle<()>, JoinHandle<()>)>>,
}

/// What the task tells the status.
#[derive(Default)]
struct Shared {
    listening: Mutex<BTreeSet<Multiaddr>>,
    inside: AtomicUsize,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    // First, so that nothing is made for a connection that is not let in.
    threshold: Threshold,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    kad: Attended<DoorShelf>,
}

struct Task {
    swarm: Swarm<Behaviour>,
    guests: SharedGuests,
    disk: Disk,
    refusals: Refusals,
    shared: Arc<Shared>,
    unbound: Vec<(libp2p::core::transport::ListenerId, Address)>,
}

impl Door {
    /// Reads the guests' blobs and binds every listener; when it returns, programs may connect.
    ///
    /// # Errors
    /// If an address is taken, or the file cannot be used. Nothing is left running.
    pub(crate) async fn open(config: DoorConfig) -> Result<Self, Failure> {
        let DoorConfig { keypair, listen, path, agent, records } = config;
        let tell = records.tell.clone();
        let (guests, disk, writer) = disk::open(&path, clock::wall(), tell.clone())?;
        let guests = Arc::new(Mutex::new(guests));
        let refusals = Refusals::new("door", tell.clone());
        let shared = Arc::new(Shared::default());
        let store = DoorShelf {
            me: keypair.id(),
            guests: guests.clone(),
            disk: disk.clone(),
            shelf: records.shelf,
            providers: Providers::new(refusals.clone()),
            refusals: refusals.clone(),
            meter: Mutex::new(Meter::new(Instant::now())),
            peer: None,
            origin: None,
        };
        let swarm = swarm(&keypair, store, agent)
            .map_err(|why| Failure::new(Kind::Internal, "the open door cannot be set up").because(why))?;
        let me = *swarm.local_peer_id();
        let (guests_out, refusals_out) = (guests.clone(), refusals.clone());
        let mut task = Task { swarm, guests, disk, refusals, shared: shared.clone(), unbound: Vec::new() };
        task.listen(&listen).await.map_err(|(address, error)| listen_failure(&address, &error))?;
        let (stop, stopped) = watch::channel(false);
        let door = Door {
            me,
            guests: guests_out,
            refusals: refusals_out,
            shared,
            stop,
            task: Mutex::new(Some((tokio::spawn(task.run(stopped)), writer))),
        };
        let addresses = door.status().addresses.join(" ");
        tell.tell(
            Row::new(Level::Info, "door.opened").with("peer", me.to_base58()).with("addresses", addresses),
        );
        Ok(door)
    }

    /// What `GET /v1/status` says of the door.
    pub(crate) fn status(&self) -> OpenDoor {
        let guests = lock(&self.guests);
        let listening = self.shared.listening.lock().unwrap_or_else(PoisonError::into_inner);
        OpenDoor {
            peer: self.me.to_base58(),
            addresses: listening.iter().map(|address| format!("{address}/p2p/{}", self.me)).collect(),
            connections: self.shared.inside.load(Ordering::Relaxed) as u64,
            records: guests.len() as u64,
            bytes: guests.bytes() as u64,
            refused: self.refusals.counts(),
        }
    }

    /// A blob that came in through the door, for the overlay to read.
    pub(crate) fn get(&self, hash: &BlobHash) -> Option<Arc<[u8]>> {
        lock(&self.guests).get(hash, clock::wall())
    }

    /// Closes every connection and the file. What was put is on the disk when this returns.
    pub(crate) async fn close(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((task, writer)) = task {
            let _ended = task.await;
            // The writer ends once the task has dropped its end of the channel.
            let _joined = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }
}

fn swarm(keypair: &Keypair, store: DoorShelf, agent: String) -> Result<Swarm<Behaviour>, String> {
    let key = libp2p_keypair(keypair).map_err(|e| e.to_string())?;
    let me = key.public().to_peer_id();
    let transport = bare_within(keypair, DOOR_STREAMS_MAX).map_err(|e| e.to_string())?;
    // A stranger that opens a socket and says nothing must not keep its place.
    let transport = libp2p::core::transport::timeout::TransportTimeout::new(
        transport,
        Duration::from_millis(HANDSHAKE_MS_MAX),
    );
    let identify = identify::Config::new("/chinwag/door/1".to_owned(), key.public())
        .with_agent_version(agent)
        .with_cache_size(0);
    let behaviour = Behaviour {
        threshold: Threshold::default(),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::default(),
        kad: Attended::new(me, store, config()),
    };
    let config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(Duration::from_millis(DOOR_IDLE_MS_MAX))
        .with_max_negotiating_inbound_streams(DOOR_STREAMS_MAX);
    Ok(Swarm::new(transport.boxed(), behaviour, me, config))
}

fn listen_failure(address: &Address, error: &io::Error) -> Failure {
    Failure::new(Kind::Taken, format!("the open door cannot listen on {address}"))
        .because(error.to_string())
        .hint("another address: --open IP:PORT (port 0: any free one)")
}

impl Task {
    async fn listen(&mut self, addresses: &[Address]) -> Result<(), (Address, io::Error)> {
        for address in addresses {
            check_free(address).map_err(|error| (*address, error))?;
        }
        for address in addresses {
            let listener = self.swarm.listen_on(to_multiaddr(address)).map_err(|error| {
                let kind = innermost_io(&error).map_or(io::ErrorKind::Other, io::Error::kind);
                (*address, kind.into())
            })?;
            self.unbound.push((listener, *address));
        }
        let bound = async {
            while !self.unbound.is_empty() {
                let event = self.swarm.select_next_some().await;
                if let SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } = &event
                    && let Some((_, address)) = self.unbound.iter().find(|(id, _)| id == listener_id)
                {
                    return Err((*address, error.kind().into()));
                }
                self.on_event(event);
            }
            Ok(())
        };
        let bound = timeout(Duration::from_millis(LISTEN_MS_MAX), bound).await;
        bound.unwrap_or_else(|_| Err((addresses[0], io::ErrorKind::TimedOut.into())))
    }

    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut expire = interval(EXPIRE_EVERY);
        expire.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                _ = expire.tick() => {
                    let ended = lock(&self.guests).expire(clock::wall());
                    self.disk.remove(ended);
                }
                // True, or nobody holds the door any more.
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.unbound.retain(|(id, _)| *id != listener_id);
                self.listening(|all| {
                    // As with members: nobody else can use a link-local address.
                    if from_multiaddr(&address).is_some_and(|address| !address.is_link_local()) {
                        all.insert(address);
                    }
                });
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => self.listening(|all| {
                all.remove(&address);
            }),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?reason, "a listener of the open door has closed");
                self.listening(|all| all.retain(|address| !addresses.contains(address)));
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener of the open door failed")
            }
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error: ListenError::Denied { cause },
                ..
            } => {
                if let Ok(Crowded(reason)) = cause.downcast::<Crowded>() {
                    self.refusals.connection(send_back_addr.to_string(), reason);
                }
            }
            SwarmEvent::ConnectionEstablished { .. } | SwarmEvent::ConnectionClosed { .. } => {
                self.shared.inside.store(self.swarm.behaviour().threshold.inside(), Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn listening(&self, change: impl FnOnce(&mut BTreeSet<Multiaddr>)) {
        change(&mut self.shared.listening.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

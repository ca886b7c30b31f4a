//! What one connection's task, the [`Network`](super::Network) handle and the behaviour share: the queues of frames to write,
//! and a few flags. So a frame goes from the driver to the task that writes it without a detour over the swarm.

use super::{DisconnectReason, SendError};
use chinwag_base::{Lane, NodeId};
use chinwag_node::lanes::{BulkFull, LaneQueues};
use futures::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Locks, also after a panic elsewhere: everything that our locks guard is whole between two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a connection is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leaving {
    /// Not at all.
    No,
    /// A better connection to the same peer is there; both ends get a moment to notice before this one goes.
    Retired,
    /// At once: what is queued is written, then goodbye is said.
    Now,
}

/// One connection, as everybody but its task sees it.
pub(super) struct Connection {
    queues: Mutex<LaneQueues>,
    leaving: Mutex<Leaving>,
    /// Set when all lanes are open.
    peer: OnceLock<Arc<Peer>>,
    /// Why it ended, if the task knows better than the transport.
    verdict: Mutex<Option<DisconnectReason>>,
    task: AtomicWaker,
}

impl Connection {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Connection {
            queues: Mutex::default(),
            leaving: Mutex::new(Leaving::No),
            peer: OnceLock::new(),
            verdict: Mutex::new(None),
            task: AtomicWaker::new(),
        })
    }

    pub(super) fn push(&self, lane: Lane, slot: u8, frame: Vec<u8>) -> Result<(), SendError> {
        lock(&self.queues).push(lane, slot, frame).map_err(|BulkFull| SendError::BulkFull)?;
        self.task.wake();
        Ok(())
    }

    pub(super) fn pop(&self, lane: Lane) -> Option<Vec<u8>> {
        lock(&self.queues).pop(lane)
    }

    pub(super) fn leave(&self, how: Leaving) {
        let mut leaving = lock(&self.leaving);
        *leaving = how.max(*leaving);
        drop(leaving);
        self.task.wake();
    }

    pub(super) fn leaving(&self) -> Leaving {
        *lock(&self.leaving)
    }

    /// The first verdict stands.
    pub(super) fn judge(&self, reason: DisconnectReason) {
        lock(&self.verdict).get_or_insert(reason);
    }

    pub(super) fn verdict(&self) -> Option<DisconnectReason> {
        lock(&self.verdict).clone()
    }

    pub(super) fn belong_to(&self, peer: Arc<Peer>) {
        let _already = self.peer.set(peer);
        self.task.wake();
    }

    /// The peer, once the driver has been told of it and so expects its frames.
    pub(super) fn reading_for(&self) -> Option<&Arc<Peer>> {
        self.peer.get().filter(|peer| peer.active.load(Ordering::Acquire))
    }

    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.task.register(waker);
    }

    pub(super) fn wake(&self) {
        self.task.wake();
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.id.fmt(f)
    }
}

/// A connected peer: from the `Connected` that the driver is given to the `Disconnected`.
pub(super) struct Peer {
    pub(super) id: NodeId,
    /// The driver has been given `Connected`.
    active: AtomicBool,
    /// Frames in the inbox.
    pub(super) waiting: AtomicUsize,
    /// The connections whose lanes are open. The first is written to.
    connections: Mutex<Vec<Arc<Connection>>>,
}

impl Peer {
    pub(super) fn new(id: NodeId) -> Arc<Self> {
        Arc::new(Peer {
            id,
            active: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            connections: Mutex::default(),
        })
    }

    pub(super) fn activate(&self) {
        self.active.store(true, Ordering::Release);
        lock(&self.connections).iter().for_each(|connection| connection.wake());
    }

    pub(super) fn set_connections(&self, connections: Vec<Arc<Connection>>) {
        *lock(&self.connections) = connections;
    }

    pub(super) fn push(&self, lane: Lane, slot: u8, frame: Vec<u8>) -> Result<(), SendError> {
        match lock(&self.connections).first() {
            Some(connection) if connection.leaving() != Leaving::Now => connection.push(lane, slot, frame),
            _ => Err(SendError::NotConnected),
        }
    }

    pub(super) fn leave(&self) {
        lock(&self.connections).iter().for_each(|connection| connection.leave(Leaving::Now));
    }
}

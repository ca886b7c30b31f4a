//! What one connection's task, the [`Network`](super::Network) handle and the behaviour share: the queues of frames to write,
//! and a few flags. So a frame goes from the driver to the task that writes it without a detour over the swarm.

use super::{DisconnectReason, SendError};
use chinwag_base::limits::{
    BULK_QUEUE_BYTES_MAX, BULK_QUEUE_FRAMES_MAX, GOSSIP_QUEUE_BYTES_MAX, GOSSIP_QUEUE_FRAMES_MAX,
};
use chinwag_base::{Lane, NodeId};
use futures::task::AtomicWaker;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Locks, also after a panic elsewhere: everything that our locks guard is whole between two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The frames that wait to be written, by lane.
#[derive(Default)]
struct Queues {
    /// In the order in which the slots were first filled, each with its newest frame. At most 256 slots.
    probe: VecDeque<(u8, Vec<u8>)>,
    gossip: VecDeque<Vec<u8>>,
    gossip_bytes: usize,
    gossip_dropped: u64,
    bulk: VecDeque<Vec<u8>>,
    bulk_bytes: usize,
}

impl Queues {
    fn push(&mut self, lane: Lane, slot: u8, frame: Vec<u8>) -> Result<(), SendError> {
        match lane {
            Lane::Probe => match self.probe.iter_mut().find(|(taken, _)| *taken == slot) {
                Some((_, waiting)) => *waiting = frame,
                None => self.probe.push_back((slot, frame)),
            },
            Lane::Gossip => {
                self.gossip_bytes += frame.len();
                self.gossip.push_back(frame);
                while self.gossip.len() > GOSSIP_QUEUE_FRAMES_MAX
                    || self.gossip_bytes > GOSSIP_QUEUE_BYTES_MAX
                {
                    let oldest = self.gossip.pop_front().expect("a frame, because one was just pushed");
                    self.gossip_bytes -= oldest.len();
                    self.gossip_dropped += 1;
                }
            }
            Lane::Bulk => {
                let bytes = self.bulk_bytes + frame.len();
                if self.bulk.len() >= BULK_QUEUE_FRAMES_MAX || bytes > BULK_QUEUE_BYTES_MAX {
                    return Err(SendError::BulkFull);
                }
                self.bulk_bytes = bytes;
                self.bulk.push_back(frame);
            }
        }
        Ok(())
    }

    fn pop(&mut self, lane: Lane) -> Option<Vec<u8>> {
        match lane {
            Lane::Probe => self.probe.pop_front().map(|(_, frame)| frame),
            Lane::Gossip => {
                let frame = self.gossip.pop_front()?;
                self.gossip_bytes -= frame.len();
                Some(frame)
            }
            Lane::Bulk => {
                let frame = self.bulk.pop_front()?;
                self.bulk_bytes -= frame.len();
                Some(frame)
            }
        }
    }
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
    queues: Mutex<Queues>,
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
        lock(&self.queues).push(lane, slot, frame)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_probes_the_newest_of_each_kind_waits() {
        let connection = Connection::new();
        for i in 0..100u8 {
            connection.push(Lane::Probe, i % 2, vec![i]).unwrap();
        }
        assert_eq!(connection.pop(Lane::Probe), Some(vec![98]));
        assert_eq!(connection.pop(Lane::Probe), Some(vec![99]));
        assert_eq!(connection.pop(Lane::Probe), None);
    }

    #[test]
    fn gossip_drops_its_oldest_and_bulk_refuses() {
        let connection = Connection::new();
        for i in 0..GOSSIP_QUEUE_FRAMES_MAX + 10 {
            connection.push(Lane::Gossip, 0, (i as u32).to_be_bytes().to_vec()).unwrap();
        }
        assert_eq!(connection.pop(Lane::Gossip), Some(10u32.to_be_bytes().to_vec()));
        for _ in 0..GOSSIP_QUEUE_BYTES_MAX / 100_000 + 5 {
            connection.push(Lane::Gossip, 0, vec![7; 100_000]).unwrap();
        }
        let bytes: usize = std::iter::from_fn(|| connection.pop(Lane::Gossip)).map(|frame| frame.len()).sum();
        assert!((GOSSIP_QUEUE_BYTES_MAX - 100_000..=GOSSIP_QUEUE_BYTES_MAX).contains(&bytes), "{bytes}");
        for _ in 0..BULK_QUEUE_FRAMES_MAX {
            connection.push(Lane::Bulk, 0, vec![1]).unwrap();
        }
        assert_eq!(connection.push(Lane::Bulk, 0, vec![1]), Err(SendError::BulkFull));
        while connection.pop(Lane::Bulk).is_some() {}
        let large = vec![1; 1_000_000];
        let taken = (0..20).filter(|_| connection.push(Lane::Bulk, 0, large.clone()).is_ok()).count();
        assert_eq!(taken, BULK_QUEUE_BYTES_MAX / large.len());
        connection.pop(Lane::Bulk);
        connection.push(Lane::Bulk, 0, large).unwrap();
    }
}

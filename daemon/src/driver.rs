//! One task owns the node. It hands inputs in, drains outputs, and sleeps until the next of either.
//!
//! Order matters after a pause: first the node is told how long it did not run, then it is given the frames that
//! waited, and only then does a timer run. Otherwise a laptop that wakes up would accuse everyone.

use crate::clock;
use crate::gauges::{Connected, Gauges};
use crate::network::{DialFailure, DisconnectReason, Happening, Inbox, Network, SendError};
use crate::observe::{Observer, Row};
use crate::records::{RecordStorage, RecordsStored};
use crate::storage::{Compacted, Snapshot, Storage, Stored};
use chinwag_api::event::Level;
use chinwag_base::limits::EXPIRY_TOLERANCE_MS;
use chinwag_base::{Address, Digest, Key, Lane, Moment, NodeId, Tags, WallTime};
use chinwag_crdt::{Dot, Op};
use chinwag_gossip::{RequestId, Trace, TraceError, Wait, WriteError, Written};
use chinwag_membership::{ForgetError, Lost, Reached};
use chinwag_node::{Answer, Input, Node, Output};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

/// A pause longer than this is a stall: well above a scheduler's delay, well below a failed probe.
const STALL_MIN: Duration = Duration::from_millis(100);
/// Frames handled before timers and clients have their turn.
const FRAMES_PER_TURN: usize = 256;
/// How often the wall clock is read for the node.
const WALL_EVERY: Duration = Duration::from_secs(1);

/// What clients ask of the driver.
pub(crate) enum Command {
    /// Write, and answer when the wait is over.
    Write { ops: Vec<Op>, wait: Wait, timeout: Duration, reply: oneshot::Sender<Result<Written, WriteError>> },
    /// Answer when the write is visible here, or not in time; `None` if too many wait.
    Await { token: Vec<Dot>, timeout: Duration, reply: oneshot::Sender<Option<bool>> },
    /// Keep a record that came in by Kademlia. Nobody waits for it.
    Accept(chinwag_dht::Record),
    /// Ask the owners of a record, and answer with what they say.
    Ask { ask: chinwag_dht::Ask, timeout: Duration, reply: oneshot::Sender<chinwag_dht::Reply> },
    /// Call all members, and answer when they have answered; `None` if too many call at once.
    Reach { reply: oneshot::Sender<Option<Reached>> },
    /// Order a member to be forgotten.
    Forget { id: NodeId, reply: oneshot::Sender<Result<(), ForgetError>> },
    /// Ask the members how the last write to a key came to them.
    Trace { key: Key, reply: oneshot::Sender<Result<Trace, TraceError>> },
    /// Show the store as of a commit, and what the node holds at the same commit.
    Snapshot { reply: oneshot::Sender<Result<(Snapshot, Live), String>> },
    /// Write the state down, and give back the room that its file does not need.
    Compact { reply: oneshot::Sender<Result<Compacted, String>> },
    /// Look at the node. The closure runs on the driver's task and must be quick.
    Look(Look),
    /// Somebody to dial.
    Seed { peer: NodeId, addresses: Vec<Address> },
    /// Say this of ourselves.
    Tags(Tags),
    /// Tell people of something that happened outside the node.
    Tell(Row),
    /// Say goodbye and stop.
    Leave,
}

/// What the node holds of the replicated state, at one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) position: u64,
    pub(crate) clock: Digest,
    pub(crate) state: Digest,
    pub(crate) keys: usize,
}

/// A look at the node, on the driver's task.
pub(crate) type Look = Box<dyn FnOnce(&Node, &Observer, Moment) + Send>;

/// Why the driver stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It was asked to leave, and has.
    Left,
    /// It cannot go on.
    Failed(String),
}

/// Everything that the driver's task owns.
pub(crate) struct Driver {
    pub(crate) node: Node,
    pub(crate) network: Option<(Network, Inbox)>,
    pub(crate) storage: Storage,
    pub(crate) stored: mpsc::UnboundedReceiver<Stored>,
    pub(crate) records: RecordStorage,
    pub(crate) records_stored: mpsc::UnboundedReceiver<RecordsStored>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) observer: Observer,
    pub(crate) gauges: Arc<Mutex<Gauges>>,
    pub(crate) addresses: watch::Sender<Vec<Address>>,
    pub(crate) leave_within: Duration,
}

/// What the task remembers between turns.
#[derive(Default)]
struct Turn {
    next_request: u64,
    writes: BTreeMap<RequestId, oneshot::Sender<Result<Written, WriteError>>>,
    awaits: BTreeMap<RequestId, oneshot::Sender<Option<bool>>>,
    calls: BTreeMap<RequestId, oneshot::Sender<Option<Reached>>>,
    orders: BTreeMap<RequestId, oneshot::Sender<Result<(), ForgetError>>>,
    traces: BTreeMap<RequestId, oneshot::Sender<Result<Trace, TraceError>>>,
    snapshots: VecDeque<oneshot::Sender<Result<(Snapshot, Live), String>>>,
    compactions: Vec<oneshot::Sender<Result<Compacted, String>>>,
    asks: BTreeMap<chinwag_dht::RequestId, oneshot::Sender<chinwag_dht::Reply>>,
    /// Until when each connected peer's grant lasts.
    grants: BTreeMap<NodeId, WallTime>,
    departed: bool,
    leave_by: Option<Moment>,
    failed: Option<String>,
}

/// What woke the task.
enum Woken {
    Network(Happening),
    NetworkEnded,
    Stored(Stored),
    Records(RecordsStored),
    StorageEnded,
    Command(Command),
    Abandoned,
    Time,
}

impl Driver {
    /// Runs until it is told to leave, or cannot go on.
    pub(crate) async fn run(mut self) -> Stopped {
        let mut turn = Turn::default();
        let mut next_wall = clock::now();
        let mut began = clock::now();
        loop {
            let now = clock::now();
            if now >= next_wall {
                self.handle(now, Input::Wall(clock::wall()), &mut turn);
                self.gauges.lock().expect(UNPOISONED).sample(now);
                self.cancel_abandoned(now, &mut turn);
                self.close_expired(clock::wall(), &mut turn);
                next_wall = now + WALL_EVERY;
            }
            let deadline = self.node.next_deadline().map_or(next_wall, |d| d.min(next_wall));
            let deadline = turn.leave_by.map_or(deadline, |by| deadline.min(by));
            let ready = clock::now();
            self.note_stall(ready.since(began), &mut turn);
            // What is overdue already is work that goes on at once, and no pause of this process.
            let deadline = deadline.max(ready);

            let woken = self.wait(deadline).await;
            began = clock::now();
            self.note_stall(began.since(deadline), &mut turn);
            self.wake(woken, &mut turn);
            self.take_frames(&mut turn);
            self.take_the_rest(&mut turn);
            let now = clock::now();
            if self.node.next_deadline().is_some_and(|d| d <= now) {
                self.handle(now, Input::Tick, &mut turn);
            }
            if let Some(why) = turn.failed.take() {
                return self.stop(Stopped::Failed(why)).await;
            }
            if turn.departed || turn.leave_by.is_some_and(|by| by <= now) {
                return self.stop(Stopped::Left).await;
            }
        }
    }

    async fn stop(self, stopped: Stopped) -> Stopped {
        if let Some((network, _)) = self.network {
            network.shutdown().await;
        }
        // Nothing comes after this: what the node had to keep has been handed over.
        self.storage.close();
        self.records.close();
        stopped
    }

    async fn wait(&mut self, deadline: Moment) -> Woken {
        let nap = deadline.since(clock::now());
        let network = async {
            match &mut self.network {
                Some((_, inbox)) => inbox.next().await.map_or(Woken::NetworkEnded, Woken::Network),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            woken = network => woken,
            stored = self.stored.recv() => stored.map_or(Woken::StorageEnded, Woken::Stored),
            stored = self.records_stored.recv() => stored.map_or(Woken::StorageEnded, Woken::Records),
            command = self.commands.recv() => command.map_or(Woken::Abandoned, Woken::Command),
            () = sleep(nap) => Woken::Time,
        }
    }

    fn wake(&mut self, woken: Woken, turn: &mut Turn) {
        match woken {
            Woken::Network(happening) => self.happening(happening, turn),
            Woken::NetworkEnded => turn.failed = Some("the network has stopped".into()),
            Woken::Stored(stored) => self.stored(stored, turn),
            Woken::Records(stored) => self.records_stored(stored, turn),
            Woken::StorageEnded => turn.failed = Some("the storage thread has ended by a bug".into()),
            Woken::Command(command) => self.command(command, turn),
            // Every handle is gone: nobody can ask for anything any more.
            Woken::Abandoned => self.leave(turn),
            Woken::Time => {}
        }
    }

    fn take_frames(&mut self, turn: &mut Turn) {
        for _ in 0..FRAMES_PER_TURN {
            let Some((_, inbox)) = &mut self.network else { return };
            let Some(happening) = inbox.try_next() else { return };
            self.happening(happening, turn);
        }
    }

    fn take_the_rest(&mut self, turn: &mut Turn) {
        while let Ok(stored) = self.stored.try_recv() {
            self.stored(stored, turn);
        }
        while let Ok(stored) = self.records_stored.try_recv() {
            self.records_stored(stored, turn);
        }
        for _ in 0..FRAMES_PER_TURN {
            let Ok(command) = self.commands.try_recv() else { return };
            self.command(command, turn);
        }
    }

    /// Clients that hung up want no answer.
    fn cancel_abandoned(&mut self, now: Moment, turn: &mut Turn) {
        let writes = turn.writes.iter().filter(|(_, reply)| reply.is_closed()).map(|(request, _)| *request);
        let awaits = turn.awaits.iter().filter(|(_, reply)| reply.is_closed()).map(|(request, _)| *request);
        for request in writes.chain(awaits).collect::<Vec<_>>() {
            turn.writes.remove(&request);
            turn.awaits.remove(&request);
            self.handle(now, Input::Cancel { request }, turn);
        }
        let asks = turn.asks.iter().filter(|(_, reply)| reply.is_closed()).map(|(request, _)| *request);
        for request in asks.collect::<Vec<_>>() {
            turn.asks.remove(&request);
            self.handle(now, Input::CancelAsk { request }, turn);
        }
    }

    /// The door lets nobody in whose grant has ended; nor does anybody stay.
    fn close_expired(&self, wall: WallTime, turn: &mut Turn) {
        let Some((network, _)) = &self.network else { return };
        turn.grants.retain(|peer, not_after| {
            let lasts = not_after.plus_ms(EXPIRY_TOLERANCE_MS) >= wall;
            if !lasts {
                network.close(*peer);
            }
            lasts
        });
    }

    fn note_stall(&mut self, lasted: Duration, turn: &mut Turn) {
        if lasted >= STALL_MIN {
            self.handle(clock::now(), Input::Stalled { lasted }, turn);
        }
    }

    fn happening(&mut self, happening: Happening, turn: &mut Turn) {
        let now = clock::now();
        match happening {
            Happening::Frame { peer, lane, bytes } => {
                self.gauges.lock().expect(UNPOISONED).in_bytes += bytes.len() as u64;
                self.handle(now, Input::Frame { from: peer, lane, bytes }, turn);
            }
            Happening::Connected { peer, address, dialled, grant, .. } => {
                turn.grants.insert(peer, grant.not_after());
                let connected = Connected { address, dialled };
                self.gauges.lock().expect(UNPOISONED).connections.insert(peer, connected);
                self.observer.tell(
                    clock::wall(),
                    Row::new(Level::Debug, "connection.opened")
                        .with("peer", self.observer.name(&peer))
                        .with("address", address.to_string())
                        .with("dialled", dialled),
                    None,
                );
                self.handle(now, Input::Connected { peer }, turn);
            }
            Happening::Disconnected { peer, reason } => {
                turn.grants.remove(&peer);
                self.gauges.lock().expect(UNPOISONED).connections.remove(&peer);
                self.observer.tell(
                    clock::wall(),
                    Row::new(Level::Debug, "connection.closed")
                        .with("peer", self.observer.name(&peer))
                        .with("reason", reason_text(&reason)),
                    None,
                );
                self.handle(now, Input::Disconnected { peer, reason: lost(&reason) }, turn);
            }
            Happening::DialFailed { peer, why } => {
                self.handle(now, Input::DialFailed { peer, why: dial_failure(why) }, turn);
            }
            Happening::Listening(addresses) => {
                self.addresses.send_replace(addresses.clone());
                self.handle(now, Input::Addresses(addresses), turn);
            }
            Happening::Refused { address, peer, why } => {
                let mut row = Row::new(Level::Warn, "grant.refused").with("why", why.to_string());
                if let Some(peer) = peer {
                    row = row.with("peer", self.observer.name(&peer));
                }
                if let Some(address) = address {
                    row = row.with("address", address.to_string());
                }
                self.observer.tell(clock::wall(), row, None);
            }
        }
    }

    fn stored(&mut self, stored: Stored, turn: &mut Turn) {
        let now = clock::now();
        match stored {
            Stored::Persisted(batch) => {
                self.gauges.lock().expect(UNPOISONED).storage_fault = None;
                self.handle(now, Input::Persisted { batch }, turn);
            }
            Stored::Failed(batch, why) => {
                self.gauges.lock().expect(UNPOISONED).storage_fault = Some(why.clone());
                self.handle(now, Input::PersistFailed { batch, why }, turn);
            }
            Stored::Checkpointed => self.handle(now, Input::Checkpointed, turn),
            Stored::CheckpointFailed(why) => {
                for reply in turn.compactions.drain(..) {
                    let _ = reply.send(Err(why.clone()));
                }
                self.handle(now, Input::CheckpointFailed { why }, turn);
            }
            Stored::Snapshot(snapshot) => {
                if let Some(reply) = turn.snapshots.pop_front() {
                    let _ = reply.send(snapshot.map(|snapshot| (snapshot, self.live())));
                }
            }
            Stored::Broken(why) => turn.failed = Some(format!("the disk cannot be trusted any more: {why}")),
        }
    }

    fn records_stored(&mut self, stored: RecordsStored, turn: &mut Turn) {
        let now = clock::now();
        match stored {
            RecordsStored::Persisted(batch) => {
                self.gauges.lock().expect(UNPOISONED).records_fault = None;
                self.handle(now, Input::RecordsPersisted { batch }, turn);
            }
            RecordsStored::Failed(batch, why) => {
                self.gauges.lock().expect(UNPOISONED).records_fault = Some(why.clone());
                self.handle(now, Input::RecordsPersistFailed { batch, why }, turn);
            }
            RecordsStored::Loaded(load, blob) => self.handle(now, Input::BlobLoaded { load, blob }, turn),
            RecordsStored::Broken(why) => {
                turn.failed = Some(format!("the disk of the records cannot be trusted any more: {why}"));
            }
        }
    }

    fn command(&mut self, command: Command, turn: &mut Turn) {
        let now = clock::now();
        match command {
            Command::Write { ops, wait, timeout, reply } => {
                let request = turn.request();
                turn.writes.insert(request, reply);
                let wait_until = (wait != Wait::Local).then(|| now + timeout);
                self.handle(now, Input::Write { request, ops, wait, wait_until }, turn);
            }
            Command::Await { token, timeout, reply } => {
                let request = turn.request();
                turn.awaits.insert(request, reply);
                self.handle(now, Input::Await { request, token, until: now + timeout }, turn);
            }
            Command::Reach { reply } => {
                let request = turn.request();
                turn.calls.insert(request, reply);
                self.handle(now, Input::Reach { request }, turn);
            }
            Command::Accept(record) => self.handle(now, Input::AcceptRecord(record), turn),
            Command::Ask { ask, timeout, reply } => {
                let request = chinwag_dht::RequestId(turn.request().0);
                turn.asks.insert(request, reply);
                self.handle(now, Input::Ask { request, ask, until: now + timeout }, turn);
            }
            Command::Forget { id, reply } => {
                let request = turn.request();
                turn.orders.insert(request, reply);
                self.handle(now, Input::Forget { request, id }, turn);
            }
            Command::Trace { key, reply } => {
                let request = turn.request();
                turn.traces.insert(request, reply);
                self.handle(now, Input::Trace { request, key }, turn);
            }
            Command::Snapshot { reply } => {
                turn.snapshots.push_back(reply);
                self.storage.snapshot();
            }
            Command::Compact { reply } => {
                turn.compactions.push(reply);
                self.handle(now, Input::WriteDown, turn);
            }
            Command::Look(look) => look(&self.node, &self.observer, now),
            Command::Seed { peer, addresses } => self.handle(now, Input::Seed { peer, addresses }, turn),
            Command::Tags(tags) => self.handle(now, Input::Tags(tags), turn),
            Command::Tell(row) => self.observer.tell(clock::wall(), row, None),
            Command::Leave => self.leave(turn),
        }
    }

    fn leave(&mut self, turn: &mut Turn) {
        if turn.leave_by.is_none() {
            let now = clock::now();
            turn.leave_by = Some(now + self.leave_within);
            self.handle(now, Input::Leave, turn);
        }
    }

    /// One `handle`, then drain: the law of every core.
    fn handle(&mut self, now: Moment, input: Input, turn: &mut Turn) {
        self.node.handle(now, input);
        while let Some(output) = self.node.poll_output() {
            self.output(output, turn);
        }
        if !turn.compactions.is_empty() && self.node.gossip().is_written_down() {
            let cut = self.node.gossip().replica().log_floor();
            for reply in turn.compactions.drain(..) {
                self.storage.compact(cut, reply);
            }
        }
    }

    fn live(&self) -> Live {
        let replica = self.node.gossip().replica();
        let (clock, state) = (replica.clock_digest(), replica.digest());
        Live { position: replica.position(), clock, state, keys: replica.len() }
    }

    fn output(&mut self, output: Output, turn: &mut Turn) {
        match output {
            Output::Send { to, lane, slot, bytes } => self.send(to, lane, slot, bytes),
            Output::Dial { peer, addresses } => self.dial(peer, addresses),
            Output::Close { peer } => {
                if let Some((network, _)) = &self.network {
                    network.close(peer);
                }
            }
            Output::Persist { batch, first, rows } => self.storage.commit(batch, first, rows),
            Output::Checkpoint { checkpoint, cut } => self.storage.checkpoint(checkpoint, cut),
            Output::Remember(record) => {
                self.observer.knows(record.id(), &record.statement().name);
                self.storage.remember((*record).clone());
            }
            Output::Forget(id) => self.storage.forget(id),
            Output::PersistRecords { batch, changes } => self.records.commit(batch, changes),
            Output::LoadBlob { load, id } => self.records.load(load, id),
            Output::Told { request, reply: told } => {
                if let Some(reply) = turn.asks.remove(&request) {
                    // A send fails when the client is gone, which is its own affair.
                    let _ = reply.send(told);
                }
            }
            Output::Answer { request, answer } => turn.answer(request, answer),
            Output::Event(event) => self.event(&event, turn),
            Output::Departed => turn.departed = true,
        }
    }

    fn event(&mut self, event: &chinwag_node::Event, turn: &mut Turn) {
        match event {
            chinwag_node::Event::Gossip(chinwag_gossip::Event::ExchangeDone { .. }) => {
                self.gauges.lock().expect(UNPOISONED).rounds += 1;
            }
            chinwag_node::Event::Membership(chinwag_membership::Event::Conflict { generation }) => {
                turn.failed = Some(format!(
                    "another live process has this node's key (its generation is {generation}); one of the two must stop"
                ));
            }
            _ => {}
        }
        self.observer.node_event(clock::wall(), event);
    }

    fn send(&mut self, to: NodeId, lane: Lane, slot: u8, bytes: Vec<u8>) {
        let Some((network, _)) = &self.network else { return };
        self.gauges.lock().expect(UNPOISONED).out_bytes += bytes.len() as u64;
        match network.send(to, lane, slot, bytes) {
            // The node hears of a lost connection by itself.
            Ok(()) | Err(SendError::NotConnected) => {}
            Err(SendError::Length | SendError::BulkFull) => {
                // Not through `handle`: this is inside its drain, which takes what this adds.
                self.node.handle(clock::now(), Input::SendRefused { to, lane, slot });
            }
        }
    }

    fn dial(&mut self, peer: NodeId, addresses: Vec<Address>) {
        let dialled = match &self.network {
            Some((network, _)) => network.dial(peer, addresses),
            None => false,
        };
        if !dialled {
            let why = chinwag_membership::DialFailure::Other;
            self.node.handle(clock::now(), Input::DialFailed { peer, why });
        }
    }
}

impl Turn {
    fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        // A send fails when the client is gone, which is its own affair.
        match answer {
            Answer::Written(written) => {
                if let Some(reply) = self.writes.remove(&request) {
                    let _ = reply.send(written);
                }
            }
            Answer::Visible(visible) => {
                if let Some(reply) = self.awaits.remove(&request) {
                    let _ = reply.send(Some(visible));
                }
            }
            Answer::TooManyAwaits => {
                if let Some(reply) = self.awaits.remove(&request) {
                    let _ = reply.send(None);
                }
            }
            Answer::Forgotten(result) => {
                if let Some(reply) = self.orders.remove(&request) {
                    let _ = reply.send(result);
                }
            }
            Answer::Traced(trace) => {
                if let Some(reply) = self.traces.remove(&request) {
                    let _ = reply.send(trace);
                }
            }
            Answer::Reached(reached) => {
                if let Some(reply) = self.calls.remove(&request) {
                    let _ = reply.send(reached);
                }
            }
        }
    }
}

pub(crate) const UNPOISONED: &str = "unpoisoned, because nothing panics while it holds this lock";

fn lost(reason: &DisconnectReason) -> Lost {
    match reason {
        DisconnectReason::Reset => Lost::Reset,
        DisconnectReason::ClosedByPeer => Lost::Closed,
        DisconnectReason::TimedOut => Lost::TimedOut,
        DisconnectReason::ClosedByUs | DisconnectReason::Superseded | DisconnectReason::Misbehaved(_) => {
            Lost::Local
        }
    }
}

fn reason_text(reason: &DisconnectReason) -> String {
    match reason {
        DisconnectReason::Reset => "reset".into(),
        DisconnectReason::ClosedByPeer => "closed by peer".into(),
        DisconnectReason::ClosedByUs => "closed by us".into(),
        DisconnectReason::TimedOut => "timed out".into(),
        DisconnectReason::Superseded => "superseded".into(),
        DisconnectReason::Misbehaved(how) => format!("misbehaved: {how}"),
    }
}

fn dial_failure(why: DialFailure) -> chinwag_membership::DialFailure {
    use chinwag_membership::DialFailure as To;
    match why {
        DialFailure::Refused => To::Refused,
        DialFailure::TimedOut => To::TimedOut,
        DialFailure::Denied(reason) => To::Denied(reason.to_string()),
        // A reset may also come from a door with too many before it, so it proves no death; the next dial will.
        DialFailure::Reset | DialFailure::WrongPeer(_) | DialFailure::NoAddress | DialFailure::Other(_) => {
            To::Other
        }
    }
}

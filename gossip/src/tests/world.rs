//! Several replicas in virtual time: a network with latency, loss and cuts, disks with fsync time, crashes.
//!
//! The world itself checks what must hold in every run: frames fit their lanes and survive the codec, nothing that
//! is not durable at its sender is spoken of, each request has one answer.

use crate::{
    BatchId, Config, Event, Gossip, Identity, Input, Member, MemoryStore, Message, Output, RequestId,
    Summary, Trace, TraceError, Wait, WriteError, Written,
};
use chinwag_base::codec;
use chinwag_base::limits::{BULK_FRAME_BYTES_MAX, ENTRY_BYTES_MAX, GOSSIP_QUEUE_FRAMES_MAX};
use chinwag_base::{Digest, Generation, Lane, Moment, NodeId, ReplicaId, WallTime};
use chinwag_crdt::{Checkpoint, Clock, Dot, Entry, Op, Read, Row};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

pub(super) const WALL_START_MS: u64 = 1_800_000_000_000;

/// The world's rules, to be changed before or while it runs.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Of each frame.
    pub(super) latency_us: RangeInclusive<u64>,
    /// Of each connection, for good; that of the frame is added.
    pub(super) link_us: RangeInclusive<u64>,
    /// Of frames on the gossip lane.
    pub(super) loss: f64,
    pub(super) fsync_us: RangeInclusive<u64>,
    /// How often there is no room for a frame on the bulk lane.
    pub(super) full: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { latency_us: 500..=5_000, link_us: 0..=0, loss: 0.0, fsync_us: 1_000..=4_000, full: 0.0 }
    }
}

#[derive(Debug)]
enum Happening {
    Arrive {
        from: usize,
        to: usize,
        connection: u64,
        message: Message,
    },
    /// A frame on the bulk lane for which there was no room.
    Refused {
        from: usize,
        to: NodeId,
        connection: u64,
    },
    Fsynced {
        node: usize,
        life: u64,
        batch: BatchId,
    },
    Checkpointed {
        node: usize,
        life: u64,
        checkpoint: Box<Checkpoint>,
        cut: u64,
    },
}

pub(super) struct Node {
    pub(super) gossip: Option<Gossip>,
    pub(super) disk: MemoryStore,
    /// What the disk covers, lived along with it.
    pub(super) durable: Clock,
    promised: Clock,
    at_disk: Option<(BatchId, u64, Vec<Row>)>,
    pub(super) disk_is_full: bool,
    pub(super) life: u64,
    pub(super) skew_ms: u64,
    /// While it is stopped (SIGSTOP): what has arrived, with its sender. Its connections stand.
    held: Option<Vec<(usize, u64, Message)>>,
}

/// Frames and bytes by lane, and entries that chunks carried.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Traffic {
    pub(super) frames: BTreeMap<Lane, usize>,
    pub(super) bytes: BTreeMap<Lane, usize>,
    pub(super) by_name: BTreeMap<&'static str, usize>,
    pub(super) longest: BTreeMap<&'static str, usize>,
    pub(super) pulled: usize,
    pub(super) lost: usize,
}

pub(super) struct World {
    pub(super) now: Moment,
    pub(super) nodes: Vec<Node>,
    pub(super) rules: Rules,
    pub(super) config: Config,
    pub(super) traffic: Traffic,
    pub(super) events: Vec<(Moment, usize, Event)>,
    pub(super) replies: BTreeMap<RequestId, (Moment, Result<Written, WriteError>)>,
    pub(super) traces: BTreeMap<RequestId, Result<Trace, TraceError>>,
    asked: BTreeMap<RequestId, (usize, u64)>,
    rng: ChaCha8Rng,
    /// Nodes whose role does not let them write.
    readers: BTreeSet<usize>,
    happenings: BTreeMap<(Moment, u64), Happening>,
    number: u64,
    /// Which connection two nodes have; none while they are cut.
    connections: BTreeMap<(usize, usize), u64>,
    /// The bulk lane keeps its order.
    bulk_arrives: BTreeMap<(usize, usize), Moment>,
    /// When each core wants to be woken, as far as `step` has not found otherwise.
    ticks: BTreeSet<(Moment, usize)>,
}

pub(super) fn id(node: usize) -> NodeId {
    let mut bytes = [u8::try_from(node + 1).unwrap_or(u8::MAX); 32];
    if node >= 254 {
        bytes[..2].copy_from_slice(&(node as u16).to_be_bytes());
    }
    NodeId::from_bytes(bytes)
}

/// Which node that is.
fn number(id: NodeId) -> usize {
    let bytes = id.as_bytes();
    if bytes[31] < u8::MAX {
        usize::from(bytes[31]) - 1
    } else {
        usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
    }
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl World {
    /// `n` nodes, started and connected to each other.
    pub(super) fn new(n: usize, seed: u64) -> Self {
        let mut world = World::unconnected(n, seed);
        world.connect_all();
        world
    }

    pub(super) fn unconnected(n: usize, seed: u64) -> Self {
        World::with(n, seed, Config::default())
    }

    /// The same, with another configuration.
    pub(super) fn with(n: usize, seed: u64, config: Config) -> Self {
        let mut world = World {
            now: Moment::from_millis(1_000),
            nodes: Vec::new(),
            rules: Rules::default(),
            config,
            traffic: Traffic::default(),
            events: Vec::new(),
            replies: BTreeMap::new(),
            traces: BTreeMap::new(),
            asked: BTreeMap::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            readers: BTreeSet::new(),
            happenings: BTreeMap::new(),
            number: 0,
            connections: BTreeMap::new(),
            bulk_arrives: BTreeMap::new(),
            ticks: BTreeSet::new(),
        };
        for node in 0..n {
            world.add();
            world.boot(node);
        }
        world.tell_members();
        world
    }

    /// One more node, started and not connected.
    pub(super) fn join(&mut self) {
        self.add();
        self.start(self.nodes.len() - 1);
    }

    fn add(&mut self) {
        self.nodes.push(Node {
            gossip: None,
            disk: MemoryStore::default(),
            durable: Clock::default(),
            promised: Clock::default(),
            at_disk: None,
            disk_is_full: false,
            life: 0,
            skew_ms: 0,
            held: None,
        });
    }

    pub(super) fn gossip(&self, node: usize) -> &Gossip {
        self.nodes[node].gossip.as_ref().expect("the node is up")
    }

    pub(super) fn is_up(&self, node: usize) -> bool {
        self.nodes[node].gossip.is_some()
    }

    fn up(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.is_up(*n)).collect()
    }

    // ---- machines

    /// Starts a node with what its disk holds, in a new generation. It is not connected.
    pub(super) fn start(&mut self, node: usize) {
        self.boot(node);
        self.tell_members();
    }

    fn boot(&mut self, node: usize) {
        let seed = self.rng.random();
        let state = &mut self.nodes[node];
        state.life += 1;
        let replica = ReplicaId { node: id(node), generation: Generation::new(state.life) };
        let recovered = state.disk.read();
        let gossip = Gossip::new(self.config.clone(), Identity { replica }, recovered, seed, self.now);
        assert_eq!(*gossip.replica().clock(), state.durable, "what was durable is there again");
        state.gossip = Some(gossip);
        self.tell_wall(node);
    }

    /// kill -9. What is at the disk is lost, or is not: the disk decides.
    pub(super) fn crash(&mut self, node: usize) {
        let survives = self.rng.random_bool(0.5);
        self.crash_with(node, survives);
    }

    pub(super) fn crash_with(&mut self, node: usize, at_disk_survives: bool) {
        for other in 0..self.nodes.len() {
            self.cut(node, other);
        }
        let state = &mut self.nodes[node];
        state.gossip = None;
        let at_disk = state.at_disk.take();
        if at_disk_survives && let Some((_, first, rows)) = at_disk {
            state.write_down(first, &rows);
        }
        self.tell_members();
    }

    /// SIGSTOP: its connections stand, what arrives waits, its clock goes on.
    pub(super) fn stop(&mut self, node: usize) {
        self.nodes[node].held = Some(Vec::new());
    }

    /// SIGCONT. Of the gossip lane the newest frames are left.
    pub(super) fn resume(&mut self, node: usize) {
        let mut held = self.nodes[node].held.take().unwrap_or_default();
        let mut room = GOSSIP_QUEUE_FRAMES_MAX;
        held.reverse();
        held.retain(|(_, _, message)| {
            let kept = message.lane() == Lane::Bulk || room > 0;
            room = room.saturating_sub(usize::from(message.lane() == Lane::Gossip));
            kept
        });
        self.handle(node, Input::Tick);
        for (from, connection, message) in held.into_iter().rev() {
            self.happen(Happening::Arrive { from, to: node, connection, message });
        }
    }

    pub(super) fn lose_disk(&mut self, node: usize) {
        assert!(!self.is_up(node));
        self.nodes[node].disk = MemoryStore::default();
        self.nodes[node].durable = Clock::default();
    }

    /// Stops the disk of a node from taking anything, or lets it again.
    pub(super) fn set_disk_full(&mut self, node: usize, full: bool) {
        self.nodes[node].disk_is_full = full;
    }

    pub(super) fn tell_wall(&mut self, node: usize) {
        let wall = WallTime::from_unix_ms(WALL_START_MS + self.now.as_millis() + self.nodes[node].skew_ms);
        self.handle(node, Input::Wall(wall));
    }

    fn tell_members(&mut self) {
        let members = self.members();
        for node in self.up() {
            self.handle(node, Input::Members { members: members.clone() });
        }
    }

    /// Makes a node a reader, and everybody but itself and the `unaware` know it.
    pub(super) fn make_reader(&mut self, reader: usize, unaware: &[usize]) {
        self.readers.insert(reader);
        let members = self.members();
        for node in self.up() {
            if node != reader && !unaware.contains(&node) {
                self.handle(node, Input::Members { members: members.clone() });
            }
        }
    }

    pub(super) fn members(&self) -> Vec<Member> {
        let member = |n: usize| {
            let generation = Generation::new(self.nodes[n].life);
            Member { node: id(n), alive: self.is_up(n), generation, may_write: !self.readers.contains(&n) }
        };
        (0..self.nodes.len()).map(member).collect()
    }

    // ---- the network

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        if a == b || !self.is_up(a) || !self.is_up(b) || self.connections.contains_key(&pair(a, b)) {
            return;
        }
        self.number += 1;
        self.connections.insert(pair(a, b), self.number);
        self.handle(a, Input::PeerUp { peer: id(b) });
        self.handle(b, Input::PeerUp { peer: id(a) });
    }

    pub(super) fn connect_all(&mut self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                self.connect(a, b);
            }
        }
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        if self.connections.remove(&pair(a, b)).is_some() {
            self.bulk_arrives.remove(&(a, b));
            self.bulk_arrives.remove(&(b, a));
            self.handle(a, Input::PeerDown { peer: id(b) });
            self.handle(b, Input::PeerDown { peer: id(a) });
        }
    }

    /// Cuts every link between the two sides.
    pub(super) fn partition(&mut self, left: &[usize]) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                if left.contains(&a) != left.contains(&b) {
                    self.cut(a, b);
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: NodeId, lane: Lane, message: Message) {
        assert_eq!(lane, message.lane());
        self.check_durable(from, &message);
        let bytes = codec::encode(&message);
        assert!(bytes.len() <= lane.frame_bytes_max() - 64, "{} of {} bytes", message.name(), bytes.len());
        assert_eq!(codec::decode::<BULK_FRAME_BYTES_MAX, Message>(&bytes).as_ref(), Ok(&message));
        let traffic = &mut self.traffic;
        *traffic.frames.entry(lane).or_default() += 1;
        *traffic.bytes.entry(lane).or_default() += bytes.len();
        *traffic.by_name.entry(message.name()).or_default() += 1;
        let longest = traffic.longest.entry(message.name()).or_default();
        *longest = bytes.len().max(*longest);
        if let Message::Chunk { entries, .. } = &message {
            traffic.pulled += entries.len();
        }
        let to = number(to);
        let connection = self.connections.get(&pair(from, to)).copied();
        let connection = connection.expect("cores send to connected peers only");
        if lane == Lane::Gossip && self.rng.random_bool(self.rules.loss) {
            self.traffic.lost += 1;
            return;
        }
        if lane == Lane::Bulk && self.rules.full > 0.0 && self.rng.random_bool(self.rules.full) {
            self.schedule(self.now, Happening::Refused { from, to: id(to), connection });
            return;
        }
        let mut at = self.now + self.link(from, to) + self.draw(self.rules.latency_us.clone());
        if lane == Lane::Bulk {
            let last = self.bulk_arrives.entry((from, to)).or_default();
            at = at.max(*last);
            *last = at;
        }
        self.schedule(at, Happening::Arrive { from, to, connection, message });
    }

    /// What the sender says it holds, and what it gives away, is on its disk.
    fn check_durable(&self, from: usize, message: &Message) {
        let durable = &self.nodes[from].durable;
        match message {
            Message::Push { entries } | Message::Chunk { entries, .. } => {
                assert!(entries.iter().all(|e| durable.covers(e.dot)), "an entry left before it was durable");
            }
            // What others wrote is passed on before it is durable here. At its writer it is, or was before that lost its disk.
            Message::Relay { entries } => {
                let is_durable = |e: &Arc<Entry>| self.nodes.iter().any(|node| node.durable.covers(e.dot));
                assert!(entries.iter().all(is_durable), "an entry left before it was durable");
                let own = entries.iter().filter(|e| e.dot.replica.node == id(from));
                assert!(own.into_iter().all(|e| durable.covers(e.dot)));
            }
            Message::Prune | Message::Graft => {}
            Message::Ack { clock } => assert!(durable.contains_all(clock)),
            Message::Report(report) => {
                assert!(durable.contains_all(&report.clock));
                assert_eq!(report.summary.clock, durable.digest());
            }
            Message::Summary { summary, .. } => assert_eq!(summary.clock, durable.digest()),
            Message::Compare { number, both, unsettled } => {
                let state = self.gossip(from).replica().digest();
                let (number, unsettled) = (*number, *unsettled);
                let summary = Summary { number, clock: durable.digest(), state, unsettled };
                assert_eq!(*both, summary.both());
            }
            Message::Promise { promise: Some(promise), .. } => {
                assert_eq!(promise.clock, *durable);
            }
            Message::Same { .. } | Message::Tell { .. } | Message::Want { .. } => {}
            Message::Open { .. } | Message::Promise { .. } | Message::Cells { .. } => {}
            Message::Further { .. } | Message::Symbols { .. } => {}
            Message::More { .. } | Message::Slice { .. } => {}
            Message::Trace { .. } | Message::Traced { .. } => {}
        }
    }

    /// What two nodes are apart.
    fn link(&self, a: usize, b: usize) -> Duration {
        let (a, b) = pair(a, b);
        let mut rng = ChaCha8Rng::seed_from_u64((a as u64) << 32 | b as u64);
        Duration::from_micros(rng.random_range(self.rules.link_us.clone()))
    }

    fn draw(&mut self, us: RangeInclusive<u64>) -> Duration {
        Duration::from_micros(self.rng.random_range(us))
    }

    fn schedule(&mut self, at: Moment, happening: Happening) {
        self.number += 1;
        self.happenings.insert((at, self.number), happening);
    }

    // ---- clients

    pub(super) fn write(&mut self, node: usize, ops: Vec<Op>) -> RequestId {
        self.write_and_wait(node, ops, Wait::Local, None)
    }

    pub(super) fn write_and_wait(
        &mut self,
        node: usize,
        ops: Vec<Op>,
        wait: Wait,
        patience: Option<Duration>,
    ) -> RequestId {
        self.number += 1;
        let request = RequestId(self.number);
        self.asked.insert(request, (node, self.nodes[node].life));
        let wait_until = patience.map(|p| self.now + p);
        self.handle(node, Input::Write { request, ops, wait, wait_until });
        request
    }

    pub(super) fn cancel(&mut self, node: usize, request: RequestId) {
        self.asked.remove(&request);
        self.handle(node, Input::Cancel { request });
    }

    pub(super) fn reply(&self, request: RequestId) -> Option<&Result<Written, WriteError>> {
        self.replies.get(&request).map(|(_, reply)| reply)
    }

    pub(super) fn written(&self, request: RequestId) -> &Written {
        self.reply(request).expect("an answer").as_ref().expect("a success")
    }

    pub(super) fn read(&self, node: usize, key: &str) -> Option<Read> {
        self.gossip(node).replica().get(&key.parse().unwrap())
    }

    // ---- time

    pub(super) fn handle(&mut self, node: usize, input: Input) {
        let now = self.now;
        let Some(gossip) = &mut self.nodes[node].gossip else { return };
        gossip.handle(now, input);
        while let Some(output) = self.nodes[node].gossip.as_mut().and_then(Gossip::poll_output) {
            match output {
                Output::Send { to, lane, message } => self.send(node, to, lane, message),
                Output::Persist { batch, first, rows } => {
                    let state = &mut self.nodes[node];
                    assert!(state.at_disk.is_none(), "one batch is at the disk at a time");
                    assert!(!rows.is_empty());
                    let limit = 2 * ENTRY_BYTES_MAX;
                    assert!(rows.iter().all(|row| codec::encode(row).len() <= limit), "a row has a bound");
                    state.at_disk = Some((batch, first, rows));
                    let life = state.life;
                    let at = self.now + self.draw(self.rules.fsync_us.clone());
                    self.schedule(at, Happening::Fsynced { node, life, batch });
                }
                Output::Checkpoint { checkpoint, cut } => {
                    let life = self.nodes[node].life;
                    let at = self.now + self.draw(self.rules.fsync_us.clone());
                    self.schedule(at, Happening::Checkpointed { node, life, checkpoint, cut });
                }
                Output::Reply { request, reply } => {
                    let asked = self.asked.remove(&request);
                    assert_eq!(asked, Some((node, self.nodes[node].life)), "one answer for each request");
                    self.replies.insert(request, (self.now, reply));
                }
                Output::Traced { request, trace } => {
                    let again = self.traces.insert(request, trace);
                    assert_eq!(again, None, "one answer for each request");
                }
                Output::Event(event) => self.events.push((self.now, node, event)),
            }
        }
        let deadline = self.gossip(node).next_deadline();
        assert!(
            !matches!(deadline, Some(at) if at + Duration::from_secs(60) < now),
            "a deadline is forgotten"
        );
        self.ticks.extend(self.deadline(node).map(|at| (at, node)));
    }

    /// When a node's core wants to be woken.
    fn deadline(&self, node: usize) -> Option<Moment> {
        let node = Some(&self.nodes[node]).filter(|node| node.held.is_none())?;
        node.gossip.as_ref()?.next_deadline()
    }

    /// Whose core wants to be woken first, and when.
    fn next_tick(&mut self) -> Option<(Moment, usize)> {
        // Each change of a deadline added another entry. Those that are not true any more are dropped here.
        while let Some((at, node)) = self.ticks.first().copied() {
            if self.deadline(node) == Some(at) {
                return Some((at, node));
            }
            self.ticks.pop_first();
        }
        None
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
    }

    /// Runs until the condition holds, and says how long that took; fails after `limit`.
    pub(super) fn run_until(
        &mut self,
        limit: Duration,
        what: &str,
        done: impl Fn(&World) -> bool,
    ) -> Duration {
        let (start, end) = (self.now, self.now + limit);
        while !done(self) {
            assert!(self.step(end), "not within {limit:?}: {what}");
        }
        self.now.since(start)
    }

    /// The next thing happens, unless it happens after `end`.
    fn step(&mut self, end: Moment) -> bool {
        let tick = self.next_tick();
        let next = self.happenings.first_key_value().map(|((at, _), _)| *at);
        let ticks_first = tick.is_some_and(|(at, _)| next.is_none_or(|next| at <= next));
        let at = if ticks_first { tick.map(|(at, _)| at) } else { next };
        let Some(at) = at.filter(|at| *at <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(at);
        if ticks_first && let Some((at, node)) = tick {
            self.handle(node, Input::Tick);
            let again = self.gossip(node).next_deadline();
            let before = self.now;
            assert!(at <= before && self.spins(node, again), "node {node} ticks without end");
        } else if let Some((_, happening)) = self.happenings.pop_first() {
            self.happen(happening);
        }
        true
    }

    /// A deadline that has passed must be gone after a few ticks.
    fn spins(&mut self, node: usize, mut again: Option<Moment>) -> bool {
        for _ in 0..10 {
            if again.is_none_or(|at| at > self.now) {
                return true;
            }
            self.handle(node, Input::Tick);
            again = self.gossip(node).next_deadline();
        }
        false
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { from, to, connection, message } => {
                if let Some(held) = &mut self.nodes[to].held {
                    held.push((from, connection, message));
                } else if self.connections.get(&pair(from, to)) == Some(&connection) {
                    self.handle(to, Input::Message { from: id(from), message });
                }
            }
            Happening::Refused { from, to, connection } => {
                if self.connections.get(&pair(from, number(to))) == Some(&connection) {
                    self.handle(from, Input::SendRefused { to, lane: Lane::Bulk });
                }
            }
            Happening::Fsynced { node, life, batch } => {
                let later = self.now + Duration::from_millis(10);
                let state = &mut self.nodes[node];
                if state.life != life || state.gossip.is_none() {
                    return;
                }
                if state.held.is_some() {
                    return self.schedule(later, Happening::Fsynced { node, life, batch });
                }
                let Some((at_disk, first, rows)) = state.at_disk.take() else { return };
                assert_eq!(at_disk, batch);
                if state.disk_is_full {
                    let why = "no space left on device".to_owned();
                    return self.handle(node, Input::PersistFailed { batch, why });
                }
                state.write_down(first, &rows);
                self.handle(node, Input::Persisted { batch });
            }
            Happening::Checkpointed { node, life, checkpoint, cut } => {
                let state = &mut self.nodes[node];
                if state.life != life || state.gossip.is_none() {
                    return;
                }
                if state.disk_is_full {
                    let why = "no space left on device".to_owned();
                    return self.handle(node, Input::CheckpointFailed { why });
                }
                state.disk.checkpoint(*checkpoint, cut);
                self.handle(node, Input::Checkpointed);
            }
        }
    }

    // ---- what can be seen

    pub(super) fn digests(&self) -> BTreeSet<Digest> {
        self.up().into_iter().map(|n| self.gossip(n).replica().digest()).collect()
    }

    /// Whether all have applied the same entries, and nothing waits for a disk.
    pub(super) fn is_settled(&self) -> bool {
        if self.up().into_iter().any(|n| self.gossip(n).queued_entries() > 0) {
            return false;
        }
        let clocks: BTreeSet<Digest> =
            self.up().into_iter().map(|n| self.gossip(n).replica().clock_digest()).collect();
        clocks.len() == 1
    }

    pub(super) fn count(&self, matches: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, _, event)| matches(event)).count()
    }

    pub(super) fn open_requests(&self) -> usize {
        self.asked
            .values()
            .filter(|(node, life)| self.is_up(*node) && self.nodes[*node].life == *life)
            .count()
    }
}

impl Node {
    fn write_down(&mut self, first: u64, rows: &[Row]) {
        for row in rows {
            match row {
                Row::Write(entry) => {
                    assert!(
                        self.durable.insert(entry.dot),
                        "an entry is written once, and none that cells brought"
                    );
                }
                Row::Promised(promise) => self.promised = promise.clock.clone(),
                Row::Covered => self.durable.merge(&self.promised),
                Row::Joined(_) | Row::Broken | Row::Forsaken | Row::Lost => {}
            }
        }
        self.disk.commit(first, rows);
    }

    /// The entries in its log.
    pub(super) fn logged(&self) -> Vec<Arc<Entry>> {
        let entry = |row: &Row| match row {
            Row::Write(entry) => Some(entry.clone()),
            _ => None,
        };
        self.disk.rows().filter_map(entry).collect()
    }

    /// Puts an entry on its disk, as a member of ill will could.
    pub(super) fn plant(&mut self, entry: Entry) {
        let first = self.disk.log_len() as u64 + 1;
        self.write_down(first, &[Row::Write(Arc::new(entry))]);
    }
}

// ---- operations

pub(super) fn set(key: &str, value: &str) -> Op {
    Op::Set { key: key.parse().unwrap(), value: value.as_bytes().to_vec().try_into().unwrap() }
}

pub(super) fn increment(key: &str, by: i64) -> Op {
    Op::Increment { key: key.parse().unwrap(), by }
}

pub(super) fn add(key: &str, element: &str) -> Op {
    Op::Add { key: key.parse().unwrap(), element: element.as_bytes().to_vec().try_into().unwrap() }
}

pub(super) fn remove(key: &str, element: &str) -> Op {
    Op::Remove { key: key.parse().unwrap(), element: element.as_bytes().to_vec().try_into().unwrap() }
}

pub(super) fn delete(key: &str) -> Op {
    Op::Delete { key: key.parse().unwrap(), kind: None }
}

/// The dot of a node's `counter`-th write in its `life`-th process.
pub(super) fn dot(node: usize, life: u64, counter: u64) -> Dot {
    Dot::new(ReplicaId { node: id(node), generation: Generation::new(life) }, counter)
}

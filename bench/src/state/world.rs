//! Replicas of chinwag on a simulated network, driven as their daemons drive them: by inputs and outputs alone.
//!
//! Messages are encoded as on the wire, envelope included, so that bytes are those of a connection. What a disk takes
//! is kept in memory. Peers that the world does not have are *phantoms*: what is told to them is lost, and what they say is
//! put in by hand.

use super::material::{WALL_MS, node};
use crate::cost;
use crate::membership::network::Network;
use crate::membership::options::Delivery;
use crate::membership::queue::Queue;
use chinwag_base::{Generation, Lane, Moment, NodeId, ReplicaId, WallTime};
use chinwag_crdt::{Dot, Op};
use chinwag_gossip::{
    BatchId, Config, Event, Gossip, Identity, Input, Member, MemoryStore, Message, Output, Recovered,
    RequestId, Wait,
};
use chinwag_node::wire::{self, Frame};
use rand::RngExt as _;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

/// A replica's clock does not begin at zero.
const EPOCH: Moment = Moment::from_millis(1_000);

/// How the world is.
#[derive(Debug, Clone)]
pub struct Rules {
    /// One-way latency, uniform, in microseconds; drawn anew for each message.
    pub latency_us: Range<u64>,
    /// Whether each connection has one latency for good, but for a millisecond.
    pub links: bool,
    /// The part of messages that is lost.
    pub loss: f64,
    /// What becomes of lost frames of the gossip lane. Those of the bulk lane come late.
    pub delivery: Delivery,
    /// What a commit takes, in microseconds, uniform; nothing if the range is empty.
    pub fsync_us: Range<u64>,
    /// Whether frames of the gossip lane arrive at all.
    pub gossip_lane: bool,
    /// Whether frames are decoded again where they arrive, and all handling is timed.
    pub timed: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            latency_us: 1_000..50_000,
            links: false,
            loss: 0.0,
            delivery: Delivery::Streams,
            fsync_us: 0..0,
            gossip_lane: true,
            timed: false,
        }
    }
}

/// What was sent, and what it cost to handle.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Frames and their bytes, by the message's name.
    pub frames: BTreeMap<&'static str, (u64, u64)>,
    /// Entries that arrived in pushes and chunks.
    pub entries: u64,
    /// Processor time of handling inputs, by node and the input's name.
    pub handling: BTreeMap<(usize, &'static str), Duration>,
    /// Processor time of encoding and decoding frames.
    pub codec: Duration,
    /// Exchanges that a node began and completed, and those of them that found both sides equal.
    pub exchanges: (u64, u64),
}

impl Tally {
    /// Bytes of all frames.
    pub fn bytes(&self) -> u64 {
        self.frames.values().map(|(_, bytes)| bytes).sum()
    }

    /// How many frames.
    pub fn messages(&self) -> u64 {
        self.frames.values().map(|(frames, _)| frames).sum()
    }

    /// Processor time of handling inputs with one of these names, at all nodes.
    pub fn handled(&self, names: &[&str]) -> Duration {
        self.handling.iter().filter(|((_, name), _)| names.contains(name)).map(|(_, time)| *time).sum()
    }

    /// Processor time of everything.
    pub fn work(&self) -> Duration {
        self.handling.values().sum::<Duration>() + self.codec
    }
}

enum Happening {
    Arrive { from: usize, to: usize, frame: Frames },
    Fsynced { node: usize, batch: BatchId },
    Checkpointed { node: usize },
}

enum Frames {
    Message(Box<Message>),
    Bytes(Lane, Vec<u8>),
}

struct Node {
    gossip: Gossip,
    disk: MemoryStore,
    tick: Option<Moment>,
}

/// Some replicas and the network between them.
pub struct World {
    /// The time.
    pub now: Moment,
    /// May be changed while it runs.
    pub rules: Rules,
    /// Since it was last taken.
    pub tally: Tally,
    /// When which dots became visible at nodes, if they are watched.
    pub applied: HashMap<Dot, Vec<(usize, Moment)>>,
    /// Whether they are.
    pub watches: bool,
    config: Config,
    nodes: Vec<Node>,
    index: HashMap<NodeId, usize>,
    network: Network,
    queue: Queue<Happening>,
    ticks: BTreeSet<(Moment, usize)>,
    /// A stream keeps its order.
    arrives: HashMap<(usize, usize, Lane), Moment>,
    border: Option<usize>,
    requests: u64,
}

impl World {
    /// Nobody yet.
    pub fn new(config: Config, rules: Rules, seed: u64) -> Self {
        World {
            now: EPOCH,
            network: if rules.links {
                Network::of_links(rules.latency_us.clone(), seed, rules.loss)
            } else {
                Network::between(rules.latency_us.clone(), seed, rules.loss)
            },
            rules,
            tally: Tally::default(),
            applied: HashMap::new(),
            watches: false,
            config,
            nodes: Vec::new(),
            index: HashMap::new(),
            queue: Queue::default(),
            ticks: BTreeSet::new(),
            arrives: HashMap::new(),
            border: None,
            requests: 0,
        }
    }

    /// One more replica with what its disk holds. It is connected to nobody.
    pub fn add(&mut self, me: ReplicaId, recovered: Recovered) -> usize {
        let seed = self.network.rng().random();
        let gossip = Gossip::new(self.config.clone(), Identity { replica: me }, recovered, seed, self.now);
        let number = self.nodes.len();
        self.index.insert(me.node, number);
        self.nodes.push(Node { gossip, disk: MemoryStore::default(), tick: None });
        let wall = WallTime::from_unix_ms(WALL_MS + self.now.since(EPOCH).as_millis() as u64);
        self.handle(number, "wall", Input::Wall(wall));
        number
    }

    /// How many replicas there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A replica.
    pub fn gossip(&self, number: usize) -> &Gossip {
        &self.nodes[number].gossip
    }

    /// The id of a replica's node.
    pub fn id(&self, number: usize) -> NodeId {
        self.nodes[number].gossip.replica().me().node
    }

    /// Tells everybody who the members are: all replicas, and these phantoms.
    pub fn tell_members(&mut self, phantoms: &[NodeId]) {
        let lives = (0..self.len()).map(|number| self.gossip(number).replica().me());
        let lives = lives.map(|me| (me.node, me.generation));
        let phantoms = phantoms.iter().map(|node| (*node, Generation::default()));
        let member = |(node, generation)| Member { node, alive: true, generation, may_write: true };
        let members: Vec<Member> = lives.chain(phantoms).map(member).collect();
        for number in 0..self.len() {
            self.handle(number, "members", Input::Members { members: members.clone() });
        }
    }

    /// Connects two replicas.
    pub fn connect(&mut self, a: usize, b: usize) {
        let (a_id, b_id) = (self.id(a), self.id(b));
        self.handle(a, "peer_up", Input::PeerUp { peer: b_id });
        self.handle(b, "peer_up", Input::PeerUp { peer: a_id });
    }

    /// Connects everybody to everybody.
    pub fn connect_all(&mut self) {
        for a in 0..self.len() {
            for b in 0..a {
                self.connect(a, b);
            }
        }
    }

    /// Cuts all connections across a border, or makes them anew.
    pub fn set_border(&mut self, border: Option<usize>) {
        let at = border.or(self.border).unwrap_or(0);
        self.border = border;
        for a in 0..at {
            for b in at..self.len() {
                if border.is_none() {
                    self.connect(a, b);
                    continue;
                }
                let (a_id, b_id) = (self.id(a), self.id(b));
                self.handle(a, "peer_down", Input::PeerDown { peer: b_id });
                self.handle(b, "peer_down", Input::PeerDown { peer: a_id });
            }
        }
    }

    /// A client writes.
    pub fn write(&mut self, number: usize, ops: Vec<Op>) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.handle(number, "write", Input::Write { request, ops, wait: Wait::Local, wait_until: None });
    }

    /// What was counted, from here on anew.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Something happens to a replica.
    pub fn handle(&mut self, number: usize, name: &'static str, input: Input) {
        let (now, timed) = (self.now, self.rules.timed);
        let mut outputs = Vec::new();
        let gossip = &mut self.nodes[number].gossip;
        let begun = timed.then(cost::thread_cpu);
        gossip.handle(now, input);
        while let Some(output) = gossip.poll_output() {
            outputs.push(output);
        }
        if let Some(begun) = begun {
            *self.tally.handling.entry((number, name)).or_default() += cost::thread_cpu() - begun;
        }
        for output in outputs {
            self.follow(number, output);
        }
        let tick = self.nodes[number].gossip.next_deadline();
        if self.nodes[number].tick != tick {
            if let Some(before) = self.nodes[number].tick {
                self.ticks.remove(&(before, number));
            }
            self.ticks.extend(tick.map(|at| (at, number)));
            self.nodes[number].tick = tick;
        }
    }

    fn follow(&mut self, number: usize, output: Output) {
        match output {
            Output::Send { to, lane, message } => {
                if let Some(to) = self.index.get(&to).copied() {
                    self.send(number, to, lane, message);
                }
            }
            Output::Persist { batch, first, rows } => {
                self.nodes[number].disk.commit(first, &rows);
                let at = self.now + self.fsync();
                self.queue.put(at, Happening::Fsynced { node: number, batch });
            }
            Output::Checkpoint { checkpoint, cut } => {
                self.nodes[number].disk.checkpoint(*checkpoint, cut);
                let at = self.now + self.fsync();
                self.queue.put(at, Happening::Checkpointed { node: number });
            }
            Output::Event(Event::Applied { change, .. }) if self.watches => {
                if let Some(dot) = change.dot {
                    self.applied.entry(dot).or_default().push((number, self.now));
                }
            }
            Output::Event(Event::ExchangeDone { equal, .. }) => {
                self.tally.exchanges.0 += 1;
                self.tally.exchanges.1 += u64::from(equal);
            }
            Output::Event(_) | Output::Reply { .. } | Output::Traced { .. } => {}
        }
    }

    fn fsync(&mut self) -> Duration {
        let range = self.rules.fsync_us.clone();
        if range.is_empty() {
            Duration::ZERO
        } else {
            Duration::from_micros(self.network.rng().random_range(range))
        }
    }

    fn send(&mut self, from: usize, to: usize, lane: Lane, message: Message) {
        if lane == Lane::Gossip && !self.rules.gossip_lane {
            return;
        }
        let name = message.name();
        let begun = self.rules.timed.then(cost::thread_cpu);
        let frame = Frame::Gossip(message);
        let bytes = wire::encode(&frame);
        if let Some(begun) = begun {
            self.tally.codec += cost::thread_cpu() - begun;
        }
        let sent = self.tally.frames.entry(name).or_default();
        *sent = (sent.0 + 1, sent.1 + bytes.len() as u64);
        let frame = match frame {
            Frame::Gossip(message) if !self.rules.timed => Frames::Message(Box::new(message)),
            _ => Frames::Bytes(lane, bytes),
        };
        let is_stream = lane == Lane::Bulk || self.rules.delivery == Delivery::Streams;
        let takes = if is_stream {
            self.network.stream_between(from, to)
        } else {
            match self.network.datagram(from, to) {
                Some(takes) => takes,
                None => return,
            }
        };
        let mut at = self.now + takes;
        if is_stream {
            let last = self.arrives.entry((from, to, lane)).or_default();
            at = at.max(*last);
            *last = at;
        }
        self.queue.put(at, Happening::Arrive { from, to, frame });
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.border.is_some_and(|border| (a < border) != (b < border))
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { from, to, .. } if self.is_cut(from, to) => {}
            Happening::Arrive { from, to, frame } => {
                let message = match frame {
                    Frames::Message(message) => *message,
                    Frames::Bytes(lane, bytes) => {
                        let begun = cost::thread_cpu();
                        let frame = wire::decode(lane, &bytes);
                        self.tally.codec += cost::thread_cpu() - begun;
                        match frame {
                            Ok(Frame::Gossip(message)) => message,
                            _ => return,
                        }
                    }
                };
                if let Message::Push { entries }
                | Message::Relay { entries }
                | Message::Chunk { entries, .. } = &message
                {
                    self.tally.entries += entries.len() as u64;
                }
                let (name, from) = (message.name(), self.id(from));
                self.handle(to, name, Input::Message { from, message });
            }
            Happening::Fsynced { node, batch } => self.handle(node, "persisted", Input::Persisted { batch }),
            Happening::Checkpointed { node } => self.handle(node, "checkpointed", Input::Checkpointed),
        }
    }

    /// The next thing happens, unless it happens after `end`.
    fn step(&mut self, end: Moment) -> bool {
        let tick = self.ticks.first().copied();
        let next = self.queue.next();
        let ticks_first = tick.is_some_and(|(at, _)| next.is_none_or(|next| at <= next));
        let at = if ticks_first { tick.map(|(at, _)| at) } else { next };
        let Some(at) = at.filter(|at| *at <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.now = self.now.max(at);
        if let (true, Some((_, number))) = (ticks_first, tick) {
            self.handle(number, "tick", Input::Tick);
        } else if let Some(happening) = self.queue.take() {
            self.happen(happening);
        }
        true
    }

    /// Lets so much time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
    }

    /// Runs until something holds, for so long at most. How long that took; nothing if it does not hold.
    pub fn run_until(&mut self, limit: Duration, holds: impl Fn(&World) -> bool) -> Option<Duration> {
        let (begun, end) = (self.now, self.now + limit);
        while !holds(self) {
            if !self.step(end) {
                return None;
            }
        }
        Some(self.now.since(begun))
    }

    /// Whether two replicas have applied the same and hold the same.
    pub fn are_equal(&self, a: usize, b: usize) -> bool {
        let [a, b] = [a, b].map(|number| self.gossip(number).replica());
        a.clock_digest() == b.clock_digest() && a.digest() == b.digest()
    }

    /// Whether all replicas hold the same.
    pub fn all_equal(&self) -> bool {
        (1..self.len()).all(|number| self.are_equal(0, number))
    }
}

/// The phantom members that write what [`Material`](super::material::Material) writes.
pub fn phantoms(writers: usize) -> Vec<NodeId> {
    (0..writers).map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::super::material::{replica, set};
    use super::*;

    fn world(nodes: usize, rules: Rules) -> World {
        let mut world = World::new(Config::default(), rules, 1);
        for number in 0..nodes {
            world.add(replica(number, 1), Recovered::default());
        }
        world.tell_members(&[]);
        world.connect_all();
        world.run(Duration::from_secs(3));
        world
    }

    #[test]
    fn a_write_is_everywhere_after_a_while_and_everything_is_counted() {
        for timed in [false, true] {
            let mut world = world(5, Rules { timed, ..Rules::default() });
            world.watches = true;
            world.take_tally();
            world.write(2, vec![set("app/a", "1").unwrap()]);
            // Until it is durable, nobody has it, and all are equal.
            world.run(Duration::ZERO);
            let took = world.run_until(Duration::from_secs(5), World::all_equal).unwrap();
            assert!(took >= Duration::from_millis(1), "{took:?}");
            assert_eq!(world.applied.values().map(Vec::len).collect::<Vec<_>>(), [5]);
            assert!(world.tally.entries >= 4 && world.tally.bytes() > 400, "{:?}", world.tally);
            assert_eq!(timed, world.tally.work() > Duration::ZERO);
        }
    }

    #[test]
    fn without_the_gossip_lane_rounds_bring_it_and_a_cut_holds_it_back() {
        let mut world = world(4, Rules { gossip_lane: false, ..Rules::default() });
        world.set_border(Some(2));
        world.write(0, vec![set("app/a", "1").unwrap()]);
        world.run(Duration::ZERO);
        assert_eq!(world.run_until(Duration::from_secs(20), World::all_equal), None);
        assert!(world.are_equal(0, 1) && world.are_equal(2, 3));
        world.set_border(None);
        assert!(world.run_until(Duration::from_secs(20), World::all_equal).is_some());
        assert!(world.tally.exchanges.0 > 0);
    }
}

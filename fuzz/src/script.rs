//! A running node under a script: frames of several peers, local writes and questions, a disk that is slow or fails,
//! and time that passes.
//!
//! A frame's bytes are decoded twice: by `node::wire` into a message, and by the state machine into what it means for
//! who is alive and what is known. The second is the true decoder, and only a running node has it. So the input of this
//! target is a list of [`Step`]s, written so that any bytes are a script and a changed byte changes one step. What a
//! fuzzer cannot make up is made for it: records of members with true signatures, and frames that the node itself has
//! sent, which come back damaged ([`Step::Echo`]).

use crate::samples::{self, ME, PEERS};
use chinwag_base::{Lane, Moment, NodeId, WallTime};
use chinwag_crdt::{Kind, Op, Term};
use chinwag_dht::{Ask, Edit, RecordKey};
use chinwag_gossip::Wait;
use chinwag_membership::{DialFailure, Hello, Lost, Message, Standing, Update};
use chinwag_node::{Config, Identity, Input, Node, Output, Recovered, wire};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// When each script begins.
pub const START: Moment = Moment::from_millis(1_000);
/// Frames of the node that can come back.
const ECHOES_MAX: usize = 64;
/// Steps of one script, so that none takes for ever.
const STEPS_MAX: usize = 256;
/// Virtual time of one script: a member that is suspected, down and heard again takes two minutes, and a node at rest has
/// something to do ten times a second.
const TIME_MAX: Duration = Duration::from_secs(180);
/// Ticks that a node may ask for within one moment. More is a loop that would keep a daemon busy for ever.
const TICKS_AT_ONCE_MAX: usize = 256;
/// What a node may do in answer to one input, and to a tick.
const OUTPUTS_AT_ONCE_MAX: usize = 20_000;

/// The `n`-th node at its start, which knows nobody.
pub fn node(n: u8, now: Moment) -> Node {
    let config = Config {
        membership: chinwag_membership::Config::new(samples::overlay()),
        gossip: chinwag_gossip::Config::default(),
        dht: chinwag_dht::Config::default(),
    };
    let me = Identity {
        keypair: samples::keypair(n).clone(),
        grant: samples::grant(n),
        name: format!("n{n}").parse().expect("a name"),
        generation: samples::replica(n).generation,
        addresses: vec![samples::address(n)],
        tags: BTreeMap::new(),
    };
    let mut node = Node::new(config, me, Recovered::default(), u64::from(n), now);
    node.handle(now, Input::Wall(samples::NOW));
    node
}

/// What can be done to the node. Peers are positions in [`PEERS`], all numbers are taken modulo what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A frame comes.
    Frame(u8, Lane, Vec<u8>),
    /// Milliseconds pass.
    Pass(u16),
    /// A peer connects.
    Connect(u8),
    /// A peer's connection ends.
    Disconnect(u8, u8),
    /// A peer says something of itself, rightly signed: of which generation and incarnation, and how.
    Record(u8, u8, u8, u8),
    /// A client writes: what, under which key, and on whom it waits.
    Write(u8, u8, u8),
    /// A client asks the DHT: what, under which key, for how many owners.
    Ask(u8, u8, u8),
    /// The disk becomes quick, broken or slow.
    Disk(u8),
    /// A frame that the node has sent comes from a peer, with one byte changed.
    Echo(u8, u8, u16, u8),
    /// A lane is full.
    Refuse(u8, u8, u8),
    /// A dial comes to nothing.
    DialFailed(u8, u8),
    /// The process did not run.
    Stall(u8),
    /// The wall clock jumps to another hour.
    Wall(u8),
    /// A member is heard of: by an invite, or on the network.
    Seed(u8),
    /// The node leaves.
    Leave,
}

fn lane(n: u8) -> Lane {
    Lane::ALL[usize::from(n) % Lane::ALL.len()]
}

fn lane_number(lane: Lane) -> u8 {
    Lane::ALL.iter().position(|l| *l == lane).unwrap_or(0) as u8
}

impl Step {
    /// Writes the step.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Step::Frame(peer, lane, frame) => {
                bytes.extend_from_slice(&[0, *peer, lane_number(*lane)]);
                bytes.extend_from_slice(&(frame.len() as u16).to_le_bytes());
                bytes.extend_from_slice(frame);
            }
            Step::Pass(ms) => {
                bytes.push(1);
                bytes.extend_from_slice(&ms.to_le_bytes());
            }
            Step::Connect(peer) => bytes.extend_from_slice(&[2, *peer]),
            Step::Disconnect(peer, why) => bytes.extend_from_slice(&[3, *peer, *why]),
            Step::Record(peer, generation, incarnation, how) => {
                bytes.extend_from_slice(&[4, *peer, *generation, *incarnation, *how]);
            }
            Step::Write(what, key, wait) => bytes.extend_from_slice(&[5, *what, *key, *wait]),
            Step::Ask(what, key, quorum) => bytes.extend_from_slice(&[6, *what, *key, *quorum]),
            Step::Disk(how) => bytes.extend_from_slice(&[7, *how]),
            Step::Echo(which, peer, at, to) => {
                bytes.extend_from_slice(&[8, *which, *peer]);
                bytes.extend_from_slice(&at.to_le_bytes());
                bytes.push(*to);
            }
            Step::Refuse(peer, lane, slot) => bytes.extend_from_slice(&[9, *peer, *lane, *slot]),
            Step::DialFailed(peer, why) => bytes.extend_from_slice(&[10, *peer, *why]),
            Step::Stall(tenths) => bytes.extend_from_slice(&[11, *tenths]),
            Step::Wall(hours) => bytes.extend_from_slice(&[12, *hours]),
            Step::Seed(peer) => bytes.extend_from_slice(&[13, *peer]),
            Step::Leave => bytes.push(14),
        }
    }
}

/// Reads a script. What is cut short ends it.
pub fn steps(mut bytes: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    while steps.len() < STEPS_MAX
        && let Some(step) = step(&mut bytes)
    {
        steps.push(step);
    }
    steps
}

fn step(bytes: &mut &[u8]) -> Option<Step> {
    fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
        let (taken, rest) = bytes.split_first_chunk::<N>()?;
        *bytes = rest;
        Some(*taken)
    }
    let [tag] = take(bytes)?;
    Some(match tag % 15 {
        0 => {
            let [peer, on, low, high] = take(bytes)?;
            let len = usize::from(u16::from_le_bytes([low, high])).min(bytes.len());
            let (frame, rest) = bytes.split_at(len);
            *bytes = rest;
            Step::Frame(peer, lane(on), frame.to_vec())
        }
        1 => Step::Pass(u16::from_le_bytes(take(bytes)?)),
        2 => Step::Connect(take::<1>(bytes)?[0]),
        3 => take(bytes).map(|[peer, why]| Step::Disconnect(peer, why))?,
        4 => take(bytes).map(|[peer, generation, i, how]| Step::Record(peer, generation, i, how))?,
        5 => take(bytes).map(|[what, key, wait]| Step::Write(what, key, wait))?,
        6 => take(bytes).map(|[what, key, quorum]| Step::Ask(what, key, quorum))?,
        7 => Step::Disk(take::<1>(bytes)?[0]),
        8 => take(bytes)
            .map(|[n, peer, low, high, to]| Step::Echo(n, peer, u16::from_le_bytes([low, high]), to))?,
        9 => take(bytes).map(|[peer, lane, slot]| Step::Refuse(peer, lane, slot))?,
        10 => take(bytes).map(|[peer, why]| Step::DialFailed(peer, why))?,
        11 => Step::Stall(take::<1>(bytes)?[0]),
        12 => Step::Wall(take::<1>(bytes)?[0]),
        13 => Step::Seed(take::<1>(bytes)?[0]),
        _ => Step::Leave,
    })
}

/// How the disk answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Quick,
    Broken,
    /// It answers when it becomes quick or broken again.
    Slow,
}

/// The node and what is around it.
pub struct World {
    node: Node,
    now: Moment,
    disk: Disk,
    /// What the slow disk has still to answer.
    waiting: Vec<Input>,
    blobs: BTreeMap<chinwag_dht::Id, Arc<[u8]>>,
    links: BTreeSet<NodeId>,
    sent: VecDeque<(Lane, Vec<u8>)>,
    requests: u64,
    open: BTreeSet<u64>,
    left: bool,
}

impl Default for World {
    fn default() -> Self {
        let mut world = World {
            node: node(ME, START),
            now: START,
            disk: Disk::Quick,
            waiting: Vec::new(),
            blobs: BTreeMap::new(),
            links: BTreeSet::new(),
            sent: VecDeque::new(),
            requests: 0,
            open: BTreeSet::new(),
            left: false,
        };
        world.drain();
        world
    }
}

fn peer(n: u8) -> u8 {
    PEERS[usize::from(n) % PEERS.len()]
}

impl World {
    /// Does one step.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Frame(from, lane, bytes) => self.frame(samples::id(peer(from)), lane, bytes),
            Step::Pass(ms) => {
                let left = TIME_MAX.saturating_sub(self.now.since(START));
                self.pass(Duration::from_millis(ms.into()).min(left));
            }
            Step::Connect(n) => self.connect(samples::id(peer(n))),
            Step::Disconnect(n, why) => {
                let whys = [Lost::Reset, Lost::Closed, Lost::TimedOut, Lost::Local];
                self.disconnect(samples::id(peer(n)), whys[usize::from(why) % whys.len()]);
            }
            Step::Record(n, generation, incarnation, how) => {
                self.record(peer(n), generation, incarnation, how);
            }
            Step::Write(what, key, wait) => self.write(what, key, wait),
            Step::Ask(what, key, quorum) => self.ask(what, key, quorum),
            Step::Disk(how) => {
                self.disk = [Disk::Quick, Disk::Broken, Disk::Slow][usize::from(how) % 3];
                if self.disk != Disk::Slow {
                    for answer in std::mem::take(&mut self.waiting) {
                        self.handle(answer);
                    }
                }
            }
            Step::Echo(which, from, at, to) => {
                if self.sent.is_empty() {
                    return;
                }
                let (lane, mut bytes) = self.sent[usize::from(which) % self.sent.len()].clone();
                let at = usize::from(at) % bytes.len();
                bytes[at] = to;
                self.frame(samples::id(peer(from)), lane, bytes);
            }
            Step::Refuse(n, on, slot) => {
                self.handle(Input::SendRefused { to: samples::id(peer(n)), lane: lane(on), slot });
            }
            Step::DialFailed(n, why) => {
                let why = match why % 4 {
                    0 => DialFailure::Refused,
                    1 => DialFailure::TimedOut,
                    2 => DialFailure::Denied("no".into()),
                    _ => DialFailure::Other,
                };
                self.handle(Input::DialFailed { peer: samples::id(peer(n)), why });
            }
            Step::Stall(tenths) => {
                let lasted = Duration::from_millis(100 * u64::from(tenths));
                self.now += lasted;
                self.handle(Input::Stalled { lasted });
            }
            Step::Wall(hours) => {
                let ms = samples::NOW.unix_ms() - 128 * 3_600_000 + u64::from(hours) * 3_600_000;
                self.handle(Input::Wall(WallTime::from_unix_ms(ms)));
            }
            Step::Seed(n) => {
                let peer = peer(n);
                let addresses = vec![samples::address(peer)];
                self.handle(Input::Seed { peer: samples::id(peer), addresses });
            }
            Step::Leave => {
                self.left = true;
                self.handle(Input::Leave);
            }
        }
    }

    /// A frame comes from a peer, which is connected first: a driver passes on no others.
    fn frame(&mut self, from: NodeId, lane: Lane, bytes: Vec<u8>) {
        self.connect(from);
        if !bytes.is_empty() && bytes.len() <= lane.frame_bytes_max() {
            self.handle(Input::Frame { from, lane, bytes });
        }
    }

    fn connect(&mut self, peer: NodeId) {
        if self.links.insert(peer) {
            self.handle(Input::Connected { peer });
        }
    }

    fn disconnect(&mut self, peer: NodeId, reason: Lost) {
        if self.links.remove(&peer) {
            self.handle(Input::Disconnected { peer, reason });
        }
    }

    fn record(&mut self, n: u8, generation: u8, incarnation: u8, how: u8) {
        let standing = if how & 1 == 0 { Standing::Alive } else { Standing::Left };
        let record = samples::record(n, generation.into(), incarnation.into(), standing).into();
        let (lane, message) = if how & 2 == 0 {
            let digest = samples::digest(how);
            (Lane::Bulk, Message::Hello(Hello { record, digest, newcomer: how & 4 == 0 }))
        } else {
            (Lane::Gossip, Message::News(vec![Update::Record(record)]))
        };
        // News of a member may come from another one.
        let from = if how & 8 == 0 { n } else { peer(how >> 4) };
        self.frame(samples::id(from), lane, wire::encode(&wire::Frame::Membership(message)));
    }

    fn write(&mut self, what: u8, key: u8, wait: u8) {
        let key: chinwag_base::Key = format!("k{}", key % 4).parse().expect("a key");
        let value = samples::value(&format!("v{}", what / 8));
        let op = match what % 9 {
            0 => Op::Set { key, value },
            1 => Op::Add { key, element: value },
            2 => Op::Remove { key, element: value },
            3 => Op::Increment { key, by: i64::from(what) - 100 },
            4 => Op::Delete { key, kind: None },
            5 => Op::Enable { key },
            6 => Op::Set { key: key.field("f").expect("a field"), value },
            7 => Op::Lend { term: Term::Ms(u64::from(what) * 10), op: Box::new(Op::Set { key, value }) },
            _ => Op::Delete { key, kind: Some(Kind::Set) },
        };
        let wait =
            [Wait::Local, Wait::Majority, Wait::All, Wait::Count(usize::from(wait))][usize::from(wait) % 4];
        let request = chinwag_gossip::RequestId(self.request());
        let wait_until = Some(self.now + Duration::from_secs(2));
        self.handle(Input::Write { request, ops: vec![op], wait, wait_until });
    }

    fn ask(&mut self, what: u8, key: u8, quorum: u8) {
        let key: chinwag_base::Key = format!("r{}", key % 4).parse().expect("a key");
        let value = samples::value(&format!("v{}", what / 8));
        let quorum = (quorum != 0).then_some(usize::from(quorum % 8));
        let named = key.clone();
        let put = |edit| Ask::Put { key: named, edit, expires: None, quorum };
        let ask = match what % 8 {
            0 => put(Edit::Set(value)),
            1 => put(Edit::Add(value)),
            2 => put(Edit::Remove(value)),
            3 => put(Edit::Delete),
            4 => Ask::PutBlob { bytes: Arc::from(value.as_bytes()), expires: None, quorum },
            5 => Ask::Get { key: RecordKey::Cell(key), quorum },
            6 => Ask::Find { key: RecordKey::Cell(key) },
            _ => Ask::Get { key: RecordKey::Blob(chinwag_dht::BlobHash::of(value.as_bytes())), quorum },
        };
        let request = chinwag_dht::RequestId(self.request());
        self.handle(Input::Ask { request, ask, until: self.now + Duration::from_secs(2) });
    }

    fn request(&mut self) -> u64 {
        self.requests += 1;
        self.open.insert(self.requests);
        self.requests
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut inputs = VecDeque::new();
        let mut outputs = 0;
        loop {
            while let Some(output) = self.node.poll_output() {
                outputs += 1;
                assert!(outputs <= OUTPUTS_AT_ONCE_MAX, "a node answers for ever");
                inputs.extend(self.take(output));
            }
            let Some(input) = inputs.pop_front() else { return };
            self.node.handle(self.now, input);
        }
    }

    /// Takes one output, and says what comes of it.
    fn take(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Send { lane, slot, bytes, .. } => {
                assert!(!bytes.is_empty() && bytes.len() <= lane.frame_bytes_max());
                let frame = wire::decode(lane, &bytes).expect("a node's own frame decodes");
                assert!(frame.may_travel_on(lane) && frame.slot() == slot);
                self.sent.push_front((lane, bytes));
                self.sent.truncate(ECHOES_MAX);
                None
            }
            Output::Persist { batch, .. } => {
                let why = "no space".to_owned();
                self.answer(Input::Persisted { batch }, Input::PersistFailed { batch, why })
            }
            Output::Checkpoint { .. } => {
                let why = "no space".to_owned();
                self.answer(Input::Checkpointed, Input::CheckpointFailed { why })
            }
            Output::PersistRecords { batch, changes } => {
                if self.disk != Disk::Broken {
                    for (id, change) in changes {
                        match change {
                            chinwag_dht::Change::Keep { blob: Some(blob), .. } => {
                                self.blobs.insert(id, blob);
                            }
                            chinwag_dht::Change::Keep { .. } => {}
                            chinwag_dht::Change::Drop => drop(self.blobs.remove(&id)),
                        }
                    }
                }
                let why = "no space".to_owned();
                self.answer(Input::RecordsPersisted { batch }, Input::RecordsPersistFailed { batch, why })
            }
            Output::LoadBlob { load, id } => {
                let blob = Ok(self.blobs.get(&id).cloned());
                self.answer(
                    Input::BlobLoaded { load, blob },
                    Input::BlobLoaded { load, blob: Err("unreadable".into()) },
                )
            }
            Output::Close { peer } => {
                let closed = self.links.remove(&peer);
                closed.then_some(Input::Disconnected { peer, reason: Lost::Local })
            }
            Output::Answer { request, .. } => {
                assert!(self.open.remove(&request.0), "one answer for one request");
                None
            }
            Output::Told { request, .. } => {
                assert!(self.open.remove(&request.0), "one answer for one request");
                None
            }
            Output::Dial { addresses, .. } => {
                assert!(!addresses.is_empty(), "a dial knows where");
                None
            }
            Output::Event(event) => {
                // Whatever a peer sends, people can be told of it.
                let _ = format!("{event:?}");
                None
            }
            Output::Remember(_) | Output::Forget(_) | Output::Departed => None,
        }
    }

    fn answer(&mut self, done: Input, failed: Input) -> Option<Input> {
        match self.disk {
            Disk::Quick => Some(done),
            Disk::Broken => Some(failed),
            Disk::Slow => {
                self.waiting.push(done);
                None
            }
        }
    }

    /// Lets time pass, with a tick at each deadline.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut at_once = 0;
        while let Some(deadline) = self.node.next_deadline().filter(|at| *at <= end) {
            at_once = if deadline > self.now { 0 } else { at_once + 1 };
            assert!(at_once <= TICKS_AT_ONCE_MAX, "a node's deadline does not move on");
            self.now = self.now.max(deadline);
            self.handle(Input::Tick);
        }
        self.now = end;
    }

    /// Checks what holds after any script.
    pub fn check(&mut self) {
        // Every client has its answer once its time is over.
        self.step(Step::Disk(0));
        self.pass(Duration::from_secs(3));
        assert!(self.open.is_empty() || self.left, "requests without an answer: {:?}", self.open);
        let members: Vec<_> = self.node.membership().members(self.now).collect();
        assert!(members.len() <= PEERS.len() + 2, "only members with a grant are members");
        assert!(members.iter().all(|member| member.phi.is_finite()));
        let me = members.iter().find(|member| member.id == samples::id(ME)).expect("a node knows itself");
        let expected =
            if self.left { chinwag_membership::State::Left } else { chinwag_membership::State::Alive };
        assert_eq!(me.state, expected, "nobody talks a node into its own death");
    }
}

/// Runs a script.
pub fn run(bytes: &[u8]) {
    let mut world = World::default();
    steps(bytes).into_iter().for_each(|step| world.step(step));
    world.check();
}

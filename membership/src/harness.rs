//! A small network in virtual time for scenarios: memberships, a queue of what is under way, and faults.

use crate::{
    Config, DialFailure, Event, ForgetError, Identity, Input, Lost, Membership, Message, Output, Profile,
    Reached, Record, Recovered, State,
};
use chinwag_base::{Generation, Grant, Keypair, Lane, Moment, NodeId, OverlayId, Role, WallTime};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn root() -> Keypair {
    Keypair::from_secret([255; 32])
}

pub(crate) fn overlay() -> OverlayId {
    OverlayId::of_root(&root().id())
}

pub(crate) fn keypair(n: usize) -> Keypair {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&(n as u64).to_le_bytes());
    Keypair::from_secret(secret)
}

pub(crate) fn identity(n: usize, generation: u64) -> Identity {
    let keypair = keypair(n);
    let grant = Grant::by_root(&root(), keypair.id(), Role::Member, WallTime::from_unix_ms(1 << 40));
    let port = 1_000 + n as u16;
    Identity {
        grant,
        name: format!("node-{n}").parse().unwrap(),
        generation: Generation::new(generation),
        addresses: vec![format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()],
        tags: BTreeMap::new(),
        keypair,
    }
}

/// The same with an admin's grant.
pub(crate) fn as_admin(me: Identity) -> Identity {
    let grant = Grant::by_root(&root(), me.keypair.id(), Role::Admin, WallTime::from_unix_ms(1 << 40));
    Identity { grant, ..me }
}

/// How a node's machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    Runs,
    /// Stopped: the kernel accepts and buffers, the process does nothing.
    Paused(Moment),
    /// Killed: connections are reset, dials refused.
    Killed,
    /// Gone with its host: nothing answers at all.
    Vanished,
}

pub(crate) struct Node {
    pub(crate) membership: Membership,
    pub(crate) machine: Machine,
    pub(crate) book: BTreeMap<NodeId, Arc<Record>>,
    pub(crate) departed: Option<Moment>,
    generation: u64,
    inbox: Vec<Arrival>,
    tick: Option<Moment>,
}

#[derive(Debug, Clone)]
enum Arrival {
    Frame { from: usize, connection: u64, message: Message },
    Dial { from: usize },
    Ended { peer: usize, connection: u64, reason: Lost },
    DialFailed { peer: usize, dial: u64, why: DialFailure },
}

pub(crate) struct Network {
    pub(crate) now: Moment,
    pub(crate) nodes: Vec<Node>,
    pub(crate) events: Vec<(Moment, usize, Event)>,
    /// Answers to calls: whose call it was, the request, and what came.
    pub(crate) reached: Vec<(usize, u64, Option<Reached>)>,
    /// Answers to orders.
    pub(crate) forgotten: Vec<Result<(), ForgetError>>,
    /// Who has an admin's grant.
    pub(crate) admins: BTreeSet<usize>,
    /// The part of frames on the probe and gossip lanes that is lost.
    pub(crate) loss: f64,
    /// Directed links that carry nothing.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// One-way latency, uniform, in microseconds.
    pub(crate) latency_us: core::ops::Range<u64>,
    pub(crate) config: Config,
    rng: ChaCha8Rng,
    serial: u64,
    queue: BTreeMap<(Moment, u64), (usize, u64, Arrival)>,
    ticks: BTreeSet<(Moment, usize)>,
    /// Which connection each end holds open.
    ends: BTreeMap<(usize, usize), u64>,
    dials: BTreeMap<(usize, usize), u64>,
    order: BTreeMap<(usize, usize, Lane), Moment>,
    index: BTreeMap<NodeId, usize>,
}

impl Network {
    pub(crate) fn new(profile: Profile, seed: u64) -> Self {
        Network {
            now: Moment::from_millis(1_000),
            nodes: Vec::new(),
            events: Vec::new(),
            reached: Vec::new(),
            forgotten: Vec::new(),
            admins: BTreeSet::new(),
            loss: 0.0,
            cut: BTreeSet::new(),
            frames: 0,
            bytes: 0,
            latency_us: 1_000..50_000,
            config: Config { profile, ..Config::new(overlay()) },
            rng: ChaCha8Rng::seed_from_u64(seed),
            serial: 0,
            queue: BTreeMap::new(),
            ticks: BTreeSet::new(),
            ends: BTreeMap::new(),
            dials: BTreeMap::new(),
            order: BTreeMap::new(),
            index: BTreeMap::new(),
        }
    }

    /// `count` nodes that have all joined through the first, and settled for `settle`.
    pub(crate) fn grown(profile: Profile, seed: u64, count: usize, settle: Duration) -> Self {
        Self::new(profile, seed).grow(count, settle)
    }

    /// The same on one machine: round trips far below the shortest time-out.
    pub(crate) fn on_loopback(seed: u64, count: usize, settle: Duration) -> Self {
        let mut network = Self::new(Profile::Lan, seed);
        network.latency_us = 30..500;
        network.grow(count, settle)
    }

    pub(crate) fn grow(mut self, count: usize, settle: Duration) -> Self {
        let network = &mut self;
        (0..count).for_each(|n| {
            network.add(n);
        });
        (1..count).for_each(|n| network.seed(n, 0));
        network.run(settle);
        assert!(network.is_complete(), "views are complete after {settle:?}");
        self
    }

    pub(crate) fn add(&mut self, n: usize) -> usize {
        let me = self.identity(n, 1);
        self.index.insert(me.keypair.id(), self.nodes.len());
        let seed = self.rng.random();
        let membership = Membership::new(self.config.clone(), me, Recovered::default(), seed, self.now);
        self.nodes.push(Node {
            membership,
            machine: Machine::Runs,
            book: BTreeMap::new(),
            departed: None,
            generation: 1,
            inbox: Vec::new(),
            tick: None,
        });
        let at = self.nodes.len() - 1;
        self.drain(at);
        at
    }

    fn identity(&self, n: usize, generation: u64) -> Identity {
        let me = identity(n, generation);
        if self.admins.contains(&n) { as_admin(me) } else { me }
    }

    pub(crate) fn seed(&mut self, n: usize, at: usize) {
        let (peer, addresses) = (self.id(at), identity(at, 1).addresses);
        self.input(n, Input::Seed { peer, addresses });
    }

    pub(crate) fn id(&self, n: usize) -> NodeId {
        self.nodes[n].membership.me()
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].machine == Machine::Runs).collect()
    }

    /// What `n` believes of `of`.
    pub(crate) fn belief(&self, n: usize, of: usize) -> Option<crate::Member> {
        self.nodes[n].membership.member(self.now, &self.id(of))
    }

    pub(crate) fn state(&self, n: usize, of: usize) -> Option<State> {
        self.belief(n, of).map(|member| member.state)
    }

    /// Whether all running nodes hold exactly all running nodes for alive.
    pub(crate) fn is_complete(&self) -> bool {
        let running = self.running();
        running.iter().all(|&n| {
            let alive =
                self.nodes[n].membership.members(self.now).filter(|m| m.state == State::Alive).count();
            alive == running.len() && running.iter().all(|&of| self.state(n, of) == Some(State::Alive))
        })
    }

    /// Runs until `goal` holds, and says how long that took.
    pub(crate) fn run_until(&mut self, limit: Duration, goal: impl Fn(&Network) -> bool) -> Duration {
        let start = self.now;
        while !goal(self) {
            assert!(self.now.since(start) <= limit, "not within {limit:?}: {}", self.describe());
            self.run(ms(10));
        }
        self.now.since(start)
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for (n, node) in self.nodes.iter().enumerate().take(12) {
            text += &format!("\n{n} {:?}:", node.machine);
            for member in node.membership.members(self.now).filter(|m| m.state != State::Alive).take(12) {
                text += &format!(
                    " {} {}{} phi {:.1};",
                    member.name,
                    member.state,
                    if member.unverified { " (unverified)" } else { "" },
                    member.phi
                );
            }
        }
        text
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let frame = self.queue.keys().next().map(|(at, _)| *at);
            let tick = self.ticks.first().map(|(at, _)| *at);
            let Some(next) = frame.into_iter().chain(tick).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if frame == Some(next) {
                let (_, (to, generation, arrival)) = self.queue.pop_first().unwrap();
                if self.nodes[to].generation == generation {
                    self.arrive(to, arrival);
                }
            } else {
                let (_, n) = self.ticks.pop_first().unwrap();
                self.nodes[n].tick = None;
                self.input(n, Input::Tick);
            }
        }
        self.now = end;
    }

    /// Accusations of `of` by others than `except`.
    pub(crate) fn accusations(&self, of: usize) -> Vec<(Moment, usize, &Event)> {
        let subject = self.id(of);
        let accuses = |event: &Event| match event {
            Event::Suspect { id, .. } | Event::Down { id, .. } => *id == subject,
            _ => false,
        };
        self.events.iter().filter(|(_, _, e)| accuses(e)).map(|(at, n, e)| (*at, *n, e)).collect()
    }

    /// Ends the process of `n`: its kernel resets what was open.
    pub(crate) fn kill(&mut self, n: usize) {
        self.nodes[n].machine = Machine::Killed;
        self.nodes[n].generation += 1;
        self.untick(n);
        for peer in 0..self.nodes.len() {
            self.ends.remove(&(n, peer));
            if let Some(connection) = self.ends.get(&(peer, n)).copied() {
                let ended = Arrival::Ended { peer: n, connection, reason: Lost::Reset };
                self.post(n, peer, Lane::Bulk, ended);
            }
        }
    }

    /// Unplugs `n`: nothing tells the others.
    pub(crate) fn vanish(&mut self, n: usize) {
        self.nodes[n].machine = Machine::Vanished;
        self.nodes[n].generation += 1;
        self.untick(n);
    }

    /// Starts `n` anew, with what its address book remembers and no other help.
    pub(crate) fn restart(&mut self, n: usize, number: usize) {
        let members = self.nodes[n].book.values().map(|record| (**record).clone()).collect();
        self.nodes[n].generation += 1;
        let me = self.identity(number, self.nodes[n].generation);
        let seed = self.rng.random();
        self.nodes[n].membership =
            Membership::new(self.config.clone(), me, Recovered { members }, seed, self.now);
        self.nodes[n].machine = Machine::Runs;
        self.nodes[n].inbox.clear();
        for peer in 0..self.nodes.len() {
            self.ends.remove(&(n, peer));
            self.dials.remove(&(n, peer));
        }
        self.drain(n);
    }

    pub(crate) fn pause(&mut self, n: usize) {
        self.nodes[n].machine = Machine::Paused(self.now);
        self.untick(n);
    }

    /// Lets `n` run again: it measures its stall and finds what waited, in either order, and only then its timers.
    pub(crate) fn resume(&mut self, n: usize) {
        let Machine::Paused(since) = self.nodes[n].machine else { return };
        self.nodes[n].machine = Machine::Runs;
        let stalled = Input::Stalled { lasted: self.now.since(since) };
        let first = self.rng.random_bool(0.5);
        if first {
            self.input(n, stalled.clone());
        }
        for arrival in std::mem::take(&mut self.nodes[n].inbox) {
            self.arrive(n, arrival);
        }
        if !first {
            self.input(n, stalled);
        }
    }

    /// Cuts all links between the two sides, both ways.
    pub(crate) fn part(&mut self, left: &[usize], right: &[usize]) {
        for &a in left {
            self.cut.extend(right.iter().flat_map(|&b| [(a, b), (b, a)]));
        }
    }

    pub(crate) fn input(&mut self, n: usize, input: Input) {
        if self.nodes[n].machine == Machine::Runs {
            self.nodes[n].membership.handle(self.now, input);
            self.drain(n);
        }
    }

    fn untick(&mut self, n: usize) {
        if let Some(at) = self.nodes[n].tick.take() {
            self.ticks.remove(&(at, n));
        }
    }

    fn drain(&mut self, n: usize) {
        while let Some(output) = self.nodes[n].membership.poll_output() {
            self.output(n, output);
        }
        self.untick(n);
        if let Some(at) = self.nodes[n].membership.next_deadline() {
            // Timers of a real process are a little late.
            let at = at.max(self.now) + Duration::from_micros(self.rng.random_range(50..1_000));
            self.nodes[n].tick = Some(at);
            self.ticks.insert((at, n));
        }
    }

    fn output(&mut self, n: usize, output: Output) {
        match output {
            Output::Send { to, lane, message } => {
                assert!(message.weight() <= lane.frame_bytes_max(), "{lane:?} {message:?}");
                let Some(&peer) = self.index.get(&to) else { return };
                let Some(&connection) = self.ends.get(&(n, peer)) else { return };
                self.frames += 1;
                self.bytes += message.weight() as u64;
                if lane != Lane::Bulk && self.rng.random_bool(self.loss) {
                    return;
                }
                self.post(n, peer, lane, Arrival::Frame { from: n, connection, message });
            }
            Output::Dial { peer, .. } => self.dial(n, peer),
            Output::Close { peer } => {
                let peer = self.index[&peer];
                if let Some(connection) = self.ends.remove(&(n, peer)) {
                    self.post(
                        n,
                        peer,
                        Lane::Bulk,
                        Arrival::Ended { peer: n, connection, reason: Lost::Closed },
                    );
                    let id = self.id(peer);
                    self.input(n, Input::Disconnected { peer: id, reason: Lost::Local });
                }
            }
            Output::Remember(record) => {
                self.nodes[n].book.insert(record.id(), record);
            }
            Output::Forget(id) => {
                self.nodes[n].book.remove(&id);
            }
            Output::Event(event) => self.events.push((self.now, n, event)),
            Output::Forgotten { result, .. } => self.forgotten.push(result),
            Output::Reached { request, reached } => self.reached.push((n, request, reached)),
            Output::Departed => self.nodes[n].departed = Some(self.now),
        }
    }

    fn dial(&mut self, n: usize, peer: NodeId) {
        let Some(&peer) = self.index.get(&peer) else {
            return self.post_failure(n, n, ms(1), DialFailure::TimedOut);
        };
        self.serial += 1;
        self.dials.insert((n, peer), self.serial);
        let reachable = !self.cut.contains(&(n, peer)) && !self.cut.contains(&(peer, n));
        match self.nodes[peer].machine {
            Machine::Vanished => self.post_failure(n, peer, s(5), DialFailure::TimedOut),
            _ if !reachable => self.post_failure(n, peer, s(5), DialFailure::TimedOut),
            Machine::Killed => {
                let round_trip = self.latency() + self.latency();
                self.post_failure(n, peer, round_trip, DialFailure::Refused);
            }
            Machine::Runs | Machine::Paused(_) => {
                // Connection, encryption and admission take some round trips.
                let delay = (0..3).map(|_| self.latency()).sum();
                let generation = self.nodes[peer].generation;
                self.enqueue(self.now + delay, peer, generation, Arrival::Dial { from: n });
                self.post_failure(n, peer, s(5), DialFailure::TimedOut);
            }
        }
    }

    fn post_failure(&mut self, n: usize, peer: usize, after: Duration, why: DialFailure) {
        let dial = self.serial;
        let generation = self.nodes[n].generation;
        self.enqueue(self.now + after, n, generation, Arrival::DialFailed { peer, dial, why });
    }

    fn latency(&mut self) -> Duration {
        Duration::from_micros(self.rng.random_range(self.latency_us.clone()))
    }

    /// Puts something on its way; streams keep their order.
    fn post(&mut self, from: usize, to: usize, lane: Lane, arrival: Arrival) {
        if self.cut.contains(&(from, to)) || self.nodes[to].machine == Machine::Vanished {
            return;
        }
        let at = self.now + self.latency();
        let last = self.order.entry((from, to, lane)).or_default();
        *last = at.max(*last);
        let (at, generation) = (*last, self.nodes[to].generation);
        self.enqueue(at, to, generation, arrival);
    }

    fn enqueue(&mut self, at: Moment, to: usize, generation: u64, arrival: Arrival) {
        self.serial += 1;
        self.queue.insert((at, self.serial), (to, generation, arrival));
    }

    fn arrive(&mut self, to: usize, arrival: Arrival) {
        match self.nodes[to].machine {
            Machine::Runs => {}
            Machine::Paused(_) => return self.nodes[to].inbox.push(arrival),
            Machine::Killed | Machine::Vanished => return,
        }
        match arrival {
            Arrival::Frame { from, connection, message } => {
                if self.ends.get(&(to, from)) == Some(&connection) {
                    let from = self.id(from);
                    self.input(to, Input::Message { from, message });
                }
            }
            Arrival::Dial { from } => self.connect(from, to),
            Arrival::Ended { peer, connection, reason } => {
                if self.ends.get(&(to, peer)) == Some(&connection) {
                    self.ends.remove(&(to, peer));
                    let peer = self.id(peer);
                    self.input(to, Input::Disconnected { peer, reason });
                }
            }
            Arrival::DialFailed { peer, dial, why } => {
                if self.dials.get(&(to, peer)) == Some(&dial) {
                    self.dials.remove(&(to, peer));
                    let peer = self.id(peer);
                    self.input(to, Input::DialFailed { peer, why });
                }
            }
        }
    }

    fn connect(&mut self, dialler: usize, listener: usize) {
        let open =
            self.nodes[dialler].machine == Machine::Runs && self.dials.remove(&(dialler, listener)).is_some();
        if !open || self.cut.contains(&(listener, dialler)) {
            return;
        }
        self.serial += 1;
        let connection = self.serial;
        for (end, peer) in [(dialler, listener), (listener, dialler)] {
            let was_open = self.ends.insert((end, peer), connection).is_some();
            if !was_open {
                let peer = self.id(peer);
                self.input(end, Input::Connected { peer });
            }
        }
    }
}

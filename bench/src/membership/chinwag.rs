//! chinwag's `Membership` on the simulated network, driven as its daemon drives it: connections that are dialled,
//! break and are refused, three lanes on each, timers that are a little late.

mod connection;
mod frame;
mod identity;
mod replay;

pub use self::identity::Identities;

use self::connection::{End, Held};
use self::replay::Recording;
use super::ledger::{Belief, Ledger};
use super::network::Network;
use super::options::{Delivery, Setting};
use super::queue::Queue;
use super::{Overlay, Suspicions, Traffic};
use chinwag_base::{Lane, Moment, NodeId};
use chinwag_membership::{
    Config, DialFailure, Event, Input, Lost, Membership, Message, Output, RecordPool, Recovered,
};
use rand::RngExt as _;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A member's clock does not begin at zero.
const EPOCH: Moment = Moment::from_millis(1_000);
/// How late the timers of a real process are, in microseconds.
const TIMER_LATE_US: std::ops::Range<u64> = 50..1_000;

/// An overlay of chinwag's members.
pub struct Chinwag {
    now: Moment,
    identities: Rc<Identities>,
    config: Config,
    delivery: Delivery,
    network: Network,
    nodes: Vec<Node>,
    index: HashMap<NodeId, usize>,
    queue: Queue<(usize, Arrival)>,
    ticks: BTreeSet<(Moment, usize)>,
    /// Of connections and dials.
    serial: u64,
    /// What met a cut and will be sent again.
    held: BTreeMap<(usize, usize), Held>,
    ledger: Ledger,
    traffic: Traffic,
    measures: bool,
    /// Room for what a member wants done.
    outputs: Vec<Output>,
    /// Members of whom everything that they are told is kept.
    watched: Vec<usize>,
    recordings: BTreeMap<usize, Recording>,
}

struct Node {
    membership: Membership,
    machine: Machine,
    ends: BTreeMap<usize, End>,
    dials: BTreeMap<usize, u64>,
    inbox: Vec<Arrival>,
    tick: Option<Moment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    Runs,
    Paused(Moment),
    Killed,
    Vanished,
}

enum Arrival {
    Frame {
        from: usize,
        connection: u64,
        message: Box<Message>,
        bytes: Option<Vec<u8>>,
    },
    Dial {
        from: usize,
        dial: u64,
    },
    Ended {
        peer: usize,
        connection: u64,
        reason: Lost,
    },
    DialFailed {
        peer: usize,
        dial: u64,
        why: DialFailure,
    },
    /// Nothing may have passed for so long that the connection is given up.
    Idle {
        peer: usize,
        connection: u64,
    },
}

impl Chinwag {
    /// Nobody yet.
    pub fn new(setting: &Setting, identities: Rc<Identities>, seed: u64) -> Self {
        // Of this run alone: members say other things of themselves in others, at the same version.
        let pool = RecordPool::shared();
        let config = Config { profile: setting.profile, pool, ..Config::new(identities.overlay()) };
        Chinwag {
            now: EPOCH,
            index: identities.index(setting.nodes),
            identities,
            config,
            delivery: setting.delivery,
            network: Network::new(seed, setting.loss),
            nodes: Vec::new(),
            queue: Queue::default(),
            ticks: BTreeSet::new(),
            serial: 0,
            held: BTreeMap::new(),
            ledger: Ledger::new(setting.nodes),
            traffic: Traffic::default(),
            measures: false,
            outputs: Vec::new(),
            watched: Vec::new(),
            recordings: BTreeMap::new(),
        }
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn elapsed(&self) -> Duration {
        self.now.since(EPOCH)
    }

    fn id(&self, member: usize) -> NodeId {
        self.identities.id(member)
    }

    /// Hands something in, and does what comes out.
    fn input(&mut self, n: usize, input: Input) {
        let mut next = vec![input];
        while let Some(input) = next.pop() {
            if self.nodes[n].machine != Machine::Runs {
                return;
            }
            if let Some(recording) = self.recordings.get_mut(&n) {
                recording.add(self.now, &input);
            }
            let membership = &mut self.nodes[n].membership;
            let is_timed = self.measures && matches!(input, Input::Message { .. });
            let begun = is_timed.then(Instant::now);
            membership.handle(self.now, input);
            let mut outputs = std::mem::take(&mut self.outputs);
            while let Some(output) = membership.poll_output() {
                outputs.push(output);
            }
            if let Some(begun) = begun {
                self.traffic.handle_ns.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
            }
            for output in outputs.drain(..) {
                next.extend(self.output(n, output));
            }
            self.outputs = outputs;
        }
        self.untick(n);
        if let Some(at) = self.nodes[n].membership.next_deadline() {
            let late = Duration::from_micros(self.network.rng().random_range(TIMER_LATE_US));
            let at = at.max(self.now) + late;
            self.nodes[n].tick = Some(at);
            self.ticks.insert((at, n));
        }
    }

    fn untick(&mut self, n: usize) {
        if let Some(at) = self.nodes[n].tick.take() {
            self.ticks.remove(&(at, n));
        }
    }

    /// Does what a member wants done. What that leads to at once is returned.
    fn output(&mut self, n: usize, output: Output) -> Option<Input> {
        match output {
            Output::Send { to, lane, message } => self.send(n, to, lane, message),
            Output::Dial { peer, .. } => self.dial(n, peer),
            Output::Close { peer } => return self.close(n, peer),
            Output::Event(event) => self.note(n, &event),
            Output::Remember(_)
            | Output::Forget(_)
            | Output::Departed
            | Output::Reached { .. }
            | Output::Forgotten { .. } => {}
        }
        None
    }

    fn note(&mut self, by: usize, event: &Event) {
        let (id, belief) = match event {
            Event::Alive { id, .. } => (id, Belief::Alive),
            Event::Suspect { id, .. } => (id, Belief::Suspect),
            Event::Down { id, .. } | Event::Left { id, .. } => (id, Belief::Down),
            Event::Reaped { id, .. } => (id, Belief::Unknown),
            _ => return,
        };
        if let Some(&of) = self.index.get(id) {
            self.ledger.note(self.now.since(EPOCH), by, of, belief);
        }
    }

    fn each_connection(&self, n: usize) -> Vec<(usize, u64)> {
        self.nodes[n].ends.iter().map(|(peer, end)| (*peer, end.connection)).collect()
    }
}

impl Overlay for Chinwag {
    fn start(&mut self) {
        let n = self.nodes.len();
        let me = self.identities.identity(n);
        let seed = self.network.rng().random();
        if self.watched.contains(&n) {
            self.recordings.insert(n, Recording::new(n, seed, self.now));
        }
        let membership = Membership::new(self.config.clone(), me, Recovered::default(), seed, self.now);
        self.nodes.push(Node {
            membership,
            machine: Machine::Runs,
            ends: BTreeMap::new(),
            dials: BTreeMap::new(),
            inbox: Vec::new(),
            tick: None,
        });
        let first = self.identities.identity(0);
        match n {
            0 => self.input(n, Input::Tick),
            _ => self.input(n, Input::Seed { peer: first.keypair.id(), addresses: first.addresses }),
        }
    }

    fn now(&self) -> Duration {
        self.elapsed()
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let (arrival, tick) = (self.queue.next(), self.ticks.first().map(|(at, _)| *at));
            let Some(next) = arrival.into_iter().chain(tick).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                if let Some((to, arrival)) = self.queue.take() {
                    self.arrive(to, arrival);
                }
            } else if let Some((_, n)) = self.ticks.pop_first() {
                self.nodes[n].tick = None;
                self.input(n, Input::Tick);
            }
        }
        self.now = end;
    }

    fn vanish(&mut self, member: usize) {
        self.nodes[member].machine = Machine::Vanished;
        self.untick(member);
        self.ledger.bury(member);
        for (peer, connection) in self.each_connection(member) {
            self.expect_idle(peer, member, connection);
        }
    }

    fn kill(&mut self, member: usize) {
        self.nodes[member].machine = Machine::Killed;
        self.untick(member);
        self.ledger.bury(member);
        for (peer, connection) in self.each_connection(member) {
            self.post(
                member,
                peer,
                Lane::Bulk,
                Arrival::Ended { peer: member, connection, reason: Lost::Reset },
            );
        }
        self.nodes[member].ends.clear();
    }

    fn pause(&mut self, member: usize) {
        self.nodes[member].machine = Machine::Paused(self.now);
        self.untick(member);
    }

    /// It measures its stall and finds what waited, in either order, and only then its timers.
    fn resume(&mut self, member: usize) {
        let Machine::Paused(since) = self.nodes[member].machine else { return };
        self.nodes[member].machine = Machine::Runs;
        let stalled = Input::Stalled { lasted: self.now.since(since) };
        let is_first = self.network.rng().random_bool(0.5);
        if is_first {
            self.input(member, stalled.clone());
        }
        for arrival in std::mem::take(&mut self.nodes[member].inbox) {
            self.arrive(member, arrival);
        }
        if !is_first {
            self.input(member, stalled);
        }
    }

    fn part(&mut self, border: usize) {
        self.network.set_border(Some(border));
        for n in 0..self.nodes.len() {
            for (peer, connection) in self.each_connection(n) {
                if self.network.is_cut(n, peer) {
                    self.expect_idle(n, peer, connection);
                }
            }
        }
    }

    fn heal(&mut self) {
        self.network.set_border(None);
        self.release_held();
    }

    fn suspicions(&self) -> Suspicions {
        Suspicions::All
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn watch(&mut self, members: &[usize]) {
        self.watched = members.to_vec();
    }

    fn alone_ns(&self) -> Vec<u32> {
        self.recordings.values().flat_map(|recording| self.replay(recording)).collect()
    }

    fn measure(&mut self) {
        self.measures = true;
        self.recordings.values_mut().for_each(Recording::measure);
        self.traffic = Traffic::default();
    }

    fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::setting;
    use super::*;
    use chinwag_membership::State;

    fn grown(nodes: usize, seed: u64) -> Chinwag {
        let setting = setting(nodes);
        let identities = Rc::new(Identities::new(nodes));
        let mut overlay = Chinwag::new(&setting, identities, seed);
        (0..nodes).for_each(|_| overlay.start());
        overlay.run(Duration::from_secs(30));
        overlay
    }

    /// The ledger is made of events; here the members are asked.
    fn agrees(overlay: &Chinwag) {
        for (by, node) in overlay.nodes.iter().enumerate().filter(|(_, n)| n.machine == Machine::Runs) {
            for of in (0..overlay.nodes.len()).filter(|of| *of != by) {
                let state = node.membership.member(overlay.now, &overlay.id(of)).map(|member| member.state);
                let shown = match state {
                    None => Belief::Unknown,
                    Some(State::Alive) => Belief::Alive,
                    Some(State::Suspect) => Belief::Suspect,
                    Some(State::Down | State::Left) => Belief::Down,
                };
                assert_eq!(overlay.ledger.belief(by, of), shown, "{by} of {of}");
            }
        }
    }

    #[test]
    fn the_ledger_says_what_the_members_say() {
        let mut overlay = grown(24, 1);
        agrees(&overlay);
        assert!(overlay.ledger.is_complete());
        overlay.vanish(3);
        overlay.kill(4);
        overlay.run(Duration::from_millis(1_700));
        agrees(&overlay);
        overlay.run(Duration::from_secs(10));
        agrees(&overlay);
        assert_eq!([3, 4].map(|dead| overlay.ledger.down_by(dead)), [22, 22]);
        overlay.part(8);
        overlay.run(Duration::from_secs(20));
        agrees(&overlay);
        assert!(overlay.ledger.wrong() > 0);
        overlay.heal();
        overlay.run(Duration::from_secs(60));
        agrees(&overlay);
        assert_eq!(overlay.ledger.wrong(), 0);
    }

    #[test]
    fn one_seed_is_one_run() {
        let told = |seed| {
            let mut overlay = grown(16, seed);
            overlay.vanish(2);
            overlay.run(Duration::from_secs(10));
            (overlay.ledger.accusations().to_vec(), overlay.traffic.messages)
        };
        assert_eq!(told(7), told(7));
        assert_ne!(told(7), told(8));
    }
}

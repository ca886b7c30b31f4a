//! The world that the nodes live in: time, machines, disks, a network, clients, and fate.
//!
//! It drives the daemon's own [`Node`] as the daemon's driver does: one input, then all outputs, then sleep until the
//! deadline or the next input; after a pause first the frames that waited and how long the pause was, then the timers. Every frame goes
//! through the real codec. Nothing in here asks a clock or an operating system, and everything random is drawn from the plan's seed, so
//! that a plan decides its run to the last byte.

mod clients;
mod disk;
mod events;
mod faults;
mod finish;
mod links;
pub(crate) mod machine;
mod network;
mod queue;

pub use network::Traffic;

use crate::observation::{Fact, Host, Observation, Request, Stop};
use crate::plan::Plan;
use crate::sabotage::Saboteur;
use crate::words::Line;
use chinwag_base::{Key, Moment, NodeId};
use chinwag_crdt::{Checkpoint, Dot, Entry, Row};
use chinwag_gossip::BatchId;
use chinwag_node::{Input, Node, Output};
use finish::Stage;
use machine::{Machine, Run};
use network::Network;
use queue::{ConnectionId, Happening, Life, Queue};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;
use twox_hash::XxHash3_64;

/// Reads a line of a run's trace.
pub type Tracer = Box<dyn FnMut(Moment, Line, &str)>;

/// One run under way.
pub struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Moment,
    pub(crate) queue: Queue,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) machines: Vec<Machine>,
    /// Each record is verified, and held, once for all nodes.
    pub(crate) pool: chinwag_membership::RecordPool,
    index: FxHashMap<NodeId, Host>,
    pub(crate) network: Network,
    pub(crate) retired: VecDeque<(Moment, ConnectionId)>,
    pub(crate) traffic: Traffic,
    /// Every write that was ever durable anywhere: logs do not keep them all.
    pub(crate) archive: BTreeMap<Dot, Arc<Entry>>,
    /// Who wrote what, once a client was told.
    pub(crate) written: BTreeMap<Dot, Request>,
    /// Every key that a client has ever written: they are all read in the end.
    pub(crate) keys: BTreeSet<Key>,
    pub(crate) requests: u64,
    pub(crate) dials: u64,
    lives: Life,
    /// Inputs that outputs led to, for the same host or another one.
    again: VecDeque<(Host, Input)>,
    giving: bool,
    pub(crate) observations: VecDeque<Observation>,
    events: u64,
    hash: XxHash3_64,
    pub(crate) tally: Tally,
    pub(crate) stage: Stage,
    pub(crate) looks: finish::Looks,
    pub(crate) saboteur: Option<Box<dyn Saboteur>>,
    tracer: Option<Tracer>,
}

/// What a run really had in it, by name.
pub type Tally = BTreeMap<&'static str, u64>;

/// Timers of a real process are a little late.
const LATE_US: std::ops::Range<u64> = 50..1_000;
/// How often a node is told the wall clock.
const WALL_EVERY: Duration = Duration::from_secs(1);

impl World {
    /// A world at its beginning. The plan must be without fault ([`Plan::fault`]).
    pub fn new(plan: Plan) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let root = machine::root();
        let machines: Vec<Machine> = (0..plan.hosts)
            .map(|n| Machine::new(Host(n), &root, Duration::from_millis(rng.random_range(0..1_000_000))))
            .collect();
        let index = machines.iter().enumerate().map(|(n, m)| (m.id, Host(n as u32))).collect();
        let mut world = World {
            now: Moment::ZERO,
            queue: Queue::default(),
            rng,
            machines,
            pool: chinwag_membership::RecordPool::shared(),
            index,
            network: Network { loss: plan.network.loss, ..Network::default() },
            retired: VecDeque::new(),
            traffic: Traffic::default(),
            archive: BTreeMap::new(),
            written: BTreeMap::new(),
            keys: BTreeSet::new(),
            requests: 0,
            dials: 0,
            lives: 0,
            again: VecDeque::new(),
            giving: false,
            observations: VecDeque::new(),
            events: 0,
            hash: XxHash3_64::with_seed(0),
            tally: Tally::new(),
            stage: Stage::Faults,
            looks: finish::Looks::default(),
            saboteur: None,
            tracer: None,
            plan,
        };
        for n in 0..world.plan.hosts {
            // The first one is there; the others come within a second.
            let at = if n == 0 { 0 } else { world.rng.random_range(1_000..1_000_000) };
            world.queue.put(Moment::from_nanos(at * 1_000), Happening::Join(Host(n)));
        }
        for (number, step) in world.plan.steps.iter().enumerate() {
            world.queue.put(Moment::from_millis(step.at_ms), Happening::Step(number));
        }
        world.queue.put(Moment::ZERO + world.plan.heal(), Happening::Heal);
        world
    }

    /// Puts somebody between the nodes and the world who breaks a rule.
    #[must_use]
    pub fn with_saboteur(mut self, saboteur: Box<dyn Saboteur>) -> Self {
        self.saboteur = Some(saboteur);
        self
    }

    /// Gives every frame, event and fault, in words, to `tracer`.
    #[must_use]
    pub fn with_tracer(mut self, tracer: Tracer) -> Self {
        self.tracer = Some(tracer);
        self
    }

    /// Lets the next thing happen. False once the run is over.
    pub fn step(&mut self) -> bool {
        if self.stage == Stage::Over {
            return false;
        }
        let Some((at, what)) = self.queue.pop() else { return false };
        self.now = self.now.max(at);
        self.events += 1;
        self.note(&what);
        self.happen(what);
        true
    }

    /// Lets everything happen up to a moment.
    pub fn run_until(&mut self, at: Moment) {
        while self.queue.next_at().is_some_and(|next| next <= at) && self.step() {}
        self.now = self.now.max(at);
    }

    /// What was observed since the last call.
    pub fn observed(&mut self) -> impl Iterator<Item = Observation> + '_ {
        self.observations.drain(..)
    }

    /// The time.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Things that have happened.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What the network has done.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What the run has had in it so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A hash of everything that has happened, with its time. Equal for equal plans, in every process.
    pub fn trace_hash(&self) -> u64 {
        self.hash.finish()
    }

    /// The plan that this world follows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The node of a host, if its process is there.
    pub fn node(&self, host: Host) -> Option<&Node> {
        self.machines.get(host.index())?.node.as_deref()
    }

    /// What a host's own monotonic clock reads.
    pub fn moment_of(&self, host: Host) -> Moment {
        self.machines[host.index()].moment(self.now)
    }

    /// The id of a host.
    pub fn id_of(&self, host: Host) -> NodeId {
        self.machines[host.index()].id
    }

    /// The host with this id.
    pub fn host_of(&self, id: &NodeId) -> Option<Host> {
        self.index.get(id).copied()
    }

    /// The hosts whose process runs.
    pub fn running(&self) -> Vec<Host> {
        self.hosts().filter(|host| self.machines[host.index()].runs()).collect()
    }

    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = Host> + use<> {
        (0..self.machines.len() as u32).map(Host)
    }

    pub(crate) fn observe(&mut self, fact: Fact) {
        if let Some(tracer) = &mut self.tracer
            && let Some(text) = crate::words::of_fact(&fact)
        {
            tracer(self.now, Line::Fact, &text);
        }
        self.observations.push_back(Observation { at: self.now, fact });
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub(crate) fn is_traced(&self) -> bool {
        self.tracer.is_some()
    }

    pub(crate) fn trace(&mut self, line: Line, text: &str) {
        if let Some(tracer) = &mut self.tracer {
            tracer(self.now, line, text);
        }
    }

    /// Takes what happens into the hash.
    fn note(&mut self, what: &Happening) {
        self.hash.write_u64(self.now.as_nanos());
        match what {
            Happening::Frame { connection, to, lane, bytes } => {
                self.hash.write_u32(*connection);
                self.hash.write_u8(*to << 4 | *lane as u8);
                self.hash.write(bytes);
            }
            Happening::Tick(host, life) | Happening::Wall(host, life) => {
                self.hash.write_u32(host.0);
                self.hash.write_u32(*life);
            }
            other => self.hash.write_u8(other.tag()),
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Step(number) => {
                let action = self.plan.steps[number].action.clone();
                self.act(action);
            }
            Happening::Heal => self.heal(),
            Happening::Look => self.look(),
            Happening::Join(host) => self.start(host, None),
            Happening::Tick(host, life) => self.tick(host, life),
            Happening::Wall(host, life) => self.tell_wall(host, life),
            Happening::Frame { connection, to, lane, bytes } => self.frame(connection, to, lane, bytes),
            Happening::Retry { connection, from, group } => self.on_retry(connection, from, group),
            Happening::Free { connection, from } => self.on_free(connection, from),
            Happening::Dialled { from, to, dial, attempt } => self.on_dialled(from, to, dial, attempt),
            Happening::Admitted { from, to, dial, lives } => self.on_admitted(from, to, dial, lives),
            Happening::DialFailed { host, life, peer, dial, why } => {
                if self.is_alive(host, life) && self.machines[host.index()].dials.get(&peer) == Some(&dial) {
                    self.machines[host.index()].dials.remove(&peer);
                    let peer = self.id_of(peer);
                    self.give(host, Input::DialFailed { peer, why });
                }
            }
            Happening::Lost { connection, to, reason } => self.on_lost(connection, to, reason),
            Happening::Idle { connection } => self.on_idle(connection),
            Happening::Logged { host, life, batch, first, rows } => {
                self.on_logged(host, life, batch, first, &rows)
            }
            Happening::WrittenDown { host, life, checkpoint, cut } => {
                self.on_written_down(host, life, &checkpoint, cut);
            }
            Happening::Recorded { host, life, batch, changes } => {
                self.on_recorded(host, life, batch, &changes)
            }
            Happening::Loaded { host, life, load, id } => {
                if self.is_alive(host, life) {
                    let blob = Ok(self.machines[host.index()].disk.blobs.get(&id).cloned());
                    self.give(host, Input::BlobLoaded { load, blob });
                }
            }
            Happening::Gone(host, life) => {
                if self.is_alive(host, life) {
                    self.stop(host, Stop::Left);
                    if self.stage != Stage::Faults {
                        // It was saying goodbye when all was mended, and takes along what nobody else has.
                        self.give_up(host);
                    }
                }
            }
            Happening::Fails(host, life) => {
                if self.is_alive(host, life) {
                    self.stop(host, Stop::Killed);
                }
            }
        }
    }

    /// Whether this very process is still there.
    pub(crate) fn is_alive(&self, host: Host, life: Life) -> bool {
        let machine = &self.machines[host.index()];
        machine.life == life && machine.is_up()
    }

    fn tick(&mut self, host: Host, life: Life) {
        let now = self.now;
        let machine = &mut self.machines[host.index()];
        if machine.life != life || machine.tick_at.is_none_or(|at| at > now) {
            return;
        }
        machine.tick_at = None;
        if !machine.runs() {
            return;
        }
        let local = machine.moment(now);
        if machine.node.as_ref().and_then(|node| node.next_deadline()).is_some_and(|at| at <= local) {
            self.give(host, Input::Tick);
        } else {
            self.expect_tick(host);
        }
    }

    fn tell_wall(&mut self, host: Host, life: Life) {
        if !self.is_alive(host, life) {
            return;
        }
        self.queue.put(self.now + WALL_EVERY, Happening::Wall(host, life));
        if self.machines[host.index()].runs() {
            let wall = self.machines[host.index()].wall(self.now);
            self.give(host, Input::Wall(wall));
            self.measure(host);
        }
    }

    fn frame(&mut self, connection: ConnectionId, to: u8, lane: chinwag_base::Lane, bytes: Vec<u8>) {
        let Some((host, peer)) = self.ends(connection, to) else { return };
        let machine = &mut self.machines[host.index()];
        if matches!(machine.run, Run::Paused(_)) {
            return machine.inbox.push(Happening::Frame { connection, to, lane, bytes });
        }
        self.taken(connection, 1 - to, lane, bytes.len());
        let from = self.id_of(peer);
        self.give(host, Input::Frame { from, lane, bytes });
    }

    fn on_logged(&mut self, host: Host, life: Life, batch: BatchId, first: u64, rows: &[Row]) {
        if !self.is_alive(host, life) {
            return;
        }
        let machine = &mut self.machines[host.index()];
        machine.unsynced = None;
        if machine.disk.full {
            self.count("full_disk_refusals");
            return self
                .give(host, Input::PersistFailed { batch, why: "no space left on device".to_owned() });
        }
        machine.disk.commit(first, rows);
        for row in rows {
            if let Row::Write(entry) = row {
                self.archive.entry(entry.dot).or_insert_with(|| entry.clone());
            }
        }
        self.count("commits");
        self.give(host, Input::Persisted { batch });
    }

    fn on_written_down(&mut self, host: Host, life: Life, checkpoint: &Checkpoint, cut: u64) {
        if !self.is_alive(host, life) {
            return;
        }
        let machine = &mut self.machines[host.index()];
        if machine.disk.full {
            let why = "no space left on device".to_owned();
            return self.give(host, Input::CheckpointFailed { why });
        }
        machine.disk.checkpoint(checkpoint, cut);
        self.count("checkpoints");
        self.give(host, Input::Checkpointed);
    }

    fn on_recorded(
        &mut self,
        host: Host,
        life: Life,
        batch: chinwag_dht::BatchId,
        changes: &[(chinwag_dht::Id, chinwag_dht::Change)],
    ) {
        if !self.is_alive(host, life) {
            return;
        }
        let machine = &mut self.machines[host.index()];
        machine.unsynced_records.clear();
        if machine.disk.full {
            let why = "no space left on device".to_owned();
            return self.give(host, Input::RecordsPersistFailed { batch, why });
        }
        machine.disk.commit_records(changes);
        self.give(host, Input::RecordsPersisted { batch });
    }

    /// Gives an input to a node, and does all that it then asks for.
    pub(crate) fn give(&mut self, host: Host, input: Input) {
        self.again.push_back((host, input));
        if self.giving {
            return;
        }
        self.giving = true;
        while let Some((host, input)) = self.again.pop_front() {
            self.give_one(host, input);
        }
        self.giving = false;
    }

    fn give_one(&mut self, host: Host, input: Input) {
        let machine = &mut self.machines[host.index()];
        if let Run::Paused(_) = machine.run {
            machine.waiting.push(input);
            return;
        }
        if !machine.runs() {
            return;
        }
        let input = match &mut self.saboteur {
            Some(saboteur) => match saboteur.input(host, input) {
                Some(input) => input,
                None => return,
            },
            None => input,
        };
        if self.is_traced()
            && let Some(text) = crate::words::of_input(self, host, &input)
        {
            self.trace(Line::Input, &text);
        }
        let machine = &mut self.machines[host.index()];
        let local = machine.moment(self.now);
        let Some(mut node) = machine.node.take() else { return };
        node.handle(local, input);
        let life = machine.life;
        self.drain(host, life, &mut node);
        let machine = &mut self.machines[host.index()];
        if machine.life == life && machine.is_up() {
            machine.node = Some(node);
            self.expect_tick(host);
        }
    }

    fn drain(&mut self, host: Host, life: Life, node: &mut Node) {
        while let Some(output) = node.poll_output() {
            match &mut self.saboteur {
                Some(saboteur) => {
                    for output in saboteur.output(host, output) {
                        self.output(host, life, output, node);
                    }
                }
                None => self.output(host, life, output, node),
            }
        }
    }

    /// Sees to it that somebody looks at the node when its deadline comes.
    pub(crate) fn expect_tick(&mut self, host: Host) {
        let machine = &mut self.machines[host.index()];
        let Some(deadline) = machine.node.as_ref().and_then(|node| node.next_deadline()) else { return };
        let at = (deadline - machine.booted).max(self.now);
        // An earlier look stays: it will find out that it is early, and look again.
        if machine.tick_at.is_some_and(|due| due <= at + Duration::from_micros(LATE_US.end)) {
            return;
        }
        let at = at + Duration::from_micros(self.rng.random_range(LATE_US));
        machine.tick_at = Some(at);
        self.queue.put(at, Happening::Tick(host, machine.life));
    }

    /// Gives its next number to a process life.
    pub(crate) fn next_life(&mut self) -> Life {
        self.lives += 1;
        self.lives
    }
}

/// What a node did, in the world's terms; see [`events`] and [`links`].
impl World {
    fn output(&mut self, host: Host, life: Life, output: Output, node: &mut Node) {
        match output {
            Output::Send { to, lane, slot, bytes } => self.send(host, to, lane, slot, bytes, node),
            Output::Dial { peer, .. } => self.dial(host, peer),
            Output::Close { peer } => self.close(host, peer),
            Output::Persist { batch, first, rows } => {
                let at = self.now + self.fsync(host);
                self.machines[host.index()].unsynced = Some((first, rows.clone()));
                self.queue.put(at, Happening::Logged { host, life, batch, first, rows });
            }
            Output::Checkpoint { checkpoint, cut } => {
                let at = self.now + self.fsync(host);
                self.queue.put(at, Happening::WrittenDown { host, life, checkpoint, cut });
            }
            Output::PersistRecords { batch, changes } => {
                let at = self.now + self.fsync(host);
                self.machines[host.index()].unsynced_records = changes.clone();
                self.queue.put(at, Happening::Recorded { host, life, batch, changes });
            }
            Output::LoadBlob { load, id } => {
                let at = self.now + self.fsync(host);
                self.queue.put(at, Happening::Loaded { host, life, load, id });
            }
            Output::Told { request, reply } => self.told(host, request, &reply),
            Output::Remember(record) => {
                self.machines[host.index()].disk.book.insert(record.id(), record);
            }
            Output::Forget(id) => {
                self.machines[host.index()].disk.book.remove(&id);
            }
            Output::Answer { request, answer } => self.answered(host, request, answer, node),
            Output::Event(event) => self.event(host, event),
            Output::Departed => {
                // What is queued still goes out.
                let at = self.now + Duration::from_millis(100);
                self.queue.put(at, Happening::Gone(host, life));
            }
        }
    }

    fn fsync(&mut self, host: Host) -> Duration {
        let (min, max) = self.plan.disk.fsync_us;
        let drawn = if min < max { self.rng.random_range(min..max) } else { min };
        Duration::from_micros(self.machines[host.index()].disk.slow_us.unwrap_or(drawn))
    }
}

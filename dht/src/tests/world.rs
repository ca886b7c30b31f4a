//! Some nodes, the messages between them, and their disks, all in virtual time.

use crate::testing::{NOW, node};
use crate::{
    Ask, BatchId, Change, Config, Dht, Edit, Event, Held, Id, Identity, Input, Member, Outcome, Output,
};
use crate::{Body, LoadId, Message, RecordKey, Recovered, Reply, RequestId};
use chinwag_base::{Generation, Key, Moment, NodeId, ReplicaId, Value};
use chinwag_crdt::Read;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Half a round trip.
pub(super) const HOP: Duration = Duration::from_millis(25);
/// How long a commit or a read takes.
pub(super) const DISK: Duration = Duration::from_millis(1);

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a disk holds.
#[derive(Default, Clone)]
pub(super) struct Disk {
    pub(super) index: BTreeMap<Id, Held>,
    pub(super) blobs: BTreeMap<Id, Arc<[u8]>>,
    pub(super) full: bool,
}

pub(super) struct Machine {
    pub(super) dht: Dht,
    pub(super) disk: Disk,
    /// Takes messages and gives none: as if stopped by a signal.
    pub(super) hung: bool,
    life: u64,
}

#[derive(Debug)]
enum Happening {
    Arrives(NodeId, Message),
    Persisted(BatchId, Vec<(Id, Change)>),
    Loaded(LoadId, Id),
}

pub(super) struct World {
    pub(super) now: Moment,
    pub(super) machines: BTreeMap<NodeId, Machine>,
    pub(super) disks_of_the_dead: BTreeMap<NodeId, Disk>,
    queue: BTreeMap<(Moment, u64), (NodeId, u64, Happening)>,
    sequence: u64,
    replies: BTreeMap<RequestId, (Moment, Reply)>,
    requests: u64,
    config: Config,
    pub(super) events: Vec<(NodeId, Event)>,
    /// Messages that left, by kind.
    pub(super) sent: BTreeMap<&'static str, usize>,
    /// Messages are lost with this share of 256.
    pub(super) loss: u8,
    random: u64,
}

impl World {
    pub(super) fn new(nodes: u8, config: Config) -> Self {
        let mut world = World {
            now: Moment::ZERO,
            machines: BTreeMap::new(),
            disks_of_the_dead: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            replies: BTreeMap::new(),
            requests: 0,
            config,
            events: Vec::new(),
            sent: BTreeMap::new(),
            loss: 0,
            random: 1,
        };
        for n in 1..=nodes {
            world.start(n, Disk::default());
        }
        world.run(ms(2_000));
        world
    }

    pub(super) fn of(nodes: u8) -> Self {
        World::new(nodes, Config::default())
    }

    pub(super) fn draw(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    pub(super) fn seed(&mut self, seed: u64) {
        self.random = seed.wrapping_mul(2) + 1;
    }

    /// A process starts on this disk; everybody sees it at once.
    pub(super) fn start(&mut self, n: u8, disk: Disk) {
        let life = self.sequence + 1;
        self.sequence += 1;
        let replica = ReplicaId { node: node(n), generation: Generation::new(life) };
        let recovered = Recovered { records: disk.index.values().cloned().collect() };
        let dht = Dht::new(self.config.clone(), Identity { replica }, recovered, u64::from(n), self.now);
        self.machines.insert(node(n), Machine { dht, disk, hung: false, life });
        self.give(node(n), Input::Wall(self.wall()));
        let others: Vec<NodeId> = self.machines.keys().copied().filter(|other| *other != node(n)).collect();
        for other in others {
            self.give(other, Input::PeerUp { peer: node(n) });
            self.give(node(n), Input::PeerUp { peer: other });
        }
        self.tell_members();
    }

    /// Sets the clock of a node.
    pub(super) fn set_ahead(&mut self, n: u8, by: Duration) {
        let wall = self.wall().plus_ms(by.as_millis() as u64);
        self.give(node(n), Input::Wall(wall));
    }

    /// The connection between two nodes breaks, or is there again. Nobody is declared dead for it.
    pub(super) fn link(&mut self, a: u8, b: u8, up: bool) {
        for (at, peer) in [(a, b), (b, a)] {
            let peer = node(peer);
            self.give(node(at), if up { Input::PeerUp { peer } } else { Input::PeerDown { peer } });
        }
    }

    /// kill -9: what is not on the disk is gone. Everybody notices at once.
    pub(super) fn kill(&mut self, n: u8) {
        let machine = self.machines.remove(&node(n)).unwrap();
        self.disks_of_the_dead.insert(node(n), machine.disk);
        let others: Vec<NodeId> = self.machines.keys().copied().collect();
        for other in others {
            self.give(other, Input::PeerDown { peer: node(n) });
        }
        self.tell_members();
    }

    pub(super) fn restart(&mut self, n: u8) {
        let disk = self.disks_of_the_dead.remove(&node(n)).unwrap();
        self.start(n, disk);
    }

    fn tell_members(&mut self) {
        let rtt = Some(HOP * 2);
        let members: Vec<Member> = self
            .machines
            .keys()
            .map(|node| Member { node: *node, alive: true, suspect: false, may_write: true, rtt })
            .collect();
        let all: Vec<NodeId> = self.machines.keys().copied().collect();
        for node in all {
            self.give(node, Input::Members { members: members.clone() });
        }
    }

    fn wall(&self) -> chinwag_base::WallTime {
        NOW.plus_ms(self.now.as_millis())
    }

    fn later(&mut self, after: Duration, to: NodeId, happening: Happening) {
        self.sequence += 1;
        let Some(life) = self.machines.get(&to).map(|machine| machine.life) else { return };
        self.queue.insert((self.now + after, self.sequence), (to, life, happening));
    }

    fn give(&mut self, to: NodeId, input: Input) {
        let Some(machine) = self.machines.get_mut(&to) else { return };
        machine.dht.handle(self.now, input);
        let mut outputs = Vec::new();
        while let Some(output) = machine.dht.poll_output() {
            outputs.push(output);
        }
        for output in outputs {
            match output {
                Output::Send { to: peer, message } => {
                    let bytes = chinwag_base::codec::encode(&message);
                    assert!(bytes.len() <= chinwag_base::limits::BULK_FRAME_BYTES_MAX, "{}", bytes.len());
                    let decoded: Message = chinwag_base::codec::decode::<1_048_576, _>(&bytes).unwrap();
                    assert_eq!(decoded, message);
                    *self.sent.entry(kind(&message)).or_default() += 1;
                    if self.loss == 0 || self.draw(256) >= u64::from(self.loss) {
                        self.later(HOP, peer, Happening::Arrives(to, message));
                    }
                }
                Output::Persist { batch, changes } => {
                    self.later(DISK, to, Happening::Persisted(batch, changes));
                }
                Output::Load { load, id } => self.later(DISK, to, Happening::Loaded(load, id)),
                Output::Reply { request, reply } => {
                    assert!(self.replies.insert(request, (self.now, reply)).is_none(), "answered twice");
                }
                Output::Reach { .. } => {}
                Output::Event(event) => self.events.push((to, event)),
            }
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// The next thing that happens until `end`. False if there is none.
    fn step(&mut self, end: Moment) -> bool {
        let message = self.queue.first_key_value().map(|((at, _), _)| *at);
        let awake = self.machines.iter().filter(|(_, machine)| !machine.hung);
        let tick = awake.filter_map(|(node, machine)| Some((machine.dht.next_deadline()?, *node))).min();
        let tick_at = tick.map(|(at, _)| at.max(self.now));
        let Some(next) = [message, tick_at].into_iter().flatten().min().filter(|at| *at <= end) else {
            return false;
        };
        self.now = next.max(self.now);
        if message == Some(next) {
            if let Some((_, (to, life, happening))) = self.queue.pop_first()
                && self.machines.get(&to).is_some_and(|machine| machine.life == life)
            {
                self.happen(to, happening);
            }
        } else if let Some((_, node)) = tick {
            self.give(node, Input::Tick);
        }
        true
    }

    fn happen(&mut self, to: NodeId, happening: Happening) {
        let machine = self.machines.get_mut(&to).unwrap();
        if machine.hung {
            // It will come to it when it goes on.
            let after = ms(50);
            return self.later(after, to, happening);
        }
        match happening {
            Happening::Arrives(from, message) => self.give(to, Input::Message { from, message }),
            Happening::Persisted(batch, _) if machine.disk.full => {
                self.give(to, Input::PersistFailed { batch, why: "no space left on device".into() });
            }
            Happening::Persisted(batch, changes) => {
                for (id, change) in changes {
                    match change {
                        Change::Keep { held, blob } => {
                            let is_blob = matches!(held.body, Body::Blob { .. });
                            machine.disk.index.insert(id, (*held).clone());
                            machine.disk.blobs.extend(blob.map(|bytes| (id, bytes)));
                            assert!(!is_blob || machine.disk.blobs.contains_key(&id), "a blob without bytes");
                        }
                        Change::Drop => {
                            machine.disk.index.remove(&id);
                            machine.disk.blobs.remove(&id);
                        }
                    }
                }
                self.give(to, Input::Persisted { batch });
            }
            Happening::Loaded(load, id) => {
                let blob = Ok(machine.disk.blobs.get(&id).cloned());
                self.give(to, Input::Loaded { load, blob });
            }
        }
    }

    /// Asks node `n`, for at most five seconds.
    pub(super) fn ask(&mut self, n: u8, ask: Ask) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        let until = self.now + ms(5_000);
        self.give(node(n), Input::Ask { request, ask, until });
        request
    }

    pub(super) fn answered(&mut self, request: RequestId) -> Option<Reply> {
        self.replies.remove(&request).map(|(_, reply)| reply)
    }

    /// Asks and waits: the answer, and how long it took.
    pub(super) fn asked(&mut self, n: u8, ask: Ask) -> (Reply, Duration) {
        let began = self.now;
        let request = self.ask(n, ask);
        let end = self.now + ms(6_000);
        while !self.replies.contains_key(&request) && self.step(end) {}
        let (at, reply) = self.replies.remove(&request).expect("a request is answered in time");
        (reply, at.since(began))
    }

    pub(super) fn put(&mut self, n: u8, key: &str, value: &str) -> (Reply, Duration) {
        self.asked(n, put(key, value))
    }

    /// What a read through node `n` shows: the values of a register, the winner first, or a set's elements.
    pub(super) fn get(&mut self, n: u8, key: &str) -> Vec<String> {
        let (reply, _) = self.asked(n, get(key));
        values(&reply)
    }

    pub(super) fn holders(&self, key: &RecordKey) -> BTreeSet<NodeId> {
        let id = key.id();
        let holds = |machine: &Machine| machine.dht.store().get(&id, self.wall()).is_some();
        self.machines.iter().filter(|(_, machine)| holds(machine)).map(|(node, _)| *node).collect()
    }

    /// Whether all owners of the key hold the same.
    pub(super) fn owners_agree(&self, key: &RecordKey) -> bool {
        let any = self.machines.values().next().unwrap();
        let owners = any.dht.owners_of(key);
        let digests: BTreeSet<_> =
            owners.iter().map(|node| self.machines[node].dht.store().digest(&key.id())).collect();
        digests.len() == 1
    }
}

pub(super) fn cell(key: &str) -> RecordKey {
    RecordKey::Cell(key.parse::<Key>().unwrap())
}

pub(super) fn value(text: &str) -> Value {
    Value::new(text.as_bytes()).unwrap()
}

pub(super) fn edit(key: &str, edit: Edit) -> Ask {
    Ask::Put { key: key.parse().unwrap(), edit, expires: None, quorum: None }
}

pub(super) fn put(key: &str, text: &str) -> Ask {
    edit(key, Edit::Set(value(text)))
}

pub(super) fn get(key: &str) -> Ask {
    Ask::Get { key: cell(key), quorum: None }
}

pub(super) fn values(reply: &Reply) -> Vec<String> {
    let text = |value: &Value| value.as_text().unwrap().to_owned();
    match &reply.result {
        Ok(Outcome::Found(None)) => Vec::new(),
        Ok(Outcome::Found(Some(record))) => match &record.content {
            crate::Content::Blob(bytes) => vec![format!("{} bytes", bytes.len())],
            crate::Content::Cell(cell) => match cell.read().unwrap() {
                Read::Register { siblings, .. } => siblings.iter().map(|s| text(&s.value)).collect(),
                Read::Set(elements) => elements.iter().map(text).collect(),
                other => panic!("{other:?}"),
            },
        },
        other => panic!("{other:?}, {:?}", reply.trace),
    }
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Put { passed_on: false, .. } => "put",
        Message::Put { .. } => "passed on",
        Message::Stored { .. } => "stored",
        Message::Get { .. } => "get",
        Message::Got { .. } => "got",
        Message::Compare { .. } => "compare",
        Message::Offer { .. } => "offer",
        Message::Lack { .. } => "lack",
    }
}

//! Clients: what they ask of the nodes, and what they are told.

use super::World;
use super::machine::Open;
use crate::observation::{Answer, Fact, Host, Request};
use crate::plan::{WaitFor, Wish};
use chinwag_base::{Key, Moment, NodeId, Value};
use chinwag_crdt::{Dot, Kind, Op, Read, Term};
use chinwag_dht::{Ask, Edit, Outcome, RecordKey, Reply};
use chinwag_gossip::{RequestId, Wait, Written};
use chinwag_membership::{Hindrance, Reached, Unheard};
use chinwag_node::{Input, Node};
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;

/// How long a client waits for other members.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a client waits for the owners of a record.
const ASK_MAX: Duration = Duration::from_secs(5);
/// How long somebody waits who reads in the end: streams that lose packets may need several retries.
const READ_MAX: Duration = Duration::from_secs(15);
/// The share of writes whose token a client takes to another node.
const TOKENS: f64 = 0.2;

impl World {
    fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// A client writes, if there is anything to write when its time comes.
    pub(crate) fn write(&mut self, host: Host, wishes: &[Wish], wait: WaitFor) {
        if !self.machines[host.index()].runs() {
            return self.count("clients_without_a_daemon");
        }
        let number = self.next_request();
        let Some(node) = &self.machines[host.index()].node else { return };
        let mut ops: Vec<Op> = Vec::new();
        for (at, wish) in wishes.iter().enumerate() {
            let draw = self.rng.random::<u64>();
            // Two operations on one key in one write may contradict each other; that is not what is tested here.
            if let Some(op) = op_of(node, *wish, &format!("{number}.{at}"), draw)
                && ops.iter().all(|other| other.key() != op.key())
            {
                ops.push(op);
            }
        }
        if ops.is_empty() {
            return self.count("clients_without_work");
        }
        self.ask_to_write(host, number, ops, wait);
    }

    /// A client writes just this.
    pub(crate) fn write_ops(&mut self, host: Host, ops: Vec<Op>, wait: WaitFor) {
        let number = self.next_request();
        if self.machines[host.index()].runs() {
            self.ask_to_write(host, number, ops, wait);
        }
    }

    fn ask_to_write(&mut self, host: Host, number: u64, ops: Vec<Op>, wait: WaitFor) {
        let request = Request(number);
        self.keys.extend(ops.iter().map(|op| op.key().clone()));
        self.observe(Fact::Asked { request, host, ops: Arc::from(ops.clone()) });
        self.machines[host.index()].open.insert(number, Open::Write(request));
        self.count("writes");
        let wait = match wait {
            WaitFor::Local => Wait::Local,
            WaitFor::Majority => Wait::Majority,
            WaitFor::All => Wait::All,
        };
        let wait_until = (wait != Wait::Local).then(|| self.moment_of(host) + WAIT_MAX);
        self.give(host, Input::Write { request: RequestId(number), ops, wait, wait_until });
    }

    /// A node answers a client of the replicated state.
    pub(crate) fn answered(
        &mut self,
        host: Host,
        request: RequestId,
        answer: chinwag_node::Answer,
        node: &Node,
    ) {
        let Some(open) = self.machines[host.index()].open.remove(&request.0) else { return };
        match (open, answer) {
            (Open::Write(request), chinwag_node::Answer::Written(Ok(written))) => {
                self.acknowledged(request, &written)
            }
            (Open::Write(request), chinwag_node::Answer::Written(Err(_))) => {
                self.count("writes_refused");
                self.observe(Fact::Answered { request, answer: Answer::Refused });
            }
            (Open::Reach { running }, chinwag_node::Answer::Reached(Some(reached))) => {
                self.called(host, running, &reached)
            }
            (Open::Await { request, token }, chinwag_node::Answer::Visible(told)) => {
                let holds = holds(node, &token);
                self.count(if told { "tokens_honoured" } else { "tokens_late" });
                self.observe(Fact::Awaited { host, request, told, holds });
            }
            _ => {}
        }
    }

    fn acknowledged(&mut self, request: Request, written: &Written) {
        let disks = self.machines.iter().map(|machine| &machine.disk);
        let durable_on = disks.filter(|disk| disk.holds_all(&written.token)).count();
        for dot in &written.token {
            self.written.insert(*dot, request);
        }
        self.count(if written.met { "writes_acknowledged" } else { "waits_not_met" });
        let answer = Answer::Written { holders: written.holders, durable_on, met: written.met };
        self.observe(Fact::Answered { request, answer });
        if self.rng.random_bool(TOKENS) {
            self.take_token(request, written.token.clone());
        }
    }

    /// A client takes its token to another node and waits there.
    fn take_token(&mut self, request: Request, token: Vec<Dot>) {
        let running = self.running();
        if running.is_empty() {
            return;
        }
        let host = running[self.rng.random_range(0..running.len())];
        let number = self.next_request();
        self.machines[host.index()].open.insert(number, Open::Await { request, token: token.clone() });
        let until: Moment = self.moment_of(host) + ASK_MAX;
        self.give(host, Input::Await { request: RequestId(number), token, until });
    }

    /// A client puts an element into a record.
    pub(crate) fn put(&mut self, host: Host, record: u32) {
        if !self.machines[host.index()].runs() {
            return self.count("clients_without_a_daemon");
        }
        let number = self.next_request();
        let (request, key, element) = (Request(number), key("rec", record), value(&number.to_string()));
        let fact = Fact::RecordAsked { request, host, key: key.clone(), element: element.clone() };
        self.observe(fact);
        self.machines[host.index()].open.insert(number, Open::Put(request));
        self.count("puts");
        let ask = Ask::Put { key, edit: Edit::Add(element), expires: None, quorum: None };
        self.ask(host, number, ask, ASK_MAX);
    }

    /// Somebody who runs calls the roll.
    pub(crate) fn call_roll(&mut self) {
        let running = self.running();
        if running.is_empty() {
            return;
        }
        let host = running[self.rng.random_range(0..running.len())];
        let number = self.next_request();
        self.machines[host.index()].open.insert(number, Open::Reach { running: running.len() });
        self.give(host, Input::Reach { request: RequestId(number) });
    }

    fn called(&mut self, host: Host, running: usize, reached: &Reached) {
        let runs = |id: &NodeId| self.host_of(id).is_some_and(|host| self.machines[host.index()].runs());
        let answered = reached.reports.len();
        let unheard = reached.reports.iter().flat_map(|(report, _)| &report.unheard);
        // Where datagrams are lost, all pings to one may be.
        let counts = |unheard: &&Unheard| unheard.why != Hindrance::Silent || self.plan.network.loss == 0.0;
        let unheard = unheard.filter(|unheard| runs(&unheard.id)).filter(counts).count();
        self.observe(Fact::Called { host, running, answered, unheard });
    }

    /// Somebody reads a record through a node.
    pub(crate) fn read_record(&mut self, host: Host, key: Key) {
        let number = self.next_request();
        self.machines[host.index()].open.insert(number, Open::Read(key.clone()));
        self.ask(host, number, Ask::Get { key: RecordKey::Cell(key), quorum: None }, READ_MAX);
    }

    fn ask(&mut self, host: Host, number: u64, ask: Ask, at_most: Duration) {
        let until = self.moment_of(host) + at_most;
        self.give(host, Input::Ask { request: chinwag_dht::RequestId(number), ask, until });
    }

    /// A node answers a client of the DHT.
    pub(crate) fn told(&mut self, host: Host, request: chinwag_dht::RequestId, reply: &Reply) {
        match self.machines[host.index()].open.remove(&request.0) {
            Some(Open::Put(request)) => {
                let stored = matches!(reply.result, Ok(Outcome::Stored { .. }));
                self.count(if stored { "puts_stored" } else { "puts_failed" });
                self.observe(Fact::RecordAnswered { request, stored });
            }
            Some(Open::Read(key)) => {
                let elements = match &reply.result {
                    Ok(Outcome::Found(None)) => Some(Vec::new()),
                    Ok(Outcome::Found(Some(record))) => Some(elements(record)),
                    _ => None,
                };
                self.count("records_read");
                self.observe(Fact::RecordShown { host, key, elements });
            }
            _ => {}
        }
    }
}

/// Whether a node holds these writes: covered by its clock, and in its log.
fn holds(node: &Node, token: &[Dot]) -> bool {
    let replica = node.gossip().replica();
    token.iter().all(|dot| replica.clock().covers(*dot))
}

/// The elements of a record that is a set.
pub(crate) fn elements(record: &chinwag_dht::Record) -> Vec<Value> {
    match &record.content {
        chinwag_dht::Content::Cell(cell) => match cell.read() {
            Some(Read::Set(elements)) => elements,
            _ => Vec::new(),
        },
        chinwag_dht::Content::Blob(_) => Vec::new(),
    }
}

/// The operation that a wish comes to at this node. None if there is nothing to delete, remove or reset.
fn op_of(node: &Node, wish: Wish, name: &str, draw: u64) -> Option<Op> {
    let replica = node.gossip().replica();
    Some(match wish {
        Wish::Set(k) if draw.is_multiple_of(RARE) => {
            let term = if draw & 1 << 20 == 0 { Term::Ms(500 + draw % 4_000) } else { Term::Life };
            let op = Op::Set { key: place("lent", k), value: value(name) };
            Op::Lend { term, op: Box::new(op) }
        }
        Wish::Set(k) if draw % RARE == 1 => {
            let key = place("flag", k);
            match replica.get(&key) {
                Some(_) => Op::Disable { key },
                None => Op::Enable { key },
            }
        }
        Wish::Set(k) if draw % RARE == 2 => {
            let map = key("map", k);
            match replica.kinds(&map)[..] {
                [Kind::Map] if draw & 3 << 20 == 0 => Op::Delete { key: map, kind: Some(Kind::Map) },
                _ => {
                    let field =
                        map.field(&format!("f{}", draw >> 32 & 3)).expect("a field, because it is letters");
                    Op::Set { key: field, value: value(name) }
                }
            }
        }
        Wish::Set(k) => Op::Set { key: place("reg", k), value: value(name) },
        Wish::Delete(k) => {
            let key = place("reg", k);
            replica.get(&key)?;
            Op::Delete { key, kind: Some(Kind::Register) }
        }
        Wish::Add(k) => Op::Add { key: place("set", k), element: value(name) },
        Wish::Remove(k) => {
            let key = place("set", k);
            let Some(Read::Set(elements)) = replica.get(&key) else { return None };
            let element = elements.get(draw as usize % elements.len().max(1))?.clone();
            Op::Remove { key, element }
        }
        Wish::Increment(k) => Op::Increment { key: place("count", k), by: 1 + (draw % 1_000) as i64 },
        Wish::Tally(k) => Op::Increment { key: place("tally", k), by: (draw % 2_001) as i64 - 1_000 },
        Wish::ResetTally(k) => {
            let key = place("tally", k);
            replica.get(&key)?;
            Op::Delete { key, kind: Some(Kind::Counter) }
        }
    })
}

/// How many sets there are for each write for a time, for each flag that is switched, and for each field of a larger map.
const RARE: u64 = 16;

/// Every third is a field of a map: to the rules of each kind that must make no difference.
fn place(namespace: &str, number: u32) -> Key {
    let root = key(namespace, number);
    match number % 3 {
        2 => root.field("f").expect("a field, because it is a letter"),
        _ => root,
    }
}

pub(crate) fn key(namespace: &str, number: u32) -> Key {
    format!("{namespace}/{number}").parse().expect("a key, because it is letters, a slash and digits")
}

fn value(text: &str) -> Value {
    Value::new(text.as_bytes()).expect("a value, because it is a few digits")
}

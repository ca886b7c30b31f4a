//! What a test does and sees itself, as the simulator's checkers want to be told it: clients' requests and their answers,
//! kills, starts, cuts, and looks at the end. The daemons' logs tell the rest (`log.rs`).

use super::log::{self, Seen};
use crate::harness::{Daemon, PATIENCE, agree};
use chinwag_api::{Bytes, CellQuery, Client, Content, Kind as FailureKind, MemberState, WriteOp};
use chinwag_base::{Digest, Generation, Key, NodeId, ReplicaId, Value};
use chinwag_crdt::{Dot, Hlc, Op, Read, Sibling};
use chinwag_membership::State;
use chinwag_sim::checkers::{self, Patience};
use chinwag_sim::observation::{Answer, Fact, Host, Request, Stop};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Somebody who sees all that the test does. Clones see the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Testimony>>);

#[derive(Debug, Default)]
struct Testimony {
    seen: Vec<Seen>,
    requests: u64,
    keys: BTreeSet<Key>,
    values: BTreeMap<String, Value>,
}

/// How long things may take: as long as anything in these tests, since a busy machine is slow and not wrong. What they
/// say is that it happened, not how fast.
fn patience(crash_known: Duration) -> Patience {
    Patience { crash_known, meshed: PATIENCE, converged: PATIENCE, aftermath: Duration::from_secs(10) }
}

fn now_unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

impl Witness {
    fn testimony(&self) -> MutexGuard<'_, Testimony> {
        self.0.lock().unwrap()
    }

    /// Something that came before whatever a daemon logs in this millisecond.
    fn sees_before(&self, fact: Fact) {
        self.testimony().seen.push(Seen::before_logs(now_unix_ms(), fact));
    }

    /// Something that came after it.
    fn sees(&self, fact: Fact) {
        self.testimony().seen.push(Seen::after_logs(now_unix_ms(), fact));
    }

    /// A client is about to ask the daemon of a host.
    pub(crate) fn asks(&self, host: Host, op: &WriteOp) -> Request {
        let ops = ops_of(op);
        let mut testimony = self.testimony();
        testimony.requests += 1;
        let request = Request(testimony.requests);
        for op in &ops {
            testimony.keys.insert(op.key().clone());
            if let Op::Set { value, .. } | Op::Add { element: value, .. } = op {
                testimony.values.insert(chinwag_daemon::log::name_of(value), value.clone());
            }
        }
        let fact = Fact::Asked { request, host, ops: ops.into() };
        testimony.seen.push(Seen::before_logs(now_unix_ms(), fact));
        request
    }

    /// It was answered that it is done, and is on so many members' disks. Nobody has looked at the disks themselves.
    pub(crate) fn is_told_written(&self, request: Request, holders: usize) {
        let answer = Answer::Written { holders, durable_on: holders, met: true };
        self.sees(Fact::Answered { request, answer });
    }

    /// It was answered that it is not done.
    pub(crate) fn is_told_refused(&self, request: Request) {
        self.sees(Fact::Answered { request, answer: Answer::Refused });
    }

    /// A daemon is about to be started.
    pub(crate) fn starts(&self, host: Host) {
        // No process logs anything within a millisecond of its start, but the one before it may have.
        self.sees(Fact::Started { host });
    }

    /// A daemon has been killed.
    pub(crate) fn killed(&self, host: Host) {
        self.sees(Fact::Stopped { host, how: Stop::Killed });
    }

    /// A daemon is about to be stopped for a while.
    pub(crate) fn pauses(&self, host: Host) {
        self.sees_before(Fact::Paused { host });
    }

    /// It is about to run again.
    pub(crate) fn resumes(&self, host: Host) {
        self.sees_before(Fact::Resumed { host });
    }

    /// Nothing passes from one to the other any more.
    pub(crate) fn cuts(&self, from: usize, to: usize) {
        self.sees_before(Fact::Cut { from: Host(from as u32), to: Host(to as u32) });
    }

    /// It does again.
    pub(crate) fn mends(&self, from: usize, to: usize) {
        self.sees(Fact::Mended { from: Host(from as u32), to: Host(to as u32) });
    }

    /// No fault follows. Waits until all agree, looks at everything, and has the simulator's checkers judge the run.
    /// `daemons` are all that ever were, by host; those that do not run any more are among `gone`.
    pub(crate) async fn judges(&self, daemons: &[&Daemon], gone: &[usize], crash_known: Duration) {
        self.sees(Fact::Healed);
        let runs = |host: &usize| !gone.contains(host);
        let running: Vec<&Daemon> = (0..daemons.len()).filter(runs).map(|host| daemons[host]).collect();
        agree(&running).await;
        self.sees(Fact::Meshed);
        for host in (0..daemons.len()).filter(runs) {
            self.looks_at(daemons, host).await;
        }
        self.sees(Fact::Ended);
        let mut seen = self.testimony().seen.clone();
        for (host, daemon) in daemons.iter().enumerate() {
            seen.extend(self.logs(daemons, host, daemon));
        }
        let mut observations = log::in_order(seen);
        let struck = log::strike_answers_without_rows(&mut observations);
        let mut checkers = checkers::all(patience(crash_known));
        observations.iter().for_each(|observation| checkers.observe(observation));
        let violations = checkers.violations();
        assert!(violations.is_empty(), "{violations:#?}");
        let looked_at: Vec<String> = checkers
            .looked_at()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        eprintln!("the simulator's checkers saw {}; {struck} answers had no row", looked_at.join(", "));
        for must in ["register writes compared", "counters compared", "elements compared", "digests compared"]
        {
            assert!(checkers.looked_at().any(|(what, count)| what == must && count > 0), "no {must}");
        }
    }

    /// What a daemon logged.
    fn logs(&self, daemons: &[&Daemon], host: usize, daemon: &Daemon) -> Vec<Seen> {
        let testimony = self.testimony();
        let host_of = |name: &str| daemons.iter().position(|d| d.name == name).map(|n| Host(n as u32));
        let reader = log::Reader { host: Host(host as u32), host_of: &host_of, values: &testimony.values };
        daemon.rows().iter().filter_map(|row| reader.read(row)).collect()
    }

    async fn looks_at(&self, daemons: &[&Daemon], host: usize) {
        let (daemon, at) = (daemons[host], Host(host as u32));
        let state = Digest::of("digest", &daemon.status().await.digest.to_bytes());
        // The API does not tell the clock's digest. Equal clocks are what `behind` compares, and what `agree` rests on.
        self.sees(Fact::Summed { host: at, state, clock: state });
        for (about, member) in daemons.iter().enumerate() {
            let state = daemon.sees(&member.name).await.map(|member| match member.state {
                MemberState::Alive => State::Alive,
                MemberState::Suspect => State::Suspect,
                MemberState::Down => State::Down,
                MemberState::Left => State::Left,
            });
            self.sees(Fact::Believes { host: at, about: Host(about as u32), state });
        }
        let keys = self.testimony().keys.clone();
        for key in keys {
            let read = shown(&daemon.client, &key).await;
            self.sees(Fact::Shown { host: at, key, read });
        }
    }
}

/// What a daemon shows under a key.
async fn shown(client: &Client, key: &Key) -> Option<Read> {
    match client.cell(key.as_str(), &CellQuery { siblings: true, ..CellQuery::default() }).await {
        Ok(cell) => Some(read_of(&cell.content)),
        Err(failure) if failure.kind == FailureKind::NoSuchKey => None,
        Err(failure) => panic!("{key}: {failure}"),
    }
}

fn read_of(content: &Content) -> Read {
    let value = |bytes: &Bytes| bytes.to_value().unwrap();
    match content {
        Content::Register { value: winner, siblings } => {
            // Neither the dots nor the times are told, and no checker looks at them.
            let replica = ReplicaId { node: NodeId::from_bytes([0; 32]), generation: Generation::new(0) };
            let sibling = |value| Sibling { value, hlc: Hlc::ZERO, dot: Dot::new(replica, 1) };
            let mut siblings: Vec<Sibling> = siblings.iter().map(|s| sibling(value(&s.value))).collect();
            if siblings.is_empty() {
                siblings.push(sibling(value(winner)));
            }
            Read::Register { value: value(winner), siblings }
        }
        Content::Counter { count } => Read::Counter(count.0),
        Content::Set { elements } => Read::Set(elements.iter().map(value).collect()),
        Content::Flag { .. } => Read::Flag,
        Content::Map { fields } => {
            Read::Map(fields.iter().map(|(name, content)| (name.clone(), read_of(content))).collect())
        }
        Content::Conflict { contents } => Read::Conflict(contents.iter().map(read_of).collect()),
    }
}

fn ops_of(op: &WriteOp) -> Vec<Op> {
    let of = |key: &str| key.parse::<Key>().unwrap();
    let each = |elements: &[Bytes], op: &dyn Fn(Value) -> Op| {
        elements.iter().map(|element| op(element.to_value().unwrap())).collect::<Vec<Op>>()
    };
    match op {
        WriteOp::Set { key, value } => vec![Op::Set { key: of(key), value: value.to_value().unwrap() }],
        WriteOp::Del { key, .. } => vec![Op::Delete { key: of(key), kind: None }],
        WriteOp::Incr { key, by } => vec![Op::Increment { key: of(key), by: *by }],
        WriteOp::Add { key, elements } => each(elements, &|element| Op::Add { key: of(key), element }),
        WriteOp::Enable { key } => vec![Op::Enable { key: of(key) }],
        WriteOp::Disable { key } => vec![Op::Disable { key: of(key) }],
        WriteOp::Rm { key, elements } => each(elements, &|element| Op::Remove { key: of(key), element }),
    }
}

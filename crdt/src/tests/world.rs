//! A few replicas that pass entries to each other by hand, and the definition of what each must then show.

use crate::{Dot, Entry, Hlc, Kind, Op, OpError, Read, Replica, Sibling, Staged, Term};
use chinwag_base::{Digest, Generation, Key, NodeId, ReplicaId, Value, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) const NOON: WallTime = WallTime::from_unix_ms(1_700_000_000_000);

pub(crate) fn replica_id(n: u8) -> ReplicaId {
    ReplicaId { node: NodeId::from_bytes([n; 32]), generation: Generation::new(1) }
}

/// `key`, or `key.field.field`.
pub(crate) fn key(text: &str) -> Key {
    let mut names = text.split('.');
    let root: Key = names.next().unwrap().parse().unwrap();
    names.fold(root, |key, name| key.field(name).unwrap())
}

pub(crate) fn value(text: &str) -> Value {
    Value::new(text.as_bytes()).unwrap()
}

pub(crate) fn set(k: &str, v: &str) -> Op {
    Op::Set { key: key(k), value: value(v) }
}

pub(crate) fn add(k: &str, element: &str) -> Op {
    Op::Add { key: key(k), element: value(element) }
}

pub(crate) fn remove(k: &str, element: &str) -> Op {
    Op::Remove { key: key(k), element: value(element) }
}

pub(crate) fn increment(k: &str, by: i64) -> Op {
    Op::Increment { key: key(k), by }
}

pub(crate) fn enable(k: &str) -> Op {
    Op::Enable { key: key(k) }
}

pub(crate) fn disable(k: &str) -> Op {
    Op::Disable { key: key(k) }
}

pub(crate) fn lend(term: Term, op: Op) -> Op {
    Op::Lend { term, op: Box::new(op) }
}

pub(crate) fn delete(k: &str, kind: Option<Kind>) -> Op {
    Op::Delete { key: key(k), kind }
}

/// Replicas, what each has written, and what each write had seen.
pub(crate) struct World {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) entries: Vec<Arc<Entry>>,
    facts: BTreeMap<Dot, Fact>,
    /// By how much each replica's wall clock is ahead, in milliseconds.
    pub(crate) ahead_ms: Vec<u64>,
    now_ms: u64,
}

/// One write, as the definition of its type sees it.
struct Fact {
    key: Key,
    brings: Brings,
    /// The dots that it takes away: what its replica showed at that moment of what it replaces.
    kills: BTreeSet<Dot>,
}

enum Brings {
    Value(Value, Hlc),
    Element(Value),
    Amount(i64),
    On,
    Nothing,
}

impl Brings {
    fn kind(&self) -> Option<Kind> {
        match self {
            Brings::Value(..) => Some(Kind::Register),
            Brings::Element(_) => Some(Kind::Set),
            Brings::Amount(_) => Some(Kind::Counter),
            Brings::On => Some(Kind::Flag),
            Brings::Nothing => None,
        }
    }
}

impl World {
    pub(crate) fn new(count: u8) -> Self {
        World {
            replicas: (1..=count).map(|n| Replica::new(replica_id(n))).collect(),
            entries: Vec::new(),
            facts: BTreeMap::new(),
            ahead_ms: vec![0; usize::from(count)],
            now_ms: 0,
        }
    }

    /// One durable write, or as many as it changes cells. The first is returned. A millisecond passes.
    pub(crate) fn write(&mut self, at: usize, op: Op) -> Result<Arc<Entry>, OpError> {
        self.now_ms += 1;
        let wall = NOON.plus_ms(self.now_ms + self.ahead_ms[at]);
        let known = self.known(at);
        let replica = &mut self.replicas[at];
        let kinds: Vec<Kind> =
            replica.cells.get(op.key()).into_iter().flat_map(|cell| cell.kinds()).collect();
        let beneath: Vec<(Key, Kind)> = replica
            .beneath(op.key())
            .flat_map(|(key, cell)| cell.kinds().map(|kind| (key.clone(), kind)))
            .collect();
        let dots = replica.stage_local(std::slice::from_ref(&op), wall)?;
        let entries = replica.staged().to_vec();
        assert_eq!((replica.commit().len(), entries.len()), (dots.len(), dots.len()));
        for (index, (entry, dot)) in entries.iter().zip(dots).enumerate() {
            let fact = if entry.key == *op.key() {
                self.fact(op.bare(), entry, &known, &kinds)
            } else if let (Op::Delete { .. }, Some((key, kind))) = (op.bare(), beneath.get(index).cloned()) {
                self.fact(&Op::Delete { key, kind: Some(kind) }, entry, &known, &[])
            } else {
                // What was hidden above or beneath is in the way.
                let kills = entry.removed.iter().collect();
                Fact { key: entry.key.clone(), brings: Brings::Nothing, kills }
            };
            self.facts.insert(dot, fact);
        }
        self.entries.extend(entries.iter().cloned());
        Ok(entries[0].clone())
    }

    fn fact(&self, op: &Op, entry: &Entry, seen: &BTreeSet<Dot>, kinds: &[Kind]) -> Fact {
        let brings = match op {
            Op::Set { value, .. } => Brings::Value(value.clone(), entry.hlc),
            Op::Add { element, .. } => Brings::Element(element.clone()),
            Op::Increment { by, .. } => Brings::Amount(*by),
            Op::Enable { .. } => Brings::On,
            _ => Brings::Nothing,
        };
        let replaces = |other: &Brings| match op {
            Op::Set { .. } => other.kind() == Some(Kind::Register),
            Op::Enable { .. } | Op::Disable { .. } => other.kind() == Some(Kind::Flag),
            Op::Delete { kind, .. } => other.kind() == kind.or(kinds.first().copied()),
            Op::Increment { .. } | Op::If { .. } | Op::Lend { .. } => false,
            Op::Add { element, .. } | Op::Remove { element, .. } => {
                matches!(other, Brings::Element(other) if other == element)
            }
        };
        // It names what is live for it. What was dead already is named by whatever killed it.
        let dead = self.killed(seen);
        let same_key = |dot: &&Dot| self.facts[*dot].key == *op.key() && !dead.contains(*dot);
        let kills = seen.iter().filter(same_key).filter(|dot| replaces(&self.facts[*dot].brings));
        Fact { key: op.key().clone(), brings, kills: kills.copied().collect() }
    }

    fn seen(&self, at: usize) -> BTreeSet<Dot> {
        let clock = self.replicas[at].clock();
        self.facts.keys().copied().filter(|&dot| clock.covers(dot)).collect()
    }

    /// What a writer with these entries takes into account: of a counter also the earlier increments of whoever's
    /// later one it has, because entries of counters carry sums.
    fn known(&self, at: usize) -> BTreeSet<Dot> {
        let seen = self.seen(at);
        let is_later = |dot: &Dot, than: &Dot| {
            let (a, b) = (&self.facts[dot], &self.facts[than]);
            let both_count = a.brings.kind() == Some(Kind::Counter) && b.brings.kind() == Some(Kind::Counter);
            both_count && a.key == b.key && dot.replica == than.replica && dot.counter > than.counter
        };
        let is_known = |dot: &&Dot| seen.contains(*dot) || seen.iter().any(|later| is_later(later, dot));
        self.facts.keys().filter(is_known).copied().collect()
    }

    fn killed(&self, seen: &BTreeSet<Dot>) -> BTreeSet<Dot> {
        seen.iter().filter_map(|dot| self.facts.get(dot)).flat_map(|fact| &fact.kills).copied().collect()
    }

    /// Delivers one entry. Says whether it was new.
    pub(crate) fn deliver(&mut self, entry: &Arc<Entry>, to: usize) -> bool {
        let wall = NOON.plus_ms(self.now_ms + self.ahead_ms[to]);
        match self.replicas[to].stage_remote((**entry).clone(), wall) {
            Staged::New => assert_eq!(self.replicas[to].commit().len(), 1),
            Staged::Duplicate | Staged::Promised => return false,
            Staged::Refused(why) => panic!("{entry:?} was refused: {why}"),
        }
        true
    }

    /// Delivers what `from` has and `to` lacks, if `choose` says so.
    pub(crate) fn send(&mut self, from: usize, to: usize, mut choose: impl FnMut(usize) -> bool) {
        let lacking: Vec<Arc<Entry>> = {
            let (there, here) = (&self.replicas[from], &self.replicas[to]);
            let ranges = there.clock().minus(here.clock());
            ranges.flat_map(|(replica, counters)| there.entries(replica, counters).cloned()).collect()
        };
        for (i, entry) in lacking.iter().enumerate() {
            if choose(i) {
                assert!(self.deliver(entry, to));
            }
        }
    }

    /// Delivers everything to everyone.
    pub(crate) fn converge(&mut self) {
        for entry in self.entries.clone() {
            for to in 0..self.replicas.len() {
                self.deliver(&entry, to);
            }
        }
    }

    /// What the definition says that a reader with these entries sees: what has come and nothing that came has
    /// taken away. Entries of counters carry sums, so there it holds for a replica that has all entries.
    pub(crate) fn expected(&self, at: usize) -> BTreeMap<Key, Read> {
        let seen = self.seen(at);
        let killed = self.killed(&seen);
        let mut cells: BTreeMap<Key, BTreeMap<Kind, Vec<Dot>>> = BTreeMap::new();
        for &dot in seen.difference(&killed) {
            if let Some(kind) = self.facts[&dot].brings.kind() {
                cells.entry(self.facts[&dot].key.clone()).or_default().entry(kind).or_default().push(dot);
            }
        }
        let read = |(key, kinds): (Key, BTreeMap<Kind, Vec<Dot>>)| {
            let mut reads: Vec<Read> = kinds.into_iter().map(|(kind, dots)| self.read(kind, &dots)).collect();
            (key, if reads.len() > 1 { Read::Conflict(reads) } else { reads.remove(0) })
        };
        cells.into_iter().map(read).collect()
    }

    fn read(&self, kind: Kind, dots: &[Dot]) -> Read {
        let (mut siblings, mut elements, mut total) = (Vec::new(), BTreeSet::new(), 0);
        for &dot in dots {
            match &self.facts[&dot].brings {
                Brings::Value(value, hlc) => siblings.push(Sibling { value: value.clone(), hlc: *hlc, dot }),
                Brings::Element(element) => drop(elements.insert(element.clone())),
                Brings::Amount(by) => total += i128::from(*by),
                Brings::On | Brings::Nothing => {}
            }
        }
        siblings.sort_by_key(|s| std::cmp::Reverse((s.hlc, s.dot)));
        match kind {
            Kind::Register => Read::Register { value: siblings[0].value.clone(), siblings },
            Kind::Set => Read::Set(elements.into_iter().collect()),
            Kind::Counter => Read::Counter(total),
            Kind::Flag => Read::Flag,
            Kind::Map => unreachable!("no write brings one"),
        }
    }
}

/// All that a replica shows, cell by cell.
pub(crate) fn reads(replica: &Replica) -> BTreeMap<Key, Read> {
    let reads: BTreeMap<Key, Read> =
        replica.cells.iter().filter_map(|(key, cell)| Some((key.clone(), cell.read()?))).collect();
    let roots: BTreeSet<Key> = reads.keys().map(Key::root).collect();
    assert_eq!(roots.len(), replica.len());
    reads
}

/// All that replicas compare; and the sums that are kept are the sums.
pub(crate) fn state(replica: &Replica) -> (BTreeMap<Key, Read>, Digest, Digest, usize, usize) {
    assert_eq!(replica.audit().faults, []);
    assert!(replica.terms_are_right());
    (reads(replica), replica.digest(), replica.clock_digest(), replica.state_bytes(), replica.doomed())
}

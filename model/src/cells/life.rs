//! One process with its disk: everything that can happen to one replica, done to a real one.

use super::rules::Rules;
use super::writes::{WriteId, Writes};
use crate::deltas::writes::Ask;
use chinwag_base::{Key, ReplicaId, WallTime};
use chinwag_crdt::{
    Checkpoint, Dot, Entry, Extent, Part, PartId, Place, Promise, Replica, Row, Slice, Staged,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

/// The number of a promise.
pub type PromiseId = usize;
/// The number of a slice.
pub type SliceId = usize;

/// What can happen to one replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// A client's operation, durable at once.
    Local {
        /// What is asked for.
        ask: Ask,
        /// Of which key.
        key: usize,
        /// How many writes there were before: time passes with them.
        count: usize,
    },
    /// An entry from elsewhere.
    Entry(WriteId),
    /// A session opens.
    Promise(PromiseId),
    /// A slice comes.
    Join(SliceId),
    /// All slices have come.
    Cover,
    /// The session is given up.
    Break,
    /// Floors of these replicas' runs are dropped.
    DropFloors(BTreeSet<ReplicaId>),
    /// The state is written down.
    Checkpoint,
    /// The process ends and starts again.
    Restart,
}

/// What is on a disk: rows since ever, and the newest checkpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    checkpoint: Checkpoint,
    cells: BTreeMap<Key, Vec<Part>>,
    rows: Vec<(u64, Row)>,
}

impl Disk {
    fn log(&mut self, replica: &Replica, row: Row) {
        self.rows.push((replica.position(), row));
    }

    /// Writes down what has changed since the last time.
    fn checkpoint(&mut self, replica: &mut Replica) {
        let mut checkpoint = replica.checkpoint();
        for (key, parts) in std::mem::take(&mut checkpoint.cells) {
            if parts.is_empty() {
                self.cells.remove(&key);
            } else {
                self.cells.insert(key, parts);
            }
        }
        self.checkpoint = checkpoint;
    }

    /// The replica of a process that starts now.
    pub(crate) fn start(&self, me: ReplicaId) -> Replica {
        let mut replica = Replica::new(me);
        let cells = self.cells.iter().map(|(key, parts)| (key.clone(), parts.clone())).collect();
        replica.recover_checkpoint(Checkpoint { cells, ..self.checkpoint.clone() });
        for (position, row) in &self.rows {
            replica.replay(*position, row.clone());
        }
        replica
    }
}

/// Messages that are told, each once.
#[derive(Debug)]
pub(crate) struct Messages<T> {
    all: Vec<T>,
    by_text: HashMap<String, Vec<usize>>,
}

impl<T> Default for Messages<T> {
    fn default() -> Self {
        Messages { all: Vec::new(), by_text: HashMap::new() }
    }
}

impl<T: Debug + PartialEq> Messages<T> {
    pub(crate) fn id(&mut self, message: T) -> usize {
        let same = self.by_text.entry(format!("{message:?}")).or_default();
        same.iter().copied().find(|id| self.all[*id] == message).unwrap_or_else(|| {
            same.push(self.all.len());
            self.all.push(message);
            self.all.len() - 1
        })
    }

    pub(crate) fn get(&self, id: usize) -> &T {
        &self.all[id]
    }
}

/// All that was ever said in any state of a model.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) writes: Writes,
    pub(crate) promises: Messages<Promise>,
    pub(crate) slices: Messages<Slice>,
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) replica: Replica,
    pub(crate) disk: Disk,
    /// Whether all slices of the session have come.
    pub(crate) is_told: bool,
    /// Whether it has refused anything.
    pub(crate) has_refused: bool,
    /// Whether it has dropped floors. They may be back after a restart.
    pub(crate) has_dropped: bool,
}

impl Life {
    pub(crate) fn new(me: ReplicaId, disk: Disk) -> Self {
        let replica = disk.start(me);
        Life { replica, disk, is_told: false, has_refused: false, has_dropped: false }
    }

    /// Takes a step; nothing if it is not possible. A restart is a new life and none of its steps.
    pub(crate) fn step(&mut self, rules: &impl Rules, said: &Said, keys: &[Key], step: &Step) -> Option<()> {
        match step {
            Step::Local { ask, key, count } => self.local(*ask, keys[*key].clone(), *count)?,
            Step::Entry(id) => self.entry(rules, &said.writes.get(*id).entry),
            Step::Promise(id) => {
                let promise = said.promises.get(*id).clone();
                self.has_refused |= self.replica.admit_promise(&promise).is_err();
                self.replica.promise(promise.clone());
                self.is_told = false;
                self.disk.log(&self.replica, Row::Promised(promise));
            }
            Step::Join(id) => {
                self.replica.session()?;
                let slice = said.slices.get(*id);
                for slice in rules.joined(slice) {
                    self.has_refused |= self.replica.admit_slice(&slice).is_err();
                    self.replica.join(&slice);
                    self.disk.log(&self.replica, Row::Joined(slice));
                }
                self.is_told = rules.is_last(slice);
            }
            Step::Cover => {
                self.replica.session().filter(|_| self.is_told)?;
                self.replica.cover();
                self.disk.log(&self.replica, Row::Covered);
            }
            Step::Break => {
                self.replica.session()?;
                self.replica.break_promise();
                if rules.logs_what_is_broken() {
                    self.disk.log(&self.replica, Row::Broken);
                }
            }
            Step::DropFloors(over) => {
                self.has_dropped = true;
                (self.replica.drop_floors(|replica| over.contains(&replica)) > 0).then_some(())?;
            }
            Step::Checkpoint => self.disk.checkpoint(&mut self.replica),
            Step::Restart => return None,
        }
        self.is_told &= self.replica.session().is_some();
        Some(())
    }

    fn local(&mut self, ask: Ask, key: Key, count: usize) -> Option<()> {
        let at = usize::from(self.replica.me().node.as_bytes()[0]) - 1;
        self.replica.stage_local(&[ask.op(key, at)], wall(count)).ok()?;
        let entry = self.replica.staged().last()?.clone();
        self.replica.commit();
        self.disk.log(&self.replica, Row::Write(entry));
        Some(())
    }

    fn entry(&mut self, rules: &impl Rules, entry: &Arc<Entry>) {
        match self.replica.stage_remote(Entry::clone(entry), wall(0)) {
            Staged::New => drop(self.replica.commit()),
            // Recovery knows no sessions.
            Staged::Promised if rules.takes_what_is_promised() => drop(self.replica.recover(entry.clone())),
            Staged::Duplicate | Staged::Promised => return,
            Staged::Refused(_) => {
                self.has_refused = true;
                return;
            }
        }
        self.disk.log(&self.replica, Row::Write(entry.clone()));
    }
}

/// Each write is later than those before it, so that what a clock has observed decides nothing.
fn wall(count: usize) -> WallTime {
    WallTime::from_unix_ms(1_700_000_000_000).plus_ms(count as u64)
}

/// A name that can be compared and hashed: node, generation, counter.
type Name = (u8, u64, u64);

fn name(dot: Dot) -> Name {
    (dot.replica.node.as_bytes()[0], dot.replica.generation.get(), dot.counter)
}

/// A part without what follows from its dot; a run as its four numbers.
type PartName = (u8, Name, Option<[u64; 4]>, Option<[u64; 4]>);

fn part_name(part: &Part) -> PartName {
    let numbers = |run: &chinwag_crdt::Run| [run.start, run.last, run.plus, run.minus];
    match part {
        Part::Sibling { dot, .. } => (0, name(*dot), None, None),
        Part::Element { dot, .. } => (1, name(*dot), None, None),
        Part::Share { replica, run, floor } => {
            (2, name(Dot::new(*replica, 0)), run.as_ref().map(numbers), floor.as_ref().map(numbers))
        }
        Part::Flag { dot } => (3, name(*dot), None, None),
        Part::Lease { dot, .. } => (4, name(*dot), None, None),
    }
}

/// Where a session has got to.
type Done = Option<(Key, Option<(u8, Name)>)>;

fn done(place: &Place) -> (Key, Option<(u8, Name)>) {
    let id = place.part.map(|part| match part {
        PartId::Sibling(dot) => (0, name(dot)),
        PartId::Element(dot) => (1, name(dot)),
        PartId::Share(replica) => (2, name(Dot::new(replica, 0))),
        PartId::Flag(dot) => (3, name(dot)),
        PartId::Lease(dot) => (4, name(dot)),
    });
    (place.key.clone(), id)
}

/// All of a replica that decides what it shows, tells and will do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Outside {
    clock: [u8; 16],
    digest: [u8; 16],
    session: Option<([u8; 16], Done)>,
    cells: Vec<(Key, Vec<PartName>)>,
    doomed: Vec<(Name, Key)>,
}

impl Outside {
    pub(crate) fn of(replica: &Replica) -> Self {
        let cell = |(key, parts): (Key, Vec<Part>)| (key, parts.iter().map(part_name).collect());
        let session = replica.session().map(|s| (s.clock.digest().to_bytes(), s.done.as_ref().map(done)));
        Outside {
            clock: replica.clock_digest().to_bytes(),
            digest: replica.digest().to_bytes(),
            session,
            cells: parts(replica).into_iter().map(cell).collect(),
            doomed: replica.promised().doomed.into_iter().map(|(dot, key)| (name(dot), key)).collect(),
        }
    }

    /// The same without floors that stand alone.
    pub(crate) fn without_lone_floors(mut self) -> Self {
        for (_, parts) in &mut self.cells {
            parts.retain(|(_, _, run, floor)| run.is_some() || floor.is_none());
        }
        self.cells.retain(|(_, parts)| !parts.is_empty());
        self
    }
}

/// Everything that is live.
pub(crate) fn parts(replica: &Replica) -> Vec<(Key, Vec<Part>)> {
    replica.slice_after(None, usize::MAX).cells
}

/// Whether nothing comes after a slice.
pub(crate) fn is_last(slice: &Slice) -> bool {
    matches!(slice.extent, Extent::Range { until: None, .. })
}

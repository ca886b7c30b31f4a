//! All replicas that occur in any state of a model, each once, with a way to make it again.
//!
//! A [`Replica`] can be neither copied nor hashed, and a checker needs both. So a state names its replicas by number.
//! Each number stands for all that can be told of a replica from outside, now or by what it will write next; and for
//! one *script* of steps that leads there. A step is taken by playing the script with that step at its end, and only
//! the first time: three replicas in many combinations are few replicas.

use super::rules::Rules;
use super::writes::{Ask, Verdict, Write, WriteId, Writes};
use chinwag_base::{Generation, Key, NodeId, ReplicaId, WallTime};
use chinwag_crdt::{Dot, Entry, Hlc, Op, Read, Replica, Staged};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

/// The number of a replica's state.
pub type ImageId = usize;

/// What can happen to one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A durable entry is read at start-up.
    Recover(WriteId),
    /// A client's operation is staged.
    Local(Ask),
    /// An entry from elsewhere is staged.
    Remote(WriteId),
    /// What is staged is durable.
    Commit,
    /// What is staged is known not to have become durable.
    Abort,
    /// The process ends and starts again from its log. Whether the disk has lost the newest entry.
    Crash {
        /// Whether the disk went back in time by one entry.
        is_disk_old: bool,
    },
}

/// A replica's state, and what the properties ask of it.
#[derive(Debug)]
pub struct Image {
    at: usize,
    generation: u64,
    script: Vec<Step>,
    replica: Replica,
    /// What was handed over and committed, in order, each once.
    committed: Vec<WriteId>,
    /// The same as a set.
    pub delivered: BTreeSet<WriteId>,
    /// What waits for the disk.
    pub staged: Vec<WriteId>,
    /// How its read compares with what must be seen.
    pub verdict: Verdict,
    /// Whether it differs from a new replica that has read the same entries, in the order of their numbers.
    pub differs: bool,
    /// Whether it has refused an entry.
    pub has_refused: bool,
}

/// All that is told of a replica from outside, and by its next write.
type Outside = (Vec<WriteId>, Vec<WriteId>, [u8; 16], [u8; 16], String, bool, Dot, Hlc);

#[derive(Debug, Default)]
struct Shelves {
    writes: Writes,
    images: Vec<Arc<Image>>,
    numbers: BTreeMap<Outside, ImageId>,
    steps: HashMap<(ImageId, Step), Option<ImageId>>,
}

/// The replicas of one model.
#[derive(Debug)]
pub struct Library<R> {
    rules: R,
    key: Key,
    shelves: Mutex<Shelves>,
}

/// By how much the first replica's wall clock is ahead of the others'.
const AHEAD_MS: u64 = 3_600_000;

impl<R: Rules> Library<R> {
    pub(crate) fn new(rules: R) -> Self {
        let key = "key".parse().expect("a key, because it is a short word");
        Library { rules, key, shelves: Mutex::default() }
    }

    /// The number of the replica `at` before anything has happened.
    pub(crate) fn blank(&self, at: usize) -> ImageId {
        let mut shelves = self.shelves();
        let image = self.play(&shelves, at, 1, Vec::new(), Vec::new(), Vec::new());
        self.shelve(&mut shelves, image)
    }

    pub(crate) fn image(&self, id: ImageId) -> Arc<Image> {
        self.shelves().images[id].clone()
    }

    /// Whether that replica says that it has applied that write.
    pub(crate) fn covers(&self, image: &Image, write: WriteId) -> bool {
        self.rules.covers(&image.replica, self.dot(write))
    }

    pub(crate) fn dot(&self, write: WriteId) -> Dot {
        self.shelves().writes.get(write).entry.dot
    }

    /// A write in words.
    pub(crate) fn describe(&self, write: WriteId) -> String {
        let shelves = self.shelves();
        let Write { ask, at, entry, .. } = shelves.writes.get(write);
        format!("{ask:?} of replica {at} (its write {})", entry.dot.counter)
    }

    /// The replica after a step; none if the step is not possible.
    pub(crate) fn step(&self, before: ImageId, step: Step) -> Option<ImageId> {
        let mut shelves = self.shelves();
        if let Some(known) = shelves.steps.get(&(before, step)) {
            return *known;
        }
        let image = shelves.images[before].clone();
        let after = self.take(&mut shelves, &image, step).map(|image| self.shelve(&mut shelves, image));
        shelves.steps.insert((before, step), after);
        after
    }

    fn shelves(&self) -> std::sync::MutexGuard<'_, Shelves> {
        self.shelves.lock().expect("a lock that is not poisoned, because a panic ends the check")
    }

    fn take(&self, shelves: &mut Shelves, image: &Image, step: Step) -> Option<(Outside, Image)> {
        let (mut committed, mut staged) = (image.committed.clone(), image.staged.clone());
        let mut script = image.script.clone();
        let mut generation = image.generation;
        match step {
            Step::Recover(_) => return None,
            Step::Local(ask) => staged.push(self.write(shelves, image, ask)?),
            Step::Remote(id) => staged.extend((!staged.contains(&id)).then_some(id)),
            Step::Commit if staged.is_empty() => return None,
            Step::Commit => {
                let new: Vec<WriteId> = staged.drain(..).filter(|id| !committed.contains(id)).collect();
                committed.extend(new);
            }
            Step::Abort if staged.is_empty() => return None,
            Step::Abort => staged.clear(),
            Step::Crash { is_disk_old } => {
                if is_disk_old {
                    committed.pop()?;
                }
                staged.clear();
                generation = self.rules.next_generation(generation);
                script = committed.iter().copied().map(Step::Recover).collect();
            }
        }
        if !matches!(step, Step::Crash { .. }) {
            script.push(step);
        }
        Some(self.play(shelves, image.at, generation, script, committed, staged))
    }

    /// What the replica would write: found out by playing its script and asking.
    fn write(&self, shelves: &mut Shelves, image: &Image, ask: Ask) -> Option<WriteId> {
        let mut script = image.script.clone();
        script.push(Step::Local(ask));
        let (replica, ..) = self.rebuild(shelves, image.at, image.generation, &script)?;
        let entry = replica.staged().last()?.clone();
        let seen = image.delivered.iter().chain(&image.staged).copied().collect();
        let kills = shelves.writes.kills(ask, &seen);
        let includes = shelves.writes.includes(ask, image.at, &seen);
        Some(shelves.writes.id(Write { entry, ask, at: image.at, kills, includes }))
    }

    /// Plays a script. Returns the replica, all that arrived in it, and whether it refused any; nothing if an
    /// operation was not possible.
    fn rebuild(
        &self,
        shelves: &Shelves,
        at: usize,
        generation: u64,
        script: &[Step],
    ) -> Option<(Replica, Vec<Arc<Entry>>, bool)> {
        let mut replica = Replica::new(replica_id(at, generation));
        let (mut arrived, mut waiting, mut has_refused) = (Vec::new(), Vec::new(), false);
        for step in script {
            match *step {
                Step::Recover(id) => {
                    let entry = shelves.writes.get(id).entry.clone();
                    replica.recover(Entry::clone(&entry));
                    arrived.push(entry);
                }
                Step::Local(ask) => {
                    replica.stage_local(&[ask.op(self.key.clone(), at)], wall(at)).ok()?;
                    waiting.extend(replica.staged().last().cloned());
                }
                Step::Remote(id) => {
                    let entry = &shelves.writes.get(id).entry;
                    waiting.push(entry.clone());
                    if let Some(entry) = self.rules.arrive(&replica, entry) {
                        has_refused |= matches!(replica.stage_remote(entry, wall(at)), Staged::Refused(_));
                    }
                }
                Step::Commit => {
                    replica.commit();
                    arrived.append(&mut waiting);
                }
                Step::Abort => {
                    replica.abort();
                    waiting.clear();
                }
                Step::Crash { .. } => {}
            }
        }
        Some((replica, arrived, has_refused))
    }

    fn play(
        &self,
        shelves: &Shelves,
        at: usize,
        generation: u64,
        script: Vec<Step>,
        committed: Vec<WriteId>,
        staged: Vec<WriteId>,
    ) -> (Outside, Image) {
        let (mut replica, arrived, has_refused) = self
            .rebuild(shelves, at, generation, &script)
            .expect("a script that can be played, because its last step was tried");
        let delivered: BTreeSet<WriteId> = committed.iter().copied().collect();
        let read = self.rules.read(&replica, &self.key, &arrived);
        let verdict = shelves.writes.judge(&delivered, read.as_ref());
        let differs = !self.is_as_recovered(shelves, &replica, &read, &delivered);
        // What the next write would be tells the rest. It is never committed, so nobody sees it.
        let probe = "probe".parse().expect("a key, because it is a short word");
        let probed = replica.stage_local(&[Op::Increment { key: probe, by: 1 }], wall(at));
        let next =
            probed.ok().and_then(|_| replica.staged().last()).expect("an increment is always possible");
        let outside = (
            delivered.iter().copied().collect(),
            staged.clone(),
            replica.digest().to_bytes(),
            replica.clock_digest().to_bytes(),
            format!("{read:?} {}", replica.doomed()),
            has_refused,
            next.dot,
            next.hlc,
        );
        let image = Image {
            at,
            generation,
            script,
            replica,
            committed,
            delivered,
            staged,
            verdict,
            differs,
            has_refused,
        };
        (outside, image)
    }

    /// Whether the replica is what a new one is that has read the same entries: state is a function of their set.
    fn is_as_recovered(
        &self,
        shelves: &Shelves,
        replica: &Replica,
        read: &Option<Read>,
        delivered: &BTreeSet<WriteId>,
    ) -> bool {
        let mut other = Replica::new(replica_id(9, 1));
        for id in delivered {
            other.recover(Entry::clone(&shelves.writes.get(*id).entry));
        }
        let outside = |replica: &Replica| {
            (replica.digest(), replica.clock_digest(), replica.clock().clone(), replica.doomed())
        };
        outside(replica) == outside(&other) && *read == other.get(&self.key)
    }

    fn shelve(&self, shelves: &mut Shelves, (outside, image): (Outside, Image)) -> ImageId {
        let Shelves { images, numbers, .. } = shelves;
        *numbers.entry(outside).or_insert_with(|| {
            images.push(Arc::new(image));
            images.len() - 1
        })
    }
}

fn replica_id(at: usize, generation: u64) -> ReplicaId {
    ReplicaId { node: NodeId::from_bytes([at as u8 + 1; 32]), generation: Generation::new(generation) }
}

/// Nothing depends on time, so the clocks stand still; one of them stands an hour ahead.
fn wall(at: usize) -> WallTime {
    WallTime::from_unix_ms(1_700_000_000_000).plus_ms(if at == 0 { AHEAD_MS } else { 0 })
}

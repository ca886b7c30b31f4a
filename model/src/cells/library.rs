//! All replicas that occur in any state of a model, each once, with a way to make it again.
//!
//! As in [`deltas::library`](crate::deltas::library). A replica's number stands here for what it shows, tells and will do,
//! and for the same of the replica that its disk would make, were its process to start again now. The two are compared in
//! each state, so that a process may end at any moment, whatever the bound on restarts: only what a *new generation*
//! does, and floors that are back, need one.

use super::life::{Disk, Life, Outside, PromiseId, Said, SliceId, Step, parts};
use super::rules::Rules;
use super::writes::{Write, WriteId, dots};
use chinwag_base::{Digest, Generation, Key, NodeId, ReplicaId};
use chinwag_crdt::{Dot, Entry, Part, Read, Replica, Run};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

/// The number of a replica's state.
pub type ImageId = usize;

/// A replica's state, and what the properties ask of it.
#[derive(Debug)]
pub struct Image {
    start: Arc<Disk>,
    script: Vec<Step>,
    pub(crate) life: Life,
    pub(crate) cells: Vec<(Key, Vec<Part>)>,
    /// Whether its disk makes the same replica.
    pub is_on_disk: bool,
}

impl Image {
    pub(crate) fn replica(&self) -> &Replica {
        &self.life.replica
    }
}

/// What a replica shows of all writes that were made, compared with what it must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// It covers all of them.
    pub covers_all: bool,
    /// It lacks what it covers and nobody has replaced or removed.
    pub hides_live: bool,
    /// It shows what a write that it covers has replaced or removed.
    pub shows_dead: bool,
    /// It shows what is live, and its counters are exact.
    pub is_exact: bool,
    /// It is what a new replica is that has read all entries.
    pub is_as_by_entries: bool,
}

/// What replicas compare once they cover the same.
#[derive(Debug, PartialEq)]
struct Shown {
    clock: Digest,
    digest: Digest,
    doomed: usize,
    reads: BTreeMap<Key, Read>,
}

impl Shown {
    fn of(replica: &Replica) -> Self {
        let read = |key: Key| Some((key.clone(), replica.get(&key)?));
        Shown {
            clock: replica.clock_digest(),
            digest: replica.digest(),
            doomed: replica.doomed(),
            reads: replica.keys().filter_map(read).collect(),
        }
    }
}

type Number = (ReplicaId, Outside, Outside, bool, bool, bool, usize);

/// A replica after a step, and the write that the step made.
type After = (ImageId, Option<WriteId>);

#[derive(Debug, Default)]
struct Shelves {
    said: Said,
    images: Vec<Arc<Image>>,
    numbers: HashMap<Number, ImageId>,
    steps: HashMap<(ImageId, Step), Option<After>>,
    verdicts: HashMap<(ImageId, BTreeSet<WriteId>), Verdict>,
    by_entries: HashMap<BTreeSet<WriteId>, Arc<Shown>>,
}

/// The replicas of one model.
#[derive(Debug)]
pub struct Library<R> {
    rules: R,
    pub(crate) keys: Vec<Key>,
    shelves: Mutex<Shelves>,
}

impl<R: Rules> Library<R> {
    pub(crate) fn new(rules: R, keys: &[&str]) -> Self {
        let keys = keys.iter().map(|key| key.parse().expect("a key, because it is a short word")).collect();
        Library { rules, keys, shelves: Mutex::default() }
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().expect("a lock that is not poisoned, because a panic ends the check")
    }

    /// The number of the replica `at` before anything has happened.
    pub(crate) fn blank(&self, at: usize) -> ImageId {
        let start = Arc::new(Disk::default());
        let life = Life::new(replica_id(at, 1), Disk::default());
        shelve(&mut self.shelves(), start, Vec::new(), life)
    }

    pub(crate) fn image(&self, id: ImageId) -> Arc<Image> {
        self.shelves().images[id].clone()
    }

    pub(crate) fn covers(&self, image: &Image, write: WriteId) -> bool {
        image.replica().clock().covers(self.shelves().said.writes.get(write).entry.dot)
    }

    pub(crate) fn promise(&self, from: &Image) -> PromiseId {
        self.shelves().said.promises.id(self.rules.promised(from.replica()))
    }

    /// The next slice for a session; none if that sender may not tell any.
    pub(crate) fn slice(&self, from: &Image, to: &Image, bytes: usize) -> Option<SliceId> {
        let session = to.replica().session().filter(|_| !to.life.is_told)?;
        self.rules.may_tell(from.replica(), &session.clock).then(|| {
            let slice = from.replica().slice_after(session.done.as_ref(), bytes);
            self.shelves().said.slices.id(slice)
        })
    }

    /// The replicas whose floors stand alone there and go now.
    pub(crate) fn over(
        &self,
        image: &Image,
        running: &[Arc<Image>],
        made: &BTreeSet<WriteId>,
    ) -> BTreeSet<ReplicaId> {
        let shelves = self.shelves();
        let knows_all = |replica: ReplicaId| {
            let dots = made.iter().map(|id| shelves.said.writes.get(*id).entry.dot);
            dots.filter(|dot| dot.replica == replica).all(|dot| image.replica().clock().covers(dot))
        };
        let begins_anew = |replica: ReplicaId, key: &Key, floor: Run| {
            let owner = running.iter().find(|other| other.replica().me() == replica);
            let cell = owner.and_then(|owner| owner.cells.iter().find(|(other, _)| other == key));
            let is_own_run = |part: &Part| match part {
                Part::Share { replica: whose, run: Some(run), .. } => {
                    *whose == replica && run.start <= floor.last
                }
                _ => false,
            };
            !cell.is_some_and(|(_, parts)| parts.iter().any(is_own_run))
        };
        let (mut over, mut stay) = (BTreeSet::new(), BTreeSet::new());
        for (key, parts) in &image.cells {
            for part in parts {
                let Part::Share { replica, run: None, floor: Some(floor) } = *part else { continue };
                let goes = self.rules.drops_floors(knows_all(replica), begins_anew(replica, key, floor));
                if goes {
                    over.insert(replica)
                } else {
                    stay.insert(replica)
                };
            }
        }
        over.difference(&stay).copied().collect()
    }

    /// A write in words.
    pub(crate) fn describe(&self, write: WriteId) -> String {
        let shelves = self.shelves();
        let Write { ask, entry, .. } = shelves.said.writes.get(write);
        let at = entry.dot.replica.node.as_bytes()[0] - 1;
        format!("{ask:?} of `{}` by replica {at} (its write {})", entry.key, entry.dot.counter)
    }

    /// A promise or a slice in words.
    pub(crate) fn describe_message(&self, step: &Step) -> String {
        let shelves = self.shelves();
        match step {
            Step::Promise(id) => format!("{:?}", shelves.said.promises.get(*id)),
            Step::Join(id) => format!("{:?}", shelves.said.slices.get(*id)),
            other => format!("{other:?}"),
        }
    }

    /// The replica after a step, and the write that it made; none if the step is not possible.
    pub(crate) fn step(&self, before: ImageId, step: &Step) -> Option<After> {
        let mut shelves = self.shelves();
        if let Some(known) = shelves.steps.get(&(before, step.clone())) {
            return *known;
        }
        let image = shelves.images[before].clone();
        let after = self.take(&mut shelves, &image, step);
        shelves.steps.insert((before, step.clone()), after);
        after
    }

    fn take(&self, shelves: &mut Shelves, image: &Image, step: &Step) -> Option<After> {
        let me = image.replica().me();
        if *step == Step::Restart {
            let generation = Generation::new(me.generation.get() + 1);
            let disk = image.life.disk.clone();
            let life = Life::new(ReplicaId { generation, ..me }, disk.clone());
            return Some((shelve(shelves, Arc::new(disk), Vec::new(), life), None));
        }
        let mut life = Life::new(me, Disk::clone(&image.start));
        let mut script = image.script.clone();
        script.push(step.clone());
        for step in &script {
            life.step(&self.rules, &shelves.said, &self.keys, step)?;
        }
        let write = self.write(shelves, image, &life, step);
        Some((shelve(shelves, image.start.clone(), script, life), write))
    }

    /// What was written by a step that led from one replica to another.
    fn write(&self, shelves: &mut Shelves, before: &Image, after: &Life, step: &Step) -> Option<WriteId> {
        let Step::Local { ask, key, .. } = step else { return None };
        let me = after.replica.me();
        let entry = after.replica.entry(Dot::new(me, after.replica.clock().last(me)))?.clone();
        let cell = before.cells.iter().find(|(other, _)| *other == self.keys[*key]);
        let shown = |kind| dots(kind, cell.map_or(&[][..], |(_, parts)| parts));
        let kills = ask.replaces().map(shown).unwrap_or_default();
        Some(shelves.said.writes.id(Write { entry, ask: *ask, kills }))
    }

    /// What a replica shows of these writes.
    pub(crate) fn judge(&self, id: ImageId, made: &BTreeSet<WriteId>) -> Verdict {
        let mut shelves = self.shelves();
        if let Some(known) = shelves.verdicts.get(&(id, made.clone())) {
            return *known;
        }
        let image = shelves.images[id].clone();
        let writes = &shelves.said.writes;
        let clock = image.replica().clock();
        let covered: BTreeSet<WriteId> =
            made.iter().copied().filter(|id| clock.covers(writes.get(*id).entry.dot)).collect();
        let (live, shown) = (writes.live(made), writes.shown(made, &image.cells));
        let is_exact = self.keys.iter().all(|key| {
            let total = match image.replica().get(key) {
                Some(Read::Counter(total)) => total,
                Some(Read::Conflict(reads)) => reads.iter().find_map(total_of).unwrap_or(0),
                _ => 0,
            };
            total == writes.sum(&live, key)
        });
        let mut verdict = Verdict {
            covers_all: covered == *made,
            hides_live: covered.iter().any(|id| live.contains(id) && !shown.contains(id)),
            shows_dead: shown.iter().any(|id| writes.is_killed(*id, &covered)),
            is_exact: is_exact && shown == live,
            is_as_by_entries: true,
        };
        if verdict.covers_all {
            let Shelves { said, by_entries, .. } = &mut *shelves;
            let expected = by_entries.entry(made.clone()).or_insert_with(|| {
                let mut replica = Replica::new(replica_id(8, 1));
                for id in made {
                    replica.recover(Entry::clone(&said.writes.get(*id).entry));
                }
                Arc::new(Shown::of(&replica))
            });
            verdict.is_as_by_entries = **expected == Shown::of(image.replica());
        }
        shelves.verdicts.insert((id, made.clone()), verdict);
        verdict
    }
}

fn total_of(read: &Read) -> Option<i128> {
    match read {
        Read::Counter(total) => Some(*total),
        _ => None,
    }
}

fn shelve(shelves: &mut Shelves, start: Arc<Disk>, script: Vec<Step>, life: Life) -> ImageId {
    let me = life.replica.me();
    let (lives, starts) = (Outside::of(&life.replica), Outside::of(&life.disk.start(me)));
    let is_on_disk = lives == starts
        || life.has_dropped && lives.clone().without_lone_floors() == starts.clone().without_lone_floors();
    let changed = life.replica.changed_cells();
    let number = (me, lives, starts, life.is_told, life.has_refused, life.has_dropped, changed);
    let Shelves { images, numbers, .. } = shelves;
    *numbers.entry(number).or_insert_with(|| {
        let cells = parts(&life.replica);
        images.push(Arc::new(Image { start, script, life, cells, is_on_disk }));
        images.len() - 1
    })
}

fn replica_id(at: usize, generation: u64) -> ReplicaId {
    ReplicaId { node: NodeId::from_bytes([at as u8 + 1; 32]), generation: Generation::new(generation) }
}

//! Whole cells do what the entries did that led to them, however the session is cut, delayed, given up or interrupted by a
//! restart; and a checkpoint with the rows after it is the life that it was taken from.

use super::laws::{counter, elements, every_kind, fields, flag, lent, register};
use super::world::*;
use crate::{Checkpoint, Clock, Dot, Extent, Op, Part, Place, Replica, Row, Slice, Staged};
use chinwag_base::{Digest, Key};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const REPLICAS: u8 = 3;

#[derive(Debug, Clone)]
enum Step {
    Write(usize, Op),
    Send(usize, usize, u64),
    /// Whose cells are to come to whom.
    Open(usize, usize),
    /// The next slice, of so many bytes, from somebody who covers what was promised.
    Slice(usize, usize, usize),
    Break(usize),
    Checkpoint(usize),
    /// A process ends and starts again. Whether its log was cut at its checkpoint.
    Restart(usize, bool),
    DropFloors(usize),
}

fn steps(op: impl Strategy<Value = Op>) -> impl Strategy<Value = Vec<Step>> {
    let who = || 0..usize::from(REPLICAS);
    let step = prop_oneof![
        12 => (who(), op).prop_map(|(at, op)| Step::Write(at, op)),
        4 => (who(), who(), any::<u64>()).prop_map(|(from, to, bits)| Step::Send(from, to, bits)),
        4 => (who(), who()).prop_map(|(to, from)| Step::Open(to, from)),
        12 => (who(), who(), 1_usize..400).prop_map(|(to, from, bytes)| Step::Slice(to, from, bytes)),
        1 => who().prop_map(Step::Break),
        2 => who().prop_map(Step::Checkpoint),
        2 => (who(), any::<bool>()).prop_map(|(at, cut)| Step::Restart(at, cut)),
        2 => who().prop_map(Step::DropFloors),
    ];
    vec(step, 1..60)
}

/// What a replica's disk has: rows since ever, and the newest checkpoint.
#[derive(Default)]
struct Disk {
    rows: Vec<(u64, Row)>,
    checkpoint: Checkpoint,
    cells: BTreeMap<Key, Vec<Part>>,
}

struct Lives {
    world: World,
    disks: Vec<Disk>,
}

impl Lives {
    fn new() -> Self {
        Lives { world: World::new(REPLICAS), disks: (0..REPLICAS).map(|_| Disk::default()).collect() }
    }

    fn log(&mut self, at: usize, row: Row) {
        let position = self.world.replicas[at].position();
        assert!(self.disks[at].rows.last().is_none_or(|(last, _)| *last < position));
        self.disks[at].rows.push((position, row));
    }

    fn deliver(&mut self, dot: Dot, to: usize) {
        let entry = self.world.entries.iter().find(|entry| entry.dot == dot).unwrap().clone();
        match self.world.replicas[to].stage_remote((*entry).clone(), NOON) {
            Staged::New => {
                self.world.replicas[to].commit();
                self.log(to, Row::Write(entry));
            }
            Staged::Duplicate | Staged::Promised => {}
            Staged::Refused(why) => panic!("{entry:?} was refused: {why}"),
        }
    }

    fn send(&mut self, from: usize, to: usize, mut choose: impl FnMut(usize) -> bool) {
        let replicas = &self.world.replicas;
        let lacking = replicas[from].clock().minus(replicas[to].clock());
        let dots: Vec<Dot> = lacking
            .flat_map(|(replica, counters)| counters.map(move |counter| Dot::new(replica, counter)))
            .collect();
        for (i, dot) in dots.into_iter().enumerate() {
            if choose(i) {
                self.deliver(dot, to);
            }
        }
    }

    fn open(&mut self, to: usize, from: usize) {
        let promise = self.world.replicas[from].promised();
        if to != from && self.world.replicas[to].session().is_none() {
            assert_eq!(self.world.replicas[to].admit_promise(&promise), Ok(()));
            self.world.replicas[to].promise(promise.clone());
            self.log(to, Row::Promised(promise));
        }
    }

    /// Takes the next slice; at the end of all, covers.
    fn slice(&mut self, to: usize, from: usize, bytes: usize) {
        let Some(session) = self.world.replicas[to].session().cloned() else { return };
        let sender = &self.world.replicas[from];
        if to == from || !sender.clock().contains_all(&session.clock) {
            return;
        }
        let slice = sender.slice_after(session.done.as_ref(), bytes);
        let is_last = matches!(&slice.extent, Extent::Range { until: None, .. });
        assert_eq!(self.world.replicas[to].admit_slice(&slice), Ok(()));
        self.world.replicas[to].join(&slice);
        self.log(to, Row::Joined(slice));
        if is_last {
            self.world.replicas[to].cover();
            self.log(to, Row::Covered);
        }
    }

    fn checkpoint(&mut self, at: usize) {
        let mut checkpoint = self.world.replicas[at].checkpoint();
        let disk = &mut self.disks[at];
        for (key, parts) in std::mem::take(&mut checkpoint.cells) {
            if parts.is_empty() {
                disk.cells.remove(&key);
            } else {
                disk.cells.insert(key, parts);
            }
        }
        disk.checkpoint = checkpoint;
    }

    fn restart(&mut self, at: usize, cut: bool) {
        let me = self.world.replicas[at].me();
        let disk = &mut self.disks[at];
        if cut {
            disk.rows.retain(|(position, _)| *position > disk.checkpoint.position);
        }
        let mut again = Replica::new(me);
        let cells = disk.cells.iter().map(|(key, parts)| (key.clone(), parts.clone())).collect();
        again.recover_checkpoint(Checkpoint { cells, ..disk.checkpoint.clone() });
        for (position, row) in &disk.rows {
            again.replay(*position, row.clone());
        }
        let alive = &self.world.replicas[at];
        // Floors that were dropped since may be back: they are nobody's to see.
        let shown = |replica: &Replica| {
            let (reads, digest, clock, _, doomed) = state(replica);
            (reads, digest, clock, doomed, replica.session().cloned())
        };
        assert_eq!(shown(&again), shown(alive));
        assert_eq!((again.clock(), again.position()), (alive.clock(), alive.position()));
        self.world.replicas[at] = again;
    }

    /// Floors may go once their replica can add nothing more that is not known here.
    fn drop_floors(&mut self, at: usize) {
        let clocks: BTreeMap<_, Clock> =
            self.world.replicas.iter().map(|replica| (replica.me(), replica.clock().clone())).collect();
        let ours = self.world.replicas[at].clock().clone();
        self.world.replicas[at].drop_floors(|replica| clocks.get(&replica) == Some(&ours));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(at, op) => {
                let before = self.world.entries.len();
                if self.world.write(at, op).is_ok() {
                    let entries = self.world.entries[before..].to_vec();
                    let first = self.world.replicas[at].position() + 1 - entries.len() as u64;
                    let rows = entries.into_iter().zip(first..);
                    self.disks[at].rows.extend(rows.map(|(entry, position)| (position, Row::Write(entry))));
                }
            }
            Step::Send(from, to, bits) => self.send(from, to, |i| bits >> (i % 64) & 1 == 1),
            Step::Open(to, from) => self.open(to, from),
            Step::Slice(to, from, bytes) => self.slice(to, from, bytes),
            Step::Break(at) => {
                self.world.replicas[at].break_promise();
                self.log(at, Row::Broken);
            }
            Step::Checkpoint(at) => self.checkpoint(at),
            Step::Restart(at, cut) => self.restart(at, cut),
            Step::DropFloors(at) => self.drop_floors(at),
        }
    }
}

type Shown = (BTreeMap<Key, crate::Read>, Digest, Digest, usize);

fn shown(replica: &Replica) -> Shown {
    let (reads, digest, clock, _, doomed) = state(replica);
    (reads, digest, clock, doomed)
}

/// A replica that was handed the entries that `replica` covers, and nothing else.
fn by_entries(lives: &Lives, replica: &Replica) -> Replica {
    let mut other = Replica::new(replica_id(9));
    for entry in lives.world.entries.iter().filter(|entry| replica.clock().covers(entry.dot)) {
        other.recover((**entry).clone());
    }
    other
}

/// Whatever happened, when the last session is over everybody converges, by cells here and by entries there, to what the
/// entries alone make (which the other laws compare with the definition).
fn cells_do_what_entries_do(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut lives = Lives::new();
    for step in steps {
        lives.step(step);
        lives.world.replicas.iter().for_each(|replica| drop(state(replica)));
    }
    // Somebody whole, by cells from everybody.
    for from in [1, 2] {
        lives.world.replicas[0].break_promise();
        lives.open(0, from);
        while lives.world.replicas[0].session().is_some() {
            lives.slice(0, from, 100);
        }
    }
    prop_assert_eq!(shown(&lives.world.replicas[0]), shown(&by_entries(&lives, &lives.world.replicas[0])));
    for to in [1, 2] {
        lives.world.replicas[to].break_promise();
        lives.send(0, to, |_| true);
        prop_assert_eq!(shown(&lives.world.replicas[to]), shown(&lives.world.replicas[0]));
    }
    Ok(())
}

macro_rules! laws {
    ($kind:ident, $op:expr) => {
        mod $kind {
            use super::*;
            proptest! {
                #![proptest_config(ProptestConfig::with_cases(256))]
                #[test]
                fn cells_do_what_entries_do(steps in steps($op)) {
                    super::cells_do_what_entries_do(steps)?;
                }
            }
        }
    };
}

laws!(registers, register());
laws!(sets, elements());
laws!(counters, counter());
laws!(flags, flag());
laws!(maps, fields());
laws!(leases, lent());
laws!(mixed, every_kind());

fn write(replica: &mut Replica, op: Op) -> Arc<crate::Entry> {
    replica.stage_local(&[op], NOON).unwrap();
    let entry = replica.staged()[0].clone();
    replica.commit();
    entry
}

fn take(to: &mut Replica, entry: &crate::Entry) -> Staged {
    let staged = to.stage_remote(entry.clone(), NOON);
    to.commit();
    staged
}

fn session(to: &mut Replica, from: &Replica) {
    to.promise(from.promised());
    to.join(&from.slice_after(None, usize::MAX));
    to.cover();
}

/// The trap that promises are for.
#[test]
fn a_late_entry_does_not_bring_back_what_the_sender_knows_to_be_removed() {
    let (mut a, mut b) = (Replica::new(replica_id(1)), Replica::new(replica_id(2)));
    let added = write(&mut a, set("k", "old"));
    let deleted = write(&mut a, delete("k", None));
    b.promise(a.promised());
    b.join(&a.slice_after(None, usize::MAX));
    assert_eq!(take(&mut b, &added), Staged::Promised);
    b.cover();
    assert_eq!((take(&mut b, &added), take(&mut b, &deleted)), (Staged::Duplicate, Staged::Duplicate));
    assert_eq!((b.len(), b.digest()), (0, a.digest()));
}

#[test]
fn absence_counts_only_within_the_slice() {
    let (mut a, mut b) = (Replica::new(replica_id(1)), Replica::new(replica_id(2)));
    let entries: Vec<_> = ["a", "b", "c", "d"].map(|k| write(&mut a, set(k, "x"))).into();
    for entry in &entries {
        assert_eq!(take(&mut b, entry), Staged::New);
    }
    ["a", "b", "c", "d"].iter().for_each(|k| drop(write(&mut a, delete(k, None))));
    b.promise(a.promised());
    let (after, until) = (Some(Place::end_of(key("a"))), Some(Place::end_of(key("c"))));
    let gone = b.join(&Slice { extent: Extent::Range { after, until }, cells: Vec::new() });
    assert_eq!(gone.len(), 2);
    assert_eq!(b.keys().map(|key| key.to_string()).collect::<Vec<_>>(), ["a", "d"]);
    let gone = b.join(&Slice { extent: Extent::Keys, cells: vec![(key("d"), Vec::new())] });
    assert_eq!((gone.len(), b.len()), (1, 1));
}

/// A large cell is told in several slices, and each part in exactly one.
#[test]
fn slices_of_any_size_tell_everything_once() {
    let mut a = Replica::new(replica_id(1));
    for i in 0..40 {
        write(&mut a, add("large", &format!("element {i:03}")));
        write(&mut a, set(&format!("key/{i:03}"), &"v".repeat(i)));
    }
    let all: BTreeSet<(Key, crate::PartId)> = a
        .slice_after(None, usize::MAX)
        .cells
        .iter()
        .flat_map(|(key, parts)| parts.iter().map(move |part| (key.clone(), part.id())))
        .collect();
    assert_eq!(all.len(), 80);
    for bytes in [1, 100, 333, 1_000, 5_000] {
        let (mut after, mut told, mut slices) = (None, BTreeSet::new(), 0);
        loop {
            let slice = a.slice_after(after.as_ref(), bytes);
            assert_eq!(slice.check(), Ok(()));
            slices += 1;
            for (key, parts) in &slice.cells {
                assert!(parts.iter().all(|part| told.insert((key.clone(), part.id()))), "told twice");
            }
            let Extent::Range { until, .. } = slice.extent else { unreachable!() };
            after = until;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(told, all);
        assert!(slices > 1);
    }
    let (two, left) = a.slice_of(&[key("large"), key("key/001"), key("none")], 300);
    assert_eq!(
        (two.cells.len(), left),
        (2, vec![key("large")]),
        "what does not fit, and an empty cell for none"
    );
}

/// A damaged cell is taken whole from a peer, and nobody is told what is left of it.
/// What a lost row had done was there when a later session compared cells, so it was not told again.
#[test]
fn a_session_after_a_lost_row_covers_nothing() {
    let mut world = World::new(2);
    let first = world.write(0, add("s", "first")).unwrap();
    let second = world.write(0, add("s", "second")).unwrap();
    world.deliver(&first, 1);
    world.deliver(&second, 1);
    world.write(0, set("other", "x")).unwrap();
    let promise = world.replicas[0].promised();
    let (slice, _) = world.replicas[0].slice_of([&key("other")], 10_000);
    let rows = |damaged: bool| {
        let second = if damaged { Row::Lost } else { Row::Write(second.clone()) };
        [
            Row::Write(first.clone()),
            second,
            Row::Promised(promise.clone()),
            Row::Joined(slice.clone()),
            Row::Covered,
        ]
    };
    for damaged in [false, true] {
        let mut again = Replica::new(replica_id(2));
        for (position, row) in (1..).zip(rows(damaged)) {
            again.replay(position, row);
        }
        assert_eq!(again.clock().covers(second.dot), !damaged);
        assert_eq!(again.contains(&key("s"), &value("second")), !damaged);
        assert!(again.get(&key("other")).is_some() && again.session().is_none());
        // What is not covered is taken again.
        world.replicas[1] = again;
        world.send(0, 1, |_| true);
        assert_eq!(shown(&world.replicas[1]), shown(&world.replicas[0]));
    }
}

#[test]
fn a_damaged_cell_is_repaired_and_not_told() {
    let (mut a, mut b) = (Replica::new(replica_id(1)), Replica::new(replica_id(2)));
    for (k, v) in [("lost", "x"), ("kept", "y")] {
        take(&mut b, &write(&mut a, set(k, v)));
    }
    let mut checkpoint = a.checkpoint();
    checkpoint.cells.retain(|(k, _)| *k == key("kept"));
    checkpoint.damaged.insert(key("lost"));
    let mut again = Replica::new(replica_id(3));
    again.recover_checkpoint(checkpoint);
    assert!(!again.is_whole());
    assert_eq!(again.len(), 1);
    // What the cell had seen is removed by a write that comes now: it stays removed.
    let overwritten = write(&mut b, set("lost", "z"));
    take(&mut again, &overwritten);
    again.promise(a.promised());
    again.join(&a.slice_of(&[key("lost")], usize::MAX).0);
    again.cover();
    assert!(again.is_whole());
    assert_eq!((again.digest(), again.doomed()), (b.digest(), 0));
    assert_eq!(again.audit().faults, []);
}

/// A counter that was reset leaves nothing behind once its floors are over.
#[test]
fn floors_go_and_do_not_come_back() {
    let (mut a, mut b) = (Replica::new(replica_id(1)), Replica::new(replica_id(2)));
    for _ in 0..3 {
        take(&mut b, &write(&mut a, increment("n", 5)));
    }
    let old = Checkpoint { cells: b.checkpoint().cells, clock: b.clock().clone(), ..Checkpoint::default() };
    let reset = write(&mut a, delete("n", None));
    take(&mut b, &reset);
    assert!(a.state_bytes() > 0 && a.digest() == Digest::EMPTY, "a floor that nobody sees");
    assert_eq!(a.drop_floors(|_| false), 0);
    assert_eq!(a.drop_floors(|_| true), 1);
    assert_eq!((a.state_bytes(), a.slice_after(None, 99).cells.len()), (0, 0));
    // Who has missed the reset and everything after is told by cells, and does not bring the count back.
    let mut absent = Replica::new(replica_id(3));
    absent.recover_checkpoint(old);
    assert_eq!(absent.len(), 1);
    session(&mut a, &absent);
    assert_eq!(a.len(), 0);
    session(&mut absent, &a);
    assert_eq!((absent.len(), absent.digest()), (0, a.digest()));
    write(&mut a, increment("n", 7));
    session(&mut b, &a);
    assert_eq!(b.get(&key("n")), Some(crate::Read::Counter(7)));
}

#[test]
fn slices_that_cannot_be_are_refused() {
    use crate::Refusal;
    let me = Replica::new(replica_id(1));
    let dot = |r, c| Dot::new(replica_id(r), c);
    let keys = |cells: Vec<(&str, Vec<Part>)>| Slice {
        extent: Extent::Keys,
        cells: cells.into_iter().map(|(k, parts)| (key(k), parts)).collect(),
    };
    let element = |r, c| Part::Element { dot: dot(r, c), element: value("e") };
    let refused = |slice: Slice| me.admit_slice(&slice).unwrap_err();
    assert_eq!(refused(keys(vec![("b", vec![]), ("a", vec![])])), Refusal::SliceMalformed);
    assert_eq!(refused(keys(vec![("a", vec![]), ("a", vec![])])), Refusal::SliceMalformed);
    assert_eq!(refused(keys(vec![("a", vec![element(2, 2), element(2, 1)])])), Refusal::SliceMalformed);
    assert_eq!(refused(keys(vec![("a", vec![element(2, 0)])])), Refusal::CounterZero);
    assert_eq!(refused(keys(vec![("a", vec![element(1, 1)])])), Refusal::FromOurFuture { counter: 1 });
    let share = |run, floor| Part::Share { replica: replica_id(2), run, floor };
    assert_eq!(refused(keys(vec![("a", vec![share(None, None)])])), Refusal::SliceMalformed);
    let run = crate::Run { start: 3, last: 2, plus: 0, minus: 0 };
    assert_eq!(refused(keys(vec![("a", vec![share(Some(run), None)])])), Refusal::RunImpossible { run });
    let mut outside = keys(vec![("b", vec![element(2, 1)])]);
    outside.extent = Extent::Range { after: None, until: Some(Place::end_of(key("a"))) };
    assert_eq!(refused(outside), Refusal::SliceMalformed);
    assert_eq!(me.admit_slice(&keys(vec![("a", vec![element(2, 1)])])), Ok(()));
}

/// Of two replicas that differ in few of many cells, each finds which, and takes nothing else.
#[test]
fn the_cells_that_differ_are_found_and_named() {
    use crate::Decoder;
    let (mut a, mut b) = (Replica::new(replica_id(1)), Replica::new(replica_id(2)));
    for i in 0..500 {
        take(&mut b, &write(&mut a, set(&format!("k{i:03}"), "x")));
    }
    // Changed, deleted, new; and something of its own at the one that is behind.
    write(&mut a, set("k007", "y"));
    write(&mut a, delete("k100", None));
    write(&mut a, add("new", "e"));
    write(&mut b, set("own", "z"));
    b.promise(a.promised());
    let mut decoder = Decoder::new(b.sketch());
    decoder.extend(&a.sketch().symbols()[..64]).unwrap();
    let difference = decoder.finish().unwrap();
    let ours: BTreeSet<u64> = difference.ours_only.into_iter().collect();
    let theirs: BTreeSet<u64> = difference.theirs_only.into_iter().collect();
    let (mine, is_each) = b.keys_of(&ours);
    assert!(is_each);
    assert_eq!(mine, ["k007", "k100", "own"].map(key).into());
    // The sender changes one of them before it is asked.
    write(&mut a, set("k007", "z"));
    let (named, is_each) = a.keys_of(&theirs);
    assert!(is_each);
    assert_eq!(named, ["k007", "new"].map(key).into());
    assert_eq!(a.keys_of(&[1].into()), (BTreeSet::new(), false), "nobody ever had that");
    let keys: BTreeSet<Key> = mine.into_iter().chain(named).collect();
    b.join(&a.slice_of(&keys, usize::MAX).0);
    b.cover();
    assert_eq!(b.get(&key("own")).unwrap(), reads(&b)[&key("own")]);
    // What the sender wrote since comes as an entry, to a cell that has it already.
    let late = a.entry(Dot::new(replica_id(1), 504)).unwrap().clone();
    assert_eq!(take(&mut b, &late), Staged::New);
    session(&mut a, &b);
    assert_eq!((a.digest(), a.clock()), (b.digest(), b.clock()));
    assert!(a.audit().is_clean() && b.audit().is_clean());
}

/// A promise resets what is counted here and has been covered.
#[test]
fn a_promised_floor_resets_a_run_that_is_covered_here() {
    let (mut a, mut b, mut c) =
        (Replica::new(replica_id(1)), Replica::new(replica_id(2)), Replica::new(replica_id(3)));
    let counted = write(&mut a, increment("n", 5));
    let reset = write(&mut a, delete("n", None));
    assert_eq!(a.drop_floors(|_| true), 1, "a covers all that it ever wrote");
    take(&mut b, &reset);
    take(&mut c, &counted);
    c.promise(b.promised());
    assert!(a.clock().contains_all(b.clock()));
    c.join(&a.slice_after(None, usize::MAX));
    c.cover();
    assert_eq!(c.clock(), a.clock());
    assert_eq!((c.get(&key("n")), c.digest()), (None, a.digest()));
}

/// A promise resets what is counted here, also where the promiser has seen the end of a run and not its beginning.
#[test]
fn a_floor_is_promised_unless_all_of_its_run_is_covered() {
    let (mut a, mut b, mut c) =
        (Replica::new(replica_id(1)), Replica::new(replica_id(2)), Replica::new(replica_id(3)));
    let first = write(&mut a, increment("n", 5));
    let second = write(&mut a, increment("n", 5));
    take(&mut b, &second);
    let reset = write(&mut b, delete("n", None));
    take(&mut a, &reset);
    assert_eq!(a.drop_floors(|_| true), 1, "a covers all that it ever wrote");
    take(&mut c, &first);
    c.promise(b.promised());
    assert!(a.clock().contains_all(b.clock()));
    c.join(&a.slice_after(None, usize::MAX));
    c.cover();
    assert_eq!(c.clock(), a.clock());
    assert_eq!((c.get(&key("n")), c.digest()), (None, a.digest()));
}

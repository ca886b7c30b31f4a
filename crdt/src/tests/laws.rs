//! The laws of every type, written once: order and repetition do not matter, replay equals life, and what a reader
//! sees is what the definition says.

use super::world::*;
use crate::{Entry, Kind, Op, Replica, Staged, Term};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

const REPLICAS: u8 = 3;

#[derive(Debug, Clone)]
enum Step {
    Write(usize, Op),
    /// From, to, and a bit for each entry that says whether it gets through.
    Send(usize, usize, u64),
}

fn steps(op: impl Strategy<Value = Op>) -> impl Strategy<Value = Vec<Step>> {
    let who = 0..usize::from(REPLICAS);
    let step = prop_oneof![
        3 => (who.clone(), op).prop_map(|(at, op)| Step::Write(at, op)),
        2 => (who.clone(), who, any::<u64>()).prop_map(|(from, to, bits)| Step::Send(from, to, bits)),
    ];
    vec(step, 1..40)
}

fn a_key() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("app/a"), Just("app/b"), Just("c")]
}

fn a_word() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("x"), Just("y"), Just("z")]
}

pub(super) fn register() -> BoxedStrategy<Op> {
    let write = (a_key(), a_word()).prop_map(|(k, v)| set(k, v));
    prop_oneof![3 => write, 1 => a_key().prop_map(|k| delete(k, None))].boxed()
}

pub(super) fn counter() -> BoxedStrategy<Op> {
    let count = (a_key(), prop_oneof![-5_i64..5, Just(i64::MIN), Just(i64::MAX)]);
    prop_oneof![4 => count.prop_map(|(k, by)| increment(k, by)), 1 => a_key().prop_map(|k| delete(k, None))]
        .boxed()
}

pub(super) fn elements() -> BoxedStrategy<Op> {
    prop_oneof![
        4 => (a_key(), a_word()).prop_map(|(k, e)| add(k, e)),
        2 => (a_key(), a_word()).prop_map(|(k, e)| remove(k, e)),
        1 => a_key().prop_map(|k| delete(k, None)),
    ]
    .boxed()
}

pub(super) fn flag() -> BoxedStrategy<Op> {
    prop_oneof![3 => a_key().prop_map(enable), 2 => a_key().prop_map(disable), 1 => a_key().prop_map(|k| delete(k, None))]
        .boxed()
}

/// What is lent merges as what is given: time does not pass here.
pub(super) fn lent() -> BoxedStrategy<Op> {
    let op = prop_oneof![
        2 => (a_key(), a_word()).prop_map(|(k, v)| set(k, v)),
        1 => (a_key(), a_word()).prop_map(|(k, e)| add(k, e)),
        1 => a_key().prop_map(enable),
    ];
    let lent = (1..5_u64, op).prop_map(|(ms, op)| lend(Term::Ms(ms), op));
    prop_oneof![3 => lent, 2 => register(), 1 => elements(), 1 => flag()].boxed()
}

/// Fields of every kind, and keys that are in the way.
pub(super) fn fields() -> BoxedStrategy<Op> {
    let place = || prop::sample::select(&["m", "m.f", "m.g", "m.g.h", "n.f"][..]);
    prop_oneof![
        3 => (place(), a_word()).prop_map(|(k, v)| set(k, v)),
        1 => (place(), a_word()).prop_map(|(k, e)| add(k, e)),
        1 => place().prop_map(|k| increment(k, 1)),
        1 => place().prop_map(enable),
        2 => place().prop_map(|k| delete(k, None)),
        1 => place().prop_map(|k| delete(k, Some(Kind::Map))),
    ]
    .boxed()
}

pub(super) fn every_kind() -> BoxedStrategy<Op> {
    let kind = prop::sample::select(&Kind::ALL[..]);
    let resolve = (a_key(), kind).prop_map(|(k, kind)| delete(k, Some(kind)));
    prop_oneof![register(), counter(), elements(), flag(), fields(), resolve].boxed()
}

/// Lives a history: writes that are not possible where they are asked for are left out, since what is tested here is
/// what the possible ones do.
fn live(steps: Vec<Step>, exact: bool) -> Result<World, TestCaseError> {
    let mut world = World::new(REPLICAS);
    world.ahead_ms[1] = 3_600_000;
    for step in steps {
        match step {
            Step::Write(at, op) => drop(world.write(at, op)),
            Step::Send(from, to, bits) => world.send(from, to, |i| bits >> (i % 64) & 1 == 1),
        }
        for at in 0..world.replicas.len() {
            state(&world.replicas[at]);
            if exact {
                prop_assert_eq!(reads(&world.replicas[at]), world.expected(at));
            }
        }
    }
    Ok(world)
}

fn everyone_converges(steps: Vec<Step>, exact: bool) -> Result<(), TestCaseError> {
    let mut world = live(steps, exact)?;
    world.converge();
    for at in 0..world.replicas.len() {
        prop_assert_eq!(reads(&world.replicas[at]), world.expected(at));
        prop_assert_eq!(state(&world.replicas[at]), state(&world.replicas[0]));
        prop_assert_eq!(world.replicas[at].clock(), world.replicas[0].clock());
        prop_assert_eq!(world.replicas[at].doomed(), 0);
    }
    Ok(())
}

/// A new replica that takes entries in this order, `batch` to a commit.
fn observer(entries: &[Arc<Entry>], batch: usize) -> Replica {
    let mut replica = Replica::new(replica_id(9));
    for chunk in entries.chunks(batch) {
        for entry in chunk {
            assert!(!matches!(replica.stage_remote((**entry).clone(), NOON), Staged::Refused(_)));
        }
        replica.commit();
    }
    replica
}

/// Any part of the entries (so with gaps, and with removals that came before what they remove), in any two orders,
/// with repetitions, in batches of any size.
fn order_does_not_matter(
    steps: Vec<Step>,
    orders: [Vec<prop::sample::Index>; 2],
    batch: usize,
) -> Result<(), TestCaseError> {
    let world = live(steps, false)?;
    prop_assume!(!world.entries.is_empty());
    let [first, second] = orders;
    let first: Vec<Arc<Entry>> = first.iter().map(|i| i.get(&world.entries).clone()).collect();
    let mut then = first.clone();
    for (i, j) in second.iter().enumerate() {
        let (i, j) = (i % then.len(), j.index(then.len()));
        then.swap(i, j);
        then.push(then[i].clone());
    }
    let (a, b) = (observer(&first, 1), observer(&then, batch));
    prop_assert_eq!(state(&a), state(&b));
    prop_assert_eq!(a.clock(), b.clock());
    Ok(())
}

fn replay_equals_life(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let world = live(steps, false)?;
    for alive in &world.replicas {
        let mut again = Replica::new(alive.me());
        for replica in alive.clock().replicas() {
            alive.entries(replica, 1..=u64::MAX).for_each(|e| assert!(again.recover((**e).clone())));
        }
        prop_assert_eq!(state(alive), state(&again));
        prop_assert_eq!(alive.clock(), again.clock());
        // It goes on where it was: the next write has the next dot.
        let dots = again.stage_local(&[set("new", "x")], NOON).unwrap();
        prop_assert_eq!(dots[0].counter, alive.clock().last(alive.me()) + 1);
    }
    Ok(())
}

/// A batch is what its operations are one by one; an aborted batch is nothing; one with an impossible operation is
/// nothing, and what was staged before it stays.
fn batches_are_all_or_nothing(steps: Vec<Step>, ops: Vec<Op>, cut: usize) -> Result<(), TestCaseError> {
    let mut world = live(steps, false)?;
    let possible: Vec<Op> = {
        let mut rehearsal = World::new(REPLICAS);
        world.entries.iter().for_each(|e| assert!(rehearsal.replicas[0].recover((**e).clone())));
        ops.into_iter().filter(|op| rehearsal.write(0, op.clone()).is_ok()).collect()
    };
    world.converge();
    let (one_by_one, rest) = world.replicas.split_at_mut(1);
    let (one_by_one, at_once) = (&mut one_by_one[0], &mut rest[0]);
    // The same replica twice, so that they may write the same dots.
    let mut again = Replica::new(one_by_one.me());
    world.entries.iter().for_each(|e| assert!(again.recover((**e).clone())));
    *at_once = again;
    let before = state(at_once);

    let cut = cut.min(possible.len());
    at_once.stage_local(&possible[..cut], NOON).unwrap();
    let (staged, bytes) = (at_once.staged().to_vec(), at_once.staged_bytes());
    let mut spoiled = possible[cut..].to_vec();
    spoiled.push(remove("nowhere", "x"));
    prop_assert!(at_once.stage_local(&spoiled, NOON).is_err());
    prop_assert_eq!((at_once.staged(), at_once.staged_bytes()), (&staged[..], bytes));
    prop_assert_eq!(&state(at_once), &before);
    at_once.abort();
    prop_assert_eq!((at_once.staged().len(), at_once.staged_bytes()), (0, 0));
    prop_assert_eq!(&state(at_once), &before);

    for op in &possible {
        one_by_one.stage_local(std::slice::from_ref(op), NOON).unwrap();
        one_by_one.commit();
    }
    // One dot for each operation, and more for a map that is deleted.
    let first = at_once.stage_local(&possible[..cut], NOON).unwrap().len();
    let rest = at_once.stage_local(&possible[cut..], NOON).unwrap().len();
    prop_assert!(first >= cut && first + rest >= possible.len());
    prop_assert_eq!(at_once.commit_first(first).len(), first);
    prop_assert_eq!(at_once.commit().len(), rest);
    prop_assert_eq!(one_by_one.clock(), at_once.clock());
    for key in ["app/a", "app/b", "c", "m", "n"].map(key) {
        let plain = |r: &Replica| r.get(&key).map(|read| without_time(&read));
        prop_assert_eq!(plain(one_by_one), plain(at_once));
    }
    Ok(())
}

/// Clock times differ between two runs of the same operations; nothing else may.
fn without_time(read: &crate::Read) -> String {
    match read {
        crate::Read::Register { value, siblings } => {
            let mut dots: Vec<_> = siblings.iter().map(|s| (s.dot, s.value.clone())).collect();
            dots.sort();
            format!("{value:?} {dots:?}")
        }
        crate::Read::Conflict(reads) => reads.iter().map(without_time).collect(),
        crate::Read::Map(fields) => {
            fields.iter().map(|(name, read)| format!("{name} {}", without_time(read))).collect()
        }
        other => format!("{other:?}"),
    }
}

macro_rules! laws {
    ($kind:ident, $op:expr, exact: $exact:expr) => {
        mod $kind {
            use super::*;
            proptest! {
                #![proptest_config(ProptestConfig::with_cases(96))]
                #[test]
                fn everyone_converges(steps in steps($op)) {
                    super::everyone_converges(steps, $exact)?;
                }
                #[test]
                fn order_does_not_matter(
                    steps in steps($op),
                    first in vec(any::<prop::sample::Index>(), 1..30),
                    second in vec(any::<prop::sample::Index>(), 1..30),
                    batch in 1_usize..8,
                ) {
                    super::order_does_not_matter(steps, [first, second], batch)?;
                }
                #[test]
                fn replay_equals_life(steps in steps($op)) {
                    super::replay_equals_life(steps)?;
                }
                #[test]
                fn batches_are_all_or_nothing(steps in steps($op), ops in vec($op, 0..12), cut in 0_usize..12) {
                    super::batches_are_all_or_nothing(steps, ops, cut)?;
                }
            }
        }
    };
}

laws!(registers, register(), exact: true);
laws!(sets, elements(), exact: true);
laws!(flags, flag(), exact: true);
laws!(maps, fields(), exact: false);
laws!(leases, lent(), exact: true);
// Entries of counters carry sums, so a replica with gaps may already count what lies in them.
laws!(counters, counter(), exact: false);
laws!(mixed, every_kind(), exact: false);

//! Whole cells do what entries do, in every order; and no mutant of their rules does.

use chinwag_crdt::Kind;
use chinwag_model::cells::mutants::*;
use chinwag_model::cells::rules::{Rules, Sound};
use chinwag_model::cells::*;
use chinwag_model::check::{explore, refute};
use chinwag_model::deltas::writes::Ask;

/// Two writes to a set, and a session that may be given up. Anybody writes, and anybody takes cells from anybody.
const SET: Bounds = Bounds {
    keys: &["a"],
    asks: &[Ask::Add, Ask::Remove],
    writers: &[0, 1, 2],
    receivers: &[0, 1, 2],
    writes: 2,
    sessions: 1,
    breaks: 1,
    drops: 0,
    checkpoints: 0,
    restarts: 0,
};
const REGISTER: Bounds = Bounds { asks: &[Ask::Set, Ask::Delete(Kind::Register)], ..SET };
const COUNTER: Bounds = Bounds { asks: &[Ask::Increment, Ask::Delete(Kind::Counter)], ..SET };
/// Writes of all kinds to one key.
const MIXED: Bounds = Bounds {
    asks: &[Ask::Set, Ask::Add, Ask::Increment, Ask::Delete(Kind::Register), Ask::Delete(Kind::Counter)],
    receivers: &[2],
    ..SET
};
/// Two keys, so that a session has a middle.
const KEYS: Bounds = Bounds { keys: &["a", "b"], asks: &[Ask::Set, Ask::Delete(Kind::Register)], ..SET };
/// One session in place of another, or after it.
const SESSIONS: Bounds = Bounds { writers: &[0, 1], receivers: &[1, 2], sessions: 2, ..SET };
/// A process ends in the middle of a session and starts again, from rows or from a checkpoint and the rows after it.
const RESTART: Bounds = Bounds { writers: &[0, 1], receivers: &[1], checkpoints: 1, restarts: 1, ..SET };
const KEYS_RESTART: Bounds = Bounds { writers: &[0], keys: &["a", "b"], asks: &[Ask::Set], ..RESTART };
/// Three writes: two that are concurrent, and one that has seen some of what became of them.
const COUNTER_LONGER: Bounds = Bounds { writes: 3, writers: &[0, 1], receivers: &[1, 2], ..COUNTER };
const SET_LONGER: Bounds = Bounds { writes: 3, ..SET };
const RESTART_LONGER: Bounds = Bounds { writers: &[0, 1, 2], receivers: &[0, 1, 2], ..RESTART };
/// Floors are dropped.
const DROPS: Bounds = Bounds { drops: 1, ..COUNTER };
const DROPS_RESTART: Bounds =
    Bounds { writers: &[0], receivers: &[1, 2], checkpoints: 1, restarts: 1, ..DROPS };
const DROPS_LONGER: Bounds = Bounds { writers: &[0, 1], receivers: &[1, 2], breaks: 0, writes: 3, ..DROPS };

/// One writes, another takes cells.
const ONE_WAY: Bounds = Bounds { writers: &[0], receivers: &[1], breaks: 0, ..SET };
const ONE_WAY_KEYS: Bounds = Bounds { keys: &["a", "b"], asks: &[Ask::Add], ..ONE_WAY };

fn refuted(rules: impl Rules, bounds: Bounds, property: &'static str) -> String {
    refute(Replicas::new(rules, bounds), property)
}

#[test]
fn cells_do_what_entries_do() {
    println!("set: {}", explore(Replicas::new(Sound, SET), 9_000));
    println!("register: {}", explore(Replicas::new(Sound, REGISTER), 9_000));
    println!("counter: {}", explore(Replicas::new(Sound, COUNTER), 7_500));
    println!("mixed kinds: {}", explore(Replicas::new(Sound, MIXED), 17_000));
    println!("two keys: {}", explore(Replicas::new(Sound, KEYS), 30_000));
}

#[test]
fn cells_do_what_entries_do_in_one_session_after_another() {
    println!("sessions: {}", explore(Replicas::new(Sound, SESSIONS), 20_000));
}

#[test]
fn cells_do_what_entries_do_for_processes_that_start_again() {
    println!("restart: {}", explore(Replicas::new(Sound, RESTART), 30_000));
    println!("two keys and restart: {}", explore(Replicas::new(Sound, KEYS_RESTART), 30_000));
}

#[test]
#[ignore = "it takes ten seconds; the shorter ones find the same mutants"]
fn cells_do_what_entries_do_in_a_longer_history_of_a_counter() {
    println!("longer counter: {}", explore(Replicas::new(Sound, COUNTER_LONGER), 60_000));
}

#[test]
#[ignore = "it takes a minute; the shorter ones find the same mutants"]
fn cells_do_what_entries_do_in_a_longer_history_of_a_set() {
    println!("longer set: {}", explore(Replicas::new(Sound, SET_LONGER), 450_000));
}

#[test]
#[ignore = "it takes a quarter of a minute; the shorter ones find the same mutants"]
fn cells_do_what_entries_do_for_anybody_who_starts_again() {
    println!("longer restart: {}", explore(Replicas::new(Sound, RESTART_LONGER), 250_000));
}

#[test]
fn floors_that_are_dropped_do_not_bring_anything_back() {
    println!("drops: {}", explore(Replicas::new(Sound, DROPS), 10_000));
    println!("drops and restart: {}", explore(Replicas::new(Sound, DROPS_RESTART), 30_000));
}

#[test]
#[ignore = "it takes a quarter of a minute; the shorter ones find the same mutants"]
fn floors_that_are_dropped_in_a_longer_history_do_not_bring_anything_back() {
    println!("longer drops: {}", explore(Replicas::new(Sound, DROPS_LONGER), 130_000));
}

#[test]
fn what_is_promised_is_not_taken_meanwhile() {
    println!("{}", refuted(PromisedIsTaken, ONE_WAY, GONE));
}

#[test]
fn a_promise_tells_what_is_doomed() {
    let bounds = Bounds { receivers: &[2], ..ONE_WAY };
    println!("{}", refuted(PromiseWithoutDoomed, bounds, GONE));
}

#[test]
fn a_promise_tells_floors() {
    let bounds = Bounds { writers: &[0], receivers: &[2], ..DROPS };
    println!("{}", refuted(PromiseWithoutFloors, bounds, EXACT));
}

#[test]
fn absence_counts_only_where_it_is_told() {
    println!("{}", refuted(AbsenceCountsEverywhere, ONE_WAY_KEYS, SURVIVES));
}

#[test]
fn nothing_is_covered_before_all_has_come() {
    println!("{}", refuted(CoveredTooEarly, ONE_WAY_KEYS, SURVIVES));
}

#[test]
fn only_who_covers_a_promise_tells_it() {
    println!("{}", refuted(AnybodyTells, ONE_WAY, SURVIVES));
}

#[test]
#[ignore = "it takes a quarter of a minute; a shorter one finds the same mutant by what its disk makes"]
fn what_is_given_up_is_not_resumed() {
    let bounds = Bounds { asks: &[Ask::Set], writes: 3, breaks: 1, restarts: 1, ..ONE_WAY_KEYS };
    println!("{}", refuted(BrokenIsNotLogged, bounds, GONE));
}

#[test]
fn a_disk_that_does_not_know_what_was_given_up_makes_another_replica() {
    println!("{}", refuted(BrokenIsNotLogged, Bounds { breaks: 1, ..ONE_WAY }, REPLAYED));
}

#[test]
fn floors_stay_while_what_they_take_may_come() {
    let bounds = Bounds { sessions: 0, breaks: 0, ..DROPS };
    println!("{}", refuted(FloorsGoUnseen, bounds, EXACT));
}

#[test]
fn floors_stay_while_their_run_may_grow() {
    let bounds = Bounds { sessions: 0, breaks: 0, writes: 3, writers: &[0, 1], ..DROPS };
    println!("{}", refuted(FloorsGoTooEarly, bounds, EXACT));
}

#[test]
fn floors_that_nobody_sees_are_told() {
    let bounds = Bounds { writes: 3, writers: &[0, 1], receivers: &[2], breaks: 0, ..COUNTER };
    println!("{}", refuted(FloorsAreNotTold, bounds, EXACT));
}

#[test]
fn a_promise_keeps_its_gaps() {
    println!("{}", refuted(PromiseWithoutGaps, ONE_WAY_KEYS, SURVIVES));
}

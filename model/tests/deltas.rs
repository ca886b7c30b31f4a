//! The delta rule holds, and no mutant of it does.

use chinwag_crdt::Kind;
use chinwag_model::check::{explore, refute};
use chinwag_model::deltas::mutants::*;
use chinwag_model::deltas::rules::{Rules, Sound};
use chinwag_model::deltas::writes::Ask;
use chinwag_model::deltas::*;

/// Three writes to a set, durable and sent at once.
const SET: Bounds = Bounds {
    asks: &[Ask::Add, Ask::Remove, Ask::Delete(Kind::Set)],
    writes: 3,
    crashes: 0,
    aborts: 0,
    is_atomic: true,
};
const REGISTER: Bounds = Bounds { asks: &[Ask::Set, Ask::Delete(Kind::Register)], ..SET };
const COUNTER: Bounds = Bounds { asks: &[Ask::Increment, Ask::Delete(Kind::Counter)], ..SET };
/// Four writes: two that are concurrent, and two that have seen what became of them.
const SET_LONGER: Bounds = Bounds { asks: &[Ask::Add, Ask::Remove], writes: 4, ..SET };
const REGISTER_LONGER: Bounds = Bounds { asks: &[Ask::Set], writes: 4, ..SET };
/// Writes of all kinds to one key.
const MIXED: Bounds = Bounds {
    asks: &[Ask::Set, Ask::Add, Ask::Increment, Ask::Delete(Kind::Register), Ask::Delete(Kind::Counter)],
    writes: 2,
    ..SET
};
/// Writes and arrivals are staged first, then durable, or lost.
const STAGED: Bounds =
    Bounds { asks: &[Ask::Add, Ask::Remove], writes: 2, aborts: 1, is_atomic: false, ..SET };
/// A process ends and starts again, perhaps from an old disk.
const CRASH: Bounds = Bounds { writes: 2, crashes: 1, ..REGISTER };
const COUNTER_CRASH: Bounds = Bounds { writes: 2, crashes: 1, ..COUNTER };
/// A process ends with something staged.
const STAGED_CRASH: Bounds = Bounds { asks: &[Ask::Set], aborts: 0, crashes: 1, ..STAGED };

fn refuted(rules: impl Rules, bounds: Bounds, property: &'static str) -> String {
    refute(Replicas::new(rules, bounds), property)
}

#[test]
fn the_delta_rule_holds_for_durable_writes() {
    println!("set: {}", explore(Replicas::new(Sound, SET), 8_000));
    println!("register: {}", explore(Replicas::new(Sound, REGISTER), 5_000));
    println!("counter: {}", explore(Replicas::new(Sound, COUNTER), 3_500));
    println!("mixed kinds: {}", explore(Replicas::new(Sound, MIXED), 900));
}

#[test]
#[ignore = "it takes some ten seconds; the shorter ones find the same mutants"]
fn the_delta_rule_holds_for_a_longer_history_of_a_register() {
    println!("longer register: {}", explore(Replicas::new(Sound, REGISTER_LONGER), 30_000));
}

#[test]
#[ignore = "it takes half a minute; the shorter ones find the same mutants"]
fn the_delta_rule_holds_for_a_longer_history_of_a_set() {
    println!("longer set: {}", explore(Replicas::new(Sound, SET_LONGER), 110_000));
}

#[test]
fn the_delta_rule_holds_for_what_is_staged() {
    println!("staged: {}", explore(Replicas::new(Sound, STAGED), 70_000));
}

#[test]
fn the_delta_rule_holds_for_processes_that_start_again() {
    println!("crash: {}", explore(Replicas::new(Sound, CRASH), 2_000));
    println!("counter and crash: {}", explore(Replicas::new(Sound, COUNTER_CRASH), 1_700));
    println!("staged and crash: {}", explore(Replicas::new(Sound, STAGED_CRASH), 150_000));
}

#[test]
fn a_clock_without_gaps_covers_what_never_came() {
    println!("{}", refuted(ClockWithoutGaps, SET, COVERED));
}

#[test]
fn a_removed_dot_is_not_covered_before_its_entry_comes() {
    println!("{}", refuted(RemovedIsCovered, REGISTER, GONE));
}

#[test]
fn a_removal_that_comes_first_is_remembered() {
    println!("{}", refuted(NothingIsDoomed, SET, EQUAL));
}

#[test]
fn removals_are_not_ignored() {
    println!("{}", refuted(RemovalsAreIgnored, SET, GONE));
}

#[test]
fn a_concurrent_add_survives() {
    println!("{}", refuted(RemoveTakesWhatItFinds, SET, SURVIVES));
}

#[test]
fn what_is_staged_is_not_sent() {
    println!("{}", refuted(StagedIsSent, STAGED, ONE_DOT));
}

#[test]
fn what_is_staged_is_not_covered() {
    println!("{}", refuted(StagedIsCovered, STAGED, COVERED));
}

#[test]
fn a_new_process_has_a_new_generation() {
    println!("{}", refuted(GenerationIsKept, CRASH, ONE_DOT));
}

#[test]
fn a_process_with_an_old_generation_is_refused_its_own_writes() {
    println!("{}", refuted(GenerationIsKept, CRASH, TAKEN));
}

#[test]
fn what_comes_twice_counts_once() {
    println!("{}", refuted(DuplicatesCount, COUNTER, EXACT));
}

#[test]
fn seeing_decides_and_not_the_clock() {
    println!("{}", refuted(ClockTimeDecides, REGISTER, REPLACED));
}

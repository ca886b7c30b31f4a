//! Rules that are wrong in one place each. The checker must find a counterexample to every one.

use super::rules::Rules;
use chinwag_crdt::{Clock, Dot, Extent, Part, Promise, Replica, Slice};

/// Entries that are promised are taken while the session is open.
#[derive(Debug, Clone, Copy)]
pub struct PromisedIsTaken;

impl Rules for PromisedIsTaken {
    fn takes_what_is_promised(&self) -> bool {
        true
    }
}

/// A promise does not tell what was removed before it came.
#[derive(Debug, Clone, Copy)]
pub struct PromiseWithoutDoomed;

impl Rules for PromiseWithoutDoomed {
    fn promised(&self, replica: &Replica) -> Promise {
        Promise { doomed: Vec::new(), ..replica.promised() }
    }
}

/// A promise does not tell what was reset before it came.
#[derive(Debug, Clone, Copy)]
pub struct PromiseWithoutFloors;

impl Rules for PromiseWithoutFloors {
    fn promised(&self, replica: &Replica) -> Promise {
        Promise { floors: Vec::new(), ..replica.promised() }
    }
}

/// What is absent from a slice counts as removed wherever it lies.
#[derive(Debug, Clone, Copy)]
pub struct AbsenceCountsEverywhere;

impl Rules for AbsenceCountsEverywhere {
    fn joined(&self, slice: &Slice) -> Vec<Slice> {
        let everywhere = Extent::Range { after: None, until: None };
        vec![Slice { extent: everywhere, cells: slice.cells.clone() }, slice.clone()]
    }
}

/// The clock is covered with the first slice.
#[derive(Debug, Clone, Copy)]
pub struct CoveredTooEarly;

impl Rules for CoveredTooEarly {
    fn is_last(&self, _: &Slice) -> bool {
        true
    }
}

/// Slices are taken from anybody.
#[derive(Debug, Clone, Copy)]
pub struct AnybodyTells;

impl Rules for AnybodyTells {
    fn may_tell(&self, _: &Replica, _: &Clock) -> bool {
        true
    }
}

/// That a session was given up is not in the log.
#[derive(Debug, Clone, Copy)]
pub struct BrokenIsNotLogged;

impl Rules for BrokenIsNotLogged {
    fn logs_what_is_broken(&self) -> bool {
        false
    }
}

/// Floors are dropped while increments of their run are still on their way.
#[derive(Debug, Clone, Copy)]
pub struct FloorsGoUnseen;

impl Rules for FloorsGoUnseen {
    fn drops_floors(&self, _: bool, begins_anew: bool) -> bool {
        begins_anew
    }
}

/// Floors are dropped while their run may still grow.
#[derive(Debug, Clone, Copy)]
pub struct FloorsGoTooEarly;

impl Rules for FloorsGoTooEarly {
    fn drops_floors(&self, knows_all: bool, _: bool) -> bool {
        knows_all
    }
}

/// Floors that stand alone are not told: nobody can see them, so two cells that differ in them alone look equal.
#[derive(Debug, Clone, Copy)]
pub struct FloorsAreNotTold;

impl Rules for FloorsAreNotTold {
    fn joined(&self, slice: &Slice) -> Vec<Slice> {
        let mut slice = slice.clone();
        for (_, parts) in &mut slice.cells {
            parts.retain(|part| !matches!(part, Part::Share { run: None, .. }));
        }
        vec![slice]
    }
}

/// The clock of a promise has no gaps: the highest counter of a writer stands for all below it.
#[derive(Debug, Clone, Copy)]
pub struct PromiseWithoutGaps;

fn without_gaps(clock: &Clock) -> Clock {
    let mut whole = Clock::new();
    for replica in clock.replicas() {
        for counter in 1..=clock.last(replica) {
            whole.insert(Dot::new(replica, counter));
        }
    }
    whole
}

impl Rules for PromiseWithoutGaps {
    fn promised(&self, replica: &Replica) -> Promise {
        Promise { clock: without_gaps(replica.clock()), ..replica.promised() }
    }

    fn may_tell(&self, replica: &Replica, clock: &Clock) -> bool {
        without_gaps(replica.clock()).contains_all(clock)
    }
}

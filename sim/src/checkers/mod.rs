//! What must hold of every run. Each checker reads the stream of observations and says what it saw that may not be.
//!
//! A checker that cannot fail is worth nothing: each has a test beside it that shows it a history in which something
//! is wrong, and the mutants of `sim/tests` are cores with one rule broken, each of which some checker must catch.

mod bits;
mod excuses;
mod faults;
mod ledger;
mod reads;
mod registers;

pub mod acknowledged;
pub mod bounds;
pub mod convergence;
pub mod counters;
pub mod crash_known;
pub mod false_death;
pub mod incarnations;
pub mod reach;
pub mod records;
pub mod resurrection;
pub mod set_full;
pub mod tokens;

#[cfg(test)]
mod history;

pub use acknowledged::Acknowledged;
pub use bounds::Bounds;
pub use convergence::Convergence;
pub use counters::Counters;
pub use crash_known::{CrashKnown, Detection};
pub use false_death::FalseDeath;
pub use incarnations::Incarnations;
pub use reach::Reach;
pub use records::Records;
pub use resurrection::Resurrection;
pub use set_full::SetFull;
pub use tokens::Tokens;

use crate::observation::Observation;
use chinwag_base::Moment;
use serde::Serialize;
use std::any::Any;
use std::time::Duration;

/// Something that may not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which checker saw it.
    pub checker: &'static str,
    /// When, in virtual milliseconds since the run began.
    pub at_ms: u64,
    /// What, for people.
    pub what: String,
}

/// Reads the observations of one run, in order, and says what is wrong.
pub trait Checker: Any {
    /// The checker's name.
    fn name(&self) -> &'static str;

    /// Takes the next observation. What is wrong is pushed to `wrong`.
    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>);

    /// What it has really looked at: names and counts. A run in which all are zero has shown nothing.
    fn looked_at(&self) -> Vec<(&'static str, u64)>;
}

/// How long things may take, by what a run has in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// From a crash until everybody who runs, and whom no fault disturbs, knows of it.
    pub crash_known: Duration,
    /// From [`Healed`](crate::observation::Fact::Healed) until [`Meshed`](crate::observation::Fact::Meshed).
    pub meshed: Duration,
    /// From `Meshed` until all digests are equal: three anti-entropy rounds, and the time that the data takes.
    pub converged: Duration,
    /// For so long after a cut or a pause an accusation may still be its consequence.
    pub aftermath: Duration,
}

/// Every checker there is.
pub fn all(patience: Patience) -> Checkers {
    Checkers::new(vec![
        Box::new(Acknowledged::default()),
        Box::new(SetFull::default()),
        Box::new(Resurrection::default()),
        Box::new(Counters::default()),
        Box::new(Convergence::new(patience.clone())),
        Box::new(Tokens::default()),
        Box::new(Incarnations::default()),
        Box::new(FalseDeath::new(patience.aftermath)),
        Box::new(CrashKnown::new(patience)),
        Box::new(Bounds::default()),
        Box::new(Records::default()),
        Box::new(Reach::default()),
    ])
}

/// All checkers over one stream.
pub struct Checkers {
    all: Vec<Box<dyn Checker>>,
    violations: Vec<Violation>,
}

/// Violations of each checker that are kept of one run; the first ones tell most.
const VIOLATIONS_MAX: usize = 20;

impl Checkers {
    /// These checkers.
    pub fn new(all: Vec<Box<dyn Checker>>) -> Self {
        Checkers { all, violations: Vec::new() }
    }

    /// Shows an observation to all of them.
    pub fn observe(&mut self, observation: &Observation) {
        let mut wrong = Vec::new();
        for checker in &mut self.all {
            checker.observe(observation, &mut wrong);
            for what in wrong.drain(..) {
                let of_this = self.violations.iter().filter(|v| v.checker == checker.name()).count();
                if of_this < VIOLATIONS_MAX {
                    let at_ms = observation.at.since(Moment::ZERO).as_millis() as u64;
                    self.violations.push(Violation { checker: checker.name(), at_ms, what });
                }
            }
        }
    }

    /// What was wrong so far, in the order in which it was seen.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The checker of this type, if it is among them: for what it has counted and timed.
    pub fn get<T: Checker>(&self) -> Option<&T> {
        self.all.iter().find_map(|checker| (checker.as_ref() as &dyn Any).downcast_ref())
    }

    /// What all of them have really looked at.
    pub fn looked_at(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.all.iter().flat_map(|checker| checker.looked_at())
    }
}

#[cfg(test)]
mod tests {
    use super::history::*;
    use super::*;
    use crate::observation::{Fact, Host};

    #[test]
    fn each_checker_sees_all_and_has_names_of_its_own() {
        let mut checkers = all(patience());
        for value in 0..200 {
            let measured =
                Fact::Measured { host: Host(value), bound: "QUEUE_MAX", value: value.into(), max: 50 };
            checkers.observe(&at(7, measured));
        }
        assert_eq!(checkers.violations().len(), VIOLATIONS_MAX);
        assert_eq!((checkers.violations()[0].checker, checkers.violations()[0].at_ms), ("bounds", 7));
        assert!(checkers.looked_at().any(|it| it == ("sizes measured", 200)));
        let names: std::collections::BTreeSet<_> = checkers.all.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), checkers.all.len());
        let counts: std::collections::BTreeSet<_> = checkers.looked_at().map(|(name, _)| name).collect();
        assert_eq!(counts.len(), checkers.looked_at().count());
    }

    #[test]
    fn a_checker_is_found_by_its_type() {
        let checkers = all(patience());
        assert_eq!(checkers.get::<CrashKnown>().map(|it| it.detections().len()), Some(0));
        assert_eq!(checkers.get::<Convergence>().and_then(|it| it.converged_ms()), None);
        assert!(Checkers::new(Vec::new()).get::<FalseDeath>().is_none());
    }
}

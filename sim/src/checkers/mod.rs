//! What must hold of every run. Each checker reads the stream of observations and says what it saw that may not be.
//!
//! A checker that cannot fail is worth nothing: each has a test beside it that shows it a history in which something
//! is wrong, and the mutants of `sim/tests` are cores with one rule broken, each of which some checker must catch.

use crate::observation::Observation;
use chinwag_base::Moment;
use serde::Serialize;
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
pub trait Checker {
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

/// All checkers over one stream.
pub struct Checkers {
    all: Vec<Box<dyn Checker>>,
    violations: Vec<Violation>,
}

/// Violations that are kept of one run; the first ones tell most.
const VIOLATIONS_MAX: usize = 100;

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
                if self.violations.len() < VIOLATIONS_MAX {
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

    /// What all of them have really looked at.
    pub fn looked_at(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.all.iter().flat_map(|checker| checker.looked_at())
    }
}

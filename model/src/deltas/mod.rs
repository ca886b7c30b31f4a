//! The delta rule: three replicas, and log entries that arrive in any order, any number of times.
//!
//! Almeida, Shoker and Baquero (*Delta state replicated data types*, 2018, section 7) prove that causal CRDTs converge
//! when deltas are joined in causal order. [`chinwag_crdt::Replica`] joins entries in *any* order, which is a
//! departure (see its crate's documentation). Here a checker looks at every order, on real replicas.
//!
//! # State
//!
//! Three replicas, one key, and the set of all entries ever sent. It only grows, and each entry stays deliverable to
//! everybody: that is delay, duplication and reordering; a loss is a delivery that never happens. An entry is sent
//! when it is durable. The first replica's clock is an hour ahead.
//!
//! # Actions
//!
//! A replica writes; it receives an entry, even one that it has or wrote itself; what it has staged becomes durable
//! or is known not to have; its process ends and starts again from its log, perhaps from a disk that has lost the
//! newest entry (it went back in time). Where [`Bounds::is_atomic`], writing and receiving are durable at once.
//!
//! # Properties
//!
//! Those in [`Replicas::properties`]. What must be seen is defined by [`writes`], in three lines and without any of
//! the replica's means: what was brought and has not been replaced by a write that had seen it.
//!
//! # What is exhaustive, and what is bounded
//!
//! All orders of all actions are tried, without a depth bound. Bounded are the writes, the crashes and the aborted
//! commits in one run, and the kinds of operations ([`Bounds`]).

pub mod library;
pub mod mutants;
pub mod rules;
pub mod writes;

use library::{Image, ImageId, Library, Step};
use rules::Rules;
use stateright::{Model, Property};
use std::collections::BTreeSet;
use std::sync::Arc;
use writes::{Ask, WriteId};

/// Replicas that were handed the same entries have equal digests, clocks and reads.
pub const EQUAL: &str = "the same entries make the same state";
/// The clock covers a dot if and only if its entry was handed over and is durable.
pub const COVERED: &str = "the clock covers what was applied, and nothing else";
/// No read shows what a write has replaced or removed that is here too.
pub const GONE: &str = "what is removed stays away";
/// Every read shows what no write that is here has replaced or removed.
pub const SURVIVES: &str = "what no remove has seen survives";
/// Who has all entries reads the sum of all increments that no reset has seen.
pub const EXACT: &str = "a counter is exact once all is delivered";
/// The value that a register shows has not been replaced.
pub const REPLACED: &str = "a write that has seen another replaces it";
/// No two writes that were sent have one dot.
pub const ONE_DOT: &str = "a dot names one write";
/// Entries of honest replicas are taken.
pub const TAKEN: &str = "no honest entry is refused";

/// How much happens in one run.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// What clients ask for.
    pub asks: &'static [Ask],
    /// Writes in all, aborted ones included.
    pub writes: u8,
    /// Processes that end and start again.
    pub crashes: u8,
    /// Commits that are known to have failed.
    pub aborts: u8,
    /// Whether everything is durable at once.
    pub is_atomic: bool,
}

/// The model: three replicas under some [`Rules`].
#[derive(Debug)]
pub struct Replicas<R> {
    rules: R,
    bounds: Bounds,
    library: Arc<Library<R>>,
}

impl<R: Rules> Clone for Replicas<R> {
    fn clone(&self) -> Self {
        Replicas { rules: self.rules.clone(), bounds: self.bounds, library: self.library.clone() }
    }
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Run {
    /// The replicas, by their numbers in the library.
    pub replicas: [ImageId; 3],
    /// All that was ever sent.
    pub network: BTreeSet<WriteId>,
    /// Writes so far.
    pub writes: u8,
    /// Crashes so far.
    pub crashes: u8,
    /// Aborted commits so far.
    pub aborts: u8,
}

/// One step of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// Whose.
    pub at: usize,
    /// Which.
    pub step: Step,
}

impl<R: Rules> Replicas<R> {
    /// The model under `rules`, within `bounds`.
    pub fn new(rules: R, bounds: Bounds) -> Self {
        Replicas { rules: rules.clone(), bounds, library: Arc::new(Library::new(rules)) }
    }

    fn images(&self, run: &Run) -> [Arc<Image>; 3] {
        run.replicas.map(|id| self.library.image(id))
    }

    fn every(&self, run: &Run, holds: impl Fn(&Image) -> bool) -> bool {
        self.images(run).iter().all(|image| holds(image))
    }

    /// Whether an image's clock covers, of all that exists, what it was handed.
    fn clock_is_right(&self, run: &Run, image: &Image) -> bool {
        let exists = run.network.iter().chain(&image.staged);
        exists.into_iter().all(|id| self.library.covers(image, *id) == image.delivered.contains(id))
    }
}

impl<R: Rules> Model for Replicas<R> {
    type State = Run;
    type Action = Action;

    fn init_states(&self) -> Vec<Run> {
        let replicas = [0, 1, 2].map(|at| self.library.blank(at));
        vec![Run { replicas, network: BTreeSet::new(), writes: 0, crashes: 0, aborts: 0 }]
    }

    fn actions(&self, run: &Run, actions: &mut Vec<Action>) {
        for at in 0..3 {
            let mut push = |step| actions.push(Action { at, step });
            if run.writes < self.bounds.writes {
                self.bounds.asks.iter().for_each(|ask| push(Step::Local(*ask)));
            }
            run.network.iter().for_each(|id| push(Step::Remote(*id)));
            if !self.bounds.is_atomic {
                push(Step::Commit);
            }
            if run.aborts < self.bounds.aborts {
                push(Step::Abort);
            }
            if run.crashes < self.bounds.crashes {
                [false, true].into_iter().for_each(|is_disk_old| push(Step::Crash { is_disk_old }));
            }
        }
    }

    fn next_state(&self, before: &Run, Action { at, step }: Action) -> Option<Run> {
        let mut run = before.clone();
        let mut after = self.library.step(run.replicas[at], step)?;
        match step {
            Step::Local(_) => run.writes += 1,
            Step::Crash { .. } => run.crashes += 1,
            Step::Abort => run.aborts += 1,
            Step::Recover(_) | Step::Remote(_) | Step::Commit => {}
        }
        if self.rules.sends_what_is_staged() {
            run.network.extend(&self.library.image(after).staged);
        }
        if self.bounds.is_atomic && matches!(step, Step::Local(_) | Step::Remote(_)) {
            after = self.library.step(after, Step::Commit)?;
        }
        run.replicas[at] = after;
        run.network.extend(&self.library.image(after).delivered);
        (run != *before).then_some(run)
    }

    fn format_action(&self, Action { at, step }: &Action) -> String {
        match step {
            Step::Recover(id) => format!("replica {at} recovers {}", self.library.describe(*id)),
            Step::Remote(id) => format!("replica {at} receives {}", self.library.describe(*id)),
            Step::Local(ask) => format!("replica {at} writes {ask:?}"),
            Step::Commit | Step::Abort | Step::Crash { .. } => format!("replica {at}: {step:?}"),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(EQUAL, |model, run: &Run| model.every(run, |image| !image.differs)),
            Property::always(COVERED, |model, run: &Run| {
                model.every(run, |image| model.clock_is_right(run, image))
            }),
            Property::always(GONE, |model, run: &Run| model.every(run, |image| !image.verdict.shows_dead)),
            Property::always(SURVIVES, |model, run: &Run| {
                model.every(run, |image| !image.verdict.hides_live)
            }),
            Property::always(EXACT, |model, run: &Run| {
                model.every(run, |image| image.verdict.is_exact || image.delivered != run.network)
            }),
            Property::always(REPLACED, |model, run: &Run| {
                model.every(run, |image| image.verdict.winner_is_live)
            }),
            Property::always(ONE_DOT, |model, run: &Run| {
                let dots: BTreeSet<_> = run.network.iter().map(|id| model.library.dot(*id)).collect();
                dots.len() == run.network.len()
            }),
            Property::always(TAKEN, |model, run: &Run| model.every(run, |image| !image.has_refused)),
            Property::sometimes("all have all", |model, run: &Run| {
                run.writes == model.bounds.writes && model.every(run, |image| image.delivered == run.network)
            }),
        ]
    }
}

//! Whole cells: three replicas, sessions in any order with entries, and processes that start again in the middle.
//!
//! Whoever is too far behind for the log takes cells without the history that led to them, and what is absent there and
//! covered counts as removed (Almeida, Shoker, Baquero 2018, section 7). [`chinwag_crdt::Replica`] lets a session take
//! slice after slice, from senders that move on meanwhile, while entries of what was not promised keep coming; it may be
//! given up in the middle, and resumed by the next process. Here a checker looks at every order, on real replicas.
//!
//! # State
//!
//! Three replicas with their disks, one key or two, and the set of all writes. Each write's entry stays deliverable to
//! everybody; an entry that nobody has any more, because the log was cut, is one that is never delivered, and every
//! write has runs in which it is not. Likewise a promise or a slice that travelled for long is one that was made by a
//! replica that has stood still since.
//!
//! # Actions
//!
//! A replica writes; it receives an entry; it opens a session with another, in place of any that is open; it takes the next
//! slice, of one part or of all, from anybody who covers what was promised, in the middle of a session or not; it
//! covers when all has come; it gives up; it drops floors of resets; it writes a checkpoint; its process ends and starts
//! again, as a new generation, from the checkpoint and the rows after it. Everything is durable at once: what is
//! staged is the matter of [`deltas`](crate::deltas), and nothing is staged when a slice is joined.
//!
//! # Properties
//!
//! Those in [`Replicas::properties`], against the definition in [`writes`]. In the middle of a session, and after one that
//! was given up, cells may know more than the clock says. So what a replica must show *exactly* is asked of those only that
//! cover all writes; of all others, at every moment, that they show what they cover and is live, and show nothing
//! that they cover the removal of.
//!
//! # What is exhaustive, and what is bounded
//!
//! All orders of all actions are tried, without a depth bound. Bounded is how often each happens in one run, and by whom
//! ([`Bounds`]). Left out: damaged cells, disks that lose rows, and sessions by key instead of by range.

pub mod library;
pub mod life;
pub mod mutants;
pub mod rules;
pub mod writes;

use crate::deltas::writes::Ask;
use library::{Image, ImageId, Library, Verdict};
use life::Step;
use rules::Rules;
use stateright::{Model, Property};
use std::collections::BTreeSet;
use std::sync::Arc;
use writes::WriteId;

/// Who covers all writes is what a new replica is that has read all entries: reads, digest, clock, doomed dots.
pub const SAME: &str = "cells do what the entries did";
/// Who covers all writes shows what the definition says, and its counters are exact.
pub const EXACT: &str = "who covers all shows what is live, exactly";
/// What a write that is covered has removed is not shown.
pub const GONE: &str = "what is removed stays away";
/// What is covered, and removed by nobody, is shown.
pub const SURVIVES: &str = "what is covered and live is shown";
/// The replica that a disk makes is the one that wrote it, floors that were dropped apart.
pub const REPLAYED: &str = "the disk makes the same replica";
/// Entries, promises and slices of honest replicas are taken.
pub const TAKEN: &str = "nothing honest is refused";

/// How much happens in one run, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The keys.
    pub keys: &'static [&'static str],
    /// What clients ask for.
    pub asks: &'static [Ask],
    /// Of whom they ask.
    pub writers: &'static [usize],
    /// Who opens sessions.
    pub receivers: &'static [usize],
    /// Writes in all.
    pub writes: u8,
    /// Sessions that are opened.
    pub sessions: u8,
    /// Sessions that are given up.
    pub breaks: u8,
    /// Times that floors are dropped.
    pub drops: u8,
    /// Checkpoints.
    pub checkpoints: u8,
    /// Processes that end and start again.
    pub restarts: u8,
}

/// How much has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Count {
    /// Sessions that were opened.
    pub sessions: u8,
    /// Sessions that were given up.
    pub breaks: u8,
    /// Times that floors were dropped.
    pub drops: u8,
    /// Checkpoints.
    pub checkpoints: u8,
    /// Restarts.
    pub restarts: u8,
}

/// The model: three replicas under some [`Rules`].
#[derive(Debug)]
pub struct Replicas<R> {
    bounds: Bounds,
    library: Arc<Library<R>>,
}

impl<R> Clone for Replicas<R> {
    fn clone(&self) -> Self {
        Replicas { bounds: self.bounds, library: self.library.clone() }
    }
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Run {
    /// The replicas, by their numbers in the library.
    pub replicas: [ImageId; 3],
    /// All writes.
    pub made: BTreeSet<WriteId>,
    /// How much has happened.
    pub count: Count,
}

/// One step of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Whose.
    pub at: usize,
    /// From whom what it takes comes, if it is a promise or a slice.
    pub from: Option<usize>,
    /// Which.
    pub step: Step,
}

impl<R: Rules> Replicas<R> {
    /// The model under `rules`, within `bounds`.
    pub fn new(rules: R, bounds: Bounds) -> Self {
        Replicas { bounds, library: Arc::new(Library::new(rules, bounds.keys)) }
    }

    fn images(&self, run: &Run) -> [Arc<Image>; 3] {
        run.replicas.map(|id| self.library.image(id))
    }

    fn every(&self, run: &Run, holds: impl Fn(Verdict) -> bool) -> bool {
        run.replicas.iter().all(|id| holds(self.library.judge(*id, &run.made)))
    }

    fn entries(&self, run: &Run, image: &Image) -> Vec<Step> {
        let new = run.made.iter().copied().filter(|id| !self.library.covers(image, *id));
        new.map(Step::Entry).collect()
    }

    fn session(&self, run: &Run, images: &[Arc<Image>; 3], at: usize, actions: &mut Vec<Action>) {
        let (bounds, count) = (&self.bounds, &run.count);
        let others = [0, 1, 2].into_iter().filter(|from| *from != at);
        let mut told = BTreeSet::new();
        for from in others {
            let mut push = |step| actions.push(Action { at, from: Some(from), step });
            if count.sessions < bounds.sessions && bounds.receivers.contains(&at) {
                push(Step::Promise(self.library.promise(&images[from])));
            }
            for bytes in [1, usize::MAX] {
                let slice = self.library.slice(&images[from], &images[at], bytes);
                slice
                    .filter(|slice| told.insert(*slice))
                    .into_iter()
                    .for_each(|slice| push(Step::Join(slice)));
            }
        }
        let mut push = |step| actions.push(Action { at, from: None, step });
        if images[at].life.is_told {
            push(Step::Cover);
        }
        if images[at].replica().session().is_some() && count.breaks < bounds.breaks {
            push(Step::Break);
        }
    }
}

impl<R: Rules> Model for Replicas<R> {
    type State = Run;
    type Action = Action;

    fn init_states(&self) -> Vec<Run> {
        let replicas = [0, 1, 2].map(|at| self.library.blank(at));
        vec![Run { replicas, made: BTreeSet::new(), count: Count::default() }]
    }

    fn actions(&self, run: &Run, actions: &mut Vec<Action>) {
        let images = self.images(run);
        let (bounds, count) = (&self.bounds, &run.count);
        for (at, image) in images.iter().enumerate() {
            let mut push = |step| actions.push(Action { at, from: None, step });
            if run.made.len() < usize::from(bounds.writes) && bounds.writers.contains(&at) {
                for key in 0..bounds.keys.len() {
                    let local = |ask: &Ask| Step::Local { ask: *ask, key, count: run.made.len() };
                    bounds.asks.iter().map(local).for_each(&mut push);
                }
            }
            self.entries(run, image).into_iter().for_each(&mut push);
            if count.drops < bounds.drops {
                push(Step::DropFloors(self.library.over(image, &images, &run.made)));
            }
            if count.checkpoints < bounds.checkpoints {
                push(Step::Checkpoint);
            }
            if count.restarts < bounds.restarts {
                push(Step::Restart);
            }
            self.session(run, &images, at, actions);
        }
    }

    fn next_state(&self, before: &Run, Action { at, step, .. }: Action) -> Option<Run> {
        let mut run = before.clone();
        let (after, write) = self.library.step(run.replicas[at], &step)?;
        run.replicas[at] = after;
        run.made.extend(write);
        if run == *before {
            return None;
        }
        match step {
            Step::Promise(_) => run.count.sessions += 1,
            Step::Break => run.count.breaks += 1,
            Step::DropFloors(_) => run.count.drops += 1,
            Step::Checkpoint => run.count.checkpoints += 1,
            Step::Restart => run.count.restarts += 1,
            Step::Local { .. } | Step::Entry(_) | Step::Join(_) | Step::Cover => {}
        }
        Some(run)
    }

    fn format_action(&self, Action { at, from, step }: &Action) -> String {
        let from = from.map(|from| format!(" from replica {from}")).unwrap_or_default();
        match step {
            Step::Local { ask, key, .. } => {
                format!("replica {at} writes {ask:?} to `{}`", self.bounds.keys[*key])
            }
            Step::Entry(id) => format!("replica {at} receives {}", self.library.describe(*id)),
            other => format!("replica {at}{from}: {}", self.library.describe_message(other)),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAME, |model, run: &Run| model.every(run, |verdict| verdict.is_as_by_entries)),
            Property::always(EXACT, |model, run: &Run| {
                model.every(run, |verdict| verdict.is_exact || !verdict.covers_all)
            }),
            Property::always(GONE, |model, run: &Run| model.every(run, |verdict| !verdict.shows_dead)),
            Property::always(SURVIVES, |model, run: &Run| model.every(run, |verdict| !verdict.hides_live)),
            Property::always(REPLAYED, |model, run: &Run| {
                model.images(run).iter().all(|image| image.is_on_disk)
            }),
            Property::always(TAKEN, |model, run: &Run| {
                model.images(run).iter().all(|image| !image.life.has_refused)
            }),
            Property::sometimes("all cover all, and sessions are over", |model, run: &Run| {
                run.made.len() == usize::from(model.bounds.writes)
                    && run.count.sessions == model.bounds.sessions
                    && model.images(run).iter().all(|image| image.replica().session().is_none())
                    && model.every(run, |verdict| verdict.covers_all)
            }),
        ]
    }
}

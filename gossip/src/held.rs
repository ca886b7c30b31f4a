//! Dots that were refused, and are not asked for again for a while.

use crate::Spans;
use chinwag_base::Moment;
use chinwag_base::limits::REFUSED_RUNS_MAX;
use chinwag_crdt::Dot;
use std::time::Duration;

/// Dots that are let be, all of them until the same moment.
#[derive(Debug, Default)]
pub(crate) struct Held {
    dots: Spans,
    until: Option<Moment>,
}

impl Held {
    /// Lets a dot be. The first one decides for how long. With too many they are all forgotten, and asked for early.
    pub(crate) fn note(&mut self, dot: Dot, now: Moment, hold: Duration) {
        if self.dots.runs() >= REFUSED_RUNS_MAX {
            self.dots = Spans::default();
        }
        self.expire(now);
        self.until.get_or_insert(now + hold);
        self.dots.insert(dot);
    }

    /// Says whether the time is over.
    pub(crate) fn expire(&mut self, now: Moment) -> bool {
        let is_over = self.until.is_some_and(|until| until <= now);
        if is_over {
            *self = Held::default();
        }
        is_over
    }

    pub(crate) fn dots(&self) -> &Spans {
        &self.dots
    }
}

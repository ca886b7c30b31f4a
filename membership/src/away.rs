//! Members that are no longer shown, and what is still known of them.
//!
//! Whoever has been down for the retention time leaves the view, but not the address book: somebody who takes a
//! laptop on a long journey finds the overlay again, for it is still dialled, though seldom. What was verified as
//! down is a *ghost* at that incarnation: others' word for it is not believed. It can speak for itself, over its own
//! connection; then it is told of its death, and refutes it. A goodbye is only remembered against old news.

use crate::record::Record;
use crate::rumour::Known;
use crate::version::{State, Version};
use chinwag_base::{Moment, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
struct Absence {
    version: Version,
    since: Moment,
    /// How to reach it; nothing if it left, or is to be forgotten.
    record: Option<Arc<Record>>,
}

/// Everybody who is away. [`crate::view::View::drop_longest_away`] keeps the bound.
#[derive(Debug, Default)]
pub(crate) struct Away {
    absences: BTreeMap<NodeId, Absence>,
}

impl Away {
    pub(crate) fn len(&self) -> usize {
        self.absences.len()
    }

    /// It has left the view.
    pub(crate) fn insert(&mut self, now: Moment, version: Version, record: Arc<Record>) {
        let id = record.id();
        let record = (version.state != State::Left).then_some(record);
        self.absences.insert(id, Absence { version, since: now, record });
    }

    /// It is gone and will not be dialled again, whatever is said of that version or an earlier one.
    pub(crate) fn forget(&mut self, now: Moment, id: NodeId, version: Version) {
        self.absences.insert(id, Absence { version, since: now, record: None });
    }

    /// It is back in the view.
    pub(crate) fn remove(&mut self, id: &NodeId) {
        self.absences.remove(id);
    }

    /// What is known of one that is not in the view.
    pub(crate) fn known(&self, id: &NodeId) -> Known {
        self.absences.get(id).map_or(Known::Never, |absence| Known::Away(absence.version))
    }

    /// The verdict on it, for it to refute.
    pub(crate) fn verdict(&self, id: &NodeId) -> Option<Version> {
        self.absences.get(id).map(|absence| absence.version).filter(|version| version.state == State::Down)
    }

    /// How to reach one that did not leave.
    pub(crate) fn record(&self, id: &NodeId) -> Option<&Arc<Record>> {
        self.absences.get(id)?.record.as_ref()
    }

    /// Goodbyes are remembered for `retention`.
    pub(crate) fn expire(&mut self, now: Moment, retention: Duration) {
        self.absences.retain(|_, absence| absence.record.is_some() || now.since(absence.since) < retention);
    }

    pub(crate) fn pop_longest(&mut self) -> Option<NodeId> {
        let id = self.absences.iter().min_by_key(|(id, absence)| (absence.since, **id)).map(|(id, _)| *id)?;
        self.absences.remove(&id);
        Some(id)
    }
}

//! What is to be done when. Each task has at most one time; setting it anew moves it.

use chinwag_base::{Moment, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// Something to be done at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// Our turn to ping this subject.
    Ping(NodeId),
    /// The oldest unanswered ping to this peer has missed its time-out.
    Missed(NodeId),
    /// The next round of the investigation of this subject.
    Round(NodeId),
    /// The phi of this investigation crosses a threshold now.
    Judge(NodeId),
    /// Verifiers for the investigation of this subject that are not connected are dialled.
    DialVerifiers(NodeId),
    /// Others who suspect this member will soon hold it for gone: time to look for ourselves.
    Check(NodeId),
    /// Verifications of this subject end without an answer.
    Verified(NodeId),
    /// A dial or a redial is due, or a dial has taken too long.
    Dial,
    /// Hot news is pushed.
    Push,
    /// Views that differ are reconciled.
    Reconcile,
    /// An accusation that came too soon after the last is refuted.
    Refute,
    /// Something is due for a call.
    Calls,
    /// Pages of the address book have their turn.
    Book,
    /// Reaping, and advertising fewer stalls.
    Housekeeping,
    /// The goodbyes have had their time.
    Depart,
}

#[derive(Debug, Default)]
pub(crate) struct Agenda {
    by_time: BTreeSet<(Moment, Task)>,
    times: BTreeMap<Task, Moment>,
}

impl Agenda {
    pub(crate) fn set(&mut self, task: Task, at: Moment) {
        match self.times.insert(task, at) {
            Some(old) if old == at => return,
            Some(old) => self.by_time.remove(&(old, task)),
            None => false,
        };
        self.by_time.insert((at, task));
    }

    /// Sets the task, unless it is due earlier already.
    pub(crate) fn set_earlier(&mut self, task: Task, at: Moment) {
        if self.get(task).is_none_or(|old| at < old) {
            self.set(task, at);
        }
    }

    pub(crate) fn clear(&mut self, task: Task) {
        if let Some(old) = self.times.remove(&task) {
            self.by_time.remove(&(old, task));
        }
    }

    pub(crate) fn get(&self, task: Task) -> Option<Moment> {
        self.times.get(&task).copied()
    }

    pub(crate) fn next(&self) -> Option<Moment> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// Takes the earliest task that is due.
    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<Task> {
        let &(at, task) = self.by_time.first().filter(|(at, _)| *at <= now)?;
        self.by_time.remove(&(at, task));
        self.times.remove(&task);
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_one_time() {
        let at = Moment::from_millis;
        let mut agenda = Agenda::default();
        agenda.set(Task::Push, at(5));
        agenda.set(Task::Push, at(9));
        agenda.set(Task::Dial, at(7));
        agenda.set_earlier(Task::Dial, at(8));
        assert_eq!(agenda.next(), Some(at(7)));
        assert_eq!(agenda.pop_due(at(6)), None);
        assert_eq!(agenda.pop_due(at(10)), Some(Task::Dial));
        assert_eq!(agenda.pop_due(at(10)), Some(Task::Push));
        assert_eq!(agenda.next(), None);
    }
}

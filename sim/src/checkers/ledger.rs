//! What clients asked for, and what became of it: the common ground of all checkers that compare writes with reads.

use crate::observation::{Answer, Fact, Host, Lost, Observation, Request};
use chinwag_base::{Key, Moment, Value};
use chinwag_crdt::Op;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No answer came: it may have been done or not.
    Open,
    /// It was acknowledged.
    Written,
    /// It was not done.
    Refused,
}

/// Whether a write took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    /// It was refused.
    Not,
    /// It was not answered, or the only disk that had it was damaged.
    Maybe,
    /// It was acknowledged, and is not lost.
    Sure,
}

/// One operation of a request.
pub(super) type OpId = (Request, usize);

/// One request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) host: Host,
    pub(super) at: Moment,
    pub(super) ops: Arc<[Op]>,
    pub(super) fate: Fate,
    /// For each operation whether it is lost; empty if none is.
    lost: Vec<bool>,
}

/// All requests that have to do with one namespace.
#[derive(Debug)]
pub(super) struct Ledger {
    namespace: &'static str,
    requests: BTreeMap<Request, Entry>,
    by_key: BTreeMap<Key, Vec<OpId>>,
}

impl Ledger {
    pub(super) fn new(namespace: &'static str) -> Self {
        Ledger { namespace, requests: BTreeMap::new(), by_key: BTreeMap::new() }
    }

    pub(super) fn observe(&mut self, observation: &Observation) {
        match &observation.fact {
            Fact::Asked { request, host, ops } => self.ask(*request, *host, ops, observation.at),
            Fact::Answered { request, answer } => {
                if let Some(entry) = self.requests.get_mut(request) {
                    let is_refused = matches!(answer, Answer::Refused);
                    entry.fate = if is_refused { Fate::Refused } else { Fate::Written };
                }
            }
            Fact::Damaged { lost, .. } => lost.iter().for_each(|lost| self.lose(lost)),
            _ => {}
        }
    }

    fn ask(&mut self, request: Request, host: Host, ops: &Arc<[Op]>, at: Moment) {
        let mut is_ours = false;
        for (index, op) in ops.iter().enumerate() {
            if op.key().namespace() == self.namespace {
                is_ours = true;
                self.by_key.entry(op.key().clone()).or_default().push((request, index));
            }
        }
        if is_ours {
            let entry = Entry { host, at, ops: ops.clone(), fate: Fate::Open, lost: Vec::new() };
            self.requests.insert(request, entry);
        }
    }

    /// A loss that does not name its request may be any operation under its key that fits.
    fn lose(&mut self, lost: &Lost) {
        let ids = match (lost.request, self.by_key.get(&lost.key)) {
            (Some(request), _) => {
                let ops = self.requests.get(&request).map_or(0, |entry| entry.ops.len());
                (0..ops).map(|index| (request, index)).collect()
            }
            (None, Some(ids)) => ids.clone(),
            (None, None) => Vec::new(),
        };
        for (request, index) in ids {
            let Some(entry) = self.requests.get_mut(&request) else { continue };
            let Some(op) = entry.ops.get(index) else { continue };
            let fits = lost.value.is_none() || value_of(op).is_none() || value_of(op) == lost.value.as_ref();
            if op.key() == &lost.key && fits {
                entry.lost.resize(entry.ops.len(), false);
                entry.lost[index] = true;
            }
        }
    }

    /// The operations under a key, in the order in which they were asked for.
    pub(super) fn of_key(&self, key: &Key) -> &[OpId] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn get(&self, request: Request) -> Option<&Entry> {
        self.requests.get(&request)
    }

    /// An operation, without its conditions, with its request.
    pub(super) fn op(&self, id: OpId) -> Option<(&Op, &Entry)> {
        let entry = self.requests.get(&id.0)?;
        Some((entry.ops.get(id.1)?.bare(), entry))
    }

    pub(super) fn is_lost(&self, id: OpId) -> bool {
        self.requests.get(&id.0).is_some_and(|entry| entry.lost.get(id.1) == Some(&true))
    }

    pub(super) fn certainty(&self, id: OpId) -> Certainty {
        match self.requests.get(&id.0).map(|entry| entry.fate) {
            None | Some(Fate::Refused) => Certainty::Not,
            Some(Fate::Written) if !self.is_lost(id) => Certainty::Sure,
            Some(Fate::Written | Fate::Open) => Certainty::Maybe,
        }
    }
}

fn value_of(op: &Op) -> Option<&Value> {
    match op.bare() {
        Op::Set { value, .. } => Some(value),
        Op::Add { element, .. } | Op::Remove { element, .. } => Some(element),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    #[test]
    fn a_request_is_open_until_answered_and_maybe_once_lost() {
        let mut ledger = Ledger::new("reg");
        let feed = |ledger: &mut Ledger, fact| ledger.observe(&at(0, fact));
        feed(&mut ledger, asked(1, 0, [set("reg/a", "x"), add("set/a", "y"), set("reg/b", "z")]));
        feed(&mut ledger, asked(2, 0, [add("set/a", "w")]));
        assert!(ledger.get(Request(2)).is_none(), "no key of the namespace");
        let id = (Request(1), 0);
        assert_eq!(ledger.certainty(id), Certainty::Maybe);
        feed(&mut ledger, written(1));
        assert_eq!(ledger.certainty(id), Certainty::Sure);
        feed(&mut ledger, damaged(0, [lost("reg/a", "x", None)]));
        assert_eq!(ledger.certainty(id), Certainty::Maybe);
        assert_eq!(ledger.certainty((Request(1), 2)), Certainty::Sure, "another key");
        feed(&mut ledger, refused(1));
        assert_eq!(ledger.certainty(id), Certainty::Not);
    }
}

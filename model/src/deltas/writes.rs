//! Writes, and what the definition of their types says that a reader must see of them.
//!
//! This is the specification that replicas are held to. It knows no clocks, logs or doomed dots: a write *brings*
//! something and *replaces* what its writer could see of that, and a reader sees what was brought and not replaced.

use chinwag_base::{Key, Value};
use chinwag_crdt::{Dot, Entry, Kind, Op, Read};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The number of a write, the same in all states of one model.
pub type WriteId = usize;

/// What a client asks for. There is one key; the value and the amount depend on who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// Gives the register a value.
    Set,
    /// Adds to the counter.
    Increment,
    /// Puts the element into the set.
    Add,
    /// Takes the element out of the set.
    Remove,
    /// Deletes a register or a set, or resets a counter.
    Delete(Kind),
}

impl Ask {
    /// The operation, as the replica `at` asks for it.
    pub(crate) fn op(self, key: Key, at: usize) -> Op {
        match self {
            Ask::Set => Op::Set { key, value: value(&at.to_string()) },
            Ask::Increment => Op::Increment { key, by: 10_i64.pow(at as u32) },
            Ask::Add => Op::Add { key, element: value("element") },
            Ask::Remove => Op::Remove { key, element: value("element") },
            Ask::Delete(kind) => Op::Delete { key, kind: Some(kind) },
        }
    }

    pub(crate) fn brings(self) -> Option<Kind> {
        match self {
            Ask::Set => Some(Kind::Register),
            Ask::Increment => Some(Kind::Counter),
            Ask::Add => Some(Kind::Set),
            Ask::Remove | Ask::Delete(_) => None,
        }
    }

    /// What it replaces of what is seen: increments replace nothing.
    pub(crate) fn replaces(self) -> Option<Kind> {
        match self {
            Ask::Set => Some(Kind::Register),
            Ask::Increment => None,
            Ask::Add | Ask::Remove => Some(Kind::Set),
            Ask::Delete(kind) => Some(kind),
        }
    }
}

fn value(text: &str) -> Value {
    Value::new(text.as_bytes()).expect("a value, because it is short")
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its log entry, as the replica made it.
    pub entry: Arc<Entry>,
    /// What was asked for.
    pub ask: Ask,
    /// Who asked.
    pub at: usize,
    /// The writes that it replaces.
    pub kills: BTreeSet<WriteId>,
    /// Earlier increments of its writer that an increment's entry carries along: who has seen it has seen them.
    pub includes: BTreeSet<WriteId>,
}

/// All writes that were ever made in any state of a model.
#[derive(Debug, Default)]
pub struct Writes {
    all: Vec<Write>,
    by_dot: BTreeMap<Dot, Vec<WriteId>>,
}

impl Writes {
    /// The number of a write, a new one if it is new.
    pub(crate) fn id(&mut self, write: Write) -> WriteId {
        let with_dot = self.by_dot.entry(write.entry.dot).or_default();
        with_dot.iter().copied().find(|id| self.all[*id] == write).unwrap_or_else(|| {
            with_dot.push(self.all.len());
            self.all.push(write);
            self.all.len() - 1
        })
    }

    /// A write by its number.
    pub(crate) fn get(&self, id: WriteId) -> &Write {
        &self.all[id]
    }

    /// What a reader who has these writes must see: what they bring and none of them has replaced.
    pub(crate) fn live(&self, seen: &BTreeSet<WriteId>) -> BTreeSet<WriteId> {
        let killed: BTreeSet<WriteId> =
            seen.iter().flat_map(|id| self.all[*id].kills.iter().copied()).collect();
        seen.difference(&killed).copied().filter(|id| self.all[*id].ask.brings().is_some()).collect()
    }

    /// What a write that is made by one who has seen these replaces.
    pub(crate) fn kills(&self, ask: Ask, seen: &BTreeSet<WriteId>) -> BTreeSet<WriteId> {
        let mut live = self.live(seen);
        live.retain(|id| ask.replaces().is_some() && self.all[*id].ask.brings() == ask.replaces());
        live.iter().flat_map(|id| self.all[*id].includes.iter().copied().chain([*id])).collect()
    }

    /// What an increment says besides its own amount.
    pub(crate) fn includes(&self, ask: Ask, at: usize, seen: &BTreeSet<WriteId>) -> BTreeSet<WriteId> {
        let mut live = self.live(seen);
        let is_own = |write: &Write| write.ask == Ask::Increment && write.at == at;
        live.retain(|id| ask == Ask::Increment && is_own(&self.all[*id]));
        live
    }

    /// How a read compares with what must be seen.
    pub(crate) fn judge(&self, seen: &BTreeSet<WriteId>, read: Option<&Read>) -> Verdict {
        let live = self.live(seen);
        let dots_of = |kind| -> BTreeSet<Dot> {
            let of_kind =
                live.iter().map(|id| &self.all[*id]).filter(|write| write.ask.brings() == Some(kind));
            of_kind.map(|write| write.entry.dot).collect()
        };
        let (values, elements) = (dots_of(Kind::Register), dots_of(Kind::Set));
        let amounts = live.iter().map(|id| &self.all[*id]).filter(|write| write.ask == Ask::Increment);
        let total: i128 = amounts.map(|write| 10_i128.pow(write.at as u32)).sum();
        let mut verdict =
            Verdict { shows_dead: false, hides_live: false, is_exact: true, winner_is_live: true };
        let (mut shown, mut shows_set, mut count) = (BTreeSet::new(), false, 0);
        let reads = match read {
            Some(Read::Conflict(reads)) => reads.iter().collect(),
            Some(read) => vec![read],
            None => Vec::new(),
        };
        for read in reads {
            match read {
                Read::Register { siblings, .. } => {
                    verdict.winner_is_live =
                        siblings.first().is_some_and(|first| values.contains(&first.dot));
                    shown = siblings.iter().map(|sibling| sibling.dot).collect();
                }
                Read::Set(_) => shows_set = true,
                Read::Counter(sum) => count = *sum,
                // Nobody here writes those.
                Read::Flag | Read::Map(_) | Read::Conflict(_) => verdict.is_exact = false,
            }
        }
        verdict.shows_dead = !shown.is_subset(&values) || shows_set && elements.is_empty();
        verdict.hides_live = !values.is_subset(&shown) || !shows_set && !elements.is_empty();
        verdict.is_exact &= count == total;
        verdict
    }
}

/// How a read compares with what must be seen.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    /// It shows a value or an element that was replaced or removed.
    pub shows_dead: bool,
    /// It lacks one that was not.
    pub hides_live: bool,
    /// The counter is the sum of what was added and not reset.
    pub is_exact: bool,
    /// The register's winner, if there is one, has not been replaced.
    pub winner_is_live: bool,
}

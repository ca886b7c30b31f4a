//! Which write of a register replaced which: the happened-before relation among writes, as it was observed.
//!
//! A write replaces what its origin had seen (Almeida et al. 2018, section 7.3), and the event of the origin says
//! what that was. Events of other hosts do not: a host that is wrong about replacing would excuse itself.

use super::ledger::{Certainty, Entry, Fate, Ledger, OpId};
use crate::observation::{Fact, Host, Observation};
use chinwag_base::{Key, Moment, Value};
use chinwag_crdt::{Kind, Op, What};
use std::collections::{BTreeMap, BTreeSet};

/// All writes of all registers.
#[derive(Debug)]
pub(super) struct Registers {
    pub(super) ledger: Ledger,
    writes: BTreeMap<Value, Write>,
    /// Where deletes took effect.
    deletes: Vec<(Key, Host)>,
    deleted: BTreeSet<(Key, Host)>,
    lost_deletes: BTreeSet<(Key, Host)>,
    /// When processes ended, by host.
    ends: Vec<Vec<Moment>>,
}

#[derive(Debug)]
struct Write {
    key: Key,
    id: OpId,
    /// Its origin showed it: what it replaced is known, and it was durable there.
    is_applied: bool,
    replaced_by: Vec<Replacer>,
}

#[derive(Debug)]
enum Replacer {
    Write(Value),
    Delete(usize),
}

/// A write that may have replaced something, though nobody saw what: its process ended between the disk and the event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unseen {
    /// What it wrote; none if it deleted.
    value: Option<Value>,
    /// What was asked for later it cannot have seen. None if its process still runs.
    until: Option<Moment>,
}

impl Registers {
    pub(super) fn new() -> Self {
        Registers {
            ledger: Ledger::new("reg"),
            writes: BTreeMap::new(),
            deletes: Vec::new(),
            deleted: BTreeSet::new(),
            lost_deletes: BTreeSet::new(),
            ends: Vec::new(),
        }
    }

    pub(super) fn observe(&mut self, observation: &Observation) {
        self.ledger.observe(observation);
        match &observation.fact {
            Fact::Asked { request, ops, .. } => {
                for (index, op) in ops.iter().enumerate() {
                    if let Op::Set { key, value } = op.bare()
                        && key.namespace() == "reg"
                    {
                        let id = (*request, index);
                        let write =
                            Write { key: key.clone(), id, is_applied: false, replaced_by: Vec::new() };
                        self.writes.entry(value.clone()).or_insert(write);
                    }
                }
            }
            Fact::Applied { host, key, what, local: true } if key.namespace() == "reg" => {
                self.apply(*host, key, what);
            }
            Fact::Stopped { host, .. } => {
                if self.ends.len() <= host.index() {
                    self.ends.resize(host.index() + 1, Vec::new());
                }
                self.ends[host.index()].push(observation.at);
            }
            Fact::Damaged { lost, .. } => {
                for lost in lost.iter().filter(|lost| lost.key.namespace() == "reg") {
                    self.lose_deletes(&lost.key);
                }
            }
            _ => {}
        }
    }

    fn apply(&mut self, host: Host, key: &Key, what: &What) {
        match what {
            What::Set { value, was, .. } => {
                if let Some(write) = self.writes.get_mut(value) {
                    write.is_applied = true;
                }
                for was in was {
                    if let Some(write) = self.writes.get_mut(was) {
                        write.replaced_by.push(Replacer::Write(value.clone()));
                    }
                }
            }
            What::Deleted { kind: Kind::Register, was, .. } => {
                self.deletes.push((key.clone(), host));
                self.deleted.insert((key.clone(), host));
                for was in was {
                    if let Some(write) = self.writes.get_mut(was) {
                        write.replaced_by.push(Replacer::Delete(self.deletes.len() - 1));
                    }
                }
            }
            _ => {}
        }
    }

    /// An event does not tell which request deleted; so if one is lost, each delete of that key by that host may be.
    fn lose_deletes(&mut self, key: &Key) {
        for &id in self.ledger.of_key(key) {
            if let Some((Op::Delete { .. }, entry)) = self.ledger.op(id)
                && self.ledger.is_lost(id)
            {
                self.lost_deletes.insert((key.clone(), entry.host));
            }
        }
    }

    /// Whether a value was written under a key.
    pub(super) fn certainty(&self, key: &Key, value: &Value) -> Certainty {
        let Some(write) = self.writes.get(value).filter(|write| &write.key == key) else {
            return Certainty::Not;
        };
        match self.ledger.certainty(write.id) {
            // Durable before visible: what the origin showed remains, answered or not.
            Certainty::Maybe if write.is_applied && !self.ledger.is_lost(write.id) => Certainty::Sure,
            certainty => certainty,
        }
    }

    /// Whether something that is known to have seen this value replaced it.
    pub(super) fn replaced(&self, key: &Key, value: &Value) -> Certainty {
        let Some(write) = self.writes.get(value) else { return Certainty::Not };
        let by = write.replaced_by.iter().map(|replacer| match replacer {
            Replacer::Write(by) => self.certainty(key, by),
            Replacer::Delete(index) if self.lost_deletes.contains(&self.deletes[*index]) => Certainty::Maybe,
            Replacer::Delete(_) => Certainty::Sure,
        });
        by.max().unwrap_or(Certainty::Not)
    }

    /// The writes of a key of which nobody saw what they replaced.
    pub(super) fn unseen(&self, key: &Key) -> Vec<Unseen> {
        let mut unseen = Vec::new();
        for &id in self.ledger.of_key(key) {
            let Some((op, entry)) = self.ledger.op(id) else { continue };
            let value = match op {
                _ if entry.fate == Fate::Refused => continue,
                Op::Set { value, .. } if self.writes.get(value).is_some_and(|it| it.is_applied) => continue,
                Op::Set { value, .. } => Some(value.clone()),
                Op::Delete { .. }
                    if entry.fate == Fate::Written && self.deleted.contains(&(key.clone(), entry.host)) =>
                {
                    continue;
                }
                Op::Delete { .. } => None,
                _ => continue,
            };
            unseen.push(Unseen { value, until: self.end_of(entry) });
        }
        unseen
    }

    /// Whether one of these may have replaced a value.
    pub(super) fn may_have_replaced(
        &self,
        unseen: &[Unseen],
        value: &Value,
        shown: &BTreeSet<&Value>,
    ) -> bool {
        let asked = self.writes.get(value).and_then(|write| self.ledger.get(write.id.0)).map(|it| it.at);
        unseen.iter().any(|by| {
            let is_later = by.until.is_none_or(|until| asked.is_none_or(|asked| asked <= until));
            // A write that took effect is there, unless it was replaced itself.
            let took_effect = by.value.as_ref().is_none_or(|by| {
                let is_replaced = self.writes.get(by).is_some_and(|write| !write.replaced_by.is_empty());
                shown.contains(by) || is_replaced || unseen.len() > 1
            });
            is_later && took_effect && by.value.as_ref() != Some(value)
        })
    }

    /// The end of the process that was asked.
    fn end_of(&self, entry: &Entry) -> Option<Moment> {
        let ends = self.ends.get(entry.host.index())?;
        ends.get(ends.partition_point(|&end| end < entry.at)).copied()
    }

    /// The values that were written under a key, in the order in which they were asked for.
    pub(super) fn values<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Value> {
        self.ledger.of_key(key).iter().filter_map(|&id| match self.ledger.op(id)?.0 {
            Op::Set { value, .. } => Some(value),
            _ => None,
        })
    }
}

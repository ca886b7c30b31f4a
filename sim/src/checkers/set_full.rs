//! An element of a set is never lost once it is known.
//!
//! Maelstrom's `set-full` rule (Kingsbury): an element is *known* once its add was acknowledged or once anybody saw
//! it. From then on every read must have it. We read after everything has been healed and has converged, so "from
//! then on" is the last look at each host.
//!
//! Excused are elements that somebody asked to remove, unless that was refused, and those whose add was on a damaged
//! disk alone. A removed element may be there or not: [`resurrection`](super::resurrection) judges that.

use super::Checker;
use super::ledger::{Fate, Ledger};
use super::reads::{LastReads, names};
use crate::observation::{Fact, Host, Observation};
use chinwag_base::{Key, Value};
use chinwag_crdt::{Op, Read, What};
use rustc_hash::FxHashSet;
use std::collections::{BTreeMap, BTreeSet};

/// Compares the elements of all sets at the end with what clients were told and what nodes showed.
#[derive(Debug)]
pub struct SetFull {
    ledger: Ledger,
    reads: LastReads,
    /// By key, what any node showed or applied. Only asked, never walked.
    seen: BTreeMap<Key, FxHashSet<Value>>,
    known: u64,
    compared: u64,
}

/// What is known of one element.
#[derive(Default)]
struct Element {
    /// Somebody asked to add it and was not refused.
    may_be: bool,
    /// Its add was acknowledged, and is not lost.
    acknowledged: bool,
    /// Its add was on a damaged disk alone.
    lost: bool,
    /// Somebody asked to remove it and was not refused.
    removed: bool,
}

impl Default for SetFull {
    fn default() -> Self {
        let (ledger, reads) = (Ledger::new("set"), LastReads::of_namespace("set"));
        SetFull { ledger, reads, seen: BTreeMap::new(), known: 0, compared: 0 }
    }
}

impl Checker for SetFull {
    fn name(&self) -> &'static str {
        "set-full"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        self.ledger.observe(observation);
        self.reads.observe(observation);
        match &observation.fact {
            Fact::Applied { key, what: What::Added { element }, .. } if key.namespace() == "set" => {
                self.see(key, std::slice::from_ref(element));
            }
            Fact::Shown { key, read: Some(Read::Set(elements)), .. } if key.namespace() == "set" => {
                self.see(key, elements);
            }
            Fact::Ended => self.conclude(wrong),
            _ => {}
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![("known elements", self.known), ("elements compared", self.compared)]
    }
}

impl SetFull {
    fn see(&mut self, key: &Key, elements: &[Value]) {
        if !self.seen.contains_key(key) {
            self.seen.insert(key.clone(), FxHashSet::default());
        }
        let Some(seen) = self.seen.get_mut(key) else { return };
        for element in elements {
            if !seen.contains(element) {
                seen.insert(element.clone());
            }
        }
    }

    fn conclude(&mut self, wrong: &mut Vec<String>) {
        let (mut known, mut compared) = (0, 0);
        for (key, groups) in self.reads.iter() {
            let elements = self.elements(key);
            let is_seen = |element: &Value| self.seen.get(key).is_some_and(|seen| seen.contains(element));
            let must: Vec<&Value> = elements
                .iter()
                .filter(|(element, it)| it.acknowledged || it.may_be && !it.lost && is_seen(element))
                .filter(|(_, it)| !it.removed)
                .map(|(&element, _)| element)
                .collect();
            known += must.len() as u64;
            for (read, hosts) in groups {
                compared += (must.len() * hosts.len()) as u64;
                judge(key, read, &hosts, &elements, &must, wrong);
            }
        }
        (self.known, self.compared) = (known, compared);
    }

    /// Every element of a key that somebody asked for.
    fn elements(&self, key: &Key) -> BTreeMap<&Value, Element> {
        let mut elements: BTreeMap<&Value, Element> = BTreeMap::new();
        for &id in self.ledger.of_key(key) {
            let Some((op, entry)) = self.ledger.op(id) else { continue };
            let is_lost = self.ledger.is_lost(id);
            match op {
                Op::Add { element, .. } => {
                    let it = elements.entry(element).or_default();
                    it.may_be |= entry.fate != Fate::Refused;
                    it.acknowledged |= entry.fate == Fate::Written && !is_lost;
                    it.lost |= is_lost;
                }
                Op::Remove { element, .. } => {
                    elements.entry(element).or_default().removed |= entry.fate != Fate::Refused;
                }
                _ => {}
            }
        }
        elements
    }
}

fn judge(
    key: &Key,
    read: Option<&Read>,
    hosts: &[Host],
    elements: &BTreeMap<&Value, Element>,
    must: &[&Value],
    wrong: &mut Vec<String>,
) {
    let shown: BTreeSet<&Value> = match read {
        None => BTreeSet::new(),
        Some(Read::Set(shown)) => shown.iter().collect(),
        Some(other) => return wrong.push(format!("{key} is no set at {}, but {other:?}", names(hosts))),
    };
    for element in must.iter().filter(|element| !shown.contains(*element)) {
        wrong.push(format!("{key} has lost its element {element:?} at {}", names(hosts)));
    }
    for element in shown {
        if !elements.get(element).is_some_and(|it| it.may_be) {
            let what = "which nobody asked for, or which was refused";
            wrong.push(format!("{key} has the element {element:?} at {}, {what}", names(hosts)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    /// Four adds (acknowledged, unanswered, refused, acknowledged and removed), then `more`, then a look at a host.
    fn wrong(more: Vec<Fact>, at_last: Option<Read>) -> Vec<String> {
        let mut history = vec![
            started(0),
            started(1),
            asked(1, 0, [add("set/a", "acked"), add("set/a", "other")]),
            written(1),
            asked(2, 0, [add("set/a", "open")]),
            asked(3, 0, [add("set/a", "refused")]),
            refused(3),
            asked(4, 1, [add("set/a", "removed")]),
            written(4),
            asked(5, 1, [remove("set/a", "removed")]),
        ];
        history.extend(more);
        history.extend([shown(0, "set/a", at_last), Fact::Ended]);
        let mut checker = SetFull::default();
        let wrong = judge_untimed(&mut checker, history);
        assert!(looked_at(&checker, "elements compared") >= 1);
        wrong
    }

    #[test]
    fn what_is_known_is_there() {
        let none: [String; 0] = [];
        assert_eq!(wrong(vec![], elements(&["acked", "other"])), none);
        assert_eq!(wrong(vec![], elements(&["acked", "open", "other", "removed"])), none);
        let seen = || vec![applied(1, "set/a", was_added("open"), false)];
        assert_eq!(wrong(seen(), elements(&["acked", "open", "other"])), none);
    }

    #[test]
    fn an_acknowledged_element_is_missing() {
        assert_eq!(wrong(vec![], elements(&["other"])).len(), 1);
        assert_eq!(wrong(vec![], None).len(), 2);
    }

    #[test]
    fn an_element_that_was_seen_is_missing() {
        let seen = vec![applied(1, "set/a", was_added("open"), false)];
        assert_eq!(wrong(seen, elements(&["acked", "other"])).len(), 1);
        let seen = vec![shown(1, "set/a", elements(&["acked", "open", "other"])), stopped(1)];
        assert_eq!(wrong(seen, elements(&["acked", "other"])).len(), 1);
    }

    #[test]
    fn a_removed_or_lost_element_may_be_missing_but_not_one_whose_remove_was_refused() {
        let lost = vec![damaged(0, [lost("set/a", "acked", None)])];
        assert_eq!(wrong(lost, elements(&["other"])).len(), 0);
        assert_eq!(wrong(vec![refused(5)], elements(&["acked", "other"])).len(), 1);
    }

    #[test]
    fn an_element_that_nobody_added_is_there() {
        assert_eq!(wrong(vec![], elements(&["acked", "other", "stray"])).len(), 1);
        assert_eq!(wrong(vec![], elements(&["acked", "other", "refused"])).len(), 1);
    }

    #[test]
    fn a_set_is_a_set() {
        assert_eq!(wrong(vec![], Some(Read::Counter(1))).len(), 1);
    }
}

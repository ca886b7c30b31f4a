//! Nothing deleted comes back.
//!
//! The classic bug of replicated deletes: a tombstone is dropped too early, or a replica that was away brings back
//! what the others have removed. Two rules:
//!
//! - What a host has seen removed, deleted or replaced it never shows or applies again. Each value is written once in
//!   a run, so whatever comes again is an old write. A restart changes nothing, as what is visible was durable; a
//!   damaged disk does: the host may then hear of everything anew, in any order.
//! - At the end no running host shows an element whose removal was acknowledged, nor the value of a register that was
//!   replaced by a write, or deleted. Excused if that removal or write was on a damaged disk alone.

use super::Checker;
use super::bits::Bits;
use super::ledger::{Certainty, Ledger};
use super::reads::{LastReads, names};
use super::registers::Registers;
use crate::observation::{Fact, Host, Observation};
use chinwag_base::{Key, Value};
use chinwag_crdt::{Op, Read, What};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// Watches what hosts show after they have seen it go.
#[derive(Debug)]
pub struct Resurrection {
    /// Numbers for the values that some host has seen go. Only asked, never walked.
    numbers: FxHashMap<Key, FxHashMap<Value, usize>>,
    numbered: usize,
    /// By host, what it has seen go, by these numbers.
    gone: Vec<Bits>,
    registers: Registers,
    sets: Ledger,
    register_reads: LastReads,
    set_reads: LastReads,
    removals: u64,
    compared: u64,
}

impl Default for Resurrection {
    fn default() -> Self {
        Resurrection {
            numbers: FxHashMap::default(),
            numbered: 0,
            gone: Vec::new(),
            registers: Registers::new(),
            sets: Ledger::new("set"),
            register_reads: LastReads::of_namespace("reg"),
            set_reads: LastReads::of_namespace("set"),
            removals: 0,
            compared: 0,
        }
    }
}

impl Checker for Resurrection {
    fn name(&self) -> &'static str {
        "resurrection"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        self.registers.observe(observation);
        self.sets.observe(observation);
        self.register_reads.observe(observation);
        self.set_reads.observe(observation);
        match &observation.fact {
            Fact::Applied { host, key, what, .. } => self.apply(*host, key, what, wrong),
            Fact::Shown { host, key, read: Some(read) } => match read {
                Read::Set(elements) => self.see(*host, key, elements.iter(), wrong),
                Read::Register { siblings, .. } => {
                    self.see(*host, key, siblings.iter().map(|it| &it.value), wrong);
                }
                Read::Counter(_) | Read::Flag | Read::Map(_) | Read::Conflict(_) => {}
            },
            Fact::Damaged { host, .. } => {
                if let Some(gone) = self.gone.get_mut(host.index()) {
                    gone.clear();
                }
            }
            Fact::Ended => self.conclude(wrong),
            _ => {}
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![("values seen to go", self.removals), ("removals compared", self.compared)]
    }
}

impl Resurrection {
    fn apply(&mut self, host: Host, key: &Key, what: &What, wrong: &mut Vec<String>) {
        match what {
            What::Set { value, was, .. } => {
                self.see(host, key, [value], wrong);
                self.go(host, key, was);
            }
            What::Added { element } => self.see(host, key, [element], wrong),
            What::Removed { element } => self.go(host, key, std::slice::from_ref(element)),
            What::Deleted { was, .. } => self.go(host, key, was),
            What::Incremented { .. } | What::Reset { .. } | What::Enabled | What::NoEffect => {}
        }
    }

    fn go(&mut self, host: Host, key: &Key, values: &[Value]) {
        if self.gone.len() <= host.index() {
            self.gone.resize(host.index() + 1, Bits::default());
        }
        let numbers = self.numbers.entry(key.clone()).or_default();
        for value in values {
            let number = *numbers.entry(value.clone()).or_insert(self.numbered);
            self.numbered = self.numbered.max(number + 1);
            self.gone[host.index()].insert(number);
            self.removals += 1;
        }
    }

    fn see<'a>(
        &self,
        host: Host,
        key: &Key,
        values: impl IntoIterator<Item = &'a Value>,
        wrong: &mut Vec<String>,
    ) {
        let Some(gone) = self.gone.get(host.index()).filter(|gone| !gone.is_empty()) else { return };
        let Some(numbers) = self.numbers.get(key) else { return };
        for value in values {
            let number = numbers.get(value);
            if number.is_some_and(|&number| gone.contains(number)) {
                wrong.push(format!("{value:?} of {key} is back at {host}, which had seen it go"));
            }
        }
    }

    fn conclude(&mut self, wrong: &mut Vec<String>) {
        for (key, groups) in self.set_reads.iter() {
            let removed = removed(&self.sets, key);
            for (read, hosts) in groups {
                self.compared += (removed.len() * hosts.len()) as u64;
                let Some(Read::Set(elements)) = read else { continue };
                for element in elements.iter().filter(|element| removed.contains(element)) {
                    let hosts = names(&hosts);
                    wrong.push(format!("{key} has {element:?} at {hosts}, whose removal was acknowledged"));
                }
            }
        }
        for (key, groups) in self.register_reads.iter() {
            let is_gone = |value: &&Value| self.registers.replaced(key, value) == Certainty::Sure;
            let replaced: BTreeSet<&Value> = self.registers.values(key).filter(is_gone).collect();
            for (read, hosts) in groups {
                self.compared += (replaced.len() * hosts.len()) as u64;
                let Some(Read::Register { siblings, .. }) = read else { continue };
                for value in siblings.iter().map(|it| &it.value).filter(|value| replaced.contains(value)) {
                    let hosts = names(&hosts);
                    wrong.push(format!("{key} is {value:?} at {hosts}, which was deleted or replaced"));
                }
            }
        }
    }
}

/// The elements whose removal was acknowledged and is not lost.
fn removed<'a>(sets: &'a Ledger, key: &Key) -> BTreeSet<&'a Value> {
    let sure = sets.of_key(key).iter().filter(|&&id| sets.certainty(id) == Certainty::Sure);
    let removed = sure.filter_map(|&id| match sets.op(id)?.0 {
        Op::Remove { element, .. } => Some(element),
        _ => None,
    });
    removed.collect()
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    const NONE: [String; 0] = [];

    fn wrong(history: Vec<Fact>) -> Vec<String> {
        let mut checker = Resurrection::default();
        let wrong = judge_untimed(&mut checker, [vec![started(0), started(1)], history].concat());
        assert!(looked_at(&checker, "values seen to go") > 0);
        wrong
    }

    /// An element that came and went at host 0.
    fn element() -> Vec<Fact> {
        vec![
            asked(1, 0, [add("set/a", "x")]),
            applied(0, "set/a", was_added("x"), true),
            written(1),
            asked(2, 0, [remove("set/a", "x")]),
            applied(0, "set/a", was_removed("x"), true),
            written(2),
        ]
    }

    /// A register in which `b` replaced `a` and was deleted, at host 0.
    fn values() -> Vec<Fact> {
        vec![
            asked(1, 0, [set("reg/a", "a")]),
            applied(0, "reg/a", was_set("a", &[]), true),
            written(1),
            asked(2, 0, [set("reg/a", "b")]),
            applied(0, "reg/a", was_set("b", &["a"]), true),
            written(2),
            asked(3, 0, [delete("reg/a")]),
            applied(0, "reg/a", was_deleted(&["b"]), true),
            written(3),
        ]
    }

    fn then(before: Vec<Fact>, more: impl IntoIterator<Item = Fact>) -> Vec<String> {
        wrong(before.into_iter().chain(more).collect())
    }

    #[test]
    fn what_is_gone_stays_away() {
        let end = |k: &'static str| [shown(0, k, None), shown(1, k, None), Fact::Ended];
        assert_eq!(then(element(), end("set/a")), NONE);
        assert_eq!(then(values(), end("reg/a")), NONE);
        // Another host may still add what it has not seen go, and a value in another key is another one.
        assert_eq!(then(element(), [applied(1, "set/a", was_added("x"), false)]), NONE);
        assert_eq!(then(element(), [applied(0, "set/b", was_added("x"), false)]), NONE);
    }

    #[test]
    fn it_is_applied_or_shown_again() {
        assert_eq!(then(element(), [applied(0, "set/a", was_added("x"), false)]).len(), 1);
        assert_eq!(then(element(), [shown(0, "set/a", elements(&["x"]))]).len(), 1);
        for v in ["a", "b"] {
            assert_eq!(then(values(), [applied(0, "reg/a", was_set(v, &[]), false)]).len(), 1);
            assert_eq!(then(values(), [shown(0, "reg/a", register(&[v]))]).len(), 1);
        }
    }

    #[test]
    fn a_restart_does_not_forget_but_a_damaged_disk_does() {
        let again = || applied(0, "set/a", was_added("x"), false);
        assert_eq!(then(element(), [stopped(0), started(0), again()]).len(), 1);
        assert_eq!(then(element(), [stopped(0), damaged(0, []), started(0), again()]), NONE);
        assert_eq!(then(element(), [damaged(1, []), again()]).len(), 1, "another one's disk");
    }

    #[test]
    fn what_was_acknowledged_to_be_gone_is_there_at_the_end() {
        let end = |k: &'static str, read| [shown(1, k, read), Fact::Ended];
        assert_eq!(then(element(), end("set/a", elements(&["x"]))).len(), 1);
        assert_eq!(then(values(), end("reg/a", register(&["a"]))).len(), 1);
        assert_eq!(then(values(), end("reg/a", register(&["b"]))).len(), 1);
    }

    #[test]
    fn a_lost_removal_may_be_undone() {
        let end = |k: &'static str, read| [shown(1, k, read), Fact::Ended].to_vec();
        let lost = |k, request| vec![damaged(0, [lost_request(k, request)])];
        let history = [lost("set/a", 2), end("set/a", elements(&["x"]))].concat();
        assert_eq!(then(element(), history), NONE);
        let history = [lost("reg/a", 3), end("reg/a", register(&["b"]))].concat();
        assert_eq!(then(values(), history), NONE);
        let history = [lost("reg/a", 2), end("reg/a", register(&["b"]))].concat();
        assert_eq!(then(values(), history).len(), 1, "b came back, although its delete is not lost");
    }
}

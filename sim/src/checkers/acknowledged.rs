//! An acknowledged write of a register is kept until a write that has seen it replaces it.
//!
//! At the end each host must show exactly the *maximal* writes (the siblings of a multi-value register, Almeida et
//! al. 2018, section 7.3): those that no other write replaced. A write replaces what its origin had seen, and only
//! that, directly: if A replaced B, B replaced C, and B is gone with a damaged disk, then C may be back.
//!
//! What is excused:
//!
//! - A write that nobody answered may be there or not, and so may what it replaced. If its origin showed it, it was
//!   durable there, and counts as done.
//! - So may one that was on a damaged disk alone.
//! - If a process ended between the disk and the event, nobody knows what its write replaced. Then values that were
//!   asked for before that end may be missing, if that write itself is there or may have been replaced in turn.

use super::Checker;
use super::ledger::Certainty;
use super::reads::{LastReads, names};
use super::registers::Registers;
use crate::observation::{Fact, Host, Observation};
use chinwag_base::{Key, Value};
use chinwag_crdt::Read;
use std::collections::BTreeSet;

/// Compares all registers at the end with what clients were told.
#[derive(Debug)]
pub struct Acknowledged {
    registers: Registers,
    reads: LastReads,
    compared: u64,
    replaced: u64,
    excused: u64,
}

impl Default for Acknowledged {
    fn default() -> Self {
        let (registers, reads) = (Registers::new(), LastReads::of_namespace("reg"));
        Acknowledged { registers, reads, compared: 0, replaced: 0, excused: 0 }
    }
}

impl Checker for Acknowledged {
    fn name(&self) -> &'static str {
        "acknowledged"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        self.registers.observe(observation);
        self.reads.observe(observation);
        if matches!(observation.fact, Fact::Ended) {
            self.conclude(wrong);
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("register writes compared", self.compared),
            ("register writes replaced", self.replaced),
            ("register writes excused", self.excused),
        ]
    }
}

impl Acknowledged {
    fn conclude(&mut self, wrong: &mut Vec<String>) {
        let reads = std::mem::take(&mut self.reads);
        for (key, groups) in reads.iter() {
            for (read, hosts) in groups {
                self.judge(key, read, &hosts, wrong);
            }
        }
        self.reads = reads;
    }

    fn judge(&mut self, key: &Key, read: Option<&Read>, hosts: &[Host], wrong: &mut Vec<String>) {
        let shown: Vec<&Value> = match read {
            None => Vec::new(),
            Some(Read::Register { siblings, .. }) => siblings.iter().map(|it| &it.value).collect(),
            Some(other) => {
                return wrong.push(format!("{key} is no register at {}, but {other:?}", names(hosts)));
            }
        };
        let distinct: BTreeSet<&Value> = shown.iter().copied().collect();
        if distinct.len() < shown.len() {
            wrong.push(format!("{key} shows a value twice at {}: {shown:?}", names(hosts)));
        }
        for &value in &distinct {
            if self.registers.certainty(key, value) == Certainty::Not {
                let what = "which nobody asked for, or which was refused";
                wrong.push(format!("{key} is {value:?} at {}, {what}", names(hosts)));
            } else if self.registers.replaced(key, value) == Certainty::Sure {
                wrong.push(format!("{key} is {value:?} at {}, which was replaced", names(hosts)));
            }
        }
        self.judge_missing(key, &distinct, hosts, wrong);
    }

    fn judge_missing(
        &mut self,
        key: &Key,
        shown: &BTreeSet<&Value>,
        hosts: &[Host],
        wrong: &mut Vec<String>,
    ) {
        let unseen = self.registers.unseen(key);
        let (mut compared, mut replaced, mut excused) = (0, 0, 0);
        for value in self.registers.values(key) {
            if self.registers.certainty(key, value) < Certainty::Sure {
                excused += 1;
                continue;
            }
            compared += 1;
            if shown.contains(value) {
                continue;
            }
            if self.registers.replaced(key, value) > Certainty::Not {
                replaced += 1;
            } else if self.registers.may_have_replaced(&unseen, value, shown) {
                excused += 1;
            } else {
                wrong.push(format!("{key} has lost the acknowledged {value:?} at {}", names(hosts)));
            }
        }
        let hosts = hosts.len() as u64;
        self.compared += compared * hosts;
        self.replaced += replaced * hosts;
        self.excused += excused * hosts;
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    const NONE: [String; 0] = [];

    fn wrong(history: Vec<Fact>, at_last: &[&str]) -> Vec<String> {
        let mut history = history;
        history.insert(0, started(0));
        history.extend([shown(0, "reg/a", register(at_last)), Fact::Ended]);
        let mut checker = Acknowledged::default();
        judge_untimed(&mut checker, history)
    }

    /// A write at a host that its origin showed, with what it replaced.
    fn write(request: u64, host: u32, v: &str, was: &[&str]) -> Vec<Fact> {
        vec![
            asked(request, host, [set("reg/a", v)]),
            applied(host, "reg/a", was_set(v, was), true),
            written(request),
        ]
    }

    /// `a`, then `b` in its place, with `c` concurrently.
    fn three() -> Vec<Fact> {
        [write(1, 0, "a", &[]), write(2, 0, "b", &["a"]), write(3, 1, "c", &[])].concat()
    }

    #[test]
    fn the_maximal_writes_are_shown() {
        assert_eq!(wrong(three(), &["b", "c"]), NONE);
        let mut checker = Acknowledged::default();
        let history =
            [vec![started(0)], three(), vec![shown(0, "reg/a", register(&["c", "b"])), Fact::Ended]];
        assert_eq!(judge_untimed(&mut checker, history.concat()), NONE);
        assert_eq!(looked_at(&checker, "register writes compared"), 3);
        assert_eq!(looked_at(&checker, "register writes replaced"), 1);
    }

    #[test]
    fn an_acknowledged_write_is_missing() {
        assert_eq!(wrong(three(), &["b"]).len(), 1);
        assert_eq!(wrong(three(), &[]).len(), 2);
    }

    #[test]
    fn a_host_that_replaces_what_the_origin_had_not_seen_does_not_excuse_itself() {
        let elsewhere = vec![applied(0, "reg/a", was_set("c", &["b"]), false)];
        assert_eq!(wrong([three(), elsewhere].concat(), &["c"]).len(), 1);
    }

    #[test]
    fn what_was_replaced_or_deleted_is_shown() {
        assert_eq!(wrong(three(), &["a", "b", "c"]).len(), 1);
        let delete = || {
            let facts = [
                asked(4, 0, [delete("reg/a")]),
                applied(0, "reg/a", was_deleted(&["b", "c"]), true),
                written(4),
            ];
            [three(), facts.to_vec()].concat()
        };
        assert_eq!(wrong(delete(), &[]), NONE);
        assert_eq!(wrong(delete(), &["b"]).len(), 1);
        let lost = [delete(), vec![damaged(0, [lost_request("reg/a", 4)])]].concat();
        assert_eq!(wrong(lost.clone(), &["b"]), NONE, "the delete is lost, and each may be back");
        assert_eq!(wrong(lost, &["a", "b"]).len(), 1);
    }

    #[test]
    fn a_value_from_nowhere_refused_or_twice() {
        assert_eq!(wrong(three(), &["b", "c", "x"]).len(), 1);
        let refused = vec![asked(4, 0, [set("reg/a", "x")]), refused(4)];
        assert_eq!(wrong([three(), refused].concat(), &["b", "c", "x"]).len(), 1);
        assert_eq!(wrong(three(), &["b", "c", "c"]).len(), 1);
        let elsewhere = vec![asked(4, 0, [set("reg/b", "x")])];
        assert_eq!(wrong([three(), elsewhere].concat(), &["b", "c", "x"]).len(), 1, "of another key");
    }

    #[test]
    fn an_unanswered_write_is_there_or_not_and_what_it_replaced_too() {
        let open = || [three(), vec![asked(4, 0, [set("reg/a", "d")]), stopped(0), started(0)]].concat();
        assert_eq!(wrong(open(), &["b", "c"]), NONE);
        assert_eq!(wrong(open(), &["d"]), NONE);
        assert_eq!(wrong(open(), &["b", "d"]), NONE);
        assert_eq!(wrong(open(), &["b"]).len(), 1, "without it nothing can have replaced c");
        let later = || [open(), write(5, 1, "e", &[])].concat();
        assert_eq!(wrong(later(), &["d", "e"]), NONE);
        assert_eq!(wrong(later(), &["d"]).len(), 1, "e was asked for after the process had ended");
    }

    #[test]
    fn an_unanswered_write_that_its_origin_showed_stays() {
        let open = vec![asked(4, 0, [set("reg/a", "d")]), applied(0, "reg/a", was_set("d", &["b"]), true)];
        assert_eq!(wrong([three(), open.clone()].concat(), &["c", "d"]), NONE);
        assert_eq!(wrong([three(), open].concat(), &["c"]).len(), 1);
    }

    #[test]
    fn an_unanswered_delete_explains_what_is_missing() {
        let open = || [three(), vec![asked(4, 0, [delete("reg/a")]), stopped(0), started(0)]].concat();
        assert_eq!(wrong(open(), &[]), NONE);
        assert_eq!(wrong(open(), &["a", "b", "c"]).len(), 1);
        let refused = [three(), vec![asked(4, 0, [delete("reg/a")]), refused(4)]].concat();
        assert_eq!(wrong(refused, &[]).len(), 2);
    }

    #[test]
    fn what_a_lost_write_replaced_may_be_back() {
        let lost = || [three(), vec![damaged(0, [lost("reg/a", "b", None)])]].concat();
        assert_eq!(wrong(lost(), &["a", "c"]), NONE);
        assert_eq!(wrong(lost(), &["b", "c"]), NONE);
        assert_eq!(wrong(lost(), &["c"]), NONE);
        assert_eq!(wrong(lost(), &["a"]).len(), 1, "c is not lost");
    }

    #[test]
    fn a_register_is_a_register() {
        let history = vec![started(0), shown(0, "reg/a", elements(&["x"])), Fact::Ended];
        assert_eq!(judge_untimed(&mut Acknowledged::default(), history).len(), 1);
    }
}

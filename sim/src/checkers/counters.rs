//! A counter is the sum of its acknowledged increments and of some of those that nobody answered.
//!
//! Exactly once is what a counter is about: an increment that is lost shows as a sum too low, one that is counted
//! twice as a sum too high. An increment without an answer counts or not, but as a whole; so what is beyond the
//! acknowledged sum must be the sum of *some subset* of these. Increments that were on a damaged disk alone are such,
//! each for itself, as a disk may lose half of a request. With more than 20 of them, bounds must do.
//!
//! At no time may a counter be above all that was asked for so far.
//!
//! Only keys in `count/`, which are never reset, are judged. A reset takes what it has seen, and no client knows how
//! much that is; for those keys it is enough that all replicas agree.

use super::Checker;
use super::ledger::{Fate, Ledger};
use super::reads::{LastReads, names};
use crate::observation::{Answer, Fact, Host, Observation, Request};
use chinwag_base::Key;
use chinwag_crdt::{Op, Read, What};
use std::collections::BTreeMap;

/// So many increments that may count or not are tried in all combinations: at most a million sums.
const EXACT_MAX: usize = 20;

/// Compares counters with what was added to them.
#[derive(Debug)]
pub struct Counters {
    ledger: Ledger,
    reads: LastReads,
    /// By key, the sum of all increments that were asked for and not refused.
    asked: BTreeMap<Key, i128>,
    totals: u64,
    compared: u64,
    unsure: u64,
}

/// What a counter may be.
struct Expected {
    sure: i128,
    /// Increments that count or not.
    maybe: Vec<i128>,
}

impl Default for Counters {
    fn default() -> Self {
        let (ledger, reads) = (Ledger::new("count"), LastReads::of_namespace("count"));
        Counters { ledger, reads, asked: BTreeMap::new(), totals: 0, compared: 0, unsure: 0 }
    }
}

impl Checker for Counters {
    fn name(&self) -> &'static str {
        "counters"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        if let Fact::Answered { request, answer: Answer::Refused } = &observation.fact {
            self.refuse(*request);
        }
        self.ledger.observe(observation);
        self.reads.observe(observation);
        match &observation.fact {
            Fact::Asked { ops, .. } => self.ask(ops, 1),
            Fact::Applied {
                host,
                key,
                what: What::Incremented { total, .. } | What::Reset { total, .. },
                ..
            }
            | Fact::Shown { host, key, read: Some(Read::Counter(total)) } => {
                self.bound(*host, key, *total, wrong);
            }
            Fact::Ended => self.conclude(wrong),
            _ => {}
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("counter totals bounded", self.totals),
            ("counters compared", self.compared),
            ("counters with unanswered increments", self.unsure),
        ]
    }
}

impl Counters {
    fn ask(&mut self, ops: &[Op], sign: i128) {
        for op in ops {
            if let Op::Increment { key, by } = op
                && key.namespace() == "count"
            {
                *self.asked.entry(key.clone()).or_default() += sign * i128::from(*by);
            }
        }
    }

    fn refuse(&mut self, request: Request) {
        let Some(entry) = self.ledger.get(request) else { return };
        if entry.fate == Fate::Open {
            let ops = entry.ops.clone();
            self.ask(&ops, -1);
        }
    }

    fn bound(&mut self, host: Host, key: &Key, total: i128, wrong: &mut Vec<String>) {
        if key.namespace() != "count" {
            return;
        }
        self.totals += 1;
        let max = self.asked.get(key).copied().unwrap_or(0);
        if total > max {
            wrong.push(format!("{key} is {total} at {host}, and no more than {max} was ever asked for"));
        }
    }

    fn conclude(&mut self, wrong: &mut Vec<String>) {
        for (key, groups) in self.reads.iter() {
            let expected = self.expected(key);
            self.unsure += u64::from(!expected.maybe.is_empty());
            for (read, hosts) in groups {
                self.compared += hosts.len() as u64;
                let total = match read {
                    None => 0,
                    Some(Read::Counter(total)) => *total,
                    Some(other) => {
                        wrong.push(format!("{key} is no counter at {}, but {other:?}", names(&hosts)));
                        continue;
                    }
                };
                if !expected.allows(total) {
                    let Expected { sure, maybe } = &expected;
                    let hosts = names(&hosts);
                    wrong.push(format!("{key} is {total} at {hosts}, not {sure} and some of {maybe:?}"));
                }
            }
        }
    }

    fn expected(&self, key: &Key) -> Expected {
        let (mut sure, mut maybe) = (0, Vec::new());
        let mut unanswered: BTreeMap<Request, i128> = BTreeMap::new();
        for &id in self.ledger.of_key(key) {
            let Some((Op::Increment { by, .. }, entry)) = self.ledger.op(id) else { continue };
            let by = i128::from(*by);
            match entry.fate {
                Fate::Refused => {}
                _ if self.ledger.is_lost(id) => maybe.push(by),
                Fate::Written => sure += by,
                // All operations of a request are done or none.
                Fate::Open => *unanswered.entry(id.0).or_default() += by,
            }
        }
        maybe.extend(unanswered.into_values());
        Expected { sure, maybe }
    }
}

impl Expected {
    fn allows(&self, total: i128) -> bool {
        let extra = total - self.sure;
        if extra == 0 {
            return true;
        }
        if self.maybe.len() > EXACT_MAX {
            let sum = |sign: i128| self.maybe.iter().filter(|by| **by * sign > 0).sum::<i128>();
            return (sum(-1)..=sum(1)).contains(&extra);
        }
        let mut sums = vec![0];
        for by in &self.maybe {
            sums.extend(sums.iter().map(|sum| sum + by).collect::<Vec<i128>>());
            sums.sort_unstable();
            sums.dedup();
        }
        sums.binary_search(&extra).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    /// 5 + 2 acknowledged, 10 and 100 + 1 unanswered, 1000 refused; then `more`, then a look.
    fn wrong(more: Vec<Fact>, at_last: Option<Read>) -> Vec<String> {
        let mut history = vec![
            started(0),
            asked(1, 0, [increment("count/a", 5), increment("count/a", 2)]),
            written(1),
            asked(2, 0, [increment("count/a", 10)]),
            asked(3, 0, [increment("count/a", 100), increment("count/a", 1)]),
            asked(4, 0, [increment("count/a", 1000)]),
            refused(4),
        ];
        history.extend(more);
        history.extend([shown(0, "count/a", at_last), Fact::Ended]);
        let mut checker = Counters::default();
        let wrong = judge_untimed(&mut checker, history);
        assert_eq!(looked_at(&checker, "counters compared"), 1);
        wrong
    }

    #[test]
    fn the_acknowledged_and_some_unanswered_increments_count() {
        for total in [7, 17, 108, 118] {
            assert_eq!(wrong(vec![], Some(Read::Counter(total))).len(), 0, "{total}");
        }
    }

    #[test]
    fn an_acknowledged_increment_is_missing() {
        assert_eq!(wrong(vec![], Some(Read::Counter(2))).len(), 1);
        assert_eq!(wrong(vec![], None).len(), 1);
    }

    #[test]
    fn a_sum_that_no_subset_gives() {
        assert_eq!(wrong(vec![], Some(Read::Counter(8))).len(), 1, "half of a request");
        assert_eq!(wrong(vec![], Some(Read::Counter(27))).len(), 1, "one of them twice");
    }

    #[test]
    fn more_than_was_asked_for_is_seen_at_once() {
        let more = |total| vec![applied(0, "count/a", What::Incremented { by: 1, total }, false)];
        assert_eq!(wrong(more(118), Some(Read::Counter(7))).len(), 0);
        assert_eq!(wrong(more(119), Some(Read::Counter(7))).len(), 1);
        assert_eq!(wrong(vec![], Some(Read::Counter(1007))).len(), 2, "refused: above all, and no subset");
    }

    #[test]
    fn a_lost_increment_counts_or_not() {
        let lost = |total| {
            wrong(vec![damaged(0, [lost_request("count/a", 1)])], (total > 0).then_some(Read::Counter(total)))
        };
        for total in [0, 2, 5, 7, 17] {
            assert_eq!(lost(total).len(), 0, "{total}");
        }
        assert_eq!(lost(3).len(), 1);
    }

    #[test]
    fn many_unanswered_ones_are_bounded() {
        let many = |total| {
            let all = (10..40).map(|n| asked(n, 0, [increment("count/a", 1)])).collect();
            wrong(all, Some(Read::Counter(total)))
        };
        assert_eq!(many(7 + 30).len(), 0);
        assert_eq!(many(6).len(), 1);
    }

    #[test]
    fn a_counter_is_a_counter() {
        assert_eq!(wrong(vec![], elements(&["x"])).len(), 1);
    }
}

//! Once all is healed, all replicas become equal, and equal replicas show the same.
//!
//! Strong eventual consistency (Shapiro, Preguiça, Baquero, Zawirski 2011, section 2): correct replicas that have got
//! the same updates have equal state. So there are three rules:
//!
//! - From `Healed` everybody who runs finds everybody within [`Patience::meshed`].
//! - From `Meshed`, or from the last write, the digests of state *and* of clocks of all become equal within
//!   [`Patience::converged`], and stay so. Equal state with unequal clocks is not enough: an update is missing somewhere, even if it shows nowhere.
//! - Two hosts whose state has one digest show the same under each key, at the end; but for what was written for a time
//!   (under `lent/`), which each shows by its own clock.
//!
//! Nothing is excused: after `Healed` the driver makes no fault.

use super::reads::{LastReads, names};
use super::{Checker, Patience};
use crate::observation::{Fact, Host, Observation};
use chinwag_base::{Digest, Moment};
use std::collections::BTreeMap;
use std::time::Duration;

/// Compares the replicas of all running hosts.
#[derive(Debug)]
pub struct Convergence {
    patience: Patience,
    hosts: Vec<Option<Process>>,
    /// How many processes run.
    running: usize,
    /// How many of them show which digests.
    sums: BTreeMap<Sum, usize>,
    healed: Option<Moment>,
    meshed: Option<Moment>,
    /// When anybody wrote last: what was written for a time is deleted when its time has come.
    written: Option<Moment>,
    /// Since when all are equal, if they are.
    equal: Option<Moment>,
    reads: LastReads,
    was_late_to_mesh: bool,
    was_late_to_converge: bool,
    looks: u64,
    compared: u64,
}

/// The digests of state and clock.
type Sum = (Digest, Digest);

/// A process that runs, and what it showed last.
#[derive(Debug, Default)]
struct Process {
    sum: Option<Sum>,
}

impl Convergence {
    /// With this patience.
    pub fn new(patience: Patience) -> Self {
        Convergence {
            patience,
            hosts: Vec::new(),
            running: 0,
            sums: BTreeMap::new(),
            healed: None,
            meshed: None,
            written: None,
            equal: None,
            reads: LastReads::default(),
            was_late_to_mesh: false,
            was_late_to_converge: false,
            looks: 0,
            compared: 0,
        }
    }

    /// Milliseconds from `Healed` until everybody had found everybody.
    pub fn meshed_ms(&self) -> Option<u64> {
        Some(self.meshed?.since(self.healed?).as_millis() as u64)
    }

    /// Milliseconds from `Healed` until all were equal for good; none if they are not.
    pub fn converged_ms(&self) -> Option<u64> {
        self.meshed?;
        Some(self.equal?.since(self.healed?).as_millis() as u64)
    }
}

impl Checker for Convergence {
    fn name(&self) -> &'static str {
        "convergence"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        let now = observation.at;
        let is_end = matches!(observation.fact, Fact::Ended);
        self.check_deadlines(now, is_end, wrong);
        self.reads.observe(observation);
        match &observation.fact {
            Fact::Started { host } => self.replace(*host, Some(Process::default()), now),
            Fact::Stopped { host, .. } => self.replace(*host, None, now),
            Fact::Summed { host, state, clock } => {
                self.looks += 1;
                // A look at a host that does not run is none.
                if self.hosts.get(host.index()).is_some_and(Option::is_some) {
                    self.replace(*host, Some(Process { sum: Some((*state, *clock)) }), now);
                }
            }
            Fact::Applied { local: true, .. } => self.written = Some(now),
            Fact::Healed => (self.healed, self.meshed) = (Some(now), None),
            // They may have met before, when the run began.
            Fact::Meshed if self.healed.is_some() => self.meshed = self.meshed.or(Some(now)),
            Fact::Ended => self.compare_reads(wrong),
            _ => {}
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("meshes awaited", u64::from(self.meshed.is_some())),
            ("digests compared", self.looks),
            ("keys compared between replicas", self.compared),
        ]
    }
}

impl Convergence {
    fn replace(&mut self, host: Host, process: Option<Process>, now: Moment) {
        if self.hosts.len() <= host.index() {
            self.hosts.resize_with(host.index() + 1, || None);
        }
        let new = process.as_ref().and_then(|it| it.sum);
        self.running += usize::from(process.is_some());
        if let Some(old) = std::mem::replace(&mut self.hosts[host.index()], process) {
            self.running -= 1;
            if let Some(sum) = old.sum
                && let Some(count) = self.sums.get_mut(&sum)
            {
                *count -= 1;
                if *count == 0 {
                    self.sums.remove(&sum);
                }
            }
        }
        if let Some(sum) = new {
            *self.sums.entry(sum).or_default() += 1;
        }
        let all_show_one = self.sums.values().next() == Some(&self.running);
        self.equal = if all_show_one { self.equal.or(Some(now)) } else { None };
    }

    /// What must have been by now. Called before the observation is taken: it may be what came too late.
    fn check_deadlines(&mut self, now: Moment, is_end: bool, wrong: &mut Vec<String>) {
        let is_over = |since: Moment, patience: Duration| {
            let passed = now.since(since);
            passed > patience || is_end && passed == patience
        };
        if let Some(healed) = self.healed
            && self.meshed.is_none()
            && !self.was_late_to_mesh
            && is_over(healed, self.patience.meshed)
        {
            self.was_late_to_mesh = true;
            wrong.push(format!(
                "not everybody has found everybody {:?} after all was healed",
                now.since(healed)
            ));
        }
        let Some(meshed) = self.meshed.filter(|_| !self.was_late_to_converge) else { return };
        let since = self.written.map_or(meshed, |written| written.max(meshed));
        if self.equal.is_none() && self.running > 0 && is_over(since, self.patience.converged) {
            self.was_late_to_converge = true;
            wrong.push(format!("{} {:?} after all had met", self.differences(), now.since(since)));
        }
    }

    /// Who differs from most.
    fn differences(&self) -> String {
        let Some((most, _)) = self.sums.iter().max_by_key(|(_, count)| **count) else {
            return "no replica was looked at".to_owned();
        };
        let (mut of_state, mut of_clock, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for (index, process) in self.hosts.iter().enumerate() {
            let Some(process) = process else { continue };
            let host = Host(index as u32);
            match process.sum {
                None => unknown.push(host),
                Some(sum) if sum == *most => {}
                Some((state, _)) if state != most.0 => of_state.push(host),
                Some(_) => of_clock.push(host),
            }
        }
        let mut parts = Vec::new();
        for (hosts, how) in [
            (of_state, "have another state than most"),
            (of_clock, "have the state of most, with another clock"),
            (unknown, "were not looked at"),
        ] {
            if !hosts.is_empty() {
                parts.push(format!("{} {how}", names(&hosts)));
            }
        }
        parts.join(", ")
    }

    fn compare_reads(&mut self, wrong: &mut Vec<String>) {
        for (key, groups) in self.reads.iter().filter(|(key, _)| key.namespace() != "lent") {
            self.compared += 1;
            let mut first: BTreeMap<Digest, (usize, Host)> = BTreeMap::new();
            let shown = groups.iter().enumerate().filter(|_| groups.len() > 1);
            let by_host = shown.flat_map(|(group, (_, hosts))| hosts.iter().map(move |&host| (group, host)));
            let different = by_host.into_iter().find_map(|(group, host)| {
                let (state, _) = self.hosts.get(host.index())?.as_ref()?.sum?;
                let &mut (other, at) = first.entry(state).or_insert((group, host));
                (other != group).then_some((at, host))
            });
            if let Some((one, other)) = different {
                wrong.push(format!("{one} and {other} have one digest and show {key} differently"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;
    use chinwag_crdt::Read;

    fn summed(host: u32, state: &str, clock: &str) -> Fact {
        let digest = |text: &str| Digest::of("test", text.as_bytes());
        Fact::Summed { host: Host(host), state: digest(state), clock: digest(clock) }
    }

    /// Three hosts, all healed at 1000 ms. Each patience is 1000 ms.
    fn check(history: Vec<(u64, Fact)>) -> (Convergence, Vec<String>) {
        let mut checker = Convergence::new(patience());
        let before = [(0, started(0)), (0, started(1)), (0, started(2)), (1000, Fact::Healed)];
        let wrong = judge(&mut checker, before.into_iter().chain(history));
        (checker, wrong)
    }

    fn wrong(history: Vec<(u64, Fact)>) -> usize {
        check(history).1.len()
    }

    /// All meet at 1500 ms, and two of them are equal.
    fn met() -> Vec<(u64, Fact)> {
        vec![(1500, Fact::Meshed), (1600, summed(0, "x", "c")), (1700, summed(1, "x", "c"))]
    }

    fn then(more: impl IntoIterator<Item = (u64, Fact)>) -> Vec<(u64, Fact)> {
        met().into_iter().chain(more).collect()
    }

    #[test]
    fn all_meet_and_become_equal() {
        let looks = [(1800, summed(2, "y", "c")), (2400, summed(2, "x", "c")), (9000, Fact::Ended)];
        let (checker, wrong) = check(then(looks));
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!((checker.meshed_ms(), checker.converged_ms()), (Some(500), Some(1400)));
        assert_eq!(looked_at(&checker, "digests compared"), 4);
    }

    #[test]
    fn they_do_not_meet_in_time() {
        assert_eq!(wrong(vec![(2001, Fact::Meshed)]), 1);
        assert_eq!(wrong(vec![(2000, Fact::Ended)]), 1);
        assert_eq!(wrong(vec![(1999, Fact::Ended)]), 0, "their time was not over");
        let mut checker = Convergence::new(patience());
        let before = [(0, started(0)), (10, Fact::Meshed), (1000, Fact::Healed), (3000, Fact::Ended)];
        assert_eq!(judge(&mut checker, before).len(), 1, "they had met before the faults only");
        assert_eq!(wrong(vec![(5000, started(0)), (6000, started(1)), (7000, Fact::Ended)]), 1, "told once");
    }

    #[test]
    fn they_do_not_become_equal_in_time() {
        let late = check(then([(2501, summed(2, "x", "c")), (9000, Fact::Ended)])).1;
        assert_eq!(late.len(), 1);
        assert!(late[0].starts_with("n2 were not looked at"), "{late:?}");
        let (checker, never) = check(then([(1800, summed(2, "y", "c")), (2500, Fact::Ended)]));
        assert_eq!(never.len(), 1);
        assert!(never[0].starts_with("n2 have another state than most"), "{never:?}");
        assert_eq!(checker.converged_ms(), None);
        assert_eq!(
            wrong(then([(1800, summed(2, "y", "c")), (2499, Fact::Ended)])),
            0,
            "their time was not over"
        );
    }

    #[test]
    fn a_late_write_gives_them_time_again() {
        let what = chinwag_crdt::What::Enabled;
        let key = "flag/a".parse().unwrap();
        let written = (2400, Fact::Applied { host: Host(2), key, what, local: true });
        let looks = |back| [(1800, summed(2, "y", "c")), written.clone(), (back, summed(2, "x", "c"))];
        assert_eq!(wrong(then(looks(3400).into_iter().chain([(9000, Fact::Ended)]))), 0);
        assert_eq!(wrong(then(looks(3401).into_iter().chain([(9000, Fact::Ended)]))), 1);
    }

    #[test]
    fn their_clocks_differ() {
        let wrong = check(then([(1800, summed(2, "x", "d")), (9000, Fact::Ended)])).1;
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("another clock"), "{wrong:?}");
    }

    #[test]
    fn they_do_not_stay_equal() {
        let part = |back| {
            then([
                (1800, summed(2, "x", "c")),
                (2600, summed(1, "y", "c")),
                (back, summed(1, "x", "c")),
                (9000, Fact::Ended),
            ])
        };
        assert_eq!(wrong(part(2600)), 1);
        assert_eq!(wrong(part(3600)), 1);
    }

    #[test]
    fn one_that_stopped_need_not_be_equal() {
        let history = then([(1800, summed(2, "y", "c")), (1900, stopped(2)), (9000, Fact::Ended)]);
        let (checker, wrong) = check(history);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(checker.converged_ms(), Some(900));
    }

    #[test]
    fn equal_digests_and_unequal_reads() {
        let looks = |read| {
            then([
                (1800, summed(2, "x", "c")),
                (1900, shown(0, "tally/a", Some(Read::Counter(1)))),
                (1900, shown(2, "tally/a", read)),
                (9000, Fact::Ended),
            ])
        };
        assert_eq!(wrong(looks(Some(Read::Counter(1)))), 0);
        assert_eq!(wrong(looks(Some(Read::Counter(2)))), 1);
        assert_eq!(wrong(looks(None)), 1);
        let lent = then([
            (1800, summed(2, "x", "c")),
            (1900, shown(0, "lent/a", Some(Read::Counter(1)))),
            (1900, shown(2, "lent/a", None)),
            (9000, Fact::Ended),
        ]);
        assert_eq!(wrong(lent), 0, "each shows it by its own clock");
    }
}

//! Every crash is known to everybody, soon.
//!
//! The *completeness* of a failure detector (Das, Gupta, Motivala 2002, section 1: every failure is detected by every
//! member, and section 3.1: how fast). Judged is each end of a process, crash or goodbye, that lasts for
//! [`Patience::crash_known`]. By then each observer that held the member for alive or suspect when it ended, and that
//! has run unpaused ever since, must hold it for down or left, or not show it any more.
//!
//! A crash is not judged if a cut was open at any moment of that span, or within [`Patience::aftermath`] before it:
//! then nobody can be told, or nobody can be asked.
//!
//! Views are looked at once more at the end: of those who are gone for that long nobody is held for alive or suspect,
//! and once all have met, nobody who runs is held for anything but alive.

use super::bits::Bits;
use super::faults::Faults;
use super::reads::names;
use super::{Checker, Patience};
use crate::observation::{Fact, Host, Observation, Stop};
use chinwag_base::Moment;
use chinwag_membership::State;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Watches who learns of which crash, and when.
#[derive(Debug)]
pub struct CrashKnown {
    patience: Patience,
    faults: Faults,
    /// By member, who holds it for alive or suspect.
    present: Vec<Bits>,
    /// The latest end of each host that does not run.
    crashes: BTreeMap<Host, Crash>,
    /// When they are judged.
    deadlines: VecDeque<(Moment, Host)>,
    detections: Vec<Detection>,
    is_healed: bool,
    /// All have met since.
    has_met: bool,
    judged: u64,
    observers: u64,
    looks: u64,
}

#[derive(Debug)]
struct Crash {
    at: Moment,
    how: Stop,
    /// Who must learn of it and has not.
    waiting: Bits,
    /// No cut disturbed it so far.
    is_clear: bool,
    detection: Detection,
}

/// How fast a crash was detected, from the crash on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detection {
    /// By kill -9, with a host that still resets connections; else by a power cut.
    pub killed: bool,
    /// Until somebody suspected it.
    pub first_suspect: Option<Duration>,
    /// Until somebody held it for down.
    pub first_down: Option<Duration>,
    /// Until all did who had held it for alive, and who ran on undisturbed.
    pub all_down: Option<Duration>,
}

impl CrashKnown {
    /// With this patience.
    pub fn new(patience: Patience) -> Self {
        CrashKnown {
            patience,
            faults: Faults::default(),
            present: Vec::new(),
            crashes: BTreeMap::new(),
            deadlines: VecDeque::new(),
            detections: Vec::new(),
            is_healed: false,
            has_met: false,
            judged: 0,
            observers: 0,
            looks: 0,
        }
    }

    /// How fast each crash was detected, of those whose host is back; of all once the run has ended. Goodbyes, and
    /// crashes that no running host could notice, are not among them.
    pub fn detections(&self) -> &[Detection] {
        &self.detections
    }
}

impl Checker for CrashKnown {
    fn name(&self) -> &'static str {
        "crash-known"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        let now = observation.at;
        self.judge_due(now, wrong);
        let was_cut = self.faults.is_cut(now, Duration::ZERO);
        self.faults.observe(observation);
        match &observation.fact {
            Fact::Started { host } => {
                self.close(*host);
                self.forget_views_of(*host);
                self.excuse(*host);
            }
            Fact::Stopped { host, how } => {
                self.forget_views_of(*host);
                self.excuse(*host);
                self.open(*host, *how, now);
            }
            Fact::Paused { host } => self.excuse(*host),
            Fact::Cut { .. } if !was_cut => {
                self.crashes.values_mut().for_each(|crash| crash.is_clear = false);
            }
            Fact::Believed { host, about, state, .. } => self.believe(*host, *about, Some(*state), now),
            Fact::Reaped { host, about } => self.believe(*host, *about, None, now),
            Fact::Healed => self.is_healed = true,
            Fact::Meshed => self.has_met = self.is_healed,
            Fact::Believes { host, about, state } => self.look(*host, *about, *state, now, wrong),
            Fact::Ended => {
                self.judge_due(now + Duration::from_nanos(1), wrong);
                let hosts: Vec<Host> = self.crashes.keys().copied().collect();
                hosts.into_iter().for_each(|host| self.close(host));
            }
            _ => {}
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("crashes and goodbyes judged", self.judged),
            ("observers that had to learn of them", self.observers),
            ("beliefs looked at", self.looks),
        ]
    }
}

impl CrashKnown {
    fn open(&mut self, host: Host, how: Stop, now: Moment) {
        let present = self.present.get(host.index());
        let waiting = present.map(|present| present.and(&self.faults.awake)).unwrap_or_default();
        let is_clear = !self.faults.is_cut(now, self.patience.aftermath);
        let killed = how == Stop::Killed;
        let detection = Detection { killed, first_suspect: None, first_down: None, all_down: None };
        if !waiting.is_empty() {
            self.crashes.insert(host, Crash { at: now, how, waiting, is_clear, detection });
            self.deadlines.push_back((now + self.patience.crash_known, host));
        }
    }

    /// The host runs again, or the run is over.
    fn close(&mut self, host: Host) {
        if let Some(crash) = self.crashes.remove(&host)
            && crash.how != Stop::Left
        {
            self.detections.push(crash.detection);
        }
    }

    fn forget_views_of(&mut self, host: Host) {
        self.present.iter_mut().for_each(|present| {
            present.remove(host.index());
        });
    }

    /// An observer that does not run all the time need not learn of anything.
    fn excuse(&mut self, observer: Host) {
        self.crashes.values_mut().for_each(|crash| {
            crash.waiting.remove(observer.index());
        });
    }

    fn believe(&mut self, host: Host, about: Host, state: Option<State>, now: Moment) {
        if self.present.len() <= about.index() {
            self.present.resize(about.index() + 1, Bits::default());
        }
        let present = &mut self.present[about.index()];
        match state {
            Some(State::Alive) => present.insert(host.index()),
            // One that was held for alive still is present. One that was down by silence alone is not.
            Some(State::Suspect) => {}
            Some(State::Down | State::Left) | None => {
                present.remove(host.index());
            }
        }
        let Some(crash) = self.crashes.get_mut(&about) else { return };
        let (after, detection) = (now.since(crash.at), &mut crash.detection);
        match state {
            Some(State::Alive) => {}
            Some(State::Suspect) => detection.first_suspect = detection.first_suspect.or(Some(after)),
            Some(State::Down | State::Left) | None => {
                detection.first_down = detection.first_down.or(Some(after));
                if crash.waiting.remove(host.index()) {
                    self.observers += 1;
                    if crash.waiting.is_empty() {
                        detection.all_down = Some(after);
                    }
                }
            }
        }
    }

    /// Judges the crashes whose time is over before `now`.
    fn judge_due(&mut self, now: Moment, wrong: &mut Vec<String>) {
        while let Some(&(deadline, host)) = self.deadlines.front().filter(|(deadline, _)| *deadline < now) {
            self.deadlines.pop_front();
            // It may have come back, and crashed again since.
            let Some(crash) = self.crashes.get_mut(&host) else { continue };
            if crash.at + self.patience.crash_known != deadline || !crash.is_clear {
                continue;
            }
            self.judged += 1;
            let ignorant: Vec<Host> = crash.waiting.iter().map(|it| Host(it as u32)).collect();
            if !ignorant.is_empty() {
                self.observers += ignorant.len() as u64;
                let (who, how) = (names(&ignorant), crash.how);
                let after = deadline.since(crash.at);
                wrong.push(format!("{host} is gone ({how:?}), and {after:?} later {who} did not know"));
            }
        }
    }

    /// A look at a view, at the end.
    fn look(&mut self, host: Host, about: Host, state: Option<State>, now: Moment, wrong: &mut Vec<String>) {
        if host == about || !self.faults.runs(host) {
            return;
        }
        self.looks += 1;
        let shown = state.map_or("unknown".to_owned(), |state| state.to_string());
        if self.faults.runs(about) {
            if self.has_met && state != Some(State::Alive) {
                wrong.push(format!("{host} holds {about} for {shown}, which runs"));
            }
        } else if state.is_some_and(State::is_present) {
            let patience = self.patience.crash_known;
            // Who was cut off, or has just begun, has its time from then on.
            let is_excused = self.faults.is_cut(now, patience)
                || self.faults.is_disturbed(host, now, patience)
                || self.faults.is_disturbed(about, now, patience);
            if !is_excused {
                wrong.push(format!("{host} holds {about} for {shown}, which has been gone for long"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    /// Three hosts that know each other; host 2 is killed at 5000 ms. It must be known by 6000 ms.
    fn check(history: Vec<(u64, Fact)>) -> (CrashKnown, Vec<String>) {
        let mut checker = CrashKnown::new(patience());
        let mut all: Vec<(u64, Fact)> = (0..3).map(|host| (0, started(host))).collect();
        for host in 0..3 {
            let others = (0..3).filter(|&about| about != host);
            all.extend(others.map(|about| (100, believed(host, about, State::Alive))));
        }
        all.extend(history);
        all.sort_by_key(|(ms, _)| *ms);
        let wrong = judge(&mut checker, all);
        (checker, wrong)
    }

    fn down(host: u32) -> Fact {
        believed(host, 2, State::Down)
    }

    fn crash_and(more: impl IntoIterator<Item = (u64, Fact)>) -> Vec<(u64, Fact)> {
        [(5000, stopped(2)), (20_000, Fact::Ended)].into_iter().chain(more).collect()
    }

    fn wrong(more: impl IntoIterator<Item = (u64, Fact)>) -> usize {
        check(crash_and(more)).1.len()
    }

    #[test]
    fn all_learn_of_it() {
        let suspect = believed(0, 2, State::Suspect);
        let (checker, wrong) = check(crash_and([(5300, suspect), (5500, down(0)), (6000, down(1))]));
        assert!(wrong.is_empty(), "{wrong:?}");
        let ms = |ms| Some(Duration::from_millis(ms));
        let detection =
            Detection { killed: true, first_suspect: ms(300), first_down: ms(500), all_down: ms(1000) };
        assert_eq!(checker.detections(), [detection]);
        assert_eq!(looked_at(&checker, "crashes and goodbyes judged"), 1);
        assert_eq!(looked_at(&checker, "observers that had to learn of them"), 2);
    }

    #[test]
    fn somebody_does_not_learn_of_it_or_too_late() {
        assert_eq!(wrong([(5500, down(0))]), 1);
        assert_eq!(
            wrong([(5500, down(0)), (5500, believed(1, 2, State::Suspect))]),
            1,
            "suspects it for ever"
        );
        let (checker, late) = check(crash_and([(5500, down(0)), (6001, down(1))]));
        assert_eq!(late.len(), 1);
        assert!(late[0].contains("n1 did not know"), "{late:?}");
        assert_eq!(checker.detections()[0].all_down, Some(Duration::from_millis(1001)));
        let ended_at_the_deadline = vec![(5000, stopped(2)), (6000, Fact::Ended)];
        assert_eq!(check(ended_at_the_deadline).1.len(), 1);
    }

    #[test]
    fn a_goodbye_is_known_too() {
        let left = || (5000, Fact::Stopped { host: Host(2), how: Stop::Left });
        let (checker, wrong) = check(vec![left(), (9000, Fact::Ended)]);
        assert_eq!((wrong.len(), checker.detections().len()), (1, 0));
        let known =
            vec![(4900, believed(0, 2, State::Left)), left(), (5100, reaped(1, 2)), (9000, Fact::Ended)];
        assert_eq!(check(known).1.len(), 0);
    }

    #[test]
    fn one_who_had_held_it_for_down_before_need_not_say_so_again() {
        assert_eq!(wrong([(4000, down(0)), (5500, down(1))]), 0);
        let suspect = (4500, believed(0, 2, State::Suspect));
        assert_eq!(
            wrong([(4000, down(0)), suspect, (5500, down(1))]),
            0,
            "down by silence, and then a rumour"
        );
    }

    #[test]
    fn an_observer_that_does_not_run_all_the_time_is_excused() {
        assert_eq!(wrong([(5500, down(0)), (5900, paused(1)), (5901, resumed(1))]), 0);
        assert_eq!(wrong([(5500, down(0)), (4000, paused(1)), (5100, resumed(1))]), 0);
        assert_eq!(wrong([(5500, down(0)), (5900, stopped(1)), (5901, started(1))]), 0);
        assert_eq!(wrong([(5500, down(0)), (4000, paused(1)), (4001, resumed(1))]), 1);
        assert_eq!(wrong([(5500, down(0)), (5900, started(1))]), 0, "its end was not seen");
        assert_eq!(wrong([(5500, down(0)), (6001, paused(1))]), 1);
    }

    #[test]
    fn a_cut_excuses_all() {
        assert_eq!(wrong([(4000, cut(0, 1)), (4500, mended(0, 1))]), 0);
        assert_eq!(wrong([(4000, cut(0, 1)), (4499, mended(0, 1))]), 1);
        assert_eq!(wrong([(6000, cut(0, 1))]), 0);
        assert_eq!(wrong([(6001, cut(0, 1))]), 1);
    }

    #[test]
    fn one_that_comes_back_in_time_is_not_judged() {
        assert_eq!(wrong([(5900, started(2))]), 0);
        assert_eq!(wrong([(6001, started(2))]), 1);
        let again = [(5900, started(2)), (5950, believed(0, 2, State::Alive)), (5990, stopped(2))];
        assert_eq!(wrong(again), 1, "and crashes again: host 0 must learn of that");
    }

    #[test]
    fn a_view_at_the_end() {
        let known = || [(5500, down(0)), (5500, down(1)), (7500, Fact::Healed), (8000, Fact::Meshed)];
        let look =
            |ms, host, about, state| wrong(known().into_iter().chain([(ms, believes(host, about, state))]));
        assert_eq!(look(9000, 0, 2, Some(State::Down)), 0);
        assert_eq!(look(9000, 0, 2, None), 0);
        assert_eq!(look(9000, 0, 2, Some(State::Suspect)), 1);
        assert_eq!(look(9000, 0, 2, Some(State::Alive)), 1);
        assert_eq!(look(9000, 0, 1, Some(State::Alive)), 0);
        for state in [None, Some(State::Suspect), Some(State::Down), Some(State::Left)] {
            assert_eq!(look(9000, 0, 1, state), 1);
            assert_eq!(look(9000, 0, 0, state), 0, "of itself");
            assert_eq!(look(7000, 0, 1, state), 0, "before they have met");
        }
        let still_alive = (5800, believes(0, 2, Some(State::Alive)));
        assert_eq!(wrong(known().into_iter().chain([still_alive])), 0, "not gone for long");
    }
}

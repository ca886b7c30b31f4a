//! Nobody who runs and can be reached is held for down.
//!
//! The *accuracy* of a failure detector (Das, Gupta, Motivala 2002, section 1; Chandra and Toueg 1996). No detector
//! has it in full: a member that nobody can reach is no different from a dead one. So what is excused is what the
//! observer cannot tell from a death:
//!
//! - the member was cut off from two hosts or more, or, for a belief by silence alone, from the observer; or it was
//!   disturbed while others were cut off from each other, so that the news of it comes late;
//! - the observer or the member is paused, or was, or its process began or ended, a moment ago: the death is then
//!   that of the process before. But a stall that the member had admitted before is forgiven.
//!
//! "A moment" is [`Patience::aftermath`](super::Patience::aftermath). Suspicions are no wrong: they are questions.

use super::Checker;
use super::excuses::Excuses;
use crate::observation::{Fact, Observation};
use chinwag_membership::State;
use std::time::Duration;

/// Compares beliefs in deaths with who runs.
#[derive(Debug)]
pub struct FalseDeath {
    excuses: Excuses,
    deaths: u64,
    excused: u64,
    unexcused: u64,
    suspicions: u64,
}

impl FalseDeath {
    /// With so much time after a fault in which it excuses.
    pub fn new(aftermath: Duration) -> Self {
        let excuses = Excuses::new(aftermath);
        FalseDeath { excuses, deaths: 0, excused: 0, unexcused: 0, suspicions: 0 }
    }

    /// How often somebody who ran was held for down, by an observer and with a fault that excuses it.
    pub fn excused(&self) -> u64 {
        self.excused
    }

    /// How often without: violations.
    pub fn unexcused(&self) -> u64 {
        self.unexcused
    }

    /// How often somebody who ran was suspected, by an observer.
    pub fn false_suspicions(&self) -> u64 {
        self.suspicions
    }
}

impl Checker for FalseDeath {
    fn name(&self) -> &'static str {
        "false-death"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        self.excuses.observe(observation);
        let Fact::Believed { host, about, state, unverified, .. } = observation.fact else { return };
        let runs = self.excuses.faults.runs(about);
        match state {
            State::Suspect => self.suspicions += u64::from(runs),
            State::Down => {
                self.deaths += 1;
                if !runs {
                    return;
                }
                let is_excused = self.excuses.excuse(observation.at, host, about, unverified);
                if is_excused {
                    self.excused += 1;
                } else {
                    self.unexcused += 1;
                    wrong.push(format!("{host} holds {about} for down, which runs, and no fault is near"));
                }
            }
            State::Alive | State::Left => {}
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("beliefs in a death", self.deaths),
            ("deaths of running members, excused", self.excused),
            ("pauses that must be forgiven", self.excuses.forgivable()),
            ("suspicions of running members", self.suspicions),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    fn down() -> Fact {
        believed(0, 1, State::Down)
    }

    /// Two hosts that run since 0 ms; aftermath is 500 ms.
    fn check(history: Vec<(u64, Fact)>) -> (FalseDeath, usize) {
        let mut checker = FalseDeath::new(patience().aftermath);
        let started = [(0, started(0)), (0, started(1)), (0, started(2))];
        let wrong = judge(&mut checker, started.into_iter().chain(history));
        assert_eq!(wrong.len() as u64, checker.unexcused());
        (checker, wrong.len())
    }

    fn wrong(history: Vec<(u64, Fact)>) -> usize {
        check(history).1
    }

    #[test]
    fn the_dead_are_dead_and_suspicions_are_counted() {
        let suspect = believed(0, 1, State::Suspect);
        let history = vec![(600, suspect.clone()), (700, stopped(1)), (2000, suspect), (3000, down())];
        let (checker, wrong) = check(history);
        assert_eq!((wrong, checker.false_suspicions(), checker.excused()), (0, 1, 0));
        assert_eq!(looked_at(&checker, "beliefs in a death"), 1);
    }

    #[test]
    fn one_who_runs_is_held_for_down() {
        assert_eq!(wrong(vec![(501, down())]), 1);
        assert_eq!(wrong(vec![(501, paused(2)), (502, down())]), 1, "a third one's pause is no excuse");
    }

    #[test]
    fn cuts_to_two_hosts_excuse_until_their_aftermath_is_over() {
        let cuts = |ms| {
            let history =
                vec![(600, cut(1, 2)), (600, cut(0, 1)), (9000, mended(1, 2)), (9000, mended(0, 1))];
            wrong(history.into_iter().chain([(ms, down())]).collect())
        };
        assert_eq!(cuts(8000), 0);
        assert_eq!(cuts(9500), 0);
        assert_eq!(cuts(9501), 1);
        assert_eq!(wrong(vec![(600, cut(1, 2)), (9000, down())]), 1, "all but one can reach it");
    }

    #[test]
    fn a_pause_or_another_process_excuses_until_its_aftermath_is_over() {
        for host in [0, 1] {
            assert_eq!(wrong(vec![(600, paused(host)), (9000, down())]), 0);
            let resumed = |ms| vec![(600, paused(host)), (9000, resumed(host)), (ms, down())];
            assert_eq!(wrong(resumed(9500)), 0);
            assert_eq!(wrong(resumed(9501)), 1);
            let restarted = |ms| vec![(600, stopped(host)), (9000, started(host)), (ms, down())];
            assert_eq!(wrong(restarted(9500)), 0);
            assert_eq!(wrong(restarted(9501)), 1);
        }
    }
}

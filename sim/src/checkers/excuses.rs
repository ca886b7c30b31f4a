//! What excuses whoever holds a running host for down: the faults that cannot be told from its death.
//!
//! What a failure detector of ours promises is more than "nobody is accused while nothing is wrong":
//!
//! - *A cut to one host accuses nobody.* A verdict needs what others found, so a host that is cut off from one member only,
//!   or from all, convicts nobody who others can reach; after a long silence it may give up on it, for itself alone.
//! - *A stall that a member has admitted before is forgiven.* A member that was paused for as long once, of which all
//!   have heard, is not held for down when it is paused again.

use super::faults::Faults;
use crate::observation::{Fact, Host, Observation};
use chinwag_base::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An admitted stall is forgotten by halves of ten minutes; for so long what is left of it covers its own length.
const MEMORY: Duration = Duration::from_secs(300);
/// Longer stalls are not forgiven in full: the mean that a member may admit is bounded, so that a crash is detected.
const FORGIVEN_MAX: Duration = Duration::from_secs(30);
/// News is everywhere in this part of the time that its consequences may take.
const NEWS_PER_AFTERMATH: u32 = 4;

/// What is known of the faults so far.
#[derive(Debug)]
pub(super) struct Excuses {
    aftermath: Duration,
    pub(super) faults: Faults,
    /// Since the first of the cuts that are open, or whose aftermath is not over: who was cut off from whom, either way.
    apart: BTreeMap<Host, BTreeSet<Host>>,
    /// Hosts that were disturbed in that time.
    disturbed: BTreeSet<Host>,
    /// When a cut was last open.
    cut_until: Option<Moment>,
    stalls: BTreeMap<Host, Stalls>,
    /// Pauses of members that had admitted one as long.
    forgivable: u64,
}

/// The pauses of one process life.
#[derive(Debug, Clone, Copy, Default)]
struct Stalls {
    /// Since when this process is there, if it is not the host's first: an accusation may mean the one before.
    began: Option<Moment>,
    /// The longest before the latest, and when it ended.
    admitted: Option<(Duration, Moment)>,
    /// The latest: its begin, and its end if that has come.
    latest: Option<(Moment, Option<Moment>)>,
}

impl Excuses {
    /// With so much time after a fault in which it still excuses.
    pub(super) fn new(aftermath: Duration) -> Self {
        Excuses {
            aftermath,
            faults: Faults::default(),
            apart: BTreeMap::new(),
            disturbed: BTreeSet::new(),
            cut_until: None,
            stalls: BTreeMap::new(),
            forgivable: 0,
        }
    }

    pub(super) fn observe(&mut self, observation: &Observation) {
        let now = observation.at;
        if self.faults.is_cut(now, Duration::ZERO) {
            self.cut_until = Some(now);
        }
        if !self.faults.is_cut(now, self.aftermath) {
            self.apart.clear();
            // Whoever was disturbed just before a cut may be accused for that, and the news be on its way for long.
            let (faults, aftermath) = (&self.faults, self.aftermath);
            self.disturbed.retain(|host| faults.is_disturbed(*host, now, aftermath));
        }
        match &observation.fact {
            Fact::Started { host } | Fact::Stopped { host, .. } => {
                let began = self.stalls.contains_key(host).then_some(now);
                self.stalls.insert(*host, Stalls { began, ..Stalls::default() });
                self.disturbed.insert(*host);
            }
            Fact::Paused { host } => {
                self.stalls.entry(*host).or_default().pause(now);
                self.disturbed.insert(*host);
            }
            Fact::Resumed { host } => {
                self.stalls.entry(*host).or_default().resume(now);
                self.disturbed.insert(*host);
                self.forgivable += u64::from(self.is_forgiven(*host, now));
            }
            Fact::Cut { from, to } => {
                self.apart.entry(*from).or_default().insert(*to);
                self.apart.entry(*to).or_default().insert(*from);
            }
            _ => {}
        }
        self.faults.observe(observation);
    }

    /// Pauses that nobody may take for a death.
    pub(super) fn forgivable(&self) -> u64 {
        self.forgivable
    }

    /// Whether `host` can be excused when it begins to hold `about`, which runs, for down; `alone`: by silence, for itself.
    pub(super) fn excuse(&self, now: Moment, host: Host, about: Host, alone: bool) -> bool {
        let is_disturbed = |it| self.faults.is_disturbed(it, now, self.aftermath);
        is_disturbed(host)
            || is_disturbed(about) && !self.is_forgiven(about, now)
            || self.faults.is_cut(now, self.aftermath) && self.may_be_cut_off(host, about, alone)
    }

    fn may_be_cut_off(&self, host: Host, about: Host, alone: bool) -> bool {
        let apart = self.apart.get(&about);
        self.disturbed.contains(&about)
            || apart.is_some_and(|apart| apart.len() > 1 || alone && apart.contains(&host))
    }

    /// Whether the latest pause of a host is one that all must have been ready for.
    fn is_forgiven(&self, host: Host, now: Moment) -> bool {
        let Some(stalls) = self.stalls.get(&host) else { return false };
        let (Some((longest, ended)), Some((begin, end))) = (stalls.admitted, stalls.latest) else {
            return false;
        };
        let lasted = end.unwrap_or(now).since(begin);
        let is_known = begin.since(ended) >= self.aftermath / NEWS_PER_AFTERMATH
            && self.cut_until.is_none_or(|cut| cut < ended);
        let is_meant = stalls.began.is_none_or(|began| now.since(began) > self.aftermath);
        is_known && is_meant && lasted <= longest.min(FORGIVEN_MAX) && now.since(ended) <= MEMORY
    }
}

impl Stalls {
    fn pause(&mut self, now: Moment) {
        if let Some((begin, Some(end))) = self.latest {
            let lasted = end.since(begin);
            if self.admitted.is_none_or(|(longest, _)| longest <= lasted) {
                self.admitted = Some((lasted, end));
            }
        }
        self.latest = Some((now, None));
    }

    fn resume(&mut self, now: Moment) {
        if let Some((_, end @ None)) = &mut self.latest {
            *end = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    /// Whether host 0 is excused for holding host 1 for down at `ms`; aftermath is 500 ms.
    fn excused(history: &[(u64, Fact)], ms: u64, alone: bool) -> bool {
        let mut excuses = Excuses::new(patience().aftermath);
        (0..5).for_each(|host| excuses.observe(&at(0, started(host))));
        history.iter().for_each(|(ms, fact)| excuses.observe(&at(*ms, fact.clone())));
        excuses.observe(&at(ms, believed(0, 1, chinwag_membership::State::Down)));
        excuses.excuse(Moment::from_millis(ms), Host(0), Host(1), alone)
    }

    #[test]
    fn a_cut_to_one_host_accuses_nobody() {
        for cut in [(2_000, cut(1, 2)), (2_000, cut(0, 1)), (2_000, cut(2, 3))] {
            assert!(!excused(&[cut], 9_000, false));
        }
        assert!(excused(&[(2_000, cut(1, 0))], 40_000, true), "by silence, for itself");
        assert!(!excused(&[(2_000, cut(1, 2))], 40_000, true), "but it hears it");
    }

    #[test]
    fn two_cuts_may_accuse_until_their_aftermath_is_over() {
        let cuts = [(2_000, cut(1, 2)), (2_000, cut(3, 1)), (3_000, mended(1, 2)), (4_000, mended(3, 1))];
        assert!(excused(&cuts, 4_500, false));
        assert!(!excused(&cuts, 4_501, false));
        let later = [&cuts[..], &[(5_000, cut(1, 2))]].concat();
        assert!(!excused(&later, 5_100, false), "the other cut is forgotten");
    }

    #[test]
    fn who_was_disturbed_may_be_accused_while_news_cannot_pass() {
        let before = [(1_800, paused(1)), (1_900, resumed(1)), (2_000, cut(2, 3))];
        assert!(excused(&before, 9_000, false));
        let long_before = [(1_400, paused(1)), (1_499, resumed(1)), (2_000, cut(2, 3))];
        assert!(!excused(&long_before, 9_000, false));
    }

    #[test]
    fn an_admitted_stall_is_forgiven() {
        let stalls = |second: u64| {
            vec![(1_000, paused(1)), (4_000, resumed(1)), (10_000, paused(1)), (10_000 + second, resumed(1))]
        };
        assert!(excused(&stalls(3_000)[..1], 3_000, false), "the first time");
        assert!(!excused(&stalls(3_000)[..3], 12_900, false), "the second");
        assert!(!excused(&stalls(3_000), 13_100, false), "and just after it");
        assert!(excused(&stalls(3_001)[..3], 13_001, false), "it lasts longer");
        let with = |ms, fact| [&stalls(3_000)[..2], &[(ms, fact)], &stalls(3_000)[2..]].concat();
        assert!(excused(&with(5_000, stopped(1)), 12_900, false), "another process");
        assert!(excused(&with(5_000, cut(3, 4)), 12_900, false), "not all may know");
        let hasty = [(1_000, paused(1)), (4_000, resumed(1)), (4_100, paused(1))];
        assert!(excused(&hasty, 5_000, false), "not all may know yet");
    }
}

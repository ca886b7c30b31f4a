//! Which faults there are right now, or were a moment ago: what excuses an accusation.

use super::bits::Bits;
use crate::observation::{Fact, Host, Observation};
use chinwag_base::Moment;
use std::collections::BTreeSet;
use std::time::Duration;

/// The faults that the driver makes.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Hosts on which a process is, paused or not.
    pub(super) running: Bits,
    /// Those of them that are not paused.
    pub(super) awake: Bits,
    /// When a process of a host last began, ended, was paused or went on.
    changed: Vec<Option<Moment>>,
    cuts: BTreeSet<(Host, Host)>,
    /// When a cut was last mended.
    mended: Option<Moment>,
}

impl Faults {
    pub(super) fn observe(&mut self, observation: &Observation) {
        let now = observation.at;
        match &observation.fact {
            Fact::Started { host } => {
                self.running.insert(host.index());
                self.awake.insert(host.index());
                self.change(*host, now);
            }
            Fact::Stopped { host, .. } => {
                self.running.remove(host.index());
                self.awake.remove(host.index());
                self.change(*host, now);
            }
            Fact::Paused { host } => {
                self.awake.remove(host.index());
                self.change(*host, now);
            }
            Fact::Resumed { host } => {
                if self.runs(*host) {
                    self.awake.insert(host.index());
                }
                self.change(*host, now);
            }
            Fact::Cut { from, to } => {
                self.cuts.insert((*from, *to));
            }
            Fact::Mended { from, to } if self.cuts.remove(&(*from, *to)) => self.mended = Some(now),
            _ => {}
        }
    }

    fn change(&mut self, host: Host, now: Moment) {
        if self.changed.len() <= host.index() {
            self.changed.resize(host.index() + 1, None);
        }
        self.changed[host.index()] = Some(now);
    }

    pub(super) fn runs(&self, host: Host) -> bool {
        self.running.contains(host.index())
    }

    fn is_paused(&self, host: Host) -> bool {
        self.runs(host) && !self.awake.contains(host.index())
    }

    /// When a process of this host last began, ended, was paused or went on.
    fn changed(&self, host: Host) -> Option<Moment> {
        self.changed.get(host.index()).copied().flatten()
    }

    /// Whether some cut is open, or was within `aftermath` before `now`.
    pub(super) fn is_cut(&self, now: Moment, aftermath: Duration) -> bool {
        !self.cuts.is_empty() || self.mended.is_some_and(|mended| now.since(mended) <= aftermath)
    }

    /// Whether this host is paused, or began, ended or was paused within `aftermath` before `now`.
    pub(super) fn is_disturbed(&self, host: Host, now: Moment, aftermath: Duration) -> bool {
        self.is_paused(host) || self.changed(host).is_some_and(|changed| now.since(changed) <= aftermath)
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    #[test]
    fn a_fault_lasts_until_its_aftermath_is_over() {
        let mut faults = Faults::default();
        let mut feed = |ms, fact| faults.observe(&at(ms, fact));
        feed(0, started(0));
        feed(10, cut(0, 1));
        feed(10, cut(1, 0));
        feed(20, mended(0, 1));
        let (ms, aftermath) = (Moment::from_millis, Duration::from_millis(5));
        assert!(faults.is_cut(ms(99), aftermath), "one way is still cut");
        faults.observe(&at(100, mended(1, 0)));
        assert!(faults.is_cut(ms(105), aftermath) && !faults.is_cut(ms(106), aftermath));
        assert!(faults.is_disturbed(Host(0), ms(5), aftermath));
        assert!(
            !faults.is_disturbed(Host(0), ms(6), aftermath)
                && !faults.is_disturbed(Host(9), ms(0), aftermath)
        );
        faults.observe(&at(200, paused(0)));
        assert!(faults.is_disturbed(Host(0), ms(999), aftermath) && faults.runs(Host(0)));
        faults.observe(&at(300, stopped(0)));
        assert!(!faults.is_paused(Host(0)) && !faults.runs(Host(0)));
        faults.observe(&at(301, resumed(0)));
        assert!(faults.awake.is_empty(), "nothing runs there");
    }
}

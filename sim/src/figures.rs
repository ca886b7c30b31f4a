//! What is measured of a run: how long news takes, how soon a crash is known, what all of it costs.

use crate::checkers::{Checkers, Convergence, CrashKnown, FalseDeath};
use crate::observation::{Fact, Host, Observation};
use crate::world::Traffic;
use chinwag_base::{Key, Moment, Value};
use chinwag_crdt::What;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The measurements of one run, or of many.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// From a crash until the first member suspected it, in milliseconds.
    pub first_suspect_ms: Vec<u64>,
    /// From a crash until the first member held it for down.
    pub first_down_ms: Vec<u64>,
    /// From a crash until everybody who ran all the time held it for down.
    pub all_down_ms: Vec<u64>,
    /// From a write until everybody who ran in the end had it.
    pub spread_ms: Vec<u64>,
    /// From when all was mended until everybody held everybody for alive.
    pub meshed_ms: Vec<u64>,
    /// From when all was mended until all states were equal for good.
    pub converged_ms: Vec<u64>,
    /// Bytes that each host sent in a second, on the average, with packets and encryption.
    pub bytes_per_host_second: Vec<u64>,
    /// Verdicts over members that ran.
    pub false_deaths: u64,
    /// Suspicions of members that ran.
    pub false_suspicions: u64,
}

/// The median, the 99th percentile and the largest of some measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many there were.
    pub count: usize,
    /// Half are at most this.
    pub median: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
    /// None is more.
    pub max: u64,
}

impl Spread {
    /// Of some measurements; none of none.
    pub fn of(values: &[u64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let at = |share: f64| {
            sorted.get(((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied()
        };
        Some(Spread { count: sorted.len(), median: at(0.5)?, p99: at(0.99)?, max: *sorted.last()? })
    }
}

impl Figures {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Figures) {
        self.first_suspect_ms.extend(&other.first_suspect_ms);
        self.first_down_ms.extend(&other.first_down_ms);
        self.all_down_ms.extend(&other.all_down_ms);
        self.spread_ms.extend(&other.spread_ms);
        self.meshed_ms.extend(&other.meshed_ms);
        self.converged_ms.extend(&other.converged_ms);
        self.bytes_per_host_second.extend(&other.bytes_per_host_second);
        self.false_deaths += other.false_deaths;
        self.false_suspicions += other.false_suspicions;
    }

    /// Each measurement with its name, in the order in which a report has them.
    pub fn rows(&self) -> [(&'static str, &[u64]); 7] {
        [
            ("first_suspect_ms", &self.first_suspect_ms),
            ("first_down_ms", &self.first_down_ms),
            ("all_down_ms", &self.all_down_ms),
            ("spread_ms", &self.spread_ms),
            ("meshed_ms", &self.meshed_ms),
            ("converged_ms", &self.converged_ms),
            ("bytes_per_host_second", &self.bytes_per_host_second),
        ]
    }
}

/// How far a write has come.
#[derive(Debug)]
struct Way {
    began: Moment,
    last: Moment,
    hosts: usize,
}

/// Follows writes on their way to everybody.
#[derive(Debug, Default)]
pub struct Recorder {
    running: BTreeSet<Host>,
    ways: BTreeMap<(Key, Value), Way>,
}

impl Recorder {
    /// Takes the next observation.
    pub fn observe(&mut self, observation: &Observation) {
        match &observation.fact {
            Fact::Started { host } => {
                self.running.insert(*host);
            }
            Fact::Stopped { host, .. } => {
                self.running.remove(host);
            }
            Fact::Applied { key, what, local, .. } => self.applied(observation.at, key, what, *local),
            _ => {}
        }
    }

    fn applied(&mut self, at: Moment, key: &Key, what: &What, local: bool) {
        let (What::Set { value, .. } | What::Added { element: value }) = what else { return };
        let name = (key.clone(), value.clone());
        if local {
            self.ways.insert(name, Way { began: at, last: at, hosts: 1 });
        } else if let Some(way) = self.ways.get_mut(&name) {
            (way.last, way.hosts) = (at, way.hosts + 1);
        }
    }

    /// From a write until everybody who runs in the end had it, in milliseconds, of each write that got so far.
    fn spread_ms(&self) -> Vec<u64> {
        let running = self.running.len();
        let whole = self.ways.values().filter(|way| way.hosts >= running && running > 1);
        whole.map(|way| millis(way.last.since(way.began))).collect()
    }
}

impl Figures {
    /// What was measured of one run, by the recorder and by the checkers.
    pub(crate) fn of_run(
        recorder: &Recorder,
        checkers: &Checkers,
        traffic: &Traffic,
        hosts: u32,
        lasted: Duration,
    ) -> Figures {
        let mut figures = Figures { spread_ms: recorder.spread_ms(), ..Figures::default() };
        for detection in checkers.get::<CrashKnown>().map(CrashKnown::detections).unwrap_or_default() {
            figures.first_suspect_ms.extend(detection.first_suspect.map(millis));
            figures.first_down_ms.extend(detection.first_down.map(millis));
            figures.all_down_ms.extend(detection.all_down.map(millis));
        }
        if let Some(convergence) = checkers.get::<Convergence>() {
            figures.meshed_ms.extend(convergence.meshed_ms());
            figures.converged_ms.extend(convergence.converged_ms());
        }
        if let Some(deaths) = checkers.get::<FalseDeath>() {
            figures.false_deaths = deaths.excused() + deaths.unexcused();
            figures.false_suspicions = deaths.false_suspicions();
        }
        let host_seconds = f64::from(hosts) * lasted.as_secs_f64();
        figures.bytes_per_host_second.push((traffic.bytes as f64 / host_seconds.max(0.001)) as u64);
        figures
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_the_values_themselves() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[7]), Some(Spread { count: 1, median: 7, p99: 7, max: 7 }));
        let values: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(Spread::of(&values), Some(Spread { count: 200, median: 100, p99: 198, max: 200 }));
    }
}

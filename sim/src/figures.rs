//! What is measured of a run: how long news takes, how soon a crash is known, what all of it costs.

use crate::observation::{Fact, Host, Observation, Stop};
use crate::world::Traffic;
use chinwag_base::{Key, Moment, Value};
use chinwag_crdt::What;
use chinwag_membership::State;
use serde::Serialize;
use std::collections::BTreeMap;
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

/// A host, as far as the recorder cares.
#[derive(Debug, Clone, Default)]
struct Seen {
    runs: bool,
    since: Option<Moment>,
}

/// A crash whose news is under way.
#[derive(Debug)]
struct Crash {
    about: Host,
    at: Moment,
    first_suspect: Option<Moment>,
    /// Who holds it for down, and since when.
    down: BTreeMap<Host, Moment>,
}

/// How far a write has come.
#[derive(Debug)]
struct Way {
    began: Moment,
    last: Moment,
    hosts: u32,
}

/// Takes the measurements from the observations.
#[derive(Debug)]
pub struct Recorder {
    hosts: Vec<Seen>,
    crashes: Vec<Crash>,
    ways: BTreeMap<(Key, Value), Way>,
    healed: Option<Moment>,
    sums: BTreeMap<Host, (chinwag_base::Digest, chinwag_base::Digest)>,
    equal_since: Option<Moment>,
    figures: Figures,
}

impl Recorder {
    /// Of a run with so many hosts.
    pub fn new(hosts: u32) -> Self {
        Recorder {
            hosts: vec![Seen::default(); hosts as usize],
            crashes: Vec::new(),
            ways: BTreeMap::new(),
            healed: None,
            sums: BTreeMap::new(),
            equal_since: None,
            figures: Figures::default(),
        }
    }

    /// Takes the next observation.
    pub fn observe(&mut self, observation: &Observation) {
        let at = observation.at;
        match &observation.fact {
            Fact::Started { host } => {
                self.hosts[host.index()] = Seen { runs: true, since: Some(at) };
                self.close_crash(*host);
            }
            Fact::Stopped { host, how } => {
                self.hosts[host.index()].runs = false;
                if *how != Stop::Left {
                    self.crashes.push(Crash { about: *host, at, first_suspect: None, down: BTreeMap::new() });
                }
            }
            Fact::Believed { host, about, state, .. } => self.believed(at, *host, *about, *state),
            Fact::Applied { key, what, local, .. } => self.applied(at, key, what, *local),
            Fact::Healed => self.healed = Some(at),
            Fact::Meshed => {
                let since = self.healed.map(|healed| at.since(healed));
                self.figures.meshed_ms.extend(since.map(millis));
            }
            Fact::Summed { host, state, clock } => {
                self.sums.insert(*host, (*state, *clock));
                let mut values = self.sums.values();
                let first = values.next();
                let equal = values.all(|sum| Some(sum) == first) && self.sums.len() == self.running();
                self.equal_since = if equal { self.equal_since.or(Some(at)) } else { None };
            }
            _ => {}
        }
    }

    fn running(&self) -> usize {
        self.hosts.iter().filter(|host| host.runs).count()
    }

    fn believed(&mut self, at: Moment, host: Host, about: Host, state: State) {
        if self.hosts.get(about.index()).is_some_and(|seen| seen.runs) {
            match state {
                State::Down => self.figures.false_deaths += 1,
                State::Suspect => self.figures.false_suspicions += 1,
                State::Alive | State::Left => {}
            }
            return;
        }
        let Some(crash) = self.crashes.iter_mut().rev().find(|crash| crash.about == about) else { return };
        match state {
            State::Suspect => {
                crash.first_suspect.get_or_insert(at);
            }
            State::Down | State::Left => {
                crash.down.entry(host).or_insert(at);
            }
            State::Alive => {
                crash.down.remove(&host);
            }
        }
    }

    /// The crash is over, or the run is: what was found out of it is counted.
    fn close_crash(&mut self, about: Host) {
        let Some(position) = self.crashes.iter().position(|crash| crash.about == about) else { return };
        let crash = self.crashes.remove(position);
        let after = |moment: Moment| millis(moment.since(crash.at));
        let first_down = crash.down.values().min().copied();
        self.figures.first_suspect_ms.extend(crash.first_suspect.or(first_down).map(after));
        self.figures.first_down_ms.extend(first_down.map(after));
        // Of those who ran all the time.
        let witnesses = self.hosts.iter().enumerate().filter(|(n, seen)| {
            *n != about.index() && seen.runs && seen.since.is_some_and(|since| since < crash.at)
        });
        let downs: Option<Vec<Moment>> =
            witnesses.map(|(n, _)| crash.down.get(&Host(n as u32)).copied()).collect();
        self.figures.all_down_ms.extend(downs.and_then(|downs| downs.into_iter().max()).map(after));
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

    /// What was measured.
    pub fn figures(mut self, traffic: &Traffic, lasted: Duration) -> Figures {
        for host in 0..self.hosts.len() as u32 {
            self.close_crash(Host(host));
        }
        let running = self.running() as u32;
        let spread = self.ways.values().filter(|way| way.hosts >= running && running > 1);
        self.figures.spread_ms = spread.map(|way| millis(way.last.since(way.began))).collect();
        if let (Some(healed), Some(equal)) = (self.healed, self.equal_since) {
            self.figures.converged_ms.push(millis(equal.since(healed)));
        }
        let host_seconds = self.hosts.len() as f64 * lasted.as_secs_f64();
        self.figures.bytes_per_host_second.push((traffic.bytes as f64 / host_seconds.max(0.001)) as u64);
        self.figures
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

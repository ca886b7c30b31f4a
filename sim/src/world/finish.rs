//! The end of a run: all is mended, and the nodes are watched until they agree, and read.

use super::World;
use super::machine::Open;
use super::queue::Happening;
use crate::observation::{Fact, Host};
use chinwag_base::{Digest, Moment};
use chinwag_membership::State;
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often the nodes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a run goes on that does not come to its end by itself. Until all agree at least as long as the checkers have
/// patience: some take what they find in the end for lost.
const MESH_MAX: Duration = Duration::from_secs(240);
const AGREE_MAX: Duration = Duration::from_secs(60);
const READ_MAX: Duration = Duration::from_secs(20);
/// A node that has started again counts those whom it remembers among the owners of records for so long (30 s of its
/// own), whether they are there or not.
const HOPE: Duration = Duration::from_secs(31);
/// Hosts through which each record is read in the end.
const READERS: usize = 3;

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Clients and fate are at work.
    Faults,
    /// All is mended; the nodes find each other.
    Mesh,
    /// They have; their states become equal.
    Agree,
    /// Records are being read.
    Read,
    /// All is said.
    Over,
}

/// What the looks remember.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    since: Duration,
    summed: BTreeMap<Host, (Digest, Digest)>,
    agreed_since: Option<Duration>,
}

impl World {
    /// Looks at the nodes, and goes on to the next stage when it is time.
    pub(crate) fn look(&mut self) {
        let elapsed = self.elapsed();
        let in_stage = elapsed.saturating_sub(self.looks.since);
        match self.stage {
            Stage::Faults | Stage::Over => return,
            Stage::Mesh => {
                if self.is_meshed() {
                    self.observe(Fact::Meshed);
                    self.enter(Stage::Agree);
                } else if in_stage > MESH_MAX {
                    self.enter(Stage::Agree);
                }
            }
            Stage::Agree => {
                let agree = self.sum();
                if !agree {
                    self.looks.agreed_since = None;
                } else if self.looks.agreed_since.is_none() {
                    self.looks.agreed_since = Some(elapsed);
                }
                let calm = Duration::from_millis(self.plan.calm_ms);
                let is_calm = self.looks.agreed_since.is_some_and(|since| elapsed >= since + calm)
                    && elapsed >= self.plan.heal() + calm
                    && self.is_handed_over()
                    && !self.somebody_hopes();
                if is_calm {
                    self.call_roll();
                }
                let agree_max = AGREE_MAX.max(crate::run::patience(&self.plan).converged);
                if is_calm || in_stage > agree_max + calm {
                    self.read_records();
                    self.enter(Stage::Read);
                }
            }
            Stage::Read => {
                let open = self
                    .machines
                    .iter()
                    .any(|m| m.open.values().any(|o| matches!(o, Open::Read(_) | Open::Reach { .. })));
                if !open || in_stage > READ_MAX {
                    self.sum();
                    self.show_all();
                    self.measure_traffic();
                    self.observe(Fact::Ended);
                    self.stage = Stage::Over;
                    return;
                }
            }
        }
        self.reuse_connections();
        self.queue.put(self.now + LOOK_EVERY, Happening::Look);
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.looks.since = self.elapsed();
    }

    /// Whether everybody who runs holds exactly those who run for alive, and is connected to all of them by streams that
    /// flow.
    fn is_meshed(&self) -> bool {
        /// Larger overlays are compared by their views' digests, and need no connection of each with each.
        const EXACT_MAX: usize = 64;
        let running = self.running();
        let mut digests = BTreeSet::new();
        for host in &running {
            let machine = &self.machines[host.index()];
            let Some(node) = &machine.node else { return false };
            digests.insert(node.membership().digest());
            if node.membership().alive_peers().count() + 1 != running.len() || digests.len() > 1 {
                return false;
            }
            if running.len() <= EXACT_MAX {
                let local = self.moment_of(*host);
                let knows = |other: &Host| {
                    let is_alive = node
                        .membership()
                        .member(local, &self.id_of(*other))
                        .is_some_and(|m| m.state == State::Alive);
                    let link = machine.links.get(other);
                    is_alive
                        && (other == host
                            || link.is_some_and(|link| !self.network.is_stalled(link.connection)))
                };
                if !running.iter().all(knows) {
                    return false;
                }
            }
        }
        true
    }

    /// Tells what has changed in the digests. Whether all are equal.
    fn sum(&mut self) -> bool {
        let mut all = BTreeSet::new();
        for host in self.running() {
            let Some(node) = self.node(host) else { continue };
            let replica = node.gossip().replica();
            let sums = (replica.digest(), replica.clock_digest());
            all.insert(sums);
            if self.looks.summed.insert(host, sums) != Some(sums) {
                self.observe(Fact::Summed { host, state: sums.0, clock: sums.1 });
            }
        }
        all.len() <= 1
    }

    /// Whether nobody hands records on any more.
    fn is_handed_over(&self) -> bool {
        self.running().iter().all(|host| {
            self.node(*host)
                .is_none_or(|node| node.dht().handing_off() == 0 && node.dht().open_requests() == 0)
        })
    }

    /// Whether a node may still wait for one that does not run.
    fn somebody_hopes(&self) -> bool {
        let all_run = self.machines.iter().all(|machine| machine.is_up());
        let hopes = |at: Moment| self.now < at + HOPE;
        !all_run && self.machines.iter().any(|m| m.runs() && m.restarted.is_some_and(hopes))
    }

    fn read_records(&mut self) {
        let records: BTreeSet<u32> = self
            .plan
            .steps
            .iter()
            .filter_map(|step| match step.action {
                crate::plan::Action::Put { record, .. } => Some(record),
                _ => None,
            })
            .collect();
        let running = self.running();
        for record in records {
            let first = if running.is_empty() { 0 } else { self.rng.random_range(0..running.len()) };
            for n in 0..READERS.min(running.len()) {
                let host = running[(first + n) % running.len()];
                self.read_record(host, super::clients::key("rec", record));
            }
        }
    }

    /// Shows what every node holds and believes.
    fn show_all(&mut self) {
        let running = self.running();
        let keys = std::mem::take(&mut self.keys);
        for host in &running {
            for key in &keys {
                let read = self.node(*host).and_then(|node| node.gossip().replica().get(key));
                self.observe(Fact::Shown { host: *host, key: key.clone(), read });
            }
            let local = self.moment_of(*host);
            for about in self.hosts().filter(|about| about != host) {
                let id = self.id_of(about);
                let state = self.node(*host).and_then(|n| n.membership().member(local, &id)).map(|m| m.state);
                self.observe(Fact::Believes { host: *host, about, state });
            }
        }
    }
}

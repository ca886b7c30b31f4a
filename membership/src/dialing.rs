//! Connections: whom to dial, and when again.
//!
//! Every member that is not connected has a plan: at once if it is new, and on a schedule that backs off from a
//! second to a minute if dials fail, also for members that are down, so that a healed partition or a reopened
//! laptop rejoins by itself. Members down for longer than the view shows them are dialled still, up to ten minutes
//! apart, so that no isolation lasts for ever. Dials for a failure detector's sake do not wait for the plan.

use crate::Event;
use crate::agenda::Task;
use crate::evidence::Evidence;
use crate::membership::Membership;
use crate::message::{Found, Purpose};
use crate::port::{DialFailure, Lost, Output};
use crate::record::Record;
use crate::version::State;
use crate::view::Unverified;
use chinwag_base::limits::{ADDRESSES_MAX, DIALS_MAX, INVESTIGATIONS_MAX};
use chinwag_base::{Address, Moment, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The first and the longest wait after a failed dial.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// The longest wait for a member that has been down for so long that it is no longer shown.
const BACKOFF_AWAY_MAX: Duration = Duration::from_secs(600);
/// Failures after which the wait is [`BACKOFF_MAX`].
const FAILURES_TO_MAX: u32 = 6;
/// Dials at once to members that are away: they must not keep the slots from those that may be back.
const AWAY_DIALS_MAX: usize = 2;
/// Of two members that learn of each other, the one with the larger id waits this long for the other's dial.
const COURTESY: Duration = Duration::from_millis(500);
/// A dial of which nothing was heard for this long has failed.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses that are dialled without knowing a member there: from invites and discovery.
const SEEDS_MAX: usize = 64;
/// Dials for investigations and verifications, which may exceed the bound of planned dials.
const URGENT_DIALS_MAX: usize = INVESTIGATIONS_MAX;

#[derive(Debug, Clone, Copy)]
struct Plan {
    due: Moment,
    failures: u32,
}

/// Who is being dialled, and who will be.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    plans: BTreeMap<NodeId, Plan>,
    by_time: BTreeSet<(Moment, NodeId)>,
    under_way: BTreeMap<NodeId, Moment>,
    seeds: BTreeMap<NodeId, Vec<Address>>,
}

impl Dialer {
    fn plan(&mut self, peer: NodeId, plan: Plan) {
        self.drop_plan(&peer);
        self.by_time.insert((plan.due, peer));
        self.plans.insert(peer, plan);
    }

    #[cfg(test)]
    pub(crate) fn has_plan(&self, peer: &NodeId) -> bool {
        self.plans.contains_key(peer)
    }

    pub(crate) fn drop_plan(&mut self, peer: &NodeId) {
        if let Some(plan) = self.plans.remove(peer) {
            self.by_time.remove(&(plan.due, *peer));
        }
    }

    /// The seed has introduced itself: it is a member like any other now.
    pub(crate) fn drop_seed(&mut self, peer: &NodeId) {
        self.seeds.remove(peer);
    }

    fn drop_most_hopeless_seed(&mut self) {
        if let Some(peer) = self.seeds.keys().copied().max_by_key(|peer| self.failures(peer)) {
            self.seeds.remove(&peer);
        }
    }

    /// From now on the waits grow beyond the longest for members that are shown.
    fn slow_down(&mut self, now: Moment, peer: NodeId) {
        let due = self.plans.get(&peer).map_or(now + BACKOFF_MAX, |plan| plan.due);
        self.plan(peer, Plan { due, failures: FAILURES_TO_MAX });
    }

    fn failures(&self, peer: &NodeId) -> u32 {
        self.plans.get(peer).map_or(0, |plan| plan.failures)
    }

    /// Everybody at once: the network, or we, came back.
    fn hasten(&mut self, now: Moment) {
        for (peer, plan) in &mut self.plans {
            if plan.due > now {
                self.by_time.remove(&(plan.due, *peer));
                plan.due = now;
                plan.failures = 0;
                self.by_time.insert((now, *peer));
            }
        }
    }

    fn next(&self) -> Option<Moment> {
        let free = self.under_way.len() < DIALS_MAX;
        let plan = self.by_time.first().filter(|_| free).map(|(due, _)| *due);
        let timeout = self.under_way.values().map(|began| *began + DIAL_TIMEOUT).min();
        plan.into_iter().chain(timeout).min()
    }
}

impl Membership {
    /// A member that is remembered from an earlier process life: dialled at once, down until it answers.
    pub(crate) fn remember(&mut self, now: Moment, record: Record) {
        let id = record.id();
        if id == self.id || self.view.get(&id).is_some_and(|entry| entry.version >= record.version()) {
            return;
        }
        if self.view.is_full() {
            return;
        }
        let record = match self.config.pool.verify(Arc::new(record), self.config.overlay, None) {
            Ok(record) => record,
            Err(why) => return self.event(Event::RecordRefused { from: self.id, about: id, why }),
        };
        // Whoever left is expected nowhere, and old news of it is not believed.
        let left = record.version().state == State::Left;
        self.view.put(record, (!left).then_some(Unverified::Remembered), now);
        if !left {
            self.dialer.plan(id, Plan { due: now, failures: 0 });
        }
    }

    /// A member has been down for so long that it is no longer shown.
    pub(crate) fn plan_rare_dials(&mut self, now: Moment, peer: NodeId) {
        if !self.is_connected(&peer) {
            self.dialer.slow_down(now, peer);
        }
    }

    pub(crate) fn on_seed(&mut self, now: Moment, peer: NodeId, mut addresses: Vec<Address>) {
        if peer == self.id || self.is_connected(&peer) {
            return;
        }
        addresses.truncate(ADDRESSES_MAX);
        if self.view.is_present(&peer) && !self.is_dialled(&peer) {
            return; // A member that others hold on to.
        }
        if self.dialer.seeds.get(&peer) == Some(&addresses) {
            return; // Discovery repeats itself; the schedule goes on.
        }
        if self.dialer.seeds.len() >= SEEDS_MAX && !self.dialer.seeds.contains_key(&peer) {
            self.dialer.drop_most_hopeless_seed();
        }
        self.dialer.seeds.insert(peer, addresses);
        self.dialer.plan(peer, Plan { due: now, failures: 0 });
    }

    pub(crate) fn on_connected(&mut self, now: Moment, peer: NodeId) {
        self.dialer.drop_plan(&peer);
        let dialled = self.dialer.under_way.remove(&peer).is_some();
        let link = self.links.entry(peer).or_default();
        (link.dialled, link.opened) = (dialled, Some(now));
        self.connections += usize::from(!std::mem::replace(&mut link.connected, true));
        link.unanswered.clear();
        link.told = None;
        let back = self.view.is_lost(&peer);
        self.say_hello(now, peer);
        self.sign_of_life(now, peer);
        // Measures the round trip, and tells the peer what is believed of it.
        self.ping(now, peer, Purpose::Check, None);
        self.ask_reached(peer);
        self.news.freshen();
        if back {
            self.dialer.hasten(now);
        }
        self.make_room(now);
    }

    pub(crate) fn on_disconnected(&mut self, now: Moment, peer: NodeId, reason: Lost) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        self.connections -= usize::from(std::mem::replace(&mut link.connected, false));
        link.unanswered.clear();
        link.digest = None;
        self.agenda.clear(Task::Missed(peer));
        self.exchange.forget_peer(&peer);
        if self.view.get(&peer).is_none() {
            self.links.remove(&peer);
            return self.plan_redial(now, peer);
        }
        if reason == Lost::Local || !self.view.is_present(&peer) {
            return self.plan_redial(now, peer);
        }
        self.cases.note(now, peer, Evidence::Broken);
        if let Some(held) = self.held.remove(&peer) {
            return self.accuse(now, peer, State::Down, held.by, held.phi);
        }
        if self.investigations.contains_key(&peer) {
            // A new kind of evidence may be had at once: whether the host refuses.
            self.count_own_failure(now, peer);
            self.dial_now(now, peer);
        } else if self.subjects.contains(&peer) {
            self.open_investigation(now, peer, now, 0);
        }
        self.plan_redial(now, peer);
    }

    pub(crate) fn on_dial_failed(&mut self, now: Moment, peer: NodeId, why: DialFailure) {
        self.dialer.under_way.remove(&peer);
        if self.is_connected(&peer) {
            return;
        }
        if let DialFailure::Denied(why) = &why {
            self.event(Event::Denied { peer, why: why.clone() });
        }
        let failures = self.dialer.failures(&peer);
        let away = self.view.away().record(&peer).is_some();
        let longest = if away { BACKOFF_AWAY_MAX } else { BACKOFF_MAX };
        let wait = (BACKOFF_MIN * (1 << failures.min(10))).min(longest);
        let wait = self.random(wait.mul_f64(0.75), wait.mul_f64(1.25));
        if self.is_awaited(&peer) {
            self.dialer.plan(peer, Plan { due: now + wait, failures: failures + 1 });
        }
        if self.investigations.contains_key(&peer) || self.view.is_present(&peer) {
            self.cases.note(now, peer, Evidence::NotReached(why.clone()));
        }
        // Our own limits and missing routes say nothing of the peer; whoever denies us is alive.
        let found = match why {
            DialFailure::Refused => Found::Refused,
            DialFailure::TimedOut | DialFailure::Other => Found::Silent,
            DialFailure::Denied(_) => return self.answer_verifications(peer, Found::Life),
        };
        if why == DialFailure::Other {
            self.drop_verification(&peer);
        } else {
            self.answer_verifications(peer, found);
        }
        if self.investigations.contains_key(&peer) {
            self.count_own_failure(now, peer);
        } else if self.subjects.contains(&peer) {
            self.open_investigation(now, peer, now, 1);
        }
    }

    /// Dials for the failure detector's sake, whatever the plan says.
    pub(crate) fn dial_now(&mut self, now: Moment, peer: NodeId) {
        if self.dialer.under_way.len() < URGENT_DIALS_MAX {
            self.dial(now, peer);
        }
    }

    fn dial(&mut self, now: Moment, peer: NodeId) {
        if self.is_connected(&peer) || self.dialer.under_way.contains_key(&peer) || peer == self.id {
            return;
        }
        let mut addresses = self.dialer.seeds.get(&peer).cloned().unwrap_or_default();
        let record =
            self.view.get(&peer).map(|entry| &entry.record).or_else(|| self.view.away().record(&peer));
        if let Some(record) = record {
            let known = record.statement().addresses.iter().filter(|a| !addresses.contains(a));
            let known: Vec<Address> = known.copied().collect();
            addresses.extend(known);
        }
        if addresses.is_empty() {
            return; // It listens nowhere, or is no seed any more: it has to dial us.
        }
        self.dialer.under_way.insert(peer, now);
        if let Some(plan) = self.dialer.plans.get(&peer).copied() {
            // The outcome makes the next plan; until then it must not be due.
            self.dialer.plan(peer, Plan { due: now + BACKOFF_MAX, ..plan });
        }
        self.emit(Output::Dial { peer, addresses });
    }

    pub(crate) fn dial_due(&mut self, now: Moment) {
        let late: Vec<NodeId> = self
            .dialer
            .under_way
            .iter()
            .filter(|(_, began)| now.since(**began) >= DIAL_TIMEOUT)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in late {
            self.on_dial_failed(now, peer, DialFailure::TimedOut);
        }
        while self.dialer.under_way.len() < DIALS_MAX {
            let Some(&(due, peer)) = self.dialer.by_time.first().filter(|(due, _)| *due <= now) else {
                break;
            };
            let is_wanted = self.is_dialled(&peer) || self.dialer.seeds.contains_key(&peer);
            if self.is_connected(&peer) || !is_wanted || self.standing == crate::Standing::Left {
                self.dialer.drop_plan(&peer);
                continue;
            }
            let failures = self.dialer.failures(&peer);
            if self.view.away().record(&peer).is_some() && self.away_dials() >= AWAY_DIALS_MAX {
                let due = now + self.random(BACKOFF_MIN, DIAL_TIMEOUT);
                self.dialer.plan(peer, Plan { due, failures });
                continue;
            }
            let plan = Plan { due: due.max(now) + BACKOFF_MAX, failures };
            self.dialer.plan(peer, plan);
            self.dial(now, peer);
        }
    }

    fn away_dials(&self) -> usize {
        self.dialer.under_way.keys().filter(|peer| self.view.away().record(peer).is_some()).count()
    }

    /// A member just learned of is dialled by the one with the smaller id at once, by the other a little later.
    pub(crate) fn plan_first_dial(&mut self, now: Moment, peer: NodeId) {
        if self.is_dialled(&peer) && !self.is_connected(&peer) && !self.dialer.under_way.contains_key(&peer) {
            let due = if self.id < peer { now } else { now + COURTESY };
            self.dialer.plan(peer, Plan { due, failures: 0 });
        }
    }

    pub(crate) fn plan_redial(&mut self, now: Moment, peer: NodeId) {
        if self.is_awaited(&peer) && !self.is_connected(&peer) && !self.dialer.under_way.contains_key(&peer) {
            let due = now + self.random(BACKOFF_MIN, BACKOFF_MIN * 2);
            self.dialer.plan(peer, Plan { due, failures: 0 });
        }
    }

    fn is_awaited(&self, peer: &NodeId) -> bool {
        match self.view.get(peer) {
            Some(entry) if entry.version.state != State::Left && self.is_dialled(peer) => true,
            _ => self.view.away().record(peer).is_some() || self.dialer.seeds.contains_key(peer),
        }
    }

    /// We were asleep, or deaf: whoever is not connected is dialled at once.
    pub(crate) fn redial_all(&mut self, now: Moment) {
        self.dialer.hasten(now);
    }

    pub(crate) fn schedule_dials(&mut self) {
        match self.dialer.next() {
            Some(at) => self.agenda.set(Task::Dial, at),
            None => self.agenda.clear(Task::Dial),
        }
    }
}

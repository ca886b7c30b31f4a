//! Checking: what others say of a member is looked into before it is followed.
//!
//! A claim that somebody is down carries no proof. So whoever has a connection to the accused *holds* the claim
//! and looks for itself: an own failed probe and as many NACKs of its own verifiers as a verdict needs. The claim
//! spares only the waiting, because its maker has waited. So that nobody has to wait for that look either, whoever is
//! connected to a suspect begins it shortly before the claim is to be expected. What one lying member can do all the same:
//!
//! - have somebody suspected until the refutation comes, a round trip or two;
//! - have a member shown as down by those without a connection to it, likewise until the refutation comes;
//! - have a member that is stalled, so that neither we nor our verifiers reach it, shown as down before its stall
//!   is over, or at once if its connection breaks meanwhile. It refutes when it runs again.

use crate::agenda::Task;
use crate::estimate;
use crate::evidence::Evidence;
use crate::membership::Membership;
use crate::message::{Claim, Verdict};
use crate::version::{State, Version};
use chinwag_base::limits::INVESTIGATIONS_MAX;
use chinwag_base::{Moment, NodeId};

/// A suspect is looked at so many initial time-outs before it is to be convicted: enough for a dial, a verifier's probe
/// and its answer.
const CHECK_BEFORE_RTOS: u32 = 2;

/// A claim that a member is down, held until our own evidence confirms or contradicts it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) by: NodeId,
    pub(crate) phi: f64,
}

impl Membership {
    /// Whether we can look for ourselves before we believe that a member is down.
    pub(crate) fn may_check(&self, subject: &NodeId) -> bool {
        self.is_connected(subject) && self.view.is_present(subject) && self.standing == crate::Standing::Alive
    }

    /// Somebody says that a member is down to which we have a connection: it is suspect until we know better.
    pub(crate) fn hold(&mut self, now: Moment, subject: NodeId, held: Held) {
        if self.view.get(&subject).is_some_and(|entry| entry.version.state == State::Alive) {
            self.accuse(now, subject, State::Suspect, held.by, held.phi);
        }
        // What we hold is passed on, for if every hop looked first, the truth would travel slowly.
        if self.held.insert(subject, held).is_none() {
            self.cases.note(now, subject, Evidence::Told { by: held.by, phi: held.phi });
            self.news.mark(subject);
        }
        self.judge(now, subject);
    }

    /// Somebody suspects a member to which we have a connection. About when its observers will convict it is known:
    /// silence that was enough for a suspicion has to grow to what a verdict needs. Stalls mostly end before that, so
    /// there is no reason to look earlier, and everybody at once.
    pub(crate) fn plan_check(&mut self, now: Moment, subject: NodeId) {
        if self.investigations.contains_key(&subject) || !self.may_check(&subject) {
            return;
        }
        let mean = self.stall_mean_of(&subject);
        let silence = |phi| estimate::time_to_phi(0.0, 1, phi, mean).unwrap_or(mean);
        let verdict = silence(self.config.phi_down).saturating_sub(silence(self.config.phi_suspect));
        let before = self.config.profile.rto_initial() * CHECK_BEFORE_RTOS;
        self.agenda.set(Task::Check(subject), now + verdict.saturating_sub(before));
    }

    /// The time has come to look for ourselves, if it is a suspect still.
    pub(crate) fn check_suspect(&mut self, now: Moment, subject: NodeId) {
        let is_suspect = self.view.get(&subject).is_some_and(|entry| entry.version.state == State::Suspect);
        if is_suspect && self.may_check(&subject) {
            self.open_check(now, subject);
        }
    }

    fn open_check(&mut self, now: Moment, subject: NodeId) {
        let is_new = self.begin_investigation(&subject, now, 0);
        if let Some(investigation) = self.investigations.get_mut(&subject).filter(|_| is_new) {
            investigation.is_check = true;
            self.start_round(now, subject);
        }
    }

    /// The claim about a member that we hold and pass on.
    pub(crate) fn held_claim(&self, subject: &NodeId) -> Option<Claim> {
        let Held { by, phi } = *self.held.get(subject)?;
        let Version { generation, incarnation, .. } = self.view.get(subject)?.version;
        let phi_tenths = (phi * 10.0) as u16;
        Some(Claim { id: *subject, generation, incarnation, verdict: Verdict::Down, by, phi_tenths })
    }

    /// Opens the investigations that held claims ask for, as many at a time as there may be.
    pub(crate) fn check_held(&mut self, now: Moment) {
        let waiting = self.held.keys().filter(|id| !self.investigations.contains_key(*id));
        let room = INVESTIGATIONS_MAX.saturating_sub(self.investigations.len());
        for subject in waiting.take(room).copied().collect::<Vec<_>>() {
            self.open_check(now, subject);
            if !self.investigations.contains_key(&subject) {
                self.held.remove(&subject); // Not there any more, or convicted at once.
            }
        }
    }
}

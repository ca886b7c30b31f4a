//! Probing on behalf of another's investigation, by our own path.

use crate::agenda::Task;
use crate::membership::Membership;
use crate::message::{Finding, Found, Message, Purpose, Verify};
use crate::version::State;
use chinwag_base::limits::VERIFICATIONS_MAX;
use chinwag_base::{Lane, Moment, NodeId};

/// A dial takes a few round trips (connection, encryption, admission), so it has this many time-outs.
const DIAL_RTOS: u32 = 5;

/// Somebody who waits for what we find.
#[derive(Debug)]
pub(crate) struct Verification {
    asker: NodeId,
    nonce: u64,
    deadline: Moment,
}

impl Membership {
    pub(crate) fn on_verify(&mut self, now: Moment, from: NodeId, verify: Verify) {
        let Verify { subject, nonce } = verify;
        if subject == self.id {
            let finding = Finding { subject, nonce, found: Found::Life };
            return self.send(from, Lane::Probe, Message::Finding(finding));
        }
        let known = self.view.get(&subject).is_some_and(|e| e.version.state != crate::State::Left);
        let waiting: usize = self.verifications.values().map(Vec::len).sum();
        // A process that was just asleep would take its own deafness for the subject's silence.
        if !known || waiting >= VERIFICATIONS_MAX || self.is_dazed(now) || subject == from {
            return;
        }
        if self.has_just_lost(now, &subject) {
            let finding = Finding { subject, nonce, found: Found::Silent };
            return self.send(from, Lane::Probe, Message::Finding(finding));
        }
        let rto = self.rto(&subject);
        let connected = self.is_connected(&subject);
        let deadline = now + if connected { rto } else { rto * DIAL_RTOS };
        let waiting = self.verifications.entry(subject).or_default();
        waiting.retain(|v| v.asker != from);
        waiting.push(Verification { asker: from, nonce, deadline });
        self.agenda.set_earlier(Task::Verified(subject), deadline);
        if connected {
            self.ping(now, subject, Purpose::Check, None);
        } else {
            self.dial_now(now, subject);
        }
    }

    /// Whether a probe of our own failed just now and we closed the connection for it, so that a new probe would have
    /// to dial. A death that we only heard of is no evidence.
    fn has_just_lost(&self, now: Moment, subject: &NodeId) -> bool {
        let down = self.view.get(subject).is_some_and(|entry| entry.version.state == State::Down);
        let Some(link) = self.links.get(subject).filter(|link| down && !link.connected) else { return false };
        let fresh = self.config.profile.period() * 2 + self.rto(subject) * 2;
        link.missed.is_some_and(|at| now.since(at) < fresh && link.heard.is_none_or(|heard| heard < at))
    }

    /// The time-out of some verifications has passed.
    pub(crate) fn end_verifications(&mut self, now: Moment, subject: NodeId) {
        let Some(waiting) = self.verifications.get_mut(&subject) else { return };
        let (over, open): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|v| v.deadline <= now);
        match open.iter().map(|v| v.deadline).min() {
            Some(next) => {
                *waiting = open;
                self.agenda.set(Task::Verified(subject), next);
            }
            None => {
                self.verifications.remove(&subject);
            }
        }
        self.report(subject, over, Found::Silent);
    }

    /// Tells everybody who waits.
    pub(crate) fn answer_verifications(&mut self, subject: NodeId, found: Found) {
        if let Some(waiting) = self.verifications.remove(&subject) {
            self.agenda.clear(Task::Verified(subject));
            self.report(subject, waiting, found);
        }
    }

    /// A stall of our own: what we found, or did not, is worth nothing.
    pub(crate) fn drop_verifications(&mut self) {
        for subject in std::mem::take(&mut self.verifications).into_keys() {
            self.agenda.clear(Task::Verified(subject));
        }
    }

    /// We could not even try: we answer nothing.
    pub(crate) fn drop_verification(&mut self, subject: &NodeId) {
        self.verifications.remove(subject);
        self.agenda.clear(Task::Verified(*subject));
    }

    fn report(&mut self, subject: NodeId, waiting: Vec<Verification>, found: Found) {
        for Verification { asker, nonce, .. } in waiting {
            self.send(asker, Lane::Probe, Message::Finding(Finding { subject, nonce, found }));
        }
    }
}

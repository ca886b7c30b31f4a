//! Verified silence: an investigation of one subject, from the first missed time-out to life or a verdict.
//!
//! SWIM asks k members to ping a silent one, once, and then suspects it. Here rounds follow one another, each with
//! an own probe and three *fresh* verifiers, and what counts are distinct members that could not reach the subject
//! either. Our own failed probe accuses nobody, so a node that is itself cut off cannot convict.
//!
//! Whoever only hears of a suspicion or a verdict investigates too, on account of a claim: see `checking`.

use crate::agenda::Task;
use crate::checking::Held;
use crate::estimate;
use crate::evidence::Evidence;
use crate::membership::Membership;
use crate::message::{Finding, Found, Message, Purpose, Verify};
use crate::version::State;
use crate::view::Unverified;
use crate::{Event, Output, rings};
use chinwag_base::limits::INVESTIGATIONS_MAX;
use chinwag_base::{Lane, Moment, NodeId};
use rand::{Rng, RngExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Verifiers asked in each round, and distinct NACKs that a verdict needs where as many can be asked.
const VERIFIERS: usize = 3;
/// Verifiers asked on account of another's word: a lost frame should not cost a further round, for the claim has waited.
const VERIFIERS_CHECK: usize = 6;
/// Rounds whose findings still count: a verifier that had to dial answers late.
const ROUNDS_OPEN: usize = 8;
/// By how much each round is longer than the one before, up to a period.
const ROUND_GROWTH: f64 = 1.25;
/// Silence alone decides no earlier than after this many times the time to the phi of a verdict.
const SILENCE_FACTOR: u32 = 4;

/// One investigation.
#[derive(Debug)]
pub(crate) struct Investigation {
    /// When the first unanswered ping was sent.
    silent_since: Moment,
    /// n of the one phi: probes that failed, our own and the verifiers'.
    failures: u32,
    /// Distinct verifiers that could not reach the subject, and how they found it last.
    nacks: BTreeMap<NodeId, Found>,
    /// The nonces of the open rounds, and who still owes an answer.
    rounds: Vec<(u64, BTreeSet<NodeId>)>,
    /// Whether our own probe of this round has been counted.
    own_counted: bool,
    /// Whether any own probe came to nothing.
    own_failed: bool,
    /// Whether it looks into what others say, and was not opened on account of a probe of our own.
    pub(crate) is_check: bool,
    /// The time from this round to the next.
    interval: Duration,
    /// Everybody ever asked: fresh ones go first.
    asked: BTreeSet<NodeId>,
    /// In a large overlay, the observers of the subject: they are connected to it, and others would have to dial.
    observers: BTreeSet<NodeId>,
    /// Those among the asked to whom a connection has to open first, and with which nonce they will be asked.
    unreached: BTreeMap<NodeId, u64>,
}

impl Investigation {
    fn new(silent_since: Moment) -> Self {
        Investigation {
            silent_since,
            failures: 0,
            nacks: BTreeMap::new(),
            rounds: Vec::new(),
            own_counted: false,
            own_failed: false,
            is_check: false,
            interval: Duration::ZERO,
            asked: BTreeSet::new(),
            observers: BTreeSet::new(),
            unreached: BTreeMap::new(),
        }
    }

    pub(crate) fn has_evidence(&self) -> bool {
        !self.nacks.is_empty()
    }
}

impl Membership {
    /// Starts to ask around about a subject that has been silent since `silent_since`, when the first of `failures`
    /// failed probes was sent.
    pub(crate) fn open_investigation(
        &mut self,
        now: Moment,
        subject: NodeId,
        silent_since: Moment,
        failures: u32,
    ) {
        if self.begin_investigation(&subject, silent_since, failures) {
            self.start_round(now, subject);
        }
    }

    /// Whether there was reason and room for a new one.
    pub(crate) fn begin_investigation(
        &mut self,
        subject: &NodeId,
        silent_since: Moment,
        failures: u32,
    ) -> bool {
        let worth_it = self.view.is_present(subject) && self.standing == crate::Standing::Alive;
        if !worth_it
            || self.investigations.contains_key(subject)
            || self.investigations.len() >= INVESTIGATIONS_MAX
        {
            return false;
        }
        let own_failed = failures > 0;
        let observers = self.observers_to_ask(subject);
        let investigation =
            Investigation { failures, own_failed, observers, ..Investigation::new(silent_since) };
        self.investigations.insert(*subject, investigation);
        true
    }

    pub(crate) fn close_investigation(&mut self, subject: NodeId) {
        self.held.remove(&subject);
        if self.investigations.remove(&subject).is_some() {
            self.agenda.clear(Task::Round(subject));
            self.agenda.clear(Task::Judge(subject));
            self.agenda.clear(Task::DialVerifiers(subject));
        }
    }

    /// A stall of our own voids all evidence: whoever was silent may have spoken while we did not listen.
    pub(crate) fn void_investigations(&mut self, now: Moment) {
        for (subject, investigation) in &mut self.investigations {
            let observers = std::mem::take(&mut investigation.observers);
            let is_check = investigation.is_check;
            *investigation = Investigation { observers, is_check, ..Investigation::new(now) };
            self.cases.note(now, *subject, Evidence::Voided);
            self.agenda.clear(Task::Judge(*subject));
            self.agenda.set(Task::Round(*subject), now);
        }
    }

    /// One round: a probe of our own and three verifiers.
    pub(crate) fn start_round(&mut self, now: Moment, subject: NodeId) {
        let rto = self.rto(&subject);
        let period = self.config.profile.period();
        let Some(investigation) = self.investigations.get_mut(&subject) else { return };
        let shortest = rto.mul_f64(2.2);
        investigation.interval =
            investigation.interval.mul_f64(ROUND_GROWTH).clamp(shortest, period.max(shortest));
        investigation.own_counted = false;
        let interval = investigation.interval;
        self.agenda.set(Task::Round(subject), now + interval);
        self.probe_for_round(now, subject);
        self.ask_verifiers(now, subject);
        self.judge(now, subject);
    }

    fn probe_for_round(&mut self, now: Moment, subject: NodeId) {
        if self.is_connected(&subject) {
            let rto = self.rto(&subject);
            self.ping(now, subject, Purpose::Check, None);
            self.agenda.set(Task::Missed(subject), now + rto);
        } else {
            self.dial_now(now, subject);
        }
    }

    fn ask_verifiers(&mut self, now: Moment, subject: NodeId) {
        let (mut fresh, mut others) = (Vec::new(), Vec::new());
        let Some(investigation) = self.investigations.get(&subject) else { return };
        let first = |id: &&NodeId| !investigation.asked.contains(id) && self.may_verify(id, &subject);
        let first: Vec<NodeId> = investigation.observers.iter().filter(first).copied().collect();
        for (id, link) in &self.links {
            if link.connected && self.may_verify(id, &subject) && !first.contains(id) {
                if investigation.asked.contains(id) { others.push(*id) } else { fresh.push(*id) }
            }
        }
        let is_check = investigation.is_check || self.held.contains_key(&subject);
        let wanted = if is_check { VERIFIERS_CHECK } else { VERIFIERS };
        let mut chosen = self.sample(first, wanted);
        for more in [fresh, others] {
            let more = self.sample(more, wanted - chosen.len());
            chosen.extend(more);
        }
        let nonce = self.rng.next_u64();
        let Some(investigation) = self.investigations.get_mut(&subject) else { return };
        if investigation.asked.len() > 4 * VERIFIERS * ROUNDS_OPEN {
            investigation.asked.clear();
        }
        investigation.asked.extend(&chosen);
        if investigation.rounds.len() == ROUNDS_OPEN {
            investigation.rounds.remove(0);
        }
        investigation.rounds.push((nonce, chosen.iter().copied().collect()));
        if !chosen.is_empty() {
            self.cases.note(now, subject, Evidence::Asked(chosen.clone()));
        }
        for verifier in chosen {
            if self.is_connected(&verifier) {
                self.send(verifier, Lane::Probe, Message::Verify(Verify { subject, nonce }));
            } else if let Some(investigation) = self.investigations.get_mut(&subject) {
                investigation.unreached.insert(verifier, nonce);
                // An answer that was only late mostly comes before that, and saves the dials.
                self.agenda.set_earlier(Task::DialVerifiers(subject), now + self.rto(&subject) / 2);
            }
        }
    }

    pub(crate) fn dial_verifiers(&mut self, now: Moment, subject: NodeId) {
        let Some(investigation) = self.investigations.get(&subject) else { return };
        for verifier in investigation.unreached.keys().copied().collect::<Vec<_>>() {
            self.dial_now(now, verifier);
        }
    }

    /// A connection has opened: if it was dialled to ask for a verification, that is asked for now.
    pub(crate) fn ask_reached(&mut self, verifier: NodeId) {
        let asked = self.investigations.iter_mut().filter_map(|(subject, investigation)| {
            Some(Verify { subject: *subject, nonce: investigation.unreached.remove(&verifier)? })
        });
        for verify in asked.collect::<Vec<_>>() {
            self.send(verifier, Lane::Probe, Message::Verify(verify));
        }
    }

    /// In an overlay where few are connected to a member, those who are can say at once whether it answers.
    fn observers_to_ask(&self, subject: &NodeId) -> BTreeSet<NodeId> {
        if !self.is_mesh_partial() {
            return BTreeSet::new();
        }
        let present = self.view.iter().filter(|(id, entry)| **id != self.id && entry.is_present());
        rings::predecessors(subject, present.map(|(id, _)| *id))
    }

    fn may_verify(&self, id: &NodeId, subject: &NodeId) -> bool {
        id != subject && *id != self.id && self.view.is_present(id) && !self.investigations.contains_key(id)
    }

    /// Distinct NACKs that a verdict needs: three, or as many as can be asked at all.
    fn nacks_needed(&self, subject: &NodeId) -> usize {
        self.view.iter().filter(|(id, _)| self.may_verify(id, subject)).take(VERIFIERS).count()
    }

    pub(crate) fn on_finding(&mut self, now: Moment, from: NodeId, finding: Finding) {
        let Finding { subject, nonce, found } = finding;
        let Some(investigation) = self.investigations.get_mut(&subject) else { return };
        let owed = investigation.rounds.iter_mut().find(|(n, _)| *n == nonce);
        if !owed.is_some_and(|(_, owing)| owing.remove(&from)) {
            return; // Of an older investigation, or answered before, or never asked.
        }
        self.cases.note(now, subject, Evidence::Found { by: from, found });
        let Some(investigation) = self.investigations.get_mut(&subject) else { return };
        if found == Found::Life {
            self.sample_losses(now, subject);
            self.links.entry(subject).or_default().vouched = Some(now);
            return self.alive_after_all(now, subject);
        }
        investigation.failures = investigation.failures.saturating_add(1);
        investigation.nacks.insert(from, found);
        self.judge(now, subject);
    }

    /// Our own probe of this round came to nothing.
    pub(crate) fn count_own_failure(&mut self, now: Moment, subject: NodeId) {
        let Some(investigation) = self.investigations.get_mut(&subject) else { return };
        if !std::mem::replace(&mut investigation.own_counted, true) {
            investigation.own_failed = true;
            investigation.failures = investigation.failures.saturating_add(1);
            self.judge(now, subject);
        }
    }

    /// The one phi of this investigation.
    pub(crate) fn phi_of(&self, now: Moment, subject: &NodeId) -> f64 {
        let Some(investigation) = self.investigations.get(subject) else { return 0.0 };
        let silent = now.since(investigation.silent_since);
        estimate::phi(
            self.loss.get(),
            investigation.failures,
            silent,
            self.forgiven_stall(subject, investigation),
        )
    }

    /// The mean stall that excuses silence; `None` once all needed NACKs are refusals: a stalled process does not refuse.
    fn forgiven_stall(&self, subject: &NodeId, investigation: &Investigation) -> Option<Duration> {
        let needed = self.nacks_needed(subject);
        let refused = investigation.nacks.values().filter(|found| **found == Found::Refused).count();
        (needed == 0 || refused < needed).then(|| self.stall_mean_of(subject))
    }

    pub(crate) fn stall_mean_of(&self, subject: &NodeId) -> Duration {
        let floor = self.config.profile.stall_floor();
        self.view.get(subject).map_or(floor, |entry| entry.stall_mean(floor))
    }

    /// After how much silence, alone, a member is held for gone.
    fn silence_limit(&self, subject: &NodeId) -> Duration {
        let mean = self.stall_mean_of(subject);
        let full = estimate::time_to_phi(0.0, 1, self.config.phi_down, mean).unwrap_or(mean);
        self.config.silence_min.max(full * SILENCE_FACTOR)
    }

    /// Draws the consequence of the evidence so far, and notes when time alone will change it.
    pub(crate) fn judge(&mut self, now: Moment, subject: NodeId) {
        let phi = self.phi_of(now, &subject);
        let needed = self.nacks_needed(&subject);
        let limit = self.silence_limit(&subject);
        let Some(investigation) = self.investigations.get(&subject) else { return };
        let (nacks, own_failed) = (investigation.nacks.len(), investigation.own_failed);
        let silent = now.since(investigation.silent_since);
        let state = self.view.get(&subject).map(|entry| entry.version.state);
        if state == Some(State::Alive) && nacks > 0 && estimate::reaches(phi, self.config.phi_suspect) {
            self.accuse(now, subject, State::Suspect, self.id, phi);
        }
        if needed > 0 && nacks >= needed && estimate::reaches(phi, self.config.phi_down) {
            return self.accuse(now, subject, State::Down, self.id, phi);
        }
        if let Some(Held { by, phi }) = self.held.get(&subject).copied()
            && own_failed
            && nacks >= needed
        {
            return self.accuse(now, subject, State::Down, by, phi);
        }
        if silent >= limit {
            return self.give_up(now, subject, silent, phi);
        }
        self.schedule_judgement(now, subject, limit);
    }

    fn schedule_judgement(&mut self, now: Moment, subject: NodeId, limit: Duration) {
        let Some(investigation) = self.investigations.get(&subject) else { return };
        let (since, failures) = (investigation.silent_since, investigation.failures);
        let mean = self.stall_mean_of(&subject);
        let next = [self.config.phi_suspect, self.config.phi_down]
            .into_iter()
            .filter_map(|phi| estimate::time_to_phi(self.loss.get(), failures, phi, mean))
            .map(|silent| since + silent + ROUNDING)
            .filter(|at| *at > now)
            .min()
            .unwrap_or(since + limit);
        self.agenda.set(Task::Judge(subject), next.min(since + limit).max(now + ROUNDING));
    }

    /// Silence alone decides: a belief of our own, told to nobody.
    fn give_up(&mut self, now: Moment, subject: NodeId, silent: Duration, phi: f64) {
        let Some(entry) = self.view.get(&subject) else { return };
        let (name, incarnation) = (entry.record.statement().name.clone(), entry.version.incarnation);
        self.view.set_unverified(&subject, Some(Unverified::Silent), now);
        self.cases.note(now, subject, Evidence::GivenUp { silent });
        let by = self.id;
        self.emit(Output::Event(Event::Down { id: subject, name, incarnation, by, phi, unverified: true }));
        self.lose(now, subject);
        self.plan_redial(now, subject);
    }

    /// About when silence will have convicted a member.
    pub(crate) fn down_in(&self, now: Moment, id: &NodeId) -> Option<Duration> {
        let entry = self.view.get(id).filter(|entry| entry.is_present())?;
        let investigation = self.investigations.get(id);
        let since = match investigation {
            Some(investigation) => investigation.silent_since,
            None if entry.version.state == State::Suspect => entry.since,
            None => return None,
        };
        let silent = if self.nacks_needed(id) == 0 {
            self.silence_limit(id)
        } else {
            estimate::time_to_phi(0.0, 1, self.config.phi_down, self.stall_mean_of(id))?
        };
        Some((since + silent).since(now))
    }

    /// Up to `count` of `ids`, at random.
    pub(crate) fn sample(&mut self, mut ids: Vec<NodeId>, count: usize) -> Vec<NodeId> {
        let count = count.min(ids.len());
        for at in 0..count {
            let other = self.rng.random_range(at..ids.len());
            ids.swap(at, other);
        }
        ids.truncate(count);
        ids
    }
}

/// A judgement is set this much after a threshold, so that rounding does not put it before.
const ROUNDING: Duration = Duration::from_millis(1);

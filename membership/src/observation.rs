//! Observing: pings in turn, acks, and the miss that opens an investigation.

use crate::agenda::Task;
use crate::evidence::Evidence;
use crate::membership::Membership;
use crate::message::{Ack, Message, PROBE_HEAD_BYTES, Ping, Purpose, Update};
use crate::version::{State, Version};
use chinwag_base::limits::PROBE_FRAME_BYTES_MAX;
use chinwag_base::{Lane, Moment, NodeId};
use rand::RngExt;
use std::time::Duration;

/// Pings to one peer that may be unanswered at once; the oldest is forgotten.
const UNANSWERED_MAX: usize = 16;
/// Pings to one peer are numbered from zero again after so many: more than may be unanswered, and few enough for a number
/// to take one byte.
const SEQUENCES: u64 = 128;

impl Membership {
    /// Draws the subjects anew from the rings.
    pub(crate) fn choose_subjects(&mut self, now: Moment) {
        let subjects = self.view.rings().subjects();
        for gone in self.subjects.difference(&subjects).copied().collect::<Vec<_>>() {
            self.agenda.clear(Task::Ping(gone));
            let idle = self.investigations.get(&gone).is_some_and(|i| !i.has_evidence());
            if idle && !self.held.contains_key(&gone) {
                self.close_investigation(gone);
            }
        }
        let new: Vec<NodeId> = subjects.difference(&self.subjects).copied().collect();
        if !new.is_empty() {
            // Whoever comes next to us on a ring comes before us as often: our observers are others, too.
            self.spacing.begin_anew(now);
        }
        for new in new {
            // A ping for another's sake may have been lost long ago. It does not say since when this one is silent.
            let rto = self.rto(&new);
            if !self.investigations.contains_key(&new)
                && let Some(link) = self.links.get_mut(&new)
            {
                link.unanswered.retain(|(_, sent)| now.since(*sent) <= rto);
            }
            // Not all at the same moment, when a whole view arrives at once.
            let delay = self.random(Duration::ZERO, self.config.profile.period() / 4);
            self.agenda.set(Task::Ping(new), now + delay);
        }
        self.subjects = subjects;
    }

    /// Our turn to ping a subject.
    pub(crate) fn take_turn(&mut self, now: Moment, subject: NodeId) {
        if !self.subjects.contains(&subject) || self.standing == crate::Standing::Left {
            return;
        }
        // The ack sets a better time. Without one, this: every observer's share of the period.
        let observers = self.view.present_count().saturating_sub(1).clamp(1, crate::rings::RINGS) as u32;
        self.agenda.set(Task::Ping(subject), now + self.config.profile.period() * observers);
        if self.investigations.contains_key(&subject) {
            return;
        }
        if self.is_connected(&subject) {
            self.ping(now, subject, Purpose::Observe, None);
        } else {
            self.dial_now(now, subject);
        }
    }

    /// Sends a ping. `belief` overrides what we believe of the target.
    pub(crate) fn ping(&mut self, now: Moment, to: NodeId, purpose: Purpose, belief: Option<State>) {
        if !self.is_connected(&to) {
            return;
        }
        let rto = self.rto(&to);
        let link = self.links.entry(to).or_default();
        let sequence = (link.sequence + 1) % SEQUENCES;
        link.sequence = sequence;
        if link.unanswered.len() == UNANSWERED_MAX {
            link.unanswered.pop_front();
        }
        link.unanswered.push_back((sequence, now));
        self.unheard_since.get_or_insert(now);
        self.agenda.set_earlier(Task::Missed(to), now + rto);
        let belief = self.belief_of(&to, belief);
        let news = self.pick_news(to, PROBE_FRAME_BYTES_MAX - PROBE_HEAD_BYTES);
        let digest = self.view.digest();
        self.send(to, Lane::Probe, Message::Ping(Ping { sequence, purpose, belief, digest, news }));
    }

    /// Tells a peer what is believed of it, out of turn, but no more than once a time-out.
    pub(crate) fn tell(&mut self, now: Moment, to: NodeId, belief: Option<State>) {
        let rto = self.rto(&to);
        let link = self.links.entry(to).or_default();
        if link.told.is_some_and(|told| now.since(told) < rto) {
            return;
        }
        link.told = Some(now);
        self.ping(now, to, Purpose::Check, belief);
    }

    fn belief_of(&self, id: &NodeId, state: Option<State>) -> Option<Version> {
        let version = self.view.belief(id)?;
        Some(Version { state: state.unwrap_or(version.state), ..version })
    }

    pub(crate) fn on_ping(&mut self, now: Moment, from: NodeId, ping: Ping) {
        let refuted = self.hear_belief(now, from, ping.belief);
        self.learn(now, from, ping.news);
        let next_ms = (ping.purpose == Purpose::Observe).then(|| {
            let next = self.spacing.next(now, from, self.config.profile.period());
            u32::try_from(next.as_millis()).unwrap_or(u32::MAX)
        });
        let belief = self.belief_of(&from, None);
        let mut news = Vec::new();
        let mut room = PROBE_FRAME_BYTES_MAX - PROBE_HEAD_BYTES;
        if refuted {
            let own = Update::Record(self.record().clone());
            if own.weight() <= room {
                room -= own.weight();
                news.push(own);
            } else {
                // Many tags: too large for the ack, which must come all the same.
                self.send(from, Lane::Gossip, Message::News(vec![own]));
            }
        }
        news.extend(self.pick_news(from, room));
        let digest = self.view.digest();
        let ack = Ack { sequence: ping.sequence, next_ms, belief, digest, news };
        self.send(from, Lane::Probe, Message::Ack(ack));
        self.note_digest(now, from, ping.digest);
    }

    pub(crate) fn on_ack(&mut self, now: Moment, from: NodeId, ack: Ack) {
        self.take_sample(now, from, ack.sequence);
        if self.hear_belief(now, from, ack.belief) {
            let own = Update::Record(self.record().clone());
            self.send(from, Lane::Gossip, Message::News(vec![own]));
        }
        self.learn(now, from, ack.news);
        if let Some(next_ms) = ack.next_ms
            && self.subjects.contains(&from)
        {
            let period = self.config.profile.period();
            let next = Duration::from_millis(u64::from(next_ms)).clamp(period / 4, period * TURNS_MAX);
            self.agenda.set(Task::Ping(from), now + next);
        }
        self.note_digest(now, from, ack.digest);
    }

    /// A belief about ourselves. Returns whether its holder needs our record.
    fn hear_belief(&mut self, now: Moment, from: NodeId, belief: Option<Version>) -> bool {
        let Some(belief) = belief else { return true };
        if self.learn_of_ourselves(now, from, belief) && self.exchange.may_want(self.id, now) {
            // Another process has our key, and began later. Its own signature must say so before we believe it.
            self.send(from, Lane::Gossip, Message::Want(vec![self.id]));
        }
        let own = self.record().version();
        belief < own
    }

    /// A round-trip sample, if the ack came in time; and what it says of the pings before it.
    fn take_sample(&mut self, now: Moment, from: NodeId, sequence: u64) {
        let rto = self.rto(&from);
        let Some(link) = self.links.get_mut(&from) else { return };
        let Some(at) = link.unanswered.iter().position(|(s, _)| *s == sequence) else { return };
        let (_, sent) = link.unanswered[at];
        let rtt = now.since(sent);
        if rtt <= rto {
            link.rtt.sample(rtt);
        } else {
            link.rtt.late();
        }
        // Frames on a lane keep their order, so older pings that are overdue were lost.
        let lost = link.unanswered.drain(..=at).filter(|(_, sent)| now.since(*sent) > rto * 2).count();
        let lost = lost - usize::from(rtt > rto * 2);
        match link.unanswered.front() {
            Some(&(_, oldest)) => self.agenda.set(Task::Missed(from), (oldest + rto).max(now)),
            None => self.agenda.clear(Task::Missed(from)),
        }
        (0..lost).for_each(|_| self.loss.sample(true));
        self.loss.sample(false);
    }

    /// A ping missed its time-out: never a verdict, only a question.
    pub(crate) fn on_missed(&mut self, now: Moment, peer: NodeId) {
        let rto = self.rto(&peer);
        let Some(link) = self.links.get(&peer) else { return };
        // `None` is before any time. What a verifier vouched for is not asked again: one question a turn, or a link that
        // is cut one way would be investigated without end, until a verifier's own probe is late once.
        let alive = link.heard.max(link.vouched);
        let Some(&(_, first)) = link.unanswered.iter().find(|(_, sent)| alive < Some(*sent)) else { return };
        if now < first + rto {
            return self.agenda.set(Task::Missed(peer), first + rto);
        }
        if let Some(link) = self.links.get_mut(&peer) {
            link.missed = Some(now);
        }
        if self.subjects.contains(&peer) || self.investigations.contains_key(&peer) {
            self.cases.note(now, peer, Evidence::Unanswered { rto });
        }
        self.count_own_failure(now, peer);
        if self.subjects.contains(&peer) {
            self.open_investigation(now, peer, first, 1);
        }
    }

    /// Counts the unanswered pings of a peer that turned out to live as lost.
    pub(crate) fn sample_losses(&mut self, now: Moment, peer: NodeId) {
        let rto = self.rto(&peer);
        let Some(link) = self.links.get_mut(&peer) else { return };
        let before = link.unanswered.len();
        link.unanswered.retain(|(_, sent)| now.since(*sent) <= rto * 4);
        let lost = before - link.unanswered.len();
        (0..lost).for_each(|_| self.loss.sample(true));
    }

    pub(crate) fn random(&mut self, from: Duration, to: Duration) -> Duration {
        let (from, to) = (from.as_micros() as u64, to.as_micros() as u64);
        Duration::from_micros(if from < to { self.rng.random_range(from..to) } else { from })
    }
}

/// A subject cannot send an observer away for longer than this many periods.
const TURNS_MAX: u32 = 32;

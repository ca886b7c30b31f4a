//! Meeting: views are exchanged when a connection opens, and reconciled when digests say that they differ.
//!
//! A newcomer gets the whole view. Otherwise the digests of the view's parts are compared, then the beliefs in
//! those parts that differ, and then only records that one side lacks travel: work in proportion to the difference.
//! Without this the last one in a hundred views of a large join would wait for luck.

use crate::Event;
use crate::agenda::Task;
use crate::membership::{Link, Membership};
use crate::message::{Brief, Hello, Message, Parts, Purpose, Summary, Update};
use crate::view::{Unverified, part_of};
use chinwag_base::limits::{MEMBERS_MAX, UPDATES_PER_FRAME_MAX};
use chinwag_base::{Digest, Lane, Moment, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Bytes of one frame of an exchange: small enough that a slow link still answers pings in between.
const EXCHANGE_BYTES_MAX: usize = 60 * 1024;
/// A record that was asked for is not asked of another for this long.
const WANT_AGAIN: Duration = Duration::from_millis(300);
/// Digests may differ for this long before it is more than news on its way.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same for a peer just met: for views that never met, there is no news to wait for.
const PATIENCE_FIRST: Duration = Duration::from_millis(50);
/// How often news puts a reconciliation off, so that ceaseless news does not prevent it.
const DELAYS_MAX: u8 = 1;

/// What is asked for, and who is to be reconciled with.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    wanted: BTreeMap<NodeId, Moment>,
    due: BTreeMap<NodeId, Due>,
}

/// A reconciliation to come.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: Moment,
    delays: u8,
    /// Our view when it was planned.
    ours: Digest,
}

impl Exchange {
    /// Whether to ask for this member's record now; if so, it counts as asked.
    pub(crate) fn may_want(&mut self, id: NodeId, now: Moment) -> bool {
        if self.wanted.get(&id).is_some_and(|asked| now.since(*asked) < WANT_AGAIN) {
            return false;
        }
        if self.wanted.len() >= MEMBERS_MAX {
            self.wanted.retain(|_, asked| now.since(*asked) < WANT_AGAIN);
        }
        self.wanted.len() < MEMBERS_MAX && {
            self.wanted.insert(id, now);
            true
        }
    }

    /// The record has come.
    pub(crate) fn satisfied(&mut self, id: &NodeId) {
        self.wanted.remove(id);
    }

    pub(crate) fn forget_peer(&mut self, id: &NodeId) {
        self.due.remove(id);
    }
}

impl Membership {
    pub(crate) fn say_hello(&mut self, now: Moment, to: NodeId) {
        self.links.entry(to).or_default().greeted = Some(now);
        let hello = Hello {
            record: self.record().clone(),
            digest: self.view.digest(),
            newcomer: self.view.len() == 1 || self.alive_peers().next().is_none(),
        };
        self.send(to, Lane::Bulk, Message::Hello(hello));
    }

    pub(crate) fn on_hello(&mut self, now: Moment, from: NodeId, hello: Hello) {
        if hello.record.id() != from {
            return self.event(Event::FrameRefused { from, why: "a greeting in another's name" });
        }
        self.learn_record(now, from, hello.record);
        self.dialer.drop_seed(&from);
        self.tell_orders(from);
        // The other end reconnected before this end noticed that it had gone: it greets, so it waits for a greeting.
        let greeted = self.links.get(&from).and_then(|link| link.greeted);
        if greeted.is_none_or(|greeted| now.since(greeted) >= PATIENCE) {
            self.say_hello(now, from);
        }
        if hello.newcomer && self.view.get(&from).is_some() {
            let ids: Vec<NodeId> =
                self.view.iter().filter(|(id, e)| **id != from && !e.is_lost()).map(|(id, _)| *id).collect();
            self.send_updates(from, &ids, Message::View);
        } else if hello.digest != self.view.digest() {
            self.set_digest(from, hello.digest);
            if self.has_hot_news() {
                // While many join, views differ at every meeting, and what they lack is under way.
                self.plan_reconciliation(from, now + PATIENCE, 0);
            } else {
                let delay = self.random(PATIENCE_FIRST, PATIENCE_FIRST * 3);
                self.plan_reconciliation(from, now + delay, DELAYS_MAX);
            }
        }
        // It has our record from our own greeting, but not what is believed of it.
        if self.view.get(&from).is_some_and(|entry| entry.version.state != crate::State::Alive) {
            self.tell(now, from, None);
        }
    }

    /// A probe frame said how the sender's view looks.
    pub(crate) fn note_digest(&mut self, now: Moment, from: NodeId, digest: Digest) {
        self.set_digest(from, digest);
        if digest == self.view.digest() {
            self.exchange.forget_peer(&from);
        } else if !self.exchange.due.contains_key(&from) {
            self.plan_reconciliation(from, now + PATIENCE, 0);
        }
    }

    fn set_digest(&mut self, from: NodeId, digest: Digest) {
        if let Some(link) = self.links.get_mut(&from) {
            link.digest = Some(digest);
        }
    }

    fn plan_reconciliation(&mut self, peer: NodeId, at: Moment, delays: u8) {
        if self.is_connected(&peer) {
            self.exchange.due.insert(peer, Due { at, delays, ours: self.view.digest() });
            self.agenda.set_earlier(Task::Reconcile, at);
        }
    }

    /// Starts one reconciliation at most; the next waits for what this one brings. Those that need none, or not yet, take
    /// nobody's turn: while many join, views differ from all peers' at once.
    pub(crate) fn reconcile_due(&mut self, now: Moment) {
        while let Some((&peer, &Due { delays, ours, .. })) =
            self.exchange.due.iter().filter(|(_, due)| due.at <= now).min_by_key(|(id, due)| (due.at, **id))
        {
            self.exchange.due.remove(&peer);
            let digest =
                self.links.get(&peer).filter(|link: &&Link| link.connected).and_then(|link| link.digest);
            if digest.is_none_or(|digest| digest == self.view.digest()) {
                continue;
            }
            if delays < DELAYS_MAX && (self.has_hot_news() || ours != self.view.digest()) {
                // What the peer's view was says little by now: the ack says what it is.
                self.plan_reconciliation(peer, now + PATIENCE, delays + 1);
                self.ping(now, peer, Purpose::Check, None);
                continue;
            }
            self.event(Event::Diverged { peer, digest: self.view.digest() });
            self.send_summary(peer);
            break;
        }
        if let Some(next) = self.exchange.due.values().map(|due| due.at).min() {
            self.agenda.set(Task::Reconcile, next.max(now + RECONCILIATION_SPACING));
        }
    }

    fn send_summary(&mut self, to: NodeId) {
        let bits = self.view.part_bits();
        let parts = self.view.parts(bits);
        self.send(to, Lane::Bulk, Message::Summary(Summary { bits, parts }));
    }

    pub(crate) fn on_summary(&mut self, from: NodeId, summary: &Summary) {
        if self.view.part_bits() > summary.bits.saturating_add(2) {
            // Our view is much larger: finer parts make smaller answers.
            return self.send_summary(from);
        }
        let ours = self.view.parts(summary.bits);
        let differing: BTreeSet<u16> = (0u16..)
            .zip(ours.iter().zip(&summary.parts))
            .filter(|(_, (our, their))| our != their)
            .map(|(part, _)| part)
            .collect();
        let mut members: BTreeMap<u16, Vec<Brief>> =
            differing.iter().map(|part| (*part, Vec::new())).collect();
        for (id, entry) in self.view.iter() {
            if let Some(part) = members.get_mut(&part_of(id, summary.bits))
                && entry.unverified != Some(Unverified::Remembered)
            {
                part.push(Brief { id: *id, version: entry.version });
            }
        }
        self.send_parts(from, summary.bits, members);
    }

    /// Sends whole parts, as many in a frame as fit.
    fn send_parts(&mut self, to: NodeId, bits: u8, members: BTreeMap<u16, Vec<Brief>>) {
        let mut frame = Parts { bits, parts: Vec::new(), members: Vec::new() };
        for (part, briefs) in members {
            if briefs.len() > UPDATES_PER_FRAME_MAX {
                continue;
            }
            if frame.members.len() + briefs.len() > UPDATES_PER_FRAME_MAX && !frame.parts.is_empty() {
                let full =
                    std::mem::replace(&mut frame, Parts { bits, parts: Vec::new(), members: Vec::new() });
                self.send(to, Lane::Bulk, Message::Parts(full));
            }
            frame.parts.push(part);
            frame.members.extend(briefs);
        }
        if !frame.parts.is_empty() {
            self.send(to, Lane::Bulk, Message::Parts(frame));
        }
    }

    /// The other's beliefs in the parts that differ: ask for what is newer there, send what is newer here.
    pub(crate) fn on_parts(&mut self, now: Moment, from: NodeId, parts: Parts) {
        let mut theirs = parts.members;
        // They come sorted, and each once, from whoever keeps to the rules.
        theirs.sort_by_key(|brief| brief.id);
        let mut theirs =
            theirs.chunk_by(|one, next| one.id == next.id).filter_map(|same| same.last()).peekable();
        let named: BTreeSet<u16> = parts.parts.iter().copied().collect();
        let (mut lacking, mut told) = (Vec::new(), Vec::new());
        // Both lists are walked side by side: while many join, large parts differ in a few members.
        for (id, entry) in self.view.iter() {
            while let Some(brief) = theirs.next_if(|brief| brief.id < *id) {
                told.push(Update::Brief(*brief));
            }
            let newer = match theirs.next_if(|brief| brief.id == *id) {
                Some(brief) => {
                    // What both believe is no news, unless it makes sure of what was only remembered.
                    if brief.version != entry.version || entry.unverified == Some(Unverified::Remembered) {
                        told.push(Update::Brief(*brief));
                    }
                    brief.version < entry.version
                }
                None => entry.is_told() && named.contains(&part_of(id, parts.bits)),
            };
            if newer {
                lacking.push(*id);
            }
        }
        told.extend(theirs.map(|brief| Update::Brief(*brief)));
        self.send_updates(from, &lacking, Message::News);
        self.learn(now, from, told);
    }

    pub(crate) fn on_want(&mut self, from: NodeId, ids: &[NodeId]) {
        self.send_updates(from, ids, Message::News);
    }

    fn send_updates(&mut self, to: NodeId, ids: &[NodeId], kind: fn(Vec<Update>) -> Message) {
        let (mut frame, mut bytes) = (Vec::new(), 0);
        for id in ids {
            let updates = self.view.updates(id);
            let weight: usize = updates.iter().map(Update::weight).sum();
            if bytes + weight > EXCHANGE_BYTES_MAX || frame.len() + updates.len() > UPDATES_PER_FRAME_MAX {
                self.send(to, Lane::Bulk, kind(std::mem::take(&mut frame)));
                bytes = 0;
            }
            bytes += weight;
            frame.extend(updates);
        }
        if !frame.is_empty() {
            self.send(to, Lane::Bulk, kind(frame));
        }
    }
}

/// The time between the starts of two reconciliations. One brings all that is lacking, so the next is seldom needed.
const RECONCILIATION_SPACING: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;
    use crate::harness::{Network, s};

    /// With a view that still moves, whoever waits for news takes no turn from those who need to be asked.
    #[test]
    fn who_needs_no_reconciliation_yet_takes_nobodys_turn() {
        let mut network = Network::grown(Profile::Lan, 1, 24, s(20));
        let (now, ids) = (network.now, (1..24).map(|n| network.id(n)).collect::<Vec<_>>());
        let this = &mut network.nodes[0].membership;
        let (stale, ours) = (Digest::of("test", b"stale"), this.view.digest());
        for (n, id) in ids.iter().enumerate() {
            // All differ but one, and the last but one has been put off before.
            this.set_digest(*id, if n == 0 { ours } else { stale });
            let delays = if n == 22 { DELAYS_MAX } else { 0 };
            this.exchange.due.insert(*id, Due { at: now, delays, ours: stale });
        }
        this.exchange.due.entry(ids[22]).and_modify(|due| due.at = now + Duration::from_nanos(1));
        while this.poll_output().is_some() {}
        this.reconcile_due(now + Duration::from_nanos(1));
        let asked = |output: crate::Output| match output {
            crate::Output::Send { to, message: Message::Summary(_), .. } => Some(to),
            _ => None,
        };
        let asked: Vec<NodeId> = std::iter::from_fn(|| this.poll_output()).filter_map(asked).collect();
        assert_eq!(asked, [ids[22]]);
        assert_eq!(this.exchange.due.len(), 21, "the others wait for news, once");
        assert!(this.exchange.due.values().all(|due| due.at > now + PATIENCE / 2 && due.delays == 1));
    }
}

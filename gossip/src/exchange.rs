//! Rungs 1 and 2 of the ladder: do we hold the same, and if not, what does each clock cover?

use crate::message::{Basis, parts};
use crate::names::{NAME_SYMBOLS, is_longer};
use crate::peer::{Exchange, Told};
use crate::{Abandoned, Event, Gossip, Message, Report, Summary};
use chinwag_base::limits::{CLOCK_PART_BYTES_MAX, REPORT_PARTS_MAX};
use chinwag_base::{Digest, NodeId, ReplicaId};
use chinwag_crdt::Clock;
use rand::RngExt;
use std::time::Duration;

/// A peer may be told a whole clock again after this long. In good faith it never asks twice in a row.
const TELL_SPACING: Duration = Duration::from_millis(100);

/// When to meet whom.
impl Gossip {
    /// One anti-entropy round: of two connected peers drawn at random, meet the one that was met longest ago.
    pub(crate) fn round(&mut self) {
        self.spent.clear();
        self.ask_summaries();
        let free: Vec<NodeId> =
            self.peers.iter().filter(|(_, p)| p.exchange.is_none()).map(|(id, _)| *id).collect();
        if free.is_empty() {
            return;
        }
        let drawn = [0; 2].map(|_| free[self.rng.random_range(0..free.len())]);
        let met = |id: &NodeId| self.peers.get(id).and_then(|peer| peer.met);
        if let Some(peer) = drawn.into_iter().min_by_key(met) {
            self.begin_exchange(peer);
        }
    }

    /// Meets the peer that has waited longest for an exchange out of turn, if the spacing allows one.
    pub(crate) fn look_out_of_turn(&mut self) {
        if self.out_of_turn_from > self.now {
            return;
        }
        self.refresh_peers();
        if let Some((at, peer)) = self.peers.next_look()
            && at <= self.now
        {
            self.out_of_turn_from = self.now + self.config.exchange_spacing;
            self.begin_exchange(peer);
        }
    }

    /// Meets a new peer when others that are met already have told what they have, if it differs then: after a partition half
    /// of the overlay comes back at once, and mostly with the same.
    pub(crate) fn look_later(&mut self, with: NodeId) {
        let (at, summary) = (self.now + self.config.difference_patience, self.summary());
        if let Some(peer) = self.peers.get_mut(&with) {
            peer.look(at);
        }
        self.send(with, Message::Summary { summary, ask: true });
    }

    pub(crate) fn begin_exchange(&mut self, with: NodeId) {
        let (summary, now, told, clock) =
            (self.summary(), self.now, self.told_now(), self.replica.clock().clone());
        let Some(peer) = self.peers.get_mut(&with) else { return };
        peer.look_at = None;
        peer.exchange = Some(Box::new(Exchange {
            number: summary.number,
            clock,
            told,
            began: now,
            heard: now,
            reported: false,
            received: 0,
            served_before: peer.served,
        }));
        let Summary { number, unsettled, .. } = summary;
        self.send(with, Message::Compare { number, both: summary.both(), unsettled });
    }

    /// Gives up the exchange with a peer and what was asked of it.
    pub(crate) fn abandon(&mut self, peer: NodeId, why: Abandoned) {
        let now = self.now;
        let rest_until = now + self.config.rest;
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let is_news = state.exchange.is_some() || !state.chunks.is_empty();
        state.exchange = None;
        self.spent.clear();
        state.chunks.retain(|_, chunk| matches!(chunk.state, crate::peer::ChunkState::Arrived(_)));
        // Whether the last report arrived is unknown, so the next one tells everything.
        (state.told, state.sketched, state.partial) = (None, None, None);
        // Nothing is asked of it before it has reported anew.
        state.ahead = false;
        match why {
            // Perhaps it is we who slept: begin again at once.
            Abandoned::Timeout => state.look(now),
            Abandoned::LaneFull | Abandoned::Barren => state.rest_until = Some(rest_until),
            Abandoned::PeerDown | Abandoned::Disk => {}
        }
        if is_news {
            self.event(Event::ExchangeAbandoned { peer, why });
        }
        self.pull();
    }

    pub(crate) fn expire_exchanges(&mut self) {
        let (now, timeout) = (self.now, self.config.exchange_timeout);
        let over = |e: &Exchange| e.heard + timeout <= now;
        self.refresh_peers();
        let mut late = self.peers.due(now);
        late.retain(|id| self.peers.get(id).is_some_and(|p| p.exchange.as_deref().is_some_and(over)));
        for peer in late {
            self.abandon(peer, Abandoned::Timeout);
        }
    }

    /// Exchanges whose peer has told its clock, and of which nothing is missing here any more, are complete.
    pub(crate) fn finish_exchanges(&mut self) {
        self.refresh_peers();
        let is_served = |id: &NodeId| self.peers.get(id).is_some_and(|peer| peer.chunks.is_empty());
        let open: Vec<NodeId> = self.peers.told().filter(is_served).collect();
        for id in open {
            if !self.lacks_something_of(id) {
                self.finish_exchange(id, false);
            }
        }
    }

    fn finish_exchange(&mut self, id: NodeId, equal: bool) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(exchange) = peer.exchange.take() else { return };
        peer.met = Some(now);
        let sent = peer.served - exchange.served_before;
        let is_worth_it = equal || exchange.received > 0;
        peer.fruitless = if is_worth_it { 0 } else { peer.fruitless.saturating_add(1) };
        let (received, after) = (exchange.received, now.since(exchange.began));
        self.event(Event::ExchangeDone { peer: id, equal, sent, received, after });
    }
}

/// Rung 1.
impl Gossip {
    pub(crate) fn on_compare(&mut self, from: NodeId, number: u32, both: Digest, unsettled: bool) {
        let (clock, state) = (self.replica.clock_digest(), self.replica.digest());
        let ours = Summary { number, clock, state, unsettled };
        if both == ours.both() {
            // What it holds is what we hold.
            self.note_summary(from, ours);
            self.note_equal(from);
            let unsettled = self.is_unsettled();
            self.send(from, Message::Same { exchange: number, unsettled });
        } else {
            self.report(from, true);
        }
    }

    pub(crate) fn on_same(&mut self, from: NodeId, number: u32, unsettled: bool) {
        let (commits, state) = (self.commits, self.replica.digest());
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Some(exchange) = peer.exchange.as_ref().filter(|exchange| exchange.number == number) else {
            return;
        };
        // The peer holds what we held when we asked, and knows that we did. We may hold more by now.
        peer.known.merge(&exchange.clock);
        peer.reported = Some(exchange.told.digest);
        peer.told = Some(exchange.told);
        (peer.sketched, peer.partial) = (None, None);
        if exchange.told.commit == commits {
            let newest = peer.summary.map_or(0, |summary| summary.number);
            peer.summary = Some(Summary { number: newest, clock: exchange.told.digest, state, unsettled });
            peer.look_at = None;
        }
        if let Some(summary) = &mut peer.summary {
            summary.unsettled = unsettled;
        }
        self.on_known(from);
        self.finish_exchange(from, true);
        self.check_agreement(false);
    }

    /// Both clocks are the same, and the peer will know it: the next report is told against this one.
    fn note_equal(&mut self, from: NodeId) {
        let told = self.told_now();
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.known = self.replica.clock().clone();
        peer.known_whole_at = Some(told.commit);
        peer.reported = Some(told.digest);
        peer.told = Some(told);
        (peer.sketched, peer.partial) = (None, None);
        self.on_known(from);
    }

    pub(crate) fn told_now(&self) -> Told {
        Told { commit: self.commits, digest: self.replica.clock_digest() }
    }
}

/// Rung 2.
impl Gossip {
    /// Tells a peer our clock: what changed since we last told it, or all of it, if it is large as a sketch.
    pub(crate) fn report(&mut self, to: NodeId, ask: bool) {
        let Some(peer) = self.peers.get(&to) else { return };
        let is_first = peer.told.is_none() && peer.told_to.is_none();
        if !is_first || !self.report_sketch(to, ask, NAME_SYMBOLS) {
            self.report_whole(to, ask);
        }
    }

    /// Tells a peer what changed in our clock since we last told it, or all of it. If that is too much for one report, it
    /// is told in turns: the replicas that follow those of the last report, and so on, round and round.
    pub(crate) fn report_whole(&mut self, to: NodeId, ask: bool) {
        let Some(peer) = self.peers.get(&to) else { return };
        let all = || self.replica.clock().replicas();
        let (basis, replicas): (_, Vec<ReplicaId>) = match (peer.told, peer.told_to) {
            (Some(told), _) => {
                let changed = self.changed.iter().filter(|(_, commit)| **commit > told.commit);
                (Basis::Told(told.digest), changed.map(|(replica, _)| *replica).collect())
            }
            (None, None) => (Basis::Nothing, all().collect()),
            (None, Some(last)) => (Basis::Nothing, all().filter(|replica| *replica > last).collect()),
        };
        let is_rest = peer.told.is_none() && peer.told_to.is_some();
        let mut clocks = parts(self.replica.clock(), &replicas, CLOCK_PART_BYTES_MAX);
        let is_cut = clocks.len() > REPORT_PARTS_MAX;
        clocks.truncate(REPORT_PARTS_MAX);
        let last_told = clocks.last().and_then(|clock| clock.replicas().last());
        let (summary, last) = (self.summary(), clocks.len() - 1);
        // A slice is true by itself, and a change of nothing.
        let basis = if is_cut { Basis::Nothing } else { basis };
        for (n, clock) in clocks.into_iter().enumerate() {
            let more = n < last;
            let basis = basis.clone();
            self.send(to, Message::Report(Report { summary, basis, clock, more, ask: ask && !more }));
        }
        let told = self.told_now();
        if let Some(peer) = self.peers.get_mut(&to) {
            // What was told before the last slice may have changed since.
            peer.told = (!is_cut && !is_rest).then_some(told);
            peer.told_to = last_told.filter(|_| is_cut);
        }
    }

    pub(crate) fn on_report(&mut self, from: NodeId, report: Report) {
        let since = match &report.basis {
            Basis::Nothing => None,
            Basis::Told(since) => Some(*since),
            Basis::Sketch(symbols) => return self.on_sketch(from, symbols, report.summary, report.ask),
            Basis::Yours { of, except } => return self.on_yours(from, *of, except, &report),
            Basis::Rest { of } => return self.on_rest(from, *of, &report),
        };
        if report.more {
            let now = self.now;
            self.note_part(from, &report.clock);
            if let Some(exchange) = self.peers.get_mut(&from).and_then(|peer| peer.exchange.as_mut()) {
                exchange.heard = now;
            }
        } else {
            self.take_report(from, &report.clock, report.summary, since, report.ask);
        }
    }

    /// Notes a part of a peer's clock. Says whether it can be.
    fn note_part(&mut self, from: NodeId, clock: &Clock) -> bool {
        let is_whole = match self.note_known(from, clock) {
            Ok(is_whole) => is_whole,
            Err(why) => {
                self.refuse(from, why);
                return false;
            }
        };
        self.on_known(from);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.cut |= !is_whole;
        }
        true
    }

    /// Takes the last part of what a peer told: all of its clock, or what has changed in it since it had a digest.
    pub(crate) fn take_report(
        &mut self,
        from: NodeId,
        clock: &Clock,
        summary: Summary,
        since: Option<Digest>,
        ask: bool,
    ) {
        if !self.note_part(from, clock) {
            return;
        }
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let fits = since.is_none() || since == peer.reported;
        // The rest of a sketch is on its way, and will have what this report has: one of them may be overtaken.
        let is_rest_coming = peer.partial.as_mut().is_some_and(|partial| {
            Some(partial.of) == since && !std::mem::replace(&mut partial.has_waited, true)
        });
        if !is_rest_coming {
            peer.partial = None;
        }
        // If a part had no room, the next change fits nothing, and all of it is told again.
        let is_whole = !std::mem::take(&mut peer.cut);
        peer.reported = (fits && is_whole).then_some(summary.clock);
        peer.ahead = true;
        if fits && let Some(exchange) = &mut peer.exchange {
            (exchange.reported, exchange.heard) = (true, now);
        }
        self.note_summary(from, summary);
        if !fits && !is_rest_coming {
            self.send(from, Message::Tell { symbols: NAME_SYMBOLS as u32 });
        }
        if ask {
            self.report(from, false);
        }
        if fits {
            self.tell_behind(from);
        }
        self.finish_exchanges();
        self.pull();
    }

    fn tell_behind(&mut self, peer: NodeId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let ops = self.replica.clock().count_minus(&state.known);
        let is_news = ops > 0 && !state.behind_told;
        state.behind_told = ops > 0;
        if is_news {
            self.event(Event::Behind { peer, ops });
        }
    }

    /// Our last report told a change of a clock that the peer does not have, or it was a sketch that does not tell.
    pub(crate) fn on_tell(&mut self, from: NodeId, symbols: u32) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.asked_all.is_some_and(|(at, before)| at + TELL_SPACING > now && !is_longer(symbols, before)) {
            return;
        }
        peer.asked_all = Some((now, symbols));
        (peer.told, peer.told_to, peer.sketched) = (None, None, None);
        // That what was asked for the first time goes unanswered: so ours is asked for again.
        if !self.report_sketch(from, true, symbols as usize) {
            self.report_whole(from, true);
        }
    }
}

//! What is told without being asked: writes of our own, acknowledgements, summaries. Which way a write takes where one hop does not
//! do is in `tree`.

use crate::message::{frames, parts};
use crate::{Event, Gossip, Message, Path, Refusal, Summary};
use chinwag_base::limits::{ACK_BYTES_MAX, PUSH_PEERS_MAX};
use chinwag_base::{Lane, NodeId, ReplicaId};
use chinwag_crdt::{Clock, Dot, Entry};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Pushes.
impl Gossip {
    /// Sends durable writes of our own: to everybody, if that is one hop and they are few; else along the tree.
    pub(crate) fn push(&mut self, own: Vec<Arc<Entry>>) {
        if own.is_empty() {
            return;
        }
        if !self.reaches_all() {
            return self.pass_on(own, None);
        }
        let targets: Vec<NodeId> = self.peers.keys().copied().filter(|id| self.is_alive(*id)).collect();
        for entries in frames(own, Lane::Gossip) {
            for to in &targets {
                self.send(*to, Message::Push { entries: entries.clone() });
            }
        }
    }

    pub(crate) fn on_push(&mut self, from: NodeId, entries: Vec<Arc<Entry>>) {
        let (mut durable, mut dropped) = (BTreeSet::new(), 0);
        for entry in entries {
            let dot = entry.dot;
            self.awaited.came(dot);
            if dot.replica.node != from {
                self.refuse(from, Refusal::NotItsOwn);
                break;
            }
            if !self.is_of_newest_life(from, dot) {
                self.refuse(from, Refusal::EarlierLife);
                break;
            }
            if self.replica.clock().covers(dot) {
                durable.insert(dot.replica);
            } else if self.is_promised(dot) {
                continue;
            } else if self.is_reader(from) {
                self.refuse_reader(from, dot);
                break;
            } else if !self.enqueue(entry, Path::Pushed { by: from }) {
                dropped += 1;
            }
        }
        self.note_overflow(from, dropped);
        if !durable.is_empty() {
            self.acknowledge(from, &durable.into_iter().collect::<Vec<_>>());
        }
        self.stage();
    }

    /// Received entries were dropped because too much waits for the disk.
    pub(crate) fn note_overflow(&mut self, from: NodeId, dropped: usize) {
        if dropped == 0 {
            return;
        }
        self.event(Event::Overflow { from, entries: dropped });
        // Once the disk has caught up.
        let at = self.now + self.config.difference_patience;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.look(at);
        }
    }

    /// A process pushes what it wrote itself. Another one may have taken its place without our noticing, never one
    /// before it.
    pub(crate) fn is_of_newest_life(&mut self, from: NodeId, dot: Dot) -> bool {
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        peer.life = peer.life.max(Some(dot.replica.generation));
        peer.life == Some(dot.replica.generation)
    }

    /// Tells a peer what is durable here of these replicas.
    pub(crate) fn acknowledge(&mut self, to: NodeId, replicas: &[ReplicaId]) {
        for clock in parts(self.replica.clock(), replicas, ACK_BYTES_MAX) {
            self.send(to, Message::Ack { clock });
        }
    }

    pub(crate) fn on_ack(&mut self, from: NodeId, clock: &Clock) {
        match self.note_known(from, clock) {
            Ok(_) => {
                self.on_known(from);
                self.note_announced(from, clock);
            }
            Err(why) => self.refuse(from, why),
        }
    }
}

/// Summaries.
impl Gossip {
    /// Our state changed: say so once it has settled.
    pub(crate) fn expect_summary(&mut self) {
        if self.summary_due.is_some() || self.peers.is_empty() {
            return;
        }
        // Everybody tells everybody, so that in a crowd each speaks less often.
        let crowd = 1 + self.peers.len() as u32 / PUSH_PEERS_MAX as u32;
        let spaced = self.summary_told.map(|told| told + self.config.summary_spacing * crowd);
        let settled = self.now + self.config.settle;
        self.summary_due = Some(spaced.map_or(settled, |spaced| settled.max(spaced)));
    }

    pub(crate) fn tell_summary(&mut self) {
        self.summary_due = None;
        self.summary_told = Some(self.now);
        let summary = self.summary();
        for to in self.peers.keys().copied().collect::<Vec<_>>() {
            self.send(to, Message::Summary { summary, ask: false });
        }
    }

    /// In every round: peers that are not known to agree are told again, and asked.
    pub(crate) fn ask_summaries(&mut self) {
        self.refresh_peers();
        if self.peers.are_in_step() {
            return;
        }
        let apart = self.peers.iter().filter(|(_, peer)| !self.is_in_step(peer)).map(|(id, _)| *id);
        let apart: Vec<NodeId> = apart.collect();
        if apart.is_empty() {
            return;
        }
        let summary = self.summary();
        for to in apart {
            self.send(to, Message::Summary { summary, ask: true });
        }
    }

    pub(crate) fn on_summary(&mut self, from: NodeId, summary: Summary, ask: bool) {
        self.note_summary(from, summary);
        if ask {
            let summary = self.summary();
            self.send(from, Message::Summary { summary, ask: false });
        }
    }

    /// Notes what a peer says that it holds.
    pub(crate) fn note_summary(&mut self, from: NodeId, theirs: Summary) {
        let (clock, state) = (self.replica.clock_digest(), self.replica.digest());
        let (now, patience, rest) = (self.now, self.config.difference_patience, self.config.rest);
        let is_unsettled = self.is_unsettled();
        let is_behind = self.history.contains(theirs.clock);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.summary.is_some_and(|newest| newest.number >= theirs.number) {
            return;
        }
        peer.summary = Some(theirs);
        if theirs.clock != clock {
            // It may hold what we lack, unless its clock is one that we once had.
            if !is_behind {
                peer.look(now + patience * peer.patience_factor());
            }
            if self.is_converged() {
                self.check_agreement(false);
            }
            return;
        }
        peer.look_at = None;
        peer.behind_told = false;
        let mut corrupt = false;
        if theirs.state == state {
            peer.differs_since = None;
        } else if is_unsettled || theirs.unsettled {
            // One of us knows more than his clock says. That passes by itself, unless he who told it is gone.
            peer.differs |= *peer.differs_since.get_or_insert(now) + rest <= now;
        } else if peer.corrupt_at != Some(state) {
            // Nobody can say which of us is right, and joining cells would take away on both sides what one has lost. So it
            // is told, and left to people.
            peer.corrupt_at = Some(state);
            corrupt = true;
        }
        if peer.known_whole_at != Some(self.commits) {
            peer.known_whole_at = Some(self.commits);
            peer.known = self.replica.clock().clone();
            self.on_known(from);
        }
        if corrupt {
            self.event(Event::Corrupt { peer: from, ours: state, theirs: theirs.state });
        }
        if theirs.state == state {
            self.settle_as(theirs);
        }
        self.check_agreement(false);
    }
}

//! Beside the tree: what is announced, and what is fetched because it was announced and did not come.
//!
//! See `tree` for the protocol. What has come along the tree is announced along the lazy connections once it is durable
//! here. Whoever lacks it waits for a while, since the tree's way is longer than the announcement's for most; then fetches it
//! from who announced it first, and from two more if they announced it too: a frame is lost already, or somebody is
//! gone, and the next answer may be late.

use crate::{Event, Gossip, Message};
use chinwag_base::limits::{AWAITED_MAX, CHUNK_ENTRIES_MAX};
use chinwag_base::{Moment, NodeId, ReplicaId};
use chinwag_crdt::{Clock, Dot};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What was announced and has not come along the tree after this long is not waited for any more.
const AWAITED_FOR: Duration = Duration::from_secs(5);
/// In trouble, what was announced is fetched so many times sooner.
const HASTE: u32 = 6;

/// What was announced and has not come along the tree.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    since: BTreeMap<Dot, Moment>,
    /// Until when everything is wanted by two ways, because something did not come by one.
    troubled_until: Option<Moment>,
}

impl Awaited {
    fn announced(&mut self, dot: Dot, now: Moment) {
        if self.since.len() < AWAITED_MAX {
            self.since.entry(dot).or_insert(now);
        }
    }

    /// An entry came along the tree.
    pub(crate) fn came(&mut self, dot: Dot) {
        self.since.remove(&dot);
    }

    /// Whether an entry was announced and has not come along the tree.
    pub(crate) fn contains(&self, dot: Dot) -> bool {
        self.since.contains_key(&dot)
    }

    pub(crate) fn expire(&mut self, now: Moment) {
        self.since.retain(|_, at| *at + AWAITED_FOR > now);
        self.troubled_until = self.troubled_until.filter(|until| *until > now);
    }
}

impl Gossip {
    /// Announces what has become durable, along the lazy connections to those not known to hold it.
    pub(crate) fn announce(&mut self, dots: &[Dot]) {
        let lazy = self.peers.iter().filter(|(id, peer)| !peer.eager && self.is_alive(**id));
        let due: Vec<(NodeId, BTreeSet<ReplicaId>)> = lazy
            .map(|(id, peer)| {
                let lacked = dots.iter().filter(|dot| !peer.known.covers(**dot));
                (*id, lacked.map(|dot| dot.replica).collect())
            })
            .collect();
        for (id, replicas) in due.into_iter().filter(|(_, replicas)| !replicas.is_empty()) {
            self.acknowledge(id, &replicas.into_iter().collect::<Vec<_>>());
        }
    }

    /// A peer says what it holds durably. If that is not here and not on its way, it is fetched should it not come soon.
    pub(crate) fn note_announced(&mut self, from: NodeId, clock: &Clock) {
        // Who takes whole cells lacks much, and knows it.
        if self.replica.session().is_some() {
            return;
        }
        let under_way = [&self.pending, self.refused.dots(), self.early.dots()];
        let lacked = self.lacking(clock, &under_way, 1);
        let Some((replica, counter, _)) = lacked.iter().next() else { return };
        self.awaited.announced(Dot::new(replica, counter), self.now);
        let haste = if self.is_troubled() { HASTE } else { 1 };
        let at = self.now + self.config.graft_patience / haste;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.graft_at.get_or_insert(at);
        }
    }

    /// Peers whose announcements have been waited for long enough.
    pub(crate) fn expire_grafts(&mut self) {
        let now = self.now;
        self.refresh_peers();
        let mut due = self.peers.due(now);
        due.retain(|id| self.peers.get(id).is_some_and(|p| p.graft_at.is_some_and(|at| at <= now)));
        for id in due {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.graft_at = None;
            }
            self.graft(id);
        }
    }

    /// Fetches what a peer has announced, and makes the connection eager.
    fn graft(&mut self, id: NodeId) {
        let is_resting = self.peers.get(&id).is_none_or(|peer| peer.rest_until.is_some());
        if self.replica.session().is_some()
            || self.pull_again_at.is_some()
            || is_resting
            || !self.is_alive(id)
        {
            return;
        }
        // Who lacks much is catching up: that is for exchanges, and says nothing about the tree.
        let much = CHUNK_ENTRIES_MAX as u64;
        if self.asked().dots().is_none_or(|dots| dots >= much) {
            return;
        }
        let Some(spans) = self.lacking_of(id, &self.asked_for_good(), CHUNK_ENTRIES_MAX) else { return };
        if spans.dots().is_none_or(|dots| dots >= much) {
            return;
        }
        self.branch(id);
        self.send(id, Message::Graft);
        self.want(id, spans, true);
    }

    /// Whether everything is wanted by two ways.
    pub(crate) fn is_troubled(&self) -> bool {
        self.awaited.troubled_until.is_some_and(|until| until > self.now)
    }

    /// A peer brought what should have come along the tree.
    pub(crate) fn note_trouble(&mut self, from: NodeId) {
        self.awaited.troubled_until = Some(self.now + self.config.trouble);
        if self.is_alive(from) && self.peers.get(&from).is_some_and(|peer| !peer.eager) {
            self.branch(from);
            self.send(from, Message::Graft);
        }
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
}

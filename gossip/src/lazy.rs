//! Beside the tree: what is announced, and what is fetched because it was announced and did not come.
//!
//! See `tree` for the protocol. What has come along the tree is announced along the lazy connections once it is durable
//! here. Whoever lacks it waits for a while, since the tree's way is longer than the announcement's for most; then fetches it
//! from who announced it first, and from two more if they announced it too: a frame is lost already, or somebody is
//! gone, and the next answer may be late.

use crate::{Gossip, Message};
use chinwag_base::limits::{AWAITED_MAX, CHUNK_ENTRIES_MAX};
use chinwag_base::{Moment, NodeId, ReplicaId};
use chinwag_crdt::{Clock, Dot};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What was announced and has not come along the tree after this long is not waited for any more.
const AWAITED_FOR: Duration = Duration::from_secs(5);
/// Where frames are lost, what was announced is fetched so many times sooner. Not after one: whoever is hasty changes the tree.
const HASTE: u32 = 6;
/// Rounds in which something was lost that make a network lossy.
const LOSSY: u32 = 3;

/// What was announced and has not come along the tree.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    since: BTreeMap<Dot, Moment>,
    /// Until when everything is wanted by two ways, because something was late by one.
    doubled_until: Option<Moment>,
    /// How often something was lost, and until when that counts.
    lost: u32,
    lost_until: Option<Moment>,
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

    /// Forgets what was announced long ago. Says whether any of it was lost on the tree: it `is_here` and came otherwise. (One that
    /// was merely fetched too early comes along the tree as well.)
    fn expire(&mut self, now: Moment, is_here: impl Fn(Dot) -> bool) -> bool {
        let mut lost = false;
        self.since.retain(|dot, at| {
            let is_over = *at + AWAITED_FOR <= now;
            lost |= is_over && is_here(*dot);
            !is_over
        });
        lost
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
        // Of what was missed before nothing comes along the tree.
        if self.peers.owing().next().is_none() {
            self.awaited.announced(Dot::new(replica, counter), self.now);
        }
        let is_hasty = self.awaited.lost >= LOSSY;
        let at = self.now + self.config.graft_patience / if is_hasty { HASTE } else { 1 };
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

    /// Once a round: what has not come along the tree?
    pub(crate) fn look_for_trouble(&mut self) {
        let (now, clock) = (self.now, self.replica.clock());
        let is_lost = self.awaited.expire(now, |dot| clock.covers(dot));
        let awaited = &mut self.awaited;
        if awaited.lost_until.is_some_and(|until| until <= now) {
            awaited.lost = 0;
        }
        if is_lost {
            awaited.lost = awaited.lost.saturating_add(1);
            awaited.lost_until = Some(now + self.config.trouble);
        }
    }

    /// Whether everything is wanted by two ways.
    pub(crate) fn wants_two(&self) -> bool {
        self.awaited.doubled_until.is_some_and(|until| until > self.now)
    }

    /// What should have come along the tree was fetched.
    pub(crate) fn note_fetched(&mut self, from: NodeId) {
        self.awaited.doubled_until = Some(self.now + self.config.trouble);
        if self.is_alive(from) && self.peers.get(&from).is_some_and(|peer| !peer.eager) {
            self.branch(from);
            self.send(from, Message::Graft);
        }
    }
}

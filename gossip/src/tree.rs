//! The tree: how a write travels where its writer is not connected to everybody.
//!
//! Plumtree (Leitão, Pereira, Rodrigues, *Epidemic broadcast trees*, SRDS 2007) lets every node divide its connections
//! in two. Along the *eager* ones a new entry is passed on at once, whole ([`Message::Relay`]); along the others, the
//! *lazy* ones, it is only announced. Nobody plans the tree. At first too many connections are eager, and entries come
//! twice; whoever gets one twice makes the connection lazy that brought it last ([`Message::Prune`]). What is left is a
//! tree, made of the connections that were faster. And an entry that was announced and does not come is fetched from who
//! announced it, whose connection becomes eager ([`Message::Graft`]): so the tree mends itself where a node or a frame
//! is lost.
//!
//! # Departures from the paper
//!
//! - **The clock is the duplicate filter** (the paper keeps the ids of all messages received). An entry that it covers,
//!   or that is on its way to the disk, has come before. Of one that the disk did not take, `trace` remembers for a while that
//!   it came.
//! - **An announcement is an acknowledgement**: "this is durable here", which serves whoever waits for holders as well
//!   (`lazy`). To pass an entry on waits for no disk, to announce it does.
//! - **What was announced is fetched as in anti-entropy**, by [`Message::Want`] and on the lane that loses nothing, within
//!   the same bounds. A graft itself only says that the connection is eager from now on.
//! - **A connection is pruned only if the first copy came along the tree too.** One that an exchange brought says nothing
//!   about which connections are fast.
//! - **In trouble, two ways**: who had to fetch an entry wants everything by two ways for some minutes, and whoever was asked to
//!   pass on does so for as long, whatever comes back. Who has lost some, which never came along the tree, fetches sooner, too.
//!   On a network that loses frames, a tree alone is cut at every write.
//! - **A writer who is connected to everybody, and they are few, pushes to everybody** ([`Message::Push`]), and nobody
//!   passes it on: one hop beats any tree.

use crate::message::frames;
use crate::peer::Peer;
use crate::{Gossip, Message, Path, Refusal};
use chinwag_base::limits::{BRANCHES_AT_FIRST, PUSH_PEERS_MAX};
use chinwag_base::{Lane, NodeId};
use chinwag_crdt::{Dot, Entry};
use rand::RngExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Along the tree.
impl Gossip {
    /// Whether pushes of ours reach everybody in one hop, and are few.
    pub(crate) fn reaches_all(&self) -> bool {
        self.alive_others() <= self.config.push_peers_max
            && self.peers.keys().filter(|id| self.is_alive(**id)).count() == self.alive_others()
    }

    /// Passes entries on along the tree, to all but the one that they came from.
    pub(crate) fn pass_on(&mut self, entries: Vec<Arc<Entry>>, from: Option<NodeId>) {
        if entries.is_empty() {
            return;
        }
        let is_next = |id: &NodeId| Some(*id) != from && self.is_alive(*id);
        let eager = self.peers.iter().filter(|(id, peer)| peer.eager && is_next(id));
        let next: Vec<NodeId> = eager.map(|(id, _)| *id).collect();
        for entries in frames(entries, Lane::Gossip) {
            for to in &next {
                self.send(*to, Message::Relay { entries: entries.clone() });
            }
        }
    }

    pub(crate) fn on_relay(&mut self, from: NodeId, entries: Vec<Arc<Entry>>) {
        let (mut news, mut again, mut dropped) = (Vec::new(), 0, 0);
        let mut durable = BTreeSet::new();
        for entry in entries {
            let (dot, author) = (entry.dot, entry.dot.replica.node);
            if dot.replica == self.me && !self.replica.clock().covers(dot) {
                self.refuse(from, Refusal::BogusClock);
                break;
            }
            if author == from && !self.is_of_newest_life(from, dot) {
                self.refuse(from, Refusal::EarlierLife);
                break;
            }
            let is_durable = self.replica.clock().covers(dot);
            let is_here = is_durable || self.pending.contains(dot);
            self.awaited.came(dot);
            if is_here {
                again += usize::from(self.is_one_too_many(dot, from));
                if is_durable && author == from {
                    durable.insert(dot.replica);
                }
            } else if self.is_promised(dot) || self.is_let_be(dot) {
                continue;
            } else if self.is_reader(author) {
                self.refuse_reader(from, dot);
            } else {
                // What came before and is not here, because the disk did not take it, was passed on then. And what will be
                // refused never comes to be known, so that it could go round for ever.
                let goes_on = self.traces.path(dot).is_none() && self.replica.would_take(&entry);
                if !self.enqueue(entry.clone(), Path::Relayed { by: from }) {
                    dropped += 1;
                } else if goes_on {
                    self.traces.count_copy(dot);
                    news.push(entry);
                }
            }
        }
        self.note_overflow(from, dropped);
        if !durable.is_empty() {
            self.acknowledge(from, &durable.into_iter().collect::<Vec<_>>());
        }
        if !news.is_empty() {
            self.note_brought(from);
        } else if again > 0 && dropped == 0 {
            self.prune(from);
        }
        self.pass_on(news, Some(from));
        self.stage();
    }

    /// Whether a copy from a peer is one more than we want, the first of which came along the tree by somebody else or from
    /// a client of ours.
    fn is_one_too_many(&mut self, dot: Dot, from: NodeId) -> bool {
        let copies = self.traces.count_copy(dot);
        let grafted = self.peers.get(&from).and_then(|peer| peer.grafted);
        if grafted.is_some_and(|at| at + self.config.trouble > self.now) {
            return false;
        }
        let wanted = if self.wants_two() { 2 } else { 1 };
        match self.traces.path(dot) {
            Some(Path::Relayed { by }) => by != from && copies > wanted,
            Some(Path::Local) => copies >= wanted,
            Some(Path::Pushed { .. } | Path::Synced { .. } | Path::Joined { .. }) | None => false,
        }
    }
}

/// Which connections are the tree's.
impl Gossip {
    /// A new connection. The first are eager; of more than [`BRANCHES_AT_FIRST`] each is with the same chance (reservoir
    /// sampling), so that in a full mesh the tree does not become a star around whom everybody met first.
    pub(crate) fn plant(&mut self, peer: NodeId) {
        let connected = self.peers.len();
        if connected > BRANCHES_AT_FIRST {
            if self.rng.random_range(0..connected) >= BRANCHES_AT_FIRST {
                return;
            }
            // Of those that have proved themselves none gives way, and none at all once the tree has grown.
            let eager = || self.peers.iter().filter(|(_, peer)| peer.eager);
            let unproved = |(_, peer): &(&NodeId, &Peer)| peer.proved().is_none();
            let unproved: Vec<NodeId> = eager().filter(unproved).map(|(id, _)| *id).collect();
            if !unproved.is_empty() && eager().count() >= BRANCHES_AT_FIRST {
                let out = unproved[self.rng.random_range(0..unproved.len())];
                self.set_eager(out, false);
            }
        }
        self.set_eager(peer, true);
    }

    pub(crate) fn set_eager(&mut self, id: NodeId, eager: bool) {
        if self.peers.get(&id).is_some_and(|peer| peer.eager != eager)
            && let Some(peer) = self.peers.get_mut(&id)
        {
            peer.eager = eager;
        }
    }

    /// Makes a connection eager. If there are too many, one of somebody dead goes, or the one that has longest proved of no use.
    pub(crate) fn branch(&mut self, id: NodeId) {
        self.set_eager(id, true);
        let eager = || self.peers.iter().filter(|(_, peer)| peer.eager);
        if eager().count() > PUSH_PEERS_MAX {
            let others = eager().filter(|(other, _)| **other != id);
            if let Some((out, _)) =
                others.min_by_key(|(other, peer)| (self.is_alive(**other), peer.proved(), **other))
            {
                self.prune(*out);
            }
        }
    }

    /// A peer was the first to bring something along the tree.
    fn note_brought(&mut self, from: NodeId) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.brought = Some(now);
        if !peer.eager {
            self.branch(from);
        }
    }

    /// Both sides stop to pass on to each other.
    fn prune(&mut self, peer: NodeId) {
        self.set_eager(peer, false);
        self.send(peer, Message::Prune);
    }

    pub(crate) fn on_prune(&mut self, from: NodeId) {
        self.set_eager(from, false);
    }

    pub(crate) fn on_graft(&mut self, from: NodeId) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.grafted = Some(now);
        }
        self.branch(from);
    }
}

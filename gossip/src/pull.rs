//! Fetching what a peer's clock covers and ours does not, chunk by chunk.
//!
//! The side that lacks entries asks for them by name. So the side that has them remembers nothing between two
//! chunks; the next chunk is asked for once the one before is durable, which is the credit; and what is under way
//! from one peer is not asked of another.

use crate::message::frames;
use crate::peer::{Chunk, ChunkState};
use crate::{Abandoned, Event, Gossip, Message, Path, Refusal, Spans};
use chinwag_base::limits::{CHUNK_ENTRIES_MAX, CHUNKS_PER_PEER_MAX, GRAFTS_AT_ONCE_MAX, PULL_ENTRIES_MAX};
use chinwag_base::{Lane, NodeId};
use chinwag_crdt::{Clock, Dot, Entry};
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The side that lacks entries.
impl Gossip {
    /// Asks for what is lacking, as far as the credits go; and for whole cells where no log has it.
    pub(crate) fn pull(&mut self) {
        if self.pull_again_at.is_none() {
            self.pull_entries();
            self.look_for_cells();
        }
    }

    fn pull_entries(&mut self) {
        if self.refused.expire(self.now) | self.early.expire(self.now) {
            self.spent.clear();
        }
        self.refresh_peers();
        let has_log = |id: &NodeId| self.peers.get(id).is_some_and(|peer| peer.log_is_cut.is_none());
        let worth_asking = |id: &NodeId| !self.spent.contains(id) && has_log(id);
        let mut ahead: Vec<NodeId> = self.peers.ahead().filter(worth_asking).collect();
        if ahead.is_empty() {
            return;
        }
        let first = self.rng.random_range(0..ahead.len());
        ahead.rotate_left(first);
        let mut asked = self.asked();
        for from in ahead {
            while self.peers.get(&from).is_some_and(|p| p.chunks.len() < CHUNKS_PER_PEER_MAX) {
                let under_way = self.queue.entries() + asked.dots().unwrap_or(0) as usize;
                let room = PULL_ENTRIES_MAX.saturating_sub(under_way).min(CHUNK_ENTRIES_MAX);
                if room == 0 {
                    return;
                }
                let Some(spans) = self.lacking_of(from, &asked, room) else {
                    // Once nothing is missing at all, this peer need not be looked at again; if something is, not before
                    // it is known not to come.
                    if self.lacks_something_of(from) {
                        self.spent.insert(from);
                    }
                    break;
                };
                asked.extend(spans.iter().flat_map(|(r, a, b)| (a..=b).map(move |c| Dot::new(r, c))));
                self.want(from, spans, false);
            }
        }
    }

    pub(crate) fn want(&mut self, from: NodeId, spans: Spans, graft: bool) {
        let number = self.next_chunk;
        self.next_chunk = self.next_chunk.wrapping_add(1);
        let chunk = Chunk { spans: spans.clone(), at: self.now, state: ChunkState::Asked, graft };
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.chunks.insert(number, chunk);
        }
        self.send(from, Message::Want { chunk: number, spans });
    }

    /// What has been asked for lately and has not come.
    pub(crate) fn asked(&self) -> Spans {
        let mut asked = Spans::default();
        let owing = self.peers.owing().filter_map(|id| self.peers.get(&id));
        for chunk in owing.flat_map(|peer| peer.chunks.values()) {
            if matches!(chunk.state, ChunkState::Asked) {
                asked.extend(chunk.spans.iter().flat_map(|(r, a, b)| (a..=b).map(move |c| Dot::new(r, c))));
            }
        }
        asked
    }

    /// The same, without what was asked for because it did not come along the tree, unless of as many as may be asked at once:
    /// somebody else may be asked for that too, since a frame was lost already.
    pub(crate) fn asked_for_good(&self) -> Spans {
        let (mut asked, mut times) = (Spans::default(), BTreeMap::<Dot, usize>::new());
        let owing = self.peers.owing().filter_map(|id| self.peers.get(&id));
        for chunk in owing.flat_map(|peer| peer.chunks.values()) {
            if !matches!(chunk.state, ChunkState::Asked) {
                continue;
            }
            for dot in chunk.spans.iter().flat_map(|(r, a, b)| (a..=b).map(move |c| Dot::new(r, c))) {
                let times = times.entry(dot).or_default();
                *times += 1;
                if !chunk.graft || *times >= GRAFTS_AT_ONCE_MAX {
                    asked.insert(dot);
                }
            }
        }
        asked
    }

    /// Up to `max` dots that the peer covers, that are neither here nor under way.
    pub(crate) fn lacking_of(&self, id: NodeId, asked: &Spans, max: usize) -> Option<Spans> {
        let peer = self.peers.get(&id)?;
        // What this very peer owes us is not asked of it twice.
        let owed = peer.chunks.values().filter(|chunk| !matches!(chunk.state, ChunkState::Arrived(_)));
        let ours = [asked, &self.pending, self.refused.dots(), self.early.dots()];
        let besides: Vec<&Spans> = ours.into_iter().chain(owed.map(|chunk| &chunk.spans)).collect();
        let spans = self.lacking(&peer.known, &besides, max);
        (!spans.is_empty()).then_some(spans)
    }

    /// Whether the peer covers anything that is not durable here, what was refused apart.
    pub(crate) fn lacks_something_of(&mut self, id: NodeId) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        if !peer.ahead {
            return false;
        }
        let refused = [self.refused.dots(), self.early.dots()];
        let lacks = !self.lacking(&peer.known, &refused, 1).is_empty();
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.ahead = lacks;
        }
        lacks
    }

    pub(crate) fn on_chunk(&mut self, from: NodeId, number: u32, entries: Vec<Arc<Entry>>, cut: bool) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let asked = match peer.chunks.get(&number) {
            Some(Chunk { state: ChunkState::Asked | ChunkState::Late, spans, .. }) => spans.clone(),
            // Given up in the meantime: what is lacking is asked for anew.
            None if number < self.next_chunk => return,
            Some(Chunk { state: ChunkState::Arrived(_), .. }) | None => {
                return self.refuse(from, Refusal::Unsolicited);
            }
        };
        if let Some(exchange) = &mut peer.exchange {
            exchange.heard = now;
            exchange.received += entries.len();
        }
        let mut given = Spans::default();
        let mut dropped = 0;
        let mut by_reader = None;
        let mut brought = false;
        for entry in entries {
            let dot = entry.dot;
            if !asked.contains(dot) || !given.insert(dot) {
                self.refuse(from, Refusal::Unsolicited);
                break;
            }
            if self.replica.clock().covers(dot) || self.is_promised(dot) {
                continue;
            }
            if self.is_reader(dot.replica.node) {
                by_reader.get_or_insert(dot);
            } else if self.pending.contains(dot) {
                continue;
            } else if self.enqueue(entry, Path::Synced { from }) {
                brought |= self.awaited.contains(dot);
            } else {
                dropped += 1;
            }
        }
        if let Some(dot) = by_reader {
            self.refuse_reader(from, dot);
        }
        if dropped > 0 {
            self.event(Event::Overflow { from, entries: dropped });
        }
        if given != asked || dropped > 0 {
            self.spent.clear();
        }
        if brought {
            self.note_fetched(from);
        }
        if given.is_empty() && cut {
            return self.note_cut(from, number);
        }
        if given.is_empty() {
            return self.give_up_on(from);
        }
        if let Some(chunk) = self.peers.get_mut(&from).and_then(|peer| peer.chunks.get_mut(&number)) {
            chunk.state = ChunkState::Arrived(given);
        }
        self.stage();
        self.close_chunks();
        self.finish_exchanges();
        self.pull();
    }

    /// A peer's log has none of what was asked for any more.
    fn note_cut(&mut self, from: NodeId, number: u32) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.chunks.remove(&number);
            peer.log_is_cut = Some(now);
        }
        self.pull();
    }

    /// A peer gave nothing of what it says that it holds. What it said is forgotten, and it is left alone a while.
    fn give_up_on(&mut self, from: NodeId) {
        self.abandon(from, Abandoned::Barren);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.forget_clock();
        }
        self.set_eager(from, false);
    }

    /// Chunks that are late, or that nobody expects any more; and peers that have rested.
    pub(crate) fn expire_chunks(&mut self) {
        let (now, config) = (self.now, self.config.clone());
        let mut over = Vec::new();
        self.refresh_peers();
        for id in self.peers.due(now) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.rest_until = peer.rest_until.filter(|at| *at > now);
            for chunk in peer.chunks.values_mut() {
                match chunk.state {
                    ChunkState::Asked if chunk.at + config.chunk_patience <= now => {
                        chunk.state = ChunkState::Late;
                        self.spent.clear();
                    }
                    _ => {}
                }
                if matches!(chunk.state, ChunkState::Late) && chunk.at + config.exchange_timeout <= now {
                    over.push(id);
                }
            }
        }
        over.dedup();
        for peer in over {
            self.abandon(peer, Abandoned::Timeout);
        }
    }
}

impl Gossip {
    /// Up to `max` dots that `theirs` covers, that are neither here nor in any of `besides`, and that would be taken.
    pub(crate) fn lacking(&self, theirs: &Clock, besides: &[&Spans], max: usize) -> Spans {
        let mut spans = Spans::default();
        let mut room = max;
        // What comes with whole cells is not asked for.
        let with_promised = self.replica.session().map(|session| {
            let mut clock = self.replica.clock().clone();
            clock.merge(&session.clock);
            clock
        });
        let ours = with_promised.as_ref().unwrap_or(self.replica.clock());
        for (replica, range) in theirs.minus(ours) {
            if self.is_reader(replica.node) || !self.replica.has_room_for(Dot::new(replica, *range.start())) {
                continue;
            }
            let mut next = Some(*range.start());
            while let Some(counter) = next.filter(|counter| counter <= range.end()) {
                if room == 0 {
                    return spans;
                }
                // Whole runs that are under way are passed over in one step.
                let skipped = besides.iter().try_fold(counter, |counter, s| s.skip(replica, counter));
                if skipped != Some(counter) {
                    next = skipped;
                    continue;
                }
                spans.insert(Dot::new(replica, counter));
                room -= 1;
                next = counter.checked_add(1);
            }
        }
        spans
    }
}

/// The side that has them.
impl Gossip {
    pub(crate) fn on_want(&mut self, from: NodeId, chunk: u32, spans: &Spans) {
        if spans.dots().is_none_or(|dots| dots > CHUNK_ENTRIES_MAX as u64) {
            return self.refuse(from, Refusal::MalformedWant);
        }
        let dots = || spans.iter().flat_map(|(r, a, b)| (a..=b).map(move |c| Dot::new(r, c)));
        let is_cut = |dot| self.replica.clock().covers(dot) && self.replica.entry(dot).is_none();
        let cut = dots().any(is_cut);
        let entries = dots().filter_map(|dot| self.replica.entry(dot).cloned());
        // What does not fit the first frame is asked for again.
        let entries = frames(entries, Lane::Bulk).into_iter().next().unwrap_or_default();
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.served += entries.len();
        }
        self.send(from, Message::Chunk { chunk, entries, cut });
    }
}

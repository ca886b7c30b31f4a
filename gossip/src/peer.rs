//! What is remembered of a connected peer. All of it ends with the connection.

use crate::names::{Partial, Sketched};
use crate::{Spans, Summary};
use chinwag_base::{Digest, Generation, Moment, NodeId, ReplicaId};
use chinwag_crdt::Clock;
use std::collections::BTreeMap;

/// A connected peer.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// What it is known to hold durably. Never more than it holds; often a little less.
    pub(crate) known: Clock,
    /// The commit of ours at which it was known to hold all that we held.
    pub(crate) known_whole_at: Option<u64>,
    /// The digest of its clock as it last told all of it: what its next change is told against.
    pub(crate) reported: Option<Digest>,
    /// Whether a part of its clock did not fit since it last told all of it.
    pub(crate) cut: bool,
    /// Whether we pass news on to it at once. Mostly it does so to us, but that is for itself to know.
    pub(crate) eager: bool,
    /// When it last grafted itself on to us.
    pub(crate) grafted: Option<Moment>,
    /// When it was last the first to bring something along the tree.
    pub(crate) brought: Option<Moment>,
    /// When to fetch what it has announced.
    pub(crate) graft_at: Option<Moment>,
    /// The newest process life of which it pushed entries.
    pub(crate) life: Option<Generation>,
    /// What we last told it of our clock.
    pub(crate) told: Option<Told>,
    /// The last replica that it was told, if our clock is so large that it is told in turns.
    pub(crate) told_to: Option<ReplicaId>,
    /// When it last asked to be told everything, and with how many symbols.
    pub(crate) asked_all: Option<(Moment, u32)>,
    /// Our clock, if it was told as a sketch and the answer has not come.
    pub(crate) sketched: Option<Box<Sketched>>,
    /// Its clock as far as its sketch told it, if it has more to tell.
    pub(crate) partial: Option<Box<Partial>>,
    /// Its newest summary.
    pub(crate) summary: Option<Summary>,
    /// When an exchange with it was last complete.
    pub(crate) met: Option<Moment>,
    /// The exchange that we have begun with it.
    pub(crate) exchange: Option<Box<Exchange>>,
    /// When to begin one out of turn.
    pub(crate) look_at: Option<Moment>,
    /// Exchanges in a row that found a difference and brought nothing.
    pub(crate) fruitless: u32,
    /// Until when nothing is asked of it.
    pub(crate) rest_until: Option<Moment>,
    /// Whether its clock may cover entries that we lack.
    pub(crate) ahead: bool,
    /// The chunks that were asked of it and are not durable here.
    pub(crate) chunks: BTreeMap<u32, Chunk>,
    /// Whether it was told to be behind, and has not been in step since.
    pub(crate) behind_told: bool,
    /// Entries that it was given, in all.
    pub(crate) served: usize,
    /// Since when it is known that what it holds and we lack has been cut from its log.
    pub(crate) log_is_cut: Option<Moment>,
    /// Whether it covers exactly what we cover, and holds something else.
    pub(crate) differs: bool,
    /// Since when it covers exactly what we cover and holds something else, because one of us is unsettled.
    pub(crate) differs_since: Option<Moment>,
    /// The position in our own log up to which it is known to cover everything.
    pub(crate) covers_to: u64,
    /// The state of ours at which it was reported to be corrupt.
    pub(crate) corrupt_at: Option<Digest>,
}

/// What a peer was told of our clock: the clock as of a commit of ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) commit: u64,
    pub(crate) digest: Digest,
}

/// An exchange that we began.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The number of the summary that opened it.
    pub(crate) number: u32,
    /// Our clock in that summary: if the peer says "the same", this is its clock.
    pub(crate) clock: Clock,
    pub(crate) told: Told,
    pub(crate) began: Moment,
    /// When the peer last said something that belongs to it.
    pub(crate) heard: Moment,
    /// Whether the peer has told its clock.
    pub(crate) reported: bool,
    /// Entries that came.
    pub(crate) received: usize,
    /// [`Peer::served`] when it began.
    pub(crate) served_before: usize,
}

/// Entries that were asked for.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) spans: Spans,
    pub(crate) at: Moment,
    pub(crate) state: ChunkState,
    /// Whether it was asked for because it had been announced and did not come.
    pub(crate) graft: bool,
}

#[derive(Debug)]
pub(crate) enum ChunkState {
    /// No answer yet.
    Asked,
    /// No answer for a while: others may be asked for the same.
    Late,
    /// These came, and are on their way to the disk.
    Arrived(Spans),
}

impl Peer {
    /// When its being eager was last of use: to us, or to itself.
    pub(crate) fn proved(&self) -> Option<Moment> {
        self.brought.max(self.grafted)
    }

    /// How many times longer than usual a difference may last before it is worth an exchange. While everybody
    /// writes, clocks always differ, and exchanges find that the news is on its way already.
    pub(crate) fn patience_factor(&self) -> u32 {
        const DOUBLINGS_MAX: u32 = 3;
        1 << self.fruitless.min(DOUBLINGS_MAX)
    }

    /// Asks for an exchange at `at` or earlier.
    pub(crate) fn look(&mut self, at: Moment) {
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }

    /// Forgets what it has told, because it did not fit or was not true.
    pub(crate) fn forget_clock(&mut self) {
        self.known = Clock::default();
        self.known_whole_at = None;
        self.reported = None;
        self.partial = None;
        self.ahead = false;
    }
}

/// A connected peer as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// The peer.
    pub peer: NodeId,
    /// The digest of its state, as it last said.
    pub digest: Option<Digest>,
    /// Entries that we hold and it is not known to hold; `None` before it has told anything.
    pub behind: Option<u64>,
    /// Whether it is known to hold exactly what we hold.
    pub in_step: bool,
    /// When an exchange with it was last complete.
    pub met: Option<Moment>,
}

//! How replicas meet: eager push and the anti-entropy ladder, as a pure state machine.
//!
//! A [`Gossip`] owns this node's [`Replica`](chinwag_crdt::Replica) and decides two things: when a write becomes
//! durable, and how it reaches the others. It does no I/O: [`Gossip::handle`] is told what happened, and
//! [`Gossip::poll_output`] says what to do.
//!
//! # From a client to the disk
//!
//! Writes and received entries wait in one bounded queue. Whenever the disk is free, all that waits becomes one
//! batch (group commit): staged in the replica, where no reader sees it, and handed out as [`Output::Persist`]. When
//! it is durable it is committed, all in one step: visible, answered, told to others. If the disk refuses it, it is
//! as if it had never been, and every client in it is told. One client's impossible operation costs the others
//! nothing. Several clients that were answered together are waited for a moment, so that they share the next one too.
//!
//! *Nothing is ever claimed that is not durable here*, in an acknowledgement, a clock or a digest, and nothing of our own
//! leaves before. That is what makes an acknowledgement from elsewhere worth waiting for ([`Wait`]). What others wrote
//! is passed on as it comes.
//!
//! # From one node to the others
//!
//! Demers et al., *Epidemic algorithms for replicated database maintenance* (PODC 1987), call the two ways *rumor
//! mongering* and *anti-entropy*: the first is fast and may fail, the second is slow and cannot. Here:
//!
//! - **Push.** A durable write goes at once to all peers, on the gossip lane, which may lose it. They answer with an
//!   acknowledgement when it is durable there. Where that is not one hop to everybody, or they are many, it travels along
//!   a tree that makes and mends itself (`tree`, `lazy`).
//! - **Summaries.** When a node's state has settled it tells its peers 32 bytes: the digest of its clock and the
//!   digest of its state. By these each node knows who holds the same ([`Event::Converged`]), and a peer with
//!   another clock is met out of turn if that lasts longer than news takes to arrive.
//! - **The ladder.** In every round, at first contact, and when a push leaves a gap, two replicas meet, and climb
//!   only as far as they need to. *Rung 1*: are both digests equal? That costs 30 bytes and ends most exchanges.
//!   *Rung 2*: each tells what changed in its clock since it last told this peer, each fetches from the other's log
//!   exactly the entries that it lacks. *Rung 4*: who lacks what is in nobody's log any more takes whole cells (`cells`).
//!
//! The clock is the duplicate filter: an entry that it covers is a duplicate, so that nothing else needs to be
//! remembered of what has been seen. (Scuttlebutt reconciliation, van Renesse et al., LADIS 2008, has the same shape
//! with version vectors; explicit gaps let the two ways overlap freely, because an entry that came out of order
//! claims nothing for those before it.)
//!
//! # Who asks
//!
//! The side that *lacks* entries asks for them, by name, a chunk at a time ([`Message::Want`]), and asks for the next
//! chunk when the last one is durable. That is the flow control; it leaves nothing to remember at the other side, it
//! lets one node that has missed much fetch from several peers without getting anything twice, and it makes any
//! entry that was not asked for recognisable.
//!
//! # How long the log is
//!
//! What every member is known to hold durably is dropped from the log, a lone node's at once; and what is beyond a limit in
//! any case. So an absent member does not make it grow without end: it takes whole cells when it is back. On the disk
//! the state is written down now and then ([`Output::Checkpoint`]), and the rows before that go ([`MemoryStore`]).
//!
//! # What is believed of a peer
//!
//! `known`, a clock that never covers more than the peer holds durably. It drives `--wait`, and who is behind. It is
//! forgotten with the connection, since the peer may come back with another disk. A clock that covers writes that we
//! never made is refused, and a peer that does not give what it claims to hold is left alone for a while. Of a clock
//! that is larger than what is remembered, the rest is heard once what did fit has been fetched.
//!
//! Every receiver looks at the *author* of an entry: what a member wrote whose role is that of a reader is refused,
//! whoever brings it, and nobody asks for it. A role is known only of members; of an author who has left nothing is
//! known, and what others hold of it is taken. Entries are not signed one by one, so that a member who relays them
//! could still write in the name of another one.

mod agreement;
mod cells;
mod commit;
mod config;
mod diff;
mod differing;
mod event;
mod exchange;
mod expiry;
mod gossip;
mod held;
mod io;
mod keep;
mod known;
mod lazy;
mod message;
mod names;
mod peer;
mod peers;
mod pull;
mod queue;
mod spans;
mod spread;
mod store;
mod tell;
mod trace;
mod tree;
mod waits;

pub use cells::Coming;
pub use config::{Config, Identity, Recovered};
pub use diff::Diff;
pub use event::{Abandoned, Event, Path, Refusal};
pub use gossip::Gossip;
pub use io::{BatchId, Input, Member, Output, RequestId, Wait, WriteError, Written};
pub use message::{Basis, Message, Report, Summary};
pub use peer::PeerView;
pub use spans::Spans;
pub use store::MemoryStore;
pub use trace::{Arrival, Footprint, Trace, TraceError};

#[cfg(test)]
mod tests;

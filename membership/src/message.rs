//! What members say to each other.
//!
//! Pings, acks, requests for verification and their findings travel on the probe lane, pushed news on the gossip
//! lane, view exchange on the bulk lane. The transport proves who sent a frame; what it says of third parties is
//! either signed by them (a [`Record`]) or a claim of the sender.

use crate::forgetting::Order;
use crate::record::Record;
use crate::version::{State, Version};
use chinwag_base::limits::{UNHEARD_MAX, UPDATES_PER_FRAME_MAX};
use chinwag_base::{Digest, Generation, Incarnation, NodeId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A frame between two members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Are you there? Probe lane.
    Ping(Ping),
    /// I am. Probe lane.
    Ack(Ack),
    /// Please ping the subject by your own path. Probe lane.
    Verify(Verify),
    /// What came of it. Probe lane.
    Finding(Finding),
    /// News, pushed or asked for. Gossip lane when pushed, bulk lane as the answer to a request.
    News(Vec<Update>),
    /// Please send what you know of these members. Gossip lane.
    Want(Vec<NodeId>),
    /// The first frame on a connection: who I am, and the digest of my view. Bulk lane.
    Hello(Hello),
    /// Digests of the parts of my view: answer with the parts that differ. Bulk lane.
    Summary(Summary),
    /// What I believe of the members in the parts that differ. Bulk lane.
    Parts(Parts),
    /// A part of my whole view, for a newcomer: whatever of it is news is on its way already. Bulk lane.
    View(Vec<Update>),
    /// Who is there, and whom do you hear? Passed on to everybody. Bulk lane.
    Call(Call),
    /// What one member answers to that, on its way to the caller. Bulk lane.
    Answer(Answer),
}

/// Why somebody is pinged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// By an observer, in its turn: the ack names the next turn.
    Observe,
    /// Out of turn.
    Check,
}

/// A ping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ping {
    /// Comes back in the ack.
    pub sequence: u64,
    /// In turn or not.
    pub purpose: Purpose,
    /// What the sender believes of the receiver: the accused learns of it first, and refutes.
    pub belief: Option<Version>,
    /// The sender's view.
    pub digest: Digest,
    /// News that rides along.
    pub news: Vec<Update>,
}

/// The answer to a ping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// Of the ping.
    pub sequence: u64,
    /// When this observer should ping next, in milliseconds: the subject spaces its observers evenly.
    pub next_ms: Option<u32>,
    /// What the sender believes of the receiver.
    pub belief: Option<Version>,
    /// The sender's view.
    pub digest: Digest,
    /// News that rides along.
    pub news: Vec<Update>,
}

/// A request to ping a third member.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verify {
    /// Whom.
    pub subject: NodeId,
    /// Comes back in the finding; drawn for one round of one investigation.
    pub nonce: u64,
}

/// What a verifier found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// About whom.
    pub subject: NodeId,
    /// Of the request.
    pub nonce: u64,
    /// What.
    pub found: Found,
}

/// What came of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// A sign of life.
    Life,
    /// No answer within the verifier's time-out.
    Silent,
    /// The subject's host answered that nothing listens there. A stalled process does not refuse; a dead one does.
    Refused,
}

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Update {
    /// A member's own words, in full.
    Record(Arc<Record>),
    /// A pointer to them, for those who may have them already; others ask.
    Brief(Brief),
    /// Somebody accuses a member.
    Claim(Claim),
    /// An admin orders a member to be forgotten.
    Forget(Arc<Order>),
}

/// What is believed of a member, without the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// The member.
    pub id: NodeId,
    /// The belief.
    pub version: Version,
}

/// An accusation. It counts only at the very incarnation that the receiver has a record of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The accused.
    pub id: NodeId,
    /// Its process life.
    pub generation: Generation,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Suspect or down.
    pub verdict: Verdict,
    /// Who found it first.
    pub by: NodeId,
    /// With which phi, in tenths.
    pub phi_tenths: u16,
}

/// What a claim says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// It does not answer.
    Suspect,
    /// It is gone.
    Down,
}

impl Claim {
    /// The belief that it asks for.
    pub fn version(&self) -> Version {
        Version {
            generation: self.generation,
            incarnation: self.incarnation,
            state: match self.verdict {
                Verdict::Suspect => State::Suspect,
                Verdict::Down => State::Down,
            },
        }
    }
}

/// The first frame on a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's own words.
    pub record: Arc<Record>,
    /// The sender's view.
    pub digest: Digest,
    /// Whether the sender knows nobody yet: it is answered with the whole view.
    pub newcomer: bool,
}

/// Digests of the 2^`bits` parts of a view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many bits number the parts.
    pub bits: u8,
    /// One digest a part, shortened.
    pub parts: Vec<u64>,
}

/// The members in some parts of a view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// How many bits number the parts.
    pub bits: u8,
    /// Which parts.
    pub parts: Vec<u16>,
    /// All that the sender knows in them.
    pub members: Vec<Brief>,
}

/// A question to all members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Whose question it is.
    pub caller: NodeId,
    /// Tells it from others of that caller.
    pub number: u64,
}

/// An answer to a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Of the call.
    pub caller: NodeId,
    /// Of the call.
    pub number: u64,
    /// The answer.
    pub report: Report,
}

/// Whom one member hears.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Who says so.
    pub by: NodeId,
    /// Members that it hears.
    pub heard: u32,
    /// Those that it does not hear and should.
    pub unheard: Vec<Unheard>,
    /// How many more those are, without those that are held for down.
    pub more: u32,
}

/// A member that another one does not hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheard {
    /// Who.
    pub id: NodeId,
    /// Why.
    pub why: Hindrance,
}

/// What keeps one member from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hindrance {
    /// It is connected, and nothing that it sends arrives, pinged or not.
    Silent,
    /// It could not be connected to.
    Unconnected,
    /// It is held for down.
    Down,
}

/// Parts of a summary at most: ten thousand members at about ten a part.
pub const PARTS_BITS_MAX: u8 = 10;

impl Update {
    /// Whom it is about.
    pub fn id(&self) -> NodeId {
        match self {
            Update::Record(record) => record.id(),
            Update::Brief(brief) => brief.id,
            Update::Claim(claim) => claim.id,
            Update::Forget(order) => order.id,
        }
    }

    /// What it says of that member.
    pub fn version(&self) -> Version {
        match self {
            Update::Record(record) => record.version(),
            Update::Brief(brief) => brief.version,
            Update::Claim(claim) => claim.version(),
            Update::Forget(order) => order.version(),
        }
    }

    /// About how many bytes it takes in a frame, rounded up.
    pub fn weight(&self) -> usize {
        match self {
            Update::Record(record) => 1 + record.weight(),
            Update::Brief(_) => 1 + BRIEF_BYTES,
            Update::Claim(_) => 1 + BRIEF_BYTES + 32 + 3,
            Update::Forget(order) => 1 + order.weight(),
        }
    }
}

/// A brief at its longest: an id, two numbers, a state.
pub(crate) const BRIEF_BYTES: usize = 32 + 9 + 9 + 1;
/// A ping or an ack at its longest, without news.
pub(crate) const PROBE_HEAD_BYTES: usize = 1 + 9 + 6 + 20 + 19 + 3;

impl Message {
    /// Which frames replace each other in a lane that keeps only the newest of each kind: those of one slot.
    pub fn slot(&self) -> u8 {
        // A little of the subject, so that two investigations do not overwrite each other's frames.
        let subject = |id: &NodeId| id.as_bytes()[31] % 64;
        match self {
            Message::Ping(_) => 0,
            Message::Ack(_) => 1,
            Message::News(_) => 2,
            Message::Want(_) => 3,
            Message::Hello(_) => 4,
            Message::Summary(_) => 5,
            Message::Parts(_) => 6,
            Message::View(_) => 7,
            Message::Call(_) => 8,
            Message::Answer(_) => 9,
            Message::Verify(verify) => 64 + subject(&verify.subject),
            Message::Finding(finding) => 128 + subject(&finding.subject),
        }
    }

    /// About how many bytes it takes encoded, rounded up.
    pub fn weight(&self) -> usize {
        let news = |updates: &[Update]| updates.iter().map(Update::weight).sum::<usize>();
        match self {
            Message::Ping(ping) => PROBE_HEAD_BYTES + news(&ping.news),
            Message::Ack(ack) => PROBE_HEAD_BYTES + news(&ack.news),
            Message::Verify(_) => 1 + 32 + 9,
            Message::Finding(_) => 1 + 32 + 9 + 1,
            Message::News(updates) | Message::View(updates) => 4 + news(updates),
            Message::Want(ids) => 4 + 32 * ids.len(),
            Message::Hello(hello) => 1 + 19 + 1 + hello.record.weight(),
            Message::Summary(summary) => 6 + 9 * summary.parts.len(),
            Message::Call(_) => 1 + 32 + 9,
            Message::Answer(answer) => 1 + 32 + 9 + 32 + 5 + 4 + 33 * answer.report.unheard.len() + 5,
            Message::Parts(parts) => 10 + 3 * parts.parts.len() + BRIEF_BYTES * parts.members.len(),
        }
    }

    /// Whether it holds no more than a frame may.
    pub(crate) fn is_within_bounds(&self) -> bool {
        match self {
            Message::Ping(Ping { news, .. })
            | Message::Ack(Ack { news, .. })
            | Message::News(news)
            | Message::View(news) => news.len() <= UPDATES_PER_FRAME_MAX,
            Message::Verify(_) | Message::Finding(_) | Message::Hello(_) | Message::Call(_) => true,
            Message::Answer(answer) => answer.report.unheard.len() <= UNHEARD_MAX,
            Message::Want(ids) => ids.len() <= UPDATES_PER_FRAME_MAX,
            Message::Summary(s) => s.bits <= PARTS_BITS_MAX && s.parts.len() == 1 << s.bits,
            Message::Parts(p) => {
                p.bits <= PARTS_BITS_MAX
                    && p.parts.len() <= 1 << p.bits
                    && p.parts.iter().all(|&part| usize::from(part) < 1 << p.bits)
                    && p.members.len() <= UPDATES_PER_FRAME_MAX
            }
        }
    }
}

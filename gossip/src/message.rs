//! What peers say to each other, and on which lane.

use crate::{Arrival, Spans};
use chinwag_base::limits::{CHUNK_BYTES_MAX, CHUNK_ENTRIES_MAX, CLOCK_PART_BYTES_MAX};
use chinwag_base::{Digest, Key, Lane, ReplicaId};
use chinwag_crdt::clock::compact;
use chinwag_crdt::{CellId, Clock, Dot, Entry, Place, Promise, Slice, Symbol, packed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a replica holds durably, in 32 bytes: the first rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Rises with every summary to anybody, so that one overtaken on another lane is known to be old.
    pub number: u32,
    /// The digest of the clock: which entries are applied.
    pub clock: Digest,
    /// The digest of the live state.
    pub state: Digest,
    /// Whether the state may know more than the clock says, because whole cells came: then it may differ from another one
    /// under the same clock.
    pub unsettled: bool,
}

impl Summary {
    /// Clock and state in one.
    pub fn both(&self) -> Digest {
        Digest::of("chinwag summary", &[self.clock.to_bytes(), self.state.to_bytes()].concat())
    }

    /// Whether both sides hold the same.
    pub fn agrees_with(&self, other: &Summary) -> bool {
        self.clock == other.clock && self.state == other.state
    }
}

/// A message between two replicas. Its lane is [`Message::lane`]; it fits that lane's frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Gossip: durable entries that the sender wrote, as soon as they are durable.
    Push {
        /// The entries.
        #[serde(with = "packed::entries")]
        entries: Vec<Arc<Entry>>,
    },
    /// Gossip: what the sender holds durably of some replicas. An answer, or an announcement.
    Ack {
        /// Its clock, for these replicas only.
        clock: Clock,
    },
    /// Gossip: what the sender holds durably, after a change has settled.
    Summary {
        /// The summary.
        summary: Summary,
        /// Whether the sender would like ours, because it does not know that we agree.
        ask: bool,
    },
    /// Bulk, rung 1: the opening of an exchange. Mostly both sides hold the same, and then no more is needed than to see that.
    Compare {
        /// The number of the sender's summary; it names the exchange.
        number: u32,
        /// What the sender holds ([`Summary::both`]).
        both: Digest,
        /// As in a [`Summary`].
        unsettled: bool,
    },
    /// Bulk, rung 1: we hold the same; the exchange is over.
    Same {
        /// The number that opened it.
        exchange: u32,
        /// As in a [`Summary`].
        unsettled: bool,
    },
    /// Bulk, rung 2: the sender's clock, or what changed in it.
    Report(Report),
    /// Bulk, rung 2: "your report changes a clock that I do not have, or is not enough; tell me all of it".
    Tell {
        /// As a sketch with so many symbols, if there are any and it is worth while.
        symbols: u32,
    },
    /// Bulk: give me these entries. At most one chunk's worth of dots.
    Want {
        /// Names the chunk that will answer.
        chunk: u32,
        /// The dots.
        spans: Spans,
    },
    /// Bulk: the answer to a `Want`; as much of it as fits a chunk.
    Chunk {
        /// The `Want` that it answers.
        chunk: u32,
        /// The entries.
        #[serde(with = "packed::entries")]
        entries: Vec<Arc<Entry>>,
        /// Whether some of those asked for have been cut from the log, so that they come as whole cells only.
        cut: bool,
    },
    /// Bulk, rungs 3 and 4: tell me what whole cells of yours would be under.
    Open {
        /// Names the question.
        number: u32,
        /// How many symbols of the sketch of your cells I would like as well; none if all cells are to be told.
        symbols: u32,
        /// Whether only cells are wanted that my disk has lost. Then you may lack cells yourself.
        repair: bool,
    },
    /// Bulk, rungs 3 and 4: the answer to an `Open`; or to any question of a session, that the sender has no whole cells to
    /// tell, because some of its own are damaged or because the promise would not fit.
    Promise {
        /// The question that it answers.
        number: u32,
        /// What its cells are under.
        #[serde(with = "promise")]
        promise: Option<Promise>,
        /// How many cells there are, for whoever watches them come.
        cells: u64,
        /// Its sketch, as of the same moment.
        #[serde(with = "packed::symbols")]
        symbols: Vec<Symbol>,
    },
    /// Bulk, rung 3: tell me these cells, whole.
    Cells {
        /// Names the question.
        number: u32,
        /// Cells of yours, by their ids.
        #[serde(with = "packed::ids")]
        ids: BTreeSet<CellId>,
        /// Keys of mine: what you have under them, even if it is nothing.
        keys: BTreeSet<Key>,
    },
    /// Bulk, rung 4: tell me whole cells.
    More {
        /// Names the question.
        number: u32,
        /// After which place; without one, from the beginning.
        after: Option<Place>,
    },
    /// Bulk, rungs 3 and 4: the answer to a `More` or to `Cells`; as much as fits a chunk.
    Slice {
        /// The question that it answers.
        number: u32,
        /// The cells.
        #[serde(with = "packed::slice")]
        slice: Slice,
        /// Keys that were asked for and for which there was no room. If no cell fitted, the first of them is larger than a
        /// frame, and all cells must be told.
        left: BTreeSet<Key>,
        /// Whether the sender knows nothing of some ids. Then all cells must be told.
        stale: bool,
    },
    /// Bulk: how and when did this write come to you? For people.
    Trace {
        /// Names the question.
        number: u32,
        /// The write.
        dot: Dot,
    },
    /// Bulk: the answer to a `Trace`.
    Traced {
        /// The question that it answers.
        number: u32,
        /// Whether the sender holds what the write did.
        holds: bool,
        /// How it came, if the sender remembers.
        arrival: Option<Arrival>,
    },
    /// Gossip: entries on their way along the tree, written by anybody. Whoever had none of them passes them on.
    Relay {
        /// The entries.
        #[serde(with = "packed::entries")]
        entries: Vec<Arc<Entry>>,
    },
    /// Gossip: what you passed on had come before: pass nothing on to me, nor I to you.
    Prune,
    /// Gossip: what you announced did not come otherwise: let us pass on to each other.
    Graft,
    /// Bulk, rung 3: the symbols of your sketch that you have told are too few.
    Further {
        /// Names the question.
        number: u32,
        /// How many I have.
        have: u32,
        /// The first of them, in which all cells are: if it is another one by now, I need a new promise and all symbols.
        #[serde(with = "packed::symbols::one")]
        first: Symbol,
        /// How many I would like in all.
        symbols: u32,
    },
    /// Bulk, rung 3: the answer to a `Further`, if the sender's cells are what they were.
    Symbols {
        /// The question that it answers.
        number: u32,
        /// Its further symbols.
        #[serde(with = "packed::symbols")]
        symbols: Vec<Symbol>,
    },
}

/// A clock in one or several parts. Clocks only grow within a connection, and any part of one is true by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What the sender holds: this report's clock, once complete, has this digest.
    pub summary: Summary,
    /// What this clock is told against.
    pub basis: Basis,
    /// The clock, for the replicas that the other side does not know from the basis.
    #[serde(with = "compact")]
    pub clock: Clock,
    /// Whether further parts follow.
    pub more: bool,
    /// Whether the sender would like our report as well.
    pub ask: bool,
}

/// What a report's clock is told against: what the receiver knows of the sender's clock anyhow. Together they are all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Basis {
    /// Nothing.
    Nothing,
    /// The sender's clock as it told it last; it had this digest.
    Told(Digest),
    /// The symbols of a sketch of the sender's clock ([`Clock::names`]), from which the receiver may find out how its own
    /// differs.
    Sketch(Vec<Symbol>),
    /// The receiver's own clock, which it told as a sketch.
    Yours {
        /// The digest that it had.
        of: Digest,
        /// The names in it ([`Clock::names`]) that are not in the sender's.
        except: Vec<u64>,
    },
    /// What the receiver has of the sender's clock by a sketch.
    Rest {
        /// The digest that it had.
        of: Digest,
    },
}

/// A promise on its way: its clock in the compact form.
mod promise {
    use chinwag_base::{Key, ReplicaId};
    use chinwag_crdt::clock::compact;
    use chinwag_crdt::{Clock, Dot, Promise, Run};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize)]
    struct Told<'a> {
        #[serde(serialize_with = "compact::serialize")]
        clock: &'a Clock,
        doomed: &'a [(Dot, Key)],
        floors: &'a [(Key, ReplicaId, Run)],
    }

    #[derive(Deserialize)]
    struct Heard {
        #[serde(deserialize_with = "compact::deserialize")]
        clock: Clock,
        doomed: Vec<(Dot, Key)>,
        floors: Vec<(Key, ReplicaId, Run)>,
    }

    pub(super) fn serialize<S: Serializer>(
        promise: &Option<Promise>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let told = promise.as_ref().map(|Promise { clock, doomed, floors }| Told { clock, doomed, floors });
        told.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Promise>, D::Error> {
        let heard = Option::<Heard>::deserialize(deserializer)?;
        Ok(heard.map(|Heard { clock, doomed, floors }| Promise { clock, doomed, floors }))
    }
}

impl Message {
    /// The lane that this message travels on. One that arrives on another lane is not ours.
    pub fn lane(&self) -> Lane {
        match self {
            Message::Push { .. }
            | Message::Relay { .. }
            | Message::Prune
            | Message::Graft
            | Message::Ack { .. }
            | Message::Summary { .. } => Lane::Gossip,
            Message::Compare { .. }
            | Message::Same { .. }
            | Message::Report(_)
            | Message::Tell { .. }
            | Message::Want { .. }
            | Message::Chunk { .. }
            | Message::Open { .. }
            | Message::Promise { .. }
            | Message::Further { .. }
            | Message::Symbols { .. }
            | Message::Cells { .. }
            | Message::More { .. }
            | Message::Slice { .. }
            | Message::Trace { .. }
            | Message::Traced { .. } => Lane::Bulk,
        }
    }

    /// The message's name, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Message::Push { .. } => "push",
            Message::Relay { .. } => "relay",
            Message::Prune => "prune",
            Message::Graft => "graft",
            Message::Ack { .. } => "ack",
            Message::Summary { .. } => "summary",
            Message::Compare { .. } => "compare",
            Message::Same { .. } => "same",
            Message::Report(_) => "report",
            Message::Tell { .. } => "tell",
            Message::Want { .. } => "want",
            Message::Chunk { .. } => "chunk",
            Message::Open { .. } => "open",
            Message::Promise { .. } => "promise",
            Message::Further { .. } => "further",
            Message::Symbols { .. } => "symbols",
            Message::Cells { .. } => "cells",
            Message::More { .. } => "more",
            Message::Slice { .. } => "slice",
            Message::Trace { .. } => "trace",
            Message::Traced { .. } => "traced",
        }
    }
}

/// Room for what stands beside the entries in a frame: the codec's tag and lengths, and the node's own envelope.
const HEAD_BYTES: usize = 256;

/// Whether an entry can travel on a lane at all.
pub(crate) fn fits(entry: &Entry, lane: Lane) -> bool {
    packed::entries::weight(entry) <= lane.frame_bytes_max() - HEAD_BYTES
}

/// Entries grouped so that each group fits a frame of `lane`, and is no larger than a chunk unless it is a single
/// entry. An entry that is too large for the lane is left out: too large for gossip, it travels by anti-entropy.
pub(crate) fn frames(entries: impl IntoIterator<Item = Arc<Entry>>, lane: Lane) -> Vec<Vec<Arc<Entry>>> {
    let frame_max = lane.frame_bytes_max() - HEAD_BYTES;
    let chunk_max = frame_max.min(CHUNK_BYTES_MAX);
    let mut frames: Vec<Vec<Arc<Entry>>> = Vec::new();
    let mut room = 0;
    for entry in entries {
        let weight = packed::entries::weight(&entry);
        if !fits(&entry, lane) {
            continue;
        }
        match frames.last_mut() {
            Some(frame) if weight <= room && frame.len() < CHUNK_ENTRIES_MAX => {
                room -= weight;
                frame.push(entry);
            }
            _ => {
                room = chunk_max.saturating_sub(weight);
                frames.push(vec![entry]);
            }
        }
    }
    frames
}

/// The clock of `replicas`, in parts of at most about `bytes_max` bytes each. At least one part, perhaps empty.
pub(crate) fn parts(clock: &Clock, replicas: &[ReplicaId], bytes_max: usize) -> Vec<Clock> {
    /// A replica id, the base and the lengths; and one gap, at the codec's worst.
    const REPLICA_BYTES: usize = 32 + 9 + 9 + 9;
    const RUN_BYTES: usize = 18;
    let empty = Clock::default();
    let all = clock.only(replicas.iter().copied());
    let mut groups: Vec<Vec<ReplicaId>> = vec![Vec::new()];
    let mut room = bytes_max.min(CLOCK_PART_BYTES_MAX);
    for (replica, _) in all.minus(&empty) {
        let group = groups.last_mut().expect("there is a group, because one was there at the start");
        let cost = if group.last() == Some(&replica) { RUN_BYTES } else { REPLICA_BYTES };
        if cost <= room || group.last() == Some(&replica) {
            room = room.saturating_sub(cost);
            if group.last() != Some(&replica) {
                group.push(replica);
            }
        } else {
            room = bytes_max.min(CLOCK_PART_BYTES_MAX) - REPLICA_BYTES;
            groups.push(vec![replica]);
        }
    }
    if groups.len() == 1 {
        return vec![all];
    }
    groups.into_iter().map(|group| all.only(group)).collect()
}

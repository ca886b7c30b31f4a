//! Where a write went: each replica remembers of its last writes how and when each came, and tells others who ask.
//!
//! Moments are told by the clock of whoever tells them. No two clocks agree, so a trace shows each member's own word, and
//! whoever reads it has to allow for the difference.

use crate::{Gossip, Message, Output, Path, RequestId};
use chinwag_base::limits::{TRACED_WRITES_MAX, TRACES_OPEN_MAX};
use chinwag_base::{Key, Moment, NodeId, WallTime};
use chinwag_crdt::{Change, Dot, Hlc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long members have to answer. They look into their memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How a write came to one member, by that member's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// By which way.
    pub path: Path,
    /// When it was received, or asked for by a client.
    pub arrived: WallTime,
    /// When it was durable and visible; not yet if none.
    pub durable: Option<WallTime>,
}

/// What one member says of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Footprint {
    /// It came so.
    Came(Arrival),
    /// It holds what the write did, and does not remember how it came.
    Forgotten,
    /// It does not hold it.
    Lacks,
    /// It has not answered.
    Silent,
    /// It is alive, and not connected to us; so it was not asked.
    Unconnected,
}

/// Where the last write to a key went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// What was written: the key that was asked for, or a field of it.
    pub key: Key,
    /// The write.
    pub dot: Dot,
    /// When it was made, by its writer's clock.
    pub hlc: Hlc,
    /// What each member says.
    pub members: BTreeMap<NodeId, Footprint>,
}

/// Why there is no trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// Nothing is remembered of any write to that key.
    #[error("no write to it is remembered: the last {TRACED_WRITES_MAX} are, since this daemon started")]
    Unknown,
    /// Too many ask at once.
    #[error("{TRACES_OPEN_MAX} traces are being drawn already")]
    Busy,
}

#[derive(Debug)]
struct Step {
    arrival: Arrival,
    /// What was written and when, once that is known.
    write: Option<(Key, Hlc)>,
    /// How often it came along the tree.
    copies: u32,
}

#[derive(Debug)]
struct Asked {
    request: RequestId,
    trace: Trace,
    until: Moment,
}

/// What is remembered, and what has been asked.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    steps: BTreeMap<Dot, Step>,
    /// The same, oldest first.
    order: VecDeque<Dot>,
    asked: BTreeMap<u32, Asked>,
    number: u32,
}

impl Traces {
    /// A write arrives. What is known of it already stays, unless it came to nothing.
    pub(crate) fn arrive(&mut self, dot: Dot, path: Path, arrived: WallTime) {
        let step = Step { arrival: Arrival { path, arrived, durable: None }, write: None, copies: 0 };
        match self.steps.get_mut(&dot) {
            Some(before) if before.arrival.durable.is_none() => *before = step,
            Some(_) => {}
            None => {
                if self.order.len() >= TRACED_WRITES_MAX
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.steps.remove(&oldest);
                }
                self.order.push_back(dot);
                self.steps.insert(dot, step);
            }
        }
    }

    /// A write is durable, and visible.
    pub(crate) fn note(&mut self, change: &Change, path: Path, now: WallTime) {
        let (Some(dot), Some(hlc)) = (change.dot, change.hlc) else { return };
        if !self.steps.contains_key(&dot) {
            self.arrive(dot, path, now);
        }
        if let Some(step) = self.steps.get_mut(&dot)
            && step.arrival.durable.is_none()
        {
            step.arrival.durable = Some(now);
            step.write = Some((change.key.clone(), hlc));
        }
    }

    /// The latest write to a key or to any field of it, by the writers' clocks.
    fn last(&self, key: &Key) -> Option<(Hlc, Dot, &Key)> {
        let writes = self.steps.iter().filter_map(|(dot, step)| {
            let (written, hlc) = step.write.as_ref()?;
            let is_meant = written == key || written.has_fields() && written.root() == *key;
            is_meant.then_some((*hlc, *dot, written))
        });
        writes.max()
    }

    /// A write comes along the tree once more. Says how often it has come so.
    pub(crate) fn count_copy(&mut self, dot: Dot) -> u32 {
        self.steps.get_mut(&dot).map_or(0, |step| {
            step.copies += 1;
            step.copies
        })
    }

    /// How a write came first, if that is remembered.
    pub(crate) fn path(&self, dot: Dot) -> Option<Path> {
        self.steps.get(&dot).map(|step| step.arrival.path)
    }

    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.asked.values().map(|asked| asked.until).min()
    }
}

impl Gossip {
    /// A client wants to know where the last write to a key went. Answered by [`Output::Traced`].
    pub(crate) fn on_trace(&mut self, request: RequestId, key: &Key) {
        if self.traces.asked.len() >= TRACES_OPEN_MAX {
            return self.traced(request, Err(TraceError::Busy));
        }
        let Some((hlc, dot, key)) = self.traces.last(key).map(|(hlc, dot, key)| (hlc, dot, key.clone()))
        else {
            return self.traced(request, Err(TraceError::Unknown));
        };
        let alive = self.members.iter().filter(|(id, member)| **id != self.me.node && member.alive);
        let mut members: BTreeMap<NodeId, Footprint> =
            alive.map(|(id, _)| (*id, Footprint::Unconnected)).collect();
        let peers: Vec<NodeId> = self.peers.iter().map(|(id, _)| *id).collect();
        members.extend(peers.iter().map(|id| (*id, Footprint::Silent)));
        members.insert(self.me.node, self.footprint(dot));
        self.traces.number = self.traces.number.wrapping_add(1);
        let number = self.traces.number;
        let trace = Trace { key, dot, hlc, members };
        self.traces.asked.insert(number, Asked { request, trace, until: self.now + ANSWER_WITHIN });
        for peer in peers {
            self.send(peer, Message::Trace { number, dot });
        }
        self.close_traces();
    }

    /// What we know of a write.
    fn footprint(&self, dot: Dot) -> Footprint {
        match self.traces.steps.get(&dot) {
            Some(step) => Footprint::Came(step.arrival),
            None if self.replica.clock().covers(dot) => Footprint::Forgotten,
            None => Footprint::Lacks,
        }
    }

    pub(crate) fn on_trace_asked(&mut self, from: NodeId, number: u32, dot: Dot) {
        let holds = self.replica.clock().covers(dot);
        let arrival = self.traces.steps.get(&dot).map(|step| step.arrival);
        self.send(from, Message::Traced { number, holds, arrival });
    }

    pub(crate) fn on_traced(&mut self, from: NodeId, number: u32, holds: bool, arrival: Option<Arrival>) {
        let Some(asked) = self.traces.asked.get_mut(&number) else { return };
        // Whoever was asked answers once.
        let Some(footprint) = asked.trace.members.get_mut(&from).filter(|known| **known == Footprint::Silent)
        else {
            return;
        };
        *footprint = match (arrival, holds) {
            (Some(arrival), _) => Footprint::Came(arrival),
            (None, true) => Footprint::Forgotten,
            (None, false) => Footprint::Lacks,
        };
        self.close_traces();
    }

    /// Answers clients whose question has all its answers, or has waited for long enough.
    pub(crate) fn close_traces(&mut self) {
        let (now, connected) = (self.now, |id: &NodeId| self.peers.contains_key(id));
        let is_done = |asked: &Asked| {
            let mut open = asked.trace.members.iter().filter(|(_, said)| **said == Footprint::Silent);
            asked.until <= now || !open.any(|(id, _)| connected(id))
        };
        let done: Vec<u32> =
            self.traces.asked.iter().filter(|(_, asked)| is_done(asked)).map(|(number, _)| *number).collect();
        for number in done {
            if let Some(Asked { request, trace, .. }) = self.traces.asked.remove(&number) {
                self.traced(request, Ok(trace));
            }
        }
    }

    fn traced(&mut self, request: RequestId, trace: Result<Trace, TraceError>) {
        self.output(Output::Traced { request, trace });
    }
}

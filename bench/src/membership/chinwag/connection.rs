//! How chinwag's connections come, carry frames, and go.
//!
//! A connection has three lanes each way. As *streams*, a frame that the network loses comes late instead, and those
//! behind it on its lane wait for it; a frame that meets a cut is sent again, later and later, and comes after the cut
//! has been mended, unless the connection has been given up by then. As *datagrams*, the probe and the gossip lane lose
//! what the network loses, and keep their order.

use super::{Arrival, Chinwag, Machine};
use crate::membership::network::first_retry_after;
use crate::membership::options::Delivery;
use chinwag_base::{Lane, Moment, NodeId};
use chinwag_membership::{DialFailure, Input, Lost};
use std::time::Duration;

/// How long a dial is tried.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// How long a connection lasts over which nothing passes: the daemon's limit for QUIC.
const IDLE_MAX: Duration = Duration::from_secs(8);
/// Connection, encryption and admission take so many packets, one after the other.
const HANDSHAKE_PACKETS: usize = 3;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) connection: u64,
    /// When the last frame that this end has sent on each lane arrives.
    last: [Moment; 3],
}

/// What has met a cut on its way from one member to another, and when the first of it did.
pub(super) struct Held {
    since: Moment,
    frames: Vec<(Lane, Arrival)>,
}

impl Chinwag {
    pub(super) fn dial(&mut self, n: usize, peer: NodeId) {
        let dial = self.next_serial();
        let Some(&peer) = self.index.get(&peer) else { return };
        self.nodes[n].dials.insert(peer, dial);
        let fails = |why| Arrival::DialFailed { peer, dial, why };
        let machine = self.nodes.get(peer).map_or(Machine::Vanished, |node| node.machine);
        if machine == Machine::Killed && !self.network.is_cut(n, peer) {
            let at = self.now + self.network.stream() + self.network.stream();
            return self.queue.put(at, (n, fails(DialFailure::Refused)));
        }
        self.queue.put(self.now + DIAL_MAX, (n, fails(DialFailure::TimedOut)));
        if machine != Machine::Vanished && !self.network.is_cut(n, peer) {
            let takes: Duration = (0..HANDSHAKE_PACKETS).map(|_| self.network.stream()).sum();
            self.queue.put(self.now + takes, (peer, Arrival::Dial { from: n, dial }));
        }
    }

    pub(super) fn connect(&mut self, dialler: usize, listener: usize, dial: u64) {
        let runs = self.nodes[dialler].machine == Machine::Runs;
        if !runs
            || self.network.is_cut(dialler, listener)
            || self.nodes[dialler].dials.get(&listener) != Some(&dial)
        {
            return;
        }
        self.nodes[dialler].dials.remove(&listener);
        let of = |from: usize, to: usize| self.nodes[from].ends.get(&to).map(|end| end.connection);
        if of(dialler, listener).is_some() && of(dialler, listener) == of(listener, dialler) {
            return; // Both have dialled at once; one connection is enough.
        }
        let connection = self.next_serial();
        for (end, peer) in [(dialler, listener), (listener, dialler)] {
            let new = End { connection, last: [Moment::ZERO; 3] };
            if self.nodes[end].ends.insert(peer, new).is_none() {
                let peer = self.id(peer);
                self.input(end, Input::Connected { peer });
            }
        }
    }

    /// This end closes. The member is told so.
    pub(super) fn close(&mut self, n: usize, peer: NodeId) -> Option<Input> {
        let to = *self.index.get(&peer)?;
        let connection = self.nodes[n].ends.get(&to)?.connection;
        self.post(n, to, Lane::Bulk, Arrival::Ended { peer: n, connection, reason: Lost::Closed });
        self.nodes[n].ends.remove(&to);
        Some(Input::Disconnected { peer, reason: Lost::Local })
    }

    /// The other end, or silence, has ended a connection.
    pub(super) fn end(&mut self, n: usize, peer: usize, connection: u64, reason: Lost) {
        if self.nodes[n].ends.get(&peer).is_some_and(|end| end.connection == connection) {
            self.nodes[n].ends.remove(&peer);
            let peer = self.id(peer);
            self.input(n, Input::Disconnected { peer, reason });
        }
    }

    pub(super) fn expect_idle(&mut self, n: usize, peer: usize, connection: u64) {
        self.queue.put(self.now + IDLE_MAX, (n, Arrival::Idle { peer, connection }));
    }

    /// Puts something on its way.
    pub(super) fn post(&mut self, from: usize, to: usize, lane: Lane, arrival: Arrival) {
        if self.nodes[to].machine == Machine::Vanished {
            return;
        }
        let is_stream = self.delivery == Delivery::Streams || lane == Lane::Bulk;
        if self.network.is_cut(from, to) {
            if is_stream && matches!(arrival, Arrival::Frame { .. }) {
                let now = self.now;
                let held =
                    self.held.entry((from, to)).or_insert_with(|| Held { since: now, frames: Vec::new() });
                held.frames.push((lane, arrival));
            }
            return;
        }
        let takes = if is_stream { Some(self.network.stream()) } else { self.network.datagram(from, to) };
        if let Some(takes) = takes {
            self.deliver(from, to, lane, self.now + takes, arrival);
        }
    }

    /// Behind what was sent before it on the same lane.
    fn deliver(&mut self, from: usize, to: usize, lane: Lane, at: Moment, arrival: Arrival) {
        let at = match self.nodes[from].ends.get_mut(&to) {
            Some(end) => {
                let last = &mut end.last[lane as usize];
                *last = at.max(*last);
                *last
            }
            None => at,
        };
        self.queue.put(at, (to, arrival));
    }

    /// The cut has been mended: what met it is sent again, in its order, at the next try.
    pub(super) fn release_held(&mut self) {
        for ((from, to), held) in std::mem::take(&mut self.held) {
            let retry = held.since + first_retry_after(self.now.since(held.since));
            for (lane, arrival) in held.frames {
                let Arrival::Frame { connection, .. } = &arrival else { continue };
                let is_open = self.nodes[from].ends.get(&to).is_some_and(|end| end.connection == *connection);
                if is_open {
                    let at = retry + self.network.latency();
                    self.deliver(from, to, lane, at, arrival);
                }
            }
        }
    }
}

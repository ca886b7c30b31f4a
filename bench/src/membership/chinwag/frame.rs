//! How frames leave and arrive, and what else arrives.

use super::{Arrival, Chinwag, Machine};
use chinwag_base::{Lane, NodeId};
use chinwag_membership::{Input, Lost, Message};
use chinwag_node::wire::{self, Frame};
use std::time::Instant;

impl Chinwag {
    pub(super) fn send(&mut self, n: usize, to: NodeId, lane: Lane, message: Message) {
        let Some(&peer) = self.index.get(&to) else { return };
        let Some(connection) = self.nodes[n].ends.get(&peer).map(|end| end.connection) else { return };
        self.traffic.messages += 1;
        let frame = Frame::Membership(message);
        let begun = Instant::now();
        let bytes = self.measures.then(|| wire::encode(&frame));
        if let Some(bytes) = &bytes {
            self.traffic.add_encoding(begun.elapsed());
            self.traffic.bytes += bytes.len() as u64;
        }
        let Frame::Membership(message) = frame else { return };
        let arrival = Arrival::Frame { from: n, connection, message: Box::new(message), bytes };
        self.post(n, peer, lane, arrival);
    }

    pub(super) fn arrive(&mut self, to: usize, arrival: Arrival) {
        match self.nodes[to].machine {
            Machine::Runs => {}
            Machine::Paused(_) => return self.nodes[to].inbox.push(arrival),
            Machine::Killed | Machine::Vanished => return,
        }
        match arrival {
            Arrival::Frame { from, connection, message, bytes } => {
                if self.nodes[to].ends.get(&from).is_some_and(|end| end.connection == connection) {
                    self.traffic.handled += 1;
                    self.receive(from, to, *message, bytes);
                } else if self.nodes[from].ends.get(&to).is_some_and(|end| end.connection == connection) {
                    // What is sent on a connection that this end does not have is answered by its end.
                    let ended = Arrival::Ended { peer: to, connection, reason: Lost::Closed };
                    self.post(to, from, Lane::Bulk, ended);
                }
            }
            Arrival::Dial { from, dial } => self.connect(from, to, dial),
            Arrival::Ended { peer, connection, reason } => self.end(to, peer, connection, reason),
            Arrival::DialFailed { peer, dial, why } => {
                if self.nodes[to].dials.get(&peer) == Some(&dial) {
                    self.nodes[to].dials.remove(&peer);
                    let peer = self.id(peer);
                    self.input(to, Input::DialFailed { peer, why });
                }
            }
            Arrival::Idle { peer, connection } => {
                let silent = self.network.is_cut(peer, to) || self.nodes[peer].machine == Machine::Vanished;
                if silent {
                    self.end(to, peer, connection, Lost::TimedOut);
                }
            }
        }
    }

    fn receive(&mut self, from: usize, to: usize, message: Message, bytes: Option<Vec<u8>>) {
        let from = self.id(from);
        let Some(bytes) = bytes else { return self.input(to, Input::Message { from, message }) };
        // Frames of a view exchange are of the bulk lane; its limit covers the others.
        let begun = Instant::now();
        let decoded = wire::decode(Lane::Bulk, &bytes);
        let decoding = begun.elapsed();
        let Ok(Frame::Membership(decoded)) = decoded else { return };
        let timed = self.traffic.handle_ns.len();
        self.traffic.begin_encoding();
        self.input(to, Input::Message { from, message: decoded });
        self.traffic.add_codec(timed, decoding);
    }
}

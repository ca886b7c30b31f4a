//! How connections come and go, as the daemon's transport tells its node of it.
//!
//! A dial is repeated as a kernel repeats a SYN, and fails after five seconds. What answers it is the other host: its
//! process, after the handshakes and the admission exchange; or, if the process is dead, its kernel, which refuses over
//! TCP and says nothing over QUIC. A node hears of the first connection to a peer and of the end of the last one. A
//! connection to another *process life* of a peer ends those to the earlier one.

use super::World;
use super::machine::{Link, Run};
use super::queue::{ConnectionId, Happening, Life};
use crate::observation::{Host, Stop};
use crate::plan::Transport;
use chinwag_base::limits::CONNECTIONS_INBOUND_MAX;
use chinwag_base::{Lane, NodeId};
use chinwag_membership::{DialFailure, Lost};
use chinwag_node::{Input, Node};
use std::time::Duration;

/// How long a dial is tried.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// When a dial that nobody answered is tried again, after the try before.
const DIAL_AGAIN: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// How long a QUIC connection lasts over which nothing passes.
const QUIC_IDLE: Duration = Duration::from_secs(8);
/// The same over TCP, where the kernel goes on sending for long.
const TCP_IDLE: Duration = Duration::from_secs(60);

impl World {
    /// The host at the end `to` of a connection and the one at the other, if the process there still has it.
    pub(crate) fn ends(&self, id: ConnectionId, to: u8) -> Option<(Host, Host)> {
        let connection = self.network.get(id)?;
        let (host, peer) = (connection.hosts[to as usize], connection.hosts[1 - to as usize]);
        let machine = &self.machines[host.index()];
        let link = machine.links.get(&peer)?;
        let is_this_life = machine.life == connection.lives[to as usize] && machine.is_up();
        // A connection that a newer one has replaced still brings what was under way on it.
        (is_this_life && link.peer_life == connection.lives[1 - to as usize]).then_some((host, peer))
    }

    pub(crate) fn send(
        &mut self,
        host: Host,
        to: NodeId,
        lane: Lane,
        slot: u8,
        bytes: Vec<u8>,
        node: &mut Node,
    ) {
        let Some(peer) = self.host_of(&to) else { return };
        let Some(link) = self.machines[host.index()].links.get(&peer).copied() else { return };
        self.traffic.longest[lane as usize] = self.traffic.longest[lane as usize].max(bytes.len() as u64);
        // Inside the drain, which takes what this adds.
        if bytes.len() > lane.frame_bytes_max()
            || self.push_frame(link.connection, link.end, lane, slot, bytes).is_err()
        {
            let local = self.moment_of(host);
            node.handle(local, Input::SendRefused { to, lane, slot });
        }
    }

    pub(crate) fn dial(&mut self, from: Host, peer: NodeId) {
        self.dials += 1;
        self.count("dials");
        let dial = self.dials;
        let life = self.machines[from.index()].life;
        let Some(to) = self.host_of(&peer) else {
            // Nobody of this run: as if its host were gone.
            return;
        };
        self.machines[from.index()].dials.insert(to, dial);
        let at = self.now + self.latency(from, to);
        self.queue.put(at, Happening::Dialled { from, to, dial, attempt: 0 });
        let fails = Happening::DialFailed { host: from, life, peer: to, dial, why: DialFailure::TimedOut };
        self.queue.put(self.now + DIAL_MAX, fails);
    }

    pub(crate) fn on_dialled(&mut self, from: Host, to: Host, dial: u64, attempt: u8) {
        let dialler = &self.machines[from.index()];
        if dialler.dials.get(&to) != Some(&dial) || !dialler.is_up() {
            return;
        }
        let lost = self.network.loss > 0.0 && rand::RngExt::random_bool(&mut self.rng, self.network.loss);
        let passes = !lost && !self.network.is_cut(from, to) && !self.network.is_cut(to, from);
        let again = |world: &mut World| {
            if let Some(wait) = DIAL_AGAIN.get(attempt as usize) {
                world
                    .queue
                    .put(world.now + *wait, Happening::Dialled { from, to, dial, attempt: attempt + 1 });
            }
        };
        match self.machines[to.index()].run {
            _ if !passes => again(self),
            Run::Paused(_) => {
                self.machines[to.index()].inbox.push(Happening::Dialled { from, to, dial, attempt })
            }
            Run::Never | Run::Off(Stop::PowerCut) => again(self),
            Run::Off(Stop::Killed | Stop::Left) => {
                if self.plan.network.transport != Transport::Quic {
                    let (life, at) = (self.machines[from.index()].life, self.now + self.latency(to, from));
                    let why = DialFailure::Refused;
                    self.queue.put(at, Happening::DialFailed { host: from, life, peer: to, dial, why });
                }
            }
            Run::Runs => {
                // Encryption, lanes and the exchange of grants: two round trips more.
                let takes: Duration = (0..2).map(|_| self.latency(to, from) + self.latency(from, to)).sum();
                let lives = (self.machines[from.index()].life, self.machines[to.index()].life);
                self.queue.put(self.now + takes, Happening::Admitted { from, to, dial, lives });
            }
        }
    }

    pub(crate) fn on_admitted(&mut self, from: Host, to: Host, dial: u64, lives: (Life, Life)) {
        let is_current = self.is_alive(from, lives.0)
            && self.is_alive(to, lives.1)
            && self.machines[from.index()].dials.get(&to) == Some(&dial);
        if !is_current || self.network.is_cut(from, to) || self.network.is_cut(to, from) {
            return;
        }
        if let Some(paused) = [from, to].into_iter().find(|host| !self.machines[host.index()].runs()) {
            return self.machines[paused.index()].inbox.push(Happening::Admitted { from, to, dial, lives });
        }
        if self.machines[to.index()].links.len() >= CONNECTIONS_INBOUND_MAX
            && !self.machines[to.index()].links.contains_key(&from)
        {
            self.count("connections_refused");
            let (life, why) = (lives.0, DialFailure::Other);
            let at = self.now + self.latency(to, from);
            return self.queue.put(at, Happening::DialFailed { host: from, life, peer: to, dial, why });
        }
        self.machines[from.index()].dials.remove(&to);
        if self.are_connected(from, to, lives) {
            // Both have dialled. One connection is retired, and what is under way on it still arrives.
            return self.count("dialled_at_once");
        }
        self.count("connections");
        let connection = self.network.open([from, to], [lives.0, lives.1]);
        let mut told = Vec::new();
        for (end, host, peer, peer_life) in [(0, from, to, lives.1), (1, to, from, lives.0)] {
            let link = Link { connection, end, peer_life };
            let before = self.machines[host.index()].links.insert(peer, link);
            let peer = self.id_of(peer);
            match before {
                Some(before) if before.peer_life == peer_life => {}
                Some(_) => {
                    told.push((host, Input::Disconnected { peer, reason: Lost::Local }));
                    told.push((host, Input::Connected { peer }));
                }
                None => told.push((host, Input::Connected { peer })),
            }
            if let Some(before) = before {
                self.forget_connection(before.connection);
            }
        }
        for (host, input) in told {
            self.give(host, input);
        }
    }

    /// Whether the processes at both ends have one and the same connection to each other.
    fn are_connected(&self, one: Host, other: Host, lives: (Life, Life)) -> bool {
        let link = |from: Host, to: Host| self.machines[from.index()].links.get(&to);
        link(one, other).zip(link(other, one)).is_some_and(|(a, b)| {
            a.connection == b.connection && (a.peer_life, b.peer_life) == (lives.1, lives.0)
        })
    }

    /// A node closes its connections to a peer.
    pub(crate) fn close(&mut self, host: Host, peer: NodeId) {
        let Some(peer) = self.host_of(&peer) else { return };
        self.machines[host.index()].dials.remove(&peer);
        let Some(link) = self.machines[host.index()].links.remove(&peer) else { return };
        self.tell_lost(link.connection, 1 - link.end, Lost::Closed);
        let peer = self.id_of(peer);
        self.give(host, Input::Disconnected { peer, reason: Lost::Local });
        self.forget_connection(link.connection);
    }

    /// The other end hears of it, unless nothing passes; then it finds out by silence.
    pub(crate) fn tell_lost(&mut self, id: ConnectionId, to: u8, reason: Lost) {
        let Some(connection) = self.network.get(id) else { return };
        let (host, from) = (connection.hosts[to as usize], connection.hosts[1 - to as usize]);
        if self.network.is_cut(from, host) {
            self.expect_idle(id);
        } else {
            let at = self.now + self.latency(from, host);
            self.queue.put(at, Happening::Lost { connection: id, to, reason });
        }
    }

    pub(crate) fn on_lost(&mut self, id: ConnectionId, to: u8, reason: Lost) {
        let Some((host, peer)) = self.ends(id, to) else { return };
        if self.machines[host.index()].links.get(&peer).is_none_or(|link| link.connection != id) {
            return;
        }
        if matches!(self.machines[host.index()].run, Run::Paused(_)) {
            return self.machines[host.index()].inbox.push(Happening::Lost { connection: id, to, reason });
        }
        self.machines[host.index()].links.remove(&peer);
        let peer = self.id_of(peer);
        self.give(host, Input::Disconnected { peer, reason });
        self.forget_connection(id);
    }

    /// Looks at a connection again when it would have timed out.
    pub(crate) fn expect_idle(&mut self, id: ConnectionId) {
        self.queue.put(self.now + self.idle_max(), Happening::Idle { connection: id });
    }

    fn idle_max(&self) -> Duration {
        if self.plan.network.transport == Transport::Quic { QUIC_IDLE } else { TCP_IDLE }
    }

    /// Ends what is still connected to a process that is gone, or over links that have carried nothing for too long.
    pub(crate) fn on_idle(&mut self, id: ConnectionId) {
        let Some(connection) = self.network.get(id) else { return };
        let (hosts, lives) = (connection.hosts, connection.lives);
        let since = self.now - self.idle_max();
        for to in [0u8, 1] {
            let (host, peer) = (hosts[to as usize], hosts[1 - to as usize]);
            let gone = !self.is_alive(peer, lives[1 - to as usize])
                || self.machines[peer.index()].links.get(&host).is_none_or(|link| link.connection != id);
            if gone || self.is_silent_since(peer, host, since) || self.is_silent_since(host, peer, since) {
                self.on_lost(id, to, Lost::TimedOut);
            }
        }
    }
}

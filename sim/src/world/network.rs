//! How frames travel: connections, lanes, losses and cuts.
//!
//! A connection has a direction each way, and each direction three lanes, as the daemon's have. On a *stream* nothing is
//! lost and nothing overtakes: a lost packet, or a cut, stalls the stream until the packet is sent again, later and
//! later as TCP does (RFC 6298, section 5.5), and whatever comes behind it waits (head-of-line blocking). Three packets
//! that arrive behind it tell the sender sooner (fast retransmit: RFC 5681, section 3.2). Over TCP all lanes are one
//! stream, over QUIC each is its own. As *datagrams*, probe and gossip frames are lost, doubled and reordered instead;
//! bulk frames keep their stream.
//!
//! What a receiver has not taken yet is bounded by a window for each lane. Beyond it, and while a link is busy, frames
//! wait at their sender in the daemon's own queues ([`chinwag_node::lanes`]), where the probe lane keeps the newest
//! frame of each kind, the gossip lane drops its oldest and the bulk lane refuses.

use super::World;
use super::queue::{ConnectionId, Happening, Life};
use crate::observation::Host;
use crate::plan::Transport;
use crate::words::Line;
use chinwag_base::{Lane, Moment};
use chinwag_node::lanes::{BulkFull, LaneQueues};
use rand::RngExt;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Bytes of one lane that a receiver has not taken: yamux's default window.
const WINDOW_BYTES: u32 = 256 * 1024;
/// How long a packet is waited for at least before it is sent again.
const RETRY_MIN: Duration = Duration::from_millis(30);
/// How long it is waited for at most.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// So many packets that arrive behind a lost one tell the sender that it is lost.
const ARRIVALS_BEHIND: u32 = 3;
/// How long after the first copy of a datagram the second may come.
const DUPLICATE_LATE: Duration = Duration::from_secs(5);
/// What a frame weighs beside its own bytes: packet, encryption, length.
const OVERHEAD_BYTES: u64 = 60;

/// One connection between two hosts.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its two ends; the first dialled.
    pub(crate) hosts: [Host; 2],
    /// The process lives that it connects.
    pub(crate) lives: [Life; 2],
    /// From each end to the other.
    directions: [Direction; 2],
}

/// The way from one end to the other.
#[derive(Debug, Default)]
struct Direction {
    /// When the last frame of each lane arrives; the next one on the same stream does not arrive before it.
    last: [Moment; 3],
    /// Bytes of each lane on their way or not taken yet.
    open: [u32; 3],
    /// Until when the link is busy with what it was given.
    busy_until: Moment,
    /// Only while something waits.
    trouble: Option<Box<Trouble>>,
}

/// What waits at the sender.
#[derive(Debug, Default)]
struct Trouble {
    queues: LaneQueues,
    stalls: [Option<Stall>; 3],
    /// An event will come when the link is free.
    free_is_due: bool,
}

/// A stream that waits for a packet to be sent again, and what is behind it.
#[derive(Debug, Default)]
struct Stall {
    attempt: u32,
    /// When the packet is sent again. It may have been later before.
    due: Moment,
    /// Packets behind it that have arrived since it was last sent.
    arrived: u32,
    held: VecDeque<(Lane, Vec<u8>)>,
}

/// What is true of the network as a whole.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) connections: Vec<Option<Connection>>,
    pub(crate) vacant: Vec<ConnectionId>,
    /// Directed links that carry nothing, and since when.
    pub(crate) cuts: BTreeMap<(Host, Host), Moment>,
    pub(crate) loss: f64,
}

/// What the network really did, so that a run can be told from one that was shown nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Traffic {
    /// Frames that were sent.
    pub frames: u64,
    /// Their bytes, with what packets and encryption add.
    pub bytes: u64,
    /// Packets that were lost.
    pub lost: u64,
    /// Packets that met a cut.
    pub blocked: u64,
    /// Datagrams that came twice.
    pub doubled: u64,
    /// Datagrams that were overtaken.
    pub overtaken: u64,
    /// Bulk frames for which there was no room.
    pub refused: u64,
    /// The longest frame of each lane, in bytes.
    pub longest: [u64; 3],
    /// The most frames and bytes that waited on the gossip and the bulk lane of one connection.
    pub waited: [(usize, usize); 2],
}

impl Network {
    pub(crate) fn open(&mut self, hosts: [Host; 2], lives: [Life; 2]) -> ConnectionId {
        let connection = Some(Connection { hosts, lives, directions: Default::default() });
        match self.vacant.pop() {
            Some(id) => {
                self.connections[id as usize] = connection;
                id
            }
            None => {
                self.connections.push(connection);
                (self.connections.len() - 1) as ConnectionId
            }
        }
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id as usize)?.as_ref()
    }

    fn direction(&mut self, id: ConnectionId, from: u8) -> Option<&mut Direction> {
        Some(&mut self.connections.get_mut(id as usize)?.as_mut()?.directions[from as usize])
    }

    /// Whether some stream of this connection still waits for the retry of a packet that a cut has eaten. It comes up to
    /// as late as the cut was long, and until then one end is not heard.
    pub(crate) fn is_stalled(&self, id: ConnectionId) -> bool {
        /// Retries that fail in a row by mere loss are fewer.
        const ATTEMPTS: u32 = 5;
        let stalls = |direction: &Direction| {
            let trouble = direction.trouble.as_ref();
            trouble.is_some_and(|t| t.stalls.iter().flatten().any(|stall| stall.attempt >= ATTEMPTS))
        };
        self.get(id).is_some_and(|connection| connection.directions.iter().any(stalls))
    }

    pub(crate) fn is_cut(&self, from: Host, to: Host) -> bool {
        !self.cuts.is_empty() && self.cuts.contains_key(&(from, to))
    }
}

/// Which stream of its direction a lane belongs to; none for datagrams.
fn group(transport: Transport, lane: Lane) -> Option<u8> {
    match (transport, lane) {
        (Transport::Tcp, _) => Some(0),
        (Transport::Quic, lane) => Some(lane as u8),
        (Transport::Datagrams, Lane::Bulk) => Some(2),
        (Transport::Datagrams, _) => None,
    }
}

impl World {
    /// Gives a frame to a connection. It is sent, waits, is dropped, or is refused.
    pub(crate) fn push_frame(
        &mut self,
        id: ConnectionId,
        from: u8,
        lane: Lane,
        slot: u8,
        bytes: Vec<u8>,
    ) -> Result<(), BulkFull> {
        if self.may_transmit(id, from, lane, bytes.len()) {
            self.transmit(id, from, lane, bytes);
            return Ok(());
        }
        let Some(direction) = self.network.direction(id, from) else { return Ok(()) };
        let trouble = direction.trouble.get_or_insert_default();
        let pushed = trouble.queues.push(lane, slot, bytes);
        let usage = trouble.queues.usage();
        for (most, now) in self.traffic.waited.iter_mut().zip(usage) {
            *most = (most.0.max(now.0), most.1.max(now.1));
        }
        if pushed.is_err() {
            self.traffic.refused += 1;
        }
        self.expect_free(id, from);
        pushed
    }

    fn may_transmit(&mut self, id: ConnectionId, from: u8, lane: Lane, len: usize) -> bool {
        let now = self.now;
        let Some(direction) = self.network.direction(id, from) else { return false };
        if direction.busy_until > now || direction.trouble.as_ref().is_some_and(|t| !t.queues.is_empty()) {
            return false;
        }
        let open = direction.open[lane as usize];
        open == 0 || open as usize + len <= WINDOW_BYTES as usize
    }

    /// If the link is busy, somebody must look when it is not.
    fn expect_free(&mut self, id: ConnectionId, from: u8) {
        let now = self.now;
        let Some(direction) = self.network.direction(id, from) else { return };
        let at = direction.busy_until;
        if at > now
            && let Some(trouble) = &mut direction.trouble
            && !trouble.free_is_due
        {
            trouble.free_is_due = true;
            self.queue.put(at, Happening::Free { connection: id, from });
        }
    }

    pub(crate) fn on_free(&mut self, id: ConnectionId, from: u8) {
        if let Some(trouble) = self.network.direction(id, from).and_then(|d| d.trouble.as_mut()) {
            trouble.free_is_due = false;
        }
        self.pump(id, from);
    }

    /// Sends what waits, the most urgent first, as far as link and windows allow.
    pub(crate) fn pump(&mut self, id: ConnectionId, from: u8) {
        loop {
            let now = self.now;
            let Some(direction) = self.network.direction(id, from) else { return };
            let Some(trouble) = &mut direction.trouble else { return };
            if direction.busy_until > now {
                return self.expect_free(id, from);
            }
            let open = &direction.open;
            let fits = |lane: &Lane| {
                let at = open[*lane as usize];
                trouble
                    .queues
                    .next_len(*lane)
                    .is_some_and(|len| at == 0 || at as usize + len <= WINDOW_BYTES as usize)
            };
            let Some(lane) = Lane::ALL.into_iter().find(fits) else {
                if trouble.queues.is_empty()
                    && trouble.stalls.iter().all(Option::is_none)
                    && !trouble.free_is_due
                {
                    direction.trouble = None;
                }
                return;
            };
            if let Some(bytes) = trouble.queues.pop(lane) {
                self.transmit(id, from, lane, bytes);
            }
        }
    }

    fn transmit(&mut self, id: ConnectionId, from: u8, lane: Lane, bytes: Vec<u8>) {
        let Some(connection) = self.network.get(id) else { return };
        let (sender, receiver) = (connection.hosts[from as usize], connection.hosts[1 - from as usize]);
        let is_cut = self.network.is_cut(sender, receiver);
        let is_lost = self.network.loss > 0.0 && self.rng.random_bool(self.network.loss);
        self.traffic.frames += 1;
        self.traffic.bytes += bytes.len() as u64 + OVERHEAD_BYTES;
        self.traffic.lost += u64::from(is_lost && !is_cut);
        self.traffic.blocked += u64::from(is_cut);
        if self.is_traced() && (is_cut || is_lost) {
            let kind = crate::words::kind_of(lane, &bytes).unwrap_or("frame");
            let how = if is_cut { "meets a cut" } else { "is lost" };
            self.trace(Line::Input, &format!("{sender} -> {receiver}  {kind} {how}"));
        }
        let now = self.now;
        let (transport, rate) = (self.plan.network.transport, self.plan.network.bytes_per_second);
        let Some(direction) = self.network.direction(id, from) else { return };
        let mut start = now;
        if let Some(rate) = rate {
            let takes = Duration::from_nanos((bytes.len() as u64 + OVERHEAD_BYTES) * 1_000_000_000 / rate);
            start = now.max(direction.busy_until) + takes;
            direction.busy_until = start;
        }
        let Some(group) = group(transport, lane) else {
            if !is_cut && !is_lost {
                self.send_datagram(id, from, lane, start, bytes);
            }
            return;
        };
        direction.open[lane as usize] += bytes.len() as u32;
        if let Some(stall) = direction.trouble.as_mut().and_then(|t| t.stalls[group as usize].as_mut()) {
            stall.held.push_back((lane, bytes));
            stall.arrived += u32::from(!is_cut && !is_lost);
            if stall.arrived == ARRIVALS_BEHIND && !self.network.is_cut(receiver, sender) {
                self.expect_retry(id, from, group, 0);
            }
        } else if is_cut || is_lost {
            let trouble = direction.trouble.get_or_insert_default();
            trouble.stalls[group as usize] =
                Some(Stall { held: VecDeque::from([(lane, bytes)]), ..Stall::default() });
            self.expect_retry(id, from, group, 0);
        } else {
            self.deliver(id, from, lane, start, bytes);
        }
    }

    fn send_datagram(&mut self, id: ConnectionId, from: u8, lane: Lane, start: Moment, bytes: Vec<u8>) {
        let network = &self.plan.network;
        let (doubles, overtakes) = (network.duplicates, network.reorder);
        let mut at = start + self.latency_between(id, from);
        if overtakes > 0.0 && self.rng.random_bool(overtakes) {
            self.traffic.overtaken += 1;
            at += Duration::from_micros(self.plan.network.latency_us.1) * 2;
        }
        if doubles > 0.0 && self.rng.random_bool(doubles) {
            self.traffic.doubled += 1;
            let late = Duration::from_micros(self.rng.random_range(0..DUPLICATE_LATE.as_micros() as u64));
            let copy = Happening::Frame { connection: id, to: 1 - from, lane, bytes: bytes.clone() };
            self.queue.put(at + late, copy);
        }
        self.queue.put(at, Happening::Frame { connection: id, to: 1 - from, lane, bytes });
    }

    /// Puts a frame of a stream on its way, behind those before it.
    fn deliver(&mut self, id: ConnectionId, from: u8, lane: Lane, start: Moment, bytes: Vec<u8>) {
        let latency = self.latency_between(id, from);
        let is_one_stream = self.plan.network.transport == Transport::Tcp;
        let Some(direction) = self.network.direction(id, from) else { return };
        let last = &mut direction.last[if is_one_stream { 0 } else { lane as usize }];
        *last = (*last).max(start + latency);
        let at = *last;
        self.queue.put(at, Happening::Frame { connection: id, to: 1 - from, lane, bytes });
    }

    fn expect_retry(&mut self, id: ConnectionId, from: u8, group: u8, attempt: u32) {
        let round_trip =
            Duration::from_micros(2 * (self.plan.network.latency_us.1 + self.plan.network.distance_us));
        let wait = (round_trip.max(RETRY_MIN) * 2u32.saturating_pow(attempt.min(16))).min(RETRY_MAX);
        let at = self.now + wait;
        let trouble = self.network.direction(id, from).and_then(|d| d.trouble.as_mut());
        let Some(stall) = trouble.and_then(|t| t.stalls[group as usize].as_mut()) else { return };
        if stall.due <= self.now || at < stall.due {
            stall.due = at;
            self.queue.put(at, Happening::Retry { connection: id, from, group });
        }
    }

    pub(crate) fn on_retry(&mut self, id: ConnectionId, from: u8, group: u8) {
        let Some(connection) = self.network.get(id) else { return };
        let (sender, receiver) = (connection.hosts[from as usize], connection.hosts[1 - from as usize]);
        let fails = self.network.is_cut(sender, receiver)
            || self.network.loss > 0.0 && self.rng.random_bool(self.network.loss);
        let Some(direction) = self.network.direction(id, from) else { return };
        let Some(trouble) = &mut direction.trouble else { return };
        let Some(stall) = &mut trouble.stalls[group as usize] else { return };
        if self.now < stall.due {
            return; // It was sent sooner, and waits again.
        }
        if fails {
            stall.attempt += 1;
            stall.arrived = 0;
            let attempt = stall.attempt;
            return self.expect_retry(id, from, group, attempt);
        }
        let held = std::mem::take(&mut stall.held);
        trouble.stalls[group as usize] = None;
        for (lane, bytes) in held {
            self.deliver(id, from, lane, self.now, bytes);
        }
        self.pump(id, from);
    }

    /// The receiver has taken a frame: there is room for another one.
    pub(crate) fn taken(&mut self, id: ConnectionId, from: u8, lane: Lane, len: usize) {
        if group(self.plan.network.transport, lane).is_none() {
            return;
        }
        let Some(direction) = self.network.direction(id, from) else { return };
        let open = &mut direction.open[lane as usize];
        *open = open.saturating_sub(len as u32);
        if direction.trouble.is_some() {
            self.pump(id, from);
        }
    }

    /// Whether some packet of this direction, or any since `since`, has no way.
    pub(crate) fn is_silent_since(&self, from: Host, to: Host, since: Moment) -> bool {
        self.network.cuts.get(&(from, to)).is_some_and(|cut| *cut <= since)
    }

    fn latency_between(&mut self, id: ConnectionId, from: u8) -> Duration {
        let Some(connection) = self.network.get(id) else { return Duration::ZERO };
        let (a, b) = (connection.hosts[from as usize], connection.hosts[1 - from as usize]);
        self.latency(a, b)
    }

    /// How long a packet takes this time.
    pub(crate) fn latency(&mut self, from: Host, to: Host) -> Duration {
        let (min, max) = self.plan.network.latency_us;
        let distance = match self.plan.network.distance_us {
            0 => 0,
            // The same for one link in all of a run.
            most => {
                let link = (u64::from(from.0) << 32 | u64::from(to.0)) ^ self.plan.seed;
                link.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
                    % (most + 1)
            }
        };
        Duration::from_micros(distance + if min < max { self.rng.random_range(min..max) } else { min })
    }

    /// Takes a connection apart once neither end has it.
    pub(crate) fn forget_connection(&mut self, id: ConnectionId) {
        let Some(connection) = self.network.get(id) else { return };
        let unused = (0..2).all(|end| {
            let (host, peer) = (connection.hosts[end], connection.hosts[1 - end]);
            let machine = &self.machines[host.index()];
            machine.life != connection.lives[end]
                || machine.links.get(&peer).is_none_or(|link| link.connection != id)
        });
        if unused {
            self.network.connections[id as usize] = None;
            // Not reused at once: what is under way on it must not arrive on another one.
            self.retired.push_back((self.now, id));
        }
    }

    /// Makes the numbers of connections that ended long ago free again.
    pub(crate) fn reuse_connections(&mut self) {
        const AFTER: Duration = Duration::from_secs(120);
        while self.retired.front().is_some_and(|(at, _)| *at + AFTER <= self.now) {
            if let Some((_, id)) = self.retired.pop_front() {
                self.network.vacant.push(id);
            }
        }
    }
}

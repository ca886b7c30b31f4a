//! iroh-gossip's protocol core, in virtual time: HyParView chooses who is whose neighbour, and Plumtree sends along a tree.
//!
//! It is driven as its own `net` module drives it: what is sent to a peer arrives in order, and a peer that has closed its
//! connection is told to be gone. As in its own simulator, and as for chinwag here, each link has one latency for good.

use super::figures::Column;
use super::spread::{CALM, LIMIT, Options, Spread, VALUE_BYTES};
use crate::membership::network::Network;
use crate::membership::queue::Queue;
use anyhow::{Result, ensure};
use chinwag_base::Moment;
use hyper::body::Bytes;
use iroh_gossip::TopicId;
use iroh_gossip::proto::state::MessageKind;
use iroh_gossip::proto::{Command, Config, Event, InEvent, Message, OutEvent, PeerData, Scope, State, Timer};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// As long as an id of iroh's: a public key.
type Peer = [u8; 32];
/// Between the starts of two members.
const START_EVERY: Duration = Duration::from_millis(50);
/// How long they are left alone after: they exchange neighbours once a minute.
const SETTLE: Duration = Duration::from_secs(120);
/// Broadcasts before any is counted: each prunes links that are not of the tree.
pub(super) const WARM_UP: usize = 20;
/// Members that a newcomer is told of.
const KNOWN: usize = 3;

/// What becomes of frames that are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// They come late, as on the streams that iroh sends them on.
    Late,
    /// They do not come, as those of chinwag's gossip lane.
    Never,
}

enum Happening {
    Arrive { from: usize, to: usize, message: Message<Peer> },
    Gone { of: usize, to: usize },
    Timer { at: usize, timer: Timer<Peer> },
}

struct World {
    now: Moment,
    /// What its clock says at the beginning.
    origin: Instant,
    nodes: Vec<State<Peer, ChaCha8Rng>>,
    network: Network,
    queue: Queue<Happening>,
    /// A stream keeps its order.
    arrives: HashMap<(usize, usize), Moment>,
    lost: Lost,
    topic: TopicId,
    /// When the broadcast that is measured arrived, and where.
    received: Vec<(usize, Moment)>,
    /// Messages with a payload that arrived, and bytes of all messages that were sent.
    data: u64,
    bytes: u64,
}

fn peer(number: usize) -> Peer {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    id
}

fn number(peer: &Peer) -> usize {
    let [a, b, c, d, e, f, g, h, ..] = *peer;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize
}

impl World {
    fn new(lost: Lost) -> Self {
        World {
            now: Moment::from_millis(1_000),
            origin: Instant::now(),
            nodes: Vec::new(),
            network: Network::of_links(10_000..50_000, 1, 0.0),
            queue: Queue::default(),
            arrives: HashMap::new(),
            lost,
            topic: TopicId::from([1; 32]),
            received: Vec::new(),
            data: 0,
            bytes: 0,
        }
    }

    /// One more member, which joins those.
    fn add(&mut self, joins: Vec<usize>) -> Result<()> {
        let number = self.nodes.len();
        let rng = ChaCha8Rng::seed_from_u64(number as u64);
        self.nodes.push(State::new(peer(number), PeerData::default(), Config::default(), rng));
        let joins = joins.into_iter().map(peer).collect();
        self.handle(number, InEvent::Command(self.topic, Command::Join(joins)))
    }

    fn broadcast(&mut self, number: usize, content: Vec<u8>) -> Result<()> {
        self.received.clear();
        self.received.push((number, self.now));
        let command = Command::Broadcast(Bytes::from(content), Scope::Swarm);
        self.handle(number, InEvent::Command(self.topic, command))
    }

    fn handle(&mut self, at: usize, event: InEvent<Peer>) -> Result<()> {
        let now = self.origin + self.now.since(Moment::from_millis(1_000));
        let outputs: Vec<OutEvent<Peer>> = self.nodes[at].handle(event, now, None).collect();
        for output in outputs {
            match output {
                OutEvent::SendMessage(to, message) => {
                    self.bytes += message.size()? as u64;
                    self.send(at, number(&to), message);
                }
                OutEvent::ScheduleTimer(after, timer) => {
                    self.queue.put(self.now + after, Happening::Timer { at, timer });
                }
                OutEvent::EmitEvent(_, Event::Received(_)) => self.received.push((at, self.now)),
                OutEvent::DisconnectPeer(peer) => {
                    let to = number(&peer);
                    let takes = self.network.stream_between(at, to);
                    let arrives = self.in_order(at, to, takes);
                    self.queue.put(arrives, Happening::Gone { of: at, to });
                }
                OutEvent::EmitEvent(..) | OutEvent::PeerData(..) => {}
            }
        }
        Ok(())
    }

    fn in_order(&mut self, from: usize, to: usize, takes: Duration) -> Moment {
        let last = self.arrives.entry((from, to)).or_default();
        *last = (*last).max(self.now + takes);
        *last
    }

    fn send(&mut self, from: usize, to: usize, message: Message<Peer>) {
        let at = if self.lost == Lost::Late {
            let takes = self.network.stream_between(from, to);
            self.in_order(from, to, takes)
        } else {
            match self.network.datagram(from, to) {
                Some(takes) => self.now + takes,
                None => return,
            }
        };
        self.queue.put(at, Happening::Arrive { from, to, message });
    }

    /// Runs until something holds, for so long at most. Whether it does.
    fn run_until(&mut self, limit: Duration, holds: impl Fn(&World) -> bool) -> Result<bool> {
        let end = self.now + limit;
        while !holds(self) {
            let Some(at) = self.queue.next().filter(|at| *at <= end) else {
                self.now = end;
                return Ok(false);
            };
            self.now = self.now.max(at);
            match self.queue.take() {
                Some(Happening::Arrive { from, to, message }) => {
                    self.data += u64::from(matches!(message.kind(), MessageKind::Data));
                    self.handle(to, InEvent::RecvMessage(peer(from), message))?;
                }
                Some(Happening::Gone { of, to }) => self.handle(to, InEvent::PeerDisconnected(peer(of)))?,
                Some(Happening::Timer { at, timer }) => self.handle(at, InEvent::TimerExpired(timer))?,
                None => {}
            }
        }
        Ok(true)
    }

    fn run(&mut self, time: Duration) -> Result<()> {
        self.run_until(time, |_| false).map(drop)
    }
}

/// The same as chinwag's column. Nothing is lost before the tree is there.
///
/// # Errors
/// If the members do not find each other.
pub fn column(options: &Options, lost: Lost) -> Result<Column> {
    let mut world = World::new(lost);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for number in 0..options.nodes {
        let known = (0..KNOWN.min(number)).map(|_| rng.random_range(0..number)).collect();
        world.add(known)?;
        world.run(START_EVERY)?;
    }
    world.run(SETTLE)?;
    let mut spread = Spread::default();
    for round in 0..WARM_UP + options.writes {
        let is_counted = round >= WARM_UP;
        if round == WARM_UP {
            world.network = Network::of_links(10_000..50_000, 2, options.loss);
        }
        let writer = rng.random_range(0..options.nodes);
        let mut content = vec![b'v'; VALUE_BYTES];
        // Each its own: it is known by its hash.
        content[..8].copy_from_slice(&(round as u64).to_be_bytes());
        (world.data, world.bytes) = (0, 0);
        let begun = world.now;
        world.broadcast(writer, content)?;
        let is_everywhere = world.run_until(LIMIT, |world| world.received.len() >= options.nodes)?;
        ensure!(is_everywhere || is_counted, "a broadcast before any loss has not reached everybody");
        if !is_everywhere || !is_counted {
            world.run(CALM)?;
            continue;
        }
        let times = world.received.iter().map(|(_, at)| at.since(begun).as_secs_f64() * 1e3).collect();
        world.run(CALM)?;
        spread.count(times, world.data, world.bytes);
    }
    Ok(spread.column(options.writes))
}

#[cfg(test)]
mod tests {
    use super::super::figures::Sheet;
    use super::*;

    fn figures(nodes: usize, loss: f64, lost: Lost) -> serde_json::Value {
        let options = Options { nodes, writes: 5, loss, iroh_gossip: true };
        let columns = vec![("iroh_gossip", column(&options, lost).unwrap())];
        Sheet { columns, ..Sheet::default() }.systems()["iroh_gossip"].clone()
    }

    #[test]
    fn a_broadcast_reaches_everybody_along_a_tree() {
        let of = figures(60, 0.0, Lost::Late);
        assert_eq!(of["delivered_ratio"], 1, "{of:#}");
        assert!(of["all_have_it_ms"]["median"].as_f64().unwrap() >= 50.0, "{of:#}");
        assert!(of["duplicates_per_message"]["median"].as_f64().unwrap() < 1.5, "{of:#}");
    }

    #[test]
    fn what_is_lost_on_a_stream_is_late() {
        let all = |loss| figures(40, loss, Lost::Late)["all_have_it_ms"]["median"].as_f64().unwrap();
        let (without, with) = (all(0.0), all(0.3));
        assert!(with > without + 150.0, "{without} ms, then {with} ms");
    }
}

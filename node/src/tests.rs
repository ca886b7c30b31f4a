//! Whole nodes in virtual time: a queue of frames, a disk that answers at once, no sockets.

use crate::wire::{self, WireError};
use crate::{Answer, Config, Event, FrameFault, Identity, Input, Node, Output, Recovered};
use chinwag_base::codec::DecodeError;
use chinwag_base::limits::BAD_FRAMES_MAX;
use chinwag_base::limits::WAITS_MAX;
use chinwag_base::{Generation, Grant, Keypair, Lane, Moment, NodeId, OverlayId, Role, WallTime};
use chinwag_crdt::{Dot, Op, Read};
use chinwag_gossip::{RequestId, Wait};
use chinwag_membership::{Lost, State};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const LATENCY: Duration = Duration::from_millis(5);

/// Nodes joined by links that lose nothing, for scenarios about the composition alone.
struct World {
    now: Moment,
    root: Keypair,
    nodes: BTreeMap<NodeId, Node>,
    frames: VecDeque<(Moment, NodeId, NodeId, Lane, Vec<u8>)>,
    links: BTreeSet<(NodeId, NodeId)>,
    answers: BTreeMap<(NodeId, RequestId), Answer>,
    told: BTreeMap<NodeId, chinwag_dht::Reply>,
    events: Vec<(NodeId, Event)>,
    closed: Vec<(NodeId, NodeId)>,
}

impl World {
    fn new() -> Self {
        World {
            now: Moment::from_millis(1_000),
            root: Keypair::from_secret([99; 32]),
            nodes: BTreeMap::new(),
            frames: VecDeque::new(),
            links: BTreeSet::new(),
            answers: BTreeMap::new(),
            told: BTreeMap::new(),
            events: Vec::new(),
            closed: Vec::new(),
        }
    }

    fn start(&mut self, n: u8) -> NodeId {
        self.start_as(n, Role::Member, Recovered::default())
    }

    fn start_as(&mut self, n: u8, role: Role, recovered: Recovered) -> NodeId {
        let keypair = Keypair::from_secret([n; 32]);
        let id = keypair.id();
        let overlay = OverlayId::of_root(&self.root.id());
        let grant = Grant::by_root(&self.root, id, role, WallTime::from_unix_ms(u64::MAX));
        let me = Identity {
            keypair,
            grant,
            name: format!("n{n}").parse().unwrap(),
            generation: Generation::new(u64::from(n) + 1),
            addresses: vec![format!("/ip4/127.0.0.1/tcp/{}", 1_000 + u16::from(n)).parse().unwrap()],
            tags: BTreeMap::new(),
        };
        let config = Config {
            membership: chinwag_membership::Config::new(overlay),
            gossip: chinwag_gossip::Config::default(),
            dht: chinwag_dht::Config::default(),
        };
        let node = Node::new(config, me, recovered, u64::from(n), self.now);
        self.nodes.insert(id, node);
        self.handle(id, Input::Wall(WallTime::from_unix_ms(1_800_000_000_000)));
        id
    }

    fn handle(&mut self, id: NodeId, input: Input) {
        self.nodes.get_mut(&id).unwrap().handle(self.now, input);
        while let Some(output) = self.nodes.get_mut(&id).unwrap().poll_output() {
            match output {
                Output::Send { to, lane, bytes, .. } => {
                    assert!(bytes.len() <= lane.frame_bytes_max(), "{lane:?}: {} bytes", bytes.len());
                    if self.links.contains(&(id, to)) {
                        self.frames.push_back((self.now + LATENCY, id, to, lane, bytes));
                    }
                }
                Output::Persist { batch, .. } => self.handle(id, Input::Persisted { batch }),
                Output::Dial { peer, .. } if self.nodes.contains_key(&peer) => self.connect(id, peer),
                Output::Answer { request, answer } => {
                    assert!(self.answers.insert((id, request), answer).is_none(), "one answer a request");
                }
                Output::PersistRecords { batch, .. } => self.handle(id, Input::RecordsPersisted { batch }),
                Output::Told { reply, .. } => drop(self.told.insert(id, reply)),
                Output::Event(event) => self.events.push((id, event)),
                Output::Close { peer } => {
                    self.closed.push((id, peer));
                    self.disconnect(id, peer);
                }
                _ => {}
            }
        }
    }

    fn connect(&mut self, a: NodeId, b: NodeId) {
        if self.links.insert((a, b)) && self.links.insert((b, a)) {
            self.handle(a, Input::Connected { peer: b });
            self.handle(b, Input::Connected { peer: a });
        }
    }

    fn disconnect(&mut self, a: NodeId, b: NodeId) {
        if self.links.remove(&(a, b)) {
            self.links.remove(&(b, a));
            self.handle(a, Input::Disconnected { peer: b, reason: Lost::Local });
            self.handle(b, Input::Disconnected { peer: a, reason: Lost::Closed });
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timer = self.nodes.iter().filter_map(|(id, n)| n.next_deadline().map(|d| (d, *id))).min();
            let frame = self.frames.front().map(|f| f.0);
            match (frame, timer) {
                (Some(at), timer) if at <= end && timer.is_none_or(|(t, _)| at <= t) => {
                    self.now = self.now.max(at);
                    let (_, from, to, lane, bytes) = self.frames.pop_front().unwrap();
                    if self.links.contains(&(from, to)) {
                        self.handle(to, Input::Frame { from, lane, bytes });
                    }
                }
                (_, Some((at, id))) if at <= end => {
                    self.now = self.now.max(at);
                    self.handle(id, Input::Tick);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn write(&mut self, id: NodeId, request: u64, op: Op, wait: Wait) {
        let request = RequestId(request);
        self.handle(id, Input::Write { request, ops: vec![op], wait, wait_until: None });
    }

    fn ask(&mut self, id: NodeId, ask: chinwag_dht::Ask) -> chinwag_dht::Reply {
        let until = self.now + Duration::from_secs(2);
        self.handle(id, Input::Ask { request: chinwag_dht::RequestId(1), ask, until });
        self.run(Duration::from_secs(3));
        self.told.remove(&id).expect("a request is answered in time")
    }

    fn token(&self, id: NodeId, request: u64) -> Vec<Dot> {
        match &self.answers[&(id, RequestId(request))] {
            Answer::Written(Ok(written)) => written.token.clone(),
            other => panic!("{other:?}"),
        }
    }
}

fn set(key: &str, value: &str) -> Op {
    Op::Set { key: key.parse().unwrap(), value: value.as_bytes().to_vec().try_into().unwrap() }
}

fn pair() -> (World, NodeId, NodeId) {
    let mut world = World::new();
    let (a, b) = (world.start(1), world.start(2));
    world.connect(a, b);
    world.run(Duration::from_secs(1));
    (world, a, b)
}

#[test]
fn two_nodes_meet_and_a_write_reaches_both() {
    let (mut world, a, b) = pair();
    for id in [a, b] {
        let members: Vec<_> = world.nodes[&id].membership().members(world.now).collect();
        assert_eq!(members.len(), 2);
        assert!(members.iter().all(|m| m.state == State::Alive));
    }
    world.write(a, 1, set("k", "v"), Wait::All);
    assert!(world.answers.is_empty(), "all is more than one");
    world.run(Duration::from_secs(1));
    assert!(matches!(&world.answers[&(a, RequestId(1))], Answer::Written(Ok(w)) if w.met && w.holders == 2));
    let read = world.nodes[&b].gossip().replica().get(&"k".parse().unwrap());
    assert!(matches!(read, Some(Read::Register { value, .. }) if value.as_bytes() == b"v"));
    let converged = |e: &(NodeId, Event)| {
        matches!(e.1, Event::Gossip(chinwag_gossip::Event::Converged { members: 2, .. }))
    };
    assert!(world.events.iter().any(converged));
}

#[test]
fn a_reader_is_known_by_its_grant_and_writes_nothing() {
    let mut world = World::new();
    let (a, b) = (world.start(1), world.start_as(2, Role::Reader, Recovered::default()));
    world.connect(a, b);
    world.run(Duration::from_secs(1));
    world.write(b, 1, set("k", "v"), Wait::Local);
    let refused = Answer::Written(Err(chinwag_gossip::WriteError::ReadOnly));
    assert_eq!(world.answers[&(b, RequestId(1))], refused);
    // One that does not ask itself is refused by the others.
    let dot =
        Dot { replica: chinwag_base::ReplicaId { node: b, generation: Generation::new(3) }, counter: 1 };
    let entry = chinwag_crdt::Entry {
        dot,
        hlc: chinwag_crdt::Hlc::ZERO,
        key: "k".parse().unwrap(),
        effect: chinwag_crdt::Effect::Set { value: b"v".to_vec().try_into().unwrap() },
        removed: chinwag_crdt::Dots::new(),
    };
    let push = wire::Frame::Gossip(chinwag_gossip::Message::Push { entries: vec![entry.into()] });
    world.handle(a, Input::Frame { from: b, lane: Lane::Gossip, bytes: wire::encode(&push) });
    world.run(Duration::from_secs(1));
    assert!(!world.nodes[&a].gossip().replica().clock().covers(dot));
    let refused = |e: &&(NodeId, Event)| matches!(e.1, Event::Gossip(chinwag_gossip::Event::EntryRefused { from, .. }) if from == b);
    assert_eq!(world.events.iter().filter(refused).count(), 1);
    // It holds what members write all the same.
    world.write(a, 2, set("k", "v"), Wait::All);
    world.run(Duration::from_secs(1));
    assert!(matches!(&world.answers[&(a, RequestId(2))], Answer::Written(Ok(w)) if w.met && w.holders == 2));
}

/// The version byte and the frame's tag have room beside the longest ping and ack that the membership makes.
#[test]
fn the_longest_probe_frames_fit_their_lane() {
    use chinwag_membership::{Ack, Brief, Message, Ping, Purpose, Update, Version};
    let version = Version {
        generation: Generation::new(u64::MAX),
        incarnation: chinwag_base::Incarnation::new(u64::MAX),
        state: State::Down,
    };
    let digest = chinwag_base::Digest::of("test", b"");
    let id = Keypair::from_secret([1; 32]).id();
    let max = Lane::Probe.frame_bytes_max();
    let mut longest = 0;
    for count in 0..30 {
        let news = vec![Update::Brief(Brief { id, version }); count];
        let (sequence, belief) = (u64::MAX, Some(version));
        let ping = Ping { sequence, purpose: Purpose::Check, belief, digest, news: news.clone() };
        let ack = Ack { sequence, next_ms: Some(u32::MAX), belief, digest, news };
        for message in [Message::Ping(ping), Message::Ack(ack)] {
            if message.weight() <= max {
                // However full, the head that is reserved has room for the envelope.
                let bytes = wire::encode(&wire::Frame::Membership(message.clone()));
                assert!(bytes.len() <= message.weight(), "{} {}", bytes.len(), message.weight());
                longest = longest.max(bytes.len());
            }
        }
    }
    assert!((max - 60..=max).contains(&longest), "{longest}");
}

#[test]
fn a_read_can_follow_a_write_elsewhere() {
    let (mut world, a, b) = pair();
    world.disconnect(a, b);
    world.write(a, 1, set("k", "v"), Wait::Local);
    let token = world.token(a, 1);
    let until = world.now + Duration::from_millis(300);
    world.handle(b, Input::Await { request: RequestId(7), token: token.clone(), until });
    world.handle(
        b,
        Input::Await { request: RequestId(8), token: token.clone(), until: until + Duration::from_secs(9) },
    );
    world.handle(b, Input::Await { request: RequestId(9), token: vec![], until });
    assert_eq!(world.answers[&(b, RequestId(9))], Answer::Visible(true), "nothing to wait for");
    // The members dial each other again only after a back-off, so the first wait is over by then.
    world.links.clear();
    let deadline = world.nodes[&b].next_deadline().unwrap();
    assert!(deadline <= until);
    world.now = until;
    world.handle(b, Input::Tick);
    assert_eq!(world.answers.get(&(b, RequestId(7))), Some(&Answer::Visible(false)));
    world.connect(a, b);
    world.run(Duration::from_secs(2));
    assert_eq!(world.answers.get(&(b, RequestId(8))), Some(&Answer::Visible(true)));
}

/// In the moment in which the last of them is visible, and not at the next look of some timer.
#[test]
fn a_read_that_follows_two_writes_is_told_with_the_second() {
    let mut world = World::new();
    let a = world.start(1);
    let until = world.now + Duration::from_secs(60);
    world.write(a, 1, set("k", "v"), Wait::Local);
    let token = world.token(a, 1);
    let next = Dot { counter: token[0].counter + 1, ..token[0] };
    let await_both = Input::Await { request: RequestId(7), token: vec![token[0], next], until };
    world.handle(a, await_both);
    assert_eq!(world.answers.get(&(a, RequestId(7))), None, "the second is not written yet");
    world.write(a, 2, set("k", "w"), Wait::Local);
    assert_eq!(world.token(a, 2), [next]);
    assert_eq!(world.answers.get(&(a, RequestId(7))), Some(&Answer::Visible(true)), "without a tick");
}

#[test]
fn reads_that_find_no_room_to_wait_are_told_so() {
    let mut world = World::new();
    let a = world.start(1);
    let replica = chinwag_base::ReplicaId { node: a, generation: Generation::new(77) };
    let until = world.now + Duration::from_secs(60);
    let never = |n| Input::Await { request: RequestId(n), token: vec![Dot { replica, counter: 1 }], until };
    (0..=WAITS_MAX as u64).for_each(|n| world.handle(a, never(n)));
    assert_eq!(world.answers.len(), 1);
    assert_eq!(world.answers[&(a, RequestId(WAITS_MAX as u64))], Answer::TooManyAwaits);
}

#[test]
fn just_after_a_start_all_means_those_in_the_address_book() {
    let (mut world, a, b) = pair();
    let known = (**world.nodes[&a].membership().record()).clone();
    world.nodes.remove(&a);
    world.links.clear();
    world.start_as(2, Role::Member, Recovered { members: vec![known], ..Recovered::default() });
    world.write(b, 1, set("k", "v"), Wait::All);
    world.run(Duration::from_secs(5));
    assert!(world.answers.is_empty(), "the other one may be on its way");
    world.run(Duration::from_secs(30));
    world.write(b, 2, set("k", "w"), Wait::All);
    world.run(Duration::from_secs(1));
    assert!(matches!(&world.answers[&(b, RequestId(2))], Answer::Written(Ok(w)) if w.met && w.of == 1));
}

#[test]
fn a_record_put_at_one_node_is_read_at_another_and_a_reader_puts_none() {
    use chinwag_dht::{Ask, AskError, Edit, Outcome, RecordKey};
    let mut world = World::new();
    let ids = [world.start(1), world.start(2), world.start_as(3, Role::Reader, Recovered::default())];
    for (n, a) in ids.iter().enumerate() {
        ids[..n].iter().for_each(|b| world.connect(*a, *b));
    }
    world.run(Duration::from_secs(1));
    let value: chinwag_base::Value = b"hello".to_vec().try_into().unwrap();
    let put = Ask::Put {
        key: "k".parse().unwrap(),
        edit: Edit::Set(value.clone()),
        expires: None,
        quorum: Some(2),
    };
    let reply = world.ask(ids[0], put.clone());
    assert!(matches!(reply.result, Ok(Outcome::Stored { holders: 2, owners: 2, .. })), "{reply:?}");
    let get = Ask::Get { key: RecordKey::Cell("k".parse().unwrap()), quorum: None };
    for id in ids {
        let reply = world.ask(id, get.clone());
        let Ok(Outcome::Found(Some(record))) = &reply.result else { panic!("{reply:?}") };
        let chinwag_dht::Content::Cell(cell) = &record.content else { panic!("{record:?}") };
        assert!(matches!(cell.read(), Some(Read::Register { value: held, .. }) if held == value));
    }
    assert_eq!(world.ask(ids[2], put).result, Err(AskError::Reader));
    // A reader owns nothing, and a member that went is no owner any more.
    assert_eq!(world.nodes[&ids[0]].dht().members(), 2);
    world.handle(ids[1], Input::Leave);
    world.run(Duration::from_secs(1));
    assert_eq!(world.nodes[&ids[0]].dht().members(), 1);
}

#[test]
fn a_cancelled_await_is_not_answered() {
    let (mut world, a, b) = pair();
    let replica = chinwag_base::ReplicaId { node: a, generation: Generation::new(77) };
    let token = vec![Dot { replica, counter: 1 }];
    let until = world.now + Duration::from_secs(1);
    world.handle(b, Input::Await { request: RequestId(7), token, until });
    world.handle(b, Input::Cancel { request: RequestId(7) });
    world.run(Duration::from_secs(3));
    assert!(world.answers.is_empty());
}

#[test]
fn frames_that_are_not_understood_are_told_and_close_the_connection() {
    let (mut world, a, b) = pair();
    let ping = wire::encode(&wire::Frame::Membership(chinwag_membership::Message::Want(vec![])));
    world.handle(a, Input::Frame { from: b, lane: Lane::Probe, bytes: ping });
    world.handle(a, Input::Frame { from: b, lane: Lane::Bulk, bytes: vec![] });
    world.handle(a, Input::Frame { from: b, lane: Lane::Gossip, bytes: vec![7, 0] });
    world.handle(a, Input::Frame { from: b, lane: Lane::Gossip, bytes: vec![1, 0xff] });
    let faults: Vec<_> = world
        .events
        .iter()
        .filter_map(|(_, e)| if let Event::FrameRefused { why, .. } = e { Some(why.clone()) } else { None })
        .collect();
    assert_eq!(faults[0], FrameFault::Lane);
    assert_eq!(faults[1], FrameFault::Wire(WireError::Empty));
    assert_eq!(faults[2], FrameFault::Wire(WireError::Version(7)));
    assert!(matches!(faults[3], FrameFault::Wire(WireError::Decode(DecodeError::Malformed(_)))));
    assert!(world.closed.is_empty());
    for _ in 4..BAD_FRAMES_MAX {
        world.handle(a, Input::Frame { from: b, lane: Lane::Bulk, bytes: vec![0] });
    }
    assert_eq!(world.closed, [(a, b)], "after {BAD_FRAMES_MAX} of them");
}

#[test]
fn a_frame_with_trailing_bytes_is_refused() {
    let mut bytes = wire::encode(&wire::Frame::Membership(chinwag_membership::Message::Want(vec![])));
    assert!(wire::decode(Lane::Bulk, &bytes).is_ok());
    bytes.push(0);
    assert_eq!(wire::decode(Lane::Bulk, &bytes), Err(WireError::Decode(DecodeError::Trailing(1))));
}

#[test]
fn goodbye_is_heard_and_followed_by_departure() {
    let (mut world, a, b) = pair();
    world.handle(a, Input::Leave);
    world.run(Duration::from_millis(500));
    assert_eq!(world.nodes[&b].membership().member(world.now, &a).unwrap().state, State::Left);
}

proptest! {
    /// No bytes from a peer make a node panic, whatever lane they come on; a decoded frame encodes to itself.
    #[test]
    fn any_bytes_are_a_frame_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), lane in 0usize..3) {
        let lane = Lane::ALL[lane];
        let framed = [&[1u8], bytes.as_slice()].concat();
        if let Ok(frame) = wire::decode(lane, &framed) {
            prop_assert_eq!(wire::decode(lane, &wire::encode(&frame)), Ok(frame));
        }
    }

    /// Frames that were real but for a few bytes reach deeper than noise does.
    #[test]
    fn a_node_survives_damaged_frames(damage in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6), seed in 0usize..1_000) {
        let (mut world, a, b) = pair();
        world.write(a, 1, set("k", "v"), Wait::Local);
        let frames: Vec<_> = world.frames.iter().filter(|f| f.2 == b).cloned().collect();
        prop_assume!(!frames.is_empty());
        let (_, from, to, lane, mut bytes) = frames[seed % frames.len()].clone();
        for (at, value) in damage {
            let at = at as usize % bytes.len();
            bytes[at] = value;
        }
        world.handle(to, Input::Frame { from, lane, bytes });
        world.run(Duration::from_secs(2));
        prop_assert!(world.nodes[&b].gossip().replica().len() <= 2);
    }
}

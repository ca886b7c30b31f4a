//! The core: what comes in goes to the part that it concerns, and time passes.

use crate::commit::Commits;
use crate::distance::Id;
use crate::event::Event;
use crate::handoff::HandOff;
use crate::io::{
    Ask, AskError, Config, Identity, Input, LoadId, Member, Output, Recovered, Reply, RequestId,
};
use crate::load::Load;
use crate::message::{Message, Question};
use crate::operation::{Operations, Origin};
use crate::placement::Placement;
use crate::record::RecordKey;
use crate::rtt::RoundTrips;
use crate::seen::Seen;
use crate::store::Store;
use chinwag_base::limits::OWNERS_MAX;
use chinwag_base::{Moment, NodeId, ReplicaId, WallTime};
use chinwag_crdt::HlcClock;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How many records that have ended are removed at a time.
const EXPIRE_AT_ONCE: usize = 256;
/// How often at most: a disk that refuses is not asked without pause.
const EXPIRE_EVERY: Duration = Duration::from_millis(100);

/// What is known of a connected peer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peer {
    /// How long its disk and the way there and back take.
    pub(crate) puts: RoundTrips,
    /// How long reads take, and the way there and back.
    pub(crate) gets: RoundTrips,
}

/// One node's part in the DHT.
pub struct Dht {
    pub(crate) config: Config,
    pub(crate) me: NodeId,
    pub(crate) replica: ReplicaId,
    pub(crate) now: Moment,
    /// A reading of the wall clock, and when it was made.
    wall: (WallTime, Moment),
    pub(crate) hlc: HlcClock,
    pub(crate) members: BTreeMap<NodeId, Member>,
    /// Where the members lie that are here.
    pub(crate) placement: Placement,
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    /// Connected peers whose round trip has neither been measured nor told.
    unmeasured: BTreeSet<NodeId>,
    pub(crate) store: Store,
    pub(crate) commits: Commits,
    pub(crate) loads: BTreeMap<LoadId, Load>,
    next_load: u64,
    next_question: u64,
    pub(crate) operations: Operations,
    pub(crate) seen: Seen,
    pub(crate) hand_off: HandOff,
    expire_from: Moment,
    scrub_at: Moment,
    scrubbed: Option<Id>,
    outputs: VecDeque<Output>,
}

impl Dht {
    /// A node's records at its start.
    pub fn new(config: Config, me: Identity, recovered: Recovered, seed: u64, now: Moment) -> Self {
        let mut store = Store::new(config.limits);
        recovered.records.into_iter().for_each(|held| store.recover(held));
        let node = me.replica.node;
        // Daemons that were started together need not compare and scrub together.
        let jitter = |every: Duration| every.mul_f64((seed % 1_000) as f64 / 1_000.0);
        let compare_at = now + jitter(config.compare_every);
        let scrub_at = now + config.scrub_every + jitter(config.scrub_every);
        let alone = Member { node, alive: true, suspect: false, may_write: true, rtt: None };
        Dht {
            me: node,
            replica: me.replica,
            now,
            wall: (WallTime::from_unix_ms(0), now),
            hlc: HlcClock::new(),
            members: [(node, alone)].into(),
            placement: [node].into_iter().collect(),
            peers: BTreeMap::new(),
            unmeasured: BTreeSet::new(),
            store,
            commits: Commits::default(),
            loads: BTreeMap::new(),
            next_load: 0,
            next_question: 0,
            operations: Operations::default(),
            seen: Seen::default(),
            hand_off: HandOff::new(compare_at),
            expire_from: now,
            scrub_at,
            scrubbed: None,
            outputs: VecDeque::new(),
            config,
        }
    }

    /// The only way in. Drain [`Dht::poll_output`] afterwards.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.now = now;
        match input {
            Input::Tick => self.on_tick(),
            Input::Message { from, message } => self.on_message(from, message),
            Input::PeerUp { peer } => self.on_peer_up(peer),
            Input::PeerDown { peer } => self.on_peer_down(peer),
            Input::SendRefused { to } => self.on_send_refused(to),
            Input::Members { members } => self.on_members(members),
            Input::MembersChanged { members, gone } => self.on_members_changed(members, &gone),
            Input::RoundTrips(round_trips) => self.on_round_trips(&round_trips),
            Input::Wall(wall) => self.wall = (wall, now),
            Input::Ask { request, ask, until } => self.on_ask(request, ask, until),
            Input::Cancel { request } => self.operations.cancel(request),
            Input::Accept(record) => self.on_accept(record),
            Input::Persisted { batch } => self.on_persisted(batch),
            Input::PersistFailed { batch, why } => self.on_persist_failed(batch, &why),
            Input::Loaded { load, blob } => self.on_loaded(load, blob),
        }
        self.commit();
    }

    /// The only way out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Dht::handle`] with [`Input::Tick`].
    pub fn next_deadline(&self) -> Option<Moment> {
        let scrub = (self.store.usage().blob_bytes > 0).then_some(self.scrub_at);
        let (read, at) = self.wall;
        let expire = self.store.next_end().map(|end| {
            let left = Duration::from_millis(end.unix_ms().saturating_sub(read.unix_ms()));
            (at + left).max(self.expire_from)
        });
        let parts = [self.operations.next_deadline(), self.hand_off.next_deadline(), scrub, expire];
        parts.into_iter().flatten().min()
    }

    /// What this node holds.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The members that own a record, nearest first, as far as this node knows.
    pub fn owners_of(&self, key: &RecordKey) -> Vec<NodeId> {
        self.owners(&key.id())
    }

    /// Whether this node owns what lies there.
    pub fn owns(&self, id: &Id) -> bool {
        self.owners(id).contains(&self.me)
    }

    /// How many members there are that records are placed on.
    pub fn members(&self) -> usize {
        self.placement.len()
    }

    /// Requests of clients that are open.
    pub fn open_requests(&self) -> usize {
        self.operations.open()
    }

    /// Owners that are being compared with or handed records, and records that wait for their owners.
    pub fn handing_off(&self) -> usize {
        self.hand_off.unfinished()
    }

    /// Connected peers whose round trip should be told, if anybody knows it.
    pub fn unmeasured(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.unmeasured.iter().copied()
    }

    /// The wall clock, carried forward since it was read.
    pub(crate) fn wall(&self) -> WallTime {
        let (read, at) = self.wall;
        read.plus_ms(self.now.since(at).as_millis() as u64)
    }

    pub(crate) fn owners(&self, id: &Id) -> Vec<NodeId> {
        self.placement.nearest(id, self.config.owners.min(OWNERS_MAX))
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.output(Output::Event(event));
    }

    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        self.output(Output::Send { to, message });
    }

    pub(crate) fn question(&mut self) -> Question {
        self.next_question += 1;
        Question(self.next_question)
    }

    /// Asks the disk for a blob's bytes.
    pub(crate) fn load(&mut self, id: Id, load: Load) {
        self.next_load += 1;
        let number = LoadId(self.next_load);
        self.loads.insert(number, load);
        self.output(Output::Load { load: number, id });
    }

    pub(crate) fn reply(&mut self, request: RequestId, result: Result<crate::io::Outcome, AskError>) {
        self.output(Output::Reply { request, reply: Reply { result, trace: Vec::new() } });
    }

    fn on_tick(&mut self) {
        self.tick_operations();
        self.tick_hand_off();
        if self.scrub_at <= self.now {
            self.scrub_at = self.now + self.config.scrub_every;
            self.scrub();
        }
        self.expire();
    }

    fn on_message(&mut self, from: NodeId, message: Message) {
        match message {
            Message::Put { question, record, passed_on } => self.on_put(from, question, record, passed_on),
            Message::Get { question, key, want } => self.on_get(from, question, &key, want),
            Message::Stored { question, verdict } => self.on_stored(from, question, verdict),
            Message::Got { question, found } => self.on_got(from, question, found),
            Message::Compare { records, digest, urgent, answer } => {
                self.on_compare(from, (records, digest), urgent, answer);
            }
            Message::Offer { question, records } => self.on_offer(from, question, records.0),
            Message::Lack { question, positions } => self.on_lack(from, question, &positions),
        }
    }

    /// Asks for a connection to a member. Small overlays are full meshes, and dial everybody in any case.
    pub(crate) fn reach(&mut self, peer: NodeId) {
        if !self.peers.contains_key(&peer) && self.is_here(&peer) {
            self.output(Output::Reach { peer });
        }
    }

    fn on_peer_up(&mut self, peer: NodeId) {
        self.peers.entry(peer).or_default();
        match self.members.get(&peer).and_then(|member| member.rtt) {
            Some(rtt) => self.hint(peer, rtt),
            None => {
                self.unmeasured.insert(peer);
            }
        }
        self.hand_off_peer_up(peer);
        self.ask_again(peer);
    }

    fn on_peer_down(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
        self.unmeasured.remove(&peer);
        self.hand_off_peer_down(peer);
        self.operations_peer_down(peer);
    }

    fn on_members(&mut self, members: Vec<Member>) {
        let named: BTreeSet<NodeId> = members.iter().map(|member| member.node).collect();
        let gone: Vec<NodeId> = self.members.keys().copied().filter(|id| !named.contains(id)).collect();
        self.on_members_changed(members, &gone);
    }

    fn on_members_changed(&mut self, members: Vec<Member>, gone: &[NodeId]) {
        let mut changed = false;
        for member in members {
            let node = member.node;
            if let Some(rtt) = member.rtt {
                self.hint(node, rtt);
            }
            let before = self.members.insert(node, member);
            changed |= self.place(node, before);
        }
        for node in gone {
            let before = self.members.remove(node);
            changed |= self.place(*node, before);
        }
        if changed {
            self.placement_changed();
        }
    }

    /// Puts a member where records are placed on it, or takes it away. Returns whether that is a change. A place costs a
    /// hash, so whoever stays is not looked up.
    fn place(&mut self, node: NodeId, before: Option<Member>) -> bool {
        let takes_part = |member: &Member| member.alive && member.may_write;
        let took_part = before.as_ref().is_some_and(takes_part);
        if self.members.get(&node).is_some_and(takes_part) {
            !took_part && self.placement.insert(node)
        } else {
            (took_part || node == self.me) && !self.is_here(&node) && self.placement.remove(&node)
        }
    }

    fn on_round_trips(&mut self, round_trips: &[(NodeId, Duration)]) {
        for (node, rtt) in round_trips {
            if let Some(member) = self.members.get_mut(node) {
                member.rtt = Some(*rtt);
            }
            self.hint(*node, *rtt);
        }
    }

    fn hint(&mut self, peer: NodeId, rtt: Duration) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.gets.hint(rtt);
            known.puts.hint(rtt);
            self.unmeasured.remove(&peer);
        }
    }

    /// Whether a member can own records: it is believed to be here, and may write. Of this node no other says whether it is
    /// here.
    pub(crate) fn is_here(&self, node: &NodeId) -> bool {
        let member = self.members.get(node);
        let may_write = member.is_none_or(|member| member.may_write);
        may_write && (*node == self.me || member.is_some_and(|member| member.alive))
    }

    fn on_ask(&mut self, request: RequestId, ask: Ask, until: Moment) {
        if let Err(error) = self.begin(Origin::Client(request), ask, until) {
            self.reply(request, Err(error));
        }
    }

    fn on_accept(&mut self, record: crate::record::Record) {
        let key = record.key.clone();
        if self.members.get(&record.publisher).is_some_and(|member| !member.may_write) {
            let why = crate::message::Refusal::Reader.to_string();
            return self.event(Event::Refused { from: Some(record.publisher), key, why });
        }
        match record.validate(self.wall()) {
            Ok(record) => self.stage(record, crate::commit::Waiter::Door),
            Err(why) => self.event(Event::Refused { from: None, key, why: why.to_string() }),
        }
    }

    /// Removes what has ended, a piece at a time.
    fn expire(&mut self) {
        if self.expire_from > self.now {
            return;
        }
        self.expire_from = self.now + EXPIRE_EVERY;
        let ended = self.store.ended(self.wall(), EXPIRE_AT_ONCE);
        let dropped = ended.into_iter().filter(|id| self.stage_end(*id)).count();
        if dropped > 0 {
            self.event(Event::Expired { records: dropped });
        }
    }

    /// Reads one blob in turn, to notice what the disk has done to it before somebody needs it.
    fn scrub(&mut self) {
        let blob = |held: &crate::held::Held| held.cell().is_none();
        let pick = |from| {
            let rows = self.store.after(from).take(chinwag_base::limits::SCAN_RECORDS_MAX);
            let mut last = from;
            for (id, held, _) in rows {
                last = Some(*id);
                if blob(held) {
                    return (Some(*id), last);
                }
            }
            (None, last)
        };
        let (found, last) = pick(self.scrubbed);
        // At the end it begins anew.
        self.scrubbed = if last == self.scrubbed { None } else { last };
        if let Some(id) = found {
            self.load(id, Load::Scrub { id });
        }
    }
}

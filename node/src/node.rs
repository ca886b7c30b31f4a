//! The composition: which input goes to which core, and what the cores tell each other.

use crate::event::{Event, FrameFault};
use crate::io::{Answer, Config, Identity, Input, Output, Recovered};
use crate::wire::{self, DHT_SLOT, Frame};
use chinwag_base::limits::{BAD_FRAMES_MAX, WAITS_MAX};
use chinwag_base::{Lane, Moment, NodeId, ReplicaId, Role};
use chinwag_crdt::Dot;
use chinwag_dht::Dht;
use chinwag_gossip::{Gossip, RequestId};
use chinwag_membership::{Member, Membership, State};
use std::collections::{BTreeMap, VecDeque};

/// One overlay node.
pub struct Node {
    membership: Membership,
    gossip: Gossip,
    dht: Dht,
    outputs: VecDeque<Output>,
    /// Reads that wait for a write to become visible.
    awaits: BTreeMap<RequestId, Await>,
    /// Until then, members that the address book names and that have not been heard yet pass for alive: nobody has said
    /// that they are gone, and `--wait all` just after a start must not mean this node alone.
    hope_until: Option<Moment>,
    /// What was told last, in bytes: the same is often told to many.
    told: Option<(chinwag_gossip::Message, Vec<u8>)>,
    /// Undecodable frames by peer, since it connected.
    bad_frames: BTreeMap<NodeId, u32>,
}

#[derive(Debug)]
struct Await {
    token: Vec<Dot>,
    until: Moment,
}

/// What the outputs of one pass call for, once they are drained.
#[derive(Default)]
struct News {
    membership_changed: bool,
    state_changed: bool,
}

impl Node {
    /// A node at its start. `recovered` is what the disk remembers, `me.generation` is new and durable.
    pub fn new(config: Config, me: Identity, recovered: Recovered, seed: u64, now: Moment) -> Self {
        let replica = ReplicaId { node: me.keypair.id(), generation: me.generation };
        // As long as silence alone takes to decide anything.
        let hope_until = (!recovered.members.is_empty()).then(|| now + config.membership.silence_min);
        let members = chinwag_membership::Recovered { members: recovered.members };
        let mut node = Node {
            membership: Membership::new(config.membership, me, members, seed, now),
            gossip: Gossip::new(
                config.gossip,
                chinwag_gossip::Identity { replica },
                recovered.state,
                // Two cores with one seed would draw the same jitter.
                seed ^ 0x9e37_79b9_7f4a_7c15,
                now,
            ),
            dht: Dht::new(
                config.dht,
                chinwag_dht::Identity { replica },
                chinwag_dht::Recovered { records: recovered.records },
                seed.rotate_left(32),
                now,
            ),
            outputs: VecDeque::new(),
            awaits: BTreeMap::new(),
            hope_until,
            told: None,
            bad_frames: BTreeMap::new(),
        };
        node.tell_who_lives(now);
        node.drain(now);
        node
    }

    /// The only way in. Drain [`Node::poll_output`] afterwards.
    pub fn handle(&mut self, now: Moment, input: Input) {
        match input {
            Input::Tick => {
                self.membership.handle(now, chinwag_membership::Input::Tick);
                self.gossip.handle(now, chinwag_gossip::Input::Tick);
                self.dht.handle(now, chinwag_dht::Input::Tick);
                self.expire_awaits(now);
                if self.hope_until.is_some_and(|until| until <= now) {
                    self.hope_until = None;
                    self.tell_who_lives(now);
                }
            }
            Input::Frame { from, lane, bytes } => self.frame(now, from, lane, &bytes),
            Input::Connected { peer } => {
                self.bad_frames.remove(&peer);
                self.membership.handle(now, chinwag_membership::Input::Connected { peer });
                self.gossip.handle(now, chinwag_gossip::Input::PeerUp { peer });
                // Of a connection before this one, perhaps.
                if let Some(rtt) = self.membership.round_trip(&peer) {
                    self.dht.handle(now, chinwag_dht::Input::RoundTrips(vec![(peer, rtt)]));
                }
                self.dht.handle(now, chinwag_dht::Input::PeerUp { peer });
            }
            Input::Disconnected { peer, reason } => {
                self.bad_frames.remove(&peer);
                self.membership.handle(now, chinwag_membership::Input::Disconnected { peer, reason });
                self.gossip.handle(now, chinwag_gossip::Input::PeerDown { peer });
                self.dht.handle(now, chinwag_dht::Input::PeerDown { peer });
            }
            Input::DialFailed { peer, why } => {
                self.membership.handle(now, chinwag_membership::Input::DialFailed { peer, why });
            }
            Input::SendRefused { to, lane: Lane::Bulk, slot: DHT_SLOT } => {
                self.dht.handle(now, chinwag_dht::Input::SendRefused { to });
            }
            Input::SendRefused { to, lane, .. } => {
                self.gossip.handle(now, chinwag_gossip::Input::SendRefused { to, lane });
            }
            Input::Addresses(addresses) => {
                self.membership.handle(now, chinwag_membership::Input::Addresses(addresses));
            }
            Input::Tags(tags) => self.membership.handle(now, chinwag_membership::Input::Tags(tags)),
            Input::Seed { peer, addresses } => {
                self.membership.handle(now, chinwag_membership::Input::Seed { peer, addresses });
            }
            Input::Stalled { lasted } => {
                self.membership.handle(now, chinwag_membership::Input::Stalled { lasted });
            }
            Input::Wall(wall) => {
                self.gossip.handle(now, chinwag_gossip::Input::Wall(wall));
                self.dht.handle(now, chinwag_dht::Input::Wall(wall));
            }
            Input::Write { request, ops, wait, wait_until } => {
                self.gossip.handle(now, chinwag_gossip::Input::Write { request, ops, wait, wait_until });
            }
            Input::Reach { request } => {
                self.membership.handle(now, chinwag_membership::Input::Reach { request: request.0 });
            }
            Input::Trace { request, key } => {
                self.gossip.handle(now, chinwag_gossip::Input::Trace { request, key });
            }
            Input::Forget { request, id } => {
                self.membership.handle(now, chinwag_membership::Input::Forget { request: request.0, id });
            }
            Input::Await { request, token, until } => self.begin_await(request, token, until),
            Input::Cancel { request } => {
                if self.awaits.remove(&request).is_none() {
                    self.gossip.handle(now, chinwag_gossip::Input::Cancel { request });
                }
            }
            Input::Persisted { batch } => {
                self.gossip.handle(now, chinwag_gossip::Input::Persisted { batch });
            }
            Input::PersistFailed { batch, why } => {
                self.gossip.handle(now, chinwag_gossip::Input::PersistFailed { batch, why });
            }
            Input::Ask { request, ask, until } => {
                self.dht.handle(now, chinwag_dht::Input::Ask { request, ask, until });
            }
            Input::CancelAsk { request } => {
                self.dht.handle(now, chinwag_dht::Input::Cancel { request });
            }
            Input::AcceptRecord(record) => self.dht.handle(now, chinwag_dht::Input::Accept(record)),
            Input::WriteDown => self.gossip.handle(now, chinwag_gossip::Input::WriteDown),
            Input::Checkpointed => self.gossip.handle(now, chinwag_gossip::Input::Checkpointed),
            Input::CheckpointFailed { why } => {
                self.gossip.handle(now, chinwag_gossip::Input::CheckpointFailed { why });
            }
            Input::RecordsPersisted { batch } => {
                self.dht.handle(now, chinwag_dht::Input::Persisted { batch });
            }
            Input::RecordsPersistFailed { batch, why } => {
                self.dht.handle(now, chinwag_dht::Input::PersistFailed { batch, why });
            }
            Input::BlobLoaded { load, blob } => {
                self.dht.handle(now, chinwag_dht::Input::Loaded { load, blob });
            }
            Input::Leave => self.membership.handle(now, chinwag_membership::Input::Leave),
        }
        self.drain(now);
    }

    /// The only way out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Node::handle`] with [`Input::Tick`].
    pub fn next_deadline(&self) -> Option<Moment> {
        let awaits = self.awaits.values().map(|a| a.until).min();
        let cores = [self.membership.next_deadline(), self.gossip.next_deadline(), self.dht.next_deadline()];
        cores.into_iter().chain([awaits, self.hope_until]).flatten().min()
    }

    /// Who is alive.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// What is known.
    pub fn gossip(&self) -> &Gossip {
        &self.gossip
    }

    /// What is held of the DHT.
    pub fn dht(&self) -> &Dht {
        &self.dht
    }

    fn frame(&mut self, now: Moment, from: NodeId, lane: Lane, bytes: &[u8]) {
        let frame = wire::decode(lane, bytes).map_err(FrameFault::from);
        match frame.and_then(|f| if f.may_travel_on(lane) { Ok(f) } else { Err(FrameFault::Lane) }) {
            Ok(Frame::Membership(message)) => {
                self.membership.handle(now, chinwag_membership::Input::Message { from, message });
            }
            Ok(Frame::Gossip(message)) => {
                self.membership.handle(now, chinwag_membership::Input::Heard { peer: from });
                self.gossip.handle(now, chinwag_gossip::Input::Message { from, message });
            }
            Ok(Frame::Dht(message)) => {
                self.membership.handle(now, chinwag_membership::Input::Heard { peer: from });
                self.dht.handle(now, chinwag_dht::Input::Message { from, message });
            }
            Err(why) => {
                self.outputs.push_back(Output::Event(Event::FrameRefused { from, lane, why }));
                let bad = self.bad_frames.entry(from).or_default();
                *bad += 1;
                if *bad >= BAD_FRAMES_MAX {
                    self.outputs.push_back(Output::Close { peer: from });
                }
            }
        }
    }

    fn begin_await(&mut self, request: RequestId, token: Vec<Dot>, until: Moment) {
        if self.is_visible(&token) {
            self.answer(request, Answer::Visible(true));
        } else if self.awaits.len() >= WAITS_MAX {
            self.answer(request, Answer::TooManyAwaits);
        } else {
            self.awaits.insert(request, Await { token, until });
        }
    }

    fn is_visible(&self, token: &[Dot]) -> bool {
        let clock = self.gossip.replica().clock();
        token.iter().all(|dot| clock.covers(*dot))
    }

    fn resolve_awaits(&mut self) {
        let visible: Vec<RequestId> = self
            .awaits
            .iter()
            .filter(|(_, a)| self.is_visible(&a.token))
            .map(|(request, _)| *request)
            .collect();
        for request in visible {
            self.awaits.remove(&request);
            self.answer(request, Answer::Visible(true));
        }
    }

    fn expire_awaits(&mut self, now: Moment) {
        let late: Vec<RequestId> =
            self.awaits.iter().filter(|(_, a)| a.until <= now).map(|(request, _)| *request).collect();
        for request in late {
            self.awaits.remove(&request);
            self.answer(request, Answer::Visible(false));
        }
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        self.outputs.push_back(Output::Answer { request, answer });
    }

    /// Takes the cores' outputs until all are quiet. What one tells the other may wake it again.
    fn drain(&mut self, now: Moment) {
        loop {
            let mut news = News::default();
            let mut quiet = true;
            while let Some(output) = self.membership.poll_output() {
                quiet = false;
                self.membership_output(output, &mut news);
            }
            while let Some(output) = self.gossip.poll_output() {
                quiet = false;
                self.gossip_output(output, &mut news);
            }
            while let Some(output) = self.dht.poll_output() {
                quiet = false;
                self.dht_output(now, output);
            }
            if news.membership_changed {
                self.tell_who_changed(now);
            }
            if news.state_changed {
                self.resolve_awaits();
            }
            if quiet {
                self.told = None;
                return;
            }
        }
    }

    fn membership_output(&mut self, output: chinwag_membership::Output, news: &mut News) {
        use chinwag_membership::Output as From;
        self.outputs.push_back(match output {
            From::Send { to, lane, message } => send(to, lane, &Frame::Membership(message)),
            From::Dial { peer, addresses } => Output::Dial { peer, addresses },
            From::Close { peer } => Output::Close { peer },
            From::Remember(record) => Output::Remember(record),
            From::Forget(id) => Output::Forget(id),
            From::Departed => Output::Departed,
            From::Reached { request, reached } => {
                Output::Answer { request: RequestId(request), answer: Answer::Reached(reached) }
            }
            From::Forgotten { request, result } => {
                Output::Answer { request: RequestId(request), answer: Answer::Forgotten(result) }
            }
            From::Event(event) => {
                use chinwag_membership::Event::{Alive, Down, Left, Reaped, Suspect};
                news.membership_changed |= matches!(
                    event,
                    Alive { .. } | Suspect { .. } | Down { .. } | Left { .. } | Reaped { .. }
                );
                Output::Event(event.into())
            }
        });
    }

    fn gossip_output(&mut self, output: chinwag_gossip::Output, news: &mut News) {
        use chinwag_gossip::Output as From;
        let output = match output {
            From::Send { to, lane, message } => self.tell(to, lane, message),
            From::Persist { batch, first, rows } => Output::Persist { batch, first, rows },
            From::Checkpoint { checkpoint, cut } => Output::Checkpoint { checkpoint, cut },
            From::Traced { request, trace } => Output::Answer { request, answer: Answer::Traced(trace) },
            From::Reply { request, reply } => Output::Answer { request, answer: Answer::Written(reply) },
            From::Event(event) => {
                use chinwag_gossip::Event::{Applied, CellsDone};
                news.state_changed |= matches!(event, Applied { .. } | CellsDone { .. });
                Output::Event(event.into())
            }
        };
        self.outputs.push_back(output);
    }

    /// Encodes a summary, a push or a relay once for all to whom it goes.
    fn tell(&mut self, to: NodeId, lane: Lane, message: chinwag_gossip::Message) -> Output {
        use chinwag_gossip::Message::{Push, Relay, Summary};
        if !matches!(message, Push { .. } | Relay { .. } | Summary { .. }) {
            return send(to, lane, &Frame::Gossip(message));
        }
        if let Some((told, bytes)) = &self.told
            && *told == message
        {
            return Output::Send { to, lane, slot: wire::GOSSIP_SLOT, bytes: bytes.clone() };
        }
        let bytes = wire::encode(&Frame::Gossip(message.clone()));
        self.told = Some((message, bytes.clone()));
        Output::Send { to, lane, slot: wire::GOSSIP_SLOT, bytes }
    }

    fn dht_output(&mut self, now: Moment, output: chinwag_dht::Output) {
        use chinwag_dht::Output as From;
        self.outputs.push_back(match output {
            From::Reach { peer } => {
                return self.membership.handle(now, chinwag_membership::Input::Wanted { peer });
            }
            From::Send { to, message } => send(to, Lane::Bulk, &Frame::Dht(message)),
            From::Persist { batch, changes } => Output::PersistRecords { batch, changes },
            From::Load { load, id } => Output::LoadBlob { load, id },
            From::Reply { request, reply } => Output::Told { request, reply },
            From::Event(event) => Output::Event(event.into()),
        });
    }

    /// Tells the others of all members.
    fn tell_who_lives(&mut self, now: Moment) {
        self.membership.take_changed();
        let told = self.membership.members(now).filter_map(|member| self.tell_of(member));
        let (members, owners): (Vec<_>, Vec<_>) = told.unzip();
        self.gossip.handle(now, chinwag_gossip::Input::Members { members });
        self.dht.handle(now, chinwag_dht::Input::Members { members: owners });
    }

    /// Tells the others of those members of which something changed: in a large overlay, few of many.
    fn tell_who_changed(&mut self, now: Moment) {
        let (mut members, mut owners, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for id in self.membership.take_changed() {
            match self.membership.member(now, &id).and_then(|member| self.tell_of(member)) {
                Some((member, owner)) => {
                    members.push(member);
                    owners.push(owner);
                }
                None => gone.push(id),
            }
        }
        self.gossip.handle(now, chinwag_gossip::Input::MembersChanged { members, gone: gone.clone() });
        self.dht.handle(now, chinwag_dht::Input::MembersChanged { members: owners, gone });
        let rtt = |peer: NodeId| Some((peer, self.membership.round_trip(&peer)?));
        let round_trips: Vec<_> = self.dht.unmeasured().filter_map(rtt).collect();
        if !round_trips.is_empty() {
            self.dht.handle(now, chinwag_dht::Input::RoundTrips(round_trips));
        }
    }

    /// What the others are told of a member; nothing of one that left.
    fn tell_of(&self, member: Member) -> Option<(chinwag_gossip::Member, chinwag_dht::Member)> {
        if member.state == State::Left {
            return None;
        }
        let hoped_for = self.hope_until.is_some() && member.unverified && member.heard.is_none();
        let alive = member.state.is_present() || hoped_for;
        let may_write = member.role != Role::Reader;
        let suspect = member.state == State::Suspect;
        let Member { id: node, rtt, generation, .. } = member;
        let owner = chinwag_dht::Member { node, alive, suspect, may_write, rtt };
        Some((chinwag_gossip::Member { node, alive, generation, may_write }, owner))
    }
}

fn send(to: NodeId, lane: Lane, frame: &Frame) -> Output {
    Output::Send { to, lane, slot: frame.slot(), bytes: wire::encode(frame) }
}

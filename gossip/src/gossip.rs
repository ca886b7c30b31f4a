//! The core: what happens goes in through `handle`, what is to be done comes out of `poll_output`.

use crate::agreement::{Agreement, History, Look, Turn};
use crate::cells::Fetch;
use crate::held::Held;
use crate::lazy::Awaited;
use crate::names::Names;
use crate::peer::Peer;
use crate::peers::{Peers, is_same};
use crate::queue::{AtDisk, Gathering, Queue};
use crate::trace::Traces;
use crate::waits::Waits;
use crate::{
    BatchId, Config, Event, Identity, Input, Member, Message, Output, PeerView, Recovered, Refusal, Spans,
    Summary, WriteError, Written,
};
use chinwag_base::{Digest, Generation, Key, Lane, Moment, NodeId, ReplicaId, WallTime};
use chinwag_crdt::{Checkpoint, Dot, Replica, Row};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One node's replica, and how it meets the others. See the crate's documentation for the protocol.
pub struct Gossip {
    pub(crate) config: Config,
    pub(crate) me: ReplicaId,
    pub(crate) now: Moment,
    pub(crate) rng: ChaCha8Rng,
    /// A reading of the wall clock, and when it was taken.
    wall: (WallTime, Moment),

    pub(crate) replica: Replica,
    pub(crate) queue: Queue,
    pub(crate) at_disk: Option<AtDisk>,
    /// Whether the next batch waits for those who were just answered.
    pub(crate) gathering: Option<Gathering>,
    pub(crate) next_batch: u64,
    /// After a failed commit: when entries are asked for again.
    pub(crate) pull_again_at: Option<Moment>,
    pub(crate) waits: Waits,

    /// What we have asked of whom, of whole cells.
    pub(crate) fetch: Option<Fetch>,
    /// What a session brought and the disk has not been given yet.
    pub(crate) jobs: VecDeque<(NodeId, Row)>,
    /// Who was asked for cells that our disk has lost, and did not have all of them.
    pub(crate) asked_in_vain: BTreeSet<NodeId>,
    /// When this process life began.
    pub(crate) began: Moment,
    /// Whether the session that is open began in an earlier process life.
    pub(crate) session_is_old: bool,
    /// Since when a session waits for somebody who can go on with it.
    pub(crate) session_waits: Option<Moment>,
    /// Since when it is known that nobody who is connected can go on with it.
    pub(crate) session_with_nobody: Option<Moment>,
    /// The position of the newest checkpoint that was given out.
    pub(crate) checkpointed: u64,
    /// When the next one may be given out.
    pub(crate) checkpoint_from: Moment,
    /// Whether one is asked for, due or not.
    pub(crate) write_down: bool,
    /// The cells of the checkpoint that is at the disk.
    pub(crate) checkpoint_keys: Option<Vec<Key>>,

    /// Commits so far: the position in our own log that `told` and `changed` speak of.
    pub(crate) commits: u64,
    /// The commit at which each replica's part of our clock last changed. Those of recovery are absent.
    pub(crate) changed: BTreeMap<ReplicaId, u64>,
    pub(crate) history: History,
    /// What the parts of our clock are known by, once a peer was told so or told us.
    pub(crate) names: Option<Names>,

    pub(crate) members: BTreeMap<NodeId, MemberState>,
    /// Other members that are alive.
    alive_others: usize,
    pub(crate) peers: Peers,
    agreement: Agreement,

    pub(crate) summary_number: u32,
    pub(crate) summary_due: Option<Moment>,
    pub(crate) summary_told: Option<Moment>,
    pub(crate) round_at: Moment,
    /// From when on the next exchange out of turn may begin.
    pub(crate) out_of_turn_from: Moment,
    pub(crate) next_chunk: u32,
    /// Received dots that wait for the disk or are there.
    pub(crate) pending: Spans,
    /// Dots that were refused and would be again.
    pub(crate) refused: Held,
    /// Dots that were refused until what they remove is here.
    pub(crate) early: Held,
    /// Peers that need not be asked: what they hold and we lack is on its way already. Emptied when anything is not on its
    /// way any more, and in each round.
    pub(crate) spent: BTreeSet<NodeId>,
    pub(crate) traces: Traces,
    pub(crate) awaited: Awaited,

    /// What was written for a time, has run out, and is ours to delete.
    pub(crate) expired: VecDeque<(Key, Dot)>,

    outputs: VecDeque<Output>,
}

/// What the membership says of a member, and when we last complained about its clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberState {
    pub(crate) alive: bool,
    pub(crate) generation: Generation,
    pub(crate) may_write: bool,
    pub(crate) clock_told: Option<Moment>,
}

/// The only way in, and the only way out.
impl Gossip {
    /// A replica with what its disk remembers. The generation in `me` must be new.
    pub fn new(config: Config, me: Identity, recovered: Recovered, seed: u64, now: Moment) -> Self {
        let mut replica = Replica::new(me.replica);
        let checkpointed = recovered.checkpoint.position;
        replica.recover_checkpoint(recovered.checkpoint);
        for (position, row) in recovered.rows {
            replica.replay(position, row);
        }
        replica.cut_log_to(config.log_bytes_max);
        let session_is_old = replica.session().is_some();
        let mut history = History::default();
        history.push(replica.clock_digest());
        let mut gossip = Gossip {
            me: me.replica,
            now,
            rng: ChaCha8Rng::seed_from_u64(seed),
            wall: (WallTime::default(), now),
            replica,
            queue: Queue::default(),
            at_disk: None,
            gathering: None,
            next_batch: 1,
            pull_again_at: None,
            waits: Waits::default(),
            fetch: None,
            jobs: VecDeque::new(),
            asked_in_vain: BTreeSet::new(),
            checkpoint_from: now,
            began: now,
            session_is_old,
            session_waits: None,
            session_with_nobody: None,
            checkpointed,
            write_down: false,
            checkpoint_keys: None,
            commits: 1,
            changed: BTreeMap::new(),
            history,
            names: None,
            members: BTreeMap::new(),
            alive_others: 0,
            peers: Peers::default(),
            agreement: Agreement::Alone,
            summary_number: 0,
            summary_due: None,
            summary_told: None,
            round_at: now,
            out_of_turn_from: now,
            next_chunk: 1,
            pending: Spans::default(),
            refused: Held::default(),
            early: Held::default(),
            spent: BTreeSet::new(),
            traces: Traces::default(),
            awaited: Awaited::default(),
            expired: VecDeque::new(),
            outputs: VecDeque::new(),
            config,
        };
        gossip.round_at = gossip.next_round();
        gossip
    }

    /// Something happened. Drain [`Gossip::poll_output`] afterwards.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.now = self.now.max(now);
        self.replica.pass_time(self.wall());
        match input {
            Input::Tick => self.on_tick(),
            Input::Message { from, message } => self.on_message(from, message),
            Input::PeerUp { peer } => self.on_peer_up(peer),
            Input::PeerDown { peer } => self.on_peer_down(peer),
            Input::Members { members } => self.on_members(&members),
            Input::MembersChanged { members, gone } => self.on_members_changed(&members, &gone),
            Input::Wall(wall) => self.wall = (wall, self.now),
            Input::Write { request, ops, wait, wait_until } => self.on_write(request, ops, wait, wait_until),
            Input::Trace { request, key } => self.on_trace(request, &key),
            Input::Cancel { request } => self.on_cancel(request),
            Input::Persisted { batch } => self.on_persisted(batch),
            Input::PersistFailed { batch, why } => self.on_persist_failed(batch, &why),
            Input::WriteDown => self.on_write_down(),
            Input::Checkpointed => self.on_checkpointed(None),
            Input::CheckpointFailed { why } => self.on_checkpointed(Some(why)),
            Input::SendRefused { to, lane } => self.on_send_refused(to, lane),
        }
        self.look_at_checkpoint();
        self.refresh_peers();
    }

    /// What to do next, in order. `None` once all has been said.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call `handle` with [`Input::Tick`], unless something happens before.
    pub fn next_deadline(&self) -> Option<Moment> {
        let mut deadline = self.round_at;
        let mut consider = |at: Option<Moment>| deadline = at.map_or(deadline, |at| deadline.min(at));
        consider(self.summary_due);
        consider(self.pull_again_at);
        let waits = self.at_disk.is_none() && self.queue.entries() > 0;
        consider(self.gathering.filter(|_| waits).map(|gathering| gathering.until));
        consider(self.waits.next_deadline());
        consider(self.fetch_deadline());
        consider(self.traces.next_deadline());
        consider(self.next_expiry());
        consider(self.peers.next_deadline());
        consider(self.peers.next_look().map(|(at, _)| at.max(self.out_of_turn_from)));
        Some(deadline)
    }
}

/// Getters.
impl Gossip {
    /// The replica: reads, keys, digests, clock.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The connected peers, and how far each is.
    pub fn peers(&self) -> impl Iterator<Item = PeerView> + '_ {
        let clock = self.replica.clock();
        self.peers.iter().map(move |(id, peer)| {
            let in_step = self.is_in_step(peer);
            let told = peer.summary.is_some() || peer.reported.is_some() || !peer.known.is_empty();
            let behind = if in_step { 0 } else { clock.count_minus(&peer.known) };
            PeerView {
                peer: *id,
                digest: peer.summary.map(|summary| summary.state),
                behind: told.then_some(behind),
                in_step,
                met: peer.met,
            }
        })
    }

    /// Entries that wait for the disk, those of the batch that is there included.
    pub fn queued_entries(&self) -> usize {
        self.queue.entries() + self.replica.staged().len()
    }

    /// Bytes that wait for the disk, about, those of the batch that is there included.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes() + self.replica.staged_bytes()
    }

    /// Clients whose write is durable here and who wait for other members.
    pub fn open_waits(&self) -> usize {
        self.waits.len()
    }

    /// Whether every member that is alive is known to hold what we hold. False if nobody else is alive.
    pub fn is_converged(&self) -> bool {
        self.agreement == Agreement::Together
    }

    /// The wall clock's reading, carried forward to the last input.
    pub fn wall(&self) -> WallTime {
        self.wall_at(self.now)
    }

    /// The same, carried to a moment since.
    pub(crate) fn wall_at(&self, moment: Moment) -> WallTime {
        let (wall, at) = self.wall;
        wall.plus_ms(moment.since(at).as_millis() as u64)
    }
}

/// What every part of the core needs.
impl Gossip {
    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        self.outputs.push_back(Output::Send { to, lane: message.lane(), message });
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn event(&mut self, event: Event) {
        if let Event::Applied { change, path, .. } = &event {
            self.traces.note(change, *path, self.wall());
        }
        self.outputs.push_back(Output::Event(event));
    }

    pub(crate) fn reply(&mut self, request: crate::RequestId, reply: Result<Written, WriteError>) {
        self.outputs.push_back(Output::Reply { request, reply });
    }

    pub(crate) fn persist(&mut self, batch: BatchId, rows: Vec<Row>) {
        let first = self.replica.position() + 1;
        self.outputs.push_back(Output::Persist { batch, first, rows });
    }

    pub(crate) fn checkpoint_out(&mut self, checkpoint: Checkpoint, cut: u64) {
        self.outputs.push_back(Output::Checkpoint { checkpoint: Box::new(checkpoint), cut });
    }

    pub(crate) fn refuse(&mut self, from: NodeId, why: Refusal) {
        self.event(Event::MessageRefused { from, why });
    }

    /// Says that what a reader wrote is not taken: of each message once, for the first of its entries.
    pub(crate) fn refuse_reader(&mut self, from: NodeId, dot: Dot) {
        let why = "its author is a reader, whose grant does not let it write".to_owned();
        self.event(Event::EntryRefused { from, dot, why });
    }

    /// A summary of what is durable here now.
    pub(crate) fn summary(&mut self) -> Summary {
        self.summary_number = self.summary_number.wrapping_add(1);
        Summary {
            number: self.summary_number,
            clock: self.replica.clock_digest(),
            state: self.replica.digest(),
            unsettled: self.is_unsettled(),
        }
    }

    /// Whether our state may differ from another one under the same clock.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.replica.is_unsettled() || !self.replica.is_whole()
    }

    pub(crate) fn is_in_step(&self, peer: &Peer) -> bool {
        is_same(peer.summary, self.digests())
    }

    /// The digests of our clock and of our state.
    fn digests(&self) -> (Digest, Digest) {
        (self.replica.clock_digest(), self.replica.digest())
    }

    /// Before anything is looked for among the peers, and at the end of each input.
    pub(crate) fn refresh_peers(&mut self) {
        self.peers.refresh(self.digests(), &self.members, &self.config);
    }

    pub(crate) fn alive_others(&self) -> usize {
        self.alive_others
    }

    pub(crate) fn is_alive(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.alive)
    }

    /// Whether a node is known not to be allowed to write. Of one that is no member any more nothing is known; what
    /// it wrote while it was one is taken.
    pub(crate) fn is_reader(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| !member.may_write)
    }

    /// Rounds are jittered by a fifth, so that members that started together do not meet in step.
    pub(crate) fn next_round(&mut self) -> Moment {
        let round = self.config.round.as_nanos() as u64;
        let jitter = self.rng.random_range(0..=round * 2 / 5);
        self.now + std::time::Duration::from_nanos(round - round / 5 + jitter)
    }

    /// Looks at who is known to hold what we hold, and tells what changed in that.
    pub(crate) fn check_agreement(&mut self, digest_changed: bool) {
        let look = self.look_at_members();
        for turn in self.agreement.turn(look, digest_changed, self.now) {
            let digest = self.replica.digest();
            self.event(match turn {
                Turn::Converged { members, after } => Event::Converged { digest, members, after },
                Turn::Diverged => Event::Diverged { digest },
            });
        }
    }

    /// A member that is alive and not connected counts as one that differs: nothing is known of it.
    fn look_at_members(&mut self) -> Look {
        self.refresh_peers();
        match self.alive_others {
            0 => Look::Alone,
            // None of them is a peer twice, and none is ourselves.
            others if self.peers.in_step_alive() == others => Look::Together { members: others + 1 },
            _ => Look::Apart,
        }
    }
}

/// Membership and connections.
impl Gossip {
    fn on_members(&mut self, members: &[Member]) {
        let named: BTreeSet<NodeId> = members.iter().map(|member| member.node).collect();
        let gone: Vec<NodeId> = self.members.keys().copied().filter(|id| !named.contains(id)).collect();
        self.on_members_changed(members, &gone);
    }

    fn on_members_changed(&mut self, members: &[Member], gone: &[NodeId]) {
        self.spent.clear();
        for member in members {
            let Member { node, alive, generation, may_write } = *member;
            let clock_told = self.members.get(&node).and_then(|before| before.clock_told);
            self.set_member(node, Some(MemberState { alive, generation, may_write, clock_told }));
        }
        for node in gone {
            self.set_member(*node, None);
        }
        self.check_agreement(false);
    }

    fn set_member(&mut self, node: NodeId, after: Option<MemberState>) {
        let before = match after {
            Some(state) => self.members.insert(node, state),
            None => self.members.remove(&node),
        };
        let counts = |member: Option<MemberState>| {
            usize::from(node != self.me.node && member.is_some_and(|member| member.alive))
        };
        self.alive_others = self.alive_others + counts(after) - counts(before);
        self.replica.set_present(node, after.filter(|member| member.alive).map(|member| member.generation));
        self.peers.touch(&node);
    }

    fn on_peer_up(&mut self, peer: NodeId) {
        if peer == self.me.node {
            return;
        }
        // With another new one: what was known before says nothing about what they bring.
        let is_new = |peer: &Peer| peer.exchange.is_some() && peer.met.is_none();
        let is_busy = self.peers.iter().any(|(_, peer)| is_new(peer) || !peer.chunks.is_empty());
        self.peers.insert(peer, Peer::default());
        self.plant(peer);
        self.asked_in_vain.remove(&peer);
        // It may be another process than before, whose summaries start over.
        self.check_agreement(false);
        if is_busy {
            self.look_later(peer);
        } else {
            self.begin_exchange(peer);
        }
    }

    fn on_peer_down(&mut self, peer: NodeId) {
        let Some(gone) = self.peers.remove(&peer) else { return };
        self.close_traces();
        self.spent.clear();
        if self.fetch_from() == Some(peer) {
            self.drop_fetch(crate::Abandoned::PeerDown);
        }
        if gone.exchange.is_some() || !gone.chunks.is_empty() {
            let why = crate::Abandoned::PeerDown;
            self.event(Event::ExchangeAbandoned { peer, why });
        }
        self.check_agreement(false);
        self.pull();
    }

    fn on_send_refused(&mut self, to: NodeId, lane: Lane) {
        if lane == Lane::Bulk {
            self.abandon(to, crate::Abandoned::LaneFull);
            if self.fetch_from() == Some(to) {
                self.drop_fetch(crate::Abandoned::LaneFull);
            }
        }
    }

    fn on_message(&mut self, from: NodeId, message: Message) {
        if !self.peers.contains_key(&from) {
            // A frame that outlived its connection. What it says would outlive what was forgotten with that.
            return;
        }
        match message {
            Message::Push { entries } => self.on_push(from, entries),
            Message::Relay { entries } => self.on_relay(from, entries),
            Message::Prune => self.on_prune(from),
            Message::Graft => self.on_graft(from),
            Message::Ack { clock } => self.on_ack(from, &clock),
            Message::Summary { summary, ask } => self.on_summary(from, summary, ask),
            Message::Compare { number, both, unsettled } => self.on_compare(from, number, both, unsettled),
            Message::Same { exchange, unsettled } => self.on_same(from, exchange, unsettled),
            Message::Report(report) => self.on_report(from, report),
            Message::Tell { symbols } => self.on_tell(from, symbols),
            Message::Want { chunk, spans } => self.on_want(from, chunk, &spans),
            Message::Chunk { chunk, entries, cut } => self.on_chunk(from, chunk, entries, cut),
            Message::Open { number, symbols, repair } => self.on_open(from, number, symbols, repair),
            Message::Promise { number, promise, cells, symbols } => {
                self.on_promise(from, number, promise, cells, symbols);
            }
            Message::Further { number, have, first, symbols } => {
                self.on_further(from, number, have, first, symbols);
            }
            Message::Symbols { number, symbols } => self.on_symbols(from, number, symbols),
            Message::Cells { number, ids, keys } => self.on_cells(from, number, &ids, keys),
            Message::More { number, after } => self.on_more(from, number, after.as_ref()),
            Message::Trace { number, dot } => self.on_trace_asked(from, number, dot),
            Message::Traced { number, holds, arrival } => self.on_traced(from, number, holds, arrival),
            Message::Slice { number, slice, left, stale } => self.on_slice(from, number, slice, left, stale),
        }
    }

    fn on_tick(&mut self) {
        let now = self.now;
        for (request, written) in self.waits.expire(now) {
            self.reply(request, Ok(written));
        }
        self.close_traces();
        self.expire_exchanges();
        self.expire_chunks();
        self.expire_grafts();
        self.expire_fetch();
        if self.summary_due.is_some_and(|at| at <= now) {
            self.tell_summary();
        }
        if self.round_at <= now {
            self.round_at = self.next_round();
            self.round();
            self.cut_log();
            self.look_for_trouble();
            self.look_for_expired();
        }
        self.stage();
        self.look_out_of_turn();
        self.pull_again_at = self.pull_again_at.filter(|at| *at > now);
        self.pull();
    }

    /// `peer` is known to hold more than before: there may be more to ask of it, and clients may have waited for that.
    pub(crate) fn on_known(&mut self, peer: NodeId) {
        self.spent.remove(&peer);
        if !self.members.contains_key(&peer) {
            return;
        }
        let Some(known) = self.peers.get(&peer).map(|peer| &peer.known) else { return };
        for (request, written) in self.waits.learn(peer, known, self.now) {
            self.reply(request, Ok(written));
        }
    }
}

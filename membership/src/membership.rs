//! The state machine: what comes in, and what is believed of it.
//!
//! This file holds the state, the dispatch of inputs, and what is shown. Each further noun has its own file with
//! its part of `impl Membership`: merging, observing, investigating, verifying, spreading, exchanging,
//! dialling, calling the roll, and what concerns ourselves.

use crate::agenda::{Agenda, Task};
use crate::book::Book;
use crate::checking::Held;
use crate::config::{Config, Identity, Recovered};
use crate::dialing::Dialer;
use crate::estimate::{Arrivals, LossRate, RoundTrip, Stalls};
use crate::event::Event;
use crate::evidence::{Cases, Evidence, Noted};
use crate::exchange::Exchange;
use crate::forgetting::Orders;
use crate::investigation::Investigation;
use crate::member::Member;
use crate::mesh::Mesh;
use crate::message::{Found, Message};
use crate::news::News;
use crate::ourselves::Refutation;
use crate::port::{Input, Output};
use crate::reach::Calls;
use crate::record::{Record, Standing};
use crate::spacing::Spacing;
use crate::verification::Verification;
use crate::version::State;
use crate::view::View;
use chinwag_base::{Digest, Incarnation, Lane, Moment, NodeId};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What is known of the path to one peer.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) connected: bool,
    pub(crate) heard: Option<Moment>,
    /// When a verifier last said that this peer lives.
    pub(crate) vouched: Option<Moment>,
    pub(crate) rtt: RoundTrip,
    pub(crate) arrivals: Arrivals,
    /// The number of the last ping.
    pub(crate) sequence: u64,
    /// Pings without an ack: sequence and time, oldest first.
    pub(crate) unanswered: VecDeque<(u64, Moment)>,
    /// When a ping of ours last missed its time-out.
    pub(crate) missed: Option<Moment>,
    /// When we last told this peer, out of turn, what is believed of it.
    pub(crate) told: Option<Moment>,
    /// When the connection opened.
    pub(crate) opened: Option<Moment>,
    /// Whether we dialled it.
    pub(crate) dialled: bool,
    /// When another protocol last asked for it.
    pub(crate) wanted: Option<Moment>,
    /// When we last greeted it.
    pub(crate) greeted: Option<Moment>,
    /// Its view, as it said last.
    pub(crate) digest: Option<Digest>,
}

/// Who is alive, as one node believes it. See the crate's page for the algorithm, and for the order of calls.
#[derive(Debug)]
pub struct Membership {
    pub(crate) config: Config,
    pub(crate) me: Identity,
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) standing: Standing,
    pub(crate) advertised: Duration,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) agenda: Agenda,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) view: View,
    pub(crate) links: BTreeMap<NodeId, Link>,
    /// Links that are connected.
    pub(crate) connections: usize,
    pub(crate) subjects: BTreeSet<NodeId>,
    pub(crate) mesh: Mesh,
    pub(crate) spacing: Spacing,
    pub(crate) loss: LossRate,
    pub(crate) stalls: Stalls,
    pub(crate) stalled_until: Option<Moment>,
    /// When we first asked somebody something since we last heard anybody.
    pub(crate) unheard_since: Option<Moment>,
    pub(crate) investigations: BTreeMap<NodeId, Investigation>,
    pub(crate) held: BTreeMap<NodeId, Held>,
    pub(crate) verifications: BTreeMap<NodeId, Vec<Verification>>,
    pub(crate) news: News,
    pub(crate) exchange: Exchange,
    pub(crate) dialer: Dialer,
    pub(crate) book: Book,
    pub(crate) refutation: Refutation,
    pub(crate) cases: Cases,
    pub(crate) calls: Calls,
    pub(crate) orders: Orders,
}

impl Membership {
    /// A membership that knows itself, and what an earlier process life remembered. `seed` draws its random choices.
    pub fn new(config: Config, me: Identity, recovered: Recovered, seed: u64, now: Moment) -> Self {
        let id = me.keypair.id();
        let mut this = Membership {
            config,
            me,
            id,
            incarnation: Incarnation::new(1),
            standing: Standing::Alive,
            advertised: Duration::ZERO,
            rng: ChaCha8Rng::seed_from_u64(seed),
            agenda: Agenda::default(),
            outputs: VecDeque::new(),
            view: View::new(id),
            links: BTreeMap::new(),
            connections: 0,
            subjects: BTreeSet::new(),
            mesh: Mesh::default(),
            spacing: Spacing::default(),
            loss: LossRate::default(),
            stalls: Stalls::default(),
            stalled_until: None,
            unheard_since: None,
            investigations: BTreeMap::new(),
            held: BTreeMap::new(),
            verifications: BTreeMap::new(),
            news: News::default(),
            exchange: Exchange::default(),
            dialer: Dialer::default(),
            book: Book::default(),
            refutation: Refutation::default(),
            cases: Cases::default(),
            calls: Calls::default(),
            orders: Orders::default(),
        };
        this.sign_own_record(now);
        for record in recovered.members {
            this.remember(now, record);
        }
        this.agenda.set(Task::Housekeeping, now + HOUSEKEEPING);
        this.settle(now);
        this
    }

    /// The only way in. Drain [`Membership::poll_output`] after it.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.notice_lag(now);
        match input {
            Input::Tick => self.run_due(now),
            Input::Message { from, message } => self.on_message(now, from, message),
            Input::Heard { peer } => self.sign_of_life(now, peer),
            Input::Connected { peer } => self.on_connected(now, peer),
            Input::Disconnected { peer, reason } => self.on_disconnected(now, peer, reason),
            Input::DialFailed { peer, why } => self.on_dial_failed(now, peer, why),
            Input::Wanted { peer } => self.on_wanted(now, peer),
            Input::Addresses(addresses) => self.on_addresses(now, addresses),
            Input::Tags(tags) => self.on_tags(now, tags),
            Input::Seed { peer, addresses } => self.on_seed(now, peer, addresses),
            Input::Stalled { lasted } => self.on_stalled(now, lasted),
            Input::Reach { request } => self.on_reach(now, request),
            Input::Forget { request, id } => {
                let result = self.on_forget(now, id);
                self.emit(Output::Forgotten { request, result });
            }
            Input::Leave => self.on_leave(now),
        }
        self.settle(now);
    }

    /// The only way out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Membership::handle`] with [`Input::Tick`].
    pub fn next_deadline(&self) -> Option<Moment> {
        self.agenda.next()
    }

    /// Our id.
    pub fn me(&self) -> NodeId {
        self.id
    }

    /// Our own newest record.
    pub fn record(&self) -> &Arc<Record> {
        &self.view.get(&self.id).expect("we are in our own view, because `new` puts us there").record
    }

    /// Every member in the order of ids, ourselves included.
    pub fn members(&self, now: Moment) -> impl Iterator<Item = Member> + '_ {
        self.view.iter().map(move |(id, _)| self.show(now, id))
    }

    /// One member.
    pub fn member(&self, now: Moment, id: &NodeId) -> Option<Member> {
        self.view.get(id).map(|_| self.show(now, id))
    }

    /// The round trip to a peer, if it was measured.
    pub fn round_trip(&self, peer: &NodeId) -> Option<Duration> {
        self.links.get(peer)?.rtt.smoothed()
    }

    /// Members of which something changed since the last call: who came, whose state or record is another one, who is
    /// shown no more. Whoever tells others of members need not tell of all of them each time.
    pub fn take_changed(&mut self) -> BTreeSet<NodeId> {
        self.view.take_changed()
    }

    /// Other members that are alive or suspect.
    pub fn alive_peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.view.iter().filter(|(id, entry)| **id != self.id && entry.is_present()).map(|(id, _)| *id)
    }

    /// Peers with an open connection.
    pub fn connected(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.links.iter().filter(|(_, link)| link.connected).map(|(id, _)| *id)
    }

    /// Whether a connection to that peer is open.
    pub fn is_connected(&self, peer: &NodeId) -> bool {
        self.links.get(peer).is_some_and(|link| link.connected)
    }

    /// The digest of the view: equal digests mean equal sets of members, generations and incarnations.
    pub fn digest(&self) -> Digest {
        self.view.digest()
    }

    /// What counted for and against a member of late, oldest first.
    pub fn evidence(&self, id: &NodeId) -> impl Iterator<Item = &Noted> {
        self.cases.of(id)
    }

    /// The measured probability that a ping of ours to a live peer fails, both ways together.
    pub fn loss(&self) -> f64 {
        self.loss.get()
    }

    /// The mean stall that we admit, so that others give us that much more time.
    pub fn stall_mean(&self) -> Duration {
        self.advertised
    }

    /// The phi of a verdict.
    pub fn phi_down(&self) -> f64 {
        self.config.phi_down
    }

    fn run_due(&mut self, now: Moment) {
        while let Some(task) = self.agenda.pop_due(now) {
            match task {
                Task::Ping(peer) => self.take_turn(now, peer),
                Task::Missed(peer) => self.on_missed(now, peer),
                Task::Round(subject) => self.start_round(now, subject),
                Task::Judge(subject) => self.judge(now, subject),
                Task::DialVerifiers(subject) => self.dial_verifiers(now, subject),
                Task::Check(subject) => self.check_suspect(now, subject),
                Task::Verified(subject) => self.end_verifications(now, subject),
                Task::Dial => self.dial_due(now),
                Task::Push => self.push(now),
                Task::Reconcile => self.reconcile_due(now),
                Task::Housekeeping => self.keep_house(now),
                Task::Refute => self.refute(now),
                Task::Calls => self.run_calls(now),
                Task::Book => self.write_due_pages(now),
                Task::Depart => {
                    self.write_all_pages(now);
                    self.emit(Output::Departed);
                }
            }
        }
    }

    fn on_message(&mut self, now: Moment, from: NodeId, message: Message) {
        if from == self.id || !message.is_within_bounds() {
            let why = if from == self.id { "from ourselves" } else { "more than a frame may hold" };
            return self.event(Event::FrameRefused { from, why });
        }
        self.sign_of_life(now, from);
        match message {
            Message::Ping(ping) => self.on_ping(now, from, ping),
            Message::Ack(ack) => self.on_ack(now, from, ack),
            Message::Verify(verify) => self.on_verify(now, from, verify),
            Message::Finding(finding) => self.on_finding(now, from, finding),
            Message::News(updates) => self.learn(now, from, updates),
            Message::View(updates) => self.learn_view(now, from, updates),
            Message::Want(ids) => self.on_want(from, &ids),
            Message::Hello(hello) => self.on_hello(now, from, hello),
            Message::Summary(summary) => self.on_summary(from, &summary),
            Message::Parts(parts) => self.on_parts(now, from, parts),
            Message::Call(call) => self.on_call(now, from, call),
            Message::Answer(answer) => self.on_answer(now, from, answer),
        }
    }

    /// A frame of that peer, or another proof that it is there.
    pub(crate) fn sign_of_life(&mut self, now: Moment, peer: NodeId) {
        self.notice_common_silence(now);
        self.unheard_since = None;
        if self.investigations.contains_key(&peer) {
            self.cases.note(now, peer, Evidence::Answered);
        }
        if let Some(link) = self.links.get_mut(&peer) {
            link.heard = Some(now);
            link.arrivals.sample(now);
        }
        self.alive_after_all(now, peer);
        if !self.calls.is_empty() {
            self.hear_for_calls(now, peer);
        }
    }

    /// Ends what was under way against a member that shows a sign of life, to us or to a verifier.
    pub(crate) fn alive_after_all(&mut self, now: Moment, id: NodeId) {
        let idle = self.held.is_empty() && self.investigations.is_empty() && self.verifications.is_empty();
        if idle
            && self.view.get(&id).is_some_and(|e| e.version.state == State::Alive && e.unverified.is_none())
        {
            return; // Nearly always: every frame is a sign of life.
        }
        let accused =
            self.view.get(&id).is_some_and(|e| matches!(e.version.state, State::Suspect | State::Down));
        self.close_investigation(id);
        self.answer_verifications(id, Found::Life);
        if accused {
            self.tell(now, id, None);
        }
        if self.view.set_unverified(&id, None, now) {
            self.news.mark(id);
            self.cases.note(now, id, Evidence::Answered);
            self.show_alive(id);
        }
    }

    /// What follows from a change, once per input.
    fn settle(&mut self, now: Moment) {
        if self.view.take_moved() {
            self.choose_subjects(now);
            self.fit_mesh(now);
        }
        self.check_held(now);
        self.schedule_push(now);
        self.schedule_dials();
    }

    pub(crate) fn rto(&self, peer: &NodeId) -> Duration {
        let initial = self.config.profile.rto_initial();
        self.links.get(peer).map_or(initial, |link| link.rtt.rto(initial))
    }

    pub(crate) fn send(&mut self, to: NodeId, lane: Lane, message: Message) {
        if self.is_connected(&to) {
            self.emit(Output::Send { to, lane, message });
        }
    }

    pub(crate) fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.emit(Output::Event(event));
    }

    fn show(&self, now: Moment, id: &NodeId) -> Member {
        let entry = self.view.get(id).expect("an entry, because ids come from the view");
        let statement = entry.record.statement();
        let link = self.links.get(id);
        let investigation = self.investigations.get(id);
        let floor = self.config.profile.stall_floor();
        let observed = self.subjects.contains(id);
        let history = link.filter(|_| observed).map_or(0.0, |link| link.arrivals.phi(now, floor));
        let phi = match investigation {
            Some(_) => self.phi_of(now, id),
            // The history alone accuses nobody.
            None if entry.is_present() && entry.version.state == State::Alive => {
                history.min(self.config.phi_suspect)
            }
            None => entry.accuser.as_deref().map_or(history, |(_, phi)| *phi),
        };
        let mut suspected_by: Vec<NodeId> = entry.accuser.as_deref().into_iter().map(|(by, _)| *by).collect();
        if entry.version.state != State::Alive && investigation.is_some() && !suspected_by.contains(&self.id)
        {
            suspected_by.push(self.id);
        }
        Member {
            id: *id,
            name: statement.name.clone(),
            name_conflict: entry.is_present() && self.view.namesake(id).is_some(),
            state: if entry.is_lost() { State::Down } else { entry.version.state },
            unverified: entry.unverified.is_some(),
            generation: entry.version.generation,
            incarnation: entry.version.incarnation,
            phi,
            overdue: entry.version.state == State::Alive && !entry.is_lost() && phi >= self.config.phi_down,
            rtt: link.and_then(|link| link.rtt.smoothed()),
            heard: link.and_then(|link| link.heard).map(|heard| now.since(heard)),
            addresses: statement.addresses.clone(),
            rto: self.rto(id),
            tags: statement.tags.clone(),
            role: entry.record.role(),
            suspected_by,
            down_in: self.down_in(now, id),
            stall_mean: entry.stall_mean(floor),
            connected: link.is_some_and(|link| link.connected),
            observed,
        }
    }
}

/// How often rare things are looked at.
pub(crate) const HOUSEKEEPING: Duration = Duration::from_secs(10);

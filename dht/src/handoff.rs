//! Owners keep each other whole: comparison, offers and hand-off.
//!
//! Each two members *share* the records that both own. Each keeps, for every other member, the sum of the digests of what
//! they share, so that one small message tells whether they hold the same. Sums are kept up to date with every change; when
//! members come or go, ownership moves and they are counted anew, a slice at a time.
//!
//! When the membership has settled, and now and then in any case, a node sends its sums ([`Message::Compare`]). Who finds
//! another sum offers what it has, by place and digest ([`Message::Offer`]); the other says what it lacks
//! ([`Message::Lack`]) and is sent it. Both sides do so, so that both end with the join. There is no walk and no
//! publisher: one exchange for each two owners brings up everything between them.
//!
//! A record that a node holds and does not own is a *stray*: its owners were late when it was put, or the membership has
//! changed. Strays are offered to every owner and dropped once all of them hold them.

mod shares;
mod strays;

use crate::Dht;
use crate::distance::Id;
use crate::event::Event;
use crate::load::Load;
use crate::message::{Message, Offered, Question, Refusal, Stored};
use crate::record::Record;
use chinwag_base::limits::{HAND_OFF_RECORDS_MAX, LOADS_MAX, OFFER_RECORDS_MAX, SCAN_RECORDS_MAX};
use chinwag_base::{Digest, Moment, NodeId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Owners that are handed records at once; the others wait.
const RECEIVERS_MAX: usize = 4;
/// An exchange in which nothing moves for so long is given up, until the next comparison.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How often strays are looked through.
const DROP_EVERY: Duration = Duration::from_secs(1);
/// How long nothing is handed to an owner that refused: its disk is full, or its share of records.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// An owner that refuses so many records one after the other has no room. One alone may be of a publisher whose share is
/// used up there, or have ended by its clock, and must not keep back those behind it.
const REFUSALS_MAX: usize = 16;
/// A difference that is not urgent is looked at again after this time: it may be a put that is under way.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How many records are shared, and the sum of their digests.
type Sum = (u64, Digest);

/// What is known of who shares what, and what is under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct HandOff {
    /// By member: what it and this node both own.
    sums: BTreeMap<NodeId, Sum>,
    /// What this node holds and does not own, and which owners have said that they hold it.
    strays: BTreeMap<Id, Stray>,
    /// Ownership has moved: when to begin to count anew.
    recount_at: Option<Moment>,
    /// Counting: up to where.
    counting: Option<Option<Id>>,
    compare_at: Moment,
    /// Members whose sum differed, and when to look again.
    look_again: BTreeMap<NodeId, Moment>,
    /// When strays are looked through again.
    drop_at: Moment,
    /// Members that had no room, and until when nothing is handed to them.
    refused_until: BTreeMap<NodeId, Moment>,
    /// Who waits to be handed records; those too that had no room, until they are asked again.
    waiting: BTreeSet<NodeId>,
    receivers: BTreeMap<NodeId, Receiver>,
}

#[derive(Debug, Clone, Default)]
struct Stray {
    held_by: BTreeSet<NodeId>,
    /// When the last owner said so.
    complete: Option<Moment>,
}

/// An owner that is being handed records.
#[derive(Debug, Clone)]
struct Receiver {
    /// Everything up to here was offered.
    cursor: Option<Id>,
    /// Everything was.
    offered_all: bool,
    /// Places and digests.
    offer: Option<(Question, Vec<(Id, Digest)>)>,
    lacking: VecDeque<Id>,
    loading: BTreeSet<Id>,
    sent: BTreeMap<Question, (Id, Digest)>,
    given: usize,
    /// Records in a row that were refused for what they are.
    refusals: usize,
    moved: Moment,
}

impl HandOff {
    pub(crate) fn new(compare_at: Moment) -> Self {
        HandOff { compare_at, counting: Some(None), ..HandOff::default() }
    }

    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let can_go_on = self.next_in_line().is_some() || self.receivers.values().any(Receiver::can_go_on);
        if self.counting.is_some() || self.is_counted() && can_go_on {
            return Some(Moment::ZERO);
        }
        let idle = self.receivers.values().map(|receiver| receiver.moved + IDLE_MAX);
        let again = self.look_again.values().copied();
        let refused = self.refused_until.iter().filter(|(peer, _)| self.waiting.contains(peer));
        let again = again.chain(refused.map(|(_, until)| *until));
        idle.chain(again).chain(self.recount_at).chain([self.compare_at]).min()
    }

    pub(crate) fn unfinished(&self) -> usize {
        let recount = usize::from(self.recount_at.is_some() || self.counting.is_some());
        let strays = self.strays.values().filter(|stray| stray.complete.is_none()).count();
        recount + self.waiting.len() + self.receivers.len() + strays
    }

    /// Who is handed records next. One that is a receiver waits until it is done, and is then handed what has changed.
    fn next_in_line(&self) -> Option<NodeId> {
        let waits =
            |peer: &&NodeId| !self.receivers.contains_key(peer) && !self.refused_until.contains_key(peer);
        if self.receivers.len() < RECEIVERS_MAX { self.waiting.iter().find(waits).copied() } else { None }
    }

    fn is_counted(&self) -> bool {
        self.recount_at.is_none() && self.counting.is_none()
    }
}

impl Receiver {
    fn new(now: Moment) -> Self {
        Receiver {
            cursor: None,
            offered_all: false,
            offer: None,
            lacking: VecDeque::new(),
            loading: BTreeSet::new(),
            sent: BTreeMap::new(),
            given: 0,
            refusals: 0,
            moved: now,
        }
    }

    fn under_way(&self) -> usize {
        self.loading.len() + self.sent.len()
    }

    /// Whether the next offer is due: the last one is dealt with.
    fn can_go_on(&self) -> bool {
        self.offer.is_none() && self.lacking.is_empty() && self.under_way() == 0
    }
}

/// Offers and what follows from them.
impl Dht {
    pub(crate) fn tick_hand_off(&mut self) {
        if self.hand_off.recount_at.is_some_and(|at| at <= self.now) {
            self.hand_off.recount_at = None;
            self.hand_off.counting = Some(None);
            self.hand_off.sums.clear();
            self.hand_off.strays.clear();
        }
        self.count_on();
        if self.hand_off.compare_at <= self.now {
            self.hand_off.compare_at = self.now + self.config.compare_every;
            if self.hand_off.is_counted() {
                self.compare(false);
                let owners: BTreeSet<NodeId> = self
                    .hand_off
                    .strays
                    .keys()
                    .take(SCAN_RECORDS_MAX)
                    .flat_map(|id| self.owners(id))
                    .collect();
                self.hand_off.waiting.extend(owners);
            }
        }
        let now = self.now;
        let again: Vec<NodeId> =
            self.hand_off.look_again.iter().filter(|(_, at)| **at <= now).map(|(peer, _)| *peer).collect();
        for peer in again {
            // It stays noted: the answer to this decides.
            self.hand_off.look_again.insert(peer, now + self.config.compare_every);
            self.send_sum(peer, false, false);
        }
        self.hand_off.receivers.retain(|_, receiver| receiver.moved + IDLE_MAX > now);
        self.hand_off.refused_until.retain(|_, until| *until > now);
        self.hand_on();
        self.drop_strays();
    }

    /// Goes on with every receiver, and begins with those who wait.
    fn hand_on(&mut self) {
        if !self.hand_off.is_counted() {
            return;
        }
        let now = self.now;
        while let Some(peer) = self.hand_off.next_in_line() {
            self.hand_off.waiting.remove(&peer);
            self.reach(peer);
            if peer != self.me && self.peers.contains_key(&peer) {
                self.hand_off.receivers.insert(peer, Receiver::new(now));
            }
        }
        let peers: Vec<NodeId> = self.hand_off.receivers.keys().copied().collect();
        for peer in peers {
            self.offer(peer);
            self.pass_on(peer);
        }
    }

    /// The next offer to `peer`, or the end. It looks at a slice of the records only, and goes on at the next tick.
    fn offer(&mut self, peer: NodeId) {
        let Some(receiver) = self.hand_off.receivers.get(&peer).filter(|receiver| receiver.can_go_on())
        else {
            return;
        };
        if receiver.offered_all {
            if receiver.given > 0 {
                let records = receiver.given;
                self.event(Event::HandedOff { to: peer, records });
            }
            self.hand_off.receivers.remove(&peer);
            return;
        }
        let mut cursor = receiver.cursor;
        let mut looked_at = 0;
        let mut offered = Vec::new();
        for (id, _, digest) in self.store.after(cursor).take(SCAN_RECORDS_MAX.min(OFFER_RECORDS_MAX)) {
            looked_at += 1;
            cursor = Some(*id);
            if self.owners(id).contains(&peer) {
                offered.push((*id, digest));
            }
        }
        let question = (!offered.is_empty()).then(|| self.question());
        let now = self.now;
        let Some(receiver) = self.hand_off.receivers.get_mut(&peer) else { return };
        receiver.cursor = cursor;
        receiver.offered_all = looked_at < SCAN_RECORDS_MAX.min(OFFER_RECORDS_MAX);
        receiver.moved = now;
        if let Some(question) = question {
            receiver.offer = Some((question, offered.clone()));
            self.send(peer, Message::Offer { question, records: Offered(offered) });
        }
    }

    /// Says which of the offered records are lacking here.
    pub(crate) fn on_offer(&mut self, from: NodeId, question: Question, records: Vec<(Id, Digest)>) {
        let wall = self.wall();
        let lacking = |(id, digest): &(Id, Digest)| {
            self.store.get(id, wall).is_none() || self.store.digest(id) != Some(*digest)
        };
        let positions = records.iter().enumerate().filter(|(_, offered)| lacking(offered));
        let positions = positions.map(|(position, _)| position as u16).collect();
        self.send(from, Message::Lack { question, positions });
    }

    pub(crate) fn on_lack(&mut self, from: NodeId, question: Question, positions: &[u16]) {
        let now = self.now;
        let Some(receiver) = self.hand_off.receivers.get_mut(&from) else { return };
        let Some((_, offered)) = receiver.offer.take_if(|(offer, _)| *offer == question) else { return };
        receiver.moved = now;
        let lacking: BTreeSet<u16> = positions.iter().copied().collect();
        let (lacks, holds): (Vec<_>, Vec<_>) =
            offered.into_iter().enumerate().partition(|(position, _)| lacking.contains(&(*position as u16)));
        receiver.lacking = lacks.into_iter().map(|(_, (id, _))| id).collect();
        for (_, (id, digest)) in holds {
            self.held_by(id, digest, from);
        }
        self.hand_on();
    }

    /// Sends what is lacking, a few at a time.
    fn pass_on(&mut self, peer: NodeId) {
        loop {
            let Some(receiver) = self.hand_off.receivers.get_mut(&peer) else { return };
            if receiver.under_way() >= HAND_OFF_RECORDS_MAX || self.loads.len() >= LOADS_MAX {
                return;
            }
            let Some(id) = receiver.lacking.pop_front() else { return };
            match self.store.get(&id, self.wall()).map(|held| held.to_record(None)) {
                Some(Some(record)) => self.send_on(peer, id, record),
                Some(None) => {
                    if let Some(receiver) = self.hand_off.receivers.get_mut(&peer) {
                        receiver.loading.insert(id);
                    }
                    self.load(id, Load::HandOff { to: peer, id });
                }
                // It has ended.
                None => {}
            }
        }
    }

    fn send_on(&mut self, peer: NodeId, id: Id, record: Record) {
        let question = self.question();
        let Some(digest) = self.store.digest(&id) else { return };
        if let Some(receiver) = self.hand_off.receivers.get_mut(&peer) {
            receiver.sent.insert(question, (id, digest));
            self.send(peer, Message::Put { question, record, passed_on: true });
        }
    }

    pub(crate) fn hand_off_loaded(&mut self, to: NodeId, id: Id, record: Option<Record>) {
        let Some(receiver) = self.hand_off.receivers.get_mut(&to) else { return };
        if receiver.loading.remove(&id)
            && let Some(record) = record
        {
            self.send_on(to, id, record);
        }
        self.hand_on();
    }

    /// Whether the answer was to a hand-off.
    pub(crate) fn hand_off_stored(&mut self, from: NodeId, question: Question, verdict: &Stored) -> bool {
        let now = self.now;
        let Some(receiver) = self.hand_off.receivers.get_mut(&from) else { return false };
        let Some((id, digest)) = receiver.sent.remove(&question) else { return false };
        receiver.moved = now;
        match verdict {
            Stored::Refused(Refusal::Record(_)) if receiver.refusals + 1 < REFUSALS_MAX => {
                receiver.refusals += 1;
            }
            // What it has no room for now it will not have room for in a moment. It stays in line: a comparison that
            // comes meanwhile changes nothing, and the one after it may be too late.
            Stored::Refused(_) => {
                self.hand_off.receivers.remove(&from);
                self.hand_off.waiting.insert(from);
                self.hand_off.refused_until.insert(from, now + REFUSED_FOR);
            }
            Stored::Alone | Stored::Merged(_) => {
                receiver.given += 1;
                receiver.refusals = 0;
                self.held_by(id, digest, from);
            }
        }
        self.hand_on();
        true
    }

    pub(crate) fn hand_off_peer_up(&mut self, peer: NodeId) {
        // What waits for this owner waits no longer, and what it missed while it was away is found.
        if self.hand_off.is_counted() {
            self.send_sum(peer, true, false);
            if !self.hand_off.strays.is_empty() {
                self.hand_off.waiting.insert(peer);
            }
        }
    }

    pub(crate) fn hand_off_peer_down(&mut self, peer: NodeId) {
        self.hand_off.receivers.remove(&peer);
        self.hand_off.look_again.remove(&peer);
    }

    /// The newest question of a hand-off to `peer`.
    pub(crate) fn hand_off_question(&self, peer: NodeId) -> Option<Question> {
        let receiver = self.hand_off.receivers.get(&peer)?;
        let offer = receiver.offer.as_ref().map(|(question, _)| *question);
        receiver.sent.keys().next_back().copied().max(offer)
    }

    /// The bulk lane is full: the message just sent was lost. The exchange begins anew at the next comparison.
    pub(crate) fn hand_off_refused(&mut self, peer: NodeId) {
        if self.hand_off.receivers.remove(&peer).is_some() {
            self.hand_off.look_again.insert(peer, self.now + LOOK_AGAIN);
        }
    }
}

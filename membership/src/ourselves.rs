//! What concerns ourselves: our record, refutation, our stalls, our goodbye.

use crate::Event;
use crate::agenda::Task;
use crate::config::Identity;
use crate::estimate::STALL_MEAN_MAX;
use crate::membership::{HOUSEKEEPING, Membership};
use crate::message::{Message, Update};
use crate::record::{Record, Standing};
use crate::rumour::{self, OnSelf};
use crate::version::Version;
use chinwag_base::limits::ADDRESSES_MAX;
use chinwag_base::{Address, Incarnation, Lane, Moment, NodeId, Tags};
use std::sync::Arc;
use std::time::Duration;

/// A shorter lag of our own timers proves nothing either way.
const LAG_MIN: Duration = Duration::from_millis(100);
/// Silence from everybody at once, for this many periods after we have asked, is our own deafness.
const DEAF_PERIODS: u32 = 3;
/// One other alone may really be silent. With two, evidence is void in any case: if both were silent, that costs time,
/// and otherwise one lost probe of the only verifier would confirm what our own deafness has collected.
const DEAF_PEERS_MIN: usize = 2;
/// With fewer others than this, all of them may really have been silent, and a stall of ours is not admitted for it.
const ADMIT_PEERS_MIN: usize = 3;
/// A change of the admitted stall smaller than this part is not worth a new record.
const STALL_CHANGE_MIN: u32 = 4;
/// Goodbyes go to all up to this many members, to observers and three others beyond.
const FAREWELLS_ALL: usize = 16;
/// The process stays this long after its goodbyes, to let them out.
const FAREWELL: Duration = Duration::from_millis(100);

/// Refutations are at least this far apart. An honest accuser of the new incarnation needs longer than this anyway.
const REFUTATION_SPACING: Duration = Duration::from_millis(300);

/// What we have answered to accusations.
#[derive(Debug, Default)]
pub(crate) struct Refutation {
    last: Option<Moment>,
    /// The incarnation that is accused and has not been refuted yet.
    accused: Option<Incarnation>,
}

impl Membership {
    /// Signs what we say of ourselves at the present incarnation, and believes it.
    pub(crate) fn sign_own_record(&mut self, now: Moment) {
        self.advertised = self.stalls.mean(now, self.config.profile.stall_floor());
        let me: &Identity = &self.me;
        let record = Record::sign(&self.config, me, self.incarnation, self.standing, self.advertised);
        self.view.put(Arc::new(record), None, now);
        self.news.mark(self.id);
    }

    fn sign_anew(&mut self, now: Moment) {
        self.incarnation = self.incarnation.next();
        self.sign_own_record(now);
    }

    /// What somebody believes of us. Suspicion and death are refuted. Returns whether our "own" record, as they have
    /// it, is wanted: it is of a later life than ours.
    pub(crate) fn learn_of_ourselves(&mut self, now: Moment, from: NodeId, belief: Version) -> bool {
        match rumour::on_self(self.record().version(), belief) {
            OnSelf::Ignore => {}
            OnSelf::Later => return true,
            OnSelf::NeverHad => self.event(Event::FrameRefused {
                from,
                why: "an accusation of an incarnation that we never had",
            }),
            OnSelf::Refute => {
                self.refutation.accused = Some(belief.incarnation);
                self.refute(now);
            }
        }
        false
    }

    /// Refutes the last accusation, now or when the last refutation is old enough. Who accuses us in a loop makes
    /// us, and everybody whom our new records reach, work a few times a second at most.
    pub(crate) fn refute(&mut self, now: Moment) {
        let own = self.record().version();
        let Some(next) = self.refutation.accused.and_then(|accused| rumour::refutation(own, accused)) else {
            return;
        };
        if let Some(turn) =
            self.refutation.last.map(|last| last + REFUTATION_SPACING).filter(|turn| now < *turn)
        {
            return self.agenda.set(Task::Refute, turn);
        }
        self.refutation = Refutation { last: Some(now), accused: None };
        self.incarnation = next;
        self.sign_own_record(now);
        self.event(Event::SelfRefuted { incarnation: self.incarnation });
    }

    /// A record under our own key that we did not sign in this life.
    pub(crate) fn learn_of_own_key(&mut self, record: &Record) {
        let version = record.version();
        let later = version.generation > self.me.generation;
        if later && record.verify(self.config.overlay).is_ok() {
            self.event(Event::Conflict { generation: version.generation });
        }
    }

    pub(crate) fn on_addresses(&mut self, now: Moment, mut addresses: Vec<Address>) {
        addresses.truncate(ADDRESSES_MAX);
        if addresses != self.me.addresses && self.standing == Standing::Alive {
            self.me.addresses = addresses;
            self.sign_anew(now);
        }
    }

    /// Tags that would not be believed are not spread; whoever takes them from people checks them first.
    pub(crate) fn on_tags(&mut self, now: Moment, tags: Tags) {
        if tags != self.me.tags && self.standing == Standing::Alive && chinwag_base::tag::check(&tags).is_ok()
        {
            self.me.tags = tags;
            self.sign_anew(now);
        }
    }

    /// The driver measured that we did not run.
    pub(crate) fn on_stalled(&mut self, now: Moment, lasted: Duration) {
        if lasted < LAG_MIN {
            return;
        }
        // Our own timers may have measured the same stall a moment ago.
        let known = self.stalled_until.is_some_and(|end| now.since(end) < Duration::from_secs(1));
        self.void_evidence(now);
        if lasted >= self.config.profile.stall_floor() && !known {
            self.admit_stall(now, lasted);
        }
    }

    /// Timers that fire late mean that we did not run.
    pub(crate) fn notice_lag(&mut self, now: Moment) {
        let lag = self.agenda.next().map_or(Duration::ZERO, |due| now.since(due));
        let known = self.stalled_until.is_some_and(|end| now.since(end) < lag);
        if lag < LAG_MIN || known {
            return;
        }
        self.void_evidence(now);
        if lag >= self.config.profile.stall_floor() {
            self.admit_stall(now, lag);
        }
    }

    /// Silence from everybody at once is our own: a network that was away, a cable that was out. Whoever asked nobody
    /// was not left without an answer.
    pub(crate) fn notice_common_silence(&mut self, now: Moment) {
        let silence = self.unheard_since.map_or(Duration::ZERO, |asked| now.since(asked));
        let others = self.view.present_count().saturating_sub(1);
        if silence >= self.config.profile.period() * DEAF_PERIODS && others >= DEAF_PEERS_MIN {
            self.void_evidence(now);
            if others >= ADMIT_PEERS_MIN {
                self.admit_stall(now, silence);
            }
        }
    }

    fn void_evidence(&mut self, now: Moment) {
        self.stalled_until = Some(now);
        self.unheard_since = None;
        self.drop_verifications();
        self.void_investigations(now);
        let links: Vec<NodeId> = self.links.keys().copied().collect();
        for id in links {
            if let Some(link) = self.links.get_mut(&id) {
                link.unanswered.clear();
            }
            self.agenda.clear(Task::Missed(id));
        }
    }

    fn admit_stall(&mut self, now: Moment, lasted: Duration) {
        self.event(Event::SelfStalled { ms: u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX) });
        self.stalls.record(now, lasted);
        self.advertise(now);
        self.redial_all(now);
    }

    /// Tells others how long we are known to stall, if that has changed enough.
    fn advertise(&mut self, now: Moment) {
        let mean = self.stalls.mean(now, self.config.profile.stall_floor()).min(STALL_MEAN_MAX);
        if mean.abs_diff(self.advertised) > self.advertised / STALL_CHANGE_MIN
            && self.standing == Standing::Alive
        {
            self.sign_anew(now);
        }
    }

    /// Whether we were stalled so lately that what we do not hear may still be waiting.
    pub(crate) fn is_dazed(&self, now: Moment) -> bool {
        self.stalled_until.is_some_and(|end| now.since(end) < self.config.profile.rto_initial())
    }

    pub(crate) fn on_leave(&mut self, now: Moment) {
        if self.standing == Standing::Left {
            return;
        }
        self.standing = Standing::Left;
        self.sign_anew(now);
        let record = self.record().clone();
        let peers: Vec<NodeId> = self.connected().collect();
        let mut told = if peers.len() <= FAREWELLS_ALL { peers.clone() } else { self.sample(peers, 3) };
        let observers: Vec<NodeId> = self.spacing.observers().filter(|id| !told.contains(id)).collect();
        told.extend(observers);
        for peer in told {
            self.send(peer, Lane::Gossip, Message::News(vec![Update::Record(record.clone())]));
        }
        for subject in self.investigations.keys().copied().collect::<Vec<_>>() {
            self.close_investigation(subject);
        }
        self.drop_verifications();
        self.agenda.set(Task::Depart, now + FAREWELL);
    }

    pub(crate) fn keep_house(&mut self, now: Moment) {
        for (id, name) in self.view.reap(now, self.config.retention) {
            self.news.forget(&id);
            self.cases.forget(&id);
            if !self.is_connected(&id) {
                self.links.remove(&id);
            }
            if self.view.is_lost(&id) {
                self.plan_rare_dials(now, id);
            } else {
                self.dialer.drop_plan(&id);
                self.strike_page(id);
            }
            self.event(Event::Reaped { id, name, by: None });
        }
        while let Some(id) = self.view.drop_longest_away() {
            self.dialer.drop_plan(&id);
            self.strike_page(id);
        }
        if self.advertised > self.config.profile.stall_floor() {
            self.advertise(now);
        }
        self.look_at_orders(now);
        self.close_unused(now);
        self.agenda.set(Task::Housekeeping, now + HOUSEKEEPING);
    }
}

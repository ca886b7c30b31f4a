//! Merging what is heard into the view.
//!
//! Records are believed if they are newer, within bounds and signed by their subject; claims if they speak of the
//! very incarnation that is known; pointers never, they only say what to ask for. [`crate::rumour`] has the rules;
//! here is what follows from them.

use crate::Event;
use crate::checking::Held;
use crate::evidence::Evidence;
use crate::membership::Membership;
use crate::message::{Brief, Claim, Found, Message, Update};
use crate::port::Output;
use crate::record::{Record, RecordError};
use crate::rumour::{self, OnClaim, OnRecord};
use crate::version::State;
use crate::view::{Entry, Unverified};
use chinwag_base::{Lane, Moment, NodeId};
use std::sync::Arc;

impl Membership {
    /// Merges news, and asks for what was only pointed to.
    pub(crate) fn learn(&mut self, now: Moment, from: NodeId, updates: Vec<Update>) {
        let mut wanted = Vec::new();
        for update in updates {
            let id = update.id();
            let version = update.version();
            // An accusation is spread with full force: who is late to hear of a death may work with the dead.
            if version.state == State::Alive && self.view.belief(&id) == Some(version) {
                self.news.heard(id);
            }
            let wants = match update {
                Update::Record(record) => {
                    self.learn_record(now, from, record);
                    false
                }
                Update::Brief(brief) => self.learn_brief(now, from, brief),
                Update::Claim(claim) => self.learn_claim(now, from, claim),
                Update::Forget(order) => {
                    self.learn_order(now, from, order);
                    false
                }
            };
            if wants && self.exchange.may_want(id, now) {
                wanted.push(id);
            }
        }
        if !wanted.is_empty() {
            self.send(from, Lane::Gossip, Message::Want(wanted));
        }
    }

    /// Merges the view that a newcomer is given. Its members are no news to anybody else.
    pub(crate) fn learn_view(&mut self, now: Moment, from: NodeId, updates: Vec<Update>) {
        let is_new = |update: &Update| self.view.get(&update.id()).is_none();
        let new: Vec<NodeId> = updates.iter().filter(|update| is_new(update)).map(Update::id).collect();
        self.learn(now, from, updates);
        for id in new {
            if self.view.get(&id).is_some_and(|entry| entry.version.state == State::Alive) {
                self.news.forget(&id);
            }
        }
    }

    /// Believes a member's own words, if they are newer than what is known, and really its own.
    pub(crate) fn learn_record(&mut self, now: Moment, from: NodeId, record: Arc<Record>) {
        let id = record.id();
        if id == self.id {
            return self.learn_of_own_key(&record);
        }
        match rumour::on_record(self.view.known(&id), record.version()) {
            OnRecord::Old => self.vouch_for_record(now, &record),
            // Others may repeat what they heard long ago. The subject itself is told that it is held for dead, so
            // that it refutes.
            OnRecord::Ghost if from == id => self.tell(now, id, None),
            OnRecord::Ghost => {}
            OnRecord::Jump => self.event(Event::RecordRefused { from, about: id, why: RecordError::Jump }),
            OnRecord::Believe => match self.check_record(record) {
                Ok(record) => self.believe_record(now, from, record),
                Err(why) => self.event(Event::RecordRefused { from, about: id, why }),
            },
            OnRecord::Part => self.learn_goodbye_of_absent(now, from, record),
        }
    }

    /// Somebody else vouches for one that we only remembered.
    fn vouch_for_record(&mut self, now: Moment, record: &Arc<Record>) {
        let remembered = |entry: &Entry| {
            entry.unverified == Some(Unverified::Remembered)
                && entry.version == record.version()
                && entry.record == *record
        };
        if self.view.get(&record.id()).is_some_and(remembered) {
            self.vouch(now, record.id());
        }
    }

    /// One who is dialled from time to time will not come back in this life.
    fn learn_goodbye_of_absent(&mut self, now: Moment, from: NodeId, record: Arc<Record>) {
        let id = record.id();
        if let Err(why) = record.verify(self.config.overlay) {
            return self.event(Event::RecordRefused { from, about: id, why });
        }
        self.view.part_with(record, now);
        self.dialer.drop_plan(&id);
        self.strike_page(id);
    }

    fn check_record(&self, record: Arc<Record>) -> Result<Arc<Record>, RecordError> {
        let known = self.view.get(&record.id());
        if known.is_none() && self.view.is_full() {
            return Err(RecordError::Full);
        }
        self.config.pool.verify(record, self.config.overlay, known.map(|entry| entry.record.grant()))
    }

    fn believe_record(&mut self, now: Moment, from: NodeId, record: Arc<Record>) {
        let (id, version) = (record.id(), record.version());
        let known = self.view.get(&id);
        let was_alive = known.is_some_and(|e| {
            e.is_present() && e.version.state == State::Alive && e.version.generation == version.generation
        });
        let tags = &record.statement().tags;
        let is_tagged = known.is_some_and(|entry| entry.record.statement().tags != *tags)
            || known.is_none() && !tags.is_empty();
        let had_namesake = self.view.namesake(&id).is_some() && known.is_some();
        let namesake = self.view.put(record.clone(), None, now);
        self.news.mark(id);
        self.exchange.satisfied(&id);
        self.close_investigation(id);
        let (name, tags) = (record.statement().name.clone(), tags.clone());
        // A goodbye too: after a restart it must not be taken for a member that is lost.
        self.keep_page(now, record);
        if version.state == State::Left {
            self.dialer.drop_plan(&id);
            self.cases.note(now, id, Evidence::Left);
            return self.event(Event::Left { id, name });
        }
        self.answer_verifications(id, Found::Life);
        if !was_alive {
            let (generation, incarnation) = (version.generation, version.incarnation);
            self.cases.note(now, id, Evidence::Alive(incarnation));
            self.event(Event::Alive { id, name: name.clone(), generation, incarnation });
            self.plan_first_dial(now, id);
        }
        if is_tagged {
            self.event(Event::Tagged { id, name: name.clone(), tags });
        }
        if let Some(second) = namesake
            && !had_namesake
        {
            self.event(Event::NameConflict { name, first: id, second });
        }
        if from == id {
            self.sign_of_life(now, id);
        }
    }

    /// A pointer: returns whether the record behind it is wanted.
    pub(crate) fn learn_brief(&mut self, now: Moment, from: NodeId, brief: Brief) -> bool {
        let Brief { id, version } = brief;
        if id == self.id {
            return self.learn_of_ourselves(now, from, version);
        }
        let is_wanted = rumour::is_wanted(self.view.known(&id), version);
        let Some(entry) = self.view.get(&id) else { return is_wanted };
        if version.is_same_incarnation(&entry.version) {
            if version >= entry.version
                && version.state.is_present()
                && entry.unverified == Some(Unverified::Remembered)
            {
                self.vouch(now, id);
            }
            // Suspicion and death come with their claim, a goodbye with its signature.
            return is_wanted && !self.disbelieve(now, from, id, version.state);
        }
        is_wanted
    }

    /// An accusation: returns whether the record that it speaks of is wanted.
    fn learn_claim(&mut self, now: Moment, from: NodeId, claim: Claim) -> bool {
        let (id, version) = (claim.id, claim.version());
        if id == self.id {
            return self.learn_of_ourselves(now, from, version);
        }
        match rumour::on_claim(self.view.known(&id), version) {
            OnClaim::Ignore => return false,
            OnClaim::Want => return true,
            OnClaim::Believe if self.disbelieve(now, from, id, version.state) => return false,
            // It waited while we did not run, and may have been refuted since. If not, the next digest will say so.
            OnClaim::Believe if version.state == State::Down && self.is_dazed(now) => return false,
            OnClaim::Believe => {}
        }
        let phi = f64::from(claim.phi_tenths) / 10.0;
        if version.state == State::Down && self.may_check(&id) {
            self.hold(now, id, Held { by: claim.by, phi });
            return false;
        }
        self.accuse(now, id, version.state, claim.by, phi);
        if version.state == State::Suspect {
            if self.subjects.contains(&id) {
                self.open_investigation(now, id, now, 0);
            } else {
                self.plan_check(now, id);
            }
        }
        false
    }

    /// An accusation of one whom we hear ourselves, right now, is not believed but passed on to the accused, who
    /// refutes it for everybody.
    fn disbelieve(&mut self, now: Moment, from: NodeId, id: NodeId, state: State) -> bool {
        let fresh = (self.rto(&id) * 2).max(self.config.profile.stall_floor());
        let hears = self
            .links
            .get(&id)
            .is_some_and(|link| link.connected && link.heard.is_some_and(|heard| now.since(heard) < fresh));
        if !hears || state == State::Left || from == id {
            return false;
        }
        self.tell(now, id, Some(state));
        true
    }

    /// Believes an accusation, of our own or of another.
    pub(crate) fn accuse(&mut self, now: Moment, id: NodeId, state: State, by: NodeId, phi: f64) {
        let Some(entry) = self.view.get(&id) else { return };
        let (name, incarnation) = (entry.record.statement().name.clone(), entry.version.incarnation);
        let was_lost = entry.is_lost();
        self.view.accuse(&id, state, by, phi, now);
        self.cases.note(now, id, Evidence::Accused { state, by, phi });
        self.news.mark(id);
        if state == State::Suspect {
            return self.event(Event::Suspect { id, name, incarnation, by, phi });
        }
        self.event(Event::Down { id, name, incarnation, by, phi, unverified: false });
        self.lose(now, id);
        if !was_lost {
            self.plan_redial(now, id);
        }
    }

    /// Stops all that we do with a member that is gone.
    pub(crate) fn lose(&mut self, now: Moment, id: NodeId) {
        self.close_investigation(id);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.unanswered.clear();
        // A connection of a peer that is gone would be kept half-dead for minutes; one that speaks is kept.
        let silent = link.heard.is_none_or(|heard| now.since(heard) > self.config.profile.period());
        if link.connected && silent {
            self.emit(Output::Close { peer: id });
        }
    }

    /// One whom we only remembered is alive in somebody's view.
    fn vouch(&mut self, now: Moment, id: NodeId) {
        if self.view.set_unverified(&id, None, now) {
            self.cases.note(now, id, Evidence::Vouched);
            self.show_alive(id);
            self.plan_first_dial(now, id);
        }
    }

    pub(crate) fn show_alive(&mut self, id: NodeId) {
        let Some(entry) = self.view.get(&id) else { return };
        let name = entry.record.statement().name.clone();
        let (generation, incarnation) = (entry.version.generation, entry.version.incarnation);
        self.event(Event::Alive { id, name, generation, incarnation });
    }
}

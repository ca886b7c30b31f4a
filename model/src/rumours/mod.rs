//! The rumours about one member, as two others hear them in any order.
//!
//! SWIM (Das, Gupta, Motivala 2002, section 4.2) claims that incarnations and an order of precedence suffice: whatever
//! order rumours arrive in, beliefs end up the same, and one falsely accused can clear itself. Here a checker looks at
//! every run of the very functions by which the daemon decides, [`chinwag_membership::rumour`].
//!
//! # State
//!
//! One *subject* and two *observers* (see [`state`]). The rules look at one member at a time, so a run in which all
//! three are spoken of is three such runs side by side. The network is the set of all messages ever sent. It only
//! grows, and each stays deliverable, to anybody: that is delay, duplication and reordering; a loss is a delivery that
//! never happens. A liar has been at work: records that it signed itself, and an accusation of an incarnation that the
//! subject may reach one day, lie in the network from the start.
//!
//! # Actions
//!
//! The subject hears a claim, refutes it (later: refutations are spaced), changes its record, leaves, crashes, and
//! starts again. An observer hears a message, accuses the subject whenever it likes (a failure detector's mistakes are
//! all possible ones), and reaps one who is gone, or who is not heard.
//!
//! # Properties
//!
//! Those in [`Overlay::properties`], among them: beliefs only rise; when all is delivered, all agree; a subject that
//! runs is then alive to everybody.
//!
//! # What is exhaustive, and what is bounded
//!
//! All orders of all actions are tried, without a depth bound. Bounded are the changes, the accusations and the
//! restarts in one run ([`Bounds`]). Left out: an observer that starts anew, which forgets on purpose what was only
//! claimed; the checks that make an observer believe a claim *later* or not at all (a claim that is never delivered
//! covers them); and the end of a ghost's retention, after which no honest member repeats news that old.

pub mod mutants;
pub mod rules;
pub mod state;

use crate::papers::Papers;
use chinwag_base::{Generation, Incarnation};
use chinwag_membership::rumour::{Known, OnClaim, OnRecord, OnSelf};
use chinwag_membership::{State, Version};
use rules::Rules;
use state::{Message, Observer, Run, Subject};
use stateright::{Model, Property};
use std::sync::Arc;

/// Beliefs about the subject never fall; a suspicion that is forgotten with its subject apart.
pub const RISE: &str = "beliefs only rise";
/// Once nothing that is delivered changes anything, both observers believe the same.
pub const AGREE: &str = "when all is delivered, all agree";
/// Once nothing that is delivered changes anything, a subject that runs is alive to both.
pub const CLEARED: &str = "who runs is alive everywhere in the end";
/// Nobody believes in an incarnation or a life that the subject has not signed.
pub const OWN_WORD: &str = "nobody but the subject raises its incarnation";
/// Who was down or left is present again only with a later incarnation or life.
pub const STAY_DEAD: &str = "who is gone returns with a later incarnation only";
/// Who was reaped as down or left is in the view again only with a later incarnation or life.
pub const STAY_AWAY: &str = "reaped ghosts do not return";
/// An incarnation rises by one for each own change, and by one for each incarnation of this life that was accused.
pub const NOT_DRIVEN: &str = "no liar drives an incarnation up";

/// How much happens in one run.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Changes of the subject's record, a goodbye not counted.
    pub changes: u8,
    /// Accusations by the observers' failure detectors.
    pub accusations: u8,
    /// Restarts after a crash or a goodbye.
    pub restarts: u8,
}

/// The model: three members under some [`Rules`].
#[derive(Debug, Clone)]
pub struct Overlay<R> {
    rules: R,
    bounds: Bounds,
    papers: Arc<Papers>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// An observer hears a message.
    Deliver(usize, Message),
    /// An observer's failure detector accuses the subject.
    Accuse(usize, State),
    /// An observer takes the subject out of its view.
    Reap(usize),
    /// An observer clears the subject by itself. No sound rule allows it.
    Vouch(usize),
    /// The subject hears what is claimed of it.
    Hear(Version),
    /// The subject refutes what it has heard.
    Refute,
    /// The subject changes its record: a new address.
    Change,
    /// The subject says goodbye.
    Leave,
    /// The subject's process ends.
    Crash,
    /// It starts again.
    Restart,
}

/// A version of the subject's.
pub(crate) fn version(generation: u64, incarnation: u64, state: State) -> Version {
    Version { generation: Generation::new(generation), incarnation: Incarnation::new(incarnation), state }
}

impl<R: Rules> Overlay<R> {
    /// The model under `rules`, within `bounds`.
    pub fn new(rules: R, bounds: Bounds) -> Self {
        Overlay { rules, bounds, papers: Arc::new(Papers::new()) }
    }

    fn deliver(&self, observer: &mut Observer, message: Message) {
        match message {
            Message::Record { version, signer } => {
                let is_genuine = self.papers.are_accepted(version, signer);
                match self.rules.on_record(observer.known, version) {
                    OnRecord::Old | OnRecord::Ghost | OnRecord::Jump => {}
                    _ if !self.rules.accepts(is_genuine) => {}
                    OnRecord::Believe => observer.believe(Known::Here(version)),
                    OnRecord::Part => observer.believe(Known::Away(version)),
                }
            }
            Message::Claim(version) => match self.rules.on_claim(observer.known, version) {
                // Whoever wants the record may hear it: it is in the network if it exists.
                OnClaim::Ignore | OnClaim::Want => {}
                OnClaim::Believe => observer.believe(Known::Here(version)),
            },
        }
    }

    fn hear(&self, subject: &mut Subject, heard: Version) {
        match self.rules.on_self(subject.own, heard) {
            OnSelf::Ignore | OnSelf::Later | OnSelf::NeverHad => {}
            OnSelf::Refute => subject.accused = Some(heard.incarnation),
        }
    }

    fn refute(&self, run: &mut Run) {
        let Some(accused) = run.subject.accused.take() else { return };
        if let Some(incarnation) = self.rules.refutation(run.subject.own, accused) {
            run.say(Version { incarnation, ..run.subject.own });
        }
    }

    /// Whether nothing that is delivered, to anybody, changes anything any more.
    fn is_quiet(&self, run: &Run) -> bool {
        let is_old_news = |message: &Message| {
            run.observers.iter().all(|observer| {
                let mut after = observer.clone();
                self.deliver(&mut after, *message);
                after == *observer
            })
        };
        let is_answered = |heard: Version| {
            let mut after = run.clone();
            self.hear(&mut after.subject, heard);
            self.refute(&mut after);
            after == *run
        };
        run.subject.accused.is_none()
            && run.network.iter().all(is_old_news)
            && (!run.subject.is_running || run.claims().all(is_answered))
    }
}

impl<R: Rules> Model for Overlay<R> {
    type State = Run;
    type Action = Action;

    fn init_states(&self) -> Vec<Run> {
        vec![Run::new()]
    }

    fn actions(&self, run: &Run, actions: &mut Vec<Action>) {
        for at in 0..run.observers.len() {
            actions.extend(run.network.iter().map(|message| Action::Deliver(at, *message)));
            if run.accusations < self.bounds.accusations {
                actions.extend([State::Suspect, State::Down].map(|state| Action::Accuse(at, state)));
            }
            actions.push(Action::Reap(at));
            if self.rules.may_vouch() {
                actions.push(Action::Vouch(at));
            }
        }
        if run.subject.is_running {
            actions.extend(run.claims().map(Action::Hear));
            actions.push(Action::Refute);
            actions.push(Action::Crash);
            if run.subject.own.state == State::Alive {
                actions.push(Action::Leave);
                if run.changes < self.bounds.changes {
                    actions.push(Action::Change);
                }
            }
        } else if run.restarts < self.bounds.restarts {
            actions.push(Action::Restart);
        }
    }

    fn next_state(&self, before: &Run, action: Action) -> Option<Run> {
        let mut run = before.clone();
        let own = run.subject.own;
        match action {
            Action::Deliver(at, message) => self.deliver(&mut run.observers[at], message),
            Action::Accuse(at, state) => {
                let Known::Here(known) = run.observers[at].known else { return None };
                if !known.state.is_present() || known.state >= state {
                    return None;
                }
                run.accusations += 1;
                run.observers[at].believe(Known::Here(Version { state, ..known }));
                run.network.insert(Message::Claim(Version { state, ..known }));
            }
            Action::Reap(at) => run.observers[at].reap(),
            Action::Vouch(at) => {
                let Known::Here(known) = run.observers[at].known else { return None };
                if known.state != State::Suspect {
                    return None;
                }
                let cleared = Version { incarnation: known.incarnation.next(), state: State::Alive, ..known };
                run.observers[at].believe(Known::Here(cleared));
            }
            Action::Hear(heard) => self.hear(&mut run.subject, heard),
            Action::Refute => self.refute(&mut run),
            Action::Change => {
                run.changes += 1;
                run.say(Version { incarnation: own.incarnation.next(), ..own });
            }
            Action::Leave => {
                run.say(Version { incarnation: own.incarnation.next(), state: State::Left, ..own });
            }
            Action::Crash => {
                run.subject.is_running = false;
                run.subject.accused = None;
            }
            Action::Restart => {
                run.restarts += 1;
                run.changes = 0;
                run.subject.is_running = true;
                let generation = self.rules.next_generation(own.generation);
                run.say(Version { generation, incarnation: Incarnation::new(1), state: State::Alive });
            }
        }
        run.observers.sort();
        (run != *before).then_some(run)
    }

    fn format_action(&self, action: &Action) -> String {
        let version = |v: &Version| format!("{} at {}.{}", v.state, v.generation.get(), v.incarnation.get());
        match action {
            Action::Deliver(at, Message::Record { version: v, signer }) => {
                format!("observer {at} hears the record `{}` signed by the {signer:?}", version(v))
            }
            Action::Deliver(at, Message::Claim(v)) => {
                format!("observer {at} hears the claim `{}`", version(v))
            }
            Action::Accuse(at, state) => format!("observer {at} finds it {state}"),
            Action::Reap(at) => format!("observer {at} reaps it"),
            Action::Vouch(at) => format!("observer {at} clears it"),
            Action::Hear(v) => format!("the subject hears the claim `{}`", version(v)),
            Action::Refute => "the subject refutes".to_owned(),
            Action::Change => "the subject changes its record".to_owned(),
            Action::Leave => "the subject leaves".to_owned(),
            Action::Crash => "the subject crashes".to_owned(),
            Action::Restart => "the subject starts again".to_owned(),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(RISE, |_, run: &Run| {
                run.observers.iter().all(|observer| observer.known.version() >= observer.peak)
            }),
            Property::always(OWN_WORD, |_, run: &Run| {
                let signed = state::life(run.subject.own);
                run.observers.iter().filter_map(|o| o.known.version()).all(|v| state::life(v) <= signed)
            }),
            Property::always(STAY_DEAD, |_, run: &Run| {
                run.observers.iter().all(|observer| observer.is_present_after(observer.gone))
            }),
            Property::always(STAY_AWAY, |_, run: &Run| {
                run.observers.iter().all(|observer| observer.is_present_after(observer.buried))
            }),
            Property::always(NOT_DRIVEN, |_, run: &Run| {
                let own = run.subject.own;
                let farewell = u64::from(own.state == State::Left);
                let refuted = run.accused_incarnations(own.generation);
                own.incarnation.get() <= 1 + u64::from(run.changes) + farewell + refuted
            }),
            Property::always(AGREE, |model, run: &Run| {
                let [one, other] = &run.observers;
                one.known.version() == other.known.version() || !model.is_quiet(run)
            }),
            Property::always(CLEARED, |model, run: &Run| {
                let Subject { is_running, own, .. } = run.subject;
                let is_due = is_running && own.state == State::Alive;
                !is_due
                    || run.observers.iter().all(|observer| observer.known == Known::Here(own))
                    || !model.is_quiet(run)
            }),
            Property::sometimes("one refutes and all believe it", |model, run: &Run| {
                let own = run.subject.own;
                own.incarnation.get() > 2
                    && run.observers.iter().all(|observer| observer.known == Known::Here(own))
                    && model.is_quiet(run)
            }),
            Property::sometimes("one returns from the dead", |_, run: &Run| {
                run.observers
                    .iter()
                    .any(|o| o.buried.is_some() && o.is_present_after(o.buried) && o.is_here())
            }),
        ]
    }
}

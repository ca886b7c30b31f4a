//! What the model remembers: the members, the network, and what has been, for the properties to look back at.

use super::version;
use crate::papers::Signer;
use chinwag_base::{Generation, Incarnation};
use chinwag_membership::rumour::Known;
use chinwag_membership::{State, Version};
use std::collections::BTreeSet;

/// What was sent. It stays deliverable for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// The subject's own words, if it signed them.
    Record {
        /// What they say.
        version: Version,
        /// Who signed them.
        signer: Signer,
    },
    /// Somebody's accusation of the subject.
    Claim(Version),
}

/// The member that is spoken of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Whether its process runs.
    pub is_running: bool,
    /// What its newest record says.
    pub own: Version,
    /// The incarnation whose accusation it has heard and not answered yet.
    pub accused: Option<Incarnation>,
}

/// A member that hears of the subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Observer {
    /// What it knows of the subject.
    pub known: Known,
    /// The highest that it has believed.
    pub peak: Option<Version>,
    /// The highest at which it has believed the subject to be down or to have left.
    pub gone: Option<Version>,
    /// The highest at which it has reaped the subject as down or left.
    pub buried: Option<Version>,
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Run {
    /// The member that is spoken of.
    pub subject: Subject,
    /// Those who hear of it, sorted: nothing tells one from the other, so a run and its mirror image are one state.
    pub observers: [Observer; 2],
    /// All that was ever sent.
    pub network: BTreeSet<Message>,
    /// Changes of the subject's record in its present life.
    pub changes: u8,
    /// Accusations by failure detectors.
    pub accusations: u8,
    /// Restarts.
    pub restarts: u8,
}

/// The process life and the incarnation in it.
pub(crate) fn life(version: Version) -> (Generation, Incarnation) {
    (version.generation, version.incarnation)
}

impl Observer {
    /// It comes to know this, and what it has believed is remembered.
    pub(crate) fn believe(&mut self, known: Known) {
        self.known = known;
        self.peak = self.peak.max(known.version());
        if let Some(version) = known.version().filter(|version| !version.state.is_present()) {
            self.gone = self.gone.max(Some(version));
        }
    }

    /// The subject leaves the view: after the retention time if it is gone, or if it was not heard for as long.
    pub(crate) fn reap(&mut self) {
        let Known::Here(version) = self.known else { return };
        self.known = Known::Away(version);
        if version.state.is_present() {
            // Nothing is held against one that was only unheard: it comes back at the same incarnation.
            self.peak = Some(Version { state: State::Alive, ..version });
        } else {
            self.buried = self.buried.max(Some(version));
        }
    }

    /// Whether it holds the subject for present.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self.known, Known::Here(version) if version.state.is_present())
    }

    /// Whether the subject, if it is held for present, is so at a later incarnation or life than `before`.
    pub(crate) fn is_present_after(&self, before: Option<Version>) -> bool {
        !self.is_here() || self.known.version().map(life) > before.map(life)
    }
}

impl Run {
    /// The subject has just started, nobody has heard of it, and a liar has been at work.
    pub(crate) fn new() -> Self {
        let own = version(1, 1, State::Alive);
        let unaware = Observer { known: Known::Never, peak: None, gone: None, buried: None };
        let forged = |version| Message::Record { version, signer: Signer::Liar };
        let network = [
            Message::Record { version: own, signer: Signer::Subject },
            forged(version(1, 2, State::Alive)),
            forged(version(1, 3, State::Left)),
            Message::Claim(version(1, 3, State::Suspect)),
        ];
        Run {
            subject: Subject { is_running: true, own, accused: None },
            observers: [unaware.clone(), unaware],
            network: network.into(),
            changes: 0,
            accusations: 0,
            restarts: 0,
        }
    }

    /// The subject signs new words, and sends them.
    pub(crate) fn say(&mut self, own: Version) {
        self.subject.own = own;
        self.network.insert(Message::Record { version: own, signer: Signer::Subject });
    }

    /// All that was ever claimed of the subject.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Version> + '_ {
        self.network.iter().filter_map(|message| match message {
            Message::Claim(version) => Some(*version),
            Message::Record { .. } => None,
        })
    }

    /// How many incarnations of a life have been accused.
    pub(crate) fn accused_incarnations(&self, generation: Generation) -> u64 {
        let of_life = self.claims().filter(|claim| claim.generation == generation);
        of_life.map(|claim| claim.incarnation).collect::<BTreeSet<_>>().len() as u64
    }
}

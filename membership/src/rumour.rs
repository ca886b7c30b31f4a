//! The rules by which a rumour is believed, and by whom it is refuted: pure decisions, without timers or signatures.
//!
//! SWIM (Das, Gupta, Motivala 2002, section 4.2) has three kinds of rumour about a member: that it is alive, suspect
//! or gone; each names an incarnation, and only the member itself makes a new one. Here a member's own words are
//! *records*, signed by it; suspicion and death are *claims* of others. Hence two rules where SWIM has one order:
//!
//! - a record is believed if it stands above what is known, whatever it skips;
//! - a claim is believed only about the very incarnation whose record is known. Whoever hears of another one asks
//!   for the record first. So nobody can speak of a member that does not exist, nor of an incarnation that it never
//!   had.
//!
//! Whoever has left the view is known as [`Known::Away`], which old rumours must not undo: *ghosts do not return*.
//!
//! [`Membership`](crate::Membership) decides by these functions and then does what follows (timers, dials, events);
//! a model checker can run the same functions through every order of arrival.

use crate::version::{State, Version};
use chinwag_base::Incarnation;
use chinwag_base::limits::INCARNATION_STEP_MAX;

/// What one member knows of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Known {
    /// Nothing: it was never heard of.
    Never,
    /// It is in the view, with its record.
    Here(Version),
    /// It was in the view until it had been down, left or unheard for the retention time, with this belief.
    Away(Version),
}

/// What to do with a member's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnRecord {
    /// Nothing: it says nothing new.
    Old,
    /// Nothing: its subject was known to be gone at that incarnation, or a later one. Only the subject itself is told.
    Ghost,
    /// Refuse it: its incarnation is too far above the known one.
    Jump,
    /// Believe it, if it is really the subject's: the member is in the view, with this belief.
    Believe,
    /// Believe the goodbye of one that is away, if it is really the subject's: it stays away and is expected no more.
    Part,
}

/// What to do with somebody's accusation of a third member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnClaim {
    /// Nothing.
    Ignore,
    /// Ask for the record that it speaks of.
    Want,
    /// Believe it, unless there is better evidence at hand.
    Believe,
}

/// What to do with somebody's belief about ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnSelf {
    /// Nothing: it is no accusation, or of an earlier incarnation or life, or we have left.
    Ignore,
    /// Ask for it: it is of a later life than ours, so another process has our key.
    Later,
    /// Refuse it: we never had that incarnation. To follow would let one liar drive us up in steps that others refuse.
    NeverHad,
    /// Refute it.
    Refute,
}

impl Known {
    /// The belief; none about one that was never heard of.
    pub fn version(self) -> Option<Version> {
        match self {
            Known::Never => None,
            Known::Here(version) | Known::Away(version) => Some(version),
        }
    }

    /// Whether this belief is too old to bring back one that is away. State apart: a member that was down at
    /// incarnation 3 does not come back alive at 3. One that was merely unheard does, but not with what it said before.
    fn is_ghost(self, heard: Version) -> bool {
        let Known::Away(known) = self else { return false };
        let (known_at, heard_at) = (known.life(), heard.life());
        heard_at < known_at || heard_at == known_at && !known.state.is_present()
    }

    /// Whether a goodbye is news of one that is away.
    fn awaits_goodbye(self, heard: Version) -> bool {
        heard.state == State::Left
            && matches!(self, Known::Away(known) if known.state != State::Left && known < heard)
    }
}

/// Decides on a record. The caller checks its signature, and its other bounds, before it believes it.
pub fn on_record(known: Known, heard: Version) -> OnRecord {
    match known {
        Known::Here(version) if version.merge(heard) == version => OnRecord::Old,
        Known::Here(version) if is_jump(version, heard) => OnRecord::Jump,
        Known::Here(_) => OnRecord::Believe,
        // Who is not in the view has nothing to say goodbye to, unless it is expected back.
        Known::Away(_) if known.awaits_goodbye(heard) => OnRecord::Part,
        Known::Never | Known::Away(_) if heard.state == State::Left => OnRecord::Old,
        Known::Away(_) if known.is_ghost(heard) => OnRecord::Ghost,
        Known::Never | Known::Away(_) => OnRecord::Believe,
    }
}

fn is_jump(known: Version, heard: Version) -> bool {
    known.generation == heard.generation
        && heard.incarnation.get() > known.incarnation.get().saturating_add(INCARNATION_STEP_MAX)
}

/// Decides on a claim.
pub fn on_claim(known: Known, heard: Version) -> OnClaim {
    match known {
        Known::Here(version) if version.is_same_incarnation(&heard) => {
            match version.merge(heard) == version {
                true => OnClaim::Ignore,
                false => OnClaim::Believe,
            }
        }
        _ if is_wanted(known, heard) => OnClaim::Want,
        _ => OnClaim::Ignore,
    }
}

/// Whether a belief that came without its proof is worth asking for.
pub fn is_wanted(known: Known, heard: Version) -> bool {
    match known {
        Known::Here(version) => heard > version,
        Known::Never => heard.state.is_present(),
        Known::Away(_) => heard.state.is_present() && !known.is_ghost(heard) || known.awaits_goodbye(heard),
    }
}

/// Decides on a belief about ourselves; `own` is what our newest record says.
pub fn on_self(own: Version, heard: Version) -> OnSelf {
    let is_accused = matches!(heard.state, State::Suspect | State::Down);
    if heard.generation != own.generation {
        return if heard.generation > own.generation { OnSelf::Later } else { OnSelf::Ignore };
    }
    if !is_accused || own.state == State::Left {
        return OnSelf::Ignore;
    }
    // Only we raise our incarnation, so nobody can have seen a later one of this life.
    match heard.incarnation.cmp(&own.incarnation) {
        std::cmp::Ordering::Less => OnSelf::Ignore,
        std::cmp::Ordering::Equal => OnSelf::Refute,
        std::cmp::Ordering::Greater => OnSelf::NeverHad,
    }
}

/// The incarnation with which we refute an accusation of `accused`, if it still needs that.
pub fn refutation(own: Version, accused: Incarnation) -> Option<Incarnation> {
    (own.state != State::Left && accused >= own.incarnation).then(|| own.incarnation.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_base::Generation;

    fn v(incarnation: u64, state: State) -> Version {
        Version { generation: Generation::new(1), incarnation: Incarnation::new(incarnation), state }
    }

    #[test]
    fn one_that_was_merely_unheard_comes_back_but_not_as_it_was_before() {
        use State::{Alive, Down, Left};
        let unheard = Known::Away(v(3, Alive));
        assert_eq!(on_record(unheard, v(3, Alive)), OnRecord::Believe);
        assert_eq!(on_record(unheard, v(2, Alive)), OnRecord::Ghost);
        assert!(!is_wanted(unheard, v(2, Alive)) && is_wanted(unheard, v(3, Alive)));
        assert_eq!(on_record(Known::Away(v(3, Down)), v(3, Alive)), OnRecord::Ghost);
        assert_eq!(on_record(Known::Away(v(3, Down)), v(4, Alive)), OnRecord::Believe);
        assert_eq!(on_record(Known::Away(v(3, Down)), v(4, Left)), OnRecord::Part);
        assert_eq!(on_record(Known::Away(v(4, Left)), v(5, Left)), OnRecord::Old);
    }

    #[test]
    fn a_record_may_skip_incarnations_but_not_very_many() {
        let (here, step) = (Known::Here(v(1, State::Suspect)), INCARNATION_STEP_MAX);
        assert_eq!(on_record(here, v(1 + step, State::Alive)), OnRecord::Believe);
        assert_eq!(on_record(here, v(2 + step, State::Alive)), OnRecord::Jump);
    }

    #[test]
    fn a_claim_is_about_the_known_incarnation_or_asks_for_the_record() {
        let here = Known::Here(v(2, State::Suspect));
        assert_eq!(on_claim(here, v(2, State::Down)), OnClaim::Believe);
        assert_eq!(on_claim(here, v(2, State::Suspect)), OnClaim::Ignore);
        assert_eq!(on_claim(here, v(1, State::Down)), OnClaim::Ignore);
        assert_eq!(on_claim(here, v(3, State::Down)), OnClaim::Want);
        assert_eq!(on_claim(Known::Never, v(1, State::Suspect)), OnClaim::Want);
        assert_eq!(on_claim(Known::Never, v(1, State::Down)), OnClaim::Ignore);
    }

    #[test]
    fn we_refute_what_is_said_of_our_present_incarnation() {
        let own = v(2, State::Alive);
        assert_eq!(on_self(own, v(2, State::Down)), OnSelf::Refute);
        assert_eq!(on_self(own, v(1, State::Down)), OnSelf::Ignore);
        assert_eq!(on_self(own, v(3, State::Down)), OnSelf::NeverHad);
        assert_eq!(on_self(v(2, State::Left), v(2, State::Down)), OnSelf::Ignore);
        assert_eq!(refutation(own, Incarnation::new(2)), Some(Incarnation::new(3)));
        assert_eq!(refutation(own, Incarnation::new(1)), None, "a change of ours has refuted it meanwhile");
        let later = Version { generation: Generation::new(2), ..own };
        assert_eq!(on_self(own, later), OnSelf::Later);
        assert_eq!(on_self(later, own), OnSelf::Ignore);
    }
}

//! What is believed of a member, and which of two beliefs wins.
//!
//! SWIM (Das, Gupta, Motivala 2002, section 4.2) orders rumours by incarnation, and at equal incarnation by state.
//! A restart is a new *generation* here, which stands above all incarnations of the one before. So beliefs are
//! totally ordered, merging two of them is taking the larger, and every order of arrival ends in the same belief.

use chinwag_base::{Generation, Incarnation};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The state of a member, in the order in which one overrides another at equal incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It answers.
    Alive,
    /// It did not answer, and others could not reach it either. It has time to refute.
    Suspect,
    /// Enough members found it unreachable for long enough.
    Down,
    /// It said goodbye.
    Left,
}

impl State {
    /// Whether it takes part: it is observed, and asked for help.
    pub const fn is_present(self) -> bool {
        matches!(self, State::Alive | State::Suspect)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Alive => "alive",
            State::Suspect => "suspect",
            State::Down => "down",
            State::Left => "left",
        })
    }
}

/// A belief about one member. The larger one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The member's process life.
    pub generation: Generation,
    /// Its own version number within that life.
    pub incarnation: Incarnation,
    /// Its state at that incarnation.
    pub state: State,
}

impl Version {
    /// The belief that remains when two meet.
    #[must_use]
    pub fn merge(self, other: Version) -> Version {
        self.max(other)
    }

    /// The process life and the incarnation in it, without the state.
    pub(crate) fn life(&self) -> (Generation, Incarnation) {
        (self.generation, self.incarnation)
    }

    /// Whether both speak of one incarnation of one process life.
    pub fn is_same_incarnation(&self, other: &Version) -> bool {
        self.life() == other.life()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version() -> impl Strategy<Value = Version> {
        (0u64..3, 0u64..3, 0usize..4).prop_map(|(generation, incarnation, state)| Version {
            generation: Generation::new(generation),
            incarnation: Incarnation::new(incarnation),
            state: [State::Alive, State::Suspect, State::Down, State::Left][state],
        })
    }

    proptest! {
        #[test]
        fn merging_is_a_join(a in version(), b in version(), c in version()) {
            prop_assert_eq!(a.merge(b), b.merge(a));
            prop_assert_eq!(a.merge(b).merge(c), a.merge(b.merge(c)));
            prop_assert_eq!(a.merge(a), a);
            prop_assert!(a.merge(b) >= a && a.merge(b) >= b);
        }
    }

    #[test]
    fn a_higher_incarnation_refutes_and_a_higher_generation_rises_from_the_dead() {
        let v =
            |g, i, state| Version { generation: Generation::new(g), incarnation: Incarnation::new(i), state };
        assert!(v(1, 1, State::Suspect) > v(1, 1, State::Alive));
        assert!(v(1, 2, State::Alive) > v(1, 1, State::Down));
        assert!(v(2, 0, State::Alive) > v(1, 9, State::Left));
    }
}

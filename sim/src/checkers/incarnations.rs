//! What a node believes of a member only rises.
//!
//! SWIM (Das, Gupta, Motivala 2002, section 4.2) orders rumours by incarnation, and at one incarnation alive <
//! suspect < down < left; a restart is a new generation above all incarnations of the one before. Merging is taking
//! the larger, so within one process life of the observer no belief may fall. That holds after the member was reaped,
//! too: what was forgotten may not come back as it was.
//!
//! One belief may be taken back at the same incarnation: down by silence alone. It is the observer's own, told to
//! nobody, and over it others' rumours still move as if it were not there.
//!
//! Only [`Alive`](State::Alive) always tells generation and incarnation. What tells no generation speaks of the life
//! that is known, since news of another life always begin with alive or left; and left, which tells neither, may be
//! at a higher incarnation.

use super::Checker;
use crate::observation::{Fact, Host, Observation};
use chinwag_base::{Generation, Incarnation};
use chinwag_membership::State;

/// Watches the beliefs of each observer about each member.
#[derive(Debug, Default)]
pub struct Incarnations {
    /// By observer, then by member.
    beliefs: Vec<Vec<Option<Belief>>>,
    compared: u64,
}

#[derive(Debug, Clone, Copy)]
struct Belief {
    generation: Generation,
    incarnation: Incarnation,
    state: State,
    /// Held for down by silence alone since this incarnation began, and not found to be down since.
    unverified: bool,
}

impl Checker for Incarnations {
    fn name(&self) -> &'static str {
        "incarnations"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        match &observation.fact {
            // A new process recovers what its predecessor had stored, which need not be the latest.
            Fact::Started { host } => {
                if let Some(beliefs) = self.beliefs.get_mut(host.index()) {
                    *beliefs = Vec::new();
                }
            }
            Fact::Believed { host, about, state, generation, incarnation, unverified } => {
                let slot = self.slot(*host, *about);
                let Some(last) = *slot else {
                    // Without an incarnation there is nothing yet to compare with.
                    *slot = incarnation.map(|incarnation| Belief {
                        generation: generation.unwrap_or(Generation::new(0)),
                        incarnation,
                        state: *state,
                        unverified: *unverified,
                    });
                    return;
                };
                let next = Belief {
                    generation: generation.unwrap_or(last.generation),
                    incarnation: incarnation.unwrap_or(last.incarnation),
                    state: *state,
                    unverified: *unverified,
                };
                *slot = Some(next.after(&last));
                self.compared += 1;
                if !next.may_follow(&last) {
                    wrong.push(format!("{host} held {about} for {last}, and now for {next}"));
                }
            }
            _ => {}
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![("beliefs compared", self.compared)]
    }
}

impl Incarnations {
    fn slot(&mut self, host: Host, about: Host) -> &mut Option<Belief> {
        if self.beliefs.len() <= host.index() {
            self.beliefs.resize_with(host.index() + 1, Vec::new);
        }
        let beliefs = &mut self.beliefs[host.index()];
        if beliefs.len() <= about.index() {
            beliefs.resize(about.index() + 1, None);
        }
        &mut beliefs[about.index()]
    }
}

impl Belief {
    fn version(&self) -> (Generation, Incarnation) {
        (self.generation, self.incarnation)
    }

    fn may_follow(&self, last: &Belief) -> bool {
        match self.version().cmp(&last.version()) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => self.state >= last.state || last.unverified,
        }
    }

    /// What is to be remembered when this belief follows `last`.
    fn after(mut self, last: &Belief) -> Belief {
        let is_settled = matches!(self.state, State::Down | State::Left);
        if self.version() == last.version() && last.unverified && !is_settled {
            self.unverified = true;
        }
        self
    }
}

impl std::fmt::Display for Belief {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unverified = if self.unverified { ", unverified" } else { "" };
        write!(f, "{} ({}/{}{unverified})", self.state, self.generation.get(), self.incarnation.get())
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    fn wrong(history: impl IntoIterator<Item = Fact>) -> usize {
        judge_untimed(&mut Incarnations::default(), history).len()
    }

    fn says(state: State, generation: u64, incarnation: u64) -> Fact {
        believed_at(0, 1, state, Some((generation, incarnation)))
    }

    /// As the events of suspicion and death tell it.
    fn at_incarnation(state: State, number: u64, unverified: bool) -> Fact {
        let incarnation = Some(Incarnation::new(number));
        Fact::Believed { host: Host(0), about: Host(1), state, generation: None, incarnation, unverified }
    }

    #[test]
    fn beliefs_rise() {
        let history = [
            says(State::Alive, 1, 0),
            at_incarnation(State::Suspect, 0, false),
            says(State::Alive, 1, 1),
            at_incarnation(State::Suspect, 1, false),
            at_incarnation(State::Down, 1, false),
            says(State::Alive, 2, 0),
            believed_at(0, 1, State::Left, None),
            says(State::Alive, 3, 0),
        ];
        let mut checker = Incarnations::default();
        assert_eq!(judge_untimed(&mut checker, history).len(), 0);
        assert_eq!(checker.looked_at(), [("beliefs compared", 7)]);
    }

    #[test]
    fn a_generation_or_an_incarnation_falls() {
        assert_eq!(wrong([says(State::Alive, 2, 0), says(State::Alive, 1, 9)]), 1);
        assert_eq!(wrong([says(State::Alive, 1, 3), says(State::Down, 1, 2)]), 1);
        assert_eq!(wrong([says(State::Alive, 1, 3), at_incarnation(State::Suspect, 2, false)]), 1);
    }

    #[test]
    fn a_state_falls_at_one_incarnation() {
        assert_eq!(wrong([says(State::Suspect, 1, 0), says(State::Alive, 1, 0)]), 1);
        assert_eq!(wrong([says(State::Down, 1, 0), says(State::Suspect, 1, 0)]), 1);
        assert_eq!(
            wrong([
                says(State::Alive, 1, 0),
                at_incarnation(State::Down, 0, false),
                says(State::Alive, 1, 0)
            ]),
            1
        );
        assert_eq!(
            wrong([says(State::Alive, 1, 0), believed_at(0, 1, State::Left, None), says(State::Alive, 1, 0)]),
            1
        );
    }

    #[test]
    fn a_reaped_member_comes_back_as_it_was() {
        let history = |incarnation| {
            [
                says(State::Alive, 1, 0),
                says(State::Down, 1, 0),
                reaped(0, 1),
                says(State::Alive, 1, incarnation),
            ]
        };
        assert_eq!(wrong(history(0)), 1);
        assert_eq!(wrong(history(1)), 0);
    }

    #[test]
    fn down_by_silence_alone_is_taken_back() {
        let silent = || [says(State::Alive, 1, 0), at_incarnation(State::Down, 0, true)].into_iter();
        let alive = || says(State::Alive, 1, 0);
        assert_eq!(wrong(silent().chain([alive()])), 0);
        assert_eq!(wrong(silent().chain([at_incarnation(State::Suspect, 0, false), alive()])), 0);
        assert_eq!(
            wrong(silent().chain([at_incarnation(State::Down, 0, false), alive()])),
            1,
            "verified since"
        );
        assert_eq!(
            wrong([says(State::Alive, 1, 5)].into_iter().chain([at_incarnation(State::Down, 4, true)])),
            1
        );
    }

    #[test]
    fn a_new_process_begins_anew() {
        assert_eq!(wrong([says(State::Alive, 2, 0), started(0), says(State::Alive, 1, 0)]), 0);
        assert_eq!(wrong([says(State::Alive, 2, 0), started(1), says(State::Alive, 1, 0)]), 1);
    }
}

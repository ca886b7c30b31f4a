//! Why a member is held for what it is: the last things that counted, for people. No decision is made from here.

use crate::message::Found;
use crate::port::DialFailure;
use crate::version::State;
use chinwag_base::limits::{CASES_MAX, EVIDENCE_PER_CASE_MAX};
use chinwag_base::{Incarnation, Moment, NodeId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// One thing that counted for or against a member.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// It did not answer a ping of ours within the time-out. Accuses nobody by itself.
    Unanswered {
        /// The time-out.
        rto: Duration,
    },
    /// Its connection to us broke.
    Broken,
    /// We could not connect to it.
    NotReached(DialFailure),
    /// We asked these members to ping it.
    Asked(Vec<NodeId>),
    /// What one of them found.
    Found {
        /// Who.
        by: NodeId,
        /// What: a sign of life, silence, or a refused connection.
        found: Found,
    },
    /// Somebody says that it is down. We look for ourselves first, because we are connected to it.
    Told {
        /// Who says so.
        by: NodeId,
        /// The phi of that verdict.
        phi: f64,
    },
    /// It is suspected or held for down from here on, by our evidence or by another's word.
    Accused {
        /// Suspect or down.
        state: State,
        /// Whose verdict it is.
        by: NodeId,
        /// Its phi.
        phi: f64,
    },
    /// We have given it up after a long silence, for ourselves alone, because too few others can be asked.
    GivenUp {
        /// How long it had been silent.
        silent: Duration,
    },
    /// We did not run ourselves for a while, so that what had been collected counts no more.
    Voided,
    /// A frame of its own came while it was looked for.
    Answered,
    /// It says itself that it is alive, at this incarnation: it came, came back, or refuted an accusation.
    Alive(Incarnation),
    /// Others hold it for alive.
    Vouched,
    /// It said goodbye.
    Left,
}

impl Evidence {
    /// Whether something else counts from here on, so that what is repeated later stands for itself.
    fn turns(&self) -> bool {
        match self {
            Evidence::Unanswered { .. }
            | Evidence::Broken
            | Evidence::NotReached(_)
            | Evidence::Asked(_)
            | Evidence::Found { .. }
            | Evidence::Told { .. } => false,
            Evidence::Accused { .. }
            | Evidence::GivenUp { .. }
            | Evidence::Voided
            | Evidence::Answered
            | Evidence::Alive(_)
            | Evidence::Vouched
            | Evidence::Left => true,
        }
    }

    /// Takes up a repetition of itself. False: it is something else.
    fn absorb(&mut self, other: &Evidence) -> bool {
        match (&mut *self, other) {
            (Evidence::Unanswered { rto }, Evidence::Unanswered { rto: latest }) => *rto = *latest,
            (Evidence::Asked(all), Evidence::Asked(more)) => {
                all.extend(more);
                all.sort_unstable();
                all.dedup();
            }
            (Evidence::Told { by, phi }, Evidence::Told { by: again, phi: latest }) if by == again => {
                *phi = *latest;
            }
            (this, other) => return this == other,
        }
        true
    }
}

/// Evidence, and how often the same was had in a row of rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Noted {
    /// When it was first had.
    pub first: Moment,
    /// When it was last had.
    pub last: Moment,
    /// How often.
    pub times: u32,
    /// What.
    pub evidence: Evidence,
}

/// The evidence about all members of late.
#[derive(Debug, Default)]
pub(crate) struct Cases {
    cases: BTreeMap<NodeId, Case>,
    /// All cases, those first in which nothing was noted for longest.
    by_last: BTreeSet<(Moment, NodeId)>,
}

#[derive(Debug, Default)]
struct Case {
    noted: VecDeque<Noted>,
    /// When something was last noted.
    last: Moment,
}

impl Cases {
    /// Adds to a member's case. The oldest goes when there is no room.
    pub(crate) fn note(&mut self, now: Moment, id: NodeId, evidence: Evidence) {
        if self.cases.len() >= CASES_MAX
            && !self.cases.contains_key(&id)
            && let Some((_, stale)) = self.by_last.pop_first()
        {
            self.cases.remove(&stale);
        }
        let case = self.cases.entry(id).or_default();
        self.by_last.remove(&(case.last, id));
        self.by_last.insert((now, id));
        case.last = now;
        let case = &mut case.noted;
        let same_round = case.iter_mut().rev().take_while(|noted| !noted.evidence.turns());
        for noted in same_round {
            if noted.evidence.absorb(&evidence) {
                (noted.last, noted.times) = (now, noted.times.saturating_add(1));
                return;
            }
        }
        if case.len() >= EVIDENCE_PER_CASE_MAX {
            case.pop_front();
        }
        case.push_back(Noted { first: now, last: now, times: 1, evidence });
    }

    pub(crate) fn forget(&mut self, id: &NodeId) {
        if let Some(case) = self.cases.remove(id) {
            self.by_last.remove(&(case.last, *id));
        }
    }

    /// Oldest first.
    pub(crate) fn of(&self, id: &NodeId) -> impl Iterator<Item = &Noted> {
        self.cases.get(id).into_iter().flat_map(|case| &case.noted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Network, identity, s};
    use crate::{Membership, Profile};

    fn of(network: &Network, n: usize, about: usize) -> Vec<&Evidence> {
        let about = network.id(about);
        let membership: &Membership = &network.nodes[n].membership;
        membership.evidence(&about).map(|noted| &noted.evidence).collect()
    }

    #[test]
    fn cases_are_few_and_short() {
        let id = |n: usize| identity(n, 1).keypair.id();
        let mut cases = Cases::default();
        for n in 0..=CASES_MAX {
            cases.note(Moment::from_millis(n as u64), id(n), Evidence::Broken);
        }
        assert_eq!(
            (cases.cases.len(), cases.of(&id(0)).count(), cases.of(&id(1)).count()),
            (CASES_MAX, 0, 1)
        );
        for n in 0..=EVIDENCE_PER_CASE_MAX as u64 {
            cases.note(Moment::from_millis(n), id(1), Evidence::Alive(Incarnation::new(n)));
        }
        let all: Vec<_> = cases.of(&id(1)).collect();
        let first = &all[0].evidence;
        assert_eq!((all.len(), first), (EVIDENCE_PER_CASE_MAX, &Evidence::Alive(Incarnation::new(1))));
    }

    #[test]
    fn repetitions_are_counted_until_something_turns() {
        let [one, by, other] = [1, 2, 3].map(|n| identity(n, 1).keypair.id());
        let mut cases = Cases::default();
        let mut note = |ms, evidence| cases.note(Moment::from_millis(ms), one, evidence);
        let silent = |by| Evidence::Found { by, found: Found::Silent };
        note(1, silent(by));
        note(2, Evidence::Asked(vec![by]));
        note(3, silent(by));
        note(4, Evidence::Asked(vec![other, by]));
        note(5, silent(other));
        note(6, Evidence::Answered);
        note(7, silent(by));
        let all: Vec<_> = cases.of(&one).map(|n| (n.first.as_millis(), n.times)).collect();
        assert_eq!(all, [(1, 2), (2, 2), (5, 1), (6, 1), (7, 1)]);
        let asked = cases.of(&one).find_map(|n| match &n.evidence {
            Evidence::Asked(all) => Some(all.len()),
            _ => None,
        });
        assert_eq!(asked, Some(2));
    }

    #[test]
    fn a_verdict_can_be_explained() {
        let mut network = Network::grown(Profile::Lan, 1, 5, s(10));
        network.vanish(2);
        network.run(s(15));
        let mut convicted = 0;
        for n in [0, 1, 3, 4] {
            let me = network.id(n);
            let all = of(&network, n, 2);
            let accused = |wanted: State| {
                all.iter().position(|e| matches!(e, Evidence::Accused { state, .. } if *state == wanted))
            };
            let down = accused(State::Down).unwrap_or_else(|| panic!("{n}: {all:?}"));
            assert!(accused(State::Suspect).is_some_and(|suspect| suspect < down), "{n}: {all:?}");
            // Whoever convicted it itself has asked, and was told so by three.
            if matches!(all[down], Evidence::Accused { by, .. } if *by == me) {
                convicted += 1;
                let nacks = |e: &&&Evidence| matches!(e, Evidence::Found { found: Found::Silent, .. });
                assert!(all[..down].iter().filter(nacks).count() >= 3, "{n}: {all:?}");
                assert!(all[..down].iter().any(|e| matches!(e, Evidence::Unanswered { .. })), "{all:?}");
                assert!(all[..down].iter().any(|e| matches!(e, Evidence::Asked(_))), "{all:?}");
            }
        }
        assert!(convicted > 0);
        network.restart(2, 2);
        network.run(s(40));
        for n in [0, 1, 3, 4] {
            let back = |e: &&&Evidence| matches!(e, Evidence::Alive(_));
            assert!(of(&network, n, 2).iter().rev().take(4).any(|e| back(&e)), "{:?}", of(&network, n, 2));
        }
    }

    #[test]
    fn silence_and_its_end_can_be_explained() {
        let mut network = Network::grown(Profile::Lan, 1, 2, s(10));
        network.pause(1);
        network.run(s(60));
        let given_up = |e: &Evidence| matches!(e, Evidence::GivenUp { silent } if *silent >= s(30));
        assert!(of(&network, 0, 1).into_iter().any(given_up), "{:?}", of(&network, 0, 1));
        network.resume(1);
        network.run(s(5));
        let end = of(&network, 0, 1).last().copied();
        assert!(matches!(end, Some(Evidence::Answered | Evidence::Alive(_))), "{:?}", of(&network, 0, 1));
    }
}

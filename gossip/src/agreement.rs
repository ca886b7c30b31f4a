//! Whether all members that are alive are known to hold the same.

use chinwag_base::{Digest, Moment};
use std::time::Duration;

/// What we know of it. Only changes are worth an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// Nobody else is alive, as far as we know: nothing to agree on.
    Alone,
    /// Somebody is not known to hold what we hold.
    Apart { since: Moment },
    /// All are known to hold the same.
    Together,
}

/// What a look at the peers showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nobody else is alive.
    Alone,
    /// Somebody differs, or has said nothing yet.
    Apart,
    /// So many members, ourselves included, hold the same.
    Together { members: usize },
}

/// A change between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Converged { members: usize, after: Duration },
    Diverged,
}

impl Agreement {
    /// Takes a look into account. `digest_changed` says that our own state is another one than at the last look, so
    /// that agreement now is a new agreement.
    pub(crate) fn turn(&mut self, look: Look, digest_changed: bool, now: Moment) -> Vec<Turn> {
        let mut turns = Vec::new();
        if *self == Agreement::Together && (digest_changed || look == Look::Apart) {
            *self = Agreement::Apart { since: now };
            turns.push(Turn::Diverged);
        }
        match (look, *self) {
            (Look::Alone, _) => *self = Agreement::Alone,
            (Look::Apart, Agreement::Alone) => *self = Agreement::Apart { since: now },
            (Look::Together { members }, Agreement::Alone) => {
                *self = Agreement::Together;
                turns.push(Turn::Converged { members, after: Duration::ZERO });
            }
            (Look::Together { members }, Agreement::Apart { since }) => {
                *self = Agreement::Together;
                turns.push(Turn::Converged { members, after: now.since(since) });
            }
            (Look::Apart | Look::Together { .. }, _) => {}
        }
        turns
    }
}

/// The clock digests that we had lately. A peer that shows one of them is merely behind us: it will come and ask,
/// and there is nothing to fetch from it.
#[derive(Debug, Default)]
pub(crate) struct History(std::collections::VecDeque<Digest>);

impl History {
    /// Covers some seconds of commits; a peer that is further behind is worth an exchange.
    const LEN: usize = 128;

    pub(crate) fn push(&mut self, digest: Digest) {
        if self.0.len() == Self::LEN {
            self.0.pop_front();
        }
        self.0.push_back(digest);
    }

    pub(crate) fn contains(&self, digest: Digest) -> bool {
        self.0.contains(&digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_convergence_is_told_once() {
        let at = Moment::from_millis;
        let mut agreement = Agreement::Alone;
        assert_eq!(agreement.turn(Look::Apart, false, at(10)), []);
        let together = Look::Together { members: 3 };
        let after = Duration::from_millis(40);
        assert_eq!(agreement.turn(together, false, at(50)), [Turn::Converged { members: 3, after }]);
        assert_eq!(agreement.turn(together, false, at(60)), []);
        assert_eq!(agreement.turn(Look::Apart, true, at(70)), [Turn::Diverged]);
        assert_eq!(agreement.turn(Look::Apart, true, at(80)), []);
        let after = Duration::from_millis(30);
        assert_eq!(agreement.turn(together, false, at(100)), [Turn::Converged { members: 3, after }]);
        assert_eq!(agreement.turn(Look::Alone, false, at(110)), []);
        assert_eq!(agreement.turn(Look::Apart, false, at(120)), []);
    }
}

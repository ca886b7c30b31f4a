//! A node says nothing of durability and visibility that is not so.
//!
//! A client that waits for n holders is told how many members hold its write durably. At that moment at least so many
//! disks must have it, by a look at all disks, those of dead machines too. A disk that was damaged since the client
//! asked may have held it, and excuses one. A write that is acknowledged at all is on a disk.
//!
//! A client that awaits a token at another node is told that the write is visible there only if it is.

use super::Checker;
use crate::observation::{Answer, Fact, Observation, Request};
use std::collections::BTreeMap;

/// Compares what nodes say with what is on disks and in replicas.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Requests without an answer, each with how many disks had been damaged before.
    open: BTreeMap<Request, usize>,
    damaged: usize,
    written: u64,
    met: u64,
    awaited: u64,
}

impl Checker for Tokens {
    fn name(&self) -> &'static str {
        "tokens"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        match &observation.fact {
            Fact::Asked { request, .. } => {
                self.open.insert(*request, self.damaged);
            }
            Fact::Damaged { .. } => self.damaged += 1,
            Fact::Answered { request, answer } => {
                let damaged = self.damaged - self.open.remove(request).unwrap_or(0);
                if let Answer::Written { holders, durable_on, met } = *answer {
                    self.written += 1;
                    self.met += u64::from(met);
                    let told = if met { holders.max(1) } else { 1 };
                    if durable_on + damaged < told {
                        let Request(number) = request;
                        wrong.push(format!(
                            "request {number} is on {durable_on} disks, not on {told} as told"
                        ));
                    }
                }
            }
            Fact::Awaited { host, request: Request(number), told: true, holds } => {
                self.awaited += 1;
                if !holds {
                    wrong.push(format!("{host} says that request {number} is visible, and it is not"));
                }
            }
            _ => {}
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("writes looked up on disks", self.written),
            ("waits for holders that were met", self.met),
            ("tokens awaited", self.awaited),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;
    use crate::observation::Host;

    fn answered(request: u64, holders: usize, durable_on: usize, met: bool) -> Fact {
        let answer = Answer::Written { holders, durable_on, met };
        Fact::Answered { request: Request(request), answer }
    }

    fn wrong(history: impl IntoIterator<Item = Fact>) -> usize {
        judge_untimed(&mut Tokens::default(), history).len()
    }

    fn ask() -> Fact {
        asked(1, 0, [set("reg/a", "x")])
    }

    #[test]
    fn holders_hold() {
        assert_eq!(wrong([ask(), answered(1, 3, 3, true)]), 0);
        assert_eq!(wrong([ask(), answered(1, 3, 5, true)]), 0);
        assert_eq!(
            wrong([ask(), answered(1, 3, 1, false)]),
            0,
            "the wait was not met, and nobody was told so"
        );
        assert_eq!(wrong([ask(), refused(1)]), 0);
    }

    #[test]
    fn too_few_disks_have_it() {
        assert_eq!(wrong([ask(), answered(1, 3, 2, true)]), 1);
        assert_eq!(wrong([ask(), answered(1, 0, 0, true)]), 1);
        assert_eq!(wrong([ask(), answered(1, 3, 0, false)]), 1);
    }

    #[test]
    fn a_disk_that_was_damaged_meanwhile_excuses_one() {
        assert_eq!(wrong([ask(), damaged(1, []), answered(1, 3, 2, true)]), 0);
        assert_eq!(wrong([ask(), damaged(1, []), answered(1, 3, 1, true)]), 1);
        assert_eq!(wrong([damaged(1, []), ask(), answered(1, 3, 2, true)]), 1, "before it was asked");
    }

    #[test]
    fn a_token_is_told_to_be_visible_and_is_not() {
        let awaited = |told, holds| Fact::Awaited { host: Host(1), request: Request(1), told, holds };
        assert_eq!(wrong([awaited(true, true), awaited(false, false), awaited(false, true)]), 0);
        assert_eq!(wrong([awaited(true, false)]), 1);
        let mut tokens = Tokens::default();
        judge_untimed(&mut tokens, [ask(), answered(1, 2, 2, true), awaited(true, true)]);
        assert_eq!(tokens.looked_at().iter().map(|it| it.1).collect::<Vec<_>>(), [1, 1, 1]);
    }
}

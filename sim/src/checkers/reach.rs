//! When all is mended and everybody knows everybody, everybody answers a call, and hears all whom it should.

use super::Checker;
use crate::observation::{Fact, Observation};

/// Looks at the calls of the roll.
#[derive(Debug, Default)]
pub struct Reach {
    calls: u64,
    answers: u64,
}

impl Checker for Reach {
    fn name(&self) -> &'static str {
        "reach"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        let Fact::Called { host, running, answered, unheard } = observation.fact else { return };
        self.calls += 1;
        self.answers += answered as u64;
        if answered != running {
            wrong.push(format!("{answered} of {running} hosts answered a call of {host}"));
        }
        if unheard > 0 {
            wrong.push(format!(
                "asked by {host}, hosts that run did not hear others that run, {unheard} times"
            ));
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![("calls of the roll", self.calls), ("answers to them", self.answers)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;
    use crate::observation::Host;

    #[test]
    fn everybody_answers_and_hears_everybody() {
        let called = |running, answered, unheard| Fact::Called { host: Host(0), running, answered, unheard };
        let wrong = |fact| judge_untimed(&mut Reach::default(), [fact]).len();
        assert_eq!(wrong(called(3, 3, 0)), 0);
        assert_eq!(wrong(called(3, 2, 0)), 1);
        assert_eq!(wrong(called(3, 4, 0)), 1, "of whom one is not there");
        assert_eq!(wrong(called(3, 3, 1)), 1);
        assert_eq!(wrong(called(3, 2, 2)), 2);
    }
}

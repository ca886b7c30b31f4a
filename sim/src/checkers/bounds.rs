//! Whatever a peer can feed has a bound, and stays within it.

use super::Checker;
use crate::observation::{Fact, Host, Observation};
use std::collections::{BTreeMap, BTreeSet};

/// Compares sizes with their bounds. What is above is reported once for each host.
#[derive(Debug, Default)]
pub struct Bounds {
    /// By bound, how often it was looked at.
    measured: BTreeMap<&'static str, u64>,
    reported: BTreeSet<(&'static str, Host)>,
}

impl Checker for Bounds {
    fn name(&self) -> &'static str {
        "bounds"
    }

    fn observe(&mut self, observation: &Observation, wrong: &mut Vec<String>) {
        let Fact::Measured { host, bound, value, max } = &observation.fact else { return };
        *self.measured.entry(bound).or_default() += 1;
        if value > max && self.reported.insert((bound, *host)) {
            wrong.push(format!("{bound} is {max}, and at {host} it is {value}"));
        }
    }

    fn looked_at(&self) -> Vec<(&'static str, u64)> {
        vec![("bounds", self.measured.len() as u64), ("sizes measured", self.measured.values().sum())]
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::*;
    use super::*;

    #[test]
    fn a_size_is_at_its_bound_or_above() {
        let measured = |host, value| Fact::Measured { host: Host(host), bound: "QUEUE_MAX", value, max: 10 };
        let mut bounds = Bounds::default();
        assert!(judge_untimed(&mut bounds, [measured(0, 0), measured(0, 10)]).is_empty());
        assert_eq!(judge_untimed(&mut bounds, [measured(0, 11), measured(0, 12), measured(1, 11)]).len(), 2);
        assert_eq!(bounds.looked_at(), [("bounds", 1), ("sizes measured", 5)]);
    }
}

//! Makes a plan that fails smaller, as long as it fails in the same way.
//!
//! Steps are left out in ever smaller pieces (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing
//! Input", 2002: delta debugging), hosts that no step needs go, and the network and the disks become ordinary ones. A
//! plan with fewer steps draws other latencies, so that what remains is a failing plan, not the failing plan.

use crate::plan::{DiskPlan, NetworkPlan, Plan};
use crate::run::run;

/// Runs that are tried at most.
const TRIES_MAX: u64 = 600;

/// The smallest plan that was found in which `checker` still finds a violation. `progress` is told each try's number.
pub fn shrink(plan: &Plan, checker: &str, progress: &mut dyn FnMut(u64)) -> Plan {
    let mut tries = 0;
    smaller(plan, &mut |candidate| {
        tries += 1;
        progress(tries);
        tries <= TRIES_MAX && run(candidate).failed.iter().any(|violation| violation.checker == checker)
    })
}

/// The smallest plan that was found of which `fails` says yes.
fn smaller(plan: &Plan, fails: &mut dyn FnMut(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let attempt = |best: &mut Plan, candidate: Plan, fails: &mut dyn FnMut(&Plan) -> bool| {
        let better = candidate != *best && candidate.fault().is_none() && fails(&candidate);
        if better {
            *best = candidate;
        }
        better
    };
    let mut piece = best.steps.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < best.steps.len() {
            let mut candidate = best.clone();
            candidate.steps.drain(at..(at + piece).min(best.steps.len()));
            if !attempt(&mut best, candidate, fails) {
                at += piece;
            }
        }
        if piece == 1 {
            break;
        }
        piece = piece.div_ceil(2);
    }
    while best.hosts > 1 {
        let mut candidate = best.clone();
        candidate.hosts -= 1;
        let last = candidate.hosts;
        candidate.newer.retain(|host| host.0 < last);
        candidate.gone.retain(|host| host.0 < last);
        if !attempt(&mut best, candidate, fails) {
            break;
        }
    }
    let ordinary = [
        Plan {
            network: NetworkPlan { transport: best.network.transport, ..NetworkPlan::default() },
            ..best.clone()
        },
        Plan { disk: DiskPlan::default(), ..best.clone() },
        Plan { newer: Vec::new(), ..best.clone() },
        Plan { gone: Vec::new(), ..best.clone() },
    ];
    for candidate in ordinary {
        let candidate = Plan { steps: best.steps.clone(), hosts: best.hosts, ..candidate };
        attempt(&mut best, candidate, fails);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Host;
    use crate::plan::Action;
    use crate::swarm::{Wishes, draw};

    /// What fails is a kill before a partition; all else goes.
    #[test]
    fn only_what_a_failure_needs_is_left() {
        let mut plan = draw(1, &Wishes { hosts: Some(9), ..Wishes::default() });
        let at = |at_ms: u64, action: Action| crate::plan::Step { at_ms, action };
        plan.steps.push(at(6_000, Action::Kill { host: Host(2) }));
        plan.steps.push(at(7_000, Action::Partition { side: vec![Host(0)] }));
        let mut fails = |plan: &Plan| {
            let kill = plan.steps.iter().position(|s| matches!(s.action, Action::Kill { host: Host(2) }));
            let part = plan.steps.iter().rposition(|s| matches!(s.action, Action::Partition { .. }));
            kill.zip(part).is_some_and(|(kill, part)| kill < part)
        };
        let small = smaller(&plan, &mut fails);
        assert_eq!((small.steps.len(), small.hosts), (2, 3));
        assert_eq!(
            small.network,
            NetworkPlan { transport: plan.network.transport, ..NetworkPlan::default() }
        );
    }
}

//! What is done to an overlay, and what is read off.

use super::figures::Run;
use super::ledger::{Belief, FalseDeath, Ledger};
use super::options::{Part, Setting, Stall};
use super::{Overlay, Suspicions};
use crate::cost;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// How often it is asked whether something has happened. When it did is read from the ledger.
const STEP: Duration = Duration::from_millis(20);
/// Members start one after the other within this time, so that they do not tick in step.
const START_WITHIN: Duration = Duration::from_secs(1);
/// How long an overlay may take to grow. One that takes longer is no run.
const GROW_MAX: Duration = Duration::from_secs(900);
/// Nobody's periods begin with the crash.
const JITTER_MS: u64 = 2_000;
/// How long a crash is looked at once all know it, or stalls once they are over: late false deaths count too.
const AFTERMATH: Duration = Duration::from_secs(10);
/// How long after a partition beliefs must be right.
const HEAL_MAX: Duration = Duration::from_secs(60);
/// The part of members that stall.
const ILL: f64 = 0.05;
/// How long a member that stalls runs in between, in milliseconds.
const WELL_MS: std::ops::RangeInclusive<u64> = 5_000..=15_000;

/// So many members are timed alone as well.
const ALONE: usize = 8;

/// What is done.
#[derive(Debug, Clone, Copy)]
pub enum Experiment {
    /// Members die.
    Crash {
        /// So many times in each overlay, one after the other.
        times: usize,
        /// How many each time.
        gone: Part,
        /// Whether their hosts live.
        kill: bool,
        /// A run that takes longer is not complete.
        limit: Duration,
    },
    /// All but one member join through the one, at once.
    Join {
        /// A run that takes longer is not complete.
        limit: Duration,
    },
    /// Nothing happens.
    Steady {
        /// For so long.
        lasts: Duration,
    },
    /// Some members stall again and again.
    Stalls {
        /// How long each time.
        stall: Stall,
        /// For so long.
        lasts: Duration,
    },
    /// Some members are cut off from the others.
    Partition {
        /// How many, the one that all joined through among them.
        split: Part,
        /// For so long.
        lasts: Duration,
    },
}

/// Does it to one overlay: once, or as often as there are to be crashes.
pub fn run(
    experiment: Experiment,
    setting: &Setting,
    settle: Duration,
    seed: u64,
    overlay: &mut dyn Overlay,
) -> Vec<Run> {
    // Not the generator of the network: what is done is the same to every system.
    let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1);
    if let Experiment::Join { limit } = experiment {
        return vec![join(setting.nodes, limit, overlay)];
    }
    if let Experiment::Steady { .. } = experiment {
        let every = setting.nodes.div_ceil(ALONE);
        overlay.watch(&(0..setting.nodes).step_by(every).collect::<Vec<_>>());
    }
    let is_grown = grow(setting.nodes, settle, &mut rng, overlay);
    if !is_grown {
        return vec![Run { spreads: Vec::new(), sums: vec![("not_grown_runs", 1.0)] }];
    }
    let run = match experiment {
        Experiment::Crash { times, gone, kill, limit } => {
            return crashes(times, settle, &mut rng, overlay, |rng, overlay| {
                crash(setting.nodes, gone, kill, limit, rng, overlay)
            });
        }
        Experiment::Join { limit } => join(setting.nodes, limit, overlay),
        Experiment::Steady { lasts } => steady(setting.nodes, lasts, overlay),
        Experiment::Stalls { stall, lasts } => stalls(setting.nodes, stall, lasts, &mut rng, overlay),
        Experiment::Partition { split, lasts } => partition(split.of(setting.nodes), lasts, overlay),
    };
    vec![run]
}

/// One crash after the other among those that are left, each once the overlay is as quiet as before the first. One that
/// does not become so has no further crashes.
fn crashes(
    times: usize,
    settle: Duration,
    rng: &mut ChaCha8Rng,
    overlay: &mut dyn Overlay,
    crash: impl Fn(&mut ChaCha8Rng, &mut dyn Overlay) -> Run,
) -> Vec<Run> {
    let mut runs = vec![crash(rng, overlay)];
    while runs.len() < times && settle_down(settle, rng, overlay) {
        runs.push(crash(rng, overlay));
    }
    runs
}

/// Runs until something holds; whether it does.
fn run_until(overlay: &mut dyn Overlay, limit: Duration, holds: impl Fn(&Ledger) -> bool) -> bool {
    let end = overlay.now() + limit;
    while !holds(overlay.ledger()) {
        if overlay.now() >= end {
            return false;
        }
        overlay.run(STEP);
    }
    true
}

fn grow(nodes: usize, settle: Duration, rng: &mut ChaCha8Rng, overlay: &mut dyn Overlay) -> bool {
    for _ in 0..nodes {
        overlay.start();
        overlay.run(START_WITHIN / nodes as u32);
    }
    run_until(overlay, GROW_MAX, |ledger| ledger.present_pairs() == nodes * (nodes - 1))
        && settle_down(settle, rng, overlay)
}

/// Leaves an overlay alone, until all that are left know all that are left and nobody else. Where packets are lost,
/// somebody is suspected at any time, and may be taken for dead just now.
fn settle_down(settle: Duration, rng: &mut ChaCha8Rng, overlay: &mut dyn Overlay) -> bool {
    overlay.run(settle + Duration::from_millis(rng.random_range(0..JITTER_MS)));
    run_until(overlay, GROW_MAX, Ledger::is_full)
}

fn false_deaths_since(ledger: &Ledger, since: Duration) -> impl Iterator<Item = &FalseDeath> {
    ledger.false_deaths().iter().filter(move |death| death.at > since)
}

fn crash(
    nodes: usize,
    gone: Part,
    kill: bool,
    limit: Duration,
    rng: &mut ChaCha8Rng,
    overlay: &mut dyn Overlay,
) -> Run {
    let mut victims: Vec<usize> = (1..nodes).filter(|member| !overlay.ledger().is_dead(*member)).collect();
    victims.shuffle(rng);
    victims.truncate(gone.of(nodes));
    let begun = overlay.now();
    for victim in &victims {
        if kill { overlay.kill(*victim) } else { overlay.vanish(*victim) }
    }
    let survivors = overlay.ledger().survivors();
    let all_know = |ledger: &Ledger| victims.iter().all(|victim| ledger.down_by(*victim) == survivors);
    run_until(overlay, limit, all_know);
    overlay.run(AFTERMATH);
    let ledger = overlay.ledger();
    let is_complete = all_know(ledger);

    // When each survivor first accused each victim, and when it took it for dead for good.
    let (mut first_suspect, mut first_down) = (None, None);
    let mut suspected = vec![None; victims.len() * nodes];
    let mut down = suspected.clone();
    for accusation in ledger.accusations().iter().filter(|a| a.at > begun) {
        let Some(victim) = victims.iter().position(|victim| *victim == accusation.of) else { continue };
        let at = (accusation.at - begun).as_secs_f64();
        let pair = victim * nodes + accusation.by;
        first_suspect.get_or_insert(at);
        suspected[pair].get_or_insert(at);
        if accusation.belief == Belief::Down {
            first_down.get_or_insert(at);
            down[pair] = Some(at);
        }
    }
    let last = |times: Vec<Option<f64>>| {
        let times: Vec<f64> = times.into_iter().flatten().collect();
        (times.len() >= survivors * victims.len()).then(|| times.into_iter().fold(0.0, f64::max))
    };
    let (all_suspect, all_down) = (last(suspected), last(down).filter(|_| is_complete));
    let suspicions = overlay.suspicions();
    let node_seconds = (overlay.now() - begun).as_secs_f64() * survivors as f64;
    Run {
        spreads: vec![
            ("first_suspect_s", first_suspect.filter(|_| suspicions != Suspicions::None)),
            ("all_suspect_s", all_suspect.filter(|_| suspicions == Suspicions::All)),
            ("first_down_s", first_down),
            ("all_down_s", all_down),
        ],
        sums: vec![
            ("complete_runs", f64::from(u8::from(is_complete))),
            ("false_deaths", false_deaths_since(ledger, begun).count() as f64),
            ("node_seconds", node_seconds),
        ],
    }
}

fn join(nodes: usize, limit: Duration, overlay: &mut dyn Overlay) -> Run {
    overlay.measure();
    (0..nodes).for_each(|_| overlay.start());
    let is_complete = run_until(overlay, limit, |ledger| ledger.complete().is_some());
    let ledger = overlay.ledger();
    let seconds = |at: Option<Duration>| at.map(|at| at.as_secs_f64());
    let per_node = |count: u64| Some(count as f64 / nodes as f64).filter(|_| is_complete);
    Run {
        spreads: vec![
            ("complete_s", seconds(ledger.complete())),
            ("views_99_percent_s", seconds(ledger.ninety_nine_percent())),
            ("bytes_per_node", per_node(overlay.traffic().bytes)),
            ("messages_per_node", per_node(overlay.traffic().messages)),
        ],
        sums: vec![
            ("complete_runs", f64::from(u8::from(is_complete))),
            ("false_deaths", ledger.false_deaths().len() as f64),
            ("node_seconds", overlay.now().as_secs_f64() * nodes as f64),
        ],
    }
}

fn steady(nodes: usize, lasts: Duration, overlay: &mut dyn Overlay) -> Run {
    let begun = overlay.now();
    overlay.measure();
    let cpu = cost::cpu();
    overlay.run(lasts);
    let cpu = cost::cpu() - cpu;
    let node_seconds = lasts.as_secs_f64() * nodes as f64;
    let suspicions = overlay.ledger().false_suspicions().iter().filter(|at| **at > begun).count();
    let traffic = overlay.traffic();
    let handled = traffic.handled.max(1) as f64;
    let alone = overlay.alone_ns();
    // Some systems encode and decode as they handle, and cannot be asked to do one without the other.
    let handles_alone = !traffic.handle_ns.is_empty();
    let mut run = Run {
        spreads: vec![
            ("bytes_per_node_second", Some(traffic.bytes as f64 / node_seconds)),
            ("messages_per_node_second", Some(traffic.messages as f64 / node_seconds)),
            ("handle_alone_ns", mean_without_interruptions(&alone).filter(|_| handles_alone)),
            ("handle_with_codec_alone_ns", mean_without_interruptions(&alone).filter(|_| !handles_alone)),
            ("handle_ns", mean_without_interruptions(&traffic.handle_ns)),
            ("handle_with_codec_ns", mean_without_interruptions(&traffic.with_codec_ns)),
            ("run_cpu_ns_per_message", Some(cpu.as_nanos() as f64 / handled)),
        ],
        sums: vec![
            ("false_deaths", false_deaths_since(overlay.ledger(), begun).count() as f64),
            ("node_seconds", node_seconds),
        ],
    };
    if overlay.suspicions() == Suspicions::All {
        run.sums.push(("false_suspicions", suspicions as f64));
    }
    run
}

/// The mean of all but the slowest thousandth, in which the kernel let somebody else run.
fn mean_without_interruptions(times: &[u32]) -> Option<f64> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.truncate(times.len() - times.len() / 1_000);
    let sum: u64 = times.iter().map(|ns| u64::from(*ns)).sum();
    (!times.is_empty()).then(|| sum as f64 / times.len() as f64)
}

/// One member's stalls: when each began, and how long it lasted.
type Stalls = Vec<(Duration, Duration)>;

fn stalls(
    nodes: usize,
    stall: Stall,
    lasts: Duration,
    rng: &mut ChaCha8Rng,
    overlay: &mut dyn Overlay,
) -> Run {
    let begun = overlay.now();
    let ill = Part::Share(ILL).of(nodes);
    // What each does next, and when: the first ends in the middle of a time of being well.
    let mut next: Vec<(Duration, bool)> = (0..ill)
        .map(|_| (begun + Duration::from_millis(rng.random_range(0..=*WELL_MS.end())), true))
        .collect();
    let mut suffered: Vec<Stalls> = vec![Vec::new(); ill];
    while let Some((at, which)) = next.iter().enumerate().map(|(which, (at, _))| (*at, which)).min()
        && at < begun + lasts
    {
        overlay.run(at.saturating_sub(overlay.now()));
        let (member, begins) = (which + 1, next[which].1);
        if begins {
            let longest = stall.longest.as_millis() as u64;
            let long = Duration::from_millis(rng.random_range(stall.shortest.as_millis() as u64..=longest));
            suffered[which].push((overlay.now(), long));
            overlay.pause(member);
            next[which] = (at + long, false);
        } else {
            overlay.resume(member);
            next[which] = (at + Duration::from_millis(rng.random_range(WELL_MS)), true);
        }
    }
    (0..ill).filter(|which| !next[*which].1).for_each(|which| overlay.resume(which + 1));
    overlay.run(AFTERMATH);

    let is_ill = |death: &&FalseDeath| (1..=ill).contains(&death.of);
    let deaths: Vec<&FalseDeath> = false_deaths_since(overlay.ledger(), begun).collect();
    let of_ill: Vec<&FalseDeath> = deaths.iter().copied().filter(is_ill).collect();
    let before = |death: &FalseDeath| stalls_before(&suffered[death.of - 1], death.at);
    let after_first = of_ill.iter().filter(|death| before(death).len() > 1).count();
    let after_as_long = of_ill.iter().filter(|death| has_been_as_long(before(death))).count();
    let healthy = deaths.len() - of_ill.len();
    let healthy_seconds = (overlay.now() - begun).as_secs_f64() * (nodes - ill) as f64;
    Run {
        spreads: vec![
            ("false_deaths_of_healthy", Some(healthy as f64)),
            ("deaths_of_stalling", Some(of_ill.len() as f64)),
            ("deaths_of_stalling_after_first_stall", Some(after_first as f64)),
            ("deaths_of_stalling_after_one_as_long", Some(after_as_long as f64)),
        ],
        sums: vec![
            ("stalls", suffered.iter().map(Vec::len).sum::<usize>() as f64),
            ("false_deaths", healthy as f64),
            ("node_seconds", healthy_seconds),
        ],
    }
}

/// A member's stalls up to a moment.
fn stalls_before(stalls: &Stalls, at: Duration) -> &[(Duration, Duration)] {
    &stalls[..stalls.iter().take_while(|(began, _)| *began <= at).count()]
}

/// Whether the last of these stalls was not longer than some earlier one.
fn has_been_as_long(stalls: &[(Duration, Duration)]) -> bool {
    stalls.split_last().is_some_and(|((_, last), earlier)| earlier.iter().any(|(_, long)| long >= last))
}

fn partition(border: usize, lasts: Duration, overlay: &mut dyn Overlay) -> Run {
    overlay.part(border);
    overlay.run(lasts);
    let wrong_before = overlay.ledger().wrong();
    let healed = overlay.now();
    overlay.heal();
    let is_right = run_until(overlay, HEAL_MAX, |ledger| ledger.alive_pairs() == pairs(ledger));
    let took = (overlay.now() - healed).as_secs_f64();
    overlay.run((healed + HEAL_MAX).saturating_sub(overlay.now()));
    let wrong = overlay.ledger().wrong();
    Run {
        spreads: vec![
            ("wrong_beliefs", Some(wrong as f64)),
            ("healed_s", Some(took).filter(|_| is_right)),
            ("beliefs_across_when_healed", Some(wrong_before as f64)),
        ],
        sums: vec![("complete_runs", f64::from(u8::from(wrong == 0)))],
    }
}

fn pairs(ledger: &Ledger) -> usize {
    let survivors = ledger.survivors();
    survivors * (survivors - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_stall_is_held_against_those_before_it() {
        let stalls = vec![(s(10), s(3)), (s(20), s(4)), (s(30), s(2))];
        assert_eq!(stalls_before(&stalls, s(9)), []);
        assert!(!has_been_as_long(stalls_before(&stalls, s(12))));
        assert!(!has_been_as_long(stalls_before(&stalls, s(22))), "the first was shorter");
        assert!(has_been_as_long(stalls_before(&stalls, s(31))));
    }

    #[test]
    fn interruptions_are_left_out_of_the_mean() {
        let mut times = vec![100; 1_999];
        times.push(5_000_000);
        assert_eq!(mean_without_interruptions(&times), Some(100.0));
        assert_eq!(mean_without_interruptions(&[]), None);
    }
}

//! One plan, run to its end under the eyes of all checkers.

use crate::checkers::{Checkers, Patience, Violation};
use crate::figures::{Figures, Recorder};
use crate::observation::Observation;
use crate::plan::{Action, Plan, StatePlan, Transport};
use crate::world::{Tally, Tracer, Traffic, World};
use chinwag_membership::Profile;
use std::time::Duration;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The plan's seed.
    pub seed: u64,
    /// A hash of everything that happened. Equal for equal plans, in every process.
    pub trace_hash: u64,
    /// Things that happened.
    pub events: u64,
    /// Virtual time, from beginning to end.
    pub lasted: Duration,
    /// What was wrong.
    pub failed: Vec<Violation>,
    /// What the run had in it: faults that took place, work that was done.
    pub exercised: Tally,
    /// What the checkers looked at.
    pub checked: Tally,
    /// What was measured.
    pub figures: Figures,
    /// What the network did.
    pub traffic: Traffic,
}

impl Outcome {
    /// Whether the run has shown anything: something was written, there was somebody to agree with, and something
    /// went wrong.
    pub fn counts(&self) -> bool {
        let had = |what: &str| self.exercised.get(what).copied().unwrap_or(0);
        let trouble = FAULTS.iter().map(|fault| had(fault)).sum::<u64>();
        had("starts") > 1
            && had("writes_acknowledged") > 0
            && trouble + self.traffic.lost + self.traffic.blocked > 0
    }
}

/// What went wrong on purpose, by its name in the tally.
const FAULTS: [&str; 14] = [
    "kills",
    "power_cuts",
    "leaves",
    "pauses",
    "cuts",
    "partitions",
    "resets",
    "clock_jumps",
    "slow_disks",
    "full_disks",
    "disks_wiped",
    "disks_rolled_back",
    "disks_corrupt",
    "unsynced_writes_lost",
];

/// Runs a plan to its end.
pub fn run(plan: &Plan) -> Outcome {
    run_in(World::new(plan.clone()))
}

/// Runs a plan to its end, and tells every frame, event and fault in words.
pub fn run_traced(plan: &Plan, tracer: Tracer) -> Outcome {
    run_in(World::new(plan.clone()).with_tracer(tracer))
}

/// Runs a world to its end.
pub fn run_in(world: World) -> Outcome {
    watch(world, &mut |_, _| {})
}

/// Runs a world to its end, and shows it to `look` after each thing that happens, with what was observed of that.
pub fn watch(mut world: World, look: &mut dyn FnMut(&World, &[Observation])) -> Outcome {
    let mut checkers = crate::checkers::all(patience(world.plan()));
    let mut recorder = Recorder::default();
    let mut seen: Vec<Observation> = Vec::new();
    while world.step() {
        seen.clear();
        seen.extend(world.observed());
        for observation in &seen {
            checkers.observe(observation);
            recorder.observe(observation);
        }
        look(&world, &seen);
    }
    outcome(&world, &checkers, &recorder)
}

fn outcome(world: &World, checkers: &Checkers, recorder: &Recorder) -> Outcome {
    let lasted = world.now().since(chinwag_base::Moment::ZERO);
    let mut exercised = world.tally().clone();
    let traffic = world.traffic();
    exercised.extend([
        ("frames", traffic.frames),
        ("packets_lost", traffic.lost),
        ("packets_blocked", traffic.blocked),
        ("datagrams_doubled", traffic.doubled),
        ("datagrams_overtaken", traffic.overtaken),
        ("bulk_frames_refused", traffic.refused),
    ]);
    Outcome {
        seed: world.plan().seed,
        trace_hash: world.trace_hash(),
        events: world.events(),
        lasted,
        failed: checkers.violations().to_vec(),
        exercised,
        checked: checkers.looked_at().collect(),
        figures: Figures::of_run(recorder, checkers, &traffic, world.plan().hosts, lasted),
        traffic,
    }
}

/// How long things may take in a run of this plan.
///
/// The bounds are those that the protocols promise (`membership` and `gossip` have the reasons), with what the plan's
/// network adds: a stalled stream waits for its retry, and a slow link for its data.
pub fn patience(plan: &Plan) -> Patience {
    let network = &plan.network;
    let round_trip = Duration::from_micros(2 * (network.latency_us.1 + network.distance_us));
    let has = |what: fn(&Action) -> bool| plan.steps.iter().any(|step| what(&step.action));
    let slow = match plan.profile {
        Profile::Fast | Profile::Lan => 1,
        Profile::Wan => 2,
    };
    // Packets are lost several times in a row now and then; each time the stream waits twice as long.
    let lossy = match network.loss {
        _ if network.transport == Transport::Datagrams => 2,
        loss if loss > 0.1 => 16,
        loss if loss > 0.0 => 8,
        _ => 2,
    };
    let retries = round_trip.max(Duration::from_millis(30)) * lossy;
    // With stalls that a member has admitted, silence alone takes four times as long as phi does.
    let cuts = has(|action| matches!(action, Action::Cut { .. } | Action::Partition { .. }));
    let stalls = has(|action| matches!(action, Action::Pause { .. }));
    let data = network.bytes_per_second.map_or(Duration::ZERO, |rate| {
        let bytes = 600 * plan.steps.len() as u64 * u64::from(plan.hosts);
        Duration::from_millis(bytes * 1_000 / rate)
    });
    // Where logs are cut, somebody takes whole cells, slice by slice, from one who may have to take them first. Each slice is a
    // round trip and a commit; and whoever was asked in vain is left alone for a while.
    let cells = if plan.state.log_bytes < StatePlan::default().log_bytes {
        let bytes = 200 * plan.steps.len();
        let slices = 2 + (bytes / plan.state.slice_bytes.max(1)).min(plan.steps.len()) as u32;
        let rest = chinwag_gossip::Config::default().rest;
        2 * slices * (round_trip + 2 * Duration::from_micros(plan.disk.fsync_us.1)) + 2 * retries + rest
    } else {
        Duration::ZERO
    };
    const ROUND: Duration = Duration::from_millis(1_200);
    Patience {
        crash_known: Duration::from_secs(if stalls { 160 } else { 45 * slow }),
        // A stream that a cut has stalled is retried up to a minute later.
        meshed: Duration::from_secs(if cuts { 140 } else { 75 }),
        converged: 3 * ROUND + 3 * retries + 8 * Duration::from_micros(plan.disk.fsync_us.1) + data + cells,
        aftermath: Duration::from_secs(45 * slow),
    }
}

//! Many seeds on all cores.

use crate::args::Args;
use crate::report;
use chinwag_sim::run::{self, Outcome};
use chinwag_sim::swarm;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What came of one seed.
pub(crate) struct Seed {
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    /// Whether a second run of it was another one.
    pub(crate) differs: Option<bool>,
}

/// Runs the seeds, and says what came of them. Whether all passed.
pub(crate) fn go(args: &Args, seeds: u64) -> Result<bool, String> {
    if seeds == 0 {
        return Err("no seeds: at least one is wanted".to_owned());
    }
    let threads =
        args.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let next = AtomicU64::new(args.seed);
    let end = args.seed.checked_add(seeds).ok_or("the last seed would be above 2^64")?;
    let all = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let bar = report::bar(seeds, "seeds");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let done = one(args, seed);
                    if !done.outcome.failed.is_empty() {
                        bar.suspend(|| report::say(&report::of_failed(&done.outcome, &args.replay(seed))));
                        stop.store(args.shrink, Ordering::Relaxed);
                    }
                    all.lock().expect("not poisoned, because nothing panics while it is held").push(done);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut all = all.into_inner().expect("not poisoned, as above");
    all.sort_by_key(|seed| seed.outcome.seed);
    let summary = report::Summary::of(&all, began.elapsed());
    report::print(&if args.json { summary.to_json(args) } else { summary.to_text() });
    if args.shrink
        && let Some(worst) = all.iter().find(|seed| !seed.outcome.failed.is_empty())
    {
        crate::failed(args, &swarm::draw(worst.outcome.seed, &args.wishes()), &worst.outcome)?;
    }
    Ok(summary.passed())
}

fn one(args: &Args, seed: u64) -> Seed {
    let plan = swarm::draw(seed, &args.wishes());
    let began = Instant::now();
    let outcome = run::run(&plan);
    let took = began.elapsed();
    let again = args.twice_every > 0 && seed.is_multiple_of(args.twice_every);
    let differs = again.then(|| run::run(&plan).trace_hash != outcome.trace_hash);
    Seed { outcome, took, differs }
}

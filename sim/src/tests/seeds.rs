//! Seeds of every test run; `chinwag-sim --seeds 2000` is the long form. A seed that once failed stays here.

use crate::run::run;
use crate::swarm::{Wishes, draw};

/// Seeds that once showed a fault of a core, each with what it showed.
const ONCE_FAILED: [(u64, &str); 0] = [];

#[test]
fn drawn_overlays_keep_what_they_promise() {
    let kept = ONCE_FAILED.iter().map(|(seed, _)| *seed);
    let mut counted = 0;
    for seed in (0..12).chain(kept) {
        let outcome = run(&draw(seed, &Wishes::default()));
        assert!(outcome.failed.is_empty(), "seed {seed}: {:#?}", outcome.failed);
        counted += usize::from(outcome.counts());
    }
    assert!(counted >= 8, "only {counted} seeds had faults, writes and company");
}

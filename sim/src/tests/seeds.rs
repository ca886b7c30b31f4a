//! Seeds of every test run; `chinwag-sim --seeds 2000` is the long form. A seed that once failed stays here.

use crate::run::run;
use crate::swarm::{Wishes, draw};

/// Seeds that once failed, each with what it showed.
const ONCE_FAILED: [(u64, &str); 12] = [
    (91, "a wiped disk and a clock that is behind: the process stops, and nobody starts it again"),
    (962, "a stream that a cut has stalled is retried up to as late as the cut was long"),
    (1325, "a record that all owners held was not found: all were late, and stand-ins had never heard of it"),
    (1438, "a host that leaves while all is mended takes along what only it holds"),
    (1480, "a node that has just started counts one that has left among the owners"),
    (2698, "an owner had no room; when it has, nobody hands over what it lacks, and the others leave"),
    (2903, "a session under a promise of which nobody covers all any more: its maker's disk was lost"),
    (3005, "a lost row, and after it a session whose end covered what the row had done"),
    (3740, "one of three was cut off; its only verifier's probe is lost just after"),
    (4352, "one who has not heard of a goodbye, and all who had have forgotten the member"),
    (5041, "cells in slices of 300 bytes: the run ended before they had to be there, and took them for lost"),
    (7559, "a write to a cell that the disk had damaged before, and then that disk was lost"),
];

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

//! SIGSTOP and SIGCONT while clients write: a suspended laptop, a machine that swaps.

use super::luck::Luck;
use super::phase::{Load, agree_on, declared_dead};
use super::witness::Witness;
use crate::harness::{Ground, PATIENCE};
use crate::history::Answer;
use crate::settings::is_long;
use chinwag_sim::observation::Host;
use std::time::{Duration, Instant};

/// How long a pause is at most: long enough to be taken for dead.
const PAUSE_MS_MAX: u64 = 4_000;
/// How long all run between two of them at most.
const RUN_MS_MAX: u64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_are_paused_again_and_again_lose_nothing_and_accuse_nobody_who_runs() {
    let mut luck = Luck::of_this_run();
    let (ground, witness) = (Ground::new(), Witness::default());
    (0..3).for_each(|host| witness.starts(Host(host)));
    let daemons = ground.overlay(["alpha", "beta", "gamma"]).await;
    let load = Load::begin("all", &daemons, &witness);
    let lasts = Duration::from_secs(if is_long() { 40 } else { 8 });
    let (begun, mut pauses) = (Instant::now(), 0);
    while begun.elapsed() < lasts {
        // Never the first one: somebody has to be there whom nobody may accuse.
        let one = 1 + luck.below(2) as usize;
        witness.pauses(Host(one as u32));
        daemons[one].pause();
        tokio::time::sleep(Duration::from_millis(luck.below(PAUSE_MS_MAX))).await;
        witness.resumes(Host(one as u32));
        daemons[one].resume();
        tokio::time::sleep(Duration::from_millis(luck.below(RUN_MS_MAX))).await;
        pauses += 1;
    }
    let history = load.end().await;
    let equal = agree_on(&history, &daemons).await;
    witness.judges(&daemons.each_ref(), &[], PATIENCE).await;
    let (writes, dead) = (history.count(Answer::Acknowledged), declared_dead(&daemons));
    eprintln!("{writes} writes in {pauses} pauses, equal {equal:?} after the last; declared dead: {dead:?}");
    assert!(writes > 0 && pauses > 0);
    assert!(dead.iter().all(|(_, whom)| whom != "alpha"), "{dead:?}");
}

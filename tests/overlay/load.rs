//! The mixed load: writes of all types at three daemons at once, one of which is killed and one paused meanwhile.

use crate::harness::{Ground, PATIENCE, agree};
use crate::history::{Answer, History};
use crate::settings::is_long;
use crate::writer::{Writer, state};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How much, and how long the pause is.
struct Size {
    writes: usize,
    writers_per_daemon: usize,
    pause: Duration,
    /// All are equal so soon after the last of everything.
    equal_within: Duration,
}

impl Size {
    fn asked() -> Self {
        if is_long() {
            let (pause, equal_within) = (Duration::from_secs(20), Duration::from_secs(5));
            Size { writes: 20_000, writers_per_daemon: 16, pause, equal_within }
        } else {
            let pause = Duration::from_secs(3);
            Size { writes: 1_500, writers_per_daemon: 4, pause, equal_within: PATIENCE }
        }
    }
}

async fn reached(done: &AtomicUsize, many: usize) {
    while done.load(Ordering::Relaxed) < many {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_under_a_mixed_load_with_a_kill_and_a_pause() {
    let size = Size::asked();
    let ground = Ground::new();
    let [alpha, beta, mut gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    let done = Arc::new(AtomicUsize::new(0));
    let writers = 3 * size.writers_per_daemon;
    let mut tasks = Vec::new();
    for daemon in [&alpha, &beta, &gamma] {
        for number in 0..size.writers_per_daemon {
            let name = format!("{}{number}", daemon.name);
            let client = daemon.client.clone();
            let writer = Writer::new(name, client, done.clone());
            tasks.push(tokio::spawn(writer.run(size.writes / writers)));
        }
    }

    let begun = Instant::now();
    reached(&done, size.writes / 5).await;
    gamma.kill_9();
    reached(&done, size.writes * 3 / 10).await;
    gamma.start_again().await;
    reached(&done, size.writes / 2).await;
    let before = done.load(Ordering::Relaxed);
    beta.pause();
    tokio::time::sleep(size.pause).await;
    beta.resume();
    let during = done.load(Ordering::Relaxed) - before;
    assert!(during > 0, "the others went on while beta was paused");
    let mut history = History::default();
    for task in tasks {
        history.follow(task.await.unwrap());
    }
    let quiet = Instant::now();
    agree(&[&alpha, &beta, &gamma]).await;
    let equal_after = quiet.elapsed();

    let [yes, no, none] = [Answer::Acknowledged, Answer::Refused, Answer::None].map(|a| history.count(a));
    eprintln!(
        "{yes} acknowledged, {no} refused, {none} unanswered in {:?}, {during} of them while beta was paused; \
         all equal {equal_after:?} after the last",
        quiet - begun,
    );
    assert!(yes > size.writes * 8 / 10, "most were acknowledged");
    assert!(equal_after < size.equal_within, "equal after {equal_after:?}");
    for daemon in [&alpha, &beta, &gamma] {
        let violations = history.violations(&state(daemon).await);
        assert!(violations.is_empty(), "{}: {violations:#?}", daemon.name);
    }
    assert_eq!(gamma.accused().iter().filter(|name| *name != "beta").count(), 0, "{:?}", gamma.accused());
    assert_eq!(beta.accused().iter().filter(|name| *name != "gamma").count(), 0, "{:?}", beta.accused());
}

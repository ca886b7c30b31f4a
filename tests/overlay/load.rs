//! The mixed load: writes of all types at three daemons at once, one of which is killed and one paused meanwhile.

use crate::harness::{Daemon, Ground, PATIENCE, add, agree, del, incr, rm, set};
use crate::history::{Answer, History, Touch};
use chinwag_api::{Client, Content, Failure, KeysQuery, Kind, WriteOp, WriteRequest};
use std::collections::BTreeMap;
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
        if std::env::var_os("CHINWAG_LONG").is_some_and(|v| v == "1") {
            let (pause, equal_within) = (Duration::from_secs(20), Duration::from_secs(5));
            Size { writes: 20_000, writers_per_daemon: 16, pause, equal_within }
        } else {
            let pause = Duration::from_secs(3);
            Size { writes: 1_500, writers_per_daemon: 4, pause, equal_within: PATIENCE }
        }
    }
}

/// A client with a mind of its own: its registers and elements are nobody else's.
struct Writer {
    name: String,
    client: Client,
    history: History,
    done: Arc<AtomicUsize>,
}

impl Writer {
    async fn run(mut self, writes: usize) -> History {
        for n in 0..writes {
            let (name, element) = (self.name.clone(), format!("{}-{n}", self.name));
            // A few keys each, so that a write mostly replaces one; small and unequal increments, so that a sum
            // tells which of them it has.
            match n % 8 {
                0..=2 => {
                    let (key, value) = (format!("r/{name}/{}", n % 5), n.to_string());
                    let answer = self.write(set(&key, &value)).await;
                    self.history.wrote(&key, Some(&value), answer);
                }
                3 => {
                    let key = format!("r/{name}/{}", n % 3);
                    let answer = self.write(del(&key)).await;
                    self.history.wrote(&key, None, answer);
                }
                4 => self.touch("s/all", &element, Touch::Add).await,
                5 => {
                    let key = format!("s/{name}");
                    self.touch(&key, &element, Touch::Add).await;
                    if n % 16 == 5 {
                        self.touch(&key, &element, Touch::Remove).await;
                    }
                }
                6 => self.increment("n/all", n as i64 + 1).await,
                _ => self.increment(&format!("n/{name}"), 3 - n as i64).await,
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        self.history
    }

    async fn touch(&mut self, key: &str, element: &str, touch: Touch) {
        let op = match touch {
            Touch::Add => add(key, &[element]),
            Touch::Remove => rm(key, &[element]),
        };
        let answer = self.write(op).await;
        self.history.touched(key, element, touch, answer);
    }

    async fn increment(&mut self, key: &str, by: i64) {
        let answer = self.write(incr(key, by)).await;
        self.history.incremented(key, by, answer);
    }

    /// Asks until there is an answer, or until it cannot be known whether there was one.
    async fn write(&self, op: WriteOp) -> Answer {
        let request = WriteRequest { ops: vec![op], ..WriteRequest::default() };
        let begun = Instant::now();
        loop {
            match self.client.write(&request).await {
                Ok(_) => return Answer::Acknowledged,
                // Nobody was there to ask: the daemon is between two lives.
                Err(Failure { kind: Kind::Unreachable | Kind::Busy, .. }) => {
                    assert!(begun.elapsed() < 2 * PATIENCE, "{}: nobody answers", self.name);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(Failure { kind: Kind::Gone | Kind::Timeout, .. }) => return Answer::None,
                Err(Failure { kind: Kind::NoSuchKey | Kind::NoSuchElement, .. }) => return Answer::Refused,
                Err(other) => panic!("{} may not write: {other}", self.name),
            }
        }
    }
}

async fn reached(done: &AtomicUsize, many: usize) {
    while done.load(Ordering::Relaxed) < many {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Everything that a daemon holds.
async fn state(daemon: &Daemon) -> BTreeMap<String, Content> {
    let mut state = BTreeMap::new();
    let mut query = KeysQuery::default();
    loop {
        let page = daemon.client.keys(&query).await.unwrap();
        for row in page.keys {
            let content = daemon.get(&row.key).await.unwrap();
            state.insert(row.key, content);
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return state,
        }
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
            let writer = Writer { name, client, history: History::default(), done: done.clone() };
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

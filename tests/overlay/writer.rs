//! A client that writes and remembers what it was told, and the look at a daemon that this is held against.

use crate::faults::witness::Witness;
use crate::harness::{Daemon, PATIENCE, add, del, incr, rm, set};
use crate::history::{Answer, History, Touch};
use chinwag_api::{Client, Content, Failure, KeysQuery, Kind, WriteOp, WriteRequest};
use chinwag_sim::observation::Host;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A client with a mind of its own: its registers and elements are nobody else's.
#[derive(Debug)]
pub(crate) struct Writer {
    name: String,
    client: Client,
    history: History,
    /// Writes begun so far, over its whole life: values are never used twice.
    begun: usize,
    done: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    watched: Option<(Host, Witness)>,
}

impl Writer {
    /// One that writes through `client`, and counts in `done` what it has done.
    pub(crate) fn new(name: String, client: Client, done: Arc<AtomicUsize>) -> Self {
        Writer {
            name,
            client,
            history: History::default(),
            begun: 0,
            done,
            stop: Arc::default(),
            watched: None,
        }
    }

    /// Has somebody watch what it asks of the daemon of this host, and what it is told.
    pub(crate) fn watched(mut self, host: Host, by: &Witness) -> Self {
        self.watched = Some((host, by.clone()));
        self
    }

    /// Whether what is under a key is its doing alone.
    pub(crate) fn owns(&self, key: &str) -> bool {
        let mut parts = key.split('/').skip(1);
        parts.next() == Some(&self.name)
    }

    /// What it did, and what it was told.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Set, it ends after the write under way.
    pub(crate) fn stop(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Goes on through a daemon's next life.
    pub(crate) fn resume(&mut self, client: Client) {
        self.client = client;
        self.stop.store(false, Ordering::Relaxed);
    }

    /// Writes so often.
    pub(crate) async fn run(mut self, writes: usize) -> History {
        for _ in 0..writes {
            self.step().await;
        }
        self.history
    }

    /// Writes until it is told to stop.
    pub(crate) async fn run_until_stopped(mut self) -> Self {
        while !self.stop.load(Ordering::Relaxed) {
            self.step().await;
        }
        self
    }

    async fn step(&mut self) {
        let n = self.begun;
        self.begun += 1;
        let (name, element) = (self.name.clone(), format!("{}-{n}", self.name));
        // A few keys each, so that a write mostly replaces one; small and unequal increments, so that a sum
        // tells which of them it has. The simulator's checkers know by a key's namespace what they may expect of it:
        // what is in `count/` only rises.
        match n % 8 {
            0..=2 => {
                let key = format!("reg/{name}/{}", n % 5);
                let answer = self.write(set(&key, &element)).await;
                self.history.wrote(&key, Some(&element), answer);
            }
            3 => {
                let key = format!("reg/{name}/{}", n % 3);
                let answer = self.write(del(&key)).await;
                self.history.wrote(&key, None, answer);
            }
            4 => self.touch("set/all", &element, Touch::Add).await,
            5 => {
                let key = format!("set/{name}");
                self.touch(&key, &element, Touch::Add).await;
                if n % 16 == 5 {
                    self.touch(&key, &element, Touch::Remove).await;
                }
            }
            6 => self.increment("count/all", n as i64 + 1).await,
            _ => self.increment(&format!("sum/{name}"), 3 - n as i64).await,
        }
        self.done.fetch_add(1, Ordering::Relaxed);
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

    async fn write(&self, op: WriteOp) -> Answer {
        let Some((host, witness)) = &self.watched else { return self.ask(op).await.0 };
        let request = witness.asks(*host, &op);
        let (answer, holders) = self.ask(op).await;
        match answer {
            Answer::Acknowledged => witness.is_told_written(request, holders),
            Answer::Refused => witness.is_told_refused(request),
            Answer::None => {}
        }
        answer
    }

    /// Asks until there is an answer, or until it cannot be known whether there was one. Says how many hold it, too.
    async fn ask(&self, op: WriteOp) -> (Answer, usize) {
        let request = WriteRequest { ops: vec![op.into()], ..WriteRequest::default() };
        let begun = Instant::now();
        let refused = loop {
            match self.client.write(&request).await {
                Ok(reply) => return (Answer::Acknowledged, reply.holders as usize),
                // Nobody was there to ask, and nobody will be.
                Err(Failure { kind: Kind::Unreachable, .. }) if self.stop.load(Ordering::Relaxed) => {
                    break Answer::Refused;
                }
                // Nobody was there to ask: the daemon is between two lives.
                Err(Failure { kind: Kind::Unreachable | Kind::Busy, .. }) => {
                    assert!(begun.elapsed() < 2 * PATIENCE, "{}: nobody answers", self.name);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(Failure { kind: Kind::Gone | Kind::Timeout, .. }) => break Answer::None,
                Err(Failure { kind: Kind::NoSuchKey | Kind::NoSuchElement, .. }) => break Answer::Refused,
                Err(other) => panic!("{} may not write: {other}", self.name),
            }
        };
        (refused, 0)
    }
}

/// Everything that a daemon holds.
pub(crate) async fn state(daemon: &Daemon) -> BTreeMap<String, Content> {
    state_under(daemon, |_| true).await
}

/// Everything that a daemon holds under the keys that are `wanted`.
pub(crate) async fn state_under(daemon: &Daemon, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Content> {
    let mut state = BTreeMap::new();
    let mut query = KeysQuery::default();
    loop {
        let page = daemon.client.keys(&query).await.unwrap();
        for row in page.keys.into_iter().filter(|row| wanted(&row.key)) {
            let content = daemon.get(&row.key).await.unwrap();
            state.insert(row.key, content);
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return state,
        }
    }
}

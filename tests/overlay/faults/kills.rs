//! kill -9 while clients write: what was acknowledged is there in the next life, and all agree after each round.
//!
//! Three daemons, each with two writers. A round lets each live for a random while under load, kills it in the middle of
//! whatever it does, and starts it again, all three independently of each other: often two or three of them are gone at
//! once. Every second start is itself killed at a random moment, and another follows.

use super::luck::Luck;
use super::witness::Witness;
use crate::harness::{Daemon, Ground, PATIENCE, agree};
use crate::history::{Answer, History};
use crate::settings::is_long;
use crate::writer::{Writer, state, state_under};
use chinwag_sim::observation::Host;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Of the last rounds and of every so many, all that was ever written is looked at, at all three.
const ROUNDS_BETWEEN_LOOKS: usize = 20;
const WRITERS_EACH: usize = 2;
/// How long a daemon lives under load at most.
const LIFE_MAX: Duration = Duration::from_millis(400);
/// A start that is killed has come so far at most.
const START_MAX: Duration = Duration::from_millis(60);

/// When the faults of one daemon fall in one round.
struct Fate {
    life: Duration,
    start: Option<Duration>,
}

impl Fate {
    fn draw(luck: &mut Luck) -> Self {
        let mut within = |most: Duration| Duration::from_micros(luck.below(most.as_micros() as u64));
        let (life, start) = (within(LIFE_MAX), within(START_MAX));
        Fate { life, start: (luck.below(2) == 0).then_some(start) }
    }

    fn kills(&self) -> usize {
        1 + usize::from(self.start.is_some())
    }
}

/// One life of a daemon under load, its end, and the beginning of the next, in which all is there.
async fn live(daemon: &mut Daemon, writers: &mut Vec<Writer>, fate: &Fate, host: Host, witness: &Witness) {
    let mut stops = Vec::new();
    let mut tasks = Vec::new();
    for mut writer in writers.drain(..) {
        writer.resume(daemon.client.clone());
        stops.push(writer.stop());
        tasks.push(tokio::spawn(writer.run_until_stopped()));
    }
    tokio::time::sleep(fate.life).await;
    daemon.kill_9();
    witness.killed(host);
    for stop in stops {
        stop.store(true, Ordering::Relaxed);
    }
    for task in tasks {
        writers.push(task.await.unwrap());
    }

    if let Some(start) = fate.start {
        witness.starts(host);
        daemon.spawn_again();
        tokio::time::sleep(start).await;
        daemon.kill_9();
        witness.killed(host);
    }
    witness.starts(host);
    daemon.start_again().await;
    for writer in writers {
        let own = state_under(daemon, |key| writer.owns(key)).await;
        let violations = writer.history().under(|key| writer.owns(key)).violations(&own);
        assert!(violations.is_empty(), "{} after a kill: {violations:#?}", daemon.name);
    }
}

fn all<'a>(writers: impl IntoIterator<Item = &'a Writer>) -> History {
    let mut history = History::default();
    writers.into_iter().for_each(|writer| history.follow(writer.history().clone()));
    history
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_all_members_at_random_moments_loses_nothing_that_was_acknowledged() {
    let rounds = if is_long() { 102 } else { 4 };
    let mut luck = Luck::of_this_run();
    let (ground, witness, hosts) = (Ground::new(), Witness::default(), [Host(0), Host(1), Host(2)]);
    hosts.iter().for_each(|host| witness.starts(*host));
    let mut daemons = ground.overlay(["alpha", "beta", "gamma"]).await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut writers = hosts.map(|host| {
        let daemon = &daemons[host.index()];
        let writer = |n| Writer::new(format!("{}{n}", daemon.name), daemon.client.clone(), done.clone());
        (0..WRITERS_EACH).map(|n| writer(n).watched(host, &witness)).collect::<Vec<_>>()
    });
    let (mut kills, mut slowest) = (0, Duration::ZERO);
    for round in 1..=rounds {
        let fates: [Fate; 3] = std::array::from_fn(|_| Fate::draw(&mut luck));
        kills += fates.iter().map(Fate::kills).sum::<usize>();
        let [alpha, beta, gamma] = &mut daemons;
        let [a, b, c] = &mut writers;
        tokio::join!(
            live(alpha, a, &fates[0], hosts[0], &witness),
            live(beta, b, &fates[1], hosts[1], &witness),
            live(gamma, c, &fates[2], hosts[2], &witness),
        );

        let begun = Instant::now();
        agree(&daemons.each_ref()).await;
        slowest = slowest.max(begun.elapsed());
        if round == rounds || round % ROUNDS_BETWEEN_LOOKS == 0 {
            let history = all(writers.iter().flatten());
            for daemon in &daemons {
                let violations = history.violations(&state(daemon).await);
                assert!(violations.is_empty(), "{} in round {round}: {violations:#?}", daemon.name);
            }
        }
    }
    witness.judges(&daemons.each_ref(), &[], PATIENCE).await;
    let history = all(writers.iter().flatten());
    let [yes, no, none] = [Answer::Acknowledged, Answer::Refused, Answer::None].map(|a| history.count(a));
    eprintln!(
        "{kills} kills in {rounds} rounds; {yes} writes acknowledged, {no} refused, {none} unanswered; all agreed \
         within {slowest:?} of the last start of each round"
    );
    assert!(kills >= 3 * rounds && yes > rounds && none > 0, "the kills fell into writes");
}

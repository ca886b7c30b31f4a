//! One daemon that is killed again and again while clients write: a thousand lives of one store (`CHINWAG_LONG=1`), each
//! of which is checked before the next begins.

use super::luck::Luck;
use crate::harness::{Daemon, Ground};
use crate::history::{Answer, History};
use crate::settings::is_long;
use crate::writer::{Writer, state};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const WRITERS: usize = 4;
/// How long a life under load lasts at most.
const LIFE_MAX: Duration = Duration::from_millis(150);
/// Lives between two looks at all that was ever written. The store is checked after each.
const LIVES_BETWEEN_LOOKS: usize = 50;

async fn live(daemon: &mut Daemon, writers: &mut Vec<Writer>, life: Duration) {
    let (mut stops, mut tasks) = (Vec::new(), Vec::new());
    for mut writer in writers.drain(..) {
        writer.resume(daemon.client.clone());
        stops.push(writer.stop());
        tasks.push(tokio::spawn(writer.run_until_stopped()));
    }
    tokio::time::sleep(life).await;
    daemon.kill_9();
    stops.iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
    for task in tasks {
        writers.push(task.await.unwrap());
    }
}

fn all(writers: &[Writer]) -> History {
    let mut history = History::default();
    writers.iter().for_each(|writer| history.follow(writer.history().clone()));
    history
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_survives_kill_9_again_and_again_and_every_check_is_clean() {
    let lives = if is_long() { 1_000 } else { 10 };
    let mut luck = Luck::of_this_run();
    let ground = Ground::new();
    // So that kills fall into checkpoints too.
    let mut daemon = ground.start_with("alpha", &["--checkpoint-every", "64"], &[]).await;
    let done = Arc::new(AtomicUsize::new(0));
    let writer = |n| Writer::new(format!("w{n}"), daemon.client.clone(), done.clone());
    let mut writers: Vec<Writer> = (0..WRITERS).map(writer).collect();
    let data = daemon.data.display().to_string();
    for n in 1..=lives {
        let life = Duration::from_micros(luck.below(LIFE_MAX.as_micros() as u64));
        live(&mut daemon, &mut writers, life).await;
        let told = ground.cli(["check", "--data", &data]).await;
        assert_eq!(told.code, 0, "after kill {n}: {}{}", told.out, told.err);
        daemon.start_again().await;
        if n == lives || n % LIVES_BETWEEN_LOOKS == 0 {
            let violations = all(&writers).violations(&state(&daemon).await);
            assert!(violations.is_empty(), "after kill {n}: {violations:#?}");
            let check = daemon.client.check(&Default::default()).await.unwrap();
            assert!(check.healthy, "after kill {n}: {check:#?}");
        }
    }
    let history = all(&writers);
    let [yes, no, none] = [Answer::Acknowledged, Answer::Refused, Answer::None].map(|a| history.count(a));
    eprintln!(
        "{lives} kills; {yes} writes acknowledged, {no} refused, {none} unanswered; every check was clean"
    );
    assert!(yes > lives && none > 0, "the kills fell into writes");
}

//! Strangers at the open ports while members write.

use crate::harness::{Ground, agree};
use crate::history::{Answer, History};
use crate::hostile::{noise, port, resident_kib};
use crate::writer::{Writer, state};
use chinwag_base::address::Transport;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const CONNECTIONS: u64 = 1_000;
/// What a daemon may grow by under them.
const GROWTH_KIB_MAX: u64 = 200 * 1_024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_garbage_connections_during_writes_disturb_nobody() {
    let ground = Ground::new();
    let daemons = ground.overlay(["alpha", "beta", "gamma"]).await;
    let before = resident_kib(&daemons[0]);
    let done = Arc::new(AtomicUsize::new(0));
    let (mut stops, mut tasks) = (Vec::new(), Vec::new());
    for daemon in &daemons {
        let writer = Writer::new(daemon.name.clone(), daemon.client.clone(), done.clone());
        stops.push(writer.stop());
        tasks.push(tokio::spawn(writer.run_until_stopped()));
    }
    let at = port(&daemons[0], Transport::Tcp).await;
    let begun = Instant::now();
    let knock = move || {
        let mut held = Vec::new();
        for seed in 0..CONNECTIONS {
            // It may refuse or hang up on us: that is its right.
            let Ok(mut stream) = TcpStream::connect(at) else { continue };
            let _ = stream.write_all(&noise(seed + 1, 1 << (seed % 13)));
            // Every third stays, so that there are more of them than there is room for.
            if seed % 3 == 0 {
                held.push(stream);
            }
        }
        held
    };
    let held = tokio::task::spawn_blocking(knock).await.unwrap();
    let (took, writes) = (begun.elapsed(), done.load(Ordering::Relaxed));
    stops.iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
    let mut history = History::default();
    for task in tasks {
        history.follow(task.await.unwrap().history().clone());
    }
    agree(&daemons.each_ref()).await;
    drop(held);
    eprintln!("{CONNECTIONS} connections in {took:?}, and {writes} writes meanwhile");
    assert!(writes > 0 && history.count(Answer::None) == 0, "all are answered");
    for daemon in &daemons {
        let violations = history.violations(&state(daemon).await);
        assert!(violations.is_empty(), "{}: {violations:#?}", daemon.name);
        assert_eq!(daemon.accused(), [""; 0], "by {}", daemon.name);
    }
    if let (Some(before), Some(after)) = (before, resident_kib(&daemons[0])) {
        assert!(after < before + GROWTH_KIB_MAX, "{before} KiB before, {after} KiB after");
    }
}

//! Strangers at the open ports while members write.

use super::phase::{Load, agree_on};
use super::witness::Witness;
use crate::harness::{Ground, PATIENCE, eventually, so};
use crate::history::Answer;
use crate::hostile::{noise, port, resident_kib};
use chinwag_base::address::Transport;
use chinwag_sim::observation::Host;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Instant;

const CONNECTIONS: u64 = 1_000;
/// Writes that are made at least, so that each kind is among them.
const WRITES_MIN: usize = 80;
/// What a daemon may grow by under them.
const GROWTH_KIB_MAX: u64 = 200 * 1_024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_garbage_connections_during_writes_disturb_nobody() {
    let (ground, witness) = (Ground::new(), Witness::default());
    (0..3).for_each(|host| witness.starts(Host(host)));
    let daemons = ground.overlay(["alpha", "beta", "gamma"]).await;
    let before = resident_kib(&daemons[0]);
    let load = Load::begin("all", &daemons, &witness);
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
    let (took, writes) = (begun.elapsed(), load.done());
    // On a quick machine the noise is over after a few writes. The checkers need some of each kind.
    let more = async || so(load.done() >= WRITES_MIN, || format!("{} writes", load.done()));
    eventually("the writers go on", more).await;
    let history = load.end().await;
    agree_on(&history, &daemons).await;
    drop(held);
    eprintln!("{CONNECTIONS} connections in {took:?}, and {writes} writes meanwhile");
    assert!(writes > 0 && history.count(Answer::None) == 0, "all are answered");
    witness.judges(&daemons.each_ref(), &[], PATIENCE).await;
    for daemon in &daemons {
        assert_eq!(daemon.accused(), [""; 0], "by {}", daemon.name);
    }
    if let (Some(before), Some(after)) = (before, resident_kib(&daemons[0])) {
        assert!(after < before + GROWTH_KIB_MAX, "{before} KiB before, {after} KiB after");
    }
}

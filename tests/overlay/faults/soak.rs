//! Keys that are made and deleted without end: nothing may be left of them, in memory or on the disk. Ten minutes of it
//! (`CHINWAG_LONG=1`), by a lone daemon and in an overlay of which one member is down for half of the time.
//!
//! What may grow is history, up to a limit that is set low here; so nothing may grow any more once that is full.

use crate::harness::{Daemon, Ground, agree, del, set};
use crate::settings::is_long;
use chinwag_api::{Client, WriteRequest};
use std::time::{Duration, Instant};

/// Little history and many checkpoints: the horizon comes within seconds.
const FLAGS: [&str; 6] = ["--listen", "127.0.0.1:0", "--history-max", "64KiB", "--checkpoint-every", "256"];
/// Keys that live at a time.
const KEYS: usize = 64;
/// By how much the end may be above the middle, in parts of a hundred.
const GROWTH_MAX: u64 = 5;
const SAMPLES: u32 = 80;

fn lasts() -> Duration {
    Duration::from_secs(if is_long() { 600 } else { 20 })
}

/// Resident memory and the store's file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    memory: u64,
    disk: u64,
}

fn size(daemon: &Daemon) -> Size {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
    let disk = std::fs::metadata(daemon.data.join("store.redb")).unwrap().len();
    Size { memory: kib * 1024, disk }
}

/// Makes keys that there never were before, and deletes them. Says how many there have been.
async fn churn(client: &Client, from: usize) -> usize {
    let keys = || (from..from + KEYS).map(|n| format!("churn/{n}"));
    for ops in [
        keys().map(|key| set(key, &"v".repeat(100)).into()).collect::<Vec<_>>(),
        keys().map(|key| del(key).into()).collect(),
    ] {
        client.write(&WriteRequest { ops, ..WriteRequest::default() }).await.unwrap();
    }
    from + KEYS
}

/// The highest of the third quarter, which is after the horizon, and of the last.
fn is_flat(name: &str, samples: &[Size]) -> Result<(), String> {
    let quarter = samples.len() / 4;
    let highest = |samples: &[Size], of: fn(&Size) -> u64| samples.iter().map(of).max().unwrap();
    for (what, of) in
        [("memory", (|size: &Size| size.memory) as fn(&Size) -> u64), ("disk", |size| size.disk)]
    {
        let first = highest(&samples[..quarter], of);
        let middle = highest(&samples[2 * quarter..3 * quarter], of);
        let last = highest(&samples[3 * quarter..], of);
        let kib = |bytes: u64| bytes / 1024;
        eprintln!("{name}: {what} {} KiB, then {}, then {}", kib(first), kib(middle), kib(last));
        if last * 100 > middle * (100 + GROWTH_MAX) {
            return Err(format!("{name}: its {what} grows: {middle} bytes, then {last}"));
        }
    }
    Ok(())
}

async fn is_sound(daemon: &Daemon) {
    let check = daemon.client.check(&Default::default()).await.unwrap();
    assert!(check.healthy, "{}: {check:#?}", daemon.name);
    assert_eq!(daemon.status().await.keys, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_daemon_keeps_nothing_of_what_was_deleted() {
    let ground = Ground::new();
    let alpha = ground.start_with("alpha", &FLAGS, &[]).await;
    let (mut samples, mut keys) = (Vec::new(), 0);
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        while begun.elapsed() < lasts() / SAMPLES {
            keys = churn(&alpha.client, keys).await;
        }
        samples.push(size(&alpha));
    }
    eprintln!("{keys} keys made and deleted");
    is_flat("alpha", &samples).unwrap();
    is_sound(&alpha).await;
}

/// Two go on while the third is down for the first half, and is told whole cells when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlay_with_a_member_down_keeps_nothing_of_what_was_deleted() {
    let ground = Ground::new();
    let [alpha, beta, mut gamma] = ground.overlay_with(["alpha", "beta", "gamma"], &FLAGS).await;
    gamma.kill_9();
    let (mut of_alpha, mut of_beta, mut of_gamma, mut keys) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for sample in 0..SAMPLES {
        if sample == SAMPLES / 2 {
            gamma.start_again().await;
        }
        let begun = Instant::now();
        while begun.elapsed() < lasts() / SAMPLES {
            keys =
                churn(if (keys / KEYS).is_multiple_of(2) { &alpha.client } else { &beta.client }, keys).await;
        }
        of_alpha.push(size(&alpha));
        of_beta.push(size(&beta));
        if sample > SAMPLES / 2 {
            of_gamma.push(size(&gamma));
        }
    }
    eprintln!("{keys} keys made and deleted");
    agree(&[&alpha, &beta, &gamma]).await;
    for (daemon, samples) in [(&alpha, &of_alpha), (&beta, &of_beta), (&gamma, &of_gamma)] {
        is_flat(&daemon.name, samples).unwrap();
        is_sound(daemon).await;
    }
}

#[test]
fn growth_is_seen() {
    let samples = |growth: u64| -> Vec<Size> {
        (0..80).map(|n| Size { memory: 1_000, disk: 1_000 + if n < 60 { 0 } else { growth } }).collect()
    };
    assert!(is_flat("a test", &samples(50)).is_ok());
    assert!(is_flat("a test", &samples(51)).unwrap_err().contains("disk grows"));
}

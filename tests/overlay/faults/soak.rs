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
const SAMPLES: usize = 80;

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

/// What a daemon was found to take, in order.
#[derive(Default)]
struct Course(Vec<Size>);

impl Course {
    /// Of the latest samples, the highest of the third quarter, which is after the horizon, and of the last. What lies between
    /// them is measured by what there was in the third quarter of all: what grows must not be measured by itself.
    fn is_flat(&self, name: &str) -> Result<(), String> {
        let samples = &self.0[self.0.len().saturating_sub(SAMPLES)..];
        let quarter = samples.len() / 4;
        let begin = &self.0[..self.0.len().min(SAMPLES)];
        let highest = |samples: &[Size], of: fn(&Size) -> u64| samples.iter().map(of).max().unwrap();
        for (what, of) in
            [("memory", (|size: &Size| size.memory) as fn(&Size) -> u64), ("disk", |size| size.disk)]
        {
            let first = highest(&samples[..quarter], of);
            let middle = highest(&samples[2 * quarter..3 * quarter], of);
            let last = highest(&samples[3 * quarter..], of);
            let at_first = highest(&begin[2 * begin.len() / 4..3 * begin.len() / 4], of);
            let kib = |bytes: u64| bytes / 1024;
            eprintln!("{name}: {what} {} KiB, then {}, then {}", kib(first), kib(middle), kib(last));
            if last.saturating_sub(middle) * 100 > at_first * GROWTH_MAX {
                return Err(format!("{name}: its {what} grows: {middle} bytes, then {last}"));
            }
        }
        Ok(())
    }
}

/// Some daemons under churn.
struct Soak<'a> {
    daemons: Vec<(&'a Daemon, Course)>,
    keys: usize,
}

impl<'a> Soak<'a> {
    fn new(daemons: impl IntoIterator<Item = &'a Daemon>, keys: usize) -> Self {
        Soak { daemons: daemons.into_iter().map(|daemon| (daemon, Course::default())).collect(), keys }
    }

    /// Goes on for so many samples: each daemon in its turn makes keys and deletes them.
    async fn go_on(&mut self, samples: usize) {
        for _ in 0..samples {
            let begun = Instant::now();
            while begun.elapsed() < lasts() / SAMPLES as u32 {
                let turn = self.keys / KEYS % self.daemons.len();
                self.keys = churn(&self.daemons[turn].0.client, self.keys).await;
            }
            for (daemon, course) in &mut self.daemons {
                course.0.push(size(daemon));
            }
        }
    }

    /// Whatever an allocator or a thread takes once may come late, in a run of seconds on a busy machine. So if something
    /// has grown the soak goes on, twice at most: a step is over then, and what is kept of keys is not.
    async fn is_flat(&mut self) {
        for is_last in [false, false, true] {
            let courses = self.daemons.iter().map(|(daemon, course)| course.is_flat(&daemon.name));
            match courses.collect::<Result<Vec<_>, _>>() {
                Ok(_) => break,
                Err(growth) if is_last => panic!("{growth}"),
                Err(growth) => eprintln!("{growth}; does it go on?"),
            }
            self.go_on(SAMPLES).await;
        }
        eprintln!("{} keys made and deleted", self.keys);
    }
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
    let mut soak = Soak::new([&alpha], 0);
    soak.go_on(SAMPLES).await;
    soak.is_flat().await;
    is_sound(&alpha).await;
}

/// Two go on while the third is down for the first half, and is told whole cells when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlay_with_a_member_down_keeps_nothing_of_what_was_deleted() {
    let ground = Ground::new();
    let [alpha, beta, mut gamma] = ground.overlay_with(["alpha", "beta", "gamma"], &FLAGS).await;
    gamma.kill_9();
    let mut two = Soak::new([&alpha, &beta], 0);
    two.go_on(SAMPLES / 2).await;
    gamma.start_again().await;
    let mut all = Soak::new([&alpha, &beta, &gamma], two.keys);
    for ((_, course), (_, before)) in all.daemons.iter_mut().zip(two.daemons) {
        *course = before;
    }
    all.go_on(SAMPLES / 2).await;
    agree(&[&alpha, &beta, &gamma]).await;
    all.is_flat().await;
    agree(&[&alpha, &beta, &gamma]).await;
    for daemon in [&alpha, &beta, &gamma] {
        is_sound(daemon).await;
    }
}

#[test]
fn growth_is_seen() {
    let course = |growth: u64| {
        Course(
            (0..80).map(|n| Size { memory: 1_000, disk: 1_000 + if n < 60 { 0 } else { growth } }).collect(),
        )
    };
    assert!(course(50).is_flat("a test").is_ok());
    assert!(course(51).is_flat("a test").unwrap_err().contains("disk grows"));
    // What does not end is seen in each further stretch as well: 6 % of what there was, in a quarter of each.
    let leak = |stretches: u64| {
        Course((0..80 * stretches).map(|n| Size { memory: 1_000 + 3 * n, disk: 1_000 }).collect())
    };
    assert!((1..=3).all(|stretches| leak(stretches).is_flat("a test").is_err()));
}

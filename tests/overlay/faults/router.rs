//! A router between the five machines of a [`Net`](super::net::Net): it decides of each packet when it arrives, if ever.
//!
//! Each machine's TUN device gives it whole IPv4 packets to read and takes whole ones. A packet's destination says which
//! machine it is for; the link from its sender to there says whether it is cut or lost and how long it takes. Links are
//! *directed*: that A hears B says nothing of B hearing A, which is how real networks break and what `kill` never shows.
//!
//! On one link packets stay in order, as in a wire or a queue: while a delay falls, what was sent later waits for what
//! was sent before. Loss is drawn from a seeded generator for each link, so that one link's traffic does not change
//! another's luck.

use super::luck::Luck;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How large a packet may be that goes through.
pub(crate) const MTU: usize = 1_400;
/// Packets under way on one link at most; a full queue drops what comes.
const UNDER_WAY_MAX: usize = 4_096;
/// How soon the thread notices that it is to end, at the latest.
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);
const TCP: u8 = 6;
const UDP: u8 = 17;

/// One direction between two machines.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Link {
    /// How long a packet takes.
    pub(crate) delay: Duration,
    /// Of a thousand packets, so many are lost.
    pub(crate) loss_permille: u64,
    /// Nothing passes.
    pub(crate) cut: bool,
}

/// What the router has seen, so that a test can say that its faults were real.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) tcp: u64,
    pub(crate) udp: u64,
    pub(crate) lost: u64,
    /// Fell into a cut.
    pub(crate) cut: u64,
    /// Found a queue full.
    pub(crate) overflowed: u64,
}

/// A link, and what it remembers.
#[derive(Debug)]
struct Lane {
    link: Link,
    luck: Luck,
    under_way: usize,
    last_due: Option<Instant>,
}

impl Lane {
    fn new(seed: u64) -> Self {
        Lane { link: Link::default(), luck: Luck::new(seed), under_way: 0, last_due: None }
    }

    /// When a packet that is sent now arrives, if it does.
    fn carry(&mut self, now: Instant, seen: &mut Seen) -> Option<Instant> {
        if self.link.cut {
            seen.cut += 1;
            return None;
        }
        if self.luck.below(1_000) < self.link.loss_permille {
            seen.lost += 1;
            return None;
        }
        if self.under_way >= UNDER_WAY_MAX {
            seen.overflowed += 1;
            return None;
        }
        self.under_way += 1;
        let due = (now + self.link.delay).max(self.last_due.unwrap_or(now));
        self.last_due = Some(due);
        Some(due)
    }
}

/// All links between so many machines.
#[derive(Debug)]
struct Wires {
    machines: usize,
    lanes: Vec<Lane>,
    seen: Seen,
}

impl Wires {
    fn new(machines: usize, seed: u64) -> Self {
        let lanes = (0..machines * machines).map(|n| Lane::new(seed + n as u64)).collect();
        Wires { machines, lanes, seen: Seen::default() }
    }

    fn lane(&mut self, from: usize, to: usize) -> &mut Lane {
        &mut self.lanes[from * self.machines + to]
    }

    /// When a packet arrives that leaves `from` now, and where.
    fn route(&mut self, from: usize, packet: &[u8], now: Instant) -> Option<(usize, Instant)> {
        let to = destination(packet).filter(|to| *to < self.machines && *to != from)?;
        match packet[9] {
            TCP => self.seen.tcp += 1,
            UDP => self.seen.udp += 1,
            _ => {}
        }
        let Wires { machines, lanes, seen } = self;
        let due = lanes[from * *machines + to].carry(now, seen)?;
        Some((to, due))
    }
}

/// The number of the machine that a packet is for: machine `n` is 10.77.0.`n + 1`.
fn destination(packet: &[u8]) -> Option<usize> {
    match *packet.get(..20)? {
        [version_and_length, .., 10, 77, 0, last] if version_and_length >> 4 == 4 => {
            usize::from(last).checked_sub(1)
        }
        _ => None,
    }
}

/// A packet under way. The one that is due first is the greatest, as a heap wants it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due: Reverse<(Instant, u64)>,
    from: usize,
    to: usize,
    packet: Vec<u8>,
}

/// A thread that holds all devices and moves packets between them until this is dropped.
#[derive(Debug)]
pub(crate) struct Router {
    wires: Arc<Mutex<Wires>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Router {
    /// Routes between these devices, which never block.
    pub(crate) fn new(devices: Vec<tun_rs::SyncDevice>, seed: u64) -> Self {
        let wires = Arc::new(Mutex::new(Wires::new(devices.len(), seed)));
        let ends = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (wires, ends) = (wires.clone(), ends.clone());
            move || run(&devices, &wires, &ends)
        });
        Router { wires, ends, thread: Some(thread) }
    }

    fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap()
    }

    /// Changes the link from one machine to another.
    pub(crate) fn change(&self, from: usize, to: usize, change: impl FnOnce(&mut Link)) {
        change(&mut self.wires().lane(from, to).link);
    }

    /// What it has seen until now.
    pub(crate) fn seen(&self) -> Seen {
        self.wires().seen
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(devices: &[tun_rs::SyncDevice], wires: &Mutex<Wires>, ends: &AtomicBool) {
    let mut waiting: BinaryHeap<UnderWay> = BinaryHeap::new();
    let mut number = 0;
    let mut packet = [0; 2 * MTU];
    while !ends.load(Ordering::Relaxed) {
        let first = waiting.peek().map(|next| next.due.0.0.saturating_duration_since(Instant::now()));
        let patience = first.unwrap_or(LOOK_UP_EVERY).min(LOOK_UP_EVERY);
        let timeout = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        let mut ready: Vec<PollFd<'_>> = devices.iter().map(|d| PollFd::new(d, PollFlags::IN)).collect();
        // Interrupted or not: whoever has nothing to read says so below.
        let _ = poll(&mut ready, Some(&timeout));
        let readable: Vec<bool> = ready.iter().map(|device| !device.revents().is_empty()).collect();

        for (from, device) in devices.iter().enumerate().filter(|(from, _)| readable[*from]) {
            while let Ok(len) = device.recv(&mut packet) {
                let routed = wires.lock().unwrap().route(from, &packet[..len], Instant::now());
                if let Some((to, due)) = routed {
                    number += 1;
                    let due = Reverse((due, number));
                    waiting.push(UnderWay { due, from, to, packet: packet[..len].to_vec() });
                }
            }
        }
        while waiting.peek().is_some_and(|next| next.due.0.0 <= Instant::now()) {
            let Some(arrived) = waiting.pop() else { break };
            wires.lock().unwrap().lane(arrived.from, arrived.to).under_way -= 1;
            deliver(&devices[arrived.to], &arrived.packet);
        }
    }
}

/// Hands a packet to a machine. One whose device takes none any more loses it, as a full network card would.
fn deliver(device: &tun_rs::SyncDevice, packet: &[u8]) {
    while let Err(error) = device.send(packet) {
        if error.kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// The decisions, without a device: what is said of cuts and losses must be so.
#[cfg(test)]
mod checked {
    use super::*;

    fn packet(to: u8, protocol: u8) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x45;
        packet[9] = protocol;
        packet[16..20].copy_from_slice(&[10, 77, 0, to]);
        packet
    }

    #[test]
    fn a_cut_is_one_way() {
        let mut wires = Wires::new(3, 1);
        wires.lane(0, 1).link.cut = true;
        let now = Instant::now();
        assert_eq!(wires.route(0, &packet(2, TCP), now), None);
        assert_eq!(wires.route(1, &packet(1, UDP), now), Some((0, now)));
        assert_eq!(wires.route(0, &packet(3, UDP), now), Some((2, now)));
        assert_eq!(wires.seen, Seen { tcp: 1, udp: 2, cut: 1, ..Seen::default() });
    }

    #[test]
    fn what_is_for_nobody_goes_nowhere() {
        let mut wires = Wires::new(3, 1);
        let now = Instant::now();
        let ipv6 = [&[0x60][..], &[0; 39]].concat();
        for stray in [&packet(0, TCP)[..], &packet(4, TCP), &packet(1, TCP), &ipv6, &[0x45], &[]] {
            assert_eq!(wires.route(0, stray, now), None, "{stray:?}");
        }
        assert_eq!(wires.seen, Seen::default());
    }

    #[test]
    fn loss_is_as_asked_for_and_the_same_for_the_same_seed() {
        let lost = |seed| {
            let mut wires = Wires::new(2, seed);
            wires.lane(0, 1).link.loss_permille = 50;
            let now = Instant::now();
            let lost = |_: &i32| {
                let lost = wires.route(0, &packet(2, UDP), now).is_none();
                wires.lane(0, 1).under_way = 0;
                lost
            };
            (0..10_000).filter(lost).collect::<Vec<_>>()
        };
        assert_eq!(lost(1), lost(1));
        assert_ne!(lost(1), lost(2));
        for seed in 0..10 {
            let lost = lost(seed).len();
            assert!((400..600).contains(&lost), "{lost} of 10,000 at 5 %");
        }
    }

    #[test]
    fn a_link_keeps_its_order_and_has_a_bound() {
        let mut wires = Wires::new(2, 1);
        let now = Instant::now();
        wires.lane(0, 1).link.delay = Duration::from_millis(500);
        let slow = now + Duration::from_millis(500);
        assert_eq!(wires.route(0, &packet(2, TCP), now), Some((1, slow)));
        wires.lane(0, 1).link.delay = Duration::from_millis(20);
        assert_eq!(wires.route(0, &packet(2, TCP), now), Some((1, slow)), "behind the slow one");
        for _ in 0..2 * UNDER_WAY_MAX {
            wires.route(0, &packet(2, TCP), now);
        }
        assert_eq!(wires.lane(0, 1).under_way, UNDER_WAY_MAX);
        assert_eq!(wires.seen.overflowed as usize, UNDER_WAY_MAX + 2);
    }
}

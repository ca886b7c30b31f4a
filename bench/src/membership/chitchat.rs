//! chitchat on the simulated network: its own server, with a `Transport` of ours, under tokio's paused clock.
//!
//! Configured as it is published: gossip once a second, the default failure detector (phi 8, a window of 1,000 samples,
//! a prior of 5 s), the newest wire format (which compresses digests). `fast` gossips five times as often, with the
//! detector's times divided by five; `wan` every two seconds. chitchat does not suspect: members are live or not.
//!
//! It draws from a generator of its own that cannot be seeded, and its clock has a resolution of a millisecond; so two
//! runs of one seed meet the same losses and latencies only as far as they send the same, which they do not.

mod wire;

use self::wire::Wire;
use super::ledger::{Belief, Ledger};
use super::options::Setting;
use super::{Overlay, Suspicions, Traffic};
use ::chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, ProtocolVersion,
    spawn_chitchat,
};
use anyhow::{Context as _, Result};
use chinwag_membership::Profile;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::Instant;

/// How often we look at what members believe.
const LOOK: Duration = Duration::from_millis(20);
const PORT: u16 = 7_171;
/// How long deleted keys are kept. There are none.
const GRACE: Duration = Duration::from_secs(3_600);

/// An overlay of chitchat's members.
pub struct ChitchatOverlay {
    runtime: Runtime,
    wire: Wire,
    began: Instant,
    profile: Profile,
    nodes: Vec<Node>,
    ledger: Ledger,
    traffic: Traffic,
    counted: Traffic,
}

struct Node {
    handle: ChitchatHandle,
    live: watch::Receiver<BTreeMap<ChitchatId, NodeState>>,
    /// While it is held, the server waits for it: it is stopped.
    held: Option<OwnedMutexGuard<Chitchat>>,
    is_gone: bool,
}

fn address(member: usize) -> SocketAddr {
    let [.., high, low] = (member as u32).to_be_bytes();
    (Ipv4Addr::new(10, 0, high, low), PORT).into()
}

fn member(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(address) => (u32::from(*address.ip()) & 0xffff) as usize,
        SocketAddr::V6(_) => 0,
    }
}

fn config(profile: Profile, n: usize) -> ChitchatConfig {
    let published = FailureDetectorConfig::default();
    let detector = match profile {
        Profile::Fast => FailureDetectorConfig {
            max_interval: published.max_interval / 5,
            initial_interval: published.initial_interval / 5,
            ..published
        },
        Profile::Lan => published,
        Profile::Wan => FailureDetectorConfig {
            max_interval: published.max_interval * 2,
            initial_interval: published.initial_interval * 2,
            ..published
        },
    };
    ChitchatConfig {
        chitchat_id: ChitchatId::new(format!("node-{n}"), 0, address(n)),
        cluster_id: "bench".to_owned(),
        gossip_interval: profile.period(),
        listen_addr: address(n),
        seed_nodes: if n == 0 { Vec::new() } else { vec![address(0).to_string()] },
        failure_detector_config: detector,
        marked_for_deletion_grace_period: GRACE,
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: ProtocolVersion::V1,
    }
}

impl ChitchatOverlay {
    /// Nobody yet.
    ///
    /// # Errors
    /// If there can be no runtime.
    pub fn new(setting: &Setting, seed: u64) -> Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .context("cannot start a tokio runtime")?;
        let began = runtime.block_on(async { Instant::now() });
        Ok(ChitchatOverlay {
            runtime,
            wire: Wire::new(seed, setting.loss),
            began,
            profile: setting.profile,
            nodes: Vec::new(),
            ledger: Ledger::new(setting.nodes),
            traffic: Traffic::default(),
            counted: Traffic::default(),
        })
    }

    /// Takes over what members believe by now.
    fn look(&mut self) {
        let at = self.now();
        for by in 0..self.nodes.len() {
            let node = &mut self.nodes[by];
            if node.is_gone || !node.live.has_changed().unwrap_or(false) {
                continue;
            }
            let mut live = vec![false; self.nodes.len()];
            for id in self.nodes[by].live.borrow_and_update().keys() {
                if let Some(live) = live.get_mut(member(id.gossip_advertise_addr)) {
                    *live = true;
                }
            }
            for (of, is_live) in live.into_iter().enumerate() {
                match (is_live, self.ledger.belief(by, of)) {
                    (true, _) => self.ledger.note(at, by, of, Belief::Alive),
                    (false, Belief::Unknown) => {}
                    (false, _) => self.ledger.note(at, by, of, Belief::Down),
                }
            }
        }
        let (messages, bytes, handled) = self.wire.counts();
        self.traffic = Traffic {
            messages: messages - self.counted.messages,
            bytes: bytes - self.counted.bytes,
            handled: handled - self.counted.handled,
            ..Traffic::default()
        };
    }
}

impl Overlay for ChitchatOverlay {
    fn start(&mut self) {
        let n = self.nodes.len();
        self.wire.add();
        let config = config(self.profile, n);
        let handle = self.runtime.block_on(spawn_chitchat(config, Vec::new(), &self.wire));
        let handle = handle.expect("a server, because our transport opens any address");
        let live = self.runtime.block_on(async { handle.chitchat().lock().await.live_nodes_watcher() });
        self.nodes.push(Node { handle, live, held: None, is_gone: false });
    }

    fn now(&self) -> Duration {
        self.runtime.block_on(async { self.began.elapsed() })
    }

    fn run(&mut self, time: Duration) {
        let end = self.now() + time;
        loop {
            let next = (self.now() + LOOK).min(end);
            let until = self.began + next;
            self.runtime.block_on(async { tokio::time::sleep_until(until).await });
            self.look();
            if next >= end {
                return;
            }
        }
    }

    fn vanish(&mut self, member: usize) {
        self.wire.remove(member);
        self.nodes[member].handle.abort();
        self.nodes[member].is_gone = true;
        self.ledger.bury(member);
    }

    /// To datagrams it is the same as if its host were gone.
    fn kill(&mut self, member: usize) {
        self.vanish(member);
    }

    fn pause(&mut self, member: usize) {
        let chitchat = self.nodes[member].handle.chitchat();
        self.nodes[member].held = Some(self.runtime.block_on(chitchat.lock_owned()));
    }

    fn resume(&mut self, member: usize) {
        self.nodes[member].held = None;
    }

    fn part(&mut self, border: usize) {
        self.wire.set_border(Some(border));
    }

    fn heal(&mut self) {
        self.wire.set_border(None);
    }

    fn suspicions(&self) -> Suspicions {
        Suspicions::None
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn measure(&mut self) {
        let (messages, bytes, handled) = self.wire.counts();
        self.counted = Traffic { messages, bytes, handled, ..Traffic::default() };
        self.traffic = Traffic::default();
    }

    fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::setting;
    use super::*;

    #[test]
    fn a_crash_is_known_and_a_stopped_member_does_nothing() {
        let mut overlay = ChitchatOverlay::new(&setting(8), 1).unwrap();
        (0..8).for_each(|_| overlay.start());
        overlay.run(Duration::from_secs(60));
        assert!(overlay.ledger.is_complete());
        overlay.vanish(3);
        overlay.run(Duration::from_secs(90));
        assert_eq!(overlay.ledger.down_by(3), 7);
        overlay.pause(5);
        overlay.run(Duration::from_secs(90));
        assert_eq!(overlay.ledger.down_by(5), 6);
        overlay.resume(5);
        overlay.run(Duration::from_secs(90));
        assert_eq!(overlay.ledger.down_by(5), 0);
    }
}

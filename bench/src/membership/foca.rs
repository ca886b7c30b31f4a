//! foca on the simulated network: its state machine with its own `Runtime`, its timers in the virtual queue.
//!
//! Configured as it is published: `Config::new_lan` for the size of the overlay (probes once a second, 500 ms until
//! others are asked, gossip to three every 200 ms while there is news, packets of 1,400 bytes, announcements to one
//! member every 30 s and to two that are down every 65 s). `fast` is the same with all times divided by five, `wan` is
//! `Config::new_wan`. Identities are those of foca's own example agent (socket address and a number that grows), and
//! renew themselves when they have been declared down. A member that knows nobody announces itself to the first one
//! again every second, as a program must where packets are lost.

use super::ledger::{Belief, Ledger};
use super::network::Network;
use super::options::Setting;
use super::queue::Queue;
use super::{Overlay, PASSES, Suspicions, Traffic};
use ::foca::{
    Config, Foca, Identity, NoCustomBroadcast, Notification, PeriodicParams, PostcardCodec, Runtime, Timer,
};
use chinwag_base::Moment;
use chinwag_membership::Profile;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// `fast` is so many times as fast as `lan`.
const FAST: u32 = 5;
/// How long a member that knows nobody waits until it announces itself again.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
/// foca's example takes the seconds since 1970; so large a number takes five bytes.
const FIRST_BUMP: u64 = 1_700_000_000;
const PORT: u16 = 7_171;

/// Who a member is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Id {
    addr: SocketAddr,
    bump: u64,
}

impl Id {
    fn new(member: usize) -> Self {
        let [.., high, low] = (member as u32).to_be_bytes();
        Id { addr: (Ipv4Addr::new(10, 0, high, low), PORT).into(), bump: FIRST_BUMP }
    }

    fn member(&self) -> usize {
        match self.addr {
            SocketAddr::V4(addr) => (u32::from(*addr.ip()) & 0xffff) as usize,
            SocketAddr::V6(_) => 0,
        }
    }
}

impl Identity for Id {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        Some(Id { addr: self.addr, bump: self.bump + 1 })
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.bump > adversary.bump
    }
}

/// What one call of foca led to.
#[derive(Default)]
struct Outcome {
    sent: Vec<(usize, Vec<u8>)>,
    timers: Vec<(Duration, Timer<Id>)>,
    beliefs: Vec<(usize, Belief)>,
    doubts: Vec<usize>,
}

impl Runtime<Id> for Outcome {
    fn notify(&mut self, notification: Notification<'_, Id>) {
        match notification {
            Notification::MemberUp(id) => self.beliefs.push((id.member(), Belief::Alive)),
            Notification::MemberDown(id) => self.beliefs.push((id.member(), Belief::Down)),
            Notification::ProbeFailed(_, id) => self.doubts.push(id.member()),
            _ => {}
        }
    }

    fn send_to(&mut self, to: Id, data: &[u8]) {
        self.sent.push((to.member(), data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Id>, after: Duration) {
        self.timers.push((after, event));
    }
}

type Member = Foca<Id, PostcardCodec, ChaCha8Rng, NoCustomBroadcast>;

struct Node {
    foca: Member,
    machine: Machine,
    inbox: Vec<Vec<u8>>,
    /// Timers that came due while it was stopped.
    late: Vec<(Moment, Happening)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    Runs,
    Paused,
    Gone,
}

#[derive(Clone)]
enum Happening {
    Data(Vec<u8>),
    Timer(Timer<Id>),
    Announce,
}

/// Everything that one member was told, so that a new one can be told it again.
struct Recording {
    seed: u64,
    told: Vec<Happening>,
    /// What came before is not timed.
    measured_from: usize,
}

/// An overlay of foca's members.
pub struct FocaOverlay {
    now: Moment,
    config: Config,
    network: Network,
    nodes: Vec<Node>,
    queue: Queue<(usize, Happening)>,
    ledger: Ledger,
    traffic: Traffic,
    measures: bool,
    /// Members of whom everything that they are told is kept.
    watched: Vec<usize>,
    recordings: BTreeMap<usize, Recording>,
}

/// What foca is told for so many members.
fn config(profile: Profile, nodes: usize) -> Config {
    let size = NonZeroU32::new(nodes as u32).unwrap_or(NonZeroU32::MIN);
    let lan = Config::new_lan(size);
    match profile {
        Profile::Lan => lan,
        Profile::Wan => Config::new_wan(size),
        Profile::Fast => {
            let faster = |params: Option<PeriodicParams>| {
                params.map(|params| PeriodicParams { frequency: params.frequency / FAST, ..params })
            };
            Config {
                probe_period: lan.probe_period / FAST,
                probe_rtt: lan.probe_rtt / FAST,
                suspect_to_down_after: lan.suspect_to_down_after / FAST,
                periodic_announce: faster(lan.periodic_announce),
                periodic_announce_to_down_members: faster(lan.periodic_announce_to_down_members),
                periodic_gossip: faster(lan.periodic_gossip),
                ..lan
            }
        }
    }
}

impl FocaOverlay {
    /// Nobody yet.
    pub fn new(setting: &Setting, seed: u64) -> Self {
        FocaOverlay {
            now: Moment::ZERO,
            config: config(setting.profile, setting.nodes),
            network: Network::new(seed, setting.loss),
            nodes: Vec::new(),
            queue: Queue::default(),
            ledger: Ledger::new(setting.nodes),
            traffic: Traffic::default(),
            measures: false,
            watched: Vec::new(),
            recordings: BTreeMap::new(),
        }
    }

    fn member(&self, n: usize, seed: u64) -> Member {
        Foca::new(Id::new(n), self.config.clone(), ChaCha8Rng::seed_from_u64(seed), PostcardCodec)
    }

    fn pass(&self, n: usize, recording: &Recording) -> Vec<u32> {
        let (mut foca, mut times) = (self.member(n, recording.seed), Vec::new());
        for (which, happening) in recording.told.iter().enumerate() {
            let mut outcome = Outcome::default();
            let begun = Instant::now();
            // Errors are of packets that are refused, as they were before.
            let _ = match happening {
                Happening::Data(bytes) => foca.handle_data(bytes, &mut outcome),
                Happening::Timer(timer) => foca.handle_timer(timer.clone(), &mut outcome),
                Happening::Announce if foca.num_members() == 0 => foca.announce(Id::new(0), &mut outcome),
                Happening::Announce => Ok(()),
            };
            if which >= recording.measured_from && matches!(happening, Happening::Data(_)) {
                times.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
            }
        }
        times
    }

    fn handle(&mut self, n: usize, happening: Happening) {
        if let Some(recording) = self.recordings.get_mut(&n) {
            recording.told.push(happening.clone());
        }
        let node = &mut self.nodes[n];
        let mut outcome = Outcome::default();
        let is_message = matches!(happening, Happening::Data(_));
        let begun = (self.measures && is_message).then(Instant::now);
        // Errors are of packets that are refused; foca goes on, and so does its example.
        let _ = match happening {
            Happening::Data(bytes) => node.foca.handle_data(&bytes, &mut outcome),
            Happening::Timer(timer) => node.foca.handle_timer(timer, &mut outcome),
            Happening::Announce if node.foca.num_members() == 0 => {
                self.queue.put(self.now + ANNOUNCE_AGAIN, (n, Happening::Announce));
                node.foca.announce(Id::new(0), &mut outcome)
            }
            Happening::Announce => Ok(()),
        };
        if let Some(begun) = begun {
            self.traffic.with_codec_ns.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
        self.traffic.handled += u64::from(is_message);
        for (after, timer) in outcome.timers {
            self.queue.put(self.now + after, (n, Happening::Timer(timer)));
        }
        for (to, bytes) in outcome.sent {
            self.traffic.messages += 1;
            self.traffic.bytes += bytes.len() as u64;
            if let Some(takes) = self.network.datagram(n, to) {
                self.queue.put(self.now + takes, (to, Happening::Data(bytes)));
            }
        }
        for of in outcome.doubts {
            self.ledger.doubt(self.now(), n, of);
        }
        for (of, belief) in outcome.beliefs {
            self.ledger.note(self.now(), n, of, belief);
        }
    }

    fn happen(&mut self, n: usize, happening: Happening) {
        match (self.nodes[n].machine, happening) {
            (Machine::Runs, happening) => self.handle(n, happening),
            (Machine::Paused, Happening::Data(bytes)) => self.nodes[n].inbox.push(bytes),
            (Machine::Paused, timer) => self.nodes[n].late.push((self.now, timer)),
            (Machine::Gone, _) => {}
        }
    }
}

impl Overlay for FocaOverlay {
    fn start(&mut self) {
        let n = self.nodes.len();
        let seed = self.network.rng().random();
        if self.watched.contains(&n) {
            self.recordings.insert(n, Recording { seed, told: Vec::new(), measured_from: 0 });
        }
        let foca = self.member(n, seed);
        self.nodes.push(Node { foca, machine: Machine::Runs, inbox: Vec::new(), late: Vec::new() });
        if n > 0 {
            self.handle(n, Happening::Announce);
        }
    }

    fn now(&self) -> Duration {
        self.now.since(Moment::ZERO)
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.queue.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            if let Some((n, happening)) = self.queue.take() {
                self.happen(n, happening);
            }
        }
        self.now = end;
    }

    fn vanish(&mut self, member: usize) {
        self.nodes[member].machine = Machine::Gone;
        self.ledger.bury(member);
    }

    /// To datagrams it is the same as if its host were gone.
    fn kill(&mut self, member: usize) {
        self.vanish(member);
    }

    fn pause(&mut self, member: usize) {
        self.nodes[member].machine = Machine::Paused;
    }

    /// What arrived is handed in first, and then the timers, in the order in which they were due.
    fn resume(&mut self, member: usize) {
        let node = &mut self.nodes[member];
        node.machine = Machine::Runs;
        let (inbox, mut late) = (std::mem::take(&mut node.inbox), std::mem::take(&mut node.late));
        for bytes in inbox {
            self.handle(member, Happening::Data(bytes));
        }
        late.sort_by(|(a, first), (b, second)| match (first, second) {
            (Happening::Timer(first), Happening::Timer(second)) => a.cmp(b).then_with(|| first.cmp(second)),
            _ => a.cmp(b),
        });
        for (_, timer) in late {
            self.handle(member, timer);
        }
    }

    fn part(&mut self, border: usize) {
        self.network.set_border(Some(border));
    }

    fn heal(&mut self) {
        self.network.set_border(None);
    }

    fn suspicions(&self) -> Suspicions {
        Suspicions::Found
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn watch(&mut self, members: &[usize]) {
        self.watched = members.to_vec();
    }

    fn alone_ns(&self) -> Vec<u32> {
        let passes = |(n, recording): (&usize, &Recording)| -> Vec<u32> {
            (0..PASSES).flat_map(|_| self.pass(*n, recording)).collect()
        };
        self.recordings.iter().flat_map(passes).collect()
    }

    fn measure(&mut self) {
        self.measures = true;
        self.recordings.values_mut().for_each(|recording| recording.measured_from = recording.told.len());
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
    fn a_crash_is_doubted_and_then_known_and_the_same_again() {
        let told = |seed| {
            let mut overlay = FocaOverlay::new(&setting(16), seed);
            (0..16).for_each(|_| overlay.start());
            overlay.run(Duration::from_secs(60));
            assert!(overlay.ledger.is_complete());
            overlay.vanish(3);
            overlay.run(Duration::from_secs(60));
            assert_eq!(overlay.ledger.down_by(3), 15);
            overlay.ledger.accusations().to_vec()
        };
        assert_eq!(told(1), told(1));
        assert_eq!(told(1)[0].belief, Belief::Suspect);
    }

    #[test]
    fn ids_say_which_member_it_is() {
        assert!([0, 1, 255, 256, 4_095].iter().all(|n| Id::new(*n).member() == *n));
        let renewed = Id::new(7).renew().unwrap();
        assert!(renewed.win_addr_conflict(&Id::new(7)) && renewed.member() == 7);
    }
}

//! Draws a plan from a seed: swarm testing.
//!
//! A run with every kind of fault in it shows less than many runs with a few kinds each, because faults hide each other:
//! who is always partitioned never overflows (Groce and others, "Swarm Testing", ISSTA 2012). So each seed draws which
//! kinds it has, how large its overlay is, and what its network and its clients are like.

use crate::observation::{Damage, Host};
use crate::plan::{Action, DiskPlan, NetworkPlan, Plan, StatePlan, Step, Transport, WaitFor, Wish};
use chinwag_membership::Profile;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// What a drawn plan must have, whatever the seed says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wishes {
    /// So many hosts.
    pub hosts: Option<u32>,
    /// This share of packets lost.
    pub loss: Option<f64>,
    /// One partition of this length in milliseconds, half of the hosts on each side.
    pub partition_ms: Option<u64>,
    /// So many writes.
    pub writes: Option<u32>,
    /// Faults and clients for so long, in milliseconds.
    pub duration_ms: Option<u64>,
    /// This profile.
    pub profile: Option<Profile>,
    /// This transport.
    pub transport: Option<Transport>,
    /// No faults at all beyond those that are wished for.
    pub quiet: bool,
}

/// The kinds of fault that a seed may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Kills,
    PowerCuts,
    Damage,
    Pauses,
    OneWayCuts,
    Partitions,
    Resets,
    Clocks,
    SlowDisks,
    FullDisks,
    Leaves,
    Losses,
}

const KINDS: [Kind; 12] = [
    Kind::Kills,
    Kind::PowerCuts,
    Kind::Damage,
    Kind::Pauses,
    Kind::OneWayCuts,
    Kind::Partitions,
    Kind::Resets,
    Kind::Clocks,
    Kind::SlowDisks,
    Kind::FullDisks,
    Kind::Leaves,
    Kind::Losses,
];

/// The plan of this seed.
pub fn draw(seed: u64, wishes: &Wishes) -> Plan {
    // Another stream than the world's, which begins with the same seed.
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(1);
    let hosts = draw_hosts(&mut rng);
    let hosts = wishes.hosts.unwrap_or(hosts);
    let duration_ms = wishes.duration_ms.unwrap_or_else(|| rng.random_range(20_000..60_000));
    let network = draw_network(&mut rng, wishes);
    let profile =
        *[Profile::Fast, Profile::Lan, Profile::Lan, Profile::Wan].choose(&mut rng).expect(NOT_EMPTY);
    let mut kinds: BTreeSet<Kind> = KINDS.into_iter().filter(|_| rng.random_bool(0.35)).collect();
    if wishes.quiet || wishes.partition_ms.is_some() {
        kinds.clear();
    }
    // Some overlays have one crash for good and nothing that excuses anybody for not knowing of it.
    let is_last_word = !kinds.is_empty() && hosts >= 3 && rng.random_bool(0.12);
    if is_last_word {
        kinds.retain(|kind| {
            matches!(kind, Kind::Resets | Kind::Clocks | Kind::SlowDisks | Kind::FullDisks | Kind::Losses)
        });
    }
    let mut plan = Plan {
        seed,
        hosts,
        profile: wishes.profile.unwrap_or(profile),
        // Everybody has joined before anything goes wrong.
        heal_ms: BEGIN_MS + duration_ms,
        calm_ms: 4_000,
        network,
        disk: DiskPlan { fsync_us: if rng.random_bool(0.8) { (300, 3_000) } else { (5_000, 40_000) } },
        state: draw_state(seed),
        newer: if rng.random_bool(0.2) { (0..hosts).step_by(2).map(Host).collect() } else { Vec::new() },
        gone: Vec::new(),
        steps: Vec::new(),
    };
    let mut fate = Fate { rng: &mut rng, plan: &mut plan, begin_ms: BEGIN_MS };
    for kind in &kinds {
        fate.draw(*kind);
    }
    if is_last_word {
        fate.end_one();
    }
    if let Some(lasts_ms) = wishes.partition_ms {
        fate.halve(lasts_ms);
    }
    fate.work(wishes);
    spare_forgetful_clocks(&mut plan);
    if !plan.gone.is_empty() {
        // Long enough for everybody to know of it.
        plan.calm_ms = if plan.profile == Profile::Wan { 95_000 } else { 50_000 };
    }
    plan.steps.sort_by_key(|step| step.at_ms);
    plan
}

/// Two in three keep so little history that logs are cut and whole cells travel; in one of three, writes travel along a tree
/// among a few hosts already, and in one of three, clocks of a few process lives are told as sketches at first. (A stream of its own, so that this draws nothing from under what else is drawn.)
fn draw_state(seed: u64) -> StatePlan {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(2);
    let mut plan = StatePlan::default();
    if !rng.random_bool(0.33) {
        plan.log_bytes = [500, 2_000, 10_000][rng.random_range(0..3)];
        plan.slice_bytes = [300, 2_000, 64 * 1024][rng.random_range(0..3)];
        plan.checkpoint_rows = [1, 10, 100][rng.random_range(0..3)];
    }
    if rng.random_bool(0.33) {
        plan.push_peers = rng.random_range(0..4);
    }
    if rng.random_bool(0.33) {
        plan.names_from = rng.random_range(0..6);
    }
    plan
}

/// When faults and clients begin, in milliseconds.
const BEGIN_MS: u64 = 5_000;
/// After this time all know of a stall; the `wan` profile takes twice as long.
const ADMITTED_MS: u64 = 12_000;
const NOT_EMPTY: &str = "an element, because the list is not empty";

/// A host that forgets its generations *and* whose clock is behind the one that made the last of them begins a process
/// life below it. It is told so by the others, and stops; somebody has to set its clock. That is what the daemon
/// promises, but a run in which nobody comes would never end.
fn spare_forgetful_clocks(plan: &mut Plan) {
    let forgets = |step: &Step| match step.action {
        Action::Start { host, damage: Some(Damage::Wiped | Damage::RolledBack) } => Some(host),
        _ => None,
    };
    let forgetful: BTreeSet<Host> = plan.steps.iter().filter_map(forgets).collect();
    plan.steps.retain(|step| !matches!(step.action, Action::Clock { host, .. } if forgetful.contains(&host)));
}

/// Mostly few hosts: what goes wrong goes wrong among three.
fn draw_hosts(rng: &mut ChaCha8Rng) -> u32 {
    match rng.random_range(0..100) {
        0..10 => rng.random_range(1..=2),
        10..55 => rng.random_range(3..=5),
        55..90 => rng.random_range(6..=12),
        _ => rng.random_range(13..=30),
    }
}

fn draw_network(rng: &mut ChaCha8Rng, wishes: &Wishes) -> NetworkPlan {
    let transport = *[Transport::Tcp, Transport::Tcp, Transport::Quic, Transport::Datagrams]
        .choose(rng)
        .expect(NOT_EMPTY);
    let latency_us =
        *[(30, 500), (1_000, 5_000), (1_000, 50_000), (20_000, 80_000)].choose(rng).expect(NOT_EMPTY);
    let loss = if rng.random_bool(0.5) { rng.random_range(0..=20) as f64 / 100.0 } else { 0.0 };
    let mut network = NetworkPlan {
        transport,
        latency_us,
        distance_us: if rng.random_bool(0.3) { 30_000 } else { 0 },
        loss,
        duplicates: if rng.random_bool(0.5) { 0.05 } else { 0.0 },
        reorder: if rng.random_bool(0.5) { 0.05 } else { 0.0 },
        bytes_per_second: rng.random_bool(0.2).then(|| rng.random_range(50_000..2_000_000)),
    };
    if wishes.quiet {
        (network.loss, network.duplicates, network.reorder) = (0.0, 0.0, 0.0);
        (network.bytes_per_second, network.latency_us) = (None, (1_000, 50_000));
    }
    network.loss = wishes.loss.unwrap_or(network.loss);
    network.transport = wishes.transport.unwrap_or(network.transport);
    network
}

/// Draws what goes wrong.
struct Fate<'a> {
    rng: &'a mut ChaCha8Rng,
    plan: &'a mut Plan,
    begin_ms: u64,
}

impl Fate<'_> {
    fn draw(&mut self, kind: Kind) {
        let times = self.rng.random_range(1..=4);
        for _ in 0..times {
            let at = self.any_time();
            let lasts = self.rng.random_range(500..12_000);
            let host = self.any_host();
            match kind {
                Kind::Kills => self.down(at, lasts, Action::Kill { host }, host, None),
                Kind::PowerCuts => self.down(at, lasts, Action::PowerCut { host }, host, None),
                Kind::Damage => self.damage(at, lasts, host),
                Kind::Pauses => {
                    // And once more, when all know that it does that.
                    let admitted_ms =
                        if self.plan.profile == Profile::Wan { 2 * ADMITTED_MS } else { ADMITTED_MS };
                    for at in [at, at + lasts + admitted_ms] {
                        self.push(at, Action::Pause { host });
                        self.push(at + lasts, Action::Resume { host });
                    }
                }
                Kind::OneWayCuts => {
                    let (from, to) = (host, self.any_host());
                    self.push(at, Action::Cut { from, to });
                    self.push(at + lasts, Action::Mend { from, to });
                }
                Kind::Partitions => {
                    let side = self.side();
                    self.push(at, Action::Partition { side });
                    self.push(at + lasts, Action::MendAll);
                }
                Kind::Resets => {
                    let other = self.any_host();
                    self.push(at, Action::Reset { one: host, other });
                }
                Kind::Clocks => {
                    let by_ms = *[-3_600_000, -700, 600, 5_000, 3_600_000].choose(self.rng).expect(NOT_EMPTY);
                    self.push(at, Action::Clock { host, by_ms });
                }
                Kind::SlowDisks => {
                    let fsync_ms = self.rng.random_range(50..1_500);
                    self.push(at, Action::SlowDisk { host, fsync_ms });
                    self.push(at + lasts, Action::GoodDisk { host });
                }
                Kind::FullDisks => {
                    self.push(at, Action::FullDisk { host });
                    self.push(at + lasts, Action::GoodDisk { host });
                }
                Kind::Losses => {
                    let share = f64::from(self.rng.random_range(5..=40)) / 100.0;
                    self.push(at, Action::Loss { share });
                    self.push(at + lasts, Action::Loss { share: self.plan.network.loss });
                }
                Kind::Leaves => self.push(at, Action::Leave { host }),
            }
            if matches!(kind, Kind::Leaves | Kind::Damage | Kind::Partitions) {
                return;
            }
        }
    }

    /// A process is away for a while; sometimes it does not come back.
    fn down(&mut self, at: u64, lasts: u64, how: Action, host: Host, damage: Option<Damage>) {
        self.push(at, how);
        if self.plan.hosts >= 5 && self.plan.gone.is_empty() && damage.is_none() && self.rng.random_bool(0.15)
        {
            self.plan.gone.push(host);
        } else {
            self.push(at + lasts, Action::Start { host, damage });
        }
    }

    /// One host goes, and does not come back.
    fn end_one(&mut self) {
        let (at, host) = (self.any_time(), self.any_host());
        let how = if self.rng.random_bool(0.5) { Action::Kill { host } } else { Action::PowerCut { host } };
        self.push(at, how);
        self.plan.gone.push(host);
    }

    fn damage(&mut self, at: u64, lasts: u64, host: Host) {
        let how = *[Damage::Wiped, Damage::RolledBack, Damage::Corrupt].choose(self.rng).expect(NOT_EMPTY);
        if how == Damage::RolledBack {
            let earlier = self.rng.random_range(self.begin_ms..=at);
            self.push(earlier, Action::Snapshot { host });
        }
        self.down(at, lasts, Action::PowerCut { host }, host, Some(how));
    }

    /// Half of the hosts on each side.
    fn halve(&mut self, lasts_ms: u64) {
        let at = self.begin_ms + (self.plan.heal_ms - self.begin_ms).saturating_sub(lasts_ms) / 2;
        let side = (0..self.plan.hosts / 2).map(Host).collect();
        self.push(at, Action::Partition { side });
        self.push(at + lasts_ms, Action::MendAll);
    }

    /// What clients do.
    fn work(&mut self, wishes: &Wishes) {
        let writes = wishes.writes.unwrap_or_else(|| *[20, 100, 300, 600].choose(self.rng).expect(NOT_EMPTY));
        let keys = self.rng.random_range(1..=6);
        let puts = if wishes.quiet { 0 } else { self.rng.random_range(0..=40) };
        for _ in 0..writes {
            let (at, host) = (self.any_time(), self.any_host());
            let len = if self.rng.random_bool(0.8) { 1 } else { self.rng.random_range(2..=5) };
            let ops = (0..len).map(|_| self.wish(keys)).collect();
            let wait = *[WaitFor::Local, WaitFor::Local, WaitFor::Majority, WaitFor::All]
                .choose(self.rng)
                .expect(NOT_EMPTY);
            self.push(at, Action::Write { host, ops, wait });
        }
        for _ in 0..puts {
            let (at, host, record) = (self.any_time(), self.any_host(), self.rng.random_range(0..4));
            self.push(at, Action::Put { host, record });
        }
    }

    fn wish(&mut self, keys: u32) -> Wish {
        let key = self.rng.random_range(0..keys);
        match self.rng.random_range(0..20) {
            0..5 => Wish::Set(key),
            5..6 => Wish::Delete(key),
            6..11 => Wish::Add(key),
            11..13 => Wish::Remove(key),
            13..17 => Wish::Increment(key),
            17..19 => Wish::Tally(key),
            _ => Wish::ResetTally(key),
        }
    }

    fn side(&mut self) -> Vec<Host> {
        let mut all: Vec<Host> = (0..self.plan.hosts).map(Host).collect();
        all.shuffle(self.rng);
        let len = self.rng.random_range(1..=(self.plan.hosts as usize).div_ceil(2));
        all.truncate(len);
        all.sort();
        all
    }

    fn push(&mut self, at_ms: u64, action: Action) {
        // What would come after everything has been mended is mended with everything.
        if at_ms < self.plan.heal_ms {
            self.plan.steps.push(Step { at_ms, action });
        }
    }

    fn any_time(&mut self) -> u64 {
        self.rng.random_range(self.begin_ms..self.plan.heal_ms)
    }

    fn any_host(&mut self) -> Host {
        Host(self.rng.random_range(0..self.plan.hosts))
    }
}

//! Cores with one rule broken. Each must be caught by the checker that guards the rule.

use crate::observation::Host;
use crate::plan::{Action, DiskPlan, NetworkPlan, Plan, StatePlan, Step, Transport, WaitFor, Wish};
use crate::run::{run, run_in};
use crate::sabotage::Saboteur;
use crate::world::World;
use crate::world::machine::keypair;
use chinwag_base::{Generation, Lane, NodeId};
use chinwag_crdt::{Checkpoint, Dot, Dots, Entry, Op};
use chinwag_gossip::Message as Gossip;
use chinwag_membership::{
    Event as Membership, Finding, Found, Message, Profile, Record, Statement, Update, Verify,
};
use chinwag_node::wire::{self, Frame};
use chinwag_node::{Answer, Config, Event, Input, Output, Recovered};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Six hosts over TCP, in which clients write all the time and every kind of process trouble happens.
fn busy(seed: u64) -> Plan {
    let mut steps = Vec::new();
    let mut push = |at_ms: u64, action: Action| steps.push(Step { at_ms, action });
    for n in 0..240u64 {
        let (host, key) = (Host((n * 7 % 6) as u32), (n % 3) as u32);
        let wish = match n % 6 {
            0 | 1 => Wish::Add(key),
            2 => Wish::Remove(key),
            3 => Wish::Set(key),
            4 => Wish::Increment(key),
            _ => Wish::Tally(key),
        };
        let wait = [WaitFor::Local, WaitFor::Majority, WaitFor::All][n as usize % 3];
        push(5_000 + n * 100, Action::Write { host, ops: vec![wish], wait });
        if n % 8 == 0 {
            push(5_050 + n * 100, Action::Put { host, record: key });
        }
    }
    for (n, at) in (8_000..26_000).step_by(3_000).enumerate() {
        let host = Host(n as u32);
        push(at, Action::Kill { host });
        push(at + 1_500, Action::Start { host, damage: None });
    }
    steps.sort_by_key(|step| step.at_ms);
    Plan {
        seed,
        hosts: 6,
        profile: Profile::Fast,
        heal_ms: 32_000,
        calm_ms: 2_000,
        network: NetworkPlan { latency_us: (1_000, 20_000), ..NetworkPlan::default() },
        disk: DiskPlan::default(),
        state: StatePlan::default(),
        newer: Vec::new(),
        gone: Vec::new(),
        steps,
    }
}

/// The same, with steps of one's own.
fn with(seed: u64, more: &[(u64, Action)]) -> Plan {
    let mut plan = busy(seed);
    plan.steps.extend(more.iter().map(|(at_ms, action)| Step { at_ms: *at_ms, action: action.clone() }));
    plan.steps.sort_by_key(|step| step.at_ms);
    plan
}

/// Breaks the rule in runs of the plan until `checker` notices. The sound run of the same plan passes.
#[track_caller]
fn killed_by<S: Saboteur + 'static>(checker: &str, plans: &[Plan], mutant: impl Fn() -> S) {
    let mut caught = BTreeSet::new();
    for plan in plans {
        let sound = run(plan);
        assert!(sound.failed.is_empty(), "seed {} fails without a mutant: {:#?}", plan.seed, sound.failed);
        let broken = run_in(World::new(plan.clone()).with_saboteur(Box::new(mutant())));
        let seen = broken.failed.iter().find(|violation| violation.checker == checker);
        if let Some(violation) = seen {
            eprintln!("{checker} on seed {}: {}", plan.seed, violation.what);
            return;
        }
        caught.extend(broken.failed.iter().map(|violation| violation.checker));
    }
    panic!("the mutant lives; only {caught:?} noticed anything");
}

fn seeds() -> Vec<Plan> {
    (1..=4).map(busy).collect()
}

/// The message in a frame of gossip, changed.
fn in_gossip(lane: Lane, bytes: &mut Vec<u8>, change: impl FnOnce(&mut Gossip)) {
    if let Ok(Frame::Gossip(mut message)) = wire::decode(lane, bytes) {
        change(&mut message);
        *bytes = wire::encode(&Frame::Gossip(message));
    }
}

fn entries_of(message: &mut Gossip) -> Option<&mut Vec<Arc<Entry>>> {
    match message {
        Gossip::Push { entries } | Gossip::Relay { entries } | Gossip::Chunk { entries, .. } => Some(entries),
        _ => None,
    }
}

/// An fsync that says yes and does nothing.
struct DiskLies;

impl Saboteur for DiskLies {
    fn output(&mut self, _: Host, output: Output) -> Vec<Output> {
        vec![match output {
            Output::Persist { batch, first, .. } => Output::Persist { batch, first, rows: Vec::new() },
            Output::Checkpoint { checkpoint, .. } => {
                let nothing = Checkpoint { position: checkpoint.position, ..Checkpoint::default() };
                Output::Checkpoint { checkpoint: Box::new(nothing), cut: 0 }
            }
            other => other,
        }]
    }
}

/// Everybody's power goes at once, so that what was only in memory is gone.
fn blackout() -> Vec<Plan> {
    let mut more = Vec::new();
    for n in 0..6 {
        more.push((30_000, Action::PowerCut { host: Host(n) }));
        more.push((30_500, Action::Start { host: Host(n), damage: None }));
    }
    vec![with(1, &more), with(2, &more)]
}

#[test]
fn a_disk_that_lies_loses_acknowledged_writes() {
    killed_by("acknowledged", &blackout(), || DiskLies);
    killed_by("set-full", &blackout(), || DiskLies);
    killed_by("counters", &blackout(), || DiskLies);
}

/// The records' disk lies.
struct RecordDiskLies;

impl Saboteur for RecordDiskLies {
    fn output(&mut self, _: Host, output: Output) -> Vec<Output> {
        vec![match output {
            Output::PersistRecords { batch, .. } => Output::PersistRecords { batch, changes: Vec::new() },
            other => other,
        }]
    }
}

#[test]
fn a_records_disk_that_lies_loses_records() {
    killed_by("records", &blackout(), || RecordDiskLies);
}

/// Acknowledges entries when they come, not when they are durable.
#[derive(Default)]
struct AcksOnArrival {
    came: BTreeMap<Host, BTreeSet<Dot>>,
}

impl Saboteur for AcksOnArrival {
    fn input(&mut self, host: Host, input: Input) -> Option<Input> {
        if let Input::Frame { lane, bytes, .. } = &input
            && let Ok(Frame::Gossip(Gossip::Push { entries } | Gossip::Relay { entries })) =
                wire::decode(*lane, bytes)
        {
            self.came.entry(host).or_default().extend(entries.iter().map(|entry| entry.dot));
        }
        Some(input)
    }

    fn output(&mut self, host: Host, mut output: Output) -> Vec<Output> {
        if let Output::Send { lane: lane @ Lane::Gossip, bytes, .. } = &mut output {
            in_gossip(*lane, bytes, |message| {
                if let Gossip::Ack { clock } = message {
                    let replicas: BTreeSet<_> = clock.replicas().collect();
                    let came = self.came.get(&host).into_iter().flatten();
                    for dot in came.filter(|dot| replicas.contains(&dot.replica)) {
                        clock.insert(*dot);
                    }
                }
            });
        }
        vec![output]
    }
}

/// A burst of writes that somebody waits for, and slow disks: much has come, and is not durable.
#[test]
fn an_acknowledgement_of_what_is_not_durable_is_noticed() {
    let write = || Action::Write { host: Host(5), ops: vec![Wish::Add(7)], wait: WaitFor::Majority };
    let mut more: Vec<(u64, Action)> = (0..200).map(|n| (10_000 + 5 * n, write())).collect();
    more.extend((0..5).map(|n| (9_900, Action::SlowDisk { host: Host(n), fsync_ms: 300 })));
    more.extend((0..5).map(|n| (12_000, Action::GoodDisk { host: Host(n) })));
    killed_by("tokens", &[with(1, &more), with(2, &more)], AcksOnArrival::default);
}

/// Says that every write is visible, whether it is or not.
struct AllIsVisible;

impl Saboteur for AllIsVisible {
    fn output(&mut self, _: Host, output: Output) -> Vec<Output> {
        vec![match output {
            Output::Answer { request, answer: Answer::Visible(false) } => {
                Output::Answer { request, answer: Answer::Visible(true) }
            }
            other => other,
        }]
    }
}

#[test]
fn a_token_that_is_not_honoured_is_noticed() {
    let side = vec![Host(0), Host(1), Host(2)];
    let parted = [(9_000, Action::Partition { side }), (24_000, Action::MendAll)];
    killed_by("tokens", &[with(1, &parted), with(2, &parted)], || AllIsVisible);
}

/// Ignores what others' writes remove, and never compares whole cells, which would set that right.
struct IgnoresRemovals;

impl Saboteur for IgnoresRemovals {
    fn input(&mut self, _: Host, mut input: Input) -> Option<Input> {
        let mut is_session = false;
        if let Input::Frame { lane, bytes, .. } = &mut input {
            in_gossip(*lane, bytes, |message| {
                is_session = matches!(message, Gossip::Open { .. });
                for entry in entries_of(message).into_iter().flatten() {
                    *entry = Arc::new(Entry { removed: Dots::new(), ..Entry::clone(entry) });
                }
            });
        }
        (!is_session).then_some(input)
    }
}

#[test]
fn what_was_removed_does_not_come_back_unnoticed() {
    killed_by("resurrection", &seeds(), || IgnoresRemovals);
}

/// Tells nobody of what others wrote: no exchange ever begins.
struct NoAntiEntropy;

impl Saboteur for NoAntiEntropy {
    fn output(&mut self, _: Host, output: Output) -> Vec<Output> {
        if let Output::Send { lane: lane @ Lane::Bulk, bytes, .. } = &output
            && let Ok(Frame::Gossip(_)) = wire::decode(*lane, bytes)
        {
            return Vec::new();
        }
        vec![output]
    }
}

#[test]
fn without_anti_entropy_replicas_stay_different() {
    killed_by("convergence", &seeds(), || NoAntiEntropy);
}

/// Counts what a client adds twice, as a retry would that got a new dot.
struct CountsTwice;

impl Saboteur for CountsTwice {
    fn input(&mut self, _: Host, mut input: Input) -> Option<Input> {
        if let Input::Write { ops, .. } = &mut input {
            for op in ops {
                if let Op::Increment { by, .. } = op {
                    *by *= 2;
                }
            }
        }
        Some(input)
    }
}

#[test]
fn an_increment_that_counts_twice_is_noticed() {
    killed_by("counters", &seeds(), || CountsTwice);
}

/// Begins every process with the first one's generation, on a disk that lost its last rows: dots are used twice.
#[derive(Default)]
struct OneGeneration {
    first: BTreeMap<Host, Generation>,
}

impl Saboteur for OneGeneration {
    fn start(&mut self, host: Host, _: &mut Config, generation: &mut Generation, recovered: &mut Recovered) {
        *generation = *self.first.entry(host).or_insert(*generation);
        let kept = recovered.state.rows.len() / 2;
        recovered.state.rows.truncate(kept);
    }
}

#[test]
fn a_dot_that_names_two_writes_is_noticed() {
    killed_by("set-full", &seeds(), OneGeneration::default);
}

/// Tells of each return of a member one return late.
#[derive(Default)]
struct TellsLate {
    last: BTreeMap<(Host, chinwag_base::NodeId), Event>,
}

impl Saboteur for TellsLate {
    fn output(&mut self, host: Host, output: Output) -> Vec<Output> {
        if let Output::Event(Event::Membership(event @ Membership::Alive { id, .. })) = &output {
            let event = Event::Membership(event.clone());
            let before = self.last.insert((host, *id), event.clone());
            return before.into_iter().chain([event]).rev().map(Output::Event).collect();
        }
        vec![output]
    }
}

#[test]
fn an_incarnation_that_falls_is_noticed() {
    killed_by("incarnations", &seeds(), TellsLate::default);
}

/// Whoever is asked says that nothing listens there, and little is needed for a verdict.
struct Hasty;

impl Saboteur for Hasty {
    fn start(&mut self, _: Host, config: &mut Config, _: &mut Generation, _: &mut Recovered) {
        (config.membership.phi_suspect, config.membership.phi_down) = (0.2, 0.5);
    }

    fn output(&mut self, _: Host, output: Output) -> Vec<Output> {
        finds(Found::Refused, output)
    }
}

/// Every finding is this one.
fn finds(found: Found, mut output: Output) -> Vec<Output> {
    if let Output::Send { lane: lane @ Lane::Probe, bytes, .. } = &mut output
        && let Ok(Frame::Membership(Message::Finding(mut finding))) = wire::decode(*lane, bytes)
    {
        finding.found = found;
        *bytes = wire::encode(&Frame::Membership(Message::Finding(finding)));
    }
    vec![output]
}

/// Datagrams, of which a share is lost; nobody is cut off or stopped, and few write.
fn calm(seed: u64, loss: f64) -> Plan {
    let mut plan = busy(seed);
    plan.network = NetworkPlan { loss, transport: Transport::Datagrams, ..plan.network };
    plan.steps.retain(|step| step.action.is_work() && step.at_ms < 8_000);
    plan
}

#[test]
fn a_hasty_verdict_is_noticed() {
    killed_by("false-death", &[calm(1, 0.35), calm(2, 0.35)], || Hasty);
}

/// Whoever is asked says that it found the subject alive.
struct NobodyDies;

impl Saboteur for NobodyDies {
    fn output(&mut self, _: Host, output: Output) -> Vec<Output> {
        finds(Found::Life, output)
    }
}

/// One crash, of which all have a minute to learn.
fn crash(seed: u64) -> Plan {
    let mut plan = calm(seed, 0.0);
    plan.steps.push(Step { at_ms: 30_000, action: Action::PowerCut { host: Host(3) } });
    (plan.heal_ms, plan.gone) = (90_000, vec![Host(3)]);
    plan
}

#[test]
fn a_crash_that_nobody_believes_is_noticed() {
    killed_by("crash-known", &[crash(1), crash(2)], || NobodyDies);
}

/// Convicts on its own word: whoever is asked says at once that it found nobody.
#[derive(Default)]
struct ConvictsAlone {
    asked: BTreeMap<Host, Vec<(NodeId, Verify)>>,
}

impl Saboteur for ConvictsAlone {
    fn input(&mut self, host: Host, input: Input) -> Option<Input> {
        if let Input::Frame { from, lane: lane @ Lane::Probe, bytes } = &input
            && let Ok(Frame::Membership(Message::Verify(verify))) = wire::decode(*lane, bytes)
        {
            self.asked.entry(host).or_default().push((*from, verify));
        }
        Some(input)
    }

    fn output(&mut self, host: Host, output: Output) -> Vec<Output> {
        let found = Found::Silent;
        let answer = |(to, Verify { subject, nonce })| {
            let frame = Frame::Membership(Message::Finding(Finding { subject, nonce, found }));
            Output::Send { to, lane: Lane::Probe, slot: frame.slot(), bytes: wire::encode(&frame) }
        };
        let asked = self.asked.remove(&host).unwrap_or_default();
        asked.into_iter().map(answer).chain([output]).collect()
    }
}

/// Two that cannot reach each other, and whom all others can reach.
fn feud(seed: u64) -> Plan {
    let mut plan = calm(seed, 0.0);
    let (one, other) = (Host(1), Host(2));
    for (from, to) in [(one, other), (other, one)] {
        plan.steps.push(Step { at_ms: 10_000, action: Action::Cut { from, to } });
        plan.steps.push(Step { at_ms: 28_000, action: Action::Mend { from, to } });
    }
    plan
}

#[test]
fn a_verdict_without_nacks_is_noticed() {
    killed_by("false-death", &[feud(1), feud(2)], ConvictsAlone::default);
}

/// Admits no stall, whatever it measures: what it says of itself is the usual.
struct HidesItsStalls;

impl Saboteur for HidesItsStalls {
    fn output(&mut self, host: Host, mut output: Output) -> Vec<Output> {
        if let Output::Send { lane, bytes, .. } = &mut output
            && let Ok(Frame::Membership(mut message)) = wire::decode(*lane, bytes)
        {
            let told = match &mut message {
                Message::Ping(ping) => &mut ping.news,
                Message::Ack(ack) => &mut ack.news,
                Message::News(news) | Message::View(news) => news,
                _ => return vec![output],
            };
            let key = keypair(host);
            for update in told {
                if let Update::Record(record) = update
                    && record.id() == key.id()
                {
                    let usual = Profile::Fast.stall_floor().as_millis() as u32;
                    let statement = Statement { stall_mean_ms: usual, ..record.statement().clone() };
                    *record = Arc::new(Record::sign_statement(&key, record.grant().clone(), statement));
                }
            }
            *bytes = wire::encode(&Frame::Membership(message));
        }
        vec![output]
    }
}

/// The same member stalls twice.
fn stalls(seed: u64) -> Plan {
    let mut plan = calm(seed, 0.0);
    let host = Host(2);
    for at_ms in [10_000, 45_000] {
        plan.steps.push(Step { at_ms, action: Action::Pause { host } });
        plan.steps.push(Step { at_ms: at_ms + 6_000, action: Action::Resume { host } });
    }
    plan.heal_ms = 60_000;
    plan
}

#[test]
fn a_member_that_ignores_its_own_stalls_is_noticed() {
    killed_by("false-death", &[stalls(1), stalls(2)], || HidesItsStalls);
}

/// Dials nobody whom it holds for down.
#[derive(Default)]
struct NeverRedials {
    down: BTreeSet<(Host, NodeId)>,
}

impl Saboteur for NeverRedials {
    fn output(&mut self, host: Host, output: Output) -> Vec<Output> {
        match &output {
            Output::Event(Event::Membership(Membership::Down { id, .. })) => {
                self.down.insert((host, *id));
            }
            Output::Event(Event::Membership(Membership::Alive { id, .. })) => {
                self.down.remove(&(host, *id));
            }
            Output::Dial { peer, .. } if self.down.contains(&(host, *peer)) => return Vec::new(),
            _ => {}
        }
        vec![output]
    }
}

/// Two halves that hold each other for dead when they are joined again.
fn parted(seed: u64) -> Plan {
    let mut plan = calm(seed, 0.0);
    let side = vec![Host(0), Host(1), Host(2)];
    plan.steps.push(Step { at_ms: 10_000, action: Action::Partition { side } });
    plan.steps.push(Step { at_ms: 55_000, action: Action::MendAll });
    plan.heal_ms = 60_000;
    plan
}

#[test]
fn whoever_never_redials_the_down_is_noticed() {
    killed_by("convergence", &[parted(1), parted(2)], NeverRedials::default);
}

/// Pads what it pushes beyond what a frame may have.
struct TooLong;

impl Saboteur for TooLong {
    fn output(&mut self, _: Host, mut output: Output) -> Vec<Output> {
        if let Output::Send { lane: Lane::Gossip, bytes, .. } = &mut output {
            bytes.resize(Lane::Gossip.frame_bytes_max() + 1, 0);
        }
        vec![output]
    }
}

#[test]
fn a_frame_beyond_its_bound_is_noticed() {
    killed_by("bounds", &seeds()[..1], || TooLong);
}

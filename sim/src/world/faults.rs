//! Fate: processes that begin and end, pauses, cuts, damage.

use super::World;
use super::disk::Disk;
use super::machine::{FOUNDER, Run, overlay};
use super::queue::Happening;
use crate::observation::{Damage, Fact, Host, Lost as LostWrite, Stop};
use crate::plan::{Action, StatePlan, Transport};
use chinwag_base::{Generation, Moment, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Value};
use chinwag_crdt::{Effect, Entry, Row};
use chinwag_gossip::RequestId;
use chinwag_membership::Lost;
use chinwag_node::{Config, Identity, Input, Node, Recovered};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl World {
    /// Takes one step of the plan.
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Write { host, ops, wait } => self.write(host, &ops, wait),
            Action::Put { host, record } => self.put(host, record),
            Action::Kill { host } => self.stop(host, Stop::Killed),
            Action::PowerCut { host } => self.stop(host, Stop::PowerCut),
            Action::Leave { host } => self.give(host, Input::Leave),
            Action::Start { host, damage } => self.start(host, damage),
            Action::Snapshot { host } => self.machines[host.index()].disk.take_snapshot(),
            Action::Pause { host } => self.pause(host),
            Action::Resume { host } => self.resume(host),
            Action::Cut { from, to } => self.cut(from, to),
            Action::Mend { from, to } => self.mend(from, to),
            Action::Partition { side } => self.part(&side),
            Action::MendAll => self.mend_all(),
            Action::Reset { one, other } => self.reset(one, other),
            Action::Loss { share } => self.network.loss = share,
            Action::Clock { host, by_ms } => {
                self.count("clock_jumps");
                self.machines[host.index()].ahead_ms += by_ms;
            }
            Action::SlowDisk { host, fsync_ms } => {
                self.count("slow_disks");
                self.machines[host.index()].disk.slow_us = Some(fsync_ms * 1_000);
            }
            Action::FullDisk { host } => {
                self.count("full_disks");
                self.machines[host.index()].disk.full = true;
            }
            Action::GoodDisk { host } => {
                let disk = &mut self.machines[host.index()].disk;
                (disk.full, disk.slow_us) = (false, None);
            }
        }
    }

    /// A process begins where none runs.
    pub(crate) fn start(&mut self, host: Host, damage: Option<Damage>) {
        if self.machines[host.index()].is_up() {
            return;
        }
        let before = self.machines[host.index()].run;
        if let Some(how) = damage {
            self.damage(host, how);
        }
        let life = self.next_life();
        let entropy = self.rng.random();
        let machine = &mut self.machines[host.index()];
        let wall = machine.wall(self.now);
        let mut generation = Generation::next(machine.disk.generation, wall, entropy);
        machine.disk.generation = Some(generation);
        let mut recovered = Recovered {
            state: machine.disk.state.read(),
            members: machine.disk.book.values().map(|record| (**record).clone()).collect(),
            records: machine.disk.records.values().cloned().collect(),
        };
        let mut config = self.config(host);
        if let Some(saboteur) = &mut self.saboteur {
            saboteur.start(host, &mut config, &mut generation, &mut recovered);
        }
        let knows_somebody = !recovered.members.is_empty();
        let machine = &mut self.machines[host.index()];
        let me = Identity {
            keypair: machine.keypair.clone(),
            grant: machine.grant.clone(),
            name: machine.name.clone(),
            generation,
            addresses: vec![machine.address],
            tags: BTreeMap::new(),
        };
        let seed = self.rng.random();
        let machine = &mut self.machines[host.index()];
        let node = Node::new(config, me, recovered, seed, machine.moment(self.now));
        machine.node = Some(Box::new(node));
        machine.run = Run::Runs;
        machine.life = life;
        machine.restarted = (before != Run::Never).then_some(self.now);
        machine.tick_at = None;
        self.count(if before == Run::Never { "starts" } else { "restarts" });
        self.observe(Fact::Started { host });
        if before == Run::Off(Stop::PowerCut) {
            self.tell_of_new_kernel(host);
        }
        let wall = self.machines[host.index()].wall(self.now);
        self.give(host, Input::Wall(wall));
        let phase = std::time::Duration::from_micros(self.rng.random_range(0..1_000_000));
        self.queue.put(self.now + phase, Happening::Wall(host, life));
        if !knows_somebody {
            self.introduce(host);
        }
    }

    fn config(&self, host: Host) -> Config {
        let mut membership = chinwag_membership::Config::new(overlay());
        membership.profile = self.plan.profile;
        membership.pool = self.pool.clone();
        if self.plan.newer.contains(&host) {
            membership.protocols = (PROTOCOL_VERSION_MIN, PROTOCOL_VERSION + 1);
        }
        let StatePlan { log_bytes, slice_bytes, checkpoint_rows, push_peers, names_from } = self.plan.state;
        let gossip = chinwag_gossip::Config {
            log_bytes_max: log_bytes,
            slice_bytes_max: slice_bytes,
            checkpoint_rows,
            push_peers_max: push_peers,
            names_from,
            ..chinwag_gossip::Config::default()
        };
        Config { membership, gossip, dht: chinwag_dht::Config::default() }
    }

    /// Shows a node that knows nobody whom to ask: the first host, or another one if that is not there.
    fn introduce(&mut self, host: Host) {
        let others: Vec<Host> = self.running().into_iter().filter(|other| *other != host).collect();
        let Some(first) = others.first().copied() else { return };
        let seed = if first == Host(0) { first } else { others[self.rng.random_range(0..others.len())] };
        let machine = &self.machines[seed.index()];
        let (peer, addresses) = (machine.id, vec![machine.address]);
        self.give(host, Input::Seed { peer, addresses });
    }

    /// A process ends. What was at the disk got there or did not.
    pub(crate) fn stop(&mut self, host: Host, how: Stop) {
        if !self.machines[host.index()].is_up() {
            return;
        }
        let synced = self.rng.random_bool(0.5);
        let machine = &mut self.machines[host.index()];
        let (batch, changes) = (machine.unsynced.take(), std::mem::take(&mut machine.unsynced_records));
        if synced && !machine.disk.full {
            if let Some((first, rows)) = batch {
                machine.disk.commit(first, &rows);
                for row in rows {
                    if let Row::Write(entry) = row {
                        self.archive.entry(entry.dot).or_insert(entry);
                    }
                }
            }
            let machine = &mut self.machines[host.index()];
            machine.disk.commit_records(&changes);
        } else if batch.is_some() || !changes.is_empty() {
            self.count("unsynced_writes_lost");
        }
        let machine = &mut self.machines[host.index()];
        machine.run = Run::Off(how);
        machine.node = None;
        machine.tick_at = None;
        machine.inbox.clear();
        machine.waiting.clear();
        machine.dials.clear();
        machine.open.clear();
        let links = std::mem::take(&mut machine.links);
        self.count(match how {
            Stop::Killed => "kills",
            Stop::PowerCut => "power_cuts",
            Stop::Left => "leaves",
        });
        self.observe(Fact::Stopped { host, how });
        for link in links.into_values() {
            match (how, self.plan.network.transport) {
                (Stop::Left, _) => self.tell_lost(link.connection, 1 - link.end, Lost::Closed),
                (Stop::Killed, Transport::Tcp | Transport::Datagrams) => {
                    let reason = if self.rng.random_bool(0.5) { Lost::Reset } else { Lost::Closed };
                    self.tell_lost(link.connection, 1 - link.end, reason);
                }
                (Stop::Killed, Transport::Quic) | (Stop::PowerCut, _) => self.expect_idle(link.connection),
            }
        }
    }

    /// A kernel that has just begun knows no connection, and resets what it gets of one.
    fn tell_of_new_kernel(&mut self, host: Host) {
        if self.plan.network.transport == Transport::Quic {
            return;
        }
        let life = self.machines[host.index()].life;
        let with_old = |peer: &Host| {
            let link = self.machines[peer.index()].links.get(&host)?;
            (link.peer_life != life).then_some((link.connection, link.end))
        };
        let stale: Vec<_> = self.hosts().filter_map(|peer| with_old(&peer)).collect();
        for (connection, end) in stale {
            self.tell_lost(connection, end, Lost::Reset);
        }
    }

    pub(crate) fn pause(&mut self, host: Host) {
        if self.machines[host.index()].runs() {
            self.machines[host.index()].run = Run::Paused(self.now);
            self.machines[host.index()].tick_at = None;
            self.count("pauses");
            self.observe(Fact::Paused { host });
        }
    }

    /// A process goes on: it is told how long it did not run and finds what waited, in either order, and only then
    /// come its timers.
    pub(crate) fn resume(&mut self, host: Host) {
        let Run::Paused(since) = self.machines[host.index()].run else { return };
        self.machines[host.index()].run = Run::Runs;
        self.observe(Fact::Resumed { host });
        let stalled = Input::Stalled { lasted: self.now.since(since) };
        let first = self.rng.random_bool(0.5);
        if first {
            self.give(host, stalled.clone());
        }
        for input in std::mem::take(&mut self.machines[host.index()].waiting) {
            self.give(host, input);
        }
        for arrived in std::mem::take(&mut self.machines[host.index()].inbox) {
            self.happen(arrived);
        }
        if !first {
            self.give(host, stalled);
        }
        self.expect_tick(host);
    }

    pub(crate) fn cut(&mut self, from: Host, to: Host) {
        if from != to && self.network.cuts.insert((from, to), self.now).is_none() {
            self.count("cuts");
            self.observe(Fact::Cut { from, to });
            let link = self.machines[from.index()].links.get(&to).map(|link| link.connection);
            if let Some(connection) = link {
                self.expect_idle(connection);
            }
        }
    }

    pub(crate) fn mend(&mut self, from: Host, to: Host) {
        if self.network.cuts.remove(&(from, to)).is_some() {
            self.observe(Fact::Mended { from, to });
        }
    }

    fn part(&mut self, side: &[Host]) {
        self.count("partitions");
        let side: BTreeSet<Host> = side.iter().copied().collect();
        let others: Vec<Host> = self.hosts().filter(|host| !side.contains(host)).collect();
        for one in &side {
            for other in &others {
                self.cut(*one, *other);
                self.cut(*other, *one);
            }
        }
    }

    pub(crate) fn mend_all(&mut self) {
        let cuts: Vec<(Host, Host)> = self.network.cuts.keys().copied().collect();
        cuts.into_iter().for_each(|(from, to)| self.mend(from, to));
    }

    fn reset(&mut self, one: Host, other: Host) {
        let Some(link) = self.machines[one.index()].links.get(&other).copied() else { return };
        self.count("resets");
        for to in [0, 1] {
            self.tell_lost(link.connection, to, Lost::Reset);
        }
    }

    /// Damages the disk of a host on which no process runs.
    fn damage(&mut self, host: Host, how: Damage) {
        self.count(match how {
            Damage::Wiped => "disks_wiped",
            Damage::RolledBack => "disks_rolled_back",
            Damage::Corrupt => "disks_corrupt",
        });
        let before = self.machines[host.index()].disk.clone();
        self.machines[host.index()].disk.damage(how, &mut self.rng);
        let lost = self.lost_with(&before);
        if !lost.is_empty() {
            self.count("sole_copies_lost");
        }
        self.observe(Fact::Damaged { host, how, lost });
    }

    /// Of what a disk held, whatever no disk holds for certain now.
    pub(crate) fn lost_with(&self, before: &Disk) -> Vec<LostWrite> {
        let is_gone = |entry: &&Arc<Entry>| {
            before.may_hold(entry.dot)
                && !self.machines.iter().any(|machine| machine.disk.holds(entry.dot, &entry.key))
        };
        let records = &before.records;
        let mut lost: Vec<LostWrite> = self
            .archive
            .values()
            .filter(is_gone)
            .map(|entry| LostWrite {
                key: entry.key.clone(),
                value: match &entry.effect {
                    Effect::Set { value } => Some(value.clone()),
                    Effect::Add { element } => Some(element.clone()),
                    _ => None,
                },
                request: self.written.get(&entry.dot).copied(),
            })
            .collect();
        for (id, held) in records {
            let here = elements_of(held);
            let elsewhere: BTreeSet<Value> = self
                .machines
                .iter()
                .filter_map(|machine| machine.disk.records.get(id))
                .flat_map(elements_of)
                .collect();
            let chinwag_dht::RecordKey::Cell(key) = &held.key else { continue };
            for element in here.into_iter().filter(|element| !elsewhere.contains(element)) {
                lost.push(LostWrite { key: key.clone(), value: Some(element), request: None });
            }
        }
        lost
    }

    /// Nothing goes wrong any more: cuts are mended, pauses over, disks good, and who is to come back comes back.
    pub(crate) fn heal(&mut self) {
        self.mend_all();
        self.network.loss = self.plan.network.loss;
        for host in self.hosts() {
            self.resume(host);
            let disk = &mut self.machines[host.index()].disk;
            (disk.full, disk.slow_us) = (false, None);
        }
        for host in self.hosts() {
            match self.machines[host.index()].run {
                Run::Off(Stop::Killed | Stop::PowerCut) if !self.plan.gone.contains(&host) => {
                    self.start(host, None)
                }
                Run::Off(_) => {
                    self.give_up(host);
                    self.forget(host);
                }
                Run::Never | Run::Runs | Run::Paused(_) => {}
            }
        }
        self.observe(Fact::Healed);
        self.stage = super::finish::Stage::Mesh;
        self.queue.put(self.now, Happening::Look);
    }

    /// A host does not come back: what its disk alone held is gone.
    pub(crate) fn give_up(&mut self, host: Host) {
        let disk = std::mem::take(&mut self.machines[host.index()].disk);
        let lost = self.lost_with(&disk);
        if !lost.is_empty() {
            self.count("sole_copies_lost");
        }
        self.observe(Fact::Damaged { host, how: Damage::Wiped, lost });
    }

    /// In every second run an admin orders who does not come back to be forgotten, as far as it holds it for gone.
    fn forget(&mut self, host: Host) {
        if host != FOUNDER && self.plan.seed.is_multiple_of(2) {
            // Nobody waits for the answer: what comes of it is what members believe.
            let request = RequestId(u64::MAX);
            self.give(FOUNDER, Input::Forget { request, id: self.id_of(host) });
        }
    }

    /// How long ago the run began.
    pub(crate) fn elapsed(&self) -> std::time::Duration {
        self.now.since(Moment::ZERO)
    }
}

fn elements_of(held: &chinwag_dht::Held) -> Vec<Value> {
    match held.cell().and_then(chinwag_dht::Cell::read) {
        Some(chinwag_crdt::Read::Set(elements)) => elements,
        _ => Vec::new(),
    }
}

//! How writes become durable: queue, stage, disk, and only then visible, answered and on their way to others.

use crate::message::fits;
use crate::peer::ChunkState;
use crate::queue::{AtDisk, Gathering, Received, Write};
use crate::waits::Goal;
use crate::{BatchId, Event, Gossip, Path, RequestId, Wait, WriteError};
use chinwag_base::limits::{BATCH_OPS_MAX, CHUNK_ENTRIES_MAX, COMMIT_BYTES_MAX, COMMIT_ENTRIES_MAX};
use chinwag_base::{Lane, Moment, NodeId, ReplicaId};
use chinwag_crdt::{Change, Dot, Entry, Op, Refusal, Row, Staged};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How often one writer's wrong clock is worth an event.
const CLOCK_AHEAD_SPACING: Duration = Duration::from_secs(10);
/// How long a dot that was refused is not asked for again.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// The same, if it waits for others that are on their way.
const EARLY_FOR: Duration = Duration::from_secs(1);
/// How long those who were answered are waited for, if they do not come before: a trip over a socket, and what timers can tell.
const GATHER: Duration = Duration::from_millis(1);
/// How long a commit must take for that.
const GATHER_WORTH: Duration = Duration::from_millis(4);
/// How long after a failed commit entries are asked for again. A full disk stays full for a while.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Clients' requests.
impl Gossip {
    pub(crate) fn on_write(&mut self, request: RequestId, ops: Vec<Op>, wait: Wait, until: Option<Moment>) {
        if let Err(error) = self.admit_write(&ops, wait) {
            return self.reply(request, Err(error));
        }
        let write = Write { request, ops, wait, until, asked: self.now };
        match self.queue.push_write(write) {
            Ok(()) => self.stage(),
            Err(write) => {
                let waiting = self.queued_entries();
                self.reply(write.request, Err(WriteError::Busy { waiting }));
            }
        }
    }

    fn admit_write(&self, ops: &[Op], wait: Wait) -> Result<(), WriteError> {
        if self.is_reader(self.me.node) {
            return Err(WriteError::ReadOnly);
        }
        // The others would refuse what this one takes.
        if !self.replica.has_room_for(Dot::new(self.me, 1)) {
            return Err(WriteError::TooManyLives);
        }
        if ops.is_empty() {
            return Err(WriteError::NoOps);
        }
        if ops.len() > BATCH_OPS_MAX {
            return Err(WriteError::TooManyOps { ops: ops.len(), max: BATCH_OPS_MAX });
        }
        let at_disk = self.at_disk.as_ref().map_or(0, |batch| batch.writes.len());
        let waiting = self.waits.len();
        if wait != Wait::Local && !self.waits.has_room(self.queue.writes().len() + at_disk) {
            return Err(WriteError::TooManyWaits { waiting });
        }
        Ok(())
    }

    pub(crate) fn on_cancel(&mut self, request: RequestId) {
        if self.queue.cancel(request) || self.waits.cancel(request) {
            return;
        }
        if let Some(batch) = &mut self.at_disk
            && batch.writes.iter().any(|(write, _)| write.request == request)
        {
            batch.cancelled.insert(request);
        }
    }
}

/// Group commit.
impl Gossip {
    /// Queues an entry from a peer. Returns whether it is on its way to the disk.
    pub(crate) fn enqueue(&mut self, entry: Arc<Entry>, path: Path) -> bool {
        let dot = entry.dot;
        if self.pending.contains(dot) {
            return true;
        }
        let arrived = self.wall();
        let taken = self.queue.push_received(Received { entry, path });
        if taken {
            self.pending.insert(dot);
            self.traces.arrive(dot, path, arrived);
        }
        taken
    }

    /// If the disk is free, gives it all that waits, up to the size of a commit.
    pub(crate) fn stage(&mut self) {
        while self.at_disk.is_none() {
            if self.stage_jobs() || self.queue.entries() == 0 && self.expired.is_empty() {
                return;
            }
            if self.is_gathering() {
                return;
            }
            let mut batch = AtDisk::new(BatchId(self.next_batch), self.now);
            self.next_batch += 1;
            self.stage_expired();
            self.stage_writes(&mut batch);
            self.stage_received(&mut batch);
            if self.replica.staged().is_empty() {
                // All of it was refused or known: there is nothing for the disk to do.
                self.finish_batch(batch);
            } else {
                let rows = self.replica.staged().iter().cloned().map(Row::Write).collect();
                self.persist(batch.id, rows);
                self.at_disk = Some(batch);
            }
        }
    }

    /// Whether the next batch waits for those who were just answered.
    fn is_gathering(&mut self) -> bool {
        let now = self.now;
        self.gathering = self.gathering.filter(|gathering| {
            gathering.until > now
                && self.queue.writes().len() < gathering.writes
                && !self.queue.has_received()
        });
        self.gathering.is_some()
    }

    /// Clients have been answered: if they were several, and commits are slow, the next one waits for them a little.
    fn gather(&mut self, given: Moment, answered: usize) {
        let is_worth_it = answered > 1 && given + GATHER_WORTH <= self.now;
        let writes = answered + self.queue.writes().len();
        self.gathering = is_worth_it.then_some(Gathering { writes, until: self.now + GATHER });
    }

    /// A flood of local writes leaves half of each commit to what others wrote.
    fn stage_writes(&mut self, batch: &mut AtDisk) {
        let share = if self.queue.has_received() { COMMIT_ENTRIES_MAX / 2 } else { COMMIT_ENTRIES_MAX };
        let wall = self.wall();
        loop {
            let (staged, bytes) = (self.replica.staged().len(), self.replica.staged_bytes());
            let bytes_max = if staged == 0 { usize::MAX } else { COMMIT_BYTES_MAX.saturating_sub(bytes) };
            let Some(write) = self.queue.pop_write(share.saturating_sub(staged), bytes_max) else { return };
            match self.replica.stage_local(&write.ops, wall) {
                Ok(token) => {
                    let asked = self.wall_at(write.asked);
                    token.iter().for_each(|dot| self.traces.arrive(*dot, Path::Local, asked));
                    batch.writes.push((write, token));
                }
                Err(error) => self.reply(write.request, Err(error.into())),
            }
        }
    }

    /// One chunk's worth at a time: to apply an entry takes some two microseconds, and nothing else runs meanwhile.
    fn stage_received(&mut self, batch: &mut AtDisk) {
        let wall = self.wall();
        loop {
            let (staged, bytes) = (self.replica.staged().len(), self.replica.staged_bytes());
            let bytes_max = if staged == 0 { usize::MAX } else { COMMIT_BYTES_MAX.saturating_sub(bytes) };
            if staged >= COMMIT_ENTRIES_MAX || batch.paths.len() >= CHUNK_ENTRIES_MAX {
                return;
            }
            let Some(Received { entry, path }) = self.queue.pop_received(bytes_max) else { return };
            let (dot, hlc) = (entry.dot, entry.hlc);
            match self.replica.stage_remote(Arc::unwrap_or_clone(entry), wall) {
                Staged::New => {
                    batch.paths.insert(dot, path);
                    if let Some(ms) = hlc.ahead_ms(wall) {
                        self.complain_of_clock(dot.replica.node, ms);
                    }
                }
                Staged::Duplicate | Staged::Promised => {
                    self.pending.remove(dot);
                }
                Staged::Refused(why) => {
                    self.pending.remove(dot);
                    self.spent.clear();
                    if why != Refusal::Busy {
                        self.note_refused(dot, &why);
                        let (Path::Pushed { by: from }
                        | Path::Relayed { by: from }
                        | Path::Synced { from }
                        | Path::Joined { from }) = path
                        else {
                            continue;
                        };
                        self.event(Event::EntryRefused { from, dot, why: why.to_string() });
                    }
                }
            }
        }
    }

    /// What was refused once would be refused again: it is not asked for again for a while.
    fn note_refused(&mut self, dot: Dot, why: &Refusal) {
        match why {
            Refusal::TooManyDoomed { .. } => self.early.note(dot, self.now, EARLY_FOR),
            _ => self.refused.note(dot, self.now, REFUSED_FOR),
        }
    }

    /// Whether a dot was refused lately, and would be again.
    pub(crate) fn is_let_be(&self, dot: Dot) -> bool {
        self.refused.dots().contains(dot) || self.early.dots().contains(dot)
    }

    fn complain_of_clock(&mut self, peer: NodeId, ms: u64) {
        let now = self.now;
        // Only of members, so that nobody can make us remember names without end.
        let Some(member) = self.members.get_mut(&peer) else { return };
        if member.clock_told.is_none_or(|told| told + CLOCK_AHEAD_SPACING <= now) {
            member.clock_told = Some(now);
            self.event(Event::ClockAhead { peer, ms });
        }
    }

    pub(crate) fn on_persisted(&mut self, id: BatchId) {
        if self.at_disk.as_ref().is_none_or(|batch| batch.id != id) {
            return;
        }
        if let Some(mut batch) = self.at_disk.take() {
            match std::mem::take(&mut batch.jobs) {
                jobs if jobs.is_empty() => self.finish_batch(batch),
                jobs => self.finish_jobs(jobs),
            }
            self.stage();
        }
    }

    /// The batch is known not to be on the disk: it is as if it had never been.
    pub(crate) fn on_persist_failed(&mut self, id: BatchId, why: &str) {
        if self.at_disk.as_ref().is_none_or(|batch| batch.id != id) {
            return;
        }
        let Some(batch) = self.at_disk.take() else { return };
        let entries = self.replica.staged().len();
        self.replica.abort();
        if !batch.jobs.is_empty() {
            self.fail_jobs();
        }
        for (write, _) in &batch.writes {
            if !batch.cancelled.contains(&write.request) {
                self.reply(write.request, Err(WriteError::Storage(why.to_owned())));
            }
        }
        for dot in batch.paths.keys() {
            self.pending.remove(*dot);
        }
        self.spent.clear();
        self.event(Event::StorageFailed { entries, why: why.to_owned() });
        self.close_chunks();
        self.pull_again_at = Some(self.now + AFTER_FAILURE);
        self.stage();
    }

    /// What is staged is durable: show it, answer for it, and let it leave.
    fn finish_batch(&mut self, batch: AtDisk) {
        let entries = self.replica.staged().to_vec();
        let changes = self.replica.commit();
        let changed = !entries.is_empty();
        if changed {
            self.commits += 1;
            self.history.push(self.replica.clock_digest());
        }
        for entry in &entries {
            self.changed.insert(entry.dot.replica, self.commits);
            self.pending.remove(entry.dot);
        }
        self.tell_applied(&batch, changes);
        // The push goes out before the clients are answered, so that nobody waits for an answer that waits for it.
        self.push(entries.iter().filter(|entry| entry.dot.replica == self.me).cloned().collect());
        self.acknowledge_batch(&batch, &entries);
        self.announce_batch(&batch, &entries);
        self.look_into_gaps(&batch);
        let given = batch.given;
        let answered = self.answer(batch);
        self.gather(given, answered);
        self.close_chunks();
        if changed {
            self.expect_summary();
            self.check_agreement(true);
        }
        self.replica.cut_log_to(self.config.log_bytes_max);
        self.finish_exchanges();
        self.pull();
    }

    fn tell_applied(&mut self, batch: &AtDisk, changes: Vec<Change>) {
        let wall = self.wall().unix_ms();
        for change in changes {
            let path = change.dot.and_then(|dot| batch.paths.get(&dot)).copied().unwrap_or(Path::Local);
            let age_ms = change.hlc.map_or(0, |hlc| wall.saturating_sub(hlc.millis()));
            self.event(Event::Applied { change, path, age_ms });
        }
    }

    /// Says how many clients have their answer, and may write again.
    fn answer(&mut self, batch: AtDisk) -> usize {
        let me = self.me.node;
        let mut answered = 0;
        for (write, token) in batch.writes {
            if batch.cancelled.contains(&write.request) {
                continue;
            }
            let goal = Goal::new(write.wait, me, self.members.iter().map(|(id, member)| (*id, member.alive)));
            if let Some(written) = self.waits.open(&write, token, goal, me, self.now) {
                self.reply(write.request, Ok(written));
                answered += 1;
            }
        }
        answered
    }

    /// Whoever wrote an entry, and whoever brought it, wants to know that it is durable here.
    fn acknowledge_batch(&mut self, batch: &AtDisk, entries: &[Arc<Entry>]) {
        let mut due: BTreeMap<NodeId, BTreeSet<ReplicaId>> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.dot.replica != self.me) {
            let writer = Some(entry.dot.replica.node);
            for node in [writer, batch.sender_of(entry.dot)].into_iter().flatten() {
                if self.peers.contains_key(&node) {
                    due.entry(node).or_default().insert(entry.dot.replica);
                }
            }
        }
        for (node, replicas) in due {
            self.acknowledge(node, &replicas.into_iter().collect::<Vec<_>>());
        }
    }

    /// What travels along the tree is announced beside it.
    fn announce_batch(&mut self, batch: &AtDisk, entries: &[Arc<Entry>]) {
        let reaches_all = self.reaches_all();
        let travels = |dot: &Dot| match batch.paths.get(dot) {
            Some(Path::Relayed { .. }) => true,
            Some(_) => false,
            None => dot.replica == self.me && !reaches_all,
        };
        let small = entries.iter().filter(|entry| fits(entry, Lane::Gossip));
        let dots: Vec<Dot> = small.map(|entry| entry.dot).filter(travels).collect();
        self.announce(&dots);
    }

    /// A push that left a gap was preceded by one that was lost, or is about to be followed by it.
    fn look_into_gaps(&mut self, batch: &AtDisk) {
        let at = self.now + self.config.gap_patience;
        let clock = self.replica.clock();
        let pushed = batch.paths.iter().filter_map(|(dot, path)| match path {
            Path::Pushed { by } => Some((dot.replica, *by)),
            Path::Local | Path::Relayed { .. } | Path::Synced { .. } | Path::Joined { .. } => None,
        });
        let gaps: BTreeSet<NodeId> = pushed
            .filter(|(replica, _)| clock.base(*replica) < clock.last(*replica))
            .map(|(_, by)| by)
            .collect();
        for by in gaps {
            if let Some(peer) = self.peers.get_mut(&by) {
                peer.look(at);
            }
        }
    }

    /// Chunks of which nothing is on its way to the disk any more make room for the next ones.
    pub(crate) fn close_chunks(&mut self) {
        self.refresh_peers();
        for id in self.peers.owing().collect::<Vec<_>>() {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.chunks.retain(|_, chunk| match &chunk.state {
                ChunkState::Arrived(spans) => spans.meets(&self.pending),
                ChunkState::Asked | ChunkState::Late => true,
            });
        }
    }
}

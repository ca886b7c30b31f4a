//! Ending what was written for a time: who deletes it, and when.
//!
//! A lease that has run out hides what was lent from every reader at once, each by its own clock
//! ([`chinwag_crdt::lease`]). To be gone it must be deleted, by one ordinary write of one member: the one that wrote it, or,
//! if that is not alive or may not write any more, the alive member with the lowest id that may. Two that do it at the same
//! time, because they see different members, do no harm: both delete the same dots.
//!
//! What was lent for a process's life goes once that life is over for good: the node has begun another one, or it is no
//! member any more. One that is merely down may come back as it was, and then it is shown again.

use crate::Gossip;
use chinwag_base::limits::COMMIT_ENTRIES_MAX;
use chinwag_base::{Key, Moment, ReplicaId};
use chinwag_crdt::Dot;
use std::time::Duration;

/// How long a process runs before it believes that a writer is no member: at first it knows none.
const ACQUAINTED_AFTER: Duration = Duration::from_secs(60);

/// How long something must have run out by our clock before we delete it in its writer's stead: clocks differ.
const IN_ITS_STEAD_AFTER_MS: u64 = 5_000;

impl Gossip {
    /// When the next lease runs out: what it hides is hidden then, and not at the next input after it.
    pub(crate) fn next_expiry(&self) -> Option<Moment> {
        let until = self.replica.next_expiry()?.unix_ms();
        Some(self.now + Duration::from_millis(until.saturating_sub(self.wall().unix_ms())))
    }

    /// In every round: notes what is ours to delete.
    pub(crate) fn look_for_expired(&mut self) {
        if self.is_reader(self.me.node) || !self.expired.is_empty() {
            return;
        }
        let is_lowest = self.is_lowest_writer();
        let late = self.wall().unix_ms().saturating_sub(IN_ITS_STEAD_AFTER_MS);
        // A writer that has become a reader since cannot delete it.
        let is_able =
            |writer| self.members.get(&writer).is_some_and(|member| member.alive && member.may_write);
        let is_ours = |(_, dot, until): &(&Key, Dot, u64)| {
            let writer = dot.replica.node;
            writer == self.me.node || is_lowest && !is_able(writer) && *until <= late
        };
        let by_time = self.replica.expired().filter(is_ours).map(|(key, dot, _)| (key.clone(), dot));
        // They come writer by writer, and there may be many of one: each is judged once.
        let mut judged: Option<(ReplicaId, bool)> = None;
        let is_ours_for_life = |(_, dot): &(&Key, Dot)| match judged {
            Some((life, is_ours)) if life == dot.replica => is_ours,
            _ => {
                let writer = dot.replica.node;
                let is_ours = self.is_over(*dot) && (writer == self.me.node || is_lowest && !is_able(writer));
                judged = Some((dot.replica, is_ours));
                is_ours
            }
        };
        let for_life = self.replica.lent_for_life().filter(is_ours_for_life);
        let for_life = for_life.map(|(key, dot)| (key.clone(), dot));
        self.expired = by_time.chain(for_life).take(COMMIT_ENTRIES_MAX).collect();
        self.stage();
    }

    /// Whether the process life that made a write can never be a member again.
    fn is_over(&self, dot: Dot) -> bool {
        let life = dot.replica;
        if life.node == self.me.node {
            return life != self.me;
        }
        match self.members.get(&life.node) {
            Some(member) => member.generation > life.generation,
            None => self.now.since(self.began) >= ACQUAINTED_AFTER,
        }
    }

    fn is_lowest_writer(&self) -> bool {
        let mut writers = self.members.iter().filter(|(_, member)| member.alive && member.may_write);
        writers.next().is_none_or(|(lowest, _)| *lowest >= self.me.node)
    }

    /// Stages the deletions, as far as there is room in the batch. What does not fit is noted again in the next round.
    pub(crate) fn stage_expired(&mut self) {
        let wall = self.wall();
        for (key, dot) in std::mem::take(&mut self.expired) {
            match self.replica.stage_expiry(&key, dot, wall) {
                Ok(_) if self.replica.staged().len() < COMMIT_ENTRIES_MAX => {}
                _ => break,
            }
        }
    }
}

//! Checkpoints: the state as of a position in the log, so that the rows before it need not be lived again.
//!
//! Rows after it are replayed on top of it, in their order; so it may be as old as it likes.

use crate::whole::{Checkpoint, Row};
use crate::{Replica, Stock};
use chinwag_base::Key;
use std::sync::OnceLock;

/// Checkpoints.
impl Replica {
    /// How many cells have changed since the last checkpoint was taken.
    pub fn changed_cells(&self) -> usize {
        self.dirty.len()
    }

    /// The state as of the last commit, as far as it has changed since the last checkpoint.
    pub fn checkpoint(&mut self) -> Checkpoint {
        let cells = self.clean().into_iter().map(|key| {
            let parts = self.parts_of(&key).collect();
            (key, parts)
        });
        Checkpoint {
            position: self.log.last(),
            clock: self.clock.clone(),
            session: self.session.clone(),
            unsettled: self.unsettled,
            digest: Some(self.digest()),
            doomed: self.notes(),
            damaged: self.damaged.clone(),
            cells: cells.collect(),
        }
    }

    /// A checkpoint is known not to be on the disk: what was in it belongs into the next one.
    pub fn checkpoint_failed(&mut self, keys: impl IntoIterator<Item = Key>) {
        keys.into_iter().for_each(|key| self.make_dirty(&key));
    }

    /// Takes up a checkpoint with all cells at start-up, before any row of the log. Parts that cannot be are ignored.
    pub fn recover_checkpoint(&mut self, checkpoint: Checkpoint<impl Into<Stock>>) {
        self.recovered = checkpoint.position;
        self.log.skip_to(checkpoint.position + 1);
        self.log.cut(checkpoint.position);
        self.next = self.next.max(checkpoint.clock.last(self.me).saturating_add(1));
        for replica in checkpoint.clock.replicas() {
            *self.lives.entry(replica.node).or_default() += 1;
        }
        self.clock = checkpoint.clock;
        self.clock_digest = OnceLock::new();
        self.session = checkpoint.session;
        self.unsettled = checkpoint.unsettled;
        self.damaged = checkpoint.damaged;
        self.take_up(checkpoint.cells.into());
        for (dot, key) in checkpoint.doomed {
            self.alter(&key, |_, doomed, account| doomed.insert(dot, account));
        }
        self.clean();
    }

    /// Takes up a row of the log at start-up, after the checkpoint; rows in the order of their positions. Says whether
    /// it was of use.
    ///
    /// Rows up to the checkpoint are in it already; of those the entries are kept for whoever asks.
    pub fn replay(&mut self, position: u64, row: Row) -> bool {
        if position == 0 {
            return false;
        }
        self.log.begin_before(position);
        if position <= self.recovered {
            return match row {
                Row::Write(entry) if self.clock.covers(entry.dot) => {
                    self.log.keep(position, entry);
                    true
                }
                _ => false,
            };
        }
        self.log.skip_to(position);
        match row {
            Row::Write(entry) => {
                let is_new = self.recover(entry);
                self.log.skip_to(position + 1);
                return is_new;
            }
            Row::Promised(promise) => drop(self.promise(promise)),
            Row::Joined(slice) => drop(self.join(&slice)),
            // The cells that were told by name are those that differed from ours with all rows in it. What a lost row had done
            // was not among them, so the end of the session claims too much.
            Row::Covered if self.has_lost_rows => self.break_promise(),
            Row::Covered => drop(self.cover()),
            Row::Broken => self.break_promise(),
            Row::Forsaken => self.forsake(),
            Row::Lost => {
                // Whole cells that came around it may be incomplete, so nothing is claimed of them, and of later ones neither.
                self.has_lost_rows = true;
                self.break_promise();
                return false;
            }
        }
        true
    }
}

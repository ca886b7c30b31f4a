//! What is kept: how long the log is, and when the state is written down.

use crate::{Event, Gossip};
use chinwag_base::NodeId;
use chinwag_crdt::Dot;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a checkpoint is not offered again that the disk did not take. A full disk stays full for a while, and writes
/// that would fit wait behind it.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

impl Gossip {
    /// Drops what nobody needs any more from the log: what every member covers; and in any case what is beyond its limit.
    pub(crate) fn cut_log(&mut self) {
        let everybody = self.covered_by_everybody();
        self.replica.cut_log(everybody);
        self.replica.cut_log_to(self.config.log_bytes_max);
        self.drop_floors();
        if self.is_converged() && self.replica.session().is_none() {
            // Whatever anybody's cells knew, everybody's do.
            self.replica.settle_cells();
        }
    }

    /// The position up to which every member that has not left is known to cover our log. Of one that is not connected
    /// nothing is known.
    fn covered_by_everybody(&mut self) -> u64 {
        let mut everybody = self.replica.position();
        let others: Vec<NodeId> = self.members.keys().copied().filter(|id| *id != self.me.node).collect();
        for id in others {
            let Some(peer) = self.peers.get(&id) else { return 0 };
            let before = peer.covers_to.max(self.replica.log_floor());
            let is_whole = peer.known_whole_at == Some(self.commits);
            let is_unknown = |(_, dot): &(u64, Dot)| !is_whole && !peer.known.covers(*dot);
            let unknown = self.replica.logged_after(before).find(is_unknown);
            let covered = unknown.map_or(self.replica.position(), |(position, _)| position - 1);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.covers_to = covered;
            }
            everybody = everybody.min(covered);
        }
        everybody
    }

    /// Notes on resets go once the replica that they speak of can add nothing to what was reset: it is ourselves, or the
    /// present life of a peer that holds exactly what we hold. Those of lives that are over stay: somebody who has been away
    /// for long may have heard more of them.
    fn drop_floors(&mut self) {
        if !self.replica.has_floors() {
            return;
        }
        self.refresh_peers();
        let in_step = self.peers.iter().filter(|(_, peer)| self.is_in_step(peer));
        let over: BTreeSet<_> = in_step.filter_map(|(id, peer)| Some((*id, peer.life?))).collect();
        let me = self.me;
        self.replica
            .drop_floors(|replica| replica == me || over.contains(&(replica.node, replica.generation)));
    }

    /// Whether no checkpoint is asked for or under way.
    pub fn is_written_down(&self) -> bool {
        !self.write_down && self.checkpoint_keys.is_none()
    }

    /// Members for whom entries are kept in the log: those that are not known to hold all that we hold.
    pub fn log_waits_for(&self) -> Vec<NodeId> {
        if self.replica.log_len() == 0 {
            return Vec::new();
        }
        let lacks = |id: &NodeId| {
            self.peers.get(id).is_none_or(|peer| {
                let unknown = |(_, dot): (u64, Dot)| !peer.known.covers(dot);
                peer.known_whole_at != Some(self.commits) && self.replica.logged_after(0).any(unknown)
            })
        };
        self.members.keys().copied().filter(|id| *id != self.me.node).filter(lacks).collect()
    }

    pub(crate) fn on_write_down(&mut self) {
        self.cut_log();
        self.write_down = true;
    }

    /// After so many rows or changed cells the state is written down, and the rows before it go.
    pub(crate) fn look_at_checkpoint(&mut self) {
        let rows = self.replica.position() - self.checkpointed;
        let is_due = rows >= self.config.checkpoint_rows
            || self.replica.changed_cells() as u64 >= self.config.checkpoint_rows;
        let is_asked_for = self.write_down && rows > 0;
        if self.checkpoint_keys.is_none() {
            self.write_down = false;
        }
        // One that the disk did not take is not offered again at once; and one for each position is enough.
        let is_resting = self.checkpoint_from > self.now || rows == 0;
        if self.checkpoint_keys.is_some() || !(is_asked_for || is_due && !is_resting) {
            return;
        }
        let checkpoint = self.replica.checkpoint();
        self.checkpoint_keys = Some(checkpoint.cells.iter().map(|(key, _)| key.clone()).collect());
        self.checkpointed = checkpoint.position;
        let cut = self.replica.log_floor();
        self.checkpoint_out(checkpoint, cut);
    }

    pub(crate) fn on_checkpointed(&mut self, why: Option<String>) {
        let keys = self.checkpoint_keys.take().unwrap_or_default();
        if let Some(why) = why {
            let cells = keys.len();
            self.replica.checkpoint_failed(keys);
            self.checkpoint_from = self.now + AFTER_FAILURE;
            self.event(Event::CheckpointFailed { cells, why });
        }
    }
}

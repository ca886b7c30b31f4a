//! What this node holds and does not own: kept until every owner holds it.

use super::DROP_EVERY;
use crate::Dht;
use crate::distance::Id;
use crate::event::Event;
use chinwag_base::limits::SCAN_RECORDS_MAX;
use chinwag_base::{Digest, NodeId};

impl Dht {
    pub(super) fn held_by(&mut self, id: Id, digest: Digest, owner: NodeId) {
        // It may have changed since: then the owner holds what it was.
        if !self.hand_off.strays.contains_key(&id) || self.store.digest(&id) != Some(digest) {
            return;
        }
        let owners = self.owners(&id);
        let now = self.now;
        if let Some(stray) = self.hand_off.strays.get_mut(&id) {
            stray.held_by.insert(owner);
            if owners.iter().all(|owner| stray.held_by.contains(owner)) {
                stray.complete = Some(now);
            }
        }
    }

    /// Drops what every owner has held for a while.
    pub(super) fn drop_strays(&mut self) {
        if self.hand_off.drop_at > self.now {
            return;
        }
        self.hand_off.drop_at = self.now + DROP_EVERY;
        let linger = self.config.linger;
        let ready = self
            .hand_off
            .strays
            .iter()
            .filter(|(_, stray)| stray.complete.is_some_and(|at| at + linger <= self.now));
        let ready: Vec<Id> = ready.map(|(id, _)| *id).take(SCAN_RECORDS_MAX).collect();
        let records = ready.into_iter().filter(|id| self.stage_drop(*id)).count();
        if records > 0 {
            self.event(Event::Dropped { records });
        }
    }
}

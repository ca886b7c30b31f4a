//! What this node and each other member both own: counted, summed up and compared.

use super::{LOOK_AGAIN, Stray, Sum};
use crate::Dht;
use crate::distance::Id;
use crate::message::Message;
use chinwag_base::limits::SCAN_RECORDS_MAX;
use chinwag_base::{Digest, NodeId};

impl Dht {
    /// Members came or went: ownership has moved.
    pub(crate) fn placement_changed(&mut self) {
        self.hand_off.recount_at = Some(self.now + self.config.settle);
        self.hand_off.counting = None;
        let is_alive = |peer: &NodeId| self.members.get(peer).is_some_and(|member| member.alive);
        self.hand_off.receivers.retain(|peer, _| is_alive(peer));
        self.hand_off.waiting.retain(is_alive);
    }

    /// The durable row of `id` has changed; `before` was its digest.
    pub(crate) fn row_changed(&mut self, id: Id, before: Option<Digest>) {
        let counted = match &self.hand_off.counting {
            _ if self.hand_off.recount_at.is_some() => false,
            None => true,
            Some(cursor) => cursor.is_some_and(|cursor| id <= cursor),
        };
        if counted {
            let after = self.store.digest(&id);
            self.count(id, before, after);
        }
    }

    fn count(&mut self, id: Id, before: Option<Digest>, after: Option<Digest>) {
        let owners = self.owners(&id);
        if !owners.contains(&self.me) {
            match after {
                // Changed: the owners have to be told again.
                Some(_) => drop(self.hand_off.strays.insert(id, Stray::default())),
                None => drop(self.hand_off.strays.remove(&id)),
            }
            if after.is_some() && after != before {
                self.hand_off.waiting.extend(owners);
            }
            return;
        }
        for owner in owners.into_iter().filter(|owner| *owner != self.me) {
            let (records, digest) = self.hand_off.sums.entry(owner).or_default();
            if let Some(before) = before {
                *records = records.saturating_sub(1);
                *digest -= before;
            }
            if let Some(after) = after {
                *records += 1;
                *digest += after;
            }
        }
    }

    /// Counts a slice of what is held.
    pub(super) fn count_on(&mut self) {
        let Some(cursor) = self.hand_off.counting else { return };
        let rows = self.store.after(cursor).take(SCAN_RECORDS_MAX);
        let slice: Vec<(Id, Digest)> = rows.map(|(id, _, digest)| (*id, digest)).collect();
        for (id, digest) in &slice {
            self.count(*id, None, Some(*digest));
        }
        match slice.last() {
            Some((last, _)) if slice.len() == SCAN_RECORDS_MAX => self.hand_off.counting = Some(Some(*last)),
            _ => {
                self.hand_off.counting = None;
                self.compare(true);
            }
        }
    }

    /// Tells every connected member what this node shares with it. Those with whom it shares something and is not
    /// connected are told once they are.
    pub(super) fn compare(&mut self, urgent: bool) {
        let shares = self.hand_off.sums.iter().filter(|(_, (records, _))| *records > 0);
        for peer in shares.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            self.reach(peer);
        }
        let peers: Vec<NodeId> = self.peers.keys().copied().filter(|peer| self.is_here(peer)).collect();
        for peer in peers {
            self.send_sum(peer, urgent, false);
        }
    }

    pub(super) fn send_sum(&mut self, to: NodeId, urgent: bool, answer: bool) {
        let (records, digest) = self.hand_off.sums.get(&to).copied().unwrap_or_default();
        self.send(to, Message::Compare { records, digest, urgent, answer });
    }

    pub(crate) fn on_compare(&mut self, from: NodeId, theirs: Sum, urgent: bool, answer: bool) {
        // Who counts will compare when it is done.
        if !self.hand_off.is_counted() || !self.is_here(&from) {
            return;
        }
        let ours = self.hand_off.sums.get(&from).copied().unwrap_or_default();
        if ours == theirs {
            self.hand_off.look_again.remove(&from);
        } else if urgent || answer || self.hand_off.look_again.remove(&from).is_some() {
            if !answer {
                self.send_sum(from, urgent, true);
            }
            self.hand_off.waiting.insert(from);
        } else {
            self.hand_off.look_again.insert(from, self.now + LOOK_AGAIN);
        }
    }
}

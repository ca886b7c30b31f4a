//! Joining whole cells: how a [`Replica`] takes state without its history.
//!
//! [`Replica::promise`] opens a session under a clock that all senders cover, [`Replica::join`] takes slices of the state
//! under it, and [`Replica::cover`] ends it once all of the state has been compared. Until then our own clock claims
//! nothing: a session that is given up leaves cells that know more than the clock says, and the entries that come
//! afterwards find their work done.
//!
//! A sender may cover more than the session's clock by the time it tells a cell, and then the cell knows more here than our
//! clock says: a value that it has added since is here already when its entry comes, one that it has removed since is gone
//! before its removal comes. That does no harm, provided that the session's clock is told together with the dots that
//! what it covers has removed and that it does not cover: a sender that has taken those up meanwhile is silent of them.
//! (Should the entries never come, because the only disk that had them is lost, then replicas with equal clocks differ,
//! of which one is unsettled; they too meet by whole cells.)

use crate::cell::Cell;
use crate::counter::Share;
use crate::view::View;
use crate::whole::{Extent, Part, PartId, Promise, Session, Slice, keys_after};
use crate::{Change, Clock, Dot, Refusal, Replica};
use chinwag_base::limits::{CLOCK_GAPS_MAX, DOOMED_DOTS_MAX, GENERATIONS_PER_NODE_MAX};
use chinwag_base::{Digest, Key, ReplicaId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Receiving whole cells.
impl Replica {
    /// Opens a session, in place of any other: whole cells come, told by replicas that cover all of the promise's clock.
    /// Entries that it covers are not taken until the session ends. Nothing may be staged. Says what is different for a
    /// reader: nothing, unless an earlier session was given up.
    pub fn promise(&mut self, promise: Promise) -> Vec<Change> {
        self.log.pass();
        let mut changes = Vec::new();
        self.unsettled |= !promise.doomed.is_empty() || !promise.floors.is_empty();
        for (dot, key) in promise.doomed {
            let gone: Vec<Part> = self.parts_of(&key).filter(|part| part.dot() == Some(dot)).collect();
            if !self.has_seen(&key, dot) {
                self.alter(&key, |_, doomed, account| doomed.insert(dot, account));
            }
            self.exchange(&key, &gone, &[], &mut changes);
        }
        for (key, replica, floor) in promise.floors {
            let counter = self.cells.get(&key).and_then(Cell::counter);
            let is_live = counter.and_then(|c| c.share(replica)).is_some_and(|share| share.run.is_some());
            if is_live || self.damaged.contains(&key) || !self.has_counted(replica, floor) {
                let part = Part::Share { replica, run: None, floor: Some(floor) };
                self.exchange(&key, &[], &[&part], &mut changes);
            }
        }
        self.session = Some(Session { clock: promise.clock, done: None });
        changes
    }

    /// Whether a promise that a peer made can be taken up.
    ///
    /// # Errors
    /// What is wrong with it. Nothing has changed.
    pub fn admit_promise(&self, promise: &Promise) -> Result<(), Refusal> {
        let ours = self.clock.last(self.me);
        let own = promise.doomed.iter().filter(|(dot, _)| dot.replica == self.me).map(|(dot, _)| dot.counter);
        if let Some(counter) = own.chain([promise.clock.last(self.me)]).find(|counter| *counter > ours) {
            return Err(Refusal::FromOurFuture { counter });
        }
        if promise.doomed.iter().any(|(dot, _)| dot.counter == 0) {
            return Err(Refusal::CounterZero);
        }
        if let Some((.., run)) = promise.floors.iter().find(|(.., floor)| !floor.is_possible()) {
            return Err(Refusal::RunImpossible { run: *run });
        }
        let count = promise.doomed.len() + promise.floors.len();
        if self.doomed.notes() + count > 2 * DOOMED_DOTS_MAX {
            return Err(Refusal::TooManyDoomed { count });
        }
        Ok(())
    }

    /// Gives the session up, durably, before entries are taken that it promised. What has been joined stays; nothing is
    /// claimed of it.
    pub fn break_promise(&mut self) {
        self.log.pass();
        self.session = None;
    }

    /// Whether cells that came may know more than our clock says, because their senders covered more than was promised.
    /// Until the clock has caught up, replicas with equal clocks may differ.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// The clock has caught up with all senders of cells.
    pub fn settle_cells(&mut self) {
        self.unsettled = self.session.is_some();
    }

    /// The session that is open.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Whether a slice that a peer sent can be taken.
    ///
    /// # Errors
    /// What is wrong with it, or that there is no room. Nothing has changed.
    pub fn admit_slice(&self, slice: &Slice) -> Result<(), Refusal> {
        slice.check()?;
        let ours = self.clock.last(self.me);
        let dots = slice.cells.iter().flat_map(|(_, parts)| parts).map(Part::newest);
        if let Some(dot) = dots.filter(|dot| dot.replica == self.me).find(|dot| dot.counter > ours) {
            return Err(Refusal::FromOurFuture { counter: dot.counter });
        }
        if self.bytes + slice.weight() > self.bytes_max.saturating_mul(2) {
            return Err(Refusal::StateFull { bytes: self.bytes });
        }
        Ok(())
    }

    /// Joins whole cells with ours, under the session's clock and our own. Nothing happens without a session. Nothing may
    /// be staged. Says what is different for a reader.
    pub fn join(&mut self, slice: &Slice) -> Vec<Change> {
        self.log.pass();
        let Some(Session { clock, .. }) = self.session.clone() else { return Vec::new() };
        let mut theirs: BTreeMap<&Key, &[Part]> =
            slice.cells.iter().map(|(key, parts)| (key, parts.as_slice())).collect();
        let ours = self.keys_within(&slice.extent);
        for key in &ours {
            theirs.entry(key).or_default();
        }
        let mut changes = Vec::new();
        for (key, parts) in theirs {
            self.join_cell(key, parts, &slice.extent, &clock, &mut changes);
        }
        self.unsettled = true;
        if let Extent::Range { until, .. } = &slice.extent
            && let Some(session) = &mut self.session
        {
            session.done = until.clone();
        }
        changes
    }

    /// Our own keys that a slice speaks of without naming them.
    fn keys_within(&self, extent: &Extent) -> Vec<Key> {
        let Extent::Range { after, until } = extent else { return Vec::new() };
        let is_within = |key: &&Key| until.as_ref().is_none_or(|until| **key <= until.key);
        let range = keys_after(after.as_ref());
        let cells = self.cells.range::<Key, _>(range).map(|(key, _)| key);
        // Of a damaged cell nothing may be left, and it is to be repaired all the same.
        let damaged = self.damaged.range::<Key, _>(range);
        cells.take_while(is_within).chain(damaged.take_while(is_within)).cloned().collect()
    }

    fn join_cell(
        &mut self,
        key: &Key,
        parts: &[Part],
        extent: &Extent,
        theirs: &Clock,
        changes: &mut Vec<Change>,
    ) {
        let is_damaged = self.damaged.contains(key);
        let we_cover = |dot: Dot| !is_damaged && self.clock.covers(dot);
        let empty = Cell::EMPTY;
        let cell = self.cells.get(key).unwrap_or(&empty);
        let ids = ids_of(parts);
        let runs: BTreeSet<ReplicaId> = parts.iter().filter_map(Part::has_run).collect();

        // What is live here and was removed there: absent although they cover it.
        let has_gone = |part: &Part| match part {
            // A floor alone is ours to keep or to drop. A run that they have counted and do not have, they saw reset.
            Part::Share { replica, run: Some(run), .. } => {
                !runs.contains(replica) && theirs.covers(Dot::new(*replica, run.last))
            }
            part => {
                part.dot().is_some_and(|dot| ids.binary_search(&part.id()).is_err() && theirs.covers(dot))
            }
        };
        let ours: Vec<Part> = extent.parts_of(key, cell).collect();
        let gone: Vec<Part> = ours.iter().filter(|part| has_gone(part)).cloned().collect();
        // What is live there and was not removed here.
        let is_here = ids_of(&ours);
        let is_new = |part: &&Part| match part {
            // Without a run of our own, what we have counted was reset here, even if its floor has gone since. A floor may
            // have gone only if we have counted all of what it resets.
            Part::Share { replica, run, floor } => {
                match (cell.counter().and_then(|counter| counter.share(*replica)), run, floor) {
                    (Some(ours), ..) if ours.run.is_some() => ours != Share { run: *run, floor: *floor },
                    (_, None, Some(floor)) => is_damaged || !self.has_counted(*replica, *floor),
                    _ => !we_cover(part.newest()),
                }
            }
            part => part.dot().is_some_and(|dot| {
                is_here.binary_search(&part.id()).is_err()
                    && !we_cover(dot)
                    && !self.doomed.contains(dot, key)
            }),
        };
        let new: Vec<&Part> = parts.iter().filter(is_new).collect();
        self.exchange(key, &gone, &new, changes);
        for part in new {
            if let Part::Sibling { hlc, .. } = part {
                self.hlc.recover(*hlc);
            }
        }
        self.repair(key, extent);
    }

    /// Takes parts out of a cell and puts others in, and notes what is different for a reader.
    fn exchange(&mut self, key: &Key, gone: &[Part], new: &[&Part], changes: &mut Vec<Change>) {
        if gone.is_empty() && new.is_empty() {
            return;
        }
        let empty = Cell::EMPTY;
        let before = View::of(self.cells.get(key).unwrap_or(&empty), gone, new);
        self.alter(key, |cell, _, account| {
            gone.iter().for_each(|part| cell.take(part, account));
            new.iter().for_each(|part| cell.insert(Part::clone(part), account));
        });
        before.changes(key, gone, new, self.cells.get(key).unwrap_or(&empty), changes);
    }

    /// Once all parts of a damaged cell have come it is whole again. They come in order, so the last is enough.
    fn repair(&mut self, key: &Key, extent: &Extent) {
        if self.damaged.contains(key) && extent.has_end_of(key) {
            self.damaged.remove(key);
            self.make_dirty(key);
            self.forget_notes();
        }
    }

    /// Ends the session: everything has been compared, so what its clock covers is in the cells. Nothing happens without
    /// one. Nothing may be staged. Says which replicas' part of our clock has changed.
    pub fn cover(&mut self) -> Vec<ReplicaId> {
        self.log.pass();
        let Some(Session { clock, .. }) = self.session.take() else { return Vec::new() };
        let mut changed = Vec::new();
        let replicas: Vec<ReplicaId> = clock.replicas().collect();
        self.clock.expect(&replicas);
        for replica in replicas {
            let is_first = self.clock.last(replica) == 0;
            let lives = self.lives.get(&replica.node).copied().unwrap_or(0);
            if is_first && lives >= GENERATIONS_PER_NODE_MAX {
                continue;
            }
            let before = self.clock.term(replica);
            self.clock.merge_replica(&clock, replica, CLOCK_GAPS_MAX);
            if self.clock.term(replica) != before {
                changed.push(replica);
            }
            if is_first && self.clock.last(replica) > 0 {
                *self.lives.entry(replica.node).or_default() += 1;
            }
        }
        self.clock.settle();
        self.clock_digest = OnceLock::new();
        self.forget_notes();
        changed
    }

    /// What was in damaged cells is with nobody else: they are what is left of them.
    pub fn forsake(&mut self) {
        self.log.pass();
        let damaged = std::mem::take(&mut self.damaged);
        damaged.iter().for_each(|key| self.make_dirty(key));
        self.forget_notes();
    }

    /// Drops the notes on dots whose removal is in the cells.
    fn forget_notes(&mut self) {
        let is_known = |(dot, key): &(Dot, &Key)| self.has_seen(key, *dot);
        let known: BTreeSet<Dot> = self.doomed.iter().filter(is_known).map(|(dot, _)| dot).collect();
        for dot in known {
            for (key, term, bytes) in self.doomed.take(dot) {
                self.settle(&key, Digest::EMPTY - term, 0, bytes);
            }
        }
    }
}

/// What parts are known by, sorted: as they are told.
fn ids_of(parts: &[Part]) -> Vec<PartId> {
    let mut ids: Vec<PartId> = parts.iter().map(Part::id).collect();
    if !ids.is_sorted() {
        ids.sort_unstable();
    }
    ids
}

/// Floors that have done their work.
impl Replica {
    /// Drops the notes on resets that nothing can undo any more: those of replicas of which `is_over` says that our *clock*
    /// covers all that they ever wrote, and that they can no longer extend a run that our resets have seen, because they
    /// have seen the resets or are gone. Both are needed (the model has a mutant for each). Says how many.
    pub fn drop_floors(&mut self, is_over: impl Fn(ReplicaId) -> bool) -> usize {
        let keys: Vec<Key> = self.floors.iter().cloned().collect();
        let mut dropped = 0;
        for key in keys {
            let Some(counter) = self.cells.get(&key).and_then(Cell::counter) else {
                self.floors.remove(&key);
                continue;
            };
            let alone = |share: &Share| share.run.is_none();
            let over: Vec<ReplicaId> = counter
                .shares()
                .filter(|(replica, share)| alone(share) && is_over(*replica))
                .map(|(replica, _)| replica)
                .collect();
            if over.is_empty() {
                continue;
            }
            dropped += over.len();
            self.alter(&key, |cell, _, account| {
                for replica in &over {
                    cell.take(&Part::Share { replica: *replica, run: None, floor: None }, account);
                }
            });
        }
        dropped
    }
}

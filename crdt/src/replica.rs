//! The replica: all keys, the clock, the log, and what waits for the disk. (Whole cells: `join`.)
//!
//! Writes go through two steps. *Staging* gives an entry its dot and checks it against everything staged before it;
//! nobody sees it. When the caller knows that the entries are durable, *commit* makes them visible, and their dots
//! covered. Reads, digests and the clock speak of committed state only.
//!
//! If the caller knows that the entries did *not* become durable, *abort* drops them, and our own next write takes
//! the dots that they had: nobody has seen them. A commit that may or may not have reached the disk must not be
//! aborted; that is a crash, and the next process start is a new replica.

use crate::account::Account;
use crate::dirty::Dirty;
use crate::doomed::Doomed;
use crate::index::Index;
use crate::lease::{Terms, some_of};
use crate::log::Log;
use crate::mark::Writers;
use crate::op::Plan;
use crate::set::Set;
use crate::staging::Staging;
use crate::whole::Session;
use crate::{
    Cell, Change, Clock, Dot, Effect, Entry, Hlc, HlcClock, Lease, Lent, Op, OpError, Refusal, Term, What,
};
use chinwag_base::limits::{
    BATCH_OPS_MAX, ENTRY_BYTES_MAX, STAGED_BYTES_MAX, STAGED_ENTRIES_MAX, STATE_BYTES_MAX,
};
use chinwag_base::{Digest, Key, NodeId, ReplicaId, Value, WallTime};
use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

/// All keys of one process life of one node.
///
/// - Start-up: [`recover_checkpoint`](Replica::recover_checkpoint), then [`replay`](Replica::replay) each row of the log.
/// - Writing: [`stage_local`](Replica::stage_local) and [`stage_remote`](Replica::stage_remote); persist
///   [`staged`](Replica::staged); then [`commit`](Replica::commit) or [`abort`](Replica::abort).
/// - Everything else reads committed state.
#[derive(Debug)]
pub struct Replica {
    pub(crate) me: ReplicaId,
    pub(crate) hlc: HlcClock,
    pub(crate) clock: Clock,
    /// Computed when first asked for, then kept up to date. Recovery leaves it alone.
    pub(crate) clock_digest: OnceLock<Digest>,
    pub(crate) cells: BTreeMap<Key, Cell>,
    /// How many of the cells are fields.
    pub(crate) fields: usize,
    /// How many keys have something live in them or beneath.
    pub(crate) live: usize,
    /// What is lent, and until when.
    pub(crate) terms: Terms,
    /// Generations of each node of which anything has been applied.
    pub(crate) lives: BTreeMap<NodeId, usize>,
    pub(crate) doomed: Doomed,
    pub(crate) log: Log,
    /// Whole cells on their way from others.
    pub(crate) session: Option<Session>,
    /// The cells, by their digests.
    pub(crate) index: Index,
    /// Whether cells that came may know more than our clock says.
    pub(crate) unsettled: bool,
    /// Keys whose cells the disk had lost.
    pub(crate) damaged: BTreeSet<Key>,
    /// Keys whose cells have changed since the last checkpoint.
    pub(crate) dirty: Dirty,
    /// Who wrote what is in the cells.
    pub(crate) writers: Writers,
    /// Keys of counters with floors that stand alone.
    pub(crate) floors: BTreeSet<Key>,
    /// The position of the checkpoint that was recovered.
    pub(crate) recovered: u64,
    /// Whether a row after it was damaged.
    pub(crate) has_lost_rows: bool,
    pub(crate) namespaces: BTreeMap<String, Digest>,
    pub(crate) digest: Digest,
    pub(crate) bytes: usize,
    pub(crate) bytes_max: usize,
    pub(crate) staging: Staging,
    /// The counter of our next write.
    pub(crate) next: u64,
}

/// What became of an entry from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Staged {
    /// It is staged.
    New,
    /// It has been applied or is staged already. Nothing changed.
    Duplicate,
    /// What it did comes with the whole cells that are on their way. Nothing changed.
    Promised,
    /// It is not taken. Nothing changed.
    Refused(Refusal),
}

/// What a cell costs in memory besides its own bytes: its key, map nodes, reference counts, allocations.
pub(crate) fn overhead_bytes(key: &Key) -> usize {
    160 + key.as_str().len()
}

impl Replica {
    /// A replica that holds nothing. `me` has never written before, but for what will be recovered.
    pub fn new(me: ReplicaId) -> Self {
        let mut replica = Replica {
            me,
            hlc: HlcClock::new(),
            clock: Clock::new(),
            clock_digest: OnceLock::new(),
            cells: BTreeMap::new(),
            fields: 0,
            live: 0,
            terms: Terms::default(),
            lives: BTreeMap::new(),
            doomed: Doomed::default(),
            log: Log::default(),
            session: None,
            index: Index::default(),
            unsettled: false,
            damaged: BTreeSet::new(),
            dirty: Dirty::default(),
            writers: Writers::default(),
            floors: BTreeSet::new(),
            recovered: 0,
            has_lost_rows: false,
            namespaces: BTreeMap::new(),
            digest: Digest::EMPTY,
            bytes: 0,
            bytes_max: STATE_BYTES_MAX,
            staging: Staging::default(),
            next: 1,
        };
        replica.be_present();
        replica
    }

    /// Sets the memory at which local writes are refused; [`STATE_BYTES_MAX`] unless set. Entries from elsewhere, and
    /// local operations that only remove, are taken up to twice as much: refusing them helps nobody as long as there is
    /// room. From there on nothing is taken, and this replica falls behind until something is deleted.
    pub fn set_state_bytes_max(&mut self, bytes: usize) {
        self.bytes_max = bytes;
    }

    /// Whose writes this replica makes.
    pub fn me(&self) -> ReplicaId {
        self.me
    }

    /// Applies a durable entry at start-up. The order does not matter; duplicates, and entries that cannot be (see
    /// [`Entry::check`]), are ignored. Says whether it was applied.
    pub fn recover(&mut self, entry: impl Into<Arc<Entry>>) -> bool {
        let entry = entry.into();
        if entry.check().is_err() || self.clock.covers(entry.dot) {
            return false;
        }
        self.hlc.recover(entry.hlc);
        // Many at once: one computation at the end is cheaper than one for each.
        self.clock_digest = OnceLock::new();
        self.apply(entry);
        self.index.settle();
        true
    }

    /// Stages operations as one batch of consecutive dots, in order: one dot for each operation, and one more for each further cell
    /// that it changes: those of a map that is deleted, and those above or beneath in which something is hidden. Each sees the ones before it, and all that is staged. An operation that would do nothing, such
    /// as removing what is not there, is an error.
    ///
    /// # Errors
    /// The first operation's that cannot be done. Then none of them is, and nothing has changed.
    pub fn stage_local(&mut self, ops: &[Op], wall: WallTime) -> Result<Vec<Dot>, OpError> {
        if ops.len() > BATCH_OPS_MAX {
            return Err(OpError::BatchTooLong { len: ops.len() });
        }
        if self.staging.entries().len() + ops.len() > STAGED_ENTRIES_MAX {
            return Err(OpError::Busy);
        }
        let (staged_before, bytes_before, next_before) =
            (self.staging.entries().len(), self.staging.bytes(), self.next);
        let mut dots = Vec::with_capacity(ops.len());
        for (index, op) in ops.iter().enumerate() {
            if let Err(error) = self.stage_op(op, bytes_before, wall, &mut dots) {
                self.staging.truncate(staged_before);
                self.next = next_before;
                return Err(error.in_batch(index, ops.len()));
            }
        }
        Ok(dots)
    }

    fn stage_op(
        &mut self,
        op: &Op,
        bytes_before: usize,
        wall: WallTime,
        dots: &mut Vec<Dot>,
    ) -> Result<(), OpError> {
        let (conditions, term, bare) = op.unfold();
        let key = bare.key();
        for condition in conditions {
            let place = self.place(key);
            condition.check(key, &place)?;
        }
        let plans = match (bare, bare.kind()) {
            (Op::Delete { kind, .. }, _) if term.is_none() => self.plan_delete(key, *kind)?,
            (_, Some(wanted)) => {
                self.check_place(key, wanted)?;
                let dot = Dot::new(self.me, self.next);
                let (effect, mut removed) = bare.plan(&self.shown_with_staged(key), dot)?;
                let effect =
                    term.map_or_else(|| Ok(effect.clone()), |term| self.lend(key, &effect, term, wall))?;
                removed.extend(self.hidden_in_the_way(bare).iter());
                let mut plans = vec![(key.clone(), (effect, removed))];
                plans.extend(self.plan_way(key));
                plans
            }
            _ => return Err(OpError::NotForATime { key: key.clone() }),
        };
        let len = dots.len() + plans.len();
        if len > BATCH_OPS_MAX {
            return Err(OpError::BatchTooLong { len });
        }
        if self.staging.entries().len() + plans.len() > STAGED_ENTRIES_MAX {
            return Err(OpError::Busy);
        }
        for (key, plan) in plans {
            dots.push(self.stage_plan(key, plan, bytes_before, wall)?);
        }
        Ok(())
    }

    /// The same effect, for a time.
    fn lend(&self, key: &Key, effect: &Effect, term: Term, wall: WallTime) -> Result<Effect, OpError> {
        let lent = Lent::of(effect).ok_or_else(|| OpError::NotForATime { key: key.clone() })?;
        let lease = match term {
            Term::Ms(ms) => Lease::Until { unix_ms: self.hlc.now(wall).millis().saturating_add(ms) },
            Term::Life => Lease::Life,
        };
        Ok(Effect::Lend { lent, lease })
    }

    fn stage_plan(
        &mut self,
        key: Key,
        (effect, removed): Plan,
        bytes_before: usize,
        wall: WallTime,
    ) -> Result<Dot, OpError> {
        let dot = Dot::new(self.me, self.next);
        let mut entry = Entry { dot, hlc: Hlc::ZERO, key, effect, removed };
        let weight = entry.weight();
        if weight > ENTRY_BYTES_MAX {
            return Err(OpError::EntryTooLarge { key: entry.key, bytes: weight });
        }
        if self.staging.bytes() + weight > STAGED_BYTES_MAX {
            return Err(if bytes_before == 0 { OpError::BatchTooLarge } else { OpError::Busy });
        }
        let bytes = self.bytes + self.staging.bytes() + weight;
        let max = if entry.only_removes() { self.bytes_max.saturating_mul(2) } else { self.bytes_max };
        if bytes > max {
            return Err(OpError::StateFull { bytes: self.bytes, max: self.bytes_max });
        }
        entry.hlc = self.hlc.tick(wall);
        self.next += 1;
        self.staging.push(Arc::new(entry));
        Ok(dot)
    }

    /// Stages the deletion of one write whose lease has run out. None if it is gone or going.
    pub fn stage_expiry(&mut self, key: &Key, dot: Dot, wall: WallTime) -> Result<Option<Dot>, OpError> {
        let hidden = self.hidden_with_staged(key);
        if !hidden.contains(dot) {
            return Ok(None);
        }
        let hidden = some_of(hidden, dot);
        if self.staging.entries().len() >= STAGED_ENTRIES_MAX {
            return Err(OpError::Busy);
        }
        self.stage_plan(key.clone(), (Effect::Delete, hidden), 1, wall).map(Some)
    }

    /// Stages an entry from elsewhere. Kinds never matter here: if they differ, that is a conflict to be shown.
    ///
    /// An entry that is refused stays uncovered, so it will be offered again.
    pub fn stage_remote(&mut self, entry: Entry, wall: WallTime) -> Staged {
        if self.clock.covers(entry.dot) || self.staging.contains(entry.dot) {
            return Staged::Duplicate;
        }
        if self.session.as_ref().is_some_and(|session| session.clock.covers(entry.dot)) {
            return Staged::Promised;
        }
        if let Err(refusal) = self.admit(&entry) {
            return Staged::Refused(refusal);
        }
        self.hlc.observe(entry.hlc, wall);
        self.staging.push(Arc::new(entry));
        Staged::New
    }

    /// What waits to become durable, in order.
    pub fn staged(&self) -> &[Arc<Entry>] {
        self.staging.entries()
    }

    /// The weight of what waits to become durable, in bytes.
    pub fn staged_bytes(&self) -> usize {
        self.staging.bytes()
    }

    /// Makes everything staged visible, in order: one change for each entry.
    pub fn commit(&mut self) -> Vec<Change> {
        self.commit_first(usize::MAX)
    }

    /// Makes the first `count` staged entries visible, in order: one change for each. The rest stays staged, so that
    /// further writes can be staged while earlier ones are on their way to the disk.
    pub fn commit_first(&mut self, count: usize) -> Vec<Change> {
        let entries = self.staging.take_first(count);
        let mut touched: Vec<ReplicaId> = entries.iter().map(|entry| entry.dot.replica).collect();
        touched.sort_unstable();
        touched.dedup();
        let terms = |clock: &Clock| touched.iter().fold(Digest::EMPTY, |sum, &r| sum + clock.term(r));
        let before = self.clock_digest.get().map(|&digest| digest - terms(&self.clock));
        let me = self.me;
        let mut changes = Vec::with_capacity(entries.len());
        for entry in entries {
            let (key, dot, hlc) = (entry.key.clone(), entry.dot, entry.hlc);
            let what = self.apply(entry);
            let local = dot.replica == me;
            changes.push(Change { key, dot: Some(dot), hlc: Some(hlc), what, local });
        }
        self.index.settle();
        if let Some(rest) = before {
            self.clock_digest = OnceLock::from(rest + terms(&self.clock));
        }
        changes
    }

    /// Drops everything staged. Only for entries that are known not to have become durable: the dots of our own are
    /// used again.
    pub fn abort(&mut self) {
        self.staging.truncate(0);
        self.next = self.clock.last(self.me).saturating_add(1);
    }

    /// Puts an entry into the cells and the log and covers its dot, once. The index is to be settled.
    fn apply(&mut self, entry: Arc<Entry>) -> What {
        let Some(is_first) = self.clock.cover(entry.dot) else { return What::NoEffect };
        if is_first {
            *self.lives.entry(entry.dot.replica.node).or_default() += 1;
        }
        if entry.dot.replica == self.me {
            self.next = self.next.max(entry.dot.counter.saturating_add(1));
        }
        let is_doomed = self.redeem(&entry);
        let missing: Vec<Dot> = entry.removed.iter().filter(|dot| !self.has_seen(&entry.key, *dot)).collect();
        let what = self.alter_one_of_many(&entry.key, |cell, doomed, account| {
            missing.into_iter().for_each(|dot| doomed.insert(dot, account));
            cell.apply(&entry, is_doomed, account)
        });
        self.log.push(entry);
        what
    }

    /// Whether what a write did to a key has been done here: our clock covers it, and the cell was not lost.
    pub(crate) fn has_seen(&self, key: &Key, dot: Dot) -> bool {
        self.clock.covers(dot) && !self.damaged.contains(key)
    }

    /// Changes the cell under a key, or the notes that belong to it, and keeps all sums right.
    pub(crate) fn alter<T>(
        &mut self,
        key: &Key,
        change: impl FnOnce(&mut Cell, &mut Doomed, &mut Account<'_>) -> T,
    ) -> T {
        let result = self.alter_one_of_many(key, change);
        self.index.settle();
        result
    }

    /// The same as one of many changes, after which the index is to be settled.
    fn alter_one_of_many<T>(
        &mut self,
        key: &Key,
        change: impl FnOnce(&mut Cell, &mut Doomed, &mut Account<'_>) -> T,
    ) -> T {
        let mut slot = self.cells.entry(key.clone());
        let mut fresh = Cell::EMPTY;
        let cell = match &mut slot {
            MapEntry::Vacant(_) => {
                fresh.is_dirty = self.dirty.come(key);
                &mut fresh
            }
            MapEntry::Occupied(found) => found.get_mut(),
        };
        let mut account = Account::new(key, cell.sum, &mut self.writers);
        let (was_live, had_floors) = (cell.is_live(), cell.has_lone_floors());
        let result = change(cell, &mut self.doomed, &mut account);
        let Account { digest, notes, mut bytes_more, mut bytes_less, leases, .. } = account;
        let (is_live, has_floors) = (cell.is_live(), cell.has_lone_floors());
        let before = cell.sum;
        cell.sum += digest;
        let after = cell.sum;
        let is_empty = cell.is_empty();
        self.dirty.touch(key, std::mem::replace(&mut cell.is_dirty, true));
        match (slot, is_empty) {
            (MapEntry::Vacant(_), true) => drop(self.dirty.go(key)),
            (MapEntry::Vacant(vacant), false) => {
                vacant.insert(fresh);
                self.fields += usize::from(key.has_fields());
                bytes_more += overhead_bytes(key);
            }
            (MapEntry::Occupied(found), true) => {
                found.remove();
                self.fields -= usize::from(key.has_fields());
                self.dirty.go(key);
                bytes_less += overhead_bytes(key);
            }
            (MapEntry::Occupied(_), false) => {}
        }
        if had_floors && !has_floors {
            self.floors.remove(key);
        } else if has_floors && !had_floors {
            self.floors.insert(key.clone());
        }
        self.terms.exchange(key, &leases);
        if was_live != is_live && !self.is_live_but(&key.root(), key) {
            self.live = self.live + usize::from(is_live) - usize::from(was_live);
        }
        self.add_up(key, digest + notes, bytes_more, bytes_less);
        self.index.exchange(key, before, after);
        result
    }

    /// Takes out the notes that the entry's dot was removed before it came. Says whether it was, from its own key.
    fn redeem(&mut self, entry: &Entry) -> bool {
        let mut doomed = false;
        for (key, term, bytes) in self.doomed.take(entry.dot) {
            doomed |= key == entry.key;
            self.settle(&key, Digest::EMPTY - term, 0, bytes);
        }
        doomed
    }

    /// Notes that belong to a key have come or gone.
    pub(crate) fn settle(&mut self, key: &Key, digest: Digest, bytes_more: usize, bytes_less: usize) {
        self.make_dirty(key);
        self.add_up(key, digest, bytes_more, bytes_less);
    }

    fn add_up(&mut self, key: &Key, digest: Digest, bytes_more: usize, bytes_less: usize) {
        self.bytes = self.bytes + bytes_more - bytes_less;
        if digest == Digest::EMPTY {
            return;
        }
        self.digest += digest;
        let namespace = key.namespace();
        match self.namespaces.get_mut(namespace) {
            Some(sum) => {
                *sum += digest;
                if *sum == Digest::EMPTY {
                    self.namespaces.remove(namespace);
                }
            }
            None => {
                self.namespaces.insert(namespace.to_owned(), digest);
            }
        }
    }

    /// Whether the set under a key has an element.
    pub fn contains(&self, key: &Key, element: &Value) -> bool {
        self.cells
            .get(key)
            .is_some_and(|cell| self.terms.shown(key, cell).set().is_some_and(|set| set.contains(element)))
    }

    /// How many elements the set under a key has; none if there is no set.
    pub fn set_len(&self, key: &Key) -> usize {
        self.cells.get(key).map_or(0, |cell| self.terms.shown(key, cell).set().map_or(0, Set::len))
    }

    /// How many keys hold something, what is hidden included.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether no key holds anything.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Which entries have been applied.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The clock's digest.
    pub fn clock_digest(&self) -> Digest {
        *self.clock_digest.get_or_init(|| self.clock.digest())
    }

    /// The digest of the whole state. Replicas with equal ones hold equal state.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest of each namespace that holds anything, sorted by name. They add up to [`Replica::digest`].
    pub fn namespace_digests(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.namespaces.iter().map(|(name, &digest)| (name.as_str(), digest))
    }

    /// The applied entry with this dot, if the log still has it.
    pub fn entry(&self, dot: Dot) -> Option<&Arc<Entry>> {
        self.log.get(dot)
    }

    /// The applied entries of one replica within a range of counters, ascending, as far as the log still has them.
    pub fn entries(
        &self,
        replica: ReplicaId,
        counters: RangeInclusive<u64>,
    ) -> impl Iterator<Item = &Arc<Entry>> {
        self.log.range(replica, counters)
    }

    /// The position of the newest row of the log; 0 before the first.
    pub fn position(&self) -> u64 {
        self.log.last()
    }

    /// The entries that the log has after a position, in the order in which they were applied, each with its own.
    pub fn logged_after(&self, position: u64) -> impl Iterator<Item = (u64, Dot)> + '_ {
        self.log.after(position)
    }

    /// Drops entries up to a position from the log. Whoever lacks them is told whole cells.
    pub fn cut_log(&mut self, position: u64) {
        self.log.cut(position);
    }

    /// Drops the oldest entries from the log until the others take at most so many bytes.
    pub fn cut_log_to(&mut self, bytes_max: usize) {
        self.log.cut_to(bytes_max);
    }

    /// The position up to which the log has been cut.
    pub fn log_floor(&self) -> u64 {
        self.log.floor()
    }

    /// Whether counters have floors that stand alone.
    pub fn has_floors(&self) -> bool {
        !self.floors.is_empty()
    }

    /// How many entries the log has.
    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    /// Bytes of memory that the log takes, estimated. It shares values with the cells.
    pub fn log_bytes(&self) -> usize {
        self.log.bytes()
    }

    /// How many removed dots have not arrived yet. Zero once everything that others have seen is here.
    pub fn doomed(&self) -> usize {
        self.doomed.len()
    }

    /// Bytes of memory that the committed state takes, estimated: the cells with their values. The log comes on top.
    pub fn state_bytes(&self) -> usize {
        self.bytes
    }
}

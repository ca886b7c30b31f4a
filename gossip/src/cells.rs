//! Rungs 3 and 4 of the ladder: whole cells, for whoever has missed more than the logs still have.
//!
//! The side that is behind opens a *session* ([`Message::Open`]). The other answers with a promise: its clock, and what that
//! clock has removed beyond itself. Once the promise is on our disk, we ask for whole cells, join each with our own under
//! both clocks, and cover the clock when all of the state has been compared. The rules, and the trap that they avoid, are
//! in `chinwag_crdt`'s `whole` and `join`.
//!
//! - *Rung 3*: if little can differ, the promise comes with a sketch of the other's cells. Ours taken away from it leaves
//!   the ids of those that differ (rateless IBLT), and only these are told. Nobody knows before how long a sketch that takes,
//!   so it comes in pieces ([`Message::Further`]) until it is enough.
//! - *Rung 4*: if much does, or if the sketch does not decode, all cells are told, slice by slice in the order of keys.
//!
//! The answering side (`tell`) remembers nothing, and any peer that covers the promise's clock can tell the next slice. So a
//! session outlives the peer that it began with, and a restart.

use crate::differing::Differing;
use crate::peer::Peer;
use crate::queue::AtDisk;
use crate::{Abandoned, BatchId, Event, Gossip, Message, Path, Refusal, Summary};
use chinwag_base::limits::CHUNK_ENTRIES_MAX;
use chinwag_base::{Key, Moment, NodeId};
use chinwag_crdt::{Change, Dot, Extent, Promise, Row, Slice, Symbol};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a session waits for somebody who can go on with it, before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same in rounds, if everybody who is connected has told what it covers, and nobody covers what was promised. What was
/// on its way to one of them has come by then; and if whoever promised it has lost it, it is with nobody.
const PATIENCE_WITH_NOBODY: u32 = 3;
/// How often progress is worth an event.
const PROGRESS_SPACING: Duration = Duration::from_secs(1);

/// Our side of a session: what has been asked of whom.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// Names the question that is open.
    number: u32,
    pub(crate) peer: NodeId,
    asked: Moment,
    began: Moment,
    /// Cells that came.
    cells: usize,
    /// How many there are to come, as far as is known.
    pub(crate) of: Option<usize>,
    told: Moment,
    /// The peer's sketch, until its promise is on our disk and the sketch is long enough.
    pub(crate) symbols: Vec<Symbol>,
    /// How many symbols were asked for.
    pub(crate) asked_symbols: usize,
    /// The cells that differ and have not come, once they are known.
    pub(crate) differing: Option<Differing>,
    /// Only what our disk has lost is asked for, and no clock is covered in the end.
    is_repair: bool,
}

/// Whole cells that are on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coming {
    /// Who tells them.
    pub from: NodeId,
    /// How many have come.
    pub cells: usize,
    /// Of how many, as far as is known. Of cells that both have no difference need come.
    pub of: Option<usize>,
}

/// The side that lacks entries.
impl Gossip {
    /// The whole cells that are on their way, if some are.
    pub fn coming(&self) -> Option<Coming> {
        let fetch = self.fetch.as_ref()?;
        Some(Coming { from: fetch.peer, cells: fetch.cells, of: fetch.of })
    }

    /// Begins a session with a peer whose log does not have what we lack, or goes on with the one that is open.
    pub(crate) fn look_for_cells(&mut self) {
        if self.fetch.is_some() || !self.jobs.is_empty() || self.at_disk_is_job() {
            return;
        }
        if self.replica.session().is_some() {
            return self.resume_session();
        }
        if !self.replica.is_whole() {
            return self.look_for_repair();
        }
        // A member that may not write has nothing to tell either: what it told would be believed like anybody's.
        let able = self.peers.iter().filter(|(id, peer)| peer.rest_until.is_none() && !self.is_reader(**id));
        let wanted: Vec<(NodeId, bool, Option<Moment>)> = able
            .filter(|(_, peer)| peer.log_is_cut.is_some() || peer.differs)
            .map(|(id, peer)| (*id, peer.differs, peer.log_is_cut))
            .collect();
        // As long as somebody may have it in his log, that is cheaper. But somebody who writes all the time is always ahead.
        let could_give = |id: &NodeId| self.peers.get(id).is_some_and(|peer| peer.log_is_cut.is_none());
        let is_coming = self.peers.ahead().any(|id| could_give(&id)) || self.peers.owing().next().is_some();
        let is_overdue = |&(_, differs, cut): &(NodeId, bool, Option<Moment>)| {
            differs || cut.is_some_and(|since| since + self.config.round <= self.now)
        };
        if wanted.is_empty() || is_coming && !wanted.iter().any(is_overdue) {
            return;
        }
        let peer = wanted.into_iter().find(|(id, differs, _)| *differs || self.lacks_something_of(*id));
        if let Some((peer, ..)) = peer {
            let symbols = self.symbols_for(peer);
            self.ask(peer, |number| Message::Open { number, symbols: symbols as u32, repair: false });
            if let Some(fetch) = &mut self.fetch {
                fetch.asked_symbols = symbols;
            }
        }
    }

    /// Cells that our disk has lost are asked for by their keys, of somebody who can repair them. What nobody has is lost for
    /// good, once everybody has been asked; until then our cells are told to nobody, because what is not in them would
    /// read as removed.
    fn look_for_repair(&mut self) {
        let able = self.peers.iter().filter(|(id, peer)| peer.rest_until.is_none() && !self.is_reader(**id));
        let able = able.filter(|(id, _)| !self.asked_in_vain.contains(id));
        let peer = able.filter(|(_, peer)| self.can_repair(peer)).map(|(id, _)| *id).next();
        if let Some(peer) = peer {
            self.ask(peer, |number| Message::Open { number, symbols: 0, repair: true });
            if let Some(fetch) = &mut self.fetch {
                fetch.is_repair = true;
            }
            return;
        }
        let others = self.members.keys().filter(|id| **id != self.me.node);
        let is_forsaken = others.clone().all(|id| self.asked_in_vain.contains(id));
        if is_forsaken && self.began + PATIENCE <= self.now {
            self.jobs.push_back((self.me.node, Row::Forsaken));
            self.stage();
        }
    }

    /// Whether a peer can repair a cell that our disk has lost. Our clock covers still what was in it. So the peer must cover
    /// all of that, or the cell that it tells would lack it; unless everybody is here, and what it does not cover can come
    /// from nobody any more.
    fn can_repair(&self, peer: &Peer) -> bool {
        // What we have written since our disk was read has been done to the cell that is left.
        let lacking = self.replica.clock().minus(&peer.known).filter(|(replica, _)| *replica != self.me);
        let mut dots = lacking
            .flat_map(|(replica, counters)| counters.map(move |n| Dot::new(replica, n)))
            .take(CHUNK_ENTRIES_MAX + 1)
            .peekable();
        if dots.peek().is_none() {
            return true;
        }
        // A summary alone does not say what its sender covers, unless that is what we cover.
        let ours = self.replica.clock_digest();
        let has_told = |peer: &Peer| {
            peer.reported.is_some() || peer.summary.is_some_and(|summary| summary.clock == ours)
        };
        let is_here = |id: &NodeId| *id == self.me.node || self.peers.get(id).is_some_and(has_told);
        let may_come = |dot: Dot| {
            // Whoever has summarised what we cover by now covers it too, though we may not have noted it: we came to it later.
            let is_equal = |other: &Peer| other.summary.is_some_and(|summary| summary.clock == ours);
            let is_known = |(_, other): (&NodeId, &Peer)| other.known.covers(dot) || is_equal(other);
            self.replica.entry(dot).is_some() || self.peers.iter().any(is_known)
        };
        let dots: Vec<Dot> = dots.collect();
        self.began + self.config.round * 3 <= self.now
            && self.members.keys().all(is_here)
            && dots.len() <= CHUNK_ENTRIES_MAX
            && !dots.into_iter().any(may_come)
    }

    /// Somebody else who covers what was promised may go on.
    fn resume_session(&mut self) {
        let Some(session) = self.replica.session() else { return };
        if self.session_is_old && !self.replica.is_whole() {
            // It has passed what has been damaged since.
            self.jobs.push_back((self.me.node, Row::Broken));
            return self.stage();
        }
        // What a reader told would be believed like anybody's.
        let tellers = || self.peers.iter().filter(|(id, _)| !self.is_reader(**id));
        let covers = |peer: &Peer| peer.known.contains_all(&session.clock);
        let able = tellers().find(|(_, peer)| peer.rest_until.is_none() && covers(peer)).map(|(id, _)| *id);
        let is_with_nobody =
            tellers().next().is_some() && tellers().all(|(_, peer)| peer.reported.is_some() && !covers(peer));
        // Since when nothing has come, whoever was asked meanwhile.
        let waiting = *self.session_waits.get_or_insert(self.now);
        let with_nobody = is_with_nobody.then(|| *self.session_with_nobody.get_or_insert(self.now));
        self.session_with_nobody = with_nobody;
        let is_vain = with_nobody.is_some_and(|at| at + self.config.round * PATIENCE_WITH_NOBODY <= self.now);
        if waiting + PATIENCE <= self.now || is_vain {
            self.jobs.push_back((self.me.node, Row::Broken));
            self.stage();
        } else if let Some(peer) = able {
            self.ask_slice(peer);
        }
    }

    /// Asks for the next slice of all cells.
    pub(crate) fn ask_slice(&mut self, peer: NodeId) {
        let after = self.replica.session().and_then(|session| session.done.clone());
        self.ask(peer, |number| Message::More { number, after });
    }

    pub(crate) fn ask(&mut self, peer: NodeId, message: impl FnOnce(u32) -> Message) {
        let number = self.next_chunk;
        self.next_chunk = self.next_chunk.wrapping_add(1);
        let now = self.now;
        let fetch = self.fetch.get_or_insert_with(|| Fetch {
            number,
            peer,
            asked: now,
            began: now,
            cells: 0,
            of: None,
            told: now,
            symbols: Vec::new(),
            asked_symbols: 0,
            differing: None,
            is_repair: false,
        });
        (fetch.number, fetch.peer, fetch.asked) = (number, peer, now);
        self.send(peer, message(number));
    }

    /// Whether that is the answer to what we asked last.
    pub(crate) fn is_asked(&mut self, from: NodeId, number: u32) -> bool {
        let asked = self.fetch.as_ref().is_some_and(|fetch| fetch.peer == from && fetch.number == number);
        if !asked && number >= self.next_chunk {
            self.refuse(from, Refusal::Unsolicited);
        }
        asked && self.jobs.is_empty() && !self.at_disk_is_job()
    }

    pub(crate) fn on_promise(
        &mut self,
        from: NodeId,
        number: u32,
        promise: Option<Promise>,
        cells: u64,
        symbols: Vec<Symbol>,
    ) {
        if !self.is_asked(from, number) {
            return;
        }
        let Some(promise) = promise else {
            // It cannot tell its cells now. What its log has comes from there meanwhile.
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.log_is_cut = None;
            }
            return self.drop_fetch(Abandoned::Barren);
        };
        // A further one comes only in place of one whose cells were not found yet.
        let is_again = self.fetch.as_ref().is_some_and(|fetch| !fetch.symbols.is_empty());
        if self.replica.session().is_some() && !is_again {
            return;
        }
        if let Err(why) = self.replica.admit_promise(&promise) {
            return self.refuse_cells(from, &why);
        }
        // What it covers and we do not is not asked of anybody any more; what is under way already is not taken.
        self.spent.clear();
        if let Some(fetch) = &mut self.fetch {
            fetch.symbols = symbols;
            fetch.of = usize::try_from(cells).ok();
        }
        self.jobs.push_back((from, Row::Promised(promise)));
        self.stage();
    }

    pub(crate) fn on_slice(
        &mut self,
        from: NodeId,
        number: u32,
        slice: Slice,
        left: BTreeSet<Key>,
        stale: bool,
    ) {
        if !self.is_asked(from, number) {
            return;
        }
        let Some(session) = self.replica.session() else { return };
        let Some(fetch) = &mut self.fetch else { return };
        let (is_next, is_last) = match (&slice.extent, &mut fetch.differing) {
            (Extent::Range { after, until }, None) => {
                let goes_on = match (after, until) {
                    (_, None) | (None, Some(_)) => true,
                    (Some(after), Some(until)) => until.is_beyond(after),
                };
                (*after == session.done && goes_on, until.is_none())
            }
            (Extent::Keys, Some(differing)) => {
                let is_too_large = slice.cells.is_empty() && !left.is_empty();
                if stale || is_too_large {
                    // Nothing has been claimed of what has come, so that all can be told from the beginning.
                    (fetch.differing, fetch.is_repair) = (None, false);
                    return self.ask_slice(from);
                }
                for (key, _) in &slice.cells {
                    differing.keys.remove(key);
                }
                let is_within = left.len() <= differing.left_max;
                differing.left_max = differing.left_max.saturating_sub(left.len());
                differing.keys.extend(left);
                (is_within, differing.is_empty())
            }
            _ => (false, false),
        };
        let end = if fetch.is_repair { Row::Broken } else { Row::Covered };
        if !is_next {
            self.refuse(from, Refusal::Unsolicited);
            return self.drop_fetch(Abandoned::Barren);
        }
        if let Err(why) = self.replica.admit_slice(&slice) {
            return self.refuse_cells(from, &why);
        }
        if let Some(fetch) = &mut self.fetch {
            fetch.cells += slice.cells.len();
        }
        self.jobs.push_back((from, Row::Joined(slice)));
        if is_last {
            self.jobs.push_back((from, end));
        }
        self.stage();
    }

    fn refuse_cells(&mut self, from: NodeId, why: &chinwag_crdt::Refusal) {
        self.event(Event::CellsRefused { from, why: why.to_string() });
        self.drop_fetch(Abandoned::Barren);
    }

    /// The peer does not answer, is gone, or gave what it must not. The session stands, for somebody else.
    pub(crate) fn drop_fetch(&mut self, why: Abandoned) {
        let Some(fetch) = self.fetch.take() else { return };
        let rest_until = self.now + self.config.rest;
        if let Some(peer) = self.peers.get_mut(&fetch.peer) {
            peer.rest_until = Some(rest_until);
        }
        self.event(Event::ExchangeAbandoned { peer: fetch.peer, why });
    }

    pub(crate) fn expire_fetch(&mut self) {
        if self.fetch_deadline().is_some_and(|at| at <= self.now) {
            self.drop_fetch(Abandoned::Timeout);
        }
    }

    /// When the answer to what was asked is given up.
    pub(crate) fn fetch_deadline(&self) -> Option<Moment> {
        // While our own disk is busy with what came, nobody owes us anything.
        let waits_for_disk = !self.jobs.is_empty() || self.at_disk_is_job();
        let fetch = self.fetch.as_ref().filter(|_| !waits_for_disk);
        fetch.map(|fetch| fetch.asked + self.config.exchange_timeout)
    }

    pub(crate) fn fetch_from(&self) -> Option<NodeId> {
        self.fetch.as_ref().map(|fetch| fetch.peer)
    }

    /// Whether an entry's effect comes with whole cells, so that it is neither asked for nor taken.
    pub(crate) fn is_promised(&self, dot: Dot) -> bool {
        self.replica.session().is_some_and(|session| session.clock.covers(dot))
    }

    fn at_disk_is_job(&self) -> bool {
        self.at_disk.as_ref().is_some_and(|batch| !batch.jobs.is_empty())
    }
}

/// What sessions bring becomes durable in batches of its own: nothing else may be staged when it takes effect.
impl Gossip {
    /// Gives the disk what a session brought. Says whether there was anything.
    pub(crate) fn stage_jobs(&mut self) -> bool {
        if self.jobs.is_empty() {
            return false;
        }
        let mut batch = AtDisk::new(BatchId(self.next_batch), self.now);
        self.next_batch += 1;
        batch.jobs = self.jobs.drain(..).collect();
        let rows = batch.jobs.iter().map(|(_, row)| row.clone()).collect();
        self.persist(batch.id, rows);
        self.at_disk = Some(batch);
        true
    }

    /// It is durable.
    pub(crate) fn finish_jobs(&mut self, jobs: Vec<(NodeId, Row)>) {
        let mut is_over = false;
        for (from, row) in jobs {
            let changes = match row {
                Row::Write(_) | Row::Lost => Vec::new(),
                Row::Promised(promise) => {
                    // It speaks of what its maker holds durably. That it does not lie about our writes was seen before.
                    let _ = self.note_known(from, &promise.clock);
                    self.replica.promise(promise)
                }
                Row::Joined(slice) => self.replica.join(&slice),
                Row::Covered => {
                    is_over = true;
                    self.session_is_old = false;
                    for replica in self.replica.cover() {
                        self.changed.insert(replica, self.commits + 1);
                    }
                    Vec::new()
                }
                Row::Broken => {
                    (is_over, self.session_is_old) = (true, false);
                    self.replica.break_promise();
                    if !self.replica.is_whole() && from != self.me.node {
                        self.asked_in_vain.insert(from);
                    }
                    Vec::new()
                }
                Row::Forsaken => {
                    let keys = self.replica.damaged().cloned().collect();
                    self.replica.forsake();
                    self.event(Event::CellsLost { keys });
                    Vec::new()
                }
            };
            self.tell_joined(from, changes);
        }
        self.commits += 1;
        self.history.push(self.replica.clock_digest());
        if is_over {
            self.end_session();
        } else {
            self.go_on();
        }
        self.expect_summary();
        self.check_agreement(true);
        self.finish_exchanges();
        self.pull();
    }

    /// What came last is durable: asks for what is next.
    fn go_on(&mut self) {
        (self.session_waits, self.session_with_nobody) = (None, None);
        self.tell_progress();
        let Some(fetch) = &mut self.fetch else { return };
        let peer = fetch.peer;
        if fetch.is_repair && fetch.differing.is_none() {
            let damaged = self.replica.damaged().cloned().collect();
            fetch.differing = Some(Differing::new(BTreeSet::new(), damaged));
        }
        if !fetch.symbols.is_empty() {
            self.find_differing();
        } else if fetch.differing.is_some() {
            self.ask_cells(peer);
        } else {
            self.ask_slice(peer);
        }
    }

    fn tell_joined(&mut self, from: NodeId, changes: Vec<Change>) {
        let wall = self.wall().unix_ms();
        for change in changes {
            let age_ms = change.hlc.map_or(0, |hlc| wall.saturating_sub(hlc.millis()));
            self.event(Event::Applied { change, path: Path::Joined { from }, age_ms });
        }
    }

    fn tell_progress(&mut self) {
        let now = self.now;
        let Some(fetch) = &mut self.fetch else { return };
        if fetch.told + PROGRESS_SPACING <= now {
            fetch.told = now;
            let Fetch { peer: from, cells, of, .. } = *fetch;
            self.event(Event::CellsComing { from, cells, of });
        }
    }

    fn end_session(&mut self) {
        (self.session_waits, self.session_with_nobody) = (None, None);
        self.spent.clear();
        let ids: Vec<NodeId> = self.peers.keys().copied().collect();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.log_is_cut = None;
                peer.differs = false;
                peer.ahead |= !peer.known.is_empty();
            }
        }
        if let Some(fetch) = self.fetch.take() {
            // To hear what it knew when it told its cells.
            let now = self.now;
            if let Some(peer) = self.peers.get_mut(&fetch.peer) {
                peer.look(now);
            }
            let after = self.now.since(fetch.began);
            self.event(Event::CellsDone { from: fetch.peer, cells: fetch.cells, after });
            if self.peers.contains_key(&fetch.peer) {
                self.report(fetch.peer, false);
            }
        }
    }

    /// A peer that is settled holds exactly what we hold: so we are.
    pub(crate) fn settle_as(&mut self, theirs: Summary) {
        if !theirs.unsettled && self.replica.is_unsettled() && self.replica.session().is_none() {
            self.replica.settle_cells();
        }
    }

    /// The disk did not take it. The session goes on later, from where it is.
    pub(crate) fn fail_jobs(&mut self) {
        self.drop_fetch(Abandoned::Disk);
    }
}

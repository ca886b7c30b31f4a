//! Rung 2 between peers that have not met: in which parts do two large clocks differ?
//!
//! A clock grows by an item with each process life that writes, for ever, so after some years most of it is lives that
//! are over and that everybody covers. To tell all of it at each first contact would cost more than what differs. So a large
//! clock is told as a sketch of its items' names ([`Clock::names`]), from which the other side finds out which ones
//! differ (rateless IBLT, [`chinwag_crdt::sketch`]):
//!
//! 1. [`Basis::Sketch`]: the symbols of ours.
//! 2. [`Basis::Yours`], the answer: "I have what you have, except these names; and these of mine are beyond it". From this
//!    the one who asked knows all of the answerer's clock.
//! 3. [`Basis::Rest`], if there were such names: what they stand for. Now the answerer knows all of the asker's.
//!
//! If the sketch is too short, the answer is a [`Message::Tell`] for a longer one, or for everything if that is cheaper.
//!
//! Nothing is believed before the parts are together and have the digest that the summary beside them says: two names that
//! collide, by chance or because somebody made them, cost a telling of everything and nothing else.
//!
//! Our names and their sketch are kept, and brought up to date by what has changed ([`Names`]); so a sketch that is asked for or
//! that comes costs as much work as it is long, whatever the length of the clock.

use crate::message::{Basis, parts};
use crate::peer::Told;
use crate::{Gossip, Message, Report, Summary};
use chinwag_base::limits::{CLOCK_PART_BYTES_MAX, NAME_SYMBOLS_MAX};
use chinwag_base::{Digest, NodeId, ReplicaId};
use chinwag_crdt::{Clock, Decoder, Sketch, Symbol};
use std::collections::{BTreeMap, BTreeSet};

/// Symbols of the first sketch: 1.1 kB, enough for some twenty lives that differ.
pub(crate) const NAME_SYMBOLS: usize = 64;
/// How much longer the next one is.
const LONGER: usize = 4;

/// The names of our clock, once somebody has asked for them.
#[derive(Debug)]
pub(crate) struct Names {
    /// As of which commit of ours.
    commit: u64,
    names: BTreeMap<ReplicaId, u64>,
    sketch: Sketch,
}

/// A clock of ours that a peer was told as a sketch.
#[derive(Debug)]
pub(crate) struct Sketched {
    told: Told,
    clock: Clock,
}

/// What a peer covers but for what it has yet to tell.
#[derive(Debug)]
pub(crate) struct Partial {
    /// The digest of its clock when it told it as a sketch.
    pub(crate) of: Digest,
    known: Summed,
    /// Whether a report that does not fit was let pass, because the rest was on its way.
    pub(crate) has_waited: bool,
}

/// A clock and its digest, which is kept up to date at the cost of what changes.
#[derive(Debug)]
struct Summed {
    clock: Clock,
    digest: Digest,
}

impl Summed {
    /// What is left of a clock with this digest without some of its replicas.
    fn without(clock: &Clock, digest: Digest, replicas: &BTreeSet<ReplicaId>) -> Self {
        let terms = replicas.iter().fold(Digest::EMPTY, |sum, replica| sum + clock.term(*replica));
        Summed { clock: clock.without(replicas), digest: digest - terms }
    }

    fn merge(&mut self, other: &Clock) {
        let terms =
            |clock: &Clock| other.replicas().fold(Digest::EMPTY, |sum, replica| sum + clock.term(replica));
        let before = terms(&self.clock);
        self.clock.merge(other);
        self.digest = self.digest - before + terms(&self.clock);
    }
}

impl Names {
    /// Which replicas these are the names of in `clock`, which was ours at that commit; none if it does not have each.
    fn find(
        &self,
        names: &[u64],
        clock: &Clock,
        changed_since: &BTreeSet<ReplicaId>,
    ) -> Option<BTreeSet<ReplicaId>> {
        let names: BTreeSet<u64> = names.iter().copied().collect();
        let same = self.names.iter().filter(|(replica, _)| !changed_since.contains(replica));
        let then = changed_since.iter().filter_map(|replica| Some((*replica, clock.name(*replica)?)));
        let all = same.map(|(replica, name)| (*replica, *name)).chain(then);
        let found: Vec<ReplicaId> =
            all.filter(|(_, name)| names.contains(name)).map(|(replica, _)| replica).collect();
        (found.len() == names.len()).then(|| found.into_iter().collect())
    }
}

impl Gossip {
    /// The names of our clock as it is.
    fn names(&mut self) -> &Names {
        let clock = self.replica.clock();
        let names = self.names.get_or_insert_with(|| {
            let names: BTreeMap<ReplicaId, u64> =
                clock.names().map(|(name, replica)| (replica, name)).collect();
            let mut sketch = Clock::sketch_of_names(NAME_SYMBOLS_MAX);
            names.values().for_each(|name| sketch.insert(*name));
            Names { commit: self.commits, names, sketch }
        });
        for (replica, _) in self.changed.iter().filter(|(_, commit)| **commit > names.commit) {
            let Some(new) = clock.name(*replica) else { continue };
            match names.names.insert(*replica, new) {
                Some(old) => names.sketch.replace(old, new),
                None => names.sketch.insert(new),
            }
        }
        names.commit = self.commits;
        names
    }

    fn changed_since(&self, commit: u64) -> BTreeSet<ReplicaId> {
        self.changed.iter().filter(|(_, at)| **at > commit).map(|(replica, _)| *replica).collect()
    }

    /// Tells a peer our clock as a sketch of `symbols` symbols. Not if the clock is small, or all of it is cheaper.
    pub(crate) fn report_sketch(&mut self, to: NodeId, ask: bool, symbols: usize) -> bool {
        let clock = self.replica.clock().clone();
        let len = clock.len();
        if symbols == 0 || symbols > longest(len) || len < self.config.names_from {
            return false;
        }
        let basis = Basis::Sketch(self.names().sketch.symbols().iter().take(symbols).copied().collect());
        let (summary, told) = (self.summary(), self.told_now());
        let Some(peer) = self.peers.get_mut(&to) else { return true };
        (peer.told, peer.told_to) = (Some(told), None);
        peer.sketched = Some(Box::new(Sketched { told, clock }));
        self.send(to, Message::Report(Report { summary, basis, clock: Clock::new(), more: false, ask }));
        true
    }

    pub(crate) fn on_sketch(&mut self, from: NodeId, symbols: &[Symbol], summary: Summary, ask: bool) {
        let Some((theirs, of_ours)) = self.difference(symbols) else {
            return self.ask_longer(from, symbols);
        };
        let base = Summed::without(self.replica.clock(), self.replica.clock_digest(), &of_ours);
        let is_all = theirs.is_empty();
        if is_all && !(self.take_whole(from, &base, summary) && ask) {
            return;
        }
        let basis = Basis::Yours { of: summary.clock, except: theirs };
        if !self.report_some(from, basis, &of_ours, !is_all) {
            // It is larger than one part.
            self.tell_all(from);
            return self.send(from, Message::Tell { symbols: 0 });
        }
        if !is_all && let Some(peer) = self.peers.get_mut(&from) {
            peer.partial = Some(Box::new(Partial { of: summary.clock, known: base, has_waited: false }));
        }
    }

    pub(crate) fn on_yours(&mut self, from: NodeId, of: Digest, except: &[u64], report: &Report) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Some(sketched) = peer.sketched.take_if(|sketched| sketched.told.digest == of) else {
            (peer.told, peer.told_to) = (None, None);
            return self.send(from, Message::Tell { symbols: NAME_SYMBOLS as u32 });
        };
        let mut changed = self.changed_since(sketched.told.commit);
        let lacking = (except.len() <= NAME_SYMBOLS_MAX)
            .then(|| self.names().find(except, &sketched.clock, &changed))
            .flatten();
        let Some(lacking) = lacking else {
            if report.ask {
                self.tell_all(from);
            }
            return self.send(from, Message::Tell { symbols: 0 });
        };
        let mut theirs = Summed::without(&sketched.clock, of, &lacking);
        theirs.merge(&report.clock);
        let is_taken = self.take_whole(from, &theirs, report.summary);
        if report.ask {
            changed.extend(lacking);
            // Whoever does not know what it lacks is told everything.
            if !is_taken || !self.report_some(from, Basis::Rest { of }, &changed, false) {
                self.tell_all(from);
            }
        }
    }

    pub(crate) fn on_rest(&mut self, from: NodeId, of: Digest, report: &Report) {
        let partial =
            self.peers.get_mut(&from).and_then(|peer| peer.partial.take_if(|partial| partial.of == of));
        let Some(partial) = partial else {
            return self.send(from, Message::Tell { symbols: NAME_SYMBOLS as u32 });
        };
        let mut theirs = partial.known;
        theirs.merge(&report.clock);
        self.take_whole(from, &theirs, report.summary);
    }

    /// Believes that a clock is all of a peer's, if it is what the summary beside it says; if not, asks for all of it. Says
    /// whether it was.
    fn take_whole(&mut self, from: NodeId, theirs: &Summed, summary: Summary) -> bool {
        let is_it = theirs.digest == summary.clock;
        if is_it {
            self.take_report(from, &theirs.clock, summary, None, false);
        } else {
            self.send(from, Message::Tell { symbols: 0 });
        }
        is_it
    }

    /// Tells a peer all of our clock, whatever it was told before.
    fn tell_all(&mut self, to: NodeId) {
        if let Some(peer) = self.peers.get_mut(&to) {
            (peer.told, peer.told_to) = (None, None);
        }
        self.report_whole(to, false);
    }

    /// Tells a peer our clock as some replicas beyond what it knows of it, if they fit one part.
    fn report_some(&mut self, to: NodeId, basis: Basis, replicas: &BTreeSet<ReplicaId>, ask: bool) -> bool {
        let replicas: Vec<ReplicaId> = replicas.iter().copied().collect();
        let mut parts = parts(self.replica.clock(), &replicas, CLOCK_PART_BYTES_MAX);
        let Some(clock) = parts.pop().filter(|_| parts.is_empty()) else { return false };
        let (summary, told) = (self.summary(), self.told_now());
        if let Some(peer) = self.peers.get_mut(&to) {
            (peer.told, peer.told_to) = (Some(told), None);
        }
        self.send(to, Message::Report(Report { summary, basis, clock, more: false, ask }));
        true
    }

    /// In which names a peer's clock differs from ours, and in which replicas ours from its; none if the symbols do not tell.
    fn difference(&mut self, symbols: &[Symbol]) -> Option<(Vec<u64>, BTreeSet<ReplicaId>)> {
        if symbols.len() > NAME_SYMBOLS_MAX {
            return None;
        }
        let names = self.names();
        let mut decoder = Decoder::new(&names.sketch.first(symbols.len()));
        decoder.extend(symbols).ok()?;
        let difference = decoder.finish().ok()?;
        let of_ours = names.find(&difference.ours_only, &Clock::new(), &BTreeSet::new())?;
        Some((difference.theirs_only, of_ours))
    }

    /// The sketch does not tell: asks for a longer one.
    fn ask_longer(&mut self, from: NodeId, symbols: &[Symbol]) {
        let ours = self.replica.clock().len();
        let theirs = symbols.first().map_or(0, |all| usize::try_from(all.count).unwrap_or(0));
        let longer = (symbols.len() * LONGER).max(2 * ours.abs_diff(theirs)).max(NAME_SYMBOLS);
        let is_worth_it = !symbols.is_empty() && longer <= longest(theirs);
        self.send(from, Message::Tell { symbols: if is_worth_it { longer as u32 } else { 0 } });
    }
}

/// The longest sketch of a clock with so many replicas: a symbol is about as long as what it could save.
fn longest(replicas: usize) -> usize {
    replicas.clamp(NAME_SYMBOLS, NAME_SYMBOLS_MAX)
}

/// Whether a sketch of so many symbols, or everything, which is none, may be asked for just after one of `before` symbols: each is
/// that much longer, so that it comes to an end.
pub(crate) fn is_longer(symbols: u32, before: u32) -> bool {
    let is_sketch = symbols as usize >= NAME_SYMBOLS && before > 0;
    before > 0 && symbols == 0 || is_sketch && u64::from(symbols) >= LONGER as u64 * u64::from(before)
}

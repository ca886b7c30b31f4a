//! Rung 2 between peers that have not met: in which parts do two large clocks differ?
//!
//! A clock grows by an item with each process life that writes, for ever, so after some years most of it is lives that
//! are over and that everybody covers. To tell all of it at each first contact would cost more than what differs. So a large
//! clock is told as a sketch of its items' names ([`Clock::sketch`]), from which the other side finds out which ones
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

use crate::message::{Basis, parts};
use crate::peer::Told;
use crate::{Gossip, Message, Report, Summary};
use chinwag_base::limits::{CLOCK_PART_BYTES_MAX, NAME_SYMBOLS_MAX};
use chinwag_base::{Digest, NodeId, ReplicaId};
use chinwag_crdt::{Clock, Decoder, Symbol};
use std::collections::BTreeSet;

/// Symbols of the first sketch: 1.1 kB, enough for some twenty lives that differ.
pub(crate) const NAME_SYMBOLS: usize = 64;
/// How much longer the next one is.
const LONGER: usize = 4;

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
    clock: Clock,
}

impl Gossip {
    /// Tells a peer our clock as a sketch of `symbols` symbols. Not if the clock is small, or all of it is cheaper.
    pub(crate) fn report_sketch(&mut self, to: NodeId, ask: bool, symbols: usize) -> bool {
        let clock = self.replica.clock().clone();
        if symbols == 0 || symbols > longest(clock.len()) || clock.len() < self.config.names_from {
            return false;
        }
        let basis = Basis::Sketch(clock.sketch(symbols).symbols().to_vec());
        let (summary, told) = (self.summary(), self.told_now());
        let Some(peer) = self.peers.get_mut(&to) else { return true };
        (peer.told, peer.told_to) = (Some(told), None);
        peer.sketched = Some(Box::new(Sketched { told, clock }));
        self.send(to, Message::Report(Report { summary, basis, clock: Clock::new(), more: false, ask }));
        true
    }

    pub(crate) fn on_sketch(&mut self, from: NodeId, symbols: &[Symbol], summary: Summary, ask: bool) {
        let ours = self.replica.clock().clone();
        let Some((theirs, of_ours)) = difference(&ours, symbols) else {
            return self.ask_longer(from, symbols);
        };
        let base = ours.without(&of_ours);
        if theirs.is_empty() && !self.take_whole(from, &base, summary) {
            return;
        }
        if theirs.is_empty() && !ask {
            return;
        }
        let ask = !theirs.is_empty();
        let basis = Basis::Yours { of: summary.clock, except: theirs };
        if !self.report_some(from, basis, &of_ours, ask) {
            // It is larger than one part.
            self.report_whole(from, false);
            return self.send(from, Message::Tell { symbols: 0 });
        }
        if ask && let Some(peer) = self.peers.get_mut(&from) {
            peer.partial = Some(Box::new(Partial { of: summary.clock, clock: base }));
        }
    }

    pub(crate) fn on_yours(&mut self, from: NodeId, of: Digest, except: &[u64], report: &Report) {
        let sketched = self.peers.get_mut(&from).and_then(|peer| peer.sketched.take());
        let Some(sketched) = sketched.filter(|sketched| sketched.told.digest == of) else {
            return self.send(from, Message::Tell { symbols: NAME_SYMBOLS as u32 });
        };
        let Some(lacking) = named(&sketched.clock, except) else {
            return self.send(from, Message::Tell { symbols: 0 });
        };
        let mut theirs = sketched.clock.without(&lacking);
        theirs.merge(&report.clock);
        if self.take_whole(from, &theirs, report.summary) && report.ask {
            let changed = self.changed.iter().filter(|(_, commit)| **commit > sketched.told.commit);
            let rest = lacking.into_iter().chain(changed.map(|(replica, _)| *replica)).collect();
            if !self.report_some(from, Basis::Rest { of }, &rest, false) {
                self.report_whole(from, false);
            }
        }
    }

    pub(crate) fn on_rest(&mut self, from: NodeId, of: Digest, report: &Report) {
        let partial = self.peers.get_mut(&from).and_then(|peer| peer.partial.take());
        let Some(partial) = partial.filter(|partial| partial.of == of) else {
            return self.send(from, Message::Tell { symbols: NAME_SYMBOLS as u32 });
        };
        let mut theirs = partial.clock;
        theirs.merge(&report.clock);
        self.take_whole(from, &theirs, report.summary);
    }

    /// Believes that a clock is all of a peer's, if it is what the summary beside it says; if not, asks for all of it. Says
    /// whether it was.
    fn take_whole(&mut self, from: NodeId, clock: &Clock, summary: Summary) -> bool {
        let is_it = clock.digest() == summary.clock;
        if is_it {
            self.take_report(from, clock, summary, None, false);
        } else {
            self.send(from, Message::Tell { symbols: 0 });
        }
        is_it
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

    /// The sketch does not tell: asks for a longer one.
    fn ask_longer(&mut self, from: NodeId, symbols: &[Symbol]) {
        let ours = self.replica.clock().len();
        let theirs = symbols.first().map_or(0, |all| usize::try_from(all.count).unwrap_or(0));
        let longer = (symbols.len() * LONGER).max(2 * ours.abs_diff(theirs));
        let is_worth_it = !symbols.is_empty() && longer <= longest(theirs);
        self.send(from, Message::Tell { symbols: if is_worth_it { longer as u32 } else { 0 } });
    }
}

/// The longest sketch of a clock with so many replicas: a symbol is about as long as what it could save.
fn longest(replicas: usize) -> usize {
    replicas.clamp(NAME_SYMBOLS, NAME_SYMBOLS_MAX)
}

/// In which names a peer's clock differs from ours, and in which replicas ours from its; none if the symbols do not tell.
fn difference(ours: &Clock, symbols: &[Symbol]) -> Option<(Vec<u64>, BTreeSet<ReplicaId>)> {
    if symbols.len() > NAME_SYMBOLS_MAX {
        return None;
    }
    let mut decoder = Decoder::new(&ours.sketch(symbols.len()));
    decoder.extend(symbols).ok()?;
    let difference = decoder.finish().ok()?;
    Some((difference.theirs_only, named(ours, &difference.ours_only)?))
}

/// The replicas that these are the names of in a clock; none if it does not have each.
fn named(clock: &Clock, names: &[u64]) -> Option<BTreeSet<ReplicaId>> {
    let names: BTreeSet<u64> = names.iter().copied().collect();
    let named: Vec<ReplicaId> =
        clock.names().filter(|(name, _)| names.contains(name)).map(|(_, replica)| replica).collect();
    (named.len() == names.len()).then(|| named.into_iter().collect())
}

//! Rung 3 of the ladder: which cells differ, by a sketch that comes in pieces until it is enough.

use crate::{Gossip, Message};
use chinwag_base::limits::{CELL_SYMBOLS_MAX, NAMED_CELLS_MAX};
use chinwag_base::{Key, NodeId};
use chinwag_crdt::{CellId, Decoder, Row, Symbol};
use std::collections::BTreeSet;

/// Symbols beyond those that the writes that one side lacks would take: some cells differ most of the time.
const SYMBOLS_MIN: usize = 8;

/// Cells that differ: the peer's by their ids, ours by their keys.
#[derive(Debug)]
pub(crate) struct Differing {
    pub(crate) ids: BTreeSet<CellId>,
    pub(crate) keys: BTreeSet<Key>,
    /// How many may yet be left for another question because a slice was full: the peer decides, and must come to an end.
    pub(crate) left_max: usize,
}

impl Differing {
    pub(crate) fn new(ids: BTreeSet<CellId>, keys: BTreeSet<Key>) -> Self {
        // Each question brings a cell at least.
        let left_max = (ids.len() + keys.len()).saturating_mul(NAMED_CELLS_MAX);
        Differing { ids, keys, left_max }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.keys.is_empty()
    }

    /// Takes out as many as one question names. Those with ids first: most of them have keys of ours, which one cell answers
    /// as well as the other.
    pub(crate) fn take(&mut self) -> (BTreeSet<CellId>, BTreeSet<Key>) {
        let ids: BTreeSet<CellId> =
            std::iter::from_fn(|| self.ids.pop_first()).take(NAMED_CELLS_MAX).collect();
        let room = if ids.is_empty() { NAMED_CELLS_MAX } else { 0 };
        (ids, std::iter::from_fn(|| self.keys.pop_first()).take(room).collect())
    }
}

/// What a sketch tells.
#[derive(Debug)]
enum Told {
    Differing(Differing),
    /// So many symbols may tell.
    Longer(usize),
    /// Nothing, however many come.
    Nothing,
}

/// The side that lacks entries.
impl Gossip {
    /// How many symbols of its sketch to ask a peer for at first; none if so much may differ that it is cheaper to tell all. A
    /// write makes a cell differ, or none, if a later one was to the same key; a cell that differs has one id or two, its own
    /// on each side; and each of these takes 1.35 to 1.72 symbols. So we begin with what new cells take.
    pub(crate) fn symbols_for(&self, peer: NodeId) -> usize {
        let Some(peer) = self.peers.get(&peer) else { return 0 };
        let clock = self.replica.clock();
        let writes = peer.known.count_minus(clock).saturating_add(clock.count_minus(&peer.known));
        let symbols = (writes.saturating_mul(3) / 2).saturating_add(SYMBOLS_MIN as u64);
        if symbols > CELL_SYMBOLS_MAX as u64 || writes > self.replica.cells() as u64 {
            0
        } else {
            symbols as usize
        }
    }

    pub(crate) fn on_symbols(&mut self, from: NodeId, number: u32, symbols: Vec<Symbol>) {
        if !self.is_asked(from, number) {
            return;
        }
        let Some(fetch) = self.fetch.as_mut().filter(|fetch| !fetch.symbols.is_empty()) else { return };
        fetch.symbols.extend(symbols);
        self.find_differing();
        self.stage();
    }

    /// Asks for the next cells that differ.
    pub(crate) fn ask_cells(&mut self, peer: NodeId) {
        let named = self.fetch.as_mut().and_then(|fetch| fetch.differing.as_mut()).map(Differing::take);
        if let Some((ids, keys)) = named {
            self.ask(peer, |number| Message::Cells { number, ids, keys });
        }
    }

    /// Asks for the cells that differ, or for more of the sketch that may tell which those are, or for all.
    pub(crate) fn find_differing(&mut self) {
        let Some(fetch) = &mut self.fetch else { return };
        let (peer, symbols) = (fetch.peer, std::mem::take(&mut fetch.symbols));
        let (asked, cells) = (fetch.asked_symbols, fetch.of.unwrap_or(0));
        match self.compare(&symbols) {
            Told::Differing(differing) if differing.is_empty() => self.jobs.push_back((peer, Row::Covered)),
            Told::Differing(differing) => {
                if let Some(fetch) = &mut self.fetch {
                    fetch.of = Some(differing.ids.len().max(differing.keys.len()));
                    fetch.differing = Some(differing);
                }
                self.ask_cells(peer);
            }
            Told::Longer(len) => {
                // To tell a cell takes more than four symbols. A peer that told fewer than it was asked for has no more.
                let most = CELL_SYMBOLS_MAX.min(4 * cells + SYMBOLS_MIN);
                let len = len.min(most);
                let (Some(first), true) = (symbols.first().copied(), symbols.len() == asked && len > asked)
                else {
                    return self.ask_slice(peer);
                };
                if let Some(fetch) = &mut self.fetch {
                    (fetch.symbols, fetch.asked_symbols) = (symbols, len);
                }
                let (have, symbols) = (asked as u32, len as u32);
                self.ask(peer, |number| Message::Further { number, have, first, symbols });
            }
            Told::Nothing => self.ask_slice(peer),
        }
    }

    /// Which cells differ, by the peer's sketch as of its promise and by ours as of now, when nothing that it promised is
    /// taken any more.
    fn compare(&self, symbols: &[Symbol]) -> Told {
        let mut decoder = Decoder::new(self.replica.sketch());
        if decoder.extend(symbols).is_err() {
            return Told::Nothing;
        }
        if !decoder.is_decoded() {
            return Told::Longer(self.replica.sketch().enough(symbols));
        }
        let Ok(difference) = decoder.finish() else { return Told::Nothing };
        let ours: BTreeSet<CellId> = difference.ours_only.into_iter().collect();
        // A peer of ill will could name what we do not have.
        let (keys, is_each) = self.replica.keys_of(&ours);
        let theirs = difference.theirs_only.into_iter().collect();
        if is_each { Told::Differing(Differing::new(theirs, keys)) } else { Told::Nothing }
    }
}

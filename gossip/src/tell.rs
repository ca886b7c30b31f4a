//! Rungs 3 and 4 of the ladder, the side that has the cells. It remembers nothing between two questions.

use crate::{Gossip, Message, Refusal};
use chinwag_base::limits::{BULK_FRAME_BYTES_MAX, CHUNK_BYTES_MAX, NAMED_CELLS_MAX};
use chinwag_base::{Key, NodeId, codec};
use chinwag_crdt::{CellId, Place, Symbol};
use std::collections::BTreeSet;

/// Room for what stands beside a slice or a promise in a frame.
const HEAD_BYTES: usize = 4_096;

impl Gossip {
    pub(crate) fn on_open(&mut self, from: NodeId, number: u32, symbols: u32, repair: bool) {
        let symbols = self.symbols(symbols);
        let cells = self.replica.cells() as u64;
        let told = |promise, symbols| Message::Promise { number, promise: Some(promise), cells, symbols };
        let is_by_name = repair || !symbols.is_empty();
        let by_name = is_by_name.then(|| told(self.replica.promised_by_name(), symbols));
        let by_range = || told(self.replica.promised(), Vec::new());
        let can_tell = (repair || self.replica.is_whole()) && self.replica.clock().is_told_whole();
        // A clock or notes that do not fit a frame cannot be told, and a part of them must not be.
        let fits = |message: &Message| codec::encode(message).len() + HEAD_BYTES <= BULK_FRAME_BYTES_MAX;
        // What is repaired is told by name, and by name a promise has all its floors.
        let else_by_range = || (!repair).then(by_range).filter(fits);
        match by_name.filter(fits).or_else(else_by_range).filter(|_| can_tell) {
            Some(message) => self.send(from, message),
            None => self.cannot_tell(from, number),
        }
    }

    pub(crate) fn on_further(&mut self, from: NodeId, number: u32, have: u32, first: Symbol, symbols: u32) {
        let mut further = self.symbols(symbols);
        if !self.replica.is_whole() || further.first() != Some(&first) || have > symbols {
            // What we have promised speaks of other cells than we have now.
            return self.on_open(from, number, symbols, false);
        }
        further.drain(..have as usize);
        self.send(from, Message::Symbols { number, symbols: further });
    }

    pub(crate) fn on_more(&mut self, from: NodeId, number: u32, after: Option<&Place>) {
        if !self.replica.is_whole() {
            return self.cannot_tell(from, number);
        }
        let slice = self.replica.slice_after(after, self.slice_bytes_max());
        self.send(from, Message::Slice { number, slice, left: BTreeSet::new(), stale: false });
    }

    pub(crate) fn on_cells(
        &mut self,
        from: NodeId,
        number: u32,
        ids: &BTreeSet<CellId>,
        mut keys: BTreeSet<Key>,
    ) {
        if ids.len() + keys.len() > NAMED_CELLS_MAX {
            return self.refuse(from, Refusal::MalformedWant);
        }
        if !self.replica.is_whole() && !ids.is_empty() {
            return self.cannot_tell(from, number);
        }
        // What is damaged here too is not spoken of.
        keys.retain(|key| !self.replica.is_damaged(key));
        let (named, is_each) = self.replica.keys_of(ids);
        keys.extend(named);
        let (slice, left) = self.replica.slice_of(&keys, self.slice_bytes_max());
        self.send(from, Message::Slice { number, slice, left: left.into_iter().collect(), stale: !is_each });
    }

    fn cannot_tell(&mut self, from: NodeId, number: u32) {
        self.send(from, Message::Promise { number, promise: None, cells: 0, symbols: Vec::new() });
    }

    /// The first symbols of the sketch of our cells, as they are told; none if there are not so many.
    fn symbols(&self, count: u32) -> Vec<Symbol> {
        let symbols = self.replica.sketch().symbols().get(..count as usize).unwrap_or_default();
        symbols.iter().map(|symbol| symbol.told()).collect()
    }

    fn slice_bytes_max(&self) -> usize {
        self.config.slice_bytes_max.min(CHUNK_BYTES_MAX)
    }
}

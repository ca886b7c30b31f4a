//! The cells by what is in them, so that two replicas find out which of theirs differ without naming the others.
//!
//! A cell's id is eight bytes of its digest, which is that of its key and of all that is live in it. Two sets of ids are
//! compared by rateless IBLT ([`crate::sketch`]), in bytes proportional to their difference. The sketch is kept up to date
//! with each change.
//!
//! Two cells with one id would pass for equal: once in 2^64 by chance, and then the digests of the states tell.

use crate::sketch::Sketch;
use chinwag_base::limits::{CELL_SYMBOLS_MAX, RENAMED_CELLS_MAX};
use chinwag_base::{Digest, Key};
use std::collections::VecDeque;

/// What a cell is known by while it stays as it is.
pub type CellId = u64;

/// All members of an overlay hash ids alike. Whoever could use that to hide a cell's difference could as well write.
const SKETCH_KEY: [u8; 16] = *b"chinwag cell ids";

#[derive(Debug, Clone)]
pub(crate) struct Index {
    sketch: Sketch,
    /// Which key had an id lately that it has no more: whoever was told of it asks for the cell as it is now.
    /// Oldest first.
    renamed: VecDeque<(CellId, Key)>,
    /// The last change, of which the sketch does not know yet: a large set often changes many times in one commit.
    pending: Option<(Key, Digest, Digest)>,
}

impl Default for Index {
    fn default() -> Self {
        Index { sketch: Sketch::new(SKETCH_KEY, CELL_SYMBOLS_MAX), renamed: VecDeque::new(), pending: None }
    }
}

/// The id of a cell with this digest; none if nothing is live in it.
pub(crate) fn id_of(sum: Digest) -> Option<CellId> {
    let bytes = sum.to_bytes();
    let (first, _) = bytes.split_first_chunk::<8>()?;
    (sum != Digest::EMPTY).then(|| u64::from_le_bytes(*first))
}

impl Index {
    /// The cell under a key has another digest than before. The sketch is right once [`Index::settle`] was called.
    pub(crate) fn exchange(&mut self, key: &Key, before: Digest, after: Digest) {
        match &mut self.pending {
            Some((same, _, last)) if same == key => *last = after,
            _ if before == after => {}
            _ => {
                self.settle();
                self.pending = Some((key.clone(), before, after));
            }
        }
    }

    /// Takes up the last change.
    pub(crate) fn settle(&mut self) {
        let Some((key, before, after)) = self.pending.take() else { return };
        if before == after {
            return;
        }
        match (id_of(before), id_of(after)) {
            (Some(old), Some(new)) => self.sketch.replace(old, new),
            (Some(old), None) => self.sketch.remove(old),
            (None, Some(new)) => self.sketch.insert(new),
            (None, None) => {}
        }
        if let Some(id) = id_of(before) {
            if self.renamed.len() >= RENAMED_CELLS_MAX {
                self.renamed.pop_front();
            }
            self.renamed.push_back((id, key));
        }
    }

    /// Puts in ids of which nobody has been told yet.
    pub(crate) fn put(&mut self, ids: &[CellId]) {
        self.sketch.insert_all(ids);
    }

    /// Takes out an id of which nobody has been told.
    pub(crate) fn take(&mut self, id: CellId) {
        self.sketch.remove(id);
    }

    /// Puts in what is in another index, of which nobody has been told either.
    pub(crate) fn append(&mut self, other: &Index) {
        self.sketch.append(&other.sketch);
    }

    pub(crate) fn sketch(&self) -> &Sketch {
        debug_assert!(self.pending.is_none(), "the last change has been taken up");
        &self.sketch
    }

    /// The ids that keys had lately, and have no more; the oldest first.
    pub(crate) fn renamed(&self) -> impl Iterator<Item = (CellId, &Key)> {
        self.renamed.iter().map(|(id, key)| (*id, key))
    }
}

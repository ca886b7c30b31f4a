//! Peeling: from a peer's symbols and our own to what the two sets differ in (section 4).

use super::mapping::{Keyed, indices};
use super::{Sketch, Symbol};

/// What two sets differ in. Each item once, ascending.
///
/// If the peer is not trusted, neither is this: it may say that we lack what we have, and have what we lack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// What we have and the peer lacks.
    pub ours_only: Vec<u64>,
    /// What the peer has and we lack.
    pub theirs_only: Vec<u64>,
}

/// Why there is no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SketchError {
    /// A symbol beyond the last that our sketch has.
    #[error("our sketch has no more than {len} symbols")]
    Beyond {
        /// How many it has.
        len: usize,
    },
    /// These are not the symbols of any set.
    #[error("the symbols contradict each other")]
    Inconsistent,
    /// More symbols are needed; or the two sketches have different keys, and none would suffice.
    #[error("the symbols do not decode yet")]
    Undecoded,
}

/// Takes a peer's symbols, one after another from the first, until the difference is known.
///
/// The paper keeps the next index of each decoded item in a heap, because its stream has no end. Ours has one, so a
/// decoded item is taken out of all symbols at once, whether they have come or not. 24 bytes a symbol of our sketch.
#[derive(Debug, Clone)]
pub struct Decoder {
    keyed: Keyed,
    /// Theirs less ours, less what was decoded. Of those beyond `received`, theirs are still to be added.
    symbols: Vec<Symbol>,
    received: usize,
    /// How many of the received symbols are not empty.
    open: usize,
    is_inconsistent: bool,
    difference: Difference,
}

impl Decoder {
    /// A decoder beside our set as it is now. O(len), a copy of the sketch.
    pub fn new(ours: &Sketch) -> Self {
        Decoder {
            keyed: ours.keyed,
            symbols: ours.symbols.iter().map(|&symbol| -symbol).collect(),
            received: 0,
            open: 0,
            is_inconsistent: false,
            difference: Difference::default(),
        }
    }

    /// Takes the peer's next symbol. Once the difference is known, further symbols are not looked at.
    ///
    /// All symbols together cost O(d log len) for d items that they give away, never more than one a symbol.
    ///
    /// # Errors
    /// [`SketchError::Beyond`], and nothing changes; [`SketchError::Inconsistent`], and nothing else ever comes of it.
    pub fn push(&mut self, theirs: &Symbol) -> Result<(), SketchError> {
        if self.is_inconsistent {
            return Err(SketchError::Inconsistent);
        }
        if self.is_decoded() {
            return Ok(());
        }
        let (index, len) = (self.received, self.symbols.len());
        let symbol = self.symbols.get_mut(index).ok_or(SketchError::Beyond { len })?;
        *symbol += *theirs;
        self.received += 1;
        self.open += usize::from(!symbol.is_empty());
        let peeled = self.peel(index);
        self.is_inconsistent = peeled.is_err();
        peeled
    }

    /// Takes several, as [`Decoder::push`] does.
    ///
    /// # Errors
    /// Those of [`Decoder::push`]; the symbols before the one that fails are taken.
    pub fn extend<'a>(&mut self, theirs: impl IntoIterator<Item = &'a Symbol>) -> Result<(), SketchError> {
        theirs.into_iter().try_for_each(|symbol| self.push(symbol))
    }

    /// How many symbols were taken. Those that came after the difference was known are not among them.
    pub fn received(&self) -> usize {
        self.received
    }

    /// Whether the difference is known: at least one symbol has come, and nothing is left in any. (The paper looks at
    /// the first alone, where all items are. To look at all costs nothing, and a peer may send what it likes.)
    pub fn is_decoded(&self) -> bool {
        self.received > 0 && self.open == 0 && !self.is_inconsistent
    }

    /// The difference. O(d log d), to sort it.
    ///
    /// # Errors
    /// [`SketchError::Undecoded`] or [`SketchError::Inconsistent`].
    pub fn finish(self) -> Result<Difference, SketchError> {
        if self.is_inconsistent {
            return Err(SketchError::Inconsistent);
        }
        if !self.is_decoded() {
            return Err(SketchError::Undecoded);
        }
        let mut difference = self.difference;
        difference.ours_only.sort_unstable();
        difference.theirs_only.sort_unstable();
        Ok(difference)
    }

    /// Decodes what the symbol at `first` gives away, and what that gives away in turn.
    ///
    /// It ends on every input, because an empty symbol stays empty: a set's symbol that is empty has none of the items
    /// that are left, so an item that should be in it contradicts it. Hence each item that is decoded empties a symbol
    /// for good, the one where it was found; there are no more items than symbols; and none is decoded twice, because
    /// the second time it would meet the symbol that it emptied the first time.
    fn peel(&mut self, first: usize) -> Result<(), SketchError> {
        let mut suspects = vec![first];
        while let Some(found_at) = suspects.pop() {
            let found = self.symbols[found_at];
            let Some((item, hash)) = self.single(found) else { continue };
            for index in indices(hash, self.symbols.len()) {
                let symbol = &mut self.symbols[index];
                let is_received = index < self.received;
                if is_received && symbol.is_empty() {
                    return Err(SketchError::Inconsistent);
                }
                *symbol -= found;
                if is_received && symbol.is_empty() {
                    self.open -= 1;
                } else if is_received {
                    suspects.push(index);
                }
            }
            if !self.symbols[found_at].is_empty() {
                return Err(SketchError::Inconsistent); // The item does not belong where it was found.
            }
            let Difference { ours_only, theirs_only } = &mut self.difference;
            if found.told().count == 1 { theirs_only.push(item) } else { ours_only.push(item) }
        }
        Ok(())
    }

    /// The item and its hash, if a symbol of the difference has a single one. By chance, the hash of a sum of several
    /// items is the sum of their hashes once in 2^64.
    fn single(&self, symbol: Symbol) -> Option<(u64, u64)> {
        let (item, hash) = match symbol.told().count {
            1 => (symbol.sum, symbol.check),
            -1 => (symbol.sum.wrapping_neg(), symbol.check.wrapping_neg()),
            _ => return None,
        };
        (self.keyed.hash(item) == hash).then_some((item, hash))
    }
}

#[cfg(test)]
mod tests;

//! What two large sets differ in, for a message as large as the difference: rateless invertible Bloom lookup tables.
//!
//! Yang, Gilad, Alizadeh: *Practical Rateless Set Reconciliation*, SIGCOMM 2024 (arXiv 2402.02668); the sections below
//! are that paper's. A set stands for an endless stream of *symbols*. Each item takes part in the first symbol, and in
//! symbol i with probability 1 / (1 + i / 2), as its keyed hash decides (section 4, in `mapping`). A symbol holds the
//! sum of its items, the sum of their hashes, and how many they are. Two streams subtracted symbol by symbol are the
//! stream of the difference, since what both sets have cancels out.
//!
//! A symbol in which a single item is left gives it away. That item is taken out of all its other symbols, and leaves
//! single items in some of those: *peeling*, in [`Decoder`]. A difference of d items needs d symbols at d = 1, some
//! 1.77 d on average at d = 5, which is the worst, and 1.35 d when d is large (section 5, and measured in the tests). No
//! side needs to know d before: one sends symbols until the other says that it is done.
//!
//! # Departures
//!
//! - Our streams end. A [`Sketch`] is the first symbols of a set, kept up to date as items come and go, instead of made
//!   afresh for each peer. A difference that needs more of them is not decoded.
//! - Symbols are sums modulo 2^64, where the paper has exclusive ors. An item that was put in twice by mistake stays
//!   visible; and among any 130 items, whoever knows the key finds some whose exclusive ors vanish, by linear algebra
//!   over bits, where sums take a search (Bellare, Micciancio: *A New Paradigm for Collision-Free Hashing*, 1997).
//!
//! # What a stranger can do
//!
//! Hashes are keyed (section 4.3), so that someone who can choose items, but does not know the key, cannot choose items
//! that share their symbols and never decode. Someone who sends us symbols can make us believe in any difference, but
//! for each symbol we decode one item at most.

mod decoder;
mod mapping;

pub use decoder::{Decoder, Difference, SketchError};

use chinwag_base::limits::SKETCH_SYMBOLS_MAX;
use mapping::{Keyed, indices};
use serde::{Deserialize, Serialize};
use std::ops::{AddAssign, Neg, SubAssign};

/// The sum of some items of a set, or of the difference of two. All three sums wrap, so every value is legal.
///
/// Encoded, it is 16 bytes and the count: 17 bytes with a count below 126, 19 with one below 2^15. Sums of hashes have
/// no small values, for which a variable-length form would pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Symbol {
    /// The sum of the items.
    #[serde(with = "eight_bytes")]
    pub sum: u64,
    /// The sum of the items' keyed hashes.
    #[serde(with = "eight_bytes")]
    pub check: u64,
    /// How many items; in a difference, theirs less ours.
    pub count: i64,
}

impl Symbol {
    /// The symbol of no items.
    pub const EMPTY: Symbol = Symbol { sum: 0, check: 0, count: 0 };

    /// As it is told: of the count the lowest eight bits. They say as well as all of it whether what is left is ours or
    /// theirs; that it is a single item, the hash says.
    pub fn told(self) -> Symbol {
        Symbol { count: i64::from(self.count as i8), ..self }
    }

    /// Whether no item is left. (Items that are there add up to this with a probability of 2^-128.)
    pub fn is_empty(&self) -> bool {
        self.told() == Symbol::EMPTY
    }
}

impl AddAssign for Symbol {
    fn add_assign(&mut self, other: Symbol) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.check = self.check.wrapping_add(other.check);
        self.count = self.count.wrapping_add(other.count);
    }
}

impl Neg for Symbol {
    type Output = Symbol;
    fn neg(self) -> Symbol {
        Symbol {
            sum: self.sum.wrapping_neg(),
            check: self.check.wrapping_neg(),
            count: self.count.wrapping_neg(),
        }
    }
}

impl SubAssign for Symbol {
    fn sub_assign(&mut self, other: Symbol) {
        *self += -other;
    }
}

/// A number that is spread over all of its range: eight bytes are shorter than its variable-length form.
mod eight_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        number.to_le_bytes().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        <[u8; 8]>::deserialize(deserializer).map(u64::from_le_bytes)
    }
}

/// The first symbols of a set of 64-bit items, which are well-mixed hashes of something.
///
/// It does not know the items: it is for the caller to insert each once, and to remove none that is not there. Until
/// that is undone, such an item keeps the sketch from being decoded, or is told as a difference. 24 bytes a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    keyed: Keyed,
    symbols: Vec<Symbol>,
}

impl Sketch {
    /// The first `len` symbols of the empty set, at most [`SKETCH_SYMBOLS_MAX`]. Only sketches of one key can be
    /// compared; who may choose items should not know it.
    pub fn new(key: [u8; 16], len: usize) -> Self {
        Sketch { keyed: Keyed::new(key), symbols: vec![Symbol::EMPTY; len.min(SKETCH_SYMBOLS_MAX)] }
    }

    /// The first `len` symbols of the same set, or as many as there are.
    pub fn first(&self, len: usize) -> Sketch {
        Sketch { keyed: self.keyed, symbols: self.symbols.iter().take(len).copied().collect() }
    }

    /// Puts an item in. O(log len): one hash, and about 2 ln(len) symbols.
    pub fn insert(&mut self, item: u64) {
        let check = self.keyed.hash(item);
        self.add(Symbol { sum: item, check, count: 1 }, check);
    }

    /// Takes an item out, at the cost of [`Sketch::insert`].
    pub fn remove(&mut self, item: u64) {
        let check = self.keyed.hash(item);
        self.add(-Symbol { sum: item, check, count: 1 }, check);
    }

    /// Puts an item in in place of another.
    pub fn replace(&mut self, old: u64, new: u64) {
        let [out, into] = [old, new].map(|item| {
            let check = self.keyed.hash(item);
            Symbol { sum: item, check, count: 1 }
        });
        // Side by side: each step of one waits for the one before, and not for those of the other.
        let mut outs = indices(out.check, self.symbols.len());
        let mut intos = indices(into.check, self.symbols.len());
        loop {
            let (gone, new) = (outs.next(), intos.next());
            if let Some(index) = gone {
                self.symbols[index] -= out;
            }
            if let Some(index) = new {
                self.symbols[index] += into;
            }
            if gone.is_none() && new.is_none() {
                return;
            }
        }
    }

    /// Puts many items in, each of them once.
    pub(crate) fn insert_all(&mut self, items: &[u64]) {
        /// Side by side, as in [`Sketch::replace`].
        const LANES: usize = 4;
        let lanes = items.chunks_exact(LANES);
        lanes.remainder().iter().for_each(|item| self.insert(*item));
        for lane in lanes {
            let terms: [Symbol; LANES] = std::array::from_fn(|i| {
                let check = self.keyed.hash(lane[i]);
                Symbol { sum: lane[i], check, count: 1 }
            });
            let mut places = terms.map(|term| indices(term.check, self.symbols.len()));
            let mut is_going_on = true;
            while is_going_on {
                is_going_on = false;
                for (places, term) in places.iter_mut().zip(terms) {
                    if let Some(index) = places.next() {
                        self.symbols[index] += term;
                        is_going_on = true;
                    }
                }
            }
        }
    }

    /// Puts all items of another sketch in, which has the same key and length.
    pub(crate) fn append(&mut self, other: &Sketch) {
        debug_assert!(self.keyed == other.keyed && self.symbols.len() == other.symbols.len());
        self.symbols.iter_mut().zip(&other.symbols).for_each(|(ours, theirs)| *ours += *theirs);
    }

    fn add(&mut self, term: Symbol, hash: u64) {
        for index in indices(hash, self.symbols.len()) {
            self.symbols[index] += term;
        }
    }

    /// The symbols, in the order in which a [`Decoder`] takes them. The first counts all items.
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// How many of a peer's symbols will do, roughly, if these do not: more than these, and three times as many at most.
    ///
    /// Of a difference of d items, symbol i has none with a probability of about exp(-2 d / i). So how many of the later
    /// symbols are equal to ours tells d, unless none is, and then there are far too few.
    pub fn enough(&self, theirs: &[Symbol]) -> usize {
        /// In a large difference, a little more than on average.
        const SYMBOLS_PER_ITEM: f64 = 1.45;
        let half = theirs.len() / 2;
        let later = theirs.iter().zip(&self.symbols).skip(half);
        let equal = later.filter(|(theirs, ours)| theirs.told() == ours.told()).count();
        let (least, most) = (theirs.len() + theirs.len() / 8 + 4, 3 * theirs.len() + 8);
        if equal == 0 {
            return most;
        }
        let share = equal as f64 / (theirs.len() - half) as f64;
        // The harmonic mean of their indices.
        let index = 0.72 * theirs.len() as f64;
        let items = -share.ln() * index / 2.0;
        ((items * SYMBOLS_PER_ITEM) as usize).clamp(least, most)
    }

    /// The key of the hashes.
    pub fn key(&self) -> [u8; 16] {
        self.keyed.key()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const CONFIG: bincode::config::Configuration = bincode::config::standard();
    const KEY: [u8; 16] = *b"chinwag's sketch";

    fn encode(symbol: Symbol) -> Vec<u8> {
        bincode::serde::encode_to_vec(symbol, CONFIG).unwrap()
    }

    /// Daemons of different versions compare their symbols, so these must never change.
    #[test]
    fn symbols_are_the_same_as_ever() {
        let mut sketch = Sketch::new(KEY, SKETCH_SYMBOLS_MAX);
        (0..1_000).for_each(|i| sketch.insert(Keyed::new([7; 16]).hash(i)));
        let symbol = |sum, check, count| Symbol { sum, check, count };
        let expected = [
            (0, symbol(0xddef_5129_d488_e237, 0x16d8_f5f8_f193_d35f, 1_000)),
            (1, symbol(0x5d4f_6ae9_83cf_3092, 0x4432_0db0_b98f_5d5f, 656)),
            (2, symbol(0x717c_7e9c_24a4_e6af, 0x8e16_4f2c_ec7f_b8b2, 504)),
            (100, symbol(0xb0a8_16eb_4d70_aa95, 0x0aaa_1da9_a39d_7b1e, 22)),
        ];
        for (index, symbol) in expected {
            assert_eq!(sketch.symbols()[index], symbol, "symbol {index}");
        }
        // All of them, at their places: the sum of their running totals.
        let (mut total, mut of_totals) = (Symbol::EMPTY, Symbol::EMPTY);
        for &symbol in sketch.symbols() {
            total += symbol;
            of_totals += total;
        }
        assert_eq!(total, symbol(0xda51_e6ce_4c14_f752, 0x6c95_7c16_efe8_074b, 21_469));
        assert_eq!(of_totals, symbol(0xdca1_3a5a_5972_890f, 0x2b1a_7318_b545_5f32, 0x4baa_e9b5));
    }

    #[test]
    fn a_symbol_is_encoded_as_sixteen_bytes_and_its_count() {
        let symbol = Symbol { sum: 3, check: 1 << 56, count: -1 };
        assert_eq!(encode(symbol), [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        let bytes_with = |count| encode(Symbol { count, ..symbol }).len();
        assert_eq!([125, -125, 126, 32_767, 32_768].map(bytes_with), [17, 17, 19, 19, 21]);
    }

    #[test]
    fn a_sketch_has_no_more_symbols_than_it_may() {
        let len = |len| Sketch::new(KEY, len).symbols().len();
        assert_eq!([0, 1, 1_000, usize::MAX].map(len), [0, 1, 1_000, SKETCH_SYMBOLS_MAX]);
        assert_eq!(Sketch::new(KEY, 10).key(), KEY);
        let mut none = Sketch::new(KEY, 0);
        none.insert(1);
        assert_eq!(none.symbols(), []);
    }

    #[test]
    fn the_key_is_not_shown() {
        assert!(format!("{:?}", Sketch::new(KEY, 1)).contains("keyed: Keyed(..)"));
    }

    proptest! {
        #[test]
        fn a_sketch_depends_on_what_is_in_it_and_not_on_how_it_came(
            steps in vec((0_u64..40, any::<bool>()), 0..200),
            len in 0_usize..600,
        ) {
            let mut present = std::collections::BTreeSet::new();
            let mut sketch = Sketch::new(KEY, len);
            for (item, is_insert) in steps {
                if is_insert && present.insert(item) {
                    sketch.insert(item);
                } else if !is_insert && present.remove(&item) {
                    sketch.remove(item);
                }
            }
            let mut afresh = Sketch::new(KEY, len);
            present.iter().for_each(|&item| afresh.insert(item));
            prop_assert_eq!(&sketch, &afresh);
            // One item in place of another.
            let (old, new) = (present.pop_first(), 50);
            if let Some(old) = old {
                sketch.replace(old, new);
                present.insert(new);
                afresh = Sketch::new(KEY, len);
                present.iter().for_each(|&item| afresh.insert(item));
                prop_assert_eq!(&sketch, &afresh);
            }
            // Many at once.
            let mut at_once = Sketch::new(KEY, len);
            at_once.insert_all(&present.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(&at_once, &afresh);
            // In two halves.
            let mut halves = [Sketch::new(KEY, len), Sketch::new(KEY, len)];
            present.iter().for_each(|&item| halves[(item % 2) as usize].insert(item));
            let [mut one, other] = halves;
            one.append(&other);
            prop_assert_eq!(&one, &afresh);
            // A shorter sketch is the beginning of a longer one.
            let mut shorter = Sketch::new(KEY, len / 2);
            present.iter().for_each(|&item| shorter.insert(item));
            prop_assert_eq!(shorter.symbols(), &sketch.symbols()[..len / 2]);
            present.iter().for_each(|&item| sketch.remove(item));
            prop_assert!(sketch.symbols().iter().all(Symbol::is_empty));
        }

        #[test]
        fn encoding_keeps_every_symbol(sum: u64, check: u64, count: i64) {
            let symbol = Symbol { sum, check, count };
            let bytes = encode(symbol);
            let decoded: (Symbol, usize) = bincode::serde::decode_from_slice(&bytes, CONFIG).unwrap();
            prop_assert_eq!(decoded, (symbol, bytes.len()));
        }
    }
}

//! Dots that have been removed before they arrived. (Why they are kept: the crate's documentation.)

use crate::Dot;
use crate::account::{Account, Item};
use chinwag_base::{Digest, Key};
use std::collections::{BTreeMap, BTreeSet};

/// Each dot that an applied entry removes and whose own entry has not come, with the keys that it is removed from:
/// one, unless somebody lies. A note goes when the dot's entry comes, whatever its key turns out to be; so the notes
/// too are a function of the set of entries applied.
#[derive(Debug, Default)]
pub(crate) struct Doomed {
    dots: BTreeMap<Dot, BTreeSet<Key>>,
    notes: usize,
}

const NOTE_BYTES: usize = size_of::<Dot>() + size_of::<BTreeSet<Key>>() + 2 * size_of::<Key>();

impl Doomed {
    pub(crate) fn contains(&self, dot: Dot, key: &Key) -> bool {
        self.dots.get(&dot).is_some_and(|keys| keys.contains(key))
    }

    pub(crate) fn insert(&mut self, dot: Dot, account: &mut Account<'_>) {
        if self.dots.entry(dot).or_default().insert(account.key.clone()) {
            self.notes += 1;
            account.note(term(account.key, dot), NOTE_BYTES);
        }
    }

    /// Takes out the notes on a dot, whose entry has come; each with what its going does to the sums.
    pub(crate) fn take(&mut self, dot: Dot) -> Vec<(Key, Digest, usize)> {
        let keys = self.dots.remove(&dot).unwrap_or_default();
        self.notes -= keys.len();
        let leave = |key: Key| {
            let term = term(&key, dot);
            (key, term, NOTE_BYTES)
        };
        keys.into_iter().map(leave).collect()
    }

    /// Every note: the dot, and a key that it was removed from.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dot, &Key)> {
        self.dots.iter().flat_map(|(dot, keys)| keys.iter().map(move |key| (*dot, key)))
    }

    pub(crate) fn len(&self) -> usize {
        self.dots.len()
    }

    /// Dots and keys, each pair counted.
    pub(crate) fn notes(&self) -> usize {
        self.notes
    }

    /// The digest, from scratch.
    pub(crate) fn digest(&self) -> Digest {
        let notes = self.dots.iter().flat_map(|(&dot, keys)| keys.iter().map(move |key| term(key, dot)));
        notes.fold(Digest::EMPTY, |sum, term| sum + term)
    }
}

fn term(key: &Key, dot: Dot) -> Digest {
    Item::of_key("chinwag doomed", key).dot(dot).digest()
}

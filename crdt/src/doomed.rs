//! Dots that have been removed before they arrived. (Why they are kept: the crate's documentation.)

use crate::Dot;
use crate::account::{Account, Item};
use chinwag_base::{Digest, Key};
use std::collections::{BTreeMap, BTreeSet};

/// Each dot that an applied entry removes and whose own entry has not come, with the keys that it is removed from:
/// one, unless somebody lies. A note goes when the dot's entry comes, whatever its key turns out to be; so the notes
/// too are a function of the set of entries applied.
#[derive(Debug, Default)]
pub(crate) struct Doomed(BTreeMap<Dot, BTreeSet<Key>>);

const NOTE_BYTES: usize = size_of::<Dot>() + size_of::<BTreeSet<Key>>() + 2 * size_of::<Key>();

impl Doomed {
    pub(crate) fn contains(&self, dot: Dot, key: &Key) -> bool {
        self.0.get(&dot).is_some_and(|keys| keys.contains(key))
    }

    pub(crate) fn insert(&mut self, dot: Dot, account: &mut Account<'_>) {
        if self.0.entry(dot).or_default().insert(account.key.clone()) {
            account.add(term(account.key, dot), NOTE_BYTES);
        }
    }

    /// Takes out the notes on a dot, whose entry has come; each with what its going does to the sums.
    pub(crate) fn take(&mut self, dot: Dot) -> Vec<(Key, Digest, usize)> {
        let keys = self.0.remove(&dot).unwrap_or_default();
        let leave = |key: Key| {
            let term = term(&key, dot);
            (key, term, NOTE_BYTES)
        };
        keys.into_iter().map(leave).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The digest, from scratch.
    #[cfg(test)]
    pub(crate) fn digest(&self) -> Digest {
        let notes = self.0.iter().flat_map(|(&dot, keys)| keys.iter().map(move |key| term(key, dot)));
        notes.fold(Digest::EMPTY, |sum, term| sum + term)
    }
}

fn term(key: &Key, dot: Dot) -> Digest {
    Item::of_key(key).dot(dot).digest("chinwag doomed")
}

//! The register's dot store: each live dot with its value and clock time.
//!
//! A multi-value register (Almeida et al. 2018, section 7.3). A write removes the dots that it has seen, so there is
//! one dot unless writes were concurrent.

use crate::account::{Account, Item};
use crate::read::{Read, Sibling};
use crate::{Dot, Hlc};
use chinwag_base::{Digest, Key, Value};

/// Sorted by dot. Nearly always of length one, for which a vector is the smallest thing that grows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Register(Vec<Sibling>);

fn bytes_of(sibling: &Sibling) -> usize {
    size_of::<Sibling>() + sibling.value.as_bytes().len()
}

impl Register {
    pub(crate) const fn new() -> Self {
        Register(Vec::new())
    }

    pub(crate) fn is_live(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn has_siblings(&self) -> bool {
        self.0.len() > 1
    }

    pub(crate) fn siblings(&self) -> &[Sibling] {
        &self.0
    }

    pub(crate) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.iter().map(|sibling| sibling.dot)
    }

    pub(crate) fn insert(&mut self, sibling: Sibling, account: &mut Account<'_>) {
        if let Err(at) = self.find(sibling.dot) {
            account.add(|key| term(key, &sibling), bytes_of(&sibling));
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.insert(at, sibling);
        }
    }

    /// Takes a dot away. Returns the value that it had. `is_alone` says that there is nothing else in the cell than this
    /// register.
    pub(crate) fn remove(&mut self, dot: Dot, is_alone: bool, account: &mut Account<'_>) -> Option<Value> {
        let gone = self.0.remove(self.find(dot).ok()?);
        match is_alone && self.0.is_empty() {
            true => account.subtract_all(bytes_of(&gone)),
            false => account.subtract(|key| term(key, &gone), bytes_of(&gone)),
        }
        Some(gone.value)
    }

    /// The sibling that a plain read shows.
    pub(crate) fn winner(&self) -> Option<&Sibling> {
        self.0.iter().max_by_key(|sibling| rank(sibling))
    }

    pub(crate) fn read(&self) -> Option<Read> {
        let mut siblings = self.0.clone();
        siblings.sort_by_key(|sibling| std::cmp::Reverse(rank(sibling)));
        Some(Read::Register { value: siblings.first()?.value.clone(), siblings })
    }

    /// The digest, from scratch.
    pub(crate) fn digest(&self, key: &Key) -> Digest {
        self.0.iter().fold(Digest::EMPTY, |sum, sibling| sum + term(key, sibling))
    }

    fn find(&self, dot: Dot) -> Result<usize, usize> {
        self.0.binary_search_by_key(&dot, |sibling| sibling.dot)
    }
}

/// What orders concurrent values. A dot is unique, so this is a total order.
fn rank(sibling: &Sibling) -> (Hlc, Dot) {
    (sibling.hlc, sibling.dot)
}

fn term(key: &Key, sibling: &Sibling) -> Digest {
    Item::of_key("chinwag register", key)
        .dot(sibling.dot)
        .number(sibling.hlc.bits())
        .bytes(sibling.value.as_bytes())
        .digest()
}

//! The flag's dot store: the live dots that enabled it.
//!
//! An enable-wins flag (Almeida et al. 2018, section 7.2): it is on while any dot is live. To disable it removes the
//! dots that are seen, so an enable that was not seen survives. To enable it again replaces them by a new one, so that
//! a concurrent disable loses.

use crate::Dot;
use crate::account::{Account, Item};
use crate::mark::Mark;
use chinwag_base::{Digest, Key};

/// Sorted. One dot, unless it was enabled concurrently.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flag(Vec<Mark>);

impl Flag {
    pub(crate) fn is_live(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.iter().map(Mark::dot)
    }

    pub(crate) fn insert(&mut self, dot: Dot, account: &mut Account<'_>) {
        if let Err(at) = self.find(dot) {
            account.add(|key| term(key, dot), size_of::<Mark>());
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.insert(at, account.mark(dot));
        }
    }

    /// Takes a dot away. Says whether it was here.
    pub(crate) fn remove(&mut self, dot: Dot, account: &mut Account<'_>) -> bool {
        let Ok(at) = self.find(dot) else { return false };
        self.0.remove(at);
        account.subtract(|key| term(key, dot), size_of::<Mark>());
        true
    }

    fn find(&self, dot: Dot) -> Result<usize, usize> {
        self.0.binary_search_by(|mark| mark.cmp_dot(&dot))
    }

    /// The digest, from scratch.
    pub(crate) fn digest(&self, key: &Key) -> Digest {
        self.dots().fold(Digest::EMPTY, |sum, dot| sum + term(key, dot))
    }
}

fn term(key: &Key, dot: Dot) -> Digest {
    Item::of_key("chinwag flag", key).dot(dot).digest()
}

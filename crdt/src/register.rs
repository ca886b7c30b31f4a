//! The register's dot store: each live dot with its value and clock time.
//!
//! A multi-value register (Almeida et al. 2018, section 7.3). A write removes the dots that it has seen, so there is
//! one dot unless writes were concurrent.

use crate::account::{Account, Item};
use crate::mark::Mark;
use crate::read::{Read, Sibling};
use crate::{Dot, Hlc};
use chinwag_base::{Digest, Key, Value};
use std::cmp::Reverse;

/// Nearly always of one value, which then needs no memory of its own.
#[derive(Debug, Clone, Default)]
pub(crate) enum Register {
    #[default]
    Empty,
    One(Stored),
    /// Two or more, sorted by dot.
    Many(Vec<Stored>),
}

/// A value with its dot and clock time.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) value: Value,
    hlc: Hlc,
    mark: Mark,
}

impl Stored {
    pub(crate) fn dot(&self) -> Dot {
        self.mark.dot()
    }

    pub(crate) fn sibling(&self) -> Sibling {
        Sibling { value: self.value.clone(), hlc: self.hlc, dot: self.dot() }
    }

    /// What orders concurrent values. A dot is unique, so this is a total order.
    fn rank(&self) -> (Hlc, &Mark) {
        (self.hlc, &self.mark)
    }

    fn bytes(&self) -> usize {
        size_of::<Stored>() + self.value.as_bytes().len()
    }

    fn term(&self, key: &Key) -> Digest {
        Item::of_key("chinwag register", key)
            .dot(self.dot())
            .number(self.hlc.bits())
            .bytes(self.value.as_bytes())
            .digest()
    }
}

impl Register {
    pub(crate) fn is_live(&self) -> bool {
        !self.stored().is_empty()
    }

    pub(crate) fn has_siblings(&self) -> bool {
        self.stored().len() > 1
    }

    /// All values, by dot.
    pub(crate) fn stored(&self) -> &[Stored] {
        match self {
            Register::Empty => &[],
            Register::One(one) => std::slice::from_ref(one),
            Register::Many(many) => many,
        }
    }

    pub(crate) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.stored().iter().map(Stored::dot)
    }

    pub(crate) fn insert(&mut self, Sibling { value, hlc, dot }: Sibling, account: &mut Account<'_>) {
        let Err(at) = self.find(dot) else { return };
        let stored = Stored { value, hlc, mark: account.mark(dot) };
        account.add(|key| stored.term(key), stored.bytes());
        *self = match std::mem::take(self) {
            Register::Empty => Register::One(stored),
            Register::One(one) if at == 0 => Register::Many(vec![stored, one]),
            Register::One(one) => Register::Many(vec![one, stored]),
            Register::Many(mut many) => {
                many.insert(at, stored);
                Register::Many(many)
            }
        };
    }

    /// Takes a dot away. Returns the value that it had. `is_alone` says that there is nothing else in the cell than this
    /// register.
    pub(crate) fn remove(&mut self, dot: Dot, is_alone: bool, account: &mut Account<'_>) -> Option<Value> {
        let at = self.find(dot).ok()?;
        let gone = match std::mem::take(self) {
            Register::Empty => return None,
            Register::One(one) => one,
            Register::Many(mut many) => {
                let gone = many.remove(at);
                *self = match many.len() {
                    1 => many.pop().map_or(Register::Empty, Register::One),
                    _ => Register::Many(many),
                };
                gone
            }
        };
        match is_alone && !self.is_live() {
            true => account.subtract_all(gone.bytes()),
            false => account.subtract(|key| gone.term(key), gone.bytes()),
        }
        Some(gone.value)
    }

    /// The one that a plain read shows.
    pub(crate) fn winner(&self) -> Option<&Stored> {
        self.stored().iter().max_by_key(|stored| stored.rank())
    }

    pub(crate) fn read(&self) -> Option<Read> {
        let mut stored: Vec<&Stored> = self.stored().iter().collect();
        stored.sort_by_key(|stored| Reverse(stored.rank()));
        let siblings: Vec<Sibling> = stored.into_iter().map(Stored::sibling).collect();
        Some(Read::Register { value: siblings.first()?.value.clone(), siblings })
    }

    /// The digest, from scratch.
    pub(crate) fn digest(&self, key: &Key) -> Digest {
        self.stored().iter().fold(Digest::EMPTY, |sum, stored| sum + stored.term(key))
    }

    fn find(&self, dot: Dot) -> Result<usize, usize> {
        self.stored().binary_search_by(|stored| stored.mark.cmp_dot(&dot))
    }
}

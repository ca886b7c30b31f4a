//! The set's dot store: each element with the live dots that added it.
//!
//! An add-wins observed-remove set without tombstones (Almeida et al. 2018, section 7.4): a remove names the dots
//! that it has seen; an add that it has not seen has another dot, and stays. Adding an element again replaces its
//! seen dots by a new one, so that an element that is never removed has one dot, and a concurrent remove loses.

use crate::Dot;
use crate::account::{Account, Item};
use crate::read::Read;
use chinwag_base::{Digest, Key, Value};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
pub(crate) struct Set {
    /// The elements, each with its dots. No element is without.
    elements: BTreeMap<Value, Vec<Dot>>,
    /// The same the other way round, because removals name dots.
    dots: BTreeMap<Dot, Value>,
}

fn bytes_of(element: &Value) -> usize {
    2 * (size_of::<Dot>() + size_of::<Value>()) + element.as_bytes().len()
}

impl Set {
    pub(crate) fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.elements.len()
    }

    pub(crate) fn contains(&self, element: &Value) -> bool {
        self.elements.contains_key(element)
    }

    /// All live dots.
    pub(crate) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.dots.keys().copied()
    }

    /// All live dots, each with its element.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dot, &Value)> {
        self.dots.iter().map(|(dot, element)| (*dot, element))
    }

    /// The live dots of one element.
    pub(crate) fn dots_of(&self, element: &Value) -> impl Iterator<Item = Dot> + '_ {
        self.elements.get(element).into_iter().flatten().copied()
    }

    pub(crate) fn insert(&mut self, dot: Dot, element: Value, account: &mut Account<'_>) {
        if self.dots.insert(dot, element.clone()).is_none() {
            account.add(|key| term(key, dot, &element), bytes_of(&element));
            self.elements.entry(element).or_insert_with(|| Vec::with_capacity(1)).push(dot);
        }
    }

    /// Takes a dot away. Returns the element that it had added, which may have others.
    pub(crate) fn remove(&mut self, dot: Dot, account: &mut Account<'_>) -> Option<Value> {
        let element = self.dots.remove(&dot)?;
        account.subtract(|key| term(key, dot, &element), bytes_of(&element));
        if let Some(dots) = self.elements.get_mut(&element) {
            dots.retain(|&other| other != dot);
            if dots.is_empty() {
                self.elements.remove(&element);
            }
        }
        Some(element)
    }

    pub(crate) fn read(&self) -> Option<Read> {
        (!self.is_empty()).then(|| Read::Set(self.elements.keys().cloned().collect()))
    }

    /// The digest, from scratch.
    pub(crate) fn digest(&self, key: &Key) -> Digest {
        self.dots.iter().fold(Digest::EMPTY, |sum, (&dot, element)| sum + term(key, dot, element))
    }
}

fn term(key: &Key, dot: Dot, element: &Value) -> Digest {
    Item::of_key("chinwag set", key).dot(dot).bytes(element.as_bytes()).digest()
}

//! The set's dot store: each element with the live dots that added it.
//!
//! An add-wins observed-remove set without tombstones (Almeida et al. 2018, section 7.4): a remove names the dots
//! that it has seen; an add that it has not seen has another dot, and stays. Adding an element again replaces its
//! seen dots by a new one, so that an element that is never removed has one dot, and a concurrent remove loses.

use crate::Dot;
use crate::account::{Account, Item};
use crate::mark::{Mark, Writer};
use crate::read::Read;
use chinwag_base::{Digest, Key, Value};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

#[derive(Debug, Clone, Default)]
pub(crate) struct Set {
    /// The elements, each with its dots.
    elements: BTreeMap<Value, Marks>,
    /// The same the other way round, because removals name dots: of each writer its counters. No writer is without; by id.
    dots: Vec<(Writer, BTreeMap<u64, Value>)>,
}

/// The dots of an element: one, unless it was added concurrently.
#[derive(Debug, Clone)]
enum Marks {
    One(Mark),
    Many(Vec<Mark>),
}

impl Marks {
    fn as_slice(&self) -> &[Mark] {
        match self {
            Marks::One(one) => std::slice::from_ref(one),
            Marks::Many(many) => many,
        }
    }

    fn push(&mut self, mark: Mark) {
        match self {
            Marks::One(one) => *self = Marks::Many(vec![one.clone(), mark]),
            Marks::Many(many) => many.push(mark),
        }
    }

    /// Takes one out. Says whether it was the last.
    fn remove(&mut self, dot: Dot) -> bool {
        if let Marks::Many(many) = self {
            many.retain(|mark| mark.dot() != dot);
        }
        self.as_slice().iter().all(|mark| mark.dot() == dot)
    }
}

fn bytes_of(element: &Value) -> usize {
    2 * (size_of::<Mark>() + size_of::<Value>()) + element.as_bytes().len()
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
        self.iter().map(|(dot, _)| dot)
    }

    /// All live dots, each with its element.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dot, &Value)> {
        self.iter_after(None)
    }

    /// The same, of those after a dot.
    pub(crate) fn iter_after(&self, after: Option<Dot>) -> impl Iterator<Item = (Dot, &Value)> {
        let from =
            after.map_or(0, |after| self.dots.partition_point(|(writer, _)| writer.id() < after.replica));
        self.dots[from..].iter().flat_map(move |(writer, counters)| {
            let replica = writer.id();
            let from = after.filter(|after| after.replica == replica).map(|after| after.counter);
            let from = from.map_or(Bound::Unbounded, Bound::Excluded);
            let dots = counters.range((from, Bound::Unbounded));
            dots.map(move |(counter, element)| (Dot::new(replica, *counter), element))
        })
    }

    /// The live dots of one element.
    pub(crate) fn dots_of(&self, element: &Value) -> impl Iterator<Item = Dot> + '_ {
        self.elements.get(element).into_iter().flat_map(Marks::as_slice).map(Mark::dot)
    }

    /// Puts a dot in. Says whether it brought the element.
    pub(crate) fn insert(&mut self, dot: Dot, element: Value, account: &mut Account<'_>) -> bool {
        let at = self.find(dot).unwrap_or_else(|at| {
            self.dots.insert(at, (account.writer(dot.replica), BTreeMap::new()));
            at
        });
        let (writer, counters) = &mut self.dots[at];
        let Entry::Vacant(vacant) = counters.entry(dot.counter) else { return false };
        vacant.insert(element.clone());
        account.add(|key| term(key, dot, &element), bytes_of(&element));
        let mark = Mark::new(writer.clone(), dot.counter);
        match self.elements.entry(element) {
            Entry::Vacant(vacant) => {
                vacant.insert(Marks::One(mark));
                true
            }
            Entry::Occupied(mut marks) => {
                marks.get_mut().push(mark);
                false
            }
        }
    }

    /// Takes a dot away. Returns the element that it had added, which may have others.
    pub(crate) fn remove(&mut self, dot: Dot, account: &mut Account<'_>) -> Option<Value> {
        let at = self.find(dot).ok()?;
        let element = self.dots[at].1.remove(&dot.counter)?;
        if self.dots[at].1.is_empty() {
            self.dots.remove(at);
        }
        account.subtract(|key| term(key, dot, &element), bytes_of(&element));
        if let Entry::Occupied(mut marks) = self.elements.entry(element.clone())
            && marks.get_mut().remove(dot)
        {
            marks.remove();
        }
        Some(element)
    }

    fn find(&self, dot: Dot) -> Result<usize, usize> {
        self.dots.binary_search_by(|(writer, _)| writer.id().cmp(&dot.replica))
    }

    pub(crate) fn read(&self) -> Option<Read> {
        (!self.is_empty()).then(|| Read::Set(self.elements.keys().cloned().collect()))
    }

    /// The digest, from scratch.
    pub(crate) fn digest(&self, key: &Key) -> Digest {
        self.iter().fold(Digest::EMPTY, |sum, (dot, element)| sum + term(key, dot, element))
    }
}

fn term(key: &Key, dot: Dot, element: &Value) -> Digest {
    Item::of_key("chinwag set", key).dot(dot).bytes(element.as_bytes()).digest()
}

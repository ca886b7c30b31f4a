//! A cell of the DHT: a register or a set that concurrent puts merge in, with its own causal context.
//!
//! # How it merges
//! A cell is a causal CRDT (Almeida, Shoker, Baquero, "Delta State Replicated Data Types", 2018, section 7): live *items*
//! by their dots, and a *context* of all dots that it has seen. A dot in the context without an item is one that was
//! replaced or removed. So the join of two cells keeps an item that both have, or that one has and the other has
//! not seen; what the other has seen and dropped, goes. This is commutative, associative and idempotent: owners that
//! met the same puts in any order hold the same.
//!
//! # What a put sends
//! Not the cell, but its change: the new item, and in the context its dot and the dots that it takes the place of.
//! Owners join it like any cell. A dot's context is settled when the dot is made and never grows afterwards: if two
//! concurrent puts could each extend theirs to cover the other, both would vanish.
//!
//! A register has several items only if they were put concurrently; [`Cell::read`] shows the latest by the writers'
//! hybrid clocks and lists the others. In a set an element put concurrently with its removal stays.

use crate::context::Context;
use chinwag_base::limits::{
    CELL_ITEMS_MAX, CONTEXT_RUNS_MAX, ELEMENT_BYTES_MAX, JOINED_FACTOR, RECORD_BYTES_MAX,
};
use chinwag_base::{Value, WallTime};
use chinwag_crdt::{Dot, Hlc, Kind, Read, Sibling};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::collections::BTreeMap;

/// Puts that began so close to each other count as concurrent.
const SIMULTANEOUS_MS: u64 = 250;

/// What one live dot stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Item {
    /// It.
    what: What,
    /// Until when whoever put it wants the record kept; `None` is for ever. The record is kept for as long as any of its live
    /// items wants it: so the end, too, follows from the items alone, in whatever order they came.
    expires: Option<WallTime>,
}

/// A value of one kind or the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum What {
    /// A register's value, and when it was put, by the clock of whoever put it.
    Value(Hlc, Value),
    /// An element of a set.
    Element(Value),
}

/// A change of a cell that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Gives a register a value, in place of all that is seen.
    Set(Value),
    /// Puts an element into a set.
    Add(Value),
    /// Takes an element out of a set.
    Remove(Value),
    /// Deletes whatever is seen.
    Delete,
}

/// Why a cell does not take an edit or a join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// It holds another kind of value.
    #[error("the record is a {is}, not a {wanted}")]
    WrongKind {
        /// What it is.
        is: Kind,
        /// What the edit is for.
        wanted: Kind,
    },
    /// There is nothing to delete.
    #[error("there is no such record")]
    NoSuchRecord,
    /// The element to remove is not in it.
    #[error("there is no such element")]
    NoSuchElement,
    /// An element over the limit.
    #[error("an element of a set has at most {ELEMENT_BYTES_MAX} bytes, this one has {len}")]
    ElementTooLong {
        /// Its length.
        len: usize,
    },
    /// It would be larger than a cell may be.
    #[error(
        "a record has at most {RECORD_BYTES_MAX} bytes, {CELL_ITEMS_MAX} values and a context of {CONTEXT_RUNS_MAX} runs"
    )]
    Full,
}

/// A register or a set, or, after concurrent puts of different kinds, both until one is deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct Cell {
    items: BTreeMap<Dot, Item>,
    /// Covers every item's dot.
    context: Context,
}

impl Cell {
    /// A cell that has seen nothing.
    pub const fn new() -> Self {
        Cell { items: BTreeMap::new(), context: Context::new() }
    }

    /// The change that `edit` makes to this cell as the write `dot`, to be kept until `expires`.
    ///
    /// # Errors
    /// [`CellError`]; deletes and removals of what is not here are such.
    pub fn plan(
        &self,
        edit: &Edit,
        dot: Dot,
        hlc: Hlc,
        expires: Option<WallTime>,
    ) -> Result<Cell, CellError> {
        let all = |_: &What| true;
        let new = |what: What| Some((dot, Item { what, expires }));
        Ok(match edit {
            Edit::Set(value) => {
                self.expect_kind(Kind::Register)?;
                let mut change = self.change(new(What::Value(hlc, value.clone())), all);
                // Whoever puts again has seen its own earlier puts, whether they have arrived or not.
                change.context.insert_up_to(dot);
                change
            }
            Edit::Add(element) => {
                self.expect_kind(Kind::Set)?;
                let len = element.as_bytes().len();
                if len > ELEMENT_BYTES_MAX {
                    return Err(CellError::ElementTooLong { len });
                }
                if self.items.len() >= CELL_ITEMS_MAX {
                    return Err(CellError::Full);
                }
                let element = What::Element(element.clone());
                self.change(new(element.clone()), |old| *old == element)
            }
            Edit::Remove(element) => {
                self.expect_kind(Kind::Set)?;
                let element = What::Element(element.clone());
                let change = self.change(None, |old| *old == element);
                if change.context.is_empty() {
                    return Err(CellError::NoSuchElement);
                }
                change
            }
            Edit::Delete if self.items.is_empty() => return Err(CellError::NoSuchRecord),
            Edit::Delete => self.change(None, all),
        })
    }

    /// One new item, and the dots of the old ones that it takes the place of.
    fn change(&self, new: Option<(Dot, Item)>, replaces: impl Fn(&What) -> bool) -> Cell {
        let replaced = self.items.iter().filter(|(_, item)| replaces(&item.what)).map(|(dot, _)| *dot);
        let context = replaced.chain(new.iter().map(|(dot, _)| *dot)).collect();
        Cell { items: new.into_iter().collect(), context }
    }

    /// Joins the other cell into this one.
    ///
    /// # Errors
    /// [`CellError::Full`]; the cell is as it was.
    pub fn join(&mut self, other: &Cell) -> Result<(), CellError> {
        let mut context = self.context.clone();
        context.join(&other.context);
        let mut items = BTreeMap::new();
        for (dot, item) in &self.items {
            match other.items.get(dot) {
                // A dot names one write; if a liar gave it two meanings, owners must still agree.
                Some(theirs) => items.insert(*dot, item.max(theirs).clone()),
                None if other.context.contains(*dot) => None,
                None => items.insert(*dot, item.clone()),
            };
        }
        for (dot, item) in &other.items {
            if !self.context.contains(*dot) {
                items.insert(*dot, item.clone());
            }
        }
        let joined = Cell { items, context };
        if joined.exceeds(JOINED_FACTOR) {
            return Err(CellError::Full);
        }
        *self = joined;
        Ok(())
    }

    /// Whether it is larger than a client's put may make it. What owners join may be larger ([`JOINED_FACTOR`]).
    pub fn is_too_large(&self) -> bool {
        self.exceeds(1)
    }

    fn exceeds(&self, factor: usize) -> bool {
        self.items.len() > factor * CELL_ITEMS_MAX
            || self.context.runs() > factor * CONTEXT_RUNS_MAX
            || self.weight() > factor * RECORD_BYTES_MAX
    }

    /// What is left of it when it has ended: nothing live, and all that it has seen, so that an older value which some owner
    /// still has does not come back. `None` if it has seen nothing but what was live in it.
    pub fn entombed(&self) -> Option<Cell> {
        let seen_more = self.context.len() > self.items.len() as u64;
        seen_more.then(|| Cell { items: BTreeMap::new(), context: self.context.clone() })
    }

    /// Whether it adds elements to a set.
    pub fn adds_elements(&self) -> bool {
        self.items.values().any(|item| matches!(item.what, What::Element(_)))
    }

    /// Whether a join of `other` would change nothing.
    pub fn includes(&self, other: &Cell) -> bool {
        let mut joined = self.clone();
        joined.join(other).is_ok() && joined == *self
    }

    /// Whether `self` holds a live item that `change` has neither made nor seen: something that whoever made the change
    /// did not know of.
    pub fn has_unseen_by(&self, change: &Cell) -> bool {
        self.items.keys().any(|dot| !change.context.contains(*dot))
    }

    /// The same cell without what was put at the same time as `change`, by the writers' clocks: up to a quarter of a second after
    /// it. What is older is, and so is what an hour that lies further ahead belongs to: a clock that is wrong. What `change`
    /// itself did, or has seen, stays in.
    pub fn older_than(&self, change: &Cell) -> Cell {
        let Some(latest) = change.latest() else { return self.clone() };
        let until = Hlc::new(latest.millis().saturating_add(SIMULTANEOUS_MS), u16::MAX);
        let is_older = |dot: &Dot, item: &Item| match &item.what {
            What::Value(at, _) => !(latest..=until).contains(at) || change.context.contains(*dot),
            What::Element(_) => true,
        };
        let items = self.items.iter().filter(|(dot, item)| is_older(dot, item));
        Cell { items: items.map(|(dot, item)| (*dot, item.clone())).collect(), context: self.context.clone() }
    }

    /// What a reader sees; none if nothing is live.
    pub fn read(&self) -> Option<Read> {
        let mut siblings = Vec::new();
        let mut elements = Vec::new();
        for (dot, item) in &self.items {
            match &item.what {
                What::Value(hlc, value) => {
                    siblings.push(Sibling { value: value.clone(), hlc: *hlc, dot: *dot });
                }
                What::Element(element) => elements.push(element.clone()),
            }
        }
        siblings.sort_by_key(|sibling| std::cmp::Reverse((sibling.hlc, sibling.dot)));
        elements.sort();
        elements.dedup();
        let register = siblings.first().map(|first| first.value.clone());
        let register = register.map(|value| Read::Register { value, siblings });
        let set = (!elements.is_empty()).then_some(Read::Set(elements));
        match (register, set) {
            (Some(register), Some(set)) => Some(Read::Conflict(vec![register, set])),
            (register, set) => register.or(set),
        }
    }

    /// Whether nothing is live: a tombstone, if it has seen something.
    pub fn is_deleted(&self) -> bool {
        self.items.is_empty()
    }

    /// When it ends: when the last of its live items does. `None` is never, and of no meaning for a tombstone.
    pub fn expires(&self) -> Option<WallTime> {
        let ends = self.items.values().map(|item| item.expires);
        ends.reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b))).flatten()
    }

    /// What it has seen.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The latest timestamp of a live value.
    pub fn latest(&self) -> Option<Hlc> {
        let stamps = self.items.values().filter_map(|item| match &item.what {
            What::Value(hlc, _) => Some(*hlc),
            What::Element(_) => None,
        });
        stamps.max()
    }

    /// Bytes that it takes in memory, about.
    pub fn weight(&self) -> usize {
        const DOT_BYTES: usize = 48;
        const RUN_BYTES: usize = 16;
        let item = |item: &Item| match &item.what {
            What::Value(_, value) | What::Element(value) => DOT_BYTES + value.as_bytes().len(),
        };
        self.items.values().map(item).sum::<usize>() + self.context.runs() * (DOT_BYTES + RUN_BYTES)
    }

    fn expect_kind(&self, wanted: Kind) -> Result<(), CellError> {
        let kind = |item: &Item| match &item.what {
            What::Value(..) => Kind::Register,
            What::Element(_) => Kind::Set,
        };
        match self.items.values().map(kind).find(|is| *is != wanted) {
            Some(is) => Err(CellError::WrongKind { is, wanted }),
            None => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            items: BTreeMap<Dot, Item>,
            context: Context,
        }
        let Raw { items, context } = Raw::deserialize(deserializer)?;
        if items.len() > JOINED_FACTOR * CELL_ITEMS_MAX || !items.keys().all(|dot| context.contains(*dot)) {
            return Err(de::Error::custom(
                "a cell has too many items, or one that its context does not cover",
            ));
        }
        Ok(Cell { items, context })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{any_cell, replica};
    use proptest::prelude::*;

    fn value(text: &str) -> Value {
        Value::new(text.as_bytes()).unwrap()
    }

    fn dot(who: u8, counter: u64) -> Dot {
        Dot::new(replica(who), counter)
    }

    fn at(ms: u64) -> Hlc {
        Hlc::new(ms, 0)
    }

    fn shown(cell: &Cell) -> Vec<String> {
        let text = |value: &Value| value.as_text().unwrap().to_owned();
        match cell.read() {
            None => Vec::new(),
            Some(Read::Register { siblings, .. }) => siblings.iter().map(|s| text(&s.value)).collect(),
            Some(Read::Set(elements)) => elements.iter().map(text).collect(),
            Some(other) => panic!("{other:?}"),
        }
    }

    fn after(cell: &Cell, changes: &[&Cell]) -> Cell {
        let mut cell = cell.clone();
        changes.iter().for_each(|change| cell.join(change).unwrap());
        cell
    }

    #[test]
    fn a_put_replaces_what_it_has_seen_and_stands_beside_what_it_has_not() {
        let one = Cell::new().plan(&Edit::Set(value("one")), dot(1, 1), at(10), None).unwrap();
        let two = one.plan(&Edit::Set(value("two")), dot(2, 1), at(5), None).unwrap();
        assert_eq!(shown(&after(&one, &[&two])), ["two"], "whatever the clocks say");
        assert_eq!(shown(&after(&two, &[&one])), ["two"], "in whatever order they come");

        let three = one.plan(&Edit::Set(value("three")), dot(3, 1), at(7), None).unwrap();
        assert_eq!(shown(&after(&one, &[&two, &three])), ["three", "two"], "both are kept, the later first");
        assert!(after(&one, &[&two]).has_unseen_by(&three));
        assert!(!one.has_unseen_by(&three));
    }

    #[test]
    fn a_delete_removes_what_it_has_seen_and_nothing_comes_back() {
        let one = Cell::new().plan(&Edit::Set(value("one")), dot(1, 1), at(1), None).unwrap();
        let gone = one.plan(&Edit::Delete, dot(2, 1), at(2), None).unwrap();
        let concurrent = one.plan(&Edit::Set(value("two")), dot(3, 1), at(1), None).unwrap();
        assert!(after(&gone, &[&one, &one]).is_deleted());
        assert_eq!(shown(&after(&one, &[&gone, &concurrent])), ["two"]);
        assert_eq!(Cell::new().plan(&Edit::Delete, dot(1, 2), at(3), None), Err(CellError::NoSuchRecord));
        assert_eq!(gone.plan(&Edit::Delete, dot(1, 2), at(3), None), Err(CellError::NoSuchRecord));
    }

    #[test]
    fn in_a_set_an_add_wins_over_a_concurrent_remove() {
        let add = |cell: &Cell, text, dot| cell.plan(&Edit::Add(value(text)), dot, at(1), None).unwrap();
        let fruit = add(&Cell::new(), "apple", dot(1, 1));
        let fruit = after(&fruit, &[&add(&fruit, "pear", dot(1, 2))]);
        let removed = fruit.plan(&Edit::Remove(value("apple")), dot(2, 1), at(2), None).unwrap();
        let again = add(&fruit, "apple", dot(3, 1));
        assert_eq!(shown(&after(&fruit, &[&removed])), ["pear"]);
        assert_eq!(shown(&after(&fruit, &[&removed, &again])), ["apple", "pear"]);
        assert_eq!(shown(&after(&fruit, &[&again, &removed])), ["apple", "pear"]);
        let missing = Edit::Remove(value("kiwi"));
        assert_eq!(fruit.plan(&missing, dot(1, 3), at(1), None), Err(CellError::NoSuchElement));
        let wrong = CellError::WrongKind { is: Kind::Set, wanted: Kind::Register };
        assert_eq!(fruit.plan(&Edit::Set(value("x")), dot(1, 3), at(1), None), Err(wrong));
        // A change names only what it changes, so that a put of one element never removes another.
        assert_eq!(again.context().runs(), 2);
    }

    #[test]
    fn concurrent_values_beyond_a_records_size_are_refused_and_change_nothing() {
        let big = "x".repeat(60_000);
        let put = |n| Cell::new().plan(&Edit::Set(value(&big)), dot(n, 1), at(1), None).unwrap();
        let four = after(&Cell::new(), &[&put(1), &put(2), &put(3), &put(4)]);
        assert!(!four.is_too_large() && after(&four, &[&put(5)]).is_too_large());
        let full = after(&four, &[&put(5), &put(6), &put(7), &put(8)]);
        let mut cell = full.clone();
        assert_eq!(cell.join(&put(9)), Err(CellError::Full));
        assert_eq!(cell, full);
        // One that has seen them makes room.
        let one = full.plan(&Edit::Set(value("small")), dot(9, 2), at(2), None).unwrap();
        assert_eq!(shown(&after(&full, &[&one])), ["small"]);
    }

    proptest! {
        #[test]
        fn the_join_is_a_least_upper_bound(a in any_cell(), b in any_cell(), c in any_cell()) {
            let join = |x: &Cell, y: &Cell| after(x, &[y]);
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&a, &a), a.clone());
            prop_assert!(join(&a, &b).includes(&a) && join(&a, &b).includes(&b));
        }
    }
}

//! A cell: what is under one key, one dot store per kind.

use crate::account::Account;
use crate::counter::{Counter, Share};
use crate::flag::Flag;
use crate::lease::Leases;
use crate::read::{Read, Sibling};
use crate::register::Register;
use crate::set::Set;
use crate::{Dot, Dots, Effect, Entry, Kind, Lease, Part, PartId, What};
use chinwag_base::{Digest, Key, Value};

/// What is under one key. It has the kinds of its live dots; without any, it may still hold the floors of a counter
/// that was reset, and then it is not shown.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    pub(crate) register: Register,
    // Boxed, because most cells are registers and pay for nothing else. None if all of it is empty.
    rest: Option<Box<Rest>>,
    /// The digest of what is live, as the replica last added it up.
    pub(crate) sum: Digest,
    /// Whether it has changed since the last checkpoint.
    pub(crate) is_dirty: bool,
}

/// What is in a cell besides a register.
#[derive(Debug, Clone, Default)]
struct Rest {
    set: Set,
    counter: Counter,
    flag: Flag,
    leases: Leases,
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.set.is_empty() && self.counter.is_empty() && !self.flag.is_live() && self.leases.is_empty()
    }
}

impl Cell {
    /// The cell that a key without one has.
    pub(crate) const EMPTY: Cell =
        Cell { register: Register::Empty, rest: None, sum: Digest::EMPTY, is_dirty: false };

    /// What a read shows; none if nothing is live.
    pub fn read(&self) -> Option<Read> {
        let mut reads: Vec<Read> = Kind::ALL.into_iter().filter_map(|kind| self.read_kind(kind)).collect();
        if reads.len() > 1 { Some(Read::Conflict(reads)) } else { reads.pop() }
    }

    /// The kinds that are live: one, or several in conflict, or none.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        Kind::ALL.into_iter().filter(|&kind| self.is_live_as(kind))
    }

    /// Whether anything is live.
    pub fn is_live(&self) -> bool {
        // As `kinds` would say, without going through all of them.
        self.register.is_live()
            || self
                .rest
                .as_ref()
                .is_some_and(|rest| !rest.set.is_empty() || rest.flag.is_live() || rest.counter.is_live())
    }

    /// Whether nothing at all is left, so that the cell can go.
    pub(crate) fn is_empty(&self) -> bool {
        !self.register.is_live() && self.rest.is_none()
    }

    pub(crate) fn set(&self) -> Option<&Set> {
        self.rest.as_ref().map(|rest| &rest.set).filter(|set| !set.is_empty())
    }

    pub(crate) fn counter(&self) -> Option<&Counter> {
        self.rest.as_ref().map(|rest| &rest.counter).filter(|counter| !counter.is_empty())
    }

    /// Whether some share of a counter is a floor alone.
    pub(crate) fn has_lone_floors(&self) -> bool {
        self.counter().is_some_and(Counter::has_lone_floors)
    }

    /// Whether it is a flag that is on.
    pub(crate) fn is_on(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.flag.is_live())
    }

    pub(crate) fn flag_dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.rest.iter().flat_map(|rest| rest.flag.dots())
    }

    pub(crate) fn has_leases(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| !rest.leases.is_empty())
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = (Dot, Lease)> + '_ {
        self.rest.iter().flat_map(|rest| rest.leases.iter())
    }

    fn rest_mut(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// Gives up what is empty.
    fn tidy(&mut self) {
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
            self.rest = None;
        }
    }

    /// The same cell, which is that of `key`, without some dots.
    pub(crate) fn without(&self, dots: &Dots, key: &Key) -> Cell {
        let mut cell = self.clone();
        cell.remove(dots, &mut Account::of_copy(key));
        cell
    }

    /// The live dots of a kind.
    pub(crate) fn dots(&self, kind: Kind) -> Dots {
        match kind {
            Kind::Register => self.register.dots().collect(),
            Kind::Set => self.set().into_iter().flat_map(|set| set.dots()).collect(),
            Kind::Flag => self.flag_dots().collect(),
            // A counter has runs and floors instead, a map is made of other cells.
            Kind::Counter | Kind::Map => Dots::new(),
        }
    }

    /// Joins an entry: takes away the dots that it removes, then adds what it adds, unless its own dot is `doomed`,
    /// that is, removed by an entry that came before it. Counters have runs instead of dots and are never doomed.
    pub(crate) fn apply(&mut self, entry: &Entry, doomed: bool, account: &mut Account<'_>) -> What {
        let gone = self.remove(&entry.removed, account);
        if let Effect::Lend { lent, lease } = &entry.effect {
            if !doomed {
                self.rest_mut().leases.insert(entry.dot, *lease, account);
            }
            return self.bring(&lent.effect(), gone, entry, doomed, account);
        }
        self.bring(&entry.effect, gone, entry, doomed, account)
    }

    fn bring(
        &mut self,
        effect: &Effect,
        gone: Gone,
        entry: &Entry,
        doomed: bool,
        account: &mut Account<'_>,
    ) -> What {
        match effect {
            Effect::Set { value } if !doomed => {
                let sibling = Sibling { value: value.clone(), hlc: entry.hlc, dot: entry.dot };
                self.register.insert(sibling, account);
                What::Set {
                    value: value.clone(),
                    was: gone.values,
                    concurrent: self.register.has_siblings(),
                    shown: self.register.winner().is_some_and(|winner| winner.dot() == entry.dot),
                }
            }
            Effect::Add { element } if !doomed => {
                let is_new = self.rest_mut().set.insert(entry.dot, element.clone(), account)
                    && !gone.elements.contains(element);
                if is_new { What::Added { element: element.clone() } } else { What::NoEffect }
            }
            Effect::Enable if !doomed => {
                let flag = &mut self.rest_mut().flag;
                let was_on = gone.flag || flag.is_live();
                flag.insert(entry.dot, account);
                if was_on { What::NoEffect } else { What::Enabled }
            }
            Effect::Count { .. } | Effect::Reset { .. } => self.count(entry, account),
            Effect::Remove => self.what_is_gone(gone, true),
            Effect::Set { .. }
            | Effect::Add { .. }
            | Effect::Enable
            | Effect::Lend { .. }
            | Effect::Delete => self.what_is_gone(gone, false),
        }
    }

    fn remove(&mut self, dots: &Dots, account: &mut Account<'_>) -> Gone {
        let mut gone = Gone::default();
        for dot in dots.iter() {
            gone.values.extend(self.register.remove(dot, self.rest.is_none(), account));
            if let Some(rest) = &mut self.rest {
                gone.elements.extend(rest.set.remove(dot, account));
                gone.flag |= rest.flag.remove(dot, account);
                rest.leases.remove(dot, account);
            }
        }
        self.tidy();
        gone
    }

    fn count(&mut self, entry: &Entry, account: &mut Account<'_>) -> What {
        let counter = &mut self.rest_mut().counter;
        let (was_live, before) = (counter.is_live(), counter.total());
        let is_reset = match &entry.effect {
            Effect::Count { run } => {
                counter.join_run(entry.dot.replica, *run, account);
                false
            }
            Effect::Reset { floors } => {
                floors.iter().for_each(|(&replica, &floor)| counter.join_floor(replica, floor, account));
                true
            }
            _ => false,
        };
        let (is_live, total) = (counter.is_live(), counter.total());
        self.tidy();
        if (was_live, before) == (is_live, total) {
            What::NoEffect
        } else if is_reset {
            What::Reset { taken: before.saturating_sub(total), total }
        } else {
            What::Incremented { by: total.saturating_sub(before), total }
        }
    }

    /// What a reader misses after dots went and nothing came in their place.
    fn what_is_gone(&self, gone: Gone, one_element: bool) -> What {
        if !gone.values.is_empty() {
            return What::Deleted {
                kind: Kind::Register,
                was: gone.values,
                survives: self.register.is_live(),
            };
        }
        if gone.flag && !self.is_on() {
            return What::Deleted { kind: Kind::Flag, was: Vec::new(), survives: false };
        }
        let still_here = |element: &Value| self.set().is_some_and(|set| set.contains(element));
        let mut was = gone.elements;
        was.retain(|element| !still_here(element));
        was.sort();
        was.dedup();
        match was.pop() {
            None => What::NoEffect,
            Some(element) if one_element && was.is_empty() => What::Removed { element },
            Some(last) => {
                was.push(last);
                What::Deleted { kind: Kind::Set, was, survives: self.set().is_some() }
            }
        }
    }

    fn is_live_as(&self, kind: Kind) -> bool {
        match kind {
            Kind::Register => self.register.is_live(),
            Kind::Counter => self.counter().is_some_and(Counter::is_live),
            Kind::Set => self.set().is_some(),
            Kind::Flag => self.is_on(),
            Kind::Map => false,
        }
    }

    fn read_kind(&self, kind: Kind) -> Option<Read> {
        match kind {
            Kind::Register => self.register.read(),
            Kind::Counter => self.counter().and_then(Counter::read),
            Kind::Set => self.set().and_then(Set::read),
            Kind::Flag => self.is_on().then_some(Read::Flag),
            Kind::Map => None,
        }
    }

    /// Its parts, ascending.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        self.parts_after(None)
    }

    /// Its parts after one, ascending. A set is not looked through from its beginning.
    pub(crate) fn parts_after(&self, after: Option<PartId>) -> impl Iterator<Item = Part> + '_ {
        let is_after = move |part: &Part| after.is_none_or(|after| part.id() > after);
        let (has_set, from) = match after {
            None | Some(PartId::Sibling(_)) => (true, None),
            Some(PartId::Element(dot)) => (true, Some(dot)),
            Some(_) => (false, None),
        };
        let siblings = self.register.stored().iter().map(|stored| Part::from(stored.sibling()));
        let elements = self.set().filter(|_| has_set).into_iter().flat_map(move |set| set.iter_after(from));
        let shares = self.counter().into_iter().flat_map(|counter| counter.shares());
        let others = shares
            .map(|(replica, Share { run, floor })| Part::Share { replica, run, floor })
            .chain(self.flag_dots().map(|dot| Part::Flag { dot }))
            .chain(self.leases().map(|(dot, lease)| Part::Lease { dot, lease }));
        siblings
            .filter(is_after)
            .chain(elements.map(|(dot, element)| Part::Element { dot, element: element.clone() }))
            .chain(others.filter(is_after))
    }

    /// Puts a part in that is known to belong here.
    pub(crate) fn insert(&mut self, part: Part, account: &mut Account<'_>) {
        match part {
            Part::Sibling { dot, hlc, value } => self.register.insert(Sibling { value, hlc, dot }, account),
            Part::Element { dot, element } => drop(self.rest_mut().set.insert(dot, element, account)),
            Part::Share { replica, run, floor } => {
                self.rest_mut().counter.join(replica, Share { run, floor }, account);
            }
            Part::Flag { dot } => self.rest_mut().flag.insert(dot, account),
            Part::Lease { dot, lease } => self.rest_mut().leases.insert(dot, lease, account),
        }
        self.tidy();
    }

    /// Takes a part away.
    pub(crate) fn take(&mut self, part: &Part, account: &mut Account<'_>) {
        match (part, &mut self.rest) {
            (Part::Sibling { dot, .. }, rest) => drop(self.register.remove(*dot, rest.is_none(), account)),
            (_, None) => {}
            (Part::Element { dot, .. }, Some(rest)) => drop(rest.set.remove(*dot, account)),
            (Part::Share { replica, .. }, Some(rest)) => rest.counter.forget(*replica, account),
            (Part::Flag { dot }, Some(rest)) => drop(rest.flag.remove(*dot, account)),
            (Part::Lease { dot, .. }, Some(rest)) => rest.leases.remove(*dot, account),
        }
        self.tidy();
    }

    /// The digest, from scratch.
    pub(crate) fn digest(&self, key: &Key) -> Digest {
        let mut sum = self.register.digest(key);
        if let Some(rest) = &self.rest {
            sum += rest.set.digest(key);
            sum += rest.counter.digest(key);
            sum += rest.flag.digest(key);
            sum += rest.leases.iter().fold(Digest::EMPTY, |sum, (dot, lease)| sum + lease.term(key, dot));
        }
        sum
    }
}

/// What removed dots had stood for.
#[derive(Default)]
struct Gone {
    values: Vec<Value>,
    elements: Vec<Value>,
    flag: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Replica;
    use crate::mark::Mark;
    use crate::register::Stored;
    use crate::tests::world::{NOON, replica_id, set};

    /// What a register of one value takes beside the texts of key and value, byte by byte, so that whoever makes it more
    /// has to say so.
    #[test]
    fn a_register_takes_few_bytes_besides_its_key_and_value() {
        let text = size_of::<Value>();
        assert_eq!(size_of::<Mark>(), 16, "the dot");
        assert_eq!(size_of::<Stored>(), size_of::<Mark>() + size_of::<crate::Hlc>() + text);
        assert_eq!(size_of::<Register>(), size_of::<Stored>() + 8, "and whether it is one value, or several");
        let rest = size_of::<Option<Box<Rest>>>();
        assert_eq!(rest, 8);
        // The last 8 are one flag, and what aligns it.
        assert_eq!(size_of::<Cell>(), size_of::<Register>() + rest + size_of::<Digest>() + 8);
        assert_eq!(size_of::<(Key, Cell)>(), 96);

        let mut replica = Replica::new(replica_id(1));
        replica.stage_local(&[set("k", "v")], NOON).unwrap();
        replica.commit();
        let cell = replica.cells.values().next().unwrap();
        assert!(matches!(cell.register, Register::One(_)) && cell.rest.is_none(), "nothing lies elsewhere");
    }
}

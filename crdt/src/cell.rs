//! A cell: what is under one key, one dot store per kind.

use crate::account::Account;
use crate::counter::{Counter, Share};
use crate::flag::Flag;
use crate::lease::Leases;
use crate::read::{Read, Sibling};
use crate::register::Register;
use crate::set::Set;
use crate::{Dot, Dots, Effect, Entry, Kind, Lease, Part, What};
use chinwag_base::{Digest, Key, Value};

/// What is under one key. It has the kinds of its live dots; without any, it may still hold the floors of a counter
/// that was reset, and then it is not shown.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    pub(crate) register: Register,
    // Boxed, because most cells are registers and pay for nothing else.
    set: Option<Box<Set>>,
    counter: Option<Box<Counter>>,
    flag: Flag,
    // Boxed alike: few are lent.
    leases: Option<Box<Leases>>,
    /// The digest of what is live, as the replica last added it up.
    pub(crate) sum: Digest,
}

impl Cell {
    /// The cell that a key without one has.
    pub(crate) const EMPTY: Cell = Cell {
        register: Register::new(),
        set: None,
        counter: None,
        flag: Flag::new(),
        leases: None,
        sum: Digest::EMPTY,
    };

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
        self.kinds().next().is_some()
    }

    /// Whether nothing at all is left, so that the cell can go.
    pub(crate) fn is_empty(&self) -> bool {
        !self.register.is_live() && self.is_register_alone()
    }

    /// Whether there is nothing but a register.
    fn is_register_alone(&self) -> bool {
        self.set.is_none() && self.counter.is_none() && !self.flag.is_live() && self.leases.is_none()
    }

    pub(crate) fn set(&self) -> Option<&Set> {
        self.set.as_deref()
    }

    pub(crate) fn counter(&self) -> Option<&Counter> {
        self.counter.as_deref()
    }

    /// Whether it is a flag that is on.
    pub(crate) fn is_on(&self) -> bool {
        self.flag.is_live()
    }

    pub(crate) fn flag_dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.flag.dots()
    }

    pub(crate) fn has_leases(&self) -> bool {
        self.leases.is_some()
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = (Dot, Lease)> + '_ {
        self.leases.iter().flat_map(|leases| leases.iter())
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
            Kind::Set => self.set.iter().flat_map(|set| set.dots()).collect(),
            Kind::Flag => self.flag.dots().collect(),
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
                self.leases.get_or_insert_default().insert(entry.dot, *lease, account);
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
                    shown: self.register.winner().is_some_and(|winner| winner.dot == entry.dot),
                }
            }
            Effect::Add { element } if !doomed => {
                let set = self.set.get_or_insert_default();
                let is_new = !set.contains(element) && !gone.elements.contains(element);
                set.insert(entry.dot, element.clone(), account);
                if is_new { What::Added { element: element.clone() } } else { What::NoEffect }
            }
            Effect::Enable if !doomed => {
                let was_on = gone.flag || self.flag.is_live();
                self.flag.insert(entry.dot, account);
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
            let is_alone = self.is_register_alone();
            gone.values.extend(self.register.remove(dot, is_alone, account));
            if let Some(set) = &mut self.set {
                gone.elements.extend(set.remove(dot, account));
            }
            gone.flag |= self.flag.remove(dot, account);
            self.unlease(dot, account);
        }
        if self.set.as_ref().is_some_and(|set| set.is_empty()) {
            self.set = None;
        }
        gone
    }

    fn unlease(&mut self, dot: Dot, account: &mut Account<'_>) {
        if let Some(leases) = &mut self.leases {
            leases.remove(dot, account);
            if leases.is_empty() {
                self.leases = None;
            }
        }
    }

    fn count(&mut self, entry: &Entry, account: &mut Account<'_>) -> What {
        let counter = self.counter.get_or_insert_default();
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
        if counter.is_empty() {
            self.counter = None;
        }
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
        if gone.flag && !self.flag.is_live() {
            return What::Deleted { kind: Kind::Flag, was: Vec::new(), survives: false };
        }
        let still_here = |element: &Value| self.set.as_ref().is_some_and(|set| set.contains(element));
        let mut was = gone.elements;
        was.retain(|element| !still_here(element));
        was.sort();
        was.dedup();
        match was.pop() {
            None => What::NoEffect,
            Some(element) if one_element && was.is_empty() => What::Removed { element },
            Some(last) => {
                was.push(last);
                What::Deleted { kind: Kind::Set, was, survives: self.set.is_some() }
            }
        }
    }

    fn is_live_as(&self, kind: Kind) -> bool {
        match kind {
            Kind::Register => self.register.is_live(),
            Kind::Counter => self.counter.as_ref().is_some_and(|counter| counter.is_live()),
            Kind::Set => self.set.is_some(),
            Kind::Flag => self.flag.is_live(),
            Kind::Map => false,
        }
    }

    fn read_kind(&self, kind: Kind) -> Option<Read> {
        match kind {
            Kind::Register => self.register.read(),
            Kind::Counter => self.counter.as_ref().and_then(|counter| counter.read()),
            Kind::Set => self.set.as_ref().and_then(|set| set.read()),
            Kind::Flag => self.flag.is_live().then_some(Read::Flag),
            Kind::Map => None,
        }
    }

    /// Its parts, ascending.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        let siblings = self.register.siblings().iter().map(Part::from);
        let elements = self.set.iter().flat_map(|set| set.iter());
        let shares = self.counter.iter().flat_map(|counter| counter.shares());
        siblings
            .chain(elements.map(|(dot, element)| Part::Element { dot, element: element.clone() }))
            .chain(shares.map(|(replica, Share { run, floor })| Part::Share { replica, run, floor }))
            .chain(self.flag.dots().map(|dot| Part::Flag { dot }))
            .chain(self.leases().map(|(dot, lease)| Part::Lease { dot, lease }))
    }

    /// Puts a part in that is known to belong here.
    pub(crate) fn insert(&mut self, part: &Part, account: &mut Account<'_>) {
        match part.clone() {
            Part::Sibling { dot, hlc, value } => self.register.insert(Sibling { value, hlc, dot }, account),
            Part::Element { dot, element } => {
                self.set.get_or_insert_default().insert(dot, element, account);
            }
            Part::Share { replica, run, floor } => {
                self.counter.get_or_insert_default().join(replica, Share { run, floor }, account);
            }
            Part::Flag { dot } => self.flag.insert(dot, account),
            Part::Lease { dot, lease } => {
                self.leases.get_or_insert_default().insert(dot, lease, account);
            }
        }
    }

    /// Takes a part away.
    pub(crate) fn take(&mut self, part: &Part, account: &mut Account<'_>) {
        match part {
            Part::Sibling { dot, .. } => {
                let is_alone = self.is_register_alone();
                drop(self.register.remove(*dot, is_alone, account));
            }
            Part::Element { dot, .. } => {
                if let Some(set) = &mut self.set {
                    set.remove(*dot, account);
                    if set.is_empty() {
                        self.set = None;
                    }
                }
            }
            Part::Share { replica, .. } => {
                if let Some(counter) = &mut self.counter {
                    counter.forget(*replica, account);
                    if counter.is_empty() {
                        self.counter = None;
                    }
                }
            }
            Part::Flag { dot } => {
                self.flag.remove(*dot, account);
            }
            Part::Lease { dot, .. } => self.unlease(*dot, account),
        }
    }

    /// The digest, from scratch.
    pub(crate) fn digest(&self, key: &Key) -> Digest {
        let mut sum = self.register.digest(key);
        sum += self.set.as_ref().map(|set| set.digest(key)).unwrap_or_default();
        sum += self.flag.digest(key);
        sum += self.leases().fold(Digest::EMPTY, |sum, (dot, lease)| sum + lease.term(key, dot));
        sum += self.counter.as_ref().map(|counter| counter.digest(key)).unwrap_or_default();
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

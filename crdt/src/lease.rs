//! Writes for a time: values, elements and flags that go by themselves.
//!
//! A *lease* belongs to a dot, travels with it and goes with it. It decides nothing about merging and has no part in
//! what a write replaces: it only says until when a reader is shown what the dot brought. Once a lease has run out
//! its dot is *hidden*, here and now, by this replica's own clock; some member then deletes it by an ordinary write
//! (`gossip` says which), and only that ends it for everybody. So replicas whose clocks differ may show different things
//! for a moment and hold the same all along: digests do not ask what time it is.
//!
//! A write to a key removes what is hidden there along with what it replaces, so that what a reader was not shown cannot
//! come back beside what was written in its place; and so it does with what is hidden above and beneath, where only a map
//! has room for both. The other elements of a set are in nobody's way and stay: whoever wrote them may be there for everybody
//! else.

use crate::account::{Account, Item};
use crate::{Cell, Dot, Dots, Effect, Replica};
use chinwag_base::{Digest, Generation, Key, NodeId, ReplicaId, Value, WallTime};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// For how long a write is asked to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Term {
    /// So many milliseconds from now.
    Ms(u64),
    /// As long as the process that writes it is a member.
    Life,
}

/// Until when what a write brought is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lease {
    /// Until this time by the reader's clock, in milliseconds since 1970.
    Until {
        /// When.
        unix_ms: u64,
    },
    /// As long as the process life that wrote it is a member, as the reader sees it.
    Life,
}

/// What can be lent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lent {
    /// A register's value.
    Value(Value),
    /// A set's element.
    Element(Value),
    /// A flag's being on.
    Flag,
}

impl Lent {
    /// What of an effect can be lent; none if nothing can.
    pub(crate) fn of(effect: &Effect) -> Option<Self> {
        match effect {
            Effect::Set { value } => Some(Lent::Value(value.clone())),
            Effect::Add { element } => Some(Lent::Element(element.clone())),
            Effect::Enable => Some(Lent::Flag),
            _ => None,
        }
    }

    /// The effect that it is, for ever.
    pub fn effect(&self) -> Effect {
        match self {
            Lent::Value(value) => Effect::Set { value: value.clone() },
            Lent::Element(element) => Effect::Add { element: element.clone() },
            Lent::Flag => Effect::Enable,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Lent::Value(value) | Lent::Element(value) => value.as_bytes().len(),
            Lent::Flag => 0,
        }
    }
}

impl Lease {
    pub(crate) fn term(self, key: &Key, dot: Dot) -> Digest {
        let until = match self {
            Lease::Until { unix_ms } => Some(unix_ms),
            Lease::Life => None,
        };
        let item = Item::of_key("chinwag lease", key).dot(dot).number(u64::from(until.is_some()));
        item.number(until.unwrap_or(0)).digest()
    }
}

/// A cell's store of leases, by dot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases(BTreeMap<Dot, Lease>);

const LEASE_BYTES: usize = 2 * (size_of::<Dot>() + size_of::<Lease>()) + size_of::<Key>();

impl Leases {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dot, Lease)> + '_ {
        self.0.iter().map(|(dot, lease)| (*dot, *lease))
    }

    pub(crate) fn insert(&mut self, dot: Dot, lease: Lease, account: &mut Account<'_>) {
        if self.0.contains_key(&dot) {
            return;
        }
        self.0.insert(dot, lease);
        account.add(|key| lease.term(key, dot), LEASE_BYTES);
        account.leases.push((dot, lease, true));
    }

    pub(crate) fn remove(&mut self, dot: Dot, account: &mut Account<'_>) {
        if let Some(lease) = self.0.remove(&dot) {
            account.subtract(|key| lease.term(key, dot), LEASE_BYTES);
            account.leases.push((dot, lease, false));
        }
    }
}

/// All leases of a replica, and what decides which of them have run out.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// The time up to which leases have run out.
    now: u64,
    /// The process life of each node that is a member.
    present: BTreeMap<NodeId, Generation>,
    until: BTreeMap<(u64, Dot), Key>,
    lives: BTreeMap<Dot, Key>,
}

impl Terms {
    pub(crate) fn exchange(&mut self, key: &Key, changed: &[(Dot, Lease, bool)]) {
        for (dot, lease, is_new) in changed {
            match (lease, is_new) {
                (Lease::Until { unix_ms }, true) => drop(self.until.insert((*unix_ms, *dot), key.clone())),
                (Lease::Until { unix_ms }, false) => drop(self.until.remove(&(*unix_ms, *dot))),
                (Lease::Life, true) => drop(self.lives.insert(*dot, key.clone())),
                (Lease::Life, false) => drop(self.lives.remove(dot)),
            }
        }
    }

    fn is_over(&self, dot: Dot, lease: Lease) -> bool {
        match lease {
            Lease::Until { unix_ms } => unix_ms <= self.now,
            Lease::Life => self.present.get(&dot.replica.node) != Some(&dot.replica.generation),
        }
    }

    /// The dots of a cell that are not shown.
    pub(crate) fn hidden(&self, cell: &Cell) -> Dots {
        cell.leases().filter(|(dot, lease)| self.is_over(*dot, *lease)).map(|(dot, _)| dot).collect()
    }

    /// What of a cell is shown.
    pub(crate) fn shown<'a>(&self, key: &Key, cell: &'a Cell) -> Cow<'a, Cell> {
        if !cell.has_leases() {
            return Cow::Borrowed(cell);
        }
        match self.hidden(cell) {
            hidden if hidden.is_empty() => Cow::Borrowed(cell),
            hidden => Cow::Owned(cell.without(&hidden, key)),
        }
    }
}

/// Hidden dots that one write takes away, so that it stays an entry that others take.
const TAKEN_AWAY_MAX: usize = 4_096;

/// As many of these dots as one write may take away besides others.
pub(crate) fn some(dots: Dots) -> Dots {
    if dots.len() <= TAKEN_AWAY_MAX { dots } else { dots.iter().take(TAKEN_AWAY_MAX).collect() }
}

/// The same, this one among them.
pub(crate) fn some_of(dots: Dots, dot: Dot) -> Dots {
    let mut some = some(dots);
    some.insert(dot);
    some
}

/// Before every dot that a write has.
const FIRST: Dot = Dot::new(ReplicaId::ZERO, 0);

/// What is shown for a time.
impl Replica {
    /// Time has come to `wall`: what was lent until then is hidden.
    pub fn pass_time(&mut self, wall: WallTime) {
        self.terms.now = self.terms.now.max(self.hlc.now(wall).millis());
    }

    /// Which process life of a node is a member now; none if no life is. Ours always is.
    pub fn set_present(&mut self, node: NodeId, life: Option<Generation>) {
        if node == self.me.node {
            return;
        }
        match life {
            Some(life) => drop(self.terms.present.insert(node, life)),
            None => drop(self.terms.present.remove(&node)),
        }
    }

    pub(crate) fn be_present(&mut self) {
        self.terms.present.insert(self.me.node, self.me.generation);
    }

    /// When the next lease runs out by the clock.
    pub fn next_expiry(&self) -> Option<WallTime> {
        let from = (self.terms.now.saturating_add(1), FIRST);
        self.terms.until.range(from..).next().map(|((unix_ms, _), _)| WallTime::from_unix_ms(*unix_ms))
    }

    /// Writes whose leases have run out by the clock, each with its key and with when it did, in milliseconds since 1970; the
    /// oldest first.
    pub fn expired(&self) -> impl Iterator<Item = (&Key, Dot, u64)> {
        self.terms
            .until
            .range(..(self.terms.now.saturating_add(1), FIRST))
            .map(|((until, dot), key)| (key, *dot, *until))
    }

    /// Writes that stand as long as the process lives that made them, by writer.
    pub fn lent_for_life(&self) -> impl Iterator<Item = (&Key, Dot)> {
        self.terms.lives.iter().map(|(dot, key)| (key, *dot))
    }

    /// The leases of what is shown under a key: when the first runs out, and whether something stands only as long as its
    /// writer is a member.
    pub fn leases_of(&self, key: &Key) -> (Option<WallTime>, bool) {
        let (mut first, mut for_life) = (None, false);
        let cells = self.cells.get(key).into_iter().chain(self.beneath(key).map(|(_, cell)| cell));
        for (_, lease) in
            cells.flat_map(Cell::leases).filter(|(dot, lease)| !self.terms.is_over(*dot, *lease))
        {
            match lease {
                Lease::Until { unix_ms } => {
                    first = Some(first.map_or(unix_ms, |first: u64| first.min(unix_ms)));
                }
                Lease::Life => for_life = true,
            }
        }
        (first.map(WallTime::from_unix_ms), for_life)
    }

    /// Whether what is kept of all leases is what the cells say.
    #[cfg(test)]
    pub(crate) fn terms_are_right(&self) -> bool {
        let (mut until, mut lives) = (BTreeMap::new(), BTreeMap::new());
        for (key, (dot, lease)) in
            self.cells.iter().flat_map(|(key, cell)| cell.leases().map(move |lease| (key, lease)))
        {
            match lease {
                Lease::Until { unix_ms } => drop(until.insert((unix_ms, dot), key.clone())),
                Lease::Life => drop(lives.insert(dot, key.clone())),
            }
        }
        (until, lives) == (self.terms.until.clone(), self.terms.lives.clone())
    }
}

//! Whole cells: what is under a key without the history that led there, as it travels to whoever is too far behind for
//! the log, and as it is stored.
//!
//! An entry says what one write did, and joins under its own dot alone. A whole cell says what *is*, and so what is not
//! there says something too: a dot that one side lacks and its clock covers has been removed. Joining two whole cells
//! under both clocks therefore needs no tombstones (Almeida, Shoker, Baquero 2018, section 7; DottedDB 2017 does the same
//! between storage nodes).
//!
//! A cell is told as a sorted list of [`Part`]s, so that a large one may be cut between any two of them. A [`Slice`]
//! has the cells of a range of the state, and says which range: only there does absence count.

use crate::read::Sibling;
use crate::{Cell, Clock, Dot, Entry, Hlc, Lease, Refusal, Run};
use chinwag_base::limits::{ELEMENT_BYTES_MAX, SLICE_CELLS_MAX};
use chinwag_base::{Digest, Key, ReplicaId, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// One live thing in a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// One of a register's concurrent values.
    Sibling {
        /// The write that made it.
        dot: Dot,
        /// When, by its writer's clock.
        hlc: Hlc,
        /// The value.
        value: Value,
    },
    /// An element of a set, under one of the writes that added it.
    Element {
        /// The write.
        dot: Dot,
        /// The element.
        element: Value,
    },
    /// One replica's share of a counter: at least one of the two.
    Share {
        /// Whose increments.
        replica: ReplicaId,
        /// Their sum.
        run: Option<Run>,
        /// How much of it has been reset.
        floor: Option<Run>,
    },
    /// One of the writes that enabled a flag.
    Flag {
        /// The write.
        dot: Dot,
    },
    /// For how long one of the others is shown.
    Lease {
        /// The write of both.
        dot: Dot,
        /// For how long.
        lease: Lease,
    },
}

/// What a part is known by. Parts of a cell are told in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PartId {
    /// Of a register's value.
    Sibling(Dot),
    /// Of an element.
    Element(Dot),
    /// Of a share.
    Share(ReplicaId),
    /// Of a flag.
    Flag(Dot),
    /// Of a lease.
    Lease(Dot),
}

/// A point in the order of all parts of all cells: just after one part, or after all of a key's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The key.
    pub key: Key,
    /// The part; without one, the key's last.
    pub part: Option<PartId>,
}

/// Of what a slice says all that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent {
    /// The whole cells of the keys that it names, an empty one among them if there is none.
    Keys,
    /// Everything between two places.
    Range {
        /// It begins after this place; without one, at the very first key.
        after: Option<Place>,
        /// It ends with this place; without one, with the very last key.
        until: Option<Place>,
    },
}

/// Some of the state, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// What it tells all of.
    pub extent: Extent,
    /// The cells in it, by key, ascending; of each the parts, ascending.
    pub cells: Vec<(Key, Vec<Part>)>,
}

/// One row of the log on disk: what happened to the state, in order. To take all rows in their order is to live again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Row {
    /// An entry was applied.
    Write(Arc<Entry>),
    /// Whole cells are about to come ([`Replica::promise`](crate::Replica::promise)).
    Promised(Promise),
    /// Some came ([`Replica::join`](crate::Replica::join)).
    Joined(Slice),
    /// All have come ([`Replica::cover`](crate::Replica::cover)).
    Covered,
    /// The rest will not come ([`Replica::break_promise`](crate::Replica::break_promise)).
    Broken,
    /// Cells that the disk had lost are with nobody else ([`Replica::forsake`](crate::Replica::forsake)).
    Forsaken,
    /// There was a row here, and it is damaged.
    Lost,
}

/// Under what whole cells come: what all of their senders cover at least.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Promise {
    /// The clock of one replica at one moment. A sender may cover more.
    pub clock: Clock,
    /// The dots that this clock does not cover and that what it covers has removed, with their keys. A sender that
    /// covers more may have taken them up meanwhile, and then nothing in its cells speaks of them.
    pub doomed: Vec<(Dot, Key)>,
    /// The same of counters: how far of which replica's run has been reset, where the clock does not cover so much.
    pub floors: Vec<(Key, ReplicaId, Run)>,
}

/// Whole cells on their way from others.
///
/// What its clock covers and ours does not is *promised*: it comes with the cells, removed or not, so entries that speak
/// of it are not taken meanwhile. Otherwise a late entry could add to a cell what that cell's sender knows to be removed,
/// and once the clock is covered nobody would ever tell us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// What the cells' senders cover, all of them.
    pub clock: Clock,
    /// Up to where all cells have come, if they come by range.
    pub done: Option<Place>,
}

/// The state as of a position in the log, or what of it has changed since the last checkpoint. What its cells are kept in
/// is a list as it comes from a replica, and a [`Stock`](crate::Stock) as it goes back into one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint<Cells = Vec<(Key, Vec<Part>)>> {
    /// Rows up to here are in it.
    pub position: u64,
    /// What it covers.
    pub clock: Clock,
    /// Whole cells that were on their way.
    pub session: Option<Session>,
    /// Whether cells may know more than the clock says.
    pub unsettled: bool,
    /// The digest of all cells and notes, if it is known: what was damaged was part of it.
    pub digest: Option<Digest>,
    /// Dots that were removed before they came, with their keys.
    pub doomed: Vec<(Dot, Key)>,
    /// Keys whose cells were damaged and have not been repaired.
    pub damaged: BTreeSet<Key>,
    /// Cells by key, each with all its parts. A cell without any is none.
    pub cells: Cells,
}

impl<Cells> Checkpoint<Cells> {
    /// The same with other cells.
    pub fn with<Others>(self, cells: Others) -> Checkpoint<Others> {
        let Checkpoint { position, clock, session, unsettled, digest, doomed, damaged, cells: _ } = self;
        Checkpoint { position, clock, session, unsettled, digest, doomed, damaged, cells }
    }
}

impl Part {
    /// What it is known by.
    pub fn id(&self) -> PartId {
        match self {
            Part::Sibling { dot, .. } => PartId::Sibling(*dot),
            Part::Element { dot, .. } => PartId::Element(*dot),
            Part::Share { replica, .. } => PartId::Share(*replica),
            Part::Flag { dot } => PartId::Flag(*dot),
            Part::Lease { dot, .. } => PartId::Lease(*dot),
        }
    }

    /// The write that it is, or the last that it counts.
    pub fn newest(&self) -> Dot {
        match self {
            Part::Sibling { dot, .. }
            | Part::Element { dot, .. }
            | Part::Flag { dot }
            | Part::Lease { dot, .. } => *dot,
            Part::Share { replica, run, floor } => {
                Dot::new(*replica, (*run).max(*floor).map_or(0, |run| run.last))
            }
        }
    }

    /// Whose run it is, if it is a share with one.
    pub(crate) fn has_run(&self) -> Option<ReplicaId> {
        match self {
            Part::Share { replica, run: Some(_), .. } => Some(*replica),
            _ => None,
        }
    }

    /// The write that it lives by, unless it is a share, which lives by its run.
    pub(crate) fn dot(&self) -> Option<Dot> {
        match self {
            Part::Share { .. } => None,
            part => Some(part.newest()),
        }
    }

    /// A cheap upper bound of its encoded size in bytes.
    pub fn weight(&self) -> usize {
        use crate::dots::{NUMBER_BYTES, REPLICA_ID_BYTES};
        const DOT_BYTES: usize = REPLICA_ID_BYTES + NUMBER_BYTES;
        const RUN_BYTES: usize = 1 + 4 * NUMBER_BYTES;
        1 + match self {
            Part::Sibling { value, .. } => DOT_BYTES + 2 * NUMBER_BYTES + value.as_bytes().len(),
            Part::Element { element, .. } => DOT_BYTES + NUMBER_BYTES + element.as_bytes().len(),
            Part::Share { .. } => REPLICA_ID_BYTES + 2 * RUN_BYTES,
            Part::Flag { .. } => DOT_BYTES,
            Part::Lease { .. } => DOT_BYTES + 1 + NUMBER_BYTES,
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        match self {
            Part::Sibling { dot, .. }
            | Part::Element { dot, .. }
            | Part::Flag { dot }
            | Part::Lease { dot, .. }
                if dot.counter == 0 =>
            {
                Err(Refusal::CounterZero)
            }
            Part::Element { element, .. } if element.as_bytes().len() > ELEMENT_BYTES_MAX => {
                Err(Refusal::ElementTooLong { len: element.as_bytes().len() })
            }
            Part::Share { run: None, floor: None, .. } => Err(Refusal::SliceMalformed),
            Part::Share { run, floor, .. } => {
                match [run, floor].into_iter().flatten().find(|run| !run.is_possible()) {
                    Some(run) => Err(Refusal::RunImpossible { run: *run }),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

impl PartId {
    /// Before every part that there can be: it names no write.
    pub const FIRST: PartId = PartId::Sibling(Dot::new(ReplicaId::ZERO, 0));
}

impl Place {
    /// The place after all of a key's parts.
    pub fn end_of(key: Key) -> Self {
        Place { key, part: None }
    }

    /// Whether it lies after another place.
    pub fn is_beyond(&self, other: &Place) -> bool {
        let end = |place: &Place| place.part.map_or((true, PartId::FIRST), |part| (false, part));
        (&self.key, end(self)) > (&other.key, end(other))
    }

    /// Whether that part of that key lies before this place.
    fn is_after(&self, key: &Key, id: PartId) -> bool {
        *key < self.key || *key == self.key && self.part.is_none_or(|part| id <= part)
    }
}

/// The keys that may have parts after a place.
pub(crate) fn keys_after(after: Option<&Place>) -> (Bound<&Key>, Bound<&Key>) {
    let from = match after {
        None => Bound::Unbounded,
        Some(Place { key, part: None }) => Bound::Excluded(key),
        Some(Place { key, part: Some(_) }) => Bound::Included(key),
    };
    (from, Bound::Unbounded)
}

impl Extent {
    /// Whether that part of a key lies in it. Of [`Extent::Keys`] every part of the keys that it names does.
    pub(crate) fn has(&self, key: &Key, id: PartId) -> bool {
        match self {
            Extent::Keys => true,
            Extent::Range { after, until } => {
                !after.as_ref().is_some_and(|place| place.is_after(key, id))
                    && until.as_ref().is_none_or(|place| place.is_after(key, id))
            }
        }
    }

    /// The parts of a key's cell that lie in it.
    pub(crate) fn parts_of<'a>(&'a self, key: &'a Key, cell: &'a Cell) -> impl Iterator<Item = Part> + 'a {
        let after = match self {
            Extent::Range { after: Some(place), .. } if place.key == *key => place.part,
            _ => None,
        };
        // Those between the two ends: before the first none are looked at, behind the last one is.
        cell.parts_after(after)
            .skip_while(|part| !self.has(key, part.id()))
            .take_while(|part| self.has(key, part.id()))
    }

    /// Whether the end of a key's cell lies in it.
    pub(crate) fn has_end_of(&self, key: &Key) -> bool {
        let is_end = |place: &Place| place.key == *key && place.part.is_none();
        match self {
            Extent::Keys => true,
            Extent::Range { until, .. } => {
                self.has_key(key) && until.as_ref().is_none_or(|place| *key < place.key || is_end(place))
            }
        }
    }

    /// Whether a key may have parts in it.
    fn has_key(&self, key: &Key) -> bool {
        match self {
            Extent::Keys => true,
            Extent::Range { after, until } => {
                after.as_ref().is_none_or(|place| match place.part {
                    None => *key > place.key,
                    Some(_) => *key >= place.key,
                }) && until.as_ref().is_none_or(|place| *key <= place.key)
            }
        }
    }
}

impl Slice {
    /// A cheap upper bound of its encoded size in bytes.
    pub fn weight(&self) -> usize {
        let cell = |(key, parts): &(Key, Vec<Part>)| {
            CELL_HEAD_BYTES + key.as_str().len() + parts.iter().map(Part::weight).sum::<usize>()
        };
        2 * PLACE_BYTES_MAX + self.cells.iter().map(cell).sum::<usize>()
    }

    /// Whether the slice can be what it says, looked at alone.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(&self) -> Result<(), Refusal> {
        let is_ascending = self.cells.is_sorted_by(|(one, _), (next, _)| one < next);
        if !is_ascending || self.cells.len() > SLICE_CELLS_MAX {
            return Err(Refusal::SliceMalformed);
        }
        for (key, parts) in &self.cells {
            let is_ascending = parts.is_sorted_by(|one, next| one.id() < next.id());
            let is_within = parts.iter().all(|part| self.extent.has(key, part.id()));
            if !is_ascending || !is_within || !self.extent.has_key(key) {
                return Err(Refusal::SliceMalformed);
            }
            parts.iter().try_for_each(Part::check)?;
        }
        Ok(())
    }
}

/// What a cell in a slice costs besides key and parts: lengths.
pub(crate) const CELL_HEAD_BYTES: usize = 2 * crate::dots::NUMBER_BYTES;
/// A place, encoded, at most.
const PLACE_BYTES_MAX: usize = chinwag_base::limits::KEY_BYTES_MAX + 64;

impl From<Sibling> for Part {
    fn from(Sibling { dot, hlc, value }: Sibling) -> Self {
        Part::Sibling { dot, hlc, value }
    }
}

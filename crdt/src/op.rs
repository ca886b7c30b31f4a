//! Operations: what a client asks for, and how it becomes an entry.

use crate::{Cell, Condition, Dot, Dots, Effect, Found, Term};
use chinwag_base::limits::{
    BATCH_OPS_MAX, ELEMENT_BYTES_MAX, ENTRY_BYTES_MAX, MAP_FIELDS_MAX, SET_ELEMENTS_MAX, STAGED_BYTES_MAX,
};
use chinwag_base::{Digest, Key, Value};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One operation on one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Gives a register a value, in place of all values that it is seen to have.
    Set {
        /// The register.
        key: Key,
        /// Its value.
        value: Value,
    },
    /// Deletes a register, a set, a flag or a map, or resets a counter: whatever is seen goes.
    Delete {
        /// The key.
        key: Key,
        /// Which kind. It may be left out unless several are in conflict, and it resolves that.
        kind: Option<Kind>,
    },
    /// Adds to a counter. The counter begins at 0.
    Increment {
        /// The counter.
        key: Key,
        /// How much; negative to subtract.
        by: i64,
    },
    /// Puts an element into a set. If it is in there, it is confirmed: a concurrent remove loses.
    Add {
        /// The set.
        key: Key,
        /// The element.
        element: Value,
    },
    /// Takes an element out of a set.
    Remove {
        /// The set.
        key: Key,
        /// The element.
        element: Value,
    },
    /// Switches a flag on. If it is on, that is confirmed: a concurrent disable loses.
    Enable {
        /// The flag.
        key: Key,
    },
    /// Switches a flag off. One that is off is not there.
    Disable {
        /// The flag.
        key: Key,
    },
    /// Writes a value, an element or a flag that goes by itself.
    Lend {
        /// For how long.
        term: Term,
        /// The operation.
        op: Box<Op>,
    },
    /// Does an operation if a condition holds of its key, as all that was staged before will leave it.
    If {
        /// The condition.
        condition: Condition,
        /// The operation.
        op: Box<Op>,
    },
}

impl Op {
    /// The key that it is about.
    pub fn key(&self) -> &Key {
        match self {
            Op::Set { key, .. }
            | Op::Delete { key, .. }
            | Op::Increment { key, .. }
            | Op::Add { key, .. }
            | Op::Remove { key, .. }
            | Op::Enable { key }
            | Op::Disable { key } => key,
            Op::If { op, .. } | Op::Lend { op, .. } => op.key(),
        }
    }

    /// The operation itself.
    pub fn bare(&self) -> &Op {
        self.unfold().2
    }

    /// On which conditions, for how long, and what.
    pub(crate) fn unfold(&self) -> (Vec<&Condition>, Option<Term>, &Op) {
        let (mut conditions, mut term, mut op) = (Vec::new(), None, self);
        loop {
            op = match op {
                Op::If { condition, op } => {
                    conditions.push(condition);
                    op
                }
                Op::Lend { term: how_long, op } => {
                    term.get_or_insert(*how_long);
                    op
                }
                bare => return (conditions, term, bare),
            };
        }
    }

    /// The kind that its key must have or get; none if it is about whatever is there.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Op::Set { .. } => Some(Kind::Register),
            Op::Increment { .. } => Some(Kind::Counter),
            Op::Add { .. } | Op::Remove { .. } => Some(Kind::Set),
            Op::Enable { .. } | Op::Disable { .. } => Some(Kind::Flag),
            Op::Delete { .. } => None,
            Op::Lend { op, .. } | Op::If { op, .. } => op.kind(),
        }
    }

    /// What this operation writes as `dot` on a cell that looks like `cell`: what it adds and which dots it removes. It is
    /// none that deletes ([`plan_delete`]).
    pub(crate) fn plan(&self, cell: &Cell, dot: Dot) -> Result<Plan, OpError> {
        match self {
            Op::Set { key, value } => {
                expect_kind(key, cell, Kind::Register)?;
                Ok((Effect::Set { value: value.clone() }, cell.dots(Kind::Register)))
            }
            Op::Increment { key, by } => {
                expect_kind(key, cell, Kind::Counter)?;
                let nothing = Default::default();
                let run = cell.counter().unwrap_or(&nothing).extended(dot, *by);
                let run = run.ok_or_else(|| OpError::Overflow { key: key.clone() })?;
                Ok((Effect::Count { run }, Dots::new()))
            }
            Op::Add { key, element } => plan_add(key, element, cell),
            Op::Remove { key, element } => {
                expect_kind(key, cell, Kind::Set)?;
                let removed: Dots = cell.set().into_iter().flat_map(|set| set.dots_of(element)).collect();
                if removed.is_empty() {
                    return Err(OpError::NoSuchElement { key: key.clone(), element: element.clone() });
                }
                Ok((Effect::Remove, removed))
            }
            Op::Enable { key } => {
                expect_kind(key, cell, Kind::Flag)?;
                Ok((Effect::Enable, cell.dots(Kind::Flag)))
            }
            Op::Disable { key } => {
                expect_kind(key, cell, Kind::Flag)?;
                let seen = cell.dots(Kind::Flag);
                if seen.is_empty() {
                    return Err(OpError::NoSuchKey { key: key.clone() });
                }
                Ok((Effect::Delete, seen))
            }
            Op::Delete { key, .. } => Err(OpError::NoSuchKey { key: key.clone() }),
            Op::If { op, .. } | Op::Lend { op, .. } => op.plan(cell, dot),
        }
    }
}

/// What a write adds and which dots it removes.
pub(crate) type Plan = (Effect, Dots);

/// The write that deletes what a cell has of a kind.
pub(crate) fn plan_delete(kind: Kind, cell: &Cell) -> Plan {
    match (kind, cell.counter()) {
        (Kind::Counter, Some(counter)) => (Effect::Reset { floors: counter.floors() }, Dots::new()),
        _ => (Effect::Delete, cell.dots(kind)),
    }
}

fn plan_add(key: &Key, element: &Value, cell: &Cell) -> Result<Plan, OpError> {
    expect_kind(key, cell, Kind::Set)?;
    let len = element.as_bytes().len();
    if len > ELEMENT_BYTES_MAX {
        return Err(OpError::ElementTooLong { key: key.clone(), len });
    }
    let removed: Dots = match cell.set() {
        Some(set) if set.len() >= SET_ELEMENTS_MAX && !set.contains(element) => {
            return Err(OpError::SetFull { key: key.clone() });
        }
        Some(set) => set.dots_of(element).collect(),
        None => Dots::new(),
    };
    Ok((Effect::Add { element: element.clone() }, removed))
}

/// A cell takes operations of one kind, and any kind if nothing is live in it.
fn expect_kind(key: &Key, cell: &Cell, wanted: Kind) -> Result<(), OpError> {
    let kinds: Vec<Kind> = cell.kinds().collect();
    match kinds[..] {
        [] => Ok(()),
        [is] if is == wanted => Ok(()),
        [is] => Err(OpError::WrongKind { key: key.clone(), is, wanted }),
        _ => Err(OpError::Conflict { key: key.clone(), kinds }),
    }
}

/// The kinds of value that a key can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One value; the last write is shown.
    Register,
    /// A number that everybody adds to.
    Counter,
    /// A set of elements.
    Set,
    /// On, or not there.
    Flag,
    /// Fields, each of some kind.
    Map,
}

impl Kind {
    /// All of them, in the order in which a conflict lists them.
    pub const ALL: [Kind; 5] = [Kind::Register, Kind::Counter, Kind::Set, Kind::Flag, Kind::Map];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Register => "register",
            Kind::Counter => "counter",
            Kind::Set => "set",
            Kind::Flag => "flag",
            Kind::Map => "map",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an operation, and with it its whole batch, is not done. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// The key has a value of another kind.
    #[error("`{key}` is a {is}, not a {wanted}")]
    WrongKind {
        /// The key.
        key: Key,
        /// What it is.
        is: Kind,
        /// What the operation is for.
        wanted: Kind,
    },
    /// The key has values of several kinds, written concurrently.
    #[error(
        "`{key}` is in conflict: it was written concurrently as a {}; delete all but one kind",
        list(kinds)
    )]
    Conflict {
        /// The key.
        key: Key,
        /// What it is.
        kinds: Vec<Kind>,
    },
    /// There is nothing to delete.
    #[error("there is no `{key}`")]
    NoSuchKey {
        /// The key.
        key: Key,
    },
    /// The kind to delete is not there.
    #[error("`{key}` is a {}, not a {kind}", list(kinds))]
    KindNotLive {
        /// The key.
        key: Key,
        /// What was to be deleted.
        kind: Kind,
        /// What it is.
        kinds: Vec<Kind>,
    },
    /// There is nothing to remove.
    #[error("`{key}` has no element {element:?}")]
    NoSuchElement {
        /// The set.
        key: Key,
        /// The element.
        element: Value,
    },
    /// An element over its limit.
    #[error("an element of a set has at most {ELEMENT_BYTES_MAX} bytes, this one for `{key}` has {len}")]
    ElementTooLong {
        /// The set.
        key: Key,
        /// The element's length in bytes.
        len: usize,
    },
    /// A set at its limit.
    #[error("`{key}` is full: a set has at most {SET_ELEMENTS_MAX} elements")]
    SetFull {
        /// The set.
        key: Key,
    },
    /// A map at its limit.
    #[error("`{key}` is full: a map has at most {MAP_FIELDS_MAX} fields, those of its fields included")]
    MapFull {
        /// The map.
        key: Key,
    },
    /// A map that grew beyond its limit, because it was written concurrently, and so beyond what one write deletes.
    #[error(
        "`{key}` has {len} fields, and one write deletes at most {BATCH_OPS_MAX}: delete some of them first"
    )]
    TooManyFields {
        /// The map.
        key: Key,
        /// How many it has.
        len: usize,
    },
    /// What counts or takes away cannot be lent for a time.
    #[error("`{key}` cannot be written so for a time: only a value, an element or a flag can")]
    NotForATime {
        /// The key.
        key: Key,
    },
    /// The operation's condition does not hold.
    #[error("the condition on `{key}` does not hold: {found}")]
    Unmet {
        /// The key.
        key: Key,
        /// What is there.
        found: Found,
        /// Its version.
        version: Option<Digest>,
    },
    /// The write names so much that it does not fit an entry: a value with very many concurrent writers.
    #[error("writing `{key}` takes up to {bytes} bytes, and an entry has at most {ENTRY_BYTES_MAX}")]
    EntryTooLarge {
        /// The key.
        key: Key,
        /// How much it takes.
        bytes: usize,
    },
    /// One replica's increments no longer fit 64 bits.
    #[error("`{key}` would overflow: what one daemon adds to a counter between resets is below 2^64")]
    Overflow {
        /// The counter.
        key: Key,
    },
    /// Memory is used up.
    #[error("the replicated state is full: it has {bytes} bytes of at most {max}")]
    StateFull {
        /// Bytes in use.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Too many operations at once.
    #[error("a batch has at most {BATCH_OPS_MAX} operations, this one has {len}")]
    BatchTooLong {
        /// How many.
        len: usize,
    },
    /// Too many bytes at once.
    #[error("a batch has at most {STAGED_BYTES_MAX} bytes, this one has more")]
    BatchTooLarge,
    /// So much waits for the disk that nothing more is taken until the next commit.
    #[error("too many writes are waiting for the disk; try again")]
    Busy,
    /// One of several operations cannot be done.
    #[error("{error}")]
    InBatch {
        /// Which, from 0.
        index: usize,
        /// Why.
        error: Box<OpError>,
    },
}

impl OpError {
    /// The same, as the error of one operation in a batch of `len`. Alone it needs no number.
    pub(crate) fn in_batch(self, index: usize, len: usize) -> Self {
        if len > 1 { OpError::InBatch { index, error: Box::new(self) } } else { self }
    }

    /// Which operation of its batch, and why.
    pub fn parts(self) -> (usize, OpError) {
        match self {
            OpError::InBatch { index, error } => (index, *error),
            alone => (0, alone),
        }
    }
}

fn list(kinds: &[Kind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    names.join(" and a ")
}

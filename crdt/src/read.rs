//! What a read shows.

use crate::{Dot, Hlc, Kind};
use chinwag_base::Value;
use std::collections::BTreeMap;

/// The value under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A register.
    Register {
        /// The winner among concurrent values: the highest clock time, then the highest replica id.
        value: Value,
        /// All concurrent values, the winner first.
        siblings: Vec<Sibling>,
    },
    /// A counter's total, exact.
    Counter(i128),
    /// A set's elements, sorted.
    Set(Vec<Value>),
    /// A flag that is on.
    Flag,
    /// A map's fields, by name.
    Map(BTreeMap<String, Read>),
    /// Values of several kinds, written concurrently. It lasts until one is deleted by its kind.
    Conflict(Vec<Read>),
}

impl Read {
    /// Its kind; none for a conflict.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Read::Register { .. } => Some(Kind::Register),
            Read::Counter(_) => Some(Kind::Counter),
            Read::Set(_) => Some(Kind::Set),
            Read::Flag => Some(Kind::Flag),
            Read::Map(_) => Some(Kind::Map),
            Read::Conflict(_) => None,
        }
    }
}

/// One of a register's concurrent values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// The value.
    pub value: Value,
    /// When it was written, by the writer's clock.
    pub hlc: Hlc,
    /// The write.
    pub dot: Dot,
}

//! What a commit made visible, entry by entry, or a whole cell did: the source of `watch` and of the event for each applied write.

use crate::{Dot, Hlc, Kind};
use chinwag_base::{Key, Value};

/// A difference that a reader sees, or an entry that made none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// The write that made the difference. A whole cell does not tell who has removed what is not in it.
    pub dot: Option<Dot>,
    /// When it was written, by the writer's clock. A whole cell tells it of a register's values only.
    pub hlc: Option<Hlc>,
    /// What is different now.
    pub what: What,
    /// Whether this replica wrote it.
    pub local: bool,
}

/// What is different for a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A register has this value.
    Set {
        /// The value.
        value: Value,
        /// The values that it replaced here.
        was: Vec<Value>,
        /// Whether other values, written concurrently, stand beside it.
        concurrent: bool,
        /// Whether a plain read now shows it, rather than one of those beside it.
        shown: bool,
    },
    /// Values of a register, or elements of a set, are gone; or a flag is off.
    Deleted {
        /// Which.
        kind: Kind,
        /// What is gone. A flag has no values.
        was: Vec<Value>,
        /// Whether the key still has something of this kind, because it was written concurrently.
        survives: bool,
    },
    /// A counter moved.
    Incremented {
        /// By how much, seen from here. Entries carry sums, so one may stand for several increments.
        by: i128,
        /// The new total.
        total: i128,
    },
    /// A counter was reset.
    Reset {
        /// How much was taken away.
        taken: i128,
        /// What is left: increments that the reset had not seen.
        total: i128,
    },
    /// A set has this element now, and had not before.
    Added {
        /// The element.
        element: Value,
    },
    /// A set does not have this element any more.
    Removed {
        /// The element.
        element: Value,
    },
    /// A flag is on now, and was not before.
    Enabled,
    /// A reader sees no difference: what the entry brings had already been replaced, removed or counted.
    NoEffect,
}

//! Values that merge: dots, clocks, cells and the replica that owns all keys. Pure: no clock, no disk, no threads.
//!
//! # The idea
//!
//! Every write gets a [`Dot`]: the replica that made it and a number that this replica never uses twice. A write
//! names the dots that it has seen and replaces. That is enough to merge any two histories without asking anybody:
//! what a write has seen it replaces, what it has not seen is concurrent and survives beside it. (Almeida, Shoker,
//! Baquero: *Delta state replicated data types*, 2018, section 7, "causal CRDTs".)
//!
//! One [`Clock`] per replica says which entries it has applied: per writer a contiguous base and explicit islands
//! above it, as in DottedDB (Gonçalves et al. 2017) and its server-wide clocks. It is at once the duplicate filter
//! for what arrives, and what two replicas compare to find out what the other lacks.
//!
//! # State is a function of the set of entries
//!
//! A [`Replica`] applies log entries ([`Entry`]) in any order, each as often as the network likes, and its state
//! depends on nothing but *which* entries it has applied. The clock covers a dot if and only if the entry with that
//! dot has been applied.
//!
//! This is where we depart from the paper. There, a delta that removes a dot also covers it, although the entry that
//! made the dot may not have arrived. An entry however carries removals of its own; if its dot were covered before it
//! arrives, it would be taken for a duplicate, and what it removed would stay for ever at this replica. So a removed
//! dot that has not arrived is remembered as *doomed*: when its entry comes, its value is not shown, but its removals
//! count, and then the note goes.
//!
//! # The log is cut
//!
//! Entries are for those who are a little behind. Whoever has missed more than the log still has takes *whole cells*, which
//! are joined under both clocks: what one side lacks and covers has been removed. So a delete leaves nothing behind.
//!
//! # A cell
//!
//! The value under one key is a cell: one *dot store* per type ([`Kind`]). A cell has the types of its live dots, and
//! no live dots means no cell. A local operation of another type is an error; entries from elsewhere never are, since
//! two replicas may have chosen differently at the same time. That is then a conflict, shown as such, until somebody
//! deletes one of the two.
//!
//! | kind | live while | concurrent writes |
//! |---|---|---|
//! | register | it has a dot | all are kept; the read shows the one with the highest [`Hlc`], then replica id |
//! | set | an element has a dot | add wins; a remove takes only the dots that it has seen |
//! | counter | a run is above its floor | all count, exactly; a reset takes only what it has seen |
//! | flag | it has a dot | enable wins; a disable takes only the dots that it has seen |
//!
//! | map | anything beneath it is live | field by field |
//!
//! Fields of maps are cells of their own (`map`). What a write brings may be lent for a time ([`lease`]).
//!
//! The clock time in an entry orders *concurrent* register writes and nothing else: a machine whose clock is an hour
//! ahead cannot make later writes vanish.
//!
//! # Reading order
//!
//! [`dot`], [`clock`], [`entry`], then `mark` (dots in memory) and the stores of the kinds, then [`replica`]; then [`whole`], `tell` and `join`, for state without
//! its history, `stock` and `checkpoint`; and for what is not taken, and what a hostile writer can do all the same, `admission`. [`sketch`] stands by
//! itself: how two sets find their difference; and so does [`packed`]: how what travels is written.

mod account;
mod admission;
mod cell;
mod checkpoint;
mod counter;
mod dirty;
mod doomed;
mod flag;
mod index;
mod join;
mod log;
mod map;
mod mark;
mod register;
mod set;
mod staging;
mod stock;
mod tell;
mod view;

pub mod audit;
pub mod change;
pub mod clock;
pub mod condition;
pub mod dot;
pub mod dots;
pub mod entry;
pub mod hlc;
pub mod lease;
pub mod op;
pub mod packed;
pub mod read;
pub mod replica;
pub mod sketch;
pub mod whole;

pub use audit::{Audit, Fault};
pub use cell::Cell;
pub use change::{Change, What};
pub use clock::Clock;
pub use condition::{Condition, Found};
pub use dot::Dot;
pub use dots::Dots;
pub use entry::{Effect, Entry, Refusal, Run};
pub use hlc::{Hlc, HlcClock};
pub use index::CellId;
pub use lease::{Lease, Lent, Term};
pub use op::{Kind, Op, OpError};
pub use read::{Read, Sibling};
pub use replica::{Replica, Staged};
pub use sketch::{Decoder, Difference, Sketch, SketchError, Symbol};
pub use stock::Stock;
pub use whole::{Checkpoint, Extent, Part, PartId, Place, Promise, Row, Session, Slice};

#[cfg(test)]
mod tests;

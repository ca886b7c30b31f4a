//! Where large things live: record format, limits, owners by XOR distance and expiry, pure.
//!
//! The replicated state is held by every daemon. A *record* is held by its *owners* alone: the k members whose ids
//! are nearest to the record's. "Nearest" is the metric of Kademlia (Maymounkov and Mazières, "Kademlia: A
//! Peer-to-peer Information System Based on the XOR Metric", IPTPS 2002):
//!
//! - **Ids** (section 2). Nodes and keys share one space of numbers. Ours has 256 bits, and an [`Id`] is the SHA-256
//!   of the node's `PeerId` or of the key's bytes. That is how other Kademlia programs place both, so that a foreign program
//!   that walks and a member that looks into its own view find the same owners.
//! - **Distance** (section 2.1). d(x, y) = x XOR y, read as a number. It is a metric: d(x, x) = 0, it is symmetric,
//!   and d(x, z) <= d(x, y) + d(y, z). It is *unidirectional*: for one x and one distance there is exactly one y, so
//!   no two members are ever equally near, and everybody who knows the same members names the same owners in the same
//!   order. It is a tree's distance: whoever shares the longer prefix is nearer, whatever follows (see [`Distance`]).
//! - **Owners** (section 2.3: "the k closest nodes"). The paper finds them by an iterative walk, because a node there
//!   knows O(log n) others in its k-buckets (section 2.2). Here membership tells every member, so [`Placement`] answers
//!   from memory and an operation takes one hop. What is left of the walk is its order.
//! - **Expiry** (section 2.5). A record may have an end. What has none is kept by its owners, who hand it on when members
//!   come and go; nobody has to publish it again, and nobody walks.
//!
//! # What a record holds
//! A *blob* is named by its hash: nobody can forge it and it never changes. A *cell* is a register or a set under a key that people
//! chose; concurrent puts of it merge, because it carries its own causal context ([`cell`]). A deleted cell is a tombstone
//! that outlives the copies it must keep away.
//!
//! # How records are put, read and kept
//! - **Quorums** (Gifford, "Weighted Voting for Replicated Data", SOSP 1979; DeCandia and others, "Dynamo", SOSP 2007,
//!   section 4.5). A put is sent to all owners at once and is done when w of them hold it durably; a read is done when r of
//!   them have answered, and shows the join of what they hold. With w + r > k a read meets every put that owners alone
//!   have made done.
//! - **Stand-ins** (Dynamo, section 4.6: sloppy quorum and hinted hand-off). An owner that is late by its RTO stays asked, and the next
//!   member in the ranking is asked beside it; it counts towards the quorum of a put, and towards that of a read if it holds
//!   something. It hands on what it took when the owners are back. Until then a read for which all owners answer may miss that put.
//! - **Read repair** (Dynamo, section 5). Owners that answer a read with less than the join are sent it.
//! - **Hand-off**. Owners compare what each two of them share by one sum of digests, when the membership has changed and now and
//!   then; only where the sums differ do they list it (`handoff.rs`).
//!
//! # Invariants
//! - A [`Store`] takes only a [`ValidRecord`], and the only way to one is [`Record::validate`].
//! - A store never holds more than its [`StoreLimits`], whatever its peers put.
//! - An owner says that it holds something only once that is durable.
//! - A node drops a record that it does not own only after every owner has said that it holds it.
//! - Time is an argument. Nothing here does I/O, and iteration order depends on the ids alone.

pub mod cell;
pub mod context;
pub mod distance;
pub mod event;
pub mod held;
pub mod io;
pub mod message;
pub mod placement;
pub mod record;
pub mod store;

mod answers;
mod asking;
mod commit;
mod dht;
mod handoff;
mod load;
mod operation;
mod outcome;
mod rtt;
mod seen;

pub use cell::{Cell, CellError, Edit};
pub use context::Context;
pub use dht::Dht;
pub use distance::{Distance, Id};
pub use event::Event;
pub use held::{Body, Held};
pub use io::{
    Ask, AskError, Asked, BatchId, Config, Identity, Input, LoadId, Member, Outcome, Output, Recovered,
    Reply, RequestId, Verdict,
};
pub use message::{Found, Message, Offered, Question, Refusal, Stored, Text, Want};
pub use placement::{OWNERS_DEFAULT, Placement, owners, rank_of};
pub use record::{BlobHash, Content, Record, RecordError, RecordKey, ValidRecord};
pub use store::{Change, PutError, Store, StoreLimits, Usage};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

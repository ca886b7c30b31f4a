//! Where large things live: record format, limits, owners by XOR distance and expiry, pure.
//!
//! The replicated state is held by every daemon. A *record* is held by its *owners* alone: the k members whose ids
//! are nearest to the record's. "Nearest" is the metric of Kademlia (Maymounkov and Mazières, "Kademlia: A
//! Peer-to-peer Information System Based on the XOR Metric", IPTPS 2002):
//!
//! - **Ids** (section 2). Nodes and keys share one space of numbers. Ours has 256 bits, and an [`Id`] is the SHA-256
//!   of the node's `PeerId` or of the key's bytes. That is how `libp2p-kad` places both, so that a foreign program
//!   that walks and a member that looks into its own view find the same owners.
//! - **Distance** (section 2.1). d(x, y) = x XOR y, read as a number. It is a metric: d(x, x) = 0, it is symmetric,
//!   and d(x, z) <= d(x, y) + d(y, z). It is *unidirectional*: for one x and one distance there is exactly one y, so
//!   no two members are ever equally near, and everybody who knows the same members names the same owners in the same
//!   order. It is a tree's distance: whoever shares the longer prefix is nearer, whatever follows (see [`Distance`]).
//! - **Owners** (section 2.3: "the k closest nodes"). The paper finds them by an iterative walk, because a node there
//!   knows O(log n) others in its k-buckets (section 2.2). Here membership tells every member, so [`Placement`] answers
//!   from memory and an operation takes one hop. What is left of the walk is its order.
//! - **Expiry and republishing** (section 2.5). A record ends unless its publisher renews it, so that what nobody
//!   wants any more goes away by itself: see [`Record::expires`]. A delete is a [`Content::Tombstone`] that outlives
//!   every copy of what it deletes, and then ends like any record.
//!
//! # What a record holds
//! A *blob* is named by its hash: nobody can forge it and it never changes. A *cell* is a versioned value under a key
//! that people chose, opaque to its owners: the higher version wins. See [`record`] for the order and for what it
//! does not promise.
//!
//! # Invariants
//! - A [`Store`] takes only a [`ValidRecord`], and the only way to one is [`Record::validate`].
//! - A store never holds more than its [`StoreLimits`], whatever its peers put.
//! - Two stores that took the same records in any order, none of them refused for room, hold the same.
//! - Time is an argument. Nothing here does I/O, and iteration order depends on the ids alone.

pub mod distance;
pub mod placement;
pub mod record;
pub mod store;

pub use distance::{Distance, Id};
pub use placement::{OWNERS_DEFAULT, Placement, owners, rank_of};
pub use record::{BlobHash, Content, Record, RecordError, RecordKey, ValidRecord};
pub use store::{PutError, Store, StoreLimits, Stored};

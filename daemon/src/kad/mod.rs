//! libp2p's Kademlia in front of the records: among members, and at the open door.
//!
//! The overlay's own operations need no Kademlia: membership tells every owner, so they take one hop. Kademlia
//! (Maymounkov and Mazières, IPTPS 2002) is for whoever does not know the members:
//!
//! ```text
//!  other members ── admission ── members' swarm ── Attended<MemberShelf> ─┐
//!                                                                         ├── Shelf (the record store)
//!  js, go, python ── threshold ── the door's swarm ── Attended<DoorShelf> ┤
//!                    (own key)                                            └── Guests (apart, bounded, 48 h)
//! ```
//!
//! - **Among members** (`members`) a walk finds owners while a node's view is still partial. Buckets are filled by hand
//!   from the members that are connected, and a walk asks these alone: whom to dial is membership's decision.
//! - **The open door** (`door`) is a swarm of its own with a key of its own, off unless asked for. Any libp2p program may
//!   connect and is served identify, ping and Kademlia, within limits, and nothing else. No stranger comes near the
//!   members' swarm.
//! - **Only blobs travel here**, as raw bytes under `/chinwag/blob/<sha256 in hexadecimal>`: a blob proves itself,
//!   whoever sends it. Cells never leave through Kademlia.
//! - **Validation is inside `RecordStore::put`** (`shelf`, `guests`). libp2p-kad acknowledges a put as soon as the
//!   store has taken it (and, with `FilterBoth`, before anybody has decided), so what is wrong must be refused there.
//!   The acknowledgement promises memory only; the disk follows a moment later.

mod attended;
pub(crate) mod disk;
pub(crate) mod door;
mod guests;
pub(crate) mod members;
mod meter;
mod origin;
mod providers;
mod refusals;
pub(crate) mod shelf;
#[cfg(test)]
pub(crate) mod tests;
mod threshold;

pub(crate) use attended::Attended;
pub(crate) use door::{Door, DoorConfig};
pub(crate) use members::{MemberShelf, Walks, members};
pub(crate) use refusals::Teller;
pub(crate) use shelf::Shelf;

use chinwag_base::limits::{KAD_MESSAGE_BYTES_MAX, RECORD_LIFE_MS_MAX};
use libp2p::StreamProtocol;
use libp2p::kad;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// What both swarms speak. Not IPFS's name: its records and ours would refuse each other.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/chinwag/kad/1.0.0");
/// A peer that does not answer for this long is passed over. A member's round trip is far below it.
const REQUEST_MS_MAX: u64 = 1_000;
/// How long a whole walk may take.
const WALK_MS_MAX: u64 = 5_000;
/// Owners of a record, which are also the peers that a walk looks for.
const REPLICATION: NonZeroUsize =
    NonZeroUsize::new(chinwag_dht::OWNERS_DEFAULT).expect("a record has owners");

/// What a swarm's Kademlia needs to know of this daemon.
#[derive(Clone)]
pub(crate) struct Records {
    /// The records that this daemon holds.
    pub(crate) shelf: Arc<dyn Shelf>,
    /// Who tells people of what was refused.
    pub(crate) tell: Teller,
}

/// The settings that both swarms share. Nothing in them runs by itself: the overlay hands records over, so Kademlia's own
/// republishing is off, and so is its periodic bootstrap.
fn config() -> kad::Config {
    let mut config = kad::Config::new(PROTOCOL);
    config
        .set_replication_factor(REPLICATION)
        .set_query_timeout(Duration::from_millis(WALK_MS_MAX))
        .set_substreams_timeout(Duration::from_millis(REQUEST_MS_MAX))
        .set_max_packet_size(KAD_MESSAGE_BYTES_MAX)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::Unfiltered)
        .set_record_ttl(Some(Duration::from_millis(RECORD_LIFE_MS_MAX)))
        .set_provider_record_ttl(Some(Duration::from_millis(RECORD_LIFE_MS_MAX)))
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_caching(kad::Caching::Disabled)
        .set_periodic_bootstrap_interval(None);
    config
}

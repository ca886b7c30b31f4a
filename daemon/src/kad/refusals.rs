//! What was refused, counted by its reason and told to people.

use crate::observe::Row;
use chinwag_api::event::Level;
use libp2p::PeerId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Refusals that are told within a second; the rest is counted. A stranger must not choose how busy the driver is.
const TOLD_PER_SECOND: u32 = 5;

/// Hands a row of the log to the driver, which may drop it when it is busy: the counters say the truth.
#[derive(Clone)]
pub(crate) struct Teller(Arc<dyn Fn(Row) + Send + Sync>);

impl Teller {
    pub(crate) fn new(tell: impl Fn(Row) + Send + Sync + 'static) -> Self {
        Teller(Arc::new(tell))
    }

    pub(super) fn tell(&self, row: Row) {
        (self.0)(row);
    }
}

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// The key names no blob.
    Key,
    /// The bytes have another hash than the key says.
    Hash,
    /// The record is too large.
    Size,
    /// The record has ended, or would live too long.
    Life,
    /// No room is left for anybody.
    Room,
    /// The peer has all the room that it may have.
    PeerRoom,
    /// All guests from one address have all the room that they may have.
    IpRoom,
    /// Too many puts within a minute.
    Rate,
    /// Too many questions, or too many bytes of answers, within a minute.
    GetRate,
    /// The record store said no.
    Shelf,
    /// What is said to be provided is no blob, or its addresses are too many or too long.
    Provider,
    /// No further provider is remembered.
    ProviderRoom,
    /// Too many connections.
    Connections,
    /// Too many connections that are still being encrypted.
    Pending,
    /// Too many connections of one peer.
    PeerConnections,
    /// Too many connections from one IP address.
    IpConnections,
}

impl Reason {
    /// The stable name under which it is counted.
    pub(super) fn name(self) -> &'static str {
        match self {
            Reason::Key => "key",
            Reason::Hash => "hash",
            Reason::Size => "size",
            Reason::Life => "life",
            Reason::Room => "room",
            Reason::PeerRoom => "peer_room",
            Reason::IpRoom => "ip_room",
            Reason::Rate => "rate",
            Reason::GetRate => "get_rate",
            Reason::Shelf => "shelf",
            Reason::Provider => "provider",
            Reason::ProviderRoom => "provider_room",
            Reason::Connections => "connections",
            Reason::Pending => "pending",
            Reason::PeerConnections => "peer_connections",
            Reason::IpConnections => "ip_connections",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Reason::Key => "its key is not /chinwag/blob/ and 64 hexadecimal digits",
            Reason::Hash => "its bytes have another hash than its key says",
            Reason::Size => "it is larger than a record may be",
            Reason::Life => "it has ended, or would be kept for too long",
            Reason::Room => "there is no room for more records",
            Reason::PeerRoom => "this peer has as many records here as one may",
            Reason::IpRoom => "those from this address have as much room here as one address may",
            Reason::Rate => "too many puts within a minute",
            Reason::GetRate => "too many questions, or too many bytes of answers, within a minute",
            Reason::Shelf => "the record store refused it",
            Reason::Provider => "what it says it provides is no blob, or it has too many addresses",
            Reason::ProviderRoom => "no further provider is remembered",
            Reason::Connections => "too many connections through the door",
            Reason::Pending => "too many connections that are still being encrypted",
            Reason::PeerConnections => "too many connections of one peer",
            Reason::IpConnections => "too many connections from one IP address",
        }
    }
}

/// Counts and tells. Cheap to clone.
#[derive(Clone)]
pub(super) struct Refusals {
    /// `door`, or `kad` among members.
    through: &'static str,
    tell: Teller,
    counts: Arc<Mutex<Counts>>,
}

struct Counts {
    by_reason: BTreeMap<Reason, u64>,
    since: Instant,
    told: u32,
}

impl Refusals {
    pub(super) fn new(through: &'static str, tell: Teller) -> Self {
        let counts = Counts { by_reason: BTreeMap::new(), since: Instant::now(), told: 0 };
        Refusals { through, tell, counts: Arc::new(Mutex::new(counts)) }
    }

    /// A record or a provider was refused; `more` says why where the reason alone does not.
    pub(super) fn record(&self, peer: Option<PeerId>, reason: Reason, more: Option<&str>) {
        self.refused("record.refused", peer.map(|p| p.to_base58()), reason, more);
    }

    /// A connection was refused.
    pub(super) fn connection(&self, from: String, reason: Reason) {
        self.refused("door.refused", Some(from), reason, None);
    }

    fn refused(&self, event: &'static str, who: Option<String>, reason: Reason, more: Option<&str>) {
        let is_told = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.by_reason.entry(reason).or_default() += 1;
            if counts.since.elapsed() >= Duration::from_secs(1) {
                counts.since = Instant::now();
                counts.told = 0;
            }
            counts.told += 1;
            counts.told <= TOLD_PER_SECOND
        };
        if is_told {
            let why = more.map_or_else(|| reason.words().to_owned(), ToOwned::to_owned);
            let mut row = Row::new(Level::Warn, event).with("through", self.through);
            if let Some(who) = who {
                row = row.with("peer", who);
            }
            self.tell.tell(row.with("reason", reason.name()).with("why", why));
        }
    }

    /// How often each reason has held, by its name.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.by_reason.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect()
    }
}

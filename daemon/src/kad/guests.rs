//! What came in through the open door: blobs of strangers, apart from the members' records.
//!
//! They are held here and nowhere else, within bounds of their own and for at most two days, and they touch nothing that
//! is replicated. Whoever puts a blob again renews it. When there is no room a put is refused rather than another's
//! blob dropped: else the last to come, and not the first, would decide what is kept. Each peer has a share of the room,
//! and so has each address, because a stranger makes as many keys as it likes.

use super::attended::Attends;
use super::disk::Disk;
use super::meter::Meter;
use super::origin::Origin;
use super::providers::Providers;
use super::refusals::{Reason, Refusals};
use super::shelf::{Shelf, blob_of, blob_on, check, kad_record};
use crate::clock;
use chinwag_base::limits::{
    DOOR_BYTES_MAX, DOOR_IP_BYTES_MAX, DOOR_IP_RECORDS_MAX, DOOR_PEER_BYTES_MAX, DOOR_PEER_RECORDS_MAX,
    DOOR_RECORDS_MAX, RECORD_LIFE_MS_MAX, RECORD_OVERHEAD_BYTES,
};
use chinwag_base::{NodeId, WallTime};
use chinwag_dht::BlobHash;
use libp2p::PeerId;
use libp2p::kad::store::{self, RecordStore};
use libp2p::kad::{ProviderRecord, Record, RecordKey};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Empty;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One blob of a stranger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) bytes: Arc<[u8]>,
    /// Who put it first, and is counted for it.
    pub(super) from: PeerId,
    /// From where, if that is an IP address.
    pub(super) origin: Option<Origin>,
    pub(super) expires: WallTime,
}

impl Guest {
    fn cost_bytes(&self) -> usize {
        RECORD_OVERHEAD_BYTES + self.bytes.len()
    }
}

/// The blobs of strangers that are held.
#[derive(Debug, Default)]
pub(super) struct Guests {
    blobs: BTreeMap<BlobHash, Guest>,
    by_end: BTreeSet<(WallTime, BlobHash)>,
    peers: BTreeMap<PeerId, Share>,
    origins: BTreeMap<Origin, Share>,
    bytes: usize,
}

/// Records and bytes of one peer, or of one address.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    records: usize,
    bytes: usize,
}

impl Share {
    fn has_room(&self, cost: usize, records_max: usize, bytes_max: usize) -> bool {
        self.records < records_max && self.bytes + cost <= bytes_max
    }
}

fn grow<K: Ord>(shares: &mut BTreeMap<K, Share>, key: K, cost: usize) {
    let share = shares.entry(key).or_default();
    share.records += 1;
    share.bytes += cost;
}

/// A share of nothing is forgotten.
fn shrink<K: Ord>(shares: &mut BTreeMap<K, Share>, key: &K, cost: usize) {
    let share = shares.get_mut(key).expect("a share, because it has a blob");
    share.records -= 1;
    share.bytes -= cost;
    if share.records == 0 {
        shares.remove(key);
    }
}

impl Guests {
    /// Takes a blob whose hash has been checked, or renews it. What is held now, if that has changed.
    pub(super) fn put(
        &mut self,
        hash: BlobHash,
        guest: Guest,
        now: WallTime,
    ) -> Result<Option<&Guest>, Reason> {
        if guest.expires <= now || guest.expires > now.plus_ms(RECORD_LIFE_MS_MAX) {
            return Err(Reason::Life);
        }
        if let Some(held) = self.blobs.get_mut(&hash) {
            if held.expires >= guest.expires {
                return Ok(None);
            }
            self.by_end.remove(&(held.expires, hash));
            held.expires = guest.expires;
            self.by_end.insert((held.expires, hash));
            return Ok(self.blobs.get(&hash));
        }
        let cost = guest.cost_bytes();
        let peer = self.peers.get(&guest.from).copied().unwrap_or_default();
        if !peer.has_room(cost, DOOR_PEER_RECORDS_MAX, DOOR_PEER_BYTES_MAX) {
            return Err(Reason::PeerRoom);
        }
        let there = guest.origin.and_then(|origin| self.origins.get(&origin)).copied().unwrap_or_default();
        if !there.has_room(cost, DOOR_IP_RECORDS_MAX, DOOR_IP_BYTES_MAX) {
            return Err(Reason::IpRoom);
        }
        if self.blobs.len() >= DOOR_RECORDS_MAX || self.bytes + cost > DOOR_BYTES_MAX {
            return Err(Reason::Room);
        }
        self.bytes += cost;
        grow(&mut self.peers, guest.from, cost);
        if let Some(origin) = guest.origin {
            grow(&mut self.origins, origin, cost);
        }
        self.by_end.insert((guest.expires, hash));
        Ok(Some(self.blobs.entry(hash).or_insert(guest)))
    }

    /// The blob, until the moment that it ends.
    pub(super) fn get(&self, hash: &BlobHash, now: WallTime) -> Option<Arc<[u8]>> {
        self.blobs.get(hash).filter(|guest| guest.expires > now).map(|guest| guest.bytes.clone())
    }

    /// Drops what has ended, and says what that was.
    pub(super) fn expire(&mut self, now: WallTime) -> Vec<BlobHash> {
        let mut ended = Vec::new();
        while let Some((end, hash)) = self.by_end.first().copied().filter(|(end, _)| *end <= now) {
            self.by_end.remove(&(end, hash));
            let guest = self.blobs.remove(&hash).expect("a blob, because it has an end");
            self.bytes -= guest.cost_bytes();
            shrink(&mut self.peers, &guest.from, guest.cost_bytes());
            if let Some(origin) = guest.origin {
                shrink(&mut self.origins, &origin, guest.cost_bytes());
            }
            ended.push(hash);
        }
        ended
    }

    pub(super) fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Where their blobs came from.
    #[cfg(test)]
    pub(super) fn origins(&self) -> Vec<Origin> {
        self.origins.keys().copied().collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The guests' blobs, as the door's swarm and everybody else find them.
pub(super) type SharedGuests = Arc<Mutex<Guests>>;

pub(super) fn lock(guests: &SharedGuests) -> MutexGuard<'_, Guests> {
    guests.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The door's store as Kademlia sees it: guests' blobs, and the members' to read.
pub(super) struct DoorShelf {
    /// In whose name a guest's record is checked; none of it is kept.
    pub(super) me: NodeId,
    pub(super) guests: SharedGuests,
    pub(super) disk: Disk,
    pub(super) shelf: Arc<dyn Shelf>,
    pub(super) providers: Providers,
    pub(super) refusals: Refusals,
    pub(super) meter: Mutex<Meter>,
    /// Who asks at this moment.
    pub(super) peer: Option<PeerId>,
    /// And from where.
    pub(super) origin: Option<Origin>,
}

impl DoorShelf {
    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&mut self, record: Record, from: PeerId) -> Result<(), Reason> {
        if !self.meter().may_put(from, Instant::now()) {
            return Err(Reason::Rate);
        }
        let now = clock::wall();
        // Kademlia has bounded it by our longest life already; a sender may ask for less.
        let life_ms = record.expires.map_or(RECORD_LIFE_MS_MAX, |end| {
            end.saturating_duration_since(Instant::now()).as_millis().min(u128::from(RECORD_LIFE_MS_MAX))
                as u64
        });
        let (hash, bytes, _) = check(&record.key, record.value, self.me, now)?;
        let mut guests = lock(&self.guests);
        self.disk.remove(guests.expire(now));
        let guest = Guest { bytes, from, origin: self.origin, expires: now.plus_ms(life_ms) };
        if let Some(held) = guests.put(hash, guest, now)? {
            self.disk.put(hash, held.clone());
        }
        Ok(())
    }
}

impl Attends for DoorShelf {
    fn attend(&mut self, peer: PeerId, origin: Option<Origin>) {
        self.peer = Some(peer);
        self.origin = origin;
    }
}

impl RecordStore for DoorShelf {
    type RecordsIter<'a> = Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = Empty<Cow<'a, ProviderRecord>>;

    /// A guest's blob, or one that this daemon holds for the members. If it holds neither, the overlay is asked, and
    /// whoever asks again finds it.
    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        let hash = blob_of(key)?;
        let peer = self.peer?;
        if !self.meter().may_get(peer, Instant::now()) {
            self.refusals.record(Some(peer), Reason::GetRate, None);
            return None;
        }
        // Two statements, so that nobody waits for the guests while the disk is read.
        let guests = lock(&self.guests).get(&hash, clock::wall());
        let found = guests.or_else(|| blob_on(&*self.shelf, hash));
        match found {
            Some(bytes) => {
                self.meter().sent(peer, bytes.len());
                Some(kad_record(key, &bytes))
            }
            None => {
                if self.meter().may_fetch(peer, Instant::now()) {
                    self.shelf.fetch(hash);
                }
                None
            }
        }
    }

    fn put(&mut self, record: Record) -> store::Result<()> {
        let from = self.peer.ok_or(store::Error::MaxRecords)?;
        self.take(record, from).map_err(|reason| {
            self.refusals.record(Some(from), reason, None);
            match reason {
                Reason::Size => store::Error::ValueTooLarge,
                _ => store::Error::MaxRecords,
            }
        })
    }

    /// Nothing: what has ended goes by itself.
    fn remove(&mut self, _key: &RecordKey) {}

    /// None, because Kademlia's own republishing is off.
    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> store::Result<()> {
        self.providers.add(record)
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        self.providers.of(key)
    }

    /// None: the door provides nothing in its own name.
    fn provided(&self) -> Self::ProvidedIter<'_> {
        std::iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        self.providers.remove(key, peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);

    fn guest(from: PeerId, bytes: &[u8], life_ms: u64) -> (BlobHash, Guest) {
        let guest = Guest { bytes: bytes.into(), from, origin: None, expires: NOW.plus_ms(life_ms) };
        (BlobHash::of(bytes), guest)
    }

    fn put(guests: &mut Guests, from: PeerId, bytes: &[u8], life_ms: u64) -> Result<bool, Reason> {
        let (hash, guest) = guest(from, bytes, life_ms);
        guests.put(hash, guest, NOW).map(|held| held.is_some())
    }

    #[test]
    fn a_blob_is_renewed_and_ends() {
        let (mut guests, ada, bob) = (Guests::default(), PeerId::random(), PeerId::random());
        assert_eq!(put(&mut guests, ada, b"x", 1_000), Ok(true));
        assert_eq!(put(&mut guests, bob, b"x", 500), Ok(false), "an earlier end shortens nothing");
        assert_eq!(put(&mut guests, bob, b"x", 2_000), Ok(true));
        assert_eq!(guests.peers.len(), 1, "whoever was first is counted for it");
        let hash = BlobHash::of(b"x");
        assert_eq!(guests.get(&hash, NOW.plus_ms(1_999)).as_deref(), Some(&b"x"[..]));
        assert_eq!(guests.get(&hash, NOW.plus_ms(2_000)), None);
        assert_eq!(guests.expire(NOW.plus_ms(1_999)), []);
        assert_eq!(guests.expire(NOW.plus_ms(2_000)), [hash]);
        assert_eq!((guests.len(), guests.bytes(), guests.peers.len(), guests.by_end.len()), (0, 0, 0, 0));
    }

    #[test]
    fn many_keys_at_one_address_have_one_share() {
        let mut guests = Guests::default();
        let mut n = 0u64;
        let mut put_from = |guests: &mut Guests, origin, peer| {
            n += 1;
            let (hash, guest) = guest(peer, &n.to_be_bytes(), 1_000);
            guests.put(hash, Guest { origin: Some(origin), ..guest }, NOW).map(|_| ())
        };
        let (here, there) = (Origin::V4([10, 0, 0, 1]), Origin::V4([10, 0, 0, 2]));
        for _ in 0..DOOR_IP_RECORDS_MAX {
            assert_eq!(put_from(&mut guests, here, PeerId::random()), Ok(()));
        }
        assert_eq!(put_from(&mut guests, here, PeerId::random()), Err(Reason::IpRoom));
        assert_eq!(put_from(&mut guests, there, PeerId::random()), Ok(()), "others have theirs");
        guests.expire(NOW.plus_ms(1_000));
        assert_eq!((guests.len(), guests.peers.len(), guests.origins.len()), (0, 0, 0));
        assert_eq!(put_from(&mut guests, here, PeerId::random()), Ok(()));

        let large = vec![7; DOOR_PEER_BYTES_MAX / 2];
        let (_, guest) = guest(PeerId::random(), &large, 1_000);
        let put = |guests: &mut Guests, n: u8| {
            let guest = Guest { origin: Some(there), from: PeerId::random(), ..guest.clone() };
            guests.put(BlobHash::of(&[n]), guest, NOW).map(|_| ())
        };
        let taken: Vec<_> = (0..4).map(|n| put(&mut guests, n)).collect();
        assert_eq!(taken, [Ok(()), Ok(()), Ok(()), Err(Reason::IpRoom)], "the overhead is counted");
    }

    #[test]
    fn nothing_is_kept_for_longer_than_two_days() {
        let (mut guests, ada) = (Guests::default(), PeerId::random());
        assert_eq!(put(&mut guests, ada, b"x", RECORD_LIFE_MS_MAX + 1), Err(Reason::Life));
        assert_eq!(put(&mut guests, ada, b"x", 0), Err(Reason::Life));
        assert_eq!(put(&mut guests, ada, b"x", RECORD_LIFE_MS_MAX), Ok(true));
    }

    #[test]
    fn a_guest_has_its_share_and_all_have_so_much() {
        let mut guests = Guests::default();
        let large = |n: u64| {
            let mut bytes = vec![0; 255 * 1024];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            bytes
        };
        let mut n = 0;
        let mut fill = |guests: &mut Guests| {
            let peer = PeerId::random();
            loop {
                n += 1;
                if let Err(reason) = put(guests, peer, &large(n), 1_000) {
                    return reason;
                }
            }
        };
        for _ in 0..DOOR_BYTES_MAX / DOOR_PEER_BYTES_MAX {
            assert_eq!(fill(&mut guests), Reason::PeerRoom);
        }
        while guests.bytes() + 300 * 1024 <= DOOR_BYTES_MAX {
            fill(&mut guests);
        }
        assert_eq!(fill(&mut guests), Reason::Room);
        assert!(guests.bytes() <= DOOR_BYTES_MAX);

        let (mut small, peer) = (Guests::default(), PeerId::random());
        for n in 0..DOOR_PEER_RECORDS_MAX as u64 {
            assert_eq!(put(&mut small, peer, &n.to_be_bytes(), 1_000), Ok(true));
        }
        assert_eq!(put(&mut small, peer, b"one more", 1_000), Err(Reason::PeerRoom));
        assert_eq!(put(&mut small, peer, &0u64.to_be_bytes(), 2_000), Ok(true), "what is held is renewed");
    }
}

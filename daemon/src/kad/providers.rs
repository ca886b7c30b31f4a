//! Who says that it provides a blob: Kademlia's provider records, in memory and bounded.
//!
//! The key is a blob's as everywhere here, or the multihash of its SHA-256: programs of the IPFS world provide a CID,
//! and put the multihash in it on the wire. Nothing is checked but the form: a provider record is a hint.

use super::refusals::{Reason, Refusals};
use super::shelf::blob_of;
use chinwag_base::limits::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, KAD_PROVIDED_KEYS_MAX, KAD_PROVIDED_KEYS_PER_PEER_MAX,
    KAD_PROVIDERS_PER_KEY_MAX,
};
use libp2p::PeerId;
use libp2p::kad::{ProviderRecord, RecordKey, store};
use std::collections::BTreeMap;
use std::time::Instant;

/// Stands before a SHA-256 in a multihash: the function's number, and the length.
const SHA256_MULTIHASH: [u8; 2] = [0x12, 32];

/// The providers that are remembered.
pub(super) struct Providers {
    by_key: BTreeMap<Vec<u8>, Vec<ProviderRecord>>,
    refusals: Refusals,
}

impl Providers {
    pub(super) fn new(refusals: Refusals) -> Self {
        Providers { by_key: BTreeMap::new(), refusals }
    }

    /// Remembers a provider, or renews what is remembered of it.
    pub(super) fn add(&mut self, record: ProviderRecord) -> store::Result<()> {
        let peer = record.provider;
        self.try_add(record, Instant::now()).map_err(|reason| {
            self.refusals.record(Some(peer), reason, None);
            store::Error::MaxProvidedKeys
        })
    }

    fn try_add(&mut self, record: ProviderRecord, now: Instant) -> Result<(), Reason> {
        let is_long = |address: &libp2p::Multiaddr| address.len() > ADDRESS_BYTES_MAX;
        if !names_blob(&record.key)
            || record.addresses.len() > ADDRESSES_MAX
            || record.addresses.iter().any(is_long)
        {
            return Err(Reason::Provider);
        }
        let key = record.key.to_vec();
        let known = self.by_key.get_mut(&key);
        if let Some(old) = known.and_then(|all| all.iter_mut().find(|old| old.provider == record.provider)) {
            *old = record;
            return Ok(());
        }
        if self.by_key.len() >= KAD_PROVIDED_KEYS_MAX {
            self.by_key.retain(|_, all| {
                all.retain(|old| !old.is_expired(now));
                !all.is_empty()
            });
        }
        let of_peer = |all: &Vec<ProviderRecord>| all.iter().any(|old| old.provider == record.provider);
        let provided = self.by_key.values().filter(|all| of_peer(all)).count();
        let of_key = self.by_key.get(&key).map_or(0, Vec::len);
        if provided >= KAD_PROVIDED_KEYS_PER_PEER_MAX
            || of_key >= KAD_PROVIDERS_PER_KEY_MAX
            || of_key == 0 && self.by_key.len() >= KAD_PROVIDED_KEYS_MAX
        {
            return Err(Reason::ProviderRoom);
        }
        self.by_key.entry(key).or_default().push(record);
        Ok(())
    }

    pub(super) fn of(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        self.by_key.get(key.as_ref()).cloned().unwrap_or_default()
    }

    pub(super) fn remove(&mut self, key: &RecordKey, peer: &PeerId) {
        if let Some(all) = self.by_key.get_mut(key.as_ref()) {
            all.retain(|record| record.provider != *peer);
            if all.is_empty() {
                self.by_key.remove(key.as_ref());
            }
        }
    }
}

fn names_blob(key: &RecordKey) -> bool {
    let bytes: &[u8] = key.as_ref();
    blob_of(key).is_some() || bytes.strip_prefix(&SHA256_MULTIHASH).is_some_and(|hash| hash.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kad::Teller;
    use std::time::Duration;

    fn multihash(n: usize) -> RecordKey {
        let mut bytes = SHA256_MULTIHASH.to_vec();
        bytes.extend([0; 24]);
        bytes.extend(n.to_be_bytes());
        RecordKey::new(&bytes)
    }

    fn record(n: usize, peer: PeerId) -> ProviderRecord {
        let mut record = ProviderRecord::new(multihash(n), peer, Vec::new());
        record.expires = Some(Instant::now() + Duration::from_secs(60));
        record
    }

    fn providers() -> Providers {
        Providers::new(Refusals::new("door", Teller::new(|_| {})))
    }

    #[test]
    fn a_peer_provides_so_many_keys_and_a_key_has_so_many_providers() {
        let (mut all, peer, now) = (providers(), PeerId::random(), Instant::now());
        for n in 0..KAD_PROVIDED_KEYS_PER_PEER_MAX {
            assert_eq!(all.try_add(record(n, peer), now), Ok(()));
        }
        assert_eq!(all.try_add(record(5, peer), now), Ok(()), "what is known is renewed");
        assert_eq!(all.try_add(record(usize::MAX, peer), now), Err(Reason::ProviderRoom));
        for _ in 1..KAD_PROVIDERS_PER_KEY_MAX {
            assert_eq!(all.try_add(record(7, PeerId::random()), now), Ok(()));
        }
        assert_eq!(all.try_add(record(7, PeerId::random()), now), Err(Reason::ProviderRoom));
        all.remove(&multihash(7), &peer);
        assert_eq!(all.of(&multihash(7)).len(), KAD_PROVIDERS_PER_KEY_MAX - 1);
    }

    #[test]
    fn a_full_table_makes_room_by_what_has_ended() {
        let (mut all, now) = (providers(), Instant::now());
        for n in 0..KAD_PROVIDED_KEYS_MAX {
            assert_eq!(all.try_add(record(n, PeerId::random()), now), Ok(()));
        }
        let next = record(usize::MAX, PeerId::random());
        assert_eq!(all.try_add(next.clone(), now), Err(Reason::ProviderRoom));
        assert_eq!(all.try_add(next, now + Duration::from_secs(61)), Ok(()));
        assert_eq!(all.by_key.len(), 1);
    }

    #[test]
    fn only_blobs_are_provided_and_addresses_are_bounded() {
        let (mut all, now) = (providers(), Instant::now());
        let mut other = record(1, PeerId::random());
        other.key = RecordKey::new(b"/pk/something");
        assert_eq!(all.try_add(other, now), Err(Reason::Provider));
        let mut wordy = record(1, PeerId::random());
        wordy.addresses = vec!["/ip4/1.2.3.4/tcp/1".parse().unwrap(); ADDRESSES_MAX + 1];
        assert_eq!(all.try_add(wordy, now), Err(Reason::Provider));
    }
}

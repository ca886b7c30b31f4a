//! Kademlia among members: serving what this daemon holds, and walking for what it does not.

use super::attended::{Attended, Attends};
use super::origin::Origin;
use super::providers::Providers;
use super::refusals::{Reason, Refusals};
use super::shelf::{Shelf, blob_of, blob_on, check, kad_record};
use super::{Records, config};
use crate::clock;
use crate::network::{to_node, to_peer};
use chinwag_base::NodeId;
use chinwag_base::limits::KAD_WALKS_MAX;
use chinwag_dht::{BlobHash, RecordKey as DhtKey};
use libp2p::kad::store::{self, RecordStore};
use libp2p::kad::{Event, GetRecordOk, ProviderRecord, QueryId, QueryResult, Record, RecordKey};
use libp2p::{Multiaddr, PeerId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::iter::Empty;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The members' records, as Kademlia sees them: blobs alone, as raw bytes.
pub(crate) struct MemberShelf {
    shelf: Arc<dyn Shelf>,
    providers: Providers,
    refusals: Refusals,
    /// Who asks at this moment.
    peer: Option<PeerId>,
}

/// Kademlia for the members' swarm. It knows nobody until [`Attended::meet`].
pub(crate) fn members(me: PeerId, records: &Records) -> Attended<MemberShelf> {
    let refusals = Refusals::new("kad", records.tell.clone());
    let store = MemberShelf {
        shelf: records.shelf.clone(),
        providers: Providers::new(refusals.clone()),
        refusals,
        peer: None,
    };
    Attended::new(me, store, config())
}

impl MemberShelf {
    fn take(&self, record: Record) -> Result<(), (Reason, Option<String>)> {
        // Every member's id is an Ed25519 key; a record that nobody sent is not taken.
        let publisher = self.peer.as_ref().and_then(to_node).ok_or((Reason::Key, None))?;
        let checked = check(&record.key, record.value, publisher, clock::wall());
        let (_, _, valid) = checked.map_err(|reason| (reason, None))?;
        self.shelf.put(valid).map_err(|why| (Reason::Shelf, Some(why)))
    }
}

impl Attends for MemberShelf {
    fn attend(&mut self, peer: PeerId, _origin: Option<Origin>) {
        self.peer = Some(peer);
    }
}

impl RecordStore for MemberShelf {
    type RecordsIter<'a> = Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        let bytes = blob_on(&*self.shelf, blob_of(key)?)?;
        Some(kad_record(key, &bytes))
    }

    fn put(&mut self, record: Record) -> store::Result<()> {
        self.take(record).map_err(|(reason, why)| {
            self.refusals.record(self.peer, reason, why.as_deref());
            match reason {
                Reason::Size => store::Error::ValueTooLarge,
                _ => store::Error::MaxRecords,
            }
        })
    }

    /// Nothing: the record store knows by itself what has ended.
    fn remove(&mut self, _key: &RecordKey) {}

    /// None, because the overlay hands records over, not Kademlia.
    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> store::Result<()> {
        self.providers.add(record)
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        self.providers.of(key)
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        std::iter::empty()
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        self.providers.remove(key, peer);
    }
}

impl Attended<MemberShelf> {
    /// A member is connected: walks may ask it, and others are told of it.
    pub(crate) fn meet(&mut self, peer: NodeId, address: Multiaddr) {
        if let Some(peer) = to_peer(&peer) {
            self.kad.add_address(&peer, address);
        }
    }

    /// A member is not connected any more.
    pub(crate) fn part(&mut self, peer: NodeId) {
        if let Some(peer) = to_peer(&peer) {
            self.kad.remove_peer(&peer);
        }
    }
}

/// What a walk for a blob found.
pub(crate) type Found = oneshot::Sender<Option<Vec<u8>>>;

/// The walks under way, each with the one who waits for it.
#[derive(Default)]
pub(crate) struct Walks(HashMap<QueryId, (BlobHash, Found)>);

impl Walks {
    /// Looks for a blob here and then at the members that are nearest to it. Finds nothing if too many walks are under way.
    pub(crate) fn begin(&mut self, kad: &mut Attended<MemberShelf>, hash: BlobHash, found: Found) {
        if self.0.len() < KAD_WALKS_MAX {
            let key = RecordKey::from(DhtKey::Blob(hash).to_bytes());
            self.0.insert(kad.kad.get_record(key), (hash, found));
        }
    }

    /// Takes what a walk tells. The first copy with the right hash ends it; a wrong one is passed over.
    pub(crate) fn on_event(&mut self, kad: &mut Attended<MemberShelf>, event: Event) {
        let Event::OutboundQueryProgressed { id, result: QueryResult::GetRecord(result), step, .. } = event
        else {
            return;
        };
        let Some((hash, _)) = self.0.get(&id) else { return };
        let bytes = match result {
            Ok(GetRecordOk::FoundRecord(found)) => Some(found.record.value),
            _ => None,
        };
        let bytes = bytes.filter(|bytes| BlobHash::of(bytes) == *hash);
        if bytes.is_none() && !step.last {
            return;
        }
        if let Some((_, found)) = self.0.remove(&id) {
            // Whoever asked may have gone away.
            let _gone = found.send(bytes);
        }
        if let Some(mut query) = kad.kad.query_mut(&id) {
            query.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kad::Teller;
    use crate::kad::tests::MemoryShelf;
    use chinwag_base::Keypair;
    use std::sync::Mutex;

    #[test]
    fn a_member_puts_blobs_that_are_what_they_say() {
        let shelf = MemoryShelf::holding(&[]);
        let rows = Arc::new(Mutex::new(0));
        let told = rows.clone();
        let tell = Teller::new(move |_| *told.lock().unwrap() += 1);
        let peer = |seed| to_peer(&Keypair::from_secret([seed; 32]).id()).unwrap();
        let mut members = members(peer(1), &Records { shelf: shelf.clone(), tell });
        let store = members.kad.store_mut();
        let record = |key: Vec<u8>, value: &[u8]| Record::new(key, value.to_vec());
        let name = |value: &[u8]| DhtKey::Blob(BlobHash::of(value)).to_bytes();

        assert!(store.put(record(name(b"x"), b"x")).is_err(), "nobody has sent it");
        store.attend(peer(2), None);
        assert!(store.put(record(name(b"x"), b"x")).is_ok());
        assert!(shelf.has(b"x"));
        assert_eq!(store.get(&name(b"x").into()).unwrap().value, b"x");

        assert!(store.put(record(name(b"forged"), b"y")).is_err());
        assert!(store.put(record(b"/chinwag/cell/k".to_vec(), b"y")).is_err());
        assert!(store.get(&b"/chinwag/cell/k".to_vec().into()).is_none());
        let counts = [("hash", 1), ("key", 2)].map(|(reason, n)| (reason.to_owned(), n));
        assert_eq!(store.refusals.counts(), counts.into());
        assert_eq!(*rows.lock().unwrap(), 3, "each is told");
    }
}

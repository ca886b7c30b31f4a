//! What Kademlia asks of the record store, and the check that every record passes on its way in.

use super::refusals::Reason;
use chinwag_base::limits::RECORD_BYTES_MAX;
use chinwag_base::{NodeId, WallTime};
use chinwag_dht::{BlobHash, Content, Record, RecordError, RecordKey, ValidRecord};
use libp2p::kad;
use std::borrow::Cow;
use std::sync::Arc;

/// The records that this daemon holds, as Kademlia sees them. Called on the swarm's task: must be quick.
pub(crate) trait Shelf: Send + Sync + 'static {
    /// The record under `key` as it lies on the disk, if this daemon holds it and it has not ended.
    fn get(&self, key: &RecordKey) -> Option<Record>;
    /// Takes a validated record: it is merged with what is held and made durable a little later. Err: why not.
    fn put(&self, record: ValidRecord) -> Result<(), String>;
    /// Asks the overlay's owners for a blob that is not held here, so that a later `get` finds it. Bounded and
    /// deduplicated by the implementor.
    fn fetch(&self, hash: BlobHash);
}

/// The blob that a key of Kademlia names; nothing else has a place here.
pub(super) fn blob_of(key: &kad::RecordKey) -> Option<BlobHash> {
    match RecordKey::from_bytes(key.as_ref())? {
        RecordKey::Blob(hash) => Some(hash),
        RecordKey::Cell(_) => None,
    }
}

/// The bytes of a blob on the shelf.
pub(super) fn blob_on(shelf: &dyn Shelf, hash: BlobHash) -> Option<Arc<[u8]>> {
    match shelf.get(&RecordKey::Blob(hash))?.content {
        Content::Blob(bytes) => Some(bytes),
        _ => None,
    }
}

/// A blob as Kademlia sends it.
pub(super) fn kad_record<'a>(key: &kad::RecordKey, bytes: &[u8]) -> Cow<'a, kad::Record> {
    Cow::Owned(kad::Record::new(key.clone(), bytes.to_vec()))
}

/// A record that a peer put, checked, cheapest first: its size, its key, its hash.
pub(super) fn check(
    key: &kad::RecordKey,
    value: Vec<u8>,
    publisher: NodeId,
    now: WallTime,
) -> Result<(BlobHash, Arc<[u8]>, ValidRecord), Reason> {
    if value.len() > RECORD_BYTES_MAX {
        return Err(Reason::Size);
    }
    let named = blob_of(key).ok_or(Reason::Key)?;
    let bytes: Arc<[u8]> = value.into();
    // Its key is the hash of its bytes, so a forged one shows in the comparison.
    let record = Record::blob(bytes.clone(), publisher, now);
    if record.key != RecordKey::Blob(named) {
        return Err(Reason::Hash);
    }
    let valid = record.validate(now).map_err(|error| match error {
        RecordError::TooLarge { .. } => Reason::Size,
        RecordError::WrongHash { .. } => Reason::Hash,
        RecordError::WrongKind => Reason::Key,
        _ => Reason::Life,
    })?;
    Ok((named, bytes, valid))
}

//! What owners hold: a key, a value, who published it and when it ends.
//!
//! # Which of two records stays
//! Owners meet the same records in different orders, so two records of one key are *joined*, and the join is commutative,
//! associative and idempotent, which is all that owners need to agree:
//!
//! - Cells merge ([`crate::cell`]). One without anything live is a tombstone.
//! - Blobs are the same bytes, because their name is their hash.
//! - The later end counts. A tombstone's end never outlasts a live value's: it ends [`TOMBSTONE_LIFE_MS`] after the
//!   delete, when every copy that it must keep from coming back is gone or has met it.
//!
//! Nobody deletes a blob: others may have put the same bytes. It goes when it ends.
//!
//! # What is checked, and what is not
//! [`Record::validate`] checks all that the record shows by itself: the hash of a blob, sizes, and its end. The
//! publisher is a claim: whoever receives a record from a member knows that member by its connection, and refuses a put
//! in another's name; a hand-off between owners carries many names.

use crate::cell::Cell;
use crate::distance::{Id, write_hex};
use chinwag_base::limits::{JOINED_FACTOR, RECORD_BYTES_MAX, RECORD_LIFE_MS_MAX, TOMBSTONE_LIFE_MS};
use chinwag_base::{Key, NodeId, WallTime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// Stands before a blob's hash in a key that other programs of the DHT see.
const BLOB_PREFIX: &[u8] = b"/chinwag/blob/";
/// Stands before a cell's key.
const CELL_PREFIX: &[u8] = b"/chinwag/cell/";

/// The SHA-256 of a blob's bytes, which is its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobHash([u8; 32]);

impl BlobHash {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        BlobHash(Sha256::digest(bytes).into())
    }

    /// The name with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        BlobHash(bytes)
    }

    /// The name's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..4])?;
        f.write_str("…")
    }
}

/// What a record is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKey {
    /// A blob, by the hash of its bytes.
    Blob(BlobHash),
    /// A cell, by a name that people chose. Here no key has fields: whoever sends one is refused.
    Cell(#[serde(deserialize_with = "without_fields")] Key),
}

fn without_fields<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
    let key = Key::deserialize(deserializer)?;
    if key.has_fields() {
        return Err(serde::de::Error::custom("the key of a record has no fields"));
    }
    Ok(key)
}

impl RecordKey {
    /// The key as other programs of the DHT spell it: `/chinwag/blob/` and 64 hexadecimal digits, or `/chinwag/cell/`
    /// and the name.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            RecordKey::Blob(hash) => [BLOB_PREFIX, hash.to_string().as_bytes()].concat(),
            RecordKey::Cell(key) => [CELL_PREFIX, key.as_str().as_bytes()].concat(),
        }
    }

    /// The key that is spelled so; `None` if it is none of ours. The inverse of [`RecordKey::to_bytes`]: each key has
    /// one spelling, so capital digits are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if let Some(name) = bytes.strip_prefix(CELL_PREFIX) {
            return std::str::from_utf8(name).ok()?.parse().ok().map(RecordKey::Cell);
        }
        let digits: &[u8; 64] = bytes.strip_prefix(BLOB_PREFIX)?.try_into().ok()?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_chunks::<2>().0) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Some(RecordKey::Blob(BlobHash(hash)))
    }

    /// Where the record lies.
    pub fn id(&self) -> Id {
        Id::hash(&self.to_bytes())
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordKey::Blob(hash) => write!(f, "blob {hash}"),
            RecordKey::Cell(key) => write!(f, "{key}"),
        }
    }
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Bytes that never change, under their hash.
    Blob(#[serde(with = "chinwag_base::codec::bytes")] Arc<[u8]>),
    /// A cell, or a change of one.
    Cell(Cell),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Blob(bytes) => write!(f, "Blob({} bytes)", bytes.len()),
            Content::Cell(cell) => cell.fmt(f),
        }
    }
}

/// A record as it travels. Anybody may have made it up: see [`Record::validate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it is found by.
    pub key: RecordKey,
    /// What it says.
    pub content: Content,
    /// Who put it, and is counted for it.
    pub publisher: NodeId,
    /// When it is gone, by the wall clock of whoever holds it. `None` is never; a tombstone always ends.
    pub expires: Option<WallTime>,
}

/// Why a record is not taken. It says what is wrong with the record, whatever else is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A blob whose bytes have another hash than its key says.
    #[error("the blob's bytes have the hash {actual}, not the one in its key")]
    WrongHash {
        /// The hash of its bytes.
        actual: BlobHash,
    },
    /// A blob under a name, or a cell under a hash.
    #[error("the record's value is of another kind than its key")]
    WrongKind,
    /// A value over the limit.
    #[error("a record has at most {RECORD_BYTES_MAX} bytes, this one has {len}")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// A cell that has seen nothing.
    #[error("the cell is empty")]
    Empty,
    /// Its end has passed.
    #[error("the record has expired {since_ms} ms ago")]
    Expired {
        /// For how long.
        since_ms: u64,
    },
}

impl Record {
    /// A record of a blob, under the hash of its bytes, kept for two days. See [`Record::until`].
    pub fn blob(bytes: impl Into<Arc<[u8]>>, publisher: NodeId, now: WallTime) -> Self {
        let bytes = bytes.into();
        let key = RecordKey::Blob(BlobHash::of(&bytes));
        let expires = Some(now.plus_ms(RECORD_LIFE_MS_MAX));
        Record { key, content: Content::Blob(bytes), publisher, expires }
    }

    /// A record of a cell, or of a change of one. If nothing is live in it, it is a tombstone and ends by itself;
    /// else it ends when the cell does.
    pub fn cell(key: Key, cell: Cell, publisher: NodeId, now: WallTime) -> Self {
        let expires = if cell.is_deleted() { Some(now.plus_ms(TOMBSTONE_LIFE_MS)) } else { cell.expires() };
        Record { key: RecordKey::Cell(key), content: Content::Cell(cell), publisher, expires }
    }

    /// The same record of a blob, kept until `expires`. A cell has its own end.
    pub fn until(mut self, expires: Option<WallTime>) -> Self {
        if let Content::Blob(_) = self.content {
            self.expires = expires;
        }
        self
    }

    /// Whether it says that something is deleted.
    pub fn is_tombstone(&self) -> bool {
        matches!(&self.content, Content::Cell(cell) if cell.is_deleted())
    }

    /// Checks the record at time `now`, cheapest first.
    ///
    /// # Errors
    /// The first of [`RecordError`] that holds.
    pub fn validate(mut self, now: WallTime) -> Result<ValidRecord, RecordError> {
        match (&self.key, &self.content) {
            (RecordKey::Blob(_), Content::Blob(_)) => {}
            (RecordKey::Cell(_), Content::Cell(cell)) if cell.context().is_empty() => {
                return Err(RecordError::Empty);
            }
            (RecordKey::Cell(_), Content::Cell(_)) => {}
            _ => return Err(RecordError::WrongKind),
        }
        let len = self.content.len();
        let factor = if let Content::Cell(_) = self.content { JOINED_FACTOR } else { 1 };
        if len > factor * RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge { len });
        }
        if let Content::Cell(cell) = &self.content
            && !cell.is_deleted()
        {
            self.expires = cell.expires();
        }
        if let Some(expires) = self.expires
            && expires <= now
        {
            return Err(RecordError::Expired { since_ms: now.unix_ms() - expires.unix_ms() });
        }
        if self.is_tombstone() {
            // Not refused, because whoever deleted may have a clock that is ahead; but nobody pins memory for longer.
            let latest = now.plus_ms(TOMBSTONE_LIFE_MS);
            self.expires = Some(self.expires.map_or(latest, |expires| expires.min(latest)));
        }
        if let (RecordKey::Blob(named), Content::Blob(bytes)) = (&self.key, &self.content) {
            let actual = BlobHash::of(bytes);
            if actual != *named {
                return Err(RecordError::WrongHash { actual });
            }
        }
        Ok(ValidRecord(self))
    }
}

impl Content {
    /// Its length in bytes, of a cell about.
    pub fn len(&self) -> usize {
        match self {
            Content::Blob(bytes) => bytes.len(),
            Content::Cell(cell) => cell.weight(),
        }
    }

    /// Whether there are no bytes in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A record that [`Record::validate`] has let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidRecord(Record);

impl ValidRecord {
    /// The record, to be sent.
    pub fn into_record(self) -> Record {
        self.0
    }
}

impl std::ops::Deref for ValidRecord {
    type Target = Record;
    fn deref(&self) -> &Record {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Edit;
    use crate::testing::{NOW, any_record, put, replica};
    use chinwag_crdt::{Dot, Hlc};
    use proptest::prelude::*;

    const ADA: NodeId = NodeId::from_bytes([1; 32]);

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    #[test]
    fn what_the_constructors_make_is_valid() {
        let cell = put(1, 1, "x");
        let gone = cell.plan(&Edit::Delete, Dot::new(replica(1), 2), Hlc::ZERO, None).unwrap();
        for record in [
            Record::blob(*b"hello", ADA, NOW),
            Record::blob(*b"hello", ADA, NOW).until(None),
            Record::cell(key("app/config"), cell, ADA, NOW),
            Record::cell(key("app/config"), gone, ADA, NOW),
        ] {
            assert_eq!(record.clone().validate(NOW).map(ValidRecord::into_record), Ok(record));
        }
    }

    #[test]
    fn each_fault_has_its_error() {
        let blob = Record::blob(*b"hello", ADA, NOW);
        let cell = |cell| Record::cell(key("k"), cell, ADA, NOW);

        let forged = Record { content: Content::Blob((*b"hellp").into()), ..blob.clone() };
        let actual = BlobHash::of(b"hellp");
        assert_eq!(forged.validate(NOW), Err(RecordError::WrongHash { actual }));

        let misfiled = Record { key: RecordKey::Cell(key("k")), ..blob.clone() };
        assert_eq!(misfiled.validate(NOW), Err(RecordError::WrongKind));
        let misfiled = Record { content: Content::Cell(put(1, 1, "x")), ..blob.clone() };
        assert_eq!(misfiled.validate(NOW), Err(RecordError::WrongKind));
        assert_eq!(cell(Cell::new()).validate(NOW), Err(RecordError::Empty));

        assert!(Record::blob(vec![0; RECORD_BYTES_MAX], ADA, NOW).validate(NOW).is_ok());
        let len = RECORD_BYTES_MAX + 1;
        let large = Record::blob(vec![0; len], ADA, NOW);
        assert_eq!(large.validate(NOW), Err(RecordError::TooLarge { len }));

        let past = blob.until(Some(NOW));
        assert_eq!(past.validate(NOW), Err(RecordError::Expired { since_ms: 0 }));
        let gone = put(1, 1, "x").plan(&Edit::Delete, Dot::new(replica(1), 2), Hlc::ZERO, None).unwrap();
        for expires in [None, Some(NOW.plus_ms(2 * TOMBSTONE_LIFE_MS))] {
            let forever = Record { expires, ..cell(gone.clone()) };
            let kept = forever.validate(NOW).unwrap().expires;
            assert_eq!(kept, Some(NOW.plus_ms(TOMBSTONE_LIFE_MS)), "no tombstone is kept for longer");
        }
    }

    #[test]
    fn keys_have_one_spelling() {
        let hash = BlobHash::of(b"hello");
        let spelled = format!("/chinwag/blob/{hash}");
        assert_eq!(RecordKey::from_bytes(spelled.as_bytes()), Some(RecordKey::Blob(hash)));
        for bad in [&spelled[..40], &spelled.to_uppercase(), "/chinwag/cell/", "/other/x", ""] {
            assert_eq!(RecordKey::from_bytes(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(RecordKey::from_bytes(b"/chinwag/cell/a/b"), Some(RecordKey::Cell(key("a/b"))));
    }

    #[test]
    fn a_field_is_no_key_of_a_record() {
        let decode = |key: Key| {
            let bytes = chinwag_base::codec::encode(&RecordKey::Cell(key));
            chinwag_base::codec::decode::<1_000, RecordKey>(&bytes)
        };
        let key: Key = "user".parse().unwrap();
        assert_eq!(decode(key.clone()), Ok(RecordKey::Cell(key.clone())));
        assert!(decode(key.field("name").unwrap()).is_err());
    }

    proptest! {
        /// Bytes of a peer, or a real record with one byte changed: a record that is written again as itself, or none.
        #[test]
        fn any_bytes_are_a_record_or_refused(
            noise in proptest::collection::vec(prop_oneof![any::<u8>(), 0..4_u8], 0..150),
            real in any_record(),
            at: prop::sample::Index,
            to: u8,
        ) {
            use chinwag_base::codec;
            let mut damaged = codec::encode(&real);
            let at = at.index(damaged.len());
            damaged[at] = to;
            for bytes in [noise, damaged] {
                if let Ok(record) = codec::decode::<65_536, Record>(&bytes) {
                    let again = codec::decode::<65_536, Record>(&codec::encode(&record));
                    prop_assert_eq!(again.as_ref(), Ok(&record));
                    let _ = record.validate(NOW);
                }
                let _ = codec::decode::<65_536, crate::Held>(&bytes);
                let _ = codec::decode::<65_536, crate::Message>(&bytes);
                if let Some(key) = RecordKey::from_bytes(&bytes) {
                    prop_assert_eq!(key.to_bytes(), bytes);
                }
            }
        }

        #[test]
        fn hostile_records_are_refused_or_hold_their_promises(record in any_record()) {
            if let Ok(valid) = record.validate(NOW) {
                prop_assert!(valid.content.len() <= JOINED_FACTOR * RECORD_BYTES_MAX);
                prop_assert!(valid.expires.is_none_or(|expires| expires > NOW));
                prop_assert!(!valid.is_tombstone() || valid.expires.is_some());
                if let (RecordKey::Blob(hash), Content::Blob(bytes)) = (&valid.key, &valid.content) {
                    prop_assert_eq!(BlobHash::of(bytes), *hash);
                }
                prop_assert_eq!(RecordKey::from_bytes(&valid.key.to_bytes()), Some(valid.key.clone()));
            }
        }
    }
}

//! What owners hold: a key, a value, who published it and when it ends.
//!
//! # Which of two records stays
//! Owners meet the same records in different orders, so the choice between two records of one key is the maximum of a
//! total order; [`ValidRecord::supersedes`] is that order. Taking the maximum is commutative, associative and
//! idempotent, which is all that owners need to agree.
//!
//! 1. The higher version.
//! 2. At equal versions: a tombstone before a value, so that a delete is not undone by a copy of what it deleted.
//! 3. Then the publisher's id and the bytes: arbitrary, but the same for everybody. Two writers that chose one version
//!    for different bytes were concurrent, and one of them loses. Owners keep the bytes of a cell opaque: they cannot merge
//!    what they cannot read.
//! 4. The later expiry: the same record, renewed.
//!
//! A blob has no version, since it never changes; of two copies the one that ends later stays. Nobody deletes a blob:
//! others may have published the same bytes, and it ends when the last of them stops renewing it.
//!
//! # What is checked, and what is not
//! [`Record::validate`] checks all that the record shows by itself: the hash of a blob, sizes, and an end that is
//! neither past nor too far off. The publisher is a claim. Who receives a record from a member knows that member by
//! its connection and must refuse a *first* put in another's name; a hand-off between owners carries many names.

use crate::distance::{Id, write_hex};
use chinwag_base::limits::{
    EXPIRY_TOLERANCE_MS, RECORD_BYTES_MAX, RECORD_LIFE_MS_MAX, RECORD_OVERHEAD_BYTES, TOMBSTONE_LIFE_MS,
};
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
    /// A cell, by a name that people chose.
    Cell(Key),
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

    /// Bytes that the key takes in memory.
    fn len(&self) -> usize {
        match self {
            RecordKey::Blob(_) => 32,
            RecordKey::Cell(key) => key.as_str().len(),
        }
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
    Blob(Arc<[u8]>),
    /// Bytes that owners do not read, in the version that their writer gave them.
    Cell {
        /// Higher replaces lower.
        version: u64,
        /// The value as its type encodes it.
        bytes: Arc<[u8]>,
    },
    /// The cell was deleted in this version.
    Tombstone {
        /// One above the version that it deletes.
        version: u64,
    },
}

impl Content {
    /// The value, if there is one.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Content::Blob(bytes) | Content::Cell { bytes, .. } => Some(bytes),
            Content::Tombstone { .. } => None,
        }
    }

    /// The version; a blob has only the one.
    pub fn version(&self) -> u64 {
        match self {
            Content::Blob(_) => 0,
            Content::Cell { version, .. } | Content::Tombstone { version } => *version,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Blob(bytes) => write!(f, "Blob({} bytes)", bytes.len()),
            Content::Cell { version, bytes } => write!(f, "Cell(version {version}, {} bytes)", bytes.len()),
            Content::Tombstone { version } => write!(f, "Tombstone(version {version})"),
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
    /// Who wants it kept, and is counted for it.
    pub publisher: NodeId,
    /// When it is gone, by the wall clock of whoever holds it.
    pub expires: WallTime,
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
    /// A blob under a name, or a cell or tombstone under a hash.
    #[error("the record's value is of another kind than its key")]
    WrongKind,
    /// A value over the limit.
    #[error("a record has at most {RECORD_BYTES_MAX} bytes, this one has {len}")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// Its end has passed.
    #[error("the record has expired {since_ms} ms ago")]
    Expired {
        /// For how long.
        since_ms: u64,
    },
    /// It asks to be kept for longer than anything is kept.
    #[error("the record wants to be kept for {ms} ms, which is {excess_ms} ms above the limit")]
    LivesTooLong {
        /// How long it wants to be kept.
        ms: u64,
        /// How far above the limit that is.
        excess_ms: u64,
    },
}

impl Record {
    /// A record of a blob, under the hash of its bytes, kept for as long as any record is.
    pub fn blob(bytes: impl Into<Arc<[u8]>>, publisher: NodeId, now: WallTime) -> Self {
        let bytes = bytes.into();
        let key = RecordKey::Blob(BlobHash::of(&bytes));
        Record { key, content: Content::Blob(bytes), publisher, expires: now.plus_ms(RECORD_LIFE_MS_MAX) }
    }

    /// A record of a cell, kept for as long as any record is.
    pub fn cell(
        key: Key,
        version: u64,
        bytes: impl Into<Arc<[u8]>>,
        publisher: NodeId,
        now: WallTime,
    ) -> Self {
        Record {
            key: RecordKey::Cell(key),
            content: Content::Cell { version, bytes: bytes.into() },
            publisher,
            expires: now.plus_ms(RECORD_LIFE_MS_MAX),
        }
    }

    /// The delete of a cell, kept until every copy of what it deletes has ended.
    pub fn tombstone(key: Key, version: u64, publisher: NodeId, now: WallTime) -> Self {
        Record {
            key: RecordKey::Cell(key),
            content: Content::Tombstone { version },
            publisher,
            expires: now.plus_ms(TOMBSTONE_LIFE_MS),
        }
    }

    /// Checks the record at time `now`, cheapest first.
    ///
    /// # Errors
    /// The first of [`RecordError`] that holds.
    pub fn validate(self, now: WallTime) -> Result<ValidRecord, RecordError> {
        let life_ms_max = match (&self.key, &self.content) {
            (RecordKey::Blob(_), Content::Blob(_)) => RECORD_LIFE_MS_MAX,
            (RecordKey::Cell(_), Content::Cell { .. }) => RECORD_LIFE_MS_MAX,
            (RecordKey::Cell(_), Content::Tombstone { .. }) => TOMBSTONE_LIFE_MS,
            _ => return Err(RecordError::WrongKind),
        };
        let len = self.content.bytes().map_or(0, <[u8]>::len);
        if len > RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge { len });
        }
        if self.expires <= now {
            return Err(RecordError::Expired { since_ms: now.unix_ms() - self.expires.unix_ms() });
        }
        let ms = self.expires.unix_ms() - now.unix_ms();
        let allowed_ms = life_ms_max + EXPIRY_TOLERANCE_MS;
        if ms > allowed_ms {
            return Err(RecordError::LivesTooLong { ms, excess_ms: ms - allowed_ms });
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

/// A record that [`Record::validate`] has let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidRecord(Record);

impl ValidRecord {
    /// Whether this record, and not `held`, stays under the key of both. A strict total order on the records of one
    /// key: the module's doc has its rules.
    pub fn supersedes(&self, held: &ValidRecord) -> bool {
        let rank = |record: &ValidRecord| {
            let Record { content, publisher, expires, .. } = &record.0;
            match content {
                // Its bytes are the same; the end alone decides, then the id.
                Content::Blob(_) => (0, false, expires.unix_ms(), *publisher),
                _ => (content.version(), matches!(content, Content::Tombstone { .. }), 0, *publisher),
            }
        };
        rank(self)
            .cmp(&rank(held))
            .then_with(|| self.0.content.bytes().cmp(&held.0.content.bytes()))
            .then_with(|| self.0.expires.cmp(&held.0.expires))
            .is_gt()
    }

    /// What the record costs its owner: its key, its value and what the store keeps beside them.
    pub fn cost_bytes(&self) -> usize {
        RECORD_OVERHEAD_BYTES + self.0.key.len() + self.0.content.bytes().map_or(0, <[u8]>::len)
    }

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
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);
    const ADA: NodeId = NodeId::from_bytes([1; 32]);

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    /// Records as a hostile member sends them: any kind under any key, any end, any version; some are valid.
    pub(crate) fn any_record() -> impl Strategy<Value = Record> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..64).prop_map(Arc::<[u8]>::from);
        let version = || prop_oneof![0..4_u64, Just(u64::MAX)];
        let content = prop_oneof![
            bytes().prop_map(Content::Blob),
            (version(), bytes()).prop_map(|(version, bytes)| Content::Cell { version, bytes }),
            version().prop_map(|version| Content::Tombstone { version }),
        ];
        let end = prop_oneof![
            4 => (0..TOMBSTONE_LIFE_MS).prop_map(|ms| NOW.plus_ms(ms)),
            1 => any::<u64>().prop_map(WallTime::from_unix_ms),
        ];
        let named = prop_oneof![3 => Just(true), 1 => Just(false)];
        (content, named, "[ab]", 0..3_u8, end).prop_map(|(content, honest, name, publisher, expires)| {
            let hash = |bytes: &[u8]| RecordKey::Blob(BlobHash::of(bytes));
            let key = match (&content, honest) {
                (Content::Blob(bytes), true) => hash(bytes),
                (Content::Blob(_), false) => hash(b"something else"),
                (_, true) => RecordKey::Cell(key(&name)),
                (_, false) => hash(name.as_bytes()),
            };
            Record { key, content, publisher: NodeId::from_bytes([publisher; 32]), expires }
        })
    }

    #[test]
    fn what_the_constructors_make_is_valid() {
        for record in [
            Record::blob(*b"hello", ADA, NOW),
            Record::cell(key("app/config"), 1, *b"x", ADA, NOW),
            Record::tombstone(key("app/config"), 2, ADA, NOW),
        ] {
            assert_eq!(record.clone().validate(NOW).map(ValidRecord::into_record), Ok(record));
        }
    }

    #[test]
    fn each_fault_has_its_error() {
        let blob = Record::blob(*b"hello", ADA, NOW);

        let forged = Record { content: Content::Blob((*b"hellp").into()), ..blob.clone() };
        let actual = BlobHash::of(b"hellp");
        assert_eq!(forged.validate(NOW), Err(RecordError::WrongHash { actual }));

        let misfiled = Record { key: RecordKey::Cell(key("k")), ..blob.clone() };
        assert_eq!(misfiled.validate(NOW), Err(RecordError::WrongKind));
        let misfiled = Record { content: Content::Tombstone { version: 1 }, ..blob.clone() };
        assert_eq!(misfiled.validate(NOW), Err(RecordError::WrongKind));

        let large = Record::cell(key("k"), 1, vec![0; RECORD_BYTES_MAX], ADA, NOW);
        assert!(large.validate(NOW).is_ok());
        let large = Record::cell(key("k"), 1, vec![0; RECORD_BYTES_MAX + 1], ADA, NOW);
        assert_eq!(large.validate(NOW), Err(RecordError::TooLarge { len: RECORD_BYTES_MAX + 1 }));

        let past = Record { expires: NOW, ..blob.clone() };
        assert_eq!(past.validate(NOW), Err(RecordError::Expired { since_ms: 0 }));

        // A publisher whose clock is ahead by the tolerance is heard; by more, not.
        let early = WallTime::from_unix_ms(NOW.unix_ms() - EXPIRY_TOLERANCE_MS);
        assert!(blob.clone().validate(early).is_ok());
        let early = WallTime::from_unix_ms(early.unix_ms() - 1);
        assert!(matches!(blob.validate(early), Err(RecordError::LivesTooLong { excess_ms: 1, .. })));
    }

    #[test]
    fn a_cell_cannot_ask_for_the_life_of_a_tombstone() {
        let life = NOW.plus_ms(TOMBSTONE_LIFE_MS);
        let cell = Record { expires: life, ..Record::cell(key("k"), 1, *b"x", ADA, NOW) };
        assert!(matches!(cell.validate(NOW), Err(RecordError::LivesTooLong { .. })));
    }

    #[test]
    fn versions_then_deletes_then_renewals() {
        let valid = |record: Record| record.validate(NOW).unwrap();
        let one = valid(Record::cell(key("k"), 1, *b"one", ADA, NOW));
        let two = valid(Record::cell(key("k"), 2, *b"two", ADA, NOW));
        let deleted = valid(Record::tombstone(key("k"), 2, ADA, NOW));
        let renewed = valid(Record { expires: NOW.plus_ms(RECORD_LIFE_MS_MAX + 1), ..(*two).clone() });
        assert!(two.supersedes(&one) && !one.supersedes(&two));
        assert!(renewed.supersedes(&two) && !two.supersedes(&renewed));
        assert!(deleted.supersedes(&renewed) && !renewed.supersedes(&deleted));
        assert!(!two.supersedes(&two.clone()));
    }

    proptest! {
        #[test]
        fn a_hostile_record_is_refused_or_kept_within_bounds(record in any_record(), now in any::<u64>()) {
            for now in [NOW, WallTime::from_unix_ms(now)] {
                if let Ok(valid) = record.clone().validate(now) {
                    prop_assert!(valid.expires > now);
                    prop_assert!(valid.expires <= now.plus_ms(TOMBSTONE_LIFE_MS + EXPIRY_TOLERANCE_MS));
                    if let (RecordKey::Blob(hash), Some(bytes)) = (&valid.key, valid.content.bytes()) {
                        prop_assert_eq!(*hash, BlobHash::of(bytes));
                    }
                }
            }
        }

        #[test]
        fn one_of_two_records_supersedes_unless_they_are_equal(a in any_record(), b in any_record()) {
            if let (Ok(a), Ok(b)) = (a.validate(NOW), b.validate(NOW)) {
                prop_assume!(a.key == b.key);
                prop_assert_eq!(a.supersedes(&b) || b.supersedes(&a), a != b);
                prop_assert!(!(a.supersedes(&b) && b.supersedes(&a)));
            }
        }

        #[test]
        fn a_key_has_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..96), name in "[a-zé/]{1,20}") {
            for bytes in [bytes.clone(), [CELL_PREFIX, &bytes].concat(), [BLOB_PREFIX, &bytes].concat()] {
                if let Some(key) = RecordKey::from_bytes(&bytes) {
                    prop_assert_eq!(key.to_bytes(), bytes);
                }
            }
            for key in [RecordKey::Cell(key(&name)), RecordKey::Blob(BlobHash::of(name.as_bytes()))] {
                prop_assert_eq!(RecordKey::from_bytes(&key.to_bytes()), Some(key));
            }
        }

        #[test]
        fn a_deleted_copy_cannot_return_after_its_tombstone(
            written_after in 0..EXPIRY_TOLERANCE_MS,
            deleter_behind in 0..EXPIRY_TOLERANCE_MS,
        ) {
            // The copy was taken by an owner whose clock is ahead, and asked for all that the tolerance gives. The
            // deleter's clock is behind. When the tombstone ends, the copy has ended too, at whatever owner holds both.
            let owner_clock = NOW.plus_ms(written_after);
            let deleter_clock = WallTime::from_unix_ms(owner_clock.unix_ms() - deleter_behind);
            let mut copy = Record::cell(key("k"), 1, *b"x", ADA, owner_clock);
            copy.expires = copy.expires.plus_ms(EXPIRY_TOLERANCE_MS);
            prop_assert!(copy.clone().validate(owner_clock).is_ok());
            let tombstone = Record::tombstone(key("k"), 2, ADA, deleter_clock);
            let is_expired = matches!(copy.validate(tombstone.expires), Err(RecordError::Expired { .. }));
            prop_assert!(is_expired);
        }
    }
}

//! The DHT: records that their owners hold.
//!
//! A *cell* is found by a name that people chose, a *blob* by the SHA-256 of its bytes. Every reply can tell whom the
//! daemon asked, how long each took and what it said ([`DhtAsked`]).

use crate::bytes::{self, Bytes};
use crate::cell::Content;
use crate::failure::{Failure, Kind};
use chinwag_base::NodeId;
use chinwag_base::key::printable;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The SHA-256 of a blob's bytes, which is its name. As JSON, 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobHash([u8; 32]);

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct BlobHashError;

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
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

/// All 64 digits. With `{:#}` the first eight, as people compare them: `9c1fa07e…`.
impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if f.alternate() { 4 } else { 32 };
        self.0[..shown].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(if f.alternate() { "…" } else { "" })
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

impl FromStr for BlobHash {
    type Err = BlobHashError;
    fn from_str(s: &str) -> Result<Self, BlobHashError> {
        // `from_str_radix` also takes a sign, which is not ours.
        if s.len() != 64 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BlobHashError);
        }
        let mut hash = [0; 32];
        for (i, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&s[2 * i..2 * i + 2], 16).map_err(|_| BlobHashError)?;
        }
        Ok(BlobHash(hash))
    }
}

impl TryFrom<String> for BlobHash {
    type Error = BlobHashError;
    fn try_from(s: String) -> Result<Self, BlobHashError> {
        s.parse()
    }
}

impl From<BlobHash> for String {
    fn from(hash: BlobHash) -> String {
        hash.to_string()
    }
}

/// `POST /v1/dht/write`: one change of one cell, durable on a quorum of its owners before the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtWrite {
    /// Which cell.
    pub key: String,
    /// How it changes.
    #[serde(flatten)]
    pub op: DhtOp,
    /// For how long what is put is kept, from now; for ever without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// How many owners must hold it durably; a majority without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
    /// How long to wait for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Whether the reply is to tell whom it was asked of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trace: bool,
}

/// A change of a cell, by its `"op"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum DhtOp {
    /// Gives a register a value.
    Set {
        /// The value.
        #[serde(flatten, with = "bytes::field")]
        value: Bytes,
    },
    /// Puts an element into a set.
    Add {
        /// The element.
        #[serde(flatten, with = "bytes::field")]
        value: Bytes,
    },
    /// Takes an element out of a set.
    Rm {
        /// The element.
        #[serde(flatten, with = "bytes::field")]
        value: Bytes,
    },
    /// Deletes what the key holds.
    Del {},
}

impl DhtWrite {
    /// A change with a majority for its quorum.
    pub fn new(key: impl Into<String>, op: DhtOp) -> Self {
        DhtWrite { key: key.into(), op, expires_ms: None, quorum: None, timeout_ms: None, trace: false }
    }

    /// Parses a request's body. A field that the operation has not is an error. (serde cannot deny unknown fields where
    /// an enum is flattened.)
    ///
    /// # Errors
    /// A [`Kind::BadRequest`] that says what is not understood.
    pub fn from_json(body: &[u8]) -> Result<Self, Failure> {
        const COMMON: [&str; 6] = ["op", "key", "expires_ms", "quorum", "timeout_ms", "trace"];
        let bad =
            |why: String| Failure::new(Kind::BadRequest, "the request's body is not understood").because(why);
        let json: serde_json::Value = serde_json::from_slice(body).map_err(|e| bad(e.to_string()))?;
        let has_value = json["op"] != "del";
        let is_known =
            |field: &str| COMMON.contains(&field) || has_value && matches!(field, "value" | "value_base64");
        if let Some(unknown) = json.as_object().into_iter().flat_map(|o| o.keys()).find(|f| !is_known(f)) {
            return Err(bad(format!("there is no field `{}` here", printable(unknown))));
        }
        serde_json::from_value(json).map_err(|e| bad(e.to_string()))
    }
}

/// `POST /v1/dht/write`. So many owners hold it durably.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DhtWritten {
    /// Which cell.
    pub key: String,
    /// How many members hold it durably, as far as they have said so.
    pub holders: u64,
    /// Of how many owners.
    pub owners: u64,
    /// How long it took.
    pub took_ms: f64,
    /// When it is gone; never without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
    /// Whom it was asked of, if the request wants to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<DhtAsked>,
}

/// The query of `GET /v1/dht/cells/KEY`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhtCellQuery {
    /// How many owners must answer; a majority without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
    /// Show all concurrent values of a register. Present without a value means yes: `?siblings`.
    #[serde(default, with = "crate::paths::flag", skip_serializing_if = "std::ops::Not::not")]
    pub siblings: bool,
    /// Tell whom it was asked of.
    #[serde(default, with = "crate::paths::flag", skip_serializing_if = "std::ops::Not::not")]
    pub trace: bool,
    /// How long to wait for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// `GET /v1/dht/cells/KEY`: what the owners hold, merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DhtCell {
    /// The key.
    pub key: String,
    /// What it holds.
    #[serde(flatten)]
    pub content: Content,
    /// When it is gone; null is never.
    pub expires_unix_ms: Option<u64>,
    /// How long it took.
    pub took_ms: f64,
    /// Whom it was asked of, if the request wants to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<DhtAsked>,
}

/// `GET /v1/dht/find/cell/KEY` and `GET /v1/dht/find/blob/HASH`: who holds a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DhtFound {
    /// What was looked for, as every door of the DHT spells it: `/chinwag/cell/NAME` or `/chinwag/blob/HASH`.
    pub record: String,
    /// How many owners it has.
    pub owners: u64,
    /// How many of those asked hold it.
    pub holders: u64,
    /// How long it took.
    pub took_ms: f64,
    /// Whom it was asked of, the nearest first.
    pub asked: Vec<DhtAsked>,
}

/// One member that was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DhtAsked {
    /// Its name.
    pub name: String,
    /// Its key.
    pub id: NodeId,
    /// How many members are nearer to the record.
    pub rank: u64,
    /// Whether it is one of the record's owners; else it stood in for one that was late.
    pub owner: bool,
    /// How long after the request began it was asked, in microseconds.
    pub after_us: u64,
    /// How long its answer took, in microseconds; null while there is none.
    pub took_us: Option<u64>,
    /// What it said, or did.
    pub verdict: DhtVerdict,
    /// Why it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What a member that was asked said, or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DhtVerdict {
    /// It has not answered yet.
    Waiting,
    /// It has not answered in the time that it usually takes, and somebody else was asked beside it.
    Late,
    /// There is no connection to it.
    Unreachable,
    /// It holds what was put, durably.
    Stored,
    /// It holds the record.
    Holds,
    /// It held less than others, and has been sent the rest.
    Stale,
    /// It knows that the record was deleted.
    Deleted,
    /// It holds nothing.
    Absent,
    /// It refused.
    Refused,
    /// A verdict that this build does not know.
    #[serde(other)]
    Unknown,
}

impl DhtVerdict {
    /// Whether it has the record.
    pub const fn holds(self) -> bool {
        matches!(self, DhtVerdict::Stored | DhtVerdict::Holds | DhtVerdict::Stale)
    }
}

impl fmt::Display for DhtVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DhtVerdict::Waiting => "waiting",
            DhtVerdict::Late => "late",
            DhtVerdict::Unreachable => "unreachable",
            DhtVerdict::Stored => "stored",
            DhtVerdict::Holds => "holds",
            DhtVerdict::Stale => "stale",
            DhtVerdict::Deleted => "deleted",
            DhtVerdict::Absent => "absent",
            DhtVerdict::Refused => "refused",
            DhtVerdict::Unknown => "unknown",
        })
    }
}

/// The query of `POST /v1/dht/blobs`, whose body is the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhtBlobQuery {
    /// For how long it is kept, from now; for ever without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// How many owners must hold it durably; a majority without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
    /// How long to wait for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// The query of `GET /v1/dht/blobs/HASH` and of the two `find`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhtTimeQuery {
    /// How long to wait for an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// `POST /v1/dht/blobs`. So many owners hold it durably.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DhtBlob {
    /// Its name.
    pub hash: BlobHash,
    /// How many members hold it durably, as far as they have said so.
    pub holders: u64,
    /// Of how many owners.
    pub owners: u64,
    /// How long it took.
    pub took_ms: f64,
    /// When it is gone; never without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
}

/// Records in one page.
pub const DHT_PAGE_MAX: u32 = 256;

/// The query of `GET /v1/dht/records`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhtRecordsQuery {
    /// Only cells whose key begins so, and blobs whose hash does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// At most so many; the daemon has a bound of its own, [`DHT_PAGE_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// `GET /v1/dht/records`: one page of what the answering daemon itself holds, in the order of the records' places. A page
/// can be empty and still not be the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtRecords {
    /// The records.
    pub records: Vec<DhtRow>,
    /// Where the next page starts (`?after=`); null on the last.
    pub next: Option<String>,
}

/// One record that the answering daemon holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtRow {
    /// Its key, if it is a cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its hash, if it is a blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<BlobHash>,
    /// What it is.
    pub kind: DhtKind,
    /// Its size, of a cell about.
    pub bytes: u64,
    /// How many members are nearer to it, if this one is an owner; null for a stray, which is dropped once all owners have it.
    pub rank: Option<u64>,
    /// When it is gone; null is never.
    pub expires_unix_ms: Option<u64>,
    /// The name of the member that put it.
    pub publisher: String,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DhtKind {
    /// Bytes under their hash.
    Blob,
    /// A cell with one value.
    Register,
    /// A cell with elements.
    Set,
    /// A cell of both types, put concurrently.
    Conflict,
    /// What is left of a deleted cell, until no old copy can come back.
    Tombstone,
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for DhtKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DhtKind::Blob => "blob",
            DhtKind::Register => "register",
            DhtKind::Set => "set",
            DhtKind::Conflict => "conflict",
            DhtKind::Tombstone => "deleted",
            DhtKind::Unknown => "unknown",
        })
    }
}

/// A file that was added, as `chinwag dht add --json` tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DhtAdded {
    /// Its name: the hash of the topmost blob of its tree.
    pub hash: BlobHash,
    /// Its length.
    pub bytes: u64,
    /// How many chunks it has.
    pub chunks: u64,
    /// How many blobs lead to them.
    pub manifests: u64,
    /// How long it took.
    pub took_ms: f64,
    /// When the first of its blobs is gone; never without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
}

/// A file that was written, as `chinwag dht cat --json` tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DhtGot {
    /// What was asked for.
    pub hash: BlobHash,
    /// How many bytes were written.
    pub bytes: u64,
    /// In how many chunks they came.
    pub chunks: u64,
    /// Whether it was a file; else one blob, as it is.
    pub is_file: bool,
    /// How long it took.
    pub took_ms: f64,
}

/// The DHT in `GET /v1/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DhtStatus {
    /// Records that this daemon holds.
    pub records: u64,
    /// Their size.
    pub bytes: u64,
    /// Members that can own records, this one among them.
    pub owners: u64,
    /// Records that are still to be compared with other owners or passed on to them.
    pub handing_off: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits() {
        let hash = BlobHash::of(b"hello");
        let text = hash.to_string();
        assert_eq!(text, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        assert_eq!(text.parse(), Ok(hash));
        assert_eq!(text.to_uppercase().parse(), Ok(hash), "as people may paste it");
        assert_eq!(format!("{hash:#}"), "2cf24dba…");
        for bad in ["", &text[1..], &format!("+{}", &text[1..]), &"ä".repeat(32), &format!("{text}0")] {
            assert_eq!(bad.parse::<BlobHash>(), Err(BlobHashError), "{bad}");
        }
    }

    #[test]
    fn a_field_that_the_operation_has_not_is_refused() {
        let refused = |body: &str| DhtWrite::from_json(body.as_bytes()).unwrap_err();
        for (body, word) in [
            (r#"{"op":"set","key":"k","value":"v","expire_ms":1}"#, "expire_ms"),
            (r#"{"op":"del","key":"k","value":"v"}"#, "value"),
            (r#"{"op":"jump","key":"k"}"#, "jump"),
            (r#"{"op":"set","key":"k"}"#, "value"),
            ("[]", "invalid type"),
        ] {
            let failure = refused(body);
            assert_eq!(failure.kind, Kind::BadRequest);
            assert!(failure.because[0].contains(word), "{failure}");
        }
    }
}

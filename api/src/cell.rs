//! Reading the replicated state.

use crate::bytes::{self, Bytes};
use crate::hex::Hex;
use crate::write::Token;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// The query of `GET /v1/cells/KEY`, or `/v1/cells/KEY/FIELD/FIELD` for a field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellQuery {
    /// Show all concurrent values of a register. Present without a value means yes: `?siblings`.
    #[serde(default, with = "crate::paths::flag", skip_serializing_if = "std::ops::Not::not")]
    pub siblings: bool,
    /// Answer only once this write is visible here; several, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Token>,
    /// How long to wait for `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// `GET /v1/cells/KEY`, or of a field of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The key.
    pub key: String,
    /// The field of it that was asked for: the names down to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub field: Vec<String>,
    /// What it holds.
    #[serde(flatten)]
    pub content: Content,
    /// When something of it goes by itself, the first if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
    /// Whether something of it goes with the daemon that wrote it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
    /// Names what it holds, for a write on the condition that it still does. Every write changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Hex>,
}

impl Cell {
    /// What a key holds, for as long as nobody writes to it.
    pub fn new(key: impl Into<String>, content: Content) -> Self {
        let (field, version, expires_unix_ms, ephemeral) = (Vec::new(), None, None, false);
        Cell { key: key.into(), field, content, version, expires_unix_ms, ephemeral }
    }
}

/// The type of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One value.
    Register,
    /// A number that increments add to.
    Counter,
    /// Elements.
    Set,
    /// On, or not there.
    Flag,
    /// Fields, each of some type.
    Map,
    /// Several types that were written concurrently.
    Conflict,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Register => "register",
            Kind::Counter => "counter",
            Kind::Set => "set",
            Kind::Flag => "flag",
            Kind::Map => "map",
            Kind::Conflict => "conflict",
        })
    }
}

/// What a cell holds, by its `"kind"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// One value; of several concurrent ones the winner.
    Register {
        /// The value.
        #[serde(flatten, with = "bytes::field")]
        value: Bytes,
        /// When `?siblings` asks for it: all concurrent values, the winner first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        siblings: Vec<Sibling>,
    },
    /// A counter's sum.
    Counter {
        /// The sum.
        count: Count,
    },
    /// A set's elements, sorted.
    Set {
        /// The elements.
        elements: Vec<Bytes>,
    },
    /// A flag that is on.
    Flag {
        /// That it is: always true.
        on: bool,
    },
    /// A map's fields, by name.
    Map {
        /// The fields.
        fields: BTreeMap<String, Content>,
    },
    /// Several types at once, written concurrently. `chinwag del --kind` resolves it.
    Conflict {
        /// Each of them.
        contents: Vec<Content>,
    },
}

impl Content {
    /// The bytes of its values, elements and names of fields, siblings not counted.
    pub fn bytes(&self) -> usize {
        match self {
            Content::Register { value, .. } => value.as_bytes().len(),
            Content::Counter { .. } => size_of::<Count>(),
            Content::Set { elements } => elements.iter().map(|element| element.as_bytes().len()).sum(),
            Content::Flag { .. } => size_of::<bool>(),
            Content::Map { fields } => {
                fields.iter().map(|(name, content)| name.len() + content.bytes()).sum()
            }
            Content::Conflict { contents } => contents.iter().map(Content::bytes).sum(),
        }
    }

    /// Its type.
    pub const fn kind(&self) -> Kind {
        match self {
            Content::Register { .. } => Kind::Register,
            Content::Counter { .. } => Kind::Counter,
            Content::Set { .. } => Kind::Set,
            Content::Flag { .. } => Kind::Flag,
            Content::Map { .. } => Kind::Map,
            Content::Conflict { .. } => Kind::Conflict,
        }
    }
}

/// One of several concurrent values of a register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sibling {
    /// The value.
    #[serde(flatten, with = "bytes::field")]
    pub value: Bytes,
    /// The name of the member that wrote it.
    pub origin: String,
    /// When, by its clock.
    pub at_unix_ms: u64,
    /// The write's dot, as the log has it: the writer, its process life, and which of its writes.
    #[serde(default)]
    pub dot: String,
}

/// A counter's sum. As JSON a number where 64 bits hold it, else a string of decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Count(pub i128);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0) {
            Ok(small) => s.serialize_i64(small),
            Err(_) => s.collect_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Small(i64),
            Text(String),
        }
        match Form::deserialize(d)? {
            Form::Small(n) => Ok(Count(n.into())),
            Form::Text(text) => text.parse().map(Count).map_err(serde::de::Error::custom),
        }
    }
}

/// The query of `GET /v1/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysQuery {
    /// Which keys: see [`Pattern`](crate::Pattern). All without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// At most so many; the daemon has a bound of its own, [`KEYS_PAGE_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only keys that sort after this one: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Answer only once this write is visible here; several, with commas between them. (`after` is a key here.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_write: Option<Token>,
    /// How long to wait for `after_write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Keys in one page: with keys of the largest size a page stays below a megabyte.
pub const KEYS_PAGE_MAX: u32 = 1_000;

/// `GET /v1/keys`: one page, sorted by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The keys.
    pub keys: Vec<KeyRow>,
    /// Where the next page starts (`?after=`); null on the last.
    pub next: Option<String>,
}

/// The query of `GET /v1/cells`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellsQuery {
    /// Only keys that begin with this. All without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Show all concurrent values of registers.
    #[serde(default, with = "crate::paths::flag", skip_serializing_if = "std::ops::Not::not")]
    pub siblings: bool,
    /// At most so many; the daemon has bounds of its own, [`CELLS_PAGE_MAX`] and [`CELLS_PAGE_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only keys that sort after this one: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Answer only once this write is visible here; several, with commas between them. (`after` is a key here.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_write: Option<Token>,
    /// How long to wait for `after_write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Cells in one page: they are taken while the daemon does nothing else, in well under a millisecond.
pub const CELLS_PAGE_MAX: u32 = 256;

/// Bytes of keys, values and elements after which a page takes no further cell. Only a cell that is larger makes it more.
pub const CELLS_PAGE_BYTES_MAX: usize = 256 * 1024;

/// `GET /v1/cells`: one page, sorted by key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cells {
    /// The cells.
    pub cells: Vec<Cell>,
    /// Where the next page starts (`?after=`); null on the last.
    pub next: Option<String>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// The key.
    pub key: String,
    /// The type of its cell.
    pub kind: Kind,
}

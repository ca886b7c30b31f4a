//! Keys and values of the replicated state.

use crate::codec;
use crate::limits::{KEY_BYTES_MAX, MAP_DEPTH_MAX, VALUE_BYTES_MAX};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not a key, or bytes are not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing at all.
    #[error("a key needs at least one character")]
    Empty,
    /// Too long.
    #[error("a key has at most {KEY_BYTES_MAX} bytes, this one has {len}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A character that could steer a terminal or turn the text around. It is shown escaped.
    #[error("a key has no control characters; this one has {} at byte {at}", found.escape_unicode())]
    Character {
        /// The first offending character.
        found: char,
        /// Where it stands, in bytes.
        at: usize,
    },
    /// A field without a name.
    #[error("a field needs at least one character")]
    FieldEmpty,
    /// Fields of fields of fields, and so on.
    #[error("fields are nested {MAP_DEPTH_MAX} deep at most")]
    TooDeep,
    /// A value over its limit.
    #[error("a value has at most {VALUE_BYTES_MAX} bytes, this one has {len}")]
    ValueTooLong {
        /// Its length in bytes.
        len: usize,
    },
}

/// Whether a character could steer a terminal: C0 and C1 controls, line separators, and the marks that turn the
/// direction of text around.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
}

/// Text made safe for a terminal: what could steer it is escaped.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(is_unprintable) {
        let escape = |c: char| -> String {
            if is_unprintable(c) { c.escape_default().to_string() } else { c.to_string() }
        };
        Cow::Owned(text.chars().map(escape).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// A key: `namespace/key`, UTF-8 without control characters. A key without a slash is in the namespace "".
/// Cloning is cheap.
///
/// A map has no cell of its own: each of its fields is a cell, whose key is the map's key and the names of the fields
/// down to it. So fields merge, travel and are repaired one by one. The parts stand with U+001F between them, which no
/// name can contain and which sorts before whatever one can: all that is beneath a key follows it directly, and two keys
/// have the same order as their parts. What a person types is parsed as a key without fields.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

/// As the texts compare. Said here, so that it is inlined: maps of keys do little else.
impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_bytes().cmp(other.0.as_bytes())
    }
}

impl PartialOrd for Key {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Key {
    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first slash, or "".
    pub fn namespace(&self) -> &str {
        self.root_str().split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The key without fields.
    pub fn root(&self) -> Key {
        if self.has_fields() { Key(self.root_str().into()) } else { self.clone() }
    }

    /// The key without fields, as text.
    pub fn root_str(&self) -> &str {
        self.0.split(FIELD).next().unwrap_or_default()
    }

    /// The names of the fields down to the one that it means; none for a key itself.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.split(FIELD).skip(1)
    }

    /// Whether it means a field.
    pub fn has_fields(&self) -> bool {
        self.0.as_bytes().contains(&(FIELD as u8))
    }

    /// The field of this name beneath it.
    ///
    /// # Errors
    /// A name that is empty or has control characters, too many levels, or more than [`KEY_BYTES_MAX`] in all.
    pub fn field(&self, name: &str) -> Result<Key, KeyError> {
        if let Some(at) = name.find(FIELD) {
            return Err(KeyError::Character { found: FIELD, at });
        }
        let key = Key(format!("{}{FIELD}{name}", self.0).into());
        key.check().map(|()| key)
    }

    /// What it is a field of, from the nearest up to the key itself.
    pub fn parents(&self) -> impl Iterator<Item = Key> + '_ {
        self.0.rmatch_indices(FIELD).map(|(at, _)| Key(self.0[..at].into()))
    }

    /// If this is beneath `other`: the first of the names that lead from there to here.
    pub fn step_from<'a>(&'a self, other: &Key) -> Option<&'a str> {
        let rest = self.0.strip_prefix(&*other.0)?.strip_prefix(FIELD)?;
        rest.split(FIELD).next()
    }

    fn check(&self) -> Result<(), KeyError> {
        if self.0.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong { len: self.0.len() });
        }
        // Most are plain words, and need no look at each character.
        if !self.0.is_empty() && self.0.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Ok(());
        }
        let mut at = 0;
        for (level, name) in self.0.split(FIELD).enumerate() {
            if name.is_empty() {
                return Err(if level == 0 { KeyError::Empty } else { KeyError::FieldEmpty });
            }
            if level > MAP_DEPTH_MAX {
                return Err(KeyError::TooDeep);
            }
            if let Some((within, found)) = name.char_indices().find(|(_, c)| is_unprintable(*c)) {
                return Err(KeyError::Character { found, at: at + within });
            }
            at += name.len() + FIELD.len_utf8();
        }
        Ok(())
    }
}

/// What stands between a key and the names of fields.
const FIELD: char = '\u{1f}';

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(s: &str) -> Result<Self, KeyError> {
        match s.find(FIELD) {
            Some(at) => Err(KeyError::Character { found: FIELD, at }),
            None => Key::try_from(s),
        }
    }
}

/// As it travels and is stored: fields too.
impl TryFrom<&str> for Key {
    type Error = KeyError;
    fn try_from(s: &str) -> Result<Self, KeyError> {
        let key = Key(s.into());
        key.check().map(|()| key)
    }
}

/// The same.
impl TryFrom<String> for Key {
    type Error = KeyError;
    fn try_from(s: String) -> Result<Self, KeyError> {
        Key::try_from(s.as_str())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// A text that is copied once.
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
                Key::try_from(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.0.to_string()
    }
}

/// `key`, or `key[field][field]`, for people.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.has_fields() {
            return f.pad(&self.0);
        }
        let fields: String = self.fields().map(|name| format!("[{name}]")).collect();
        f.pad(&format!("{}{fields}", self.root_str()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

/// A value: bytes, usually text. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Arc<[u8]>);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        codec::bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::new(codec::bytes::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Value {
    /// The value of these bytes.
    ///
    /// # Errors
    /// [`KeyError::ValueTooLong`] above [`VALUE_BYTES_MAX`].
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Result<Self, KeyError> {
        let bytes = bytes.into();
        if bytes.len() > VALUE_BYTES_MAX {
            return Err(KeyError::ValueTooLong { len: bytes.len() });
        }
        Ok(Value(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if the value is text.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl TryFrom<Vec<u8>> for Value {
    type Error = KeyError;
    fn try_from(bytes: Vec<u8>) -> Result<Self, KeyError> {
        Value::new(bytes)
    }
}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Vec<u8> {
        value.0.to_vec()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_text() {
            Some(text) => fmt::Debug::fmt(text, f),
            None => write!(f, "<{} bytes>", self.0.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_no_control_characters() {
        assert_eq!("greeting".parse::<Key>().unwrap().namespace(), "");
        assert_eq!("app/a/b".parse::<Key>().unwrap().namespace(), "app");
        assert_eq!("".parse::<Key>(), Err(KeyError::Empty));
        assert_eq!("k".repeat(513).parse::<Key>(), Err(KeyError::TooLong { len: 513 }));
        for bad in ["a\u{1b}[2J", "a\nb", "a\u{202e}b", "\u{9b}", "\u{feff}x"] {
            let error = bad.parse::<Key>().unwrap_err();
            assert!(!error.to_string().contains(is_unprintable), "{error}");
        }
        assert_eq!(printable("a\u{1b}[2J"), "a\\u{1b}[2J");
        assert_eq!(printable("größe"), "größe");
    }

    #[test]
    fn what_is_beneath_a_key_follows_it_directly() {
        let root: Key = "app/user".parse().unwrap();
        let name = root.field("name").unwrap();
        let city = root.field("address").unwrap().field("city").unwrap();
        assert_eq!(
            (name.root(), name.namespace(), name.to_string()),
            (root.clone(), "app", "app/user[name]".into())
        );
        assert_eq!(city.fields().collect::<Vec<_>>(), ["address", "city"]);
        assert_eq!(
            city.parents().map(|key| key.to_string()).collect::<Vec<_>>(),
            ["app/user[address]", "app/user"]
        );
        assert_eq!((city.step_from(&root), city.step_from(&name)), (Some("address"), None));
        assert_eq!(root.field("a/b").unwrap().root().field("x").unwrap().namespace(), "app");
        assert_eq!("plain".parse::<Key>().unwrap().field("a/b").unwrap().namespace(), "");
        let near: Vec<Key> =
            ["app/user", "app/user ", "app/user!", "app/user0"].map(|k| k.parse().unwrap()).into();
        let mut sorted = [near.clone(), vec![city.clone(), name.clone()]].concat();
        sorted.sort();
        assert_eq!(sorted, [&[root.clone(), city.clone(), name][..], &near[1..]].concat());

        assert_eq!(root.field(""), Err(KeyError::FieldEmpty));
        assert!(matches!(root.field("a\u{1f}b"), Err(KeyError::Character { .. })));
        assert!(matches!(root.field("a\nb"), Err(KeyError::Character { at: 10, .. })));
        assert!(
            matches!("app/user\u{1f}name".parse::<Key>(), Err(KeyError::Character { at: 8, .. })),
            "not typed"
        );
        let deep = (0..MAP_DEPTH_MAX).try_fold(root.clone(), |key, _| key.field("x")).unwrap();
        assert_eq!(deep.field("x"), Err(KeyError::TooDeep));
        assert!(matches!(root.field(&"x".repeat(KEY_BYTES_MAX)), Err(KeyError::TooLong { .. })));
        for travels in [&root, &city, &deep] {
            assert_eq!(codec::decode::<1_000, Key>(&codec::encode(travels)).as_ref(), Ok(travels));
        }
        for bad in ["", "\u{1f}", "a\u{1f}", "\u{1f}a", "a\u{1f}\u{1f}b"] {
            assert!(codec::decode::<1_000, Key>(&codec::encode(&bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_value_is_encoded_as_its_bytes_and_a_lying_length_is_refused() {
        for len in [0, 1, 250, 251, 5_000, VALUE_BYTES_MAX] {
            let value = Value::new(vec![7; len]).unwrap();
            let bytes = codec::encode(&value);
            assert_eq!(bytes, codec::encode(&vec![7_u8; len]), "as a sequence of numbers is");
            assert_eq!(codec::decode::<100_000, Value>(&bytes), Ok(value));
        }
        let too_long = codec::encode(&vec![7_u8; VALUE_BYTES_MAX + 1]);
        assert!(codec::decode::<100_000, Value>(&too_long).is_err());
        // "Four thousand million bytes follow", and none do.
        assert!(codec::decode::<100_000, Value>(&[252, 0xff, 0xff, 0xff, 0xff]).is_err());
        let json = serde_json_like(&[1, 2, 3]);
        assert_eq!(json.as_bytes(), [1, 2, 3]);
    }

    /// Formats without a type for bytes give a sequence of numbers.
    fn serde_json_like(numbers: &[u8]) -> Value {
        use serde::de::value::{Error, SeqDeserializer};
        let seq = SeqDeserializer::<_, Error>::new(numbers.iter().copied());
        Value::deserialize(seq).unwrap()
    }

    #[test]
    fn values_are_bounded() {
        assert!(Value::new(vec![0; VALUE_BYTES_MAX]).is_ok());
        assert!(matches!(Value::new(vec![0; VALUE_BYTES_MAX + 1]), Err(KeyError::ValueTooLong { .. })));
    }
}

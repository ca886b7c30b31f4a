//! Keys and values of the replicated state.

use crate::codec;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
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
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

impl Key {
    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first slash, or "".
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }
}

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(s: &str) -> Result<Self, KeyError> {
        if s.is_empty() {
            return Err(KeyError::Empty);
        }
        if s.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong { len: s.len() });
        }
        match s.char_indices().find(|(_, c)| is_unprintable(*c)) {
            Some((at, found)) => Err(KeyError::Character { found, at }),
            None => Ok(Key(s.into())),
        }
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;
    fn try_from(s: String) -> Result<Self, KeyError> {
        s.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.0.to_string()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
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

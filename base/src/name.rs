//! Names that people type: of members and of overlays.

use crate::limits::{NAME_BYTES_MAX, OVERLAY_NAME_BYTES_MAX};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("a name needs at least one character")]
    Empty,
    /// Too long.
    #[error("a name has at most {max} bytes, this one has {len}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A character that names do not have. It is shown escaped.
    #[error("a name has {allowed}, not {}", found.escape_default())]
    Character {
        /// The first offending character.
        found: char,
        /// What is allowed.
        allowed: &'static str,
    },
}

/// A member's name: letters, digits, `-`, `_` and `.`, starting with a letter or digit. Names are for people; ids
/// decide identity.
///
/// Events, views and tables all carry names, so a clone shares the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The name's text. It has no control characters and no spaces, so it can be printed as it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let first = s.chars().next().ok_or(NameError::Empty)?;
        if s.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { len: s.len(), max: NAME_BYTES_MAX });
        }
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::Character { found: first, allowed: "a letter or a digit first" });
        }
        match s.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.".contains(*c)) {
            Some(found) => {
                Err(NameError::Character { found, allowed: "the letters a to z, digits, '-', '_' and '.'" })
            }
            None => Ok(Name(s.into())),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(s: String) -> Result<Self, NameError> {
        s.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.as_str().to_owned()
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        /// Parses the text where it lies.
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
                text.parse().map_err(E::custom)
            }
        }

        d.deserialize_str(Text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An overlay's name: lower-case letters and digits, starting with a letter. It stands inside invite tokens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OverlayName(String);

impl OverlayName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OverlayName {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let first = s.chars().next().ok_or(NameError::Empty)?;
        if s.len() > OVERLAY_NAME_BYTES_MAX {
            return Err(NameError::TooLong { len: s.len(), max: OVERLAY_NAME_BYTES_MAX });
        }
        if !first.is_ascii_lowercase() {
            return Err(NameError::Character { found: first, allowed: "a lower-case letter first" });
        }
        match s.chars().find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit()) {
            Some(found) => Err(NameError::Character { found, allowed: "lower-case letters and digits" }),
            None => Ok(OverlayName(s.to_owned())),
        }
    }
}

impl TryFrom<String> for OverlayName {
    type Error = NameError;
    fn try_from(s: String) -> Result<Self, NameError> {
        s.parse()
    }
}

impl From<OverlayName> for String {
    fn from(name: OverlayName) -> String {
        name.0
    }
}

impl fmt::Display for OverlayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        for good in ["alpha", "ada-laptop", "node_7.lan", "7", &"x".repeat(63)] {
            assert_eq!(good.parse::<Name>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        assert_eq!("".parse::<Name>(), Err(NameError::Empty));
        assert!(matches!("x".repeat(64).parse::<Name>(), Err(NameError::TooLong { len: 64, max: 63 })));
        for bad in ["a b", "a\u{1b}[31m", "naïve", "-a", "a/b", "a\n"] {
            let error = bad.parse::<Name>().unwrap_err();
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
        assert!("Home".parse::<OverlayName>().is_err());
        assert!("home-2".parse::<OverlayName>().is_err());
        assert!("home2".parse::<OverlayName>().is_ok());
    }
}

//! Tags: short words that a member says of itself, such as `role=db`, for people and tools to choose by.

use crate::limits::{TAG_BYTES_MAX, TAGS_MAX};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A member's tags: names and values.
pub type Tags = BTreeMap<String, String>;

/// Why a text is not a tag, or tags are too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// No `=`.
    #[error("a tag is written NAME=VALUE, such as role=db")]
    Form,
    /// The name is empty, too long, or has other characters.
    #[error("a tag's name has 1 to {TAG_BYTES_MAX} letters, digits, '-', '_' and '.', which {} is not", .0.escape_debug())]
    Name(String),
    /// The value is too long, or has characters that tags do not have.
    #[error("a tag's value has at most {TAG_BYTES_MAX} bytes without spaces, commas and control characters, which {} is not", .0.escape_debug())]
    Value(String),
    /// More tags than a member may have.
    #[error("a member has at most {TAGS_MAX} tags, these are {0}")]
    TooMany(usize),
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// What it is about.
    pub name: String,
    /// What it says.
    pub value: String,
}

impl Tag {
    /// A tag of these two words.
    ///
    /// # Errors
    /// If they are too long or have characters that tags do not have.
    pub fn new(name: &str, value: &str) -> Result<Self, TagError> {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > TAG_BYTES_MAX || !name.chars().all(is_of_name) {
            return Err(TagError::Name(name.to_owned()));
        }
        let is_of_value = |c: char| !c.is_control() && !c.is_whitespace() && c != ',';
        if value.len() > TAG_BYTES_MAX || !value.chars().all(is_of_value) {
            return Err(TagError::Value(value.to_owned()));
        }
        Ok(Tag { name: name.to_owned(), value: value.to_owned() })
    }

    /// Whether it is one of these.
    pub fn is_in(&self, tags: &Tags) -> bool {
        tags.get(&self.name) == Some(&self.value)
    }
}

impl FromStr for Tag {
    type Err = TagError;
    fn from_str(s: &str) -> Result<Self, TagError> {
        let (name, value) = s.split_once('=').ok_or(TagError::Form)?;
        Tag::new(name, value)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Checks tags that came as a table.
///
/// # Errors
/// The first that is none, or that they are too many.
pub fn check(tags: &Tags) -> Result<(), TagError> {
    if tags.len() > TAGS_MAX {
        return Err(TagError::TooMany(tags.len()));
    }
    tags.iter().try_for_each(|(name, value)| Tag::new(name, value).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_name_and_a_value() {
        let tag: Tag = "role=db".parse().unwrap();
        assert_eq!(tag, Tag { name: "role".into(), value: "db".into() });
        assert_eq!(tag.to_string(), "role=db");
        assert_eq!("url=http://a?b=c".parse::<Tag>().unwrap().value, "http://a?b=c");
        assert_eq!("empty=".parse::<Tag>().unwrap().value, "");
        let tags = Tags::from([("role".into(), "db".into())]);
        assert!(tag.is_in(&tags) && !Tag::new("role", "web").unwrap().is_in(&tags));
    }

    #[test]
    fn what_is_no_tag_is_told() {
        assert_eq!("role".parse::<Tag>(), Err(TagError::Form));
        for name in ["", "a b", "ü", &"a".repeat(TAG_BYTES_MAX + 1)] {
            assert_eq!(Tag::new(name, "v"), Err(TagError::Name(name.to_owned())));
        }
        for value in ["a b", "a,b", "a\nb", "\u{1b}[2J", &"a".repeat(TAG_BYTES_MAX + 1)] {
            assert_eq!(Tag::new("n", value), Err(TagError::Value(value.to_owned())));
        }
        assert!(!TagError::Value("\u{1b}[2J".into()).to_string().contains('\u{1b}'));
        let many: Tags = (0..=TAGS_MAX).map(|n| (format!("t{n}"), String::new())).collect();
        assert_eq!(check(&many), Err(TagError::TooMany(TAGS_MAX + 1)));
        assert_eq!(check(&Tags::from([("a b".into(), String::new())])), Err(TagError::Name("a b".into())));
    }
}

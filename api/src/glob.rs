//! Which keys: `*` is any run of characters, slashes too, and `?` is any one character.
//!
//! Nothing else is special, so that a key with brackets needs no escape. Matching takes at most pattern times key
//! steps and no memory, whatever a client sends: on a mismatch it goes back to the last star only, because an
//! earlier star cannot match more than the last one can make up for.

use chinwag_base::limits::KEY_BYTES_MAX;
use std::fmt;
use std::str::FromStr;

/// A pattern for whole keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a pattern has at most {KEY_BYTES_MAX} bytes, this one has {len}")]
pub struct PatternError {
    /// Its length in bytes.
    pub len: usize,
}

impl Pattern {
    /// The pattern of all keys.
    pub fn all() -> Self {
        Pattern("*".into())
    }

    /// Whether it names one key and no other.
    pub fn is_exact(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// What every matching key starts with: a sorted map is scanned from there.
    pub fn prefix(&self) -> &str {
        self.0.split(['*', '?']).next().unwrap_or_default()
    }

    /// Whether the whole key matches.
    pub fn matches(&self, key: &str) -> bool {
        let (mut pattern, mut text) = (self.0.as_str(), key);
        // After the last star: the pattern from there, and the text that the star has not taken yet.
        let mut retry: Option<(&str, &str)> = None;
        loop {
            let mut rest = pattern.chars();
            match rest.next() {
                Some('*') => {
                    pattern = rest.as_str();
                    retry = Some((pattern, text));
                    continue;
                }
                Some(wanted) => {
                    let mut left = text.chars();
                    if left.next().is_some_and(|found| wanted == '?' || wanted == found) {
                        (pattern, text) = (rest.as_str(), left.as_str());
                        continue;
                    }
                }
                None if text.is_empty() => return true,
                None => {}
            }
            // A mismatch: let the last star take one character more.
            let Some((after_star, untaken)) = retry else { return false };
            let mut untaken = untaken.chars();
            if untaken.next().is_none() {
                return false;
            }
            (pattern, text) = (after_star, untaken.as_str());
            retry = Some((pattern, text));
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;
    fn from_str(s: &str) -> Result<Self, PatternError> {
        if s.len() > KEY_BYTES_MAX {
            return Err(PatternError { len: s.len() });
        }
        Ok(Pattern(s.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, key: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(key)
    }

    /// The definition, word by word.
    fn defined(pattern: &[char], key: &[char]) -> bool {
        match (pattern.first(), key.first()) {
            (None, None) => true,
            (Some('*'), _) => defined(&pattern[1..], key) || (!key.is_empty() && defined(pattern, &key[1..])),
            (Some('?'), Some(_)) => defined(&pattern[1..], &key[1..]),
            (Some(p), Some(k)) if p == k => defined(&pattern[1..], &key[1..]),
            _ => false,
        }
    }

    #[test]
    fn stars_take_any_run_and_question_marks_one_character() {
        assert!(matches("greet*", "greeting"));
        assert!(matches("greet*", "greet"));
        assert!(!matches("greet*", "Greet"));
        assert!(matches("app/*/name", "app/a/b/name"));
        assert!(matches("gr??e", "größe".replace("ß", "s").as_str()));
        assert!(matches("?", "ß"));
        assert!(!matches("?", ""));
        assert!(!matches("", "a"));
        assert!(matches("a[1]", "a[1]"), "brackets are not special");
        assert!(matches("*", ""));
    }

    #[test]
    fn prefixes_bound_the_scan() {
        assert_eq!("app/*".parse::<Pattern>().unwrap().prefix(), "app/");
        assert_eq!("a?b".parse::<Pattern>().unwrap().prefix(), "a");
        assert!("app/a".parse::<Pattern>().unwrap().is_exact());
        assert!("x".repeat(KEY_BYTES_MAX + 1).parse::<Pattern>().is_err());
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = "*a".repeat(256);
        assert!(!matches(&pattern, &"a".repeat(255)), "one a too few");
        assert!(!matches(&pattern, &format!("{}b", "a".repeat(511))));
    }

    proptest! {
        #[test]
        fn matching_is_what_is_defined(pattern in "[ab*?]{0,8}", key in "[ab]{0,8}") {
            let (p, k): (Vec<char>, Vec<char>) = (pattern.chars().collect(), key.chars().collect());
            prop_assert_eq!(matches(&pattern, &key), defined(&p, &k));
        }
    }
}

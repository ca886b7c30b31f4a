//! Sessions at a terminal, as text: what is typed, and what must come back.
//!
//! ```text
//! $ chinwag get greting              what is typed; 'quotes' keep spaces in a word
//! a line of standard output          [..] stands for anything within the line
//! ! a line of standard error
//! ? 1                                the exit code, if it is not 0
//! ```
//!
//! Runs of spaces count as one, because the width of a table's columns depends on times and ports.

use crate::harness::{Ground, Told};

/// Types every command of `session` and compares all that comes back.
pub(crate) async fn plays(ground: &Ground, session: &str) {
    let (mut expected, mut actual) = (Vec::new(), Vec::new());
    for line in session.lines().map(str::trim).filter(|line| !line.is_empty()) {
        expected.push(line.to_owned());
        if let Some(typed) = line.strip_prefix("$ chinwag ") {
            actual.push(line.to_owned());
            actual.extend(shown(&ground.cli(words(typed)).await));
        }
    }
    let fits = expected.len() == actual.len() && expected.iter().zip(&actual).all(|(e, a)| matches(e, a));
    let first = expected.iter().zip(&actual).find(|(e, a)| !matches(e, a));
    assert!(fits, "first difference: {first:#?}\n--- it went:\n{}", actual.join("\n"));
}

/// What came back, in the form of a session.
fn shown(told: &Told) -> Vec<String> {
    let out = told.out.lines().map(str::to_owned);
    let err = told.err.lines().map(|line| format!("! {line}"));
    let code = (told.code != 0).then(|| format!("? {}", told.code));
    out.chain(err).chain(code).collect()
}

/// The words of a command line.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, piece) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(piece.to_owned());
        } else {
            words.extend(piece.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Whether `text` is `pattern`, where `[..]` in the pattern is anything.
fn matches(pattern: &str, text: &str) -> bool {
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let (pattern, text) = (squeeze(pattern), squeeze(text));
    let mut pieces = pattern.split("[..]");
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod checked {
    use super::*;

    #[test]
    fn a_pattern_is_exact_but_for_its_wildcards() {
        for (pattern, text) in [
            ("a", "a"),
            ("a [..] ms", "a 12.5 ms"),
            ("[..]", "anything"),
            ("x[..]y[..]z", "x1y2y3z"),
            ("NAME STATE", "NAME    STATE"),
            ("  try: it", "try: it"),
        ] {
            assert!(matches(pattern, text), "{pattern} is {text}");
        }
        for (pattern, text) in [
            ("a", "b"),
            ("a", "ab"),
            ("a", ""),
            ("a [..] ms", "a 12.5 s"),
            ("a [..] ms", "b 12.5 ms"),
            ("x[..]y[..]z", "x1z2y"),
            ("ab", "a b"),
        ] {
            assert!(!matches(pattern, text), "{pattern} is not {text}");
        }
        assert_eq!(words("set k 'a b' c"), ["set", "k", "a b", "c"]);
    }

    #[tokio::test]
    async fn a_session_that_went_otherwise_is_noticed() {
        let ground = Ground::new();
        plays(&ground, "$ chinwag version\nchinwag [..], protocol 1").await;
        for wrong in [
            "$ chinwag version\nchinwag [..], protocol 2",
            "$ chinwag version",
            "$ chinwag version\nchinwag [..], protocol 1\n? 1",
            "$ chinwag version\nchinwag [..], protocol 1\nand more",
            "$ chinwag version --json\nchinwag [..], protocol 1",
        ] {
            let ground = Ground::new();
            let played = tokio::spawn(async move { plays(&ground, wrong).await });
            assert!(played.await.is_err(), "{wrong}");
        }
    }
}

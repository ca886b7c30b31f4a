//! Patterns of keys, against their definition: a line with the pattern, and the key after it.
#![no_main]

use chinwag_api::Pattern;
use chinwag_fuzz::{printed, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((pattern, key)) = text(bytes).and_then(|text| text.split_once('\n')) else { return };
    let Some(parsed) = printed::<Pattern>(pattern) else { return };
    let matches = parsed.matches(key);
    assert_eq!(matches, defined(pattern, key));
    assert!(!matches || key.starts_with(parsed.prefix()), "a scan begins at the prefix");
    assert!(!parsed.is_exact() || matches == (pattern == key));
});

/// By dynamic programming: which beginnings of the key each beginning of the pattern matches.
fn defined(pattern: &str, key: &str) -> bool {
    let key: Vec<char> = key.chars().collect();
    let mut matched = vec![false; key.len() + 1];
    matched[0] = true;
    for wanted in pattern.chars() {
        let mut next = vec![false; key.len() + 1];
        if wanted == '*' {
            next[0] = matched[0];
            for n in 0..key.len() {
                next[n + 1] = next[n] || matched[n + 1];
            }
        } else {
            for n in 0..key.len() {
                next[n + 1] = matched[n] && (wanted == '?' || wanted == key[n]);
            }
        }
        matched = next;
    }
    matched[key.len()]
}

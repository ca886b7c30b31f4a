//! What people and tools type, and what stands in files and JSON: names, keys, addresses, ids, hashes, waits, patterns.
//! All are tried on one text. What is taken prints as something that reads the same; what is refused is told in words
//! that cannot steer a terminal.
#![no_main]

use chinwag_api::{BlobHash, Bytes, Hex, Wait};
use chinwag_base::key::{is_unprintable, printable};
use chinwag_base::{Address, Key, Name, NodeId, OverlayName};
use chinwag_fuzz::{printed, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Bytes::from(bytes.to_vec()).to_string();
    let Some(text) = text(bytes) else { return };
    assert!(!printable(text).contains(is_unprintable));
    if let Some(name) = printed::<Name>(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Some(name) = printed::<OverlayName>(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Some(key) = printed::<Key>(text) {
        assert!(key.as_str() == text && text.starts_with(key.namespace()));
    }
    if let Some(id) = printed::<NodeId>(text) {
        assert_eq!(id.to_string(), text, "one node, one text");
        let _ = id.short();
    }
    if let Some(hash) = printed::<BlobHash>(text) {
        assert!(hash.to_string().eq_ignore_ascii_case(text));
    }
    if let Some(hex) = printed::<Hex>(text) {
        assert!(hex.to_string().eq_ignore_ascii_case(text));
    }
    printed::<Address>(text);
    printed::<Wait>(text);
    let quoted = Bytes::from(text).to_string();
    assert!(!quoted.contains(is_unprintable));
    let escaped = chinwag_api::paths::escape(text);
    assert!(escaped.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
});

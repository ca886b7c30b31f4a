//! Giving back the room that a store does not need.

use serde::{Deserialize, Serialize};

/// What `POST /v1/compact` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Bytes of the store's file before.
    pub before_bytes: u64,
    /// And after.
    pub after_bytes: u64,
    /// Entries of the log that are still kept.
    pub log_entries: u64,
    /// The members that lack some of them, by name.
    pub log_for: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::to_json;

    #[test]
    fn its_text_stands() {
        let compacted =
            Compacted { before_bytes: 9, after_bytes: 5, log_entries: 2, log_for: vec!["gamma".into()] };
        assert_eq!(
            to_json(&compacted),
            r#"{"schema":"chinwag.compacted/1","before_bytes":9,"after_bytes":5,"log_entries":2,"log_for":["gamma"]}"#
        );
    }
}

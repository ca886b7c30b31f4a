//! Whether a store is what it should be.

use crate::{Finding, Hex};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `GET /v1/check`, and what `chinwag check --json` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The daemon whose store was checked; null where none runs on it.
    pub name: Option<String>,
    /// The data directory.
    pub data: PathBuf,
    /// Whether nobody has to do anything.
    pub healthy: bool,
    /// What the store holds; null where there is none, or where it could not be read.
    pub store: Option<CheckedStore>,
    /// What the records of the DHT are; null where there are none, or where they could not be read.
    pub records: Option<CheckedRecords>,
    /// All that was checked.
    pub findings: Vec<Finding>,
}

/// What a check read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedStore {
    /// Rows of the log.
    pub log_rows: u64,
    /// Rows with cells.
    pub cell_rows: u64,
    /// Rows beside the cells: clock, notes and the like, each twice.
    pub checkpoint_rows: u64,
    /// Rows of the address book.
    pub member_rows: u64,
    /// Rows with invites.
    pub invite_rows: u64,
    /// Rows that were found damaged at earlier starts and are kept apart.
    pub quarantined_rows: u64,
    /// Rows that are damaged now.
    pub damaged_rows: u64,
    /// Cells, among them those in which nothing is live.
    pub cells: u64,
    /// Keys that are live.
    pub keys: u64,
    /// Notes on writes that were removed before they came.
    pub notes: u64,
    /// Cells that were damaged before and wait for another member to repair them.
    pub unrepaired: u64,
    /// The position of the newest row of the log.
    pub position: u64,
    /// The digest of the state that a start makes of the store.
    pub digest: Hex,
    /// The digest of the clock that goes with it.
    pub clock_digest: Hex,
}

/// What a check found among the records of the DHT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedRecords {
    /// Rows of the index.
    pub rows: u64,
    /// Blobs among them.
    pub blobs: u64,
    /// Whether each blob was read and compared with its hash.
    pub blobs_read: bool,
    /// Rows that were found damaged at earlier starts and are kept apart.
    pub quarantined_rows: u64,
    /// Rows and blobs that are damaged now.
    pub damaged: u64,
}

/// The query of `GET /v1/check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckQuery {
    /// Read every blob of the DHT as well, and compare it with its hash.
    #[serde(default, with = "crate::paths::flag")]
    pub blobs: bool,
}

impl Check {
    /// A report of these findings.
    pub fn new(
        name: Option<String>,
        data: PathBuf,
        store: Option<CheckedStore>,
        records: Option<CheckedRecords>,
        findings: Vec<Finding>,
    ) -> Self {
        let healthy = !findings.iter().any(|finding| finding.verdict.needs_action());
        Check { name, data, healthy, store, records, findings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::to_json;

    #[test]
    fn a_check_is_healthy_unless_somebody_has_to_do_something() {
        let check = |findings| Check::new(None, "/d".into(), None, None, findings);
        assert!(check(vec![Finding::good("rows", "a"), Finding::unknown("live", "b")]).healthy);
        let check = check(vec![Finding::bad("rows", "one is damaged", "chinwag leave")]);
        assert_eq!(
            to_json(&check),
            r#"{"schema":"chinwag.check/1","name":null,"data":"/d","healthy":false,"store":null,"records":null,"findings":[{"check":"rows","verdict":"bad","message":"one is damaged","tries":["chinwag leave"]}]}"#
        );
        assert_eq!(serde_json::from_str::<Check>(&to_json(&check)).unwrap(), check);
    }
}

//! What happens to records that people are told.

use crate::record::RecordKey;
use chinwag_base::NodeId;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A peer's record was not taken.
    Refused {
        /// Who sent it; `None` if it came from beside the overlay.
        from: Option<NodeId>,
        /// Which.
        key: RecordKey,
        /// Why.
        why: String,
    },
    /// A blob's bytes are not what its name says, or cannot be read. The other owners are asked for them.
    Damaged {
        /// Which.
        key: RecordKey,
        /// What was found.
        why: String,
    },
    /// A damaged blob is whole again.
    Repaired {
        /// Which.
        key: RecordKey,
    },
    /// No other owner had a damaged blob's bytes. The comparison of owners goes on looking.
    Irreparable {
        /// Which.
        key: RecordKey,
    },
    /// A read found owners that held less than others, and has sent them the rest.
    ReadRepaired {
        /// Which record.
        key: RecordKey,
        /// How many owners.
        owners: usize,
    },
    /// Records that another owner lacked were passed on to it.
    HandedOff {
        /// To whom.
        to: NodeId,
        /// How many records.
        records: usize,
    },
    /// Records that this node no longer owns were dropped, because every owner has them.
    Dropped {
        /// How many.
        records: usize,
    },
    /// Records have ended.
    Expired {
        /// How many.
        records: usize,
    },
}

//! Forgetting a member that will not return.

use crate::MemberState;
use chinwag_base::NodeId;
use serde::{Deserialize, Serialize};

/// `POST /v1/forget`: forget a member that is down or has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetRequest {
    /// Its name or its id.
    pub member: String,
}

/// What it answers: the member is forgotten here, and the order is on its way to the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Its name, or its id where no name is known any more.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// What it was held for; null if it was not shown any more.
    pub state: Option<MemberState>,
}

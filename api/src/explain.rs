//! Why a member is held for what it is.

use crate::member::{Member, MemberState};
use serde::{Deserialize, Serialize};

/// `GET /v1/explain/NAME`: a member, and the evidence about it as one daemon has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// What this daemon believes of it now.
    pub member: Member,
    /// The phi at which a member is held for down.
    pub phi_down: f64,
    /// What counted of late, oldest first.
    pub evidence: Vec<Clue>,
}

/// One thing that counted, and how often in a row of rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clue {
    /// How long ago it was first so.
    pub first_ms: u64,
    /// How long ago it was last so.
    pub last_ms: u64,
    /// How often.
    pub times: u32,
    /// What.
    #[serde(flatten)]
    pub what: ClueKind,
}

/// What counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
#[non_exhaustive]
pub enum ClueKind {
    /// A ping of this daemon was not answered in time.
    Unanswered {
        /// In which time.
        rto_ms: f64,
    },
    /// The connection broke.
    Broken,
    /// A dial came to nothing.
    NotReached {
        /// Why: `refused`, `timed_out`, `denied` or `other`.
        why: String,
    },
    /// Others were asked to ping it.
    Asked {
        /// Who.
        members: Vec<String>,
    },
    /// What one of them found.
    Found {
        /// Who.
        by: String,
        /// `life`, `silent` or `refused`.
        found: String,
    },
    /// Another says that it is down. This daemon looked for itself before it believed that.
    Told {
        /// Who.
        by: String,
        /// The phi of that verdict.
        phi: f64,
    },
    /// It was suspected or held for down from here on.
    Accused {
        /// Which of both.
        state: MemberState,
        /// Whose verdict it was.
        by: String,
        /// Its phi.
        phi: f64,
    },
    /// Given up after a long silence, because too few others could be asked.
    GivenUp {
        /// How long it had been silent.
        silent_ms: u64,
    },
    /// This daemon itself did not run for a while: what it had collected counted no more.
    Voided,
    /// It was heard.
    Answered,
    /// It said itself that it is alive.
    Alive {
        /// At which incarnation.
        incarnation: u64,
    },
    /// Others held it for alive.
    Vouched,
    /// It said goodbye.
    Left,
    /// Something that this build does not know.
    #[serde(other)]
    Unknown,
}

//! The rules that the model runs: the daemon's, unless a mutant replaces one.

use chinwag_base::{Generation, Incarnation};
use chinwag_membership::Version;
use chinwag_membership::rumour::{self, Known, OnClaim, OnRecord, OnSelf};

/// The rules for rumours. What is provided is what the daemon runs.
pub trait Rules: Clone + Send + Sync + 'static {
    /// Decides on a record.
    fn on_record(&self, known: Known, heard: Version) -> OnRecord {
        rumour::on_record(known, heard)
    }

    /// Whether a record is accepted; `is_genuine` is what its signature says.
    fn accepts(&self, is_genuine: bool) -> bool {
        is_genuine
    }

    /// Decides on a claim.
    fn on_claim(&self, known: Known, heard: Version) -> OnClaim {
        rumour::on_claim(known, heard)
    }

    /// Decides on a belief about oneself.
    fn on_self(&self, own: Version, heard: Version) -> OnSelf {
        rumour::on_self(own, heard)
    }

    /// The incarnation that refutes an accusation.
    fn refutation(&self, own: Version, accused: Incarnation) -> Option<Incarnation> {
        rumour::refutation(own, accused)
    }

    /// The generation of the process that starts after one.
    fn next_generation(&self, last: Generation) -> Generation {
        Generation::new(last.get() + 1)
    }

    /// Whether an observer may clear a suspect by itself.
    fn may_vouch(&self) -> bool {
        false
    }
}

/// The daemon's rules.
#[derive(Debug, Clone, Copy)]
pub struct Sound;

impl Rules for Sound {}

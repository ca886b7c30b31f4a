//! Rules that are wrong in one place each. The checker must find a counterexample to every one.

use super::rules::Rules;
use chinwag_base::{Generation, Incarnation};
use chinwag_membership::rumour::{self, Known, OnClaim, OnRecord, OnSelf};
use chinwag_membership::{State, Version};

/// At equal incarnation, alive overrides suspect.
#[derive(Debug, Clone, Copy)]
pub struct AliveOverridesSuspect;

impl Rules for AliveOverridesSuspect {
    fn on_record(&self, known: Known, heard: Version) -> OnRecord {
        match known {
            Known::Here(version)
                if version.state == State::Suspect && version.is_same_incarnation(&heard) =>
            {
                OnRecord::Believe
            }
            _ => rumour::on_record(known, heard),
        }
    }
}

/// Records are believed whoever signed them.
#[derive(Debug, Clone, Copy)]
pub struct SignaturesUnchecked;

impl Rules for SignaturesUnchecked {
    fn accepts(&self, _: bool) -> bool {
        true
    }
}

/// Whoever hears a suspect clears it, in its name.
#[derive(Debug, Clone, Copy)]
pub struct AnyoneRefutes;

impl Rules for AnyoneRefutes {
    fn may_vouch(&self) -> bool {
        true
    }
}

/// A suspect refutes with the incarnation that is accused.
#[derive(Debug, Clone, Copy)]
pub struct SameIncarnationRefutes;

impl Rules for SameIncarnationRefutes {
    fn refutation(&self, own: Version, accused: Incarnation) -> Option<Incarnation> {
        rumour::refutation(own, accused).map(|_| own.incarnation)
    }
}

/// A claim is believed about an incarnation above the known one.
#[derive(Debug, Clone, Copy)]
pub struct ClaimsSkipAhead;

impl Rules for ClaimsSkipAhead {
    fn on_claim(&self, known: Known, heard: Version) -> OnClaim {
        match (known, rumour::on_claim(known, heard)) {
            (Known::Here(_), OnClaim::Want) => OnClaim::Believe,
            (_, decided) => decided,
        }
    }
}

/// A claim is believed about an incarnation below the known one.
#[derive(Debug, Clone, Copy)]
pub struct OldClaimsCount;

impl Rules for OldClaimsCount {
    fn on_claim(&self, known: Known, heard: Version) -> OnClaim {
        match known {
            Known::Here(version) if heard.incarnation < version.incarnation => OnClaim::Believe,
            _ => rumour::on_claim(known, heard),
        }
    }
}

/// Whoever is suspect stays so: a death at the same incarnation is no news.
#[derive(Debug, Clone, Copy)]
pub struct FirstAccusationStays;

impl Rules for FirstAccusationStays {
    fn on_claim(&self, known: Known, heard: Version) -> OnClaim {
        match known {
            Known::Here(version)
                if version.state == State::Suspect && version.is_same_incarnation(&heard) =>
            {
                OnClaim::Ignore
            }
            _ => rumour::on_claim(known, heard),
        }
    }
}

/// A suspicion overrides a goodbye of the same incarnation.
#[derive(Debug, Clone, Copy)]
pub struct SuspectOverridesLeft;

impl Rules for SuspectOverridesLeft {
    fn on_claim(&self, known: Known, heard: Version) -> OnClaim {
        match known {
            Known::Here(version) if version.state == State::Left && version.is_same_incarnation(&heard) => {
                OnClaim::Believe
            }
            _ => rumour::on_claim(known, heard),
        }
    }
}

/// Who was reaped is taken back at the incarnation at which it was down.
#[derive(Debug, Clone, Copy)]
pub struct GhostsReturn;

impl Rules for GhostsReturn {
    fn on_record(&self, known: Known, heard: Version) -> OnRecord {
        match rumour::on_record(known, heard) {
            OnRecord::Ghost => OnRecord::Believe,
            decided => decided,
        }
    }
}

/// Who was reaped because it was not heard is taken back with any record of its own, however old.
#[derive(Debug, Clone, Copy)]
pub struct UnheardReturnAsTheyWere;

impl Rules for UnheardReturnAsTheyWere {
    fn on_record(&self, known: Known, heard: Version) -> OnRecord {
        match known {
            Known::Away(version) if version.state.is_present() => rumour::on_record(Known::Never, heard),
            _ => rumour::on_record(known, heard),
        }
    }
}

/// An accusation of an incarnation that one never had is refuted with the next one.
#[derive(Debug, Clone, Copy)]
pub struct LiarsAreFollowed;

impl Rules for LiarsAreFollowed {
    fn on_self(&self, own: Version, heard: Version) -> OnSelf {
        match rumour::on_self(own, heard) {
            OnSelf::NeverHad => OnSelf::Refute,
            decided => decided,
        }
    }

    fn refutation(&self, own: Version, accused: Incarnation) -> Option<Incarnation> {
        rumour::refutation(own, accused).map(|next| next.max(accused.next()))
    }
}

/// A process that starts again takes the generation that it had.
#[derive(Debug, Clone, Copy)]
pub struct GenerationIsKept;

impl Rules for GenerationIsKept {
    fn next_generation(&self, last: Generation) -> Generation {
        last
    }
}

//! The rules for rumours pass, and no mutant of them does.

use chinwag_model::check::{explore, refute};
use chinwag_model::rumours::mutants::*;
use chinwag_model::rumours::rules::{Rules, Sound};
use chinwag_model::rumours::*;

/// One process life, with accusations of one incarnation upon the other.
const ONE_LIFE: Bounds = Bounds { changes: 1, accusations: 2, restarts: 0 };
/// Two lives.
const TWO_LIVES: Bounds = Bounds { changes: 1, accusations: 1, restarts: 1 };
/// Both at once.
const TWO_LONGER_LIVES: Bounds = Bounds { accusations: 2, ..TWO_LIVES };

fn refuted(rules: impl Rules, property: &'static str) -> String {
    refute(Overlay::new(rules, TWO_LIVES), property)
}

#[test]
fn the_rules_hold_in_every_order_of_one_life() {
    println!("rumours of one life: {}", explore(Overlay::new(Sound, ONE_LIFE), 100_000));
}

#[test]
fn the_rules_hold_in_every_order_of_two_lives() {
    println!("rumours of two lives: {}", explore(Overlay::new(Sound, TWO_LIVES), 150_000));
}

#[test]
#[ignore = "it takes a minute; the shorter ones find the same mutants"]
fn the_rules_hold_in_every_order_of_two_longer_lives() {
    println!("rumours of two longer lives: {}", explore(Overlay::new(Sound, TWO_LONGER_LIVES), 2_000_000));
}

#[test]
fn alive_does_not_override_suspect() {
    println!("{}", refuted(AliveOverridesSuspect, RISE));
}

#[test]
fn signatures_are_checked() {
    println!("{}", refuted(SignaturesUnchecked, OWN_WORD));
}

#[test]
fn only_the_subject_refutes() {
    println!("{}", refuted(AnyoneRefutes, OWN_WORD));
}

#[test]
fn the_accused_incarnation_does_not_refute() {
    println!("{}", refuted(SameIncarnationRefutes, CLEARED));
}

#[test]
fn a_claim_does_not_speak_of_an_incarnation_to_come() {
    println!("{}", refuted(ClaimsSkipAhead, OWN_WORD));
}

#[test]
fn a_claim_does_not_speak_of_an_incarnation_that_is_over() {
    println!("{}", refuted(OldClaimsCount, RISE));
}

#[test]
fn the_worse_of_two_accusations_counts() {
    println!("{}", refute(Overlay::new(FirstAccusationStays, ONE_LIFE), AGREE));
}

#[test]
fn a_suspicion_does_not_override_a_goodbye() {
    println!("{}", refuted(SuspectOverridesLeft, STAY_DEAD));
}

#[test]
fn ghosts_do_not_return() {
    println!("{}", refuted(GhostsReturn, STAY_AWAY));
}

#[test]
fn the_unheard_do_not_return_as_they_were_before() {
    println!("{}", refuted(UnheardReturnAsTheyWere, RISE));
}

#[test]
fn liars_are_not_followed() {
    println!("{}", refuted(LiarsAreFollowed, NOT_DRIVEN));
}

#[test]
fn a_new_process_has_a_new_generation() {
    println!("{}", refuted(GenerationIsKept, CLEARED));
}

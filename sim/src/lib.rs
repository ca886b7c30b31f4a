//! Whole overlays in virtual time, on one core, from one seed.

pub mod checkers;
pub mod observation;

//! Whole overlays in virtual time, on one core, from one seed.

pub mod checkers;
pub mod observation;
pub mod plan;
pub mod sabotage;
pub mod swarm;
mod words;
pub mod world;

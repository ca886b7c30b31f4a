//! Whole overlays in virtual time, on one core, from one seed.

pub mod checkers;
pub mod figures;
pub mod observation;
pub mod plan;
pub mod run;
pub mod sabotage;
pub mod script;
pub mod shrink;
pub mod swarm;
pub mod words;
pub mod world;

#[cfg(test)]
mod tests;

//! Whole overlays in virtual time, on one core, from one seed.
//!
//! A [`plan`] says everything that a run is made of: hosts, network, disks, and each step of clients and fate with its
//! time. [`swarm`] draws one from a seed. A [`world`] follows it, with the daemon's own `node::Node` on every host, and tells
//! what happens as a stream of [`observation`]s. [`checkers`] read that stream and say what may not be; [`figures`] are
//! measured from it. [`run`] puts these together, [`shrink`] makes a plan that fails smaller, [`script`] plays scenario
//! files, and [`sabotage`] is where a rule can be broken to see whether anybody notices.
//!
//! The method is FoundationDB's (Zhou and others, "FoundationDB: A Distributed Unbundled Transactional Key Value Store",
//! SIGMOD 2021, section 4): the real code, a simulated world, one thread, one seed.
//!
//! Everything in here but the program in `src/tool` is as pure as the cores: no clock, no entropy, no I/O.

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

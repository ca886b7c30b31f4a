//! Scenarios: several replicas in virtual time.

mod cells;
mod durable;
mod expiry;
mod heal;
mod hostile;
mod names;
mod operating;
mod random;
mod spread;
mod tree;
mod trouble;
mod world;

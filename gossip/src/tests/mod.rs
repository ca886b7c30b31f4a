//! Scenarios: several replicas in virtual time.

mod durable;
mod heal;
mod hostile;
mod random;
mod spread;
mod world;

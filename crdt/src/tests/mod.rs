//! Laws and scenarios that concern more than one file.

mod audit;
mod hostile;
mod laws;
mod leases;
mod pinned;
mod scenarios;
mod stock;
mod whole;
pub(crate) mod world;

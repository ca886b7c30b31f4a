//! Laws and scenarios that concern more than one file.

mod hostile;
mod laws;
mod scenarios;
mod whole;
pub(crate) mod world;

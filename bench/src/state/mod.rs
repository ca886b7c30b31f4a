//! What is known: chinwag's replicated state beside systems that do the same work.
//!
//! chinwag's replicas are driven by their inputs and outputs alone, in virtual time ([`world`]); chitchat through its own
//! server and transport ([`chitchat`]), iroh-gossip through its protocol core ([`iroh`]). All of them write the same
//! keys and values ([`material`]). Times of computing are processor time of one thread.
//!
//! What a disk has to do with ([`writes`], [`open`], [`churn`]) is measured of real processes, by the wall.
//!
//! Each experiment is a module with options and a function that fills a [`figures::Sheet`].

pub mod chitchat;
pub mod churn;
pub mod delta;
pub mod figures;
pub mod idle;
pub mod iroh;
pub mod join;
pub mod material;
pub mod merge;
pub mod open;
pub mod reconcile;
pub mod rounds;
pub mod spread;
pub mod world;
pub mod writes;

use std::time::Duration;

/// How long replicas are left alone until they have met.
const MEET: Duration = Duration::from_secs(4);

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

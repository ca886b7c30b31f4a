//! Who is alive: SWIM on ring observers with phi-accrual, as a pure state machine.

mod agenda;
mod config;
mod dialing;
mod estimate;
mod event;
mod exchange;
mod investigation;
mod member;
mod membership;
mod message;
mod news;
mod observation;
mod ourselves;
mod port;
mod record;
mod rings;
mod spacing;
mod verification;
mod version;
mod view;

pub use config::{Config, Identity, Profile, Recovered};
pub use event::Event;
pub use member::Member;
pub use membership::Membership;
pub use message::{
    Ack, Brief, Claim, Finding, Found, Hello, Message, PARTS_BITS_MAX, Parts, Ping, Purpose, Summary, Update,
    Verdict, Verify,
};
pub use port::{DialFailure, Input, Lost, Output};
pub use record::{INCARNATION_MAX, Record, RecordError, Standing, Statement};
pub use version::{State, Version};

#[cfg(test)]
mod harness;
#[cfg(test)]
mod scenarios;

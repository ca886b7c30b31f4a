//! Who is alive: SWIM on ring observers with phi-accrual, as a pure state machine.

mod config;
mod event;
mod member;
mod message;
mod port;
mod record;
mod version;

pub use config::{Config, Identity, Profile, Recovered};
pub use event::Event;
pub use member::Member;
pub use message::{
    Ack, Brief, Claim, Finding, Found, Hello, Message, PARTS_BITS_MAX, Parts, Ping, Purpose, Summary, Update,
    Verdict, Verify,
};
pub use port::{DialFailure, Input, Lost, Output};
pub use record::{INCARNATION_MAX, Record, RecordError, Standing, Statement};
pub use version::{State, Version};

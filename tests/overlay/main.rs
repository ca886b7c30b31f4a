//! Real daemons as processes of their own, on this machine's loopback: what no unit test and no simulation shows.
//!
//! Each test has a directory, a runtime directory and ports of its own, so that tests run beside each other and
//! beside a developer's own daemons. Daemons get a pipe as standard input and leave when it closes, and each is
//! killed by its own process id when its test ends, however it ends. Tests wait for conditions, never for time; how
//! long things took is printed, not asserted, because a busy machine is slow and not wrong.
//!
//! `CHINWAG_LONG=1` makes the mixed load the long one: 20,000 writes, and a pause of 20 seconds in their middle. It
//! also makes the DHT's file 100 MB long and its records a thousand, and the faults many: more than 300 kill -9 during
//! writes, a thousand of one daemon whose store is checked after each (a quarter of an hour), keys made and deleted for ten
//! minutes, and cuts that last. The faults alone, which must pass twenty times in a row (as root, so that the networks are
//! among them):
//!
//! ```text
//! CHINWAG_LONG=1 cargo test --test overlay faults
//! ```

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this is all test, helpers too")]

mod addresses;
mod admission;
mod alone;
mod book;
mod configuration;
mod daemon;
mod dht;
mod doctor;
mod examples;
mod failures;
mod faults;
mod full_disk;
mod harness;
mod history;
mod hostile;
mod interop;
mod lan;
mod leaving;
mod load;
mod namespace;
mod operating;
mod requests;
mod service;
mod settings;
mod state;
mod store;
mod together;
mod transcript;
mod transcripts;
mod writer;

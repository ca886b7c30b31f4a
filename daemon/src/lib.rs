//! The only crate that gives a node sockets, a disk, a clock, entropy and tokio.
//!
//! [`Daemon::start`] takes a [`Config`] and gives a [`Handle`]: what `chinwagd`, `chinwag up`, the tests and programs
//! that embed a daemon all use.
//!
//! ```text
//!            HTTP on a Unix socket            other daemons (QUIC, TCP)
//!                     │                                  │
//!    ┌────────────────▼───────────────┐   ┌──────────────▼─────────────┐
//!    │ api: handlers, event streams   │   │ network: admission, lanes  │
//!    └────────────────┬───────────────┘   └──────────────┬─────────────┘
//!                     │ commands                         │ frames, connections
//!                ┌────▼──────────────────────────────────▼────┐
//!                │ driver: the one task that owns the Node    │──► observe: logs, events, watch
//!                └────────────────────┬───────────────────────┘
//!                                     │ batches
//!                      ┌──────────────▼─────────────┐
//!                      │ storage: one writer thread │
//!                      └────────────────────────────┘
//! ```

mod admit;
mod amount;
mod clock;
pub mod config;
mod daemon;
mod discovery;
pub mod doctor;
mod driver;
mod effect;
mod engine;
#[doc(hidden)]
pub mod fuzzing;
mod gauges;
pub mod home;
mod hook;
mod http;
mod join;
mod kad;
mod listeners;
pub mod log;
pub mod network;
mod observe;
mod process;
mod records;
mod reload;
mod service;
mod storage;
mod unattended;

pub use chinwag_api::{Failure, Kind as FailureKind};
pub use chinwag_crdt::{Op, Read};
pub use chinwag_dht::BlobHash;
pub use chinwag_gossip::{Wait, Written};
pub use config::{Config, DaemonArgs};
pub use daemon::{Daemon, Handle};
pub use observe::Told;
pub use process::{Founded, command, found, main, run};

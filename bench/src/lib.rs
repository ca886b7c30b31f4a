//! What chinwag costs and how fast it is, beside other systems that do the same work in the same run.
//!
//! A figure from one machine on one day says little; a ratio between two systems that shared the machine, the
//! minute and the network says more. So each program here measures chinwag *and* something to hold against it:
//! stock libp2p Kademlia, a bare redb commit, a bare `fsync`, a TCP echo, a process that does nothing.
//! `README.md` says what each program measures, and what its figures do not mean.
//!
//! - [`latency`], [`load`], [`cost`]: how a figure comes about.
//! - [`wire`]: a network with a delay, made of the kernel's own TCP.
//! - [`kad`], [`ours`], [`hung`]: the two systems of `dht`, and members of either that hang.
//! - [`processes`]: real daemons as processes, for `idle` and `cli`; [`agents`]: the same beside serf's agents.
//! - [`membership`]: overlays of three systems in virtual time, on one network.
//! - [`lone`], [`etcd`], [`sqlite`], [`disk`]: what durable writes are measured of; [`http`]: how servers are asked;
//!   [`metrics`], [`fsyncs`]: what is counted of a daemon.
//! - [`state`]: what is known, beside other systems.
//! - [`machine`], [`report`]: what is printed.

pub mod agents;
pub mod cost;
pub mod disk;
pub mod etcd;
pub mod fsyncs;
pub mod http;
pub mod hung;
pub mod kad;
pub mod latency;
pub mod load;
pub mod lone;
pub mod machine;
pub mod membership;
pub mod metrics;
pub mod ours;
pub mod ping;
pub mod processes;
pub mod report;
pub mod scratch;
pub mod sqlite;
pub mod state;
pub mod wire;

//! Scenarios on the loopback: real sockets, real time, every wait bounded.

mod admission;
mod connections;
mod frames;
mod harness;
mod strangers;
mod walks;

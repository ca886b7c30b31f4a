//! Real daemons under real faults, while clients write: what the simulator shows of one node's logic is shown here of
//! processes, sockets, disks and this kernel.
//!
//! - [`kills`]: kill -9 at random moments of a life, and again at random moments of the start after it
//! - [`many_kills`]: one daemon, ten times or a thousand, and its store checked after each
//! - [`soak`]: keys made and deleted without end, which may leave nothing behind
//! - [`pauses`]: SIGSTOP and SIGCONT
//! - [`disks`]: a data directory that is gone, a disk that is full, a store with flipped bytes
//! - [`strangers`]: a thousand connections of garbage
//! - [`cuts`]: five machines in namespaces of their own, joined by a [`router`] that delays, loses and cuts in one
//!   direction; needs root and `/dev/net/tun`
//!
//! Each of them holds what clients were told against what daemons show (`history.rs`). Where it is not about disks, the
//! simulator's own checkers judge too: the daemons' logs are [translated](log) into the observations that they read, and
//! a [`witness`] adds what only the test knows. `CHINWAG_LONG=1` makes them long: more than 300 kill -9, and cuts that last.

#[cfg(target_os = "linux")]
mod cuts;
mod disks;
mod kills;
pub(crate) mod log;
mod luck;
mod many_kills;
#[cfg(target_os = "linux")]
mod net;
mod pauses;
mod phase;
#[cfg(target_os = "linux")]
mod router;
#[cfg(target_os = "linux")]
mod soak;
mod strangers;
pub(crate) mod witness;

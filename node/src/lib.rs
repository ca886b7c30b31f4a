//! One overlay node as a single state machine.
//!
//! `membership` says who is alive, `gossip` (with `crdt` inside it) says what is known. Neither imports the other:
//! what one must tell the other passes through here, and so does every byte, through the one codec [`wire`].
//!
//! A node has the contract of every core: [`Node::handle`] is the only way in, [`Node::poll_output`] the only way
//! out, [`Node::next_deadline`] says when to call `handle` with [`Input::Tick`]. The daemon runs it with sockets, a
//! disk and a clock; a simulator runs the very same type with none of them.
//!
//! ```text
//! bytes in ──► wire ──► membership ──► who is alive ──► gossip ──► wire ──► bytes out
//!                   └──► gossip ──► a sign of life ──► membership
//! ```

mod event;
mod io;
pub mod lanes;
mod node;
pub mod wire;

pub use event::{Event, FrameFault};
pub use io::{Answer, Config, Identity, Input, Output, Recovered};
pub use node::Node;

#[cfg(test)]
mod tests;

//! Whole overlays of membership protocols on one simulated network, in virtual time.
//!
//! Each system is driven through what it offers a program, not changed in any way: chinwag's state machine by its
//! inputs and outputs, foca by its `Runtime`, chitchat by its `Transport` under tokio's paused clock. All of them meet
//! the same [`network`]: one-way latencies drawn from one range, the same loss, cuts, stalls and deaths. What their
//! members believe is kept in a [`ledger`], which [`experiment`]s read; [`goals`] say what chinwag set itself.

pub mod chinwag;
pub mod chitchat;
pub mod experiment;
pub mod figures;
pub mod foca;
pub mod goals;
pub mod ledger;
pub mod network;
pub mod options;
pub mod queue;
pub mod summary;

use self::ledger::Ledger;
use std::time::Duration;

/// How often what was told to one member is told to it again, to time it alone.
const PASSES: usize = 5;

/// An overlay of one system, member by member, on a network of its own.
pub trait Overlay {
    /// Starts the next member. The first is the one that all others join through.
    fn start(&mut self);

    /// The time since the overlay began.
    fn now(&self) -> Duration;

    /// Lets so much time pass.
    fn run(&mut self, time: Duration);

    /// The host of a member is gone: nothing answers, and nobody is told.
    fn vanish(&mut self, member: usize);

    /// The process of a member is killed; its host lives, and says so where the transport has a way to.
    fn kill(&mut self, member: usize);

    /// The process of a member is stopped. What arrives waits.
    fn pause(&mut self, member: usize);

    /// It runs again, and finds what waited.
    fn resume(&mut self, member: usize);

    /// Cuts all links between the members before `border` and the others.
    fn part(&mut self, border: usize);

    /// Mends them.
    fn heal(&mut self);

    /// What this system lets us see of suspicions.
    fn suspicions(&self) -> Suspicions;

    /// What is believed, up to now.
    fn ledger(&self) -> &Ledger;

    /// Before anybody starts: keep everything that these members are told.
    fn watch(&mut self, _members: &[usize]) {}

    /// How long each message took that those members were told since [`Overlay::measure`], in nanoseconds, each member
    /// with its memory to itself. Nothing where a system cannot be told the same again.
    fn alone_ns(&self) -> Vec<u32> {
        Vec::new()
    }

    /// From here on, bytes are counted, and the time that messages take.
    fn measure(&mut self);

    /// What was counted.
    fn traffic(&self) -> &Traffic;
}

/// What a system tells of suspicions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicions {
    /// Who suspects whom, however it came to know.
    All,
    /// Who found that another does not answer; not who heard of it.
    Found,
    /// It has none.
    None,
}

/// What went over the network, and what it cost.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Messages that were sent.
    pub messages: u64,
    /// Their bytes, in each system's own encoding, without what a transport adds.
    pub bytes: u64,
    /// Messages that were handled.
    pub handled: u64,
    /// How long handling each of them took, in nanoseconds, where that can be told.
    pub handle_ns: Vec<u32>,
    /// The same with decoding it and encoding what it led to.
    pub with_codec_ns: Vec<u32>,
    encoding: Duration,
}

impl Traffic {
    /// What follows is encoded on behalf of the message that is handled now.
    fn begin_encoding(&mut self) {
        self.encoding = Duration::ZERO;
    }

    fn add_encoding(&mut self, took: Duration) {
        self.encoding += took;
    }

    /// A message was decoded, and handled if `handle_ns` has grown beyond `timed`; what it led to was encoded.
    fn add_codec(&mut self, timed: usize, decoding: Duration) {
        if let Some(handling) = self.handle_ns.get(timed) {
            let codec = u32::try_from((decoding + self.encoding).as_nanos()).unwrap_or(u32::MAX);
            self.with_codec_ns.push(handling.saturating_add(codec));
        }
    }
}

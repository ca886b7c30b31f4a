//! A dot: the name of one write.

use chinwag_base::ReplicaId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of one write: the replica that made it, and how many it had made by then. Counters start at 1; no
/// replica uses one twice, because each process start is a new generation and so a new replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Who wrote.
    pub replica: ReplicaId,
    /// Its how many-th write, from 1.
    pub counter: u64,
}

impl Dot {
    /// The dot of `replica`'s `counter`-th write.
    pub const fn new(replica: ReplicaId, counter: u64) -> Self {
        Dot { replica, counter }
    }
}

/// `12D3…q7Vf.19a0:7`: node, generation, counter.
impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}", self.replica, self.counter)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

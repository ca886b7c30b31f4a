//! What a [`Gossip`](crate::Gossip) is made of: its timing, who it is, and what its disk remembers.

use chinwag_base::ReplicaId;
use chinwag_base::limits::{CHUNK_BYTES_MAX, PUSH_PEERS_MAX};
use chinwag_crdt::{Checkpoint, Row, Stock};
use std::time::Duration;

/// Timing. All of it may differ between members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// One anti-entropy round: every `round` (jittered by a fifth either way) one peer is met. It bounds how long
    /// a loss that nothing else reveals can last; shorter rounds cost 30 bytes each.
    pub round: Duration,
    /// How long after a change the summary is told: long enough that a burst of writes is one summary.
    pub settle: Duration,
    /// The shortest time between two summaries to the same peers.
    pub summary_spacing: Duration,
    /// How long a gap that a push left may stand before the peer is asked; reordered pushes close it by themselves.
    pub gap_patience: Duration,
    /// How many others there may be at most for a writer to push to all of them by itself. Where there are more, or some are
    /// not connected, entries travel along a tree.
    pub push_peers_max: usize,
    /// How long what a peer announced may take to come along the tree before it is fetched: longer than the tree's way is
    /// than the announcement's, or the tree never settles.
    pub graft_patience: Duration,
    /// For how long entries are wanted along the tree twice, after one did not come.
    pub trouble: Duration,
    /// How many replicas a clock must have for a peer that has not met it to be told a sketch of it first.
    pub names_from: usize,
    /// How long a peer's clock may differ from ours before the peer is met out of turn. News under way makes
    /// clocks differ for a round trip and two fsyncs. It doubles, up to three times, with each exchange that brought
    /// nothing.
    pub difference_patience: Duration,
    /// The shortest time between two exchanges out of turn.
    pub exchange_spacing: Duration,
    /// When an unanswered question is given up. Generous: a chunk on a slow link takes seconds.
    pub exchange_timeout: Duration,
    /// When entries asked of one peer may be asked of another one too.
    pub chunk_patience: Duration,
    /// How long a peer that did not give what it claims to hold, or whose bulk lane is full, is left alone.
    pub rest: Duration,
    /// Bytes of entries in the log beyond which the oldest go, whoever may still lack them.
    pub log_bytes_max: usize,
    /// Bytes of whole cells told at once. At least one part of a cell is.
    pub slice_bytes_max: usize,
    /// Rows after which the state is written down. More make commits cheaper and the start slower.
    pub checkpoint_rows: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            round: Duration::from_secs(1),
            settle: Duration::from_millis(20),
            summary_spacing: Duration::from_millis(50),
            gap_patience: Duration::from_millis(50),
            push_peers_max: PUSH_PEERS_MAX,
            graft_patience: Duration::from_millis(150),
            trouble: Duration::from_secs(300),
            names_from: 256,
            difference_patience: Duration::from_millis(100),
            exchange_spacing: Duration::from_millis(50),
            exchange_timeout: Duration::from_secs(10),
            chunk_patience: Duration::from_secs(2),
            rest: Duration::from_secs(5),
            log_bytes_max: 32 * 1024 * 1024,
            slice_bytes_max: CHUNK_BYTES_MAX,
            checkpoint_rows: 4_096,
        }
    }
}

/// Who this core is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node and its present generation, which no earlier process has used.
    pub replica: ReplicaId,
}

/// What the disk remembers of earlier process lives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovered {
    /// The state as it was last written down, whole.
    pub checkpoint: Checkpoint<Stock>,
    /// Every row of the log that is still there, by position, ascending; damaged ones are [`Row::Lost`].
    pub rows: Vec<(u64, Row)>,
}

//! The rules that the model runs: a real [`Replica`]'s, unless a mutant replaces one.

use chinwag_base::Key;
use chinwag_crdt::{Dot, Entry, Read, Replica};
use std::sync::Arc;

/// What may be done wrongly around a replica. What is provided does nothing but what the daemon does.
pub trait Rules: Clone + Send + Sync + 'static {
    /// What is staged of an entry that arrives; nothing if it is taken for a duplicate.
    fn arrive(&self, _: &Replica, entry: &Entry) -> Option<Entry> {
        Some(entry.clone())
    }

    /// Whether the replica says that it has applied the entry with that dot.
    fn covers(&self, replica: &Replica, dot: Dot) -> bool {
        replica.clock().covers(dot)
    }

    /// What a read shows. `arrived` is all that was ever committed here, repeated as often as it came.
    fn read(&self, replica: &Replica, key: &Key, _arrived: &[Arc<Entry>]) -> Option<Read> {
        replica.get(key)
    }

    /// Whether entries leave before they are durable.
    fn sends_what_is_staged(&self) -> bool {
        false
    }

    /// The generation of the process that starts after one.
    fn next_generation(&self, last: u64) -> u64 {
        last + 1
    }
}

/// The daemon's rules.
#[derive(Debug, Clone, Copy)]
pub struct Sound;

impl Rules for Sound {}

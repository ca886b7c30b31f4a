//! The rules of whole cells as a real [`Replica`] has them, unless a mutant replaces one.

use super::life;
use chinwag_crdt::{Clock, Promise, Replica, Slice};

/// What may be done wrongly around a replica. What is provided does nothing but what the daemon does.
pub trait Rules: Clone + Send + Sync + 'static {
    /// Whether entries that are promised are taken all the same.
    fn takes_what_is_promised(&self) -> bool {
        false
    }

    /// What a session with that replica is under.
    fn promised(&self, replica: &Replica) -> Promise {
        replica.promised()
    }

    /// Whether that replica may tell slices to a session under that clock.
    fn may_tell(&self, replica: &Replica, clock: &Clock) -> bool {
        replica.clock().contains_all(clock)
    }

    /// What is joined when a slice comes.
    fn joined(&self, slice: &Slice) -> Vec<Slice> {
        vec![slice.clone()]
    }

    /// Whether all has come with that slice.
    fn is_last(&self, slice: &Slice) -> bool {
        life::is_last(slice)
    }

    /// Whether the log says that a session was given up.
    fn logs_what_is_broken(&self) -> bool {
        true
    }

    /// Whether floors of a replica's run go: whether all that it has written is covered here, and whether its next
    /// increment begins a new run.
    fn drops_floors(&self, knows_all: bool, begins_anew: bool) -> bool {
        knows_all && begins_anew
    }
}

/// The daemon's rules.
#[derive(Debug, Clone, Copy)]
pub struct Sound;

impl Rules for Sound {}

//! How much of a peer's clock is remembered.
//!
//! A peer chooses what its clock says, and each part of it is remembered until the connection ends. So what is not
//! known here anyhow is bounded, and what does not fit is left out: that is to believe that the peer holds less than
//! it does, which is always safe. Once what did fit has been fetched, it is known here, and there is room for more; so
//! a clock of any size is met, piece by piece. (To refuse a large clock instead would let whoever makes the clocks of
//! all members large, by mistake or not, end anti-entropy between all of them.)

use crate::{Gossip, Refusal};
use chinwag_base::NodeId;
use chinwag_base::limits::{CLOCK_GAPS_MAX, CLOCK_REPLICAS_MAX, KNOWN_GAPS_MAX};
use chinwag_crdt::Clock;

/// Notes in `known` what a peer `told`, as far as there is room. Says whether all of it fits.
///
/// Beyond what is in `ours` there is room for [`CLOCK_REPLICAS_MAX`] replicas and [`KNOWN_GAPS_MAX`] gaps, and for
/// [`CLOCK_GAPS_MAX`] gaps of each replica.
fn note(known: &mut Clock, told: &Clock, ours: &Clock) -> bool {
    let is_strange = |clock: &Clock, replica| clock.last(replica) == 0 && ours.last(replica) == 0;
    let mut is_whole = true;
    // Counted only where it matters, because acknowledgements come by the thousand.
    let mut room = None;
    let mut gaps = None;
    let mut taken = Vec::new();
    for replica in told.replicas() {
        if is_strange(known, replica) {
            let strange = || known.replicas().filter(|replica| ours.last(*replica) == 0).count();
            let room = room.get_or_insert_with(|| CLOCK_REPLICAS_MAX.saturating_sub(strange()));
            if *room == 0 {
                is_whole = false;
                continue;
            }
            *room -= 1;
        }
        taken.push(replica);
    }
    known.expect(&taken);
    for replica in taken {
        if told.gaps_of(replica) == 0 {
            known.merge_replica(told, replica, CLOCK_GAPS_MAX);
            continue;
        }
        let free = gaps.get_or_insert_with(|| (ours.gaps() + KNOWN_GAPS_MAX).saturating_sub(known.gaps()));
        let before = known.gaps_of(replica);
        is_whole &= known.merge_replica(told, replica, CLOCK_GAPS_MAX.min(before + *free));
        *free = (*free + before).saturating_sub(known.gaps_of(replica));
    }
    known.settle();
    is_whole
}

impl Gossip {
    /// Notes that a peer covers what `clock` covers, and says whether there was room for all of it. Refused if that
    /// cannot be.
    pub(crate) fn note_known(&mut self, from: NodeId, clock: &Clock) -> Result<bool, Refusal> {
        // Nobody can hold a write of ours that is not durable here, because it has not left.
        if clock.last(self.me) > self.replica.clock().last(self.me) {
            return Err(Refusal::BogusClock);
        }
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(true) };
        Ok(note(&mut peer.known, clock, self.replica.clock()))
    }
}

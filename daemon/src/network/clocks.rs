//! What other members' clocks said when they were met.
//!
//! Each side puts its wall clock's time into the admission exchange. The dialler then knows the other's clock as
//! NTP's first sample does (RFC 5905, section 8): it was read between the question and the answer, so it is compared with the middle of
//! the two, and the error is at most half of the time between them. The listener has only the dialler's word and not how long it
//! travelled, so a clock that is ahead looks a little less so.
//!
//! It tells of the moment of connecting and of nothing later, which is enough to find a clock that is wrong.

use super::connection::lock;
use chinwag_base::limits::CONNECTIONS_MAX;
use chinwag_base::{Moment, NodeId, WallTime};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One look at another member's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClockReading {
    /// By how much it was ahead of ours, in milliseconds.
    pub(super) ahead_ms: i64,
    /// How far that may be wrong; `None` where only the other side's message was timed.
    pub(super) error_ms: Option<u64>,
    /// When that was, by our clock.
    pub(super) at: WallTime,
}

impl ClockReading {
    /// Their clock said `theirs` between `asked` and `answered` by ours.
    pub(super) fn between(asked: WallTime, theirs: WallTime, answered: WallTime) -> Self {
        let took = answered.unix_ms().saturating_sub(asked.unix_ms());
        let middle = asked.plus_ms(took / 2);
        ClockReading { ahead_ms: ahead(theirs, middle), error_ms: Some(took.div_ceil(2)), at: answered }
    }

    /// Their message, which says `theirs`, came at `now`.
    pub(super) fn heard(theirs: WallTime, now: WallTime) -> Self {
        ClockReading { ahead_ms: ahead(theirs, now), error_ms: None, at: now }
    }
}

fn ahead(theirs: WallTime, ours: WallTime) -> i64 {
    // Whatever a peer says, a difference is a number.
    let difference = i128::from(theirs.unix_ms()) - i128::from(ours.unix_ms());
    difference.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// How far another member's clock is from ours, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// By how much it is ahead, in milliseconds, if it has gone on at its pace since it was read.
    pub ahead_ms: i64,
    /// How far that may be wrong; `None` where only its message was timed.
    pub error_ms: Option<u64>,
    /// How long ago it was read.
    pub age: Duration,
}

/// The newest reading of each member that was met lately.
#[derive(Debug, Clone, Default)]
pub struct Clocks(Arc<Mutex<BTreeMap<NodeId, (ClockReading, Moment)>>>);

impl Clocks {
    /// Keeps a reading that was taken at `met`.
    pub(super) fn note(&self, peer: NodeId, reading: ClockReading, met: Moment) {
        let mut all = lock(&self.0);
        if all.len() >= CONNECTIONS_MAX && !all.contains_key(&peer) {
            let oldest = all.iter().min_by_key(|(_, (_, met))| *met).map(|(peer, _)| *peer);
            oldest.and_then(|peer| all.remove(&peer));
        }
        // A measured difference is worth more than a heard one of the same moment: two connections at once are common.
        let keep = all.get(&peer).is_some_and(|(old, then)| {
            old.error_ms.is_some() && reading.error_ms.is_none() && met.since(*then) < SAME_MEETING
        });
        if !keep {
            all.insert(peer, (reading, met));
        }
    }

    /// The differences as they are at `now`, when our wall clock says `wall`: if it was set since a reading, it has gone further
    /// than time has.
    pub fn differences(&self, now: Moment, wall: WallTime) -> BTreeMap<NodeId, Difference> {
        let difference = |(reading, met): &(ClockReading, Moment)| {
            let age = now.since(*met);
            let expected = reading.at.plus_ms(age.as_millis() as u64);
            let ahead_ms = reading.ahead_ms.saturating_add(ahead(expected, wall));
            Difference { ahead_ms, error_ms: reading.error_ms, age }
        };
        lock(&self.0).iter().map(|(peer, kept)| (*peer, difference(kept))).collect()
    }
}

/// Readings that are not further apart are of one meeting.
const SAME_MEETING: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> WallTime {
        WallTime::from_unix_ms(ms)
    }

    #[test]
    fn a_clock_is_compared_with_the_middle_of_question_and_answer() {
        let reading = ClockReading::between(at(1_000), at(8_020), at(1_040));
        assert_eq!((reading.ahead_ms, reading.error_ms), (7_000, Some(20)));
        assert_eq!(ClockReading::between(at(1_000), at(500), at(1_000)).ahead_ms, -500);
        assert_eq!(ClockReading::heard(at(1_000), at(3_000)).ahead_ms, -2_000);
        let absurd = ClockReading::between(at(5), at(u64::MAX), at(4));
        assert_eq!((absurd.ahead_ms, absurd.error_ms), (i64::MAX, Some(0)));
    }

    #[test]
    fn the_better_reading_of_a_meeting_stays_and_the_number_is_bounded() {
        let clocks = Clocks::default();
        let peer = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            NodeId::from_bytes(bytes)
        };
        let met = Moment::from_millis;
        let ahead = |now, wall| clocks.differences(met(now), at(wall)).get(&peer(0)).map(|d| d.ahead_ms);
        clocks.note(peer(0), ClockReading::between(at(1_000), at(9_000), at(1_000)), met(5_000));
        clocks.note(peer(0), ClockReading::heard(at(1_000), at(1_100)), met(5_100));
        assert_eq!(ahead(6_000, 2_000), Some(8_000));
        assert_eq!(ahead(6_000, 10_000), Some(0), "ours was set since");
        clocks.note(peer(0), ClockReading::heard(at(60_000), at(60_000)), met(70_000));
        assert_eq!(ahead(70_000, 60_000), Some(0));
        for n in 1..2 * CONNECTIONS_MAX {
            clocks.note(peer(n), ClockReading::heard(at(0), at(70_000)), met(70_000 + n as u64));
        }
        assert_eq!(clocks.differences(met(0), at(0)).len(), CONNECTIONS_MAX);
        assert_eq!(ahead(0, 0), None, "the oldest goes");
    }
}

//! Hybrid logical clocks: wall time that never stands still and never goes back.
//!
//! Kulkarni, Demirbas, Madappa, Avva, Leone: *Logical physical clocks*, 2014. A timestamp is the highest wall time
//! seen, and a logical counter for what happens within it. It orders concurrent register writes in a way that people
//! expect (the later one is shown) and nothing else depends on it.
//!
//! One departure: a timestamp from elsewhere that is more than [`CLOCK_AHEAD_MS_MAX`] ahead of our own wall time is
//! not taken over. Else one machine with a wrong clock would drag everybody's into the future, for ever.

use chinwag_base::WallTime;
use chinwag_base::limits::CLOCK_AHEAD_MS_MAX;
use serde::{Deserialize, Serialize};
use std::fmt;

const LOGICAL_BITS: u32 = 16;
const MILLIS_MAX: u64 = u64::MAX >> LOGICAL_BITS;

/// A hybrid timestamp: 48 bits of milliseconds since 1970, 16 bits of logical counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hlc(u64);

impl Hlc {
    /// Before every other.
    pub const ZERO: Hlc = Hlc(0);

    /// The timestamp of this millisecond and counter. Milliseconds beyond 48 bits (the year 10889) are cut to them.
    pub const fn new(millis: u64, logical: u16) -> Self {
        let millis = if millis > MILLIS_MAX { MILLIS_MAX } else { millis };
        Hlc(millis << LOGICAL_BITS | logical as u64)
    }

    /// Its milliseconds since 1970.
    pub const fn millis(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// Its logical counter.
    pub const fn logical(self) -> u16 {
        self.0 as u16
    }

    /// Its wall time.
    pub const fn wall(self) -> WallTime {
        WallTime::from_unix_ms(self.millis())
    }

    /// By how many milliseconds it is ahead of `wall`, if that is more than [`CLOCK_AHEAD_MS_MAX`].
    pub fn ahead_ms(self, wall: WallTime) -> Option<u64> {
        Some(self.millis().saturating_sub(wall.unix_ms())).filter(|&ahead| ahead > CLOCK_AHEAD_MS_MAX)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.millis(), self.logical())
    }
}

/// A replica's own hybrid clock.
#[derive(Debug, Clone, Default)]
pub struct HlcClock {
    last: Hlc,
    /// The highest timestamp in the log at start-up. It is looked at when the wall time is first known.
    recovered: Option<Hlc>,
}

impl HlcClock {
    /// A clock that has seen nothing.
    pub const fn new() -> Self {
        HlcClock { last: Hlc::ZERO, recovered: None }
    }

    /// The timestamp of a write made now: above all that this clock has issued or observed.
    pub fn tick(&mut self, wall: WallTime) -> Hlc {
        if let Some(recovered) = self.recovered.take() {
            self.observe(recovered, wall);
        }
        // The counter carries into the milliseconds when it is full: 65,536 writes in one of them.
        self.last = Hlc::new(wall.unix_ms(), 0).max(Hlc(self.last.0.saturating_add(1)));
        self.last
    }

    /// What time it is: the wall's, unless this clock has got further.
    pub fn now(&self, wall: WallTime) -> Hlc {
        Hlc::new(wall.unix_ms(), 0).max(self.last)
    }

    /// Notes a timestamp from elsewhere. If it is more than [`CLOCK_AHEAD_MS_MAX`] ahead of `wall`, it is not taken
    /// over, and the answer says by how many milliseconds.
    pub fn observe(&mut self, seen: Hlc, wall: WallTime) -> Option<u64> {
        let ahead = seen.ahead_ms(wall);
        if ahead.is_none() {
            self.last = self.last.max(seen);
        }
        ahead
    }

    /// Notes a timestamp from our own log at start-up, when the wall time is not known yet.
    pub fn recover(&mut self, seen: Hlc) {
        self.recovered = self.recovered.max(Some(seen));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::NOON;

    #[test]
    fn time_neither_stands_still_nor_goes_back() {
        let mut clock = HlcClock::new();
        let first = clock.tick(NOON);
        assert_eq!((first.wall(), first.logical()), (NOON, 0));
        assert_eq!(clock.tick(NOON), Hlc::new(NOON.unix_ms(), 1));
        assert_eq!(
            clock.tick(WallTime::from_unix_ms(5)),
            Hlc::new(NOON.unix_ms(), 2),
            "the wall clock went back"
        );
        assert_eq!(clock.tick(NOON.plus_ms(1)), Hlc::new(NOON.unix_ms() + 1, 0));
        let mut last = clock.tick(NOON);
        for _ in 0..70_000 {
            let next = clock.tick(NOON);
            assert!(next > last);
            last = next;
        }
        assert_eq!(last.millis(), NOON.unix_ms() + 2, "a full counter carries");
    }

    #[test]
    fn a_write_comes_after_what_was_observed_unless_that_is_far_ahead() {
        let mut clock = HlcClock::new();
        let near = Hlc::new(NOON.unix_ms() + CLOCK_AHEAD_MS_MAX, 7);
        assert_eq!(clock.observe(near, NOON), None);
        assert!(clock.tick(NOON) > near);
        let far = Hlc::new(NOON.unix_ms() + CLOCK_AHEAD_MS_MAX + 1, 0);
        assert_eq!(clock.observe(far, NOON), Some(CLOCK_AHEAD_MS_MAX + 1));
        assert!(clock.tick(NOON) < far);
        assert!(clock.observe(Hlc::new(u64::MAX, u16::MAX), NOON).is_some());
        assert!(
            clock.tick(WallTime::from_unix_ms(u64::MAX)) >= Hlc::new(u64::MAX, 0),
            "the end of time holds"
        );
    }

    #[test]
    fn recovered_time_is_bounded_alike() {
        let mut clock = HlcClock::new();
        clock.recover(Hlc::new(NOON.unix_ms() + 3, 9));
        clock.recover(Hlc::new(NOON.unix_ms(), 0));
        assert_eq!(clock.tick(NOON), Hlc::new(NOON.unix_ms() + 3, 10));
        let mut clock = HlcClock::new();
        clock.recover(Hlc::new(NOON.unix_ms() + 3_600_000, 0));
        assert_eq!(clock.tick(NOON), Hlc::new(NOON.unix_ms(), 0));
    }
}

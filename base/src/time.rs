//! Time as a value: cores are told what time it is and never ask.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A reading of one node's own monotonic clock, which counts time asleep too. Meaningless on any other node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment {
    nanos: u64,
}

impl Moment {
    /// The clock's origin.
    pub const ZERO: Moment = Moment { nanos: 0 };

    /// The moment `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Moment { nanos }
    }

    /// The moment `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Moment { nanos: millis * 1_000_000 }
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.nanos
    }

    /// Whole milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.nanos / 1_000_000
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, d: Duration) -> Moment {
        Moment { nanos: self.nanos.saturating_add(d.as_nanos().min(u128::from(u64::MAX)) as u64) }
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, d: Duration) -> Moment {
        Moment { nanos: self.nanos.saturating_sub(d.as_nanos().min(u128::from(u64::MAX)) as u64) }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.nanos / 1_000_000_000, self.nanos / 1_000_000 % 1_000)
    }
}

/// Milliseconds since 1970 by some node's wall clock. It orders concurrent writes and ends grants; safety never
/// depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime {
    unix_ms: u64,
}

impl WallTime {
    /// The time `unix_ms` milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_unix_ms(unix_ms: u64) -> Self {
        WallTime { unix_ms }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn unix_ms(self) -> u64 {
        self.unix_ms
    }

    /// This time plus `ms` milliseconds.
    pub const fn plus_ms(self, ms: u64) -> Self {
        WallTime { unix_ms: self.unix_ms.saturating_add(ms) }
    }
}

//! The clocks of this machine, as the values that the cores take.

use chinwag_base::{Moment, WallTime};
use rustix::time::{ClockId, clock_gettime};
use std::time::SystemTime;

/// Now, by the clock that counts time asleep too (`CLOCK_BOOTTIME`): a laptop that slept must know that it did.
pub(crate) fn now() -> Moment {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let t = clock_gettime(clock);
    Moment::from_nanos(t.tv_sec.max(0) as u64 * 1_000_000_000 + t.tv_nsec.max(0) as u64)
}

/// Now, by the wall clock.
pub(crate) fn wall() -> WallTime {
    // Through the C library, so that libfaketime can show another time to a daemon under test.
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_ms(since_1970.as_millis() as u64)
}

/// Thirty-two strong random bytes.
pub(crate) fn entropy() -> [u8; 32] {
    rand::random()
}

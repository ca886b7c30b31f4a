//! How long a peer may take: the retransmission timer of TCP (Jacobson, "Congestion Avoidance and Control", SIGCOMM
//! 1988; RFC 6298, section 2).
//!
//! An owner that has not answered within its RTO is *late*: the next member in the ranking is asked too, and the late one may
//! still answer. So a hung owner costs an RTO instead of a timeout, and a guess that was wrong costs one message.

use std::time::Duration;

/// Before anything is known of a peer.
const RTO_INITIAL: Duration = Duration::from_millis(250);
/// Nobody is late sooner: a scheduler's turn and an fsync on a fast disk.
const RTO_MIN: Duration = Duration::from_millis(10);
/// RFC 6298's G: what is added at least for variance, so that a steady peer's jitter is no lateness.
const GRANULARITY: Duration = Duration::from_millis(5);
/// Nobody is waited for longer.
const RTO_MAX: Duration = Duration::from_secs(2);

/// The round trips of one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RoundTrips {
    smoothed: Option<Duration>,
    variance: Duration,
}

impl RoundTrips {
    /// An estimate from elsewhere, until there is a measurement.
    pub(crate) fn hint(&mut self, rtt: Duration) {
        if self.smoothed.is_none() {
            self.smoothed = Some(rtt);
            self.variance = rtt / 2;
        }
    }

    /// A measurement (RFC 6298, 2.2 and 2.3).
    pub(crate) fn measured(&mut self, rtt: Duration) {
        match self.smoothed {
            None => self.hint(rtt),
            Some(smoothed) => {
                self.variance = self.variance * 3 / 4 + smoothed.abs_diff(rtt) / 4;
                self.smoothed = Some(smoothed * 7 / 8 + rtt / 8);
            }
        }
    }

    /// The smoothed round trip, if anything is known.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// After how long without an answer the peer is late.
    pub(crate) fn timeout(&self) -> Duration {
        let timeout = self.smoothed.map(|smoothed| smoothed + GRANULARITY.max(self.variance * 4));
        timeout.unwrap_or(RTO_INITIAL).clamp(RTO_MIN, RTO_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_timeout_follows_the_peer() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.timeout(), RTO_INITIAL);
        trips.measured(ms(50));
        assert_eq!(trips.timeout(), ms(150), "RFC 6298: SRTT + 4 * SRTT / 2");
        for _ in 0..30 {
            trips.measured(ms(50));
        }
        assert_eq!(trips.smoothed(), Some(ms(50)));
        assert!(trips.timeout() < ms(60), "a steady peer is soon late: {:?}", trips.timeout());
        trips.measured(ms(100));
        assert!(trips.timeout() > ms(100), "{:?}", trips.timeout());
        let mut near = RoundTrips::default();
        near.hint(Duration::ZERO);
        assert_eq!(near.timeout(), RTO_MIN);
        near.measured(Duration::from_secs(60));
        assert_eq!(near.timeout(), RTO_MAX);
    }
}

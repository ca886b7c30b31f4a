//! The network that all systems share: latency, loss, and a cut through it.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::time::Duration;

/// One-way latency, uniform, in microseconds.
const LATENCY_US: Range<u64> = 1_000..50_000;
/// A packet of a stream is sent again after so long, and then twice as long each time: twice the round trip, and no
/// sooner than TCP would (RFC 6298 with the least time-out that Linux has).
const RETRY: Duration = Duration::from_millis(200);
/// At most so often, so that a loss of 100 % ends.
const RETRIES_MAX: u32 = 12;

/// Draws what happens to packets.
#[derive(Debug)]
pub struct Network {
    rng: ChaCha8Rng,
    latency_us: Range<u64>,
    loss: f64,
    /// Members before it are on one side of the cut, the others on the other.
    border: Option<usize>,
}

impl Network {
    /// One that loses this part of all packets.
    pub fn new(seed: u64, loss: f64) -> Self {
        Network::between(LATENCY_US, seed, loss)
    }

    /// The same with other one-way latencies, in microseconds.
    pub fn between(latency_us: Range<u64>, seed: u64, loss: f64) -> Self {
        Network { rng: ChaCha8Rng::seed_from_u64(seed), latency_us, loss, border: None }
    }

    /// The generator, for whatever else a run leaves to chance.
    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }

    /// Cuts all links across `border`, or mends them.
    pub fn set_border(&mut self, border: Option<usize>) {
        self.border = border;
    }

    /// Whether nothing passes from one to the other.
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.border.is_some_and(|border| (from < border) != (to < border))
    }

    /// How long a packet takes that is not lost.
    pub fn latency(&mut self) -> Duration {
        Duration::from_micros(self.rng.random_range(self.latency_us.clone()))
    }

    /// Whether this packet is lost.
    pub fn loses(&mut self) -> bool {
        self.loss > 0.0 && self.rng.random_bool(self.loss)
    }

    /// How long a datagram takes, or none if it is lost.
    pub fn datagram(&mut self, from: usize, to: usize) -> Option<Duration> {
        (!self.is_cut(from, to) && !self.loses()).then(|| self.latency())
    }

    /// How long a packet of a stream takes, with all the times that it is sent again.
    pub fn stream(&mut self) -> Duration {
        let (mut waited, mut wait) = (Duration::ZERO, RETRY);
        for _ in 0..RETRIES_MAX {
            if !self.loses() {
                break;
            }
            waited += wait;
            wait *= 2;
        }
        waited + self.latency()
    }
}

/// How long after a stream's first packet met a cut it is sent again for the first time once the cut, which then was
/// `cut_for` old, has been mended.
pub fn first_retry_after(cut_for: Duration) -> Duration {
    let (mut waited, mut wait) = (RETRY, RETRY);
    while waited < cut_for {
        wait *= 2;
        waited += wait;
    }
    waited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_late_where_datagrams_are_lost() {
        let mut network = Network::new(1, 0.2);
        let lost = (0..10_000).filter(|_| network.datagram(0, 1).is_none()).count();
        assert!((1_800..2_200).contains(&lost), "{lost}");
        let late = (0..10_000).filter(|_| network.stream() >= RETRY).count();
        assert!((1_800..2_200).contains(&late), "{late}");
        let mut network = Network::new(1, 0.0);
        assert!((0..1_000).all(|_| network.stream() < RETRY && network.datagram(0, 1).is_some()));
    }

    #[test]
    fn a_border_has_two_sides() {
        let mut network = Network::new(1, 0.0);
        network.set_border(Some(2));
        assert!(network.is_cut(1, 2) && network.is_cut(2, 1) && network.datagram(0, 3).is_none());
        assert!(!network.is_cut(0, 1) && !network.is_cut(2, 3));
        network.set_border(None);
        assert!(!network.is_cut(1, 2));
    }

    #[test]
    fn retries_double() {
        let after = |ms| first_retry_after(Duration::from_millis(ms)).as_millis();
        assert_eq!([after(100), after(300), after(5_000)], [200, 600, 6_200]);
    }
}

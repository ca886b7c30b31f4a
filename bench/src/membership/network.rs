//! The network that all systems share: latency, loss, and a cut through it.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::time::Duration;

/// One-way latency, uniform, in microseconds.
const LATENCY_US: Range<u64> = 1_000..50_000;
/// By how much packets on one link differ.
const JITTER_US: u64 = 1_000;
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
    /// Whether each link has a latency of its own, that of all its packets, nearly.
    has_links: bool,
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
        Network { rng: ChaCha8Rng::seed_from_u64(seed), latency_us, has_links: false, loss, border: None }
    }

    /// The same, but each link has a latency of its own, drawn once, and its packets differ by up to [`JITTER_US`].
    pub fn of_links(latency_us: Range<u64>, seed: u64, loss: f64) -> Self {
        Network { has_links: true, ..Network::between(latency_us, seed, loss) }
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

    /// How long a packet from one to the other takes that is not lost.
    fn latency_between(&mut self, from: usize, to: usize) -> Duration {
        if !self.has_links {
            return self.latency();
        }
        let (a, b) = (from.min(to) as u64, from.max(to) as u64);
        let link = ChaCha8Rng::seed_from_u64(a << 32 | b).random_range(self.latency_us.clone());
        Duration::from_micros(link + self.rng.random_range(0..=JITTER_US))
    }

    /// Whether this packet is lost.
    pub fn loses(&mut self) -> bool {
        self.loss > 0.0 && self.rng.random_bool(self.loss)
    }

    /// How long a datagram takes, or none if it is lost.
    pub fn datagram(&mut self, from: usize, to: usize) -> Option<Duration> {
        (!self.is_cut(from, to) && !self.loses()).then(|| self.latency_between(from, to))
    }

    /// How long a packet of a stream takes, with all the times that it is sent again.
    pub fn stream(&mut self) -> Duration {
        self.sent_again() + self.latency()
    }

    /// The same, from one to the other.
    pub fn stream_between(&mut self, from: usize, to: usize) -> Duration {
        self.sent_again() + self.latency_between(from, to)
    }

    /// How long it takes until a packet of a stream is sent that is not lost.
    fn sent_again(&mut self) -> Duration {
        let (mut waited, mut wait) = (Duration::ZERO, RETRY);
        for _ in 0..RETRIES_MAX {
            if !self.loses() {
                break;
            }
            waited += wait;
            wait *= 2;
        }
        waited
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
    fn a_link_has_its_latency_in_both_directions() {
        let mut network = Network::of_links(10_000..50_000, 1, 0.0);
        let us = |network: &mut Network, a, b| network.datagram(a, b).unwrap().as_micros() as i128;
        let first = us(&mut network, 3, 7);
        for _ in 0..100 {
            assert!((us(&mut network, 7, 3) - first).abs() <= i128::from(JITTER_US));
            assert!(
                (network.stream_between(3, 7).as_micros() as i128 - first).abs() <= i128::from(JITTER_US)
            );
        }
        let all: Vec<i128> = (0..100).map(|a| us(&mut network, a, 200)).collect();
        assert!(all.iter().min() < Some(&15_000) && all.iter().max() > Some(&45_000), "{all:?}");
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

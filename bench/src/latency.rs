//! Latencies and their percentiles.
//!
//! Kept in an HDR histogram (Gil Tene): three significant digits over the whole range, so that a maximum of ten
//! seconds and a median of fifty microseconds are both told exactly enough, in a few kilobytes.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// The longest latency that is told apart from longer ones.
const LONGEST: Duration = Duration::from_secs(600);
/// Significant decimal digits.
const DIGITS: u8 = 3;

/// Latencies, as they come.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let longest = LONGEST.as_nanos() as u64;
        Latencies(Histogram::new_with_bounds(1, longest, DIGITS).expect("the bounds are constants that fit"))
    }
}

impl Latencies {
    /// Takes one in.
    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    /// Takes all of another in.
    pub fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// What is printed of them.
    pub fn summary(&self) -> Summary {
        let us = |ns: u64| ns as f64 / 1_000.0;
        let at = |quantile| us(self.0.value_at_quantile(quantile));
        Summary {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: us(self.0.max()),
        }
    }
}

/// The percentiles that are printed. With fewer than 100 (1,000) operations `p99` (`p99.9`) is the slowest of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Half took no longer.
    pub p50_us: f64,
    /// Nine in ten took no longer.
    pub p90_us: f64,
    /// 99 in a hundred took no longer.
    pub p99_us: f64,
    /// 999 in a thousand took no longer.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let (mut low, mut high) = (Latencies::default(), Latencies::default());
        (1..=500).for_each(|ms| low.record(Duration::from_millis(ms)));
        (501..=1_000).for_each(|ms| high.record(Duration::from_millis(ms)));
        low.merge(&high);
        let told = low.summary();
        assert_eq!(low.count(), 1_000);
        for (told, ms) in [(told.p50_us, 500.0), (told.p90_us, 900.0), (told.p99_us, 990.0)] {
            assert!((told / 1_000.0 - ms).abs() <= ms / 1_000.0, "{told} us is not {ms} ms");
        }
        assert!((told.max_us / 1_000.0 - 1_000.0).abs() <= 1.0, "{told:?}");
    }

    #[test]
    fn one_that_is_too_long_is_the_longest() {
        let mut all = Latencies::default();
        all.record(2 * LONGEST);
        assert!(all.summary().max_us >= LONGEST.as_micros() as f64);
    }
}

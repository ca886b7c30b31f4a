//! How long the disk takes, and how much it is given at once.

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Of all commits since the start. Clones share what they count.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    seconds: Histogram,
    rows: Histogram,
    checkpoint_seconds: Histogram,
}

impl Default for Meter {
    fn default() -> Self {
        // From an fsync of a good SSD, 0.25 ms, to a disk that has stopped, 8 s.
        let seconds = || Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        Meter {
            seconds: seconds(),
            rows: Histogram::new(exponential_buckets(1.0, 4.0, 7)),
            checkpoint_seconds: seconds(),
        }
    }
}

impl Meter {
    /// Notes a commit of so many rows of the log.
    pub(super) fn commit(&self, took: Duration, rows: usize) {
        self.seconds.observe(took.as_secs_f64());
        self.rows.observe(rows as f64);
    }

    /// Notes a commit with a checkpoint in it.
    pub(super) fn checkpoint(&self, took: Duration) {
        self.checkpoint_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "How long each commit of the log took, its fsync included";
        registry.register_with_unit("commit", help, Unit::Seconds, self.seconds.clone());
        registry.register("commit_rows", "Rows that each commit of the log made durable", self.rows.clone());
        let help = "How long each commit took that wrote the state down";
        registry.register_with_unit("checkpoint", help, Unit::Seconds, self.checkpoint_seconds.clone());
    }
}

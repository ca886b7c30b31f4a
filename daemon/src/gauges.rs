//! Traffic and faults, for the API.

use chinwag_base::{Address, Moment, NodeId};
use std::collections::BTreeMap;

/// What the API tells of traffic, and what is not well.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauges {
    pub(crate) rounds: u64,
    pub(crate) in_bytes: u64,
    pub(crate) out_bytes: u64,
    /// Why the last write failed, until one succeeds.
    pub(crate) storage_fault: Option<String>,
    /// Why the last batch of records failed, until one succeeds.
    pub(crate) records_fault: Option<String>,
    /// Per second over the last few seconds: rounds, bytes in, bytes out.
    pub(crate) rates: Option<[f64; 3]>,
    /// How each connected peer is connected.
    pub(crate) connections: BTreeMap<NodeId, Connected>,
    samples: Vec<(Moment, [u64; 3])>,
}

/// How a peer is connected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connected {
    /// Its address, as we see it.
    pub(crate) address: Address,
    /// Whether we dialled.
    pub(crate) dialled: bool,
}

/// Samples that rates are taken over.
const SAMPLES: usize = 6;

impl Gauges {
    /// Takes one of the samples that the rates are made of; to be called about once a second.
    pub(crate) fn sample(&mut self, now: Moment) {
        self.samples.push((now, [self.rounds, self.in_bytes, self.out_bytes]));
        if self.samples.len() > SAMPLES {
            self.samples.remove(0);
        }
        if let [(then, old), .., (_, new)] = self.samples.as_slice() {
            let seconds = now.since(*then).as_secs_f64().max(0.001);
            self.rates = Some(std::array::from_fn(|i| (new[i] - old[i]) as f64 / seconds));
        }
    }
}

//! One member alone: everything that it was told, told again to a new one, with its memory to itself.
//!
//! In the simulation each message meets another member, whose memory a thousand others have driven from the caches. In a
//! daemon there is one. Time and randomness are arguments, so a member that is told the same does the same.

use super::Chinwag;
use crate::membership::PASSES;
use chinwag_base::Moment;
use chinwag_membership::{Input, Membership, Recovered};
use std::time::Instant;

/// What one member was told.
pub(super) struct Recording {
    member: usize,
    seed: u64,
    started: Moment,
    inputs: Vec<(Moment, Input)>,
    /// What came before is not timed.
    measured_from: usize,
}

impl Recording {
    pub(super) fn new(member: usize, seed: u64, started: Moment) -> Self {
        Recording { member, seed, started, inputs: Vec::new(), measured_from: 0 }
    }

    pub(super) fn add(&mut self, at: Moment, input: &Input) {
        self.inputs.push((at, input.clone()));
    }

    pub(super) fn measure(&mut self) {
        self.measured_from = self.inputs.len();
    }
}

impl Chinwag {
    /// How long each message took, once per message and pass.
    pub(super) fn replay(&self, recording: &Recording) -> Vec<u32> {
        (0..PASSES).flat_map(|_| self.pass(recording)).collect()
    }

    fn pass(&self, recording: &Recording) -> Vec<u32> {
        let me = self.identities.identity(recording.member);
        let (config, seed) = (self.config.clone(), recording.seed);
        let mut membership = Membership::new(config, me, Recovered::default(), seed, recording.started);
        let (mut times, mut outputs) = (Vec::new(), Vec::new());
        for (which, (at, input)) in recording.inputs.iter().enumerate() {
            let is_timed = which >= recording.measured_from && matches!(input, Input::Message { .. });
            let input = input.clone();
            let begun = Instant::now();
            membership.handle(*at, input);
            while let Some(output) = membership.poll_output() {
                outputs.push(output);
            }
            if is_timed {
                times.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
            }
            outputs.clear();
        }
        times
    }
}

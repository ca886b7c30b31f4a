//! What is measured, and the one phi that is made of it.
//!
//! - Round trips and time-outs: RFC 6298 (smoothed round trip plus four deviations, backed off when it proves short).
//! - The phi between probes: Hayashibara, Défago, Yared, Katayama, "The phi accrual failure detector" (2004):
//!   -log10 of the probability that an arrival is later than this, by the history of arrivals.
//! - The phi of an investigation, which decides: `max(0, -log10(p^n + S(t)))`. A live member may be silent because
//!   n probes in a row failed, each with probability p, or because it stalls, which lasts longer than t with
//!   probability S(t). Both are measured: p by every prober over its live peers, the mean stall by its owner.

use chinwag_base::Moment;
use std::time::Duration;

/// Shorter time-outs would measure the scheduler of a busy machine.
pub(crate) const RTO_MIN: Duration = Duration::from_millis(50);
/// Longer ones would delay suspicion more than a lost probe costs.
pub(crate) const RTO_MAX: Duration = Duration::from_secs(2);
/// The measured probability of a failing probe stays within these: a few lucky samples prove nothing, and a
/// hopeless link must not stop detection altogether.
const LOSS_MIN: f64 = 0.01;
const LOSS_MAX: f64 = 0.5;
/// The longest mean stall that others are asked to forgive, so that a crash stays detectable.
pub(crate) const STALL_MEAN_MAX: Duration = Duration::from_secs(2);
/// A remembered stall counts half after this time.
const STALL_HALF_LIFE: Duration = Duration::from_secs(600);
/// The admitted mean is this part of the longest remembered stall, so that such a stall alone has a phi of 3.5.
const STALL_MEANS_PER_LONGEST: u32 = 8;
/// Where a displayed phi ends.
const PHI_MAX: f64 = 99.9;

/// The round trip to one peer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
    backoff: u8,
}

impl RoundTrip {
    /// RFC 6298, 2.2 and 2.3.
    pub(crate) fn sample(&mut self, rtt: Duration) {
        match self.smoothed {
            None => {
                self.smoothed = Some(rtt);
                self.variation = rtt / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(rtt)) / 4;
                self.smoothed = Some((smoothed * 7 + rtt) / 8);
            }
        }
        self.backoff = 0;
    }

    /// An ack came after the time-out. It is no sample (Karn), but the time-out was too short.
    pub(crate) fn late(&mut self) {
        self.backoff = (self.backoff + 1).min(6);
    }

    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The retransmission time-out; `initial` stands in where nothing was measured. Where RFC 6298 adds the granularity of
    /// a clock at least, this adds the round trip once more: after a few that were alike by chance the next would be
    /// taken for missing, and to look into that costs more than to wait for so long.
    pub(crate) fn rto(&self, initial: Duration) -> Duration {
        let base = self.smoothed.map_or(initial, |smoothed| smoothed + smoothed.max(self.variation * 4));
        (base.clamp(RTO_MIN, RTO_MAX) * (1 << self.backoff)).min(RTO_MAX)
    }
}

/// The probability that a probe of a live peer fails, both ways together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LossRate(f64);

impl LossRate {
    pub(crate) fn sample(&mut self, failed: bool) {
        const WEIGHT: f64 = 1.0 / 64.0;
        self.0 += WEIGHT * (f64::from(u8::from(failed)) - self.0);
    }

    pub(crate) fn get(&self) -> f64 {
        self.0.clamp(LOSS_MIN, LOSS_MAX)
    }
}

/// Our own stalls, as we admit them to others: the longest, fading.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stalls {
    longest: Duration,
    at: Moment,
}

impl Stalls {
    pub(crate) fn record(&mut self, now: Moment, lasted: Duration) {
        self.longest = self.longest(now).max(lasted);
        self.at = now;
    }

    fn longest(&self, now: Moment) -> Duration {
        let half_lives = now.since(self.at).as_secs_f64() / STALL_HALF_LIFE.as_secs_f64();
        self.longest.mul_f64(0.5f64.powf(half_lives))
    }

    /// The mean to advertise.
    pub(crate) fn mean(&self, now: Moment, floor: Duration) -> Duration {
        (self.longest(now) / STALL_MEANS_PER_LONGEST).clamp(floor, STALL_MEAN_MAX)
    }
}

/// The history of one peer's signs of life.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Arrivals {
    last: Option<Moment>,
    mean_s: f64,
    variance: f64,
    samples: u32,
}

impl Arrivals {
    pub(crate) fn sample(&mut self, now: Moment) {
        if let Some(last) = self.last {
            let interval = now.since(last).as_secs_f64();
            self.samples = (self.samples + 1).min(64);
            let weight = 1.0 / f64::from(self.samples);
            let difference = interval - self.mean_s;
            self.mean_s += weight * difference;
            self.variance += weight * (difference * difference - self.variance);
        }
        self.last = Some(now);
    }

    /// How suspicious the silence since the last arrival is. Deviations below `floor` are not believed.
    pub(crate) fn phi(&self, now: Moment, floor: Duration) -> f64 {
        let Some(last) = self.last.filter(|_| self.samples > 1) else { return 0.0 };
        let deviation = self.variance.sqrt().max(self.mean_s / 4.0).max(floor.as_secs_f64());
        let y = (now.since(last).as_secs_f64() - self.mean_s) / deviation;
        // The logistic approximation of the normal tail.
        let e = (-y * (1.5976 + 0.070566 * y * y)).exp();
        clamp(-(if y > 0.0 { e / (1.0 + e) } else { 1.0 - 1.0 / (1.0 + e) }).log10())
    }
}

/// The phi of an investigation: `failures` probes failed, each likely with `loss`; the first was sent `silent` ago.
/// Without a mean stall, stalling is no excuse: the subject's host refused, and a stalled process does not refuse.
pub(crate) fn phi(loss: f64, failures: u32, silent: Duration, stall_mean: Option<Duration>) -> f64 {
    let all_failed = loss.powi(i32::try_from(failures).unwrap_or(i32::MAX));
    let stalls = stall_mean.map_or(0.0, |mean| (-silent.as_secs_f64() / mean.as_secs_f64()).exp());
    clamp(-(all_failed + stalls).log10())
}

/// The silence after which [`phi`] reaches `threshold`, if no further probe fails; `None` if only more failures help.
pub(crate) fn time_to_phi(
    loss: f64,
    failures: u32,
    threshold: f64,
    stall_mean: Duration,
) -> Option<Duration> {
    let room = 10f64.powf(-threshold) - loss.powi(i32::try_from(failures).unwrap_or(i32::MAX));
    (room > 0.0).then(|| stall_mean.mul_f64((-room.ln()).max(0.0)))
}

/// Whether `phi` reaches `threshold`, within the rounding of logarithms.
pub(crate) fn reaches(phi: f64, threshold: f64) -> bool {
    phi + 1e-9 >= threshold
}

fn clamp(phi: f64) -> f64 {
    if phi.is_nan() { PHI_MAX } else { phi.clamp(0.0, PHI_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.01
    }

    #[test]
    fn time_outs_follow_rfc_6298() {
        let mut rtt = RoundTrip::default();
        assert_eq!(rtt.rto(ms(300)), ms(300));
        rtt.sample(ms(100)); // srtt 100, rttvar 50
        assert_eq!(rtt.rto(ms(300)), ms(300));
        rtt.sample(ms(60)); // rttvar 3/4*50 + 1/4*40 = 47.5, srtt 7/8*100 + 1/8*60 = 95
        assert_eq!(rtt.smoothed(), Some(ms(95)));
        assert_eq!(rtt.rto(ms(300)), ms(285));
        rtt.late();
        assert_eq!(rtt.rto(ms(300)), ms(570));
        (0..50).for_each(|_| rtt.sample(ms(100))); // rttvar next to nothing
        assert!(rtt.rto(ms(300)).abs_diff(ms(200)) < ms(2), "{:?}", rtt.rto(ms(300)));
        (0..9).for_each(|_| rtt.late());
        assert_eq!(rtt.rto(ms(300)), RTO_MAX);
        (0..99).for_each(|_| rtt.sample(ms(1)));
        assert_eq!(rtt.rto(ms(300)), RTO_MIN);
    }

    #[test]
    fn phi_is_what_the_formula_says() {
        let mean = Some(ms(300));
        assert_eq!(phi(0.01, 0, ms(9_999), mean), 0.0, "no failed probe is no evidence");
        assert!(near(phi(0.01, 4, ms(100), None), 8.0));
        assert!(reaches(phi(0.01, 4, ms(100), None), 8.0));
        assert!(near(phi(0.01, 9, ms(691), mean), 1.0), "300 ms * ln 10 = 691 ms");
        assert!(near(phi(0.01, 9, ms(5_526), mean), 8.0), "300 ms * 8 ln 10 = 5.53 s");
        assert!(near(phi(0.1, 1, ms(691), mean), 0.699), "-log10(0.1 + 0.1)");
        assert_eq!(phi(0.01, u32::MAX, ms(u64::MAX / 2_000_000), mean), PHI_MAX);
    }

    #[test]
    fn the_time_to_a_phi_is_its_inverse() {
        let t = time_to_phi(0.01, 9, 8.0, ms(300)).unwrap();
        assert!(near(phi(0.01, 9, t, Some(ms(300))), 8.0));
        assert_eq!(time_to_phi(0.01, 4, 8.0, ms(300)), None, "0.01^4 alone uses up the room");
    }

    #[test]
    fn stalls_are_admitted_in_proportion_and_forgotten() {
        let mut stalls = Stalls::default();
        assert_eq!(stalls.mean(Moment::ZERO, ms(300)), ms(300));
        stalls.record(Moment::ZERO, ms(8_000));
        assert_eq!(stalls.mean(Moment::ZERO, ms(300)), ms(1_000));
        assert_eq!(stalls.mean(Moment::from_millis(600_000), ms(300)), ms(500));
        stalls.record(Moment::ZERO, ms(60_000));
        assert_eq!(stalls.mean(Moment::ZERO, ms(300)), STALL_MEAN_MAX);
    }

    #[test]
    fn silence_grows_suspicious_by_the_history_of_arrivals() {
        let mut arrivals = Arrivals::default();
        (0..20).for_each(|n| arrivals.sample(Moment::from_millis(n * 1_000)));
        let at = |millis: u64| arrivals.phi(Moment::from_millis(19_000 + millis), ms(300));
        assert!(at(500) < 0.1, "{}", at(500));
        assert!(near(at(1_000), 0.301), "half of all arrivals are later than the mean");
        assert!(at(2_000) > 3.0 && at(2_000) < at(3_000));
    }

    #[test]
    fn loss_is_learned_within_its_bounds() {
        let mut loss = LossRate::default();
        assert_eq!(loss.get(), LOSS_MIN);
        (0..1_000).for_each(|n| loss.sample(n % 5 == 0));
        assert!((0.1..0.3).contains(&loss.get()), "{}", loss.get());
        (0..1_000).for_each(|_| loss.sample(true));
        assert_eq!(loss.get(), LOSS_MAX);
    }
}

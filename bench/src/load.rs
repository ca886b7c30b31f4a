//! Load: so many operations, so many at a time, for so long at most.
//!
//! The load is closed: each of `concurrent` workers starts its next operation when its last one has ended. A system
//! that stalls is therefore asked less while it stalls, which flatters its throughput but no single latency.

use crate::cost;
use crate::latency::{Latencies, Summary};
use serde::Serialize;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Different reasons for failures that are kept.
const REASONS_MAX: usize = 8;

/// How much to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Operations.
    pub count: u64,
    /// How many are under way at any time.
    pub concurrent: usize,
    /// After this no further operation is started.
    pub at_most: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Of every operation, failed ones too: somebody waited for those as well.
    pub latencies: Latencies,
    /// Operations that ended in an error.
    pub failed: u64,
    /// Why, and how often.
    pub reasons: BTreeMap<String, u64>,
    /// From the first start to the last end.
    pub elapsed: Duration,
    /// Processor time of this process meanwhile.
    pub cpu: Duration,
    /// Processor time of all other processes meanwhile.
    pub cpu_elsewhere: Duration,
}

/// An [`Outcome`] in figures.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Operations that were made; fewer than planned if time ran out.
    pub operations: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Why they failed, and how often.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
    /// Percentiles.
    #[serde(flatten)]
    pub latency: Summary,
    /// Operations a second that succeeded.
    pub per_second: f64,
    /// Processor time an operation, of everything in this process.
    pub cpu_us_per_op: f64,
    /// The part of the machine, all cores together, that other processes used meanwhile. Where it is not small, the
    /// latencies tell of the machine as much as of what was measured.
    pub elsewhere_percent: f64,
}

impl Outcome {
    /// Takes in what came of the same load at another time.
    pub fn absorb(&mut self, other: Outcome) {
        self.latencies.merge(&other.latencies);
        self.failed += other.failed;
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.elapsed += other.elapsed;
        self.cpu += other.cpu;
        self.cpu_elsewhere += other.cpu_elsewhere;
    }

    /// In figures.
    pub fn figures(&self) -> Figures {
        let operations = self.latencies.count();
        let each = operations.max(1) as f64;
        Figures {
            operations,
            failed: self.failed,
            reasons: self.reasons.clone(),
            latency: self.latencies.summary(),
            per_second: (operations - self.failed) as f64 / self.elapsed.as_secs_f64().max(1e-9),
            cpu_us_per_op: self.cpu.as_secs_f64() * 1e6 / each,
            elsewhere_percent: 100.0 * self.cpu_elsewhere.as_secs_f64()
                / (self.elapsed.as_secs_f64() * cost::cores() as f64).max(1e-9),
        }
    }
}

/// Makes the operations `0..count` of `plan` with `operation`, whose error is a reason in words.
pub async fn drive<F, O>(plan: Plan, operation: F) -> Outcome
where
    F: Fn(u64) -> O + Send + Sync + 'static,
    O: Future<Output = Result<(), String>> + Send + 'static,
{
    let operation = Arc::new(operation);
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    let (begun, cpu, all) = (Instant::now(), cost::cpu(), cost::cpu_of_all());
    for _ in 0..plan.concurrent.max(1) {
        let (operation, next) = (operation.clone(), next.clone());
        workers.spawn(async move {
            let (mut latencies, mut failures) = (Latencies::default(), Vec::new());
            while begun.elapsed() < plan.at_most {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= plan.count {
                    break;
                }
                let started = Instant::now();
                let ended = operation(number).await;
                latencies.record(started.elapsed());
                failures.extend(ended.err());
            }
            (latencies, failures)
        });
    }
    let (mut latencies, mut reasons, mut failed) = (Latencies::default(), BTreeMap::new(), 0);
    for (theirs, failures) in workers.join_all().await {
        latencies.merge(&theirs);
        failed += failures.len() as u64;
        for reason in failures {
            let known = reasons.len() < REASONS_MAX || reasons.contains_key(&reason);
            *reasons.entry(if known { reason } else { "other".to_owned() }).or_default() += 1;
        }
    }
    let (elapsed, cpu) = (begun.elapsed(), cost::cpu() - cpu);
    let all = cost::cpu_of_all().zip(all).map(|(now, then)| now.saturating_sub(then));
    let cpu_elsewhere = all.unwrap_or_default().saturating_sub(cpu);
    Outcome { latencies, failed, reasons, elapsed, cpu, cpu_elsewhere }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { count: 100, concurrent: 7, at_most: Duration::from_secs(60) };

    #[tokio::test]
    async fn every_operation_is_made_once() {
        let made = Arc::new(AtomicU64::new(0));
        let sum = made.clone();
        let outcome = drive(PLAN, move |n| {
            sum.fetch_add(n, Ordering::Relaxed);
            std::future::ready(if n % 10 == 0 { Err("ten".to_owned()) } else { Ok(()) })
        });
        let outcome = outcome.await;
        assert_eq!(made.load(Ordering::Relaxed), 99 * 100 / 2);
        assert_eq!((outcome.latencies.count(), outcome.failed), (100, 10));
        assert_eq!(outcome.reasons, BTreeMap::from([("ten".to_owned(), 10)]));
    }

    #[tokio::test]
    async fn it_ends_in_time() {
        let plan = Plan { at_most: Duration::from_millis(50), count: u64::MAX, ..PLAN };
        let outcome = drive(plan, |_| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(())
        });
        let figures = outcome.await.figures();
        assert!(figures.operations >= 7 && figures.latency.p50_us >= 5_000.0, "{figures:?}");
        // As many a second as the workers allow, or fewer on a busy machine.
        assert!(figures.per_second <= 7.0 / 0.005, "{figures:?}");
    }
}

//! What is printed.

use crate::args::Args;
use crate::many::Seed;
use chinwag_sim::checkers::Violation;
use chinwag_sim::figures::{Figures, Spread};
use chinwag_sim::plan::Plan;
use chinwag_sim::run::Outcome;
use chinwag_sim::world::Tally;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::time::Duration;

/// Violations of one seed that are shown; the first ones tell most.
const SHOWN: usize = 5;
/// Of so many seeds at least half must have shown something, or the run has failed.
const COUNTED_SHARE_MIN: f64 = 0.5;

/// The report, on stdout. Whoever has closed the other end of a pipe has seen enough.
pub(crate) fn print(text: &str) {
    let _closed = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", text.trim_end()));
}

#[allow(clippy::print_stderr, reason = "prose goes to stderr, so that stdout is the report alone")]
pub(crate) fn say(text: &str) {
    eprintln!("{}", text.trim_end());
}

/// A progress bar on stderr, if that is a terminal.
pub(crate) fn bar(len: u64, unit: &str) -> ProgressBar {
    let style = format!("{{bar:40}} {{pos}}/{{len}} {unit}, {{eta}} to go");
    let style = ProgressStyle::with_template(&style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len).with_style(style)
}

/// A seed that failed, in a few lines.
pub(crate) fn of_failed(outcome: &Outcome, replay: &str) -> String {
    let mut text = format!("seed {} failed:\n", outcome.seed);
    violations(&mut text, &outcome.failed);
    let _ = writeln!(text, "  again: {replay}");
    text
}

fn violations(text: &mut String, failed: &[Violation]) {
    for Violation { checker, at_ms, what } in failed.iter().take(SHOWN) {
        let _ = writeln!(text, "  {checker}, at {:.3} s: {what}", *at_ms as f64 / 1e3);
    }
    if failed.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", failed.len() - SHOWN);
    }
}

/// One run.
pub(crate) fn of_one(plan: &Plan, outcome: &Outcome, took: Duration) -> String {
    let mut text = String::new();
    let verdict = if outcome.failed.is_empty() { "passed" } else { "FAILED" };
    let _ = writeln!(
        text,
        "seed {}: {verdict} · {} hosts · {:.1} s of virtual time in {:.2} s · {} events ({}/s) · trace {:016x}",
        outcome.seed,
        plan.hosts,
        outcome.lasted.as_secs_f64(),
        took.as_secs_f64(),
        outcome.events,
        (outcome.events as f64 / took.as_secs_f64().max(1e-6)) as u64,
        outcome.trace_hash
    );
    violations(&mut text, &outcome.failed);
    figures(&mut text, &outcome.figures);
    tally(&mut text, "had in it", &outcome.exercised);
    tally(&mut text, "was looked at", &outcome.checked);
    text
}

fn figures(text: &mut String, figures: &Figures) {
    let _ = writeln!(text, "\n  {:<26} {:>8} {:>8} {:>8} {:>8}", "", "median", "p99", "max", "of");
    for (name, values) in figures.rows() {
        match Spread::of(values) {
            Some(Spread { count, median, p99, max }) => {
                let _ = writeln!(text, "  {name:<26} {median:>8} {p99:>8} {max:>8} {count:>8}");
            }
            None => {
                let _ = writeln!(text, "  {name:<26} {:>8} {:>8} {:>8} {:>8}", "-", "-", "-", 0);
            }
        }
    }
    let _ = writeln!(
        text,
        "  false deaths {}, false suspicions {}",
        figures.false_deaths, figures.false_suspicions
    );
}

fn tally(text: &mut String, title: &str, tally: &Tally) {
    let _ = write!(text, "\n  what it {title}:");
    for (at, (name, count)) in tally.iter().enumerate() {
        let _ = write!(text, "{} {name} {count}", if at % 4 == 0 { "\n   " } else { " ·" });
    }
    text.push('\n');
}

fn json_of_figures(figures: &Figures) -> Value {
    let mut map = Map::new();
    for (name, values) in figures.rows() {
        map.insert(name.to_owned(), json!(Spread::of(values)));
    }
    map.insert("false_deaths".to_owned(), json!(figures.false_deaths));
    map.insert("false_suspicions".to_owned(), json!(figures.false_suspicions));
    Value::Object(map)
}

/// One run, as one object.
pub(crate) fn json_of_one(outcome: &Outcome, took: Duration) -> String {
    json!({
        "schema": "chinwag-sim/run/1",
        "seed": outcome.seed,
        "trace_hash": format!("{:016x}", outcome.trace_hash),
        "events": outcome.events,
        "failed": outcome.failed,
        "converged_ms": outcome.figures.converged_ms.first(),
        "virtual_ms": outcome.lasted.as_millis() as u64,
        "took_ms": took.as_millis() as u64,
        "counts": outcome.counts(),
        "figures": json_of_figures(&outcome.figures),
        "exercised": outcome.exercised,
        "checked": outcome.checked,
    })
    .to_string()
}

/// Many runs.
pub(crate) struct Summary {
    seeds: usize,
    counted: usize,
    twice: usize,
    differing: Vec<u64>,
    failed: Vec<(u64, Vec<Violation>)>,
    events: u64,
    /// A hash of the hashes.
    trace_hash: u64,
    figures: Figures,
    exercised: Tally,
    checked: Tally,
    hosts: Vec<u64>,
    took: Duration,
    /// The time of all runs, on whatever core.
    worked: Duration,
}

impl Summary {
    pub(crate) fn of(all: &[Seed], took: Duration) -> Self {
        let mut summary = Summary {
            seeds: all.len(),
            counted: 0,
            twice: 0,
            differing: Vec::new(),
            failed: Vec::new(),
            events: 0,
            trace_hash: 0,
            figures: Figures::default(),
            exercised: Tally::new(),
            checked: Tally::new(),
            hosts: Vec::new(),
            took,
            worked: Duration::ZERO,
        };
        for Seed { outcome, took, differs } in all {
            summary.counted += usize::from(outcome.counts());
            summary.twice += usize::from(differs.is_some());
            if *differs == Some(true) {
                summary.differing.push(outcome.seed);
            }
            if !outcome.failed.is_empty() {
                summary.failed.push((outcome.seed, outcome.failed.clone()));
            }
            summary.events += outcome.events;
            summary.trace_hash = summary.trace_hash.rotate_left(7) ^ outcome.trace_hash;
            summary.figures.add(&outcome.figures);
            for (into, from) in
                [(&mut summary.exercised, &outcome.exercised), (&mut summary.checked, &outcome.checked)]
            {
                for (name, count) in from {
                    *into.entry(name).or_default() += count;
                }
            }
            summary.hosts.extend(outcome.exercised.get("starts"));
            summary.worked += *took;
        }
        summary
    }

    /// Whether every seed passed, ran the same way twice, and enough of them showed anything.
    pub(crate) fn passed(&self) -> bool {
        self.failed.is_empty()
            && self.differing.is_empty()
            && self.counted as f64 >= self.seeds as f64 * COUNTED_SHARE_MIN
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{} of {} seeds passed in {:.1} s; {} of them had faults, writes and company; {} ran twice, {} of these \
             differently; {} events, {}/s a core; trace {:016x}",
            self.seeds - self.failed.len(),
            self.seeds,
            self.took.as_secs_f64(),
            self.counted,
            self.twice,
            self.differing.len(),
            self.events,
            (self.events as f64 / self.worked.as_secs_f64().max(1e-6)) as u64,
            self.trace_hash
        );
        if let Some(hosts) = Spread::of(&self.hosts) {
            let _ = writeln!(text, "hosts: {} in the median, {} at most", hosts.median, hosts.max);
        }
        for (seed, failed) in &self.failed {
            let _ = writeln!(
                text,
                "seed {seed}: {} violations, first {}: {}",
                failed.len(),
                failed[0].checker,
                failed[0].what
            );
        }
        for seed in &self.differing {
            let _ = writeln!(text, "seed {seed}: two runs of it were not the same");
        }
        figures(&mut text, &self.figures);
        tally(&mut text, "had in it", &self.exercised);
        tally(&mut text, "was looked at", &self.checked);
        text
    }

    pub(crate) fn to_json(&self, args: &Args) -> String {
        let failed: Vec<Value> = self
            .failed
            .iter()
            .map(|(seed, failed)| json!({ "seed": seed, "violations": failed, "again": args.replay(*seed) }))
            .collect();
        json!({
            "schema": "chinwag-sim/seeds/1",
            "seed": args.seed,
            "seeds": self.seeds,
            "counted": self.counted,
            "ran_twice": self.twice,
            "ran_differently": self.differing,
            "trace_hash": format!("{:016x}", self.trace_hash),
            "events": self.events,
            "events_per_core_second": (self.events as f64 / self.worked.as_secs_f64().max(1e-6)) as u64,
            "failed": failed,
            "converged_ms": Spread::of(&self.figures.converged_ms),
            "took_ms": self.took.as_millis() as u64,
            "figures": json_of_figures(&self.figures),
            "exercised": self.exercised,
            "checked": self.checked,
        })
        .to_string()
    }
}

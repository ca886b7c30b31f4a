//! Figures of many runs: how they spread, and what they add up to.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// How one figure spreads over the runs. Percentiles are values that were measured: the smallest that so many do not
/// exceed. Of fewer than 100 runs, `p99` is the largest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the runs did not exceed it.
    pub median: f64,
    /// 99 of 100.
    pub p99: f64,
    /// None did.
    pub max: f64,
}

impl Spread {
    /// Of these; none if there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at =
            |percent: usize| values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Spread { median: at(50)?, p99: at(99)?, max: at(100)? })
    }
}

/// What one run came to.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Figures that spread. One that was not reached has no value.
    pub spreads: Vec<(&'static str, Option<f64>)>,
    /// Figures that are added up.
    pub sums: Vec<(&'static str, f64)>,
}

/// What all runs of one system came to.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    spreads: Vec<(&'static str, Option<Spread>)>,
    sums: Vec<(&'static str, f64)>,
}

impl Figures {
    /// Of these runs, each with the same figures in the same order.
    pub fn of(runs: &[Run]) -> Self {
        let mut figures = Figures::default();
        let spread_names = names(runs.iter().map(|run| run.spreads.iter().map(|(name, _)| *name)));
        for name in spread_names {
            let of_run =
                |run: &Run| run.spreads.iter().find(|(n, _)| *n == name).and_then(|(_, value)| *value);
            figures.spreads.push((name, Spread::of(runs.iter().filter_map(of_run).collect())));
        }
        figures.sums.push(("runs", runs.len() as f64));
        for name in names(runs.iter().map(|run| run.sums.iter().map(|(name, _)| *name))) {
            let of_run = |run: &Run| run.sums.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
            figures.sums.push((name, runs.iter().filter_map(of_run).sum()));
        }
        if let (Some(deaths), Some(seconds)) = (figures.sum("false_deaths"), figures.sum("node_seconds"))
            && seconds > 0.0
        {
            figures.sums.push(("false_deaths_per_million_node_seconds", deaths / seconds * 1e6));
        }
        figures
    }

    /// All names, those that spread first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.spreads.iter().map(|(name, _)| *name).chain(self.sums.iter().map(|(name, _)| *name))
    }

    /// How one spreads.
    pub fn spread(&self, name: &str) -> Option<Spread> {
        self.spreads.iter().find(|(n, _)| *n == name).and_then(|(_, spread)| *spread)
    }

    /// What one adds up to.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.sums.iter().find(|(n, _)| *n == name).map(|(_, sum)| *sum)
    }

    /// As JSON: a figure that no run reached is null.
    pub fn json(&self) -> Map<String, Value> {
        let rounded = |spread: &Spread| Spread {
            median: round(spread.median),
            p99: round(spread.p99),
            max: round(spread.max),
        };
        let spreads = self
            .spreads
            .iter()
            .map(|(name, spread)| ((*name).to_owned(), json!(spread.as_ref().map(rounded))));
        let sums = self.sums.iter().map(|(name, sum)| ((*name).to_owned(), number(round(*sum))));
        spreads.chain(sums).collect()
    }
}

/// Names in the order in which they come first.
fn names<'a>(runs: impl Iterator<Item = impl Iterator<Item = &'a str>>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for name in runs.flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// To six decimals: nothing here is known better.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// A whole number without a point.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let of = |count: usize| Spread::of((1..=count).rev().map(|n| n as f64).collect());
        assert_eq!(of(100), Some(Spread { median: 50.0, p99: 99.0, max: 100.0 }));
        assert_eq!(of(20), Some(Spread { median: 10.0, p99: 20.0, max: 20.0 }));
        assert_eq!(of(1), Some(Spread { median: 1.0, p99: 1.0, max: 1.0 }));
        assert_eq!(of(0), None);
    }

    #[test]
    fn a_figure_that_was_not_reached_is_left_out() {
        let run = |value, deaths| Run {
            spreads: vec![("all_down_s", value)],
            sums: vec![("false_deaths", deaths), ("node_seconds", 1_000.0)],
        };
        let figures = Figures::of(&[run(Some(2.0), 1.0), run(None, 0.0), run(Some(4.0), 0.0)]);
        assert_eq!(figures.spread("all_down_s").map(|s| (s.median, s.max)), Some((2.0, 4.0)));
        assert_eq!((figures.sum("runs"), figures.sum("false_deaths")), (Some(3.0), Some(1.0)));
        let per_million = figures.sum("false_deaths_per_million_node_seconds").unwrap();
        assert!((per_million - 333.3).abs() < 0.1);
        assert!(Figures::of(&[run(None, 0.0)]).json()["all_down_s"].is_null());
    }
}

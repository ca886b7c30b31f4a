//! Figures of one experiment: of each system, side by side, with the goals that chinwag set itself.

use crate::membership::figures::Spread;
use crate::report;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A figure with its unit in its name: one value, or how several spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// Measured once, or added up.
    One(f64),
    /// Of several runs.
    Spread(Spread),
}

/// What one system came to.
#[derive(Debug, Clone, Default)]
pub struct Column {
    figures: Vec<(String, Figure)>,
    skipped: Option<String>,
}

impl Column {
    /// Of a system that is not measured, and why.
    pub fn skipped(why: impl Into<String>) -> Self {
        Column { skipped: Some(why.into()), ..Column::default() }
    }

    /// Adds a figure that there is one of.
    pub fn one(&mut self, name: impl Into<String>, value: f64) {
        self.figures.push((name.into(), Figure::One(value)));
    }

    /// Adds a figure that several runs have. Nothing if there are no runs.
    pub fn spread(&mut self, name: impl Into<String>, values: Vec<f64>) {
        if let Some(spread) = Spread::of(values) {
            self.figures.push((name.into(), Figure::Spread(spread)));
        }
    }

    fn get(&self, name: &str) -> Option<Figure> {
        self.figures.iter().find(|(n, _)| n == name).map(|(_, figure)| *figure)
    }

    fn json(&self) -> Value {
        if let Some(why) = &self.skipped {
            return json!({ "skipped": why });
        }
        let mut object = Map::new();
        for (name, figure) in &self.figures {
            let value = match figure {
                Figure::One(value) => number(*value),
                Figure::Spread(spread) => json!({
                    "median": number(spread.median), "p99": number(spread.p99), "max": number(spread.max),
                }),
            };
            object.insert(name.clone(), value);
        }
        Value::Object(object)
    }
}

/// To six decimals, and a whole number without a point.
fn number(value: f64) -> Value {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded.fract() == 0.0 && rounded.abs() < 1e15 { json!(rounded as i64) } else { json!(rounded) }
}

/// Which side of a goal is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No more than that.
    AtMost,
    /// No less.
    AtLeast,
}

/// Which value of a figure is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// The median, or the only one.
    Median,
    /// The 99th percentile.
    P99,
}

/// A figure of chinwag's, and what it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goal {
    /// The figure's name.
    pub figure: String,
    /// Which of its values.
    pub of: Of,
    /// Which side is good.
    pub bound: Bound,
    /// What it should be.
    pub goal: f64,
    /// What it was; nothing if it was not reached.
    pub measured: Option<f64>,
    /// Whether that will do.
    pub met: bool,
}

/// What an experiment came to.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    /// How it was done, for people and for whoever does it again.
    pub details: Vec<(&'static str, Value)>,
    /// chinwag first.
    pub columns: Vec<(&'static str, Column)>,
    /// What chinwag set itself.
    pub goals: Vec<Goal>,
}

impl Sheet {
    /// Adds a goal for a figure of the first column.
    pub fn goal(&mut self, figure: impl Into<String>, of: Of, bound: Bound, goal: f64) {
        let figure = figure.into();
        let measured = self.columns.first().and_then(|(_, ours)| ours.get(&figure)).map(|f| match (f, of) {
            (Figure::One(value), _) => value,
            (Figure::Spread(spread), Of::Median) => spread.median,
            (Figure::Spread(spread), Of::P99) => spread.p99,
        });
        let met = measured.is_some_and(|measured| match bound {
            Bound::AtMost => measured <= goal,
            Bound::AtLeast => measured >= goal,
        });
        self.goals.push(Goal { figure, of, bound, goal, measured, met });
    }

    /// The systems as one object.
    pub fn systems(&self) -> Value {
        let columns = self.columns.iter().map(|(name, column)| ((*name).to_owned(), column.json()));
        Value::Object(columns.collect())
    }

    /// A row for each figure, with the goal beside chinwag's own value.
    pub fn table(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.columns.iter().flat_map(|(_, column)| &column.figures) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let mut verdicts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for goal in &self.goals {
            let of = if goal.of == Of::P99 { "p99 " } else { "" };
            let bound = if goal.bound == Bound::AtMost { "<=" } else { ">=" };
            let met = if goal.met { "met" } else { "MISSED" };
            let words = format!("{of}{bound} {}: {met}", short(goal.goal));
            verdicts.entry(&goal.figure).or_default().push(words);
        }
        let mut head = vec!["median / p99"];
        for (at, (system, _)) in self.columns.iter().enumerate() {
            head.push(system);
            if at == 0 {
                head.push("goal");
            }
        }
        let rows: Vec<Vec<String>> = names
            .into_iter()
            .map(|name| {
                let mut row = vec![name.to_owned()];
                for (at, (_, column)) in self.columns.iter().enumerate() {
                    row.push(match (&column.skipped, column.get(name)) {
                        (Some(_), _) => "skipped".to_owned(),
                        (None, None) => "-".to_owned(),
                        (None, Some(Figure::One(value))) => short(value),
                        (None, Some(Figure::Spread(spread))) => {
                            format!("{} / {}", short(spread.median), short(spread.p99))
                        }
                    });
                    if at == 0 {
                        row.push(verdicts.get(name).map(|words| words.join(", ")).unwrap_or_default());
                    }
                }
                row
            })
            .collect();
        let mut text = report::table(&head, &rows);
        for (system, column) in &self.columns {
            if let Some(why) = &column.skipped {
                text.push_str(&format!("{system}: skipped, {why}\n"));
            }
        }
        text
    }
}

/// Whole numbers as they are, others to three digits or so.
fn short(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { report::number(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_look_at_the_first_column_and_at_the_right_side() {
        let mut ours = Column::default();
        ours.spread("compute_us", vec![10.0, 20.0, 30.0]);
        ours.one("joins_per_s", 5.0);
        let mut theirs = Column::default();
        theirs.one("compute_us", 900.5);
        let mut sheet = Sheet { columns: vec![("chinwag", ours), ("peer", theirs)], ..Sheet::default() };
        sheet.goal("compute_us", Of::Median, Bound::AtMost, 20.0);
        sheet.goal("compute_us", Of::P99, Bound::AtMost, 20.0);
        sheet.goal("joins_per_s", Of::Median, Bound::AtLeast, 6.0);
        sheet.goal("absent", Of::Median, Bound::AtMost, 6.0);
        assert_eq!(sheet.goals.iter().map(|goal| goal.met).collect::<Vec<_>>(), [true, false, false, false]);
        let table = sheet.table();
        assert!(table.contains("<= 20: met, p99 <= 20: MISSED") && table.contains("900"), "{table}");
        assert_eq!(sheet.systems()["peer"]["compute_us"], 900.5);
        sheet.columns.push(("other", Column::skipped("it is not installed")));
        assert!(sheet.table().contains("other: skipped, it is not installed"));
    }
}

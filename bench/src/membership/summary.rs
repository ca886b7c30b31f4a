//! Figures of several systems, side by side.

use super::figures::Figures;
use super::goals::{Goal, Of};
use crate::report;

/// A table: a row for each figure, with chinwag's goals beside its own values.
pub fn table(systems: &[(String, Option<Figures>)], goals: &[Goal]) -> String {
    let mut names: Vec<&'static str> = Vec::new();
    for name in systems.iter().filter_map(|(_, figures)| figures.as_ref()).flat_map(Figures::names) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut head = vec!["median / p99".to_owned()];
    for (at, (system, _)) in systems.iter().enumerate() {
        head.push(system.clone());
        if at == 0 && !goals.is_empty() {
            head.push("goal".to_owned());
        }
    }
    let rows: Vec<Vec<String>> = names
        .into_iter()
        .map(|name| {
            let mut row = vec![name.to_owned()];
            for (at, (_, figures)) in systems.iter().enumerate() {
                row.push(
                    figures.as_ref().map_or_else(|| "skipped".to_owned(), |figures| cell(figures, name)),
                );
                if at == 0 && !goals.is_empty() {
                    row.push(verdict(name, goals));
                }
            }
            row
        })
        .collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    report::table(&head, &rows)
}

fn cell(figures: &Figures, name: &str) -> String {
    match (figures.spread(name), figures.sum(name)) {
        (Some(spread), _) => format!("{} / {}", number(spread.median), number(spread.p99)),
        (_, Some(sum)) => number(sum),
        _ => "-".to_owned(),
    }
}

fn verdict(name: &str, goals: &[Goal]) -> String {
    let of_name = goals.iter().filter(|goal| goal.figure == name);
    let words: Vec<String> = of_name
        .map(|goal| {
            let which = match goal.of {
                Of::Median => "median ",
                Of::P99 => "p99 ",
                Of::Max | Of::Sum => "",
            };
            format!("{which}{} {}", number(goal.goal), if goal.met { "met" } else { "missed" })
        })
        .collect();
    words.join(", ")
}

/// Whole numbers as they are, others to three digits or so.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { report::number(value) }
}

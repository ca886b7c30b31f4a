//! What chinwag's membership set itself.

use super::experiment::Experiment;
use super::figures::Figures;
use super::options::{Delivery, Part, Setting};
use chinwag_membership::Profile;
use serde::Serialize;
use std::time::Duration;

/// Below so many members nobody can confirm a crash soon enough, and the goal is only that it is found.
const FEW: usize = 6;

/// Which value of a figure is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// The median of all runs.
    Median,
    /// The 99th percentile.
    P99,
    /// The largest.
    Max,
    /// The sum.
    Sum,
}

/// A figure and the most that it may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Goal {
    /// The figure's name.
    pub figure: &'static str,
    /// Which of its values.
    pub of: Of,
    /// The most that it may be, or the least for runs that are complete.
    pub goal: f64,
    /// What it was.
    pub measured: Option<f64>,
    /// Whether that will do.
    pub met: bool,
}

/// The goals that hold for an experiment, and whether they were met.
pub fn goals(experiment: Experiment, setting: &Setting, figures: &Figures) -> Vec<Goal> {
    let at_most = |figure, of, goal| {
        let measured = match of {
            Of::Median => figures.spread(figure).map(|spread| spread.median),
            Of::P99 => figures.spread(figure).map(|spread| spread.p99),
            Of::Max => figures.spread(figure).map(|spread| spread.max),
            Of::Sum => figures.sum(figure),
        };
        Goal { figure, of, goal, measured, met: measured.is_some_and(|measured| measured <= goal) }
    };
    let all_complete = || {
        let measured = figures.sum("complete_runs");
        let goal = figures.sum("runs").unwrap_or_default();
        Goal { figure: "complete_runs", of: Of::Sum, goal, measured, met: measured >= Some(goal) }
    };
    match experiment {
        Experiment::Crash { gone, kill, .. } => {
            let mut goals = vec![all_complete(), at_most("false_deaths", Of::Sum, 0.0)];
            if gone == Part::Count(1) && setting.nodes >= FEW {
                let times = crash_times(kill, setting);
                goals.extend(times.iter().map(|(figure, of, goal)| at_most(figure, *of, *goal)));
            }
            goals
        }
        Experiment::Join { .. } => vec![all_complete(), at_most("complete_s", Of::P99, 3.0)],
        Experiment::Steady { .. } => {
            let mut goals = vec![at_most("false_deaths", Of::Sum, 0.0)];
            if setting.profile == Profile::Lan && setting.loss == 0.0 {
                goals.push(at_most("bytes_per_node_second", Of::Median, 60.0));
            }
            goals.push(at_most("handle_alone_ns", Of::Median, 500.0));
            goals
        }
        Experiment::Stalls { .. } => vec![
            at_most("false_deaths", Of::Sum, 0.0),
            at_most("deaths_of_stalling_after_one_as_long", Of::Max, 0.0),
        ],
        Experiment::Partition { lasts, .. } => {
            /// Nothing was promised for longer ones.
            const LONGEST: Duration = Duration::from_secs(600);
            if lasts <= LONGEST {
                vec![all_complete(), at_most("wrong_beliefs", Of::Max, 0.0)]
            } else {
                Vec::new()
            }
        }
    }
}

/// How soon one crash is to be known.
fn crash_times(kill: bool, setting: &Setting) -> Vec<(&'static str, Of, f64)> {
    match (setting.profile, setting.loss) {
        (_, loss) if loss > 0.2 => Vec::new(),
        (_, 0.0) if kill => vec![("all_suspect_s", Of::P99, 0.6), ("all_down_s", Of::P99, 1.5)],
        _ if kill => Vec::new(),
        (Profile::Lan, 0.0) => vec![
            ("first_suspect_s", Of::Median, 1.4),
            ("first_suspect_s", Of::P99, 2.0),
            ("all_down_s", Of::Median, 6.6),
            ("all_down_s", Of::P99, 7.6),
        ],
        (Profile::Fast, 0.0) => vec![("first_suspect_s", Of::Median, 0.5), ("all_down_s", Of::Median, 3.1)],
        (Profile::Lan, _) if setting.delivery == Delivery::Datagrams => vec![("all_down_s", Of::Median, 8.2)],
        (Profile::Fast, _) if setting.delivery == Delivery::Datagrams => {
            vec![("all_down_s", Of::Median, 4.0)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Run;
    use super::super::options::tests::setting;
    use super::*;

    #[test]
    fn goals_are_met_or_missed() {
        let run = Run {
            spreads: vec![("first_suspect_s", Some(1.0)), ("all_down_s", Some(7.0))],
            sums: vec![("complete_runs", 1.0), ("false_deaths", 0.0)],
        };
        let limit = Duration::from_secs(60);
        let crash = Experiment::Crash { times: 1, gone: Part::Count(1), kill: false, limit };
        let told = goals(crash, &setting(16), &Figures::of(&[run]));
        let missed: Vec<_> =
            told.iter().filter(|goal| !goal.met).map(|goal| (goal.figure, goal.of)).collect();
        assert_eq!(missed, [("all_down_s", Of::Median)]);
        let none = goals(crash, &setting(16), &Figures::default());
        assert!(
            none.iter().filter(|goal| goal.of != Of::Sum).all(|goal| !goal.met),
            "not measured is not met"
        );
    }
}

//! The simulator as a program: seeds in, a report out.

mod args;
mod many;
mod plot;
mod report;

use args::Args;
use chinwag_sim::plan::Plan;
use chinwag_sim::run::{Outcome, run, run_traced, watch};
use chinwag_sim::world::World;
use chinwag_sim::{script, shrink, swarm};
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let args = Args::parse();
    match go(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            report::say(&format!("error: {why}"));
            ExitCode::from(2)
        }
    }
}

/// Whether everything passed.
fn go(args: &Args) -> Result<bool, String> {
    if !args.script.is_empty() {
        return scripts(args);
    }
    let first = plan(args)?;
    if let Some(path) = &args.save {
        let text = toml::to_string(&first).map_err(|e| format!("the plan cannot be written as TOML: {e}"))?;
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        report::say(&format!("written to {}; run it with --scenario", path.display()));
        return Ok(true);
    }
    match args.seeds {
        Some(seeds) => many::go(args, seeds),
        None => one(args, &first),
    }
}

fn plan(args: &Args) -> Result<Plan, String> {
    let plan = match &args.scenario {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?
        }
        None => swarm::draw(args.seed, &args.wishes()),
    };
    match plan.fault() {
        Some(why) => Err(why),
        None => Ok(plan),
    }
}

fn one(args: &Args, plan: &Plan) -> Result<bool, String> {
    let began = Instant::now();
    let outcome = if args.trace {
        let mut out = std::io::BufWriter::new(std::io::stdout());
        run_traced(
            plan,
            Box::new(move |at, _, text| drop(writeln!(out, "{:>10.3} {text}", at.as_nanos() as f64 / 1e9))),
        )
    } else if let Some(dir) = &args.plot {
        let mut pictures = plot::Pictures::new(plan);
        let bar = report::bar(plan.heal_ms, "virtual ms");
        let outcome = watch(World::new(plan.clone()), &mut |world, seen| {
            pictures.look(world, seen);
            bar.set_position(world.now().as_millis());
        });
        bar.finish_and_clear();
        for path in pictures.draw(dir)? {
            report::say(&format!("drawn: {}", path.display()));
        }
        outcome
    } else {
        run(plan)
    };
    let took = began.elapsed();
    if args.json {
        report::print(&report::json_of_one(&outcome, took));
    } else {
        report::print(&report::of_one(plan, &outcome, took));
    }
    if !outcome.failed.is_empty() {
        failed(args, plan, &outcome)?;
    }
    Ok(outcome.failed.is_empty())
}

/// What to do about a seed that failed.
fn failed(args: &Args, plan: &Plan, outcome: &Outcome) -> Result<(), String> {
    if args.scenario.is_none() {
        report::say(&format!("again: {}", args.replay(outcome.seed)));
    }
    if args.shrink {
        let bar = report::bar(0, "runs");
        let small = shrink::shrink(plan, outcome.failed[0].checker, &mut |tries| bar.set_position(tries));
        bar.finish_and_clear();
        let path = format!("shrunk-{}.toml", plan.seed);
        let text = toml::to_string(&small).map_err(|e| format!("the plan cannot be written as TOML: {e}"))?;
        std::fs::write(&path, text).map_err(|e| format!("{path}: {e}"))?;
        report::say(&format!(
            "{} hosts and {} steps became {} and {}: cargo run --release -p chinwag-sim -- --scenario {path} --trace",
            plan.hosts,
            plan.steps.len(),
            small.hosts,
            small.steps.len()
        ));
    }
    Ok(())
}

fn scripts(args: &Args) -> Result<bool, String> {
    let mut passed = true;
    for path in &args.script {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let played = script::play(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        if played == text {
            report::say(&format!("{}: as expected", path.display()));
        } else if args.bless {
            std::fs::write(path, played).map_err(|e| format!("{}: {e}", path.display()))?;
            report::say(&format!("{}: written anew", path.display()));
        } else {
            passed = false;
            report::say(&format!("{}: differs", path.display()));
            report::say(&script::difference(&text, &played));
        }
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    /// `CHINWAG_BLESS=1` writes what they say now.
    #[test]
    fn scenario_files_say_what_happens() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/scenarios");
        let mut played = 0;
        let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "txt")) {
            let text = std::fs::read_to_string(path).unwrap();
            let now = script::play(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            if std::env::var_os("CHINWAG_BLESS").is_some() {
                std::fs::write(path, &now).unwrap();
            } else {
                assert_eq!(now, text, "{}\n{}", path.display(), script::difference(&text, &now));
            }
            played += 1;
        }
        assert!(played >= 11, "only {played} scenario files were found");
    }
}

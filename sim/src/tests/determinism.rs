//! One plan, one run: in this process and in every other.

use crate::run::run;
use crate::script;
use crate::swarm::{Wishes, draw};
use crate::world::World;

#[test]
fn a_seed_is_one_run() {
    let plan = draw(3, &Wishes { hosts: Some(5), ..Wishes::default() });
    let (one, other) = (run(&plan), run(&plan));
    assert_eq!((one.trace_hash, one.events), (other.trace_hash, other.events));
    assert_eq!(one.exercised, other.exercised);
    let another = run(&draw(4, &Wishes { hosts: Some(5), ..Wishes::default() }));
    assert_ne!(one.trace_hash, another.trace_hash);
}

/// Who watches changes nothing.
#[test]
fn a_traced_run_is_the_same_run() {
    let plan = draw(5, &Wishes { hosts: Some(4), ..Wishes::default() });
    let lines = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = lines.clone();
    let world = World::new(plan.clone()).with_tracer(Box::new(move |_, _, _| count.set(count.get() + 1)));
    assert_eq!(crate::run::run_in(world).trace_hash, run(&plan).trace_hash);
    assert!(lines.get() > 100, "{} lines", lines.get());
}

/// A plan that went through a file is the same plan.
#[test]
fn a_plan_survives_its_file() {
    for seed in 0..50 {
        let plan = draw(seed, &Wishes::default());
        let text = toml::to_string(&plan).unwrap();
        assert_eq!(toml::from_str::<crate::plan::Plan>(&text).unwrap(), plan, "{text}");
        assert_eq!(plan.fault(), None);
    }
}

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

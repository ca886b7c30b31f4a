//! Running a checker, and what came of it.

use stateright::{Checker, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

/// Explores all states of a sound model, on two threads. Returns how many there are, in words.
///
/// # Panics
/// If a property does not hold, or fewer than `states_min` states were found: then hardly anything was checked.
pub fn explore<M>(model: M, states_min: usize) -> String
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let began = Instant::now();
    let until = HasDiscoveries::AnyFailures;
    let checker = model.checker().threads(2).finish_when(until).spawn_bfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    assert!(states >= states_min, "only {states} states, expected at least {states_min}");
    let (depth, steps) = (checker.max_depth(), checker.state_count());
    format!("{states} states, {steps} steps, at most {depth} deep, {:.1} s", began.elapsed().as_secs_f64())
}

/// Explores a wrong model until `property` is broken, a step deeper each time, so that the way there is a shortest
/// one. (The checker looks at many states at once, and shows the last that it found.) Returns its length, in words,
/// and the way.
///
/// # Panics
/// If the property holds in all states: then the checker is blind to this fault.
pub fn refute<M>(model: M, property: &'static str) -> String
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let mut states_before = 0;
    for depth in 2.. {
        let until = HasDiscoveries::AnyOf([property].into());
        let checker = model.clone().checker().finish_when(until).target_max_depth(depth).spawn_bfs().join();
        let states = checker.unique_state_count();
        if let Some(path) = checker.discovery(property) {
            let steps = path.into_actions();
            let shown: Vec<String> =
                steps.iter().map(|step| format!("\n    {}", model.format_action(step))).collect();
            return format!(
                "`{property}` breaks in {} steps, after {states} states:{}",
                steps.len(),
                shown.concat()
            );
        }
        assert!(states > states_before, "`{property}` holds in all {states} states");
        states_before = states;
    }
    unreachable!("the loop ends only by returning")
}

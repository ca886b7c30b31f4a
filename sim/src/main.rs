//! The simulator as a program.
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let seeds: u64 = args[1].parse().unwrap();
    let begin = std::time::Instant::now();
    let mut events = 0;
    let wishes = chinwag_sim::swarm::Wishes {
        hosts: args.get(2).and_then(|a| a.parse().ok()),
        quiet: args.get(3).is_some_and(|a| a == "quiet"),
        duration_ms: args.get(4).and_then(|a| a.parse().ok()),
        ..Default::default()
    };
    for seed in 0..seeds {
        let plan = chinwag_sim::swarm::draw(seed, &wishes);
        let mut world = chinwag_sim::world::World::new(plan);
        let b = std::time::Instant::now();
        while world.step() {
            for o in world.observed() {
                drop(o);
            }
        }
        events += world.events();
        println!(
            "{seed} hosts {} events {} hash {:016x} {:?} virtual {} {:?}",
            world.plan().hosts,
            world.events(),
            world.trace_hash(),
            b.elapsed(),
            world.now(),
            world.tally()
        );
    }
    println!("{events} in {:?}: {:.0}/s", begin.elapsed(), events as f64 / begin.elapsed().as_secs_f64());
}

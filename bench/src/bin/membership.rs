//! Who is alive: chinwag's membership beside foca and chitchat, on one simulated network, in virtual time.
//!
//! ```console
//! $ cargo run --release --bin membership -- crash --nodes 128 --seeds 20
//! ```

use anyhow::{Result, ensure};
use chinwag_bench::machine::Machine;
use chinwag_bench::membership::Overlay;
use chinwag_bench::membership::chinwag::{Chinwag, Identities};
use chinwag_bench::membership::chitchat::ChitchatOverlay;
use chinwag_bench::membership::experiment::{self, Experiment};
use chinwag_bench::membership::figures::Figures;
use chinwag_bench::membership::foca::FocaOverlay;
use chinwag_bench::membership::goals::{self, Goal};
use chinwag_bench::membership::options::{Delivery, Part, Setting, Share, Span, Speed, Stall, System};
use chinwag_bench::membership::summary;
use chinwag_bench::report::{self, note};
use clap::{Args, Parser, Subcommand};
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// chitchat sends its whole digest in each message; beyond this, a run takes longer than anybody waits.
const CHITCHAT_NODES_MAX: usize = 256;

/// Measure how soon, how surely and at what price members know who is alive
#[derive(Debug, Parser)]
#[command(name = "membership")]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Members vanish with their hosts: how soon do all others know?
    Crash {
        /// Kill their processes instead: connections are reset, and dials refused
        #[arg(long)]
        kill: bool,
        /// How many: a number, or a share such as 50%
        #[arg(long, value_name = "N", default_value = "1")]
        gone: Part,
        /// So many crashes in each overlay, one after the other, of members that are left; each counts as a run
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        crashes: u16,
        /// A run that takes longer is not complete
        #[arg(long, value_name = "TIME", default_value = "120s")]
        limit: Span,
        #[command(flatten)]
        common: Common,
    },
    /// All members but one join through the one at once: how soon do all know all?
    Join {
        /// A run that takes longer is not complete
        #[arg(long, value_name = "TIME", default_value = "600s")]
        limit: Span,
        #[command(flatten)]
        common: Common,
    },
    /// Nothing happens: what does it cost?
    Steady {
        /// For so long
        #[arg(long = "for", value_name = "TIME", default_value = "60s")]
        lasts: Span,
        #[command(flatten)]
        common: Common,
    },
    /// 5 % of the members stall again and again: who is taken for dead?
    Stalls {
        /// How long each time
        #[arg(long, value_name = "RANGE", default_value = "1-5s")]
        stall: Stall,
        /// For so long
        #[arg(long = "for", value_name = "TIME", default_value = "5m")]
        lasts: Span,
        #[command(flatten)]
        common: Common,
    },
    /// Some members are cut off from the others: what is believed a minute after it is mended?
    Partition {
        /// How many: a number, or a share such as 50%
        #[arg(long, value_name = "N", default_value = "10%", value_parser = split)]
        split: Part,
        /// For so long
        #[arg(long = "for", value_name = "TIME", default_value = "60s")]
        lasts: Span,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Clone, Args)]
struct Common {
    /// Members
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(2..=8_192))]
    nodes: u16,
    /// Runs, each with a seed of its own
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// How fast failures are looked for
    #[arg(long, value_enum, default_value_t = Speed::Lan)]
    profile: Speed,
    /// The part of packets that is lost
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    loss: Share,
    /// What becomes of chinwag's frames that are lost; the others send datagrams
    #[arg(long, value_enum, default_value_t = Delivery::Streams)]
    delivery: Delivery,
    /// How long an overlay is left alone once it has grown
    #[arg(long, value_name = "TIME", default_value = "20s")]
    settle: Span,
    /// Which systems
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [System::Chinwag, System::Foca, System::Chitchat])]
    systems: Vec<System>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A number alone is a percentage here, as in `10` and `90`.
fn split(text: &str) -> Result<Part, String> {
    match text.parse()? {
        Part::Count(percent) if percent <= 100 => Ok(Part::Share(percent as f64 / 100.0)),
        Part::Count(percent) => Err(format!("{percent} is no percentage")),
        share @ Part::Share(_) => Ok(share),
    }
}

impl What {
    fn parts(&self) -> (&'static str, Experiment, &Common) {
        match self {
            What::Crash { kill, gone, crashes, limit, common } => {
                let times = usize::from(*crashes);
                ("crash", Experiment::Crash { times, gone: *gone, kill: *kill, limit: limit.0 }, common)
            }
            What::Join { limit, common } => ("join", Experiment::Join { limit: limit.0 }, common),
            What::Steady { lasts, common } => ("steady", Experiment::Steady { lasts: lasts.0 }, common),
            What::Stalls { stall, lasts, common } => {
                ("stalls", Experiment::Stalls { stall: *stall, lasts: lasts.0 }, common)
            }
            What::Partition { split, lasts, common } => {
                ("partition", Experiment::Partition { split: *split, lasts: lasts.0 }, common)
            }
        }
    }
}

fn main() -> ExitCode {
    report::end(run())
}

fn run() -> Result<ExitCode> {
    let command = Command::parse();
    let (name, experiment, common) = command.what.parts();
    let nodes = usize::from(common.nodes);
    if let Experiment::Crash { times, gone, .. } = experiment {
        let gone = match gone {
            Part::Count(gone) => gone,
            Part::Share(_) => gone.of(nodes),
        };
        ensure!(
            (1..nodes).contains(&(gone * times)),
            "--gone {gone}, {times} times: of {nodes} members, 1 to {} can be gone",
            nodes - 1
        );
    }
    let setting =
        Setting { nodes, profile: common.profile.into(), loss: common.loss.0, delivery: common.delivery };
    let machine = Machine::here();
    let identities = Rc::new(Identities::new(nodes));

    let mut systems = common.systems.clone();
    systems.sort();
    systems.dedup();
    let (mut told, mut columns, mut goals) = (Map::new(), Vec::new(), Vec::new());
    for system in systems {
        if let Some(why) = skipped(system, nodes) {
            note(&format!("{system}: skipped, {why}"));
            told.insert(system.to_string(), json!({ "skipped": why }));
            columns.push((system.to_string(), None));
            continue;
        }
        let begun = Instant::now();
        let figures = measure(system, experiment, &setting, common, &identities)?;
        let mut object = figures.json();
        object.insert("took_s".to_owned(), json!((begun.elapsed().as_secs_f64() * 10.0).round() / 10.0));
        if system == System::Chinwag {
            goals = goals::goals(experiment, &setting, &figures);
            object.insert("goals".to_owned(), json!(goals));
        }
        told.insert(system.to_string(), Value::Object(object));
        columns.push((system.to_string(), Some(figures)));
    }
    let mut result = json!({
        "bench": "membership", "experiment": name, "nodes": nodes, "seeds": common.seeds, "first_seed": common.seed,
        "profile": setting.profile, "loss": setting.loss, "delivery": setting.delivery,
        "settle_s": common.settle.0.as_secs_f64(),
    });
    if let (Value::Object(result), Value::Object(details)) = (&mut result, details(experiment)) {
        result.extend(details);
        result.insert("systems".to_owned(), Value::Object(told));
        result.insert("machine".to_owned(), json!(machine));
    }
    let text = text(name, experiment, &setting, common, &columns, &goals, &machine);
    report::print(common.json, &result, &text)?;
    Ok(ExitCode::SUCCESS)
}

fn skipped(system: System, nodes: usize) -> Option<String> {
    (system == System::Chitchat && nodes > CHITCHAT_NODES_MAX).then(|| {
        format!(
            "its messages hold a line for every member, and a run with more than {CHITCHAT_NODES_MAX} takes too long"
        )
    })
}

fn measure(
    system: System,
    experiment: Experiment,
    setting: &Setting,
    common: &Common,
    identities: &Rc<Identities>,
) -> Result<Figures> {
    /// How often somebody who waits is told how far it is.
    const TELL: Duration = Duration::from_secs(10);
    let (mut runs, mut told) = (Vec::new(), Instant::now());
    for seed in common.seed..common.seed.saturating_add(common.seeds) {
        let mut overlay: Box<dyn Overlay> = match system {
            System::Chinwag => Box::new(Chinwag::new(setting, identities.clone(), seed)),
            System::Foca => Box::new(FocaOverlay::new(setting, seed)),
            System::Chitchat => Box::new(ChitchatOverlay::new(setting, seed)?),
        };
        runs.extend(experiment::run(experiment, setting, common.settle.0, seed, overlay.as_mut()));
        if told.elapsed() > TELL {
            told = Instant::now();
            let done = seed - common.seed + 1;
            note(&format!("{system}: {done} of {} seeds", common.seeds));
        }
    }
    Ok(Figures::of(&runs))
}

/// What the experiment was told, beside what all are told.
fn details(experiment: Experiment) -> Value {
    let part = |part: Part| match part {
        Part::Count(count) => json!(count),
        Part::Share(share) => json!(format!("{}%", share * 100.0)),
    };
    match experiment {
        Experiment::Crash { times, gone, kill, limit } => {
            json!({ "crashes": times, "gone": part(gone), "kill": kill, "limit_s": limit.as_secs_f64() })
        }
        Experiment::Join { limit } => json!({ "limit_s": limit.as_secs_f64() }),
        Experiment::Steady { lasts } => json!({ "for_s": lasts.as_secs_f64() }),
        Experiment::Stalls { stall, lasts } => json!({
            "stall_s": [stall.shortest.as_secs_f64(), stall.longest.as_secs_f64()], "for_s": lasts.as_secs_f64(),
        }),
        Experiment::Partition { split, lasts } => {
            json!({ "split": part(split), "for_s": lasts.as_secs_f64() })
        }
    }
}

fn text(
    name: &str,
    experiment: Experiment,
    setting: &Setting,
    common: &Common,
    columns: &[(String, Option<Figures>)],
    goals: &[Goal],
    machine: &Machine,
) -> String {
    let details = details(experiment);
    let details: Vec<String> = details
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            format!("{key} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        })
        .collect();
    let table = summary::table(columns, goals);
    format!(
        "{name} of {} members, {} seeds from {}, {:?}, {} % lost, {}\n\n{table}\n{}\n",
        setting.nodes,
        common.seeds,
        common.seed,
        common.profile,
        setting.loss * 100.0,
        details.join(", "),
        machine.line(),
    )
}

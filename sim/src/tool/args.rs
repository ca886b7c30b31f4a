//! The flags. Their doc comments are the help.

use chinwag_membership::Profile;
use chinwag_sim::plan::{HOSTS_MAX, Transport};
use chinwag_sim::swarm::Wishes;
use clap::Parser;
use std::path::PathBuf;

/// Runs whole chinwag overlays in virtual time, each from one seed
///
/// Each seed draws an overlay, its network, its clients and its faults, runs the daemon's own node on every host, and
/// shows every event to the checkers: nothing acknowledged is lost, nothing deleted comes back, counters are exact, all
/// agree soon after all is mended, nobody is declared dead who lives, every crash is known, every bound holds.
/// Exit status: 0 if every seed passed, 1 if any failed, 2 if what was asked for makes no sense.
#[derive(Debug, Parser)]
#[command(name = "chinwag-sim", version)]
pub(crate) struct Args {
    /// The seed, or the first of several
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Run so many seeds, one after the other
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    /// So many hosts, instead of what the seed draws
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(HOSTS_MAX)))]
    pub(crate) nodes: Option<u32>,
    /// This share of all packets is lost: 5% or 0.05
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) loss: Option<f64>,
    /// One partition of this length, half of the hosts on each side, and no other fault
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) partition: Option<u64>,
    /// So many writes
    #[arg(long, value_name = "N")]
    pub(crate) writes: Option<u32>,
    /// Faults and clients for so long, before all is mended: 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<u64>,
    /// How fast the failure detector runs: fast, lan or wan
    #[arg(long, value_name = "NAME", value_parser = profile)]
    pub(crate) profile: Option<Profile>,
    /// What carries the lanes: tcp, quic or datagrams
    #[arg(long, value_name = "NAME", value_parser = transport)]
    pub(crate) transport: Option<Transport>,
    /// No fault but those that other flags ask for, and a network that only takes its time
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Run the plan in this TOML file instead of drawing one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "seeds", "nodes", "loss", "partition", "writes", "duration", "profile", "transport", "quiet"])]
    pub(crate) scenario: Option<PathBuf>,
    /// Write the plan of the first seed to this TOML file, and do not run it
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Print every frame, event and fault, in words
    #[arg(long, conflicts_with = "json")]
    pub(crate) trace: bool,
    /// Make the plan of the first seed that fails as small as possible, and write it to shrunk-SEED.toml
    #[arg(long)]
    pub(crate) shrink: bool,
    /// Run every Nth seed twice, and compare the hashes of all that happened; 0 for none
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) twice_every: u64,
    /// Threads; each runs one seed at a time. As many as there are cores, unless told
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Print one JSON object instead of a report
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw pictures of the first seed's run into this folder, as SVG
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,
    /// Run these scenario files (prose, commands, ----, trace) and compare what they expect
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["scenario", "seeds", "save", "shrink", "plot"])]
    pub(crate) script: Vec<PathBuf>,
    /// Write what scenario files say now into them, instead of comparing it
    #[arg(long, requires = "script")]
    pub(crate) bless: bool,
}

impl Args {
    /// What every drawn plan must have.
    pub(crate) fn wishes(&self) -> Wishes {
        Wishes {
            hosts: self.nodes,
            loss: self.loss,
            partition_ms: self.partition,
            writes: self.writes,
            duration_ms: self.duration,
            profile: self.profile,
            transport: self.transport,
            quiet: self.quiet,
        }
    }

    /// The flags that a seed has to be run with again, to be the same run.
    pub(crate) fn replay(&self, seed: u64) -> String {
        let mut words = vec![format!("--seed {seed}")];
        words.extend(self.nodes.map(|n| format!("--nodes {n}")));
        words.extend(self.loss.map(|share| format!("--loss {share}")));
        words.extend(self.partition.map(|ms| format!("--partition {ms}ms")));
        words.extend(self.writes.map(|n| format!("--writes {n}")));
        words.extend(self.duration.map(|ms| format!("--duration {ms}ms")));
        words.extend(self.profile.map(|profile| format!("--profile {profile:?}").to_lowercase()));
        words.extend(self.transport.map(|transport| format!("--transport {transport:?}").to_lowercase()));
        words.extend(self.quiet.then(|| "--quiet".to_owned()));
        format!("cargo run --release -p chinwag-sim -- {} --trace", words.join(" "))
    }
}

fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is not a share: 5% or 0.05 is wanted, and at most 95%");
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map_err(|_| wrong())? / 100.0,
        None => text.parse().map_err(|_| wrong())?,
    };
    if (0.0..=0.95).contains(&share) { Ok(share) } else { Err(wrong()) }
}

/// Milliseconds.
fn time(text: &str) -> Result<u64, String> {
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| format!("`{text}` is not a time: 30s or 5m is wanted"))?;
    u64::try_from(parsed.as_millis()).map_err(|_| format!("`{text}` lies in the past"))
}

/// Faults and clients need some time to happen in.
fn duration(text: &str) -> Result<u64, String> {
    match time(text)? {
        ms if ms < 1_000 => Err(format!("`{text}` is too short: at least 1s is wanted")),
        ms => Ok(ms),
    }
}

fn profile(text: &str) -> Result<Profile, String> {
    match text {
        "fast" => Ok(Profile::Fast),
        "lan" => Ok(Profile::Lan),
        "wan" => Ok(Profile::Wan),
        _ => Err("fast, lan or wan".to_owned()),
    }
}

fn transport(text: &str) -> Result<Transport, String> {
    match text {
        "tcp" => Ok(Transport::Tcp),
        "quic" => Ok(Transport::Quic),
        "datagrams" => Ok(Transport::Datagrams),
        _ => Err("tcp, quic or datagrams".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_fit_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn shares_and_times_are_what_people_write() {
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!(share("0.2"), Ok(0.2));
        assert!(share("120%").is_err() && share("-1%").is_err() && share("few").is_err());
        assert_eq!(time("30s"), Ok(30_000));
        assert_eq!(time("250ms"), Ok(250));
        assert!(time("-1s").is_err() && time("30").is_err());
    }

    #[test]
    fn a_seed_is_replayed_with_the_flags_that_it_had() {
        let args = Args::parse_from([
            "chinwag-sim",
            "--nodes",
            "9",
            "--loss",
            "5%",
            "--partition",
            "30s",
            "--quiet",
        ]);
        let words = args.replay(7);
        let again: Vec<&str> = words.split_once("-- ").unwrap().1.split(' ').collect();
        let parsed = Args::parse_from(["chinwag-sim"].into_iter().chain(again));
        assert_eq!((parsed.wishes(), parsed.seed), (args.wishes(), 7));
    }
}

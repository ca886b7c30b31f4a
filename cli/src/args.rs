//! The command line.

use crate::commands::{
    add::AddArgs, batch::BatchArgs, check::CheckArgs, compact::CompactArgs, completions::CompletionsArgs,
    del::DelArgs, dht::DhtArgs, diff::DiffArgs, disable::DisableArgs, doctor::DoctorArgs, enable::EnableArgs,
    explain::ExplainArgs, export::ExportArgs, forget::ForgetArgs, get::GetArgs, import::ImportArgs,
    incr::IncrArgs, init::InitArgs, invite::InviteArgs, join::JoinArgs, keys::KeysArgs, lab::LabArgs,
    leave::LeaveArgs, man::ManArgs, members::MembersArgs, reach::ReachArgs, rm::RmArgs, set::SetArgs,
    status::StatusArgs, trace::TraceArgs, up::UpArgs, version::VersionArgs, watch::WatchArgs,
};
use crate::complete;
use crate::output::Color;
use chinwag_base::Name;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::path::PathBuf;

/// Ask a chinwag daemon, or run one.
///
/// With one daemon running nothing needs to be chosen. Exit codes: 0 yes, 1 an honest no, 2 usage, 3 no daemon
/// reachable, 4 refused, 5 timeout, 6 a condition that does not hold, 70 a bug.
#[derive(Debug, Parser)]
#[command(name = "chinwag", version, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Ask the daemon of this name
    // `up` has a flag of the same name, which then is the new daemon's name.
    #[arg(short, long, global = true, value_name = "NAME", env = "CHINWAG_NAME", add = complete::daemons())]
    pub(crate) name: Option<Name>,
    /// Ask the daemon that listens on this socket
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Answer with one JSON object; `watch` and `export` with one a line. Errors are JSON on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to colour; NO_COLOR is respected
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) color: Color,
}

/// The commands, in the order of the help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(Box<UpArgs>),
    Lab(LabArgs),
    Init(InitArgs),
    Invite(InviteArgs),
    Join(JoinArgs),
    Leave(LeaveArgs),
    Forget(ForgetArgs),
    Status(StatusArgs),
    Members(MembersArgs),
    Explain(ExplainArgs),
    Reach(ReachArgs),
    Doctor(DoctorArgs),
    Diff(DiffArgs),
    Check(CheckArgs),
    Compact(CompactArgs),
    Set(SetArgs),
    Get(GetArgs),
    Del(DelArgs),
    Incr(IncrArgs),
    Add(AddArgs),
    Rm(RmArgs),
    Enable(EnableArgs),
    Disable(DisableArgs),
    Batch(BatchArgs),
    Keys(KeysArgs),
    Export(ExportArgs),
    Import(ImportArgs),
    Watch(WatchArgs),
    Trace(TraceArgs),
    Dht(DhtArgs),
    Completions(CompletionsArgs),
    #[command(hide = true)]
    Man(ManArgs),
    Version(VersionArgs),
}

/// The groups of the help. A test holds them against [`Command`].
const GROUPS: [(&str, &[&str]); 5] = [
    ("Run", &["up", "lab", "init", "invite", "join", "leave", "forget"]),
    ("Look", &["status", "members", "explain", "reach", "diff", "doctor", "check"]),
    (
        "State",
        &[
            "set", "get", "del", "incr", "add", "rm", "enable", "disable", "batch", "keys", "export",
            "import", "watch", "trace",
        ],
    ),
    ("DHT", &["dht"]),
    ("Tools", &["compact", "completions", "version"]),
];

impl Cli {
    /// Parses the process's arguments. A usage error ends the process with exit code 2, help with 0.
    pub(crate) fn from_process() -> Self {
        let matches = Cli::grouped().get_matches();
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// The command with its subcommands in groups.
    pub(crate) fn grouped() -> clap::Command {
        let command = Cli::command();
        let mut groups = String::new();
        for (title, names) in GROUPS {
            groups += &format!("\n{title}:\n");
            for name in names {
                let about = command.find_subcommand(name).and_then(clap::Command::get_about);
                groups += &format!("  {name:<11} {}\n", about.map(ToString::to_string).unwrap_or_default());
            }
        }
        command.help_template(format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{groups}\nOptions:\n{{options}}\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        let words = line.split_whitespace();
        Cli::grouped().try_get_matches_from(words).and_then(|m| Cli::from_arg_matches(&m))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::grouped().debug_assert();
    }

    #[test]
    fn every_command_is_in_one_group_and_has_a_help() {
        let command = Cli::command();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        let known: BTreeSet<&str> = shown.map(clap::Command::get_name).collect();
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), known);
        assert_eq!(grouped.len(), known.len(), "none twice");
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
        }
        let help = Cli::grouped().render_help().to_string();
        assert!(help.contains("\nLook:\n  status   "), "{help}");
        assert!(help.contains("--json"), "{help}");
    }

    #[test]
    fn usage_errors_exit_with_2_and_suggest() {
        let error = parse("chinwag stauts").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("'status'"), "{error}");
        assert_eq!(parse("chinwag").unwrap_err().exit_code(), 2);
        assert_eq!(parse("chinwag --help").unwrap_err().exit_code(), 0);
        assert_eq!(parse("chinwag -n bad/name status").unwrap_err().exit_code(), 2);
        assert_eq!(parse("chinwag lab 65").unwrap_err().exit_code(), 2);
        assert_eq!(parse("chinwag lab 0").unwrap_err().exit_code(), 2);
        assert_eq!(parse("chinwag set k v --wait some").unwrap_err().exit_code(), 2);
        assert_eq!(parse("chinwag add k").unwrap_err().exit_code(), 2);
        for condition in ["hello", "version=9c1f", "="] {
            let error = parse(&format!("chinwag set k v --if {condition}")).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{condition}");
        }
    }

    #[test]
    fn the_daemon_is_chosen_before_or_after_the_command() {
        for line in ["chinwag -n beta status", "chinwag status -n beta", "chinwag status --name=beta"] {
            assert_eq!(parse(line).unwrap().global.name.unwrap().as_str(), "beta", "{line}");
        }
    }

    #[test]
    fn up_has_a_name_of_its_own() {
        let cli = parse("chinwag up --name ada --data /tmp/x --detach").unwrap();
        let Command::Up(up) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!(up.daemon.name.unwrap().as_str(), "ada");
        assert!(up.daemon.detach);
        assert!(parse("chinwag -n bob up --name ada").is_ok());
    }

    #[test]
    fn numbers_may_be_negative() {
        let cli = parse("chinwag incr visits -3").unwrap();
        let Command::Incr(incr) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!(incr.by, -3);
        assert!(parse("chinwag set temperature -3").is_ok());
    }
}

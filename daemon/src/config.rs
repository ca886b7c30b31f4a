//! Settings: flag over environment over file over default.
//!
//! The file is TOML, `config.toml` in the data directory unless `--config` names another. A key that nobody knows
//! is an error with its line, its column and the nearest name.

use crate::amount::{CheckpointEvery, HistoryMax};
use crate::home;
use chinwag_api::runtime::Runtime;
use chinwag_api::{Failure, Kind};
use chinwag_base::{Address, Invite, Name, OverlayName, Tag, Tags};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The port that a daemon of an overlay takes if it is free.
pub const PORT: u16 = 7171;

/// The port that an open door takes unless told otherwise.
pub const DOOR_PORT: u16 = 7172;

/// The flags of `chinwagd` and of `chinwag up`.
#[derive(Debug, Clone, Default, Args)]
pub struct DaemonArgs {
    /// Keep everything in this directory [default: $XDG_DATA_HOME/chinwag or ~/.local/share/chinwag]
    #[arg(long, value_name = "DIR", env = "CHINWAG_DATA")]
    pub data: Option<PathBuf>,
    /// What this daemon is called [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,
    /// Listen here: PORT, IP, IP:PORT (port 0: any free one) or a multiaddr; may be repeated [default: every
    /// interface, port 7171 or a free one]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<Listen>,
    /// Open a door for libp2p programs that are no members, to put and get blobs by Kademlia: IP, IP:PORT (TCP and QUIC)
    /// or a multiaddr; may be repeated [default: no door; port 7172]
    #[arg(long, value_name = "ADDR", env = "CHINWAG_OPEN", value_delimiter = ',')]
    pub open: Vec<Open>,
    /// Join an overlay first: an invite, or @FILE to wait for a file that holds one
    #[arg(long, value_name = "INVITE", env = "CHINWAG_JOIN", hide_env_values = true)]
    pub join: Option<String>,
    /// With --join: bring the keys that this data directory holds along
    #[arg(long)]
    pub merge: bool,
    /// Say this of this member, such as role=db; may be repeated [default: none]
    #[arg(long, value_name = "NAME=VALUE", env = "CHINWAG_TAGS", value_delimiter = ',')]
    pub tag: Vec<Tag>,
    /// Run this command when a member comes, is suspected, goes or changes [default: none]
    #[arg(long, value_name = "COMMAND", env = "CHINWAG_ON_MEMBER")]
    pub on_member: Option<String>,
    /// Find members on the local network by multicast DNS [default: on]
    #[arg(long, value_enum, value_name = "WHETHER", env = "CHINWAG_MDNS")]
    pub mdns: Option<Switch>,
    /// Neither look for members on the local network nor announce this one: the same as --mdns off
    #[arg(long)]
    pub no_mdns: bool,
    /// Keep so much history for members that are away, such as 32MiB; who lacks more is sent whole values [default: 32MiB]
    #[arg(long, value_name = "BYTES", env = "CHINWAG_HISTORY_MAX")]
    pub history_max: Option<HistoryMax>,
    /// Write the state down after so many writes; more make the start slower, fewer the disk busier [default: 4096]
    #[arg(long, value_name = "WRITES", env = "CHINWAG_CHECKPOINT_EVERY")]
    pub checkpoint_every: Option<CheckpointEvery>,
    /// Found an overlay of this name first, unless the data directory belongs to it already
    #[arg(long, value_name = "OVERLAY", env = "CHINWAG_INIT", conflicts_with = "join")]
    pub init: Option<OverlayName>,
    /// Keep an invite that is good for an hour in this file, for others to start with --join @FILE
    #[arg(long, value_name = "FILE", env = "CHINWAG_INVITE_TO")]
    pub invite_to: Option<PathBuf>,
    /// How fast failures are detected
    #[arg(long, value_enum, value_name = "PROFILE")]
    pub profile: Option<ProfileName>,
    /// Read settings from this file [default: config.toml in the data directory]
    #[arg(long, value_name = "FILE", env = "CHINWAG_CONFIG")]
    pub config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or a filter such as chinwag=debug,libp2p_swarm=info
    #[arg(long, value_name = "FILTER", env = "CHINWAG_LOG")]
    pub log: Option<String>,
    /// How to log
    #[arg(long, value_enum, value_name = "FORMAT", env = "CHINWAG_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Run in the background; the log goes to chinwagd.log in the data directory
    #[arg(long, short)]
    pub detach: bool,
    /// Leave when standard input ends: for a program that must not leave daemons behind
    #[arg(long, hide = true)]
    pub stop_on_stdin_close: bool,
}

/// How fast failures are detected, and how patient the detector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileName {
    /// One wired network.
    Fast,
    /// Laptops on one network.
    #[default]
    Lan,
    /// Across the internet.
    Wan,
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// TCP and QUIC, on one port number.
    Both(SocketAddr),
    /// One transport.
    One(Address),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Both(socket) => socket.fmt(f),
            Listen::One(address) => address.fmt(f),
        }
    }
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        if let Ok(address) = s.parse::<Address>() {
            return Ok(Listen::One(address));
        }
        if let Ok(socket) = s.parse::<SocketAddr>() {
            return Ok(Listen::Both(socket));
        }
        if let Ok(ip) = s.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Listen::Both(SocketAddr::new(ip, PORT)));
        }
        if let Ok(port) = s.trim_start_matches(':').parse::<u16>() {
            return Ok(Listen::Both(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port)));
        }
        Err("expected PORT, IP, IP:PORT or a multiaddr such as /ip4/127.0.0.1/tcp/7171".into())
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where to open a door: as [`Listen`], but with a port of its own, and an IP address is always named, since a door on every
/// interface should be nobody's accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open(pub Listen);

impl FromStr for Open {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        if let Ok(ip) = s.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Open(Listen::Both(SocketAddr::new(ip, DOOR_PORT))));
        }
        let address = s.parse().map(Listen::One).ok().or_else(|| s.parse().map(Listen::Both).ok());
        address
            .map(Open)
            .ok_or_else(|| "expected IP, IP:PORT or a multiaddr such as /ip4/127.0.0.1/tcp/7172".into())
    }
}

impl<'de> Deserialize<'de> for Open {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where an invite comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinBy {
    /// The invite itself.
    Invite(Invite),
    /// A file that holds one, or will.
    File(PathBuf),
}

/// Everything that a daemon needs to know, with nothing left to default. Programs that embed a daemon begin with
/// [`Config::new`] and change what they like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// The member's name.
    pub name: Name,
    /// Where to listen; empty means every interface, on [`PORT`], the last port or a free one. Without an overlay a
    /// daemon does not listen at all.
    pub listen: Vec<Listen>,
    /// Where to open a door for programs that are no members; empty means none. Without an overlay there is none either.
    pub open: Vec<Listen>,
    /// The overlay to join first.
    pub join: Option<JoinBy>,
    /// Join even if there are keys already, which the overlay then gets.
    pub merge: bool,
    /// The overlay to found first, unless there is one.
    pub init: Option<OverlayName>,
    /// Where to keep an invite for others.
    pub invite_to: Option<PathBuf>,
    /// How fast failures are detected.
    pub profile: ProfileName,
    /// What the member says of itself.
    pub tags: Tags,
    /// What the shell runs for each event of a member.
    pub on_member: Option<String>,
    /// Find members on the local network, and be found there. Nothing is sent without an overlay, nor by a daemon that
    /// listens on loopback only.
    pub mdns: bool,
    /// Bytes of the log of writes that are kept for members that lack them.
    pub history_max: usize,
    /// Writes after which the state is written down.
    pub checkpoint_every: u64,
    /// Where daemons of this machine find each other; `None` keeps this one to itself, without an API socket.
    pub runtime_dir: Option<PathBuf>,
    /// How long a graceful stop may take.
    pub leave_within: Duration,
}

impl Config {
    /// A daemon in `data`, called `name`, with the defaults of everything else. It announces itself in no runtime
    /// directory and so has no API socket.
    pub fn new(data: impl Into<PathBuf>, name: Name) -> Self {
        Config {
            data: data.into(),
            name,
            listen: Vec::new(),
            open: Vec::new(),
            join: None,
            merge: false,
            init: None,
            invite_to: None,
            profile: ProfileName::default(),
            tags: Tags::new(),
            on_member: None,
            mdns: true,
            history_max: HistoryMax::default().0,
            checkpoint_every: CheckpointEvery::default().0,
            runtime_dir: None,
            leave_within: Duration::from_secs(2),
        }
    }

    /// The configuration that flags, environment and file make together, and how to log.
    ///
    /// # Errors
    /// A file that cannot be read, a key that is not known, a value of the wrong type, an invite that is none.
    pub fn from_args(args: &DaemonArgs) -> Result<(Self, Logging), Failure> {
        let data = match &args.data {
            Some(dir) => dir.clone(),
            None => home::default_dir()?,
        };
        let file = match &args.config {
            Some(path) => File::read(path)?.ok_or_else(|| {
                Failure::new(Kind::BadRequest, format!("there is no file {}", path.display()))
            })?,
            None => File::read(&data.join("config.toml"))?.unwrap_or_default(),
        };
        let join = args.join.as_deref().map(JoinBy::parse).transpose()?;
        let config = Config {
            name: args.name.clone().or(file.name).unwrap_or_else(home::default_name),
            listen: if args.listen.is_empty() {
                file.listen.unwrap_or_default()
            } else {
                args.listen.clone()
            },
            open: if args.open.is_empty() { file.open.unwrap_or_default() } else { args.open.clone() }
                .into_iter()
                .map(|Open(listen)| listen)
                .collect(),
            join,
            merge: args.merge,
            init: args.init.clone(),
            invite_to: args.invite_to.clone(),
            profile: args.profile.or(file.profile).unwrap_or_default(),
            tags: merge_tags(file.tags.unwrap_or_default(), &args.tag)?,
            on_member: args.on_member.clone().or(file.on_member).filter(|command| !command.trim().is_empty()),
            mdns: !args.no_mdns && args.mdns.map_or(file.mdns.unwrap_or(true), |mdns| mdns == Switch::On),
            history_max: args.history_max.or(file.history_max).unwrap_or_default().0,
            checkpoint_every: args.checkpoint_every.or(file.checkpoint_every).unwrap_or_default().0,
            runtime_dir: Some(Runtime::of_user().path().to_owned()),
            ..Config::new(data, home::default_name())
        };
        let logging = Logging {
            filter: args.log.clone().or(file.log).unwrap_or_else(|| "warn,chinwag=info".into()),
            format: args.log_format.or(file.log_format).unwrap_or_default(),
        };
        Ok((config, logging))
    }
}

/// Those of the file, and in their place those of flags or environment, by name.
fn merge_tags(mut tags: Tags, more: &[Tag]) -> Result<Tags, Failure> {
    tags.extend(more.iter().map(|tag| (tag.name.clone(), tag.value.clone())));
    chinwag_base::tag::check(&tags).map_err(|e| Failure::new(Kind::BadRequest, e.to_string()))?;
    Ok(tags)
}

impl JoinBy {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text.strip_prefix('@') {
            Some(file) => Ok(JoinBy::File(file.into())),
            None => Ok(JoinBy::Invite(parse_invite(text)?)),
        }
    }
}

/// Parses an invite, with an error for people.
///
/// # Errors
/// A usage error that tells a mistyped invite from what is none.
pub fn parse_invite(text: &str) -> Result<Invite, Failure> {
    text.parse().map_err(|e: chinwag_base::InviteError| {
        let hint = match e {
            chinwag_base::InviteError::Version => "upgrade this chinwag",
            _ => "copy the whole token that `chinwag invite` printed",
        };
        Failure::new(Kind::InviteMistyped, e.to_string()).hint(hint)
    })
}

/// What to log and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// A filter in the language of tracing-subscriber.
    pub filter: String,
    /// The form.
    pub format: LogFormat,
}

/// `config.toml`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    name: Option<Name>,
    listen: Option<Vec<Listen>>,
    open: Option<Vec<Open>>,
    profile: Option<ProfileName>,
    tags: Option<Tags>,
    on_member: Option<String>,
    mdns: Option<bool>,
    history_max: Option<HistoryMax>,
    checkpoint_every: Option<CheckpointEvery>,
    log: Option<String>,
    log_format: Option<LogFormat>,
}

/// The keys of `config.toml`, for suggestions. A test holds them against [`File`].
const KEYS: [&str; 11] = [
    "name",
    "listen",
    "open",
    "profile",
    "tags",
    "on_member",
    "mdns",
    "history_max",
    "checkpoint_every",
    "log",
    "log_format",
];

impl File {
    fn read(path: &Path) -> Result<Option<Self>, Failure> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path).map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Failure::new(Kind::BadRequest, format!("cannot read {}", path.display()))
                .because(e.to_string())),
        }
    }

    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let (line, column) = line_and_column(text, at);
            let place = format!("{}:{line}:{column}", path.display());
            let message = error.message().lines().next().unwrap_or_default();
            let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
            match unknown {
                Some(key) => {
                    let nearest = KEYS
                        .iter()
                        .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
                    let error =
                        Failure::new(Kind::BadRequest, format!("{place}: there is no setting `{key}`"));
                    match nearest {
                        Some(near) if strsim::jaro_winkler(near, key) > 0.7 => {
                            error.hint(format!("{near} = …"))
                        }
                        _ => error.because(format!("settings are {}", KEYS.join(", "))),
                    }
                }
                None => Failure::new(Kind::BadRequest, format!("{place}: {message}")),
            }
        })
    }
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, String> {
        File::parse(text, Path::new("c.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_sets_what_it_names() {
        let file =
            parse("name = 'ada'\nlisten = ['[::1]:0', '/ip4/127.0.0.1/tcp/7171']\nprofile = 'fast'").unwrap();
        assert_eq!(file.name.unwrap().as_str(), "ada");
        assert_eq!(file.profile, Some(ProfileName::Fast));
        assert_eq!(file.listen.unwrap().len(), 2);
        assert_eq!(parse(""), Ok(File::default()));
    }

    #[test]
    fn an_unknown_key_is_told_with_its_place_and_the_nearest_name() {
        let error = parse("name = 'ada'\n  lisen = ['127.0.0.1:0']\n").unwrap_err();
        assert!(error.starts_with("c.toml:2:3: there is no setting `lisen`"), "{error}");
        assert!(error.contains("try: listen"), "{error}");
        let error = parse("zzz = 1").unwrap_err();
        assert!(error.contains("settings are name, listen"), "{error}");
        for key in KEYS {
            assert!(!parse(&format!("{key} = {{ x = 1 }}")).unwrap_err().contains("no setting"), "{key}");
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_its_place() {
        assert!(parse("profile = 'quick'").unwrap_err().starts_with("c.toml:1:11: unknown variant"));
        assert!(parse("name = 'a b'").unwrap_err().starts_with("c.toml:1:8: a name has"));
        assert!(parse("name = ").unwrap_err().starts_with("c.toml:1:8: "));
        assert!(parse("listen = ['nowhere']").unwrap_err().contains("expected PORT, IP"));
    }

    #[test]
    fn discovery_is_turned_off_by_flag_environment_or_file_in_this_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        let mdns = |text: &str, mdns, no_mdns| {
            std::fs::write(&file, text).unwrap();
            let args =
                DaemonArgs { data: Some(dir.path().to_owned()), mdns, no_mdns, ..DaemonArgs::default() };
            Config::from_args(&args).unwrap().0.mdns
        };
        assert!(mdns("", None, false));
        assert!(!mdns("mdns = false", None, false));
        assert!(mdns("mdns = false", Some(Switch::On), false));
        assert!(!mdns("mdns = true", Some(Switch::Off), false));
        assert!(!mdns("mdns = true", Some(Switch::On), true));
    }

    #[test]
    fn tags_of_flags_take_the_place_of_those_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let tags = |text: &str, flags: &[&str]| {
            std::fs::write(dir.path().join("config.toml"), text).unwrap();
            let tag = flags.iter().map(|flag| flag.parse().unwrap()).collect();
            let args = DaemonArgs { data: Some(dir.path().to_owned()), tag, ..DaemonArgs::default() };
            Config::from_args(&args).map(|(config, _)| config.tags).map_err(|e| e.to_string())
        };
        let of = |pairs: &[(&str, &str)]| Ok(pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect());
        let file = "[tags]\nrole = 'db'\nrack = '2'";
        assert_eq!(tags("", &[]), of(&[]));
        assert_eq!(tags(file, &["role=web", "zone=a"]), of(&[("rack", "2"), ("role", "web"), ("zone", "a")]));
        assert!(tags("[tags]\n'a b' = 'c'", &[]).unwrap_err().contains("a tag's name has"));
        assert!(tags("[tags]\nrole = 3", &[]).unwrap_err().contains("expected a string"));
    }

    #[test]
    fn a_door_is_opened_where_it_is_said() {
        let both = |s: &str| Open(Listen::Both(s.parse().unwrap()));
        assert_eq!("127.0.0.1:0".parse(), Ok(both("127.0.0.1:0")));
        assert_eq!("[::1]".parse(), Ok(both("[::1]:7172")));
        assert!(matches!("/ip4/0.0.0.0/tcp/1".parse(), Ok(Open(Listen::One(_)))));
        assert!("7172".parse::<Open>().is_err(), "a port alone would be every interface");
        assert_eq!(parse("open = ['127.0.0.1']").unwrap().open, Some(vec![both("127.0.0.1:7172")]));
        assert!(parse("open = ['7172']").unwrap_err().contains("expected IP, IP:PORT"));
    }

    #[test]
    fn addresses_to_listen_on() {
        let both = |s: &str| Listen::Both(s.parse().unwrap());
        assert_eq!("127.0.0.1:0".parse(), Ok(both("127.0.0.1:0")));
        assert_eq!("127.0.0.1".parse(), Ok(both("127.0.0.1:7171")));
        assert_eq!("::1".parse(), Ok(both("[::1]:7171")));
        assert_eq!("[::1]".parse(), Ok(both("[::1]:7171")));
        assert_eq!("9000".parse(), Ok(both("0.0.0.0:9000")));
        assert!(matches!("/ip4/127.0.0.1/udp/1/quic-v1".parse(), Ok(Listen::One(_))));
        assert!("x".parse::<Listen>().is_err());
        assert!("127.0.0.1:99999".parse::<Listen>().is_err());
    }
}

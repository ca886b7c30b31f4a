//! What a run is made of: its size, its network, its disks, and every step that clients and faults take, with its time.
//!
//! A plan is complete: together with the code it decides every event of its run. So it can be kept in a file, read by
//! a person, and made smaller step by step as long as it still fails ([`crate::shrink`]).

use crate::observation::{Damage, Host};
use chinwag_membership::Profile;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Draws whatever the plan does not say: latencies, losses, jitter, choices of the nodes.
    pub seed: u64,
    /// How many hosts there are. All join through the first one.
    pub hosts: u32,
    /// How fast the failure detector runs.
    #[serde(default)]
    pub profile: Profile,
    /// In virtual milliseconds: when faults and clients end, and everything is mended.
    pub heal_ms: u64,
    /// In virtual milliseconds: how long the run goes on after that, even if all agree at once.
    #[serde(default)]
    pub calm_ms: u64,
    /// The network.
    #[serde(default)]
    pub network: NetworkPlan,
    /// The disks.
    #[serde(default)]
    pub disk: DiskPlan,
    /// How much of the state's history is kept.
    #[serde(default)]
    pub state: StatePlan,
    /// Hosts that claim to speak a newer protocol as well.
    #[serde(default)]
    pub newer: Vec<Host>,
    /// Hosts that are not started again when all is mended.
    #[serde(default)]
    pub gone: Vec<Host>,
    /// What happens, in the order of time.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// How frames travel, between any two hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkPlan {
    /// Over what.
    pub transport: Transport,
    /// The one-way latency of a frame: uniform between these, in microseconds.
    pub latency_us: (u64, u64),
    /// What each directed link has in addition, always: uniform between zero and this, in microseconds.
    pub distance_us: u64,
    /// The share of packets that are lost.
    pub loss: f64,
    /// The share of datagrams that arrive twice, the second time up to five seconds late.
    pub duplicates: f64,
    /// The share of datagrams that are overtaken by those behind them.
    pub reorder: f64,
    /// Bytes that a directed link carries in a second. None: without limit.
    pub bytes_per_second: Option<u64>,
}

impl Default for NetworkPlan {
    fn default() -> Self {
        NetworkPlan {
            transport: Transport::Tcp,
            latency_us: (1_000, 50_000),
            distance_us: 0,
            loss: 0.0,
            duplicates: 0.0,
            reorder: 0.0,
            bytes_per_second: None,
        }
    }
}

/// What carries the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// One stream for all lanes: a lost packet delays whatever is behind it. Dead processes reset and refuse.
    Tcp,
    /// A stream for each lane. Dead processes are silent.
    Quic,
    /// Probe and gossip frames as datagrams, which get lost, doubled and out of order; bulk frames as a stream.
    Datagrams,
}

/// How disks behave, unless a step makes one slow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskPlan {
    /// How long a commit takes: uniform between these, in microseconds.
    pub fsync_us: (u64, u64),
}

impl Default for DiskPlan {
    fn default() -> Self {
        DiskPlan { fsync_us: (300, 3_000) }
    }
}

/// How much of the state's history each host keeps. With little of it, whoever was away takes whole cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatePlan {
    /// Bytes of entries in the log, at most.
    pub log_bytes: usize,
    /// Bytes of whole cells in a slice.
    pub slice_bytes: usize,
    /// Rows of the log between two checkpoints.
    pub checkpoint_rows: u64,
    /// Others to whom a writer pushes by itself; beyond, writes travel along a tree.
    pub push_peers: usize,
    /// Process lives in a clock from which on a peer that has not met it is told a sketch of it.
    pub names_from: usize,
}

impl Default for StatePlan {
    fn default() -> Self {
        let config = chinwag_gossip::Config::default();
        StatePlan {
            log_bytes: config.log_bytes_max,
            slice_bytes: config.slice_bytes_max,
            checkpoint_rows: config.checkpoint_rows,
            push_peers: config.push_peers_max,
            names_from: config.names_from,
        }
    }
}

/// Something that clients or faults do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// What can be done. A step that makes no sense when its time comes (to kill what is dead) does nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// A client writes at a host.
    Write {
        /// Where.
        host: Host,
        /// What, all or nothing.
        ops: Vec<Wish>,
        /// For whom the client waits.
        #[serde(default)]
        wait: WaitFor,
    },
    /// A client puts an element into a record of the DHT.
    Put {
        /// Through which host.
        host: Host,
        /// Which record.
        record: u32,
    },
    /// kill -9.
    Kill {
        /// Whom.
        host: Host,
    },
    /// The whole host goes.
    PowerCut {
        /// Which.
        host: Host,
    },
    /// The process says goodbye and ends.
    Leave {
        /// Which.
        host: Host,
    },
    /// A process begins where none runs.
    Start {
        /// Where.
        host: Host,
        /// What happened to its disk meanwhile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        damage: Option<Damage>,
    },
    /// A copy of the disk is made, to which it may go back.
    Snapshot {
        /// Whose.
        host: Host,
    },
    /// The process stops running.
    Pause {
        /// Which.
        host: Host,
    },
    /// It goes on.
    Resume {
        /// Which.
        host: Host,
    },
    /// Nothing passes from one host to another.
    Cut {
        /// From here.
        from: Host,
        /// To there.
        to: Host,
    },
    /// It passes again.
    Mend {
        /// From here.
        from: Host,
        /// To there.
        to: Host,
    },
    /// Nothing passes between these hosts and the others.
    Partition {
        /// One side.
        side: Vec<Host>,
    },
    /// Every cut is mended.
    MendAll,
    /// The connection between two hosts is reset.
    Reset {
        /// One.
        one: Host,
        /// The other.
        other: Host,
    },
    /// From now on this share of packets is lost.
    Loss {
        /// The share.
        share: f64,
    },
    /// A wall clock jumps.
    Clock {
        /// Whose.
        host: Host,
        /// By how much.
        by_ms: i64,
    },
    /// From now on a disk takes this long for a commit.
    SlowDisk {
        /// Whose.
        host: Host,
        /// How long.
        fsync_ms: u64,
    },
    /// A disk has no room.
    FullDisk {
        /// Whose.
        host: Host,
    },
    /// A disk is quick and has room.
    GoodDisk {
        /// Whose.
        host: Host,
    },
}

/// What a client wants to write. Which element is removed is chosen among what is there when the time comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", content = "key", rename_all = "kebab-case")]
pub enum Wish {
    /// A new value for `reg/KEY`.
    Set(u32),
    /// Delete `reg/KEY`.
    Delete(u32),
    /// A new element for `set/KEY`.
    Add(u32),
    /// One of the elements of `set/KEY`.
    Remove(u32),
    /// Add to `count/KEY`.
    Increment(u32),
    /// Add to `tally/KEY`, which is also reset.
    Tally(u32),
    /// Reset `tally/KEY`.
    ResetTally(u32),
}

/// For whom a client waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitFor {
    /// The host that it asks.
    #[default]
    Local,
    /// More than half of all members.
    Majority,
    /// Every member that is alive.
    All,
}

impl Plan {
    /// When all is mended, after the start.
    pub fn heal(&self) -> Duration {
        Duration::from_millis(self.heal_ms)
    }

    /// Why the plan cannot be run, if so.
    pub fn fault(&self) -> Option<String> {
        let share = |name: &str, share: f64| {
            (!(0.0..=0.95).contains(&share))
                .then(|| format!("{name} is {share}; a share from 0 to 0.95 is wanted"))
        };
        if !(1..=HOSTS_MAX).contains(&self.hosts) {
            return Some(format!("{} hosts; from 1 to {HOSTS_MAX} can be simulated", self.hosts));
        }
        if self.network.latency_us.0 > self.network.latency_us.1
            || self.disk.fsync_us.0 > self.disk.fsync_us.1
        {
            return Some("a range ends before it begins".to_owned());
        }
        if self.network.bytes_per_second == Some(0) {
            return Some("a link of 0 bytes a second carries nothing; cut it instead".to_owned());
        }
        let shares = [
            ("loss", self.network.loss),
            ("duplicates", self.network.duplicates),
            ("reorder", self.network.reorder),
        ];
        if let Some(why) = shares.into_iter().find_map(|(name, value)| share(name, value)) {
            return Some(why);
        }
        self.steps.iter().find_map(|step| {
            let stranger = step.action.hosts().into_iter().find(|host| host.0 >= self.hosts);
            match (&step.action, stranger) {
                (_, Some(host)) => Some(format!(
                    "a step at {} ms names {host}, and there are n0 to n{}",
                    step.at_ms,
                    self.hosts - 1
                )),
                (Action::Loss { share: value }, None) => share("loss", *value),
                (Action::Write { ops, .. }, None) if ops.is_empty() => {
                    Some(format!("a write at {} ms has no operation", step.at_ms))
                }
                _ => None,
            }
        })
    }
}

/// Hosts in one run: as many as an overlay may have members.
pub const HOSTS_MAX: u32 = chinwag_base::limits::MEMBERS_MAX as u32;

impl Action {
    /// The hosts that it names.
    pub fn hosts(&self) -> Vec<Host> {
        match self {
            Action::Write { host, .. }
            | Action::Put { host, .. }
            | Action::Kill { host }
            | Action::PowerCut { host }
            | Action::Leave { host }
            | Action::Start { host, .. }
            | Action::Snapshot { host }
            | Action::Pause { host }
            | Action::Resume { host }
            | Action::Clock { host, .. }
            | Action::SlowDisk { host, .. }
            | Action::FullDisk { host }
            | Action::GoodDisk { host } => vec![*host],
            Action::Cut { from, to } | Action::Mend { from, to } => vec![*from, *to],
            Action::Reset { one, other } => vec![*one, *other],
            Action::Partition { side } => side.clone(),
            Action::MendAll | Action::Loss { .. } => Vec::new(),
        }
    }

    /// Whether clients do it, rather than fate.
    pub fn is_work(&self) -> bool {
        matches!(self, Action::Write { .. } | Action::Put { .. })
    }
}

//! One host: its process, its disk, its clocks, and the connections that its kernel has.

use super::disk::Disk;
use super::queue::{ConnectionId, Happening, Life};
use crate::observation::{Host, Request, Stop};
use chinwag_base::{Address, Grant, Keypair, Moment, Name, NodeId, OverlayId, Role, WallTime};
use chinwag_crdt::{Dot, Row};
use chinwag_dht::{Change, Id};
use chinwag_node::Node;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a host's process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// There was none yet.
    Never,
    /// It runs.
    Runs,
    /// It is stopped, and what arrives waits.
    Paused(Moment),
    /// It is gone.
    Off(Stop),
}

/// A connection as its host's process sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) connection: ConnectionId,
    /// Which end this host is.
    pub(crate) end: u8,
    /// The process life at the other end.
    pub(crate) peer_life: Life,
}

/// A client's open request, by the number that the node knows it by.
#[derive(Debug, Clone)]
pub(crate) enum Open {
    Write(Request),
    Await {
        request: Request,
        token: Vec<Dot>,
    },
    Put(Request),
    Read(chinwag_base::Key),
    /// A call of the roll, when so many hosts ran.
    Reach {
        running: usize,
    },
}

/// One host.
pub(crate) struct Machine {
    pub(crate) keypair: Keypair,
    pub(crate) id: NodeId,
    pub(crate) grant: Grant,
    pub(crate) name: Name,
    pub(crate) address: Address,
    pub(crate) run: Run,
    pub(crate) node: Option<Box<Node>>,
    pub(crate) life: Life,
    /// When its present life began, if there was one before.
    pub(crate) restarted: Option<Moment>,
    pub(crate) disk: Disk,
    /// By how much its wall clock is ahead of the true time.
    pub(crate) ahead_ms: i64,
    /// What its monotonic clock read when the run began: no two hosts' moments can be compared.
    pub(crate) booted: Duration,
    /// When the next look at its deadline is due.
    pub(crate) tick_at: Option<Moment>,
    /// Frames that arrived while it was paused.
    pub(crate) inbox: Vec<Happening>,
    /// What else happened to it while it was paused.
    pub(crate) waiting: Vec<chinwag_node::Input>,
    pub(crate) links: BTreeMap<Host, Link>,
    pub(crate) dials: BTreeMap<Host, u64>,
    pub(crate) open: BTreeMap<u64, Open>,
    /// What is at the disk and not known to be on it.
    pub(crate) unsynced: Option<(u64, Vec<Row>)>,
    pub(crate) unsynced_records: Vec<(Id, Change)>,
}

/// The root key of every simulated overlay.
pub(crate) fn root() -> Keypair {
    Keypair::from_secret([255; 32])
}

/// Who founds the overlay, and may order what only an admin may.
pub(crate) const FOUNDER: Host = Host(0);

/// The key of a host, in all its process lives.
pub(crate) fn keypair(host: Host) -> Keypair {
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&host.0.to_le_bytes());
    Keypair::from_secret(secret)
}

/// The simulated overlay.
pub(crate) fn overlay() -> OverlayId {
    OverlayId::of_root(&root().id())
}

impl Machine {
    pub(crate) fn new(host: Host, root: &Keypair, booted: Duration) -> Self {
        let keypair = keypair(host);
        let never = WallTime::from_unix_ms(1 << 45);
        let role = if host == FOUNDER { Role::Admin } else { Role::Member };
        let grant = Grant::by_root(root, keypair.id(), role, never);
        let octets = (host.0 + 1).to_be_bytes();
        let ip = core::net::Ipv4Addr::new(10, octets[1], octets[2], octets[3]);
        Machine {
            id: keypair.id(),
            keypair,
            grant,
            name: host.to_string().parse().expect("a name, because it is a letter and a number"),
            address: Address::new(chinwag_base::address::Transport::Tcp, (ip, 7171).into()),
            run: Run::Never,
            node: None,
            life: 0,
            restarted: None,
            disk: Disk::default(),
            ahead_ms: 0,
            booted,
            tick_at: None,
            inbox: Vec::new(),
            waiting: Vec::new(),
            links: BTreeMap::new(),
            dials: BTreeMap::new(),
            open: BTreeMap::new(),
            unsynced: None,
            unsynced_records: Vec::new(),
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.run == Run::Runs
    }

    /// Whether a process is there, running or paused.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.run, Run::Runs | Run::Paused(_))
    }

    /// What its own monotonic clock reads.
    pub(crate) fn moment(&self, now: Moment) -> Moment {
        now + self.booted
    }

    /// What its wall clock reads.
    pub(crate) fn wall(&self, now: Moment) -> WallTime {
        /// Some time in 2026.
        const BEGIN_MS: i64 = 1_790_000_000_000;
        WallTime::from_unix_ms((BEGIN_MS + now.as_millis() as i64 + self.ahead_ms).max(0) as u64)
    }
}

//! A running node: store, network and driver, for one overlay or for none.
//!
//! A daemon that joins an overlay stops one engine and starts another on the same home, while its API stays.

use crate::admit::Door;
use crate::clock;
use crate::config::{Config, Listen, PORT, ProfileName};
use crate::driver::{Command, Driver, Live, Stopped, UNPOISONED};
use crate::gauges::Gauges;
use crate::home::{Home, Papers};
use crate::kad::{self, Records, Teller};
use crate::listeners::Listeners;
use crate::network::{self, Clocks, Network, NetworkConfig, NetworkError};
use crate::observe::{Observer, Row};
use crate::records::{self, OverlayShelf, RecordStorage};
use crate::storage::{self, Compacted, Meter, OpenInvite, Opened, Snapshot, Storage};
use chinwag_api::event::Level;
use chinwag_api::runtime::Runtime;
use chinwag_api::{Failure, Kind};
use chinwag_base::address::Transport;
use chinwag_base::invite::Secret;
use chinwag_base::limits::API_QUEUE_MAX;
use chinwag_base::{Address, Generation, Grant, Key, Keypair, Moment, Name, NodeId, Role, Tags, WallTime};
use chinwag_crdt::{Dot, Op};
use chinwag_gossip::{Trace, TraceError, Wait, WriteError, Written};
use chinwag_membership::{ForgetError, Reached};
use chinwag_node::Node;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// A running node.
pub(crate) struct Engine {
    /// The key.
    pub(crate) keypair: Keypair,
    /// The overlay's papers; `None` for a node on its own.
    pub(crate) papers: Option<Papers>,
    /// This process life.
    pub(crate) generation: Generation,
    gauges: Arc<Mutex<Gauges>>,
    /// What the other members' clocks said.
    pub(crate) clocks: Clocks,
    storage: Storage,
    records: RecordStorage,
    commands: mpsc::Sender<Command>,
    stopped: watch::Receiver<Option<Stopped>>,
    /// The threads that write and read the disk.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Where programs that are no members come in, if it is open.
    pub(crate) open_door: Option<kad::Door>,
}

/// Why a request had no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Too many requests wait.
    Busy,
    /// The node is stopping.
    Stopping,
}

impl Engine {
    /// Opens the store, binds the listeners and starts the driver.
    pub(crate) async fn start(
        home: &Home,
        config: &Config,
        name: &Name,
        seed: Option<(NodeId, Vec<Address>)>,
        listeners: Listeners,
        addresses: watch::Sender<Vec<Address>>,
    ) -> Result<Self, Failure> {
        let keypair = home.keypair(clock::entropy)?;
        let papers = home.papers()?;
        if let Some(papers) = &papers {
            check_grant(papers, keypair.id())?;
        }
        let is_new = !home.store_path().exists();
        let opened = storage::open(&home.store_path(), clock::wall(), rand::random())?;
        let Opened { store, generation, state, members, bad_rows } = opened;
        let held = records::open(&home.records_path())?;

        let mut observer = Observer::new(keypair.id(), name.clone(), listeners);
        for record in &members {
            observer.knows(record.id(), &record.statement().name);
        }
        if is_new && papers.is_some() && home.last_port().is_some() {
            let row = Row::new(Level::Warn, "store.missing")
                .with("path", home.store_path().display().to_string())
                .with(
                    "why",
                    "this daemon has run before, and its store is gone; it starts with what others send it",
                );
            observer.tell(clock::wall(), row, None);
        }
        for bad in bad_rows.iter().chain(&held.bad_rows) {
            let row = Row::new(Level::Error, "store.row_quarantined")
                .with("table", bad.table)
                .with("why", bad.why.as_str());
            observer.tell(clock::wall(), row, None);
        }

        let no_thread = |e: std::io::Error| {
            Failure::new(Kind::Storage, "cannot start the storage thread").because(e.to_string())
        };
        let (report, stored) = mpsc::unbounded_channel();
        let (storage, writer) = Storage::start(store, report).map_err(no_thread)?;
        let (report, records_stored) = mpsc::unbounded_channel();
        let (records, record_threads) = RecordStorage::start(held.store, report).map_err(no_thread)?;
        let grant = papers.as_ref().map_or_else(|| own_grant(&keypair), |p| p.grant.clone());
        let (commands, queue) = mpsc::channel(API_QUEUE_MAX);
        let served = Records {
            shelf: Arc::new(OverlayShelf::new(records.reader(), &commands)),
            tell: teller(&commands),
        };
        let open_door = match &papers {
            Some(_) => open(home, config, &served).await?,
            None => {
                if !config.open.is_empty() {
                    let why = "this daemon belongs to no overlay yet; the door opens when it does";
                    observer.tell(clock::wall(), Row::new(Level::Info, "door.waits").with("why", why), None);
                }
                None
            }
        };
        let network = match &papers {
            Some(_) => Some(listen(home, config, &keypair, &grant, &storage, served).await?),
            // Without an overlay there is nobody to let in, and so nothing to listen for.
            None => None,
        };

        let node = {
            let recovered = chinwag_node::Recovered { state, members, records: held.records };
            node(config, &keypair, grant, name, generation, recovered)
        };
        let gauges = Arc::new(Mutex::new(Gauges::default()));
        let clocks = network.as_ref().map(|(network, _)| network.clocks()).unwrap_or_default();
        let driver = Driver {
            node,
            network,
            storage: storage.clone(),
            stored,
            records: records.clone(),
            records_stored,
            commands: queue,
            observer,
            gauges: gauges.clone(),
            addresses,
            leave_within: config.leave_within,
        };
        let (tell, stopped) = watch::channel(None);
        tokio::spawn(async move {
            let how = driver.run().await;
            let _ = tell.send(Some(how));
        });
        let engine = Engine {
            keypair,
            papers,
            generation,
            gauges,
            clocks,
            storage,
            records,
            commands,
            stopped,
            threads: Mutex::new(std::iter::once(writer).chain(record_threads).collect()),
            open_door,
        };
        if let Some((peer, addresses)) = seed {
            engine.seed(peer, addresses);
        }
        Ok(engine)
    }

    /// Writes, and waits as long as was asked for.
    pub(crate) async fn write(
        &self,
        ops: Vec<Op>,
        wait: Wait,
        timeout: Duration,
    ) -> Result<Result<Written, WriteError>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Write { ops, wait, timeout, reply })?;
        answer.await.map_err(|_| Unanswered::Stopping)
    }

    /// Waits until a write is visible here; false if it did not become so in time, `None` if too many wait.
    pub(crate) async fn visible(
        &self,
        token: Vec<Dot>,
        timeout: Duration,
    ) -> Result<Option<bool>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Await { token, timeout, reply })?;
        answer.await.map_err(|_| Unanswered::Stopping)
    }

    /// Asks the owners of a record, and waits at most so long for what they say.
    pub(crate) async fn ask(
        &self,
        ask: chinwag_dht::Ask,
        timeout: Duration,
    ) -> Result<chinwag_dht::Reply, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Ask { ask, timeout, reply })?;
        answer.await.map_err(|_| Unanswered::Stopping)
    }

    /// Calls all members; `None` if too many calls are open.
    pub(crate) async fn reach(&self) -> Result<Option<Reached>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Reach { reply })?;
        answer.await.map_err(|_| Unanswered::Stopping)
    }

    /// Orders a member to be forgotten; or says why it is not.
    pub(crate) async fn forget(&self, id: NodeId) -> Result<Result<(), ForgetError>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Forget { id, reply })?;
        answer.await.map_err(|_| Unanswered::Stopping)
    }

    /// Asks the members how the last write to a key came to them.
    pub(crate) async fn trace(&self, key: Key) -> Result<Result<Trace, TraceError>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Trace { key, reply })?;
        answer.await.map_err(|_| Unanswered::Stopping)
    }

    /// A reader of the records on the disk.
    pub(crate) fn records(&self) -> records::RecordReader {
        self.records.reader()
    }

    /// The store as of a commit, and what the node holds at the same commit; or why the disk does not show it.
    pub(crate) async fn snapshot(&self) -> Result<Result<(Snapshot, Live), String>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Snapshot { reply })?;
        answer.await.map_err(|_| Unanswered::Stopping)
    }

    /// Writes the state down and compacts its file; or says why that cannot be.
    pub(crate) async fn compact(&self) -> Result<Result<Compacted, String>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Compact { reply })?;
        answer.await.map_err(|_| Unanswered::Stopping)
    }

    /// Looks at the node. `look` runs on the driver's task: it must be quick.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Node, &Observer, Moment) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        let look = move |node: &Node, observer: &Observer, now: Moment| {
            let _ = reply.send(look(node, observer, now));
        };
        self.command(Command::Look(Box::new(look)))?;
        answer.await.map_err(|_| Unanswered::Stopping)
    }

    /// Opens an invite; its secret is in nobody's hands yet.
    pub(crate) async fn add_invite(
        &self,
        secret: Secret,
        role: Role,
        uses: u32,
        not_after: WallTime,
    ) -> Result<bool, String> {
        let invite = OpenInvite { role, not_after, uses, bound: Vec::new() };
        self.storage.add_invite(secret, invite, clock::wall()).await
    }

    /// Somebody to dial.
    pub(crate) fn seed(&self, peer: NodeId, addresses: Vec<Address>) {
        // A full queue: discovery comes again in a few seconds.
        let _ = self.commands.try_send(Command::Seed { peer, addresses });
    }

    /// What the disk takes.
    pub(crate) fn meter(&self) -> &Meter {
        self.storage.meter()
    }

    /// Traffic, addresses and faults, as they are now.
    pub(crate) fn gauges(&self) -> Gauges {
        self.gauges.lock().expect(UNPOISONED).clone()
    }

    /// Says goodbye to everyone and returns when the store is closed.
    pub(crate) async fn leave(&self) -> Stopped {
        if let Some(door) = &self.open_door {
            door.close().await;
        }
        let _ = self.commands.send(Command::Leave).await;
        let how = self.stopped().await;
        // The driver has done so already, unless it panicked.
        self.storage.close();
        self.records.close();
        let threads = std::mem::take(&mut *self.threads.lock().expect(UNPOISONED));
        let _ = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|t| drop(t.join()))).await;
        how
    }

    /// Becomes `Some` when the node has stopped.
    pub(crate) fn watch_stopped(&self) -> watch::Receiver<Option<Stopped>> {
        self.stopped.clone()
    }

    /// Whether the node has stopped.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped.borrow().is_some()
    }

    async fn stopped(&self) -> Stopped {
        let mut stopped = self.stopped.clone();
        let how = stopped.wait_for(Option::is_some).await.map(|how| how.clone());
        how.ok().flatten().unwrap_or_else(|| Stopped::Failed("its task ended without a word".into()))
    }

    /// Says something else of this member from now on.
    pub(crate) fn say(&self, tags: Tags) -> Result<(), Unanswered> {
        self.command(Command::Tags(tags))
    }

    fn command(&self, command: Command) -> Result<(), Unanswered> {
        self.commands.try_send(command).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Stopping,
        })
    }
}

/// What a node on its own holds instead of a grant: it is its own root, and nobody else is in its overlay.
fn own_grant(keypair: &Keypair) -> Grant {
    Grant::by_root(keypair, keypair.id(), Role::Admin, WallTime::from_unix_ms(u64::MAX))
}

fn check_grant(papers: &Papers, id: NodeId) -> Result<(), Failure> {
    papers.grant.verify(papers.overlay(), id, clock::wall()).map(|_| ()).map_err(|e| {
        let failure = Failure::new(Kind::NotAdmin, format!("this node may not take part in {}", papers.name));
        failure.because(e.to_string()).hint("ask an admin for an invite, and join with a new data directory")
    })
}

fn node(
    config: &Config,
    keypair: &Keypair,
    grant: Grant,
    name: &Name,
    generation: Generation,
    recovered: chinwag_node::Recovered,
) -> Node {
    let mut membership = chinwag_membership::Config::new(grant.overlay());
    membership.profile = match config.profile {
        ProfileName::Fast => chinwag_membership::Profile::Fast,
        ProfileName::Lan => chinwag_membership::Profile::Lan,
        ProfileName::Wan => chinwag_membership::Profile::Wan,
    };
    let me = chinwag_node::Identity {
        keypair: keypair.clone(),
        grant,
        name: name.clone(),
        generation,
        addresses: Vec::new(),
        tags: config.tags.clone(),
    };
    Node::new(
        chinwag_node::Config {
            membership,
            gossip: chinwag_gossip::Config {
                log_bytes_max: config.history_max,
                checkpoint_rows: config.checkpoint_every,
                ..chinwag_gossip::Config::default()
            },
            dht: chinwag_dht::Config::default(),
        },
        me,
        recovered,
        rand::random(),
        clock::now(),
    )
}

/// What identify tells about this program.
const AGENT: &str = concat!("chinwag/", env!("CARGO_PKG_VERSION"));

/// The open door, if it is asked for.
async fn open(home: &Home, config: &Config, served: &Records) -> Result<Option<kad::Door>, Failure> {
    if config.open.is_empty() {
        return Ok(None);
    }
    let door = kad::DoorConfig {
        keypair: home.door_keypair(clock::entropy)?,
        listen: config.open.iter().flat_map(|wish| transports(*wish)).collect(),
        path: home.door_path(),
        agent: AGENT.to_owned(),
        records: served.clone(),
    };
    kad::Door::open(door).await.map(Some)
}

/// Tells rows through the driver, as long as there is one. It does not keep the driver running.
fn teller(commands: &mpsc::Sender<Command>) -> Teller {
    let commands = commands.downgrade();
    Teller::new(move |row| {
        if let Some(commands) = commands.upgrade() {
            // A full queue: the driver has more urgent things to do.
            let _ = commands.try_send(Command::Tell(row));
        }
    })
}

async fn listen(
    home: &Home,
    config: &Config,
    keypair: &Keypair,
    grant: &Grant,
    storage: &Storage,
    served: Records,
) -> Result<(Network, network::Inbox), Failure> {
    let wishes: Vec<Vec<Address>> = if config.listen.is_empty() {
        // The port of last time, so that the addresses which others remember stay true; else the usual one; else any.
        let mut ports: Vec<u16> = home.last_port().into_iter().chain([PORT, 0]).collect();
        ports.dedup();
        ports.into_iter().map(everywhere).collect()
    } else {
        vec![config.listen.iter().flat_map(|wish| transports(*wish)).collect()]
    };
    let mut failure = None;
    for listen in wishes {
        let network = NetworkConfig {
            keypair: keypair.clone(),
            listen,
            agent: AGENT.to_owned(),
            admission: Arc::new(Door::new(keypair.clone(), home.root()?, grant.clone(), storage.clone())),
            records: served.clone(),
        };
        match network::start(network).await {
            Ok(started) => return Ok(started),
            Err(NetworkError::Listen { source, .. })
                if config.listen.is_empty() && source.kind() == std::io::ErrorKind::AddrInUse =>
            {
                failure =
                    Some(Failure::new(Kind::Taken, "no free port was found").because(source.to_string()));
            }
            Err(error) => return Err(listen_failure(config, error)),
        }
    }
    Err(failure.unwrap_or_else(|| Failure::new(Kind::Internal, "there was nothing to listen on")))
}

/// The addresses to bind for one wish: TCP and QUIC on one port number, or one of them.
fn transports(listen: Listen) -> Vec<Address> {
    match listen {
        Listen::Both(mut socket) => {
            if socket.port() == 0 {
                socket.set_port(network::free_port(socket.ip()).unwrap_or(0));
            }
            vec![Address::new(Transport::Tcp, socket), Address::new(Transport::Quic, socket)]
        }
        Listen::One(address) => vec![address],
    }
}

/// Every interface, one port number for all. Port 0 becomes one that is free now.
fn everywhere(port: u16) -> Vec<Address> {
    let port = if port == 0 { network::free_port(Ipv4Addr::UNSPECIFIED.into()).unwrap_or(0) } else { port };
    let both = |ip: IpAddr| transports(Listen::Both(SocketAddr::new(ip, port)));
    let mut addresses = both(Ipv4Addr::UNSPECIFIED.into());
    if std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        addresses.extend(both(Ipv6Addr::UNSPECIFIED.into()));
    }
    addresses
}

/// Tells who has the port, if it is one of ours.
fn listen_failure(config: &Config, error: NetworkError) -> Failure {
    let NetworkError::Listen { address, source } = error else {
        return Failure::new(Kind::Internal, error.to_string());
    };
    let port = address.socket.port();
    if source.kind() != std::io::ErrorKind::AddrInUse {
        return Failure::new(Kind::Taken, format!("cannot listen on {address}"))
            .because(source.to_string())
            .hint("another address: --listen IP:PORT");
    }
    let listing = config.runtime_dir.as_ref().and_then(|dir| Runtime::at(dir).list().ok());
    let holder = listing
        .into_iter()
        .flat_map(|l| l.live)
        .find(|entry| {
            entry.addresses.iter().any(|a| a.socket.port() == port && a.transport == address.transport)
        })
        .map_or_else(
            || "another program".to_owned(),
            |entry| format!("chinwagd \"{}\" (pid {})", entry.name, entry.pid),
        );
    Failure::new(Kind::Taken, format!("port {port} is taken by {holder}"))
        .hint("leave --listen out; a free port is chosen and announced")
}

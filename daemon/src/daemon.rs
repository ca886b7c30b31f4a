//! A daemon: an engine on a home, a name in the runtime directory, and the API.

use crate::clock;
use crate::config::{Config, JoinBy};
use crate::discovery::{self, Lan};
use crate::driver::{Stopped, UNPOISONED};
use crate::engine::{Engine, Unanswered};
use crate::home::{Home, Papers};
use crate::hook;
use crate::http;
use crate::join::enter;
use crate::listeners::Listeners;
use crate::observe::Told;
use crate::unattended;
use chinwag_api::runtime::{Claim, Entry, Runtime};
use chinwag_api::{Failure, Kind};
use chinwag_base::{Address, Invite, Key, Moment, Name, NodeId, Tags, Value};
use chinwag_crdt::{Op, Read};
use chinwag_dht::{Ask, Content, Edit, Outcome, RecordKey};
use chinwag_gossip::{Wait, Written};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{RwLock, broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long the sockets of an engine that has just started may take to open.
const LISTEN_WITHIN: Duration = Duration::from_secs(2);
/// How long the owners of a record have, of whom a program asks in-process.
const DHT_WITHIN: Duration = Duration::from_secs(10);
/// How often the runtime directory is read for daemons of the same overlay.
const DISCOVER_EVERY: Duration = Duration::from_secs(5);

/// A daemon to be started.
#[derive(Debug)]
pub struct Daemon;

/// A running daemon. Dropping it stops the daemon as [`Handle::leave`] does, but without waiting for it.
pub struct Handle {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the API's handlers and the tasks of a daemon share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) home: Home,
    pub(crate) name: Name,
    pub(crate) started: Moment,
    pub(crate) listeners: Listeners,
    /// Held by whoever founds or joins an overlay, so that two do not at once.
    pub(crate) entering: tokio::sync::Mutex<()>,
    /// Held by whoever checks the store, since each needs as much memory as the state.
    pub(crate) checking: Arc<tokio::sync::Mutex<()>>,
    /// Empty while one engine makes room for another, and at the end.
    pub(crate) engine: RwLock<Option<Arc<Engine>>>,
    claim: Mutex<Option<Claim>>,
    published: Mutex<Option<Entry>>,
    /// Where the engine listens. It lives on when one engine makes room for another.
    addresses: watch::Sender<Vec<Address>>,
    stop: watch::Sender<Option<Stopped>>,
    /// What the member says of itself now; `config` has what it said at the start.
    tags: Mutex<Tags>,
    /// What discovery sees of the local network.
    pub(crate) lan: Mutex<Lan>,
}

impl Daemon {
    /// Starts a daemon: takes its home's lock and a name, joins the overlay that it was told to join, opens the
    /// store, binds the listeners and serves the API.
    ///
    /// # Errors
    /// Whatever stands in the way, told for people. Nothing is left running.
    pub async fn start(config: Config) -> Result<Handle, Failure> {
        let home = Home::open(&config.data)?;
        let claim =
            config.runtime_dir.as_ref().map(|dir| Runtime::at(dir).claim(&config.name)).transpose()?;
        let name = claim.as_ref().map_or_else(|| config.name.clone(), |c| c.name().clone());
        let listeners = Listeners::new(rand::random());
        // Before anything can happen.
        let hook = config.on_member.clone().map(|command| (command, listeners.listen().receiver));
        let (stop, _) = watch::channel(None);
        let (addresses, _) = watch::channel(Vec::new());
        if let Some(path) = &config.invite_to {
            unattended::clear(path)?;
        }
        if let Some(overlay) = &config.init {
            unattended::found(&home, overlay)?;
        }
        let seed = match &config.join {
            Some(join) => enter(&home, join, config.merge).await?,
            None => None,
        };
        let engine = Engine::start(&home, &config, &name, seed, listeners.clone(), addresses.clone()).await?;
        let socket = match claim.as_ref().map(|claim| http::bind(claim.socket())).transpose() {
            Ok(socket) => socket,
            Err(failure) => {
                engine.leave().await;
                return Err(failure);
            }
        };
        let shared = Arc::new(Shared {
            tags: Mutex::new(config.tags.clone()),
            config,
            home,
            name,
            started: clock::now(),
            listeners,
            entering: tokio::sync::Mutex::new(()),
            checking: Arc::default(),
            engine: RwLock::new(Some(Arc::new(engine))),
            claim: Mutex::new(claim),
            published: Mutex::new(None),
            addresses,
            stop,
            lan: Mutex::default(),
        });
        let mut tasks = tasks(&shared, socket);
        if let Some((command, events)) = hook {
            tasks.push(tokio::spawn(hook::run(command, shared.name.to_string(), events)));
        }
        Ok(Handle { tasks, shared })
    }
}

fn tasks(shared: &Arc<Shared>, socket: Option<UnixListener>) -> Vec<JoinHandle<()>> {
    let mut tasks =
        vec![tokio::spawn(supervise(shared.clone())), tokio::spawn(discovery::run(shared.clone()))];
    if let Some(socket) = socket {
        tasks.push(tokio::spawn(http::serve(shared.clone(), socket)));
        tasks.push(tokio::spawn(publish(shared.clone())));
        tasks.push(tokio::spawn(discover(shared.clone())));
    }
    if let Some(path) = shared.config.invite_to.clone() {
        tasks.push(tokio::spawn(unattended::keep_invite(shared.clone(), path)));
    }
    if let Some(JoinBy::File(path)) = shared.config.join.clone() {
        tasks.push(tokio::spawn(unattended::follow_invite(shared.clone(), path)));
    }
    tasks
}

impl Handle {
    /// The member's name; it has a suffix if another daemon of this machine had the one that was asked for.
    pub fn name(&self) -> &Name {
        &self.shared.name
    }

    /// The node.
    pub async fn id(&self) -> Result<NodeId, Failure> {
        Ok(self.shared.running().await?.keypair.id())
    }

    /// The overlay that it belongs to, if it does.
    ///
    /// # Errors
    /// Only if the daemon is stopping.
    pub async fn overlay(&self) -> Result<Option<Papers>, Failure> {
        Ok(self.shared.running().await?.papers.clone())
    }

    /// Where it listens, with concrete ports.
    pub fn addresses(&self) -> Vec<Address> {
        self.shared.addresses()
    }

    /// Waits until it can be reached: its API already can, and in an overlay its sockets take a moment to open.
    ///
    /// # Errors
    /// Only if the daemon is stopping.
    pub(crate) async fn opened(&self) -> Result<(), Failure> {
        if self.shared.running().await?.papers.is_some() {
            self.shared.addresses_opened().await;
        }
        // Others on this machine find it by its entry.
        self.shared.publish().await;
        Ok(())
    }

    /// Writes: all of `ops` or none, durable here when this returns, and on as many members as `wait` says unless
    /// `timeout` passes first ([`Written::met`] tells).
    ///
    /// # Errors
    /// A refusal; nothing has been written then.
    pub async fn write(&self, ops: Vec<Op>, wait: Wait, timeout: Duration) -> Result<Written, Failure> {
        let engine = self.shared.running().await?;
        engine.write(ops, wait, timeout).await?.map_err(http::write_failure)
    }

    /// What a key holds, as of now, on this node.
    ///
    /// # Errors
    /// Only if the daemon is stopping or overwhelmed.
    pub async fn get(&self, key: &Key) -> Result<Option<Read>, Failure> {
        let key = key.clone();
        Ok(self.shared.running().await?.look(move |node, _, _| node.gossip().replica().get(&key)).await?)
    }

    /// Puts a value under a key of the DHT, for ever. Durable on `quorum` of the key's owners when this returns, a majority
    /// without it. Returns how many hold it and how many owners there are.
    ///
    /// # Errors
    /// `timeout` if too few owners held it in time (some may hold it all the same), or a refusal.
    pub async fn dht_put(
        &self,
        key: &str,
        value: &[u8],
        quorum: Option<usize>,
    ) -> Result<(usize, usize), Failure> {
        let key = http::parse_key(key)?;
        let value = Value::new(value).map_err(|e| Failure::new(Kind::TooLarge, e.to_string()))?;
        let ask = Ask::Put { key: key.clone(), edit: Edit::Set(value), expires: None, quorum };
        match self.dht_ask(ask, key).await? {
            Outcome::Stored { holders, owners, .. } => Ok((holders, owners)),
            other => Err(Failure::new(Kind::Internal, format!("a put was answered by {other:?}"))),
        }
    }

    /// The value of a register of the DHT, as a majority of its owners have it; of concurrent ones the latest.
    ///
    /// # Errors
    /// `timeout` if too few owners answered; `wrong_kind` if the key holds no register.
    pub async fn dht_get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let key = http::parse_key(key)?;
        let ask = Ask::Get { key: RecordKey::Cell(key.clone()), quorum: None };
        let Outcome::Found(found) = self.dht_ask(ask, key.clone()).await? else { return Ok(None) };
        let read = found.and_then(|record| match record.content {
            Content::Cell(cell) => cell.read(),
            Content::Blob(_) => None,
        });
        match read {
            None => Ok(None),
            Some(Read::Register { value, .. }) => Ok(Some(value.as_bytes().to_vec())),
            Some(_) => Err(Failure::new(Kind::WrongKind, format!("{key} holds no register alone"))),
        }
    }

    async fn dht_ask(&self, ask: Ask, key: Key) -> Result<Outcome, Failure> {
        let reply = self.shared.running().await?.ask(ask, DHT_WITHIN).await?;
        reply.result.map_err(|error| http::ask_failure(error, &RecordKey::Cell(key)))
    }

    /// How many members are alive, suspected, down and gone, as this one sees it; it counts itself.
    ///
    /// # Errors
    /// Only if the daemon is stopping or overwhelmed.
    pub async fn members(&self) -> Result<chinwag_api::Counts, Failure> {
        http::members(&self.shared).await
    }

    /// Says this of the member from now on, in place of what it said before.
    ///
    /// # Errors
    /// If these are no tags, or the daemon is stopping.
    pub async fn set_tags(&self, tags: Tags) -> Result<(), Failure> {
        chinwag_base::tag::check(&tags).map_err(|e| Failure::new(Kind::BadRequest, e.to_string()))?;
        // An engine that is being exchanged takes them from here.
        self.shared.tags.lock().expect(UNPOISONED).clone_from(&tags);
        Ok(self.shared.running().await?.say(tags)?)
    }

    /// Everything that happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Arc<Told>> {
        self.shared.listeners.listen().receiver
    }

    /// Makes an invite for `uses` nodes that ends after `life`.
    ///
    /// # Errors
    /// If this node has no overlay, may not invite, or its disk refuses.
    pub async fn invite(&self, uses: u32, life: Duration) -> Result<Invite, Failure> {
        http::make_invite(&self.shared, uses, life, chinwag_base::Role::Member).await
    }

    /// Waits until the daemon stops: because a client told it to leave, or because it cannot go on.
    ///
    /// # Errors
    /// Why it could not go on.
    pub async fn stopped(&self) -> Result<(), Failure> {
        let mut stop = self.shared.stop.subscribe();
        let how = stop.wait_for(Option::is_some).await.map(|how| how.clone());
        match how.ok().flatten() {
            Some(Stopped::Failed(why)) => Err(Failure::new(Kind::Storage, "the daemon had to stop")
                .because(why)
                .hint("see its log")
                .hint("if its store may be damaged: chinwag doctor")),
            _ => Ok(()),
        }
    }

    /// Says goodbye to the other members, closes the store and returns.
    pub async fn leave(mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
        }
        let engine = self.shared.engine.write().await.take();
        if let Some(engine) = engine {
            engine.leave().await;
        }
        // An API connection that is still open keeps `shared`, but neither the name nor the home.
        self.shared.claim.lock().expect(UNPOISONED).take();
        self.shared.home.release();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

pub(crate) fn leaving() -> Failure {
    Failure::new(Kind::Leaving, "the daemon is stopping")
}

impl From<Unanswered> for Failure {
    fn from(why: Unanswered) -> Failure {
        match why {
            Unanswered::Busy => {
                Failure::new(Kind::Busy, "too many requests wait already").hint("again in a moment")
            }
            Unanswered::Stopping => leaving(),
        }
    }
}

impl Shared {
    /// Tells the process that it may end.
    pub(crate) fn stop(&self, how: Stopped) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(how);
            first
        });
    }

    /// The engine, while there is one. A restart takes a moment, and this waits for it.
    pub(crate) async fn running(&self) -> Result<Arc<Engine>, Failure> {
        self.engine.read().await.clone().ok_or_else(leaving)
    }

    /// Keeps `papers`, stops the engine and starts another. If the disk does not take the papers nothing changes; if
    /// the new engine does not start, the daemon stops and says why. A client that hangs up does not interrupt it.
    pub(crate) async fn restart(
        self: &Arc<Self>,
        papers: &Papers,
        seed: Option<(NodeId, Vec<Address>)>,
    ) -> Result<(), Failure> {
        self.home.keep(papers)?;
        let shared = self.clone();
        let restarted = tokio::spawn(async move { shared.exchange_engines(seed).await }).await;
        restarted.unwrap_or_else(|e| {
            self.stop(Stopped::Failed(e.to_string()));
            Err(Failure::new(Kind::Internal, "the restart ended by a bug").because(e.to_string()))
        })
    }

    async fn exchange_engines(&self, seed: Option<(NodeId, Vec<Address>)>) -> Result<(), Failure> {
        let mut slot = self.engine.write().await;
        if let Some(old) = slot.take() {
            old.leave().await;
        }
        self.addresses.send_replace(Vec::new());
        let (listeners, addresses) = (self.listeners.clone(), self.addresses.clone());
        let tags = self.tags.lock().expect(UNPOISONED).clone();
        let config = Config { tags, ..self.config.clone() };
        match Engine::start(&self.home, &config, &self.name, seed, listeners, addresses).await {
            Ok(engine) => {
                *slot = Some(Arc::new(engine));
                Ok(())
            }
            Err(failure) => {
                self.stop(Stopped::Failed(failure.to_string()));
                Err(failure)
            }
        }
    }

    async fn publish(&self) {
        let engine = self.engine.read().await;
        // With an overlay, the entry appears once the addresses are known.
        let entry = engine.as_ref().and_then(|engine| self.entry(engine));
        let entry = entry.filter(|e| e.overlay.is_none() || !e.addresses.is_empty());
        let claim = self.claim.lock().expect(UNPOISONED);
        let (Some(claim), Some(entry)) = (claim.as_ref(), entry) else { return };
        let mut published = self.published.lock().expect(UNPOISONED);
        if published.as_ref() == Some(&entry) {
            return;
        }
        if let Err(error) = claim.publish(&entry) {
            tracing::warn!(target: "chinwag", event = "runtime.unwritable", why = %error);
            return;
        }
        if let Some(address) = entry.addresses.first() {
            self.home.remember_port(address.socket.port());
        }
        *published = Some(entry);
    }

    async fn republish_if_gone(&self) {
        let gone = match self.claim.lock().expect(UNPOISONED).as_ref() {
            Some(claim) => !claim.is_published(),
            None => false,
        };
        if gone {
            self.published.lock().expect(UNPOISONED).take();
            self.publish().await;
        }
    }

    /// Where it listens, with concrete ports.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.addresses.borrow().clone()
    }

    /// The same, and every change of it.
    pub(crate) fn watch_addresses(&self) -> watch::Receiver<Vec<Address>> {
        self.addresses.subscribe()
    }

    /// The same once the sockets are open, which takes a moment after a start; empty if they do not open.
    pub(crate) async fn addresses_opened(&self) -> Vec<Address> {
        let mut addresses = self.addresses.subscribe();
        let opened = timeout(LISTEN_WITHIN, addresses.wait_for(|known| !known.is_empty())).await;
        opened.ok().and_then(Result::ok).map(|known| known.clone()).unwrap_or_default()
    }

    fn entry(&self, engine: &Engine) -> Option<Entry> {
        let claim = self.claim.lock().expect(UNPOISONED);
        let claim = claim.as_ref()?;
        Some(Entry {
            name: self.name.clone(),
            pid: std::process::id(),
            socket: claim.socket().to_owned(),
            data: self.home.dir().to_owned(),
            overlay: engine.papers.as_ref().map(|p| p.overlay().into()),
            id: engine.keypair.id(),
            addresses: self.addresses.borrow().clone(),
        })
    }

    /// The socket of the API.
    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.claim.lock().expect(UNPOISONED).as_ref().map(|c| c.socket().to_owned()).unwrap_or_default()
    }
}

/// Tells the process when the engine has stopped by itself.
async fn supervise(shared: Arc<Shared>) {
    loop {
        let stopped = {
            let engine = shared.engine.read().await;
            engine.as_ref().map(|engine| engine.watch_stopped())
        };
        let Some(mut stopped) = stopped else { return };
        let how = stopped.wait_for(Option::is_some).await.map(|how| how.clone());
        // A restart takes the engine out before it stops; then there is a new one to look after.
        let engine = shared.engine.read().await;
        match engine.as_ref() {
            Some(engine) if !engine.has_stopped() => continue,
            _ => {}
        }
        drop(engine);
        let how = how.ok().flatten();
        shared.stop(how.unwrap_or_else(|| Stopped::Failed("its task ended without a word".into())));
        return;
    }
}

/// Keeps our entry in the runtime directory true.
async fn publish(shared: Arc<Shared>) {
    let mut addresses = shared.addresses.subscribe();
    loop {
        shared.publish().await;
        if addresses.changed().await.is_err() {
            return;
        }
    }
}

/// Finds daemons of the same overlay on this machine.
async fn discover(shared: Arc<Shared>) {
    let Some(dir) = shared.config.runtime_dir.clone() else { return };
    loop {
        // Whoever cleans temporary directories takes our entry too.
        shared.republish_if_gone().await;
        let dir = dir.clone();
        // It reads files and tries sockets, which must not hold up anything else.
        let listing = tokio::task::spawn_blocking(move || Runtime::at(dir).list()).await;
        if let (Ok(Ok(listing)), Some(engine)) = (listing, shared.engine.read().await.as_ref())
            && let Some(papers) = &engine.papers
        {
            let overlay = papers.overlay().into();
            for entry in listing.live {
                if entry.overlay == Some(overlay) && entry.id != engine.keypair.id() {
                    engine.seed(entry.id, entry.addresses);
                }
            }
        }
        sleep(DISCOVER_EVERY).await;
    }
}

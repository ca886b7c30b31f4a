//! Stock libp2p Kademlia, as a program would use it that knows it well.
//!
//! A node is a swarm with nothing but `libp2p_kad` in it, over TCP, Noise and Yamux with `TCP_NODELAY`, like chinwag's.
//! Where a choice had to be made it was made in Kademlia's favour:
//!
//! - every node is told the address of every other before it bootstraps, so no table is poorer than it can be;
//! - connections are never closed for idleness, so none has to be made anew while we measure;
//! - records are in memory: an acknowledgement promises nothing about disks;
//! - a get ends as soon as it has as many copies as were asked for.
//!
//! Everything else is as it comes: server mode, k = 20, parallelism 3, no disjoint paths.

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, GetRecordOk, Mode, ProgressStep, QueryId, QueryResult, Quorum, Record, RecordKey};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, noise, tcp, yamux};
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than any measurement.
const IDLE: Duration = Duration::from_secs(24 * 3_600);
/// How long a node may take to listen, and to bootstrap.
const PATIENCE: Duration = Duration::from_secs(60);
/// Commands that wait for a node.
const COMMANDS_MAX: usize = 4_096;
/// Records that one node keeps: more than any measurement writes. (The default is 1,024.)
const RECORDS_MAX: usize = 10_000_000;

/// Who a node is and where it listens.
pub type Contact = (PeerId, Multiaddr);

/// A running node. Dropping it stops it.
#[derive(Debug)]
pub struct Node {
    /// Who it is and where.
    pub contact: Contact,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Reply = oneshot::Sender<Result<(), String>>;

#[derive(Debug)]
enum Command {
    Bootstrap(Vec<Contact>, Reply),
    Put(Record, Quorum, Reply),
    Get(RecordKey, usize, Reply),
}

impl Node {
    /// Starts a node that keeps a record on `replication` nodes and listens on a free port of `ip`.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start(ip: IpAddr, replication: NonZeroUsize) -> Result<Self> {
        let mut swarm = swarm(replication)?;
        let wish = Multiaddr::from(ip).with(libp2p::multiaddr::Protocol::Tcp(0));
        swarm.listen_on(wish).with_context(|| format!("cannot listen on {ip}"))?;
        let listening = timeout(PATIENCE, async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    return address;
                }
            }
        });
        let address = listening.await.context("it does not come to listen")?;
        let contact = (*swarm.local_peer_id(), address);
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let task = tokio::spawn(Task { swarm, open: HashMap::new() }.run(queue));
        Ok(Node { contact, commands, task })
    }

    /// Tells it of the others and lets it fill its table.
    ///
    /// # Errors
    /// What Kademlia says.
    pub async fn bootstrap(&self, others: Vec<Contact>) -> Result<(), String> {
        self.ask(|reply| Command::Bootstrap(others, reply)).await
    }

    /// Puts a record, until a quorum has acknowledged it.
    ///
    /// # Errors
    /// What Kademlia says.
    pub async fn put(&self, key: &str, value: Vec<u8>, quorum: Quorum) -> Result<(), String> {
        let record = Record::new(key.as_bytes().to_vec(), value);
        self.ask(|reply| Command::Put(record, quorum, reply)).await
    }

    /// Gets a record, until so many copies are here or all that there are.
    ///
    /// # Errors
    /// What Kademlia says if there is none.
    pub async fn get(&self, key: &str, copies: usize) -> Result<(), String> {
        let key = RecordKey::from(key.as_bytes().to_vec());
        self.ask(|reply| Command::Get(key, copies, reply)).await
    }

    async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| "the node has ended".to_owned())?;
        answer.await.unwrap_or_else(|_| Err("the node gave no answer".to_owned()))
    }
}

fn swarm(replication: NonZeroUsize) -> Result<Swarm<kad::Behaviour<MemoryStore>>> {
    let transport = tcp::Config::new().nodelay(true);
    let builder = libp2p::SwarmBuilder::with_new_identity().with_tokio();
    let builder = builder.with_tcp(transport, noise::Config::new, yamux::Config::default);
    let builder = builder.context("cannot set up the transport")?.with_behaviour(|key| {
        let id = key.public().to_peer_id();
        let mut config = kad::Config::new(kad::PROTOCOL_NAME);
        config.set_replication_factor(replication);
        let limits = kad::store::MemoryStoreConfig { max_records: RECORDS_MAX, ..Default::default() };
        let mut behaviour = kad::Behaviour::with_config(id, MemoryStore::with_config(id, limits), config);
        behaviour.set_mode(Some(Mode::Server));
        behaviour
    });
    let swarm = builder.context("cannot set up Kademlia")?;
    Ok(swarm.with_swarm_config(|config| config.with_idle_connection_timeout(IDLE)).build())
}

/// Who waits for a query.
struct Open {
    reply: Reply,
    /// Copies that a get still waits for, and whether it has seen one.
    missing: usize,
    found: bool,
}

/// The task that owns a swarm.
struct Task {
    swarm: Swarm<kad::Behaviour<MemoryStore>>,
    open: HashMap<QueryId, Open>,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => {
                    if let SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed { id, result, step, .. }) = event {
                        self.progressed(id, result, &step);
                    }
                }
                command = queue.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let kad = self.swarm.behaviour_mut();
        let (begun, missing, reply) = match command {
            Command::Bootstrap(others, reply) => {
                for (peer, address) in others {
                    kad.add_address(&peer, address);
                }
                (kad.bootstrap().map_err(|error| error.to_string()), 0, reply)
            }
            Command::Put(record, quorum, reply) => {
                (kad.put_record(record, quorum).map_err(|error| error.to_string()), 0, reply)
            }
            Command::Get(key, copies, reply) => (Ok(kad.get_record(key)), copies, reply),
        };
        match begun {
            Ok(id) => {
                self.open.insert(id, Open { reply, missing, found: false });
            }
            // Whoever asked may have gone.
            Err(why) => drop(reply.send(Err(why))),
        }
    }

    fn progressed(&mut self, id: QueryId, result: QueryResult, step: &ProgressStep) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let ended = match result {
            QueryResult::Bootstrap(result) => {
                step.last.then(|| result.map(drop).map_err(|error| error.to_string()))
            }
            QueryResult::PutRecord(result) => Some(result.map(drop).map_err(|error| kind_of(&error))),
            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(_))) => {
                open.found = true;
                open.missing = open.missing.saturating_sub(1);
                (open.missing == 0).then_some(Ok(()))
            }
            // The walk has ended with fewer copies than were asked for; one is enough to know the value.
            QueryResult::GetRecord(result) if open.found => (step.last || result.is_err()).then_some(Ok(())),
            QueryResult::GetRecord(Ok(_)) => None,
            QueryResult::GetRecord(Err(error)) => Some(Err(kind_of(&error))),
            _ => None,
        };
        if let Some(ended) = ended
            && let Some(open) = self.open.remove(&id)
        {
            // Nothing more is asked of anyone on behalf of a query that has its answer.
            if let Some(mut query) = self.swarm.behaviour_mut().query_mut(&id) {
                query.finish();
            }
            let _gone = open.reply.send(ended);
        }
    }
}

/// Kademlia's errors print with keys and peers in them, which would make each one a reason of its own.
fn kind_of(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_put_is_got_elsewhere_and_nothing_else() {
        let (ip, five) = (IpAddr::from([127, 0, 0, 1]), NonZeroUsize::new(5).unwrap());
        let mut nodes = Vec::new();
        for _ in 0..4 {
            nodes.push(Node::start(ip, five).await.unwrap());
        }
        let contacts: Vec<Contact> = nodes.iter().map(|node| node.contact.clone()).collect();
        for node in &nodes {
            node.bootstrap(contacts.clone()).await.unwrap();
        }
        nodes[0].put("a", b"1".to_vec(), Quorum::Majority).await.unwrap();
        nodes[3].get("a", 3).await.unwrap();
        assert_eq!(nodes[3].get("b", 3).await, Err("NotFound".to_owned()));
    }
}

//! Two servers of chitchat on a link of ours, each with the states of many nodes.
//!
//! The servers are chitchat's own, under tokio's paused clock; the states are put in by the function that it offers for
//! catching up ([`Chitchat::reset_node_state_if_update`]). How long a server takes over a message is the processor time from
//! its receiving it to its sending the answer, without encoding and decoding, which happen in a `ChannelTransport` of
//! chitchat's and are counted by themselves.

use super::material::{self, Material};
use crate::cost;
use crate::membership::network::Network;
use ::chitchat::transport::{ChannelTransport, RecvOutcome, SendOutcome, Socket, Transport};
use ::chitchat::{
    Chitchat, ChitchatConfig, ChitchatEnvelope, ChitchatHandle, ChitchatId, ChitchatMessage, DeletionStatus,
    FailureDetectorConfig, ProtocolVersion, VersionedValue, spawn_chitchat,
};
use anyhow::{Context as _, Result};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// The most that a datagram holds, which chitchat keeps to.
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Nobody is forgotten and nothing is collected while we look.
const LONG: Duration = Duration::from_secs(7 * 24 * 3_600);
/// A server that is only to do what it is told.
pub const NEVER: Duration = Duration::from_secs(24 * 3_600);

/// What was sent and what it cost, by the kind of message.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Messages and their bytes.
    pub sent: BTreeMap<&'static str, (u64, u64)>,
    /// How long a server took to answer with such a message; `nothing` if it did not answer.
    pub answering: BTreeMap<&'static str, Vec<Duration>>,
    /// Encoding and decoding.
    pub codec: Duration,
}

impl Tally {
    /// Bytes of all messages.
    pub fn bytes(&self) -> u64 {
        self.sent.values().map(|(_, bytes)| bytes).sum()
    }

    /// All processor time.
    pub fn work(&self) -> Duration {
        self.answering.values().flatten().sum::<Duration>() + self.codec
    }
}

struct State {
    network: Network,
    ports: BTreeMap<SocketAddr, UnboundedSender<RecvOutcome>>,
    tally: Tally,
    /// Whether answers to a first message arrive.
    answers_arrive: bool,
}

#[derive(Clone)]
struct Link {
    state: Arc<Mutex<State>>,
    codec: ChannelTransport,
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for Link {
    async fn open(&self, address: SocketAddr) -> Result<Box<dyn Socket>> {
        let codec = self.codec.open(address).await?;
        let (sender, inbox) = unbounded_channel();
        self.state().ports.insert(address, sender);
        Ok(Box::new(Port { address, link: self.clone(), inbox, codec, took: None }))
    }
}

struct Port {
    address: SocketAddr,
    link: Link,
    inbox: UnboundedReceiver<RecvOutcome>,
    codec: Box<dyn Socket>,
    /// When the message that is being handled was taken, in processor time.
    took: Option<Duration>,
}

impl Port {
    fn answered(&mut self, with: &'static str) {
        if let Some(took) = self.took.take() {
            let time = cost::thread_cpu() - took;
            self.link.state().tally.answering.entry(with).or_default().push(time);
        }
    }
}

fn name(message: &ChitchatMessage) -> &'static str {
    match message {
        ChitchatMessage::Syn { .. } => "syn",
        ChitchatMessage::SynAck { .. } => "syn_ack",
        ChitchatMessage::Ack { .. } => "ack",
        ChitchatMessage::BadCluster => "bad_cluster",
    }
}

#[async_trait]
impl Socket for Port {
    fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.address)
    }

    async fn send(&mut self, to: SocketAddr, envelope: ChitchatEnvelope) -> Result<SendOutcome> {
        let name = name(&envelope.message);
        self.answered(name);
        let begun = cost::thread_cpu();
        let SendOutcome { num_bytes_sent } = self.codec.send(self.address, envelope).await?;
        let coded = self.codec.recv().await?;
        let mut state = self.link.state();
        state.tally.codec += cost::thread_cpu() - begun;
        let sent = state.tally.sent.entry(name).or_default();
        *sent = (sent.0 + 1, sent.1 + num_bytes_sent as u64);
        let takes = state.network.latency();
        let arrives = state.answers_arrive || name == "syn";
        let port = state.ports.get(&to).filter(|_| arrives).cloned();
        drop(state);
        if let Some(port) = port {
            tokio::spawn(async move {
                tokio::time::sleep(takes).await;
                // Whoever is gone receives nothing.
                let _ = port.send(coded);
            });
        }
        Ok(SendOutcome { num_bytes_sent })
    }

    async fn recv(&mut self) -> Result<RecvOutcome> {
        self.answered("nothing");
        let received = self.inbox.recv().await.context("the link is gone")?;
        self.took = Some(cost::thread_cpu());
        Ok(received)
    }
}

/// Two servers, and the states of other nodes that they hold.
pub struct Pair {
    runtime: Runtime,
    link: Link,
    servers: [ChitchatHandle; 2],
    began: Instant,
}

fn address(number: usize) -> SocketAddr {
    let [.., high, low] = (number as u32).to_be_bytes();
    (Ipv4Addr::new(10, 0, high, low), 7_171).into()
}

/// The name of the node that writes, as long as one that people choose.
fn holder(writer: usize) -> ChitchatId {
    ChitchatId::new(format!("node-{writer:04}"), material::WALL_MS, address(writer + 2))
}

fn config(number: usize, every: Duration, seeds: bool) -> ChitchatConfig {
    ChitchatConfig {
        chitchat_id: ChitchatId::new(format!("server-{number}"), material::WALL_MS, address(number)),
        cluster_id: "bench".to_owned(),
        gossip_interval: every,
        listen_addr: address(number),
        seed_nodes: if seeds { vec![address(1 - number).to_string()] } else { Vec::new() },
        failure_detector_config: FailureDetectorConfig {
            dead_node_grace_period: LONG,
            ..FailureDetectorConfig::default()
        },
        marked_for_deletion_grace_period: LONG,
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: ProtocolVersion::V1,
    }
}

impl Pair {
    /// Two servers that gossip as often as said, or only when told if that is [`NEVER`].
    ///
    /// # Errors
    /// If there can be no runtime.
    pub fn new(every: Duration, latency_us: std::ops::Range<u64>, seed: u64) -> Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .context("cannot start a tokio runtime")?;
        let state = State {
            network: Network::between(latency_us, seed, 0.0),
            ports: BTreeMap::new(),
            tally: Tally::default(),
            answers_arrive: true,
        };
        let codec = ChannelTransport::with_mtu(DATAGRAM_BYTES_MAX);
        let link = Link { state: Arc::new(Mutex::new(state)), codec };
        let began = runtime.block_on(async { Instant::now() });
        let seeds = every != NEVER;
        let spawn =
            |number| runtime.block_on(spawn_chitchat(config(number, every, seeds), Vec::new(), &link));
        let servers = [spawn(0)?, spawn(1)?];
        let mut pair = Pair { runtime, link, servers, began };
        // What servers do at once when they start.
        pair.run(Duration::from_millis(200));
        pair.take_tally();
        Ok(pair)
    }

    /// Puts in the states of the nodes that write: all keys, with their first values but for those that have been written
    /// since, of which the version is above all others.
    pub fn fill(&mut self, server: usize, material: &Material, value_bytes: usize, newer: &[usize]) {
        let (writers, keys) = (material.writers(), material.keys());
        let mut versions: Vec<Vec<(String, VersionedValue)>> = vec![Vec::new(); writers];
        let newer: std::collections::BTreeSet<usize> = newer.iter().copied().collect();
        let (older, newer): (Vec<usize>, Vec<usize>) = (0..keys).partition(|n| !newer.contains(n));
        for (n, is_newer) in older.into_iter().map(|n| (n, false)).chain(newer.into_iter().map(|n| (n, true)))
        {
            let of_writer = &mut versions[n % writers];
            let version = of_writer.len() as u64 + 1 + if is_newer { keys as u64 } else { 0 };
            let value = material::value(n, 1 + u64::from(is_newer), value_bytes);
            let value = VersionedValue { value, version, status: DeletionStatus::Set };
            of_writer.push((material::key_name(writers, n), value));
        }
        let reset = |chitchat: &mut Chitchat| {
            for (writer, values) in versions.iter().enumerate() {
                let last = values.last().map_or(0, |(_, value)| value.version);
                chitchat.reset_node_state_if_update(&holder(writer), values.iter().cloned(), last, 0);
            }
        };
        self.runtime.block_on(self.servers[server].with_chitchat(reset));
    }

    /// The first server begins an exchange with the second, and it is over. If answers do not arrive, the first stays as
    /// it is and the second answers the same again.
    ///
    /// # Errors
    /// If the server has ended.
    pub fn exchange(&mut self, answers_arrive: bool) -> Result<()> {
        self.link.state().answers_arrive = answers_arrive;
        self.servers[0].gossip(address(1))?;
        self.run(Duration::from_millis(200));
        Ok(())
    }

    /// How many keys of the nodes that write a server knows in their newest version.
    pub fn known(&self, server: usize, writers: usize) -> usize {
        let count = |chitchat: &mut Chitchat| {
            let states = (0..writers).filter_map(|writer| chitchat.node_state(&holder(writer)));
            states.map(|state| state.num_key_values()).sum()
        };
        self.runtime.block_on(self.servers[server].with_chitchat(count))
    }

    /// Whether both servers hold the same of the nodes that write.
    pub fn are_equal(&self, writers: usize) -> bool {
        let versions = |server: usize| -> Vec<Option<(u64, usize)>> {
            let of = |chitchat: &mut Chitchat| {
                let state = |writer| chitchat.node_state(&holder(writer));
                (0..writers).map(|w| state(w).map(|s| (s.max_version(), s.num_key_values()))).collect()
            };
            self.runtime.block_on(self.servers[server].with_chitchat(of))
        };
        versions(0) == versions(1)
    }

    /// Virtual time since the beginning.
    pub fn now(&self) -> Duration {
        self.runtime.block_on(async { self.began.elapsed() })
    }

    /// Lets so much of it pass.
    pub fn run(&mut self, time: Duration) {
        // The sleep itself needs the runtime's clock.
        self.runtime.block_on(async move { tokio::time::sleep(time).await });
    }

    /// What was counted, from here on anew.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.link.state().tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_server_has_more_the_other_gets() {
        let mut pair = Pair::new(NEVER, 1_000..50_000, 1).unwrap();
        let material = Material::new(3, 300, 16);
        pair.fill(0, &material, 16, &[]);
        pair.fill(1, &material, 16, &[1, 2, 3]);
        assert!(!pair.are_equal(3));
        for _ in 0..2 {
            pair.exchange(false).unwrap();
        }
        let tally = pair.take_tally();
        assert_eq!(tally.answering["syn_ack"].len(), 2);
        assert!(!pair.are_equal(3), "answers were lost");
        pair.exchange(true).unwrap();
        assert!(pair.are_equal(3));
        assert_eq!(pair.known(0, 3), 300);
        let sent = pair.take_tally().sent;
        assert_eq!(["syn", "syn_ack", "ack"].map(|name| sent[name].0), [1, 1, 1]);
    }
}

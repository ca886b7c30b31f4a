//! Programs at the open door, in libp2p's own Rust, and members that walk.

use super::door::{Door, DoorConfig};
use super::origin::Origin;
use super::refusals::Teller;
use super::shelf::Shelf;
use super::{PROTOCOL, Records, disk};
use crate::clock;
use crate::observe::Row;
use chinwag_api::Failure;
use chinwag_base::limits::{DOOR_PEER_PUTS_PER_MINUTE_MAX, RECORD_BYTES_MAX};
use chinwag_base::{Address, Keypair};
use chinwag_dht::{BlobHash, Record as DhtRecord, RecordKey, ValidRecord};
use futures::StreamExt;
use libp2p::core::Transport;
use libp2p::core::upgrade::Version;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, GetProvidersOk, GetRecordOk, QueryResult, Quorum, Record};
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identity, noise, swarm, tcp, yamux};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

/// Far above what anything takes, far below what a person waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// A record store in memory, which remembers what it was asked to fetch.
#[derive(Default)]
pub(crate) struct MemoryShelf {
    records: Mutex<BTreeMap<RecordKey, DhtRecord>>,
    fetched: Mutex<Vec<BlobHash>>,
}

impl MemoryShelf {
    pub(crate) fn holding(blobs: &[&[u8]]) -> Arc<Self> {
        let shelf = Arc::new(MemoryShelf::default());
        for bytes in blobs {
            let record = DhtRecord::blob(bytes.to_vec(), key(9).id(), clock::wall());
            shelf.put(record.validate(clock::wall()).unwrap()).unwrap();
        }
        shelf
    }

    pub(crate) fn has(&self, bytes: &[u8]) -> bool {
        self.get(&RecordKey::Blob(BlobHash::of(bytes))).is_some()
    }
}

impl Shelf for MemoryShelf {
    fn get(&self, key: &RecordKey) -> Option<DhtRecord> {
        self.records.lock().unwrap().get(key).cloned()
    }

    fn put(&self, record: ValidRecord) -> Result<(), String> {
        let record = record.into_record();
        self.records.lock().unwrap().insert(record.key.clone(), record);
        Ok(())
    }

    fn fetch(&self, hash: BlobHash) {
        self.fetched.lock().unwrap().push(hash);
    }
}

fn key(seed: u8) -> Keypair {
    Keypair::from_secret([seed; 32])
}

type Rows = Arc<Mutex<Vec<Row>>>;

async fn open(dir: &Path, shelf: Arc<MemoryShelf>) -> (Door, Rows) {
    let rows = Rows::default();
    let told = rows.clone();
    let tell = Teller::new(move |row| told.lock().unwrap().push(row));
    let listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"];
    let config = DoorConfig {
        keypair: key(1),
        listen: listen.map(|address| address.parse::<Address>().unwrap()).to_vec(),
        path: dir.join("door.redb"),
        agent: "chinwag/test".to_owned(),
        records: Records { shelf, tell },
    };
    let door = Door::open(config).await.unwrap_or_else(|failure: Failure| panic!("{failure}"));
    (door, rows)
}

/// A foreign program: libp2p over TCP with Kademlia as a client.
struct Program {
    swarm: Swarm<kad::Behaviour<MemoryStore>>,
}

impl Program {
    async fn at(door: &Door) -> Self {
        let mut program = Program::new();
        program.dial(door).await.unwrap();
        program
    }

    fn new() -> Self {
        let keypair = identity::Keypair::generate_ed25519();
        let me = keypair.public().to_peer_id();
        let transport = tcp::tokio::Transport::default()
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&keypair).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let mut config = kad::Config::new(PROTOCOL);
        config.set_max_packet_size(1024 * 1024).set_periodic_bootstrap_interval(None);
        let limits = MemoryStoreConfig { max_value_bytes: 1024 * 1024, ..MemoryStoreConfig::default() };
        let kad = kad::Behaviour::with_config(me, MemoryStore::with_config(me, limits), config);
        let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(PATIENCE);
        Program { swarm: Swarm::new(transport, kad, me, config) }
    }

    /// Connects to the door; why not, if it does not come to it.
    async fn dial(&mut self, door: &Door) -> Result<(), String> {
        let tcp = door.status().addresses.into_iter().find(|address| address.contains("/tcp/")).unwrap();
        let address: Multiaddr = tcp.parse().unwrap();
        let peer: PeerId = door.status().peer.parse().unwrap();
        self.swarm.behaviour_mut().add_address(&peer, address.clone());
        self.swarm.dial(address).map_err(|e| e.to_string())?;
        self.until(|event| match event {
            SwarmEvent::ConnectionEstablished { .. } => Some(Ok(())),
            SwarmEvent::OutgoingConnectionError { error, .. } => Some(Err(error.to_string())),
            _ => None,
        })
        .await
    }

    async fn until<T>(&mut self, mut wanted: impl FnMut(SwarmEvent<kad::Event>) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = wanted(self.swarm.select_next_some().await) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, search).await.expect("what is waited for happens")
    }

    /// Whether the door took the record.
    async fn put(&mut self, key: &[u8], value: &[u8]) -> bool {
        let record = Record::new(key.to_vec(), value.to_vec());
        let door = *self.swarm.connected_peers().next().unwrap();
        let id = self.swarm.behaviour_mut().put_record_to(record, [door].into_iter(), Quorum::One);
        self.until(|event| match event {
            SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed {
                id: of,
                result: QueryResult::PutRecord(result),
                ..
            }) if of == id => Some(result.is_ok()),
            _ => None,
        })
        .await
    }

    async fn put_blob(&mut self, value: &[u8]) -> bool {
        self.put(&name(value), value).await
    }

    async fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let id = self.swarm.behaviour_mut().get_record(key.to_vec().into());
        self.until(|event| match event {
            SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed {
                id: of,
                result: QueryResult::GetRecord(result),
                step,
                ..
            }) if of == id => match result {
                Ok(GetRecordOk::FoundRecord(found)) => Some(Some(found.record.value)),
                _ if step.last => Some(None),
                _ => None,
            },
            _ => None,
        })
        .await
    }
}

/// The key of a blob.
fn name(value: &[u8]) -> Vec<u8> {
    RecordKey::Blob(BlobHash::of(value)).to_bytes()
}

#[tokio::test]
async fn a_program_puts_and_gets_blobs_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = MemoryShelf::holding(&[b"a member's"]);
    let (door, rows) = open(dir.path(), shelf.clone()).await;
    let (mut ada, mut bob) = (Program::at(&door).await, Program::at(&door).await);
    let largest = vec![7; RECORD_BYTES_MAX];
    for value in [&b"hello"[..], b"", &largest] {
        assert!(ada.put_blob(value).await, "{} bytes", value.len());
        assert_eq!(bob.get(&name(value)).await.as_deref(), Some(value));
        assert_eq!(door.get(&BlobHash::of(value)).as_deref(), Some(value));
        assert!(!shelf.has(value), "it never comes among the members' records");
    }
    assert_eq!(bob.get(&name(b"a member's")).await.as_deref(), Some(&b"a member's"[..]));

    assert!(!ada.put(&name(b"forged"), b"other bytes").await);
    assert!(!ada.put(b"/chinwag/cell/greeting", b"x").await);
    assert!(!ada.put(b"/pk/x", b"x").await);
    assert!(!ada.put_blob(&vec![8; RECORD_BYTES_MAX + 1]).await);
    let refused = door.status().refused;
    let expected = [("hash", 1), ("key", 2), ("size", 1)].map(|(reason, n)| (reason.to_owned(), n));
    assert_eq!(refused, expected.into());
    assert!(format!("{:?}", rows.lock().unwrap()).contains("its bytes have another hash"));
    let status = door.status();
    assert_eq!((status.records, status.connections), (3, 2));
    door.close().await;
}

#[tokio::test]
async fn a_miss_asks_the_overlay_and_a_cell_never_does() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Arc::new(MemoryShelf::default());
    let (door, _) = open(dir.path(), shelf.clone()).await;
    let mut ada = Program::at(&door).await;
    assert_eq!(ada.get(&name(b"elsewhere")).await, None);
    assert_eq!(ada.get(b"/chinwag/cell/greeting").await, None);
    assert_eq!(*shelf.fetched.lock().unwrap(), [BlobHash::of(b"elsewhere")]);
    // The overlay has answered, and the second question finds it.
    let fetched = DhtRecord::blob(b"elsewhere".to_vec(), key(9).id(), clock::wall());
    shelf.put(fetched.validate(clock::wall()).unwrap()).unwrap();
    assert_eq!(ada.get(&name(b"elsewhere")).await.as_deref(), Some(&b"elsewhere"[..]));
    door.close().await;
}

#[tokio::test]
async fn a_program_says_that_it_provides_a_blob_and_another_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (door, _) = open(dir.path(), Arc::default()).await;
    let (mut ada, mut bob) = (Program::at(&door).await, Program::at(&door).await);
    let reachable: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    ada.swarm.add_external_address(reachable);
    ada.swarm.behaviour_mut().start_providing(name(b"large").into()).unwrap();
    ada.until(|event| match event {
        SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed {
            result: QueryResult::StartProviding(result),
            ..
        }) => Some(result.unwrap()),
        _ => None,
    })
    .await;
    // A provider is announced without an answer, so it may still be on its way when the first question comes.
    let me = *ada.swarm.local_peer_id();
    let search = async {
        loop {
            bob.swarm.behaviour_mut().get_providers(name(b"large").into());
            let told = bob.until(|event| match event {
                SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed {
                    result: QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
                    ..
                }) => Some(providers.contains(&me)),
                SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed { .. }) => Some(false),
                _ => None,
            });
            // The provider's own connection is driven here too.
            let found = tokio::select! {
                found = told => found,
                never = ada.until(|_| None::<bool>) => never,
            };
            if found {
                return;
            }
        }
    };
    timeout(PATIENCE, search).await.expect("bob hears of ada");
    door.close().await;
}

#[tokio::test]
async fn what_was_put_is_there_when_the_door_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let (door, _) = open(dir.path(), Arc::default()).await;
    assert!(Program::at(&door).await.put_blob(b"stays").await);
    let peer = door.status().peer;
    door.close().await;
    let path = dir.path().join("door.redb");
    let (guests, disk, writer) = disk::open(&path, clock::wall(), Teller::new(|_| {})).unwrap();
    assert_eq!(guests.origins(), [Origin::V4([127, 0, 0, 1])], "and its address is counted for it");
    drop(disk);
    writer.join().unwrap();
    let (door, _) = open(dir.path(), Arc::default()).await;
    assert_eq!((door.status().peer, door.status().records), (peer, 1));
    assert_eq!(Program::at(&door).await.get(&name(b"stays")).await.as_deref(), Some(&b"stays"[..]));
    door.close().await;
}

#[tokio::test]
async fn a_guest_that_puts_too_much_is_slowed_and_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (door, _) = open(dir.path(), Arc::default()).await;
    let (mut ada, mut bob) = (Program::at(&door).await, Program::at(&door).await);
    for n in 0..DOOR_PEER_PUTS_PER_MINUTE_MAX {
        assert!(ada.put_blob(&n.to_be_bytes()).await, "{n}");
    }
    assert!(!ada.put_blob(b"one more").await);
    assert_eq!(door.status().refused["rate"], 1);
    assert!(bob.put_blob(b"one more").await);
    door.close().await;
}

#[tokio::test]
async fn a_crowd_from_one_address_is_counted_and_told() {
    use chinwag_base::limits::DOOR_CONNECTIONS_PER_IP_MAX;
    let dir = tempfile::tempdir().unwrap();
    let (door, _) = open(dir.path(), Arc::default()).await;
    let mut inside = Vec::new();
    for _ in 0..DOOR_CONNECTIONS_PER_IP_MAX {
        inside.push(Program::at(&door).await);
    }
    assert!(Program::new().dial(&door).await.is_err());
    let status = door.status();
    assert_eq!(status.refused, [("ip_connections".to_owned(), 1)].into());
    assert_eq!(status.connections, DOOR_CONNECTIONS_PER_IP_MAX as u64);
    assert!(inside[0].put_blob(b"those inside are served").await);
    door.close().await;
}

/// What `tests/interop/run.sh` says if a language or its packages are missing here.
const SKIPPED: i32 = 77;

/// A program of another language reads what a member holds. That it puts as well is seen in `tests/overlay/interop.rs`,
/// with a real daemon.
async fn a_foreign_program_gets_a_members_blob(language: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (door, _) = open(dir.path(), MemoryShelf::holding(&[b"a member's"])).await;
    let tcp = door.status().addresses.into_iter().find(|address| address.contains("/tcp/")).unwrap();
    // target/tmp, where the packages are kept for the next run: this program is target/debug/deps/NAME.
    let work = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("tmp");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/interop/run.sh");
    let mut command = tokio::process::Command::new(script);
    command.arg(language).arg(work).arg(tcp).arg("a member's").kill_on_drop(true);
    let told = command.output().await.unwrap();
    let out = String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr);
    if told.status.code() == Some(SKIPPED) {
        let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!is_ci, "continuous integration must run this: {out}");
        eprint!("{out}");
    } else {
        assert!(told.status.success() && out.contains("got another's: a member's"), "{out}");
        assert_eq!(door.status().refused["hash"], 1);
    }
    door.close().await;
}

#[tokio::test]
async fn a_js_program_gets_a_members_blob() {
    a_foreign_program_gets_a_members_blob("js").await;
}

#[tokio::test]
async fn a_python_program_gets_a_members_blob() {
    a_foreign_program_gets_a_members_blob("py").await;
}

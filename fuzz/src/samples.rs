//! Real values of what is decoded, made from fixed keys so that the seeds are the same each time.

use chinwag_base::invite::Secret;
use chinwag_base::{
    Address, Digest, Generation, Grant, Incarnation, Invite, Keypair, NodeId, OverlayId, ReplicaId, Role,
    Value, WallTime,
};
use chinwag_crdt::{Clock, Dot, Effect, Entry, Hlc, Kind, Op, Replica, Run, Term};
use chinwag_membership::{Record, Standing, Statement};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The wall clock of all samples.
pub const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);
/// The node that reads.
pub const ME: u8 = 1;
/// Its peers: an admin's two members and a reader, and nobody that has a grant of this overlay.
pub const PEERS: [u8; 4] = [2, 3, 4, 5];
/// Who reads only.
pub const READER: u8 = 4;

static KEYS: LazyLock<Vec<Keypair>> =
    LazyLock::new(|| (0..=9).map(|n| Keypair::from_secret([n; 32])).collect());
static GRANTS: LazyLock<Vec<Grant>> = LazyLock::new(|| (0..=9).map(issue).collect());

/// The key of the `n`-th node; 9 is the root.
pub fn keypair(n: u8) -> &'static Keypair {
    &KEYS[usize::from(n % 10)]
}

/// The id of the `n`-th node.
pub fn id(n: u8) -> NodeId {
    static IDS: LazyLock<Vec<NodeId>> = LazyLock::new(|| KEYS.iter().map(Keypair::id).collect());
    IDS[usize::from(n % 10)]
}

/// The overlay.
pub fn overlay() -> OverlayId {
    OverlayId::of_root(&id(9))
}

/// The `n`-th node's grant: of the root for the first two, of an admin for the others.
pub fn grant(n: u8) -> Grant {
    GRANTS[usize::from(n % 10)].clone()
}

fn issue(n: u8) -> Grant {
    let until = WallTime::from_unix_ms(u64::MAX);
    let admin = Grant::by_root(keypair(9), id(ME), Role::Admin, until);
    match n {
        ME => admin,
        READER => Grant::by_root(keypair(9), id(n), Role::Reader, until),
        _ => Grant::by_admin(keypair(ME), &admin, id(n), Role::Member, until).expect("an admin grants"),
    }
}

/// What the `n`-th node says of itself.
pub fn record(n: u8, generation: u64, incarnation: u64, standing: Standing) -> Record {
    let statement = Statement {
        overlay: overlay(),
        id: id(n),
        generation: Generation::new(generation),
        incarnation: Incarnation::new(incarnation),
        standing,
        name: format!("n{n}").parse().expect("a name"),
        addresses: vec![address(n)],
        tags: BTreeMap::from([("os".to_owned(), "linux".to_owned())]),
        stall_mean_ms: 0,
        protocols: (1, 1),
    };
    Record::sign_statement(keypair(n), grant(n), statement)
}

/// Where the `n`-th node listens.
pub fn address(n: u8) -> Address {
    format!("/ip4/192.168.1.{n}/udp/7171/quic-v1").parse().expect("an address")
}

/// The `n`-th node's replica.
pub fn replica(n: u8) -> ReplicaId {
    ReplicaId { node: id(n), generation: Generation::new(u64::from(n) + 1) }
}

/// A value.
pub fn value(text: &str) -> Value {
    Value::new(text.as_bytes()).expect("a short value")
}

/// Entries of every kind, as one replica writes them, and the replica.
pub fn entries() -> (Vec<Entry>, Replica) {
    let key = |text: &str| text.parse::<chinwag_base::Key>().expect("a key");
    let field = |text: &str, name: &str| key(text).field(name).expect("a field");
    let mut written = Replica::new(replica(2));
    let ops = [
        Op::Set { key: key("app/greeting"), value: value("hello") },
        Op::Set { key: key("app/greeting"), value: value("hello again") },
        Op::Increment { key: key("visits"), by: 3 },
        Op::Increment { key: key("visits"), by: -1 },
        Op::Add { key: key("fruit"), element: value("apple") },
        Op::Add { key: key("fruit"), element: value("pear") },
        Op::Remove { key: key("fruit"), element: value("apple") },
        Op::Delete { key: key("visits"), kind: None },
        Op::Delete { key: key("app/greeting"), kind: None },
        Op::Enable { key: key("open") },
        Op::Set { key: field("user", "name"), value: value("ada") },
        Op::Lend { term: Term::Ms(1_000), op: Box::new(Op::Add { key: key("seats"), element: value("7") }) },
        Op::Lend { term: Term::Life, op: Box::new(Op::Enable { key: key("here") }) },
        Op::Delete { key: key("user"), kind: Some(Kind::Map) },
    ];
    let mut entries = Vec::new();
    for op in ops {
        written.stage_local(std::slice::from_ref(&op), NOW).expect("the operations fit each other");
        entries.extend(written.staged().iter().map(|entry| Entry::clone(entry)));
        written.commit();
    }
    let floors = BTreeMap::from([(replica(3), Run { start: 1, last: 4, plus: 9, minus: 2 })]);
    entries.push(Entry {
        dot: Dot::new(replica(3), 9),
        hlc: Hlc::new(NOW.unix_ms(), 7),
        key: key("visits"),
        effect: Effect::Reset { floors },
        removed: [Dot::new(replica(2), 3), Dot::new(replica(2), 4)].into_iter().collect(),
    });
    (entries, written)
}

/// A clock with gaps.
pub fn clock() -> Clock {
    let mut clock = Clock::new();
    for counter in (1..9).chain([11, 12, 20, 1_000]) {
        clock.insert(Dot::new(replica(2), counter));
    }
    clock.insert(Dot::new(replica(3), 5));
    clock
}

/// A digest.
pub fn digest(n: u8) -> Digest {
    Digest::of("sample", &[n])
}

/// An invite.
pub fn invite() -> Invite {
    Invite {
        overlay_name: "home".parse().expect("a name"),
        overlay: overlay(),
        inviter: id(ME),
        secret: Secret::from_bytes([5; 16]),
        not_after: NOW,
        addresses: vec![
            "/ip4/192.168.1.20/tcp/7171".parse().expect("an address"),
            "/ip4/192.168.1.20/udp/7171/quic-v1".parse().expect("an address"),
            "/ip6/fd00::2/udp/7171/quic-v1".parse().expect("an address"),
        ],
    }
}

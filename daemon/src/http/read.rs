//! Looking: version, status, cells, keys.

use super::{Answered, Daemon, Reply, parse_query};
use crate::clock;
use crate::daemon::Shared;
use crate::engine::Engine;
use crate::gauges::Gauges;
use crate::observe::{Observer, dot_text};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chinwag_api::cell::{CELLS_PAGE_BYTES_MAX, CELLS_PAGE_MAX, KEYS_PAGE_MAX};
use chinwag_api::{
    Bytes, Cell, CellKind, CellQuery, Cells, CellsQuery, Coming, Content, Count, Counts, DhtStatus, Failure,
    Gossip, Health, InStep, KeyRow, Keys, KeysQuery, Kind, Overlay, Pattern, Phi, Problem, Sibling, Status,
    Token, Version, paths,
};
use chinwag_base::key::{KeyError, printable};
use chinwag_base::limits::{AWAITED_DOTS_MAX, BATCH_OPS_MAX, STAGED_ENTRIES_MAX, WAITS_MAX};
use chinwag_base::{Key, Moment, NodeId, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, ReplicaId};
use chinwag_crdt::{Dot, Read};
use chinwag_gossip::PeerView;
use chinwag_membership::State as Standing;
use chinwag_node::Node;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a read waits for the write that it should see, unless the client says.
const AFTER_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn version() -> Reply<Version> {
    Reply(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL_VERSION,
        protocol_min: PROTOCOL_VERSION_MIN,
    })
}

pub(super) async fn status(State(daemon): Daemon) -> Answered<Status> {
    let engine = daemon.running().await?;
    let gauges = engine.gauges();
    let seen = engine.look(Seen::look).await?;
    let mut problems = problems(&gauges);
    problems.extend(seen.silent);
    Ok(Reply(Status {
        name: daemon.name.to_string(),
        id: engine.keypair.id(),
        generation: engine.generation,
        overlay: overlay(&engine),
        role: engine.papers.as_ref().map(|p| p.grant.role()),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL_VERSION,
        uptime_ms: clock::now().since(daemon.started).as_millis() as u64,
        healthy: problems.is_empty(),
        problems,
        members: seen.members,
        phi_highest: seen.phi_highest,
        keys: seen.keys,
        digest: seen.digest.into(),
        in_step: seen.in_step,
        coming: seen.coming,
        gossip: Gossip {
            queue: seen.queue,
            queue_max: STAGED_ENTRIES_MAX as u64,
            rounds_per_s: gauges.rates.map(|r| r[0]),
            in_bytes_per_s: gauges.rates.map(|r| r[1]),
            out_bytes_per_s: gauges.rates.map(|r| r[2]),
        },
        dht: Some(seen.dht),
        addresses: daemon.addresses(),
        door: engine.open_door.as_ref().map(crate::kad::Door::status),
        socket: daemon.socket(),
        data: daemon.home.dir().to_owned(),
    }))
}

pub(super) fn overlay(engine: &Engine) -> Option<Overlay> {
    engine.papers.as_ref().map(|p| Overlay { name: p.name.clone(), id: p.overlay().into() })
}

/// What a status takes from the node, in one look.
pub(super) struct Seen {
    pub(super) members: Counts,
    phi_highest: Option<Phi>,
    pub(super) keys: u64,
    digest: chinwag_base::Digest,
    pub(super) in_step: InStep,
    coming: Option<Coming>,
    pub(super) queue: u64,
    pub(super) dht: DhtStatus,
    /// Members whose silence would be a verdict if anybody else could be asked.
    silent: Vec<Problem>,
}

impl Seen {
    pub(super) fn look(node: &Node, observer: &Observer, now: Moment) -> Self {
        let me = node.membership().me();
        let standings = standings(node);
        let mut members = Counts::default();
        let mut in_step = InStep::default();
        let mut phi_highest: Option<Phi> = None;
        let mut silent = Vec::new();
        for member in node.membership().members(now) {
            match member.state {
                Standing::Alive => members.alive += 1,
                Standing::Suspect => members.suspect += 1,
                Standing::Down => members.down += 1,
                Standing::Left => members.left += 1,
            }
            if member.id == me || !member.state.is_present() {
                continue;
            }
            if member.overdue {
                let for_s = member.heard.map_or(0, |heard| heard.as_secs());
                let message = format!(
                    "{} has been silent for {for_s} s, and too few others can be asked about it",
                    member.name
                );
                silent.push(Problem { kind: "silent".into(), message });
            }
            in_step.of += 1;
            in_step.peers += u64::from(standings.get(&member.id).is_some_and(|s| s.in_step));
            if member.phi > phi_highest.as_ref().map_or(0.0, |p| p.phi) {
                phi_highest = Some(Phi {
                    name: member.name.to_string(),
                    phi: member.phi,
                    down_at: node.membership().phi_down(),
                });
            }
        }
        let replica = node.gossip().replica();
        Seen {
            members,
            phi_highest,
            keys: replica.len() as u64,
            digest: replica.digest(),
            in_step,
            coming: node.gossip().coming().map(|coming| Coming {
                from: observer.name(&coming.from),
                cells: coming.cells as u64,
                of: coming.of.map(|of| of as u64),
            }),
            queue: node.gossip().queued_entries() as u64,
            dht: dht_status(node),
            silent,
        }
    }
}

fn dht_status(node: &Node) -> DhtStatus {
    let dht = node.dht();
    let usage = dht.store().usage();
    DhtStatus {
        records: usage.records as u64,
        bytes: (usage.memory_bytes + usage.blob_bytes) as u64,
        owners: dht.members() as u64,
        handing_off: dht.handing_off() as u64,
    }
}

/// What is known of each peer's state.
pub(super) fn standings(node: &Node) -> BTreeMap<NodeId, PeerView> {
    node.gossip().peers().map(|view| (view.peer, view)).collect()
}

fn problems(gauges: &Gauges) -> Vec<Problem> {
    let problem = |what: &str, why: &String| Problem {
        kind: "storage".into(),
        message: format!("{what} are refused: {why}"),
    };
    let writes = gauges.storage_fault.iter().map(|why| problem("writes", why));
    writes.chain(gauges.records_fault.iter().map(|why| problem("records", why))).collect()
}

pub(super) async fn health(State(daemon): Daemon) -> Response {
    let problems = match daemon.engine.read().await.as_ref() {
        Some(engine) => problems(&engine.gauges()),
        None => vec![Problem { kind: "leaving".into(), message: "the daemon is stopping".into() }],
    };
    let ok = problems.is_empty();
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Reply(Health { ok, problems })).into_response()
}

pub(super) async fn cell(State(daemon): Daemon, uri: Uri) -> Answered<Cell> {
    let Some((key, field)) = paths::cell_of(uri.path()) else {
        return Err(Failure::new(Kind::BadRequest, "the path is not understood").into());
    };
    let query: CellQuery = parse_query(&uri)?;
    let key = parse_field(&key, &field)?;
    let engine = daemon.running().await?;
    follow(&engine, query.after.as_ref(), query.timeout_ms).await?;
    let siblings = query.siblings;
    let wanted = key.clone();
    let found = engine
        .look(move |node, observer, _| match node.gossip().replica().get(&wanted) {
            Some(read) => Ok(shown(node, &wanted, &read, siblings, observer)),
            None => Err(some_keys(node)),
        })
        .await?;
    match found {
        Ok(cell) => Ok(Reply(cell)),
        Err(keys) => {
            let near = nearest(key.root_str(), &keys).filter(|near| near != key.root_str());
            let failure = Failure::new(Kind::NoSuchKey, format!("no such key: {key}"));
            Err(match near {
                Some(near) => failure.hint(format!("chinwag get {near}")),
                None if key.has_fields() => failure.hint(format!("chinwag get {}", key.root_str())),
                None => failure,
            }
            .into())
        }
    }
}

/// What is told of a key, or a field, under which this has been read.
pub(super) fn shown(node: &Node, key: &Key, read: &Read, siblings: bool, observer: &Observer) -> Cell {
    let replica = node.gossip().replica();
    let (expires, ephemeral) = replica.leases_of(key);
    Cell {
        key: key.root_str().to_owned(),
        field: key.fields().map(str::to_owned).collect(),
        content: content(read, siblings, observer),
        version: replica.version(key).map(Into::into),
        expires_unix_ms: expires.map(|wall| wall.unix_ms()),
        ephemeral,
    }
}

/// Waits until these writes are visible here.
async fn follow(engine: &Engine, token: Option<&Token>, timeout_ms: Option<u64>) -> Result<(), Failure> {
    let Some(token) = token else { return Ok(()) };
    let writes = named_by(token)?;
    let dots: Vec<Dot> = writes.iter().flat_map(dots_of).collect();
    if dots.len() > AWAITED_DOTS_MAX {
        return Err(Failure::new(Kind::TooLarge, "the tokens name too many writes").because(format!(
            "a read follows at most {AWAITED_DOTS_MAX} operations, these are {}",
            dots.len()
        )));
    }
    let within = timeout_ms.map_or(AFTER_WITHIN, Duration::from_millis);
    match engine.visible(dots, within).await? {
        Some(true) => return Ok(()),
        Some(false) => {}
        None => {
            return Err(Failure::new(Kind::Busy, format!("{WAITS_MAX} reads wait for writes already")));
        }
    }
    let lacking = engine
        .look(move |node, observer, _| {
            let clock = node.gossip().replica().clock();
            let lacks = |(replica, first, last): &(ReplicaId, u64, u64)| {
                let is_here = (*first..=*last).all(|counter| clock.covers(Dot { replica: *replica, counter }));
                (!is_here).then(|| {
                    let writer = observer.name(&replica.node);
                    match clock.base(*replica) {
                        0 => format!("nothing is here of what {writer} wrote since it last started"),
                        base if base < *first => format!(
                            "it is write {last} of {writer} since it last started; those up to {base} are here"
                        ),
                        _ => format!("a part of it is here; it is write {last} of {writer} since it last started"),
                    }
                })
            };
            writes.iter().filter_map(lacks).collect::<Vec<String>>()
        })
        .await?;
    let failure = Failure::new(
        Kind::Timeout,
        format!("the write that this read should follow has not arrived within {} ms", within.as_millis()),
    );
    // Of many, a few are enough to see what is wrong.
    let failure = lacking.into_iter().take(4).fold(failure, Failure::because);
    Err(failure.hint("chinwag members"))
}

/// Keys that are looked at for a suggestion: an answer must not take longer the more keys there are.
const SUGGESTION_KEYS_MAX: usize = 10_000;

/// Keys that a suggestion can be made from. They are compared elsewhere than on the driver's task.
pub(super) fn some_keys(node: &Node) -> Vec<Key> {
    node.gossip().replica().keys().take(SUGGESTION_KEYS_MAX).collect()
}

/// The key that was probably meant.
pub(super) fn nearest(wanted: &str, keys: &[Key]) -> Option<String> {
    keys.iter()
        .map(|key| (strsim::jaro_winkler(key.as_str(), wanted), key))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key.to_string())
}

pub(super) fn content(read: &Read, siblings: bool, observer: &Observer) -> Content {
    match read {
        Read::Register { value, siblings: all } => Content::Register {
            value: value.into(),
            siblings: all
                .iter()
                .filter(|_| siblings)
                .map(|s| Sibling {
                    value: Bytes::from(&s.value),
                    origin: observer.name(&s.dot.replica.node),
                    at_unix_ms: s.hlc.millis(),
                    dot: dot_text(&s.dot),
                })
                .collect(),
        },
        Read::Counter(sum) => Content::Counter { count: Count(*sum) },
        Read::Set(elements) => Content::Set { elements: elements.iter().map(Bytes::from).collect() },
        Read::Flag => Content::Flag { on: true },
        Read::Map(fields) => {
            let fields = fields.iter().map(|(name, read)| (name.clone(), content(read, siblings, observer)));
            Content::Map { fields: fields.collect() }
        }
        Read::Conflict(reads) => {
            Content::Conflict { contents: reads.iter().map(|r| content(r, siblings, observer)).collect() }
        }
    }
}

pub(super) async fn cells(State(daemon): Daemon, uri: Uri) -> Answered<Cells> {
    let CellsQuery { prefix, siblings, limit, after, after_write, timeout_ms } = parse_query(&uri)?;
    let prefix = prefix.unwrap_or_default();
    let limit = limit.unwrap_or(CELLS_PAGE_MAX).clamp(1, CELLS_PAGE_MAX) as usize;
    let engine = daemon.running().await?;
    follow(&engine, after_write.as_ref(), timeout_ms).await?;
    let page = engine
        .look(move |node, observer, _| {
            let mut page = Cells::default();
            let mut bytes = 0;
            for key in live_keys(node, &prefix, after.as_deref()) {
                if page.cells.len() == limit || bytes >= CELLS_PAGE_BYTES_MAX {
                    page.next = page.cells.last().map(|cell| cell.key.clone());
                    break;
                }
                let Some(read) = node.gossip().replica().get(&key) else { continue };
                let cell = shown(node, &key, &read, siblings, observer);
                bytes += key.as_str().len() + cell.content.bytes();
                page.cells.push(cell);
            }
            page
        })
        .await?;
    Ok(Reply(page))
}

/// The keys that hold something, begin so and sort after `after`, sorted.
pub(super) fn live_keys<'a>(
    node: &'a Node,
    prefix: &'a str,
    after: Option<&'a str>,
) -> Box<dyn Iterator<Item = Key> + 'a> {
    let replica = node.gossip().replica();
    match after {
        None => Box::new(replica.keys_with_prefix(prefix)),
        Some(after) => Box::new(replica.keys_after(prefix, after)),
    }
}

pub(super) async fn keys(State(daemon): Daemon, uri: Uri) -> Answered<Keys> {
    let query: KeysQuery = parse_query(&uri)?;
    let pattern = query.pattern.as_deref().map_or_else(|| Ok(Pattern::all()), parse_pattern)?;
    let limit = query.limit.unwrap_or(KEYS_PAGE_MAX).clamp(1, KEYS_PAGE_MAX) as usize;
    let after = query.after;
    let engine = daemon.running().await?;
    follow(&engine, query.after_write.as_ref(), query.timeout_ms).await?;
    let keys = engine
        .look(move |node, _, _| {
            let mut rows: Vec<KeyRow> = live_keys(node, pattern.prefix(), after.as_deref())
                .filter(|key| pattern.matches(key.as_str()))
                .take(limit + 1)
                .map(|key| KeyRow {
                    kind: cell_kind(&node.gossip().replica().kinds(&key)),
                    key: key.to_string(),
                })
                .collect();
            let more = rows.len() > limit;
            rows.truncate(limit);
            let next = rows.last().filter(|_| more).map(|row| row.key.clone());
            Keys { keys: rows, next }
        })
        .await?;
    Ok(Reply(keys))
}

pub(super) fn parse_pattern(text: &str) -> Result<Pattern, Failure> {
    text.parse().map_err(|e: chinwag_api::glob::PatternError| Failure::new(Kind::BadRequest, e.to_string()))
}

fn cell_kind(kinds: &[chinwag_crdt::Kind]) -> CellKind {
    use chinwag_crdt::Kind::{Counter, Flag, Map, Register, Set};
    match kinds {
        [Register] => CellKind::Register,
        [Counter] => CellKind::Counter,
        [Set] => CellKind::Set,
        [Flag] => CellKind::Flag,
        [Map] => CellKind::Map,
        _ => CellKind::Conflict,
    }
}

/// The bytes that a token may have: the dots of one request, all of one replica and consecutive.
const TOKEN_BYTES_MAX: usize = 64;

/// A write's name: its replica and its first and last dot, in hexadecimal.
pub(crate) fn token(dots: &[Dot]) -> Token {
    let named =
        dots.first().zip(dots.last()).map(|(first, last)| (first.replica, first.counter, last.counter));
    Token(crate::home::hex(&chinwag_base::codec::encode(&named)))
}

/// What a token names: a replica and its first and last dot.
type Named = (ReplicaId, u64, u64);

/// What a token, or several with commas between them, names.
fn named_by(tokens: &Token) -> Result<Vec<Named>, Failure> {
    let named = |token: &str| {
        let bytes = crate::home::unhex(token)?;
        let named = chinwag_base::codec::decode::<TOKEN_BYTES_MAX, Option<Named>>(&bytes).ok()?;
        let is_sound = |(_, first, last): &Named| *first <= *last && last - first <= BATCH_OPS_MAX as u64;
        named.is_none_or(|named| is_sound(&named)).then_some(named)
    };
    let all: Vec<Option<Named>> = tokens
        .0
        .split(',')
        .map(|token| {
            named(token).ok_or_else(|| {
                let shown: String = printable(token).chars().take(100).collect();
                Failure::new(Kind::BadRequest, "that is not a token of a write").because(format!("`{shown}`"))
            })
        })
        .collect::<Result<_, Failure>>()?;
    // One that names nothing is of a write that had nothing to do.
    Ok(all.into_iter().flatten().collect())
}

fn dots_of((replica, first, last): &Named) -> impl Iterator<Item = Dot> {
    let replica = *replica;
    (*first..=*last).map(move |counter| Dot { replica, counter })
}

/// The dots that a token, or several, name.
pub(crate) fn dots(token: &Token) -> Result<Vec<Dot>, Failure> {
    Ok(named_by(token)?.iter().flat_map(dots_of).collect())
}

/// What `join` tells at its end.
pub(super) async fn seen(daemon: &Shared) -> Result<Seen, Failure> {
    Ok(daemon.running().await?.look(Seen::look).await?)
}

/// A key, for the operations and the paths alike.
pub(crate) fn parse_key(text: &str) -> Result<Key, Failure> {
    text.parse().map_err(key_failure)
}

/// A field of a key: the names down to it. None is the key itself.
pub(super) fn parse_field(key: &str, field: &[String]) -> Result<Key, Failure> {
    field.iter().try_fold(parse_key(key)?, |key, name| key.field(name).map_err(key_failure))
}

fn key_failure(error: KeyError) -> Failure {
    let kind = match error {
        KeyError::TooLong { .. } | KeyError::TooDeep | KeyError::ValueTooLong { .. } => Kind::TooLarge,
        KeyError::Empty | KeyError::FieldEmpty | KeyError::Character { .. } => Kind::BadRequest,
    };
    Failure::new(kind, error.to_string())
}

/// A key as it stands in a command.
pub(super) fn in_command(key: &Key) -> String {
    let fields: String = key.fields().map(|name| format!(" --field {name}")).collect();
    format!("{}{fields}", key.root_str())
}

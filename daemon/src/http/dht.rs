//! Records of the DHT: put, get, find, and what is held here.

use super::read::{content, nearest, parse_key};
use super::{Answered, Daemon, Refused, Reply, Text, parse_query};
use crate::clock;
use crate::engine::Engine;
use crate::observe::Observer;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use chinwag_api::dht::DHT_PAGE_MAX;
use chinwag_api::{
    BlobHash, DhtAsked, DhtBlob, DhtBlobQuery, DhtCell, DhtCellQuery, DhtFound, DhtKind, DhtOp, DhtRecords,
    DhtRecordsQuery, DhtRow, DhtTimeQuery, DhtVerdict, DhtWrite, DhtWritten, Failure, Kind,
};
use chinwag_base::limits::{RECORD_BYTES_MAX, SCAN_RECORDS_MAX};
use chinwag_base::{Key, Value, WallTime};
use chinwag_crdt::Read;
use chinwag_dht::{
    Ask, AskError, Asked, Body, CellError, Content, Edit, Held, Id, Outcome, Record, RecordError, RecordKey,
    Refusal, Verdict,
};
use chinwag_node::Node;
use std::time::Duration;

/// How long owners have for an answer, unless the client says. Below the time that the CLI waits for the daemon.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// A life longer than this is a slip of the finger: a hundred years. Who wants for ever leaves it out.
const LIFE_MS_MAX: u64 = 100 * 366 * 24 * 3_600 * 1_000;

pub(super) async fn write(State(daemon): Daemon, Text(body): Text) -> Answered<DhtWritten> {
    let request = DhtWrite::from_json(&body)?;
    let key = parse_key(&request.key)?;
    let value = |bytes: &chinwag_api::Bytes| -> Result<Value, Failure> {
        bytes.to_value().map_err(|e| {
            Failure::new(Kind::TooLarge, e.to_string()).hint("chinwag dht add FILE    for what is larger")
        })
    };
    let edit = match &request.op {
        DhtOp::Set { value: bytes } => Edit::Set(value(bytes)?),
        DhtOp::Add { value: bytes } => Edit::Add(value(bytes)?),
        DhtOp::Rm { value: bytes } => Edit::Remove(value(bytes)?),
        DhtOp::Del {} => Edit::Delete,
    };
    let expires = end(request.expires_ms)?;
    let quorum = request.quorum.map(|n| n as usize);
    let engine = daemon.running().await?;
    let ask = Ask::Put { key: key.clone(), edit, expires, quorum };
    let told = Told::ask(&engine, ask, RecordKey::Cell(key), request.timeout_ms).await?;
    let Outcome::Stored { holders, owners, .. } = told.outcome()? else { return Err(other_answer().into()) };
    Ok(Reply(DhtWritten {
        key: request.key,
        holders: holders as u64,
        owners: owners as u64,
        took_ms: told.took_ms,
        expires_unix_ms: expires.map(WallTime::unix_ms),
        trace: if request.trace { told.trace } else { Vec::new() },
    }))
}

pub(super) async fn cell(
    State(daemon): Daemon,
    key: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered<DhtCell> {
    let key = parse_key(&segment(key)?)?;
    let query: DhtCellQuery = parse_query(&uri)?;
    let engine = daemon.running().await?;
    let wanted = RecordKey::Cell(key.clone());
    let ask = Ask::Get { key: wanted.clone(), quorum: query.quorum.map(|n| n as usize) };
    let told = Told::ask(&engine, ask, wanted, query.timeout_ms).await?;
    let found = match told.outcome()? {
        Outcome::Found(Some(Record { content: Content::Cell(cell), expires, .. })) => {
            cell.read().map(|read| (read, expires))
        }
        _ => None,
    };
    let Some((read, expires)) = found else { return Err(missing(&engine, &key, "get").await?.into()) };
    let content = engine.look(move |_, observer, _| content(&read, query.siblings, observer)).await?;
    Ok(Reply(DhtCell {
        key: key.to_string(),
        content,
        expires_unix_ms: expires.map(WallTime::unix_ms),
        took_ms: told.took_ms,
        trace: if query.trace { told.trace } else { Vec::new() },
    }))
}

pub(super) async fn find_cell(
    State(daemon): Daemon,
    key: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered<DhtFound> {
    let key = RecordKey::Cell(parse_key(&segment(key)?)?);
    find(&*daemon.running().await?, key, &uri).await
}

pub(super) async fn find_blob(
    State(daemon): Daemon,
    hash: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered<DhtFound> {
    let key = RecordKey::Blob(parse_hash(&segment(hash)?)?);
    find(&*daemon.running().await?, key, &uri).await
}

async fn find(engine: &Engine, key: RecordKey, uri: &Uri) -> Answered<DhtFound> {
    let query: DhtTimeQuery = parse_query(uri)?;
    let mut told = Told::ask(engine, Ask::Find { key: key.clone() }, key.clone(), query.timeout_ms).await?;
    // Who has not answered in time is in the trace, and that is what was asked for.
    if !matches!(told.result, Err(AskError::Timeout { .. })) {
        told.outcome()?;
    }
    told.trace.sort_by_key(|asked| asked.rank);
    Ok(Reply(DhtFound {
        record: String::from_utf8_lossy(&key.to_bytes()).into_owned(),
        owners: told.owners as u64,
        holders: told.trace.iter().filter(|asked| asked.verdict.holds()).count() as u64,
        took_ms: told.took_ms,
        asked: told.trace,
    }))
}

pub(super) async fn put_blob(State(daemon): Daemon, uri: Uri, Text(body): Text) -> Answered<DhtBlob> {
    let query: DhtBlobQuery = parse_query(&uri)?;
    if body.len() > RECORD_BYTES_MAX {
        return Err(Failure::new(Kind::TooLarge, format!("a blob of {} bytes", body.len()))
            .because(format!("a blob has at most {RECORD_BYTES_MAX}"))
            .hint("chinwag dht add FILE    cuts what is larger into pieces")
            .into());
    }
    let expires = end(query.expires_ms)?;
    let hash = chinwag_dht::BlobHash::of(&body);
    let quorum = query.quorum.map(|n| n as usize);
    let ask = Ask::PutBlob { bytes: body.as_ref().into(), expires, quorum };
    let engine = daemon.running().await?;
    let told = Told::ask(&engine, ask, RecordKey::Blob(hash), query.timeout_ms).await?;
    let Outcome::Stored { holders, owners, .. } = told.outcome()? else { return Err(other_answer().into()) };
    Ok(Reply(DhtBlob {
        hash: BlobHash::from_bytes(*hash.as_bytes()),
        holders: holders as u64,
        owners: owners as u64,
        took_ms: told.took_ms,
        expires_unix_ms: expires.map(WallTime::unix_ms),
    }))
}

pub(super) async fn blob(
    State(daemon): Daemon,
    hash: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, Refused> {
    let hash = parse_hash(&segment(hash)?)?;
    let query: DhtTimeQuery = parse_query(&uri)?;
    let key = RecordKey::Blob(hash);
    let engine = daemon.running().await?;
    let told = Told::ask(&engine, Ask::Get { key: key.clone(), quorum: None }, key, query.timeout_ms).await?;
    let found = match told.outcome()? {
        Outcome::Found(Some(Record { content: Content::Blob(bytes), .. })) => Some(bytes),
        // What came in through this daemon's own open door is kept apart, and is no member's record.
        _ => engine.open_door.as_ref().and_then(|door| door.get(&hash)),
    };
    let bytes = found.ok_or_else(|| {
        let failure = Failure::new(Kind::NoSuchKey, format!("no such blob: {hash}"));
        failure.hint(format!("chinwag dht find {hash} --trace"))
    })?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes.to_vec()).into_response())
}

pub(super) async fn records(State(daemon): Daemon, uri: Uri) -> Answered<DhtRecords> {
    let query: DhtRecordsQuery = parse_query(&uri)?;
    let limit = query.limit.unwrap_or(DHT_PAGE_MAX).clamp(1, DHT_PAGE_MAX) as usize;
    let after = query.after.as_deref().map(parse_place).transpose()?;
    let prefix = query.prefix.unwrap_or_default();
    let engine = daemon.running().await?;
    Ok(Reply(engine.look(move |node, observer, _| page(node, observer, after, &prefix, limit)).await?))
}

/// Looks at so many rows that the driver's task is not held up, and no more.
fn page(node: &Node, observer: &Observer, after: Option<Id>, prefix: &str, limit: usize) -> DhtRecords {
    let me = node.membership().me();
    let mut page = DhtRecords { records: Vec::new(), next: None };
    for (looked_at, (id, held, _)) in node.dht().store().after(after).enumerate() {
        if looked_at == SCAN_RECORDS_MAX || page.records.len() == limit {
            return page;
        }
        page.next = Some(id.to_string());
        if name(&held.key).starts_with(prefix) {
            let rank = node.dht().owners_of(&held.key).iter().position(|owner| *owner == me);
            page.records.push(row(held, rank, observer));
        }
    }
    page.next = None;
    page
}

fn name(key: &RecordKey) -> String {
    match key {
        RecordKey::Cell(key) => key.to_string(),
        RecordKey::Blob(hash) => hash.to_string(),
    }
}

fn row(held: &Held, rank: Option<usize>, observer: &Observer) -> DhtRow {
    let (kind, bytes) = match &held.body {
        Body::Blob { len } => (DhtKind::Blob, *len as usize),
        Body::Cell(cell) => {
            let kind = match cell.read() {
                None => DhtKind::Tombstone,
                Some(Read::Register { .. }) => DhtKind::Register,
                Some(Read::Set(_)) => DhtKind::Set,
                Some(_) => DhtKind::Conflict,
            };
            (kind, cell.weight())
        }
    };
    let (key, hash) = match &held.key {
        RecordKey::Cell(key) => (Some(key.to_string()), None),
        RecordKey::Blob(hash) => (None, Some(BlobHash::from_bytes(*hash.as_bytes()))),
    };
    DhtRow {
        key,
        hash,
        kind,
        bytes: bytes as u64,
        rank: rank.map(|rank| rank as u64),
        expires_unix_ms: held.expires.map(WallTime::unix_ms),
        publisher: observer.name(&held.publisher),
    }
}

/// What came of a request, and of whom it was asked.
struct Told {
    key: RecordKey,
    result: Result<Outcome, AskError>,
    trace: Vec<DhtAsked>,
    owners: usize,
    took_ms: f64,
}

impl Told {
    async fn ask(
        engine: &Engine,
        ask: Ask,
        key: RecordKey,
        timeout_ms: Option<u64>,
    ) -> Result<Self, Failure> {
        let begun = clock::now();
        let within = timeout_ms.map_or(ASK_WITHIN, Duration::from_millis);
        let chinwag_dht::Reply { result, trace } = engine.ask(ask, within).await?;
        let took_ms = clock::now().since(begun).as_secs_f64() * 1_000.0;
        let wanted = key.clone();
        let (trace, owners) = engine
            .look(move |node, observer, _| {
                let owners = node.dht().owners_of(&wanted).len();
                (trace.iter().map(|a| asked(a, owners, observer)).collect(), owners)
            })
            .await?;
        Ok(Told { key, result, trace, owners, took_ms })
    }

    fn outcome(&self) -> Result<Outcome, Failure> {
        self.result.clone().map_err(|error| {
            let failure = ask_failure(error, &self.key);
            if failure.kind != Kind::Timeout {
                return failure;
            }
            // Who it was that did not answer, is what helps.
            let silent = self.trace.iter().filter(|a| !a.verdict.holds() && a.took_us.is_none());
            silent.fold(failure, |failure, a| failure.because(format!("{}: {}", a.name, a.verdict)))
        })
    }
}

fn asked(asked: &Asked, owners: usize, observer: &Observer) -> DhtAsked {
    let verdict = match &asked.verdict {
        Verdict::Waiting => DhtVerdict::Waiting,
        Verdict::Late => DhtVerdict::Late,
        Verdict::Unreachable => DhtVerdict::Unreachable,
        Verdict::Stored => DhtVerdict::Stored,
        Verdict::Holds => DhtVerdict::Holds,
        Verdict::Stale => DhtVerdict::Stale,
        Verdict::Deleted => DhtVerdict::Deleted,
        Verdict::Absent => DhtVerdict::Absent,
        Verdict::Refused(_) => DhtVerdict::Refused,
    };
    let micros = |duration: Duration| duration.as_micros() as u64;
    DhtAsked {
        name: observer.name(&asked.node),
        id: asked.node,
        rank: asked.rank as u64,
        owner: asked.rank < owners,
        after_us: micros(asked.after),
        took_us: asked.took.map(micros),
        verdict,
        why: match &asked.verdict {
            Verdict::Refused(why) => Some(why.to_string()),
            _ => None,
        },
    }
}

/// Why a request came to nothing, for people.
pub(crate) fn ask_failure(error: AskError, key: &RecordKey) -> Failure {
    let message = error.to_string();
    match error {
        AskError::Busy { .. } => Failure::new(Kind::Busy, message).hint("again in a moment"),
        AskError::Reader => Failure::new(Kind::ReadOnly, message),
        AskError::Quorum { .. } => Failure::new(Kind::BadRequest, message).hint("chinwag members"),
        AskError::Timeout { .. } => Failure::new(Kind::Timeout, message).hint("chinwag members"),
        AskError::Refused { why } => {
            let kind = match why {
                Refusal::Busy => Kind::Busy,
                Refusal::Disk(_) => Kind::Storage,
                Refusal::Reader => Kind::ReadOnly,
                Refusal::Publisher => Kind::Permission,
                // In the owner's words: no room, another kind of cell, an end in the past. What is too large by itself is
                // found before anybody is asked.
                Refusal::Record(_) => Kind::Refused,
            };
            Failure::new(kind, message)
        }
        AskError::Record(RecordError::TooLarge { .. }) => Failure::new(Kind::TooLarge, message),
        AskError::Record(_) => Failure::new(Kind::BadRequest, message),
        AskError::Cell(CellError::WrongKind { .. }) => {
            Failure::new(Kind::WrongKind, message).hint(format!("chinwag dht get {}", name(key)))
        }
        AskError::Cell(CellError::NoSuchRecord) => no_such(key),
        AskError::Cell(CellError::NoSuchElement) => Failure::new(Kind::NoSuchElement, message),
        AskError::Cell(CellError::ElementTooLong { .. } | CellError::Full) => {
            Failure::new(Kind::TooLarge, message)
        }
    }
}

fn no_such(key: &RecordKey) -> Failure {
    Failure::new(Kind::NoSuchKey, format!("no such record: {}", name(key)))
}

/// No such cell, with the key that was probably meant, of those that are held here.
async fn missing(engine: &Engine, key: &Key, verb: &str) -> Result<Failure, Failure> {
    let keys: Vec<Key> = engine
        .look(|node, _, _| {
            let held = node.dht().store().after(None).take(SCAN_RECORDS_MAX);
            let live = held.filter(|(_, held, _)| !held.is_tombstone());
            live.filter_map(|(_, held, _)| match &held.key {
                RecordKey::Cell(key) => Some(key.clone()),
                RecordKey::Blob(_) => None,
            })
            .collect()
        })
        .await?;
    let failure = no_such(&RecordKey::Cell(key.clone()));
    Ok(match nearest(key.as_str(), &keys) {
        Some(near) => failure.hint(format!("chinwag dht {verb} {near}")),
        None => failure,
    })
}

/// An answer to another question: a bug of ours.
fn other_answer() -> Failure {
    Failure::new(Kind::Internal, "the answer is not one to this request")
}

/// When a life that begins now ends.
fn end(life_ms: Option<u64>) -> Result<Option<WallTime>, Failure> {
    match life_ms {
        None => Ok(None),
        Some(ms) if (1..=LIFE_MS_MAX).contains(&ms) => Ok(Some(clock::wall().plus_ms(ms))),
        Some(_) => {
            Err(Failure::new(Kind::BadRequest, "expires_ms is from one millisecond to a hundred years")
                .hint("leave it out, and the record is kept for ever"))
        }
    }
}

fn segment(path: Result<Path<String>, PathRejection>) -> Result<String, Failure> {
    let path = path
        .map_err(|e| Failure::new(Kind::BadRequest, "the path is not understood").because(e.body_text()))?;
    Ok(path.0)
}

fn parse_hash(text: &str) -> Result<chinwag_dht::BlobHash, Failure> {
    let hash: BlobHash = text.parse().map_err(|e: chinwag_api::dht::BlobHashError| {
        Failure::new(Kind::BadRequest, "that is no blob's hash").because(e.to_string())
    })?;
    Ok(chinwag_dht::BlobHash::from_bytes(hash.to_bytes()))
}

fn parse_place(text: &str) -> Result<Id, Failure> {
    // A place has the form of a hash, though it is another's.
    let place: Result<BlobHash, _> = text.parse();
    place.map(|place| Id::from_bytes(place.to_bytes())).map_err(|_| {
        Failure::new(Kind::BadRequest, "that is no place to go on from").hint("the `next` of the page before")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_dht::Text;

    #[test]
    fn a_refusal_is_told_as_what_it_is() {
        let key = RecordKey::Cell("a".parse().unwrap());
        let kind = |why| ask_failure(AskError::Refused { why }, &key).kind;
        for why in ["this owner holds at most 10 records", "the record has expired 5 ms ago"] {
            assert_eq!(kind(Refusal::Record(Text::new(why))), Kind::Refused);
        }
        assert_eq!(kind(Refusal::Disk(Text::new("no space"))), Kind::Storage);
        assert_eq!(kind(Refusal::Publisher), Kind::Permission);
        let large = AskError::Record(RecordError::TooLarge { len: RECORD_BYTES_MAX + 1 });
        assert_eq!(ask_failure(large, &key).kind, Kind::TooLarge);
    }
}

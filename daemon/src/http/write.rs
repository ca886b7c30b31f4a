//! Writing.

use super::read::{nearest, parse_key, some_keys, token};
use super::{Answered, Daemon, Reply, Text};
use crate::engine::Engine;
use axum::extract::State;
use chinwag_api::{
    Bytes, CellKind, Condition, ConditionalOp, Count, Failure, Hex, Kind, Outcome, Wait, WriteOp, WriteReply,
    WriteRequest,
};
use chinwag_base::limits::BATCH_OPS_MAX;
use chinwag_base::{Key, Value};
use chinwag_crdt::{Found, Op, OpError, Read};
use chinwag_gossip::WriteError;
use chinwag_node::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a wait for other members lasts, unless the client says.
const WAIT_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn write(State(daemon): Daemon, Text(body): Text) -> Answered<WriteReply> {
    let request = WriteRequest::from_json(&body)?;
    let (ops, asked_by) = operations(&request.ops)?;
    let engine = daemon.running().await?;
    let asked: Vec<WriteOp> = request.ops.into_iter().map(|conditional| conditional.op).collect();
    let known = {
        let asked = asked.clone();
        engine.look(move |node, _, _| known_elements(node, &asked)).await?
    };
    let timeout = request.timeout_ms.map_or(WAIT_WITHIN, Duration::from_millis);
    let wait = match request.wait {
        None => chinwag_gossip::Wait::Local,
        Some(Wait::Members(n)) => chinwag_gossip::Wait::Count(n as usize),
        Some(Wait::Majority) => chinwag_gossip::Wait::Majority,
        Some(Wait::All) => chinwag_gossip::Wait::All,
    };
    let written = match engine.write(ops, wait, timeout).await? {
        Ok(written) => written,
        Err(error) => {
            let mut failure = write_failure(error);
            // What was asked for as one operation, such as to add several elements, may have become several.
            let at = failure.op.and_then(|op| asked_by.get(op).copied());
            failure.op = at.filter(|_| asked.len() > 1);
            let op = &asked[at.unwrap_or_default()];
            return Err(with_nearest(&engine, failure, op).await?.into());
        }
    };
    let results = engine
        .look(move |node, _, _| asked.iter().zip(known).map(|(op, known)| outcome(node, op, known)).collect())
        .await?;
    Ok(Reply(WriteReply {
        token: token(&written.token),
        holders: written.holders as u64,
        of: written.of as u64,
        met: written.met,
        after_ms: written.after.as_secs_f64() * 1_000.0,
        results,
    }))
}

/// Suggests the key that was probably meant, where the one that was given holds nothing.
async fn with_nearest(engine: &Engine, failure: Failure, asked: &WriteOp) -> Result<Failure, Failure> {
    if !matches!(failure.kind, Kind::NoSuchKey | Kind::NoSuchElement) {
        return Ok(failure);
    }
    let key = parse_key(asked.key())?;
    let wanted = key.clone();
    let found = engine
        .look(move |node, _, _| (node.gossip().replica().get(&wanted).is_some(), some_keys(node)))
        .await?;
    let (false, keys) = found else { return Ok(failure) };
    let op = failure.op;
    let mut failure = Failure::new(Kind::NoSuchKey, format!("no such key: {key}"));
    failure.op = op;
    let command = if matches!(asked, WriteOp::Rm { .. }) { "rm" } else { "del" };
    Ok(match nearest(key.as_str(), &keys) {
        Some(near) => failure.hint(format!("chinwag {command} {near}")),
        None => failure,
    })
}

/// The operations, and for each of them which one of `asked` it is for.
fn operations(asked: &[ConditionalOp]) -> Result<(Vec<Op>, Vec<usize>), Failure> {
    let mut ops = Vec::with_capacity(asked.len());
    let mut asked_by = Vec::with_capacity(asked.len());
    for (index, op) in asked.iter().enumerate() {
        let on = op.condition.as_ref();
        let mut those = operations_of(&op.op).map_err(|failure| failure.at(index))?;
        if let Some(condition) = on.map(condition_of).transpose().map_err(|failure| failure.at(index))? {
            // Of several, such as to add several elements, the first decides: the others would see what it has done.
            let Some(first) = those.first_mut() else {
                return Err(
                    Failure::new(Kind::BadRequest, "a condition needs an element to add or remove").at(index)
                );
            };
            *first = Op::If { condition, op: Box::new(first.clone()) };
        }
        ops.extend(those);
        asked_by.resize(ops.len(), index);
    }
    if ops.len() > BATCH_OPS_MAX {
        return Err(Failure::new(Kind::TooLarge, format!("{} operations in one request", ops.len()))
            .because(format!("at most {BATCH_OPS_MAX} are taken")));
    }
    if ops.is_empty() {
        return Err(Failure::new(Kind::BadRequest, "a write needs at least one operation"));
    }
    Ok((ops, asked_by))
}

fn operations_of(asked: &WriteOp) -> Result<Vec<Op>, Failure> {
    let key = parse_key(asked.key())?;
    let each = |elements: &[Bytes], op: fn(Key, Value) -> Op| {
        elements.iter().map(|element| Ok(op(key.clone(), value_of(element)?))).collect()
    };
    Ok(vec![match asked {
        WriteOp::Set { value, .. } => Op::Set { key, value: value_of(value)? },
        WriteOp::Del { kind, .. } => Op::Delete { key, kind: kind.map(kind_of).transpose()? },
        WriteOp::Incr { by, .. } => Op::Increment { key, by: *by },
        WriteOp::Add { elements, .. } => return each(elements, |key, element| Op::Add { key, element }),
        WriteOp::Rm { elements, .. } => return each(elements, |key, element| Op::Remove { key, element }),
    }])
}

fn condition_of(condition: &Condition) -> Result<chinwag_crdt::Condition, Failure> {
    Ok(match condition {
        Condition::Absent => chinwag_crdt::Condition::Absent,
        Condition::Value(bytes) => chinwag_crdt::Condition::Value(value_of(bytes)?),
        Condition::Version(version) => chinwag_crdt::Condition::Version((*version).into()),
    })
}

fn value_of(bytes: &Bytes) -> Result<Value, Failure> {
    bytes.to_value().map_err(|e| Failure::new(Kind::TooLarge, e.to_string()))
}

fn kind_of(kind: CellKind) -> Result<chinwag_crdt::Kind, Failure> {
    match kind {
        CellKind::Register => Ok(chinwag_crdt::Kind::Register),
        CellKind::Counter => Ok(chinwag_crdt::Kind::Counter),
        CellKind::Set => Ok(chinwag_crdt::Kind::Set),
        CellKind::Conflict => {
            Err(Failure::new(Kind::BadRequest, "delete one type at a time: register, counter or set"))
        }
    }
}

/// How many of each operation's elements a set has before it, so that its outcome can tell what was new. Concurrent
/// requests may meet between this look and the write; the counts are for people.
fn known_elements(node: &Node, asked: &[WriteOp]) -> Vec<usize> {
    // What the operations before will have changed; none of them is done yet.
    let mut changed: BTreeMap<(&str, &[u8]), bool> = BTreeMap::new();
    let mut deleted: BTreeSet<&str> = BTreeSet::new();
    let mut counts = Vec::with_capacity(asked.len());
    for op in asked {
        let mut known = 0;
        if let WriteOp::Add { key, elements } | WriteOp::Rm { key, elements } = op {
            let was = |bytes: &Bytes| {
                let there = |key, element| node.gossip().replica().contains(&key, &element);
                !deleted.contains(key.as_str())
                    && key.parse().is_ok_and(|key| bytes.to_value().is_ok_and(|element| there(key, element)))
            };
            for element in elements {
                let is_added = matches!(op, WriteOp::Add { .. });
                let before = changed.insert((key, element.as_bytes()), is_added);
                known += usize::from(before.unwrap_or_else(|| was(element)));
            }
        } else if let WriteOp::Del { key, .. } = op {
            changed.retain(|(of, _), _| *of != key);
            deleted.insert(key);
        }
        counts.push(known);
    }
    counts
}

fn outcome(node: &Node, op: &WriteOp, known: usize) -> Outcome {
    let replica = node.gossip().replica();
    let size = |key: &str| key.parse().map_or(0, |key| replica.set_len(&key)) as u64;
    match op {
        WriteOp::Set { key, value } => Outcome::Set { key: key.clone(), value: value.clone() },
        WriteOp::Del { key, .. } => Outcome::Del { key: key.clone() },
        WriteOp::Incr { key, by } => {
            let read = key.parse().ok().and_then(|key| replica.get(&key));
            let count = Count(if let Some(Read::Counter(sum)) = read { sum } else { 0 });
            Outcome::Incr { key: key.clone(), by: *by, count }
        }
        WriteOp::Add { key, elements } => {
            Outcome::Add { key: key.clone(), added: (elements.len() - known) as u64, size: size(key) }
        }
        WriteOp::Rm { key, .. } => Outcome::Rm { key: key.clone(), removed: known as u64, size: size(key) },
    }
}

/// Why a write was refused, for people.
pub(crate) fn write_failure(error: WriteError) -> Failure {
    let (op, error) = match error {
        WriteError::Op(error) => {
            let (index, error) = error.parts();
            (Some(index), WriteError::Op(error))
        }
        error => (None, error),
    };
    let message = match &error {
        // In the words of a read that misses.
        WriteError::Op(OpError::NoSuchKey { key }) => format!("no such key: {key}"),
        WriteError::Op(OpError::Unmet { key, .. }) => format!("the condition on {key} does not hold"),
        other => other.to_string(),
    };
    let kind = match &error {
        WriteError::Op(op) => match op {
            OpError::WrongKind { .. } | OpError::KindNotLive { .. } => Kind::WrongKind,
            OpError::Conflict { .. } => Kind::Conflict,
            OpError::NoSuchKey { .. } => Kind::NoSuchKey,
            OpError::NoSuchElement { .. } => Kind::NoSuchElement,
            OpError::Overflow { .. } => Kind::Overflow,
            OpError::Unmet { .. } => Kind::ConditionFailed,
            _ => Kind::TooLarge,
        },
        WriteError::Busy { .. } | WriteError::TooManyWaits { .. } => Kind::Busy,
        WriteError::TooManyOps { .. } => Kind::TooLarge,
        WriteError::NoOps => Kind::BadRequest,
        WriteError::ReadOnly | WriteError::TooManyLives => Kind::ReadOnly,
        WriteError::Storage(_) => Kind::Storage,
    };
    let mut failure = Failure::new(kind, message);
    failure.op = op;
    match (kind, error) {
        (Kind::Storage, _) => failure.hint("make room on the disk; the daemon takes writes again by itself"),
        (Kind::ConditionFailed, WriteError::Op(OpError::Unmet { key, found, version })) => {
            let failure = failure.because(found_text(&found));
            match version {
                Some(version) => failure
                    .because(format!("its version is {}", Hex::from(version)))
                    .hint(format!("chinwag get {key} --siblings")),
                None => failure,
            }
        }
        (Kind::Conflict, WriteError::Op(OpError::Conflict { key, .. })) => {
            failure.hint(format!("chinwag del {key} --kind TYPE, for the one to drop"))
        }
        _ => failure,
    }
}

/// What is there instead of what a condition says. A value is cut where it would fill the screen.
fn found_text(found: &Found) -> String {
    const CHARS_MAX: usize = 200;
    let Found::Register { value, values } = found else { return found.to_string() };
    let text = Bytes::from(value).to_string();
    let text = match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…\" ({} bytes)", &text[..at], value.as_bytes().len()),
        None => text,
    };
    match values {
        1 => format!("it is {text}"),
        _ => format!("it has {values} concurrent values, {text} before the others"),
    }
}

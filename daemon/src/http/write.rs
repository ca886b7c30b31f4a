//! Writing.

use super::read::{in_command, nearest, parse_field, some_keys, token};
use super::{Answered, Daemon, Reply, Text};
use crate::engine::Engine;
use axum::extract::State;
use chinwag_api::{
    Bytes, CellKind, Condition, Count, Failure, Hex, Kind, Operation, Outcome, Wait, WriteOp, WriteReply,
    WriteRequest,
};
use chinwag_base::limits::{BATCH_OPS_MAX, TTL_MS_MAX};
use chinwag_base::{Key, Value};
use chinwag_crdt::{Found, Op, OpError, Read, Term};
use chinwag_gossip::WriteError;
use chinwag_node::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a wait for other members lasts, unless the client says.
const WAIT_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn write(State(daemon): Daemon, Text(body): Text) -> Answered<WriteReply> {
    let request = WriteRequest::from_json(&body)?;
    let (ops, asked) = operations(request.ops)?;
    let engine = daemon.running().await?;
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
            let at = failure.op.and_then(|op| asked.iter().position(|asked| op < asked.end));
            failure.op = at.filter(|_| asked.len() > 1);
            let asked = &asked[at.unwrap_or_default()];
            return Err(with_nearest(&engine, failure, asked).await?.into());
        }
    };
    let results = engine
        .look(move |node, _, _| {
            asked.iter().zip(known).map(|(asked, known)| outcome(node, asked, known)).collect()
        })
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

/// What was asked for, and of which key or field.
#[derive(Clone)]
struct Asked {
    key: Key,
    op: WriteOp,
    /// How many operations there are up to its last one.
    end: usize,
}

/// Suggests the key that was probably meant, where the one that was given holds nothing.
async fn with_nearest(engine: &Engine, failure: Failure, asked: &Asked) -> Result<Failure, Failure> {
    if !matches!(failure.kind, Kind::NoSuchKey | Kind::NoSuchElement) {
        return Ok(failure);
    }
    let Asked { key, .. } = asked;
    let wanted = key.clone();
    let found = engine
        .look(move |node, _, _| (node.gossip().replica().get(&wanted).is_some(), some_keys(node)))
        .await?;
    let (false, keys) = found else { return Ok(failure) };
    let op = failure.op;
    let mut failure = Failure::new(Kind::NoSuchKey, format!("no such key: {key}"));
    failure.op = op;
    let command = match asked.op {
        WriteOp::Rm { .. } => "rm",
        WriteOp::Disable { .. } => "disable",
        _ => "del",
    };
    Ok(match nearest(key.root_str(), &keys) {
        Some(near) if near == key.root_str() => failure.hint(format!("chinwag get {near}")),
        Some(near) => failure.hint(format!("chinwag {command} {near}")),
        None => failure,
    })
}

/// The operations, and what they were asked for by.
fn operations(asked: Vec<Operation>) -> Result<(Vec<Op>, Vec<Asked>), Failure> {
    let mut ops = Vec::with_capacity(asked.len());
    let mut asked_for = Vec::with_capacity(asked.len());
    for (index, operation) in asked.into_iter().enumerate() {
        let (those, asked) = operations_of(operation).map_err(|failure| failure.at(index))?;
        ops.extend(those);
        asked_for.push(Asked { end: ops.len(), ..asked });
    }
    if ops.len() > BATCH_OPS_MAX {
        return Err(Failure::new(Kind::TooLarge, format!("{} operations in one request", ops.len()))
            .because(format!("at most {BATCH_OPS_MAX} are taken")));
    }
    if ops.is_empty() {
        return Err(Failure::new(Kind::BadRequest, "a write needs at least one operation"));
    }
    Ok((ops, asked_for))
}

fn operations_of(operation: Operation) -> Result<(Vec<Op>, Asked), Failure> {
    let Operation { op, field, ttl_ms, ephemeral, condition } = operation;
    let key = parse_field(op.key(), &field)?;
    let asked = Asked { key, op, end: 0 };
    let mut ops = bare_operations_of(&asked)?;
    if let Some(term) = term_of(ttl_ms, ephemeral)? {
        ops = ops.into_iter().map(|op| Op::Lend { term, op: Box::new(op) }).collect();
    }
    if let Some(condition) = condition.as_ref().map(condition_of).transpose()? {
        // Of several, such as to add several elements, the first decides: the others would see what it has done.
        let Some(first) = ops.first_mut() else {
            return Err(Failure::new(Kind::BadRequest, "a condition needs an element to add or remove"));
        };
        *first = Op::If { condition, op: Box::new(first.clone()) };
    }
    Ok((ops, asked))
}

fn term_of(ttl_ms: Option<u64>, ephemeral: bool) -> Result<Option<Term>, Failure> {
    match (ttl_ms, ephemeral) {
        (None, false) => Ok(None),
        (None, true) => Ok(Some(Term::Life)),
        (Some(1..=TTL_MS_MAX), false) => Ok(ttl_ms.map(Term::Ms)),
        (Some(_), false) => Err(Failure::new(
            Kind::BadRequest,
            format!("`ttl_ms` is from 1 to {TTL_MS_MAX}, which are ten years"),
        )),
        (Some(_), true) => {
            Err(Failure::new(Kind::BadRequest, "a write has `ttl_ms` or is `ephemeral`, not both"))
        }
    }
}

fn bare_operations_of(asked: &Asked) -> Result<Vec<Op>, Failure> {
    let key = asked.key.clone();
    let each = |elements: &[Bytes], op: fn(Key, Value) -> Op| {
        elements.iter().map(|element| Ok(op(key.clone(), value_of(element)?))).collect()
    };
    Ok(vec![match &asked.op {
        WriteOp::Set { value, .. } => Op::Set { key, value: value_of(value)? },
        WriteOp::Del { kind, .. } => Op::Delete { key, kind: kind.map(kind_of).transpose()? },
        WriteOp::Incr { by, .. } => Op::Increment { key, by: *by },
        WriteOp::Add { elements, .. } => return each(elements, |key, element| Op::Add { key, element }),
        WriteOp::Rm { elements, .. } => return each(elements, |key, element| Op::Remove { key, element }),
        WriteOp::Enable { .. } => Op::Enable { key },
        WriteOp::Disable { .. } => Op::Disable { key },
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
        CellKind::Flag => Ok(chinwag_crdt::Kind::Flag),
        CellKind::Map => Ok(chinwag_crdt::Kind::Map),
        CellKind::Conflict => {
            let kinds = chinwag_crdt::Kind::ALL.map(chinwag_crdt::Kind::as_str).join(", ");
            Err(Failure::new(Kind::BadRequest, format!("delete one type at a time: {kinds}")))
        }
    }
}

/// How many of each operation's elements a set has before it, so that its outcome can tell what was new. Concurrent
/// requests may meet between this look and the write; the counts are for people.
fn known_elements(node: &Node, asked: &[Asked]) -> Vec<usize> {
    // What the operations before will have changed; none of them is done yet.
    let mut changed: BTreeMap<(&Key, &[u8]), bool> = BTreeMap::new();
    let mut deleted: BTreeSet<&Key> = BTreeSet::new();
    let mut counts = Vec::with_capacity(asked.len());
    for Asked { key, op, .. } in asked {
        let mut known = 0;
        if let WriteOp::Add { elements, .. } | WriteOp::Rm { elements, .. } = op {
            let is_deleted = deleted.contains(key) || key.parents().any(|above| deleted.contains(&above));
            let was = |bytes: &Bytes| {
                let there = |element| node.gossip().replica().contains(key, &element);
                !is_deleted && bytes.to_value().is_ok_and(there)
            };
            for element in elements {
                let is_added = matches!(op, WriteOp::Add { .. });
                let before = changed.insert((key, element.as_bytes()), is_added);
                known += usize::from(before.unwrap_or_else(|| was(element)));
            }
        } else if let WriteOp::Del { .. } = op {
            changed.retain(|(of, _), _| *of != key && of.step_from(key).is_none());
            deleted.insert(key);
        }
        counts.push(known);
    }
    counts
}

fn outcome(node: &Node, Asked { key: at, op, .. }: &Asked, known: usize) -> Outcome {
    let replica = node.gossip().replica();
    let size = replica.set_len(at) as u64;
    match op {
        WriteOp::Set { key, value } => Outcome::Set { key: key.clone(), value: value.clone() },
        WriteOp::Del { key, .. } => Outcome::Del { key: key.clone() },
        WriteOp::Incr { key, by } => {
            let count = Count(if let Some(Read::Counter(sum)) = replica.get(at) { sum } else { 0 });
            Outcome::Incr { key: key.clone(), by: *by, count }
        }
        WriteOp::Add { key, elements } => {
            Outcome::Add { key: key.clone(), added: (elements.len() - known) as u64, size }
        }
        WriteOp::Rm { key, .. } => Outcome::Rm { key: key.clone(), removed: known as u64, size },
        WriteOp::Enable { key } => Outcome::Enable { key: key.clone() },
        WriteOp::Disable { key } => Outcome::Disable { key: key.clone() },
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
            OpError::NotForATime { .. } => Kind::BadRequest,
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
                    .hint(format!("chinwag get {} --siblings", in_command(&key))),
                None => failure,
            }
        }
        (Kind::Conflict, WriteError::Op(OpError::Conflict { key, .. })) => {
            failure.hint(format!("chinwag del {} --kind TYPE, for the one to drop", in_command(&key)))
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

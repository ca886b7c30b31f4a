//! What a line of an import says: for how long, and by which operations that comes about.

use super::super::write::place;
use super::{BATCH_BYTES, BATCH_OPS};
use crate::text;
use chinwag_api::{Bytes, Cell, Content, Count, Failure, Kind, Operation, WriteOp};
use chinwag_base::key::printable;

/// How long what a line says is to stay: none if it is gone already, for ever without a time.
pub(super) fn time_left(cell: &Cell, now_unix_ms: u64) -> Option<Option<u64>> {
    if !matches!(cell.content, Content::Register { .. } | Content::Flag { .. }) {
        return Some(None);
    }
    match cell.expires_unix_ms {
        _ if cell.ephemeral => None,
        None => Some(None),
        Some(unix_ms) => Some(Some(unix_ms.checked_sub(now_unix_ms).filter(|ms| *ms > 0)?)),
    }
}

/// The operations that make a key, or a field, hold what a line says. None for an empty set, or a flag that is off.
pub(super) fn ops_of(
    key: &str,
    field: &[String],
    content: Content,
    ops: &mut Vec<Operation>,
) -> Result<(), Failure> {
    let key = key.to_owned();
    let own = match content {
        Content::Register { value, .. } => vec![WriteOp::Set { key, value }],
        Content::Counter { count } => increments(&key, count)?,
        Content::Set { elements } => {
            chunks(elements).map(|elements| WriteOp::Add { key: key.clone(), elements }).collect()
        }
        // One that is off is no key.
        Content::Flag { on } => on.then_some(WriteOp::Enable { key }).into_iter().collect(),
        Content::Map { fields } => {
            for (name, content) in fields {
                ops_of(&key, &[field, &[name]].concat(), content, ops)?;
            }
            return Ok(());
        }
        Content::Conflict { contents } => {
            let kinds: Vec<String> = contents.iter().map(|c| format!("a {}", c.kind())).collect();
            let why = format!(
                "it was written concurrently as {}; leave one of them in the line",
                text::list(&kinds)
            );
            return Err(
                Failure::new(Kind::Conflict, format!("{} is in conflict", place(&key, field))).because(why)
            );
        }
    };
    ops.extend(own.into_iter().map(|op| Operation { field: field.to_vec(), ..op.into() }));
    Ok(())
}

/// One increment, or as many as it takes where the sum does not fit one.
fn increments(key: &str, Count(sum): Count) -> Result<Vec<WriteOp>, Failure> {
    /// What one daemon may add to a counter between two resets.
    const SHARE_MAX: u128 = u64::MAX as u128;
    if sum.unsigned_abs() > SHARE_MAX {
        let message = format!("{} is too large: {sum}", printable(key));
        return Err(Failure::new(Kind::Overflow, message)
            .because("what one daemon adds to a counter is below 2^64; several have added to this one"));
    }
    let (mut rest, mut ops) = (sum, Vec::new());
    while rest != 0 || ops.is_empty() {
        let by = i64::try_from(rest).unwrap_or(if rest < 0 { i64::MIN } else { i64::MAX });
        rest -= i128::from(by);
        ops.push(WriteOp::Incr { key: key.to_owned(), by });
    }
    Ok(ops)
}

/// The elements in pieces of which each fits a batch.
fn chunks(elements: Vec<Bytes>) -> impl Iterator<Item = Vec<Bytes>> {
    let mut rest = elements.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while let Some(element) = rest.next_if(|element| {
            chunk.is_empty() || chunk.len() < BATCH_OPS && bytes + element.as_bytes().len() <= BATCH_BYTES / 2
        }) {
            bytes += element.as_bytes().len();
            chunk.push(element);
        }
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// How many operations and bytes an operation is in a batch, about.
pub(super) fn weight(op: &WriteOp) -> (usize, usize) {
    let key = op.key().len();
    match op {
        WriteOp::Set { value, .. } => (1, key + value.as_bytes().len()),
        WriteOp::Add { elements, .. } | WriteOp::Rm { elements, .. } => {
            (elements.len(), key + elements.iter().map(|e| e.as_bytes().len()).sum::<usize>())
        }
        _ => (1, key),
    }
}

pub(super) fn plus(a: (usize, usize), b: (usize, usize)) -> (usize, usize) {
    (a.0 + b.0, a.1 + b.1)
}

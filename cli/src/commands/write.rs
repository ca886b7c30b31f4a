//! What all writes share: waiting, and telling how many members hold it.

use super::Context;
use crate::{End, text};
use chinwag_api::{
    Bytes, Condition, Exit, Failure, Kind, Operation, Outcome, Wait, WriteOp, WriteReply, WriteRequest,
};
use chinwag_base::key::printable;
use std::time::Duration;

/// How long a wait lasts unless told otherwise.
const WAIT_TIMEOUT_S: f64 = 10.0;

/// How long to wait, and for whom.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct WaitArgs {
    /// Return once so many members hold the write durably: a number, majority or all
    #[arg(long, value_name = "N|majority|all")]
    pub(crate) wait: Option<Wait>,
    /// Wait so many seconds at most [default: 10]
    #[arg(long, value_name = "SECONDS", requires = "wait", value_parser = seconds)]
    pub(crate) timeout: Option<f64>,
}

/// On what condition to write.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct IfArgs {
    /// Write only if this holds of the key, else exit with code 6: absent, value=TEXT (it is a register with this
    /// value and no concurrent one), or version=VERSION (it is as `get --json` has shown it, by the field `version`).
    /// The daemon that is asked decides by what it knows: another may decide otherwise at the same time, and then both
    /// writes are concurrent
    #[arg(long = "if", value_name = "CONDITION")]
    condition: Option<Condition>,
}

impl IfArgs {
    /// The operation on this condition.
    pub(crate) fn on(self, operation: Operation) -> Operation {
        Operation { condition: self.condition, ..operation }
    }
}

/// Which field of the key.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct FieldArgs {
    /// A field of the key, which then is a map; for a field of a field again: --field address --field city
    #[arg(long, short, value_name = "FIELD")]
    pub(crate) field: Vec<String>,
}

impl FieldArgs {
    /// The operation on this field.
    pub(crate) fn of(self, op: WriteOp) -> Operation {
        Operation { field: self.field, ..op.into() }
    }
}

/// For how long.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct LendArgs {
    /// It goes by itself after this time, such as 30s, 10m or 12h. Each member hides it by its own clock
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "ephemeral")]
    ttl: Option<Duration>,
    /// It goes with the daemon that is asked: it is hidden while that is down, and deleted once it has restarted or left
    #[arg(long)]
    ephemeral: bool,
}

impl LendArgs {
    /// The operation for so long.
    pub(crate) fn lend(self, operation: Operation) -> Operation {
        let ttl_ms = self.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        Operation { ttl_ms, ephemeral: self.ephemeral, ..operation }
    }
}

/// A time with its unit, as people write it.
fn time(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    match parsed.filter(|time| !time.is_zero()) {
        Some(time) => Ok(time),
        None => Err("expected a time with its unit, such as 30s, 10m or 12h".into()),
    }
}

impl WaitArgs {
    /// The request to write these, and to wait as was asked for.
    pub(crate) fn request(&self, ops: Vec<Operation>) -> WriteRequest {
        let timeout_ms = self.wait.map(|_| to_ms(self.timeout.unwrap_or(WAIT_TIMEOUT_S)));
        WriteRequest { ops, wait: self.wait, timeout_ms }
    }

    /// How a command ends whose write was answered so.
    pub(crate) fn judge(&self, reply: &WriteReply) -> Result<Exit, End> {
        self.judged(reply).map(|()| Exit::Yes).map_err(End::from)
    }

    /// Whether the wait was met.
    pub(crate) fn judged(&self, reply: &WriteReply) -> Result<(), Failure> {
        match self.wait {
            Some(wait) if !reply.met => Err(not_met(wait, reply)),
            _ => Ok(()),
        }
    }
}

/// A number of seconds that makes sense as a time limit.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if s.is_finite() && (0.0..=86_400.0).contains(&s) => Ok(s),
        _ => Err("expected seconds, from 0 to 86400".into()),
    }
}

/// Seconds as the API has them.
pub(crate) fn to_ms(seconds: f64) -> u64 {
    (seconds * 1_000.0).round() as u64
}

/// Sends one operation and prints what became of it.
pub(crate) async fn one(
    context: &mut Context,
    op: impl Into<Operation>,
    wait: &WaitArgs,
) -> Result<Exit, End> {
    let operation = op.into();
    let request = wait.request(vec![operation.clone()]);
    let client = context.client()?;
    let reply = match client.write(&request).await {
        Ok(reply) => reply,
        // What a person deletes or takes from by a mistyped name is suggested; what they make is new.
        Err(failure) if failure.kind == Kind::NoSuchKey => {
            let verb = match operation.op {
                WriteOp::Del { .. } => "del",
                WriteOp::Disable { .. } => "disable",
                _ => "get",
            };
            return Err(super::get::with_nearest(&client, failure, operation.op.key(), verb).await.into());
        }
        Err(failure) => return Err(failure.into()),
    };
    if context.out.is_json() {
        context.out.json(&reply)?;
    } else {
        for result in &reply.results {
            context.out.line(&format!("{} · {}", outcome(result, &operation), held(&reply)))?;
        }
    }
    wait.judge(&reply)
}

fn not_met(wait: Wait, reply: &WriteReply) -> Failure {
    let wanted = match wait {
        Wait::Majority => "a majority".to_owned(),
        Wait::All => "all members".to_owned(),
        Wait::Members(n) => text::count(n.into(), "member"),
    };
    Failure::new(Kind::WaitNotMet, format!("the write is safe here, but {wanted} did not confirm it in time"))
        .because(format!("{} of {} hold it after {}", reply.holders, reply.of, text::time_ms(reply.after_ms)))
        .hint("chinwag members")
}

/// `on 3 of 3 members after 94 ms`.
pub(crate) fn held(reply: &WriteReply) -> String {
    let members = if reply.of == 1 { "member" } else { "members" };
    format!("on {} of {} {members} after {}", reply.holders, reply.of, text::time_ms(reply.after_ms))
}

/// What became of an operation, on one line.
pub(crate) fn outcome(outcome: &Outcome, operation: &Operation) -> String {
    let Operation { op, field, .. } = operation;
    let key = place(op.key(), field);
    let elements = |op: &WriteOp| match op {
        WriteOp::Add { elements, .. } | WriteOp::Rm { elements, .. } => text::values(elements),
        _ => String::new(),
    };
    let said = match outcome {
        Outcome::Set { value, .. } => format!("{key} = {}", shown(value)),
        Outcome::Del { .. } => format!("{key} deleted"),
        Outcome::Incr { count, .. } => format!("{key} = {count}"),
        Outcome::Add { added, size, .. } => {
            format!("{key} + {} · {added} added, {}", elements(op), text::count(*size, "element"))
        }
        Outcome::Rm { removed, size, .. } => {
            format!("{key} - {} · {removed} removed, {}", elements(op), text::count(*size, "element"))
        }
        Outcome::Enable { .. } => format!("{key} on"),
        Outcome::Disable { .. } => format!("{key} off"),
    };
    match (operation.ttl_ms, operation.ephemeral) {
        (Some(ms), _) => format!("{said} for {}", text::time_ms(ms as f64)),
        (_, true) => format!("{said} while this daemon is there"),
        _ => said,
    }
}

/// A key, or a field of it, as people read it: `key[field][field]`.
pub(crate) fn place(key: &str, field: &[String]) -> String {
    let fields: String = field.iter().map(|name| format!("[{}]", printable(name))).collect();
    format!("{}{fields}", printable(key))
}

/// A value on one line, cut where it would fill the screen.
pub(crate) fn shown(value: &Bytes) -> String {
    const CHARS_MAX: usize = 200;
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…\" ({})", &text[..at], text::bytes(value.as_bytes().len() as f64)),
        None => text,
    }
}

//! What all writes share: waiting, and telling how many members hold it.

use super::Context;
use crate::{End, text};
use chinwag_api::{
    Bytes, Condition, ConditionalOp, Exit, Failure, Kind, Outcome, Wait, WriteOp, WriteReply, WriteRequest,
};
use chinwag_base::key::printable;

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
    pub(crate) fn on(self, op: WriteOp) -> ConditionalOp {
        ConditionalOp { op, condition: self.condition }
    }
}

impl WaitArgs {
    /// The request to write these, and to wait as was asked for.
    pub(crate) fn request(&self, ops: Vec<ConditionalOp>) -> WriteRequest {
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
    op: impl Into<ConditionalOp>,
    wait: &WaitArgs,
) -> Result<Exit, End> {
    let conditional = op.into();
    let op = conditional.op.clone();
    let request = wait.request(vec![conditional]);
    let client = context.client()?;
    let reply = match client.write(&request).await {
        Ok(reply) => reply,
        // What a person deletes or takes from by a mistyped name is suggested; what they make is new.
        Err(failure) if failure.kind == Kind::NoSuchKey => {
            let verb = match op {
                WriteOp::Del { .. } => "del",
                _ => "get",
            };
            return Err(super::get::with_nearest(&client, failure, op.key(), verb).await.into());
        }
        Err(failure) => return Err(failure.into()),
    };
    if context.out.is_json() {
        context.out.json(&reply)?;
    } else {
        for result in &reply.results {
            context.out.line(&format!("{} · {}", outcome(result, &op), held(&reply)))?;
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
pub(crate) fn outcome(outcome: &Outcome, op: &WriteOp) -> String {
    let key = printable(op.key());
    let elements = |op: &WriteOp| match op {
        WriteOp::Add { elements, .. } | WriteOp::Rm { elements, .. } => text::values(elements),
        _ => String::new(),
    };
    match outcome {
        Outcome::Set { value, .. } => format!("{key} = {}", shown(value)),
        Outcome::Del { .. } => format!("{key} deleted"),
        Outcome::Incr { count, .. } => format!("{key} = {count}"),
        Outcome::Add { added, size, .. } => {
            format!("{key} + {} · {added} added, {}", elements(op), text::count(*size, "element"))
        }
        Outcome::Rm { removed, size, .. } => {
            format!("{key} - {} · {removed} removed, {}", elements(op), text::count(*size, "element"))
        }
    }
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

//! What a member and this daemon lack of each other.

use super::members::meant;
use super::{Answered, Daemon, Reply};
use crate::observe::Observer;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use chinwag_api::{Diff, DiffKey, DiffWriter, Failure, Kind, Member};
use chinwag_base::Moment;
use chinwag_node::Node;

/// Keys that are named. Of more only the number is told.
const KEYS_MAX: usize = 1_000;

pub(super) async fn diff(State(daemon): Daemon, name: Result<Path<String>, PathRejection>) -> Answered<Diff> {
    let Path(name) = name
        .map_err(|e| Failure::new(Kind::BadRequest, "the path is not understood").because(e.body_text()))?;
    let look = move |node: &Node, observer: &Observer, now: Moment| {
        let member = meant(node, observer, now, &name)?;
        if member.is_self {
            return Err(Failure::new(
                Kind::BadRequest,
                format!("{} is the daemon that answers", member.name),
            )
            .hint("chinwag diff NAME, of another member"));
        }
        let Some(found) = node.gossip().diff(member.id) else { return Err(unconnected(&member)) };
        let more_keys = found.keys.len().saturating_sub(KEYS_MAX) as u64;
        let keys = found.keys.iter().take(KEYS_MAX);
        let writers = found.we_lack.iter().map(|(id, writes)| DiffWriter {
            name: observer.name(id),
            id: *id,
            writes: *writes,
        });
        Ok(Diff {
            in_step: found.in_step,
            told: found.told,
            digest: node.gossip().replica().digest().into(),
            their_digest: found.digest.map(Into::into),
            they_lack: found.they_lack,
            keys: keys.map(|(key, writes)| DiffKey { key: key.to_string(), writes: *writes }).collect(),
            more_keys,
            beyond_log: found.beyond_log,
            we_lack: writers.collect(),
            we_may_lack_more: found.is_cut,
            name: member.name,
            id: member.id,
            state: member.state,
        })
    };
    Ok(Reply(daemon.running().await?.look(look).await??))
}

/// What is remembered of a peer's clock ends with its connection.
fn unconnected(member: &Member) -> Failure {
    Failure::new(
        Kind::Refused,
        format!("{} is {} and not connected to this daemon", member.name, member.state),
    )
    .because("what a member holds is known only as long as it is connected")
    .hint(format!("chinwag explain {}", member.name))
    .hint("chinwag diff, on a daemon that is connected to it")
}

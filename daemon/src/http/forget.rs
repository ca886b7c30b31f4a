//! Forgetting a member.

use super::members::meant;
use super::{Answered, Daemon, Reply, Text, parse};
use crate::observe::Observer;
use axum::extract::State;
use chinwag_api::{Failure, ForgetRequest, Forgotten, Kind, Member};
use chinwag_base::{Moment, NodeId};
use chinwag_membership::ForgetError;
use chinwag_node::Node;

pub(super) async fn forget(State(daemon): Daemon, Text(body): Text) -> Answered<Forgotten> {
    let ForgetRequest { member } = parse(&body)?;
    let engine = daemon.running().await?;
    let name = member.clone();
    let found = engine
        .look(move |node: &Node, observer: &Observer, now: Moment| meant(node, observer, now, &member))
        .await?;
    let forgotten = match (found, name.parse::<NodeId>()) {
        (Ok(Member { name, id, state, .. }), _) => Forgotten { name, id, state: Some(state) },
        // One that has been down for so long that it is not shown is still dialled.
        (Err(failure), Ok(id)) if failure.kind == Kind::NoSuchMember => Forgotten { name, id, state: None },
        (Err(failure), _) => return Err(failure.into()),
    };
    match engine.forget(forgotten.id).await? {
        Ok(()) => Ok(Reply(forgotten)),
        Err(why) => Err(refusal(&forgotten.name, why).into()),
    }
}

fn refusal(name: &str, why: ForgetError) -> Failure {
    let failure = |kind| {
        Failure::new(kind, format!("{} is not forgotten", name.escape_debug())).because(why.to_string())
    };
    match why {
        ForgetError::Unknown => failure(Kind::NoSuchMember).hint("chinwag members"),
        ForgetError::Ourselves => failure(Kind::Refused).hint("chinwag leave"),
        ForgetError::Present(_) => failure(Kind::Refused)
            .hint("end its daemon first: chinwag leave, on its machine")
            .hint("if the machine is gone, wait until it is held for down: chinwag members"),
        ForgetError::NotAdmin(_) => failure(Kind::NotAdmin)
            .hint("chinwag forget, on the daemon that made the overlay")
            .hint("wait: who has been down for three days is no longer shown"),
        ForgetError::TooMany => failure(Kind::Busy),
    }
}

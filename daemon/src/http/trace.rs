//! Where a write went.

use super::read::{in_command, parse_field};
use super::{Answered, Daemon, Reply};
use crate::observe::{Observer, dot_text};
use axum::extract::State;
use axum::http::Uri;
use chinwag_api::{Failure, Kind, Trace, TraceMember, TracePath, paths};
use chinwag_base::NodeId;
use chinwag_gossip::{Arrival, Footprint, TraceError};

pub(super) async fn trace(State(daemon): Daemon, uri: Uri) -> Answered<Trace> {
    let Some((key, field)) = paths::trace_of(uri.path()) else {
        return Err(Failure::new(Kind::BadRequest, "the path is not understood").into());
    };
    let key = parse_field(&key, &field)?;
    let engine = daemon.running().await?;
    let traced = engine.trace(key.clone()).await?.map_err(|why| match why {
        TraceError::Busy => Failure::new(Kind::Busy, why.to_string()).hint("again in a moment"),
        TraceError::Unknown => Failure::new(Kind::NoSuchKey, format!("there is no trace of {key}"))
            .because(why.to_string())
            .hint(format!("chinwag -n NAME trace {}, of a daemon that has run for longer", in_command(&key))),
    })?;
    let look = move |_: &chinwag_node::Node, observer: &Observer, _| {
        let writer = traced.dot.replica.node;
        let mut members: Vec<TraceMember> =
            traced.members.iter().map(|(id, said)| member(observer, *id, *said)).collect();
        members.sort_by_key(|m| (m.id != writer, m.durable_unix_ms.is_none(), m.durable_unix_ms, m.id));
        Trace {
            key: traced.key.to_string(),
            dot: dot_text(&traced.dot),
            writer: observer.name(&writer),
            writer_id: writer,
            written_unix_ms: traced.hlc.millis(),
            members,
        }
    };
    Ok(Reply(engine.look(look).await?))
}

fn member(observer: &Observer, id: NodeId, said: Footprint) -> TraceMember {
    use chinwag_gossip::Path as From;
    let (path, from, arrival) = match said {
        Footprint::Came(arrival @ Arrival { path, .. }) => {
            let (path, from) = match path {
                From::Local => (TracePath::Local, None),
                From::Pushed { by } => (TracePath::Pushed, Some(by)),
                From::Relayed { by } => (TracePath::Relayed, Some(by)),
                From::Synced { from } => (TracePath::Synced, Some(from)),
                From::Joined { from } => (TracePath::Joined, Some(from)),
            };
            (path, from, Some(arrival))
        }
        Footprint::Forgotten => (TracePath::Forgotten, None, None),
        Footprint::Lacks => (TracePath::Lacks, None, None),
        Footprint::Silent => (TracePath::Silent, None, None),
        Footprint::Unconnected => (TracePath::Unconnected, None, None),
    };
    TraceMember {
        name: observer.name(&id),
        id,
        path,
        from: from.map(|id| observer.name(&id)),
        from_id: from,
        arrived_unix_ms: arrival.map(|arrival| arrival.arrived.unix_ms()),
        durable_unix_ms: arrival.and_then(|arrival| arrival.durable).map(|wall| wall.unix_ms()),
    }
}

//! The store: checked, and compacted.

use super::{Answered, Daemon, Reply, parse_query};
use crate::doctor::check_running;
use axum::extract::State;
use axum::http::Uri;
use chinwag_api::{Check, CheckQuery, Compacted, Failure, Kind};

pub(super) async fn check(State(daemon): Daemon, uri: Uri) -> Answered<Check> {
    let query: CheckQuery = parse_query(&uri)?;
    let alone = daemon.checking.clone().try_lock_owned().map_err(|_| {
        Failure::new(Kind::Busy, "another check is under way").hint("again when it has ended")
    })?;
    let unreadable = |why: String| Failure::new(Kind::Storage, "the store cannot be read").because(why);
    let engine = daemon.running().await?;
    let (snapshot, live) = engine.snapshot().await?.map_err(unreadable)?;
    let records = engine.records();
    let (name, home) = (daemon.name.to_string(), daemon.home.dir().to_owned());
    let path = daemon.home.store_path();
    let checked = tokio::task::spawn_blocking(move || {
        // To the end, whether or not the client still waits.
        let _alone = alone;
        let examined = snapshot.examine(&path)?;
        let records = records.examine(query.blobs);
        Ok::<_, Failure>(check_running(name, &home, &examined, records, live))
    });
    let checked = checked.await;
    Ok(Reply(
        checked
            .map_err(|e| Failure::new(Kind::Internal, "the check ended by a bug").because(e.to_string()))??,
    ))
}

pub(super) async fn compact(State(daemon): Daemon) -> Answered<Compacted> {
    let engine = daemon.running().await?;
    let compacted = engine.compact().await?.map_err(|why| {
        Failure::new(Kind::Storage, "the store could not be compacted; nothing is lost")
            .because(why)
            .hint("again in a moment; if the disk is full, make room first")
    })?;
    let look = move |node: &chinwag_node::Node, observer: &crate::observe::Observer, _| {
        let replica = node.gossip().replica();
        Compacted {
            before_bytes: compacted.before,
            after_bytes: compacted.after,
            log_entries: replica.log_len() as u64,
            log_for: node.gossip().log_waits_for().iter().map(|id| observer.name(id)).collect(),
        }
    };
    Ok(Reply(engine.look(look).await?))
}

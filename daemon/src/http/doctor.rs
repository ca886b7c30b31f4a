//! Examining the daemon, its home and its surroundings.

use super::{Answered, Daemon, Reply};
use crate::doctor::{examine_home, examine_machine, live};
use axum::extract::State;
use chinwag_api::{Doctor, Failure, Kind};

pub(super) async fn doctor(State(daemon): Daemon) -> Answered<Doctor> {
    let data = daemon.home.dir().to_owned();
    // It waits for the disk, which must not hold up anything else.
    let home = tokio::task::spawn_blocking(move || {
        let mut findings = examine_home(&data);
        findings.extend(examine_machine());
        findings
    });
    let (home, live) = tokio::join!(home, live::examine(&daemon));
    let mut findings = home
        .map_err(|e| Failure::new(Kind::Internal, "the examination ended by a bug").because(e.to_string()))?;
    findings.extend(live?);
    Ok(Reply(Doctor::new(Some(daemon.name.to_string()), daemon.home.dir().to_owned(), findings)))
}

//! Ends that somebody asked for.

use crate::harness::{Daemon, Ground, agree, eventually, set, so};
use chinwag_api::MemberState;
use std::time::Instant;

async fn is_seen_to_leave(gone: &str, others: &[&Daemon]) {
    for daemon in others {
        daemon.comes_to_see(gone, MemberState::Left).await;
        assert_eq!(daemon.accused(), [""; 0], "leaving is no failure, but {} says so", daemon.name);
        assert_eq!(daemon.told("member.left")[0].field("name"), gone);
    }
}

#[tokio::test]
async fn a_terminated_member_is_known_to_have_left_and_may_return() {
    let ground = Ground::new();
    let [alpha, beta, mut gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    gamma.write(vec![set("parting", "words")]).await.unwrap();

    let begun = Instant::now();
    gamma.terminate();
    let status = gamma.ended().await;
    eprintln!("gamma ended {:?} after SIGTERM", begun.elapsed());
    assert_eq!(status.code(), Some(0));
    is_seen_to_leave("gamma", &[&alpha, &beta]).await;
    let counts = alpha.status().await.members;
    assert_eq!((counts.alive, counts.left), (2, 1));
    let files: Vec<_> =
        std::fs::read_dir(ground.runtime()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(!files.iter().any(|f| f == "gamma.json" || f == "gamma.sock"), "it cleans up: {files:?}");

    gamma.start_again().await;
    agree(&[&alpha, &beta, &gamma]).await;
    assert_eq!((alpha.accused(), beta.accused(), gamma.accused()), (vec![], vec![], vec![]));
}

#[tokio::test]
async fn leave_ends_the_daemon_and_tells_the_others() {
    let ground = Ground::new();
    let [alpha, mut beta] = ground.overlay(["alpha", "beta"]).await;
    let told = ground.type_in("-n beta leave").await.exits(0);
    assert!(told.out.starts_with("✓ beta has left and ended after "), "{told:?}");
    assert_eq!(beta.ended().await.code(), Some(0));
    is_seen_to_leave("beta", &[&alpha]).await;
    // Two names less to choose from.
    ground.type_in("status").await.exits(0);
}

#[tokio::test]
async fn a_daemon_ends_with_the_program_that_started_it() {
    let ground = Ground::new();
    let [alpha, mut beta] = ground.overlay(["alpha", "beta"]).await;
    beta.close_stdin();
    assert_eq!(beta.ended().await.code(), Some(0));
    is_seen_to_leave("beta", &[&alpha]).await;
}

/// What `chinwag up --detach` leaves behind outlives it, and a second signal is not needed to end it.
#[tokio::test]
async fn a_daemon_in_the_background_answers_until_it_is_told_to_leave() {
    let ground = Ground::new();
    let told = ground.type_in("up -d --data solo --name solo").await.exits(0);
    assert!(told.out.starts_with("✓ solo is running (pid "), "{told:?}");
    let guard = Background(&ground);
    ground.type_in("set k v").await.exits(0);
    let told = ground.type_in("leave").await.exits(0);
    assert!(told.out.starts_with("✓ solo has left and ended after "), "{told:?}");
    eventually("its entry is gone", async || {
        so(!ground.runtime().join("solo.json").exists(), || "it is there".into())
    })
    .await;
    drop(guard);
    ground.type_in("get k").await.exits(3);
}

/// Ends the daemon in the background if the test fails before it does.
struct Background<'a>(&'a Ground);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        let entry = std::fs::read(self.0.runtime().join("solo.json")).ok();
        let entry = entry.and_then(|json| serde_json::from_slice::<chinwag_api::runtime::Entry>(&json).ok());
        if let Some(pid) = entry.and_then(|e| rustix::process::Pid::from_raw(e.pid as i32)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

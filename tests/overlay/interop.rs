//! Programs in other languages at the open door of a real daemon: see `tests/interop/`.
//!
//! They need node or python3 and their registries. Where one is missing the test says SKIPPED and why; in continuous
//! integration (`CI=true`) that is a failure, so that it cannot go unnoticed.

use crate::harness::{Daemon, Ground, agree, eventually, so};
use chinwag_api::OpenDoor;
use std::path::Path;
use tokio::process::Command;

const FLAGS: [&str; 4] = ["--listen", "127.0.0.1:0", "--open", "127.0.0.1:0"];
/// How `run.sh` says that something is missing here.
const SKIPPED: i32 = 77;

/// Lets the program for `language` loose on this door, where it is to find `blob` too. False if it cannot run here.
async fn visit(language: &str, address: &str, blob: &str) -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/run.sh");
    let mut command = Command::new(script);
    command.args([language, env!("CARGO_TARGET_TMPDIR"), address, blob]).kill_on_drop(true);
    let told = command.output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    eprint!("{out}");
    match told.status.code() {
        Some(SKIPPED) => {
            let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!is_ci, "continuous integration must run this: {out}{err}");
            false
        }
        code => {
            assert_eq!(code, Some(0), "{out}{err}");
            true
        }
    }
}

async fn door(daemon: &Daemon) -> OpenDoor {
    daemon.status().await.door.expect("it was told to open a door")
}

/// A program's visit to one of two members, and what the daemon tells of it.
async fn a_program_uses_the_door(language: &str) {
    let ground = Ground::new();
    let [mut alpha, beta] = ground.overlay_with(["alpha", "beta"], &FLAGS).await;
    let before = door(&alpha).await;
    let status = alpha.status().await;
    assert!(!status.id.to_string().contains(&before.peer), "the door has a key of its own");
    let tcp = before.addresses.iter().find(|address| address.contains("/tcp/")).unwrap();
    // What a member puts, a program finds.
    let blob = "put by a member";
    beta.client.dht_put_blob(blob.as_bytes().to_vec(), &Default::default()).await.unwrap();
    if !visit(language, tcp, blob).await {
        return;
    }

    let after = door(&alpha).await;
    assert_eq!((after.peer.as_str(), after.records), (before.peer.as_str(), 2), "{after:?}");
    assert!(after.refused["hash"] >= 1 && after.refused["key"] >= 1, "{after:?}");
    let refused = alpha.told("record.refused");
    assert!(refused.iter().any(|row| row.field("reason") == "hash"), "{refused:?}");
    let line = ground.type_in("-n alpha status").await.exits(0).out;
    assert!(line.contains("door     /ip4/127.0.0.1/") && line.contains("2 foreign records"), "{line}");

    // None of it came to the members, and a restart keeps it.
    assert_eq!((alpha.status().await.keys, door(&beta).await.records), (0, 0));
    alpha.terminate();
    // Its standard input stays open until then: a second reason to stop would mean "now".
    alpha.ended().await;
    alpha.start_again().await;
    agree(&[&alpha, &beta]).await;
    let again = door(&alpha).await;
    assert_eq!((again.peer, again.records), (after.peer, 2));
}

#[tokio::test]
async fn a_js_program_uses_the_open_door() {
    a_program_uses_the_door("js").await;
}

#[tokio::test]
async fn a_python_program_uses_the_open_door() {
    a_program_uses_the_door("py").await;
}

#[tokio::test]
async fn a_door_opens_with_the_overlay_and_not_before() {
    let ground = Ground::new();
    let alpha = ground.start_with("alpha", &FLAGS, &[]).await;
    assert_eq!(alpha.status().await.door, None);
    assert_eq!(alpha.told("door.waits").len(), 1);
    ground.type_in("-n alpha init home").await.exits(0);
    eventually("the door is open", async || {
        let status = alpha.client.status().await.map_err(|e| e.to_string())?;
        so(status.door.is_some_and(|door| door.addresses.len() == 2), || "it is not".into())
    })
    .await;
    assert_eq!(alpha.told("door.opened").len(), 1);
    let key = std::fs::metadata(alpha.data.join("door.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
}

#[tokio::test]
async fn a_door_that_cannot_open_is_told_and_nothing_is_left_running() {
    let ground = Ground::new();
    ground.found("alpha", "home").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let told = ground.chinwagd_ends("alpha", &["--listen", "127.0.0.1:0", "--open", &at]).await;
    told.exits(4).says("the open door cannot listen on").says("--open IP:PORT");
    ground.chinwagd_ends("alpha", &["--open", "7172"]).await.exits(2).says("expected IP, IP:PORT");
}

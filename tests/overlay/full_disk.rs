//! A disk that is full, and then not.

use crate::harness::{Ground, agree, eventually, register, set, so};
use chinwag_api::{Kind, MemberState};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk of its own. It is unmounted when this ends.
pub(crate) struct Disk(PathBuf);

impl Disk {
    pub(crate) fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Disk(at.to_owned())),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                eprintln!("SKIPPED: no tmpfs can be mounted here: {why}");
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: no tmpfs can be mounted here: {error}");
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, because a daemon of a failed test may still have it open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_loses_none_and_takes_them_again_when_there_is_room() {
    let ground = Ground::new();
    let Some(_disk) = Disk::mount(&ground.data("beta"), "12m") else { return };
    let filler = ground.data("beta").join("filler");
    let [alpha, mut beta] = ground.overlay(["alpha", "beta"]).await;
    std::fs::write(&filler, vec![0; 6 * 1024 * 1024]).unwrap();

    // Until it is full.
    let value = "v".repeat(30_000);
    let mut acknowledged = Vec::new();
    let refusal = loop {
        let key = format!("k{}", acknowledged.len());
        match beta.write(vec![set(&key, &value)]).await {
            Ok(_) => acknowledged.push(key),
            Err(failure) => break failure,
        }
        assert!(acknowledged.len() < 1_000, "the disk is never full");
    };
    eprintln!("{} writes fitted; then: {refusal}", acknowledged.len());
    assert_eq!(refusal.kind, Kind::Storage);
    assert!(!acknowledged.is_empty() && !refusal.tries.is_empty() && refusal.message.len() > 10, "{refusal}");

    // Whoever tries is told, it answers, and it is alive for everyone.
    let told = ground.cli(["-n", "beta", "set", "more", &value]).await.exits(4);
    told.says("try: make room on the disk");
    let status = beta.status().await;
    assert!(!status.healthy && status.problems[0].kind == "storage", "{status:?}");
    let told = ground.type_in("-n beta status").await.exits(0);
    assert!(told.out.contains("not healthy") && told.out.contains("writes are refused"), "{told:?}");
    for n in 0..5 {
        alpha.write(vec![set(format!("a{n}"), &value)]).await.unwrap();
        let refused = beta.write(vec![set("more", &value)]).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Storage, "{refused}");
        assert_eq!(beta.get(&acknowledged[0]).await, Ok(register(&value)), "it reads");
        assert_eq!(alpha.sees("beta").await.map(|m| m.state), Some(MemberState::Alive));
    }
    assert_eq!((alpha.accused(), beta.accused()), (vec![], vec![]));

    // With room it goes on by itself, and takes what it could not take from alpha.
    std::fs::remove_file(&filler).unwrap();
    eventually("beta takes writes again", async || {
        let written = beta.write(vec![set("more", &value)]).await;
        written.map(|_| ()).map_err(|failure| failure.to_string())
    })
    .await;
    acknowledged.push("more".to_owned());
    agree(&[&alpha, &beta]).await;
    eventually("beta is healthy", async || {
        let status = beta.status().await;
        so(status.healthy, || format!("{:?}", status.problems))
    })
    .await;

    beta.kill_9();
    beta.start_again().await;
    for key in &acknowledged {
        assert_eq!(beta.get(key).await, Ok(register(&value)), "{key}");
    }
    agree(&[&alpha, &beta]).await;
    for key in &acknowledged {
        assert_eq!(alpha.get(key).await, Ok(register(&value)), "{key}");
    }
    drop(beta);
}

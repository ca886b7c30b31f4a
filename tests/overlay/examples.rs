//! The examples do what they say.

use crate::harness::{Ground, PATIENCE};
use std::path::Path;
use std::process::Stdio;

/// The smoke test that a reader of the README runs.
#[tokio::test]
async fn lab_checks_itself() {
    let ground = Ground::new();
    let told = ground.type_in("lab 3 --check").await;
    eprintln!("{}", told.out);
    told.exits(0);
}

#[tokio::test]
async fn embed_runs_two_members_in_one_program() {
    // Beside the binaries; cargo builds examples for a whole `cargo test`, not for `--test overlay`.
    let program = Path::new(env!("CARGO_BIN_EXE_chinwag")).with_file_name("examples").join("embed");
    if !program.exists() {
        eprintln!("SKIPPED: {} is not built", program.display());
        return;
    }
    let mut embed = tokio::process::Command::new(&program);
    embed.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, embed.output()).await.expect("it ends").unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{out}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("greeting is on 2 of 2 members after "), "{out}");
    assert_eq!(lines[1..], ["bob reads \"hello\"", "ada counts 2 visits"]);
}

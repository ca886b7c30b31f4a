//! The examples do what they say.

use crate::harness::Ground;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// How long an example may take.
const RUNS_WITHIN: Duration = Duration::from_secs(60);

/// The smoke test that a reader of the README runs.
#[tokio::test]
async fn lab_checks_itself() {
    let ground = Ground::new();
    let told = ground.type_in("lab 3 --check").await;
    eprintln!("{}", told.out);
    told.exits(0);
}

/// Runs an example to its end and gives what it printed; `None` where it is not built.
async fn run(name: &str, args: &[&str]) -> Option<Vec<String>> {
    // Beside the binaries; cargo builds examples for a whole `cargo test`, not for `--test overlay`.
    let program = Path::new(env!("CARGO_BIN_EXE_chinwag")).with_file_name("examples").join(name);
    if !program.exists() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is not built", program.display());
        eprintln!("SKIPPED: {} is not built", program.display());
        return None;
    }
    let mut example = tokio::process::Command::new(&program);
    example.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(RUNS_WITHIN, example.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{name} runs for longer than a minute")).unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}: {out}{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("{name}:\n{out}");
    Some(out.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn embed_runs_two_members_in_one_program() {
    let Some(lines) = run("embed", &[]).await else { return };
    assert!(lines[0].starts_with("greeting is on 2 of 2 members after "), "{lines:?}");
    assert_eq!(lines[1..], ["bob reads \"hello\"", "ada counts 2 visits"]);
}

#[tokio::test]
async fn chat_hears_both_who_speak_at_once() {
    let Some(mut lines) = run("chat", &["--demo"]).await else { return };
    // Of two who speak at once either may be heard first.
    lines[3..5].sort();
    assert_eq!(
        lines,
        [
            "ada: is anybody here?",
            "bob: I am",
            "(both speak at once)",
            "ada: lunch?",
            "bob: lunch?",
            "ada and bob hold the same room: true"
        ]
    );
}

#[tokio::test]
async fn presence_ends_with_the_process() {
    let Some(lines) = run("presence", &[]).await else { return };
    let shown: Vec<&str> = lines.iter().map(String::as_str).filter(|l| !l.starts_with("(")).collect();
    assert_eq!(
        shown,
        [
            "cleo finds:",
            "  ada offers web :8080",
            "  bob offers db :5432",
            "  cleo offers mail :25",
            "bob crashes, without a word",
            "  ada offers web :8080",
            "  cleo offers mail :25",
            "cleo leaves",
            "  ada offers web :8080"
        ]
    );
    assert_eq!(lines.len(), shown.len() + 2, "{lines:?}");
}

#[tokio::test]
async fn a_file_is_shared_by_its_hash() {
    let Some(lines) = run("file", &[]).await else { return };
    assert_eq!(
        lines,
        [
            "ada adds 1000000 bytes as 4 blobs and 1 that lists them",
            // The same bytes have the same name at every run, and everywhere.
            "its name is ed9c85b137ab63366eab07b22bdb7524a5767b6389f527c3ed0f41c879084584",
            "ada leaves",
            "bob reads 1000000 bytes by that name, and they are ada's: true",
            "cleo adds the same bytes, and the name is the same: true",
            "one byte more, and the name is the same: false"
        ]
    );
}

#[tokio::test]
async fn counter_counts_exactly_through_a_partition() {
    let Some(lines) = run("counter", &[]).await else { return };
    assert_eq!(
        lines[..4],
        [
            "together: 20 increments, and both count 20",
            "bob is away: ada acknowledges 300, and counts 320",
            "ada is away: bob acknowledges 200, and counts 220",
            "they meet: both count 520"
        ]
    );
}

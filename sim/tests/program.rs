//! The program as a process: what it prints, and how it ends.

#![allow(clippy::unwrap_used, reason = "this is all test")]

use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chinwag-sim");

/// Two processes, one seed, one object each: only the time that it took may differ.
#[test]
fn a_seed_is_one_run_in_every_process() {
    let run = || {
        let out = Command::new(PROGRAM).args(["--seed", "7", "--json"]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let mut json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        for name in ["seed", "trace_hash", "events", "failed", "converged_ms", "exercised", "checked"] {
            assert!(json.get(name).is_some(), "{name} is missing in {json}");
        }
        assert!(json["failed"].as_array().unwrap().is_empty());
        json["took_ms"] = serde_json::Value::Null;
        json
    };
    assert_eq!(run(), run());
}

/// Exit status and object of several seeds, and what is told of nonsense.
#[test]
fn what_makes_no_sense_is_refused() {
    for (args, why) in [
        (vec!["--nodes", "0"], "0 is not in 1..=10000"),
        (vec!["--duration", "0s"], "too short"),
        (vec!["--seeds", "0"], "no seeds"),
        (vec!["--loss", "200%"], "not a share"),
        (vec!["--scenario", "/nowhere.toml"], "/nowhere.toml"),
        (vec!["--script", "/nowhere.txt"], "/nowhere.txt"),
    ] {
        let out = Command::new(PROGRAM).args(&args).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(told.contains(why), "{args:?}: {told}");
    }
}

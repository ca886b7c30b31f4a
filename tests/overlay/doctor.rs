//! `chinwag doctor`: it is silent about what is well, and finds what is made to be wrong.

use crate::full_disk::Disk;
use crate::harness::{Ground, Told, eventually, so};
use chinwag_api::{Doctor, Finding, Verdict};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

const LOOPBACK: &str = "127.0.0.1:0";

/// The report of a run with `--json`, whose exit code must say the same.
#[track_caller]
fn report(told: Told) -> Doctor {
    let report: Doctor = serde_json::from_value(told.json()).unwrap();
    assert!(told.out.starts_with(r#"{"schema":"chinwag.doctor/1","#), "{}", told.out);
    told.exits(if report.healthy { 0 } else { 1 });
    for finding in &report.findings {
        assert!(!finding.verdict.needs_action() || !finding.tries.is_empty(), "nothing to try: {finding:?}");
    }
    report
}

#[track_caller]
fn of<'a>(report: &'a Doctor, check: &str) -> &'a Finding {
    report.findings.iter().find(|f| f.check == check).unwrap_or_else(|| panic!("no {check} in {report:#?}"))
}

/// What has to be done, without what depends on how busy and how full this machine is.
fn to_do(report: &Doctor) -> Vec<&Finding> {
    let ours = |finding: &&Finding| !["disk", "space", "files"].contains(&finding.check.as_str());
    report.findings.iter().filter(|finding| finding.verdict.needs_action()).filter(ours).collect()
}

#[tokio::test]
async fn a_healthy_daemon_has_nothing_to_do() {
    let ground = Ground::new();
    let [_alpha, beta] = ground.overlay(["alpha", "beta"]).await;
    let found = eventually("the two are connected", async || {
        let found = report(ground.type_in("-n alpha doctor --json").await);
        so(of(&found, "members").verdict == Verdict::Good, || format!("{found:#?}"))?;
        Ok(found)
    })
    .await;
    assert_eq!(to_do(&found), Vec::<&Finding>::new());
    assert_eq!(
        (found.name.as_deref(), found.data),
        (Some("alpha"), ground.data("alpha").canonicalize().unwrap())
    );
    let found = report(ground.type_in("-n alpha doctor --json").await);
    for check in ["runtime", "daemon", "version", "data", "store", "key", "grant", "root", "listen", "clock"]
    {
        assert_eq!(of(&found, check).verdict, Verdict::Good, "{:?}", of(&found, check));
    }
    assert!(of(&found, "udp").message.contains("gets through to beta"), "{:?}", of(&found, "udp"));
    assert!(of(&found, "clock").message.contains("of beta"), "{:?}", of(&found, "clock"));
    assert_eq!(of(&found, "multicast").verdict, Verdict::Unknown, "loopback is silent");

    // The same for people: a sign, the check, and what was found, in columns.
    let told = ground.type_in("-n alpha doctor").await;
    let rows: Vec<&str> = told.out.lines().filter(|line| !line.trim_start().starts_with("try: ")).collect();
    assert!(rows.len() >= 15, "{told:#?}");
    for row in &rows {
        let mut chars = row.chars();
        assert!("✓–!✗".contains(chars.next().unwrap()) && chars.next() == Some(' '), "{row}");
        let gap: String = row.chars().skip(11).take(2).collect();
        assert_eq!(gap, "  ", "{row}");
    }

    // A daemon that stands still is told of, and its home is examined all the same.
    beta.pause();
    let found = report(ground.type_in("-n beta doctor --json").await);
    beta.resume();
    let still = found.findings.iter().find(|f| f.check == "daemon" && f.verdict == Verdict::Bad).unwrap();
    assert!(still.message.contains("beta") && still.message.contains("does not answer"), "{still:?}");
    assert_eq!(of(&found, "key").verdict, Verdict::Good);
}

#[tokio::test]
async fn without_a_daemon_it_examines_what_there_is() {
    let ground = Ground::new();
    let found = report(ground.type_in("doctor --json").await);
    assert!(found.healthy && found.name.is_none(), "{found:#?}");
    assert_eq!(of(&found, "daemon").verdict, Verdict::Unknown);

    ground.found("alpha", "home").await;
    let data = ground.data("alpha");
    let doctor = ["doctor", "--json", "--data", data.to_str().unwrap()];
    let found = report(ground.cli(doctor).await);
    assert_eq!(to_do(&found), Vec::<&Finding>::new());
    assert!(of(&found, "grant").message.contains("admin of home"), "{found:#?}");

    // A key that others can read, without and with a daemon.
    let key = data.join("identity.key");
    let chmod = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    chmod(0o644);
    let told = ground.cli(["doctor", "--data", data.to_str().unwrap()]).await.exits(1);
    assert!(told.out.contains("✗ key ") && told.out.contains("(mode 644)"), "{told:#?}");
    assert!(told.out.contains(&format!("try: chmod 600 {}", key.display())), "{told:#?}");
    chmod(0o600);
    let _alpha = ground.start("alpha").await;
    chmod(0o644);
    let found = report(ground.type_in("doctor --json").await);
    assert_eq!(of(&found, "key").verdict, Verdict::Bad);
    assert_eq!(found.name.as_deref(), Some("alpha"));
}

#[tokio::test]
async fn a_runtime_directory_that_is_open_to_others_is_a_finding_and_no_failure() {
    let ground = Ground::new();
    ground.found("alpha", "home").await;
    std::fs::set_permissions(ground.runtime(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let data = ground.data("alpha");
    let found = report(ground.cli(["doctor", "--json", "--data", data.to_str().unwrap()]).await);
    assert_eq!(of(&found, "runtime").verdict, Verdict::Bad);
    assert_eq!(of(&found, "runtime").tries, [format!("chmod 700 {}", ground.runtime().display())]);
    assert_eq!(of(&found, "key").verdict, Verdict::Good, "it goes on");
}

#[tokio::test]
async fn a_full_and_a_read_only_disk_are_found() {
    let ground = Ground::new();
    let data = ground.data("alpha");
    let Some(_disk) = Disk::mount(&data, "8m") else { return };
    ground.found("alpha", "home").await;
    let doctor = ["doctor", "--json", "--data", data.to_str().unwrap()];
    std::fs::write(data.join("filler"), vec![0; 8 * 1024 * 1024]).unwrap_err();
    let found = report(ground.cli(doctor).await);
    assert_eq!(of(&found, "space").verdict, Verdict::Bad, "{found:#?}");
    assert_eq!(of(&found, "disk").verdict, Verdict::Bad, "{found:#?}");
    std::fs::remove_file(data.join("filler")).unwrap();
    assert_eq!(of(&report(ground.cli(doctor).await), "disk").verdict, Verdict::Good);

    let remount = |how| std::process::Command::new("mount").args(["-o", how]).arg(&data).status().unwrap();
    assert!(remount("remount,ro").success());
    let found = report(ground.cli(doctor).await);
    assert!(remount("remount,rw").success());
    assert!(of(&found, "disk").message.contains("cannot be written: Read-only"), "{found:#?}");
    assert!(of(&found, "disk").tries[0].contains("mount it for writing"), "{found:#?}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found_from_both_sides() {
    let Some(library) = libfaketime() else {
        eprintln!("SKIPPED: there is no libfaketime here: apt-get install faketime");
        return;
    };
    let ground = Ground::new();
    ground.found("alpha", "home").await;
    let alpha = ground.start("alpha").await;
    let token = alpha.invite().await;
    // Its wall clock alone: monotonic time is what the protocols live by.
    let preload = format!("LD_PRELOAD={}", library.display());
    let program = ["/usr/bin/env", &preload, "FAKETIME=+2h", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    let beta = ground.start_under(&program, "beta", &["--listen", LOOPBACK], &["--join", &token]).await;
    for (who, says) in
        [("alpha", "beta's clock is 2 hours ahead of"), ("beta", "alpha's clock is 2 hours behind")]
    {
        eventually(&format!("{who} finds the other's clock"), async || {
            let found = report(ground.cli(["-n", who, "doctor", "--json"]).await);
            let clock = of(&found, "clock");
            so(clock.verdict == Verdict::Bad && clock.message.contains(says), || format!("{clock:?}"))
        })
        .await;
    }
    drop(beta);
}

/// The library itself, because the program `faketime` would stand between us and the daemon.
fn libfaketime() -> Option<PathBuf> {
    let folders =
        std::fs::read_dir("/usr/lib").ok()?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let all = folders.chain(["/usr/lib".into(), "/usr/local/lib".into()]);
    all.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.exists())
}

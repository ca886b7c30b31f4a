//! What an operator asks of the replicated state: is the store sound, who lacks what, where did a write go, and what of a
//! machine that will not return.

use crate::harness::{Ground, agree, eventually, set, so};
use crate::transcript::plays;
use chinwag_api::{ForgetRequest, Kind, MemberState, TracePath, Verdict};

#[tokio::test]
async fn a_lone_daemons_store_in_text() {
    let ground = Ground::new();
    let _alpha = ground.start("alpha").await;
    plays(
        &ground,
        r#"
        $ chinwag set greeting hello
        greeting = "hello" · on 1 of 1 member after [..]
        $ chinwag check
        ✓ rows [..] rows have the right checksums, and can be read
        ✓ log no row is missing: 1 up to position 1
        ✓ cells 1 cell with 1 key and 0 notes agree with the clock, the log and the digests
        ✓ live the daemon holds the same: digest [..]
        ✓ records 0 records of the DHT, 0 blobs among them
        ! Nothing needs to be done.
        $ chinwag --json check
        {"schema":"chinwag.check/1","name":"alpha","data":"[..]/alpha","healthy":true,"store":{"log_rows":1,"cell_rows":0,"checkpoint_rows":0,"member_rows":0,"invite_rows":0,"quarantined_rows":0,"damaged_rows":0,"cells":1,"keys":1,"notes":0,"unrepaired":0,"position":1,"digest":"[..]","clock_digest":"[..]"},"records":{"rows":0,"blobs":0,"blobs_read":false,"quarantined_rows":0,"damaged":0},"findings":[{"check":"rows","verdict":"good","message":"[..]","tries":[]},[..]]}
        $ chinwag compact
        the store [..]; [..]
        $ chinwag --json compact
        {"schema":"chinwag.compacted/1","before_bytes":[..],"after_bytes":[..],"log_entries":[..],"log_for":[]}
        $ chinwag trace greeting
        MEMBER AFTER HOW
        alpha [..] ms written
        $ chinwag --json trace greeting
        {"schema":"chinwag.trace/1","key":"greeting","dot":"12D3[..]:1","writer":"alpha","writer_id":"12D3KooW[..]","written_unix_ms":[..],"members":[{"name":"alpha","id":"12D3KooW[..]","path":"local","from":null,"from_id":null,"arrived_unix_ms":[..],"durable_unix_ms":[..]}]}
        $ chinwag trace nothing
        ! error: there is no trace of nothing
        !   no write to it is remembered: the last 4096 are, since this daemon started
        !   try: chinwag -n NAME trace nothing, of a daemon that has run for longer
        ? 1
        $ chinwag set ada --field city london
        ada[city] = "london" · on 1 of 1 member after [..]
        $ chinwag trace ada --field city
        MEMBER AFTER HOW
        alpha [..] ms written
        $ chinwag --json trace ada
        {"schema":"chinwag.trace/1","key":"ada[city]",[..]}
        $ chinwag diff alpha
        ! error: alpha is the daemon that answers
        !   try: chinwag diff NAME, of another member
        ? 2
        $ chinwag diff nobody
        ! error: no member is called nobody
        !   try: chinwag members
        ? 1
        $ chinwag forget alpha
        ! error: alpha is not forgotten
        !   a member cannot forget itself; it can leave
        !   try: chinwag leave
        ? 4
        $ chinwag forget nobody
        ! error: no member is called nobody
        !   try: chinwag members
        ? 1
        "#,
    )
    .await;
}

/// A store that has gone bad under a running daemon, and then under none.
#[tokio::test]
async fn damage_is_found_with_a_daemon_and_without_one() {
    let ground = Ground::new();
    let mut alpha = ground.start("alpha").await;
    for n in 0..50 {
        alpha.write(vec![set(format!("k{n}"), &format!("value number {n}"))]).await.unwrap();
    }
    assert!(alpha.client.check(&Default::default()).await.unwrap().healthy);
    let data = alpha.data.display().to_string();
    let by_data = ground.cli(["check", "--data", &data, "--json"]).await.exits(0).json();
    assert_eq!(by_data["name"], "alpha", "a directory says which daemon is meant");
    alpha.kill_9();

    let sound = ground.cli(["check", "--data", &data, "--json"]).await.exits(0).json();
    assert_eq!((&sound["name"], &sound["store"]["keys"]), (&serde_json::Value::Null, &50.into()));
    assert_eq!(sound["store"]["log_rows"], 50);
    let again = ground.cli(["check", "--data", &data, "--json"]).await.exits(0).json();
    assert_eq!(again, sound, "a look changes nothing");

    // One bit of a value that only the log has.
    let store = alpha.data.join("store.redb");
    let mut bytes = std::fs::read(&store).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - 16).filter(|at| bytes[*at..].starts_with(b"value number 17")).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| bytes[at + 14] ^= 1);
    std::fs::write(&store, bytes).unwrap();
    let told = ground.cli(["check", "--data", &data]).await.exits(1);
    assert!(
        told.out.contains("✗ rows") && told.out.contains("position 18 of the log: the checksum is wrong")
    );
    assert!(told.out.contains("try: chinwag leave && chinwag up -d"), "{told:?}");

    alpha.start_again().await;
    let after = alpha.client.check(&Default::default()).await.unwrap();
    assert!(after.healthy, "the start has set it aside: {after:?}");
    let counts = after.store.unwrap();
    assert_eq!((counts.keys, counts.quarantined_rows, counts.damaged_rows), (49, 1, 0));

    let none = ground.cli(["check", "--data", "/nowhere/at/all"]).await.exits(2);
    assert!(none.err.contains("there is no data directory /nowhere/at/all"), "{none:?}");
}

/// Under load the disk and the memory are compared at one commit, or they would never agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_in_the_middle_of_writes_is_of_one_commit() {
    let ground = Ground::new();
    let alpha = ground.start_with("alpha", &["--checkpoint-every", "64"], &[]).await;
    let (client, checker) = (alpha.client.clone(), alpha.client.clone());
    let writing = tokio::spawn(async move {
        for n in 0..600 {
            let ops = vec![set(format!("k{}", n % 40), &n.to_string()).into()];
            client.write(&chinwag_api::WriteRequest { ops, ..Default::default() }).await.unwrap();
        }
    });
    let (mut checks, mut positions) = (0, std::collections::BTreeSet::new());
    while !writing.is_finished() {
        let check = checker.check(&Default::default()).await.unwrap();
        assert!(check.healthy, "{check:#?}");
        positions.insert(check.store.unwrap().position);
        checks += 1;
        if checks % 4 == 0 {
            checker.compact().await.unwrap();
        }
    }
    writing.await.unwrap();
    assert!(checks > 3 && positions.len() > 2, "{checks} checks at {positions:?}");
    assert!(checker.check(&Default::default()).await.unwrap().healthy);
}

#[tokio::test]
async fn a_file_that_has_grown_gives_its_room_back() {
    let ground = Ground::new();
    let [alpha, mut beta] = ground.overlay(["alpha", "beta"]).await;
    let value = "v".repeat(32 * 1024);
    for n in 0..100 {
        alpha.write(vec![set(format!("k{n}"), &value)]).await.unwrap();
    }
    agree(&[&alpha, &beta]).await;
    alpha.client.compact().await.unwrap();
    for n in 0..100 {
        alpha.write(vec![crate::harness::del(format!("k{n}"))]).await.unwrap();
    }
    // Once it is known that beta has it all, nothing of that is needed any more.
    let compacted = eventually("room is given back", async || {
        let compacted = alpha.client.compact().await.unwrap();
        so(compacted.log_entries == 0 && compacted.after_bytes < 1 << 20, || format!("{compacted:?}"))?;
        Ok(compacted)
    })
    .await;
    assert!(compacted.log_for.is_empty());
    assert!(alpha.client.check(&Default::default()).await.unwrap().healthy);

    beta.kill_9();
    alpha.write(vec![set("more", "v")]).await.unwrap();
    let told = ground.cli(["-n", "alpha", "compact"]).await.exits(0);
    assert!(told.out.contains("1 write of its log are kept for beta"), "{told:?}");
}

#[tokio::test]
async fn a_write_is_traced_through_an_overlay_and_a_difference_is_named() {
    let ground = Ground::new();
    let [alpha, beta, gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    alpha.write_everywhere(vec![set("greeting", "hello")]).await;
    for daemon in [&alpha, &beta, &gamma] {
        let trace = daemon.client.trace("greeting", &[]).await.unwrap();
        let (first, rest) = trace.members.split_first().unwrap();
        assert_eq!(
            (first.name.as_str(), first.path, trace.writer.as_str()),
            ("alpha", TracePath::Local, "alpha")
        );
        assert_eq!(rest.len(), 2, "{trace:?}");
        for member in rest {
            assert!(matches!(member.path, TracePath::Pushed | TracePath::Synced), "{trace:?}");
            assert!(member.durable_unix_ms >= member.arrived_unix_ms && member.from.is_some());
        }
    }
    let told = ground.cli(["-n", "beta", "trace", "greeting"]).await.exits(0);
    assert!(told.out.contains("alpha") && told.out.contains("written") && told.out.contains("by alpha"));
    assert!(told.err.contains("Each time is by that member's own clock"), "{told:?}");

    eventually("alpha knows that gamma holds the same", async || {
        let diff = alpha.client.diff("gamma").await.unwrap();
        so(diff.in_step && diff.they_lack == 0, || format!("{diff:?}"))
    })
    .await;
    ground.cli(["-n", "alpha", "diff", "gamma"]).await.exits(0);
    // It stands still, and is connected for some seconds yet.
    gamma.pause();
    alpha.write(vec![set("a", "1"), set("b", "1")]).await.unwrap();
    alpha.write(vec![set("a", "2")]).await.unwrap();
    let diff = alpha.client.diff("gamma").await.unwrap();
    let keys: Vec<(&str, u64)> = diff.keys.iter().map(|key| (key.key.as_str(), key.writes)).collect();
    assert_eq!((diff.they_lack, keys, diff.beyond_log), (3, vec![("a", 2), ("b", 1)], 0));
    let told = ground.cli(["-n", "alpha", "diff", "gamma"]).await.exits(1);
    assert!(told.out.contains("gamma is not known to hold 3 writes"), "{told:?}");
    let told = ground.cli(["-n", "alpha", "trace", "a"]).await.exits(1);
    assert!(told.out.contains("gamma") && told.out.contains("does not answer"), "{told:?}");
    gamma.resume();
    agree(&[&alpha, &beta, &gamma]).await;
}

#[tokio::test]
async fn a_machine_that_will_not_return_is_forgotten_by_all() {
    let ground = Ground::new();
    let [alpha, beta, mut gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    gamma.write_everywhere(vec![set("by", "gamma")]).await;
    let forget = |member: &str| ForgetRequest { member: member.to_owned() };
    let refused = alpha.client.forget(&forget("gamma")).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Refused);
    assert!(refused.because[0].contains("only a member that is down or has left"), "{refused}");

    gamma.kill_9();
    alpha.comes_to_see("gamma", MemberState::Down).await;
    beta.comes_to_see("gamma", MemberState::Down).await;
    let diff = ground.cli(["-n", "alpha", "diff", "gamma"]).await.exits(4);
    assert!(diff.err.contains("gamma is down and not connected"), "{diff:?}");
    let refused = beta.client.forget(&forget("gamma")).await.unwrap_err();
    assert_eq!(refused.kind, Kind::NotAdmin);

    alpha.write(vec![set("while", "it is away")]).await.unwrap();
    let told = ground.cli(["-n", "alpha", "forget", "gamma"]).await.exits(0);
    assert_eq!(told.out, "✓ gamma is forgotten here, and the others are told\n");
    for daemon in [&alpha, &beta] {
        eventually("it is shown no more", async || {
            so(daemon.sees("gamma").await.is_none(), || format!("{} sees it", daemon.name))
        })
        .await;
        assert_eq!(daemon.told("member.forgotten")[0].field("by"), "alpha");
        // Nothing waits for it: the log is cut once the two of them agree.
        eventually("its history goes", async || {
            let compacted = daemon.client.compact().await.unwrap();
            so(compacted.log_entries == 0 && compacted.log_for.is_empty(), || format!("{compacted:?}"))
        })
        .await;
    }
    assert_eq!(beta.get("by").await, Ok(crate::harness::register("gamma")), "its writes stay");
    assert_eq!(alpha.client.forget(&forget("gamma")).await.unwrap_err().kind, Kind::NoSuchMember);

    gamma.start_again().await;
    agree(&[&alpha, &beta, &gamma]).await;
    let check = gamma.client.check(&Default::default()).await.unwrap();
    assert!(check.healthy && check.findings.iter().all(|f| f.verdict == Verdict::Good), "{check:#?}");
}

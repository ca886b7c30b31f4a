//! Three daemons that agree.

use crate::harness::{Ground, PATIENCE, add, agree, del, eventually, incr, register, rm, set, so};
use chinwag_api::{CellQuery, Content, Count, Kind, Wait, WriteRequest};
use std::time::Instant;

#[tokio::test]
async fn three_daemons_meet_by_invite_and_hold_one_state() {
    let ground = Ground::new();
    ground.type_in("init home --data alpha").await.exits(0);
    let alpha = ground.start("alpha").await;
    let told = ground.type_in("invite").await.exits(0);
    let token = told.out.trim().strip_prefix("chinwag join ").unwrap().to_owned();

    // One joins while it runs, the other joins at its start.
    let beta = ground.start("beta").await;
    let told = ground.cli(["-n", "beta", "join", &token]).await.exits(0);
    assert!(told.out.starts_with("✓ joined home through alpha (127.0.0.1) in "), "{told:?}");
    assert!(told.out.ends_with(" s: 2 members, 0 keys\n"), "{told:?}");
    let token = alpha.invite().await;
    let gamma = ground.start_with("gamma", &["--listen", "127.0.0.1:0"], &["--join", &token]).await;
    let all = [&alpha, &beta, &gamma];
    agree(&all).await;

    alpha.write_everywhere(vec![set("greeting", "hello"), set("gone", "soon")]).await;
    beta.write_everywhere(vec![incr("visits", 5), incr("visits", -2), del("gone")]).await;
    gamma.write_everywhere(vec![add("hosts", &["a", "b", "c"]), rm("hosts", &["b"])]).await;
    for daemon in all {
        assert_eq!(daemon.get("greeting").await, Ok(register("hello")), "{}", daemon.name);
        assert_eq!(daemon.get("visits").await, Ok(Content::Counter { count: Count(3) }));
        assert_eq!(daemon.get("hosts").await, Ok(Content::Set { elements: vec!["a".into(), "c".into()] }));
        assert_eq!(daemon.get("gone").await.unwrap_err().kind, Kind::NoSuchKey);
        assert_eq!(daemon.status().await.keys, 3);
        assert_eq!(daemon.accused(), [""; 0], "by {}", daemon.name);
    }
    agree(&all).await;
}

#[tokio::test]
async fn concurrent_writes_of_a_register_are_both_kept_until_one_has_seen_the_other() {
    let ground = Ground::new();
    let [alpha, beta, gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;

    // Whether two writes at the same time are concurrent is up to chance, so more than one try is allowed.
    let mut tries = 0;
    eventually("two writes are concurrent", async || {
        tries += 1;
        let key = format!("k{tries}");
        let (a, b) = tokio::join!(
            alpha.write(vec![set(&key, "from alpha")]), //
            beta.write(vec![set(&key, "from beta")])
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        let mut seen = Vec::new();
        for daemon in [&alpha, &beta, &gamma] {
            for token in [&a.token, &b.token] {
                let timeout_ms = Some(PATIENCE.as_millis() as u64);
                let query = CellQuery { siblings: true, after: Some(token.clone()), timeout_ms };
                seen.push(daemon.client.cell(&key, &query).await.unwrap().content);
            }
        }
        // What was read after both tokens is the same everywhere, siblings and winner.
        assert!(seen[1] == seen[3] && seen[3] == seen[5], "{seen:#?}");
        let Content::Register { value, siblings } = &seen[1] else { panic!("{seen:?}") };
        so(siblings.len() == 2, || format!("{siblings:?}"))?;
        assert!(siblings.iter().any(|sibling| sibling.value == *value), "the winner is one of them");
        let told = ground.cli(["-n", "gamma", "get", &key, "--siblings"]).await.exits(0);
        assert!(told.out.contains("\"from alpha\"") && told.out.contains("\"from beta\""), "{told:?}");
        Ok(())
    })
    .await;

    // A write that has seen both replaces both.
    let key = format!("k{tries}");
    gamma.write_everywhere(vec![set(&key, "settled")]).await;
    let query = CellQuery { siblings: true, ..CellQuery::default() };
    let Content::Register { value, siblings } = alpha.client.cell(&key, &query).await.unwrap().content else {
        panic!("a register");
    };
    assert_eq!((value, siblings.len()), ("settled".into(), 1));
    agree(&[&alpha, &beta, &gamma]).await;
}

#[tokio::test]
async fn a_write_waits_for_as_many_members_as_it_is_told() {
    let ground = Ground::new();
    let [alpha, beta, gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;

    let told = ground.type_in("-n alpha set k v --wait all").await.exits(0);
    assert!(told.out.starts_with("k = \"v\" · on 3 of 3 members after "), "{told:?}");
    let told = ground.type_in("-n beta incr n --wait majority --json").await.exits(0).json();
    assert_eq!((told["met"].as_bool(), told["of"].as_u64()), (Some(true), Some(3)), "{told}");
    assert!(told["holders"].as_u64() >= Some(2), "{told}");

    // More than there are: an honest no, and the write is done all the same.
    let told = ground.type_in("-n alpha set k w --wait 5 --timeout 0.3").await.exits(1);
    assert!(told.out.starts_with("k = \"w\" · on "), "{told:?}");
    told.says("the write is safe here, but 5 members did not confirm it in time")
        .says("try: chinwag members");
    assert_eq!(alpha.get("k").await, Ok(register("w")));

    // All that are alive, or a majority of all: one that does not run is told apart.
    drop(gamma);
    let write =
        |wait, ms| WriteRequest { ops: vec![set("k", "x").into()], wait: Some(wait), timeout_ms: Some(ms) };
    let reply = beta.client.write(&write(Wait::Majority, 30_000)).await.unwrap();
    assert!(reply.met && reply.holders >= 2 && reply.of == 3, "{reply:?}");
    let reply = beta.client.write(&write(Wait::Members(3), 300)).await.unwrap();
    assert!(!reply.met && reply.holders == 2, "{reply:?}");
}

#[tokio::test]
async fn a_newcomer_takes_over_everything_there_is() {
    let ground = Ground::new();
    let [alpha] = ground.overlay(["alpha"]).await;
    for batch in 0..5 {
        let ops = (0..1_000).map(|n| set(format!("{batch}/{n}"), &format!("value {n}"))).collect();
        alpha.write(ops).await.unwrap();
    }
    // Values of the largest size there is, and a set as large as people make them.
    let large = "x".repeat(64 * 1024);
    alpha.write((0..40).map(|n| set(format!("large/{n}"), &large)).collect()).await.unwrap();
    let elements: Vec<String> = (0..1_000).map(|n| format!("element {n}")).collect();
    alpha.write(vec![add("s", &elements.iter().map(String::as_str).collect::<Vec<_>>())]).await.unwrap();

    let token = alpha.invite().await;
    let begun = Instant::now();
    let beta = ground.start_with("beta", &["--listen", "127.0.0.1:0"], &["--join", &token]).await;
    agree(&[&alpha, &beta]).await;
    eprintln!("the newcomer had 5,041 keys {:?} after its start", begun.elapsed());
    assert_eq!(beta.status().await.keys, 5_041);
    assert_eq!(beta.get("large/39").await, Ok(register(&large)));
    let Ok(Content::Set { elements }) = beta.get("s").await else { panic!("a set") };
    assert_eq!(elements.len(), 1_000);
    assert_eq!((alpha.accused(), beta.accused()), (vec![], vec![]));
}

#[tokio::test]
async fn a_read_follows_a_write_that_was_made_elsewhere() {
    let ground = Ground::new();
    let [_alpha, beta] = ground.overlay(["alpha", "beta"]).await;
    for n in 0..10 {
        let value = format!("v{n}");
        let told = ground.cli(["-n", "alpha", "set", "k", &value, "--json"]).await.exits(0).json();
        let token = told["token"].as_str().unwrap();
        let told = ground.cli(["-n", "beta", "get", "k", "--after", token]).await.exits(0);
        assert_eq!(told.out, value + "\n");
    }

    // One that never arrives is waited for in vain, and nonsense is not waited for.
    let lonely = Ground::new();
    let lone = lonely.start("lone").await;
    let token = lone.write(vec![set("k", "v")]).await.unwrap().token.0;
    let told = ground.cli(["-n", "beta", "get", "k", "--after", &token, "--timeout", "0.2"]).await;
    told.exits(5).says("has not arrived");
    ground.type_in("-n beta get k --after zz").await.exits(2).says("not a token");
    drop(beta);
}

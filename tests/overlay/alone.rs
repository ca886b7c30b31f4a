//! A daemon without an overlay.

use crate::harness::{Ground, add, agree, incr, register, set};
use chinwag_api::{CellQuery, Content, Count};

#[tokio::test]
async fn a_lone_daemon_keeps_its_keys_and_listens_to_nobody() {
    let ground = Ground::new();
    let mut solo = ground.start("solo").await;
    solo.write(vec![set("k", "v"), incr("n", 3), add("s", &["e"])]).await.unwrap();
    let digest = solo.status().await.digest;
    for _ in 0..2 {
        solo.kill_9();
        solo.start_again().await;
        let status = solo.status().await;
        assert_eq!((status.keys, status.digest), (3, digest));
        assert_eq!((status.overlay, status.addresses), (None, vec![]));
        assert_eq!(solo.get("k").await, Ok(register("v")));
    }
    // All there are is one.
    let told = ground.type_in("set k w --wait all").await.exits(0);
    assert!(told.out.starts_with("k = \"w\" · on 1 of 1 member after "), "{told:?}");
}

#[tokio::test]
async fn keys_of_ones_own_are_not_mixed_unless_somebody_says_so() {
    let ground = Ground::new();
    let [alpha] = ground.overlay(["alpha"]).await;
    alpha.write(vec![set("k", "alpha's"), incr("n", 1)]).await.unwrap();
    let solo = ground.start("solo").await;
    solo.write(vec![set("k", "solo's"), incr("n", 2), set("mine", "v")]).await.unwrap();
    let token = alpha.invite().await;

    let told = ground.cli(["-n", "solo", "join", &token]).await.exits(4);
    told.says("this daemon holds 3 keys of its own").says("try: --merge, to bring them along");
    assert_eq!(solo.status().await.overlay, None, "nothing has happened");

    // The refusal has not used the invite up.
    let told = ground.cli(["-n", "solo", "join", "--merge", &token]).await.exits(0);
    assert!(told.out.starts_with("✓ joined home through alpha"), "{told:?}");
    agree(&[&alpha, &solo]).await;
    for daemon in [&alpha, &solo] {
        assert_eq!(daemon.get("mine").await, Ok(register("v")), "{}", daemon.name);
        assert_eq!(daemon.get("n").await, Ok(Content::Counter { count: Count(3) }));
        // Neither had seen the other: both are there, and one is shown.
        let query = CellQuery { siblings: true, ..CellQuery::default() };
        let Content::Register { siblings, .. } = daemon.client.cell("k", &query).await.unwrap().content
        else {
            panic!("a register");
        };
        let mut values: Vec<_> = siblings.iter().filter_map(|s| s.value.as_text()).collect();
        values.sort_unstable();
        assert_eq!(values, ["alpha's", "solo's"]);
    }
    assert_eq!(alpha.get("k").await, solo.get("k").await, "the same one");
}

/// As in a container, where the environment names the directory of the daemon that runs.
#[tokio::test]
async fn a_named_directory_means_the_daemon_that_runs_there() {
    let ground = Ground::new();
    let [alpha] = ground.overlay(["alpha"]).await;
    let solo = ground.start("solo").await;
    let data = solo.status().await.data.display().to_string();
    ground.cli(["init", "other", "--data", &data]).await.exits(0);
    let overlay = solo.status().await.overlay.expect("the running daemon has made it");
    assert_eq!(overlay.name.as_str(), "other");

    let late = ground.start("late").await;
    let data = late.status().await.data.display().to_string();
    ground.cli(["join", "--data", &data, &alpha.invite().await]).await.exits(0);
    agree(&[&alpha, &late]).await;
}

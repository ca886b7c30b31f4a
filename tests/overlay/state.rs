//! The replicated state as a client sees it: writes that belong together, conditions, tokens, export and import.

use crate::harness::{Ground, add, incr, set};
use crate::transcript::plays;
use chinwag_api::{Condition, ConditionalOp, Kind, WriteRequest};

fn file(ground: &Ground, name: &str, text: &str) {
    std::fs::write(ground.path().join(name), text).unwrap();
}

#[tokio::test]
async fn a_batch_is_written_whole_or_not_at_all() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    alpha.write(vec![set("title", "draft"), incr("n", 1)]).await.unwrap();
    let good = r#"
        {"op":"set","key":"title","value":"final"}
        {"op":"add","key":"tags","elements":["red","green"]}
        {"op":"rm","key":"tags","elements":["red"]}
        {"op":"incr","key":"n","by":4}
    "#;
    file(&ground, "good", good);
    file(
        &ground,
        "bad",
        &format!(
            "{good}\n{{\"op\":\"add\",\"key\":\"tags\",\"elements\":[\"a\",\"b\"]}}\n{{\"op\":\"incr\",\"key\":\"title\",\"by\":1}}\n"
        ),
    );
    file(&ground, "gone", "{\"op\":\"incr\",\"key\":\"m\",\"by\":1}\n{\"op\":\"del\",\"key\":\"tilte\"}\n");
    plays(
        &ground,
        r#"
        $ chinwag batch bad
        ! error: line 8: `title` is a register, not a counter
        !   nothing of the batch is written
        ? 4
        $ chinwag batch gone
        ! error: line 2: no such key: tilte
        !   nothing of the batch is written
        !   try: chinwag del title
        ? 1
        $ chinwag keys
        n
        title
        $ chinwag batch good
        title = "final"
        tags + "red" "green" · 2 added, 1 element
        tags - "red" · 1 removed, 1 element
        n = 5
        4 operations · on 1 of 1 member after [..]
        $ chinwag get tags
        green
        "#,
    )
    .await;
}

#[tokio::test]
async fn a_write_on_a_condition_is_done_only_if_it_holds() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    alpha.write(vec![incr("n", 7), add("s", &["a", "b"])]).await.unwrap();
    file(
        &ground,
        "both",
        "{\"op\":\"incr\",\"key\":\"n\",\"by\":1}\n{\"op\":\"del\",\"key\":\"lock\",\"if\":{\"value\":\"bob\"}}\n",
    );
    file(&ground, "none", "{\"op\":\"add\",\"key\":\"s\",\"elements\":[],\"if\":\"absent\"}\n");
    plays(
        &ground,
        r#"
        $ chinwag set lock ada --if absent
        lock = "ada" · on 1 of 1 member after [..]
        $ chinwag set lock bob --if absent
        ! error: the condition on lock does not hold
        !   it is "ada"
        !   its version is [..]
        !   try: chinwag get lock --siblings
        ? 6
        $ chinwag batch both
        ! error: line 2: the condition on lock does not hold
        !   it is "ada"
        !   its version is [..]
        !   nothing of the batch is written
        !   try: chinwag get lock --siblings
        ? 6
        $ chinwag get n
        7
        $ chinwag set n x --if absent
        ! error: the condition on n does not hold
        !   it is a counter at 7
        !   its version is [..]
        !   try: chinwag get n --siblings
        ? 6
        $ chinwag del s --if value=a
        ! error: the condition on s does not hold
        !   it is a set of 2 elements
        !   its version is [..]
        !   try: chinwag get s --siblings
        ? 6
        $ chinwag set nothing x --if value=y
        ! error: the condition on nothing does not hold
        !   nothing is there
        ? 6
        $ chinwag --json set lock bob --if absent
        ! {"schema":"chinwag.error/1","kind":"condition_failed","message":"the condition on lock does not hold","because":["it is \"ada\"","its version is [..]"],"try":["chinwag get lock --siblings"],"exit":6}
        ? 6
        $ chinwag set lock bob --if value=ada
        lock = "bob" · on 1 of 1 member after [..]
        $ chinwag batch none
        ! error: line 1: a condition needs an element to add or remove
        !   nothing of the batch is written
        ? 2
        "#,
    )
    .await;

    // A version is what a read has shown, and every write changes it.
    let version = async |key: &str| {
        let read = ground.cli(["get", key, "--json"]).await.exits(0).json();
        format!("version={}", read["version"].as_str().unwrap())
    };
    let (lock, set) = (version("lock").await, version("s").await);
    ground.cli(["set", "lock", "eve", "--if", &lock]).await.exits(0);
    ground.cli(["set", "lock", "ada", "--if", &lock]).await.exits(6).says("it is \"eve\"");
    alpha.write(vec![add("s", &["b"])]).await.unwrap();
    ground.cli(["del", "s", "--if", &set]).await.exits(6).says("a set of 2 elements");
    ground.cli(["del", "s", "--if", &version("s").await]).await.exits(0);
    ground.cli(["set", "k", "v", "--if", "version=9c1f"]).await.exits(2).says("32 hexadecimal digits");
}

/// Of many who try at once, one gets it, and each other is told so.
#[tokio::test]
async fn of_many_who_take_a_lock_at_once_one_has_it() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    let takers = (0..64).map(|n| {
        let client = alpha.client.clone();
        tokio::spawn(async move {
            let op = set("lock", &format!("taker {n}"));
            let ops = vec![ConditionalOp { op, condition: Some(Condition::Absent) }];
            client.write(&WriteRequest { ops, ..WriteRequest::default() }).await
        })
    });
    let mut taken = 0;
    for taker in takers.collect::<Vec<_>>() {
        match taker.await.unwrap() {
            Ok(_) => taken += 1,
            Err(failure) => assert_eq!(failure.kind, Kind::ConditionFailed, "{failure}"),
        }
    }
    assert_eq!(taken, 1);
}

//! The replicated state as a client sees it: writes that belong together, conditions, tokens, export and import.

use crate::harness::{Ground, incr, set};
use crate::transcript::plays;

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

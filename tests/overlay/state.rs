//! The replicated state as a client sees it: writes that belong together, conditions, tokens, export and import.

use crate::harness::{Ground, add, incr, register, rm, set};
use crate::transcript::plays;
use chinwag_api::client::Watch;
use chinwag_api::{
    CellQuery, Condition, KeysQuery, Kind, Operation, Position, Token, Watched, What, WriteOp, WriteRequest,
};
use std::io::{Read as _, Write as _};
use std::time::Duration;

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
            let ops = vec![Operation { condition: Some(Condition::Absent), ..op.into() }];
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

/// All that a daemon holds, as an export shows it, but for the versions: they name writes, and other writes made it.
async fn exported(ground: &Ground, line: &str) -> Vec<serde_json::Value> {
    let told = ground.type_in(line).await.exits(0);
    let mut lines: Vec<serde_json::Value> =
        told.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for line in &mut lines {
        assert!(line.as_object_mut().unwrap().remove("version").is_some(), "{line}");
    }
    lines
}

#[tokio::test]
async fn what_is_exported_and_imported_elsewhere_reads_the_same() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    let bytes = |key: &str, value: Vec<u8>| WriteOp::Set { key: key.into(), value: value.into() };
    let element =
        |key: &str, element: Vec<u8>| WriteOp::Add { key: key.into(), elements: vec![element.into()] };
    alpha
        .write(vec![
            set("empty", ""),
            set("text", "two\nlines \"quoted\" \u{1f600}"),
            bytes("binary", (0..=255).collect()),
            bytes("large", vec![b'\0'; 65_536]),
            bytes("large/binary", vec![0xff; 65_536]),
            set("größe/日本", "x"),
            set("a b?c*d%2F\"e\\", "x"),
            set("z".repeat(512), "long"),
            incr("zero", 0),
            incr("below", i64::MIN),
            incr("below", i64::MIN + 1),
            incr("above", i64::MAX),
            incr("above", i64::MAX),
            incr("above", 1),
            add("set", &["", "a", "\u{7f}", "\u{9b}31m", "\u{202e}", "\u{e0001}"]),
            element("set", vec![0xff, 0]),
            element("set", vec![b'e'; 4_096]),
            add("gone", &["a"]),
            rm("gone", &["a"]),
        ])
        .await
        .unwrap();
    // More elements than one batch has, and more bytes than one page.
    for n in 0..6u8 {
        let elements = (0..100u8).map(|m| [b'0' + n, m].repeat(1_000).into()).collect();
        alpha.write(vec![WriteOp::Add { key: "large/set".into(), elements }]).await.unwrap();
    }
    for n in 0..20 {
        let ops = (0..30).map(|m| set(format!("many/{n:02}/{m:02}"), &"v".repeat(300))).collect();
        alpha.write(ops).await.unwrap();
    }
    let all = exported(&ground, "export").await;
    let keys = alpha.client.keys(&KeysQuery::default()).await.unwrap();
    assert_eq!(all.len(), keys.keys.len(), "each key once: {}", all.len());
    assert!(keys.keys.iter().zip(&all).all(|(row, line)| row.key == line["key"]), "sorted");
    assert_eq!(exported(&ground, "export many/19/").await.len(), 30);
    assert_eq!(exported(&ground, "export none").await.len(), 0);

    let file = ground.path().join("all");
    std::fs::write(&file, ground.type_in("export").await.out).unwrap();
    let fresh = Ground::new();
    let beta = fresh.start("beta").await;
    let file = file.to_str().unwrap();
    let told = fresh.cli(["import", file, "--wait", "1"]).await.exits(0);
    assert!(told.out.starts_with(&format!("{} keys imported · on 1 of 1 member", all.len())), "{}", told.out);
    assert_eq!(exported(&fresh, "export").await, all);
    assert_eq!(beta.get("below").await, alpha.get("below").await);
    assert_eq!(beta.get("large/set").await, alpha.get("large/set").await);

    // Once more: it is there already.
    let again = fresh.cli(["import", file]).await.exits(6);
    again
        .says("line 1: ")
        .says("exists already")
        .says("nothing of lines 1 to ")
        .says("try: chinwag import --existing skip");
    beta.write(vec![
        set("text", "other"),
        WriteOp::Del { key: "zero".into(), kind: None },
        set("set/", "new"),
    ])
    .await
    .unwrap();
    let skip = fresh.cli(["import", file, "--existing", "skip", "--json"]).await.exits(0).json();
    assert_eq!((&skip["imported"], &skip["skipped"]), (&1.into(), &(all.len() - 1).into()), "{skip}");
    let changed = exported(&fresh, "export").await;
    assert_eq!(changed.iter().filter(|line| !all.contains(line)).count(), 2);
    beta.write(vec![WriteOp::Del { key: "zero".into(), kind: None }, add("zero", &["a set now"])])
        .await
        .unwrap();
    beta.write(vec![incr("below", 3), add("large/set", &["more"])]).await.unwrap();
    let overwrite = fresh.cli(["import", file, "--existing", "overwrite", "--json"]).await.exits(0).json();
    assert_eq!((&overwrite["imported"], &overwrite["overwritten"]), (&all.len().into(), &all.len().into()));
    let now = exported(&fresh, "export").await;
    assert_eq!(now.iter().filter(|line| !all.contains(line)).count(), 1, "what is not in the file stays");
    assert_eq!(now.len(), all.len() + 1);
}

#[tokio::test]
async fn a_line_about_a_field_leaves_what_is_beside_it() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    let of = |name: &str, op| Operation { field: vec![name.into()], ..Operation::from(op) };
    for op in [of("a", set("m", "1")), of("b", incr("m", 2)), of("raw", set("m", "x"))] {
        alpha.client.write(&WriteRequest { ops: vec![op], ..Default::default() }).await.unwrap();
    }
    alpha.write(vec![set("r", "a register")]).await.unwrap();
    let map = |fields: &str| format!(r#"{{"key":"m","field":["n"],"kind":"map","fields":{{{fields}}}}}"#);
    file(&ground, "map", &map(r#""x":{"kind":"flag","on":true},"off":{"kind":"flag","on":false}"#));
    file(&ground, "other", &map(r#""y":{"kind":"counter","count":3}"#));
    file(&ground, "value", r#"{"key":"m","field":["a"],"kind":"register","value":"2"}"#);
    file(&ground, "within", r#"{"key":"r","field":["a"],"kind":"register","value":"2"}"#);
    // Maps of which two are more than one write can delete.
    for n in 0..3 {
        let fields: Vec<String> =
            (0..600).map(|f| format!(r#""f{f}":{{"kind":"counter","count":{f}}}"#)).collect();
        let line = format!(r#"{{"key":"large{n}","kind":"map","fields":{{{}}}}}"#, fields.join(","));
        file(&ground, &format!("large{n}"), &line);
    }
    let small = |n| format!("{{\"key\":\"large{n}\",\"kind\":\"flag\",\"on\":true}}\n");
    file(&ground, "small", &(0..3).map(small).collect::<String>());
    plays(
        &ground,
        r#"
        $ chinwag import map
        1 key imported · on 1 of 1 member after [..]
        $ chinwag import value
        ! error: line 1: m[a] exists already
        !   it is "1"
        !   try: chinwag import --existing skip    or: chinwag import --existing overwrite
        ? 6
        $ chinwag import value --existing overwrite
        1 key imported (1 overwritten) · on 1 of 1 member after [..]
        $ chinwag import map --existing skip
        0 keys imported · 1 skipped
        $ chinwag import other --existing overwrite
        1 key imported (1 overwritten) · on 1 of 1 member after [..]
        $ chinwag get m
        FIELD  TYPE      VALUE
        a      register  "2"
        b      counter   2
        n / y  counter   3
        raw    register  "x"
        $ chinwag import within --existing overwrite
        ! error: line 1: `r` is a register, not a map
        ? 4
        $ chinwag get m --field b --raw
        ! error: m[b] is a counter, which has no raw bytes
        !   try: chinwag get m --field b
        ? 4
        $ chinwag import large0
        1 key imported · on 1 of 1 member after [..]
        $ chinwag import large1
        1 key imported · on 1 of 1 member after [..]
        $ chinwag import large2
        1 key imported · on 1 of 1 member after [..]
        $ chinwag import small --existing overwrite
        3 keys imported (3 overwritten) · on 1 of 1 member after [..]
        $ chinwag get large2
        on
        "#,
    )
    .await;
}

#[tokio::test]
async fn a_line_that_cannot_be_imported_is_told_and_its_batch_is_not_written() {
    let ground = Ground::new();
    let _alpha = ground.start("alpha").await;
    let good = r#"{"schema":"chinwag.cell/1","key":"a","kind":"register","value":"1"}"#;
    for (name, line) in [
        ("torn", r#"{"key":"b","kind":"register","val"#),
        ("foreign", r#"{"schema":"chinwag.keys/1","keys":[],"next":null}"#),
        ("kind", r#"{"key":"b","kind":"tree"}"#),
        ("key", r#"{"key":"","kind":"register","value":"1"}"#),
        ("base64", r#"{"key":"b","kind":"register","value_base64":"?"}"#),
        (
            "conflict",
            r#"{"key":"b","kind":"conflict","contents":[{"kind":"counter","count":1},{"kind":"set","elements":["x"]}]}"#,
        ),
        ("counter", r#"{"key":"b","kind":"counter","count":"18446744073709551616"}"#),
        ("twice", good),
    ] {
        file(&ground, name, &format!("{good}\n\n{line}\n"));
    }
    file(
        &ground,
        "long",
        &format!("{good}\n{{\"key\":\"b\",\"kind\":\"register\",\"value\":\"{}\"}}\n", "v".repeat(65_537)),
    );
    file(
        &ground,
        "element",
        &format!("{good}\n{{\"key\":\"b\",\"kind\":\"set\",\"elements\":[\"{}\"]}}\n", "v".repeat(4_097)),
    );
    file(&ground, "empty", "{\"key\":\"nothing\",\"kind\":\"set\",\"elements\":[]}\n");
    file(&ground, "set", "{\"key\":\"a\",\"kind\":\"set\",\"elements\":[\"x\"]}\n");
    plays(
        &ground,
        r#"
        $ chinwag import torn
        ! error: line 3: that is no line of an export
        !   EOF while parsing a string at line 1 column 33
        ? 2
        $ chinwag import foreign
        ! error: line 3: that is no line of an export
        !   it is chinwag.keys/1, and chinwag.cell/1 was expected
        ? 2
        $ chinwag import kind
        ! error: line 3: that is no line of an export
        !   unknown variant [..]
        ? 2
        $ chinwag import base64
        ! error: line 3: that is no line of an export
        !   [..]
        ? 2
        $ chinwag import key
        ! error: line 3: a key needs at least one character
        !   nothing of lines 1 to 3 is written
        ? 2
        $ chinwag import conflict
        ! error: line 3: b is in conflict
        !   it was written concurrently as a counter and a set; leave one of them in the line
        ? 4
        $ chinwag import counter
        ! error: line 3: b is too large: 18446744073709551616
        !   what one daemon adds to a counter is below 2^64; several have added to this one
        ? 4
        $ chinwag import long
        ! error: line 2: a value has at most 65536 bytes, this one has 65537
        !   nothing of lines 1 to 2 is written
        ? 4
        $ chinwag import element
        ! error: line 2: an element of a set has at most 4096 bytes, this one for `b` has 4097
        !   nothing of lines 1 to 2 is written
        ? 4
        $ chinwag import nowhere
        ! error: cannot read nowhere
        !   [..]
        ? 2
        $ chinwag keys
        $ chinwag import empty
        0 keys imported
        $ chinwag import twice
        ! error: line 3: a exists already
        !   it is "1"
        !   1 key before it is written
        !   try: chinwag import --existing skip    or: chinwag import --existing overwrite
        ? 6
        $ chinwag import set
        ! error: line 1: a exists already
        !   it is "1"
        !   try: chinwag import --existing skip    or: chinwag import --existing overwrite
        ? 6
        $ chinwag import set --existing overwrite
        1 key imported (1 overwritten) · on 1 of 1 member after [..]
        $ chinwag export
        {"schema":"chinwag.cell/1","key":"a","kind":"set","elements":["x"],"version":"[..]"}
        ! 1 key exported
        "#,
    )
    .await;
}

/// What one daemon has just written, another shows to whoever has the token: at once, many times, and by every read.
#[tokio::test]
async fn a_session_reads_its_own_writes_through_any_daemon() {
    let ground = Ground::new();
    let daemons = ground.overlay(["alpha", "beta", "gamma"]).await;
    let mut tokens: Vec<String> = Vec::new();
    for n in 0..60 {
        let (here, there) = (&daemons[n % 3], &daemons[(n + 1) % 3]);
        let (key, value) = (format!("session/{n:02}"), n.to_string());
        let token = here.write(vec![set(&key, &value)]).await.unwrap().token;
        let query = CellQuery { after: Some(token.clone()), ..CellQuery::default() };
        assert_eq!(there.client.cell(&key, &query).await.unwrap().content, register(&value));
        tokens.push(token.0);
    }
    // All of them at once, by the other reads.
    let after_write = Some(Token(tokens.join(",")));
    let query = KeysQuery { after_write: after_write.clone(), ..KeysQuery::default() };
    assert_eq!(daemons[1].client.keys(&query).await.unwrap().keys.len(), 60);
    let token = daemons[0].write(vec![set("session/last", "x")]).await.unwrap().token.0;
    let told =
        ground.type_in(&format!("-n gamma keys session/l* --after {token} --after {}", tokens[7])).await;
    assert_eq!(told.exits(0).out, "session/last\n");
    let told = ground.type_in(&format!("-n gamma export session/last --after {token}")).await.exits(0);
    assert!(told.out.contains(r#""value":"x""#), "{told:?}");
}

#[tokio::test]
async fn a_token_that_is_none_or_that_nobody_brings_is_told() {
    let ground = Ground::new();
    let [alpha, beta] = ground.overlay(["alpha", "beta"]).await;
    let token = alpha.write_everywhere(vec![set("a", "1")]).await.token.0;
    for bad in ["hello", "", "00ff", &token[..token.len() - 2], &format!("{token}00"), &format!("{token},x")]
    {
        for line in [["get", "a"], ["keys", "a"], ["export", "a"]] {
            let told = ground.cli(["-n", "alpha", line[0], line[1], "--after", bad]).await.exits(2);
            told.says("that is not a token of a write");
        }
    }
    ground.type_in("-n alpha get a --timeout 1").await.exits(2).says("--after");
    // A write that is made, but of another overlay.
    let stranger = Ground::new();
    let gamma = stranger.start("gamma").await;
    let foreign = gamma.write(vec![set("a", "1")]).await.unwrap().token.0;
    let told = ground.type_in(&format!("-n beta get a --after {foreign} --timeout 0.3")).await.exits(5);
    told.says("the write that this read should follow has not arrived within 300 ms")
        .says("nothing is here of what 12D3")
        .says("try: chinwag members");
    // Of several the one that is lacking is named; what is here already is no matter.
    let told = ground.type_in(&format!("-n beta keys --after {token},{foreign} --timeout 0")).await.exits(5);
    assert_eq!(told.err.matches("nothing is here").count(), 1, "{}", told.err);
    // The next write of alpha, which is not made yet. Its counter is the last but one and the last byte of the token.
    let (head, number) = token.split_at(token.len() - 4);
    assert_eq!(number, "0101", "the first write of this process life");
    let next = format!("{head}0202");
    let told = ground.type_in(&format!("-n beta get a --after {next} --timeout 0.1")).await.exits(5);
    told.says("it is write 2 of alpha since it last started; those up to 1 are here");
    let waits = ground.cli(["-n", "beta", "get", "b", "--after", &next, "--timeout", "30"]);
    let (told, ()) = tokio::join!(waits, async {
        alpha.write(vec![set("b", "now")]).await.unwrap();
    });
    assert_eq!(told.exits(0).out, "now\n");
    drop(beta);
}

/// What a watcher shows within a moment of quiet.
async fn told(watch: &mut Watch) -> Vec<Watched> {
    let mut all = Vec::new();
    while let Ok(told) = tokio::time::timeout(Duration::from_millis(300), watch.next()).await {
        all.push(told.unwrap());
    }
    all
}

/// The values that changes of `told` have set, and its last position.
fn changes(told: &[Watched]) -> (Vec<String>, Option<Position>) {
    let mut position = None;
    let mut values = Vec::new();
    for told in told {
        match told {
            Watched::Ready(ready) => position = ready.position.clone(),
            Watched::Change(change) => {
                position = change.position.clone();
                let What::Set { value } = &change.what else { panic!("{change:?}") };
                values.push(value.as_text().unwrap().to_owned());
            }
            other => panic!("{other:?}"),
        }
    }
    (values, position)
}

#[tokio::test]
async fn a_watch_goes_on_without_a_gap_or_says_that_there_is_one() {
    let ground = Ground::new();
    let mut alpha = ground.start("alpha").await;
    let mut watch = alpha.client.watch(Some("w/*")).await.unwrap();
    alpha.write(vec![set("w/1", "a"), set("other", "x"), set("w/2", "b")]).await.unwrap();
    let (values, position) = changes(&told(&mut watch).await);
    assert_eq!(values, ["a", "b"]);
    drop(watch);
    // Nobody watches meanwhile.
    for n in 0..50 {
        alpha.write(vec![set("w/1", &n.to_string()), set("other", "y")]).await.unwrap();
    }
    let mut watch = alpha.client.watch_after(Some("w/*"), position.as_ref()).await.unwrap();
    let (values, last) = changes(&told(&mut watch).await);
    assert_eq!(values, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    alpha.write(vec![set("w/1", "c")]).await.unwrap();
    assert_eq!(changes(&told(&mut watch).await).0, ["c"]);
    // A browser says it in a header.
    let socket = alpha.client.socket().to_owned();
    let id = last.clone().unwrap().0;
    let request = format!("GET /v1/watch?pattern=w%2F* HTTP/1.1\r\nhost: x\r\nlast-event-id: {id}\r\n\r\n");
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains(r#""value":"c""#) && !said.contains(r#""value":"49""#), "{said}");
    assert!(said.contains("\nid: "), "{said}");

    // In another life the changes are not known any more, but what is there is.
    alpha.kill_9();
    alpha.start_again().await;
    let mut watch = alpha.client.watch_after(Some("w/*"), last.as_ref()).await.unwrap();
    let told = told(&mut watch).await;
    let [Watched::Reset(reset), Watched::Cell(one), Watched::Cell(two), Watched::Ready(_)] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(reset.message.contains("another life"), "{reset:?}");
    assert_eq!((one.key.as_str(), &one.content), ("w/1", &register("c")));
    assert_eq!((two.key.as_str(), &two.content), ("w/2", &register("b")));
    let told = ground.type_in("watch w/* --after nonsense").await.exits(2);
    told.says("that is no position in a watch");
}

/// Over the daemon's end and start, the command itself goes on.
#[tokio::test]
async fn a_watch_that_reconnects_outlives_its_daemon() {
    let ground = Ground::new();
    let mut alpha = ground.start("alpha").await;
    alpha.write(vec![set("before", "1")]).await.unwrap();
    let watch = ground.cli(["watch", "--reconnect", "--count", "2"]);
    let (told, ()) = tokio::join!(watch, async {
        // Until it is seen to listen, nothing tells that it does.
        tokio::time::sleep(Duration::from_secs(1)).await;
        alpha.write(vec![set("first", "2")]).await.unwrap();
        alpha.kill_9();
        alpha.start_again().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        alpha.write(vec![set("second", "3")]).await.unwrap();
    });
    let told = told.exits(0);
    assert!(told.out.contains("set    first") && told.out.contains("set    second"), "{told:?}");
    assert!(told.out.contains("now    before  \"1\"\n"), "{told:?}");
    told.says("the daemon went away; waiting for it").says("changes were left out: ");
}

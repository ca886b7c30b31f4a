//! Several writes at once, from a file.

use super::*;

const OPS: &str = r#"{"op":"set","key":"greeting","value":"hello"}

{"op":"incr","key":"visits","by":2}
"#;

fn file(world: &World, text: &str) -> String {
    let path = world.dir.path().join("ops");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_batch_is_one_write_and_tells_what_became_of_each_line() {
    let mut world = World::new();
    world.daemon("alpha", |asked| {
        let results = vec![
            Outcome::Set { key: "greeting".into(), value: "hello".into() },
            Outcome::Incr { key: "visits".into(), by: 2, count: Count(9) },
        ];
        let met = asked.body.contains("majority");
        Says::yes(&WriteReply { results, ..written(met, Outcome::Del { key: String::new() }) })
    });
    let file = file(&world, OPS);
    let out = "greeting = \"hello\"\nvisits = 9\n2 operations · on 2 of 3 members after 94 ms\n";
    assert_eq!(world.chinwag(&["batch", &file, "--wait", "majority"]).await, ran(0, out, ""));
    assert_eq!(
        world.fakes[0].asked()[0].body,
        r#"{"ops":[{"op":"set","key":"greeting","value":"hello"},{"op":"incr","key":"visits","by":2}],"wait":"majority","timeout_ms":10000}"#
    );
    let unmet = world.chinwag(&["batch", &file, "--wait", "all", "--timeout", "1"]).await;
    assert_eq!((unmet.exit.as_str(), unmet.out.as_str()), ("1", out));
    assert!(unmet.err.starts_with("error: the write is safe here, but all members"), "{}", unmet.err);
    let json = world.chinwag(&["batch", &file, "--json"]).await;
    assert!(json.out.starts_with(r#"{"schema":"chinwag.write/1","token":"t""#), "{}", json.out);
    assert_eq!(json.out.lines().count(), 1);
}

#[tokio::test]
async fn the_line_that_cannot_be_done_is_told() {
    let mut world = World::new();
    world.daemon("alpha", |_| {
        Says::no(&Failure::new(Kind::WrongKind, "`visits` is a set, not a counter").at(1))
    });
    let refused = "error: line 3: `visits` is a set, not a counter\n  nothing of the batch is written\n";
    assert_eq!(world.chinwag(&["batch", &file(&world, OPS)]).await, ran(4, "", refused));
    assert_eq!(world.fakes[0].asked().len(), 1);

    let told = async |text: &str| world.chinwag(&["batch", &file(&world, text)]).await;
    let bad = told(&format!("{OPS}{{\"op\":\"set\",\"key\":\"k\",\"valeu\":\"v\"}}\n")).await;
    let why = "error: line 4: that is no operation\n  `set` has no field `valeu`; it has key, value, value_base64, field, if, ttl_ms, ephemeral\n  nothing of the batch is written\n";
    assert_eq!(bad, ran(2, "", why));
    for (text, says) in [
        ("{", "line 1: that is no operation"),
        ("[]", "an operation is an object"),
        (r#"{"op":"steal","key":"k"}"#, "unknown variant"),
        (r#"{"op":"incr","key":"k","by":1.5}"#, "line 1: "),
        ("", "there is no operation to do"),
        ("\n \n", "there is no operation to do"),
    ] {
        let told = told(text).await;
        assert!(told.exit == "2" && told.err.contains(says), "{text}: {told:?}");
    }
    let many = r#"{"op":"incr","key":"k","by":1}"#.to_owned() + "\n";
    let told = told(&many.repeat(1_025)).await;
    assert!(told.exit == "4" && told.err.contains("line 1025: the batch is too large"), "{told:?}");
    let told = world.chinwag(&["batch", "/nowhere/ops"]).await;
    assert!(told.exit == "2" && told.err.contains("cannot read /nowhere/ops"), "{told:?}");
    assert_eq!(world.fakes[0].asked().len(), 1, "what is known to be wrong is not asked for");
}

#[tokio::test]
async fn a_condition_goes_along_and_one_that_does_not_hold_has_its_own_exit_code() {
    let mut world = World::new();
    world.daemon("alpha", |_| {
        let failure = Failure::new(Kind::ConditionFailed, "the condition on lock does not hold");
        Says::no(&failure.because("it is \"bob\"").hint("chinwag get lock --siblings"))
    });
    let told =
        "error: the condition on lock does not hold\n  it is \"bob\"\n  try: chinwag get lock --siblings\n";
    assert_eq!(world.chinwag(&["set", "lock", "ada", "--if", "absent"]).await, ran(6, "", told));
    assert_eq!(world.chinwag(&["del", "lock", "--if", "value=ada"]).await, ran(6, "", told));
    let version = "9c1fa07e000000000000000000000000";
    world.chinwag(&["set", "lock", "ada", "--if", &format!("version={version}")]).await;
    let line = r#"{"op":"del","key":"lock","if":{"value":"ada"}}"#;
    world.chinwag(&["batch", &file(&world, line)]).await;
    let asked: Vec<String> = world.fakes[0].asked().into_iter().map(|asked| asked.body).collect();
    let set = r#""op":"set","key":"lock","value":"ada","if""#;
    assert_eq!(asked[0], format!(r#"{{"ops":[{{{set}:"absent"}}]}}"#));
    assert_eq!(asked[1], r#"{"ops":[{"op":"del","key":"lock","if":{"value":"ada"}}]}"#);
    assert_eq!(asked[2], format!(r#"{{"ops":[{{{set}:{{"version":"{version}"}}}}]}}"#));
    assert_eq!(asked[3], asked[1], "a line of a batch has the same form");
}

//! Export and import against a daemon that says what the test wants.

use super::*;

fn cell(key: &str, content: Content) -> Cell {
    let version = Some("9c1fa07e000000000000000000000000".parse().unwrap());
    Cell { version, ..Cell::new(key, content) }
}

fn value(value: &str) -> Content {
    Content::Register { value: value.into(), siblings: vec![] }
}

fn sibling(value: &str) -> Sibling {
    Sibling { value: value.into(), origin: "alpha".into(), at_unix_ms: 1, dot: "d".into() }
}

#[tokio::test]
async fn an_export_is_a_line_a_key_page_by_page() {
    let mut world = World::new();
    world.daemon("alpha", |asked| match asked.path.as_str() {
        "/v1/cells?prefix=a&siblings" => {
            let siblings = vec![sibling("\u{9b}x\u{202e}")];
            let alone = Content::Register { value: "\u{9b}x\u{202e}".into(), siblings };
            Says::yes(&Cells { cells: vec![cell("a/1", alone)], next: Some("a/1".into()) })
        }
        "/v1/cells?prefix=a&siblings&after=a%2F1" => {
            let siblings = vec![sibling("x"), sibling("y")];
            let two = Content::Register { value: "x".into(), siblings };
            Says::yes(&Cells { cells: vec![cell("a/2", two)], next: None })
        }
        path => panic!("{path}"),
    });
    let version = r#""version":"9c1fa07e000000000000000000000000"}"#;
    let head = r#"{"schema":"chinwag.cell/1","key":"#;
    let siblings = r#"[{"value":"x","origin":"alpha","at_unix_ms":1,"dot":"d"},{"value":"y","origin":"alpha","at_unix_ms":1,"dot":"d"}]"#;
    let out = format!(
        "{head}\"a/1\",\"kind\":\"register\",\"value\":\"\\u009bx\\u202e\",{version}\n{head}\"a/2\",\"kind\":\"register\",\"value\":\"x\",\"siblings\":{siblings},{version}\n"
    );
    assert_eq!(world.chinwag(&["export", "a"]).await, ran(0, &out, "2 keys exported\n"));
    assert_eq!(world.chinwag(&["export", "a", "--json"]).await, ran(0, &out, ""));

    // A daemon that pages for ever is left.
    let mut world = World::new();
    world.daemon("alpha", |_| Says::yes(&Cells { cells: vec![], next: Some("z".into()) }));
    assert_eq!(world.chinwag(&["export"]).await, ran(0, "", "0 keys exported\n"));
}

/// A key, and what is there.
type Held = (&'static str, fn() -> Content);

/// A daemon that holds `held`, and takes a write if nothing stands against it.
fn holds(world: &mut World, held: &'static [Held]) {
    world.daemon("alpha", move |asked| {
        let found = |key: &str| held.iter().find(|(held, _)| *held == key).map(|(_, content)| content());
        if let Some(key) = asked.path.strip_prefix("/v1/cells/") {
            return match found(key) {
                Some(content) => Says::yes(&cell(key, content)),
                None => Says::no(&Failure::new(Kind::NoSuchKey, format!("no such key: {key}"))),
            };
        }
        let request = WriteRequest::from_json(asked.body.as_bytes()).unwrap();
        // A condition on a field says nothing of its key.
        let fails = |op: &Operation| {
            op.condition == Some(Condition::Absent) && op.field.is_empty() && found(op.op.key()).is_some()
        };
        match request.ops.iter().position(fails) {
            Some(op) => Says::no(&Failure::new(Kind::ConditionFailed, "no").because("it is there").at(op)),
            None => Says::yes(&written(true, Outcome::Del { key: String::new() })),
        }
    });
}

fn file(world: &World, lines: &[Cell]) -> String {
    let path = world.dir.path().join("lines");
    std::fs::write(&path, lines.iter().map(|line| to_json(line) + "\n").collect::<String>()).unwrap();
    path.display().to_string()
}

fn writes(world: &World) -> Vec<String> {
    let asked = world.fakes[0].asked();
    asked.into_iter().filter(|asked| asked.method == "POST").map(|asked| asked.body).collect()
}

fn lines() -> Vec<Cell> {
    let counter = |count| Content::Counter { count: Count(count) };
    vec![
        cell("a", value("1")),
        cell("b", counter(2)),
        cell("c", Content::Set { elements: vec!["x".into()] }),
        cell("d", counter(i128::from(u64::MAX))),
    ]
}

const FRESH: &str = r#"{"ops":[{"op":"set","key":"a","value":"1","if":"absent"},{"op":"incr","key":"b","by":2,"if":"absent"},{"op":"add","key":"c","elements":["x"],"if":"absent"},{"op":"incr","key":"d","by":9223372036854775807,"if":"absent"},{"op":"incr","key":"d","by":9223372036854775807},{"op":"incr","key":"d","by":1}]}"#;

#[tokio::test]
async fn what_does_not_exist_is_written_at_once() {
    for existing in ["fail", "skip", "overwrite"] {
        let mut world = World::new();
        holds(&mut world, &[]);
        let told = world.chinwag(&["import", &file(&world, &lines()), "--existing", existing]).await;
        assert_eq!(told, ran(0, "4 keys imported · on 2 of 3 members after 94 ms\n", ""));
        assert_eq!(writes(&world), [FRESH], "{existing}");
        assert_eq!(world.fakes[0].asked().len(), 1, "nobody is asked what is there");
    }
}

#[tokio::test]
async fn what_exists_fails_or_is_skipped_or_overwritten() {
    let held: &[Held] = &[
        ("b", || value("in the way")),
        ("c", || Content::Conflict { contents: vec![value("1"), Content::Counter { count: Count(1) }] }),
    ];
    let world = |existing: &'static str| async move {
        let mut world = World::new();
        holds(&mut world, held);
        let told = world.chinwag(&["import", &file(&world, &lines()), "--existing", existing]).await;
        let writes = writes(&world);
        (told, writes)
    };
    let (told, asked) = world("fail").await;
    let error = "error: line 2: b exists already\n  it is there\n  nothing of lines 1 to 4 is written\n  try: chinwag import --existing skip    or: chinwag import --existing overwrite\n";
    assert_eq!((told, asked.len()), (ran(6, "", error), 1));

    let (told, asked) = world("skip").await;
    assert_eq!(told, ran(0, "2 keys imported · 2 skipped · on 2 of 3 members after 94 ms\n", ""));
    let rest = FRESH.replace(r#"{"op":"incr","key":"b","by":2,"if":"absent"},{"op":"add","key":"c","elements":["x"],"if":"absent"},"#, "");
    assert_eq!(asked, [FRESH, &rest]);

    let (told, asked) = world("overwrite").await;
    assert_eq!(told, ran(0, "4 keys imported (2 overwritten) · on 2 of 3 members after 94 ms\n", ""));
    let version = r#""if":{"version":"9c1fa07e000000000000000000000000"}"#;
    let b =
        format!(r#"{{"op":"del","key":"b","kind":"register",{version}}},{{"op":"incr","key":"b","by":2}}"#);
    let c = format!(
        r#"{{"op":"del","key":"c","kind":"register",{version}}},{{"op":"del","key":"c","kind":"counter"}},{{"op":"add","key":"c","elements":["x"]}}"#
    );
    let over = FRESH
        .replace(r#"{"op":"incr","key":"b","by":2,"if":"absent"}"#, &b)
        .replace(r#"{"op":"add","key":"c","elements":["x"],"if":"absent"}"#, &c);
    assert_eq!(asked, [FRESH, &over]);
}

#[tokio::test]
async fn a_set_that_is_skipped_is_skipped_to_its_end() {
    let mut world = World::new();
    holds(&mut world, &[("s", || Content::Set { elements: vec!["x".into()] })]);
    let elements = (0..600).map(|n| Bytes::from(format!("{n}").as_str())).collect();
    let lines = [cell("a", value("1")), cell("s", Content::Set { elements }), cell("t", value("2"))];
    let told = world.chinwag(&["import", &file(&world, &lines), "--existing", "skip", "--json"]).await;
    let done = r#"{"schema":"chinwag.import/1","imported":2,"overwritten":0,"skipped":1}"#;
    assert_eq!(told, ran(0, &format!("{done}\n"), ""));
    let last = writes(&world).pop().unwrap();
    assert_eq!(last, r#"{"ops":[{"op":"set","key":"t","value":"2","if":"absent"}]}"#);
}

#[tokio::test]
async fn an_import_that_waits_in_vain_says_what_stands() {
    let mut world = World::new();
    world.daemon("alpha", |asked| {
        let met = asked.body.contains("\"k0\"");
        Says::yes(&written(met, Outcome::Del { key: String::new() }))
    });
    let lines: Vec<Cell> = (0..300).map(|n| cell(&format!("k{n}"), value("v"))).collect();
    let told = world.chinwag(&["import", &file(&world, &lines), "--wait", "all"]).await;
    assert!(told.exit == "1" && told.err.contains("all members did not confirm it in time"), "{told:?}");
    assert!(told.err.contains("300 keys before it are written"), "{told:?}");
}

fn user() -> Content {
    let city = Content::Map { fields: [("city".to_owned(), value("rome"))].into() };
    let fields = [("address".to_owned(), city), ("on".to_owned(), Content::Flag { on: true })];
    Content::Map { fields: fields.into() }
}

#[tokio::test]
async fn a_map_is_written_field_by_field_unless_one_is_there() {
    let rome = r#"{"op":"set","key":"user","value":"rome","field":["address","city"],"if":"absent"}"#;
    let fields = format!(r#"{rome},{{"op":"enable","key":"user","field":["on"]}}"#);
    for existing in ["fail", "skip", "overwrite"] {
        let mut world = World::new();
        holds(&mut world, &[]);
        let told =
            world.chinwag(&["import", &file(&world, &[cell("user", user())]), "--existing", existing]).await;
        assert_eq!(told, ran(0, "1 key imported · on 2 of 3 members after 94 ms\n", ""));
        assert_eq!(writes(&world), [format!(r#"{{"ops":[{fields}]}}"#)]);
    }
    let import = async |existing| {
        let mut world = World::new();
        holds(&mut world, &[("user", user)]);
        let told =
            world.chinwag(&["import", &file(&world, &[cell("user", user())]), "--existing", existing]).await;
        let writes = writes(&world);
        (told, writes)
    };
    let (told, asked) = import("fail").await;
    assert!(told.exit == "6" && told.err.starts_with("error: line 1: user exists already\n"), "{told:?}");
    assert!(asked.is_empty());
    let (told, asked) = import("skip").await;
    assert_eq!((told.out.as_str(), asked.len()), ("0 keys imported · 1 skipped\n", 0));
    let (told, asked) = import("overwrite").await;
    assert!(told.out.starts_with("1 key imported (1 overwritten)"), "{told:?}");
    let version = r#"{"version":"9c1fa07e000000000000000000000000"}"#;
    assert_eq!(asked[0], format!(r#"{{"ops":[{{"op":"del","key":"user","kind":"map","if":{version}}}]}}"#));
    assert_eq!(asked[1..], [format!(r#"{{"ops":[{fields}]}}"#)]);
}

#[tokio::test]
async fn what_has_gone_by_itself_meanwhile_is_not_written() {
    let mut world = World::new();
    holds(&mut world, &[]);
    let lent = |key, unix_ms| Cell { expires_unix_ms: unix_ms, ..cell(key, value("v")) };
    let here = Cell { ephemeral: true, ..cell("here", Content::Flag { on: true }) };
    let year_10000 = 253_402_300_800_000;
    let lines = [lent("gone", Some(1_000)), here, lent("stays", None), lent("lent", Some(year_10000))];
    let told = world.chinwag(&["import", &file(&world, &lines)]).await;
    assert_eq!(told, ran(0, "2 keys imported · 2 skipped · on 2 of 3 members after 94 ms\n", ""));
    let request = WriteRequest::from_json(writes(&world)[0].as_bytes()).unwrap();
    let terms: Vec<(&str, bool)> = request.ops.iter().map(|op| (op.op.key(), op.ttl_ms.is_some())).collect();
    assert_eq!(terms, [("stays", false), ("lent", true)]);
}

//! Commands against a daemon that says what the test wants: what they print, and how they exit.

use crate::args::{Cli, Global};
use crate::commands::{self, Context};
use crate::output::Output;
use crate::{End, finish};
use chinwag_api::client::fake::{Asked, Fake, Says};
use chinwag_api::runtime::{Entry, Runtime};
use chinwag_api::*;
use chinwag_base::{Generation, NodeId};
use clap::FromArgMatches as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

mod batch;
mod dht;
mod import;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A reader that has gone.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
struct Ran {
    exit: String,
    out: String,
    err: String,
}

fn context(cli: &Cli, runtime: &Path, data: impl Write + Send + 'static, prose: Sink) -> Context {
    let Global { json, .. } = cli.global;
    Context {
        global: cli.global.clone(),
        runtime: Runtime::at(runtime),
        out: Output::to(data, prose, json),
        started: Instant::now(),
    }
}

fn parse(line: &[&str]) -> Cli {
    let words = std::iter::once("chinwag").chain(line.iter().copied());
    Cli::from_arg_matches(&Cli::grouped().get_matches_from(words)).unwrap()
}

async fn chinwag(runtime: &Path, line: &[&str]) -> Ran {
    let cli = parse(line);
    let (out, err) = (Sink::default(), Sink::default());
    let mut context = context(&cli, runtime, out.clone(), err.clone());
    let result = commands::dispatch(cli.command, &mut context).await;
    let exit = format!("{:?}", finish(result, &mut context.out));
    Ran {
        exit: exit.replace("ExitCode(unix_exit_status(", "").replace("))", ""),
        out: out.text(),
        err: err.text(),
    }
}

struct World {
    dir: tempfile::TempDir,
    fakes: Vec<Fake>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Runtime::at(dir.path().join("r")).create().unwrap();
        World { dir, fakes: Vec::new() }
    }

    fn runtime(&self) -> std::path::PathBuf {
        self.dir.path().join("r")
    }

    fn daemon(&mut self, name: &str, says: impl Fn(&Asked) -> Says + Send + Sync + 'static) {
        let socket = self.runtime().join(format!("{name}.sock"));
        self.fakes.push(Fake::listen(&socket, says));
        let entry = Entry {
            name: name.parse().unwrap(),
            pid: std::process::id(),
            socket,
            data: "/d".into(),
            overlay: None,
            id: id(),
            addresses: vec![],
        };
        std::fs::write(self.runtime().join(format!("{name}.json")), to_json(&entry)).unwrap();
    }

    async fn chinwag(&self, line: &[&str]) -> Ran {
        chinwag(&self.runtime(), line).await
    }
}

fn ran(exit: u8, out: &str, err: &str) -> Ran {
    Ran { exit: exit.to_string(), out: out.into(), err: err.into() }
}

fn id() -> NodeId {
    NodeId::from_bytes([7; 32])
}

fn member(name: &str, state: MemberState) -> Member {
    Member {
        name: name.into(),
        id: id(),
        is_self: name == "beta",
        state,
        unverified: false,
        phi: None,
        incarnation: 1,
        generation: Generation::new(1),
        rtt_ms: None,
        heard_ms: None,
        behind: None,
        digest: Some("9c1fa07e000000000000000000000000".parse().unwrap()),
        addresses: vec!["/ip4/127.0.0.1/tcp/7171".parse().unwrap()],
        tags: chinwag_base::Tags::new(),
        rto_ms: None,
        stall_ms: None,
        suspected_by: vec![],
        down_in_ms: None,
    }
}

fn keys(names: &[&str]) -> Keys {
    let keys = names.iter().map(|k| KeyRow { key: (*k).into(), kind: CellKind::Register }).collect();
    Keys { keys, next: None }
}

fn register(value: impl Into<Bytes>) -> Cell {
    let content = Content::Register { value: value.into(), siblings: vec![] };
    Cell::new("k", content)
}

#[tokio::test]
async fn nobody_runs() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = dir.path().join("none");
    let begun = Instant::now();
    let expected = format!(
        "error: no chinwagd is running for this user\n  looked in {}: empty\n  try: chinwag up    or: chinwag lab 3\n",
        runtime.display()
    );
    assert_eq!(chinwag(&runtime, &["status"]).await, ran(3, "", &expected));
    assert!(begun.elapsed() < Duration::from_millis(100));

    std::fs::create_dir(&runtime).unwrap();
    std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(runtime.join("x.json"), "{").unwrap();
    let told = chinwag(&runtime, &["status"]).await;
    assert!(told.err.contains(": one stale file\n  x.json: not an entry of a daemon\n"), "{}", told.err);
}

#[tokio::test]
async fn one_daemon_needs_no_choice_and_several_do() {
    let mut world = World::new();
    let version = || Version { version: "0.1.0".into(), protocol: 1, protocol_min: 1 };
    world.daemon("alpha", move |_| Says::yes(&keys(&["a"])));
    assert_eq!(world.chinwag(&["keys"]).await, ran(0, "a\n", ""));
    world.daemon("beta", move |_| Says::yes(&keys(&["b"])));
    let several = "error: several daemons run, and none was chosen\n  they are alpha and beta\n  try: chinwag -n alpha …    or: export CHINWAG_NAME=alpha\n";
    assert_eq!(world.chinwag(&["keys"]).await, ran(2, "", several));
    assert_eq!(world.chinwag(&["-n", "beta", "keys"]).await, ran(0, "b\n", ""));
    let nobody = "error: no chinwagd named bta is running for this user\n  running: alpha and beta\n  try: chinwag -n beta …\n";
    assert_eq!(world.chinwag(&["-n", "bta", "keys"]).await, ran(3, "", nobody));
    let socket = world.fakes[0].socket().display().to_string();
    assert_eq!(world.chinwag(&["--socket", &socket, "keys"]).await, ran(0, "a\n", ""));
    let told = world.chinwag(&["version"]).await;
    assert_eq!((told.exit.as_str(), told.out.contains(&version().version)), ("0", true), "never a failure");
}

#[tokio::test]
async fn an_error_is_one_json_object_on_standard_error() {
    let mut world = World::new();
    world.daemon("alpha", |_| {
        Says::no(&Failure::new(Kind::Storage, "the disk is full").because("0 bytes left"))
    });
    let told = world.chinwag(&["--json", "set", "k", "v"]).await;
    let json = r#"{"schema":"chinwag.error/1","kind":"storage","message":"the disk is full","because":["0 bytes left"],"try":[],"exit":4}"#;
    assert_eq!(told, ran(4, "", &format!("{json}\n")));
}

#[tokio::test]
async fn members_are_sorted_and_cannot_steer_the_terminal() {
    let mut world = World::new();
    let suspect = Member {
        phi: Some(5.1),
        incarnation: 3,
        rtt_ms: Some(0.5),
        heard_ms: Some(2900),
        behind: Some(12),
        suspected_by: vec!["beta".into(), "al\u{1b}[2Jpha".into()],
        down_in_ms: Some(1800),
        ..member("gamma", MemberState::Suspect)
    };
    let members = Members {
        members: vec![
            suspect,
            member("zoe\u{1b}[31m", MemberState::Alive),
            member("beta", MemberState::Alive),
        ],
        probe_loss: None,
    };
    world.daemon("beta", move |_| Says::yes(&members));
    let out = "\
NAME           STATE      φ  INC     RTT  HEARD  BEHIND  DIGEST     ADDRESS
beta *         alive      –    1       –      –       –  9c1f a07e  127.0.0.1:7171
gamma          suspect  5.1    3  0.5 ms  2.9 s      12  9c1f a07e  127.0.0.1:7171
zoe\\u{1b}[31m  alive      –    1       –      –       –  9c1f a07e  127.0.0.1:7171
";
    let err = "gamma is suspected by beta and al\\u{1b}[2Jpha; down in 1.8 s unless it answers.\n";
    assert_eq!(world.chinwag(&["members"]).await, ran(0, out, err));
    let json = world.chinwag(&["members", "--json"]).await;
    assert!(
        json.out.starts_with(r#"{"schema":"chinwag.members/1","members":[{"name":"beta""#),
        "{}",
        json.out
    );
    assert_eq!((json.out.lines().count(), json.err.as_str()), (1, ""));
}

#[tokio::test]
async fn members_are_chosen_by_state_and_tag() {
    let mut world = World::new();
    let tags = |tags: &[(&str, &str)]| tags.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let members = Members {
        members: vec![
            Member { tags: tags(&[("role", "db"), ("zone", "a")]), ..member("beta", MemberState::Alive) },
            Member {
                tags: tags(&[("role", "db"), ("x", "\u{1b}[2J")]),
                rto_ms: Some(21.0),
                stall_ms: Some(300),
                ..member("gamma", MemberState::Down)
            },
            member("delta", MemberState::Alive),
        ],
        probe_loss: Some(0.02),
    };
    world.daemon("beta", move |_| Says::yes(&members));
    let out = "\
NAME   STATE  φ  INC  RTT  HEARD  BEHIND  DIGEST     ADDRESS         TAGS
gamma  down   –    1    –      –       –  9c1f a07e  127.0.0.1:7171  role=db x=\\u{1b}[2J
";
    assert_eq!(world.chinwag(&["members", "--tag", "role=db", "--state", "down"]).await, ran(0, out, ""));
    let both = world.chinwag(&["members", "--tag", "role=db", "--tag", "zone=a", "--json"]).await;
    assert!(both.out.contains("beta") && !both.out.contains("gamma"), "{}", both.out);
    let none = world.chinwag(&["members", "--state", "suspect"]).await;
    assert_eq!(none, ran(1, "", "no member is like that\n"));
    let none = world.chinwag(&["members", "--state", "suspect", "--json"]).await;
    assert_eq!(
        (none.exit.as_str(), none.out.as_str()),
        ("1", "{\"schema\":\"chinwag.members/1\",\"members\":[],\"probe_loss\":0.02}\n")
    );
    let more = world.chinwag(&["members", "--verbose", "--state", "down"]).await;
    assert!(more.out.lines().nth(1).unwrap().contains("21 ms  300 ms  12D3"), "{}", more.out);
    assert_eq!(more.err, "Of this daemon's pings to live members 2.0 % fail.\n");
}

#[tokio::test]
async fn a_verdict_is_explained() {
    let mut world = World::new();
    let clue = |first_ms, last_ms, times, what| Clue { first_ms, last_ms, times, what };
    let found = |by: &str, found: &str| ClueKind::Found { by: by.into(), found: found.into() };
    let accused = |state, phi| ClueKind::Accused { state, by: "beta".into(), phi };
    let explained = Explained {
        member: Member {
            phi: Some(5.1),
            suspected_by: vec!["beta".into()],
            down_in_ms: Some(1800),
            ..member("gamma", MemberState::Suspect)
        },
        phi_down: 8.0,
        evidence: vec![
            clue(6_300, 2_100, 4, ClueKind::Unanswered { rto_ms: 120.0 }),
            clue(6_200, 6_200, 1, ClueKind::Asked { members: vec!["beta".into(), "de\u{1b}lta".into()] }),
            clue(6_100, 1_200, 3, found("beta", "silent")),
            clue(6_000, 6_000, 1, found("delta", "refused")),
            clue(5_000, 5_000, 1, accused(MemberState::Suspect, 1.2)),
            clue(900, 900, 1, accused(MemberState::Down, 8.0)),
            clue(20, 20, 1, ClueKind::Alive { incarnation: 4 }),
        ],
    };
    world.daemon("beta", move |request| {
        assert_eq!(request.path, "/v1/explain/gam%20ma");
        Says::yes(&explained)
    });
    let out = "\
gamma is suspected by beta; down in 1.8 s unless it answers. φ is 5.1, at 8 it is down.
           AGO  WHAT
6.3 s to 2.1 s  did not answer a ping within 120 ms, 4 times
         6.2 s  beta and de\\u{1b}lta were asked to ping it
6.1 s to 1.2 s  beta had no answer from it, 3 times
         6.0 s  delta found that nothing listens at its address
         5.0 s  suspected by beta (φ 1.2)
        900 ms  held for down by beta (φ 8.0)
         20 ms  said that it is alive (incarnation 4)
";
    assert_eq!(world.chinwag(&["explain", "gam ma"]).await.out, out);
}

#[tokio::test]
async fn it_is_told_who_cannot_reach_whom() {
    let mut world = World::new();
    let id = |n: u8| NodeId::from_bytes([n; 32]);
    let unheard = |name: &str, n, why| Unheard { name: name.into(), id: id(n), why };
    let answer = |name: &str, n, unheard: Vec<Unheard>| ReachAnswer {
        name: name.into(),
        id: id(n),
        after_ms: 1.0,
        hears: 3 - unheard.len() as u32,
        unheard,
        more: 0,
    };
    let well = Reach {
        after_ms: 12.0,
        answers: vec![answer("alpha", 1, vec![]), answer("beta", 2, vec![])],
        missing: vec![],
        down: vec![],
    };
    let gone = |name: &str| ReachMember { name: name.into(), id: id(9), state: MemberState::Down };
    let alone = Reach { answers: vec![answer("alpha", 1, vec![])], down: vec![gone("eta")], ..well.clone() };
    let delta = |why| unheard("delta", 4, why);
    let mut deaf =
        answer("be\u{1b}ta", 2, vec![delta(Hindrance::Silent), unheard("gamma", 3, Hindrance::Down)]);
    deaf.more = 1_200;
    let ill = Reach {
        after_ms: 4_000.0,
        answers: vec![
            answer("alpha", 1, vec![delta(Hindrance::Silent)]),
            deaf,
            answer(
                "gamma",
                3,
                vec![unheard("alpha", 1, Hindrance::Silent), unheard("beta", 2, Hindrance::Unconnected)],
            ),
        ],
        missing: vec![ReachMember { name: "delta".into(), id: id(4), state: MemberState::Suspect }],
        down: (0..9).map(|n| gone(&format!("eta-{n}"))).collect(),
    };
    let replies = Mutex::new(vec![ill.clone(), ill, alone, well]);
    world.daemon("alpha", move |request| {
        assert_eq!(request.path, "/v1/reach");
        Says::yes(&replies.lock().unwrap().pop().unwrap())
    });
    let out = "2 of 2 members answered within 12 ms, and each hears all whom it should.\n";
    assert_eq!(world.chinwag(&["reach"]).await, ran(0, out, ""));
    assert_eq!(
        world.chinwag(&["reach"]).await,
        ran(0, "There is no other member to call. eta is down, and was not called.\n", "")
    );
    let out = "\
3 of 4 members answered within 4.0 s. 9 members are down, and were not called: eta-0 to eta-8.
MEMBER  WHAT
delta   no answer, suspect; 2 members do not hear it
FROM   TO          WHAT
gamma  be\\u{1b}ta  be\\u{1b}ta holds gamma for down
…      be\\u{1b}ta  1,200 more that it does not hear
alpha  gamma       connected, and nothing arrives, says gamma
gamma  beta        cannot be connected to
";
    assert_eq!(world.chinwag(&["reach"]).await, ran(1, out, ""));
    let json = world.chinwag(&["reach", "--json"]).await;
    assert_eq!(json.exit, "1");
    assert!(json.out.starts_with("{\"schema\":\"chinwag.reach/1\",\"after_ms\":4000"), "{}", json.out);
}

#[tokio::test]
async fn a_missing_key_suggests_the_nearest() {
    let mut world = World::new();
    world.daemon("alpha", |asked| match asked.path.as_str() {
        path if path.starts_with("/v1/keys") => Says::yes(&keys(&["greeting", "visits"])),
        _ => Says::no(&Failure::new(Kind::NoSuchKey, "no such key: greting")),
    });
    let told = "error: no such key: greting\n  try: chinwag get greeting\n";
    assert_eq!(world.chinwag(&["get", "greting"]).await, ran(1, "", told));
    let told = "error: no such key: greting\n  try: chinwag del greeting\n";
    assert_eq!(world.chinwag(&["del", "greting"]).await, ran(1, "", told));
}

#[tokio::test]
async fn values_are_shown_safely_and_given_exactly() {
    let mut world = World::new();
    world.daemon("alpha", |_| Says::yes(&register("two\nlines\u{1b}[2J")));
    assert_eq!(world.chinwag(&["get", "k"]).await, ran(0, "two\nlines\\u{1b}[2J\n", ""));
    assert_eq!(world.chinwag(&["get", "k", "--raw"]).await, ran(0, "two\nlines\u{1b}[2J", ""));

    let mut world = World::new();
    world.daemon("alpha", |_| Says::yes(&register(vec![0xff, 0])));
    let told = "error: the value is not text (2 bytes)\n  try: chinwag get k --raw > FILE    or: chinwag get k --json\n";
    assert_eq!(world.chinwag(&["get", "k"]).await, ran(2, "", told));

    let mut world = World::new();
    let contents =
        vec![Content::Counter { count: Count(7) }, Content::Set { elements: vec!["a".into(), "b".into()] }];
    world.daemon("alpha", move |_| {
        let content = Content::Conflict { contents: contents.clone() };
        Says::yes(&Cell::new("k", content))
    });
    let told = world.chinwag(&["get", "k"]).await;
    assert_eq!((told.exit.as_str(), told.out.as_str()), ("1", "counter   7\nset       \"a\" \"b\"\n"));
    assert!(told.err.contains("chinwag del k --kind counter"), "{}", told.err);
}

fn written(met: bool, result: Outcome) -> WriteReply {
    WriteReply { token: Token("t".into()), holders: 2, of: 3, met, after_ms: 94.0, results: vec![result] }
}

#[tokio::test]
async fn a_write_tells_who_holds_it_and_a_wait_that_was_not_met_is_a_no() {
    let mut world = World::new();
    world.daemon("alpha", |asked| {
        let met = !asked.body.contains(r#""wait":"all""#);
        Says::yes(&written(met, Outcome::Set { key: "greeting".into(), value: "hello".into() }))
    });
    let line = "greeting = \"hello\" · on 2 of 3 members after 94 ms\n";
    assert_eq!(world.chinwag(&["set", "greeting", "hello", "--wait", "majority"]).await, ran(0, line, ""));
    let told = world.chinwag(&["set", "greeting", "hello", "--wait", "all", "--timeout", "0.5"]).await;
    let error = "error: the write is safe here, but all members did not confirm it in time\n  2 of 3 hold it after 94 ms\n  try: chinwag members\n";
    assert_eq!(told, ran(1, line, error));
    let asked: Vec<String> = world.fakes[0].asked().into_iter().map(|a| a.body).collect();
    let op = r#"{"ops":[{"op":"set","key":"greeting","value":"hello"}]"#;
    assert_eq!(asked[0], format!(r#"{op},"wait":"majority","timeout_ms":10000}}"#));
    assert_eq!(asked[1], format!(r#"{op},"wait":"all","timeout_ms":500}}"#));
}

#[tokio::test]
async fn sets_and_counters_tell_what_changed() {
    let mut world = World::new();
    world.daemon("alpha", |asked| {
        let key = || "k".to_owned();
        Says::yes(&written(
            true,
            match asked.body.as_str() {
                body if body.contains("incr") => Outcome::Incr { key: key(), by: -3, count: Count(4) },
                body if body.contains(r#""add""#) => Outcome::Add { key: key(), added: 1, size: 2 },
                body if body.contains(r#""rm""#) => Outcome::Rm { key: key(), removed: 1, size: 1 },
                _ => Outcome::Del { key: key() },
            },
        ))
    });
    let held = "on 2 of 3 members after 94 ms\n";
    let out = |line: &str| ran(0, &format!("{line} · {held}"), "");
    assert_eq!(world.chinwag(&["incr", "k", "-3"]).await, out("k = 4"));
    assert_eq!(world.chinwag(&["add", "k", "a", "b"]).await, out("k + \"a\" \"b\" · 1 added, 2 elements"));
    assert_eq!(world.chinwag(&["rm", "k", "a"]).await, out("k - \"a\" · 1 removed, 1 element"));
    assert_eq!(world.chinwag(&["del", "k", "--kind", "counter"]).await, out("k deleted"));
    let last = world.fakes[0].asked().pop().unwrap().body;
    assert_eq!(last, r#"{"ops":[{"op":"del","key":"k","kind":"counter"}]}"#);
}

#[tokio::test]
async fn keys_come_page_by_page() {
    let mut world = World::new();
    world.daemon("alpha", |asked| match asked.path.contains("after=b") {
        true => Says::yes(&keys(&["c"])),
        false => Says::yes(&Keys { next: Some("b".into()), ..keys(&["a", "b"]) }),
    });
    assert_eq!(world.chinwag(&["keys", "*"]).await, ran(0, "a\nb\nc\n", ""));
    assert_eq!(
        world.chinwag(&["keys", "--limit", "2", "-l"]).await,
        ran(0, "register  a\nregister  b\n", "")
    );
    let json = world.chinwag(&["keys", "--json"]).await;
    let row = |k: &str| format!(r#"{{"key":"{k}","kind":"register"}}"#);
    let all = format!(
        r#"{{"schema":"chinwag.keys/1","keys":[{},{},{}],"next":null}}"#,
        row("a"),
        row("b"),
        row("c")
    );
    assert_eq!(json, ran(0, &format!("{all}\n"), ""));
}

#[tokio::test]
async fn a_daemon_that_pages_for_ever_is_left() {
    let mut world = World::new();
    world.daemon("alpha", |_| Says::yes(&Keys { next: Some("z".into()), ..keys(&[]) }));
    assert_eq!(world.chinwag(&["keys"]).await, ran(0, "", ""));
}

#[tokio::test]
async fn a_watch_whose_daemon_dies_ends_with_an_error() {
    let mut world = World::new();
    let what = What::Set { value: "hello".into() };
    let change = Change {
        at_unix_ms: 0,
        key: "greeting".into(),
        field: Vec::new(),
        what,
        origin: "alpha".into(),
        age_ms: 0,
        was: vec![],
        concurrent: false,
        position: None,
    };
    let ready = to_json(&Ready { name: "alpha".into(), position: None });
    let text = format!("event: ready\ndata: {ready}\n\nevent: change\ndata: {}\n\n", to_json(&change));
    world.daemon("alpha", move |_| Says::Stream(text.clone()));
    let told = world.chinwag(&["watch", "greet*"]).await;
    assert!(told.out.ends_with("  set    greeting  \"hello\"  alpha  +0 ms\n"), "{}", told.out);
    assert!(told.err.starts_with("error: chinwagd went away"), "{}", told.err);
    assert_eq!(told.exit, "3");
    assert_eq!(world.chinwag(&["watch", "--count", "1"]).await.exit, "0");
    let json = world.chinwag(&["watch", "--json", "-c", "1"]).await;
    assert_eq!(json.out, format!("{ready}\n{}\n", to_json(&change)), "one object a line");
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_when_the_daemon_is_back() {
    let mut world = World::new();
    let position = |n: u64| Some(Position(format!("00000000000000a7.{n}")));
    let change = move |value: &str, n| Change {
        at_unix_ms: u64::MAX,
        key: "k".into(),
        field: Vec::new(),
        what: What::Set { value: value.into() },
        origin: "alpha".into(),
        age_ms: 0,
        was: vec![],
        concurrent: false,
        position: position(n),
    };
    let said = |name: &str, data: String| format!("event: {name}\ndata: {data}\n\n");
    let ready = move |n| said("ready", to_json(&Ready { name: "alpha".into(), position: position(n) }));
    let first = ready(4) + &said("change", to_json(&change("a", 5)));
    let second = said("change", to_json(&change("b", 6))) + &ready(6);
    let cell = Cell::new("k", Content::Counter { count: Count(7) });
    let reset = Reset { message: "the position is of another life".into() };
    let third = said("reset", to_json(&reset)) + &said("cell", to_json(&cell)) + &ready(9);
    let asked = Mutex::new(0);
    world.daemon("alpha", move |request| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        match *asked {
            1 => Says::Stream(first.clone()),
            // It has not quite started yet.
            2 => Says::no(&Failure::new(Kind::Leaving, "the daemon is stopping")),
            3 => Says::Stream(second.clone()),
            4 => Says::Stream(third.clone()),
            _ => {
                assert_eq!(request.path, "/v1/watch?pattern=k&after=00000000000000a7.9");
                Says::Stream(said("change", to_json(&change("c", 10))))
            }
        }
    });
    let told =
        world.chinwag(&["watch", "k", "--reconnect", "--count", "3", "--after", "00000000000000a7.2"]).await;
    let line = |value: &str| format!("--:--:--.---  set    k  \"{value}\"  alpha  +0 ms\n");
    let now = "              now    k  7\n";
    assert_eq!(told.out, line("a") + &line("b") + now + &line("c"), "{told:?}");
    assert_eq!(told.err.matches("the daemon went away; waiting for it").count(), 3, "{told:?}");
    assert!(told.err.contains("changes were left out: the position is of another life; this is there now"));
    let paths: Vec<String> = world.fakes[0].asked().into_iter().map(|asked| asked.path).collect();
    let positions: Vec<&str> =
        paths.iter().filter_map(|path| path.rsplit_once('.')).map(|(_, n)| n).collect();
    assert_eq!(positions, ["2", "5", "5", "6", "9"]);
    assert_eq!(told.exit, "0");
}

#[tokio::test]
async fn a_mistyped_invite_is_told_before_anybody_is_asked() {
    let mut world = World::new();
    world.daemon("alpha", |_| Says::Silence);
    let told = world.chinwag(&["join", "cw1home-7QX4-M2KD"]).await;
    assert!(told.err.starts_with("error: the invite is mistyped or cut short"), "{}", told.err);
    assert_eq!(told.exit, "2");
    assert_eq!(world.chinwag(&["join", "hello"]).await.exit, "2");
    assert_eq!(world.fakes[0].asked(), []);
}

#[tokio::test]
async fn an_invite_is_a_command_to_type() {
    let mut world = World::new();
    let overlay = Overlay { name: "home".parse().unwrap(), id: Hex::default() };
    let reply = InviteReply {
        token: "cw1home-X".into(),
        overlay,
        uses: 1,
        role: chinwag_base::Role::Member,
        expires_unix_ms: 1,
        expires_in_s: 600,
        addresses: vec!["/ip4/192.168.1.20/tcp/7171".parse().unwrap()],
    };
    world.daemon("alpha", move |_| Says::yes(&reply));
    let told = world.chinwag(&["invite", "--expires", "10m"]).await;
    let err = "Good for one use within 10m00s, as member. Type this on the other machine:\n";
    assert_eq!(told, ran(0, "  chinwag join cw1home-X\n", err));
    assert_eq!(world.fakes[0].asked()[0].body, r#"{"uses":1,"expires_s":600,"role":"member"}"#);
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_error() {
    let mut world = World::new();
    world.daemon("alpha", |_| Says::yes(&keys(&["a", "b"])));
    let cli = parse(&["keys"]);
    let err = Sink::default();
    let mut context = context(&cli, &world.runtime(), Gone, err.clone());
    let result = commands::dispatch(cli.command, &mut context).await;
    assert!(matches!(result, Err(End::ReaderGone)), "{result:?}");
    assert_eq!(
        format!("{:?}", finish(result, &mut context.out)),
        format!("{:?}", std::process::ExitCode::SUCCESS)
    );
    assert_eq!(err.text(), "");
}

#[tokio::test]
async fn a_check_needs_three() {
    let dir = tempfile::tempdir().unwrap();
    let told = chinwag(dir.path(), &["lab", "2", "--check"]).await;
    assert!(told.err.starts_with("error: --check needs three daemons or more"), "{}", told.err);
    assert_eq!(told.exit, "2");
}

#[tokio::test]
async fn all_concurrent_values_are_shown_with_who_wrote_them() {
    let mut world = World::new();
    let sibling = |value: &str, origin: &str, dot: &str| Sibling {
        value: value.into(),
        origin: origin.into(),
        at_unix_ms: u64::MAX,
        dot: dot.into(),
    };
    let siblings =
        vec![sibling("hi", "be\u{1b}[2Jta", "12D3…m2Xk.19a0:7"), sibling("hello", "alpha", "12D3…q7Vf.2:31")];
    let content = Content::Register { value: "hi".into(), siblings };
    world.daemon("alpha", move |asked| {
        assert_eq!(asked.path, "/v1/cells/k?siblings");
        Says::yes(&Cell::new("k", content.clone()))
    });
    let out = "\
VALUE    ORIGIN         WRITTEN       DOT
\"hi\"     be\\u{1b}[2Jta  --:--:--.---  12D3…m2Xk.19a0:7
\"hello\"  alpha          --:--:--.---  12D3…q7Vf.2:31
";
    assert_eq!(world.chinwag(&["get", "k", "--siblings"]).await, ran(0, out, ""));
    let json = world.chinwag(&["get", "k", "--siblings", "--json"]).await;
    assert!(
        json.out.contains(r#""origin":"alpha","at_unix_ms":18446744073709551615,"dot":"12D3…q7Vf.2:31"}"#),
        "{}",
        json.out
    );
}

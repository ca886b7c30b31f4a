//! Commands that cannot be done, and requests that no client of ours would send.

use crate::harness::{Ground, PATIENCE, eventually, incr, set, so};
use chinwag_api::{Content, Count, Watched, What};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

#[tokio::test]
async fn without_a_daemon_a_command_says_so_at_once() {
    let ground = Ground::new();
    let looked = format!("  looked in {}: empty\n", ground.runtime().display());
    for line in ["status", "get k", "set k v", "watch", "leave", "-n alpha members"] {
        let told = ground.type_in(line).await.exits(3);
        assert_eq!(told.out, "");
        let expected = "error: no chinwagd is running for this user\n".to_owned() + &looked;
        assert_eq!(told.err, expected + "  try: chinwag up    or: chinwag lab 3\n", "{line}");
        eprintln!("`{line}` told that no daemon runs after {:?}", told.took);
    }
    let told = ground.type_in("status --json").await.exits(3);
    let error: serde_json::Value = serde_json::from_str(&told.err).unwrap();
    assert_eq!(
        (error["schema"].as_str(), error["kind"].as_str()),
        (Some("chinwag.error/1"), Some("unreachable"))
    );
    ground.type_in("--socket nowhere.sock status").await.exits(3).says("no chinwagd answers on nowhere.sock");

    // One that was killed has left its entry behind.
    let mut alpha = ground.start("alpha").await;
    alpha.kill_9();
    let told = ground.type_in("status").await.exits(3);
    told.says("one stale file").says(&format!("alpha.json: process {} is gone", alpha.pid()));
}

#[tokio::test]
async fn among_several_daemons_one_must_be_chosen() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    let beta = ground.start("beta").await;
    let told = ground.type_in("status").await.exits(2);
    told.says("several daemons run").says("they are alpha and beta").says("try: chinwag -n alpha");
    let told = ground.type_in("-n alhpa status").await.exits(3);
    told.says("no chinwagd named alhpa").says("running: alpha and beta").says("try: chinwag -n alpha");
    ground.type_in("-n beta status").await.exits(0);
    let socket = alpha.client.socket().to_str().unwrap().to_owned();
    let told = ground.cli(["--socket", &socket, "status", "--json"]).await.exits(0).json();
    assert_eq!(told["name"].as_str(), Some("alpha"));
    drop(beta);
    ground.type_in("status").await.exits(0);
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_with_its_reason() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    alpha.write(vec![set("name", "v"), incr("n", 1)]).await.unwrap();
    let digest = alpha.status().await.digest;

    let told = ground.cli(["set", &"k".repeat(513), "v"]).await.exits(4);
    told.says("a key has at most 512 bytes, this one has 513");
    let told = ground.cli(["set", "k", &"v".repeat(65_537)]).await.exits(4);
    told.says("a value has at most 65536 bytes, this one has 65537");
    ground.cli(["add", "s", &"e".repeat(4_097)]).await.exits(4).says("4096");
    ground.cli(["set", "", "v"]).await.exits(2).says("a key needs at least one character");
    ground.type_in("incr name").await.exits(4).says("name").says("register");
    ground.type_in("set n 7").await.exits(4).says("counter");
    ground.type_in("add n x").await.exits(4).says("counter");
    ground.type_in("incr n 9223372036854775808").await.exits(2);
    ground.type_in("incr n x").await.exits(2);
    ground.type_in("rm nowhere x").await.exits(1).says("no such key: nowhere");
    ground.type_in("del nmae").await.exits(1).says("no such key: nmae").says("try: chinwag del name");

    // What could steer a terminal: in a key, in a value, in a name.
    for key in ["a\u{1b}[2Jb", "a\nb", "a\u{202e}b", "\u{9b}31m", "\u{7}"] {
        ground.cli(["set", key, "v"]).await.exits(2).says("a key has no control characters");
        ground.cli(["get", key]).await.exits(2).says("a key has no control characters");
    }
    ground.cli(["-n", "a\u{1b}[2Jb", "status"]).await.exits(2);
    let not_utf8 = OsStr::from_bytes(&[b'a', 0xff, b'b']);
    for args in [[OsStr::new("set"), not_utf8, "v".as_ref()], [OsStr::new("set"), "k".as_ref(), not_utf8]] {
        ground.cli(args).await.exits(2).says("UTF-8");
    }
    assert_eq!(alpha.status().await.digest, digest, "nothing of all that was done");

    // A value may have them; it is shown escaped, and given raw to whoever asks for it raw.
    ground.cli(["set", "k", "a\u{1b}[2Jb"]).await.exits(0);
    assert_eq!(ground.type_in("get k").await.exits(0).out, "a\\u{1b}[2Jb\n");
    assert_eq!(ground.type_in("get k --raw").await.out, "a\u{1b}[2Jb");
}

#[tokio::test]
async fn a_watch_ends_with_an_error_when_its_daemon_is_killed() {
    let ground = Ground::new();
    let mut alpha = ground.start("alpha").await;
    let mut watch = ground.chinwag();
    watch.args(["watch", "--json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    let mut out = BufReader::new(watch.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.contains(r#""schema":"chinwag.ready/1""#), "{line}");
    alpha.write(vec![set("k", "v")]).await.unwrap();
    line.clear();
    out.read_line(&mut line).unwrap();
    let change: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((change["what"].as_str(), change["value"].as_str()), (Some("set"), Some("v")), "{line}");

    alpha.kill_9();
    let status =
        eventually("the watch ends", async || watch.try_wait().unwrap().ok_or("not yet".into())).await;
    let mut err = String::new();
    watch.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(status.code(), Some(3), "{err}");
    assert!(err.contains(r#""kind":"gone""#) && err.contains("chinwagd went away"), "{err}");
}

/// One that listens and never reads is told what it has missed, and holds nobody up.
#[tokio::test]
async fn a_watcher_that_does_not_read_misses_changes_and_is_told_so() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    let mut watch = alpha.client.watch(None).await.unwrap();
    for _ in 0..24 {
        alpha.write((0..1_000).map(|_| incr("n", 1)).collect()).await.unwrap();
    }
    let (mut changes, mut resets, mut last, mut count) = (0, 0, Count(0), Count(0));
    while count < Count(24_000) {
        match tokio::time::timeout(PATIENCE, watch.next()).await.expect("more is told").unwrap() {
            Watched::Ready(_) => {}
            Watched::Change(change) => {
                changes += 1;
                let What::Incr { count: now, .. } = change.what else { panic!("{change:?}") };
                assert!(now > last, "in order: {} after {}", now.0, last.0);
                (last, count) = (now, count.max(now));
            }
            Watched::Reset(_) => resets += 1,
            // After a reset: what is there now. Changes may follow that are in it already, but none that are lost.
            Watched::Cell(cell) => {
                let Content::Counter { count: now } = cell.content else { panic!("{cell:?}") };
                count = count.max(now);
            }
        }
    }
    eprintln!("{changes} of 24,000 changes were told, with {resets} gaps");
    assert!(changes == 24_000 || resets > 0, "{changes} changes and no word of the others");
    assert_eq!(alpha.status().await.keys, 1);
}

/// Sends a request to the API's socket and reads all that comes back.
fn ask(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    // A daemon that has heard enough may hang up while we still speak.
    let _ = stream.write_all(bytes);
    rest(stream)
}

/// The same with what is no whole request, so that we must hang up first.
fn mumble(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    rest(stream)
}

fn rest(mut stream: UnixStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
        .into()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_refuses_nonsense_in_its_own_words() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    alpha.write(vec![set("k", "v")]).await.unwrap();
    let digest = alpha.status().await.digest;
    let socket = alpha.client.socket();
    let deep = "[".repeat(100_000);
    let many = format!(r#"{{"ops":[{}]}}"#, vec![r#"{"op":"incr","key":"n","by":1}"#; 1_025].join(","));
    for (request, status, kind) in [
        (post("/v1/write", "{"), 400, "bad_request"),
        (post("/v1/write", ""), 400, "bad_request"),
        (post("/v1/write", &deep), 400, "bad_request"),
        (post("/v1/write", r#"{"ops":[]}"#), 400, "bad_request"),
        (post("/v1/write", r#"{"ops":[{"op":"dance","key":"k"}]}"#), 400, "bad_request"),
        (post("/v1/write", r#"{"ops":[{"op":"set","key":"k"}]}"#), 400, "bad_request"),
        (post("/v1/write", r#"{"ops":[{"op":"set","key":"k","value":"v"}],"flux":1}"#), 400, "bad_request"),
        (post("/v1/write", r#"{"ops":[{"op":"set","key":"a\u001b","value":"v"}]}"#), 400, "bad_request"),
        (post("/v1/write", &many), 413, "too_large"),
        (post("/v1/init", r#"{"name":"Not A Name"}"#), 400, "bad_request"),
        (post("/v1/invite", r#"{"uses":0}"#), 400, "bad_request"),
        (post("/v1/join", r#"{"token":"hello"}"#), 400, "invite_mistyped"),
        (post("/v1/status", "{}"), 404, "not_found"),
        (get("/v1/cells/%ff"), 400, "bad_request"),
        (get("/v1/cells/k?siblings=perhaps"), 400, "bad_request"),
        (get("/v1/cells/k?flux=1"), 400, "bad_request"),
        (get("/v1/keys?limit=-1"), 400, "bad_request"),
        (get("/v2/status"), 404, "not_found"),
        (get("/v1/cells/../../etc/passwd"), 404, "no_such_key"),
        (get("/v1/cells/nothing"), 404, "no_such_key"),
    ] {
        let reply = ask(socket, &request);
        let asked = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{asked}\n{reply}");
        assert!(reply.contains(r#"{"schema":"chinwag.error/1""#), "{asked}\n{reply}");
        assert!(reply.contains(&format!(r#""kind":"{kind}""#)), "{asked}\n{reply}");
    }

    // A body over its limit, announced and sent; one that is announced as endless; what is no HTTP at all.
    let huge = "x".repeat(9 * 1024 * 1024);
    let reply = ask(socket, &post("/v1/write", &huge));
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply:.300}");
    let endless = b"POST /v1/write HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551615\r\n\r\n{";
    let _ = mumble(socket, endless);
    for noise in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], &[0; 4_096], &[0xff; 4_096], b"GET\r\n\r\n"] {
        let reply = mumble(socket, noise);
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 400 "), "{reply}");
    }
    // Many that say nothing and hold on.
    let idle: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(socket).unwrap()).collect();
    let status = alpha.status().await;
    assert!(status.healthy && status.digest == digest, "{status:?}");
    drop(idle);
    assert!(ask(socket, &get("/healthz")).starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads() {
    let ground = Ground::new();
    let [alpha, _beta, mut gamma] = ground.overlay(["alpha", "beta", "gamma"]).await;
    alpha.write_everywhere(vec![set("k", "v")]).await;
    let text = || {
        let reply = ask(alpha.client.socket(), &get("/metrics"));
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("application/openmetrics-text"), "{head}");
        body.to_owned()
    };
    let value = |text: &str, series: &str| -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    };
    let seen = text();
    assert!(seen.ends_with("# EOF\n"), "{seen}");
    let mut described = None;
    for line in seen.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ").or_else(|| line.strip_prefix("# HELP ")) {
            described = rest.split(' ').next();
        } else if !line.starts_with("# UNIT ") {
            let (series, number) = line.rsplit_once(' ').unwrap();
            assert!(number.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            assert!(series.starts_with(described.unwrap()), "{line} stands under {described:?}");
        }
    }
    for (series, expected) in [
        ("chinwag_members{state=\"alive\"}", 3.0),
        ("chinwag_members{state=\"down\"}", 0.0),
        ("chinwag_connections", 2.0),
        ("chinwag_keys", 1.0),
        ("chinwag_storage_healthy", 1.0),
        ("chinwag_events_total{event=\"member.alive\"}", 2.0),
        ("chinwag_member_stall_seconds{member=\"beta\"}", 0.3),
    ] {
        assert_eq!(value(&seen, series), Some(expected), "{series} in {seen}");
    }
    for series in ["member_phi", "member_timeout_seconds", "member_round_trip_seconds"] {
        for name in ["beta", "gamma"] {
            let series = format!("chinwag_{series}{{member=\"{name}\"}}");
            assert!(value(&seen, &series).is_some(), "{series} in {seen}");
        }
    }
    assert!(value(&seen, "chinwag_received_bytes_total").is_some_and(|bytes| bytes > 0.0), "{seen}");
    gamma.kill_9();
    eventually("gamma is down in the metrics", async || {
        let seen = text();
        so(value(&seen, "chinwag_members{state=\"down\"}") == Some(1.0), || seen.clone())
    })
    .await;
    assert_eq!(value(&text(), "chinwag_member_phi{member=\"gamma\"}"), None, "nobody observes the dead");
}

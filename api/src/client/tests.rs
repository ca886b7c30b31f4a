//! The client against a daemon that says what the test wants.

use super::fake::{Fake, Says};
use super::stream::Heard;
use super::*;
use crate::{
    Bytes, Change, Content, Count, KeyRow, Outcome, Position, Ready, Reset, Token, Wait, Watched, What,
    WriteOp, to_json,
};
use crate::{CellKind, Failure as F};

fn socket() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    (dir, socket)
}

fn sse(name: &str, data: &impl crate::Schema) -> String {
    format!("event: {name}\ndata: {}\n\n", to_json(data))
}

fn change(key: &str) -> Change {
    let what = What::Set { value: "v".into() };
    Change {
        at_unix_ms: 1,
        key: key.into(),
        field: vec![],
        what,
        origin: "a".into(),
        age_ms: 0,
        was: vec![],
        concurrent: false,
        position: Some(Position("7.1".into())),
    }
}

#[tokio::test]
async fn a_read_asks_for_the_escaped_key() {
    let (_dir, socket) = socket();
    let cell = Cell::new("a/b c", Content::Counter { count: Count(42) });
    let reply = cell.clone();
    let fake = Fake::listen(&socket, move |_| Says::yes(&reply));
    let query = CellQuery { siblings: true, after: Some(Token("t+1".into())), timeout_ms: Some(50) };
    assert_eq!(Client::new(&socket).cell("a/b c", &query).await, Ok(cell));
    assert_eq!(fake.asked()[0].path, "/v1/cells/a%2Fb%20c?siblings&after=t%2B1&timeout_ms=50");
}

#[tokio::test]
async fn a_write_is_posted_as_the_contract_says() {
    let (_dir, socket) = socket();
    let results = vec![Outcome::Incr { key: "n".into(), by: 2, count: Count(5) }];
    let reply =
        WriteReply { token: Token("t".into()), holders: 3, of: 3, met: true, after_ms: 94.0, results };
    let said = reply.clone();
    let fake = Fake::listen(&socket, move |_| Says::yes(&said));
    let ops = vec![WriteOp::Incr { key: "n".into(), by: 2 }.into()];
    let request = WriteRequest { ops, wait: Some(Wait::All), timeout_ms: None };
    assert_eq!(Client::new(&socket).write(&request).await, Ok(reply));
    let asked = &fake.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/write"));
    assert_eq!(asked.body, r#"{"ops":[{"op":"incr","key":"n","by":2}],"wait":"all"}"#);
}

#[tokio::test]
async fn a_refusal_is_passed_on_in_the_daemons_words() {
    let (_dir, socket) = socket();
    let refusal = F::new(Kind::WrongKind, "`visits` is a counter").hint("chinwag get visits");
    let said = refusal.clone();
    let _fake = Fake::listen(&socket, move |_| Says::no(&said));
    assert_eq!(Client::new(&socket).keys(&KeysQuery::default()).await, Err(refusal));
}

#[tokio::test]
async fn every_way_not_to_answer_is_told_apart() {
    let (_dir, socket) = socket();
    let client = Client::new(&socket).with_timeout(Duration::from_millis(100));
    let kind = |result: Result<Status, F>| result.unwrap_err().kind;
    assert_eq!(kind(client.status().await), Kind::Unreachable, "no socket");

    let ways = [
        (Says::Silence, Kind::Timeout),
        (Says::Raw(Vec::new()), Kind::Gone),
        (Says::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec()), Kind::Gone),
        (Says::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec()), Kind::Gone),
        (Says::Reply(200, "{".into()), Kind::Incompatible),
        (Says::Reply(200, r#"{"schema":"chinwag.status/2"}"#.into()), Kind::Incompatible),
        (Says::Reply(200, r#"{"schema":"chinwag.status/1"}"#.into()), Kind::Incompatible),
        (Says::Reply(500, "<html>".into()), Kind::Incompatible),
    ];
    for (says, expected) in ways {
        let _ = std::fs::remove_file(&socket);
        let said = says.clone();
        let _fake = Fake::listen(&socket, move |_| said.clone());
        assert_eq!(kind(client.status().await), expected, "{says:?}");
    }
    // The last fake is gone, its socket is not.
    tokio::task::yield_now().await;
    assert_eq!(kind(client.status().await), Kind::Unreachable, "a socket that nobody listens on");
}

#[tokio::test]
async fn a_watch_ends_with_an_error_when_the_daemon_goes_away() {
    let (_dir, socket) = socket();
    let ready = Ready { name: "alpha".into(), position: None };
    let text = format!(
        "{}: alive\n\n{}event: later\ndata: ?\n\n{}",
        sse("ready", &ready),
        sse("change", &change("a")),
        sse("change", &change("b"))
    );
    let fake = Fake::listen(&socket, move |_| Says::Stream(text.clone()));
    let mut watch = Client::new(&socket).watch(Some("gr*")).await.unwrap();
    assert_eq!(watch.next().await, Ok(Watched::Ready(ready)));
    assert_eq!(watch.next().await, Ok(Watched::Change(change("a"))));
    assert_eq!(
        watch.next().await,
        Ok(Watched::Change(change("b"))),
        "names of later versions are passed over"
    );
    assert_eq!(watch.next().await.unwrap_err().kind, Kind::Gone);
    assert_eq!(fake.asked()[0].path, "/v1/watch?pattern=gr%2A");
}

#[tokio::test]
async fn a_watch_goes_on_after_a_position() {
    let (_dir, socket) = socket();
    let cell = Cell::new("k", Content::Counter { count: Count(1) });
    let reset = Reset { message: "too far back".into() };
    let text = format!("{}{}", sse("reset", &reset), sse("cell", &cell));
    let fake = Fake::listen(&socket, move |_| Says::Stream(text.clone()));
    let client = Client::new(&socket);
    let mut watch = client.watch_after(Some("k"), Some(&Position("7.1".into()))).await.unwrap();
    assert_eq!(watch.next().await, Ok(Watched::Reset(reset)));
    assert_eq!(watch.next().await, Ok(Watched::Cell(cell)));
    assert_eq!(fake.asked()[0].path, "/v1/watch?pattern=k&after=7.1");
}

#[tokio::test]
async fn a_stream_that_is_not_chinwags_is_refused() {
    let (_dir, socket) = socket();
    let _fake = Fake::listen(&socket, |_| Says::Stream("event: event\ndata: [1]\n\n".into()));
    let mut events = Client::new(&socket).events().await.unwrap();
    let heard: Result<Heard, F> = events.next().await;
    assert_eq!(heard.unwrap_err().kind, Kind::Incompatible);
}

#[tokio::test]
async fn pages_of_cells_are_followed_by_their_next() {
    let (_dir, socket) = socket();
    let cell = Cell::new("a", Content::Counter { count: Count(1) });
    let page = Cells { cells: vec![cell], next: Some("a".into()) };
    let said = page.clone();
    let fake = Fake::listen(&socket, move |_| Says::yes(&said));
    let after = Some("a/b".into());
    let (after_write, timeout_ms) = (Some(Token("t,u".into())), Some(9));
    let prefix = Some("a/".into());
    let query = CellsQuery { prefix, siblings: true, limit: Some(1), after, after_write, timeout_ms };
    assert_eq!(Client::new(&socket).cells(&query).await, Ok(page));
    assert_eq!(
        fake.asked()[0].path,
        "/v1/cells?prefix=a%2F&siblings&limit=1&after=a%2Fb&after_write=t%2Cu&timeout_ms=9"
    );
}

#[tokio::test]
async fn pages_of_keys_are_followed_by_their_next() {
    let (_dir, socket) = socket();
    let page =
        Keys { keys: vec![KeyRow { key: "a".into(), kind: CellKind::Register }], next: Some("a".into()) };
    let said = page.clone();
    let fake = Fake::listen(&socket, move |_| Says::yes(&said));
    let (after, after_write) = (Some("0".into()), Some(Token("t".into())));
    let query = KeysQuery { pattern: Some("*".into()), limit: Some(1), after, after_write, timeout_ms: None };
    assert_eq!(Client::new(&socket).keys(&query).await, Ok(page));
    assert_eq!(fake.asked()[0].path, "/v1/keys?pattern=%2A&limit=1&after=0&after_write=t");
    assert_eq!(Bytes::from("x").to_string(), "\"x\"");
}

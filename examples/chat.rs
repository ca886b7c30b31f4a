//! A chat room on a shared set: each message is an element, so two who speak at once are both heard.
//!
//! It teaches the API's client over a daemon's Unix socket: finding a daemon of this user, adding to a set, and
//! watching a key. And why the room is a set: of two concurrent writes of a *register* one is shown, but adds of
//! different elements never meet each other. An element begins with the time, so that sorted is in order.
//!
//! ```console
//! $ cargo run --example chat -- --demo     two members in this program talk to each other
//! $ cargo run --example chat -- alpha      talk through the daemon alpha, such as one of `chinwag lab 3`
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod common;

use chinwag_api::runtime::Runtime;
use chinwag_api::{CellQuery, Client, Content, Kind, Watched, What, WriteOp, WriteRequest};
use std::error::Error;
use std::io::{IsTerminal as _, stdin};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The key of the room.
const ROOM: &str = "chat/room";

#[tokio::main]
async fn main() -> Outcome<()> {
    match std::env::args().nth(1).as_deref() {
        Some("--demo") => demo().await,
        name => {
            let (who, client) = daemon(name)?;
            talk(&who, &client).await
        }
    }
}

/// A daemon of this user that runs: the one of this name, or the only one.
fn daemon(name: Option<&str>) -> Outcome<(String, Client)> {
    let mut live = Runtime::of_user().list()?.live;
    live.retain(|entry| name.is_none_or(|name| entry.name.as_str() == name));
    match live.as_slice() {
        [entry] => Ok((entry.name.to_string(), Client::new(&entry.socket))),
        [] => Err("no such daemon runs; try: chinwag lab 3, and then: --example chat -- alpha".into()),
        _ => Err("several daemons run; say the name of one".into()),
    }
}

/// Says what is typed and shows what is said, until standard input ends.
async fn talk(who: &str, client: &Client) -> Outcome<()> {
    // First listen, then read: what is said in between is heard twice rather than not at all.
    let mut watch = client.watch(Some(ROOM)).await?;
    for message in history(client).await? {
        println!("{}", shown(&message));
    }
    if stdin().is_terminal() {
        println!("(you are {who}; type and press return, end with Ctrl-D)");
    }
    // A thread, because a read of standard input cannot be given up.
    let (typed, mut lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            if typed.blocking_send(line).is_err() {
                break;
            }
        }
    });
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) if line.trim().is_empty() => {}
                Some(line) => say(client, who, &line).await?,
                None => return Ok(()),
            },
            told = watch.next() => {
                if let Some(message) = added(told?) {
                    println!("{}", shown(&message));
                }
            }
        }
    }
}

/// Adds a message to the room.
async fn say(client: &Client, who: &str, text: &str) -> Outcome<()> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let message = format!("{now_ms} {who}: {text}");
    let add = WriteOp::Add { key: ROOM.into(), elements: vec![message.as_str().into()] };
    client.write(&WriteRequest { ops: vec![add.into()], ..WriteRequest::default() }).await?;
    Ok(())
}

/// All messages so far, in order: a set's elements come sorted.
async fn history(client: &Client) -> Outcome<Vec<String>> {
    match client.cell(ROOM, &CellQuery::default()).await {
        Ok(cell) => match cell.content {
            Content::Set { elements } => {
                Ok(elements.iter().filter_map(|e| e.as_text().map(str::to_owned)).collect())
            }
            other => Err(format!("{ROOM} is a {}, not a set", other.kind()).into()),
        },
        Err(failure) if failure.kind == Kind::NoSuchKey => Ok(Vec::new()),
        Err(failure) => Err(failure.into()),
    }
}

/// The message that a change has added.
fn added(told: Watched) -> Option<String> {
    match told {
        Watched::Change(change) => match change.what {
            What::Add { value } => value.as_text().map(str::to_owned),
            _ => None,
        },
        Watched::Ready(_) | Watched::Reset(_) | Watched::Cell(_) => None,
    }
}

/// A message without its time. Control characters of a stranger's message must not reach a terminal.
fn shown(message: &str) -> String {
    let text = message.split_once(' ').map_or(message, |(_, text)| text);
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Two members, and what bob's terminal shows.
async fn demo() -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let ada = common::start(dir.path(), "ada", None).await?;
    let bob = common::start(dir.path(), "bob", Some(&ada)).await?;
    let (adas, bobs) = (common::client(dir.path(), "ada"), common::client(dir.path(), "bob"));
    let mut watch = bobs.watch(Some(ROOM)).await?;

    say(&adas, "ada", "is anybody here?").await?;
    hear(&mut watch, 1).await?;
    say(&bobs, "bob", "I am").await?;
    hear(&mut watch, 1).await?;
    println!("(both speak at once)");
    let (a, b) = tokio::join!(say(&adas, "ada", "lunch?"), say(&bobs, "bob", "lunch?"));
    a?;
    b?;
    hear(&mut watch, 2).await?;

    // The same four messages are at ada, whoever was heard first.
    while history(&adas).await?.len() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("ada and bob hold the same room: {}", history(&adas).await? == history(&bobs).await?);
    bob.leave().await;
    ada.leave().await;
    Ok(())
}

/// Shows so many messages as they arrive.
async fn hear(watch: &mut chinwag_api::client::Watch, messages: usize) -> Outcome<()> {
    let mut heard = 0;
    while heard < messages {
        if let Some(message) = added(watch.next().await?) {
            println!("{}", shown(&message));
            heard += 1;
        }
    }
    Ok(())
}

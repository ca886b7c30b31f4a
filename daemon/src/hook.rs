//! A command of the operator's, run for each thing that happens to a member, in the manner of serf's event handlers.
//!
//! It is told what happened in its environment (`CHINWAG_EVENT`, `CHINWAG_MEMBER`, and `CHINWAG_NAME`, which makes a
//! `chinwag` that it runs ask this daemon) and, as the API's JSON, on standard input. One runs at a time, in the order of what
//! happened. What comes faster than it can be told waits, and what finds no room is dropped, as the log
//! tells: the daemon never waits for a command.

use crate::observe::Told;
use chinwag_api::NodeEvent;
use chinwag_api::schema::to_json;
use chinwag_base::limits::{HOOK_QUEUE_MAX, HOOK_SPACING_MS, HOOK_TIMEOUT_MS};
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

/// What the command is told of.
const EVENTS: [&str; 7] = [
    "member.alive",
    "member.suspect",
    "member.down",
    "member.left",
    "member.tagged",
    "member.reaped",
    "member.name_conflict",
];
/// Drops are told at most so often.
const DROPS_TOLD_EVERY: Duration = Duration::from_secs(1);
/// Of the daemon's own settings, those that are no business of a command: secrets, and the service manager's ear.
const NOT_INHERITED: [&str; 5] =
    ["CHINWAG_JOIN", "CHINWAG_INIT", "CHINWAG_INVITE_TO", "CHINWAG_ON_MEMBER", "NOTIFY_SOCKET"];
/// Of what a command says on standard error, so much is kept for the log.
const SAID_BYTES_MAX: u64 = 512;
/// How long we listen on once the command has ended: a child of its own may hold its standard error open.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Runs `command` for every event of a member, until nothing more can happen.
pub(crate) async fn run(command: String, name: String, mut events: broadcast::Receiver<Arc<Told>>) {
    let (queue, waiting) = mpsc::channel(HOOK_QUEUE_MAX);
    let listen = async move {
        let (mut unsaid, mut said): (u64, Option<Instant>) = (0, None);
        loop {
            let dropped = match events.recv().await {
                Ok(told) if EVENTS.contains(&told.event.event.as_str()) => {
                    u64::from(queue.try_send(told).is_err())
                }
                Ok(_) => 0,
                // Of the ones that we have missed some may have been members'.
                Err(RecvError::Lagged(missed)) => missed,
                Err(RecvError::Closed) => return,
            };
            unsaid += dropped;
            if unsaid > 0 && said.is_none_or(|said| said.elapsed() >= DROPS_TOLD_EVERY) {
                tracing::warn!(target: "chinwag", event = "hook.dropped", dropped = unsaid);
                (unsaid, said) = (0, Some(Instant::now()));
            }
        }
    };
    tokio::join!(listen, work(command, name, waiting));
}

async fn work(command: String, name: String, mut waiting: mpsc::Receiver<Arc<Told>>) {
    while let Some(told) = waiting.recv().await {
        let next = Instant::now() + Duration::from_millis(HOOK_SPACING_MS);
        let why = once(&command, &name, &told.event, Duration::from_millis(HOOK_TIMEOUT_MS)).await;
        if let Err(why) = why {
            tracing::warn!(target: "chinwag", event = "hook.failed", of = told.event.event, why);
        }
        sleep_until(next).await;
    }
}

/// Runs the command for one event.
async fn once(command: &str, name: &str, event: &NodeEvent, within: Duration) -> Result<(), String> {
    let about = event.fields.get("name").and_then(|name| name.as_str()).unwrap_or_default();
    let mut shell = Command::new("/bin/sh");
    for name in NOT_INHERITED {
        shell.env_remove(name);
    }
    let mut child = shell
        .args(["-c", command])
        .env("CHINWAG_EVENT", &event.event)
        .env("CHINWAG_MEMBER", about)
        .env("CHINWAG_NAME", name)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("it cannot be started: {e}"))?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(id as i32)));
    match timeout(within, converse(&mut child, &(to_json(event) + "\n"))).await {
        Ok(ended) => {
            group.let_be();
            ended
        }
        Err(_) => {
            drop(group);
            let _ = child.wait().await;
            Err(format!("it was ended, because it ran for more than {} s", within.as_secs_f64()))
        }
    }
}

/// The command and all that it has started, which is killed with it: when its time is over, and when the daemon stops.
struct Group(Option<Pid>);

impl Group {
    /// It has ended by itself, and what it left behind is its own affair.
    fn let_be(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Tells the command what happened, and hears what it says until it ends.
async fn converse(child: &mut Child, event: &str) -> Result<(), String> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut said = Vec::new();
    let listen = async {
        if let Some(stderr) = stderr {
            let mut stderr = stderr.take(SAID_BYTES_MAX);
            let _ = stderr.read_to_end(&mut said).await;
            // The rest is read too, so that it is not stopped in the middle of a word.
            let _ = tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await;
        }
    };
    let run = async {
        if let Some(mut stdin) = stdin {
            // It need not listen.
            let _ = stdin.write_all(event.as_bytes()).await;
        }
        child.wait().await.map_err(|e| e.to_string())
    };
    let status = {
        tokio::pin!(listen, run);
        let mut silent = false;
        let status = loop {
            tokio::select! {
                status = &mut run => break status?,
                () = &mut listen, if !silent => silent = true,
            }
        };
        if !silent {
            let _ = timeout(LAST_WORDS, listen).await;
        }
        status
    };
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let first = said.lines().next().unwrap_or_default().trim();
    Err(if first.is_empty() { status.to_string() } else { format!("{status}: {}", first.escape_debug()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_api::event::Level;
    use serde_json::Map;
    use tokio::time::sleep;

    fn event(event: &str, member: &str) -> NodeEvent {
        let fields = Map::from_iter([("name".to_owned(), member.into())]);
        NodeEvent { at_unix_ms: 1, level: Level::Info, event: event.into(), fields }
    }

    async fn ran(command: &str, within_ms: u64) -> Result<(), String> {
        once(command, "alpha", &event("member.down", "gamma"), Duration::from_millis(within_ms)).await
    }

    #[tokio::test]
    async fn a_command_is_told_what_happened() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("said");
        let command =
            format!("{{ echo $CHINWAG_EVENT $CHINWAG_MEMBER $CHINWAG_NAME; cat; }} > {}", file.display());
        assert_eq!(ran(&command, 10_000).await, Ok(()));
        let said = std::fs::read_to_string(file).unwrap();
        let (env, json) = said.split_once('\n').unwrap();
        assert_eq!(env, "member.down gamma alpha");
        assert!(json.starts_with(r#"{"schema":"chinwag.event/1","at_unix_ms":1"#), "{json}");
        assert_eq!(ran("exec <&-; exit 0", 10_000).await, Ok(()), "it need not listen");
    }

    #[tokio::test]
    async fn a_command_that_fails_is_heard() {
        assert_eq!(
            ran("echo 'no \u{1b}such thing' >&2; echo more >&2; exit 3", 10_000).await.unwrap_err(),
            "exit status: 3: no \\u{1b}such thing"
        );
        assert_eq!(ran("exit 1", 10_000).await.unwrap_err(), "exit status: 1");
        let endless = ran("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 2", 10_000).await.unwrap_err();
        assert!(endless.len() < 600 && endless.starts_with("exit status: 2: xxx"), "{endless}");
        assert_eq!(
            ran("sleep 100 >&2 & exit 0", 10_000).await,
            Ok(()),
            "what it leaves behind is not waited for"
        );
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let command = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let why = ran(&command, 500).await.unwrap_err();
        assert!(why.starts_with("it was ended, because it ran for more than 0.5 s"), "{why}");
        gone(&file).await;
    }

    #[tokio::test]
    async fn a_command_ends_with_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let command = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let hook = tokio::spawn(async move { ran(&command, 100_000).await });
        while std::fs::read_to_string(&file).map_or(true, |pid| !pid.ends_with('\n')) {
            sleep(Duration::from_millis(10)).await;
        }
        hook.abort();
        assert!(hook.await.is_err());
        gone(&file).await;
    }

    /// Waits until the process whose id is in this file is dead.
    async fn gone(file: &std::path::Path) {
        let pid = std::fs::read_to_string(file).unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        for _ in 0..100 {
            // A zombie that nobody has collected yet is dead as well.
            if stat().map_or(true, |stat| stat.contains(") Z ")) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("it lives: {:?}", stat());
    }

    #[tokio::test]
    async fn events_are_told_in_order_and_never_faster_than_they_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("said");
        let (tell, events) = broadcast::channel(1_024);
        let command = format!("echo $CHINWAG_MEMBER >> {}", file.display());
        let hook = tokio::spawn(run(command, "alpha".into(), events));
        let begun = Instant::now();
        for n in 0..5 {
            for name in ["write.applied", "member.alive"] {
                let event = event(name, &format!("m{n}"));
                tell.send(Arc::new(Told { event, change: None })).unwrap();
            }
        }
        drop(tell);
        timeout(Duration::from_secs(30), hook).await.expect("it ends with its events").unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "m0\nm1\nm2\nm3\nm4\n");
        assert!(begun.elapsed() >= Duration::from_millis(5 * HOOK_SPACING_MS), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_and_the_rest_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (gate, file) = (dir.path().join("gate"), dir.path().join("said"));
        let (tell, events) = broadcast::channel(4_096);
        let command = format!(
            "while [ ! -e {} ]; do sleep 0.01; done; echo $CHINWAG_MEMBER >> {}",
            gate.display(),
            file.display()
        );
        let hook = tokio::spawn(run(command, "alpha".into(), events));
        for n in 0..HOOK_QUEUE_MAX * 2 {
            let event = event("member.alive", &format!("m{n}"));
            tell.send(Arc::new(Told { event, change: None })).unwrap();
        }
        drop(tell);
        // All has been heard before the first command ends.
        sleep(Duration::from_millis(300)).await;
        std::fs::write(gate, "").unwrap();
        timeout(Duration::from_secs(60), hook).await.expect("it ends with its events").unwrap();
        let said = std::fs::read_to_string(file).unwrap();
        let told = said.lines().count();
        assert!((HOOK_QUEUE_MAX..=HOOK_QUEUE_MAX + 1).contains(&told), "{told}");
        assert!(said.starts_with("m0\nm1\n"), "{said}");
    }
}

//! A daemon as a process: started, asked, paused, killed, and its log read.

use crate::harness::{Ground, PATIENCE, eventually, so};
use chinwag_api::runtime::Runtime;
use chinwag_api::{
    Cell, CellQuery, Client, Content, Failure, Member, MemberState, Status, Wait, WriteOp, WriteReply,
    WriteRequest,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Rows of a daemon's log that a failed test shows.
const LOG_ROWS_SHOWN: usize = 40;

/// One row of a daemon's log.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Row {
    pub(crate) at_unix_ms: u64,
    pub(crate) event: String,
    pub(crate) fields: Map<String, Value>,
}

impl Row {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// A running daemon, or one that ran.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) client: Client,
    runtime: PathBuf,
    command: Command,
    log: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts one with this command and, this once, with more arguments. It does not wait for it.
    pub(crate) fn spawn(ground: &Ground, name: &str, command: Command, once: &[&str]) -> Self {
        let log = ground.path().join(format!("{name}.log"));
        let child = spawn(&command, &log, once);
        Daemon {
            name: name.to_owned(),
            data: ground.data(name),
            client: Client::new(ground.runtime().join("nobody.sock")),
            runtime: ground.runtime().to_owned(),
            command,
            log,
            child,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn must_answer(&mut self) {
        if let Err(status) = self.answers().await {
            panic!("{} did not start: {status}", self.name);
        }
    }

    /// Waits until it has announced itself and answers, or has ended.
    pub(crate) async fn answers(&mut self) -> Result<(), ExitStatus> {
        let runtime = Runtime::at(&self.runtime);
        let begun = Instant::now();
        loop {
            let entry = runtime.entry_of(self.pid()).unwrap();
            if let Some(entry) = entry {
                self.client = Client::new(entry.socket);
                if self.client.status().await.is_ok() {
                    return Ok(());
                }
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(status);
            }
            assert!(begun.elapsed() < PATIENCE, "{} does not answer", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts it again on the same home, once it has ended.
    pub(crate) async fn start_again(&mut self) {
        self.spawn_again();
        self.must_answer().await;
    }

    /// The same, where it may refuse to.
    pub(crate) async fn try_start_again(&mut self) -> Result<(), ExitStatus> {
        self.spawn_again();
        self.answers().await
    }

    /// Starts it again, once it has ended, and does not wait for it.
    pub(crate) fn spawn_again(&mut self) {
        self.child.wait().unwrap();
        self.child = spawn(&self.command, &self.log, &[]);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it at whatever instruction it is.
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends its standard input, as the end of the program that started it would.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// How it ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let child = &mut self.child;
        let ended = async || child.try_wait().unwrap().ok_or_else(|| "it still runs".to_owned());
        eventually(&format!("{name} ends"), ended).await
    }

    /// A new invite.
    pub(crate) async fn invite(&self) -> String {
        self.client.invite(&Default::default()).await.unwrap().token
    }

    pub(crate) async fn status(&self) -> Status {
        self.client.status().await.unwrap_or_else(|e| panic!("{} has no status: {e}", self.name))
    }

    /// What it believes of the member `name`.
    pub(crate) async fn sees(&self, name: &str) -> Option<Member> {
        let members = self.client.members().await.unwrap().members;
        members.into_iter().find(|member| member.name == name)
    }

    /// Waits until it believes that the member `name` is in this state.
    pub(crate) async fn comes_to_see(&self, name: &str, state: MemberState) {
        eventually(&format!("{} sees {name} as {state}", self.name), async || {
            let seen = self.sees(name).await.map(|member| member.state);
            so(seen == Some(state), || format!("it sees {seen:?}"))
        })
        .await;
    }

    pub(crate) async fn write(&self, ops: Vec<WriteOp>) -> Result<WriteReply, Failure> {
        let ops = ops.into_iter().map(Into::into).collect();
        self.client.write(&WriteRequest { ops, ..WriteRequest::default() }).await
    }

    /// Writes, and waits until all members have it.
    pub(crate) async fn write_everywhere(&self, ops: Vec<WriteOp>) -> WriteReply {
        let timeout_ms = Some(PATIENCE.as_millis() as u64);
        let ops = ops.into_iter().map(Into::into).collect();
        let reply = self.client.write(&WriteRequest { ops, wait: Some(Wait::All), timeout_ms }).await;
        let reply = reply.unwrap_or_else(|e| panic!("{} refuses to write: {e}", self.name));
        assert!(reply.met, "{reply:?}");
        reply
    }

    /// What it holds under `key`.
    pub(crate) async fn get(&self, key: &str) -> Result<Content, Failure> {
        self.client.cell(key, &CellQuery::default()).await.map(|Cell { content, .. }| content)
    }

    /// All that it said on standard output and standard error, over all its starts.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The rows of its log, over all its starts. What else it printed is left out.
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The rows of its log that tell of this event, over all its starts.
    pub(crate) fn told(&self, event: &str) -> Vec<Row> {
        self.rows().into_iter().filter(|row| row.event == event).collect()
    }

    /// The names of all members that it ever suspected or believed dead.
    pub(crate) fn accused(&self) -> Vec<String> {
        let mut accused: Vec<String> = ["member.suspect", "member.down"]
            .iter()
            .flat_map(|event| self.told(event))
            .map(|row| row.field("name").to_owned())
            .collect();
        accused.sort();
        accused.dedup();
        accused
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let rows: Vec<&str> = log.lines().filter(|row| !row.contains(r#""api.call""#)).collect();
            let shown = &rows[rows.len().saturating_sub(LOG_ROWS_SHOWN)..];
            eprintln!("--- the end of the log of {} ({}):\n{}", self.name, self.pid(), shown.join("\n"));
        }
    }
}

fn spawn(command: &Command, log: &Path, once: &[&str]) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    // Arguments cannot be taken back, so the one start that has more of them has a command of its own.
    let mut this = Command::new(command.get_program());
    this.args(command.get_args()).args(once).env_clear();
    this.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    this.current_dir(command.get_current_dir().unwrap());
    this.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

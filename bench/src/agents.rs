//! Programs that keep a membership, as processes: chinwag's daemon and serf's agent. What each believes is read from its own
//! log, line by line as it writes it, so nobody is polled.

use crate::processes::Binaries;
use anyhow::{Context as _, Result, bail, ensure};
use chinwag_api::runtime::Runtime;
use chinwag_api::{Client, InviteRequest};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, PipeReader};
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the first agent may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often we look.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A key for serf's gossip, so that both encrypt what they say. It is no secret.
const SERF_KEY: &str = "Y2hpbndhZy1iZW5jaC1pcy1uby1zZWNyZXQtYXQtYWw=";

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// `chinwagd`.
    Chinwag,
    /// `serf agent`.
    Serf,
}

impl System {
    /// As it is called in results.
    pub fn name(self) -> &'static str {
        match self {
            System::Chinwag => "chinwag",
            System::Serf => "serf",
        }
    }

    /// What a line of the log says of which member.
    fn read(self, line: &str) -> Option<(String, Belief)> {
        match self {
            System::Chinwag => {
                let row: Value = serde_json::from_str(line).ok()?;
                let belief = match row.get("event")?.as_str()? {
                    "member.alive" => Belief::Alive,
                    "member.down" => Belief::Down,
                    _ => return None,
                };
                Some((row.get("fields")?.get("name")?.as_str()?.to_owned(), belief))
            }
            System::Serf => {
                let said = line.split_once("serf: EventMember")?.1;
                let (what, of) = said.split_once(": ")?;
                let belief = match what {
                    "Join" => Belief::Alive,
                    "Failed" => Belief::Down,
                    _ => return None,
                };
                Some((of.split_whitespace().next()?.to_owned(), belief))
            }
        }
    }
}

/// What an agent says of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// It is there.
    Alive,
    /// It has failed.
    Down,
}

/// What one agent believes of each other one, and since when; and each death that it has told of.
#[derive(Debug, Default)]
struct Beliefs {
    now: BTreeMap<String, (Belief, Instant)>,
    deaths: Vec<(String, Instant)>,
}

/// One process.
#[derive(Debug)]
pub struct Agent {
    /// Its name.
    pub name: String,
    child: Child,
    beliefs: Arc<Mutex<Beliefs>>,
    reader: Option<JoinHandle<()>>,
}

impl Agent {
    fn start(system: System, name: String, mut command: Command) -> Result<Self> {
        let (log, writer) = std::io::pipe().context("cannot make a pipe")?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        // It holds the pipe's other end, which the reader must see closed when the process has ended.
        drop(command);
        let beliefs = Arc::new(Mutex::new(Beliefs::default()));
        let (own, noted) = (name.clone(), beliefs.clone());
        let reader = std::thread::spawn(move || note(system, &own, log, &noted));
        Ok(Agent { name, child, beliefs, reader: Some(reader) })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When it came to believe this of the last of those members; `None` while it does not of all.
    fn since(&self, of: &BTreeSet<String>, belief: Belief) -> Option<Instant> {
        let beliefs = self.beliefs.lock().expect("unpoisoned, because the reader does not panic");
        let since = of.iter().filter(|name| **name != self.name).map(|name| match beliefs.now.get(name) {
            Some((held, at)) if *held == belief => Some(*at),
            _ => None,
        });
        since.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// How many deaths it has told of that were none: of members that ran.
    fn false_deaths(&self, killed: &BTreeMap<String, Instant>) -> usize {
        let beliefs = self.beliefs.lock().expect("unpoisoned, because the reader does not panic");
        let is_false = |(name, at): &&(String, Instant)| killed.get(name).is_none_or(|killed| at < killed);
        beliefs.deaths.iter().filter(is_false).count()
    }

    fn kill(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn note(system: System, own: &str, log: PipeReader, beliefs: &Mutex<Beliefs>) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        if let Some((name, belief)) = system.read(&line).filter(|(name, _)| name != own) {
            let mut beliefs = beliefs.lock().expect("unpoisoned, because nobody panics with it");
            let before = beliefs.now.get(&name).map(|(held, _)| *held);
            // Said again, it is believed since it was said first.
            if before != Some(belief) {
                let at = Instant::now();
                if belief == Belief::Down {
                    beliefs.deaths.push((name.clone(), at));
                }
                beliefs.now.insert(name, (belief, at));
            }
        }
    }
}

/// Agents of one system on loopback, with its usual settings. They end, killed, with this value.
#[derive(Debug)]
pub struct Agents {
    system: System,
    agents: Vec<Agent>,
    killed: BTreeMap<String, Instant>,
    /// How long it took from the start of all but the first until everybody knew everybody.
    pub joined: Duration,
    /// Goes last.
    _dir: TempDir,
}

impl Agents {
    /// Starts one, waits until it is there, then starts the others at once and waits until all know all.
    ///
    /// # Errors
    /// If one does not start, or they do not meet within `limit`.
    pub async fn start(system: System, binaries: &Binaries, count: usize, limit: Duration) -> Result<Self> {
        // A short path, because sockets are in it.
        let dir = tempfile::Builder::new().prefix("cw-bench-").tempdir_in("/tmp");
        let dir = dir.context("cannot make a directory in /tmp")?;
        let mut agents =
            Agents { system, agents: Vec::new(), killed: BTreeMap::new(), joined: Duration::ZERO, _dir: dir };
        let begun = match system {
            System::Chinwag => agents.start_chinwag(binaries, count).await?,
            System::Serf => agents.start_serf(count).await?,
        };
        let all: BTreeSet<String> = agents.agents.iter().map(|agent| agent.name.clone()).collect();
        let met = agents.when_all(&all, Belief::Alive, begun, limit).await?;
        agents.joined = met.context("they have not met within the limit")?.duration_since(begun);
        Ok(agents)
    }

    async fn start_chinwag(&mut self, binaries: &Binaries, count: usize) -> Result<Instant> {
        let runtime = Runtime::at(self._dir.path().join("run"));
        runtime.create()?;
        let command = |n: usize, how: &[&str]| {
            let mut command = binaries.chinwagd();
            command.env_clear().env("HOME", self._dir.path()).env("CHINWAG_RUNTIME_DIR", runtime.path());
            command.args([
                "--name",
                &name(n),
                "--listen",
                "127.0.0.1:0",
                "--log",
                "info",
                "--log-format",
                "json",
            ]);
            command.arg("--data").arg(self._dir.path().join(name(n))).args(how);
            command
        };
        let first = Agent::start(self.system, name(0), command(0, &["--init", "bench"]))?;
        let (pid, begun) = (first.pid(), Instant::now());
        self.agents.push(first);
        let entry = loop {
            if let Some(entry) = runtime.entry_of(pid)? {
                break entry;
            }
            ensure!(begun.elapsed() < PATIENCE, "the first daemon does not answer");
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let uses = Some(u32::try_from(count)?);
        let request = InviteRequest { uses, ..InviteRequest::default() };
        let token = Client::new(entry.socket).invite(&request).await?.token;
        let commands: Vec<Command> = (1..count).map(|n| command(n, &["--join", &token])).collect();
        self.start_others(commands)
    }

    async fn start_serf(&mut self, count: usize) -> Result<Instant> {
        let ports = free_ports(2 * count)?;
        let bind = |n: usize| format!("127.0.0.1:{}", ports[2 * n]);
        let command = |n: usize| {
            let mut command = Command::new("serf");
            command.args(["agent", "-log-level=info", "-encrypt", SERF_KEY]);
            command.arg(format!("-node={}", name(n))).arg(format!("-bind={}", bind(n)));
            command.arg(format!("-rpc-addr=127.0.0.1:{}", ports[2 * n + 1]));
            if n > 0 {
                command.arg(format!("-join={}", bind(0)));
            }
            command
        };
        let first = Agent::start(self.system, name(0), command(0));
        self.agents.push(first.context("try: apt-get install serf, or --only chinwag")?);
        let begun = Instant::now();
        // It takes connections when it can be joined.
        while std::net::TcpStream::connect(bind(0)).is_err() {
            ensure!(begun.elapsed() < PATIENCE, "the first serf agent does not listen");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.start_others((1..count).map(command).collect())
    }

    fn start_others(&mut self, commands: Vec<Command>) -> Result<Instant> {
        let begun = Instant::now();
        for (n, command) in commands.into_iter().enumerate() {
            self.agents.push(Agent::start(self.system, name(n + 1), command)?);
        }
        Ok(begun)
    }

    /// When the last agent came to believe this of all of those; `None` if that took longer than `limit`.
    async fn when_all(
        &mut self,
        of: &BTreeSet<String>,
        belief: Belief,
        begun: Instant,
        limit: Duration,
    ) -> Result<Option<Instant>> {
        loop {
            for agent in &mut self.agents {
                if let Some(status) = agent.child.try_wait()? {
                    bail!("{} {} ended by itself: {status}", self.system.name(), agent.name);
                }
            }
            let since = self.agents.iter().map(|agent| agent.since(of, belief)).collect::<Option<Vec<_>>>();
            if let Some(since) = since {
                return Ok(since.into_iter().max());
            }
            if begun.elapsed() > limit {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The processes that run.
    pub fn running(&self) -> &[Agent] {
        &self.agents
    }

    /// Kills the last `gone` agents with `SIGKILL`, at once; how long it took until all others held them for down, or `None`
    /// if that is longer than `limit`.
    ///
    /// # Errors
    /// If another one ends by itself.
    pub async fn kill(&mut self, gone: usize, limit: Duration) -> Result<Option<Duration>> {
        let begun = Instant::now();
        let mut killed = self.agents.split_off(self.agents.len().saturating_sub(gone));
        for agent in &mut killed {
            self.killed.insert(agent.name.clone(), begun);
            let _ = agent.child.kill();
        }
        for agent in &mut killed {
            agent.kill();
        }
        let names = killed.into_iter().map(|agent| agent.name.clone()).collect();
        let down = self.when_all(&names, Belief::Down, begun, limit).await?;
        Ok(down.map(|at| at.saturating_duration_since(begun)))
    }

    /// How often somebody held one that ran for down, in all.
    pub fn false_deaths(&self) -> usize {
        self.agents.iter().map(|agent| agent.false_deaths(&self.killed)).sum()
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            // All at first, so that nobody works for long on the death of others.
            let _ = agent.child.kill();
        }
        for agent in &mut self.agents {
            agent.kill();
        }
    }
}

fn name(n: usize) -> String {
    format!("agent-{n}")
}

/// Ports on loopback that are free for TCP and for UDP, all different.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let mut held = Vec::new();
    while held.len() < count {
        let tcp = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
        let port = tcp.local_addr()?.port();
        if let Ok(udp) = UdpSocket::bind(("127.0.0.1", port)) {
            held.push((port, tcp, udp));
        }
    }
    Ok(held.into_iter().map(|(port, ..)| port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_read() {
        let of = |name: &str, belief| Some((name.to_owned(), belief));
        let chinwag = |line: &str| System::Chinwag.read(line);
        let row = r#"{"at_unix_ms":1,"level":"info","event":"member.alive","fields":{"name":"agent-2","incarnation":2}}"#;
        assert_eq!(chinwag(row), of("agent-2", Belief::Alive));
        assert_eq!(chinwag(&row.replace("alive", "down")), of("agent-2", Belief::Down));
        assert_eq!(chinwag(&row.replace("alive", "suspect")), None);
        assert_eq!(chinwag("no JSON"), None);
        let serf = |line: &str| System::Serf.read(line);
        let row = "    2026/11/28 21:00:00 [INFO] serf: EventMemberJoin: agent-2 127.0.0.1";
        assert_eq!(serf(row), of("agent-2", Belief::Alive));
        assert_eq!(serf(&row.replace("Join", "Failed")), of("agent-2", Belief::Down));
        assert_eq!(serf(&row.replace("Join", "Update")), None);
    }
}

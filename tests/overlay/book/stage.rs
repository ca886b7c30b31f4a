//! Where a page of the book is played: machines with a home each, on this one.
//!
//! A machine has a home, a runtime directory and, if it is named, the name that its host would have. Its daemon in
//! the usual data directory listens on loopback, so that a test opens nothing to the network; the line by which
//! `chinwag invite` tells of that is the stage's and no reader's, so it is taken out.
//!
//! A command runs in a shell, with both its streams in one pipe, as a terminal shows them. One that only looks is
//! repeated until it fits, as a person would, since what others did arrives in its own time. Secrets that an earlier
//! command printed stand in for those that the page shows.

use super::page::{Block, Fate, Step};
use super::shape::{begins, fits};
use chinwag_api::runtime::Runtime;
use regex::Regex;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a command may take. Far above what is usual, because the machine may be busy.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);
/// How long a command that looks is repeated until it fits.
const LOOKS_FOR: Duration = Duration::from_secs(30);
/// How long between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A watcher says nothing when it is ready, so it is given this long before the page goes on.
const WATCHER_SETTLES: Duration = Duration::from_secs(2);
/// What `invite` adds because the stage's daemons listen on loopback.
const STAGE_LINE: &str = "This daemon listens on loopback only, so only this machine can join by it.";
/// Secrets in what is typed: an invite, and a write's token.
static SECRETS: LazyLock<[Regex; 2]> = LazyLock::new(|| {
    [r"\bcw1[a-z0-9]+(-[0-9A-Z…]+){2,}", r"\b[0-9a-f]{40,200}\b"].map(|p| Regex::new(p).unwrap())
});

/// A page's machines and what runs there.
pub(crate) struct Stage {
    dir: TempDir,
    machines: BTreeMap<String, Machine>,
    /// The last of each kind that was printed.
    secrets: [Option<String>; 2],
    running: Vec<Running>,
}

struct Machine {
    home: PathBuf,
    runtime: PathBuf,
    name: String,
}

/// A command that has been started.
struct Running {
    machine: String,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    shown: Vec<String>,
    typed: String,
}

/// What went otherwise than the page shows: the step, and what it said.
#[derive(Debug)]
pub(crate) struct Otherwise {
    pub(crate) step: Step,
    pub(crate) said: Vec<String>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        // A short path, because sockets are in it.
        let dir = tempfile::Builder::new().prefix("cwb-").tempdir_in("/tmp").unwrap();
        Stage { dir, machines: BTreeMap::new(), secrets: [None, None], running: Vec::new() }
    }

    /// Plays a block and tells what went otherwise.
    pub(crate) fn play(&mut self, block: &Block) -> Vec<Otherwise> {
        let mut otherwise = Vec::new();
        // What may follow it is Ctrl-C.
        let last = block.steps.iter().rposition(|step| step.typed.is_some());
        for (number, step) in block.steps.iter().enumerate() {
            let goes_on = Some(number) == last && matches!(block.fate, Fate::RunsOn | Fate::Watches);
            let said = match &step.typed {
                None => self.interrupt(step),
                Some(typed) if goes_on => self.start_and_leave(step, typed, &block.fate),
                Some(typed) => self.run(step, typed),
            };
            otherwise.extend(said.map(|said| Otherwise { step: step.clone(), said }));
        }
        otherwise
    }

    /// Ends what goes on; tells which watchers have not said what was shown.
    pub(crate) fn end(&mut self) -> Vec<String> {
        let running = std::mem::take(&mut self.running);
        let mut unsaid = Vec::new();
        for mut command in running {
            // A filter behind a watcher may hold back what it has until its input ends, which is when the daemon has
            // ended, a moment before: interrupted at once it would take that with it.
            let begun = Instant::now();
            while !command.has_said_what_is_shown() && begun.elapsed() < LOOKS_FOR / 3 {
                if command.child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(LOOK_EVERY);
            }
            command.interrupt();
            let said = command.wait();
            if !begins(&command.shown, &said) {
                unsaid.push(format!("$ {}\n{}", command.typed, said.join("\n")));
            }
        }
        unsaid
    }

    /// Runs a command to its end; `None` if it said what is shown.
    fn run(&mut self, step: &Step, typed: &str) -> Option<Vec<String>> {
        let begun = Instant::now();
        loop {
            let mut command = self.start(&step.machine, typed, &step.said);
            let said = self.told(&step.machine, command.wait());
            if fits(&step.said, &said) {
                return None;
            }
            let looks_for = if super::is_blessing() { LOOKS_FOR / 10 } else { LOOKS_FOR };
            if !only_looks(typed) || begun.elapsed() > looks_for {
                return Some(said);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Starts a command that goes on.
    fn start_and_leave(&mut self, step: &Step, typed: &str, fate: &Fate) -> Option<Vec<String>> {
        let mut command = self.start(&step.machine, typed, &step.said);
        let begun = Instant::now();
        let otherwise = loop {
            if *fate == Fate::Watches {
                std::thread::sleep(WATCHER_SETTLES);
                break None;
            }
            let ended = command.child.try_wait().unwrap().is_some();
            let said = self.told(&step.machine, command.said.lock().unwrap().clone());
            if begins(&step.said, &said) {
                break None;
            }
            if ended || begun.elapsed() > LOOKS_FOR {
                break Some(said);
            }
            std::thread::sleep(LOOK_EVERY);
        };
        if *fate == Fate::RunsOn {
            command.shown.clear();
        }
        self.running.push(command);
        otherwise
    }

    /// Ctrl-C for what runs on this machine since last.
    fn interrupt(&mut self, step: &Step) -> Option<Vec<String>> {
        let at = self.running.iter().rposition(|command| command.machine == step.machine);
        let mut command = self.running.remove(at.expect("something runs, because the page stops it"));
        command.interrupt();
        let said = command.wait();
        let said = self.told(&step.machine, said);
        let fits = begins(&command.shown, &said) && (step.said.is_empty() || ends(&step.said, &said));
        (!fits).then_some(said)
    }

    fn start(&mut self, machine: &str, typed: &str, shown: &[String]) -> Running {
        // Who reads the README builds first; here that is done.
        let typed = self.with_secrets(typed).replace("cargo run --release -- ", "chinwag ");
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.arg("-c").arg(&typed).env_clear().process_group(0);
        self.machine(machine).equip(&mut command);
        command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap();
        // The command holds the pipe's writing ends, and the reader must see when it has let go of them.
        drop(command);
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        let (machine, shown) = (machine.to_owned(), shown.to_vec());
        Running { machine, child, said, reader: Some(reader), shown, typed }
    }

    fn machine(&mut self, name: &str) -> &Machine {
        let dir = self.dir.path();
        self.machines.entry(name.to_owned()).or_insert_with(|| Machine::new(dir, name))
    }

    /// What was said as a reader would see it; secrets in it are remembered.
    fn told(&mut self, machine: &str, said: Vec<String>) -> Vec<String> {
        let machine = &self.machines[machine];
        let (home, runtime) = (machine.home.display().to_string(), machine.runtime.display().to_string());
        let shown_home = format!("/home/{}", machine.user());
        let said: Vec<String> = said
            .into_iter()
            .filter(|line| line.as_str() != STAGE_LINE)
            .map(|line| line.replace(&runtime, "/run/user/1000").replace(&home, &shown_home))
            .collect();
        for (secret, pattern) in self.secrets.iter_mut().zip(SECRETS.iter()) {
            if let Some(found) = said.iter().filter_map(|line| pattern.find(line)).next_back() {
                *secret = Some(found.as_str().to_owned());
            }
        }
        said
    }

    fn with_secrets(&self, typed: &str) -> String {
        let mut typed = typed.to_owned();
        for (secret, pattern) in self.secrets.iter().zip(SECRETS.iter()) {
            if let Some(secret) = secret {
                typed = pattern.replace_all(&typed, secret.as_str()).into_owned();
            }
        }
        typed
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for command in &mut self.running {
            command.kill();
        }
        // Daemons in the background, by the process ids that they have announced.
        for machine in self.machines.values() {
            let listing = Runtime::at(machine.runtime.join("chinwag")).list();
            for entry in listing.into_iter().flat_map(|listing| listing.live) {
                if let Some(pid) = i32::try_from(entry.pid).ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
    }
}

impl Machine {
    fn new(dir: &Path, name: &str) -> Self {
        let home = dir.join(if name.is_empty() { "you" } else { name });
        let runtime = home.join("run");
        let data = home.join(".local/share/chinwag");
        for dir in [&runtime, &data] {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).unwrap();
        }
        let host = if name.is_empty() { "alpha" } else { name };
        // The same port at every start, as a machine of its own would have 7171.
        let config = format!("name = \"{host}\"\nlisten = [\"127.0.0.1:{}\"]\n", free_port());
        fs::write(data.join("config.toml"), config).unwrap();
        Machine { home, runtime, name: name.to_owned() }
    }

    fn user(&self) -> &str {
        if self.name.is_empty() { "you" } else { &self.name }
    }

    fn equip(&self, command: &mut Command) {
        let bin = Path::new(env!("CARGO_BIN_EXE_chinwag")).parent().unwrap();
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()));
        command
            .env("HOME", &self.home)
            .env("XDG_RUNTIME_DIR", &self.runtime)
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8");
        if !self.name.is_empty() {
            // What its host is called.
            command.env("CHINWAG_NAME", &self.name);
        }
        command.current_dir(&self.home);
    }
}

impl Running {
    fn has_said_what_is_shown(&self) -> bool {
        begins(&self.shown, &self.said.lock().unwrap())
    }

    /// Waits for its end and gives all that it said.
    fn wait(&mut self) -> Vec<String> {
        let by = Instant::now() + COMMAND_WITHIN;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > by {
                self.kill();
                panic!("it does not end: {}\n{}", self.typed, self.said.lock().unwrap().join("\n"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // Whatever the shell has left in the background may hold the pipe open.
        let by = Instant::now() + Duration::from_secs(1);
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished()) && Instant::now() < by {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.said.lock().unwrap().clone()
    }

    fn group(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    fn interrupt(&self) {
        if let Some(group) = self.group() {
            let _ = kill_process_group(group, Signal::INT);
        }
    }

    fn kill(&mut self) {
        // The group has its first process's id for as long as that has not been waited for.
        if let (Ok(None), Some(group)) = (self.child.try_wait(), self.group()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// A port that is free for TCP and for UDP.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether a command changes nothing, so that it can be repeated.
fn only_looks(typed: &str) -> bool {
    const LOOKS: [&str; 6] = ["get", "members", "reach", "status", "keys", "version"];
    const LOOKS_INTO_THE_DHT: [&str; 3] = ["find", "get", "ls"];
    let words: Vec<&str> = typed.split_whitespace().collect();
    match words.as_slice() {
        ["chinwag", "-n", _, "dht", verb, ..] | ["chinwag", "dht", verb, ..] => {
            LOOKS_INTO_THE_DHT.contains(verb) && !typed.contains(['&', ';'])
        }
        ["chinwag", "-n", _, "--json", verb, ..]
        | ["chinwag", "-n", _, verb, ..]
        | ["chinwag", "--json", verb, ..]
        | ["chinwag", verb, ..] => LOOKS.contains(verb) && !typed.contains(['&', ';']),
        ["curl", ..] => !["-d", "-X", "--data", "--data-binary"].iter().any(|flag| words.contains(flag)),
        _ => false,
    }
}

/// Whether what was said ends with what is shown.
fn ends(shown: &[String], said: &[String]) -> bool {
    (0..=said.len()).any(|n| fits(shown, &said[n..]))
}

#[cfg(test)]
mod checked {
    use super::super::page::blocks;
    use super::*;

    /// How many steps of a page go otherwise than it shows, and how many watchers say something else.
    fn otherwise(page: &str) -> (usize, usize) {
        let mut stage = Stage::new();
        let steps = blocks(page).unwrap().iter().map(|block| stage.play(block).len()).sum();
        (steps, stage.end().len())
    }

    #[test]
    fn what_goes_as_shown_passes() {
        assert_eq!(otherwise("```console\n$ echo a; echo b >&2\na\nb\n$ true\n```"), (0, 0));
        assert_eq!(otherwise("```console\nada$ echo ~ $CHINWAG_NAME\n/home/ada ada\n```"), (0, 0));
        assert_eq!(otherwise("<!-- runs on -->\n```console\n$ echo a; exec sleep 60\na\n^C\n```"), (0, 0));
        let watched = "<!-- watches -->\n```console\n$ echo a; exec sleep 60\na\n```";
        assert_eq!(otherwise(watched), (0, 0));
        // The secret that was printed, not the one that is shown.
        let secret = "```console\n$ echo cw1home-AAAA-BBBB\ncw1home-CCCC-DDDD\n$ echo cw1home-CCCC-DDDD | cut -c9-\nAAAA-BBBB\n```";
        assert_eq!(otherwise(secret), (0, 0));
    }

    #[test]
    fn what_goes_otherwise_is_noticed() {
        for wrong in ["$ echo a\nb", "$ echo a", "$ echo a\na\nb", "$ no-such-command"] {
            assert_eq!(otherwise(&format!("```console\n{wrong}\n```")), (1, 0), "{wrong}");
        }
        assert_eq!(otherwise("<!-- runs on -->\n```console\n$ echo a\nb\n```"), (1, 0));
        assert_eq!(otherwise("<!-- watches -->\n```console\n$ echo a; exec sleep 5\nb\n```"), (0, 1));
    }

    #[test]
    fn only_what_changes_nothing_is_repeated() {
        for looks in ["chinwag -n a get k", "chinwag members", "chinwag -n a dht find k", "curl -s http://x"]
        {
            assert!(only_looks(looks), "{looks}");
        }
        for acts in [
            "chinwag set k get",
            "chinwag -n a incr k",
            "chinwag -n a dht put get k",
            "curl -d x http://x",
            "kill 1",
            "chinwag leave && chinwag status",
        ] {
            assert!(!only_looks(acts), "{acts}");
        }
    }
}

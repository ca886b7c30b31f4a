//! Daemons that nobody starts by hand: under a service manager, in containers that start together, behind TAB.

use crate::harness::{Ground, PATIENCE, eventually, so};
use chinwag_api::runtime::Runtime;
use chinwag_api::{Client, Status, WriteRequest};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

/// A daemon with an environment and a runtime directory of its own, as a unit or a container has them.
struct Service {
    child: Child,
    runtime: PathBuf,
    log: PathBuf,
}

impl Service {
    fn start(ground: &Ground, name: &str, flags: &[&str], env: &[(&str, &str)]) -> Self {
        let runtime = ground.path().join(format!("{name}-run"));
        Runtime::at(&runtime).create().unwrap();
        let log = ground.path().join(format!("{name}.log"));
        let to = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = ground.chinwag();
        command.args(["up", "--stop-on-stdin-close", "--name", name, "--data"]).arg(ground.data(name));
        command.args(flags).envs(env.iter().copied()).env("CHINWAG_RUNTIME_DIR", &runtime);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(to).spawn().unwrap();
        Service { child, runtime, log }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }

    fn client(&self) -> Option<Client> {
        let entry = Runtime::at(&self.runtime).entry_of(self.child.id()).unwrap()?;
        Some(Client::new(entry.socket))
    }

    async fn status(&self) -> Result<Status, String> {
        let client = self.client().ok_or("it has not announced itself")?;
        client.status().await.map_err(|e| e.to_string())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn logs(&self, text: &str) {
        eventually(&format!("the log says {text:?}"), async || so(self.log().contains(text), || self.log()))
            .await;
    }

    async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let look = async || child.try_wait().unwrap().ok_or_else(|| "it still runs".to_owned());
        eventually("it ends", look).await
    }

    async fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended().await.code(), Some(0), "{}", self.log());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the log of {}:\n{}", self.child.id(), self.log());
        }
    }
}

/// A service manager's ear.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Self {
        Manager(UnixDatagram::bind(path).unwrap())
    }

    /// The next datagram, as its lines.
    async fn hears(&self) -> Vec<String> {
        let mut bytes = [0; 4_096];
        let len = timeout(PATIENCE, self.0.recv(&mut bytes)).await.expect("it says nothing").unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// The first datagram from now on that has this line.
    async fn waits_for(&self, line: &str) -> Vec<String> {
        let mut heard = Vec::new();
        for _ in 0..1_000 {
            let lines = self.hears().await;
            if lines.iter().any(|l| l == line) {
                return lines;
            }
            heard.push(lines);
        }
        panic!("{line} is missing from {heard:?}");
    }
}

#[tokio::test]
async fn a_service_manager_is_told_what_happens() {
    let ground = Ground::new();
    let path = ground.path().join("notify");
    let manager = Manager::listen(&path);
    let env = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "600000")];
    let flags = ["--init", "home", "--listen", "127.0.0.1:0"];
    let mut daemon = Service::start(&ground, "alpha", &flags, &env);

    let first = manager.hears().await;
    assert!(first[0].starts_with("STATUS="), "it says what it begins with: {first:?}");
    manager.waits_for("READY=1").await;
    let status = daemon.status().await.expect("it answers, because it has said that it is ready");
    assert!(!status.addresses.is_empty(), "and members can reach it");
    manager.waits_for("WATCHDOG=1").await;
    manager.waits_for("STATUS=overlay home: 1 alive, 0 suspect, 0 down").await;
    manager.waits_for("WATCHDOG=1").await;

    daemon.signal(Signal::TERM);
    manager.waits_for("STOPPING=1").await;
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_daemon_that_is_not_ready_does_not_say_so() {
    let ground = Ground::new();
    let path = ground.path().join("notify");
    let manager = Manager::listen(&path);
    let env = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let mut daemon = Service::start(&ground, "alpha", &["--join", "@never"], &env);
    assert_eq!(manager.hears().await, ["STATUS=waiting for an invite in never, or opening the store"]);
    let second = timeout(Duration::from_millis(300), manager.hears()).await;
    assert!(second.is_err(), "it waits, and says {second:?}");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn hup_changes_the_log_and_names_what_needs_a_restart() {
    let ground = Ground::new();
    let path = ground.path().join("notify");
    let manager = Manager::listen(&path);
    std::fs::create_dir(ground.data("alpha")).unwrap();
    let file = ground.data("alpha").join("config.toml");
    let daemon = Service::start(&ground, "alpha", &[], &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    manager.waits_for("READY=1").await;
    daemon.status().await.unwrap();
    assert!(!daemon.log().contains("api.call"), "calls are not logged yet: {}", daemon.log());

    std::fs::write(&file, "log = \"warn,chinwag=debug\"\nprofile = \"fast\"\n").unwrap();
    daemon.signal(Signal::HUP);
    let reloading = manager.waits_for("RELOADING=1").await;
    assert!(reloading.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reloading:?}");
    manager.waits_for("READY=1").await;
    daemon.logs("config.reloaded log=\"warn,chinwag=debug\"").await;
    daemon.logs("config.needs_restart settings=profile").await;
    daemon.status().await.unwrap();
    daemon.logs("api.call").await;

    std::fs::write(&file, "lgo = \"warn\"\n").unwrap();
    daemon.signal(Signal::HUP);
    manager.waits_for("READY=1").await;
    daemon.logs("there is no setting `lgo`").await;
    std::fs::write(&file, "log = \"chinwag=loud\"\n").unwrap();
    daemon.signal(Signal::HUP);
    daemon.logs("`chinwag=loud` is not a log filter").await;
    daemon.status().await.expect("a wrong file ends nothing");
    daemon.stop().await;
}

#[tokio::test]
async fn tags_are_seen_by_all_and_change_with_hup() {
    let ground = Ground::new();
    let invite = ground.path().join("invite");
    let file = ground.data("alpha").join("config.toml");
    std::fs::create_dir(ground.data("alpha")).unwrap();
    std::fs::write(&file, "[tags]\nrole = \"web\"\n").unwrap();
    let any = ["--listen", "127.0.0.1:0"];
    let founds = ["--init", "home", "--invite-to", invite.to_str().unwrap(), "--tag", "zone=a"];
    let alpha = Service::start(&ground, "alpha", &[&any[..], &founds].concat(), &[]);
    let from = format!("@{}", invite.display());
    let beta = Service::start(&ground, "beta", &[&any[..], &["--join", &from]].concat(), &[]);
    let sees = async |expected: &[(&str, &str)]| {
        let expected = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        eventually("beta sees alpha's tags", async || {
            let members = beta.client().ok_or("not there yet")?.members().await.map_err(|e| e.to_string())?;
            let alpha = members.members.iter().find(|m| m.name == "alpha").ok_or("no alpha")?;
            so(alpha.tags == expected, || format!("{:?}", alpha.tags))
        })
        .await;
    };
    sees(&[("role", "web"), ("zone", "a")]).await;
    std::fs::write(&file, "[tags]\nrole = \"db\"\n").unwrap();
    alpha.signal(Signal::HUP);
    sees(&[("role", "db"), ("zone", "a")]).await;
    beta.logs("member.tagged name=alpha tags=\"role=db zone=a\"").await;
    assert!(!alpha.log().contains("needs_restart"), "{}", alpha.log());
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test]
async fn a_command_is_run_for_each_event_of_a_member() {
    let ground = Ground::new();
    let (invite, told) = (ground.path().join("invite"), ground.path().join("told"));
    let any = ["--listen", "127.0.0.1:0"];
    let line = format!(
        "echo $CHINWAG_NAME $CHINWAG_MEMBER $CHINWAG_EVENT >> {}; test $CHINWAG_EVENT != member.left",
        told.display()
    );
    let founds = ["--init", "home", "--invite-to", invite.to_str().unwrap(), "--on-member", &line];
    let alpha = Service::start(&ground, "alpha", &[&any[..], &founds].concat(), &[]);
    let from = format!("@{}", invite.display());
    let joins = [&any[..], &["--join", &from]].concat();
    let mut beta = Service::start(&ground, "beta", &joins, &[]);
    let says = async |lines: &str| {
        eventually(&format!("the command is told {lines:?}"), async || {
            let told = std::fs::read_to_string(&told).map_err(|e| e.to_string())?;
            so(told.starts_with(lines), || told.clone())
        })
        .await;
    };
    says("alpha beta member.alive\n").await;
    beta.signal(Signal::KILL);
    beta.ended().await;
    let beta = Service::start(&ground, "beta", &joins, &[]);
    says("alpha beta member.alive\nalpha beta member.alive\n").await;
    beta.stop().await;
    alpha.logs("hook.failed of=member.left why=\"exit status: 1\"").await;
    let all = std::fs::read_to_string(&told).unwrap();
    assert!(all.ends_with("alpha beta member.left\n"), "{all}");
    alpha.stop().await;
}

#[tokio::test]
async fn daemons_that_start_together_form_an_overlay_and_find_each_other_again() {
    let ground = Ground::new();
    let invite = ground.path().join("invite");
    let (to, from) = (invite.to_str().unwrap(), format!("@{}", invite.display()));
    let agree = async |services: [&Service; 3]| {
        eventually("all three agree", async || {
            let mut digests = Vec::new();
            for service in services {
                let status = service.status().await?;
                so(status.members.alive == 3, || format!("{:?}", status.members))?;
                digests.push(status.digest.to_string());
            }
            so(digests.iter().all(|d| *d == digests[0]), || format!("{digests:?}"))
        })
        .await;
    };
    // The second time nobody is where it was: ports are any free ones, and no runtime directory is shared.
    for round in ["first", "second"] {
        let any = ["--listen", "127.0.0.1:0"];
        let joins = [&any[..], &["--join", &from]].concat();
        let beta = Service::start(&ground, "beta", &joins, &[]);
        let gamma = Service::start(&ground, "gamma", &joins, &[]);
        let founds = [&any[..], &["--init", "home"]].concat();
        let alpha = Service::start(&ground, "alpha", &founds, &[("CHINWAG_INVITE_TO", to)]);
        agree([&alpha, &beta, &gamma]).await;
        assert_eq!(std::fs::metadata(&invite).unwrap().permissions().mode() & 0o777, 0o600);
        let (client, key) = (beta.client().unwrap(), round.to_owned());
        let op = chinwag_api::WriteOp::Set { key, value: "here".into() };
        client.write(&WriteRequest { ops: vec![op.into()], ..WriteRequest::default() }).await.unwrap();
        agree([&alpha, &beta, &gamma]).await;
        let keys = alpha.client().unwrap().keys(&Default::default()).await.unwrap();
        assert!(keys.keys.iter().any(|row| row.key == "first"), "{keys:?}");
        // All at once, as a machine that loses its power.
        for mut service in [alpha, beta, gamma] {
            service.child.kill().unwrap();
            service.child.wait().unwrap();
        }
    }

    // Another overlay's name is a mistake, not a wish to be forgotten.
    let told = ground.chinwagd_ends("alpha", &["--init", "other"]).await.exits(4);
    told.says("already belongs to overlay home");
    let told = ground.chinwagd_ends("alpha", &["--init", "home", "--join", &from]).await.exits(2);
    told.says("cannot be used with");
    let told = ground.chinwagd_ends("alpha", &["--invite-to", "missing/invite"]).await.exits(4);
    told.says("there is no directory missing").says("try: mkdir");
}

/// Asks as bash does: the words so far, and the number of the one that the cursor is in.
async fn tab(ground: &Ground, words: &[&str]) -> Vec<String> {
    let mut command = tokio::process::Command::from(ground.chinwag());
    command.env("CHINWAG_COMPLETE", "bash").env("_CLAP_IFS", "\n");
    command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string()).arg("--").args(words);
    let output = command.output().await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn tab_completes_what_the_daemon_knows() {
    let ground = Ground::new();
    assert_eq!(tab(&ground, &["chinwag", "get", "gr"]).await, [""; 0], "silent where no daemon runs");
    let alpha = ground.start("alpha").await;
    let keys = ["greeting", "group", "visits", "x;reboot"];
    alpha.write(keys.map(|key| crate::harness::set(key, "v")).to_vec()).await.unwrap();

    // TAB has a bound in time, which a machine that compiles may miss: then the shell would ask again.
    let offers = async |words: &[&str], expected: &[&str]| {
        eventually(&format!("{words:?} offers {expected:?}"), async || {
            let offered = tab(&ground, words).await;
            so(offered == expected, || format!("{offered:?}"))
        })
        .await;
    };
    offers(&["chinwag", "get", "gr"], &["greeting", "group"]).await;
    offers(&["chinwag", "watch", "vis"], &["visits"]).await;
    offers(&["chinwag", "get", "x"], &[]).await;
    offers(&["chinwag", "-n", ""], &["alpha"]).await;
    offers(&["chinwag", "stat"], &["status"]).await;

    // Of two daemons the one that the line names is asked.
    let beta = ground.start("beta").await;
    beta.write(vec![crate::harness::set("green", "v")]).await.unwrap();
    offers(&["chinwag", "-n", ""], &["alpha", "beta"]).await;
    offers(&["chinwag", "-n", "beta", "get", "gre"], &["green"]).await;
    offers(&["chinwag", "get", "gre"], &[]).await;
}

/// The script that a person sources, in the shell that every machine has.
#[tokio::test]
async fn bash_completes_with_the_script() {
    let ground = Ground::new();
    let alpha = ground.start("alpha").await;
    alpha.write(vec![crate::harness::set("greeting", "v")]).await.unwrap();
    let script = r#"source <("$0" completions bash)
        COMP_WORDS=(chinwag get gr) COMP_CWORD=2 COMP_TYPE=9
        _clap_complete_chinwag chinwag gr get 2>/dev/null
        echo "${COMPREPLY[@]}""#;
    let chinwag = ground.chinwag();
    eventually("bash offers the key", async || {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).arg(chinwag.get_program()).env_clear();
        bash.envs(chinwag.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = tokio::process::Command::from(bash).output().await.unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        so(out.trim() == "greeting", || format!("{output:?}"))
    })
    .await;
}

#[tokio::test]
async fn manual_pages_are_written() {
    let ground = Ground::new();
    ground.type_in("man --out pages").await.exits(0);
    for page in ["chinwag.1", "chinwag-get.1", "chinwagd.1"] {
        let meta = std::fs::metadata(ground.path().join("pages").join(page)).unwrap();
        assert!(meta.size() > 200, "{page}");
    }
}

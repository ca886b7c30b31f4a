//! A few daemons on this machine: the demonstration, the development bench and the smoke test.
//!
//! The daemons are true processes of this very program, and they meet through init, invite and join like anyone.
//! They never outlive the lab: each leaves when its standard input ends, which the system sees to however the lab
//! ends.

mod check;
mod child;
mod ground;

use super::Context;
use crate::output::Tone;
use crate::{End, text};
use child::{Child, Log};
use chinwag_api::{Exit, Failure, Hex, InviteRequest, Kind, Schema, Status};
use chinwag_base::key::printable;
use chinwag_base::{Address, NodeId};
use ground::Ground;
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

/// Daemons in one lab. Each is a process with a few threads and some tens of megabytes.
const DAEMONS_MAX: u8 = 64;
/// How long a step may take before it counts as failed.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often daemons are asked while something is awaited. An answer costs well below a millisecond.
const POLL: Duration = Duration::from_millis(5);
/// The first names; then node11, node12 and so on.
const NAMES: [&str; 10] =
    ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"];

/// Run a few daemons on this machine and watch them
///
/// They are processes of their own, on loopback and free ports, in a temporary directory. Ctrl-C stops all of them.
#[derive(Debug, clap::Args)]
pub(crate) struct LabArgs {
    /// How many
    #[arg(value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(DAEMONS_MAX)))]
    daemons: u8,
    /// Prove that they work: write, read, kill -9, restart, leave; then stop and exit with 0 or 1
    #[arg(long)]
    check: bool,
    /// With --check: go on after a step that failed
    #[arg(long, requires = "check")]
    keep_going: bool,
    /// Keep their data in this directory, and find it there the next time
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How fast failures are detected: fast, lan or wan [default: lan]
    #[arg(long, value_name = "PROFILE", value_parser = ["fast", "lan", "wan"])]
    profile: Option<String>,
}

/// `lab --json`: once they agree.
#[derive(Debug, Serialize)]
struct LabReply {
    members: Vec<LabMember>,
    digest: Hex,
    after_ms: u64,
    dir: PathBuf,
}

#[derive(Debug, Serialize)]
struct LabMember {
    name: String,
    id: NodeId,
    pid: u32,
    addresses: Vec<Address>,
    socket: PathBuf,
}

impl Schema for LabReply {
    const SCHEMA: &'static str = "chinwag.lab/1";
}

impl LabArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        if self.check && self.daemons < check::DAEMONS_MIN {
            return Err(Failure::new(Kind::BadRequest, "--check needs three daemons or more")
                .because("a daemon is declared dead by others than the one that misses it")
                .hint("chinwag lab 3 --check")
                .into());
        }
        let mut stop = Stop::new()?;
        let mut lab = Lab::new(&self, context)?;
        let result = tokio::select! {
            result = self.work(&mut lab, context) => result,
            () = stop.wait() => Ok(Exit::Yes),
        };
        // However the work ended, the daemons end now; a second signal ends them at once.
        let told = tokio::select! {
            told = lab.stop() => told,
            () = stop.wait() => lab.kill().await,
        };
        match result {
            Ok(Exit::Yes) if !told => {
                Err(Failure::new(Kind::CheckFailed, "a daemon did not end in time").into())
            }
            Err(End::Failure(failure)) => Err(lab.with_log(failure).into()),
            other => other,
        }
    }

    async fn work(&self, lab: &mut Lab, context: &mut Context) -> Result<Exit, End> {
        if self.check {
            return check::run(lab, context, self.keep_going).await;
        }
        lab.start(context, true).await?;
        let statuses = lab.agreed(context.started + STEP_TIMEOUT).await?;
        lab.tell_agreed(context, &statuses)?;
        lab.follow(context).await
    }
}

/// The daemons and where they are.
struct Lab {
    ground: Ground,
    children: Vec<Child>,
    count: usize,
    profile: Option<String>,
    log: Log,
}

impl Lab {
    fn new(args: &LabArgs, context: &Context) -> Result<Self, Failure> {
        // A check shows itself to nobody, so that it neither takes names nor changes which daemon is "the only one".
        let ground = Ground::new(args.dir.as_deref(), args.check, &context.runtime)?;
        let count = usize::from(args.daemons);
        Ok(Lab { ground, children: Vec::new(), count, profile: args.profile.clone(), log: Log::new() })
    }

    /// Starts all: the first alone, then all others at once, by its invite.
    async fn start(&mut self, context: &mut Context, aloud: bool) -> Result<(), End> {
        let first = name(0);
        self.ground.found(&first)?;
        let mut alpha = self.spawn(&first, None)?;
        alpha.wait_until_up(&self.ground.runtime, STEP_TIMEOUT).await?;
        let tell = |context: &mut Context, child: &Child, note: &str| -> Result<(), End> {
            if aloud && !context.out.is_json() {
                context.out.line(&child.line(note))?;
            }
            Ok(())
        };
        tell(context, &alpha, "")?;
        let through = alpha.name().to_owned();
        let client = alpha.client()?;
        self.children.push(alpha);
        if self.count == 1 {
            return Ok(());
        }
        let uses = Some(self.count as u32 - 1);
        let invite = client.invite(&InviteRequest { uses, ..InviteRequest::default() }).await?;
        let invite = self.ground.keep_invite(&invite.token)?;
        for number in 1..self.count {
            let child = self.spawn(&name(number), Some(&invite))?;
            self.children.push(child);
        }
        let begun = Instant::now();
        for number in 1..self.count {
            let child = &mut self.children[number];
            child.wait_until_up(&self.ground.runtime, STEP_TIMEOUT.saturating_sub(begun.elapsed())).await?;
            let took = child.wait_until_joined(STEP_TIMEOUT.saturating_sub(begun.elapsed())).await?;
            let note = format!("joined {through} in {}", text::time(took));
            tell(context, &self.children[number], &note)?;
        }
        Ok(())
    }

    fn spawn(&self, name: &str, invite: Option<&std::path::Path>) -> Result<Child, Failure> {
        Child::spawn(&self.ground, name, invite, self.profile.as_deref(), self.log.writer())
    }

    /// Waits until all that run see each other alive and hold the same state.
    async fn agreed(&self, give_up: Instant) -> Result<Vec<Status>, Failure> {
        loop {
            let last = match self.statuses().await {
                Ok(statuses) if agree(&statuses) => return Ok(statuses),
                Ok(statuses) => seen(&statuses),
                Err(failure) => failure.to_string(),
            };
            if Instant::now() > give_up {
                return Err(Failure::new(Kind::CheckFailed, "the daemons do not agree").because(last));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The status of each that runs, asked at the same time.
    async fn statuses(&self) -> Result<Vec<Status>, Failure> {
        let mut asked = JoinSet::new();
        for (number, child) in self.children.iter().enumerate().filter(|(_, c)| c.is_running()) {
            let client = child.client()?;
            asked.spawn(async move { client.status().await.map(|status| (number, status)) });
        }
        let mut answers = Vec::new();
        while let Some(answer) = asked.join_next().await {
            answers.push(answer.map_err(|e| Failure::new(Kind::Internal, e.to_string()))??);
        }
        answers.sort_by_key(|(number, _)| *number);
        Ok(answers.into_iter().map(|(_, status)| status).collect())
    }

    fn tell_agreed(&self, context: &mut Context, statuses: &[Status]) -> Result<(), End> {
        let after = context.started.elapsed();
        let digest = statuses.first().map(|s| s.digest).unwrap_or_default();
        if context.out.is_json() {
            let members = statuses.iter().map(member).collect();
            let after_ms = after.as_millis() as u64;
            let reply = LabReply { members, digest, after_ms, dir: self.ground.dir().to_owned() };
            return Ok(context.out.json(&reply)?);
        }
        let tick = context.out.paint(Tone::Good, "✓");
        let agree = match statuses.len() {
            1 => "1 member is alone".to_owned(),
            n => format!("{n} members agree"),
        };
        let all = match self.count {
            1 => "it".to_owned(),
            2 => "both".to_owned(),
            n => format!("all {}", word(n)),
        };
        context.out.line(&format!(
            "{tick} {agree} (digest {}) after {}. Ctrl-C stops {all}.",
            text::digest(&digest),
            text::time(after)
        ))?;
        let names: Vec<&str> = self.children.iter().map(Child::name).collect();
        let (first, last) =
            (names.first().copied().unwrap_or("alpha"), names.last().copied().unwrap_or("alpha"));
        context.out.line("Next, in another terminal:")?;
        context.out.line(&format!("  chinwag -n {first} set greeting hello"))?;
        context.out.line(&format!("  chinwag -n {last} get greeting"))?;
        context.out.line(&format!("  chinwag -n {first} members"))?;
        context.out.line(&format!("  chinwag -n {last} watch"))?;
        Ok(())
    }

    /// Prints what the daemons log, until all of them have ended.
    async fn follow(&mut self, context: &mut Context) -> Result<Exit, End> {
        let mut check = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                line = self.log.next() => {
                    // By the name that answers to `-n`, which may have a suffix that its directory has not.
                    let number = self.children.iter().position(|c| c.label() == line.source).unwrap_or(0);
                    let name = self.children.get(number).map_or(line.source.as_str(), Child::name);
                    let width = self.children.iter().map(|c| c.name().len()).max().unwrap_or(0);
                    let source = context.out.paint_prose(Tone::Source(number), &format!("{name:<width$}"));
                    context.out.prose(&format!("{source}  {}", printable(&line.text)))?;
                }
                _ = check.tick() => {
                    for child in &mut self.children {
                        if let Some(how) = child.has_ended() {
                            context.out.prose(&format!("{} has ended: {how}", child.name()))?;
                        }
                    }
                    if !self.children.iter().any(Child::is_running) {
                        return Err(Failure::new(Kind::Gone, "all daemons of the lab have ended").into());
                    }
                }
            }
        }
    }

    /// Ends all gracefully, and those with force that take too long. Whether all ended by themselves.
    async fn stop(&mut self) -> bool {
        for child in &self.children {
            child.ask_to_end();
        }
        let give_up = Instant::now() + child::END_TIMEOUT;
        let mut in_time = true;
        for child in &mut self.children {
            in_time &= child.wait_until_ended(give_up).await;
        }
        in_time
    }

    async fn kill(&mut self) -> bool {
        for child in &mut self.children {
            child.kill().await;
        }
        true
    }

    /// The failure with what the daemons logged last, where that may tell why.
    fn with_log(&mut self, mut failure: Failure) -> Failure {
        const LINES: usize = 12;
        self.log.collect();
        let lines: Vec<String> = self.log.last(LINES).map(|l| format!("{}: {}", l.source, l.text)).collect();
        failure.because.extend(lines);
        failure
    }
}

/// Whether all see all alive and hold the same state.
fn agree(statuses: &[Status]) -> bool {
    let all = statuses.len() as u64;
    let digest = statuses.first().map(|s| s.digest);
    statuses.iter().all(|s| s.members.alive == all && s.members.suspect == 0 && Some(s.digest) == digest)
}

fn seen(statuses: &[Status]) -> String {
    let one =
        |s: &Status| format!("{} sees {} alive, digest {}", s.name, s.members.alive, text::digest(&s.digest));
    statuses.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn member(status: &Status) -> LabMember {
    LabMember {
        name: status.name.clone(),
        id: status.id,
        pid: status.pid,
        addresses: status.addresses.clone(),
        socket: status.socket.clone(),
    }
}

/// What the daemon of this number is called.
fn name(number: usize) -> String {
    NAMES.get(number).map_or_else(|| format!("node{}", number + 1), |name| (*name).to_owned())
}

fn word(n: usize) -> String {
    const WORDS: [&str; 11] =
        ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    WORDS.get(n).map_or_else(|| n.to_string(), |word| (*word).to_owned())
}

/// The signals that end a lab.
struct Stop([Signal; 3]);

impl Stop {
    fn new() -> Result<Self, Failure> {
        let on = |kind| {
            signal(kind).map_err(|e| {
                Failure::new(Kind::Permission, "cannot listen for signals").because(e.to_string())
            })
        };
        Ok(Stop([on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?]))
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_repeat() {
        let names: std::collections::BTreeSet<String> = (0..usize::from(DAEMONS_MAX)).map(name).collect();
        assert_eq!(names.len(), usize::from(DAEMONS_MAX));
        assert_eq!((name(0), name(9), name(10)), ("alpha".into(), "kappa".into(), "node11".into()));
        assert!(names.iter().all(|n| n.parse::<chinwag_base::Name>().is_ok()));
        assert_eq!((word(3), word(11)), ("three".into(), "11".into()));
    }
}

//! Members that hang.
//!
//! A member that is to hang lives in a process of its own: this program again, with [`MEMBER`] as its first argument.
//! It joins like the others, and is then stopped by `SIGSTOP`. From that moment its kernel still acknowledges what
//! arrives, and its connections stay open, but nobody answers: the fault that costs a distributed system most, because
//! only silence tells it from slowness.

use crate::{kad, ours};
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io::Write as _;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// The argument with which the program is a member instead.
pub const MEMBER: &str = "__member";
/// What a member says when it belongs.
const READY: &str = "ready";
/// How long it may take to say something.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many members hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hung {
    /// So many.
    Count(usize),
    /// So many of a hundred, rounded up.
    Percent(usize),
}

impl Hung {
    /// How many that is of `nodes`.
    pub fn of(self, nodes: usize) -> usize {
        match self {
            Hung::Count(count) => count,
            Hung::Percent(percent) => (nodes * percent).div_ceil(100),
        }
    }
}

impl FromStr for Hung {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            digits
                .parse::<usize>()
                .map_err(|_| "expected a number such as 1, or a share such as 10%".to_owned())
        };
        match text.strip_suffix('%') {
            Some(percent) => number(percent).map(Hung::Percent),
            None => number(text).map(Hung::Count),
        }
    }
}

/// A member in a process of its own, which ends with this value.
#[derive(Debug)]
pub struct Member {
    child: Child,
    stdin: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Member {
    /// A Kademlia node, and where it is.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn kad(ip: IpAddr, replication: NonZeroUsize) -> Result<(Self, kad::Contact)> {
        let mut member =
            Member::spawn(&["kad".into(), ip.to_string().into(), replication.to_string().into()])?;
        let (peer, address): (String, String) = serde_json::from_str(&member.hear().await?)?;
        Ok((member, (peer.parse()?, address.parse()?)))
    }

    /// Tells a Kademlia node of all others, and waits until it has bootstrapped.
    ///
    /// # Errors
    /// If it does not.
    pub async fn bootstrap(&mut self, contacts: &[kad::Contact]) -> Result<()> {
        let contacts: Vec<_> = contacts.iter().map(|(id, at)| (id.to_string(), at.to_string())).collect();
        let line = serde_json::to_string(&contacts)? + "\n";
        self.stdin.write_all(line.as_bytes()).await.context("the member has ended")?;
        self.ready().await
    }

    /// A chinwag daemon that has joined.
    ///
    /// # Errors
    /// If it does not join.
    pub async fn ours(ip: IpAddr, data: &Path, name: &str, invite: &str) -> Result<Self> {
        let ip = ip.to_string();
        let mut member =
            Member::spawn(&["chinwag".into(), ip.into(), data.into(), name.into(), invite.into()])?;
        member.ready().await?;
        Ok(member)
    }

    fn spawn(args: &[OsString]) -> Result<Self> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let mut command = Command::new(program);
        command.arg(MEMBER).args(args).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start a member")?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else { bail!("a member has no pipes") };
        Ok(Member { child, stdin, said: BufReader::new(stdout).lines() })
    }

    async fn hear(&mut self) -> Result<String> {
        let line = timeout(PATIENCE, self.said.next_line()).await.context("a member says nothing")??;
        line.context("a member ended before it belonged")
    }

    async fn ready(&mut self) -> Result<()> {
        let said = self.hear().await?;
        ensure!(said == READY, "a member says {said:?}");
        Ok(())
    }

    /// Stops it, without a word to anyone.
    ///
    /// # Errors
    /// If it has ended.
    pub fn hang(&self) -> Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.context("the member has ended")?, Signal::STOP).context("cannot stop a member")
    }
}

/// The member: all of the program when its first argument is [`MEMBER`]. Ends with its standard input.
///
/// # Errors
/// If it cannot take part.
pub async fn member(args: &[String]) -> Result<()> {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["kad", ip, replication] => {
            let node = kad::Node::start(ip.parse()?, replication.parse()?).await?;
            let (peer, address) = &node.contact;
            say(&serde_json::to_string(&(peer.to_string(), address.to_string()))?)?;
            let line = line().await?.context("nobody told us of the others")?;
            let others: Vec<(String, String)> = serde_json::from_str(&line)?;
            let others =
                others.iter().map(|(id, at)| Ok((id.parse()?, at.parse()?))).collect::<Result<_>>()?;
            node.bootstrap(others).await.map_err(anyhow::Error::msg)?;
            belong().await
        }
        ["chinwag", ip, data, name, invite] => {
            let daemon = ours::join(ip.parse()?, Path::new(data), name, invite.parse()?).await?;
            let belonged = belong().await;
            daemon.leave().await;
            belonged
        }
        _ => bail!("a member needs other arguments"),
    }
}

async fn belong() -> Result<()> {
    say(READY)?;
    while line().await?.is_some() {}
    Ok(())
}

/// The next line of standard input, unless it has ended. It is read on a thread that may wait.
async fn line() -> Result<Option<String>> {
    let read = || {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|length| (length > 0).then_some(line))
    };
    Ok(tokio::task::spawn_blocking(read).await??)
}

fn say(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("nobody listens")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up() {
        assert_eq!("10%".parse::<Hung>().unwrap().of(64), 7);
        assert_eq!("1".parse::<Hung>().unwrap().of(64), 1);
        assert_eq!("0".parse::<Hung>().unwrap().of(64), 0);
        assert!("some".parse::<Hung>().is_err() && "%".parse::<Hung>().is_err());
    }
}

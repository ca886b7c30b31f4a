use super::Context;
use super::progress::Bar;
use crate::output::Tone;
use crate::{End, choose, daemon, text};
use chinwag_api::{Client, Exit, Failure, JoinReply, JoinRequest, Kind, Status, Through};
use chinwag_base::key::printable;
use chinwag_base::{Invite, Name};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long to try before a join counts as failed.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a daemon that has just been started is asked how far it is.
const POLL: Duration = Duration::from_millis(10);
/// How long a fresh member may take until it has met its inviter's state; the join itself is done by then.
const CATCH_UP: Duration = Duration::from_secs(3);

/// Join an overlay by an invite
///
/// With a daemon running it joins; without one a daemon is started in the background.
#[derive(Debug, clap::Args)]
pub(crate) struct JoinArgs {
    /// What `chinwag invite` printed: cw1… (the whole line will do)
    #[arg(required = true, num_args = 1..=3, value_name = "TOKEN")]
    words: Vec<String>,
    /// Bring the keys that this daemon holds into the overlay
    #[arg(long)]
    merge: bool,
    /// Where a daemon that is started keeps its data
    #[arg(long, value_name = "DIR", env = "CHINWAG_DATA")]
    data: Option<PathBuf>,
}

impl JoinArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        // A slip of the finger is told at once and by us, not after a dial.
        let token = self.words.last().cloned().unwrap_or_default();
        let invite = daemon::parse_invite(&token)?;
        let begun = Instant::now();
        let reply = match find(context, self.data.as_deref())? {
            Some(client) => {
                let timeout_ms = Some(JOIN_TIMEOUT.as_millis() as u64);
                client.join(&JoinRequest { token, merge: self.merge, timeout_ms }).await?
            }
            None => self.start(context, &token, &invite, begun).await?,
        };
        if context.out.is_json() {
            context.out.json(&reply)?;
        } else {
            let tick = context.out.paint(Tone::Good, "✓");
            context.out.line(&format!("{tick} {}", told(&reply)))?;
        }
        Ok(Exit::Yes)
    }

    /// Starts a daemon that joins, and waits until it has.
    async fn start(
        &self,
        context: &Context,
        token: &str,
        invite: &Invite,
        begun: Instant,
    ) -> Result<JoinReply, End> {
        let name: Option<&Name> = context.global.name.as_ref();
        let before: Vec<u32> =
            context.runtime.list().map_err(Failure::from)?.live.iter().map(|e| e.pid).collect();
        daemon::start_detached(self.data.as_deref(), name, token, self.merge)?;
        let give_up = begun + JOIN_TIMEOUT;
        let client = loop {
            let live = context.runtime.list().map_err(Failure::from)?.live;
            match live.into_iter().find(|e| !before.contains(&e.pid)) {
                Some(entry) => break Client::new(entry.socket),
                None if Instant::now() > give_up => return Err(too_slow().into()),
                None => tokio::time::sleep(POLL).await,
            }
        };
        let status = loop {
            let status = client.status().await?;
            match status.overlay {
                Some(_) if status.members.alive > 1 => break status,
                _ if Instant::now() > give_up => return Err(too_slow().into()),
                _ => tokio::time::sleep(POLL).await,
            }
        };
        caught_up(context, &client, status, invite, begun).await
    }
}

/// The running daemon; where a data directory was named, the one that runs there.
fn find(context: &Context, data: Option<&Path>) -> Result<Option<Client>, Failure> {
    if let Some(data) = data {
        return choose::find_at(data, &context.runtime);
    }
    match choose::find(&context.global, &context.runtime) {
        Ok(client) => Ok(client),
        // `-n NAME` of nobody who runs: the daemon to start is to have that name.
        Err(failure) if failure.kind == Kind::Unreachable => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Waits until the new member holds what its inviter held, or until nothing has come for [`CATCH_UP`].
async fn caught_up(
    context: &Context,
    client: &Client,
    mut status: Status,
    invite: &Invite,
    begun: Instant,
) -> Result<JoinReply, End> {
    let (mut came, mut bar) = (Instant::now(), None);
    while status.in_step.peers == 0 && came.elapsed() < CATCH_UP {
        tokio::time::sleep(POLL).await;
        let before = status.coming.take().map_or(0, |coming| coming.cells);
        status = client.status().await?;
        let Some(coming) = &status.coming else { continue };
        if coming.cells != before {
            came = Instant::now();
        }
        let bar = bar.get_or_insert_with(|| Bar::of_cells(context, &coming.from));
        bar.at_of(coming.cells, coming.of.unwrap_or(0).max(coming.cells));
    }
    drop(bar);
    let members = client.members().await?;
    let inviter = members.members.into_iter().find(|m| m.id == invite.inviter);
    let through = match inviter {
        Some(member) => Through { name: member.name, address: member.addresses.first().copied() },
        None => Through { name: invite.inviter.short(), address: invite.addresses.first().copied() },
    };
    let overlay = status.overlay.ok_or_else(too_slow)?;
    let after_ms = begun.elapsed().as_millis() as u64;
    Ok(JoinReply { overlay, through, after_ms, members: status.members.alive, keys: status.keys })
}

fn too_slow() -> Failure {
    Failure::new(Kind::Timeout, format!("the daemon has not joined within {} s", JOIN_TIMEOUT.as_secs()))
        .because("it keeps trying in the background")
        .hint("chinwag status")
}

/// `joined home through ada (192.168.1.20) in 0.4 s: 2 members, 14 keys`.
fn told(reply: &JoinReply) -> String {
    let address = reply.through.address.map(|a| format!(" ({})", a.socket.ip())).unwrap_or_default();
    format!(
        "joined {} through {}{address} in {:.1} s: {}, {}",
        reply.overlay.name,
        printable(&reply.through.name),
        reply.after_ms as f64 / 1_000.0,
        text::count(reply.members, "member"),
        text::count(reply.keys, "key")
    )
}

//! Making, inviting to, joining and leaving an overlay.

use super::read::{overlay, seen};
use super::{Answered, Daemon, Reply, Text, parse};
use crate::clock;
use crate::daemon::Shared;
use crate::driver::Stopped;
use crate::home::Papers;
use crate::join::{JOIN_WITHIN, ask, has_keys, has_overlay};
use axum::extract::State;
use chinwag_api::{
    Failure, InitReply, InitRequest, InviteReply, InviteRequest, JoinReply, JoinRequest, Kind, LeaveReply,
    Overlay, Through,
};
use chinwag_base::invite::Secret;
use chinwag_base::limits::{ADDRESSES_MAX, INVITE_USES_MAX, INVITES_MAX};
use chinwag_base::{Invite, Role};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// An invite's life, unless the client says.
const INVITE_LIFE: Duration = Duration::from_secs(10 * 60);
/// The longest life of an invite: a token that lies about for longer is a key.
const INVITE_LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long a join waits until it has met its inviter's state, once it is admitted.
const MEET_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn init(State(daemon): Daemon, Text(body): Text) -> Answered<InitReply> {
    let request: InitRequest = parse(&body)?;
    let _alone = daemon.entering.lock().await;
    let papers = daemon.home.found(request.name, clock::wall(), clock::entropy)?;
    daemon.restart(&papers, None).await?;
    Ok(Reply(InitReply {
        overlay: Overlay { name: papers.name.clone(), id: papers.overlay().into() },
        name: daemon.name.to_string(),
        id: daemon.running().await?.keypair.id(),
    }))
}

pub(super) async fn invite(State(daemon): Daemon, Text(body): Text) -> Answered<InviteReply> {
    let request: InviteRequest = parse(&body)?;
    let uses = request.uses.unwrap_or(1);
    let life = request.expires_s.map_or(INVITE_LIFE, Duration::from_secs);
    let role = request.role.unwrap_or(Role::Member);
    let invite = make_invite(&daemon, uses, life, role).await?;
    Ok(Reply(InviteReply {
        token: invite.to_string(),
        overlay: Overlay { name: invite.overlay_name.clone(), id: invite.overlay.into() },
        uses,
        role,
        expires_unix_ms: invite.not_after.unix_ms(),
        expires_in_s: life.as_secs(),
        addresses: invite.addresses,
    }))
}

/// Opens an invite, durably, and gives the token's content.
pub(crate) async fn make_invite(
    daemon: &Arc<Shared>,
    uses: u32,
    life: Duration,
    role: Role,
) -> Result<Invite, Failure> {
    if uses == 0 || uses > INVITE_USES_MAX {
        return Err(Failure::new(Kind::BadRequest, format!("an invite has 1 to {INVITE_USES_MAX} uses")));
    }
    if life.is_zero() || life > INVITE_LIFE_MAX {
        let days = INVITE_LIFE_MAX.as_secs() / (24 * 3_600);
        return Err(Failure::new(
            Kind::BadRequest,
            format!("an invite lives between a second and {days} days"),
        ));
    }
    let engine = daemon.running().await?;
    let papers = engine.papers.as_ref().ok_or_else(|| {
        Failure::new(Kind::NoOverlay, "this daemon belongs to no overlay yet")
            .hint("chinwag init NAME, to make one")
            .hint("chinwag join TOKEN, to enter one")
    })?;
    if !papers.grant.may_invite() {
        return Err(Failure::new(
            Kind::NotAdmin,
            format!("this node's role in {} is {}", papers.name, papers.grant.role()),
        )
        .because("only an admin whose grant the overlay's root signed can invite")
        .hint("run `chinwag invite` on the daemon that made the overlay"));
    }
    if role == Role::Admin && daemon.home.root()?.is_none() {
        return Err(Failure::new(
            Kind::NotAdmin,
            "only the daemon that made the overlay can invite an admin",
        )
        .because("an admin's grant must be signed by the overlay's root key, which is not here")
        .hint("run `chinwag invite --role admin` there"));
    }
    // An invite without an address leads nowhere.
    let mut addresses = daemon.addresses_opened().await;
    if addresses.is_empty() {
        return Err(Failure::new(Kind::Busy, "this daemon does not listen yet").hint("again in a moment"));
    }
    let secret = Secret::from_bytes(rand::random());
    let not_after = clock::wall().plus_ms(life.as_millis() as u64);
    let added = engine.add_invite(secret, role, uses, not_after).await;
    match added {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::new(Kind::Busy, format!("{INVITES_MAX} invites are open already"))
                .hint("wait until some have ended"));
        }
        Err(why) => return Err(Failure::new(Kind::Storage, "the invite could not be stored").because(why)),
    }
    // Loopback only helps on this machine, where daemons find each other without an address.
    if addresses.iter().any(|address| !address.is_loopback()) {
        addresses.retain(|address| !address.is_loopback());
    }
    addresses.truncate(ADDRESSES_MAX);
    Ok(Invite {
        overlay_name: papers.name.clone(),
        overlay: papers.overlay(),
        inviter: engine.keypair.id(),
        secret,
        not_after,
        addresses,
    })
}

pub(super) async fn join(State(daemon): Daemon, Text(body): Text) -> Answered<JoinReply> {
    let request: JoinRequest = parse(&body)?;
    let started = Instant::now();
    let invite = crate::config::parse_invite(&request.token)?;
    let _alone = daemon.entering.lock().await;
    if let Some(papers) = &daemon.running().await?.papers {
        if papers.overlay() != invite.overlay {
            return Err(has_overlay(papers).into());
        }
        // A member already, which may have lost its way: the invite says where the others are.
        return rejoin(&daemon, &invite, started).await;
    }
    refuse_keys(&daemon, request.merge).await?;
    let within = request.timeout_ms.map_or(JOIN_WITHIN, Duration::from_millis);
    let grant = ask(&daemon.home, &invite, within).await?;
    // Clients may have written while the inviter was asked.
    refuse_keys(&daemon, request.merge).await?;
    let papers = Papers { name: invite.overlay_name.clone(), grant };
    daemon.restart(&papers, Some((invite.inviter, invite.addresses.clone()))).await?;
    joined(&daemon, &invite, started).await
}

async fn refuse_keys(daemon: &Shared, merge: bool) -> Result<(), Failure> {
    match seen(daemon).await?.keys {
        0 => Ok(()),
        _ if merge => Ok(()),
        keys => Err(has_keys(keys as usize)),
    }
}

async fn rejoin(daemon: &Arc<Shared>, invite: &Invite, started: Instant) -> Answered<JoinReply> {
    daemon.running().await?.seed(invite.inviter, invite.addresses.clone());
    joined(daemon, invite, started).await
}

async fn joined(daemon: &Arc<Shared>, invite: &Invite, started: Instant) -> Answered<JoinReply> {
    meet(daemon, invite).await?;
    let seen = seen(daemon).await?;
    let engine = daemon.running().await?;
    let inviter = invite.inviter;
    let name = engine.look(move |_, observer, _| observer.name(&inviter)).await?;
    let overlay =
        overlay(&engine).ok_or_else(|| Failure::new(Kind::Internal, "joined, and yet no overlay"))?;
    Ok(Reply(JoinReply {
        overlay,
        through: Through { name, address: invite.addresses.first().copied() },
        after_ms: started.elapsed().as_millis() as u64,
        members: seen.members.alive,
        keys: seen.keys,
    }))
}

/// Waits until the inviter's state is ours too. It is no failure if that takes longer: the join stands.
async fn meet(daemon: &Shared, invite: &Invite) -> Result<(), Failure> {
    let by = Instant::now() + MEET_WITHIN;
    let inviter = invite.inviter;
    while Instant::now() < by {
        let engine = daemon.running().await?;
        if engine
            .look(move |node, _, _| node.gossip().peers().any(|p| p.peer == inviter && p.in_step))
            .await?
        {
            return Ok(());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

pub(super) async fn leave(State(daemon): Daemon) -> Answered<LeaveReply> {
    let reply = LeaveReply { name: daemon.name.to_string(), pid: std::process::id() };
    // The answer goes out first: the process ends when the engine has.
    daemon.stop(Stopped::Left);
    Ok(Reply(reply))
}

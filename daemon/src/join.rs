//! Entering an overlay: an invite is shown to its inviter, and the grant that comes back is kept.

use crate::clock;
use crate::config::{JoinBy, parse_invite};
use crate::home::{Home, Papers};
use crate::network::admission::RefusalReason;
use crate::network::{RedeemError, redeem};
use crate::storage;
use chinwag_api::{Failure, Kind};
use chinwag_base::{Address, Grant, Invite, NodeId};
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

/// How long a redemption may take unless the client says otherwise.
pub(crate) const JOIN_WITHIN: Duration = Duration::from_secs(15);
/// How often a file is looked at that will hold an invite.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Joins by an invite if the home has no overlay yet. A home that has this very overlay is left as it is, so that a
/// daemon can be started with the same command again.
pub(crate) async fn enter(
    home: &Home,
    join: &JoinBy,
    merge: bool,
) -> Result<Option<(NodeId, Vec<Address>)>, Failure> {
    if let (JoinBy::File(_), Some(_)) = (join, home.papers()?) {
        return Ok(None);
    }
    let invite = match join {
        JoinBy::Invite(invite) => invite.clone(),
        JoinBy::File(path) => wait_for_invite(path).await?,
    };
    if let Some(papers) = home.papers()? {
        if papers.overlay() == invite.overlay {
            // A member already, which may have lost its way: the invite says where the others are.
            return Ok(Some((invite.inviter, invite.addresses)));
        }
        return Err(has_overlay(&papers));
    }
    let keys = storage::live_keys(&home.store_path())?;
    if keys > 0 && !merge {
        return Err(has_keys(keys));
    }
    let grant = ask(home, &invite, JOIN_WITHIN).await?;
    home.keep(&Papers { name: invite.overlay_name.clone(), grant })?;
    Ok(Some((invite.inviter, invite.addresses)))
}

async fn wait_for_invite(path: &Path) -> Result<Invite, Failure> {
    tracing::info!(target: "chinwag", event = "join.waiting", file = %path.display());
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return parse_invite(text.trim()),
            // A file without its last newline is still being written.
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => {
                return Err(Failure::new(Kind::Permission, format!("cannot read {}", path.display()))
                    .because(e.to_string()));
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

pub(crate) fn has_overlay(papers: &Papers) -> Failure {
    Failure::new(Kind::HasOverlay, format!("this daemon already belongs to overlay {}", papers.name))
        .hint("a daemon with a data directory of its own: --data DIR")
}

pub(crate) fn has_keys(keys: usize) -> Failure {
    Failure::new(
        Kind::HasKeys,
        format!("this daemon holds {keys} {} of its own", if keys == 1 { "key" } else { "keys" }),
    )
    .because("joining would mix them with the overlay's")
    .hint("--merge, to bring them along")
}

/// Shows the invite to the inviter and gets a grant for it.
pub(crate) async fn ask(home: &Home, invite: &Invite, within: Duration) -> Result<Grant, Failure> {
    let keypair = home.keypair(clock::entropy)?;
    redeem(&keypair, invite, clock::wall(), within).await.map_err(|e| redeem_failure(&e))
}

fn redeem_failure(error: &RedeemError) -> Failure {
    let again = "ask for a new invite: chinwag invite";
    match error {
        RedeemError::Refused(RefusalReason::InviteExpired) => {
            Failure::new(Kind::InviteExpired, "the invite has expired").hint(again)
        }
        RedeemError::Refused(RefusalReason::InviteUsed) => {
            Failure::new(Kind::InviteUsed, "the invite has been used already").hint(again)
        }
        RedeemError::Refused(RefusalReason::InviteUnknown) => {
            Failure::new(Kind::InviteUnknown, "the inviter does not know this invite").hint(again)
        }
        RedeemError::Refused(RefusalReason::Foreign) => {
            Failure::new(Kind::InviteForeign, "another overlay answers at the invite's addresses").hint(again)
        }
        RedeemError::Refused(reason) => {
            Failure::new(Kind::InviteUnknown, "the inviter refused").because(reason.to_string())
        }
        RedeemError::NotTheInviter(_) | RedeemError::Invalid(_) => Failure::new(
            Kind::InviteForeign,
            "another node than the inviter answers at the invite's addresses",
        )
        .because(error.to_string())
        .hint(again),
        other => Failure::new(Kind::InviterUnreachable, "the inviter could not be reached")
            .because(other.to_string())
            .hint("check that its daemon runs and that this machine reaches its addresses"),
    }
}

//! How a joiner gets its grant: it shows the invite's secret to the inviter, and to nobody else.
//!
//! No swarm is needed: a bare connection, one exchange, and the grant is there.

use super::address::{to_multiaddr, to_node};
use super::admission::{Proof, RefusalReason};
use super::dialling::{in_order, most_telling};
use super::door::{DoorError, bare};
use super::exchange::{self, ExchangeError, Hello};
use super::{DIAL_STAGGER_MS, DialFailure, NetworkError};
use chinwag_base::limits::ADMISSION_LINGER_MS;
use chinwag_base::{Address, Grant, GrantError, Invite, Keypair, NodeId, WallTime};
use futures::stream::{FuturesUnordered, StreamExt};
use libp2p::PeerId;
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt};
use libp2p::core::transport::{DialOpts, PortUse, Transport};
use std::future::{Future, poll_fn};
use std::io;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Why an invite gave no grant. A second try is harmless in every case: the same key gets the same grant.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The inviter refused.
    #[error("the inviter refused: {0}")]
    Refused(RefusalReason),
    /// Nobody could be reached at the invite's addresses.
    #[error("the inviter cannot be reached: {}", describe(.0))]
    Unreachable(DialFailure),
    /// Somebody else answered at the invite's addresses. The secret was not shown.
    #[error("another node answered: {0}")]
    NotTheInviter(NodeId),
    /// What the inviter answered with is no grant of the invite's overlay for this key, or its own is none.
    #[error("the inviter's answer is not valid: {0}")]
    Invalid(GrantError),
    /// The transport could not be set up.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

fn describe(failure: &DialFailure) -> String {
    match failure {
        DialFailure::Refused => "nobody listens at its addresses".to_owned(),
        DialFailure::Reset => "it hung up; it may be busy".to_owned(),
        DialFailure::TimedOut => "no answer in time".to_owned(),
        DialFailure::NoAddress => "the invite names no address".to_owned(),
        DialFailure::Denied(why) => why.to_string(),
        DialFailure::WrongPeer(node) => format!("another node answered: {node}"),
        DialFailure::Other(words) => words.clone(),
    }
}

/// Shows `invite` to its inviter and returns the grant that it issues to `keypair`.
///
/// # Errors
/// See [`RedeemError`].
pub async fn redeem(
    keypair: &Keypair,
    invite: &Invite,
    now: WallTime,
    limit: Duration,
) -> Result<Grant, RedeemError> {
    let mut transport = bare(keypair)?;
    let mut tries = FuturesUnordered::new();
    for (rank, address) in in_order(&invite.addresses, &[]).into_iter().enumerate() {
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let Ok(connect) = transport.dial(to_multiaddr(&address), opts) else { continue };
        tries.push(async move {
            sleep(Duration::from_millis(DIAL_STAGGER_MS * rank as u64)).await;
            (address, show(keypair, invite, now, connect).await)
        });
    }
    let first_answer = async {
        let mut failures: Vec<(Option<Address>, DialFailure)> = Vec::new();
        while let Some((address, result)) = tries.next().await {
            match result {
                Err(RedeemError::Unreachable(failure)) => failures.push((Some(address), failure)),
                Err(RedeemError::NotTheInviter(node)) => {
                    failures.push((Some(address), DialFailure::WrongPeer(node)));
                }
                answer => return answer,
            }
        }
        Err(match most_telling(&failures, &[]) {
            DialFailure::WrongPeer(node) => RedeemError::NotTheInviter(node),
            failure => RedeemError::Unreachable(failure),
        })
    };
    timeout(limit, first_answer).await.unwrap_or(Err(RedeemError::Unreachable(DialFailure::TimedOut)))
}

async fn show(
    keypair: &Keypair,
    invite: &Invite,
    now: WallTime,
    connect: impl Future<Output = io::Result<(PeerId, StreamMuxerBox)>>,
) -> Result<Grant, RedeemError> {
    let unreachable = |error: &io::Error| match DoorError::of_io(error) {
        DoorError::Failed(failure) => RedeemError::Unreachable(failure),
        DoorError::Listen(..) => RedeemError::Unreachable(DialFailure::Other(error.to_string())),
    };
    let (peer, mut muxer) = connect.await.map_err(|error| unreachable(&error))?;
    match to_node(&peer) {
        Some(node) if node == invite.inviter => {}
        Some(node) => return Err(RedeemError::NotTheInviter(node)),
        None => {
            return Err(RedeemError::Unreachable(DialFailure::Other(
                "its key is of another kind".to_owned(),
            )));
        }
    }
    let hello = Hello::new(invite.overlay, 0, Proof::Invite(invite.secret));
    let answer = exchange::introduce(&mut muxer, &hello).await;
    let closing = poll_fn(|cx| muxer.poll_close_unpin(cx));
    let _closed = timeout(Duration::from_millis(ADMISSION_LINGER_MS / 4), closing).await;
    match answer {
        Ok((_, _, inviters, issued)) => {
            inviters.verify(invite.overlay, invite.inviter, now).map_err(RedeemError::Invalid)?;
            let issued = issued.ok_or(RedeemError::Refused(RefusalReason::Malformed))?;
            issued.verify(invite.overlay, keypair.id(), now).map_err(RedeemError::Invalid)?;
            Ok(*issued)
        }
        Err(ExchangeError::Refused(why)) => Err(RedeemError::Refused(why)),
        Err(ExchangeError::Io(error)) => Err(unreachable(&error)),
    }
}

//! Who may connect: grants are checked, invites are redeemed.

use crate::clock;
use crate::network::admission::{Admission, Admitted, Proof, RefusalReason};
use crate::storage::{Redeemed, Storage};
use chinwag_base::limits::GRANT_LIFE_MS;
use chinwag_base::{Grant, Keypair, NodeId, OverlayId, Role, WallTime};
use futures::FutureExt;
use futures::future::BoxFuture;

/// The door of a daemon that belongs to an overlay.
pub(crate) struct Door {
    keypair: Keypair,
    /// The overlay's root key, where it was founded: it alone can make admins.
    root: Option<Keypair>,
    grant: Grant,
    storage: Storage,
}

impl Door {
    pub(crate) fn new(keypair: Keypair, root: Option<Keypair>, grant: Grant, storage: Storage) -> Self {
        let root = root.filter(|root| OverlayId::of_root(&root.id()) == grant.overlay());
        Door { keypair, root, grant, storage }
    }
}

impl Admission for Door {
    fn overlay(&self) -> OverlayId {
        self.grant.overlay()
    }

    fn grant(&self) -> Grant {
        self.grant.clone()
    }

    fn now(&self) -> WallTime {
        clock::wall()
    }

    fn admit(&self, peer: NodeId, proof: Proof) -> BoxFuture<'static, Result<Admitted, RefusalReason>> {
        let now = self.now();
        match proof {
            Proof::Grant(grant) => {
                let verdict = grant.verify(self.overlay(), peer, now);
                let admitted = verdict.map(|role| Admitted { role, issued: None });
                std::future::ready(admitted.map_err(RefusalReason::from)).boxed()
            }
            Proof::Invite(secret) => {
                let root = self.root.clone();
                let (keypair, own, storage) =
                    (self.keypair.clone(), self.grant.clone(), self.storage.clone());
                async move {
                    // Durably bound to the joiner's key before the grant leaves, so that no crash gives it twice.
                    let redeemed = storage.redeem(secret, peer, now).await.map_err(|why| {
                        tracing::error!(target: "chinwag", event = "storage.failed", why);
                        RefusalReason::Busy
                    })?;
                    match redeemed {
                        Redeemed::Admitted(Role::Admin) => {
                            let root = root.ok_or(RefusalReason::NotGranted)?;
                            let grant = Grant::by_root(&root, peer, Role::Admin, now.plus_ms(GRANT_LIFE_MS));
                            Ok(Admitted { role: Role::Admin, issued: Some(grant) })
                        }
                        Redeemed::Admitted(role) => issue(&keypair, &own, peer, role, now),
                        Redeemed::Unknown => Err(RefusalReason::InviteUnknown),
                        Redeemed::Expired => Err(RefusalReason::InviteExpired),
                        Redeemed::Used => Err(RefusalReason::InviteUsed),
                    }
                }
                .boxed()
            }
        }
    }
}

fn issue(
    keypair: &Keypair,
    own: &Grant,
    peer: NodeId,
    role: Role,
    now: WallTime,
) -> Result<Admitted, RefusalReason> {
    let grant = Grant::by_admin(keypair, own, peer, role, now.plus_ms(GRANT_LIFE_MS))
        .map_err(|_| RefusalReason::NotGranted)?;
    Ok(Admitted { role, issued: Some(grant) })
}

//! Grants: who may join an overlay, and as what.
//!
//! A grant names an overlay, a node's public key, a role and an end. It is signed by the overlay's root key, or by
//! an admin whose own grant the root signed; the types allow no deeper chain. The transport proves that a peer
//! holds the key that its grant names, so a grant cannot be borrowed.

use crate::identity::{Keypair, NodeId, OverlayId, Signature};
use crate::limits::EXPIRY_TOLERANCE_MS;
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and replicates; its own writes are refused.
    Reader,
    /// Reads and writes.
    Member,
    /// Reads, writes and invites.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Reader => "reader",
            Role::Member => "member",
            Role::Admin => "admin",
        })
    }
}

/// What a grant says, before anybody has signed it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Terms {
    /// The overlay.
    pub overlay: OverlayId,
    /// The node that may join.
    pub node: NodeId,
    /// As what.
    pub role: Role,
    /// Until when, by the wall clock of whoever checks, with [`EXPIRY_TOLERANCE_MS`] of tolerance.
    pub not_after: WallTime,
}

impl Terms {
    fn to_signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"chinwag grant 1\0".to_vec();
        bytes.extend_from_slice(self.overlay.as_bytes());
        bytes.extend_from_slice(self.node.as_bytes());
        bytes.push(match self.role {
            Role::Reader => 0,
            Role::Member => 1,
            Role::Admin => 2,
        });
        bytes.extend_from_slice(&self.not_after.unix_ms().to_be_bytes());
        bytes
    }
}

/// Terms with a signature, by a key that is told elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Signed {
    terms: Terms,
    signature: Signature,
}

/// A signed grant with all that is needed to check it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    signed: Signed,
    /// The admin that signed, by its own grant; `None` if the root did.
    admin: Option<Box<Signed>>,
    root: NodeId,
}

/// Why a grant does not admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GrantError {
    /// It is for another overlay.
    #[error("the grant is for another overlay")]
    Foreign,
    /// It is for another node.
    #[error("the grant names another node")]
    Borrowed,
    /// Its time is over.
    #[error("the grant has expired")]
    Expired,
    /// A signature is wrong, or its signer may not sign.
    #[error("the grant is not signed by the overlay's root or by one of its admins")]
    Forged,
}

impl Grant {
    /// A grant signed by the overlay's root.
    pub fn by_root(root: &Keypair, node: NodeId, role: Role, not_after: WallTime) -> Self {
        let terms = Terms { overlay: OverlayId::of_root(&root.id()), node, role, not_after };
        let signature = root.sign(&terms.to_signed_bytes());
        Grant { signed: Signed { terms, signature }, admin: None, root: root.id() }
    }

    /// A grant signed by an admin, whose own grant is `own`. It ends no later than `own` does.
    ///
    /// # Errors
    /// [`GrantError::Forged`] if `own` is not an admin's grant signed by the root, or is not for `admin`: nobody
    /// would accept what it signs.
    pub fn by_admin(
        admin: &Keypair,
        own: &Grant,
        node: NodeId,
        role: Role,
        not_after: WallTime,
    ) -> Result<Self, GrantError> {
        if !own.may_invite() || own.node() != admin.id() {
            return Err(GrantError::Forged);
        }
        let not_after = not_after.min(own.not_after());
        let terms = Terms { overlay: own.overlay(), node, role, not_after };
        let signature = admin.sign(&terms.to_signed_bytes());
        Ok(Grant {
            signed: Signed { terms, signature },
            admin: Some(Box::new(own.signed.clone())),
            root: own.root,
        })
    }

    /// The overlay it is for.
    pub fn overlay(&self) -> OverlayId {
        self.signed.terms.overlay
    }

    /// The node that it admits.
    pub fn node(&self) -> NodeId {
        self.signed.terms.node
    }

    /// The role that it gives.
    pub fn role(&self) -> Role {
        self.signed.terms.role
    }

    /// When it ends.
    pub fn not_after(&self) -> WallTime {
        self.signed.terms.not_after
    }

    /// Whether its holder can sign grants that others accept: an admin by the root's own hand.
    pub fn may_invite(&self) -> bool {
        self.role() == Role::Admin && self.admin.is_none()
    }

    /// Checks the grant of `node`, whose key the transport has proved, for `overlay` at time `now`.
    ///
    /// # Errors
    /// The first of [`GrantError`] that holds. Nothing changes.
    pub fn verify(&self, overlay: OverlayId, node: NodeId, now: WallTime) -> Result<Role, GrantError> {
        self.verify_signatures(overlay, node)?;
        let ended = |signed: &Signed| signed.terms.not_after.plus_ms(EXPIRY_TOLERANCE_MS) < now;
        if ended(&self.signed) || self.admin.as_deref().is_some_and(ended) {
            return Err(GrantError::Expired);
        }
        Ok(self.role())
    }

    /// Checks everything but the time: what a pure core without a wall clock can check of a record that is passed on.
    ///
    /// # Errors
    /// Any of [`GrantError`] but `Expired`.
    pub fn verify_signatures(&self, overlay: OverlayId, node: NodeId) -> Result<Role, GrantError> {
        if self.overlay() != overlay || OverlayId::of_root(&self.root) != overlay {
            return Err(GrantError::Foreign);
        }
        if self.node() != node {
            return Err(GrantError::Borrowed);
        }
        let signer = match self.admin.as_deref() {
            None => self.root,
            Some(admin) => {
                let may_sign = admin.terms.overlay == overlay
                    && admin.terms.role == Role::Admin
                    && self.root.verify(&admin.terms.to_signed_bytes(), &admin.signature);
                if !may_sign {
                    return Err(GrantError::Forged);
                }
                admin.terms.node
            }
        };
        if !signer.verify(&self.signed.terms.to_signed_bytes(), &self.signed.signature) {
            return Err(GrantError::Forged);
        }
        Ok(self.role())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_unix_ms(1_000_000_000);
    const LATER: WallTime = WallTime::from_unix_ms(2_000_000_000);

    fn key(n: u8) -> Keypair {
        Keypair::from_secret([n; 32])
    }

    #[test]
    fn a_grant_by_the_root_and_one_by_an_admin_admit() {
        let (root, ada, bob, eve) = (key(1), key(2), key(3), key(4));
        let overlay = OverlayId::of_root(&root.id());
        let admin = Grant::by_root(&root, ada.id(), Role::Admin, LATER);
        assert_eq!(admin.verify(overlay, ada.id(), NOW), Ok(Role::Admin));
        let member = Grant::by_admin(&ada, &admin, bob.id(), Role::Member, LATER).unwrap();
        assert_eq!(member.verify(overlay, bob.id(), NOW), Ok(Role::Member));

        assert_eq!(member.verify(overlay, eve.id(), NOW), Err(GrantError::Borrowed));
        let elsewhere = OverlayId::of_root(&eve.id());
        assert_eq!(member.verify(elsewhere, bob.id(), NOW), Err(GrantError::Foreign));
        let too_late = LATER.plus_ms(EXPIRY_TOLERANCE_MS + 1);
        assert_eq!(member.verify(overlay, bob.id(), too_late), Err(GrantError::Expired));
        assert_eq!(member.verify(overlay, bob.id(), LATER.plus_ms(EXPIRY_TOLERANCE_MS)), Ok(Role::Member));
    }

    #[test]
    fn no_deeper_chain_and_no_forgery() {
        let (root, ada, bob, eve) = (key(1), key(2), key(3), key(4));
        let overlay = OverlayId::of_root(&root.id());
        let admin = Grant::by_root(&root, ada.id(), Role::Admin, LATER);
        let second = Grant::by_admin(&ada, &admin, bob.id(), Role::Admin, LATER).unwrap();
        assert_eq!(second.verify(overlay, bob.id(), NOW), Ok(Role::Admin));
        assert_eq!(Grant::by_admin(&bob, &second, eve.id(), Role::Member, LATER), Err(GrantError::Forged));

        // A member that signs with a root-signed member's grant.
        let member = Grant::by_root(&root, bob.id(), Role::Member, LATER);
        let mut forged = Grant::by_admin(&ada, &admin, eve.id(), Role::Member, LATER).unwrap();
        forged.admin = Some(Box::new(member.signed));
        assert_eq!(forged.verify(overlay, eve.id(), NOW), Err(GrantError::Forged));

        // Promotion of oneself.
        let mut forged = Grant::by_admin(&ada, &admin, eve.id(), Role::Member, LATER).unwrap();
        forged.signed.terms.role = Role::Admin;
        assert_eq!(forged.verify(overlay, eve.id(), NOW), Err(GrantError::Forged));

        // Another root that claims the overlay's id.
        let mut forged = Grant::by_root(&eve, eve.id(), Role::Admin, LATER);
        forged.signed.terms.overlay = overlay;
        assert_eq!(forged.verify(overlay, eve.id(), NOW), Err(GrantError::Foreign));
    }

    #[test]
    fn an_expired_admin_admits_nobody() {
        let (root, ada, bob) = (key(1), key(2), key(3));
        let admin = Grant::by_root(&root, ada.id(), Role::Admin, NOW);
        let member = Grant::by_admin(&ada, &admin, bob.id(), Role::Member, LATER).unwrap();
        assert_eq!(member.not_after(), NOW);
        assert_eq!(member.verify(admin.overlay(), bob.id(), LATER), Err(GrantError::Expired));
    }
}

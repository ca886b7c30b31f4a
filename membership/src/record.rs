//! What a member says of itself, signed.
//!
//! A record is made by its subject alone and travels with the subject's grant, so that whoever relays it can
//! neither invent a member nor resurrect, rename or retire one. Suspicion and death are not records but claims of
//! whoever reports them; only the subject can refute them, with a record of the next incarnation.

use crate::config::{Config, Identity};
use crate::version::{State, Version};
use chinwag_base::limits::ADDRESSES_MAX;
use chinwag_base::tag;
use chinwag_base::{
    Address, Generation, Grant, GrantError, Incarnation, Keypair, Name, NodeId, OverlayId, PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN, Role, Signature, Tags,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Incarnations above this are refused. At one a millisecond a process would need nine thousand years.
pub const INCARNATION_MAX: u64 = 1 << 48;

/// The two things that a member can say of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// I am here.
    Alive,
    /// I am leaving and shall not be missed.
    Left,
}

/// What a record says, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The overlay.
    pub overlay: OverlayId,
    /// The member that speaks.
    pub id: NodeId,
    /// Its process life.
    pub generation: Generation,
    /// Its version of this statement; rises with every change and every refutation.
    pub incarnation: Incarnation,
    /// Here, or leaving.
    pub standing: Standing,
    /// The name that people call it by.
    pub name: Name,
    /// Where it listens.
    pub addresses: Vec<Address>,
    /// Short words for people and tools.
    pub tags: Tags,
    /// The mean length of the stalls that it admits to, in milliseconds; others give it that much more time.
    pub stall_mean_ms: u32,
    /// The oldest and the newest wire protocol that it speaks.
    pub protocols: (u16, u16),
}

impl Statement {
    /// The bytes under the signature: every field with its length, so that no two statements share them.
    fn to_signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"chinwag member 1\0".to_vec();
        bytes.extend_from_slice(self.overlay.as_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.generation.get().to_be_bytes());
        bytes.extend_from_slice(&self.incarnation.get().to_be_bytes());
        bytes.push(match self.standing {
            Standing::Alive => 0,
            Standing::Left => 1,
        });
        let mut text = |t: &str| {
            bytes.extend_from_slice(&(t.len() as u32).to_be_bytes());
            bytes.extend_from_slice(t.as_bytes());
        };
        text(self.name.as_str());
        text(&self.addresses.len().to_string());
        for address in &self.addresses {
            text(&address.to_string());
        }
        text(&self.tags.len().to_string());
        for (tag, value) in &self.tags {
            text(tag);
            text(value);
        }
        bytes.extend_from_slice(&self.stall_mean_ms.to_be_bytes());
        bytes.extend_from_slice(&self.protocols.0.to_be_bytes());
        bytes.extend_from_slice(&self.protocols.1.to_be_bytes());
        bytes
    }
}

/// A signed statement with its subject's grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    statement: Statement,
    signature: Signature,
    grant: Grant,
}

/// Why a record is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is about another overlay.
    #[error("the record is for another overlay")]
    Foreign,
    /// Its grant does not admit its subject.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// It was not signed by its subject.
    #[error("the record is not signed by its subject")]
    Forged,
    /// Its incarnation is too far above the known one.
    #[error("the incarnation jumps too far")]
    Jump,
    /// More addresses than a member may have.
    #[error("the record is too large")]
    TooLarge,
    /// Too many tags, too long ones, or words that a tag may not be.
    #[error("the record has tags that no member may have")]
    Tags,
    /// It speaks no wire protocol that is spoken here.
    #[error("no common protocol version")]
    Protocol,
    /// The view is full.
    #[error("the overlay has as many members as a view holds")]
    Full,
}

impl Record {
    /// Signs what `me` says of itself.
    pub(crate) fn sign(
        config: &Config,
        me: &Identity,
        incarnation: Incarnation,
        standing: Standing,
        stall_mean: Duration,
    ) -> Self {
        Self::sign_statement(
            &me.keypair,
            me.grant.clone(),
            Statement {
                overlay: config.overlay,
                id: me.keypair.id(),
                generation: me.generation,
                incarnation,
                standing,
                name: me.name.clone(),
                addresses: me.addresses.clone(),
                tags: me.tags.clone(),
                stall_mean_ms: u32::try_from(stall_mean.as_millis()).unwrap_or(u32::MAX),
                protocols: config.protocols,
            },
        )
    }

    /// Signs any statement with any key: for tools and tests. Only the subject's own signature is accepted.
    pub fn sign_statement(keypair: &Keypair, grant: Grant, statement: Statement) -> Self {
        let signature = keypair.sign(&statement.to_signed_bytes());
        Record { statement, signature, grant }
    }

    /// Checks everything that can be checked without a view: overlay, bounds, grant, signature.
    ///
    /// # Errors
    /// The first of [`RecordError`] that holds.
    pub fn verify(&self, overlay: OverlayId) -> Result<(), RecordError> {
        self.verify_knowing(overlay, None)
    }

    /// As [`Record::verify`], without checking anew a grant that was checked before.
    pub(crate) fn verify_knowing(
        &self,
        overlay: OverlayId,
        known: Option<&Grant>,
    ) -> Result<(), RecordError> {
        let s = &self.statement;
        if s.overlay != overlay {
            return Err(RecordError::Foreign);
        }
        if s.addresses.len() > ADDRESSES_MAX {
            return Err(RecordError::TooLarge);
        }
        tag::check(&s.tags).map_err(|_| RecordError::Tags)?;
        if s.protocols.0 > PROTOCOL_VERSION || s.protocols.1 < PROTOCOL_VERSION_MIN {
            return Err(RecordError::Protocol);
        }
        if s.incarnation.get() > INCARNATION_MAX {
            return Err(RecordError::Jump);
        }
        if known != Some(&self.grant) {
            self.grant.verify_signatures(overlay, s.id)?;
        }
        if !s.id.verify(&s.to_signed_bytes(), &self.signature) {
            return Err(RecordError::Forged);
        }
        Ok(())
    }

    /// The member that speaks.
    pub fn id(&self) -> NodeId {
        self.statement.id
    }

    /// What it says.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The grant that admits it.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// What its grant allows.
    pub fn role(&self) -> Role {
        self.grant.role()
    }

    /// The belief that it establishes.
    pub fn version(&self) -> Version {
        Version {
            generation: self.statement.generation,
            incarnation: self.statement.incarnation,
            state: match self.statement.standing {
                Standing::Alive => State::Alive,
                Standing::Left => State::Left,
            },
        }
    }

    /// About how many bytes it takes in a frame, rounded up.
    pub fn weight(&self) -> usize {
        const STATEMENT: usize = 16 + 32 + 9 + 9 + 1 + 2 + 3 + 3 + 5 + 6;
        const GRANT: usize = 2 * (16 + 32 + 1 + 9 + 64) + 32 + 1;
        let addresses = self.statement.addresses.iter().map(|a| if a.socket.is_ipv4() { 10 } else { 22 });
        let tags = self.statement.tags.iter().map(|(tag, value)| tag.len() + value.len() + 2);
        STATEMENT
            + self.statement.name.as_str().len()
            + addresses.sum::<usize>()
            + tags.sum::<usize>()
            + 64
            + GRANT
    }
}

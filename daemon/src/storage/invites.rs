//! The invite book: an invite is redeemed by the member that made it, as often as it says, and never twice by
//! different keys for one use.

use super::INVITES;
use super::rows::Row;
use chinwag_base::invite::Secret;
use chinwag_base::limits::INVITES_MAX;
use chinwag_base::{NodeId, Role, WallTime};
use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

/// An invite to be written into the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenInvite {
    /// What a joiner is admitted as.
    pub(crate) role: Role,
    /// Until when.
    pub(crate) not_after: WallTime,
    /// For how many different keys.
    pub(crate) uses: u32,
    /// The keys that have used it. The same key may come again: a lost reply burns nothing.
    pub(crate) bound: Vec<NodeId>,
}

/// What came of showing an invite's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redeemed {
    /// The joiner is bound to the invite, durably.
    Admitted(Role),
    /// The secret is in nobody's book here.
    Unknown,
    /// Its time is over.
    Expired,
    /// All of its uses are bound to other keys.
    Used,
}

pub(super) fn add(
    txn: &WriteTransaction,
    secret: &Secret,
    invite: &OpenInvite,
    now: WallTime,
) -> Result<bool, redb::Error> {
    let mut table = txn.open_table(INVITES)?;
    // Nobody can tell an old invite from an unknown one a day after its end.
    const KEPT_MS: u64 = 24 * 3_600 * 1_000;
    table.retain(|_, row| OpenInvite::from_row(row).is_ok_and(|i| i.not_after.plus_ms(KEPT_MS) > now))?;
    let mut open = 0;
    for row in table.iter()? {
        open += usize::from(OpenInvite::from_row(row?.1.value()).is_ok_and(|i| i.not_after > now));
    }
    if open >= INVITES_MAX {
        return Ok(false);
    }
    table.insert(secret.hash().as_slice(), invite.to_row().as_slice())?;
    Ok(true)
}

/// Whether an invite with this secret is in the book.
pub(super) fn knows(txn: &ReadTransaction, secret: &Secret) -> Result<bool, redb::Error> {
    Ok(txn.open_table(INVITES)?.get(secret.hash().as_slice())?.is_some())
}

pub(super) fn redeem(
    txn: &WriteTransaction,
    secret: &Secret,
    joiner: NodeId,
    now: WallTime,
) -> Result<Redeemed, redb::Error> {
    let mut table = txn.open_table(INVITES)?;
    let hash = secret.hash();
    let row = table.get(hash.as_slice())?.map(|row| OpenInvite::from_row(row.value()));
    let Some(Ok(mut invite)) = row else { return Ok(Redeemed::Unknown) };
    if invite.bound.contains(&joiner) {
        return Ok(Redeemed::Admitted(invite.role));
    }
    if invite.bound.len() >= invite.uses as usize {
        return Ok(Redeemed::Used);
    }
    // No tolerance: the clock that made the invite is the one that reads it.
    if invite.not_after < now {
        return Ok(Redeemed::Expired);
    }
    invite.bound.push(joiner);
    table.insert(hash.as_slice(), invite.to_row().as_slice())?;
    Ok(Redeemed::Admitted(invite.role))
}

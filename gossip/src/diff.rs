//! What one peer lacks of ours, and we of its: by the clocks that both have told, without sending anything.

use crate::Gossip;
use chinwag_base::{Digest, Key, NodeId};
use std::collections::BTreeMap;

/// How a peer differs from us. All of it is what the peer is *known* to hold, which may be a little less than it does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// Whether it is known to hold exactly what we hold.
    pub in_step: bool,
    /// Whether it has told anything of its clock yet.
    pub told: bool,
    /// The digest of its state, as it last said.
    pub digest: Option<Digest>,
    /// Writes that we hold and it is not known to hold.
    pub they_lack: u64,
    /// Those of them that our log has: their keys, each with how many.
    pub keys: BTreeMap<Key, u64>,
    /// Those that our log has no more, so that it will be sent whole cells instead.
    pub beyond_log: u64,
    /// Writes that it holds and we do not, by who wrote them.
    pub we_lack: BTreeMap<NodeId, u64>,
    /// Whether it told of more than is remembered of a clock; then we may lack more.
    pub is_cut: bool,
}

impl Gossip {
    /// How a connected peer differs from us; `None` if it is not connected, because nothing is known of it then.
    pub fn diff(&self, peer: NodeId) -> Option<Diff> {
        let known = self.peers.get(&peer)?;
        let mut diff = Diff {
            in_step: self.is_in_step(known),
            told: known.summary.is_some() || known.reported.is_some() || !known.known.is_empty(),
            digest: known.summary.map(|summary| summary.state),
            is_cut: known.cut,
            ..Diff::default()
        };
        let ours = self.replica.clock();
        for (replica, span) in known.known.minus(ours) {
            *diff.we_lack.entry(replica.node).or_default() += span.end() - span.start() + 1;
        }
        if diff.in_step {
            return Some(diff);
        }
        diff.they_lack = ours.count_minus(&known.known);
        let mut logged = 0;
        for (_, dot) in self.replica.logged_after(0).filter(|(_, dot)| !known.known.covers(*dot)) {
            logged += 1;
            if let Some(entry) = self.replica.entry(dot) {
                *diff.keys.entry(entry.key.clone()).or_default() += 1;
            }
        }
        diff.beyond_log = diff.they_lack.saturating_sub(logged);
        Some(diff)
    }
}

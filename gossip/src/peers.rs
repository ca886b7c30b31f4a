//! The connected peers, and what the core looks for among them.
//!
//! With hundreds of peers, to ask each of them at every input when it next wants something would cost more than all
//! else. So what is looked for is kept in sorted sets. A peer that is handed out to be changed is noted, and its places
//! in the sets are set anew, from the peer itself, before the sets are next read: nobody who changes a peer has to
//! think of them.

use crate::gossip::MemberState;
use crate::peer::{ChunkState, Peer};
use crate::{Config, Summary};
use chinwag_base::{Digest, Moment, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Index;

/// The digests of our clock and of our state.
pub(crate) type Ours = (Digest, Digest);

/// Every connected peer. The sets are true after [`Peers::refresh`].
#[derive(Debug, Default)]
pub(crate) struct Peers {
    all: BTreeMap<NodeId, Slot>,
    /// Those that were handed out to be changed since the last refresh.
    touched: Vec<NodeId>,
    /// Our digests, as the last refresh compared them.
    ours: Option<Ours>,
    deadlines: BTreeSet<(Moment, NodeId)>,
    looks: BTreeSet<(Moment, NodeId)>,
    ahead: BTreeSet<NodeId>,
    owing: BTreeSet<NodeId>,
    told: BTreeSet<NodeId>,
    in_step: usize,
    in_step_alive: usize,
}

#[derive(Debug, Default)]
struct Slot {
    peer: Peer,
    marks: Marks,
    is_touched: bool,
}

/// What the sets hold of one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Marks {
    /// When an exchange, a rest or a chunk of it ends, or what it announced is fetched.
    deadline: Option<Moment>,
    /// When to begin an exchange with it out of turn.
    look: Option<Moment>,
    /// It may hold what we lack, and may be asked.
    ahead: bool,
    /// Chunks were asked of it.
    owing: bool,
    /// It has told its clock in an exchange that we began.
    told: bool,
    /// It holds exactly what we hold.
    in_step: bool,
    /// The same, and it is a member that is alive.
    in_step_alive: bool,
}

/// The peers themselves.
impl Peers {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn contains_key(&self, id: &NodeId) -> bool {
        self.all.contains_key(id)
    }

    pub(crate) fn get(&self, id: &NodeId) -> Option<&Peer> {
        self.all.get(id).map(|slot| &slot.peer)
    }

    pub(crate) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Peer> {
        let slot = self.all.get_mut(id)?;
        if !std::mem::replace(&mut slot.is_touched, true) {
            self.touched.push(*id);
        }
        Some(&mut slot.peer)
    }

    pub(crate) fn insert(&mut self, id: NodeId, peer: Peer) {
        self.remove(&id);
        self.all.insert(id, Slot { peer, marks: Marks::default(), is_touched: true });
        self.touched.push(id);
    }

    pub(crate) fn remove(&mut self, id: &NodeId) -> Option<Peer> {
        let slot = self.all.remove(id)?;
        if slot.is_touched {
            self.touched.retain(|touched| touched != id);
        }
        self.mark(*id, slot.marks, Marks::default());
        Some(slot.peer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Peer)> {
        self.all.iter().map(|(id, slot)| (id, &slot.peer))
    }

    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &Peer> {
        self.all.values().map(|slot| &slot.peer)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &NodeId> {
        self.all.keys()
    }
}

impl Index<&NodeId> for Peers {
    type Output = Peer;
    fn index(&self, id: &NodeId) -> &Peer {
        &self.all[id].peer
    }
}

/// What is looked for, as of the last refresh.
impl Peers {
    /// When the first exchange, rest or chunk ends.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The peers of which an exchange, a rest or a chunk has ended, in the order of ids.
    pub(crate) fn due(&self, now: Moment) -> BTreeSet<NodeId> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    /// Whom to meet out of turn first, and when.
    pub(crate) fn next_look(&self) -> Option<(Moment, NodeId)> {
        self.looks.first().copied()
    }

    /// Those that may hold what we lack, and may be asked.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.ahead.iter().copied()
    }

    /// Those of whom chunks were asked.
    pub(crate) fn owing(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.owing.iter().copied()
    }

    /// Those that have told their clock in an exchange that we began.
    pub(crate) fn told(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.told.iter().copied()
    }

    /// Whether every peer holds exactly what we hold.
    pub(crate) fn are_in_step(&self) -> bool {
        self.in_step == self.all.len()
    }

    /// How many peers that are members and alive hold exactly what we hold.
    pub(crate) fn in_step_alive(&self) -> usize {
        self.in_step_alive
    }

    /// Members have come, gone or changed.
    pub(crate) fn touch(&mut self, id: &NodeId) {
        self.get_mut(id);
    }

    /// Sets the sets right: for the peers that were touched, or for all if our own digests have changed.
    pub(crate) fn refresh(&mut self, ours: Ours, members: &BTreeMap<NodeId, MemberState>, config: &Config) {
        if self.ours != Some(ours) {
            self.ours = Some(ours);
            let Peers { all, touched, .. } = self;
            let untouched = all.iter_mut().filter(|(_, slot)| !slot.is_touched);
            touched.extend(untouched.map(|(id, slot)| {
                slot.is_touched = true;
                *id
            }));
        }
        for id in std::mem::take(&mut self.touched) {
            let Some(slot) = self.all.get_mut(&id) else { continue };
            slot.is_touched = false;
            let marks = Marks::of(&slot.peer, ours, || members.get(&id).is_some_and(|m| m.alive), config);
            let before = std::mem::replace(&mut slot.marks, marks);
            self.mark(id, before, marks);
        }
    }

    fn mark(&mut self, id: NodeId, before: Marks, after: Marks) {
        if before == after {
            return;
        }
        replace_time(&mut self.deadlines, id, before.deadline, after.deadline);
        replace_time(&mut self.looks, id, before.look, after.look);
        replace(&mut self.ahead, id, before.ahead, after.ahead);
        replace(&mut self.owing, id, before.owing, after.owing);
        replace(&mut self.told, id, before.told, after.told);
        self.in_step = self.in_step + usize::from(after.in_step) - usize::from(before.in_step);
        self.in_step_alive =
            self.in_step_alive + usize::from(after.in_step_alive) - usize::from(before.in_step_alive);
    }
}

fn replace_time(
    set: &mut BTreeSet<(Moment, NodeId)>,
    id: NodeId,
    before: Option<Moment>,
    after: Option<Moment>,
) {
    if before == after {
        return;
    }
    if let Some(at) = before {
        set.remove(&(at, id));
    }
    if let Some(at) = after {
        set.insert((at, id));
    }
}

fn replace(set: &mut BTreeSet<NodeId>, id: NodeId, before: bool, after: bool) {
    match (before, after) {
        (false, true) => {
            set.insert(id);
        }
        (true, false) => {
            set.remove(&id);
        }
        _ => {}
    }
}

impl Marks {
    fn of(peer: &Peer, ours: Ours, is_alive: impl FnOnce() -> bool, config: &Config) -> Self {
        let exchange = peer.exchange.as_ref();
        let chunks = peer.chunks.values().filter_map(|chunk| match chunk.state {
            ChunkState::Asked => Some(chunk.at + config.chunk_patience),
            ChunkState::Late => Some(chunk.at + config.exchange_timeout),
            ChunkState::Arrived(_) => None,
        });
        let ends = exchange.map(|exchange| exchange.heard + config.exchange_timeout);
        let in_step = is_same(peer.summary, ours);
        Marks {
            deadline: chunks.chain(ends).chain(peer.rest_until).chain(peer.graft_at).min(),
            look: peer.look_at.filter(|_| exchange.is_none()),
            ahead: peer.ahead && peer.rest_until.is_none(),
            owing: !peer.chunks.is_empty(),
            told: exchange.is_some_and(|exchange| exchange.reported),
            in_step,
            in_step_alive: in_step && is_alive(),
        }
    }
}

/// Whether a summary says what ours would.
pub(crate) fn is_same(summary: Option<Summary>, (clock, state): Ours) -> bool {
    summary.is_some_and(|summary| summary.clock == clock && summary.state == state)
}

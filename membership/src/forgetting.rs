//! Forgetting a member that will not return.
//!
//! Whoever is down is shown for three days, dialled for ever, and waited for by the log of writes. An admin who knows that
//! a machine is gone orders it to be forgotten: a signed [`Order`] that names the incarnation, spread like other news and
//! told at each meeting, so that nobody who was away brings the member back from memory.
//!
//! An order is followed by whoever holds the member for down or gone at that incarnation, or is not connected to it and holds it
//! for alive at that one or an earlier one of the same process life: those who could confirm that it is gone may have
//! forgotten it. Whoever is connected to it only passes the order on to it. So no order drives out a member that is there,
//! nor one of a life that nobody has seen. It beats every belief in that incarnation and loses to any later one
//! ([`crate::rumour`]): the member is away as if it had been down for long, but for its address, which is struck. If it lives
//! after all it hears of the order, refutes it like any accusation, and is a member as before.

use crate::Event;
use crate::membership::Membership;
use crate::message::{Message, Update};
use crate::rumour::Known;
use crate::version::{State, Version};
use chinwag_base::limits::{FORGOTTEN_MAX, INCARNATION_STEP_MAX, UPDATES_PER_FRAME_MAX};
use chinwag_base::{
    Generation, Grant, Incarnation, Keypair, Lane, Moment, NodeId, OverlayId, Role, Signature,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An admin's order to forget a member at one incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Whom.
    pub id: NodeId,
    /// Its process life.
    pub generation: Generation,
    /// Its incarnation. A later one is another matter.
    pub incarnation: Incarnation,
    /// Who orders it.
    pub by: NodeId,
    grant: Grant,
    signature: Signature,
}

/// Why a member is not forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForgetError {
    /// Nobody is known by that id.
    #[error("no such member is known")]
    Unknown,
    /// It is this one.
    #[error("a member cannot forget itself; it can leave")]
    Ourselves,
    /// It is there.
    #[error("it is {0}: only a member that is down or has left can be forgotten")]
    Present(State),
    /// Our grant does not let us order that.
    #[error("only an admin can order that, and this node's role is {0}")]
    NotAdmin(Role),
    /// So many orders are remembered that there is no room for one more.
    #[error("{FORGOTTEN_MAX} members have been forgotten within three days; no more are remembered at once")]
    TooMany,
}

impl Order {
    /// Signs an order. Only an admin's is followed.
    pub fn sign(keypair: &Keypair, grant: Grant, id: NodeId, belief: Version) -> Self {
        let Version { generation, incarnation, .. } = belief;
        let by = keypair.id();
        let signature = keypair.sign(&signed_bytes(grant.overlay(), id, generation, incarnation, by));
        Order { id, generation, incarnation, by, grant, signature }
    }

    /// The belief that it asks for. That the member is to be forgotten comes on top.
    pub fn version(&self) -> Version {
        Version { generation: self.generation, incarnation: self.incarnation, state: State::Down }
    }

    /// Whether an admin of this overlay has signed it.
    fn is_valid(&self, overlay: OverlayId) -> bool {
        let bytes = signed_bytes(overlay, self.id, self.generation, self.incarnation, self.by);
        self.grant.role() == Role::Admin
            && self.grant.verify_signatures(overlay, self.by).is_ok()
            && self.by.verify(&bytes, &self.signature)
    }

    /// About how many bytes it takes in a frame, rounded up.
    pub(crate) fn weight(&self) -> usize {
        const GRANT: usize = 2 * (16 + 32 + 1 + 9 + 64) + 32 + 1;
        32 + 9 + 9 + 32 + GRANT + 64
    }
}

/// What an order is about, and what overrides it.
fn life(version: Version) -> (Generation, Incarnation) {
    (version.generation, version.incarnation)
}

/// Each part has a fixed length, so no two orders share them.
fn signed_bytes(
    overlay: OverlayId,
    id: NodeId,
    generation: Generation,
    incarnation: Incarnation,
    by: NodeId,
) -> Vec<u8> {
    let mut bytes = b"chinwag forget 1\0".to_vec();
    bytes.extend_from_slice(overlay.as_bytes());
    bytes.extend_from_slice(id.as_bytes());
    bytes.extend_from_slice(&generation.get().to_be_bytes());
    bytes.extend_from_slice(&incarnation.get().to_be_bytes());
    bytes.extend_from_slice(by.as_bytes());
    bytes
}

/// The orders that are remembered, by whom they are about: as long as somebody who is down is shown, so that whoever was
/// away meanwhile hears of them.
#[derive(Debug, Default)]
pub(crate) struct Orders(BTreeMap<NodeId, (Arc<Order>, Moment)>);

impl Orders {
    pub(crate) fn get(&self, id: &NodeId) -> Option<&Arc<Order>> {
        self.0.get(id).map(|(order, _)| order)
    }

    fn has_room_for(&self, id: &NodeId) -> bool {
        self.0.len() < FORGOTTEN_MAX || self.0.contains_key(id)
    }
}

impl Membership {
    /// A client orders a member to be forgotten.
    pub(crate) fn on_forget(&mut self, now: Moment, id: NodeId) -> Result<(), ForgetError> {
        if id == self.id {
            return Err(ForgetError::Ourselves);
        }
        let role = self.me.grant.role();
        if role != Role::Admin {
            return Err(ForgetError::NotAdmin(role));
        }
        let belief = match self.view.known(&id) {
            Known::Here(version) if !self.is_gone(&id) => return Err(ForgetError::Present(version.state)),
            Known::Here(version) => version,
            Known::Away(version) if self.is_expected(&id) => version,
            // Of one that left long ago, or was forgotten, there is nothing left to forget.
            Known::Away(_) | Known::Never => return Err(ForgetError::Unknown),
        };
        if !self.orders.has_room_for(&id) {
            return Err(ForgetError::TooMany);
        }
        let order = Order::sign(&self.me.keypair, self.me.grant.clone(), id, belief);
        self.take_order(now, Arc::new(order));
        Ok(())
    }

    /// Somebody passes an order on.
    pub(crate) fn learn_order(&mut self, now: Moment, from: NodeId, order: Arc<Order>) {
        let (id, version) = (order.id, order.version());
        if self.orders.get(&id).is_some_and(|known| life(known.version()) >= life(version)) {
            return self.news.heard(id);
        }
        // Where nothing is left to forget, it is not remembered either: else members would tell each other of it for ever,
        // each forgetting it at another time.
        let is_of_use = match self.view.known(&id) {
            Known::Here(known) => life(known) <= life(version),
            Known::Away(known) => life(known) == life(version) && self.is_expected(&id),
            Known::Never => false,
        };
        if !is_of_use || !self.orders.has_room_for(&id) {
            return;
        }
        if !order.is_valid(self.config.overlay) {
            let why = "an order to forget a member that no admin has signed";
            return self.event(Event::FrameRefused { from, why });
        }
        if id == self.id {
            // A rumour of our death, whoever signed it.
            self.learn_of_ourselves(now, from, version);
            return;
        }
        self.take_order(now, order);
    }

    fn take_order(&mut self, now: Moment, order: Arc<Order>) {
        let id = order.id;
        self.orders.0.insert(id, (order, now));
        self.news.mark(id);
        self.follow_order(now, id);
    }

    /// Whether a member is in the view and is held for gone.
    fn is_gone(&self, id: &NodeId) -> bool {
        self.view.get(id).is_some_and(|entry| entry.is_lost() || entry.version.state == State::Left)
    }

    /// Whether a member is not in the view and expected back.
    fn is_expected(&self, id: &NodeId) -> bool {
        self.view.away().record(id).is_some()
    }

    /// Forgets the member whom an order is about, as we know it, unless we know a later incarnation or another process life. So
    /// a later life than there ever was cannot be ordered away.
    fn follow_order(&mut self, now: Moment, id: NodeId) {
        let Some(order) = self.orders.get(&id).cloned() else { return };
        let known = self.view.known(&id);
        // We may know an earlier incarnation than the order names, if its goodbye is with nobody any more.
        let is_meant = |known: &Version| {
            let ahead = order.incarnation.get().checked_sub(known.incarnation.get());
            known.generation == order.generation && ahead.is_some_and(|ahead| ahead <= INCARNATION_STEP_MAX)
        };
        let Some(version) = known.version().filter(is_meant) else { return };
        if matches!(known, Known::Here(_)) && !self.is_gone(&id) {
            if self.is_connected(&id) {
                // If it is there it refutes, and all hear of that.
                return self.send(id, Lane::Gossip, Message::News(vec![Update::Forget(order)]));
            }
            // Whoever could confirm that it is gone may have forgotten it already. An order says so too: an admin held it for
            // gone at this very incarnation. If it is there all the same, it refutes.
            self.accuse(now, id, State::Down, order.by, 0.0);
            if !self.is_gone(&id) {
                return;
            }
        }
        let version = Version { state: State::Down, ..version };
        let name = self.view.forget(&id, version, now);
        self.cases.forget(&id);
        self.close_investigation(id);
        self.dialer.drop_plan(&id);
        self.strike_page(id);
        if self.is_connected(&id) {
            self.emit(crate::Output::Close { peer: id });
        } else {
            self.links.remove(&id);
        }
        if let Some(name) = name {
            self.event(Event::Reaped { id, name, by: Some(order.by) });
        }
    }

    /// Orders that are old, or whose member has come back, are remembered no longer; those that could not be followed are
    /// followed as soon as the member is gone.
    pub(crate) fn look_at_orders(&mut self, now: Moment) {
        let retention = self.config.retention;
        let view = &self.view;
        let has_come_back = |order: &Order| matches!(view.known(&order.id), Known::Here(known) if life(known) > life(order.version()));
        self.orders.0.retain(|_, (order, since)| now.since(*since) < retention && !has_come_back(order));
        let can_be = |id: &NodeId| self.is_gone(id) || self.view.get(id).is_some() && !self.is_connected(id);
        let late: Vec<NodeId> = self.orders.0.keys().copied().filter(can_be).collect();
        for id in late {
            self.follow_order(now, id);
        }
    }

    /// Tells a peer just met what it may not have heard.
    pub(crate) fn tell_orders(&mut self, to: NodeId) {
        let orders: Vec<Update> =
            self.orders.0.values().map(|(order, _)| Update::Forget(order.clone())).collect();
        for orders in orders.chunks(UPDATES_PER_FRAME_MAX.min(ORDERS_PER_FRAME_MAX)) {
            self.send(to, Lane::Bulk, Message::News(orders.to_vec()));
        }
    }
}

/// Thirty kilobytes: a slow link still answers pings in between.
const ORDERS_PER_FRAME_MAX: usize = 64;

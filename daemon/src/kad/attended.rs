//! libp2p's Kademlia, with an eye on it.
//!
//! Five things that `libp2p-kad` 0.49 does not offer are done here, around it:
//!
//! - **Who asks.** It calls the store without saying for whom or from where, so a store could keep no quota. Everything that a peer
//!   sends goes through `on_connection_handler_event`, and its store is called inside: naming the peer just before is
//!   enough.
//! - **A refusal that arrives.** When the store refuses a record it resets the stream, but forgets to wake it: the other
//!   side would wait for its own timeout, and the stream would stay open. The answer to a refused put is an empty one to
//!   another question instead, which js, go, py and rust alike take as "not put".
//! - **No dials.** A walk would dial whatever addresses a peer answers with. Here it learns at once that the peer cannot be
//!   reached, and goes on with those that are connected.
//! - **No bootstrap of nobody.** A new listener makes it bootstrap, which in an empty table is a warning in the log; so it is
//!   not told of listeners. It does not need them: a node says where it listens through membership.
//! - **No automatic bootstrap.** A peer that is new to a table of fewer than 20 starts a walk to our own id and one to a random
//!   id for each bucket, which cannot be turned off from outside: with 64 members it cost each some per cent of a core for
//!   seconds after a join. Membership names everybody, so such a walk is ended as soon as it is seen.

use super::origin::Origin;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::kad::store::{MemoryStore, RecordStore};
use libp2p::kad::{self, Behaviour, Event};
use libp2p::swarm::behaviour::{DialFailure, FromSwarm};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use std::collections::HashMap;
use std::task::{Context, Poll};

/// What Kademlia tells its handlers: a public type in a private module. It is the same for every store.
type ToHandler = THandlerInEvent<Behaviour<MemoryStore>>;

/// A store that wants to know for whom it is called.
pub(crate) trait Attends: RecordStore + Send + 'static {
    /// What follows, until the next call, is for this peer, which is connected from there.
    fn attend(&mut self, peer: PeerId, origin: Option<Origin>);
}

/// Kademlia as a server, see the module's doc.
pub(crate) struct Attended<S: Attends> {
    pub(super) kad: Behaviour<S>,
    /// Where connections come from that others began.
    origins: HashMap<ConnectionId, Origin>,
}

impl<S: Attends> Attended<S> {
    /// Serves at once, whatever addresses are known to be reachable from outside.
    pub(super) fn new(me: PeerId, store: S, config: kad::Config) -> Self {
        let mut kad = Behaviour::with_config(me, store, config);
        kad.set_mode(Some(kad::Mode::Server));
        Attended { kad, origins: HashMap::new() }
    }

    /// Ends the walks that nobody asked for. Whether there was one.
    fn cut_bootstraps_short(&mut self) -> bool {
        let mut found = false;
        for mut query in self.kad.iter_queries_mut() {
            if matches!(query.info(), kad::QueryInfo::Bootstrap { .. }) {
                query.finish();
                found = true;
            }
        }
        found
    }
}

impl<S: Attends> NetworkBehaviour for Attended<S> {
    type ConnectionHandler = <Behaviour<S> as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self.kad.handle_established_inbound_connection(id, peer, local, from)?;
        if let Some(origin) = Origin::of(from) {
            self.origins.insert(id, origin);
        }
        Ok(handler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        to: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_outbound_connection(id, peer, to, role, port)
    }

    // `handle_pending_outbound_connection` is not passed on: the addresses of a dial are the dialler's alone.

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionClosed(closed) => self.origins.remove(&closed.connection_id),
            // Another behaviour may refuse a connection that this one has taken.
            FromSwarm::ListenFailure(failure) => self.origins.remove(&failure.connection_id),
            _ => None,
        };
        if !matches!(event, FromSwarm::NewListenAddr(_)) {
            self.kad.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        let origin = self.origins.get(&id).copied();
        self.kad.store_mut().attend(peer, origin);
        self.kad.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        loop {
            let polled = self.kad.poll(cx);
            let cut_short = self.cut_bootstraps_short();
            match polled {
                // What was cut short is to be cleaned up.
                Poll::Pending if cut_short => {}
                Poll::Ready(ToSwarm::Dial { opts }) => {
                    let failure = DialFailure {
                        peer_id: opts.get_peer_id(),
                        error: &DialError::NoAddresses,
                        connection_id: opts.connection_id(),
                    };
                    self.kad.on_swarm_event(FromSwarm::DialFailure(failure));
                }
                Poll::Ready(ToSwarm::NotifyHandler {
                    peer_id,
                    handler,
                    event: ToHandler::Reset(request_id),
                }) => {
                    let event =
                        ToHandler::GetRecordRes { record: None, closer_peers: Vec::new(), request_id };
                    return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event });
                }
                other => return other,
            }
        }
    }
}

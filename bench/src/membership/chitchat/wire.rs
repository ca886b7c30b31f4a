//! chitchat's `Transport` over the simulated network.
//!
//! How chitchat encodes an envelope is private to it, so each goes through a `ChannelTransport` of chitchat's first, from
//! a socket to itself: that encodes it, says how many bytes it was, and decodes it again.

use crate::membership::network::Network;
use ::chitchat::ChitchatEnvelope;
use ::chitchat::transport::{ChannelTransport, RecvOutcome, SendOutcome, Socket, Transport};
use anyhow::{Context as _, Result};
use async_trait::async_trait;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The most that a datagram holds, which chitchat keeps to.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// The network, which all sockets share.
#[derive(Clone)]
pub(super) struct Wire {
    state: Arc<Mutex<State>>,
    codec: ChannelTransport,
}

struct State {
    network: Network,
    /// Of each member, where its datagrams go; none if it is gone.
    ports: Vec<Option<UnboundedSender<RecvOutcome>>>,
    messages: u64,
    bytes: u64,
    handled: u64,
}

impl Wire {
    pub(super) fn new(seed: u64, loss: f64) -> Self {
        let network = Network::new(seed, loss);
        let state = State { network, ports: Vec::new(), messages: 0, bytes: 0, handled: 0 };
        Wire { state: Arc::new(Mutex::new(state)), codec: ChannelTransport::with_mtu(DATAGRAM_BYTES_MAX) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for the next member.
    pub(super) fn add(&self) {
        self.state().ports.push(None);
    }

    /// A member sends and receives nothing any more.
    pub(super) fn remove(&self, member: usize) {
        self.state().ports[member] = None;
    }

    pub(super) fn set_border(&self, border: Option<usize>) {
        self.state().network.set_border(border);
    }

    /// Messages and bytes that were sent, and messages that were received.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let state = self.state();
        (state.messages, state.bytes, state.handled)
    }
}

#[async_trait]
impl Transport for Wire {
    async fn open(&self, address: SocketAddr) -> Result<Box<dyn Socket>> {
        let codec = self.codec.open(address).await?;
        let (sender, inbox) = unbounded_channel();
        let mut state = self.state();
        let port = state.ports.get_mut(super::member(address)).context("an address of no member")?;
        *port = Some(sender);
        Ok(Box::new(Port { address, wire: self.clone(), inbox, codec }))
    }
}

struct Port {
    address: SocketAddr,
    wire: Wire,
    inbox: UnboundedReceiver<RecvOutcome>,
    codec: Box<dyn Socket>,
}

#[async_trait]
impl Socket for Port {
    fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.address)
    }

    async fn send(&mut self, to: SocketAddr, envelope: ChitchatEnvelope) -> Result<SendOutcome> {
        let SendOutcome { num_bytes_sent } = self.codec.send(self.address, envelope).await?;
        let coded = self.codec.recv().await?;
        let (us, them) = (super::member(self.address), super::member(to));
        let mut state = self.wire.state();
        if state.ports[us].is_none() {
            return Ok(SendOutcome { num_bytes_sent });
        }
        state.messages += 1;
        state.bytes += num_bytes_sent as u64;
        let takes = state.network.datagram(us, them);
        drop(state);
        if let Some(takes) = takes {
            let wire = self.wire.clone();
            tokio::spawn(async move {
                tokio::time::sleep(takes).await;
                if let Some(Some(port)) = wire.state().ports.get(them) {
                    // Whoever is gone receives nothing.
                    let _ = port.send(coded);
                }
            });
        }
        Ok(SendOutcome { num_bytes_sent })
    }

    async fn recv(&mut self) -> Result<RecvOutcome> {
        let received = self.inbox.recv().await.context("the network is gone")?;
        self.wire.state().handled += 1;
        Ok(received)
    }
}

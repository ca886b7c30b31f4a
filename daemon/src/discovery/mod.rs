//! Finding members on the local network, by multicast DNS.
//!
//! ```text
//! addresses change ──► links (one socket an address) ──► question, announcement
//! question heard   ──► announcement, a little later
//! announcement     ──► hits (is it worth a dial?) ──► Seed ──► membership dials
//! ```
//!
//! It is for two cases that the address book does not cover: a member that has moved while everybody else was down, and
//! members that have never met. Membership decides what to do with whoever is found, and admission whether to believe it: an
//! announcement is a hint and nothing more.
//!
//! **When.** With an overlay, a listener beyond loopback and `mdns` not turned off; else there is no socket at all. Links
//! follow the addresses that the network tells of, so a Wi-Fi that is joined later is a link as soon as it has an address.
//!
//! **How much.** A new link asks and announces itself twice; questions then double their distance up to five minutes
//! (RFC 6762, section 5.2). Answers are multicast, so one member's question serves all: whoever hears it puts its
//! own off. A link answers at most once a second. So n members on one network cost n + 1 packets in five minutes.
//!
//! **What is told** to everyone on the network: a node's id, its addresses and a hash of the overlay's id, see [`packet`].
//!
//! libp2p's own mDNS behaviour is not used: it answers and finds every libp2p program under one fixed name, remembers
//! without a bound whom it was told of, and speaks either IPv4 or IPv6, the latter on one interface.

mod hits;
mod link;
pub(crate) mod packet;

use crate::clock;
use crate::daemon::Shared;
use crate::driver::UNPOISONED;
use crate::engine::Engine;
use chinwag_base::limits::{LAN_PACKET_BYTES_MAX, LAN_PACKETS_PER_SECOND_MAX};
use chinwag_base::{Address, Moment, NodeId};
use hits::{Hits, Standing};
use link::Link;
use packet::{Announcement, Message, Service};
use rand::RngExt as _;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The first distance between questions, and the longest.
const ASK_MIN: Duration = Duration::from_secs(1);
const ASK_MAX: Duration = Duration::from_secs(300);
/// Announcements of a new link that nobody has asked for (RFC 6762, section 8.3: two, a second apart).
const UNASKED: u32 = 2;
/// Answers to one question are spread over this time, in milliseconds (RFC 6762, section 6).
const ANSWER_MS: std::ops::Range<u64> = 20..120;
/// A link announces itself at most this often (RFC 6762, section 6).
const ANSWER_SPACING: Duration = Duration::from_secs(1);
/// An interface that takes no packets is tried again after this time.
const REPAIR_EVERY: Duration = Duration::from_secs(30);

/// What the local network looks like from here, for `GET /v1/doctor`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lan {
    /// The service's name, while members are looked for.
    pub(crate) service: Option<String>,
    /// The addresses on which they are.
    pub(crate) links: Vec<LanLink>,
    /// Those that announce themselves as ours, were dialled more than once and were not connected when last heard, and when
    /// that was.
    pub(crate) in_vain: Vec<(NodeId, Moment)>,
}

/// One address on which members are looked for.
#[derive(Debug, Clone)]
pub(crate) struct LanLink {
    pub(crate) ip: IpAddr,
    /// Packets sent.
    pub(crate) sent: u64,
    /// Our own packets that came back: multicast works on this machine.
    pub(crate) own: u64,
    /// Announcements of other members.
    pub(crate) others: u64,
    /// Why it is not usable.
    pub(crate) fault: Option<String>,
}

/// Runs as long as the daemon does.
pub(crate) async fn run(shared: Arc<Shared>) {
    if !shared.config.mdns {
        return;
    }
    let mut addresses = shared.watch_addresses();
    let instance: String = (0..16).map(|_| format!("{:02x}", rand::random::<u8>())).collect();
    loop {
        let engine = shared.engine.read().await.clone();
        let engine = engine.filter(|engine| engine.papers.is_some() && !engine.has_stopped());
        if let Some(engine) = engine
            && !link::by_ip(&addresses.borrow_and_update()).is_empty()
        {
            Seeker::new(&shared, &engine, instance.clone()).run(&mut addresses).await;
            *shared.lan.lock().expect(UNPOISONED) = Lan::default();
        } else if addresses.changed().await.is_err() {
            return;
        }
    }
}

/// Looks for the members of one overlay, for one engine's life.
struct Seeker<'a> {
    shared: &'a Shared,
    engine: &'a Engine,
    service: Service,
    me: NodeId,
    instance: String,
    links: Vec<Link>,
    hits: Hits,
    ask_at: Instant,
    ask_every: Duration,
    repair_at: Instant,
    /// Packets read in the second that began then.
    second: (Instant, u32),
    /// Where reading goes on, so that one link's crowd does not silence the others.
    turn: usize,
}

impl<'a> Seeker<'a> {
    fn new(shared: &'a Shared, engine: &'a Engine, instance: String) -> Self {
        let papers = engine.papers.as_ref().expect("papers, because only then members are looked for");
        let service = Service::of(papers.overlay());
        let now = Instant::now();
        *shared.lan.lock().expect(UNPOISONED) = Lan { service: Some(service.name()), ..Lan::default() };
        Seeker {
            shared,
            engine,
            service,
            me: engine.keypair.id(),
            instance,
            links: Vec::new(),
            hits: Hits::default(),
            ask_at: now,
            ask_every: ASK_MIN,
            repair_at: now + REPAIR_EVERY,
            second: (now, 0),
            turn: 0,
        }
    }

    /// Until there is no address left, which is also how a stopping engine looks.
    async fn run(mut self, addresses: &mut watch::Receiver<Vec<Address>>) {
        let mut stopped = self.engine.watch_stopped();
        let mut buffer = vec![0; LAN_PACKET_BYTES_MAX];
        self.follow(&addresses.borrow_and_update());
        while !self.links.is_empty() || !self.shared.lan.lock().expect(UNPOISONED).links.is_empty() {
            let now = Instant::now();
            self.work(now);
            let (pause, due) = (self.pause(now), self.due());
            let read = async {
                if let Some(until) = pause {
                    sleep_until(until).await;
                }
                receive(&self.links, self.turn, &mut buffer).await
            };
            // A guard of the watch must not live on into the handlers.
            let stop = async { stopped.wait_for(Option::is_some).await.map(|_| ()) };
            tokio::select! {
                changed = addresses.changed() => match changed {
                    Ok(()) => {
                        let now = addresses.borrow_and_update().clone();
                        self.follow(&now);
                    }
                    Err(_) => return,
                },
                _ = stop => return,
                () = sleep_until(due) => {}
                (at, received) = read => {
                    self.turn = at + 1;
                    match received {
                        Ok((len, from)) => self.heard(at, &buffer[..len], from).await,
                        Err(error) => self.broken(at, &error),
                    }
                }
            }
        }
    }

    /// Opens and closes links as addresses come and go.
    fn follow(&mut self, addresses: &[Address]) {
        let wanted = link::by_ip(addresses);
        self.links.retain(|link| wanted.contains_key(&link.ip));
        self.tell(|lan| lan.links.retain(|link| wanted.contains_key(&link.ip)));
        for (ip, addresses) in wanted {
            match self.links.iter_mut().find(|link| link.ip == ip) {
                Some(link) if link.addresses == addresses => {}
                Some(link) => {
                    link.addresses = addresses;
                    link.unasked = UNASKED;
                    link.answer_at = Some(Instant::now());
                }
                None => self.open(ip, addresses),
            }
        }
    }

    fn open(&mut self, ip: IpAddr, addresses: Vec<Address>) {
        let opened = Link::open(ip, addresses);
        let fault = opened.as_ref().err().map(ToString::to_string);
        let mut news = true;
        self.tell(|lan| match lan.links.iter_mut().find(|link| link.ip == ip) {
            Some(link) => {
                news = link.fault != fault;
                link.fault.clone_from(&fault);
            }
            None => lan.links.push(LanLink { ip, sent: 0, own: 0, others: 0, fault: fault.clone() }),
        });
        match opened {
            Ok(mut link) => {
                let now = Instant::now();
                link.unasked = UNASKED;
                link.answer_at = Some(now + within(ANSWER_MS));
                self.links.push(link);
                (self.ask_at, self.ask_every) = (now, ASK_MIN);
                tracing::debug!(target: "chinwag", event = "lan.opened", ip = %ip, service = self.service.name());
            }
            // An interface may know no multicast, or be on its way down: no reason to trouble anybody.
            Err(error) if news => {
                tracing::debug!(target: "chinwag", event = "lan.unusable", ip = %ip, why = %error);
            }
            Err(_) => {}
        }
    }

    /// Asks, answers and repairs what is due.
    fn work(&mut self, now: Instant) {
        if now >= self.repair_at {
            self.repair_at = now + REPAIR_EVERY;
            let addresses = self.shared.addresses();
            self.links.retain(|link| !link.is_broken);
            self.follow(&addresses);
        }
        if now >= self.ask_at {
            let question = packet::question(&self.service);
            for at in 0..self.links.len() {
                self.send(at, &question);
            }
            self.ask_at = now + self.ask_every.mul_f64(rand::rng().random_range(0.8..1.2));
            self.ask_every = (self.ask_every * 2).min(ASK_MAX);
        }
        for at in 0..self.links.len() {
            let link = &mut self.links[at];
            if link.answer_at.is_none_or(|due| now < due) {
                continue;
            }
            link.answered = Some(now);
            link.unasked = link.unasked.saturating_sub(1);
            link.answer_at = (link.unasked > 0).then_some(now + ANSWER_SPACING);
            let announced = Announcement { peer: self.me, addresses: link.addresses.clone() };
            let packet = packet::announcement(&self.service, &self.instance, &announced);
            self.send(at, &packet);
        }
    }

    fn due(&self) -> Instant {
        let answers = self.links.iter().filter_map(|link| link.answer_at);
        answers.chain([self.ask_at, self.repair_at]).min().unwrap_or(self.repair_at)
    }

    /// Until when nothing is read, because too much was.
    fn pause(&mut self, now: Instant) -> Option<Instant> {
        let (began, read) = &mut self.second;
        let ends = *began + Duration::from_secs(1);
        if now >= ends {
            self.second = (now, 0);
            return None;
        }
        (*read >= LAN_PACKETS_PER_SECOND_MAX).then_some(ends)
    }

    fn send(&mut self, at: usize, packet: &[u8]) {
        let Some(link) = self.links.get(at).filter(|link| !link.is_broken) else { return };
        let ip = link.ip;
        match link.send(packet) {
            Ok(()) => self.tell_link(ip, |link| link.sent += 1),
            Err(error) => self.broken(at, &error),
        }
    }

    /// A link that fails is opened again a little later, unless its address has gone by then.
    fn broken(&mut self, at: usize, error: &io::Error) {
        let Some(link) = self.links.get_mut(at) else { return };
        link.is_broken = true;
        link.answer_at = None;
        let ip = link.ip;
        tracing::debug!(target: "chinwag", event = "lan.unusable", ip = %ip, why = %error);
        let why = error.to_string();
        self.tell_link(ip, |link| link.fault = Some(why));
    }

    async fn heard(&mut self, at: usize, bytes: &[u8], from: SocketAddr) {
        self.second.1 += 1;
        let Some(message) = packet::read(bytes, &self.service) else { return };
        let now = Instant::now();
        let Some(link) = self.links.get_mut(at) else { return };
        let ip = link.ip;
        match message {
            Message::Question => {
                let earliest = link.answered.map_or(now, |answered| now.max(answered + ANSWER_SPACING));
                link.answer_at.get_or_insert(earliest + within(ANSWER_MS));
                // The answers to it are for us too.
                if self.ask_every == ASK_MAX {
                    self.ask_at = now + ASK_MAX.mul_f64(rand::rng().random_range(0.8..1.2));
                }
            }
            Message::Announcement(announced) if announced.peer == self.me => {
                self.tell_link(ip, |link| link.own += 1);
            }
            Message::Announcement(Announcement { peer, mut addresses }) => {
                addresses.retain(|address| link.believes(from, address));
                self.tell_link(ip, |link| link.others += 1);
                if !addresses.is_empty() {
                    self.found(peer, &addresses).await;
                }
            }
        }
    }

    async fn found(&mut self, peer: NodeId, addresses: &[Address]) {
        let standing = self.engine.look(move |node, _, now| match node.membership().member(now, &peer) {
            _ if node.membership().is_connected(&peer) => Standing::Connected,
            Some(_) => Standing::Member,
            None => Standing::Stranger,
        });
        // A node that is too busy to say will be asked at the next announcement.
        let Ok(standing) = standing.await else { return };
        if let Some(addresses) = self.hits.heard(clock::now(), peer, addresses, standing) {
            tracing::debug!(
                target: "chinwag",
                event = "lan.found",
                peer = peer.to_string(),
                address = addresses[0].to_string(),
                known = standing == Standing::Member,
            );
            self.engine.seed(peer, addresses);
        }
        let in_vain = self.hits.in_vain();
        self.tell(|lan| lan.in_vain = in_vain);
    }

    fn tell(&self, change: impl FnOnce(&mut Lan)) {
        change(&mut self.shared.lan.lock().expect(UNPOISONED));
    }

    fn tell_link(&self, ip: IpAddr, change: impl FnOnce(&mut LanLink)) {
        self.tell(|lan| {
            if let Some(link) = lan.links.iter_mut().find(|link| link.ip == ip) {
                change(link);
            }
        });
    }
}

fn within(ms: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rand::rng().random_range(ms))
}

/// The next packet of any link, beginning with the one at `turn`. Without a link that works it waits for ever.
async fn receive(links: &[Link], turn: usize, buffer: &mut [u8]) -> (usize, io::Result<(usize, SocketAddr)>) {
    poll_fn(|cx| {
        for n in 0..links.len() {
            let at = (turn + n) % links.len();
            if links[at].is_broken {
                continue;
            }
            let mut into = ReadBuf::new(buffer);
            if let Poll::Ready(received) = links[at].socket.poll_recv_from(cx, &mut into) {
                return Poll::Ready((at, received.map(|from| (into.filled().len(), from))));
            }
        }
        Poll::Pending
    })
    .await
}

//! Where everything arrives, most urgent first.

use super::Happening;
use super::connection::Peer;
use chinwag_base::Lane;
use chinwag_base::limits::INBOX_FRAMES_MAX;
use futures::channel::mpsc;
use futures::{FutureExt, Stream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// Bulk frames are up to a megabyte each, so fewer of them may wait than of the others.
const INBOX_BULK_FRAMES_MAX: usize = 64;
/// Connections, dials and refusals that wait for the driver; beyond it the swarm waits.
const INBOX_EVENTS_MAX: usize = 256;
/// Probes given in a row while other frames wait, so that a flood of them cannot starve the rest.
const PROBES_IN_A_ROW_MAX: u32 = 64;

/// A frame on its way to the driver.
pub(super) struct Arrived {
    peer: Arc<Peer>,
    lane: Lane,
    bytes: Vec<u8>,
}

/// What the swarm's task tells.
#[derive(Debug)]
pub(super) enum Told {
    Plain(Happening),
    /// Frames of this peer may follow once the driver has it.
    Connected(Arc<Peer>, Happening),
    /// Held back until the peer's frames have been given.
    Disconnected(Arc<Peer>, Happening),
}

/// The way into the inbox for the swarm's task.
pub(super) type EventSender = tokio::sync::mpsc::Sender<Told>;

/// The way into the inbox for one connection's task.
#[derive(Clone)]
pub(super) struct FrameSenders {
    lanes: [mpsc::Sender<Arrived>; 3],
}

impl FrameSenders {
    /// Whether a frame of this lane has room; if not, the task is woken when it has.
    pub(super) fn poll_ready(&mut self, lane: Lane, cx: &mut Context<'_>) -> Poll<Result<(), InboxGone>> {
        self.lanes[lane as usize].poll_ready(cx).map_err(|_| InboxGone)
    }

    /// Puts a frame in, after [`Self::poll_ready`] said that it has room.
    pub(super) fn put(&mut self, peer: &Arc<Peer>, lane: Lane, bytes: Vec<u8>) -> Result<(), InboxGone> {
        peer.waiting.fetch_add(1, Ordering::AcqRel);
        let arrived = Arrived { peer: peer.clone(), lane, bytes };
        self.lanes[lane as usize].start_send(arrived).map_err(|_| InboxGone)
    }
}

/// Nobody reads any more.
#[derive(Debug)]
pub(super) struct InboxGone;

/// What arrives. Frames of a peer come between its `Connected` and its `Disconnected`.
pub struct Inbox {
    events: tokio::sync::mpsc::Receiver<Told>,
    /// Probe, gossip, bulk.
    lanes: [mpsc::Receiver<Arrived>; 3],
    held: Option<(Arc<Peer>, Happening)>,
    probes_in_a_row: u32,
}

pub(super) fn inbox() -> (EventSender, FrameSenders, Inbox) {
    let (events, events_out) = tokio::sync::mpsc::channel(INBOX_EVENTS_MAX);
    let (probe, probe_out) = mpsc::channel(INBOX_FRAMES_MAX);
    let (gossip, gossip_out) = mpsc::channel(INBOX_FRAMES_MAX);
    let (bulk, bulk_out) = mpsc::channel(INBOX_BULK_FRAMES_MAX);
    let inbox = Inbox {
        events: events_out,
        lanes: [probe_out, gossip_out, bulk_out],
        held: None,
        probes_in_a_row: 0,
    };
    (events, FrameSenders { lanes: [probe, gossip, bulk] }, inbox)
}

impl Inbox {
    /// The next happening: connections first, then probes, gossip and bulk. `None` when the network has ended.
    /// Cancel safe: nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Happening> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// What is there already, without waiting.
    pub fn try_next(&mut self) -> Option<Happening> {
        self.next().now_or_never().flatten()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Happening>> {
        let mut ended = false;
        if self.held.is_none() {
            match self.events.poll_recv(cx) {
                Poll::Ready(Some(Told::Plain(happening))) => return Poll::Ready(Some(happening)),
                Poll::Ready(Some(Told::Connected(peer, happening))) => {
                    peer.activate();
                    return Poll::Ready(Some(happening));
                }
                Poll::Ready(Some(Told::Disconnected(peer, happening))) => self.held = Some((peer, happening)),
                Poll::Ready(None) => ended = true,
                Poll::Pending => {}
            }
        }
        if let Some((_, happening)) = self.held.take_if(|(peer, _)| peer.waiting.load(Ordering::Acquire) == 0)
        {
            return Poll::Ready(Some(happening));
        }
        if let Poll::Ready(happening) = self.poll_frames(cx) {
            return Poll::Ready(Some(happening));
        }
        match self.held.take() {
            // Its last frames died with their connection.
            Some((_, happening)) => Poll::Ready(Some(happening)),
            None if ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        let order = if self.probes_in_a_row < PROBES_IN_A_ROW_MAX { [0, 1, 2] } else { [1, 2, 0] };
        for lane in order {
            if let Poll::Ready(Some(Arrived { peer, lane, bytes })) =
                Pin::new(&mut self.lanes[lane]).poll_next(cx)
            {
                peer.waiting.fetch_sub(1, Ordering::AcqRel);
                self.probes_in_a_row =
                    if lane == Lane::Probe { self.probes_in_a_row.saturating_add(1) } else { 0 };
                return Poll::Ready(Happening::Frame { peer: peer.id, lane, bytes });
            }
        }
        self.probes_in_a_row = 0;
        Poll::Pending
    }
}

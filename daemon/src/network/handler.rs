//! One connection's task: it opens the lanes, writes what is queued and reads what comes.

use super::connection::{Connection, Leaving, Peer};
use super::frame::{Incoming, ReadError, Reader, Writer, is_timeout};
use super::inbox::FrameSenders;
use super::{DisconnectReason, LANES_MS_MAX, LEAVE_MS_MAX, RETIRE_MS};
use chinwag_base::Lane;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};
use libp2p::{Stream, StreamProtocol};
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Frames read in one go before others get their turn.
const FRAMES_PER_POLL_MAX: usize = 64;

/// What is said of a frame that did not arrive whole.
pub(super) const CUT_SHORT: &str = "a frame was cut short";

/// The protocol of a lane.
pub(super) const fn protocol(lane: Lane) -> StreamProtocol {
    StreamProtocol::new(match lane {
        Lane::Probe => "/chinwag/probe/1",
        Lane::Gossip => "/chinwag/gossip/1",
        Lane::Bulk => "/chinwag/bulk/1",
    })
}

/// Opens or accepts lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneUpgrade(&'static [Lane]);

impl UpgradeInfo for LaneUpgrade {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Map<std::slice::Iter<'static, Lane>, fn(&Lane) -> StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().map(|lane| protocol(*lane))
    }
}

fn lane_of(info: &StreamProtocol) -> Lane {
    Lane::ALL.into_iter().find(|lane| protocol(*lane) == *info).unwrap_or(Lane::Bulk)
}

impl InboundUpgrade<Stream> for LaneUpgrade {
    type Output = (Lane, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, info: StreamProtocol) -> Self::Future {
        ready(Ok((lane_of(&info), stream)))
    }
}

impl OutboundUpgrade<Stream> for LaneUpgrade {
    type Output = (Lane, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, info: StreamProtocol) -> Self::Future {
        ready(Ok((lane_of(&info), stream)))
    }
}

/// What the behaviour is told.
#[derive(Debug)]
pub(super) enum FromHandler {
    /// All lanes are open.
    Ready,
    /// Close the connection; why stands in [`Connection::verdict`].
    Done,
}

/// An open lane.
struct OpenLane {
    stream: Stream,
    reader: Reader,
    writer: Writer,
    /// The peer has said goodbye here.
    ended: bool,
}

/// How far the connection is.
enum Stage {
    /// Not all lanes are open, and not for long.
    Opening(Pin<Box<Sleep>>),
    /// As long as it lasts.
    Open,
    /// Retired, until the time is over; reads and writes as before.
    Retiring(Pin<Box<Sleep>>),
    /// Saying goodbye, until the peer has closed or the time is over.
    Leaving(Pin<Box<Sleep>>),
    /// The behaviour has been asked to close.
    Done,
}

fn within(ms: u64) -> Pin<Box<Sleep>> {
    Box::pin(sleep(Duration::from_millis(ms)))
}

/// The task's state.
pub(super) struct Handler {
    connection: Arc<Connection>,
    inbox: FrameSenders,
    dialled: bool,
    lanes: [Option<OpenLane>; 3],
    /// Lanes that the dialler has yet to ask for.
    to_open: std::slice::Iter<'static, Lane>,
    stage: Stage,
}

type Event = ConnectionHandlerEvent<LaneUpgrade, (), FromHandler>;

impl Handler {
    pub(super) fn new(connection: Arc<Connection>, inbox: FrameSenders, dialled: bool) -> Self {
        let to_open: &'static [Lane] = if dialled { &Lane::ALL } else { &[] };
        Handler {
            connection,
            inbox,
            dialled,
            lanes: [None, None, None],
            to_open: to_open.iter(),
            stage: Stage::Opening(within(LANES_MS_MAX)),
        }
    }

    fn opened(&mut self, lane: Lane, stream: Stream) {
        if self.lanes[lane as usize].is_some() {
            self.connection.judge(DisconnectReason::Misbehaved("it opened a lane twice"));
            self.connection.leave(Leaving::Now);
            return;
        }
        let reader = Reader::new(lane);
        self.lanes[lane as usize] =
            Some(OpenLane { stream, reader, writer: Writer::default(), ended: false });
    }

    fn done(&mut self, reason: DisconnectReason) -> Event {
        self.connection.judge(reason);
        self.stage = Stage::Done;
        ConnectionHandlerEvent::NotifyBehaviour(FromHandler::Done)
    }

    /// Moves through the stages. `Ready` with what the behaviour must know.
    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let leaving = self.connection.leaving();
        match &mut self.stage {
            Stage::Opening(until) => {
                if leaving == Leaving::Now {
                    return Poll::Ready(self.done(DisconnectReason::ClosedByUs));
                }
                if self.lanes.iter().all(Option::is_some) {
                    self.stage = Stage::Open;
                    return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(FromHandler::Ready));
                }
                std::task::ready!(until.as_mut().poll(cx));
                Poll::Ready(self.done(DisconnectReason::TimedOut))
            }
            Stage::Open | Stage::Retiring(_) if leaving == Leaving::Now => {
                self.start_leaving();
                self.poll_stage(cx)
            }
            Stage::Open if leaving == Leaving::Retired => {
                self.stage = Stage::Retiring(within(RETIRE_MS));
                self.poll_stage(cx)
            }
            Stage::Retiring(until) => {
                std::task::ready!(until.as_mut().poll(cx));
                self.start_leaving();
                self.poll_stage(cx)
            }
            Stage::Leaving(until) => {
                std::task::ready!(until.as_mut().poll(cx));
                Poll::Ready(self.done(DisconnectReason::ClosedByUs))
            }
            Stage::Open | Stage::Done => Poll::Pending,
        }
    }

    fn start_leaving(&mut self) {
        self.connection.judge(match self.connection.leaving() {
            Leaving::Retired => DisconnectReason::Superseded,
            Leaving::Now | Leaving::No => DisconnectReason::ClosedByUs,
        });
        self.lanes.iter_mut().flatten().for_each(|lane| lane.writer.say_goodbye());
        self.stage = Stage::Leaving(within(LEAVE_MS_MAX));
    }

    /// Writes all that can be written. An error is why the connection must end.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
        for (lane, open) in Lane::ALL.into_iter().zip(&mut self.lanes) {
            let Some(open) = open else { continue };
            // After a goodbye the queue stays untouched; it is a new connection's turn.
            let next = || self.connection.pop(lane);
            if let Poll::Ready(Err(error)) = open.writer.poll(&mut open.stream, cx, next) {
                let timed_out = is_timeout(&error);
                return Err(if timed_out { DisconnectReason::TimedOut } else { DisconnectReason::Reset });
            }
        }
        Ok(())
    }

    /// Reads all that can be read and has room in the inbox.
    fn poll_read(&mut self, cx: &mut Context<'_>, peer: &Arc<Peer>) -> Result<(), DisconnectReason> {
        for (lane, open) in Lane::ALL.into_iter().zip(&mut self.lanes) {
            let Some(open) = open else { continue };
            let mut budget = FRAMES_PER_POLL_MAX;
            while !open.ended {
                match self.inbox.poll_ready(lane, cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Err(DisconnectReason::ClosedByUs),
                    Poll::Pending => break,
                }
                match open.reader.poll(&mut open.stream, cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(Incoming::Goodbye)) => open.ended = true,
                    Poll::Ready(Ok(Incoming::Frame(bytes))) => {
                        self.inbox.put(peer, lane, bytes).map_err(|_| DisconnectReason::ClosedByUs)?;
                    }
                    Poll::Ready(Err(ReadError::TooLong)) => {
                        return Err(DisconnectReason::Misbehaved(
                            "it announced a frame above its lane's limit",
                        ));
                    }
                    Poll::Ready(Err(ReadError::Truncated)) => {
                        return Err(DisconnectReason::Misbehaved(CUT_SHORT));
                    }
                    Poll::Ready(Err(ReadError::Ended)) => return Err(DisconnectReason::Reset),
                    Poll::Ready(Err(ReadError::TimedOut)) => return Err(DisconnectReason::TimedOut),
                }
                budget -= 1;
                if budget == 0 {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
        }
        if self.lanes.iter().flatten().all(|lane| lane.ended) {
            return Err(DisconnectReason::ClosedByPeer);
        }
        Ok(())
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = FromHandler;
    type InboundProtocol = LaneUpgrade;
    type OutboundProtocol = LaneUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<LaneUpgrade> {
        SubstreamProtocol::new(LaneUpgrade(if self.dialled { &[] } else { &Lane::ALL }), ())
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<LaneUpgrade, LaneUpgrade>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (lane, stream),
                ..
            })
            | ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (lane, stream),
                ..
            }) => self.opened(lane, stream),
            ConnectionEvent::DialUpgradeError(_) => {
                self.connection.judge(DisconnectReason::Misbehaved("it does not serve the lanes"));
                self.connection.leave(Leaving::Now);
            }
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.connection.register(cx.waker());
        if matches!(self.stage, Stage::Done) {
            return Poll::Pending;
        }
        if let Some(lane) = self.to_open.next() {
            let upgrade = LaneUpgrade(std::slice::from_ref(lane));
            let protocol =
                SubstreamProtocol::new(upgrade, ()).with_timeout(Duration::from_millis(LANES_MS_MAX));
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        if let Poll::Ready(event) = self.poll_stage(cx) {
            return Poll::Ready(event);
        }
        if matches!(self.stage, Stage::Opening(_)) {
            return Poll::Pending;
        }
        if let Err(reason) = self.poll_write(cx) {
            return Poll::Ready(self.done(reason));
        }
        if let Some(peer) = self.connection.reading_for().cloned()
            && let Err(reason) = self.poll_read(cx, &peer)
        {
            return Poll::Ready(self.done(reason));
        }
        Poll::Pending
    }
}

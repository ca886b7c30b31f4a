//! A connection that closes in bounded time.
//!
//! Yamux writes all that is pending before it closes, and on a TCP connection whose other end is gone that takes until
//! the kernel gives up, minutes later. The driver must hear of the end long before.

use super::LEAVE_MS_MAX;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, StreamMuxerExt, SubstreamBox};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// The connection, and when its patience ends once it is being closed.
pub(super) struct Hasty {
    inner: StreamMuxerBox,
    closing: Option<Pin<Box<Sleep>>>,
}

impl Hasty {
    pub(super) fn wrap(inner: StreamMuxerBox) -> StreamMuxerBox {
        StreamMuxerBox::new(Hasty { inner, closing: None })
    }
}

impl StreamMuxer for Hasty {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        self.inner.poll_inbound_unpin(cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        self.inner.poll_outbound_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = self.inner.poll_close_unpin(cx) {
            return Poll::Ready(result);
        }
        let closing =
            self.closing.get_or_insert_with(|| Box::pin(sleep(Duration::from_millis(LEAVE_MS_MAX))));
        closing.as_mut().poll(cx).map(Ok)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.inner.poll_unpin(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::{Instant, timeout};

    /// A connection to a machine that has lost its power.
    struct Stuck;

    impl StreamMuxer for Stuck {
        type Substream = SubstreamBox;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
            Poll::Pending
        }
        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
            Poll::Pending
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_connection_closes_all_the_same() {
        let mut muxer = Hasty::wrap(StreamMuxerBox::new(Stuck));
        let begun = Instant::now();
        let closing = poll_fn(|cx| muxer.poll_close_unpin(cx));
        timeout(Duration::from_secs(60), closing).await.expect("it closes").unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(LEAVE_MS_MAX));
    }
}

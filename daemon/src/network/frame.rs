//! Frames on a lane: four bytes of length, big-endian, and that many bytes. A length of zero says goodbye: nothing
//! follows on this lane.

use super::door::innermost_io;
use chinwag_base::Lane;
use futures::{AsyncRead, AsyncWrite};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

const HEAD_BYTES: usize = 4;
/// Small frames are written together up to here.
const BATCH_BYTES: usize = 16 * 1024;

/// What a lane brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Frame(Vec<u8>),
    Goodbye,
}

/// Why nothing more can be read from a lane.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The stream ended without a goodbye.
    Ended,
    /// Nothing came for too long, says the transport (QUIC's only sign that a process is gone).
    TimedOut,
    /// It ended within a frame.
    Truncated,
    /// A longer frame was announced than the lane allows.
    TooLong,
}

/// Reads one lane's frames.
pub(super) struct Reader {
    lane: Lane,
    head: [u8; HEAD_BYTES],
    body: Vec<u8>,
    /// Bytes read of head and body together.
    read: usize,
}

impl Reader {
    pub(super) fn new(lane: Lane) -> Self {
        Reader { lane, head: [0; HEAD_BYTES], body: Vec::new(), read: 0 }
    }

    pub(super) fn poll(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Incoming, ReadError>> {
        loop {
            let into = match self.read {
                at @ 0..HEAD_BYTES => &mut self.head[at..],
                at => &mut self.body[at - HEAD_BYTES..],
            };
            match ready!(Pin::new(&mut *stream).poll_read(cx, into)) {
                Err(error) if is_timeout(&error) => return Poll::Ready(Err(ReadError::TimedOut)),
                Ok(0) | Err(_) if self.read == 0 => return Poll::Ready(Err(ReadError::Ended)),
                Ok(0) | Err(_) => return Poll::Ready(Err(ReadError::Truncated)),
                Ok(n) => self.read += n,
            }
            if self.read == HEAD_BYTES && self.body.is_empty() {
                let len = u32::from_be_bytes(self.head) as usize;
                if len == 0 {
                    self.read = 0;
                    return Poll::Ready(Ok(Incoming::Goodbye));
                }
                if len > self.lane.frame_bytes_max() {
                    return Poll::Ready(Err(ReadError::TooLong));
                }
                self.body = vec![0; len];
            } else if self.read == HEAD_BYTES + self.body.len() && self.read > HEAD_BYTES {
                self.read = 0;
                return Poll::Ready(Ok(Incoming::Frame(std::mem::take(&mut self.body))));
            }
        }
    }
}

/// The frames that a lane's bytes are read as when each read takes `step` of them at most, and whether a goodbye came
/// last. For fuzzing.
pub(crate) fn frames(lane: Lane, bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, bool) {
    struct Steps<'a>(&'a [u8], usize);
    impl AsyncRead for Steps<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let n = self.0.len().min(into.len()).min(self.1);
            let (now, later) = self.0.split_at(n);
            into[..n].copy_from_slice(now);
            self.0 = later;
            Poll::Ready(Ok(n))
        }
    }
    let (mut reader, mut stream) = (Reader::new(lane), Steps(bytes, step.max(1)));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut frames = Vec::new();
    loop {
        match reader.poll(&mut stream, &mut cx) {
            Poll::Ready(Ok(Incoming::Frame(frame))) => frames.push(frame),
            Poll::Ready(Ok(Incoming::Goodbye)) => return (frames, true),
            Poll::Ready(Err(_)) | Poll::Pending => return (frames, false),
        }
    }
}

/// Whether the transport gave up on a silent peer.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    let kind = innermost_io(error).map(io::Error::kind);
    // QUIC's own error is private to libp2p; this is quinn's text.
    kind == Some(io::ErrorKind::TimedOut) || error.to_string() == "timed out"
}

/// Writes one lane's frames, several in one go.
#[derive(Default)]
pub(super) struct Writer {
    batch: Vec<u8>,
    written: usize,
    unflushed: bool,
    goodbye: bool,
}

impl Writer {
    /// After the frames that wait, goodbye is said.
    pub(super) fn say_goodbye(&mut self) {
        self.goodbye = true;
    }

    /// Writes what `next` gives until there is no more (`Ready`) or the stream takes no more.
    pub(super) fn poll(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        mut next: impl FnMut() -> Option<Vec<u8>>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.batch.len() {
                self.batch.clear();
                self.written = 0;
                self.fill(&mut next);
                if self.batch.is_empty() {
                    break;
                }
            }
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.batch[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
            self.unflushed = true;
        }
        if self.batch.capacity() > 4 * BATCH_BYTES {
            self.batch = Vec::new();
        }
        if self.unflushed {
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn fill(&mut self, next: &mut impl FnMut() -> Option<Vec<u8>>) {
        while self.batch.len() < BATCH_BYTES {
            let Some(frame) = next() else {
                if std::mem::take(&mut self.goodbye) {
                    self.batch.extend_from_slice(&[0; HEAD_BYTES]);
                }
                return;
            };
            // The handle has checked that it is neither empty nor longer than its lane allows.
            self.batch.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            self.batch.extend_from_slice(&frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::Cursor;
    use std::future::poll_fn;

    async fn read_all(lane: Lane, bytes: Vec<u8>) -> Vec<Result<Incoming, ReadError>> {
        let (mut reader, mut stream) = (Reader::new(lane), Cursor::new(bytes));
        let mut all = Vec::new();
        loop {
            all.push(poll_fn(|cx| reader.poll(&mut stream, cx)).await);
            if all.last().is_some_and(Result::is_err) {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let mut stream = Cursor::new(Vec::new());
        let mut frames = vec![vec![1; 100_000], vec![2], vec![3; 5]].into_iter();
        let mut writer = Writer::default();
        writer.say_goodbye();
        poll_fn(|cx| writer.poll(&mut stream, cx, || frames.next())).await.unwrap();
        assert!(writer.batch.is_empty() && !writer.unflushed);
        let read = read_all(Lane::Gossip, stream.into_inner()).await;
        assert_eq!(
            read,
            [
                Ok(Incoming::Frame(vec![1; 100_000])),
                Ok(Incoming::Frame(vec![2])),
                Ok(Incoming::Frame(vec![3; 5])),
                Ok(Incoming::Goodbye),
                Err(ReadError::Ended),
            ]
        );
    }

    #[tokio::test]
    async fn lengths_are_checked_before_anything_is_allocated() {
        for lane in Lane::ALL {
            let over = (lane.frame_bytes_max() as u32 + 1).to_be_bytes().to_vec();
            assert_eq!(read_all(lane, over).await, [Err(ReadError::TooLong)]);
            assert_eq!(read_all(lane, vec![0xff; 4]).await, [Err(ReadError::TooLong)]);
            assert_eq!(read_all(lane, vec![0, 0, 0, 9, 1]).await, [Err(ReadError::Truncated)]);
            assert_eq!(read_all(lane, vec![0, 0]).await, [Err(ReadError::Truncated)]);
        }
    }
}

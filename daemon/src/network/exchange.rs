//! The admission exchange on the wire, see [`admission`](super::admission).
//!
//! Each message is a length (four bytes, big-endian, checked before anything is allocated), seven bytes of magic, one
//! byte for the version of this framing, and the message in bincode, which must fill the rest. A libp2p program that is not ours
//! opens its first substream with multistream-select, whose first bytes read as a length of 300 MB: it gets no answer.

use super::admission::{Admission, Proof, RefusalReason};
use super::clocks::ClockReading;
use chinwag_base::codec;
use chinwag_base::limits::ADMISSION_BYTES_MAX;
use chinwag_base::{Grant, NodeId, OverlayId, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Role, WallTime};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

const MAGIC: &[u8; 7] = b"chinwag";
/// The version of the framing and of the shape of the messages below, apart from [`PROTOCOL_VERSION`].
const EXCHANGE_VERSION: u8 = 1;

/// The dialler's message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) version_min: u16,
    pub(super) version_max: u16,
    pub(super) overlay: OverlayId,
    /// Drawn at the start of the process: two connections with different ones are of two process lives.
    pub(super) instance: u64,
    pub(super) proof: Proof,
    /// The dialler's clock, for whoever wonders about theirs; a joiner has no need to tell.
    pub(super) wall: Option<WallTime>,
}

impl Hello {
    pub(super) fn new(overlay: OverlayId, instance: u64, proof: Proof) -> Self {
        let (version_min, version_max) = (PROTOCOL_VERSION_MIN, PROTOCOL_VERSION);
        Hello { version_min, version_max, overlay, instance, proof, wall: None }
    }
}

/// The listener's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Answer {
    Welcome { version: u16, instance: u64, grant: Box<Grant>, issued: Option<Box<Grant>>, wall: WallTime },
    Refused(RefusalReason),
}

/// What we know of a peer after the exchange.
#[derive(Debug, Clone)]
pub(super) struct Introduced {
    pub(super) role: Role,
    pub(super) grant: Arc<Grant>,
    pub(super) instance: u64,
    /// Its clock, if it told.
    pub(super) clock: Option<ClockReading>,
}

/// How the listener's side of an exchange ended.
pub(super) enum Outcome {
    /// The connection goes to the swarm.
    Admitted(Introduced),
    /// A joiner has its grant; the connection has served its purpose.
    Issued,
    /// The refusal has been sent.
    Refused(RefusalReason),
    /// No answer was given, because nothing that we understand was said.
    Stranger(RefusalReason),
}

/// Why no exchange took place.
#[derive(Debug)]
pub(super) enum ExchangeError {
    Io(io::Error),
    Refused(RefusalReason),
}

impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        ExchangeError::Io(error)
    }
}

/// What `version_min..=version_max` has in common with ours: the highest version.
fn common_version(min: u16, max: u16) -> Option<u16> {
    let version = max.min(PROTOCOL_VERSION);
    (version >= min.max(PROTOCOL_VERSION_MIN)).then_some(version)
}

fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(MAGIC);
    bytes.push(EXCHANGE_VERSION);
    bytes.extend_from_slice(&codec::encode(message));
    let len = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&len.to_be_bytes());
    Ok(bytes)
}

/// Why bytes are no message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// Not ours at all, or damaged.
    Malformed,
    /// Of a later version of this exchange.
    Newer,
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Undecodable> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(Undecodable::Malformed)?;
    let (version, rest) = rest.split_first().ok_or(Undecodable::Malformed)?;
    if *version != EXCHANGE_VERSION {
        return Err(if *version > EXCHANGE_VERSION { Undecodable::Newer } else { Undecodable::Malformed });
    }
    codec::decode::<ADMISSION_BYTES_MAX, T>(rest).map_err(|_| Undecodable::Malformed)
}

async fn write<T: Serialize>(stream: &mut (impl AsyncWrite + Unpin), message: &T) -> io::Result<()> {
    stream.write_all(&encode(message)?).await?;
    stream.flush().await
}

async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Result<T, Undecodable>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let len = u32::from_be_bytes(head) as usize;
    if len > ADMISSION_BYTES_MAX - head.len() {
        return Ok(Err(Undecodable::Malformed));
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    Ok(decode(&bytes))
}

/// What a stream's first bytes are read as, a dialler's message and a listener's answer, each written again. For fuzzing.
pub(crate) fn reread(bytes: &[u8]) -> [Option<Vec<u8>>; 2] {
    fn reread<T: Serialize + DeserializeOwned>(mut stream: &[u8]) -> Option<Vec<u8>> {
        let message = futures::executor::block_on(read::<T>(&mut stream)).ok()?.ok()?;
        encode(&message).ok()
    }
    [reread::<Hello>(bytes), reread::<Answer>(bytes)]
}

/// Runs `future`, which uses a substream of `muxer`, and the muxer with it: nothing moves unless that is polled.
pub(super) async fn drive<T>(
    muxer: &mut StreamMuxerBox,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        // Bounded, because a muxer that reports one address change after the other must not keep us here.
        for _ in 0..16 {
            if let Poll::Ready(result) = future.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            match muxer.poll_unpin(cx) {
                Poll::Ready(Ok(_)) => {}
                // What came before the end may already lie in the substream.
                Poll::Ready(Err(error)) => return future.as_mut().poll(cx).map_err(|_| error),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

pub(super) async fn open(muxer: &mut StreamMuxerBox) -> io::Result<SubstreamBox> {
    poll_fn(|cx| {
        if let Poll::Ready(stream) = muxer.poll_outbound_unpin(cx)? {
            return Poll::Ready(Ok(stream));
        }
        let _address_change = muxer.poll_unpin(cx)?;
        Poll::Pending
    })
    .await
}

async fn accept(muxer: &mut StreamMuxerBox) -> io::Result<SubstreamBox> {
    poll_fn(|cx| {
        if let Poll::Ready(stream) = muxer.poll_inbound_unpin(cx)? {
            return Poll::Ready(Ok(stream));
        }
        let _address_change = muxer.poll_unpin(cx)?;
        Poll::Pending
    })
    .await
}

/// Sends `hello` and returns the answer, unchecked but for the version.
pub(super) async fn introduce(
    muxer: &mut StreamMuxerBox,
    hello: &Hello,
) -> Result<(u64, WallTime, Box<Grant>, Option<Box<Grant>>), ExchangeError> {
    let mut stream = open(muxer).await?;
    let answer = drive(muxer, async {
        write(&mut stream, hello).await?;
        read::<Answer>(&mut stream).await
    })
    .await?;
    match answer {
        Ok(Answer::Welcome { version, .. }) if common_version(version, version).is_none() => {
            Err(ExchangeError::Refused(RefusalReason::Version { min: version, max: version }))
        }
        Ok(Answer::Welcome { instance, grant, issued, wall, .. }) => Ok((instance, wall, grant, issued)),
        Ok(Answer::Refused(why)) => Err(ExchangeError::Refused(why)),
        Err(Undecodable::Malformed | Undecodable::Newer) => {
            Err(ExchangeError::Refused(RefusalReason::Malformed))
        }
    }
}

/// The dialler's side: shows our grant and checks the listener's.
pub(super) async fn dial(
    muxer: &mut StreamMuxerBox,
    peer: NodeId,
    admission: &dyn Admission,
    instance: u64,
) -> Result<Introduced, ExchangeError> {
    let mut hello = Hello::new(admission.overlay(), instance, Proof::Grant(admission.grant()));
    let asked = admission.now();
    hello.wall = Some(asked);
    let (instance, theirs, grant, _) = introduce(muxer, &hello).await?;
    let clock = Some(ClockReading::between(asked, theirs, admission.now()));
    let admit = admission.admit(peer, Proof::Grant((*grant).clone()));
    let admitted = drive(muxer, async { Ok(admit.await) }).await?.map_err(ExchangeError::Refused)?;
    Ok(Introduced { role: admitted.role, grant: Arc::from(grant), instance, clock })
}

/// The listener's side: reads the peer's proof, decides, answers. `full` refuses everybody.
pub(super) async fn listen(
    muxer: &mut StreamMuxerBox,
    peer: NodeId,
    admission: &dyn Admission,
    instance: u64,
    full: bool,
) -> io::Result<(Outcome, SubstreamBox)> {
    let mut stream = accept(muxer).await?;
    let outcome = drive(muxer, async {
        let hello = match read::<Hello>(&mut stream).await? {
            Ok(hello) => hello,
            Err(Undecodable::Malformed) => return Ok(Outcome::Stranger(RefusalReason::Malformed)),
            Err(Undecodable::Newer) => return refuse(&mut stream, our_versions(), our_versions()).await,
        };
        if common_version(hello.version_min, hello.version_max).is_none() {
            let theirs = RefusalReason::Version { min: hello.version_min, max: hello.version_max };
            return refuse(&mut stream, our_versions(), theirs).await;
        }
        match decide(&hello, peer, admission, full).await {
            Err(why) => refuse(&mut stream, why, why).await,
            Ok((outcome, issued)) => {
                let version = hello.version_max.min(PROTOCOL_VERSION);
                let grant = Box::new(admission.grant());
                let wall = admission.now();
                write(&mut stream, &Answer::Welcome { version, instance, grant, issued, wall }).await?;
                Ok(outcome)
            }
        }
    })
    .await?;
    Ok((outcome, stream))
}

fn our_versions() -> RefusalReason {
    RefusalReason::Version { min: PROTOCOL_VERSION_MIN, max: PROTOCOL_VERSION }
}

/// Each side is told what the *other* one speaks.
async fn refuse(
    stream: &mut (impl AsyncWrite + Unpin),
    told: RefusalReason,
    kept: RefusalReason,
) -> io::Result<Outcome> {
    write(stream, &Answer::Refused(told)).await?;
    Ok(Outcome::Refused(kept))
}

async fn decide(
    hello: &Hello,
    peer: NodeId,
    admission: &dyn Admission,
    full: bool,
) -> Result<(Outcome, Option<Box<Grant>>), RefusalReason> {
    if hello.overlay != admission.overlay() {
        return Err(RefusalReason::Foreign);
    }
    if full {
        return Err(RefusalReason::Busy);
    }
    let clock = hello.wall.map(|wall| ClockReading::heard(wall, admission.now()));
    let admitted = admission.admit(peer, hello.proof.clone()).await?;
    match &hello.proof {
        Proof::Grant(grant) => {
            let grant = Arc::new(grant.clone());
            let introduced = Introduced { role: admitted.role, grant, instance: hello.instance, clock };
            Ok((Outcome::Admitted(introduced), None))
        }
        Proof::Invite(_) => {
            let issued = admitted.issued.ok_or(RefusalReason::InviteUnknown)?;
            Ok((Outcome::Issued, Some(Box::new(issued))))
        }
    }
}

/// Polls the connection until the peer ends it, so that what was written last arrives. The caller bounds the time.
pub(super) async fn linger(mut muxer: StreamMuxerBox) {
    poll_fn(|cx| {
        while let Poll::Ready(event) = muxer.poll_unpin(cx) {
            if event.is_err() {
                return Poll::Ready(());
            }
        }
        // Further substreams are dropped as they come; on QUIC this is also how the end shows.
        while let Poll::Ready(stream) = muxer.poll_inbound_unpin(cx) {
            if stream.is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use chinwag_base::Keypair;
    use chinwag_base::WallTime;
    use futures::io::Cursor;
    use proptest::prelude::*;

    fn hello() -> Hello {
        let key = Keypair::from_secret([1; 32]);
        let grant = Grant::by_root(&key, key.id(), Role::Admin, WallTime::from_unix_ms(9));
        Hello::new(OverlayId::of_root(&key.id()), 7, Proof::Grant(grant))
    }

    pub(in crate::network) fn bytes_of(hello: &Hello) -> Vec<u8> {
        encode(hello).unwrap()
    }

    #[test]
    fn a_hello_survives_the_wire_and_nothing_may_follow_it() {
        let bytes = encode(&hello()).unwrap();
        assert_eq!(decode::<Hello>(&bytes[4..]), Ok(hello()));
        let mut longer = bytes[4..].to_vec();
        longer.push(0);
        assert_eq!(decode::<Hello>(&longer), Err(Undecodable::Malformed));
        let mut newer = bytes[4..].to_vec();
        newer[7] = 2;
        assert_eq!(decode::<Hello>(&newer), Err(Undecodable::Newer));
    }

    #[test]
    fn versions_meet_at_the_highest_common_one() {
        assert_eq!(common_version(1, 9), Some(PROTOCOL_VERSION));
        assert_eq!(common_version(PROTOCOL_VERSION + 1, 9), None);
        assert_eq!(common_version(0, 0), None);
    }

    #[test]
    fn the_first_bytes_of_multistream_select_are_no_length_of_ours() {
        let mut stream = Cursor::new(b"\x13/multistream/1.0.0\n".to_vec());
        let read = futures::executor::block_on(read::<Hello>(&mut stream)).unwrap();
        assert_eq!(read, Err(Undecodable::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<Hello>(&bytes);
            let mut ours = [MAGIC.as_slice(), &[EXCHANGE_VERSION]].concat();
            ours.extend(bytes);
            let _ = decode::<Hello>(&ours);
            let _ = decode::<Answer>(&ours);
        }

        #[test]
        fn a_damaged_hello_is_no_other_panic(at in 0usize..200, to in any::<u8>()) {
            let mut bytes = encode(&hello()).unwrap();
            let at = 4 + at % (bytes.len() - 4);
            bytes[at] = to;
            let _ = decode::<Hello>(&bytes[4..]);
        }
    }
}

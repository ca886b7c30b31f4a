//! Whether UDP gets through to a peer's QUIC port and back.
//!
//! A datagram with a version of QUIC that nobody speaks makes any QUIC server answer with the versions that it does speak
//! (RFC 9000, section 6.1; versions of the form `?a?a?a?a` are kept for this, section 15). It costs the server no state and needs no
//! connection, so it is the least question whose answer proves both ways.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// A server ignores shorter ones, lest it answer with more than it was sent (RFC 9000, section 14.1).
const DATAGRAM_BYTES: usize = 1_200;
const VERSION_OF_NOBODY: [u8; 4] = [0x0a, 0x1a, 0x2a, 0x3a];
const ID_BYTES: usize = 8;
/// One datagram may be lost.
const TRIES: u32 = 2;
/// How long one answer may take: beyond any round trip on which a daemon is of use.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);

/// Asks the QUIC server at `to`. `None`: it does not answer.
pub(super) async fn ask(to: SocketAddr) -> io::Result<Option<Duration>> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    let ours: [u8; ID_BYTES] = rand::random();
    let datagram = question(&ours, &rand::random());
    for _ in 0..TRIES {
        let began = Instant::now();
        // A port that is closed shows as an error of the one call or the other.
        let answered = async {
            socket.send(&datagram).await?;
            let mut buffer = [0; DATAGRAM_BYTES];
            loop {
                let len = socket.recv(&mut buffer).await?;
                if is_answer(&buffer[..len], &ours) {
                    return io::Result::Ok(began.elapsed());
                }
            }
        };
        match timeout(ANSWER_WITHIN, answered).await {
            Ok(Ok(took)) => return Ok(Some(took)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
            Ok(Err(error)) => return Err(error),
            Err(_elapsed) => {}
        }
    }
    Ok(None)
}

fn question(ours: &[u8; ID_BYTES], theirs: &[u8; ID_BYTES]) -> Vec<u8> {
    // A long header with the fixed bit; what follows the ids means nothing in a version of nobody.
    let mut bytes = vec![0xc0];
    bytes.extend_from_slice(&VERSION_OF_NOBODY);
    bytes.push(ID_BYTES as u8);
    bytes.extend_from_slice(theirs);
    bytes.push(ID_BYTES as u8);
    bytes.extend_from_slice(ours);
    bytes.resize(DATAGRAM_BYTES, 0);
    bytes
}

/// A version negotiation packet to the id that we drew: long header, version zero, our id as its destination.
pub(crate) fn is_answer(bytes: &[u8], ours: &[u8; ID_BYTES]) -> bool {
    bytes.first().is_some_and(|first| first & 0x80 != 0)
        && bytes.get(1..5) == Some(&[0; 4])
        && bytes.get(5) == Some(&(ID_BYTES as u8))
        && bytes.get(6..6 + ID_BYTES) == Some(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_told_from_silence_and_from_what_is_no_answer() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = server.local_addr().unwrap();
        let serve = async {
            let mut buffer = [0; 2_000];
            let (len, from) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(len, DATAGRAM_BYTES);
            assert_eq!(buffer[1..5], VERSION_OF_NOBODY);
            // Not to our id first, then as RFC 9000, section 17.2.1, has it.
            server.send_to(&[0x80, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8], from).await.unwrap();
            let mut answer = vec![0x80, 0, 0, 0, 0, 8];
            answer.extend_from_slice(&buffer[15..23]);
            answer.extend_from_slice(&[0, 0, 0, 0, 1]);
            server.send_to(&answer, from).await.unwrap();
        };
        let (asked, ()) = tokio::join!(ask(to), serve);
        assert!(asked.unwrap().is_some());
        assert_eq!(ask(to).await.unwrap(), None, "a socket that says nothing");
        drop(server);
        assert_eq!(ask(to).await.unwrap(), None, "nobody");
    }
}

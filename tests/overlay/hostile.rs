//! Strangers at the open ports.

use crate::harness::{Daemon, Ground, PATIENCE, agree, eventually, register, set, so};
use chinwag_base::address::Transport;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Where a daemon listens.
pub(crate) async fn port(daemon: &Daemon, transport: Transport) -> SocketAddr {
    let addresses = daemon.status().await.addresses;
    addresses.iter().find(|address| address.transport == transport).unwrap().socket
}

/// Bytes that repeat never and mean nothing.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// What a daemon has in memory.
pub(crate) fn resident_kib(daemon: &Daemon) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// All is as if nobody had knocked.
async fn is_unimpressed(alpha: &Daemon, beta: &Daemon, round: &str) {
    alpha.write_everywhere(vec![set(round, "v")]).await;
    assert_eq!(beta.get(round).await, Ok(register("v")));
    let status = alpha.status().await;
    assert!(status.healthy && status.members.alive == 2, "{status:?}");
    assert_eq!((alpha.accused(), beta.accused()), (vec![], vec![]), "{round}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_at_the_tcp_port_disturbs_nobody() {
    let ground = Ground::new();
    let [alpha, beta] = ground.overlay(["alpha", "beta"]).await;
    let at = port(&alpha, Transport::Tcp).await;
    let before = resident_kib(&alpha);

    let multistream = b"\x13/multistream/1.0.0\n";
    let mut openings: Vec<Vec<u8>> = vec![
        // Length prefixes of 4 GiB, and of more than any number has.
        vec![0xff; 64],
        b"\xff\xff\xff\xff\x0f".to_vec(),
        [&multistream[..], b"\xff\xff\xff\xff\x0f/noise\n"].concat(),
        [&multistream[..], b"\x07/noise\n\xff\xff"].concat(),
        [&multistream[..], b"\x07/noise\n\xff\xff", &noise(7, 65_535)].concat(),
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
        Vec::new(),
    ];
    openings.extend((1..40).map(|seed| noise(seed, 64 << (seed % 8))));
    for bytes in &openings {
        let mut stream = TcpStream::connect(at).unwrap();
        // It may hang up on us while we speak.
        let _ = stream.write_all(bytes);
    }
    is_unimpressed(&alpha, &beta, "garbage").await;

    // A stranger that opens politely and then waits is shown the door; so are more of them than there is room for.
    let mut slow: Vec<TcpStream> = (0..100).filter_map(|_| TcpStream::connect(at).ok()).collect();
    for stream in &mut slow {
        let _ = stream.write_all(&multistream[..7]);
    }
    is_unimpressed(&alpha, &beta, "slow").await;
    let mut first = slow.remove(0);
    first.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut sink = [0; 1_024];
    eventually("a silent stranger is shown the door", async || match first.read(&mut sink) {
        Ok(0) => Ok(()),
        Ok(_) => Err("it still talks to us".into()),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
            Err("it still waits for us".into())
        }
        Err(_) => Ok(()),
    })
    .await;
    is_unimpressed(&alpha, &beta, "after").await;

    // A newcomer finds its way in between.
    let token = alpha.invite().await;
    let gamma = ground.start_with("gamma", &["--listen", "127.0.0.1:0"], &["--join", &token]).await;
    agree(&[&alpha, &beta, &gamma]).await;
    drop(slow);
    if let (Some(before), Some(after)) = (before, resident_kib(&alpha)) {
        eprintln!("alpha had {before} KiB resident before all that and {after} KiB after it");
        assert!(after < before + 200 * 1_024, "{before} KiB before, {after} KiB after");
    }
}

#[tokio::test]
async fn garbage_at_the_quic_port_disturbs_nobody() {
    let ground = Ground::new();
    let flags = ["--listen", "/ip4/127.0.0.1/udp/0/quic-v1"];
    let [alpha, beta] = ground.overlay_with(["alpha", "beta"], &flags).await;
    let at = port(&alpha, Transport::Quic).await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for seed in 0..2_000u64 {
        let mut bytes = noise(seed, 1 + (seed as usize * 37) % 1_400);
        // Half of them pretend to begin a connection: a long header, with QUIC's version.
        if seed % 2 == 0 && bytes.len() > 1_200 {
            bytes[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        }
        let _ = socket.send_to(&bytes, at);
    }
    is_unimpressed(&alpha, &beta, "garbage").await;
}

/// The handshake of one that has no grant, as far as it comes.
#[tokio::test]
async fn a_libp2p_program_that_is_no_member_is_refused() {
    let (here, there) = (Ground::new(), Ground::new());
    let [alpha] = here.overlay(["alpha"]).await;
    there.found("mallory", "home").await;
    // An overlay of the same name and another root; its own papers say that alpha is one of its members.
    let mallory = there.start("mallory").await;
    let lie = chinwag_api::runtime::Entry {
        name: "liar".parse().unwrap(),
        pid: std::process::id(),
        socket: there.runtime().join("liar.sock"),
        data: there.data("liar"),
        overlay: mallory.status().await.overlay.map(|overlay| overlay.id),
        id: alpha.status().await.id,
        addresses: alpha.status().await.addresses,
    };
    let _listener = std::os::unix::net::UnixListener::bind(&lie.socket).unwrap();
    std::fs::write(there.runtime().join("liar.json"), chinwag_api::schema::to_json(&lie)).unwrap();
    tokio::time::timeout(PATIENCE, async {
        eventually("mallory is refused", async || {
            so(!alpha.told("grant.refused").is_empty(), || "not yet".into())
        })
        .await;
    })
    .await
    .unwrap();
    assert_eq!(alpha.client.members().await.unwrap().members.len(), 1);
    assert_eq!(mallory.client.members().await.unwrap().members.len(), 1);
}

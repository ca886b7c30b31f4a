//! Both transports and both families.

use crate::harness::{Ground, PATIENCE, agree, register, set};
use chinwag_base::Address;
use std::time::Duration;

/// A pair that can only meet by these addresses, because each has a runtime directory of its own.
async fn pair(listen: &str) {
    let (here, there) = (Ground::new(), Ground::new());
    let [alpha] = here.overlay_with(["alpha"], &["--listen", listen]).await;
    let token = alpha.invite().await;
    let mut beta = there.start_with("beta", &["--listen", listen], &["--join", &token]).await;
    agree(&[&alpha, &beta]).await;
    alpha.write_everywhere(vec![set("from", "alpha")]).await;
    assert_eq!(beta.get("from").await, Ok(register("alpha")));
    let transport = listen.parse::<Address>().unwrap().transport;
    for daemon in [&alpha, &beta] {
        let addresses = daemon.status().await.addresses;
        assert!(!addresses.is_empty());
        for address in addresses {
            assert!(address.transport == transport && address.is_loopback(), "{address}");
            assert_ne!(address.socket.port(), 0, "{address}");
        }
    }

    // It finds back by the addresses that it remembers.
    beta.kill_9();
    alpha.write(vec![set("meanwhile", "yes")]).await.unwrap();
    beta.start_again().await;
    agree(&[&alpha, &beta]).await;
    assert_eq!(beta.get("meanwhile").await, Ok(register("yes")));
}

#[tokio::test]
async fn two_meet_over_tcp_alone() {
    pair("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test]
async fn two_meet_over_quic_alone() {
    pair("/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test]
async fn two_meet_over_ipv6() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: this machine has no ::1");
        return;
    }
    let ground = Ground::new();
    let [alpha, beta] = ground.overlay_with(["alpha", "beta"], &["--listen", "[::1]:0"]).await;
    let addresses = alpha.status().await.addresses;
    assert!(addresses.iter().all(|a| a.socket.is_ipv6()), "{addresses:?}");
    assert_eq!(addresses.len(), 2, "TCP and QUIC: {addresses:?}");
    beta.write_everywhere(vec![set("k", "v")]).await;
    assert_eq!(alpha.get("k").await, Ok(register("v")));
}

/// Without `--listen` an overlay's daemon takes a free port, and the same one the next time.
#[tokio::test]
async fn the_port_of_last_time_is_taken_again() {
    let ground = Ground::new();
    ground.found("alpha", "home").await;
    let mut alpha = ground.start_with("alpha", &[], &[]).await;
    let port = |status: chinwag_api::Status| status.addresses[0].socket.port();
    let first = port(alpha.status().await);
    assert_ne!(first, 0);
    alpha.terminate();
    tokio::time::timeout(PATIENCE + Duration::from_secs(1), alpha.ended()).await.unwrap();
    alpha.start_again().await;
    assert_eq!(port(alpha.status().await), first);
}

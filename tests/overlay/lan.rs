//! Members that find each other on the local network by multicast alone: each has a network namespace, all of them one
//! switch. Needs root; says that it is skipped otherwise.

use crate::harness::{Daemon, Ground, agree, eventually, register, set, so};
use crate::namespace::Namespace;
use chinwag_api::Verdict;
use std::time::{Duration, Instant};

/// How long silence is listened to where nothing must be heard: several of the first questions fall into it.
const SILENCE: Duration = Duration::from_secs(6);

/// A switch, and machines plugged into it.
struct Lan {
    switch: Namespace,
    machines: Vec<Namespace>,
}

impl Lan {
    /// A switch with so many machines that have no address yet. `None`, with a printed reason, where that is not allowed.
    fn new(machines: usize) -> Option<Self> {
        let made = Self::build(machines);
        if let Err(why) = &made {
            eprintln!("SKIPPED: no network can be built of namespaces here: {why}");
        }
        made.ok()
    }

    fn build(machines: usize) -> Result<Self, String> {
        let mut lan = Lan { switch: Namespace::new("switch")?, machines: Vec::new() };
        lan.switch.ip(&["link", "add", "br0", "type", "bridge"])?;
        lan.switch.ip(&["link", "set", "br0", "up"])?;
        for n in 0..machines {
            let machine = Namespace::new("machine")?;
            let port = format!("port{n}");
            let pair = ["type", "veth", "peer", "name", "eth0", "netns", machine.name()];
            lan.switch.ip(&[&["link", "add", &port], &pair[..]].concat())?;
            lan.switch.ip(&["link", "set", &port, "master", "br0", "up"])?;
            machine.ip(&["link", "set", "eth0", "up"])?;
            lan.machines.push(machine);
        }
        Ok(lan)
    }

    /// Gives a machine this address and no other.
    fn address(&self, machine: usize, address: &str) {
        let space = &self.machines[machine];
        let family = if address.contains(':') { "-6" } else { "-4" };
        space.ip(&[family, "addr", "flush", "dev", "eth0", "scope", "global"]).unwrap();
        let mut add = vec!["addr", "add", address, "dev", "eth0"];
        if family == "-6" {
            add.push("nodad");
        }
        space.ip(&add).unwrap();
    }

    fn program(&self, machine: usize) -> [&str; 4] {
        self.machines[machine].program()
    }
}

/// Two members, each with a ground of its own so that they cannot meet through the runtime directory, that have met once.
async fn acquainted(lan: &Lan, grounds: [&Ground; 2]) -> [Daemon; 2] {
    grounds[0].found("alpha", "home").await;
    let alpha = grounds[0].start_under(&lan.program(0), "alpha", &["--no-mdns"], &[]).await;
    let token = alpha.invite().await;
    let beta = grounds[1].start_under(&lan.program(1), "beta", &["--no-mdns"], &["--join", &token]).await;
    agree(&[&alpha, &beta]).await;
    assert!(alpha.told("lan.opened").is_empty(), "it was told not to look");
    [alpha, beta]
}

/// Whom a daemon has found by multicast.
fn found(daemon: &Daemon) -> Vec<String> {
    let mut peers: Vec<String> =
        daemon.told("lan.found").iter().map(|row| row.field("peer").to_owned()).collect();
    peers.dedup();
    peers
}

#[tokio::test]
async fn members_that_have_moved_find_each_other_and_leave_strangers_alone() {
    let Some(lan) = Lan::new(3) else { return };
    let (here, there, elsewhere) = (Ground::new(), Ground::new(), Ground::new());
    for (machine, address) in ["10.73.0.1/24", "10.73.0.2/24", "10.73.0.3/24"].into_iter().enumerate() {
        lan.address(machine, address);
    }
    let [mut alpha, mut beta] = acquainted(&lan, [&here, &there]).await;
    let ids = [alpha.status().await.id.to_string(), beta.status().await.id.to_string()];
    alpha.kill_9();
    beta.kill_9();

    // A neighbour of another overlay.
    elsewhere.found("gamma", "other").await;
    let gamma = elsewhere.start_under(&lan.program(2), "gamma", &[], &[]).await;
    let stranger = gamma.status().await.id.to_string();

    // Both have moved, and what each remembers of the other leads nowhere. Without multicast it stays so.
    lan.address(0, "10.73.0.11/24");
    lan.address(1, "10.73.0.22/24");
    let mut alpha = here.start_under(&lan.program(0), "alpha", &["--no-mdns"], &[]).await;
    let mut beta = there.start_under(&lan.program(1), "beta", &["--mdns", "off"], &[]).await;
    tokio::time::sleep(SILENCE).await;
    assert_eq!((alpha.status().await.members.alive, beta.status().await.members.alive), (1, 1));
    alpha.kill_9();
    beta.kill_9();

    // With it they meet, although one of them is on the network only after it has started.
    lan.machines[1].ip(&["addr", "flush", "dev", "eth0"]).unwrap();
    let alpha = here.start_under(&lan.program(0), "alpha", &[], &[]).await;
    let beta = there.start_under(&lan.program(1), "beta", &[], &[]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    lan.address(1, "10.73.0.23/24");
    let plugged = Instant::now();
    agree(&[&alpha, &beta]).await;
    eprintln!("found each other {:?} after the second one had an address", plugged.elapsed());
    alpha.write_everywhere(vec![set("from", "alpha")]).await;
    assert_eq!(beta.get("from").await, Ok(register("alpha")));

    // Both say so when they are examined. The one that heard the other first has dialled it perhaps before that one had
    // heard anything: the next question, some seconds later, is for that.
    for daemon in [&alpha, &beta] {
        eventually("multicast is seen to work", async || {
            let report = daemon.client.doctor().await.unwrap();
            let multicast: Vec<_> = report.findings.iter().filter(|f| f.check == "multicast").collect();
            assert!(multicast.iter().all(|f| f.verdict == Verdict::Good), "{multicast:?}");
            let is_heard = multicast.iter().any(|f| f.message.contains("other members were heard"));
            so(is_heard, || format!("{multicast:?}"))
        })
        .await;
    }

    // The stranger was neither dialled nor dials; nor is anybody found again who is connected.
    tokio::time::sleep(SILENCE).await;
    assert!(found(&gamma).is_empty(), "{:?}", found(&gamma));
    for daemon in [&alpha, &beta] {
        assert!(found(daemon).iter().all(|peer| ids.contains(peer)), "{:?}", found(daemon));
        assert!(!daemon.log().contains(&stranger), "{} has to do with the stranger", daemon.name);
        assert!(daemon.told("lan.found").len() <= 6, "{:?}", daemon.told("lan.found"));
    }
    assert!(!found(&alpha).is_empty() || !found(&beta).is_empty(), "they met, and not by multicast");
    assert!(gamma.told("grant.refused").is_empty() && alpha.told("grant.refused").is_empty());
}

#[tokio::test]
async fn members_find_each_other_on_a_network_that_has_ipv6_only() {
    let Some(lan) = Lan::new(2) else { return };
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: this machine has no IPv6");
        return;
    }
    let (here, there) = (Ground::new(), Ground::new());
    lan.address(0, "fd73::1/64");
    lan.address(1, "fd73::2/64");
    let [mut alpha, mut beta] = acquainted(&lan, [&here, &there]).await;
    alpha.kill_9();
    beta.kill_9();
    lan.address(0, "fd73::11/64");
    lan.address(1, "fd73::22/64");
    let alpha = here.start_under(&lan.program(0), "alpha", &[], &[]).await;
    let beta = there.start_under(&lan.program(1), "beta", &[], &[]).await;
    let began = Instant::now();
    agree(&[&alpha, &beta]).await;
    eprintln!("found each other after {:?}", began.elapsed());
    eventually("one of them was found by multicast", async || {
        so(!found(&alpha).is_empty() || !found(&beta).is_empty(), || "nobody was".into())
    })
    .await;
}

/// A daemon that listens on loopback has no socket for multicast at all.
#[tokio::test]
async fn a_daemon_on_loopback_is_silent() {
    let ground = Ground::new();
    let [alpha] = ground.overlay(["alpha"]).await;
    assert!(alpha.told("lan.opened").is_empty() && alpha.told("lan.unusable").is_empty());
    let lone = Ground::new();
    let beta = lone.start_with("beta", &[], &[]).await;
    assert!(beta.told("lan.opened").is_empty(), "without an overlay there is nobody to look for");
}

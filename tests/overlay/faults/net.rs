//! Five machines and the network between them, all of it on this one: a namespace with a TUN device each, and a
//! [`Router`] that holds the other ends.
//!
//! A device is made out here and then moved into its namespace. Its file descriptor stays ours, so the router needs no
//! privilege inside and is an ordinary thread of the test.

use super::router::{Link, MTU, Router, Seen};
use super::witness::Witness;
use crate::harness::{Daemon, Ground, agree};
use crate::namespace::Namespace;
use crate::settings::{is_strict, skip};
use chinwag_sim::observation::Host;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use tun_rs::{DeviceBuilder, SyncDevice};

/// How many machines there are.
pub(crate) const MACHINES: usize = 5;
/// All of them.
pub(crate) const ALL: [usize; MACHINES] = [0, 1, 2, 3, 4];
/// Who lives on them.
pub(crate) const NAMES: [&str; MACHINES] = ["alpha", "beta", "gamma", "delta", "epsilon"];
const TUN: &str = "/dev/net/tun";

/// Five machines, each of which reaches each other through the router alone.
#[derive(Debug)]
pub(crate) struct Net {
    // First, because devices are closed before their namespaces go.
    router: Router,
    machines: Vec<Namespace>,
}

impl Net {
    /// A network whose links have no delay, no loss and no cut. `None`, with a printed reason, where it cannot be made.
    ///
    /// # Panics
    ///
    /// If it cannot be made although it must be: by root, where TUN devices are, in CI.
    pub(crate) fn new(seed: u64) -> Option<Self> {
        let made = Self::build(seed);
        made.inspect_err(|why| skip(why, is_strict() && Path::new(TUN).exists())).ok()
    }

    fn build(seed: u64) -> Result<Self, String> {
        let (mut machines, mut devices) = (Vec::new(), Vec::new());
        for (n, name) in NAMES.into_iter().enumerate() {
            let machine = Namespace::new(name)?;
            devices.push(plug_in(&machine, n)?);
            machines.push(machine);
        }
        Ok(Net { router: Router::new(devices, seed), machines })
    }

    /// The address of a machine.
    pub(crate) fn address(machine: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, machine as u8 + 1)
    }

    /// Changes the links from each of these machines to each of those.
    pub(crate) fn change(&self, from: &[usize], to: &[usize], change: impl Fn(&mut Link)) {
        pairs(from, to).for_each(|(from, to)| self.router.change(from, to, &change));
    }

    /// Changes all links.
    pub(crate) fn change_all(&self, change: impl Fn(&mut Link)) {
        self.change(&ALL, &ALL, change);
    }

    /// Cuts the links from each of these to each of those.
    pub(crate) fn cut(&self, from: &[usize], to: &[usize], witness: &Witness) {
        for (from, to) in pairs(from, to) {
            witness.cuts(from, to);
            self.router.change(from, to, |link| link.cut = true);
        }
    }

    /// Mends what was cut.
    pub(crate) fn mend(&self, from: &[usize], to: &[usize], witness: &Witness) {
        for (from, to) in pairs(from, to) {
            self.router.change(from, to, |link| link.cut = false);
            witness.mends(from, to);
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.router.seen()
    }

    /// Starts the daemon of a machine.
    pub(crate) async fn start(&self, ground: &Ground, machine: usize, once: &[&str]) -> Daemon {
        let address = Self::address(machine);
        // Not both everywhere, so that neither transport is left out by preference.
        let listen = match machine {
            0 => format!("{address}:7171"),
            1 | 2 => format!("/ip4/{address}/tcp/7171"),
            _ => format!("/ip4/{address}/udp/7171/quic-v1"),
        };
        let program = self.machines[machine].program();
        ground.start_under(&program, NAMES[machine], &["--listen", &listen, "--no-mdns"], once).await
    }

    /// An overlay of all machines. All agree when this returns.
    pub(crate) async fn overlay(&self, ground: &Ground, witness: &Witness) -> [Daemon; MACHINES] {
        ALL.iter().for_each(|machine| witness.starts(Host(*machine as u32)));
        ground.found(NAMES[0], "home").await;
        let mut daemons = vec![self.start(ground, 0, &[]).await];
        for machine in 1..MACHINES {
            let token = daemons[0].invite().await;
            daemons.push(self.start(ground, machine, &["--join", &token]).await);
        }
        agree(&daemons.iter().collect::<Vec<_>>()).await;
        daemons.try_into().unwrap()
    }
}

/// Each of these with each of those that is another.
fn pairs(from: &[usize], to: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    from.iter().flat_map(|&from| to.iter().map(move |&to| (from, to))).filter(|(from, to)| from != to)
}

/// Gives a machine a device and an address. What comes back is the network's end of it.
fn plug_in(machine: &Namespace, number: usize) -> Result<SyncDevice, String> {
    // Interfaces have names of at most 15 bytes, and this one is among all others for a moment.
    static DEVICES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("cw{}t{}", std::process::id(), DEVICES.fetch_add(1, Ordering::Relaxed));
    let device = DeviceBuilder::new().name(&name).enable(false).build_sync();
    let device = device.map_err(|error| format!("{TUN}: {error}"))?;
    device.set_nonblocking(true).map_err(|error| error.to_string())?;
    crate::namespace::ip(&["link", "set", &name, "netns", machine.name()])?;
    machine.ip(&["addr", "add", &format!("{}/24", Net::address(number)), "dev", &name])?;
    machine.ip(&["link", "set", &name, "mtu", &MTU.to_string(), "up"])?;
    Ok(device)
}

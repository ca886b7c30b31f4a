//! A network with a delay, for systems that know nothing of it.
//!
//! Neither system is changed, wrapped or told. The program moves itself into a network namespace of its own
//! ([`enclose`]), where addresses of [`NETWORK`] are routed through a TUN device although they are local. A second
//! process reads each packet there, keeps it for half the round-trip time, and gives it back to the kernel, which then
//! delivers it. So every byte takes the way of real TCP: handshakes, windows and acknowledgements are delayed like
//! data, and whoever sends more packets pays for each. (`tc netem` would do the same, where the kernel has it.)
//!
//! The delay is constant and nothing is lost. The process that holds packets back is not this one, so its processor
//! time is in nobody's figures; it does share the machine.

use anyhow::{Context as _, Result, bail, ensure};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tun_rs::{DeviceBuilder, SyncDevice};

/// Told to the program once it is in its own namespace.
const ENCLOSED_ENV: &str = "CHINWAG_BENCH_ENCLOSED";
/// The argument with which the program carries packets instead.
pub const CARRY: &str = "__carry";
/// What the carrier says when the device is there.
const READY: &str = "ready";
/// The device; it exists in our namespace only.
const DEVICE: &str = "cw0";
/// Addresses that are delayed.
const NETWORK: &str = "10.77.0.0/16";
/// The one that all members listen on.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The largest packet, as on Ethernet.
const MTU: u16 = 1_500;
/// Packets that wait between the kernel and the carrier: 64 members that all speak at once.
const QUEUE_PACKETS: u32 = 10_000;
/// Packets on their way. Beyond it the carrier stops reading, and the kernel drops.
const UNDER_WAY_MAX: usize = 100_000;

/// Runs this program again in a network namespace of its own, unless it is in one. `Some` is the exit code of that
/// run, and this one is to end with it.
///
/// # Errors
/// If the system does not let us: it takes root, or user namespaces and a `/dev/net/tun` for everyone.
pub fn enclose() -> Result<Option<ExitCode>> {
    if std::env::var_os(ENCLOSED_ENV).is_some() {
        return Ok(None);
    }
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    command.arg(program).args(std::env::args_os().skip(1)).env(ENCLOSED_ENV, "1");
    let status =
        command.status().context("cannot run unshare; try: apt install util-linux, or --delay-ms 0")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(Some(ExitCode::from(code)))
}

/// The delaying network. Dropping it ends the carrier; the namespace ends with this process.
#[derive(Debug)]
pub struct Wire(Child);

impl Wire {
    /// Sets the network up, in a namespace that nobody else uses.
    ///
    /// # Errors
    /// If this is not [such a namespace](enclose), or the system refuses.
    pub fn start(round_trip: Duration) -> Result<Self> {
        ensure!(std::env::var_os(ENCLOSED_ENV).is_some(), "a wire needs a network namespace of its own");
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let mut command = Command::new(program);
        command.arg(CARRY).arg((round_trip / 2).as_micros().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut wire = Wire(command.spawn().context("cannot start the carrier of packets")?);
        let mut said = String::new();
        if let Some(stdout) = wire.0.stdout.take() {
            BufReader::new(stdout).read_line(&mut said).context("the carrier says nothing")?;
        }
        if said.trim_end() != READY {
            bail!("no TUN device; try: as root, in a container with --device /dev/net/tun, or --delay-ms 0");
        }
        route()?;
        Ok(wire)
    }

    /// The address that everyone is to listen on.
    pub fn address(&self) -> IpAddr {
        ADDRESS.into()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends packets to our own address out through the device, and lets in what the device gives back.
fn route() -> Result<()> {
    for (name, value) in [("all/rp_filter", "0"), (&format!("{DEVICE}/rp_filter"), "0")] {
        set(name, value)?;
    }
    // A packet from our own address that arrives from outside is dropped otherwise.
    set(&format!("{DEVICE}/accept_local"), "1")?;
    let commands = [
        "link set lo up".to_owned(),
        format!("rule add pref 10 iif {DEVICE} lookup local"),
        "rule add pref 20 to 127.0.0.0/8 lookup local".to_owned(),
        format!("route add {NETWORK} dev {DEVICE} src {ADDRESS} table 77"),
        format!("rule add pref 30 to {NETWORK} lookup 77"),
        "rule add pref 100 lookup local".to_owned(),
        // The rule that would deliver at once what is local.
        "rule del pref 0".to_owned(),
    ];
    for command in commands {
        let output = Command::new("ip").args(command.split(' ')).output();
        let output = output.context("cannot run ip; try: apt install iproute2, or --delay-ms 0")?;
        ensure!(output.status.success(), "ip {command}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn set(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv4/conf/{name}");
    std::fs::write(&path, value).with_context(|| format!("cannot write {path}"))
}

/// A packet, and when it arrives.
type Packet = (Instant, Vec<u8>);

/// What is on its way, oldest first: with one delay for all, nobody overtakes.
#[derive(Default)]
struct UnderWay {
    packets: Mutex<VecDeque<Packet>>,
    changed: Condvar,
}

const UNPOISONED: &str = "nothing panics while it holds the packets";

/// The carrier: all of the program when its first argument is [`CARRY`]. Ends with its standard input.
///
/// # Errors
/// If there is no device to be had.
pub fn carry(one_way: Duration) -> Result<()> {
    let device = DeviceBuilder::new().name(DEVICE).mtu(MTU).ipv4(ADDRESS, 16, None);
    let device = device.with(|options| {
        options.tx_queue_len(QUEUE_PACKETS);
    });
    let device = Arc::new(device.build_sync().context("cannot make a TUN device")?);
    let under_way = Arc::new(UnderWay::default());
    let threads = (device.clone(), under_way.clone());
    thread::spawn(move || take(&threads.0, &threads.1, one_way));
    thread::spawn(move || give(&device, &under_way));
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{READY}").and_then(|()| stdout.flush()).context("nobody listens")?;
    // Nothing is ever sent: it ends when whoever started this process does.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).context("cannot wait for the end")?;
    Ok(())
}

/// Takes packets from the device.
fn take(device: &SyncDevice, under_way: &UnderWay, one_way: Duration) {
    let mut buffer = vec![0; usize::from(MTU)];
    while let Ok(length) = device.recv(&mut buffer) {
        let arrives = Instant::now() + one_way;
        let mut packets = under_way.packets.lock().expect(UNPOISONED);
        while packets.len() >= UNDER_WAY_MAX {
            packets = under_way.changed.wait(packets).expect(UNPOISONED);
        }
        packets.push_back((arrives, buffer[..length].to_vec()));
        under_way.changed.notify_all();
    }
}

/// Gives each back when it is due.
fn give(device: &SyncDevice, under_way: &UnderWay) {
    loop {
        let mut packets = under_way.packets.lock().expect(UNPOISONED);
        let (arrives, packet) = loop {
            match packets.pop_front() {
                Some(first) => break first,
                None => packets = under_way.changed.wait(packets).expect(UNPOISONED),
            }
        };
        under_way.changed.notify_all();
        drop(packets);
        thread::sleep(arrives.saturating_duration_since(Instant::now()));
        // A packet that the kernel does not take is lost, as on any network.
        let _ = device.send(&packet);
    }
}

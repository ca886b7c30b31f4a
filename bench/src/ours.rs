//! chinwag: an overlay of daemons in this process, and what is asked of them.
//!
//! These are whole daemons, each with its own store, log and detector, as `Daemon::start` gives them to any program.
//! They listen on TCP only, because that is what stock Kademlia is measured on.

use crate::hung::Member;
use crate::scratch::{self, Store};
use anyhow::{Context as _, Result, ensure};
use chinwag_base::address::Transport;
use chinwag_base::{Address, Invite, Name};
use chinwag_daemon::config::{JoinBy, Listen};
use chinwag_daemon::{Config, Daemon, Handle};
use futures::{StreamExt as _, TryStreamExt as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the overlay may take until all see all.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often they are asked whom they see.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Daemons that join at once: more would only wait for each other on few cores.
const JOINING_MAX: usize = 8;

/// Puts a record, until a majority of its owners have it on their disks.
///
/// # Errors
/// What the daemon says.
pub async fn put(daemon: &Handle, key: &str, value: &[u8]) -> Result<(), String> {
    daemon.dht_put(key, value, None).await.map(drop).map_err(|error| error.to_string())
}

/// Gets a record, as a majority of its owners have it.
///
/// # Errors
/// What the daemon says, or that there is no such record.
pub async fn get(daemon: &Handle, key: &str) -> Result<(), String> {
    let value = daemon.dht_get(key).await.map_err(|error| error.to_string())?;
    value.map(drop).ok_or_else(|| "not found".to_owned())
}

/// An overlay of daemons.
pub struct Overlay {
    daemons: Vec<Arc<Handle>>,
    hung: Vec<Member>,
    /// Goes last.
    _dir: TempDir,
}

impl Overlay {
    /// Brings up `nodes` daemons on `ip`, of which `hung` are to hang one day, and waits until all see all.
    ///
    /// # Errors
    /// If one does not start, or they do not meet.
    pub async fn start(
        ip: IpAddr,
        nodes: usize,
        hung: usize,
        store: Store,
        dir: Option<&Path>,
    ) -> Result<Self> {
        ensure!(nodes > hung, "a member that does not hang is needed");
        let dir = scratch::directory(store, dir)?;
        let data = |number: usize| dir.path().join(name(number));
        chinwag_daemon::found(&data(0), "bench".parse()?)?;
        let first = Daemon::start(config(ip, &data(0), &name(0))?).await?;
        let mut daemons = vec![Arc::new(first)];
        let mut stopped = Vec::new();
        if nodes > 1 {
            let invite = daemons[0].invite(u32::try_from(nodes - 1)?, Duration::from_secs(600)).await?;
            let joining = (1..nodes - hung).map(|number| {
                let (data, name, invite) = (data(number), name(number), invite.clone());
                async move { join(ip, &data, &name, invite).await }
            });
            let joining = futures::stream::iter(joining).buffer_unordered(JOINING_MAX).map_ok(Arc::new);
            daemons.extend(joining.try_collect::<Vec<_>>().await?);
            for number in nodes - hung..nodes {
                let (data, name, invite) = (data(number), name(number), invite.to_string());
                let member = Member::ours(ip, &data, &name, &invite).await;
                stopped.push(member.context("a member in a process of its own did not join")?);
            }
        }
        let overlay = Overlay { daemons, hung: stopped, _dir: dir };
        overlay.meet(nodes as u64).await?;
        Ok(overlay)
    }

    async fn meet(&self, nodes: u64) -> Result<()> {
        let begun = Instant::now();
        for daemon in &self.daemons {
            loop {
                let seen = daemon.members().await?;
                if seen.alive == nodes {
                    break;
                }
                let name = daemon.name();
                ensure!(begun.elapsed() < PATIENCE, "{name} sees {seen:?} of {nodes} after {PATIENCE:?}");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// The daemons of this process.
    pub fn daemons(&self) -> &[Arc<Handle>] {
        &self.daemons
    }

    /// From now on those that are to hang do.
    ///
    /// # Errors
    /// If one of them has ended already.
    pub fn hang(&self) -> Result<()> {
        self.hung.iter().try_for_each(Member::hang)
    }

    /// Ends all daemons and removes what they stored.
    pub async fn end(self) {
        let Overlay { daemons, hung, _dir } = self;
        drop(hung);
        let leaving = daemons.into_iter().filter_map(Arc::into_inner).map(Handle::leave);
        futures::future::join_all(leaving).await;
    }
}

/// A daemon that joins by an invite.
///
/// # Errors
/// Whatever stands in the way.
pub async fn join(ip: IpAddr, data: &Path, name: &str, invite: Invite) -> Result<Handle> {
    let config = Config { join: Some(JoinBy::Invite(invite)), ..config(ip, data, name)? };
    Ok(Daemon::start(config).await?)
}

/// A daemon that listens on TCP at `ip`.
///
/// # Errors
/// If the name is none.
pub fn config(ip: IpAddr, data: &Path, name: &str) -> Result<Config> {
    let name: Name = name.parse()?;
    let listen = Listen::One(Address::new(Transport::Tcp, SocketAddr::new(ip, 0)));
    Ok(Config { listen: vec![listen], ..Config::new(data, name) })
}

fn name(number: usize) -> String {
    format!("n{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_put_is_got_elsewhere_and_nothing_else() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let overlay = Overlay::start(ip, 3, 0, Store::Memory, None).await.unwrap();
        let daemons = overlay.daemons();
        put(&daemons[0], "a", b"1").await.unwrap();
        get(&daemons[2], "a").await.unwrap();
        assert_eq!(get(&daemons[2], "b").await, Err("not found".to_owned()));
        overlay.end().await;
    }
}

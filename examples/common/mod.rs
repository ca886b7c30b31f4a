//! What the examples share: members inside this program, and their sockets.

use chinwag_api::Client;
use chinwag_daemon::config::JoinBy;
use chinwag_daemon::{Config, Daemon, Failure, Handle};
use std::path::Path;
use std::time::Duration;

/// Starts the member `name` with its home in `dir`. A home that belongs to no overlay yet founds one, or joins the
/// overlay of `friend`.
pub(crate) async fn start(dir: &Path, name: &str, friend: Option<&Handle>) -> Result<Handle, Failure> {
    let home = dir.join(name);
    let is_new = !home.join("overlay.toml").exists();
    let join = match friend {
        Some(friend) if is_new => Some(JoinBy::Invite(friend.invite(1, Duration::from_secs(60)).await?)),
        _ => None,
    };
    if is_new && join.is_none() {
        chinwag_daemon::found(
            &home,
            "demo".parse().expect("a name of an overlay, because it is one plain word"),
        )?;
    }
    let name = name.parse().expect("a member's name, because the examples have plain ones");
    let here = "127.0.0.1:0".parse().expect("loopback, any port, because that is what it says");
    let runtime_dir = Some(dir.join("run"));
    Daemon::start(Config { listen: vec![here], join, runtime_dir, ..Config::new(home, name) }).await
}

/// A client of the member `name` whose home is in `dir`, over its Unix socket.
#[allow(dead_code, reason = "not every example asks by the socket")]
pub(crate) fn client(dir: &Path, name: &str) -> Client {
    Client::new(dir.join("run").join(format!("{name}.sock")))
}

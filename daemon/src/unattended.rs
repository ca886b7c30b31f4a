//! Overlays without hands: found one at the first start, keep an invite in a file, and follow such a file.
//!
//! This is how daemons that start together, as containers or machines of one deployment do, form an overlay with
//! nobody at a keyboard. One founds it (`--init`) and keeps an invite in a file (`--invite-to`); the others wait for
//! that file (`--join @FILE`) and go on reading it, because an invite also says where its maker is *now*: when
//! everybody comes back with another address, the file is what they still have in common.

use crate::clock;
use crate::config::parse_invite;
use crate::daemon::Shared;
use crate::home::Home;
use crate::http;
use crate::join::has_overlay;
use chinwag_api::{Failure, Kind};
use chinwag_base::limits::INVITE_USES_MAX;
use chinwag_base::{Invite, OverlayName, Role};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long an invite in a file lives: whoever copies the file has a key for so long and no longer.
const INVITE_LIFE: Duration = Duration::from_secs(3_600);
/// An invite is replaced at half its life, so that whoever reads it has as long again.
const RENEW_EVERY: Duration = Duration::from_secs(1_800);
/// How soon an invite that could not be made is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// Addresses change one by one; the invite is written when they have come to rest.
const SETTLE: Duration = Duration::from_millis(200);
/// How often a file with an invite is read again.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);

/// Founds the overlay `name`, unless this home belongs to it already.
///
/// # Errors
/// If the home belongs to another overlay, or the disk refuses.
pub(crate) fn found(home: &Home, name: &OverlayName) -> Result<(), Failure> {
    match home.papers()? {
        None => home.found(name.clone(), clock::wall(), clock::entropy).map(|_| ()),
        Some(papers) if papers.name == *name => Ok(()),
        Some(papers) => Err(has_overlay(&papers)),
    }
}

/// Takes the invite of an earlier life away, so that nobody knocks where nobody is any more.
///
/// # Errors
/// If the file's directory is missing or refuses.
pub(crate) fn clear(path: &Path) -> Result<(), Failure> {
    let refused = |why: String| {
        Failure::new(Kind::Permission, format!("cannot keep an invite in {}", path.display())).because(why)
    };
    let dir = directory(path);
    if !dir.is_dir() {
        return Err(refused(format!("there is no directory {}", dir.display()))
            .hint(format!("mkdir -m 700 {}", dir.display())));
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(refused(e.to_string())),
        _ => Ok(()),
    }
}

/// Keeps an invite that is good in the file, for as long as the daemon runs.
pub(crate) async fn keep_invite(daemon: Arc<Shared>, path: PathBuf) {
    let mut addresses = daemon.watch_addresses();
    let mut told = None;
    loop {
        addresses.mark_unchanged();
        let renewed = renew(&daemon, &path).await;
        let patience = if renewed.is_ok() { RENEW_EVERY } else { RETRY_EVERY };
        let why = renewed.err().map(|failure| failure.to_string());
        if let Some(why) = why.as_ref().filter(|why| told.as_ref() != Some(*why)) {
            tracing::warn!(target: "chinwag", event = "invite.unwritten", file = %path.display(), why);
        }
        told = why;
        if timeout(patience, addresses.changed()).await.is_ok() {
            sleep(SETTLE).await;
        }
    }
}

async fn renew(daemon: &Arc<Shared>, path: &Path) -> Result<(), Failure> {
    let invite = http::make_invite(daemon, INVITE_USES_MAX, INVITE_LIFE, Role::Member).await?;
    write(path, &invite).map_err(|e| {
        Failure::new(Kind::Storage, format!("cannot write {}", path.display())).because(e.to_string())
    })
}

/// Readers see the old invite or the new one, never half of one. Only the daemon's own user may read it.
fn write(path: &Path, invite: &Invite) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writeln!(file, "{invite}")?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Dials whoever made the invite in the file, if it is of our overlay, for as long as the daemon runs.
pub(crate) async fn follow_invite(daemon: Arc<Shared>, path: PathBuf) {
    loop {
        // That it is gone, or half written, is nothing to tell: an admitted member needs it only to
        // find its way, and somebody who is connected already is not dialled.
        if let Ok(text) = fs::read_to_string(&path)
            && text.ends_with('\n')
            && let Ok(invite) = parse_invite(text.trim())
            && let Ok(engine) = daemon.running().await
            && engine.papers.as_ref().is_some_and(|papers| papers.overlay() == invite.overlay)
            && engine.keypair.id() != invite.inviter
        {
            engine.seed(invite.inviter, invite.addresses);
        }
        sleep(FOLLOW_EVERY).await;
    }
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if dir != Path::new("") => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_is_founded_once() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let (name, other) = ("home".parse().unwrap(), "other".parse().unwrap());
        found(&home, &name).unwrap();
        let papers = home.papers().unwrap().unwrap();
        found(&home, &name).unwrap();
        assert_eq!(home.papers().unwrap(), Some(papers), "the second start changes nothing");
        let refused = found(&home, &other).unwrap_err();
        assert_eq!(refused.kind, Kind::HasOverlay);
    }

    #[test]
    fn a_place_for_an_invite_is_checked_before_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("invite");
        clear(&path).unwrap();
        fs::write(&path, "old\n").unwrap();
        clear(&path).unwrap();
        assert!(!path.exists());
        let refused = clear(&dir.path().join("missing/invite")).unwrap_err();
        assert!(refused.to_string().contains("there is no directory"), "{refused}");
        fs::create_dir(&path).unwrap();
        assert!(clear(&path).is_err(), "a directory is no file");
        assert_eq!(directory(Path::new("invite")), Path::new("."));
    }
}

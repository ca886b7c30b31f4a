//! Where a lab's daemons live: a directory of its own, temporary unless it was named.

use crate::daemon;
use chinwag_api::runtime::Runtime;
use chinwag_api::{Failure, Kind};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Temporary directories tried; a name is taken only by a lab of the same process id that was killed.
const TRIES_MAX: u32 = 1_000;

/// The directory, and where its daemons show themselves.
pub(super) struct Ground {
    dir: PathBuf,
    is_temporary: bool,
    pub(super) runtime: Runtime,
}

impl Ground {
    /// The directory `dir`, or a temporary one. A private lab shows its daemons in a runtime directory of its own.
    pub(super) fn new(dir: Option<&Path>, private: bool, runtime: &Runtime) -> Result<Self, Failure> {
        let (dir, is_temporary) = match dir {
            Some(dir) => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(dir)
                    .map_err(|e| failed("make", dir, &e))?;
                (dir.canonicalize().map_err(|e| failed("open", dir, &e))?, false)
            }
            None => (temporary()?, true),
        };
        let runtime = if private { Runtime::at(dir.join("run")) } else { runtime.clone() };
        Ok(Ground { dir, is_temporary, runtime })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The data directory of a daemon.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Whether a daemon belongs to an overlay from an earlier lab in the same directory.
    pub(super) fn has_papers(&self, name: &str) -> bool {
        self.data(name).join("overlay.toml").exists()
    }

    /// Makes the overlay, unless an earlier lab in the same directory has.
    pub(super) fn found(&self, name: &str) -> Result<(), Failure> {
        if self.has_papers(name) {
            return Ok(());
        }
        let overlay = "lab".parse().map_err(|_| Failure::new(Kind::Internal, "lab is no overlay's name"))?;
        daemon::found(Some(&self.data(name)), name.parse().ok(), overlay).map(|_| ())
    }

    /// Writes a daemon's settings into its data directory, so that `chinwagd --data DIR/NAME` runs that very daemon
    /// again. Settings that are there already stay.
    pub(super) fn keep_settings(&self, name: &str) -> Result<(), Failure> {
        let data = self.data(name);
        let path = data.join("config.toml");
        let write = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(&data)?;
            let mut file = match OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                opened => opened?,
            };
            writeln!(file, "name = \"{name}\"\nlisten = [\"127.0.0.1:0\"]")
        };
        write().map_err(|e| failed("write", &path, &e))
    }

    /// Writes the invite to a file that only this user can read: what stands on a command line, everybody can.
    pub(super) fn keep_invite(&self, token: &str) -> Result<PathBuf, Failure> {
        let path = self.dir.join("invite");
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
            writeln!(file, "{token}")
        };
        write().map_err(|e| failed("write", &path, &e))?;
        Ok(path)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.is_temporary {
            // What cannot be removed is in the directory that the system empties.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn temporary() -> Result<PathBuf, Failure> {
    let base = std::env::temp_dir();
    let pid = std::process::id();
    for number in 0..TRIES_MAX {
        let dir = base.join(format!("chinwag-lab-{pid}-{number}"));
        // Not recursive: a directory that somebody else has put there is an error, not ours.
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return dir.canonicalize().map_err(|e| failed("open", &dir, &e)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("make", &dir, &error)),
        }
    }
    Err(Failure::new(Kind::Taken, format!("no free name for a directory in {}", base.display())))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Kind::Permission, format!("cannot {what} {}", path.display())).because(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_temporary_ground_is_closed_to_others_and_goes_away() {
        let runtime = Runtime::at("/nowhere");
        let ground = Ground::new(None, true, &runtime).unwrap();
        let dir = ground.dir().to_owned();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&ground.keep_invite("cw1lab-X").unwrap()), 0o600);
        assert_eq!(ground.runtime.path(), dir.join("run"));
        let other = Ground::new(None, false, &runtime).unwrap();
        assert_ne!(other.dir(), dir);
        assert_eq!(other.runtime, runtime);
        drop(ground);
        assert!(!dir.exists());
    }

    #[test]
    fn settings_are_kept_once_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let ground = Ground::new(Some(dir.path()), true, &Runtime::at("/nowhere")).unwrap();
        ground.keep_settings("alpha").unwrap();
        let path = ground.data("alpha").join("config.toml");
        assert!(fs::read_to_string(&path).unwrap().starts_with("name = \"alpha\"\nlisten = "));
        fs::write(&path, "name = \"mine\"").unwrap();
        ground.keep_settings("alpha").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "name = \"mine\"");
    }

    #[test]
    fn a_named_ground_stays() {
        let dir = tempfile::tempdir().unwrap();
        let named = dir.path().join("a/b");
        drop(Ground::new(Some(&named), true, &Runtime::at("/nowhere")).unwrap());
        assert!(named.exists());
    }
}

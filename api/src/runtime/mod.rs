//! How programs of one user on one machine find each other's daemons: a directory with one small file per daemon.
//!
//! The directory is `$CHINWAG_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/chinwag`, else `/tmp/chinwag-UID`. It belongs to
//! the user and nobody else may enter it; anything else is refused, because whoever can write here can make the CLI
//! talk to a daemon of their own. A daemon [claims](Runtime::claim) a name, listens on the socket that the claim
//! names, and then publishes its [`Entry`] as `NAME.json`. Readers [list](Runtime::list) the directory; an entry
//! whose process is gone or whose socket refuses is stale, and garbage is passed over.

mod claim;
mod entry;

pub use claim::Claim;
pub use entry::{Entry, Listing, Passed};

use crate::failure::{Failure, Kind};
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Overrides the directory.
pub const RUNTIME_DIR_ENV: &str = "CHINWAG_RUNTIME_DIR";
/// Files of the directory that are looked at; a user runs a few daemons, a lab a few dozen.
pub const ENTRIES_MAX: usize = 1_024;
/// Bytes of one entry's file: sixteen addresses and three paths fit many times over.
pub const ENTRY_BYTES_MAX: u64 = 64 * 1024;
/// Suffixes tried for a name that is taken: `alpha-2` up to `alpha-99`.
pub const SUFFIX_MAX: u32 = 99;

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// It belongs to another user.
    #[error("{} belongs to user {owner}, not to you (user {me})", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        me: u32,
    },
    /// Others may enter it.
    #[error("{} is open to other users (mode {mode:03o})", path.display())]
    Loose {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is a file or a symbolic link.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The name and all its suffixes are taken.
    #[error("the name {name} is taken, and so are {name}-2 to {name}-{SUFFIX_MAX}")]
    Taken {
        /// The name.
        name: String,
    },
    /// A socket's path has a limit in every system.
    #[error("the path of a socket in {} would be too long", path.display())]
    PathTooLong {
        /// The directory.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Failure {
        let failure = Failure::new(Kind::Permission, error.to_string());
        match error {
            RuntimeError::Loose { path, .. } => failure
                .because("whoever can write there could pass for your daemon")
                .hint(format!("chmod 700 {}", path.display())),
            RuntimeError::Foreign { .. } | RuntimeError::NotADirectory { .. } => failure
                .because("whoever can write there could pass for your daemon")
                .hint(format!("set {RUNTIME_DIR_ENV} to a directory of your own")),
            RuntimeError::PathTooLong { .. } => {
                failure.hint(format!("set {RUNTIME_DIR_ENV} to a shorter path"))
            }
            RuntimeError::Taken { .. } => failure.hint("--name with another name"),
            RuntimeError::Io { .. } => failure,
        }
    }
}

/// The runtime directory of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    path: PathBuf,
}

impl Runtime {
    /// The directory of the user that runs this process. Nothing is created.
    pub fn of_user() -> Self {
        let me = rustix::process::getuid().as_raw();
        let own = |path: &Path| std::fs::metadata(path).is_ok_and(|m| m.is_dir() && m.uid() == me);
        Runtime::resolve(|name| std::env::var_os(name), own, me)
    }

    /// The directory by these rules. `usable` tells whether `$XDG_RUNTIME_DIR` exists and is the user's own, which
    /// it is not after `sudo -E` or in a container.
    pub fn resolve(
        env: impl Fn(&str) -> Option<OsString>,
        usable: impl Fn(&Path) -> bool,
        user: u32,
    ) -> Self {
        let path = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let chosen = path(RUNTIME_DIR_ENV)
            .or_else(|| path("XDG_RUNTIME_DIR").filter(|p| usable(p)).map(|p| p.join("chinwag")))
            .unwrap_or_else(|| PathBuf::from(format!("/tmp/chinwag-{user}")));
        Runtime { path: chosen }
    }

    /// The directory at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Runtime { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory where it is missing, for its user alone.
    ///
    /// # Errors
    /// If it cannot be made, or is not the user's own and closed to others.
    pub fn create(&self) -> Result<(), RuntimeError> {
        match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path) {
            // What stands in the way is told by the check.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(RuntimeError::Io { what: "create", path: self.path.clone(), error }),
        }
        self.check().map(|_| ())
    }

    /// Whether the directory exists. That it is missing is no error.
    ///
    /// # Errors
    /// If it is not the user's own and closed to others.
    pub fn check(&self) -> Result<bool, RuntimeError> {
        let path = || self.path.clone();
        // Not through a symbolic link, which somebody else could turn elsewhere.
        let meta = match std::fs::symlink_metadata(&self.path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(RuntimeError::Io { what: "look at", path: path(), error }),
        };
        let me = rustix::process::getuid().as_raw();
        if !meta.is_dir() {
            return Err(RuntimeError::NotADirectory { path: path() });
        }
        if meta.uid() != me {
            return Err(RuntimeError::Foreign { path: path(), owner: meta.uid(), me });
        }
        if meta.mode() & 0o077 != 0 {
            return Err(RuntimeError::Loose { path: path(), mode: meta.mode() & 0o777 });
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn resolve(vars: &[(&str, &str)], usable: bool) -> PathBuf {
        let env = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        Runtime::resolve(env, |_| usable, 1000).path
    }

    #[test]
    fn the_directory_is_the_nearest_that_is_ones_own() {
        let xdg = ("XDG_RUNTIME_DIR", "/run/user/1000");
        assert_eq!(resolve(&[xdg], true), Path::new("/run/user/1000/chinwag"));
        assert_eq!(resolve(&[xdg], false), Path::new("/tmp/chinwag-1000"), "another user's");
        assert_eq!(resolve(&[], true), Path::new("/tmp/chinwag-1000"));
        assert_eq!(resolve(&[("XDG_RUNTIME_DIR", "here")], true), Path::new("/tmp/chinwag-1000"));
        assert_eq!(resolve(&[("XDG_RUNTIME_DIR", "")], true), Path::new("/tmp/chinwag-1000"));
        assert_eq!(resolve(&[xdg, (RUNTIME_DIR_ENV, "/x")], true), Path::new("/x"));
    }

    #[test]
    fn a_missing_directory_is_made_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::at(dir.path().join("deep/chinwag"));
        assert!(!runtime.check().unwrap(), "missing is no error");
        runtime.create().unwrap();
        assert!(runtime.check().unwrap());
        assert_eq!(std::fs::metadata(runtime.path()).unwrap().mode() & 0o777, 0o700);
        runtime.create().unwrap();
    }

    #[test]
    fn a_directory_that_others_could_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let loose = dir.path().join("loose");
        std::fs::create_dir(&loose).unwrap();
        std::fs::set_permissions(&loose, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = Runtime::at(&loose).create().unwrap_err();
        assert!(matches!(error, RuntimeError::Loose { mode: 0o755, .. }), "{error}");
        let failure = Failure::from(error);
        assert_eq!(failure.tries, [format!("chmod 700 {}", loose.display())]);

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(matches!(Runtime::at(&link).create(), Err(RuntimeError::NotADirectory { .. })));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(Runtime::at(&file).create(), Err(RuntimeError::NotADirectory { .. })));
    }
}

//! Taking a name, so that no two daemons of a user answer to one.

use super::entry::{process_runs, read, socket_answers};
use super::{Entry, Runtime, RuntimeError, SUFFIX_MAX};
use crate::schema::to_json;
use chinwag_base::limits::{NAME_BYTES_MAX, SOCKET_PATH_BYTES_MAX};
use chinwag_base::{Digest, Name};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A name that this process holds until it drops the claim, which removes the entry and the socket.
#[derive(Debug)]
pub struct Claim {
    name: Name,
    file: PathBuf,
    socket: PathBuf,
    /// Locked as long as the claim lives. The system unlocks it however the process ends, so that a name is never
    /// held by a process that is gone, nor lost to a process that is slow.
    _held: File,
}

impl Runtime {
    /// Takes `wanted`, or the first of `wanted-2`, `wanted-3`, … that no daemon has. What a dead daemon left under
    /// that name is removed. Makes the directory where it is missing.
    ///
    /// # Errors
    /// If the directory is not usable, or all suffixes are taken.
    pub fn claim(&self, wanted: &Name) -> Result<Claim, RuntimeError> {
        self.create()?;
        for number in 1..=SUFFIX_MAX {
            let name = suffixed(wanted, number);
            if let Some(claim) = self.try_claim(name)? {
                return Ok(claim);
            }
        }
        Err(RuntimeError::Taken { name: wanted.to_string() })
    }

    fn try_claim(&self, name: Name) -> Result<Option<Claim>, RuntimeError> {
        let lock = self.path().join(format!(".{name}.lock"));
        let failed = |what, path: &Path, error| RuntimeError::Io { what, path: path.to_owned(), error };
        let held = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock)
            .map_err(|error| failed("open", &lock, error))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(failed("lock", &lock, error)),
        }
        let file = self.path().join(format!("{name}.json"));
        let socket = self.socket_of(&name)?;
        // The lock is free, so whatever is here was left by the dead, unless a daemon without locks is about.
        if read(&file).is_ok_and(|e| process_runs(e.pid) && socket_answers(&e.socket)) {
            return Ok(None);
        }
        for path in [&file, &socket] {
            remove(path).map_err(|error| failed("remove", path, error))?;
        }
        Ok(Some(Claim { name, file, socket, _held: held }))
    }

    /// Where the daemon of this name listens: `NAME.sock`, or a hash of the name where that would be too long.
    fn socket_of(&self, name: &Name) -> Result<PathBuf, RuntimeError> {
        let hash = Digest::of("socket", name.as_str().as_bytes()).to_string();
        [format!("{name}.sock"), format!("{}.sock", &hash[..8])]
            .into_iter()
            .map(|file| self.path().join(file))
            .find(|path| path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX)
            .ok_or_else(|| RuntimeError::PathTooLong { path: self.path().to_owned() })
    }
}

impl Claim {
    /// The name that was free.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Where to listen.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether the entry is there for others to find.
    pub fn is_published(&self) -> bool {
        self.file.exists()
    }

    /// Shows the daemon to others, or shows what has changed. Call it only once the socket listens: whoever finds
    /// the entry connects at once. The file appears whole or not at all.
    ///
    /// # Errors
    /// The system's own.
    pub fn publish(&self, entry: &Entry) -> io::Result<()> {
        let draft = self.file.with_extension("draft");
        remove(&draft)?;
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(to_json(entry).as_bytes())?;
        file.write_all(b"\n")?;
        std::fs::rename(&draft, &self.file)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The entry first: who finds no entry looks no further. The lock's file stays, because a file that is
        // removed while another process opens it would be locked twice.
        let _ = remove(&self.file);
        let _ = remove(&self.socket);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The name with its number, cut so that it stays a name.
fn suffixed(name: &Name, number: u32) -> Name {
    if number == 1 {
        return name.clone();
    }
    let suffix = format!("-{number}");
    let kept = name.as_str().len().min(NAME_BYTES_MAX - suffix.len());
    // A name is ASCII, so every byte is a boundary.
    format!("{}{suffix}", &name.as_str()[..kept])
        .parse()
        .expect("a name, because it starts as one, fits, and a suffix has a dash and digits only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_base::NodeId;
    use std::os::unix::net::UnixListener;

    fn entry(claim: &Claim) -> Entry {
        Entry {
            name: claim.name().clone(),
            pid: std::process::id(),
            socket: claim.socket().to_owned(),
            data: "/d".into(),
            overlay: None,
            id: NodeId::from_bytes([7; 32]),
            addresses: Vec::new(),
        }
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_taken_name_gets_a_suffix_and_a_dropped_claim_frees_it() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::at(dir.path().join("r"));
        let first = runtime.claim(&name("alpha")).unwrap();
        let second = runtime.claim(&name("alpha")).unwrap();
        assert_eq!((first.name().as_str(), second.name().as_str()), ("alpha", "alpha-2"));

        let _listener = UnixListener::bind(first.socket()).unwrap();
        first.publish(&entry(&first)).unwrap();
        first.publish(&entry(&first)).unwrap();
        assert_eq!(runtime.list().unwrap().live, [entry(&first)]);

        drop(first);
        assert!(runtime.list().unwrap().live.is_empty());
        assert_eq!(runtime.claim(&name("alpha")).unwrap().name().as_str(), "alpha");
    }

    #[test]
    fn what_the_dead_left_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::at(dir.path().join("r"));
        let claim = runtime.claim(&name("alpha")).unwrap();
        // Killed with -9: the lock is gone, the entry and the socket are not.
        drop(UnixListener::bind(claim.socket()).unwrap());
        claim.publish(&entry(&claim)).unwrap();
        let json = std::fs::read(runtime.path().join("alpha.json")).unwrap();
        let socket = claim.socket().to_owned();
        drop(claim);
        std::fs::write(runtime.path().join("alpha.json"), json).unwrap();
        drop(UnixListener::bind(&socket).unwrap());

        let claim = runtime.claim(&name("alpha")).unwrap();
        assert_eq!(claim.name().as_str(), "alpha");
        assert!(!socket.exists(), "free to listen on");
    }

    #[test]
    fn socket_paths_fit_every_system() {
        let dir = tempfile::tempdir().unwrap();
        let long = name(&"n".repeat(63));
        let deep = dir.path().join("d".repeat(107 - dir.path().as_os_str().len() - 15));
        let claim = Runtime::at(&deep).claim(&long).unwrap();
        assert!(claim.socket().as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
        UnixListener::bind(claim.socket()).unwrap();
        let deeper = dir.path().join("d".repeat(107));
        assert!(matches!(Runtime::at(&deeper).claim(&long), Err(RuntimeError::PathTooLong { .. })));
    }

    #[test]
    fn suffixed_names_are_names() {
        assert_eq!(suffixed(&name("alpha"), 12).as_str(), "alpha-12");
        let long = suffixed(&name(&"n".repeat(63)), 99);
        assert_eq!(long.as_str().len(), 63);
        assert!(long.as_str().ends_with("-99"));
    }
}

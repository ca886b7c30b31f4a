//! What a daemon says of itself to the programs of its user, and how they read it.

use super::{ENTRIES_MAX, ENTRY_BYTES_MAX, Runtime, RuntimeError};
use crate::hex::Hex;
use chinwag_base::{Address, Name, NodeId};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// `NAME.json`: a daemon that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name it was given here, which is the file's.
    pub name: Name,
    /// The process.
    pub pid: u32,
    /// The socket of its API.
    pub socket: PathBuf,
    /// Its data directory.
    pub data: PathBuf,
    /// Its overlay's id, if it belongs to one.
    pub overlay: Option<Hex>,
    /// The node.
    pub id: NodeId,
    /// Where it listens for members.
    pub addresses: Vec<Address>,
}

impl Entry {
    /// Whether its process runs and its socket takes connections.
    pub fn is_live(&self) -> bool {
        process_runs(self.pid) && socket_answers(&self.socket)
    }
}

/// What the directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The daemons that run, by name.
    pub live: Vec<Entry>,
    /// What was passed over.
    pub passed: Vec<Passed>,
}

/// A file that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The file's name.
    pub file: String,
    /// Why, in a few words.
    pub why: String,
}

impl Runtime {
    /// The daemons of this user that run. A missing directory holds none.
    ///
    /// # Errors
    /// If the directory is not the user's own, or cannot be read. A single bad file is no error.
    pub fn list(&self) -> Result<Listing, RuntimeError> {
        let mut listing = Listing::default();
        for path in self.files()? {
            let why = match read(&path) {
                Ok(entry) if !process_runs(entry.pid) => format!("process {} is gone", entry.pid),
                Ok(entry) if !socket_answers(&entry.socket) => "its socket refuses".to_owned(),
                Ok(entry) => {
                    listing.live.push(entry);
                    continue;
                }
                Err(why) => why,
            };
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            listing.passed.push(Passed { file, why });
        }
        Ok(listing)
    }

    /// The entry that this process has published, whether its socket answers or not.
    ///
    /// # Errors
    /// If the directory is not the user's own, or cannot be read.
    pub fn entry_of(&self, pid: u32) -> Result<Option<Entry>, RuntimeError> {
        Ok(self.files()?.iter().filter_map(|path| read(path).ok()).find(|entry| entry.pid == pid))
    }

    /// The `*.json` files, sorted.
    fn files(&self) -> Result<Vec<PathBuf>, RuntimeError> {
        if !self.check()? {
            return Ok(Vec::new());
        }
        let unread = |error| RuntimeError::Io { what: "read", path: self.path().to_owned(), error };
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.path())
            .map_err(unread)?
            .filter_map(|found| found.ok().map(|f| f.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .take(ENTRIES_MAX)
            .collect();
        files.sort();
        Ok(files)
    }
}

/// Reads one entry. The error says in a few words what is wrong with the file.
pub(super) fn read(path: &Path) -> Result<Entry, String> {
    use rustix::fs::{Mode, OFlags};
    // Without blocking on a pipe and without following a link that was put here.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| io::Error::from(e).to_string())?;
    let file = File::from(file);
    if !file.metadata().is_ok_and(|m| m.is_file()) {
        return Err("not a file".into());
    }
    let mut text = String::new();
    file.take(ENTRY_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > ENTRY_BYTES_MAX {
        return Err("too large".into());
    }
    let entry: Entry = serde_json::from_str(&text).map_err(|_| "not an entry of a daemon".to_owned())?;
    // A copied file would show one daemon under two names.
    if path.file_stem().is_none_or(|stem| stem != entry.name.as_str()) {
        return Err("its name is not the file's".into());
    }
    Ok(entry)
}

/// Whether the process exists; another user's counts too.
pub(super) fn process_runs(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

/// Whether somebody listens on the socket. It never waits: a daemon that is stopped with a full queue still listens.
pub(super) fn socket_answers(path: &Path) -> bool {
    let connect = || {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &address)
    };
    matches!(connect(), Ok(()) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INPROGRESS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::to_json;
    use std::os::unix::net::UnixListener;

    pub(crate) fn entry(name: &str, dir: &Path) -> Entry {
        Entry {
            name: name.parse().unwrap(),
            pid: std::process::id(),
            socket: dir.join(format!("{name}.sock")),
            data: dir.join("data"),
            overlay: None,
            id: NodeId::from_bytes([7; 32]),
            addresses: vec!["/ip4/127.0.0.1/tcp/7171".parse().unwrap()],
        }
    }

    fn runtime() -> (tempfile::TempDir, Runtime) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::at(dir.path().join("r"));
        runtime.create().unwrap();
        (dir, runtime)
    }

    #[test]
    fn an_entry_reads_as_it_was_written() {
        let entry = entry("alpha", Path::new("/r"));
        let json = to_json(&Entry { pid: 7, ..entry.clone() });
        assert_eq!(
            json,
            r#"{"schema":"chinwag.runtime/1","name":"alpha","pid":7,"socket":"/r/alpha.sock","data":"/r/data","overlay":null,"id":"12D3KooWAJsh7DWHPa3yf6BNpc6j6Fewtgo1C4aEiWZRHQ7q7mZt","addresses":["/ip4/127.0.0.1/tcp/7171"]}"#
                .replace("12D3KooWAJsh7DWHPa3yf6BNpc6j6Fewtgo1C4aEiWZRHQ7q7mZt", &entry.id.to_string())
        );
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), Entry { pid: 7, ..entry });
    }

    #[test]
    fn only_live_daemons_are_listed_and_garbage_is_passed_over() {
        let (_dir, runtime) = runtime();
        let at = runtime.path().to_owned();
        let write = |file: &str, text: &str| std::fs::write(at.join(file), text).unwrap();
        let alpha = entry("alpha", &at);
        let _listener = UnixListener::bind(&alpha.socket).unwrap();
        write("alpha.json", &to_json(&alpha));
        write("beta.json", &to_json(&entry("beta", &at)));
        write("copy.json", &to_json(&alpha));
        write("dead.json", &to_json(&Entry { pid: i32::MAX as u32, ..entry("dead", &at) }));
        write("empty.json", "");
        write("huge.json", &"x".repeat(ENTRY_BYTES_MAX as usize + 1));
        write("notes.txt", "not ours");
        std::fs::write(at.join("raw.json"), [0xff, 0xfe]).unwrap();
        std::fs::create_dir(at.join("folder.json")).unwrap();
        std::os::unix::fs::symlink(at.join("alpha.json"), at.join("link.json")).unwrap();

        let listing = runtime.list().unwrap();
        assert_eq!(listing.live, std::slice::from_ref(&alpha));
        let why: Vec<(&str, &str)> =
            listing.passed.iter().map(|p| (p.file.as_str(), p.why.as_str())).collect();
        assert_eq!(why.len(), 8, "{why:?}");
        assert!(why.contains(&("beta.json", "its socket refuses")));
        assert!(why.contains(&("dead.json", "process 2147483647 is gone")));
        assert!(why.contains(&("copy.json", "its name is not the file's")));
        assert!(why.contains(&("huge.json", "too large")));
        assert!(why.contains(&("folder.json", "not a file")));
        assert_eq!(runtime.entry_of(alpha.pid).unwrap().map(|e| e.name), Some(alpha.name));
    }

    #[test]
    fn a_missing_directory_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Runtime::at(dir.path().join("none")).list().unwrap(), Listing::default());
    }
}

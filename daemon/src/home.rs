//! A daemon's home: one directory with its key, its overlay's papers and its store.
//!
//! | file | what | mode |
//! |---|---|---|
//! | `identity.key` | the node's Ed25519 secret | 0600 |
//! | `root.key` | the overlay's root secret, in the founder's home only | 0600 |
//! | `overlay.toml` | the overlay's name and id, and this node's grant | 0600 |
//! | `store.redb` | replicated state, address book, invites | 0600 |
//! | `records.redb` | records of the DHT that this node holds | 0600 |
//! | `door.key` | the open door's Ed25519 secret, if it was ever opened | 0600 |
//! | `door.redb` | what came in through the open door | 0600 |
//! | `config.toml` | settings, if somebody wrote them | |
//! | `port` | the port that it listened on last time | 0600 |
//! | `lock` | held by the process that uses the directory | 0600 |
//!
//! Every file is written beside its name, made durable and then renamed, so that a crash leaves the old or the new.

use crate::driver::UNPOISONED;
use chinwag_api::{Failure, Kind};
use chinwag_base::codec;
use chinwag_base::limits::GRANT_LIFE_MS;
use chinwag_base::{Grant, Keypair, Name, OverlayId, OverlayName, Role, WallTime};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a process that was killed may take until the system has closed its files.
const ENDING_MAX: Duration = Duration::from_millis(400);
/// A grant in the file is under a kilobyte; a larger file is not one of ours.
const PAPERS_BYTES_MAX: u64 = 64 * 1024;

/// A home directory that this process holds the lock of.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    /// The lock ends with the process, however it ends.
    lock: Mutex<Option<File>>,
}

/// What a node has of its overlay: its name, and the grant that admits the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Papers {
    /// What the overlay is called here.
    pub name: OverlayName,
    /// This node's grant, which names the overlay.
    pub grant: Grant,
}

impl Papers {
    /// The overlay.
    pub fn overlay(&self) -> OverlayId {
        self.grant.overlay()
    }

    /// The text of `overlay.toml`.
    pub(crate) fn to_text(&self) -> String {
        let file = PapersFile {
            name: self.name.clone(),
            id: self.overlay().to_string(),
            role: self.grant.role(),
            grant: hex(&codec::encode(&self.grant)),
        };
        toml::to_string(&file).expect("strings encode, because TOML has them")
    }

    /// Reads the text of `overlay.toml`. The error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: PapersFile = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        let bytes = unhex(&file.grant).ok_or("the grant is not hexadecimal")?;
        let grant: Grant = codec::decode::<{ PAPERS_BYTES_MAX as usize }, _>(&bytes)
            .map_err(|e| format!("the grant: {e}"))?;
        if grant.overlay().to_string() != file.id {
            return Err("the grant is for another overlay than the one named".into());
        }
        Ok(Papers { name: file.name, grant })
    }
}

/// `overlay.toml`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PapersFile {
    name: OverlayName,
    id: String,
    role: Role,
    grant: String,
}

/// Where a daemon lives unless told otherwise: `$CHINWAG_DATA`, else `$XDG_DATA_HOME/chinwag`, else
/// `~/.local/share/chinwag`.
///
/// # Errors
/// If none of the three variables (the last is `$HOME`) is set.
pub fn default_dir() -> Result<PathBuf, Failure> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(dir) = var("CHINWAG_DATA") {
        return Ok(dir);
    }
    var("XDG_DATA_HOME")
        .or_else(|| var("HOME").map(|home| home.join(".local/share")))
        .map(|dir| dir.join("chinwag"))
        .ok_or_else(|| {
            Failure::new(Kind::BadRequest, "there is nowhere to keep data")
                .because("neither CHINWAG_DATA nor XDG_DATA_HOME nor HOME is set")
                .hint("--data DIR")
        })
}

/// The name a daemon takes unless told otherwise: the first label of the host's name.
pub fn default_name() -> Name {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    let word: String = host
        .split('.')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(32)
        .collect();
    word.parse().unwrap_or_else(|_| "node".parse().expect("a name, because it is one plain word"))
}

impl Home {
    /// Opens `dir` (making it, mode 0700, if it is not there) and takes its lock.
    ///
    /// # Errors
    /// If another process holds the lock (told with its pid), or the directory cannot be made or written.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let failed = |what: &str, error: std::io::Error| {
            Failure::new(Kind::Permission, format!("cannot {what} {}", dir.display()))
                .because(error.to_string())
                .hint("another directory: --data DIR")
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| failed("make", e))?;
        let dir = dir.canonicalize().map_err(|e| failed("open", e))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join("lock"))
            .map_err(|e| failed("write to", e))?;
        match try_lock_patiently(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = (&mut lock).take(32).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("the process with pid {pid}"),
                };
                return Err(Failure::new(Kind::Taken, format!("{} is in use by {holder}", dir.display()))
                    .because("two daemons on one data directory would write one history twice")
                    .hint("stop that daemon first: chinwag leave")
                    .hint("give this one a directory of its own: --data DIR"));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
        }
        // For the message above only, so a failure to write it costs no more than a less helpful message.
        let _ = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
        Ok(Home { dir, lock: Mutex::new(Some(lock)) })
    }

    /// The home in `dir`, to be looked at and not to be changed: nothing is made, and the lock is not taken.
    pub(crate) fn peek(dir: &Path) -> Self {
        Home { dir: dir.to_owned(), lock: Mutex::new(None) }
    }

    /// The node's key, if it has one already.
    pub(crate) fn identity(&self) -> Result<Option<Keypair>, Failure> {
        self.read_key("identity.key")
    }

    /// The open door's key, if it was ever opened.
    pub(crate) fn door_identity(&self) -> Result<Option<Keypair>, Failure> {
        self.read_key("door.key")
    }

    /// Lets another process use the directory. This one must not write to it any more.
    pub(crate) fn release(&self) {
        self.lock.lock().expect(UNPOISONED).take();
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the store is.
    pub fn store_path(&self) -> PathBuf {
        self.dir.join("store.redb")
    }

    /// Where the records of the DHT are.
    pub fn records_path(&self) -> PathBuf {
        self.dir.join("records.redb")
    }

    /// The node's key, made with `entropy` at the first call.
    ///
    /// # Errors
    /// If the file cannot be read or written, is readable by others, or is not a key.
    pub fn keypair(&self, entropy: impl FnOnce() -> [u8; 32]) -> Result<Keypair, Failure> {
        self.key("identity.key", entropy)
    }

    /// The open door's key, made with `entropy` at the first call. It is not the node's: strangers meet it.
    ///
    /// # Errors
    /// As [`Home::keypair`].
    pub(crate) fn door_keypair(&self, entropy: impl FnOnce() -> [u8; 32]) -> Result<Keypair, Failure> {
        self.key("door.key", entropy)
    }

    /// Where the blobs are that came in through the open door.
    pub(crate) fn door_path(&self) -> PathBuf {
        self.dir.join("door.redb")
    }

    fn key(&self, file: &str, entropy: impl FnOnce() -> [u8; 32]) -> Result<Keypair, Failure> {
        match self.read_key(file)? {
            Some(key) => Ok(key),
            None => {
                let key = Keypair::from_secret(entropy());
                self.write_key(file, &key)?;
                Ok(key)
            }
        }
    }

    /// The overlay's root key, if it was founded here.
    ///
    /// # Errors
    /// If the file is there but cannot be used.
    pub fn root(&self) -> Result<Option<Keypair>, Failure> {
        self.read_key("root.key")
    }

    /// What this node has of its overlay; `None` before `init` and `join`.
    ///
    /// # Errors
    /// If the file is there but cannot be read or is not what we wrote.
    pub fn papers(&self) -> Result<Option<Papers>, Failure> {
        let path = self.dir.join("overlay.toml");
        let Some(text) = read_small(&path)? else { return Ok(None) };
        let damaged = |why: String| {
            Failure::new(Kind::Storage, format!("{} is damaged", path.display()))
                .because(why)
                .hint("restore it from a backup, or remove it and join the overlay again")
        };
        Papers::parse(&text).map(Some).map_err(damaged)
    }

    /// Founds an overlay: a root key, and an admin's grant for this node.
    ///
    /// # Errors
    /// If this home belongs to an overlay already, or the disk refuses.
    pub fn found(
        &self,
        name: OverlayName,
        now: WallTime,
        mut entropy: impl FnMut() -> [u8; 32],
    ) -> Result<Papers, Failure> {
        if let Some(papers) = self.papers()? {
            return Err(Failure::new(
                Kind::HasOverlay,
                format!("this daemon already belongs to overlay {}", papers.name),
            )
            .hint("another directory for another overlay: --data DIR"));
        }
        let key = self.keypair(&mut entropy)?;
        if let Some(old) = self.read_key("root.key")? {
            // Of an overlay whose papers somebody removed, or of a crash between the two files. A new overlay needs a
            // root of its own, or all grants of the old one would hold in it.
            self.write_key(&format!("root-{}.key", OverlayId::of_root(&old.id())), &old)?;
        }
        let root = Keypair::from_secret(entropy());
        self.write_key("root.key", &root)?;
        let grant = Grant::by_root(&root, key.id(), Role::Admin, now.plus_ms(GRANT_LIFE_MS));
        let papers = Papers { name, grant };
        self.keep(&papers)?;
        Ok(papers)
    }

    /// Keeps the papers of the overlay that this node has been let into.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn keep(&self, papers: &Papers) -> Result<(), Failure> {
        self.write("overlay.toml", papers.to_text().as_bytes())
    }

    /// The port that this daemon listened on last time, so that what others remember stays true.
    pub(crate) fn last_port(&self) -> Option<u16> {
        read_small(&self.dir.join("port")).ok().flatten()?.trim().parse().ok().filter(|port| *port != 0)
    }

    /// Remembers the port for the next start. Losing it costs others one failed dial, so a failure is not told.
    pub(crate) fn remember_port(&self, port: u16) {
        if self.last_port() != Some(port) {
            let _ = self.write("port", port.to_string().as_bytes());
        }
    }

    fn read_key(&self, file: &str) -> Result<Option<Keypair>, Failure> {
        let path = self.dir.join(file);
        let Some(text) = read_small(&path)? else { return Ok(None) };
        let mode = fs::metadata(&path).map(|m| m.mode() & 0o777).unwrap_or(0o600);
        if mode & 0o077 != 0 {
            return Err(Failure::new(
                Kind::Permission,
                format!("{} can be read by others (mode {mode:03o})", path.display()),
            )
            .because("whoever has this key can pose as this node")
            .hint(format!("chmod 600 {}", path.display())));
        }
        let secret =
            unhex(text.trim()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).ok_or_else(|| {
                Failure::new(Kind::Storage, format!("{} is not a key", path.display()))
                    .because("a key file holds 64 hexadecimal digits")
                    .hint("restore it from a backup; with a new key this node is a new member")
            })?;
        Ok(Some(Keypair::from_secret(secret)))
    }

    fn write_key(&self, file: &str, key: &Keypair) -> Result<(), Failure> {
        self.write(file, format!("{}\n", hex(&key.secret())).as_bytes())
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.dir.join(file);
        let beside = self.dir.join(format!("{file}.new"));
        let write = || -> std::io::Result<()> {
            let mut f =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            f.write_all(bytes)?;
            f.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|e| {
            Failure::new(Kind::Storage, format!("cannot write {}", path.display())).because(e.to_string())
        })
    }
}

/// Takes the lock, or waits a moment for a process that is just ending.
fn try_lock_patiently(lock: &File) -> Result<(), TryLockError> {
    let give_up = Instant::now() + ENDING_MAX;
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => std::thread::sleep(ENDING_MAX / 20),
            other => return other,
        }
    }
}

fn read_small(path: &Path) -> Result<Option<String>, Failure> {
    let unreadable =
        |why: String| Failure::new(Kind::Storage, format!("cannot read {}", path.display())).because(why);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(e.to_string())),
    };
    let mut text = String::new();
    file.take(PAPERS_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| unreadable(e.to_string()))?;
    if text.len() as u64 > PAPERS_BYTES_MAX {
        return Err(unreadable(format!("it has more than {PAPERS_BYTES_MAX} bytes")));
    }
    Ok(Some(text))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    // `from_str_radix` also takes a sign, which is not ours.
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);

    fn entropy() -> impl FnMut() -> [u8; 32] {
        let mut n = 0;
        move || {
            n += 1;
            [n; 32]
        }
    }

    #[test]
    fn a_home_keeps_its_key_and_its_papers() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        assert_eq!(home.papers(), Ok(None));
        let papers = home.found("home".parse().unwrap(), NOW, entropy()).unwrap();
        let id = home.keypair(|| panic!("the key is there")).unwrap().id();
        drop(home);

        let home = Home::open(dir.path()).unwrap();
        assert_eq!(home.papers(), Ok(Some(papers.clone())));
        assert_eq!(papers.grant.verify(papers.overlay(), id, NOW), Ok(Role::Admin));
        let again = home.found("other".parse().unwrap(), NOW, entropy()).unwrap_err();
        assert!(again.to_string().contains("already belongs to overlay home"), "{again}");
        for file in ["identity.key", "root.key", "overlay.toml", "lock"] {
            let mode = fs::metadata(dir.path().join(file)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{file}");
        }
    }

    #[test]
    fn a_second_process_is_kept_out_and_told_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let _home = Home::open(dir.path()).unwrap();
        // A second open file is what a second process would have.
        let error = Home::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
        assert_eq!(error.exit().code(), 4);
    }

    #[test]
    fn damaged_files_are_told_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        home.found("home".parse().unwrap(), NOW, entropy()).unwrap();
        let papers = dir.path().join("overlay.toml");
        for text in [
            "",
            "name = \"home\"",
            "nonsense",
            "name = \"home\"\nid = \"00\"\nrole = \"admin\"\ngrant = \"0\"\n",
        ] {
            fs::write(&papers, text).unwrap();
            let error = home.papers().unwrap_err();
            assert!(error.to_string().contains("damaged"), "{error}");
            assert_eq!(fs::read_to_string(&papers).unwrap(), text, "it is left as it was");
        }
        fs::write(dir.path().join("identity.key"), "zz").unwrap();
        assert!(home.keypair(|| [1; 32]).unwrap_err().to_string().contains("not a key"));
        fs::set_permissions(dir.path().join("identity.key"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(home.keypair(|| [1; 32]).unwrap_err().to_string().contains("mode 644"));
    }
}

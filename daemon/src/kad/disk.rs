//! The guests' blobs on the disk: a redb file of their own and one writer thread, a moment behind.
//!
//! Kademlia's acknowledgement promises memory only, so nobody waits for this thread: it gathers for a moment and then
//! commits once. A row is the end in milliseconds (8 bytes), the length of the sender's id (1 byte), that id, the length of
//! the bytes of its address (1 byte: 0, 4 or 8), these bytes, and the blob. It needs no checksum: a blob that does not have the hash it is filed under is dropped. And since strangers'
//! blobs are promised to nobody, a file that cannot be read is set aside and a new one begun, rather than keeping the
//! daemon from starting.
//!
//! After an error redb refuses everything until the file is opened again, so it is: a disk that was full for a moment
//! costs the changes of that moment, and not all that come later.

use super::guests::{Guest, Guests};
use super::origin::Origin;
use super::refusals::Teller;
use crate::observe::Row;
use crate::storage::database::close;
use chinwag_api::event::Level;
use chinwag_api::{Failure, Kind};
use chinwag_base::WallTime;
use chinwag_base::limits::DOOR_RECORDS_MAX;
use chinwag_dht::BlobHash;
use libp2p::PeerId;
use redb::backends::FileBackend;
use redb::{Database, ReadableTable, TableDefinition};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const BLOBS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("blobs");
/// How long changes gather before they are committed: one fsync for all of them.
const GATHER: Duration = Duration::from_millis(200);

enum Change {
    Put(BlobHash, Guest),
    Remove(BlobHash),
}

/// The way to the writer thread, which ends with the last of these.
#[derive(Clone)]
pub(super) struct Disk {
    changes: SyncSender<Change>,
    tell: Teller,
}

impl Disk {
    pub(super) fn put(&self, hash: BlobHash, guest: Guest) {
        self.change(Change::Put(hash, guest));
    }

    pub(super) fn remove(&self, hashes: Vec<BlobHash>) {
        hashes.into_iter().for_each(|hash| self.change(Change::Remove(hash)));
    }

    /// Never waits: the swarm's task must not stand still for the disk. What is lost here is a blob after a restart.
    fn change(&self, change: Change) {
        if self.changes.try_send(change).is_err() {
            self.tell.tell(failed("the disk is too slow, and some changes are in memory only"));
        }
    }
}

fn failed(why: &str) -> Row {
    Row::new(Level::Warn, "door.storage_failed").with("why", why)
}

/// Opens the file, reads what has not ended, and starts the writer thread.
///
/// # Errors
/// If neither the file nor a new one in its place can be used.
pub(super) fn open(
    path: &Path,
    now: WallTime,
    tell: Teller,
) -> Result<(Guests, Disk, JoinHandle<()>), Failure> {
    let (db, guests, bad) = match read(path, now) {
        Ok(opened) => opened,
        Err(why) => {
            let aside = PathBuf::from(format!("{}.damaged", path.display()));
            let row = Row::new(Level::Warn, "door.store_set_aside").with("path", aside.display().to_string());
            tell.tell(row.with("why", why.as_str()));
            std::fs::rename(path, &aside).map_err(|e| unusable(path, &e.to_string()))?;
            read(path, now).map_err(|why| unusable(path, &why))?
        }
    };
    if bad > 0 {
        tell.tell(failed("blobs that were damaged on the disk are dropped").with("blobs", bad));
    }
    let (changes, to_write) = sync_channel(DOOR_RECORDS_MAX);
    let disk = Disk { changes, tell: tell.clone() };
    let writer = std::thread::Builder::new()
        .name("door-disk".into())
        .spawn({
            let path = path.to_owned();
            move || write(db, || open_file(&path), &to_write, &tell)
        })
        .map_err(|e| unusable(path, &e.to_string()))?;
    Ok((guests, disk, writer))
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(Kind::Storage, format!("the open door's store {} cannot be used", path.display()))
        .because(why)
        .hint("if the disk is full, make room and start again")
        .hint("without the open door: leave --open out")
}

type Opened = (Database, Guests, u64);

fn read(path: &Path, now: WallTime) -> Result<Opened, String> {
    // redb may answer pages that contradict each other with a panic; what that leaves behind is dropped.
    catch_unwind(AssertUnwindSafe(|| try_read(path, now).map_err(|e| e.to_string())))
        .unwrap_or_else(|_| Err("its pages contradict each other".to_owned()))
}

/// What is held after a start, and how many rows were damaged. These and what has ended are gone from the file.
fn try_read(path: &Path, now: WallTime) -> Result<Opened, redb::Error> {
    let db = open_file(path)?;
    let mut guests = Guests::default();
    let mut bad = 0;
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    {
        let mut table = txn.open_table(BLOBS)?;
        let mut gone = Vec::new();
        for row in table.iter()? {
            let (key, value) = row?;
            let parsed = parse(key.value(), value.value());
            bad += u64::from(parsed.is_none());
            // What has ended is not taken, and neither is what lies beyond the bounds of a smaller build.
            if parsed.is_none_or(|(hash, guest)| guests.put(hash, guest, now).is_err()) {
                gone.push(key.value().to_vec());
            }
        }
        for key in gone {
            table.remove(key.as_slice())?;
        }
    }
    txn.commit()?;
    Ok((db, guests, bad))
}

fn open_file(path: &Path) -> Result<Database, redb::Error> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    Ok(redb::Builder::new().create_with_backend(FileBackend::new(file)?)?)
}

fn row(guest: &Guest) -> Vec<u8> {
    let from = guest.from.to_bytes();
    let len = u8::try_from(from.len()).expect("one byte, because a peer id is a hash or a small key");
    let origin = guest.origin.as_ref().map_or(&[][..], Origin::as_bytes);
    let origin_len = u8::try_from(origin.len()).expect("one byte, because an origin has 8 bytes at most");
    [&guest.expires.unix_ms().to_be_bytes()[..], &[len], &from, &[origin_len], origin, &guest.bytes].concat()
}

fn parse(key: &[u8], row: &[u8]) -> Option<(BlobHash, Guest)> {
    let (expires, rest) = row.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first()?;
    let (from, bytes) = rest.split_at_checked(usize::from(*len))?;
    let from = PeerId::from_bytes(from).ok()?;
    let (len, rest) = bytes.split_first()?;
    let (origin, bytes) = rest.split_at_checked(usize::from(*len))?;
    let origin = if origin.is_empty() { None } else { Some(Origin::from_bytes(origin)?) };
    let hash = BlobHash::of(bytes);
    let bytes: Arc<[u8]> = bytes.into();
    let expires = WallTime::from_unix_ms(u64::from_be_bytes(*expires));
    (hash.as_bytes() == key).then_some((hash, Guest { bytes, from, origin, expires }))
}

/// What a row under this key is read as, written again. For fuzzing.
pub(crate) fn reread(key: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    parse(key, bytes).map(|(_, guest)| row(&guest))
}

fn write(
    db: Database,
    open: impl Fn() -> Result<Database, redb::Error>,
    changes: &Receiver<Change>,
    tell: &Teller,
) {
    let mut db = Some(db);
    while let Ok(first) = changes.recv() {
        let (mut batch, until) = (vec![first], Instant::now() + GATHER);
        // An error is the end of the moment, or of the door, which must not be kept waiting.
        while batch.len() < DOOR_RECORDS_MAX
            && let Ok(next) = changes.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            batch.push(next);
        }
        // Pages that contradict each other are answered with a panic; the door does without them until it opens again.
        let written = catch_unwind(AssertUnwindSafe(|| {
            let db = match &mut db {
                Some(db) => db,
                closed => closed.insert(open().map_err(|e| e.to_string())?),
            };
            commit(db, &batch).map_err(|e| e.to_string())
        }));
        let written = written.unwrap_or_else(|_| Err("its pages contradict each other".to_owned()));
        if let Err(why) = written {
            tell.tell(failed(&why).with("changes", batch.len()));
            // Closed first: it is locked by whoever has it open. The next batch opens it again.
            if let Some(db) = db.take() {
                close(db);
            }
        }
    }
}

fn commit(db: &Database, batch: &[Change]) -> Result<(), redb::Error> {
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    {
        let mut table = txn.open_table(BLOBS)?;
        for change in batch {
            match change {
                Change::Put(hash, guest) => {
                    table.insert(hash.as_bytes().as_slice(), row(guest).as_slice())?;
                }
                Change::Remove(hash) => {
                    table.remove(hash.as_bytes().as_slice())?;
                }
            }
        }
    }
    txn.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);

    fn guest(bytes: &[u8], life_ms: u64) -> (BlobHash, Guest) {
        let guest = Guest {
            bytes: bytes.into(),
            from: PeerId::random(),
            origin: Some(Origin::V4([10, 0, 0, 1])),
            expires: NOW.plus_ms(life_ms),
        };
        (BlobHash::of(bytes), guest)
    }

    fn open_at(path: &Path, now: WallTime) -> (Guests, Disk, JoinHandle<()>) {
        open(path, now, Teller::new(|_| {})).unwrap()
    }

    #[test]
    fn what_was_put_is_there_after_a_restart_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("door.redb");
        let (long, short, gone) = (guest(b"long", 9_000), guest(b"short", 1_000), guest(b"gone", 9_000));
        let (_, disk, writer) = open_at(&path, NOW);
        for (hash, guest) in [&long, &short, &gone] {
            disk.put(*hash, guest.clone());
        }
        disk.remove(vec![gone.0]);
        drop(disk);
        writer.join().unwrap();

        let (guests, disk, writer) = open_at(&path, NOW);
        let held = |guests: &Guests, of: &(BlobHash, Guest)| guests.get(&of.0, NOW).is_some();
        assert_eq!([&long, &short, &gone].map(|of| held(&guests, of)), [true, true, false]);
        drop(disk);
        writer.join().unwrap();
        let (guests, disk, writer) = open_at(&path, NOW.plus_ms(1_000));
        assert_eq!([&long, &short].map(|of| held(&guests, of)), [true, false]);
        drop(disk);
        writer.join().unwrap();
    }

    #[test]
    fn a_row_proves_itself() {
        let (hash, guest) = guest(b"bytes", 1_000);
        let row = row(&guest);
        assert_eq!(parse(hash.as_bytes(), &row), Some((hash, guest)));
        let mut bent = row.clone();
        *bent.last_mut().unwrap() ^= 1;
        assert_eq!(parse(hash.as_bytes(), &bent), None);
        for len in 0..row.len() {
            assert_eq!(parse(hash.as_bytes(), &row[..len]), None);
        }
    }

    #[test]
    fn a_disk_that_was_full_takes_what_comes_later() {
        use crate::storage::faulty::Faults;
        use std::sync::atomic::Ordering::SeqCst;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("door.redb");
        drop(read(&path, NOW).unwrap());
        let faults = Arc::new(Faults::default());
        let (changes, to_write) = sync_channel(8);
        let (told, heard) = std::sync::mpsc::channel();
        let told = std::sync::Mutex::new(told);
        let tell = Teller::new(move |_| told.lock().unwrap().send(()).unwrap());
        let db = faults.open(&path).unwrap();
        let writer = std::thread::spawn({
            let (path, faults) = (path.clone(), faults.clone());
            move || {
                let open = || faults.open(&path).map_err(|e| redb::Error::Io(std::io::Error::other(e)));
                write(db, open, &to_write, &tell);
            }
        });
        let (lost, kept) = (guest(&[1; 200_000], 9_000), guest(b"kept", 9_000));
        faults.is_full.store(true, SeqCst);
        changes.send(Change::Put(lost.0, lost.1)).unwrap();
        heard.recv_timeout(Duration::from_secs(20)).unwrap();
        faults.is_full.store(false, SeqCst);
        changes.send(Change::Put(kept.0, kept.1)).unwrap();
        drop(changes);
        writer.join().unwrap();
        assert!(heard.try_recv().is_err(), "the second change is written");
        let (_, guests, bad) = read(&path, NOW).unwrap();
        assert_eq!((guests.len(), bad), (1, 0));
        assert!(guests.get(&kept.0, NOW).is_some());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("door.redb");
        std::fs::write(&path, b"no database of ours, and long enough to look like one").unwrap();
        let (guests, disk, writer) = open_at(&path, NOW);
        assert_eq!(guests.len(), 0);
        assert!(dir.path().join("door.redb.damaged").exists());
        drop(disk);
        writer.join().unwrap();
    }
}

//! A file whose disk fails when a test says so.

use redb::backends::FileBackend;
use redb::{Database, StorageBackend};
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// What goes wrong. Shared with every database that was opened with it.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// So many reads fail.
    pub(crate) reads: AtomicUsize,
    /// Writes find no room.
    pub(crate) is_full: AtomicBool,
    /// A write panics, as redb does when pages contradict each other.
    pub(crate) panics: AtomicBool,
    /// How often the file was opened.
    pub(crate) opened: AtomicUsize,
}

#[derive(Debug)]
struct FaultyFile {
    file: FileBackend,
    faults: Arc<Faults>,
}

impl Faults {
    /// Opens a database on the file.
    pub(crate) fn open(self: &Arc<Self>, path: &Path) -> Result<Database, String> {
        self.opened.fetch_add(1, SeqCst);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = FileBackend::new(file.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        let backend = FaultyFile { file, faults: self.clone() };
        // Without a cache, so that every read comes to the disk.
        redb::Builder::new().set_cache_size(0).create_with_backend(backend).map_err(|e| e.to_string())
    }

    /// How many of the failing reads are still to come.
    pub(crate) fn reads_left(&self) -> usize {
        self.reads.load(SeqCst)
    }
}

impl FaultyFile {
    fn room(&self) -> io::Result<()> {
        assert!(!self.faults.panics.load(SeqCst), "the pages contradict each other");
        if self.faults.is_full.load(SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.faults.reads.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(io::Error::other("the sector cannot be read"));
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

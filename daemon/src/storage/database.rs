//! A redb database in a file: opened with care, never deleted, and judged when it fails.

use chinwag_api::{Failure, Kind};
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Database, ReadableDatabase, TableDefinition};
use std::fs::OpenOptions;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Numbers about the database itself; `format` is the version of its tables.
pub(crate) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Opens the database at `path`, making it if it is not there; says whether it is new. `cache_bytes` is what redb may keep
/// in memory, its own choice without it.
///
/// # Errors
/// If it cannot be read or is no such database. It is left as it is.
pub(crate) fn open_database(path: &Path, cache_bytes: Option<usize>) -> Result<(Database, bool), Failure> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| unreadable(path, &e.to_string()))?;
    let is_new = file.metadata().map(|m| m.len() == 0).unwrap_or(false);
    let create = || -> Result<Database, redb::DatabaseError> {
        let mut builder = redb::Builder::new();
        if let Some(bytes) = cache_bytes {
            builder.set_cache_size(bytes);
        }
        builder.create_with_backend(FileBackend::new(file)?)
    };
    guarded(path, || create().map_err(|e| unreadable(path, &e.to_string()))).map(|db| (db, is_new))
}

/// Reads from a database whose pages may contradict each other, which redb may answer with a panic.
pub(crate) fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What a panic leaves behind is dropped with the whole store.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(unreadable(path, "its pages contradict each other")))
}

/// A store that cannot be used, and what to do about it.
pub(crate) fn unreadable(path: &Path, why: &str) -> Failure {
    Failure::new(Kind::Storage, format!("the store {} cannot be used", path.display()))
        .because(why)
        .because("it has been left as it is")
        .hint("if the disk is full, make room and start again")
        .hint(format!(
            "if it is damaged, move it aside: mv {0} {0}.damaged; the other members send this one what it held",
            path.display()
        ))
}

/// Refuses a database of a format that is not among `formats`.
///
/// # Errors
/// If it is newer, or none of ours.
pub(crate) fn check_format(db: &Database, path: &Path, formats: RangeInclusive<u64>) -> Result<(), Failure> {
    let format = *formats.end();
    let read = || -> Result<Option<u64>, redb::Error> {
        let txn = db.begin_read()?;
        let meta = match txn.open_table(META) {
            Ok(meta) => meta,
            // A crash before the very first commit.
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Some(format)),
            Err(error) => return Err(error.into()),
        };
        Ok(meta.get("format")?.map(|v| v.value()))
    };
    match read().map_err(|e| unreadable(path, &e.to_string()))? {
        Some(found) if formats.contains(&found) => Ok(()),
        Some(newer) if newer > format => Err(Failure::new(
            Kind::Storage,
            format!("the store {} was written by a newer chinwagd", path.display()),
        )
        .because(format!("its format is {newer}, this build reads {format}"))
        .because("it has been left as it is")
        .hint("run the newer chinwagd again, or another data directory: --data DIR")),
        _ => Err(unreadable(path, "it is a redb database, but not one of chinwag's")),
    }
}

/// Whether a commit failed for want of room, after which the database can be opened again and asked what it holds.
pub(crate) fn is_for_want_of_room(error: &redb::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error, redb::Error::Io(e) if matches!(e.kind(), StorageFull | QuotaExceeded))
}

/// An empty database in memory. It takes a database's place whose file is to be closed before it is opened again.
pub(crate) fn placeholder() -> Result<Database, String> {
    redb::Builder::new().create_with_backend(InMemoryBackend::new()).map_err(|e| e.to_string())
}

/// Closes a database that may have panicked before, which it may answer with another panic.
pub(crate) fn close(db: Database) {
    // The file is closed and unlocked all the same, and nothing of the database is left.
    let _closed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(db)));
}

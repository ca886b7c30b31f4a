//! A home's databases: who may read them, and how much of their room is taken.

use super::size;
use chinwag_api::Finding;
use chinwag_base::limits::{BLOB_STORE_BYTES_MAX, STATE_BYTES_MAX};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// One of them. A further one is a row of [`ALL`].
struct Database {
    check: &'static str,
    file: &'static str,
    holds: &'static str,
    /// What it may hold, where every daemon has it. The open door's is rarely there, and watches its own small room.
    room: Option<Room>,
}

/// What a database may hold. Somebody should look when its file has half of that.
struct Room {
    bytes: usize,
    beyond: &'static str,
    less: &'static str,
}

const ALL: [Database; 3] = [
    Database {
        check: "store",
        file: "store.redb",
        holds: "all keys and values",
        room: Some(Room {
            bytes: STATE_BYTES_MAX,
            beyond: "writes are refused",
            less: "write less into the replicated state; what is large belongs into the DHT: chinwag dht add FILE",
        }),
    },
    Database {
        check: "records",
        file: "records.redb",
        holds: "the records and blobs of the DHT that this node owns",
        room: Some(Room {
            bytes: BLOB_STORE_BYTES_MAX,
            beyond: "blobs are refused",
            less: "more members, so that each owns less; blobs go when their time is over",
        }),
    },
    Database { check: "door", file: "door.redb", holds: "what came in through the open door", room: None },
];

/// Examines the databases in `dir`.
pub(super) fn examine(dir: &Path) -> Vec<Finding> {
    ALL.iter().filter_map(|database| database.examine(dir)).collect()
}

impl Database {
    fn examine(&self, dir: &Path) -> Option<Finding> {
        let Database { check, file, holds, .. } = self;
        let path = dir.join(file);
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let message = "there is none yet; the first start makes it";
                return self.room.as_ref().map(|_| Finding::unknown(check, message));
            }
            Err(error) => {
                let message = format!("{} cannot be looked at: {error}", path.display());
                let hint = "chinwag doctor, as the user that the daemon runs as";
                return Some(Finding::bad(check, message, hint));
            }
        };
        let mode = meta.mode() & 0o777;
        if mode & 0o077 != 0 {
            let message =
                format!("{} can be read by others (mode {mode:03o}): it holds {holds}", path.display());
            return Some(Finding::bad(check, message, format!("chmod 600 {}", path.display())));
        }
        Some(self.judge(meta.len()))
    }

    fn judge(&self, bytes: u64) -> Finding {
        let message = format!("{} has {}", self.file, size(bytes));
        match &self.room {
            Some(room) if bytes > room.bytes as u64 / 2 => {
                let message = format!("{message}; at {} {}", size(room.bytes as u64), room.beyond);
                Finding::warning(self.check, message, room.less)
            }
            _ => Finding::good(self.check, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_api::Verdict;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn each_is_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let verdicts = || examine(dir.path()).iter().map(|f| f.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(), [Verdict::Unknown; 2], "the door is rarely there");
        for database in &ALL {
            let path = dir.path().join(database.file);
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let findings = examine(dir.path());
            let finding = findings.iter().find(|f| f.check == database.check).unwrap();
            assert_eq!(finding.verdict, Verdict::Bad, "{finding:?}");
            assert_eq!(finding.tries, [format!("chmod 600 {}", path.display())]);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert_eq!(verdicts(), [Verdict::Good; 3]);
    }

    #[test]
    fn a_database_that_fills_up_is_told_of_before_it_is_full() {
        for (database, room) in ALL.iter().filter_map(|database| Some((database, database.room.as_ref()?))) {
            assert_eq!(database.judge(room.bytes as u64 / 2).verdict, Verdict::Good);
            let filling = database.judge(room.bytes as u64 / 2 + 1);
            assert!(filling.verdict == Verdict::Warning && !filling.tries.is_empty(), "{filling:?}");
        }
    }
}

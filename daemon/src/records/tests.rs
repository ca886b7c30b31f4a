//! What the disk may do to records, and what must come of it.

use super::*;
use chinwag_base::{Generation, NodeId, ReplicaId, Value, WallTime};
use chinwag_crdt::{Dot, Hlc};
use chinwag_dht::{BatchId, Cell, Change, Edit, LoadId, Record, RecordKey};
use redb::Database;
use std::thread::JoinHandle;
use tokio::sync::mpsc::{self, UnboundedReceiver};

const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);
const ADA: NodeId = NodeId::from_bytes([1; 32]);

fn keep(record: Record) -> (Id, Change) {
    let (held, blob) = Held::of(record.validate(NOW).unwrap());
    (held.key.id(), Change::Keep { held: Arc::new(held), blob })
}

pub(super) fn blob_of(bytes: &[u8]) -> (Id, Change) {
    keep(Record::blob(bytes.to_vec(), ADA, NOW))
}

fn cell(key: &str, value: &str) -> (Id, Change) {
    let replica = ReplicaId { node: ADA, generation: Generation::new(1) };
    let edit = Edit::Set(Value::new(value.as_bytes()).unwrap());
    let cell = Cell::new().plan(&edit, Dot { replica, counter: 1 }, Hlc::ZERO, None).unwrap();
    keep(Record::cell(key.parse().unwrap(), cell, ADA, NOW))
}

pub(super) struct Running {
    pub(super) storage: RecordStorage,
    stored: UnboundedReceiver<RecordsStored>,
    threads: [JoinHandle<()>; 2],
    batch: u64,
}

impl Running {
    pub(super) fn start(store: RecordStore) -> Self {
        let (report, stored) = mpsc::unbounded_channel();
        let (storage, threads) = RecordStorage::start(store, report).unwrap();
        Running { storage, stored, threads, batch: 0 }
    }

    pub(super) async fn commit(&mut self, changes: Vec<(Id, Change)>) -> RecordsStored {
        self.batch += 1;
        self.storage.commit(BatchId(self.batch), changes);
        self.stored.recv().await.unwrap()
    }

    pub(super) async fn load(&mut self, id: Id) -> Result<Option<Arc<[u8]>>, String> {
        self.storage.load(LoadId(7), id);
        match self.stored.recv().await {
            Some(RecordsStored::Loaded(LoadId(7), blob)) => blob,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn close(self) {
        self.storage.close();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[tokio::test]
async fn what_was_persisted_is_there_again_and_what_was_dropped_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("records.redb");
    let opened = open(&path).unwrap();
    assert!(opened.records.is_empty());
    let mut running = Running::start(opened.store);
    let (hello, letter, name) = (blob_of(b"hello"), blob_of(&[7; 200_000]), cell("app/name", "chinwag"));
    let stored = running.commit(vec![hello.clone(), letter.clone(), name.clone()]).await;
    assert!(matches!(stored, RecordsStored::Persisted(BatchId(1))), "{stored:?}");
    assert_eq!(running.load(letter.0).await.unwrap().as_deref(), Some(&[7; 200_000][..]));
    assert_eq!(running.load(name.0).await, Ok(None), "a cell has no bytes beside its row");
    let reader = running.storage.reader();
    let (held, blob) = reader.get(&hello.0).unwrap().unwrap();
    assert_eq!((held.key.id(), blob.as_deref()), (hello.0, Some(&b"hello"[..])));
    assert_eq!(reader.get(&name.0).unwrap().unwrap().1, None);
    running.commit(vec![(letter.0, Change::Drop)]).await;
    assert_eq!(running.load(letter.0).await, Ok(None));
    assert_eq!(reader.get(&letter.0), Ok(None));
    drop(reader);
    running.close();

    let opened = open(&path).unwrap();
    let mut keys: Vec<RecordKey> = opened.records.iter().map(|held| held.key.clone()).collect();
    keys.sort();
    assert_eq!(keys.iter().map(RecordKey::id).collect::<Vec<_>>(), [hello.0, name.0]);
    assert!(opened.bad_rows.is_empty());
    assert_eq!(opened.store.commits, 2);
}

#[tokio::test]
async fn a_bad_row_is_set_aside_and_a_blob_keeps_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("records.redb");
    let mut running = Running::start(open(&path).unwrap().store);
    let (hello, name, other) = (blob_of(b"hello"), cell("a", "1"), cell("b", "2"));
    running.commit(vec![hello.clone(), name.clone(), other.clone()]).await;
    running.close();
    {
        let db = Database::open(&path).unwrap();
        let txn = db.begin_write().unwrap();
        {
            let mut index = txn.open_table(INDEX).unwrap();
            let mut row = index.get(hello.0.as_bytes().as_slice()).unwrap().unwrap().value().to_vec();
            let last = row.len() - 1;
            row[last] ^= 1;
            index.insert(hello.0.as_bytes().as_slice(), row.as_slice()).unwrap();
            let row = index.get(name.0.as_bytes().as_slice()).unwrap().unwrap().value().to_vec();
            index.insert(other.0.as_bytes().as_slice(), row.as_slice()).unwrap();
        }
        txn.commit().unwrap();
    }
    let opened = open(&path).unwrap();
    assert_eq!(opened.records.len(), 1);
    let mut whys: Vec<&str> = opened.bad_rows.iter().map(|bad| bad.why.as_str()).collect();
    whys.sort_unstable();
    assert_eq!(whys, ["the checksum is wrong", "the row is in another record's place"]);
    let mut running = Running::start(opened.store);
    assert_eq!(running.load(hello.0).await.unwrap().as_deref(), Some(&b"hello"[..]));
    running.close();
    assert!(open(&path).unwrap().bad_rows.is_empty(), "it is told once");
}

#[test]
fn a_newer_format_and_other_files_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("records.redb");
    drop(open(&path).unwrap());
    {
        let db = Database::open(&path).unwrap();
        let txn = db.begin_write().unwrap();
        txn.open_table(META).unwrap().insert("format", FORMAT + 1).unwrap();
        txn.commit().unwrap();
    }
    let error = open(&path).unwrap_err();
    assert!(error.message.contains("newer chinwagd") && error.message.contains("records.redb"), "{error}");

    let letter = b"somebody's letter".repeat(500);
    std::fs::write(&path, &letter).unwrap();
    let error = open(&path).unwrap_err();
    assert!(error.message.contains("cannot be used") && !error.tries.is_empty(), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), letter);
}

/// The limit is the test's own: `RLIMIT_FSIZE` would end the process by a signal, so the backend itself refuses.
#[tokio::test]
async fn a_commit_that_finds_no_room_has_not_happened_and_the_next_one_may() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"])
        .arg(&small)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        tracing::warn!("SKIPPED: no tmpfs can be mounted here");
        return;
    }
    let path = small.join("records.redb");
    let mut running = Running::start(open(&path).unwrap().store);
    let filler = small.join("filler");
    std::fs::write(&filler, vec![0; 2 * 1024 * 1024]).unwrap();
    let mut kept = Vec::new();
    let why = loop {
        let change = blob_of(&vec![kept.len() as u8; 200_000]);
        match running.commit(vec![change.clone()]).await {
            RecordsStored::Persisted(_) => kept.push(change.0),
            RecordsStored::Failed(_, why) => break why,
            other => panic!("{other:?}"),
        }
        assert!(kept.len() < 100, "the disk is never full");
    };
    assert!(why.contains("space"), "{why}");
    assert!(running.load(kept[0]).await.unwrap().is_some(), "it reads");
    std::fs::remove_file(&filler).unwrap();
    let more = blob_of(b"there is room again");
    assert!(matches!(running.commit(vec![more.clone()]).await, RecordsStored::Persisted(_)));
    running.close();
    let opened = open(&path).unwrap();
    let places: Vec<Id> = opened.records.iter().map(|held| held.key.id()).collect();
    assert_eq!(places.len(), kept.len() + 1);
    assert!(kept.iter().chain([&more.0]).all(|id| places.contains(id)));
    drop(opened);
    assert!(std::process::Command::new("umount").arg(&small).status().unwrap().success());
}

/// With a daemon and without one: a row that is damaged, a blob that has other bytes than its name says, and one that has none.
#[tokio::test]
async fn an_examination_finds_damaged_rows_and_blobs_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("records.redb");
    assert_eq!(examine(&path, true).unwrap(), None);
    let mut running = Running::start(open(&path).unwrap().store);
    let blobs = [blob_of(b"hello"), blob_of(b"letter"), blob_of(b"picture")];
    running.commit(blobs.iter().cloned().chain([cell("a", "1")]).collect()).await;
    let well = running.storage.reader().examine(true).unwrap();
    assert_eq!((well.rows, well.blobs, well.read, well.bad.len()), (4, 3, true, 0));
    running.close();
    assert_eq!(examine(&path, true).unwrap(), Some(well));
    {
        let db = Database::open(&path).unwrap();
        let txn = db.begin_write().unwrap();
        {
            let mut index = txn.open_table(INDEX).unwrap();
            let id = cell("a", "1").0;
            let mut row = index.get(id.as_bytes().as_slice()).unwrap().unwrap().value().to_vec();
            row[5] ^= 1;
            index.insert(id.as_bytes().as_slice(), row.as_slice()).unwrap();
            let mut bytes = txn.open_table(BLOBS).unwrap();
            bytes.insert(blobs[0].0.as_bytes().as_slice(), b"hallo".as_slice()).unwrap();
            bytes.remove(blobs[1].0.as_bytes().as_slice()).unwrap();
        }
        txn.commit().unwrap();
    }
    let quick = examine(&path, false).unwrap().unwrap();
    assert_eq!((quick.rows, quick.read), (4, false));
    let has = |found: &ExaminedRecords, what: &str| found.bad.iter().any(|bad| bad.contains(what));
    assert!(has(&quick, "the checksum is wrong") && has(&quick, "its bytes are not there"), "{quick:?}");
    assert_eq!(quick.bad.len(), 2, "whoever does not read the bytes does not see that they are others");
    let whole = examine(&path, true).unwrap().unwrap();
    assert!(has(&whole, "not those that its name says") && whole.bad.len() == 3, "{whole:?}");
    assert_eq!(examine(&path, true).unwrap(), Some(whole), "nothing was set aside");
}

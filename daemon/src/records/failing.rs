//! Disks that fail under the records.

use super::shared::Shared;
use super::tests::{Running, blob_of};
use super::*;
use crate::clock;
use crate::kad::Shelf;
use crate::storage::faulty::Faults;
use chinwag_base::NodeId;
use chinwag_base::limits::SHELF_READS_PER_SECOND_MAX;
use chinwag_dht::{BatchId, BlobHash, Change, Record, RecordKey};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::mpsc;

/// A store on a faulty file that holds these, none of it in memory.
async fn holding(dir: &Path, kept: Vec<(Id, Change)>) -> (RecordStore, Arc<Faults>) {
    let path = dir.join("records.redb");
    let mut running = Running::start(open(&path).unwrap().store);
    assert!(matches!(running.commit(kept).await, RecordsStored::Persisted(_)));
    running.close();
    let faults = Arc::new(Faults::default());
    let again = faults.clone();
    let db = faults.open(&path).unwrap();
    let store = RecordStore { db: Shared::new(db, Box::new(move || again.open(&path))), commits: 1 };
    (store, faults)
}

fn fail_reads(faults: &Faults, reads: usize) {
    faults.reads.store(reads, SeqCst);
}

#[tokio::test]
async fn a_read_that_fails_once_is_made_again_on_a_fresh_database() {
    let dir = tempfile::tempdir().unwrap();
    let letter = blob_of(&[7; 200_000]);
    let (store, faults) = holding(dir.path(), vec![letter.clone()]).await;
    let mut running = Running::start(store);
    fail_reads(&faults, 1);
    assert!(running.load(letter.0).await.unwrap().is_some());
    assert_eq!((faults.reads_left(), faults.opened.load(SeqCst)), (0, 2));
    let more = blob_of(b"the disk takes what comes then");
    assert!(matches!(running.commit(vec![more]).await, RecordsStored::Persisted(_)));
    running.close();
}

#[tokio::test]
async fn a_disk_that_never_reads_is_told_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let letter = blob_of(&[7; 200_000]);
    let (store, faults) = holding(dir.path(), vec![letter.clone()]).await;
    let mut running = Running::start(store);
    fail_reads(&faults, usize::MAX);
    let why = running.load(letter.0).await.unwrap_err();
    assert!(why.contains("cannot be read"), "{why}");
    fail_reads(&faults, 0);
    assert!(running.load(letter.0).await.unwrap().is_some(), "it is opened again");
    running.close();
}

#[tokio::test]
async fn a_commit_after_anothers_failed_read_is_made_and_the_process_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let letter = blob_of(&[7; 200_000]);
    let (store, faults) = holding(dir.path(), vec![letter.clone()]).await;
    let mut running = Running::start(store);
    fail_reads(&faults, 1);
    // One attempt, as a swarm's task makes it: the error stays in the database.
    let once = running.storage.reader().try_get(&letter.0).unwrap();
    assert!(once.is_err(), "the only attempt fails");
    let more = blob_of(b"more");
    let stored = running.commit(vec![more.clone()]).await;
    assert!(matches!(stored, RecordsStored::Persisted(BatchId(1))), "{stored:?}");
    assert!(running.load(more.0).await.unwrap().is_some());
    running.close();
    let opened = open(&dir.path().join("records.redb")).unwrap();
    assert_eq!((opened.records.len(), opened.store.commits), (2, 2));
}

#[tokio::test]
async fn a_writer_that_panics_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, faults) = holding(dir.path(), vec![]).await;
    let mut running = Running::start(store);
    faults.panics.store(true, SeqCst);
    let stored = running.commit(vec![blob_of(b"x")]).await;
    assert!(matches!(&stored, RecordsStored::Broken(why) if why.contains("contradict")), "{stored:?}");
    faults.panics.store(false, SeqCst);
    running.close();
}

/// What a swarm's task finds, at the first question or a later one.
async fn found_soon(shelf: &OverlayShelf, key: &RecordKey) -> bool {
    for _ in 0..500 {
        if shelf.get(key).is_some() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

fn living(bytes: &[u8]) -> (RecordKey, (Id, Change)) {
    let record = Record::blob(bytes.to_vec(), NodeId::from_bytes([1; 32]), clock::wall());
    let (held, blob) = Held::of(record.validate(clock::wall()).unwrap());
    let key = held.key.clone();
    (key.clone(), (key.id(), Change::Keep { held: Arc::new(held), blob }))
}

#[tokio::test]
async fn a_shelf_answers_at_once_but_waits_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = [living(&[1; 100_000]), living(&[2; 100_000]), living(&[3; 100_000])];
    let kept = blobs.iter().map(|(_, change)| change.clone()).collect();
    let (store, faults) = holding(dir.path(), kept).await;
    let reader = RecordReader { db: store.db.clone() };
    let (commands, _queue) = mpsc::channel(1);
    let shelf = OverlayShelf::new(reader, &commands);
    assert!(shelf.get(&blobs[0].0).is_some(), "the first question finds it");
    assert!(store.db.while_locked(|| shelf.get(&blobs[0].0)).is_some(), "and it is at hand then");

    assert!(store.db.while_locked(|| shelf.get(&blobs[1].0)).is_none(), "nobody waits for the database");
    assert!(found_soon(&shelf, &blobs[1].0).await, "a later question finds it");

    fail_reads(&faults, 1);
    assert!(shelf.get(&blobs[2].0).is_none(), "the first attempt fails");
    assert!(found_soon(&shelf, &blobs[2].0).await, "and it is made again elsewhere");
}

#[tokio::test]
async fn a_shelf_reads_so_often_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let (key, change) = living(b"held");
    let (store, _) = holding(dir.path(), vec![change]).await;
    let (commands, _queue) = mpsc::channel(1);
    let shelf = OverlayShelf::new(RecordReader { db: store.db.clone() }, &commands);
    let began = std::time::Instant::now();
    for n in 0u32..SHELF_READS_PER_SECOND_MAX {
        assert!(shelf.get(&RecordKey::Blob(BlobHash::of(&n.to_be_bytes()))).is_none());
    }
    let first = shelf.get(&key);
    // On a machine so slow that the second is over, there is nothing to see.
    assert!(first.is_none() || began.elapsed() >= Duration::from_secs(1));
    assert!(found_soon(&shelf, &key).await);
}

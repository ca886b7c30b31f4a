//! What the disk may do to us, and what must come of it.

use super::database::{close, placeholder};
use super::faulty::Faults;
use super::*;
use chinwag_base::invite::Secret;
use chinwag_base::{Keypair, NodeId, ReplicaId, Role};
use chinwag_crdt::{Op, Replica};
use chinwag_gossip::BatchId;
use redb::Durability;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use tokio::sync::mpsc;

const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);

fn node(n: u8) -> NodeId {
    Keypair::from_secret([n; 32]).id()
}

fn entries(count: u64) -> Vec<Arc<Entry>> {
    let mut replica = Replica::new(ReplicaId { node: node(1), generation: Generation::new(7) });
    for i in 0..count {
        let op =
            Op::Set { key: format!("k{i}").parse().unwrap(), value: vec![b'v'; 100].try_into().unwrap() };
        replica.stage_local(&[op], NOW).unwrap();
    }
    replica.staged().to_vec()
}

async fn commit(store: Store, batches: Vec<Vec<Arc<Entry>>>) {
    let (report, mut stored) = mpsc::unbounded_channel();
    let (storage, thread) = Storage::start(store, report).unwrap();
    for (i, batch) in batches.into_iter().enumerate() {
        storage.commit(BatchId(i as u64), batch);
        assert!(matches!(stored.recv().await, Some(Stored::Persisted(BatchId(b))) if b == i as u64));
    }
    drop(storage);
    thread.join().unwrap();
}

#[tokio::test]
async fn what_was_persisted_is_there_again_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let opened = open(&path, NOW, 1).unwrap();
    assert!(opened.entries.is_empty());
    let first = opened.generation;
    let all = entries(300);
    commit(opened.store, vec![all[..100].to_vec(), all[100..].to_vec()]).await;

    let opened = open(&path, NOW, 2).unwrap();
    assert!(opened.generation > first, "each start has a new generation");
    assert_eq!(opened.entries, all.iter().map(|e| (**e).clone()).collect::<Vec<_>>());
    assert!(opened.bad_rows.is_empty());
    let more = entries(1);
    commit(opened.store, vec![more]).await;
    assert_eq!(open(&path, NOW, 3).unwrap().entries.len(), 301, "rows are appended, never overwritten");
}

#[tokio::test]
async fn a_bad_row_is_set_aside_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    commit(open(&path, NOW, 1).unwrap().store, vec![entries(10)]).await;
    {
        let db = Database::open(&path).unwrap();
        let mut txn = db.begin_write().unwrap();
        txn.set_durability(Durability::Immediate).unwrap();
        {
            let mut log = txn.open_table(LOG).unwrap();
            let mut row = log.get(4).unwrap().unwrap().value().to_vec();
            let last = row.len() - 1;
            row[last] ^= 1;
            log.insert(4, row.as_slice()).unwrap();
            log.insert(5, [].as_slice()).unwrap();
        }
        txn.commit().unwrap();
    }
    let opened = open(&path, NOW, 2).unwrap();
    assert_eq!(opened.entries.len(), 8);
    let whys: Vec<&str> = opened.bad_rows.iter().map(|b| b.why.as_str()).collect();
    assert_eq!(whys, ["the checksum is wrong", "the row is cut short"]);
    drop(opened);
    let again = open(&path, NOW, 3).unwrap();
    assert!(again.bad_rows.is_empty(), "it is told once, and kept in the quarantine");
    let txn = again.store.db.begin_read().unwrap();
    assert_eq!(txn.open_table(QUARANTINE).unwrap().iter().unwrap().count(), 2);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    drop(open(&path, NOW, 1).unwrap());
    {
        let db = Database::open(&path).unwrap();
        let txn = db.begin_write().unwrap();
        txn.open_table(META).unwrap().insert("format", FORMAT + 1).unwrap();
        txn.commit().unwrap();
    }
    let error = open(&path, NOW, 2).unwrap_err();
    assert!(error.message.contains("newer chinwagd"), "{error}");
    assert_eq!(error.exit().code(), 4);
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let text = b"this is not a database at all, but somebody's letter".repeat(200);
    std::fs::write(&path, &text).unwrap();
    let error = open(&path, NOW, 1).unwrap_err();
    assert!(error.message.contains("cannot be used"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), text);

    let other = dir.path().join("other.redb");
    {
        let db = Database::create(&other).unwrap();
        let txn = db.begin_write().unwrap();
        txn.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap();
        txn.open_table(META).unwrap();
        txn.commit().unwrap();
    }
    assert!(open(&other, NOW, 1).unwrap_err().to_string().contains("not one of chinwag's"));
}

/// Bytes flipped anywhere in the file: an error or fewer entries, but never a panic and never a wrong entry.
#[tokio::test]
async fn flipped_bytes_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let all = entries(200);
    commit(open(&path, NOW, 1).unwrap().store, vec![all.clone()]).await;
    let whole = std::fs::read(&path).unwrap();
    let (mut refused, mut lost) = (0, 0);
    for i in 0..60u64 {
        let damaged = dir.path().join("damaged.redb");
        std::fs::write(&damaged, &whole).unwrap();
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&damaged).unwrap();
        let at = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % whole.len() as u64;
        let mut bytes = [0; 16];
        file.seek(SeekFrom::Start(at)).unwrap();
        let read = file.read(&mut bytes).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&bytes[..read].iter().map(|b| b ^ 0xa5).collect::<Vec<_>>()).unwrap();
        drop(file);
        match open(&damaged, NOW, 2) {
            Err(_) => refused += 1,
            Ok(opened) => {
                lost += usize::from(opened.entries.len() < all.len());
                assert!(opened.entries.iter().all(|e| all.iter().any(|a| **a == *e)), "flipped at {at}");
            }
        }
    }
    assert!(refused + lost > 0, "the damage was real");
}

/// Damage in what redb notes of free pages shows only when a page is wanted. Whoever waits for the commit is told.
#[tokio::test]
async fn a_write_that_meets_pages_that_contradict_each_other_ends_the_process_with_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut store = open(&path, NOW, 1).unwrap().store;
    let faults = Arc::new(Faults::default());
    close(std::mem::replace(&mut store.db, placeholder().unwrap()));
    store.db = faults.open(&path).unwrap();
    let (report, mut stored) = mpsc::unbounded_channel();
    let (storage, thread) = Storage::start(store, report).unwrap();
    faults.panics.store(true, std::sync::atomic::Ordering::SeqCst);
    storage.commit(BatchId(1), entries(3));
    let Some(Stored::Broken(why)) = stored.recv().await else { panic!("it is told") };
    assert!(why.contains("contradict"), "{why}");
    thread.join().expect("the thread has not panicked");
}

#[tokio::test]
async fn an_invite_is_redeemed_once_but_repeated_for_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let (report, _stored) = mpsc::unbounded_channel();
    let (storage, thread) = Storage::start(open(&path, NOW, 1).unwrap().store, report).unwrap();
    let secret = Secret::from_bytes([1; 16]);
    let invite = OpenInvite { role: Role::Member, not_after: NOW.plus_ms(1_000), uses: 1, bound: vec![] };
    assert_eq!(storage.add_invite(secret, invite, NOW).await, Ok(true));
    let unknown = Secret::from_bytes([2; 16]);
    assert_eq!(storage.redeem(unknown, node(2), NOW).await, Ok(Redeemed::Unknown));
    assert_eq!(storage.redeem(secret, node(2), NOW.plus_ms(1_001)).await, Ok(Redeemed::Expired));
    assert_eq!(storage.redeem(secret, node(2), NOW).await, Ok(Redeemed::Admitted(Role::Member)));
    assert_eq!(storage.redeem(secret, node(3), NOW).await, Ok(Redeemed::Used));
    drop(storage);
    thread.join().unwrap();

    let (report, _stored) = mpsc::unbounded_channel();
    let (storage, _thread) = Storage::start(open(&path, NOW, 2).unwrap().store, report).unwrap();
    assert_eq!(storage.redeem(secret, node(3), NOW).await, Ok(Redeemed::Used), "durably");
    assert_eq!(storage.redeem(secret, node(2), NOW).await, Ok(Redeemed::Admitted(Role::Member)));
}

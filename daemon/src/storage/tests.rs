//! What the disk may do to us, and what must come of it.

use super::database::{close, placeholder};
use super::faulty::Faults;
use super::*;
use chinwag_base::invite::Secret;
use chinwag_base::limits::CLOCK_REPLICAS_MAX;
use chinwag_base::{Keypair, NodeId, ReplicaId, Role};
use chinwag_crdt::{
    Checkpoint, Clock, Dot, Entry, Extent, Op, Place, Promise, Replica, Row as LogRow, Slice,
};
use chinwag_gossip::{BatchId, MemoryStore};
use redb::{Durability, ReadableDatabase};
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

fn rows(entries: &[Arc<Entry>]) -> Vec<LogRow> {
    entries.iter().cloned().map(LogRow::Write).collect()
}

/// The entries in a log.
fn logged(opened: &Opened) -> Vec<Arc<Entry>> {
    let entry = |row: &(u64, LogRow)| match &row.1 {
        LogRow::Write(entry) => Some(entry.clone()),
        _ => None,
    };
    opened.state.rows.iter().filter_map(entry).collect()
}

async fn commit(store: Store, batches: Vec<Vec<Arc<Entry>>>) {
    commit_from(1, store, batches).await;
}

async fn commit_from(mut first: u64, store: Store, batches: Vec<Vec<Arc<Entry>>>) {
    let (report, mut stored) = mpsc::unbounded_channel();
    let (storage, thread) = Storage::start(store, report).unwrap();
    for (i, batch) in batches.into_iter().enumerate() {
        storage.commit(BatchId(i as u64), first, rows(&batch));
        first += batch.len() as u64;
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
    assert!(logged(&opened).is_empty());
    let first = opened.generation;
    let all = entries(300);
    commit(opened.store, vec![all[..100].to_vec(), all[100..].to_vec()]).await;

    let opened = open(&path, NOW, 2).unwrap();
    assert!(opened.generation > first, "each start has a new generation");
    assert_eq!(logged(&opened), all);
    assert!(opened.bad_rows.is_empty());
    let more = entries(1);
    commit_from(301, opened.store, vec![more]).await;
    assert_eq!(logged(&open(&path, NOW, 3).unwrap()).len(), 301, "rows are appended, never overwritten");
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
            let mut log = txn.open_table(ROWS).unwrap();
            let mut row = log.get(4).unwrap().unwrap().value().to_vec();
            let last = row.len() - 1;
            row[last] ^= 1;
            log.insert(4, row.as_slice()).unwrap();
            log.insert(5, [].as_slice()).unwrap();
        }
        txn.commit().unwrap();
    }
    let opened = open(&path, NOW, 2).unwrap();
    assert_eq!(logged(&opened).len(), 8);
    let lost: Vec<u64> =
        opened.state.rows.iter().filter(|(_, row)| *row == LogRow::Lost).map(|(at, _)| *at).collect();
    assert_eq!(lost, [4, 5], "whatever came around them is known to be incomplete");
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
                let logged = logged(&opened);
                lost += usize::from(logged.len() < all.len());
                assert!(logged.iter().all(|e| all.contains(e)), "flipped at {at}");
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
    storage.commit(BatchId(1), 1, rows(&entries(3)));
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

/// A replica with all that a checkpoint may have: every kind of part, a cell that needs many pieces, floors, notes, a session.
fn rich() -> Replica {
    let me = |n| ReplicaId { node: node(n), generation: Generation::new(7) };
    let (mut one, mut other) = (Replica::new(me(1)), Replica::new(me(2)));
    let value = |text: &str| text.as_bytes().to_vec().try_into().unwrap();
    let key = |text: &str| text.parse().unwrap();
    let mut ops = vec![
        Op::Set { key: key("small"), value: value("v") },
        Op::Set { key: key("large"), value: vec![7; 64 * 1024].try_into().unwrap() },
        Op::Increment { key: key("count"), by: 5 },
        Op::Increment { key: key("reset"), by: 5 },
    ];
    ops.extend((0..200).map(|i| {
        let element = format!("{i:03}{}", "e".repeat(3_000));
        Op::Add { key: key("many"), element: value(&element) }
    }));
    ops.push(Op::Delete { key: key("reset"), kind: None });
    for op in ops {
        one.stage_local(&[op], NOW).unwrap();
        one.commit();
    }
    other.stage_local(&[Op::Set { key: key("doomed"), value: value("x") }], NOW).unwrap();
    other.commit();
    other.stage_local(&[Op::Delete { key: key("doomed"), kind: None }], NOW).unwrap();
    one.stage_remote((*other.staged()[0]).clone(), NOW);
    one.commit();
    one.promise(Promise { clock: other.clock().clone(), ..Promise::default() });
    let until = Some(Place::end_of(key("a")));
    one.join(&Slice { extent: Extent::Range { after: None, until }, cells: Vec::new() });
    one
}

/// Writes a checkpoint down, and says how the store answered.
async fn check(store: Store, checkpoint: Checkpoint, cut: u64) -> Stored {
    let (report, mut stored) = mpsc::unbounded_channel();
    let (storage, thread) = Storage::start(store, report).unwrap();
    storage.checkpoint(Box::new(checkpoint), cut);
    let answer = stored.recv().await.unwrap();
    drop(storage);
    thread.join().unwrap();
    answer
}

/// The largest clock that whole cells can be under is read again, in the row that promises them and in the checkpoint.
#[tokio::test]
async fn a_promise_with_as_many_lives_as_there_may_be_fits_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut clock = Clock::new();
    for n in 0..CLOCK_REPLICAS_MAX as u64 {
        let generation = Generation::new(u64::MAX - (n << 32));
        clock.insert(Dot::new(ReplicaId { node: node((n % 50) as u8), generation }, 1));
    }
    let mut replica = Replica::new(ReplicaId { node: node(1), generation: Generation::new(7) });
    let row = LogRow::Promised(Promise { clock, ..Promise::default() });
    assert!(replica.replay(1, row.clone()));
    let checkpoint = replica.checkpoint();
    let mut rest = replica.session().unwrap().clock.clone();
    assert!(rest.is_told_whole() && rest.len() == CLOCK_REPLICAS_MAX);

    let (report, mut stored) = mpsc::unbounded_channel();
    let (storage, thread) = Storage::start(open(&path, NOW, 1).unwrap().store, report).unwrap();
    storage.commit(BatchId(1), 1, vec![row.clone()]);
    assert!(matches!(stored.recv().await, Some(Stored::Persisted(_))));
    storage.checkpoint(Box::new(checkpoint), 0);
    assert!(matches!(stored.recv().await, Some(Stored::Checkpointed)));
    drop(storage);
    thread.join().unwrap();
    let opened = open(&path, NOW, 2).unwrap();
    assert!(opened.bad_rows.is_empty(), "{:?}", opened.bad_rows);
    assert_eq!(opened.state.rows, [(1, row)]);
    rest.merge(&opened.state.checkpoint.session.unwrap().clock);
    assert_eq!(rest.len(), CLOCK_REPLICAS_MAX);
}

/// The store does what the reference in memory does.
#[tokio::test]
async fn a_checkpoint_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut replica = rich();
    let mut memory = MemoryStore::default();
    let all = entries(20);
    commit(open(&path, NOW, 1).unwrap().store, vec![all.clone()]).await;
    memory.commit(1, &rows(&all));

    let checkpoint = replica.checkpoint();
    assert!(checkpoint.doomed.len() == 1 && checkpoint.session.is_some() && checkpoint.unsettled);
    let store = open(&path, NOW, 2).unwrap().store;
    assert!(matches!(check(store, checkpoint.clone(), 12).await, Stored::Checkpointed));
    memory.checkpoint(checkpoint, 12);
    let opened = open(&path, NOW, 3).unwrap();
    assert!(opened.bad_rows.is_empty());
    assert_eq!(opened.state, memory.read());
    assert_eq!(opened.state.rows.first().map(|(at, _)| *at), Some(13), "the rows before are needed no more");

    // What goes leaves nothing behind, a large cell none of its pieces.
    for k in ["many", "small"] {
        replica.stage_local(&[Op::Delete { key: k.parse().unwrap(), kind: None }], NOW).unwrap();
        replica.commit();
    }
    replica.break_promise();
    let checkpoint = replica.checkpoint();
    assert!(matches!(check(opened.store, checkpoint.clone(), u64::MAX).await, Stored::Checkpointed));
    memory.checkpoint(checkpoint, u64::MAX);
    let opened = open(&path, NOW, 4).unwrap();
    assert_eq!(opened.state, memory.read());
    let mut again = Replica::new(ReplicaId { node: node(3), generation: Generation::new(1) });
    again.recover_checkpoint(opened.state.checkpoint);
    assert_eq!((again.digest(), again.len()), (replica.digest(), replica.len()));
}

/// Changes a row of a table of pieces.
fn spoil(path: &Path, table: TableDefinition<(&str, u32), &[u8]>, at: (&str, u32)) {
    let db = Database::open(path).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut table = txn.open_table(table).unwrap();
        let mut row = table.get(at).unwrap().unwrap().value().to_vec();
        row[7] ^= 1;
        table.insert(at, row.as_slice()).unwrap();
    }
    txn.commit().unwrap();
}

/// One piece of a cell, and the first copy of what stands beside the cells: the key is known to be damaged, and stays so
/// until it is repaired; nothing else is lost.
#[tokio::test]
async fn a_damaged_cell_is_known_and_what_is_kept_twice_survives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut replica = rich();
    let whole = replica.checkpoint();
    check(open(&path, NOW, 1).unwrap().store, whole.clone(), 0).await;
    spoil(&path, CELLS, ("many", 2));
    spoil(&path, CHECKPOINT, ("clock", 0));
    spoil(&path, CHECKPOINT, ("head", 0));
    for generation in 2..4 {
        let opened = open(&path, NOW, generation).unwrap();
        let state = opened.state.checkpoint;
        assert_eq!((state.position, &state.clock), (whole.position, &whole.clock));
        let damaged: Vec<&str> = state.damaged.iter().map(|key| key.as_str()).collect();
        let kept = state.cells.iter().filter(|(key, _)| whole.cells.iter().any(|(k, _)| k == *key)).count();
        // It is told once, and known from then on, even if the process ends at once.
        assert_eq!((damaged, opened.bad_rows.len()), (vec!["many"], usize::from(generation == 2)));
        assert_eq!(kept, 4, "count, large, reset and small");
    }
    spoil(&path, CHECKPOINT, ("clock", 0));
    spoil(&path, CHECKPOINT, ("copy of clock", 0));
    let error = open(&path, NOW, 5).unwrap_err();
    assert!(error.to_string().contains("damaged in two places"), "{error}");
}

/// A row that stands in another's place is believed in neither.
#[tokio::test]
async fn a_cell_under_another_key_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    check(open(&path, NOW, 1).unwrap().store, rich().checkpoint(), 0).await;
    {
        let db = Database::open(&path).unwrap();
        let txn = db.begin_write().unwrap();
        {
            let mut cells = txn.open_table(CELLS).unwrap();
            let row = cells.remove(("small", 0)).unwrap().unwrap().value().to_vec();
            cells.insert(("smell", 0), row.as_slice()).unwrap();
        }
        txn.commit().unwrap();
    }
    let opened = open(&path, NOW, 2).unwrap();
    let damaged: Vec<&str> = opened.state.checkpoint.damaged.iter().map(|key| key.as_str()).collect();
    assert_eq!(damaged, ["small", "smell"]);
}

/// More rows than a thread takes at a time, cells of several rows and fields among them: the same state, whoever read
/// what of it; and what is damaged anywhere is told once, and left out whole.
#[tokio::test]
async fn a_large_store_is_read_by_several_threads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let value = |text: String| text.into_bytes().try_into().unwrap();
    let mut replica = Replica::new(ReplicaId { node: node(1), generation: Generation::new(7) });
    for n in 0..10_000 {
        let key: chinwag_base::Key = format!("app{}/{n:05}", n % 3).parse().unwrap();
        let mut ops = vec![Op::Set { key: key.clone(), value: value(n.to_string()) }];
        if n % 1_000 == 0 {
            let set: chinwag_base::Key = format!("app{}/set{n:05}", n % 3).parse().unwrap();
            let element =
                |i| Op::Add { key: set.clone(), element: value(format!("{i:03}{}", "e".repeat(3_000))) };
            ops.extend((0..90).map(element));
            let map: chinwag_base::Key = format!("app{}/map{n:05}", n % 3).parse().unwrap();
            ops.push(Op::Enable { key: map.field("on").unwrap() });
        }
        for op in ops {
            replica.stage_local(&[op], NOW).unwrap();
            replica.commit();
        }
    }
    let whole = replica.checkpoint();
    check(open(&path, NOW, 1).unwrap().store, whole.clone(), 0).await;
    let opened = open(&path, NOW, 2).unwrap();
    assert_eq!(opened.bad_rows, []);
    assert_eq!(opened.state.checkpoint, whole.clone().with(whole.cells.clone().into()));
    let mut again = Replica::new(ReplicaId { node: node(3), generation: Generation::new(1) });
    again.recover_checkpoint(opened.state.checkpoint);
    assert_eq!(
        (again.digest(), again.len(), again.audit().faults),
        (replica.digest(), replica.len(), vec![])
    );
    drop(opened.store);

    spoil(&path, CELLS, ("app0/00003", 0));
    spoil(&path, CELLS, ("app1/set01000", 1));
    spoil(&path, CELLS, ("app2/09998", 0));
    {
        // A field's row in the place of another's: both are damaged.
        let db = Database::open(&path).unwrap();
        let txn = db.begin_write().unwrap();
        {
            let mut cells = txn.open_table(CELLS).unwrap();
            let row = cells.get(("app0/map03000\u{1f}on", 0)).unwrap().unwrap().value().to_vec();
            cells.insert(("app0/map09000\u{1f}on", 0), row.as_slice()).unwrap();
        }
        txn.commit().unwrap();
    }
    let bad = ["app0/00003", "app0/map03000\u{1f}on", "app0/map09000\u{1f}on", "app1/set01000", "app2/09998"];
    let examined = examine(&path).unwrap().unwrap();
    assert_eq!((examined.bad.len(), examined.audit.faults), (4, vec![]));
    for generation in 3..5 {
        let opened = open(&path, NOW, generation).unwrap();
        let checkpoint = opened.state.checkpoint;
        assert_eq!(opened.bad_rows.len(), if generation == 3 { 4 } else { 0 });
        assert!(checkpoint.damaged.iter().map(|key| key.as_str()).eq(bad));
        let mut left = whole.cells.clone();
        left.retain(|(key, _)| !bad.contains(&key.as_str()));
        assert_eq!(checkpoint.cells, left.into());
        drop(opened.store);
    }
}

/// Format 1 had a table of bare entries and nothing else.
#[tokio::test]
async fn a_store_of_format_1_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let all = entries(30);
    {
        let (db, _) = open_database(&path, None).unwrap();
        let txn = db.begin_write().unwrap();
        {
            let mut meta = txn.open_table(META).unwrap();
            meta.insert("format", 1).unwrap();
            meta.insert("generation", 9_u64 << 40).unwrap();
            let mut log = txn.open_table(LOG_OF_FORMAT_1).unwrap();
            for (position, entry) in (1..).zip(&all) {
                log.insert(position, rows::to_row(&**entry).as_slice()).unwrap();
            }
            log.insert(7, [1, 2, 3].as_slice()).unwrap();
        }
        txn.commit().unwrap();
    }
    assert_eq!(live_keys(&path).unwrap(), 29, "a look changes nothing");
    for generation in 1..3 {
        let opened = open(&path, NOW, generation).unwrap();
        assert_eq!(opened.bad_rows.len(), usize::from(generation == 1));
        let kept: Vec<Arc<Entry>> = all.iter().filter(|e| e.dot.counter != 7).cloned().collect();
        assert_eq!(logged(&opened), kept);
        assert_eq!(opened.state.rows[6], (7, LogRow::Lost));
        assert!(opened.generation > Generation::new(9 << 40));
    }
}

/// A checkpoint for which there is no room is known not to have happened, and the log goes on.
#[tokio::test]
async fn a_checkpoint_without_room_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut store = open(&path, NOW, 1).unwrap().store;
    let faults = Arc::new(Faults::default());
    close(std::mem::replace(&mut store.db, placeholder().unwrap()));
    store.db = faults.open(&path).unwrap();
    faults.is_full.store(true, std::sync::atomic::Ordering::SeqCst);
    let answer = check(store, rich().checkpoint(), 0).await;
    assert!(matches!(answer, Stored::CheckpointFailed(_)), "{answer:?}");
    let opened = open(&path, NOW, 2).unwrap();
    assert!(opened.state.checkpoint.cells.is_empty());
    commit(opened.store, vec![entries(3)]).await;
    assert_eq!(logged(&open(&path, NOW, 3).unwrap()).len(), 3);
}

async fn snapshot(store: Store) -> (Snapshot, std::thread::JoinHandle<()>) {
    let (report, mut stored) = mpsc::unbounded_channel();
    let (storage, thread) = Storage::start(store, report).unwrap();
    storage.snapshot();
    match stored.recv().await {
        Some(Stored::Snapshot(Ok(snapshot))) => (snapshot, thread),
        other => panic!("{other:?}"),
    }
}

/// What a check reads is what a start would make of it, and nothing is changed by looking.
#[tokio::test]
async fn an_examination_finds_what_a_start_would() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    assert!(examine(&path).unwrap().is_none() && !path.exists(), "a look makes nothing");
    let mut replica = rich();
    check(open(&path, NOW, 1).unwrap().store, replica.checkpoint(), 0).await;
    commit_from(replica.position() + 1, open(&path, NOW, 2).unwrap().store, vec![entries(20)]).await;
    let well = examine(&path).unwrap().unwrap();
    assert!(well.bad.is_empty() && well.gaps.is_empty() && well.audit.is_clean(), "{well:?}");
    assert_eq!((well.checkpoint_agrees, well.unrepaired), (Some(true), 0));
    assert_eq!((well.rows.log, well.audit.notes), (20, 1));
    assert_eq!(well.position, replica.position() + 20);
    let (running, thread) = snapshot(open(&path, NOW, 3).unwrap().store).await;
    let running = running.examine(&path).unwrap();
    thread.join().unwrap();
    assert_eq!((running.state, running.clock), (well.state, well.clock), "a running daemon's too");

    spoil(&path, CELLS, ("many", 2));
    spoil(&path, CHECKPOINT, ("copy of clock", 0));
    let bad = examine(&path).unwrap().unwrap();
    assert_eq!(bad.bad.len(), 2, "{:?}", bad.bad);
    assert!(bad.bad[0].starts_with("the copy of clock") && bad.bad[1].starts_with("many, piece 2"));
    assert_eq!(bad.checkpoint_agrees, Some(false), "a cell is not there");
    assert_eq!(examine(&path).unwrap().unwrap().bad.len(), 2, "nothing was set aside");
    let opened = open(&path, NOW, 4).unwrap();
    assert_eq!(opened.state.checkpoint.digest, None, "it was that of more than is left");
    drop(opened);
    let after = examine(&path).unwrap().unwrap();
    assert_eq!((after.bad.len(), after.unrepaired, after.rows.quarantine), (0, 1, 1));
}

/// A row that is gone without a trace is missed, in the log and among the cells.
#[tokio::test]
async fn rows_that_are_gone_are_missed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    check(open(&path, NOW, 1).unwrap().store, rich().checkpoint(), 0).await;
    let position = rich().position();
    commit_from(position + 1, open(&path, NOW, 2).unwrap().store, vec![entries(9)]).await;
    {
        let db = Database::open(&path).unwrap();
        let txn = db.begin_write().unwrap();
        txn.open_table(ROWS).unwrap().retain(|at, _| ![position + 1, position + 4].contains(&at)).unwrap();
        txn.open_table(CELLS).unwrap().remove(("small", 0)).unwrap();
        txn.commit().unwrap();
    }
    let found = examine(&path).unwrap().unwrap();
    assert_eq!(found.gaps, [position + 1..=position + 1, position + 4..=position + 4]);
    assert_eq!((found.checkpoint_agrees, found.bad.len()), (Some(false), 0));
}

#[tokio::test]
async fn a_compaction_gives_room_back_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut replica = Replica::new(ReplicaId { node: node(1), generation: Generation::new(7) });
    for n in 0..400 {
        let (key, value) = (format!("k{n}").parse().unwrap(), vec![7; 16 * 1024].try_into().unwrap());
        replica.stage_local(&[Op::Set { key, value }], NOW).unwrap();
        replica.commit();
    }
    let (report, mut stored) = mpsc::unbounded_channel();
    let (storage, thread) = Storage::start(open(&path, NOW, 1).unwrap().store, report).unwrap();
    storage.checkpoint(Box::new(replica.checkpoint()), u64::MAX);
    for n in 0..395 {
        let op = Op::Delete { key: format!("k{n}").parse().unwrap(), kind: None };
        replica.stage_local(&[op], NOW).unwrap();
        replica.commit();
    }
    storage.checkpoint(Box::new(replica.checkpoint()), u64::MAX);
    storage.commit(BatchId(1), replica.position() + 1, rows(&entries(5)));

    storage.snapshot();
    let mut reader = None;
    while reader.is_none() {
        if let Some(Stored::Snapshot(snapshot)) = stored.recv().await {
            reader = Some(snapshot.unwrap());
        }
    }
    let compact = || {
        let (reply, answer) = tokio::sync::oneshot::channel();
        storage.compact(replica.position() + 2, reply);
        answer
    };
    let why = compact().await.unwrap().unwrap_err();
    assert!(why.contains("a check is under way"), "{why}");
    drop(reader);
    let Compacted { before, after } = compact().await.unwrap().unwrap();
    assert!(before > 6 << 20 && after < 1 << 20, "{before} {after}");
    drop(storage);
    thread.join().unwrap();
    let found = examine(&path).unwrap().unwrap();
    assert!(found.bad.is_empty() && found.audit.is_clean() && found.checkpoint_agrees == Some(true));
    assert_eq!((found.audit.keys, found.rows.log), (5, 5), "rows that are in no checkpoint are kept");
}

/// A store on a disk that fails when it is told to, its writer running.
async fn on_a_faulty_disk(
    path: &Path,
    faults: &Arc<Faults>,
) -> (Storage, std::thread::JoinHandle<()>, mpsc::UnboundedReceiver<Stored>) {
    check(open(path, NOW, 1).unwrap().store, rich().checkpoint(), 0).await;
    let mut store = open(path, NOW, 2).unwrap().store;
    close(std::mem::replace(&mut store.db, placeholder().unwrap()));
    store.db = faults.open(path).unwrap();
    let (report, stored) = mpsc::unbounded_channel();
    let (storage, thread) = Storage::start(store, report).unwrap();
    (storage, thread, stored)
}

#[tokio::test]
async fn a_compaction_without_room_loses_nothing_and_the_store_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let faults = Arc::new(Faults::default());
    let (storage, thread, mut stored) = on_a_faulty_disk(&path, &faults).await;
    faults.is_full.store(true, std::sync::atomic::Ordering::SeqCst);
    let (reply, answer) = tokio::sync::oneshot::channel();
    storage.compact(0, reply);
    let why = answer.await.unwrap().unwrap_err();
    assert!(why.contains("no storage space") || why.contains("space"), "{why}");
    let position = rich().position();
    storage.commit(BatchId(7), position + 1, rows(&entries(3)));
    assert!(matches!(stored.recv().await, Some(Stored::Persisted(BatchId(7)))));
    drop(storage);
    thread.join().unwrap();
    let found = examine(&path).unwrap().unwrap();
    assert!(found.bad.is_empty() && found.checkpoint_agrees == Some(true), "{found:?}");
    assert_eq!(found.rows.log, 3);
}

/// A disk that does not give the rows is told of, and so is a store whose pages contradict each other.
#[tokio::test]
async fn an_examination_of_a_disk_that_fails_is_an_error_and_no_finding() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let faults = Arc::new(Faults::default());
    let (storage, thread, mut stored) = on_a_faulty_disk(&path, &faults).await;
    storage.snapshot();
    let Some(Stored::Snapshot(Ok(snapshot))) = stored.recv().await else { panic!("it is shown") };
    faults.reads.store(usize::MAX, std::sync::atomic::Ordering::SeqCst);
    let failure = snapshot.examine(&path).unwrap_err();
    assert!(failure.because.iter().any(|why| why.contains("the sector cannot be read")), "{failure}");
    drop(storage);
    thread.join().unwrap();
}

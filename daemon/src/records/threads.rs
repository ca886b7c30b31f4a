//! The thread that writes records, and the one that reads blobs.

use super::shared::Used;
use super::{BLOBS, INDEX, META, RecordReader, RecordStore};
use crate::storage::database::is_for_want_of_room;
use crate::storage::rows::Row;
use chinwag_dht::{BatchId, Change, Id, LoadId};
use redb::Database;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use tokio::sync::mpsc;

/// What the driver hears from the records' disk.
#[derive(Debug)]
pub(crate) enum RecordsStored {
    /// The batch is durable.
    Persisted(BatchId),
    /// The batch is known not to be on the disk, and why.
    Failed(BatchId, String),
    /// A blob has been read, or why not.
    Loaded(LoadId, Result<Option<Arc<[u8]>>, String>),
    /// Nobody knows what the disk holds. The process must end.
    Broken(String),
}

/// A handle on the two threads. What waits for them is bounded by the core: it has one batch at the disk, and
/// [`LOADS_MAX`](chinwag_base::limits::LOADS_MAX) reads.
#[derive(Debug, Clone)]
pub(crate) struct RecordStorage {
    batches: Sender<Batch>,
    loads: Sender<Load>,
    reader: RecordReader,
}

#[derive(Debug)]
enum Batch {
    Commit(BatchId, Vec<(Id, Change)>),
    Close,
}

#[derive(Debug)]
enum Load {
    Blob(LoadId, Id),
    Close,
}

impl RecordStorage {
    /// Starts the threads on `store`; they report to `stored`.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(
        store: RecordStore,
        stored: mpsc::UnboundedSender<RecordsStored>,
    ) -> std::io::Result<(Self, [JoinHandle<()>; 2])> {
        let reader = RecordReader { db: store.db.clone() };
        let (loads, queue) = channel();
        let (blobs, report) = (reader.clone(), stored.clone());
        let reading = Builder::new().name("records-reader".into());
        let reading = reading.spawn(move || {
            while let Ok(Load::Blob(load, id)) = queue.recv() {
                let read = catch_unwind(AssertUnwindSafe(|| blobs.blob(&id)));
                let told = read.map_or_else(|_| broken(), |blob| RecordsStored::Loaded(load, blob));
                let _ = report.send(told);
            }
        })?;
        let (batches, queue) = channel();
        let writing = Builder::new().name("records".into());
        let writing = writing.spawn(move || Writer { store, stored }.run(&queue))?;
        Ok((RecordStorage { batches, loads, reader }, [writing, reading]))
    }

    /// Makes a batch of changes durable, all or nothing. The answer is a [`RecordsStored`].
    pub(crate) fn commit(&self, batch: BatchId, changes: Vec<(Id, Change)>) {
        // The threads are gone only when the process is ending.
        let _ = self.batches.send(Batch::Commit(batch, changes));
    }

    /// Reads the bytes of a blob. The answer is a [`RecordsStored`].
    pub(crate) fn load(&self, load: LoadId, id: Id) {
        let _ = self.loads.send(Load::Blob(load, id));
    }

    /// A reader for others.
    pub(crate) fn reader(&self) -> RecordReader {
        self.reader.clone()
    }

    /// Ends the threads once they have done all that they were given. What comes later is dropped.
    pub(crate) fn close(&self) {
        let _ = self.batches.send(Batch::Close);
        let _ = self.loads.send(Load::Close);
    }
}

/// redb answers pages that contradict each other with a panic. A thread that ended of it would be missed by nobody, and
/// whoever waits for it would wait for ever.
fn broken() -> RecordsStored {
    RecordsStored::Broken("the pages of the records contradict each other".into())
}

struct Writer {
    store: RecordStore,
    stored: mpsc::UnboundedSender<RecordsStored>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Batch>) {
        while let Ok(Batch::Commit(batch, changes)) = queue.recv() {
            let told = match catch_unwind(AssertUnwindSafe(|| self.write(&changes))) {
                Ok(Ok(None)) => RecordsStored::Persisted(batch),
                Ok(Ok(Some(why))) => RecordsStored::Failed(batch, why),
                Ok(Err(why)) => RecordsStored::Broken(why),
                Err(_panic) => broken(),
            };
            let is_broken = matches!(told, RecordsStored::Broken(_));
            let _ = self.stored.send(told);
            if is_broken {
                return;
            }
        }
    }

    /// One transaction. `Some` says why it is known not to have happened; an error means that the disk cannot be trusted
    /// any more.
    ///
    /// redb says `PreviousIo` to whoever comes after an error of another's, here a reader's: nothing that was written
    /// has failed then. The changes say what is to be, not what is to be done, so they are made once more.
    ///
    /// A commit that failed for want of room has not happened if the database, opened again, counts as many commits as
    /// before. After any other failure, a failed fsync above all, what can be read back proves nothing.
    fn write(&mut self, changes: &[(Id, Change)]) -> Result<Option<String>, String> {
        let mut used = self.transaction(changes)?;
        if matches!(used.result, Err(redb::Error::PreviousIo)) {
            self.store.db.reopen(used.opened)?;
            used = self.transaction(changes)?;
        }
        let Err(error) = used.result else {
            self.store.commits += 1;
            return Ok(None);
        };
        let why = error.to_string();
        if !is_for_want_of_room(&error) {
            return Err(why);
        }
        self.store
            .db
            .reopen(used.opened)
            .map_err(|e| format!("{why}; and it cannot be opened again: {e}"))?;
        let commits = self.commits().map_err(|e| format!("{why}; then {e}"))?;
        if commits == self.store.commits { Ok(Some(why)) } else { Err(why) }
    }

    fn transaction(&self, changes: &[(Id, Change)]) -> Result<Used<()>, String> {
        self.store.db.with(|db| commit(db, changes, self.store.commits + 1))
    }

    fn commits(&self) -> Result<u64, String> {
        self.store.db.read(|txn| Ok(txn.open_table(META)?.get("commits")?.map_or(0, |n| n.value())))
    }
}

fn commit(db: &Database, changes: &[(Id, Change)], commits: u64) -> Result<(), redb::Error> {
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    {
        txn.open_table(META)?.insert("commits", commits)?;
        let mut index = txn.open_table(INDEX)?;
        let mut blobs = txn.open_table(BLOBS)?;
        for (id, change) in changes {
            let place = id.as_bytes().as_slice();
            match change {
                Change::Keep { held, blob } => {
                    index.insert(place, held.to_row().as_slice())?;
                    if let Some(bytes) = blob {
                        blobs.insert(place, &**bytes)?;
                    }
                }
                Change::Drop => {
                    index.remove(place)?;
                    blobs.remove(place)?;
                }
            }
        }
    }
    txn.commit()?;
    Ok(())
}

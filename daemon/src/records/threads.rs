//! The thread that writes records, and the one that reads blobs.

use super::{BLOBS, CACHE_BYTES, INDEX, META, RecordReader, RecordStore};
use crate::driver::UNPOISONED;
use crate::storage::database::{is_for_want_of_room, open_database, placeholder};
use crate::storage::rows::Row;
use chinwag_dht::{BatchId, Change, Id, LoadId};
use redb::ReadableDatabase;
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
    #[allow(dead_code, reason = "for doors beside the overlay's own")]
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
                let _ = report.send(RecordsStored::Loaded(load, blobs.blob(&id)));
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

struct Writer {
    store: RecordStore,
    stored: mpsc::UnboundedSender<RecordsStored>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Batch>) {
        while let Ok(Batch::Commit(batch, changes)) = queue.recv() {
            let (told, broken) = match self.write(changes) {
                Ok(None) => (RecordsStored::Persisted(batch), false),
                Ok(Some(why)) => (RecordsStored::Failed(batch, why), false),
                Err(why) => (RecordsStored::Broken(why), true),
            };
            let _ = self.stored.send(told);
            if broken {
                return;
            }
        }
    }

    /// One transaction. `Some` says why it is known not to have happened; an error means that the disk cannot be trusted
    /// any more.
    ///
    /// A commit that failed for want of room has not happened if the database, opened again, counts as many commits as
    /// before. After any other failure, a failed fsync above all, what can be read back proves nothing.
    fn write(&mut self, changes: Vec<(Id, Change)>) -> Result<Option<String>, String> {
        let Err(error) = self.transaction(changes) else {
            self.store.commits += 1;
            return Ok(None);
        };
        let why = error.to_string();
        if !is_for_want_of_room(&error) {
            return Err(why);
        }
        self.reopen().map_err(|e| format!("{why}; and it cannot be opened again: {e}"))?;
        let commits = self.commits().map_err(|e| format!("{why}; then {e}"))?;
        if commits == self.store.commits { Ok(Some(why)) } else { Err(why) }
    }

    fn transaction(&self, changes: Vec<(Id, Change)>) -> Result<(), redb::Error> {
        let db = self.store.db.read().expect(UNPOISONED);
        let mut txn = db.begin_write()?;
        txn.set_quick_repair(true);
        {
            txn.open_table(META)?.insert("commits", self.store.commits + 1)?;
            let mut index = txn.open_table(INDEX)?;
            let mut blobs = txn.open_table(BLOBS)?;
            for (id, change) in changes {
                let place = id.as_bytes().as_slice();
                match change {
                    Change::Keep { held, blob } => {
                        index.insert(place, held.to_row().as_slice())?;
                        if let Some(bytes) = blob {
                            blobs.insert(place, &*bytes)?;
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

    /// redb refuses everything after an I/O error until the file is opened again, which also shows what it holds.
    fn reopen(&mut self) -> Result<(), String> {
        let mut db = self.store.db.write().expect(UNPOISONED);
        // The file is locked by whoever has it open, so it is closed first.
        drop(std::mem::replace(&mut *db, placeholder()?));
        let (again, _) = open_database(&self.store.path, CACHE_BYTES).map_err(|e| e.to_string())?;
        *db = again;
        Ok(())
    }

    fn commits(&self) -> Result<u64, redb::Error> {
        let db = self.store.db.read().expect(UNPOISONED);
        let txn = db.begin_read()?;
        Ok(txn.open_table(META)?.get("commits")?.map_or(0, |n| n.value()))
    }
}

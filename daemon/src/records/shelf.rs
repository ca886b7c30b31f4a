//! The records of this daemon as Kademlia sees them, through either door.

use super::RecordReader;
use crate::clock;
use crate::driver::{Command, UNPOISONED};
use crate::kad::Shelf;
use chinwag_base::limits::{SHELF_FETCHED_BLOBS_MAX, SHELF_FETCHES_MAX};
use chinwag_dht::{Ask, BlobHash, Content, Outcome, Record, RecordKey, ValidRecord};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long a blob is looked for. Whoever asked has had its "no" already and will ask again.
const FETCH_WITHIN: Duration = Duration::from_secs(5);

/// What lies on this daemon's disk, and the blobs that were fetched from other owners a moment ago.
pub(crate) struct OverlayShelf {
    reader: RecordReader,
    /// Weak, so that a door does not keep a driver running whose handles are gone.
    commands: mpsc::WeakSender<Command>,
    fetched: Arc<Mutex<Fetched>>,
}

#[derive(Default)]
struct Fetched {
    under_way: BTreeSet<BlobHash>,
    /// The newest last.
    blobs: VecDeque<(BlobHash, Record)>,
}

impl OverlayShelf {
    pub(crate) fn new(reader: RecordReader, commands: &mpsc::Sender<Command>) -> Self {
        OverlayShelf { reader, commands: commands.downgrade(), fetched: Arc::default() }
    }
}

impl Shelf for OverlayShelf {
    fn get(&self, key: &RecordKey) -> Option<Record> {
        if let Ok(Some((held, blob))) = self.reader.get(&key.id()) {
            let record = held.to_record(blob).filter(|record| record.key == *key);
            // The disk may have changed the bytes, and the record may have ended.
            if let Some(Ok(valid)) = record.map(|record| record.validate(clock::wall())) {
                return Some(valid.into_record());
            }
        }
        let RecordKey::Blob(hash) = key else { return None };
        let fetched = self.fetched.lock().expect(UNPOISONED);
        fetched.blobs.iter().find(|(held, _)| held == hash).map(|(_, record)| record.clone())
    }

    fn put(&self, record: ValidRecord) -> Result<(), String> {
        let commands = self.commands.upgrade().ok_or("the daemon is stopping")?;
        commands.try_send(Command::Accept(record.into_record())).map_err(|_| "the daemon is busy".to_owned())
    }

    fn fetch(&self, hash: BlobHash) {
        let Some(commands) = self.commands.upgrade() else { return };
        let mut fetched = self.fetched.lock().expect(UNPOISONED);
        if fetched.under_way.len() >= SHELF_FETCHES_MAX || !fetched.under_way.insert(hash) {
            return;
        }
        drop(fetched);
        let fetched = self.fetched.clone();
        tokio::spawn(async move {
            let (reply, answer) = oneshot::channel();
            let ask = Ask::Get { key: RecordKey::Blob(hash), quorum: None };
            let sent = commands.try_send(Command::Ask { ask, timeout: FETCH_WITHIN, reply });
            drop(commands);
            let found = if sent.is_ok() { answer.await.ok() } else { None };
            let mut fetched = fetched.lock().expect(UNPOISONED);
            fetched.under_way.remove(&hash);
            if let Some(Ok(Outcome::Found(Some(record)))) = found.map(|reply| reply.result)
                && matches!(record.content, Content::Blob(_))
            {
                fetched.blobs.push_back((hash, record));
                if fetched.blobs.len() > SHELF_FETCHED_BLOBS_MAX {
                    fetched.blobs.pop_front();
                }
            }
        });
    }
}

//! The records of this daemon as Kademlia sees them, through either door.
//!
//! A program that gets a blob asks each peer once, and a walk among members does too: a "not yet" is a "no" to it. So the
//! first question is answered from the disk, although the swarm's task waits meanwhile; but not while the database is
//! being opened again, and only [`SHELF_READS_PER_SECOND_MAX`] times a second. What is beyond that, and what could not be
//! read at the first attempt, is read on another thread, and found by the second question. Blobs that were read or
//! fetched a moment ago are answered from memory.

use super::RecordReader;
use crate::clock;
use crate::driver::{Command, UNPOISONED};
use crate::kad::Shelf;
use chinwag_base::WallTime;
use chinwag_base::limits::{SHELF_FETCHED_BLOBS_MAX, SHELF_FETCHES_MAX, SHELF_READS_PER_SECOND_MAX};
use chinwag_dht::{Ask, BlobHash, Content, Outcome, Record, RecordKey, ValidRecord};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// How long a blob is looked for. Whoever asked has had its "no" already and will ask again.
const FETCH_WITHIN: Duration = Duration::from_secs(5);

/// What lies on this daemon's disk, and the blobs that were fetched from other owners a moment ago.
pub(crate) struct OverlayShelf {
    reader: RecordReader,
    /// Weak, so that a door does not keep a driver running whose handles are gone.
    commands: mpsc::WeakSender<Command>,
    at_hand: Arc<Mutex<AtHand>>,
}

struct AtHand {
    under_way: BTreeSet<BlobHash>,
    /// The newest last.
    blobs: VecDeque<(BlobHash, Record)>,
    /// When the present second of reading began, and how often it was read within it.
    reads: (Instant, u32),
}

impl AtHand {
    fn get(&mut self, hash: &BlobHash, now: WallTime) -> Option<Record> {
        self.blobs.retain(|(_, record)| record.expires.is_none_or(|end| end > now));
        self.blobs.iter().find(|(held, _)| held == hash).map(|(_, record)| record.clone())
    }

    fn keep(&mut self, hash: BlobHash, record: Record) {
        self.blobs.retain(|(held, _)| *held != hash);
        self.blobs.push_back((hash, record));
        if self.blobs.len() > SHELF_FETCHED_BLOBS_MAX {
            self.blobs.pop_front();
        }
    }

    /// Whether one more read may keep the swarm waiting now; it is counted if so.
    fn may_read(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.reads;
        if now.duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= SHELF_READS_PER_SECOND_MAX
    }

    /// Whether this may be looked for elsewhere now; it is noted if so.
    fn begin(&mut self, hash: BlobHash) -> bool {
        self.under_way.len() < SHELF_FETCHES_MAX && self.under_way.insert(hash)
    }
}

impl OverlayShelf {
    pub(crate) fn new(reader: RecordReader, commands: &mpsc::Sender<Command>) -> Self {
        let (under_way, blobs) = (BTreeSet::new(), VecDeque::new());
        let at_hand = Arc::new(Mutex::new(AtHand { under_way, blobs, reads: (Instant::now(), 0) }));
        OverlayShelf { reader, commands: commands.downgrade(), at_hand }
    }

    /// Reads a blob where nobody waits.
    fn load(&self, hash: BlobHash) {
        // Without a runtime there is no swarm that would ask again.
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.at_hand.lock().expect(UNPOISONED).begin(hash) {
            return;
        }
        let (reader, at_hand) = (self.reader.clone(), self.at_hand.clone());
        runtime.spawn_blocking(move || {
            let key = RecordKey::Blob(hash);
            let record = reader.get(&key.id()).ok().flatten().and_then(|kept| whole(kept, &key));
            let mut at_hand = at_hand.lock().expect(UNPOISONED);
            at_hand.under_way.remove(&hash);
            if let Some(record) = record {
                at_hand.keep(hash, record);
            }
        });
    }
}

/// The record, unless the disk has changed its bytes or it has ended.
fn whole((held, blob): super::Kept, key: &RecordKey) -> Option<Record> {
    let record = held.to_record(blob).filter(|record| record.key == *key)?;
    record.validate(clock::wall()).ok().map(ValidRecord::into_record)
}

impl Shelf for OverlayShelf {
    fn get(&self, key: &RecordKey) -> Option<Record> {
        // Only blobs leave through Kademlia.
        let RecordKey::Blob(hash) = key else { return None };
        let may_read = {
            let mut at_hand = self.at_hand.lock().expect(UNPOISONED);
            if let Some(record) = at_hand.get(hash, clock::wall()) {
                return Some(record);
            }
            at_hand.may_read(Instant::now())
        };
        match may_read.then(|| self.reader.try_get(&key.id())).flatten() {
            Some(Ok(found)) => {
                let record = whole(found?, key)?;
                self.at_hand.lock().expect(UNPOISONED).keep(*hash, record.clone());
                Some(record)
            }
            Some(Err(_)) | None => {
                self.load(*hash);
                None
            }
        }
    }

    fn put(&self, record: ValidRecord) -> Result<(), String> {
        let commands = self.commands.upgrade().ok_or("the daemon is stopping")?;
        commands.try_send(Command::Accept(record.into_record())).map_err(|_| "the daemon is busy".to_owned())
    }

    fn fetch(&self, hash: BlobHash) {
        let Some(commands) = self.commands.upgrade() else { return };
        if !self.at_hand.lock().expect(UNPOISONED).begin(hash) {
            return;
        }
        let at_hand = self.at_hand.clone();
        tokio::spawn(async move {
            let (reply, answer) = oneshot::channel();
            let ask = Ask::Get { key: RecordKey::Blob(hash), quorum: None };
            let sent = commands.try_send(Command::Ask { ask, timeout: FETCH_WITHIN, reply });
            drop(commands);
            let found = if sent.is_ok() { answer.await.ok() } else { None };
            let mut at_hand = at_hand.lock().expect(UNPOISONED);
            at_hand.under_way.remove(&hash);
            if let Some(Ok(Outcome::Found(Some(record)))) = found.map(|reply| reply.result)
                && matches!(record.content, Content::Blob(_))
            {
                at_hand.keep(hash, record);
            }
        });
    }
}

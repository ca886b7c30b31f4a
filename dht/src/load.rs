//! Blobs come from the disk, and what the disk says is checked against the name.
//!
//! A blob whose bytes have changed, or are gone, is *damaged*: it is taken out of the index, so that nobody is
//! told that it is here, the others are asked for it, and it is written anew.

use crate::Dht;
use crate::distance::Id;
use crate::event::Event;
use crate::held::Held;
use crate::io::{Ask, LoadId};
use crate::message::{Found, Message, Question, Refusal, Text, Want};
use crate::operation::{Answer, Origin};
use crate::record::{BlobHash, Record, RecordKey};
use chinwag_base::NodeId;
use chinwag_base::limits::LOADS_MAX;
use std::sync::Arc;
use std::time::Duration;

/// How long a repair may take.
const REPAIR_WITHIN: Duration = Duration::from_secs(30);

/// What a blob is read for.
#[derive(Debug, Clone)]
pub(crate) enum Load {
    /// To answer a peer.
    Answer { to: NodeId, question: Question, id: Id },
    /// To answer an operation of our own that asked ourselves.
    Own { operation: u64, asked: usize, id: Id },
    /// To pass it on to another owner.
    HandOff { to: NodeId, id: Id },
    /// To see whether it is still whole.
    Scrub { id: Id },
}

impl Load {
    fn id(&self) -> Id {
        match self {
            Load::Answer { id, .. }
            | Load::Own { id, .. }
            | Load::HandOff { id, .. }
            | Load::Scrub { id } => *id,
        }
    }
}

impl Dht {
    pub(crate) fn on_get(&mut self, from: NodeId, question: Question, key: &RecordKey, want: Want) {
        let id = key.id();
        let found = match self.look_up(&id, want) {
            Ok(found) => found,
            Err(()) if self.loads.len() >= LOADS_MAX => Found::Refused(Refusal::Busy),
            Err(()) => return self.load(id, Load::Answer { to: from, question, id }),
        };
        self.send(from, Message::Got { question, found });
    }

    /// What this node holds; an error if it has to be read from the disk first.
    pub(crate) fn look_up(&self, id: &Id, want: Want) -> Result<Found, ()> {
        let Some(held) = self.store.get(id, self.wall()) else { return Ok(Found::Absent) };
        match want {
            // A tombstone is short, and whoever searches wants to know that it is one.
            Want::Digest if !held.is_tombstone() => Ok(Found::Digest(held.digest())),
            Want::Digest => held.to_record(None).map(Found::Record).ok_or(()),
            Want::Whole => held.to_record(None).map(Found::Record).ok_or(()),
        }
    }

    pub(crate) fn on_loaded(&mut self, load: LoadId, blob: Result<Option<Arc<[u8]>>, String>) {
        let Some(load) = self.loads.remove(&load) else { return };
        let id = load.id();
        let held = self.store.get(&id, self.wall()).cloned();
        let found = match (held, blob) {
            // It ended meanwhile, or was found to be damaged by another reader.
            (None, _) => Found::Absent,
            // The disk says nothing about the bytes: they may be there the next time.
            (Some(_), Err(why)) => Found::Refused(Refusal::Disk(Text::new(why))),
            (Some(held), Ok(blob)) => match whole(&held, blob) {
                Ok(record) => Found::Record(record),
                Err(why) => {
                    self.damaged(&held, why);
                    Found::Absent
                }
            },
        };
        match load {
            Load::Answer { to, question, .. } => self.send(to, Message::Got { question, found }),
            Load::Own { operation, asked, .. } => self.answered(operation, asked, Answer::Got(found)),
            Load::HandOff { to, .. } => {
                let record = if let Found::Record(record) = found { Some(record) } else { None };
                self.hand_off_loaded(to, id, record);
            }
            Load::Scrub { .. } => {}
        }
    }

    fn damaged(&mut self, held: &Held, why: String) {
        let id = held.key.id();
        let before = self.store.digest(&id);
        self.store.forget(&id);
        self.row_changed(id, before);
        self.event(Event::Damaged { key: held.key.clone(), why });
        let ask = Ask::Get { key: held.key.clone(), quorum: None };
        let until = self.now + REPAIR_WITHIN;
        if self.begin(Origin::Repair(held.expires), ask, until).is_err() {
            self.event(Event::Irreparable { key: held.key.clone() });
        }
    }
}

/// The record, if the bytes are what its name says.
fn whole(held: &Held, blob: Option<Arc<[u8]>>) -> Result<Record, String> {
    let bytes = blob.ok_or("its bytes are not on the disk")?;
    match held.key {
        RecordKey::Blob(named) if BlobHash::of(&bytes) != named => {
            Err(format!("its bytes have the hash {}", BlobHash::of(&bytes)))
        }
        _ => held.to_record(Some(bytes)).ok_or_else(|| "it is no blob".to_owned()),
    }
}

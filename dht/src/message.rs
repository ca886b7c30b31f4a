//! What owners and those who ask them say to each other, all on the bulk lane.

use crate::distance::Id;
use crate::record::{Record, RecordKey};
use chinwag_base::Digest;
use chinwag_base::limits::OFFER_RECORDS_MAX;
use serde::{Deserialize, Deserializer, Serialize, de};

/// Names a question, for its answer. Unique for whoever asks, while it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Question(pub u64);

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Hold this. Answered by [`Message::Put`]'s [`Message::Stored`] once it is durable.
    Put {
        /// For the answer.
        question: Question,
        /// A record or, of a cell, a change.
        record: Record,
        /// Not the publisher puts it, but another owner passes it on.
        passed_on: bool,
    },
    /// It is held durably, or not.
    Stored {
        /// What was asked.
        question: Question,
        /// How it went.
        verdict: Stored,
    },
    /// Tell me what you hold.
    Get {
        /// For the answer.
        question: Question,
        /// Of which record.
        key: RecordKey,
        /// How much of it.
        want: Want,
    },
    /// What is held.
    Got {
        /// What was asked.
        question: Question,
        /// It.
        found: Found,
    },
    /// All records of which we two are both owners, in short. If yours differ, offer me yours.
    Compare {
        /// How many there are.
        records: u64,
        /// The sum of their digests.
        digest: Digest,
        /// The membership has just changed. Otherwise a difference may be a put under way, and is looked at again first.
        urgent: bool,
        /// This answers a comparison that differed; it is not answered again.
        answer: bool,
    },
    /// I hold these. Which do you lack?
    Offer {
        /// For the answer.
        question: Question,
        /// Their places and digests.
        records: Offered,
    },
    /// Send me these.
    Lack {
        /// What was offered.
        question: Question,
        /// By their position in the offer, ascending.
        positions: Vec<u16>,
    },
}

/// How a put went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Stored {
    /// It is durable, and the cell that it is part of holds nothing that the put had not seen.
    Alone,
    /// It is durable, and beside it there is more: the whole cell. Whoever put it may want to replace that too.
    Merged(Record),
    /// It is not held.
    Refused(Refusal),
}

/// Why an owner does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The record is not valid, or does not fit. In words, because the versions of two members may differ.
    #[error("{0}")]
    Record(Text),
    /// Too much waits for its disk, or is read from it.
    #[error("its disk is busy")]
    Busy,
    /// Its disk failed.
    #[error("its disk refused: {0}")]
    Disk(Text),
    /// Whoever asks may not write.
    #[error("a reader may not put records")]
    Reader,
    /// A put in another's name.
    #[error("a record is put by its publisher")]
    Publisher,
}

/// A short text from a peer: at most [`Text::BYTES_MAX`] bytes of it are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// The longest sentence that an owner answers with.
    pub const BYTES_MAX: usize = 240;

    /// The text, cut at a character's border.
    pub fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        let cut = (0..=Text::BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(cut.unwrap_or(0));
        Text(text)
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&chinwag_base::key::printable(&self.0))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Text::new)
    }
}

/// How much of a record is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// All of it.
    Whole,
    /// Whether it is there, and its digest: a blob's bytes stay where they are.
    Digest,
}

/// What an owner holds of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Found {
    /// The record, a tombstone too.
    Record(Record),
    /// It is there, and this is its digest.
    Digest(Digest),
    /// Nothing is there.
    Absent,
    /// It cannot say.
    Refused(Refusal),
}

/// The records of one offer, at most [`OFFER_RECORDS_MAX`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Offered(pub Vec<(Id, Digest)>);

impl<'de> Deserialize<'de> for Offered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let records = Vec::deserialize(deserializer)?;
        if records.len() > OFFER_RECORDS_MAX {
            return Err(de::Error::custom("an offer of too many records"));
        }
        Ok(Offered(records))
    }
}

//! A row of an owner's index, and how two rows of one key join.

use crate::cell::{Cell, CellError};
use crate::record::{Content, Record, RecordKey, ValidRecord};
use chinwag_base::limits::{RECORD_OVERHEAD_BYTES, TOMBSTONE_LIFE_MS};
use chinwag_base::{Digest, NodeId, WallTime, codec};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is under a key, in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// The cell itself.
    Cell(Cell),
    /// A blob of this many bytes, which are on the disk.
    Blob {
        /// Its length.
        len: u32,
    },
}

/// A row of the index: a record without a blob's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What it is found by.
    pub key: RecordKey,
    /// What it says.
    pub body: Body,
    /// Who put it, and is counted for it.
    pub publisher: NodeId,
    /// When it is gone.
    pub expires: Option<WallTime>,
}

impl Held {
    /// The row of a record, and a blob's bytes.
    pub fn of(record: ValidRecord) -> (Self, Option<Arc<[u8]>>) {
        let Record { key, content, publisher, expires } = record.into_record();
        let (body, blob) = match content {
            Content::Cell(cell) => (Body::Cell(cell), None),
            Content::Blob(bytes) => (Body::Blob { len: bytes.len() as u32 }, Some(bytes)),
        };
        (Held { key, body, publisher, expires }, blob)
    }

    /// The record, with its bytes if it is a blob; none if a blob's bytes are not given.
    pub fn to_record(&self, blob: Option<Arc<[u8]>>) -> Option<Record> {
        let content = match &self.body {
            Body::Cell(cell) => Content::Cell(cell.clone()),
            Body::Blob { .. } => Content::Blob(blob?),
        };
        Some(Record { key: self.key.clone(), content, publisher: self.publisher, expires: self.expires })
    }

    /// The cell, if it is one.
    pub fn cell(&self) -> Option<&Cell> {
        match &self.body {
            Body::Cell(cell) => Some(cell),
            Body::Blob { .. } => None,
        }
    }

    /// Whether it says that something is deleted.
    pub fn is_tombstone(&self) -> bool {
        self.cell().is_some_and(Cell::is_deleted)
    }

    /// Joins the other row of the same key into this one, at the time `now`.
    ///
    /// # Errors
    /// If the cell would be too large; the row is as it was.
    pub fn join(&mut self, other: &Held, now: WallTime) -> Result<(), CellError> {
        let tombstones = [&*self, other].into_iter().filter(|held| held.is_tombstone());
        let gone_until = tombstones.filter_map(|held| held.expires).max();
        match (&mut self.body, &other.body) {
            (Body::Cell(mine), Body::Cell(theirs)) => {
                mine.join(theirs)?;
                self.expires = if mine.is_deleted() {
                    // Two live cells that delete each other make a tombstone that begins now.
                    Some(gone_until.unwrap_or_else(|| now.plus_ms(TOMBSTONE_LIFE_MS)))
                } else {
                    mine.expires()
                };
            }
            // Later is more, and never is most.
            _ => self.expires = self.expires.zip(other.expires).map(|(mine, theirs)| mine.max(theirs)),
        }
        self.publisher = self.publisher.max(other.publisher);
        Ok(())
    }

    /// What owners compare. A tombstone's end is left out, because each owner counts it by its own clock.
    pub fn digest(&self) -> Digest {
        let end = if self.is_tombstone() { None } else { self.expires };
        Digest::of("chinwag dht record", &codec::encode(&(&self.key, &self.body, end)))
    }

    /// What it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        RECORD_OVERHEAD_BYTES + self.cell().map_or(0, Cell::weight)
    }

    /// What it takes on the disk beside its row.
    pub fn blob_bytes(&self) -> usize {
        match self.body {
            Body::Cell(_) => 0,
            Body::Blob { len } => len as usize,
        }
    }

    pub(crate) fn has_ended(&self, now: WallTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What a live cell leaves when it ends, if it has replaced anything: a tombstone. Every owner makes the same.
    pub(crate) fn entombed(&self) -> Option<Held> {
        let cell = self.cell().filter(|cell| !cell.is_deleted())?.entombed()?;
        let expires = self.expires.map(|end| end.plus_ms(TOMBSTONE_LIFE_MS));
        Some(Held { body: Body::Cell(cell), expires, ..self.clone() })
    }
}

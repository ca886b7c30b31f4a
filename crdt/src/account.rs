//! What a change to a cell does to the digest and to the memory in use, summed up as it happens.
//!
//! The digest of the state is the sum of one term per live dot, run, floor and doomed dot. A change adds and
//! subtracts terms, so its cost does not depend on how large the state is.

use crate::mark::{Mark, Writer, Writers};
use crate::{Dot, Lease, Run};
use chinwag_base::{Digest, Key, ReplicaId};

/// The bytes that a term hashes. Every variable part is preceded by its length, so no two items read the same.
pub(crate) struct Item(Vec<u8>);

/// Room for an item with a key and a value of usual length: most are written without growing.
const ITEM_BYTES: usize = 320;

impl Item {
    /// Nothing yet. `domain` keeps unlike items apart.
    pub(crate) fn new(domain: &'static str) -> Self {
        Item(Digest::begin(domain, ITEM_BYTES))
    }

    pub(crate) fn of_key(domain: &'static str, key: &Key) -> Self {
        Item::new(domain).bytes(key.as_str().as_bytes())
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self = self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn number(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_le_bytes());
        self
    }

    pub(crate) fn replica(mut self, replica: ReplicaId) -> Self {
        self.0.extend_from_slice(replica.node.as_bytes());
        self.number(replica.generation.get())
    }

    pub(crate) fn dot(self, dot: Dot) -> Self {
        self.replica(dot.replica).number(dot.counter)
    }

    pub(crate) fn run(self, run: Run) -> Self {
        self.number(run.start).number(run.last).number(run.plus).number(run.minus)
    }

    pub(crate) fn digest(self) -> Digest {
        Digest::of_begun(&self.0)
    }
}

/// By how much one change moves the digest and the bytes of its key's cell.
pub(crate) struct Account<'a> {
    pub(crate) key: &'a Key,
    /// The cell's digest before; none if nobody asks for the digest.
    before: Option<Digest>,
    /// The writers that marks point to; none if what is made will not be kept.
    writers: Option<&'a mut Writers>,
    /// To be added to the digests of the cell, of the namespace and of everything. Sums wrap, so it may stand for a
    /// decrease.
    pub(crate) digest: Digest,
    /// To be added to those of the namespace and of everything: notes that belong to the key, not to its cell.
    pub(crate) notes: Digest,
    /// Bytes of metadata that came.
    pub(crate) bytes_more: usize,
    /// Bytes of metadata that went.
    pub(crate) bytes_less: usize,
    /// Leases that came (true) or went.
    pub(crate) leases: Vec<(Dot, Lease, bool)>,
}

impl<'a> Account<'a> {
    /// Of a cell that has this digest.
    pub(crate) fn new(key: &'a Key, before: Digest, writers: &'a mut Writers) -> Self {
        Account { before: Some(before), writers: Some(writers), ..Account::of_copy(key) }
    }

    /// Of a copy that nobody asks for its digest: terms are not computed.
    pub(crate) fn of_copy(key: &'a Key) -> Self {
        Account {
            key,
            before: None,
            writers: None,
            digest: Digest::EMPTY,
            notes: Digest::EMPTY,
            bytes_more: 0,
            bytes_less: 0,
            leases: Vec::new(),
        }
    }

    /// The writer with this id, to be kept in the cell.
    pub(crate) fn writer(&mut self, id: ReplicaId) -> Writer {
        match &mut self.writers {
            Some(writers) => writers.writer(id),
            None => id.into(),
        }
    }

    pub(crate) fn mark(&mut self, dot: Dot) -> Mark {
        Mark::new(self.writer(dot.replica), dot.counter)
    }

    pub(crate) fn add(&mut self, term: impl FnOnce(&Key) -> Digest, bytes: usize) {
        if self.before.is_some() {
            self.digest += term(self.key);
        }
        self.bytes_more += bytes;
    }

    pub(crate) fn note(&mut self, term: Digest, bytes: usize) {
        self.notes += term;
        self.bytes_more += bytes;
    }

    pub(crate) fn subtract(&mut self, term: impl FnOnce(&Key) -> Digest, bytes: usize) {
        if self.before.is_some() {
            self.digest -= term(self.key);
        }
        self.bytes_less += bytes;
    }

    /// The last term of a cell goes: that is what its digest is, and need not be computed again.
    pub(crate) fn subtract_all(&mut self, bytes: usize) {
        if let Some(before) = self.before {
            self.digest = Digest::EMPTY - before;
        }
        self.bytes_less += bytes;
    }
}

//! An audit: whether cells, clock, notes, log and sums of a replica agree, all of it computed from scratch.
//!
//! Each of them is kept up to date by small steps, and each is believed by everybody else: the clock says what absence
//! means, the digests say who holds the same. So whoever suspects a disk, a memory or this program asks for all of it to
//! be compared once. It takes as long as a start does.

use crate::index::Index;
use crate::{Dot, Part, Replica};
use chinwag_base::{Digest, Key};
use std::collections::{BTreeMap, BTreeSet};

/// Faults that are told one by one; of more than these only the number.
const FAULTS_TOLD_MAX: usize = 16;

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// Cells, among them those in which nothing is live.
    pub cells: usize,
    /// Keys that are live.
    pub keys: usize,
    /// Notes on dots that were removed before they came.
    pub notes: usize,
    /// Entries of the log.
    pub entries: usize,
    /// What does not agree: the first of it.
    pub faults: Vec<Fault>,
    /// How much more does not.
    pub more: usize,
}

/// Two things that do not agree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A cell is not what its digest says.
    #[error("the digest of {key} is not that of what it holds")]
    Cell {
        /// Its key.
        key: Key,
    },
    /// The digest of the state is not that of the cells and notes.
    #[error("the digest of the state is not the sum of its cells' and notes'")]
    State,
    /// The digests of the namespaces do not add up.
    #[error("the digests of the namespaces do not add up to that of the state")]
    Namespaces,
    /// The sketch by which others find differing cells is not that of the cells.
    #[error("the sketch of the cells is not theirs")]
    Sketch,
    /// The digest of the clock is not the clock's.
    #[error("the digest of the clock is not the clock's")]
    Clock,
    /// A cell holds what the clock does not cover, so that others would send it again.
    #[error("{key} holds {dot}, which the clock does not cover")]
    Uncovered {
        /// Its key.
        key: Key,
        /// What it holds.
        dot: Dot,
    },
    /// A cell holds what an entry of the log has removed.
    #[error("{key} holds {dot}, which {by} in the log has removed")]
    Survived {
        /// Its key.
        key: Key,
        /// What it holds.
        dot: Dot,
        /// The entry that removes it.
        by: Dot,
    },
    /// A dot has come, and is still noted as one that was removed before it came.
    #[error("{dot} of {key} has come, and is still expected as one that was removed before")]
    Noted {
        /// The key.
        key: Key,
        /// The dot.
        dot: Dot,
    },
    /// The log has an entry that the clock does not cover.
    #[error("the log has {dot}, which the clock does not cover")]
    Unclaimed {
        /// The entry.
        dot: Dot,
    },
}

impl Audit {
    /// Whether all agrees.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    fn fault(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_TOLD_MAX {
            self.faults.push(fault);
        } else {
            self.more += 1;
        }
    }
}

impl Replica {
    /// Compares cells, clock, notes, log and sums with each other. What is staged is left alone.
    pub fn audit(&self) -> Audit {
        let mut audit = Audit {
            cells: self.cells.len(),
            keys: self.len(),
            notes: self.doomed.notes(),
            entries: self.log.len(),
            ..Audit::default()
        };
        self.audit_sums(&mut audit);
        self.audit_clock(&mut audit);
        self.audit_log(&mut audit);
        audit
    }

    fn audit_sums(&self, audit: &mut Audit) {
        let mut index = Index::default();
        let (mut all, mut namespaces) = (self.doomed.digest(), BTreeMap::new());
        for (key, cell) in &self.cells {
            let sum = cell.digest(key);
            if sum != cell.sum {
                audit.fault(Fault::Cell { key: key.clone() });
            }
            all += sum;
            *namespaces.entry(key.namespace()).or_insert(Digest::EMPTY) += sum;
            index.exchange(key, Digest::EMPTY, sum);
        }
        index.settle();
        if all != self.digest() {
            audit.fault(Fault::State);
        }
        if self.namespace_digests().fold(Digest::EMPTY, |all, (_, sum)| all + sum) != self.digest() {
            audit.fault(Fault::Namespaces);
        }
        if index.sketch() != self.index.sketch() {
            audit.fault(Fault::Sketch);
        }
        if self.clock.digest() != self.clock_digest() {
            audit.fault(Fault::Clock);
        }
    }

    fn audit_clock(&self, audit: &mut Audit) {
        for (dot, key) in self.doomed.iter() {
            if self.has_seen(key, dot) {
                audit.fault(Fault::Noted { key: key.clone(), dot });
            }
        }
        // Cells that came whole may know more than the clock says, until all have come.
        if self.session.is_some() || self.unsettled {
            return;
        }
        for key in self.cells.keys() {
            let beyond = self.parts_of(key).filter(is_write).map(|part| part.newest());
            for dot in beyond.filter(|dot| !self.clock.covers(*dot)) {
                audit.fault(Fault::Uncovered { key: key.clone(), dot });
            }
        }
    }

    fn audit_log(&self, audit: &mut Audit) {
        // A large set has many entries, and is looked through once.
        let mut live: BTreeMap<&Key, BTreeSet<Dot>> = BTreeMap::new();
        for dot in self.log.after(0).map(|(_, dot)| dot) {
            if !self.clock.covers(dot) {
                audit.fault(Fault::Unclaimed { dot });
            }
            let Some(entry) = self.log.get(dot) else { continue };
            if entry.removed.is_empty() {
                continue;
            }
            let dots_of = |key| self.parts_of(key).filter(is_write).map(|part| part.newest()).collect();
            let live = live.entry(&entry.key).or_insert_with(|| dots_of(&entry.key));
            for gone in entry.removed.iter().filter(|gone| live.contains(gone)) {
                audit.fault(Fault::Survived { key: entry.key.clone(), dot: gone, by: dot });
            }
        }
    }
}

/// Whether a part is there by one write. A counter's share is the sum of many, and its writer says which.
fn is_write(part: &Part) -> bool {
    !matches!(part, Part::Share { .. })
}

//! What goes to the address book on disk, and how often.
//!
//! Each new record of a member is worth a page, but a member that changes its mind in a loop is not worth a disk
//! write each time: a member's page is written at most once a second, with its latest words.

use crate::agenda::Task;
use crate::membership::Membership;
use crate::port::Output;
use crate::record::Record;
use chinwag_base::{Moment, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The pages of one member are at least this far apart.
const PAGE_SPACING: Duration = Duration::from_secs(1);

/// Pages that were written lately, and those that wait for their turn. Both hold members of the view only, or
/// such as left it within the last second, so the view's bound is theirs.
#[derive(Debug, Default)]
pub(crate) struct Book {
    written: BTreeMap<NodeId, Moment>,
    waiting: BTreeMap<NodeId, Arc<Record>>,
}

impl Membership {
    /// Keeps a member's newest words, now or within a second.
    pub(crate) fn keep_page(&mut self, now: Moment, record: Arc<Record>) {
        let id = record.id();
        match self.book.written.get(&id).map(|written| *written + PAGE_SPACING).filter(|turn| now < *turn) {
            Some(turn) => {
                self.book.waiting.insert(id, record);
                self.agenda.set_earlier(Task::Book, turn);
            }
            None => self.write_page(now, record),
        }
    }

    /// Strikes a member.
    pub(crate) fn strike_page(&mut self, id: NodeId) {
        self.book.waiting.remove(&id);
        self.book.written.remove(&id);
        self.emit(Output::Forget(id));
    }

    /// Writes the pages whose turn has come.
    pub(crate) fn write_due_pages(&mut self, now: Moment) {
        self.book.written.retain(|_, written| now < *written + PAGE_SPACING);
        let Book { written, waiting } = &self.book;
        let due: Vec<_> =
            waiting.iter().filter(|(id, _)| !written.contains_key(id)).map(|(_, r)| r.clone()).collect();
        for record in due {
            self.write_page(now, record);
        }
        let turns = self.book.waiting.keys().filter_map(|id| self.book.written.get(id));
        if let Some(next) = turns.min() {
            self.agenda.set(Task::Book, *next + PAGE_SPACING);
        }
    }

    /// Writes all that waits: the process is about to exit.
    pub(crate) fn write_all_pages(&mut self, now: Moment) {
        for record in std::mem::take(&mut self.book.waiting).into_values() {
            self.write_page(now, record);
        }
    }

    fn write_page(&mut self, now: Moment, record: Arc<Record>) {
        self.book.waiting.remove(&record.id());
        self.book.written.insert(record.id(), now);
        self.emit(Output::Remember(record));
    }
}

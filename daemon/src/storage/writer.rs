//! The writer thread: takes everything that waits, commits it as one transaction, and tells everyone.

use super::database::{close, is_for_want_of_room, open_database, placeholder};
use super::invites::{self, OpenInvite, Redeemed};
use super::rows::Row;
use super::{CACHE_BYTES, LOG, MEMBERS, Store};
use crate::driver::UNPOISONED;
use chinwag_base::invite::Secret;
use chinwag_base::limits::COMMIT_ENTRIES_MAX;
use chinwag_base::{NodeId, WallTime};
use chinwag_crdt::Entry;
use chinwag_gossip::BatchId;
use chinwag_membership::Record;
use redb::ReadableDatabase;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// What the driver hears from the disk.
#[derive(Debug)]
pub(crate) enum Stored {
    /// The batch is durable.
    Persisted(BatchId),
    /// The batch is known not to be on the disk, and why.
    Failed(BatchId, String),
    /// Nobody knows what the disk holds. The process must end.
    Broken(String),
}

/// A handle on the writer thread.
///
/// What waits for the thread is bounded without a bound on the channel: the node has one batch at the disk at a time,
/// the address book keeps only the newest word on each member, and invites are limited by the API's queue and by the
/// strangers that are let into the admission exchange.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    jobs: Sender<Job>,
    book: Arc<Mutex<Book>>,
}

/// What the address book is to become, by member: a new record, or none.
type Book = BTreeMap<NodeId, Option<Box<Record>>>;

#[derive(Debug)]
enum Job {
    Commit {
        batch: BatchId,
        entries: Vec<Arc<Entry>>,
    },
    Book,
    Close,
    AddInvite {
        secret: Secret,
        invite: OpenInvite,
        now: WallTime,
        reply: oneshot::Sender<Result<bool, String>>,
    },
    Redeem {
        secret: Secret,
        joiner: NodeId,
        now: WallTime,
        reply: oneshot::Sender<Result<Redeemed, String>>,
    },
}

impl Storage {
    /// Starts the writer thread on `store`; it reports to `stored`.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(
        store: Store,
        stored: mpsc::UnboundedSender<Stored>,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = channel();
        let book = Arc::new(Mutex::new(Book::new()));
        let writer = Writer { store, stored, book: book.clone(), pages: Book::new() };
        let thread = std::thread::Builder::new().name("storage".into()).spawn(move || writer.run(&queue))?;
        Ok((Storage { jobs, book }, thread))
    }

    /// Makes a batch of log entries durable. The answer is a [`Stored`].
    pub(crate) fn commit(&self, batch: BatchId, entries: Vec<Arc<Entry>>) {
        self.send(Job::Commit { batch, entries });
    }

    /// Keeps a member in the address book.
    pub(crate) fn remember(&self, record: Record) {
        self.turn_page(record.id(), Some(Box::new(record)));
    }

    /// Removes a member from the address book.
    pub(crate) fn forget(&self, id: NodeId) {
        self.turn_page(id, None);
    }

    fn turn_page(&self, id: NodeId, page: Option<Box<Record>>) {
        let mut book = self.book.lock().expect(UNPOISONED);
        let first = book.is_empty();
        book.insert(id, page);
        if first {
            self.send(Job::Book);
        }
    }

    /// Opens an invite. `Ok(false)`: too many are open.
    ///
    /// # Errors
    /// If the disk refuses; the invite is not open then.
    pub(crate) async fn add_invite(
        &self,
        secret: Secret,
        invite: OpenInvite,
        now: WallTime,
    ) -> Result<bool, String> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::AddInvite { secret, invite, now, reply });
        answer.await.unwrap_or_else(|_| Err("the store is closed".into()))
    }

    /// Redeems an invite: on `Admitted` the joiner is bound to it, durably.
    ///
    /// # Errors
    /// If the disk refuses; nothing is bound then.
    pub(crate) async fn redeem(
        &self,
        secret: Secret,
        joiner: NodeId,
        now: WallTime,
    ) -> Result<Redeemed, String> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Redeem { secret, joiner, now, reply });
        answer.await.unwrap_or_else(|_| Err("the store is closed".into()))
    }

    /// Ends the writer thread once it has done all that it was given. What comes later is refused.
    pub(crate) fn close(&self) {
        self.send(Job::Close);
    }

    fn send(&self, job: Job) {
        // The thread is gone only after it has reported `Broken`, and then the process is ending.
        let _ = self.jobs.send(job);
    }
}

struct Writer {
    store: Store,
    stored: mpsc::UnboundedSender<Stored>,
    book: Arc<Mutex<Book>>,
    /// Taken from the book and not durable yet.
    pages: Book,
}

/// A client's answer that waits for the commit.
type Answer = Box<dyn FnOnce(Result<(), &str>)>;

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let mut jobs = vec![first];
            while jobs.len() < COMMIT_ENTRIES_MAX
                && let Ok(job) = queue.try_recv()
            {
                jobs.push(job);
            }
            let ends = jobs.iter().any(|job| matches!(job, Job::Close));
            // A page that could not be written waits here for the next turn of the book.
            self.pages.append(&mut self.book.lock().expect(UNPOISONED));
            let jobs = self.without_strangers(jobs);
            if jobs.is_empty() {
                continue;
            }
            // redb answers pages that contradict each other with a panic. Damage that no row shows, in what it notes of
            // free pages, is met only now.
            let written = catch_unwind(AssertUnwindSafe(|| self.write(jobs)))
                .unwrap_or_else(|_panic| Err("the pages of the store contradict each other".into()));
            if let Err(broken) = written {
                let _ = self.stored.send(Stored::Broken(broken));
                return close(self.store.db);
            }
            if ends {
                return;
            }
        }
    }

    /// Answers those who show a secret that nobody made, without a commit: strangers must not make the disk work.
    fn without_strangers(&self, jobs: Vec<Job>) -> Vec<Job> {
        jobs.into_iter()
            .filter_map(|job| match job {
                Job::Redeem { secret, reply, .. } if matches!(self.knows(&secret), Ok(false)) => {
                    let _ = reply.send(Ok(Redeemed::Unknown));
                    None
                }
                job => Some(job),
            })
            .collect()
    }

    fn knows(&self, secret: &Secret) -> Result<bool, redb::Error> {
        invites::knows(&self.store.db.begin_read()?, secret)
    }

    /// One transaction for all `jobs`. An error means that the disk cannot be trusted any more.
    ///
    /// A commit that failed for want of room, and whose first row is not there when the database is opened again, is
    /// known not to have happened. After any other failure, a failed fsync above all, what can be read back proves
    /// nothing about what a power cut would leave.
    fn write(&mut self, jobs: Vec<Job>) -> Result<(), String> {
        let mut answers: Vec<Answer> = Vec::new();
        let mut batches = Vec::new();
        let first_row = self.store.next_row;
        let turned = jobs.iter().any(|job| matches!(job, Job::Book));
        let result = self.transaction(jobs, &mut answers, &mut batches);
        let failure = match result {
            Ok(()) => None,
            Err(error) => {
                let why = error.to_string();
                if !is_for_want_of_room(&error) {
                    return Err(why);
                }
                self.reopen(&why)?;
                self.store.next_row = first_row;
                if self.holds(first_row).map_err(|e| format!("{why}; then {e}"))? {
                    return Err(why);
                }
                Some(why)
            }
        };
        if failure.is_none() {
            if turned {
                self.pages.clear();
            }
            self.store.next_row = first_row + batches.iter().map(|(_, n)| *n as u64).sum::<u64>();
        }
        for answer in answers {
            answer(failure.as_deref().map_or(Ok(()), Err));
        }
        for (batch, _) in batches {
            let _ = self.stored.send(match &failure {
                None => Stored::Persisted(batch),
                Some(why) => Stored::Failed(batch, why.clone()),
            });
        }
        Ok(())
    }

    fn transaction(
        &mut self,
        jobs: Vec<Job>,
        answers: &mut Vec<Answer>,
        batches: &mut Vec<(BatchId, usize)>,
    ) -> Result<(), redb::Error> {
        // Batches and answers are noted before anything can fail, so that everyone who waits is told.
        for job in &jobs {
            if let Job::Commit { batch, entries } = job {
                batches.push((*batch, entries.len()));
            }
        }
        let mut result = Ok(());
        let txn = match self.store.db.begin_write() {
            Ok(mut txn) => {
                txn.set_quick_repair(true);
                Some(txn)
            }
            Err(error) => {
                result = Err(error.into());
                None
            }
        };
        for job in jobs {
            let job_result = self.one(txn.as_ref().filter(|_| result.is_ok()), job, answers);
            result = result.and(job_result);
        }
        result?;
        match txn {
            Some(txn) => txn.commit().map_err(Into::into),
            None => Ok(()),
        }
    }

    fn one(
        &mut self,
        txn: Option<&redb::WriteTransaction>,
        job: Job,
        answers: &mut Vec<Answer>,
    ) -> Result<(), redb::Error> {
        match job {
            Job::Commit { entries, .. } => {
                let Some(txn) = txn else { return Ok(()) };
                let mut log = txn.open_table(LOG)?;
                for entry in entries {
                    log.insert(self.store.next_row, entry.to_row().as_slice())?;
                    self.store.next_row += 1;
                }
            }
            Job::Book => {
                let Some(txn) = txn else { return Ok(()) };
                let mut members = txn.open_table(MEMBERS)?;
                for (id, page) in &self.pages {
                    match page {
                        Some(record) => {
                            members.insert(id.as_bytes().as_slice(), record.to_row().as_slice())?
                        }
                        None => members.remove(id.as_bytes().as_slice())?,
                    };
                }
            }
            Job::Close => {}
            Job::AddInvite { secret, invite, now, reply } => {
                let added = txn.map(|txn| invites::add(txn, &secret, &invite, now)).transpose();
                let value = *added.as_ref().ok().and_then(Option::as_ref).unwrap_or(&false);
                answers.push(Box::new(move |ok| {
                    let _ = reply.send(ok.map(|()| value).map_err(str::to_owned));
                }));
                added?;
            }
            Job::Redeem { secret, joiner, now, reply } => {
                let redeemed = txn.map(|txn| invites::redeem(txn, &secret, joiner, now)).transpose();
                let value = *redeemed.as_ref().ok().and_then(Option::as_ref).unwrap_or(&Redeemed::Unknown);
                answers.push(Box::new(move |ok| {
                    let _ = reply.send(ok.map(|()| value).map_err(str::to_owned));
                }));
                redeemed?;
            }
        }
        Ok(())
    }

    /// redb refuses everything after an I/O error until the file is opened again, which also shows what it holds.
    fn reopen(&mut self, why: &str) -> Result<(), String> {
        let Store { db, path, next_row } = replace_store(&mut self.store)?;
        drop(db);
        let (db, _) = open_database(&path, CACHE_BYTES)
            .map_err(|e| format!("{why}; and it cannot be opened again: {e}"))?;
        self.store = Store { db, path, next_row };
        Ok(())
    }

    fn holds(&self, row: u64) -> Result<bool, redb::Error> {
        let txn = self.store.db.begin_read()?;
        let log = txn.open_table(LOG)?;
        Ok(log.get(row)?.is_some())
    }
}

/// Takes the store out so that its file can be closed before it is opened again.
fn replace_store(store: &mut Store) -> Result<Store, String> {
    let path = store.path.clone();
    let next_row = store.next_row;
    Ok(std::mem::replace(store, Store { db: placeholder()?, path, next_row }))
}

//! The writer thread: takes everything that waits, commits it as one transaction, and tells everyone.

use super::database::{close, is_for_want_of_room, open_database, placeholder};
use super::invites::{self, OpenInvite, Redeemed};
use super::rows::Row as _;
use super::{CACHE_BYTES, Compacted, MEMBERS, Meter, Snapshot, Store, state};
use crate::driver::UNPOISONED;
use chinwag_base::invite::Secret;
use chinwag_base::limits::COMMIT_ENTRIES_MAX;
use chinwag_base::{NodeId, WallTime};
use chinwag_crdt::{Checkpoint, Row};
use chinwag_gossip::BatchId;
use chinwag_membership::Record;
use redb::ReadableDatabase;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// What the driver hears from the disk.
#[derive(Debug)]
pub(crate) enum Stored {
    /// The batch is durable.
    Persisted(BatchId),
    /// The batch is known not to be on the disk, and why.
    Failed(BatchId, String),
    /// The checkpoint is durable.
    Checkpointed,
    /// The checkpoint is known not to be on the disk, and why.
    CheckpointFailed(String),
    /// The store as of a commit: of everything before this word, and of nothing after it.
    Snapshot(Result<Snapshot, String>),
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
    meter: Meter,
}

/// How often it is looked whether everybody who reads a snapshot has done so.
const READERS_EVERY: Duration = Duration::from_millis(5);

/// What the address book is to become, by member: a new record, or none.
type Book = BTreeMap<NodeId, Option<Box<Record>>>;

#[derive(Debug)]
enum Job {
    Commit {
        batch: BatchId,
        first: u64,
        rows: Vec<Row>,
    },
    Checkpoint {
        checkpoint: Box<Checkpoint>,
        cut: u64,
    },
    Book,
    Close,
    Snapshot,
    Compact {
        cut: u64,
        reply: oneshot::Sender<Result<Compacted, String>>,
    },
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
        let (pages, lease) = (Book::new(), Arc::new(()));
        let meter = Meter::default();
        let writer = Writer { store, stored, book: book.clone(), pages, lease, meter: meter.clone() };
        let thread = std::thread::Builder::new().name("storage".into()).spawn(move || writer.run(&queue))?;
        Ok((Storage { jobs, book, meter }, thread))
    }

    /// What the disk takes.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Makes rows of the log durable, the first of them at that position. The answer is a [`Stored`].
    pub(crate) fn commit(&self, batch: BatchId, first: u64, rows: Vec<Row>) {
        self.send(Job::Commit { batch, first, rows });
    }

    /// Writes a checkpoint down; rows up to `cut` that are in it go. The answer is a [`Stored`].
    pub(crate) fn checkpoint(&self, checkpoint: Box<Checkpoint>, cut: u64) {
        self.send(Job::Checkpoint { checkpoint, cut });
    }

    /// Shows the store as it is. The answer is a [`Stored`], in its order among the others.
    pub(crate) fn snapshot(&self) {
        self.send(Job::Snapshot);
    }

    /// Drops rows up to `cut` that are in the checkpoint, and gives back what room the file does not need, after all
    /// that was asked for before. Commits wait meanwhile.
    pub(crate) fn compact(&self, cut: u64, reply: oneshot::Sender<Result<Compacted, String>>) {
        self.send(Job::Compact { cut, reply });
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

pub(super) struct Writer {
    pub(super) store: Store,
    stored: mpsc::UnboundedSender<Stored>,
    book: Arc<Mutex<Book>>,
    /// Taken from the book and not durable yet.
    pages: Book,
    /// Held by everybody who reads a snapshot.
    pub(super) lease: Arc<()>,
    meter: Meter,
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
            // As of all that has been answered, and of nothing that has not.
            let (snapshots, jobs): (Vec<Job>, Vec<Job>) =
                jobs.into_iter().partition(|job| matches!(job, Job::Snapshot));
            for _ in snapshots {
                let _ = self.stored.send(Stored::Snapshot(self.show()));
            }
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
                break;
            }
        }
        self.wait_for_readers();
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
        // What is in this transaction is noted before anything can fail, so that everyone who waits is told.
        let commits: Vec<(BatchId, u64)> = jobs
            .iter()
            .filter_map(|job| match job {
                Job::Commit { batch, first, .. } => Some((*batch, *first)),
                _ => None,
            })
            .collect();
        let checkpoint = jobs.iter().find_map(|job| match job {
            Job::Checkpoint { checkpoint, .. } => Some(checkpoint.position),
            _ => None,
        });
        let (compactions, jobs): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| matches!(job, Job::Compact { .. }));
        let turned = jobs.iter().any(|job| matches!(job, Job::Book));
        let rows =
            jobs.iter().map(|job| if let Job::Commit { rows, .. } = job { rows.len() } else { 0 }).sum();
        let begun = Instant::now();
        let result = if jobs.is_empty() { Ok(()) } else { self.transaction(jobs, &mut answers) };
        let failure = match result {
            Ok(()) => None,
            Err(error) => {
                let why = error.to_string();
                if !is_for_want_of_room(&error) {
                    return Err(why);
                }
                self.reopen(&why)?;
                let first = commits.first().map(|(_, first)| *first);
                if self.holds(first, checkpoint).map_err(|e| format!("{why}; then {e}"))? {
                    return Err(why);
                }
                Some(why)
            }
        };
        if failure.is_none() {
            match checkpoint {
                Some(_) => self.meter.checkpoint(begun.elapsed()),
                None if rows > 0 => self.meter.commit(begun.elapsed(), rows),
                None => {}
            }
        }
        if failure.is_none() && turned {
            self.pages.clear();
        }
        for answer in answers {
            answer(failure.as_deref().map_or(Ok(()), Err));
        }
        for (batch, _) in commits {
            let _ = self.stored.send(match &failure {
                None => Stored::Persisted(batch),
                Some(why) => Stored::Failed(batch, why.clone()),
            });
        }
        if checkpoint.is_some() {
            let _ = self.stored.send(failure.map_or(Stored::Checkpointed, Stored::CheckpointFailed));
        }
        for job in compactions {
            if let Job::Compact { cut, reply } = job {
                let _ = reply.send(self.compact(cut)?);
            }
        }
        Ok(())
    }

    fn transaction(&mut self, jobs: Vec<Job>, answers: &mut Vec<Answer>) -> Result<(), redb::Error> {
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
            Job::Commit { first, rows, .. } => {
                let Some(txn) = txn else { return Ok(()) };
                state::append(txn, first, &rows)?;
            }
            Job::Checkpoint { checkpoint, cut } => {
                let Some(txn) = txn else { return Ok(()) };
                state::write(txn, &checkpoint, cut)?;
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
            // Taken out before.
            Job::Close | Job::Snapshot | Job::Compact { .. } => {}
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
    pub(super) fn reopen(&mut self, why: &str) -> Result<(), String> {
        self.wait_for_readers();
        let Store { db, path } = replace_store(&mut self.store)?;
        drop(db);
        let (db, _) = open_database(&path, CACHE_BYTES)
            .map_err(|e| format!("{why}; and it cannot be opened again: {e}"))?;
        self.store = Store { db, path };
        Ok(())
    }

    fn show(&self) -> Result<Snapshot, String> {
        let txn = self.store.db.begin_read().map_err(|e| e.to_string())?;
        Ok(Snapshot { txn, lease: self.lease.clone() })
    }

    /// A file is locked as long as anybody reads it. To read all of it takes seconds at most.
    fn wait_for_readers(&self) {
        while Arc::strong_count(&self.lease) > 1 {
            std::thread::sleep(READERS_EVERY);
        }
    }

    fn holds(&self, row: Option<u64>, checkpoint: Option<u64>) -> Result<bool, redb::Error> {
        state::holds(&self.store.db.begin_read()?, row, checkpoint)
    }
}

/// Takes the store out so that its file can be closed before it is opened again.
fn replace_store(store: &mut Store) -> Result<Store, String> {
    let path = store.path.clone();
    Ok(std::mem::replace(store, Store { db: placeholder()?, path }))
}

//! The writer thread: takes everything that waits, commits it as one transaction, and tells everyone.

use super::invites::{self, OpenInvite, Redeemed};
use super::rows::Row;
use super::{LOG, MEMBERS, Store, open_database};
use chinwag_base::invite::Secret;
use chinwag_base::limits::COMMIT_ENTRIES_MAX;
use chinwag_base::{NodeId, WallTime};
use chinwag_crdt::Entry;
use chinwag_gossip::BatchId;
use chinwag_membership::Record;
use redb::ReadableDatabase;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
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
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    jobs: Sender<Job>,
}

#[derive(Debug)]
enum Job {
    Commit {
        batch: BatchId,
        entries: Vec<Arc<Entry>>,
    },
    Remember(Box<Record>),
    Forget(NodeId),
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
        let writer = Writer { store, stored };
        let thread = std::thread::Builder::new().name("storage".into()).spawn(move || writer.run(&queue))?;
        Ok((Storage { jobs }, thread))
    }

    /// Makes a batch of log entries durable. The answer is a [`Stored`].
    pub(crate) fn commit(&self, batch: BatchId, entries: Vec<Arc<Entry>>) {
        self.send(Job::Commit { batch, entries });
    }

    /// Keeps a member in the address book.
    pub(crate) fn remember(&self, record: Record) {
        self.send(Job::Remember(Box::new(record)));
    }

    /// Removes a member from the address book.
    pub(crate) fn forget(&self, id: NodeId) {
        self.send(Job::Forget(id));
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
            let close = jobs.iter().any(|job| matches!(job, Job::Close));
            if let Err(broken) = self.write(jobs) {
                let _ = self.stored.send(Stored::Broken(broken));
                return;
            }
            if close {
                return;
            }
        }
    }

    /// One transaction for all `jobs`. An error means that the disk cannot be trusted any more.
    fn write(&mut self, jobs: Vec<Job>) -> Result<(), String> {
        let mut answers: Vec<Answer> = Vec::new();
        let mut batches = Vec::new();
        let first_row = self.store.next_row;
        let result = self.transaction(jobs, &mut answers, &mut batches);
        let failure = match result {
            Ok(()) => None,
            Err(error) => {
                let why = error.to_string();
                self.reopen(&why)?;
                self.store.next_row = first_row;
                // The only commit that may be on the disk in spite of an error is the whole transaction.
                (batches.is_empty() || !self.holds(first_row).map_err(|e| format!("{why}; then {e}"))?)
                    .then_some(why)
            }
        };
        if failure.is_none() {
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
            Job::Remember(record) => {
                let Some(txn) = txn else { return Ok(()) };
                txn.open_table(MEMBERS)?
                    .insert(record.id().as_bytes().as_slice(), record.to_row().as_slice())?;
            }
            Job::Close => {}
            Job::Forget(id) => {
                let Some(txn) = txn else { return Ok(()) };
                txn.open_table(MEMBERS)?.remove(id.as_bytes().as_slice())?;
            }
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
        let (db, _) =
            open_database(&path).map_err(|e| format!("{why}; and it cannot be opened again: {e}"))?;
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
    let placeholder = redb::Builder::new()
        .create_with_backend(redb::backends::InMemoryBackend::new())
        .map_err(|e| e.to_string())?;
    let path = store.path.clone();
    let next_row = store.next_row;
    Ok(std::mem::replace(store, Store { db: placeholder, path, next_row }))
}

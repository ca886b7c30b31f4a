//! SQLite as a store of keys and values: a write-ahead log, and every commit durable before it is answered.
//!
//! It takes one writer at a time. Clients that wait are served first come, first served, by one thread with one
//! connection, because SQLite's own way, to sleep and to try again, would only be slower.

use anyhow::{Context as _, Result};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A key is written, whether it was there or not.
const PUT: &str = "INSERT INTO kv VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const FILE: &str = "sqlite.db";
/// Rows in one transaction of a [`fill`].
const FILL_ROWS: usize = 10_000;

struct Job {
    key: String,
    value: Vec<u8>,
    done: oneshot::Sender<rusqlite::Result<()>>,
}

/// A database that clients write to. It is closed with this value.
#[derive(Debug)]
pub struct Sqlite {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Opens the database in `dir`, made if it is not there: `journal_mode=WAL`, `synchronous=FULL`.
///
/// # Errors
/// If it cannot be opened.
pub fn open(dir: &Path) -> Result<Connection> {
    let db = Connection::open(dir.join(FILE)).context("cannot open a database of SQLite's")?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    anyhow::ensure!(mode == "wal", "SQLite writes no log ahead here, but: {mode}");
    db.execute_batch(
        "PRAGMA synchronous = FULL;
         CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    )?;
    Ok(db)
}

impl Sqlite {
    /// Opens the database in `dir`.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn start(dir: &Path) -> Result<Self> {
        let db = open(dir)?;
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new().name("sqlite".into()).spawn(move || serve(&db, &queue))?;
        Ok(Sqlite { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Writes one key, durably, in a transaction of its own.
    ///
    /// # Errors
    /// If it refuses.
    pub async fn put(&self, key: String, value: Vec<u8>) -> Result<()> {
        let (done, answer) = oneshot::channel();
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(Job { key, value, done }));
        sent.context("the database is closed")?.ok().context("the database is closed")?;
        answer.await?.context("SQLite refuses")
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(db: &Connection, queue: &Receiver<Job>) {
    let Ok(mut put) = db.prepare(PUT) else { return };
    while let Ok(Job { key, value, done }) = queue.recv() {
        // Whoever does not wait any more need not know.
        let _ = done.send(put.execute(params![key, value]).map(drop));
    }
}

/// Writes many rows, thousands to a transaction.
///
/// # Errors
/// If it refuses.
pub fn fill(db: &mut Connection, rows: impl Iterator<Item = (String, Vec<u8>)>) -> Result<()> {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let transaction = db.transaction()?;
        {
            let mut put = transaction.prepare(PUT)?;
            for (key, value) in rows.by_ref().take(FILL_ROWS) {
                put.execute(params![key, value])?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

/// What a key holds.
///
/// # Errors
/// If it cannot be read.
pub fn get(db: &Connection, key: &str) -> Result<Option<Vec<u8>>> {
    let value = db.query_row("SELECT value FROM kv WHERE key = ?1", [key], |row| row.get(0));
    Ok(value.optional()?)
}

/// Copies the files of an open database as they are: what `kill -9` would leave of it, but for the locks. What is not
/// in the database yet is in its log.
///
/// # Errors
/// If they cannot be copied.
pub fn copy_of_files(from: &Path, to: &Path) -> Result<Vec<PathBuf>> {
    let mut copied = Vec::new();
    for name in [FILE.to_owned(), format!("{FILE}-wal")] {
        let (from, to) = (from.join(&name), to.join(&name));
        std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        copied.push(to);
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_is_there_in_a_copy_of_its_files() {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(&mut open(dir.path()).unwrap(), (0..3).map(|n| (n.to_string(), vec![n]))).unwrap();
        let db = Sqlite::start(dir.path()).unwrap();
        db.put("1".to_owned(), b"x".to_vec()).await.unwrap();
        assert_eq!(copy_of_files(dir.path(), copy.path()).unwrap().len(), 2);
        db.put("1".to_owned(), b"y".to_vec()).await.unwrap();
        let db = open(copy.path()).unwrap();
        let values = ["0", "1", "9"].map(|key| get(&db, key).unwrap());
        assert_eq!(values, [Some(vec![0]), Some(b"x".to_vec()), None]);
        let level: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!(level, 2);
    }
}

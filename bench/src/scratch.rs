//! Where measurements keep their files.

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The file system in memory that every Linux has.
const MEMORY: &str = "/dev/shm";

/// Where files are kept: it decides what `fsync` costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// A real disk: `fsync` costs what it costs.
    Disk,
    /// A file system in memory: `fsync` costs nothing, and nothing is durable.
    Memory,
}

/// A directory of our own that goes when this is dropped. Under `dir` if it is given; else in memory, or for
/// [`Store::Disk`] in the working directory, because `/tmp` is memory on many machines. Its path is short enough for
/// sockets only where the one that it is made in is.
///
/// # Errors
/// If it cannot be made.
pub fn directory(store: Store, dir: Option<&Path>) -> Result<TempDir> {
    let parent = match (dir, store) {
        (Some(dir), _) => dir.to_owned(),
        (None, Store::Memory) => PathBuf::from(MEMORY),
        (None, Store::Disk) => std::env::current_dir().context("cannot tell the working directory")?,
    };
    let made = tempfile::Builder::new().prefix("cw-bench-").tempdir_in(&parent);
    made.with_context(|| format!("cannot make a directory in {}; try: --dir DIR", parent.display()))
}

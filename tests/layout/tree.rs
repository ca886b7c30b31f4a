//! The files and crates of the repository.

use crate::root;
use std::path::{Path, PathBuf};

/// A member of the workspace.
pub(crate) struct Member {
    /// Its folder, which is its name without `chinwag-`.
    pub(crate) folder: String,
    pub(crate) manifest: toml::Table,
}

impl Member {
    pub(crate) fn source(&self) -> PathBuf {
        root().join(&self.folder).join("src")
    }
}

/// Every member that the workspace names, in its order.
pub(crate) fn members() -> Vec<Member> {
    let workspace = manifest(&root().join("Cargo.toml"));
    let named = workspace["workspace"]["members"].as_array().expect("a list of members");
    let members: Vec<_> = named.iter().filter_map(|folder| folder.as_str()).map(member).collect();
    assert!(members.len() >= 9, "the workspace names all its crates");
    members
}

fn member(folder: &str) -> Member {
    Member { folder: folder.to_owned(), manifest: manifest(&root().join(folder).join("Cargo.toml")) }
}

pub(crate) fn manifest(path: &Path) -> toml::Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All files under `folder`, sorted; build output and version control apart.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for path in entries.map(|entry| entry.expect("a readable folder").path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_symlink() || name == ".git" || name.starts_with("target") {
                continue;
            }
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// The Rust sources under `folder`.
pub(crate) fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let rust = files(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.map(|path| (path.clone(), std::fs::read_to_string(&path).expect("a source is text"))).collect()
}

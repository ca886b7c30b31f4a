//! How the code is laid out, as failing tests: which crate may import which, and what the pure crates never name.
//!
//! The checks read manifests as tables and sources as tokens (so comments and strings do not count, and macros do).
//! Each check is itself run on `fixtures/`: every file there says on its first line what must be found in it, and a
//! rule that no fixture breaks is a failure too.

mod arrows;
mod purity;
mod tidiness;
mod tree;

use std::path::{Path, PathBuf};

/// The repository. Asked at run time, so that the test can be pointed at another checkout.
fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// The fixtures that end in `extension`: name, what must be found in them ("" for nothing), text.
fn fixtures(extension: &str) -> Vec<(String, String, String)> {
    let mut fixtures = Vec::new();
    for path in tree::files(&root().join("tests/layout/fixtures")) {
        if path.extension().is_some_and(|found| found == extension) {
            let text = std::fs::read_to_string(&path).expect("a fixture is text");
            let head = text.lines().next().unwrap_or_default();
            let finds = head.trim_start_matches(['/', '#', ' ']).strip_prefix("finds:").map(str::trim);
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            let finds =
                finds.unwrap_or_else(|| panic!("{name} says on its first line what it finds")).to_owned();
            fixtures.push((name, finds, text));
        }
    }
    assert!(!fixtures.is_empty(), "there are fixtures of .{extension}");
    fixtures
}

/// The path as people write it, from the repository's root.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

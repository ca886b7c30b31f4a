//! Imports point one way only, and membership, gossip and dht never import each other: what one must tell another
//! passes through node.

use crate::purity::scan::Source;
use crate::{fixtures, shown, tree};

/// Which of our crates a crate may import, dev-dependencies included. A new crate needs a row.
const ARROWS: [(&str, &[&str]); 11] = [
    ("base", &[]),
    ("membership", &["base"]),
    ("crdt", &["base"]),
    ("gossip", &["base", "crdt"]),
    ("dht", &["base", "crdt"]),
    ("node", &["base", "membership", "crdt", "gossip", "dht"]),
    ("sim", &["base", "membership", "crdt", "gossip", "dht", "node"]),
    ("model", &["base", "membership", "crdt"]),
    ("api", &["base"]),
    ("daemon", &["base", "membership", "crdt", "gossip", "dht", "node", "api"]),
    ("cli", &["base", "api", "daemon"]),
];

/// Crates of others that a pure crate may depend on: none has I/O, a clock or threads, and none draws entropy unless
/// the rules for sources forbid the call.
const PURE_DEPENDENCIES: [&str; 12] = [
    "base64",
    "bincode",
    "blake3",
    "bs58",
    "crc32fast",
    "ed25519-dalek",
    "rand",
    "rand_chacha",
    "serde",
    "sha2",
    "smallvec",
    "thiserror",
];

/// The crates that do no I/O.
pub(crate) const PURE: [&str; 6] = ["base", "membership", "crdt", "gossip", "dht", "node"];

const OURS: &str = "chinwag-";

fn allowed(folder: &str) -> Option<&'static [&'static str]> {
    ARROWS.iter().find(|(name, _)| *name == folder).map(|(_, allowed)| *allowed)
}

/// Whether `name`, a package or a crate of ours, may be named by the crate in `folder`.
fn may_import(folder: &str, name: &str) -> bool {
    let name = name.replace('_', "-");
    match name.strip_prefix(OURS) {
        Some(target) => target == folder || allowed(folder).is_some_and(|to| to.contains(&target)),
        None => name != "chinwag",
    }
}

/// The dependencies that the manifest of the crate in `folder` should not have.
fn check_manifest(folder: &str, manifest: &toml::Table) -> Vec<String> {
    let mut found = Vec::new();
    if allowed(folder).is_none() {
        found.push(format!("no row for {folder}"));
    }
    let per_target = manifest.get("target").and_then(|t| t.as_table());
    let tables = per_target.into_iter().flat_map(|t| t.values()).filter_map(|t| t.as_table());
    for table in tables.chain([manifest]) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in table.get(kind).and_then(|t| t.as_table()).into_iter().flatten() {
                let package = value.get("package").and_then(|p| p.as_str()).unwrap_or(name);
                let is_ours = package == "chinwag" || package.starts_with(OURS);
                let is_pure = PURE.contains(&folder) && kind != "dev-dependencies";
                if !may_import(folder, package)
                    || is_pure && !is_ours && !PURE_DEPENDENCIES.contains(&package)
                {
                    found.push(package.to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn manifests_follow_the_arrows() {
    for member in tree::members() {
        let found = check_manifest(&member.folder, &member.manifest);
        assert!(found.is_empty(), "{}/Cargo.toml must not depend on {found:?}", member.folder);
    }
}

/// `cargo run -- lab 3`, the README's first command, has to know which program is meant.
#[test]
fn one_package_says_which_program_is_run() {
    let root = tree::manifest(&crate::root().join("Cargo.toml"));
    let packages = [root].into_iter().chain(tree::members().into_iter().map(|member| member.manifest));
    let chosen: Vec<_> = packages
        .filter_map(|package| Some(package["package"].get("default-run")?.as_str()?.to_owned()))
        .collect();
    assert_eq!(chosen, ["chinwag"]);
}

#[test]
fn sources_follow_the_arrows() {
    for member in tree::members() {
        for (path, text) in tree::sources(&member.source()) {
            for (name, line) in Source::read(&text).unwrap().crates_of_ours() {
                let place = format!("{}:{line}", shown(&path));
                assert!(may_import(&member.folder, &name), "{place}: {} must not name {name}", member.folder);
            }
        }
    }
}

#[test]
fn every_forbidden_arrow_is_found() {
    for (from, to) in ARROWS {
        for (target, _) in ARROWS {
            let expected = target == from || to.contains(&target);
            assert_eq!(may_import(from, &format!("chinwag-{target}")), expected, "{from} -> {target}");
            let text = format!("use std::fmt; fn f() {{ g(chinwag_{target}::h) }}");
            let named = Source::read(&text).unwrap().crates_of_ours();
            assert_eq!(named, [(format!("chinwag_{target}"), 1)]);
            let manifest = format!("[dev-dependencies]\nchinwag-{target}.workspace = true").parse().unwrap();
            assert_eq!(check_manifest(from, &manifest).is_empty(), expected, "{from} -> {target}");
        }
    }
    for (one, other) in [("membership", "gossip"), ("gossip", "dht"), ("dht", "membership")] {
        assert!(
            !may_import(one, &format!("chinwag-{other}")) && !may_import(other, &format!("chinwag-{one}"))
        );
    }
}

#[test]
fn manifests_that_break_the_rules_are_found() {
    for (name, finds, text) in fixtures("toml") {
        let manifest: toml::Table = text.parse().unwrap();
        let folder = manifest["package"]["name"].as_str().unwrap().trim_start_matches(OURS).to_owned();
        let mut found = check_manifest(&folder, &manifest);
        if !crate::tidiness::inherits_lints(&manifest) {
            found.push("lints".to_owned());
        }
        assert_eq!(found.join(" "), finds, "{name}");
    }
}

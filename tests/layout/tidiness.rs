//! Small rules that hold for the whole repository.

use crate::{root, shown, tree};

/// Whether a manifest takes the workspace's lints.
pub(crate) fn inherits_lints(manifest: &toml::Table) -> bool {
    let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    inherits.and_then(|value| value.as_bool()) == Some(true)
}

/// Constants without a doc comment right above them (attributes may stand between), and how many there are in all.
fn undocumented_constants(source: &str) -> (Vec<&str>, usize) {
    let (mut missing, mut count, mut is_documented) = (Vec::new(), 0, false);
    for line in source.lines().map(str::trim) {
        if let Some(constant) = line.strip_prefix("pub const ") {
            count += 1;
            if !is_documented {
                missing.push(constant.split(':').next().unwrap_or(constant));
            }
        }
        let has_words = line.strip_prefix("///").is_some_and(|words| !words.trim().is_empty());
        is_documented = has_words || is_documented && line.starts_with("#[");
    }
    (missing, count)
}

#[test]
fn every_limit_has_its_reason() {
    let limits = std::fs::read_to_string(root().join("base/src/limits.rs")).unwrap();
    let (missing, count) = undocumented_constants(&limits);
    assert!(missing.is_empty(), "limits without a reason: {missing:?}");
    assert!(count > 50, "the limits are where they are looked for");
    let bad = "/// Why.\npub const A: u8 = 1;\npub const B: u8 = 2;\n///\npub const C: u8 = 3;\n";
    assert_eq!(undocumented_constants(bad), (vec!["B", "C"], 3));
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    assert!(inherits_lints(&tree::manifest(&root().join("Cargo.toml"))));
    for member in tree::members() {
        assert!(inherits_lints(&member.manifest), "{}/Cargo.toml: [lints] workspace = true", member.folder);
    }
}

/// A reader has this repository only: a path out of it leads nowhere.
#[test]
fn nothing_points_out_of_the_repository() {
    let out = [concat!("..", "/shared"), concat!("/work", "/"), concat!("/tmp/", "brief")];
    let points_out = |text: &str| out.iter().any(|path| text.contains(path));
    assert!(points_out(&format!("see {}/design", out[0])));
    for path in tree::files(&root()) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(!points_out(&text), "{} names a path outside of the repository", shown(&path));
    }
}

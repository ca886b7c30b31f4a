//! What the pure crates never name: sockets, disk, threads, clocks, entropy, hash tables whose order differs from
//! process to process, and the terminal. A trace hash must not differ between two runs of one seed.

pub(crate) mod scan;

use crate::arrows::PURE;
use crate::{fixtures, root, shown, tree};
use scan::{Aliases, Source};

/// What a rule looks for.
#[derive(Debug, Clone, Copy)]
enum Named {
    /// A path, or anything below it.
    Path(&'static str),
    /// A path that ends in this, whatever stands before.
    Suffix(&'static str),
    /// An identifier, wherever it stands.
    Identifier(&'static str),
    /// A macro's call.
    Macro(&'static str),
}

/// One thing that is forbidden, by the name that a fixture and a message give it.
struct Rule {
    name: &'static str,
    /// Whether `#[cfg(test)]` code is held to it too.
    in_tests: bool,
    named: &'static [Named],
}

use Named::{Identifier, Macro, Path, Suffix};

const RULES: [Rule; 15] = [
    Rule { name: "tokio", in_tests: true, named: &[Path("tokio")] },
    Rule { name: "libp2p", in_tests: true, named: &[Path("libp2p")] },
    Rule { name: "std::net", in_tests: true, named: &[Path("std::net")] },
    Rule { name: "std::fs", in_tests: true, named: &[Path("std::fs")] },
    Rule { name: "std::thread", in_tests: true, named: &[Path("std::thread")] },
    // The types, not only their `now`: time is a `Moment` or a `WallTime`.
    Rule { name: "Instant", in_tests: true, named: &[Path("std::time::Instant"), Suffix("Instant::now")] },
    Rule {
        name: "SystemTime",
        in_tests: true,
        named: &[
            Path("std::time::SystemTime"),
            Path("std::time::UNIX_EPOCH"),
            Suffix("SystemTime::now"),
            Suffix("UNIX_EPOCH"),
        ],
    },
    // `random` is a method of seeded generators too, so the free functions are told by their path.
    Rule {
        name: "rand::rng",
        in_tests: true,
        named: &[
            Path("rand::rng"),
            Path("rand::random"),
            Path("rand::random_iter"),
            Path("rand::random_range"),
            Path("rand::random_bool"),
            Path("rand::random_ratio"),
            Path("rand::fill"),
            Path("rand::make_rng"),
        ],
    },
    Rule { name: "thread_rng", in_tests: true, named: &[Identifier("thread_rng"), Identifier("ThreadRng")] },
    Rule { name: "OsRng", in_tests: true, named: &[Identifier("OsRng"), Identifier("SysRng")] },
    Rule {
        name: "from_os_rng",
        in_tests: true,
        named: &[Identifier("from_os_rng"), Identifier("try_from_os_rng"), Identifier("from_entropy")],
    },
    Rule { name: "getrandom", in_tests: true, named: &[Identifier("getrandom")] },
    Rule { name: "RandomState", in_tests: true, named: &[Identifier("RandomState")] },
    Rule {
        name: "HashMap",
        in_tests: false,
        named: &[
            Identifier("HashMap"),
            Identifier("HashSet"),
            Path("std::collections::hash_map"),
            Path("std::collections::hash_set"),
        ],
    },
    Rule {
        // A test may print the figures that it measured; that changes no run.
        name: "print",
        in_tests: false,
        named: &[
            Macro("print"),
            Macro("println"),
            Macro("eprint"),
            Macro("eprintln"),
            Macro("dbg"),
            Path("std::io::stdout"),
            Path("std::io::stderr"),
        ],
    },
];

/// What hides a forbidden name from this check: a glob or a re-export of a path that leads to one.
const HIDDEN: &str = "hidden";

fn is_below(path: &[String], parent: &str) -> bool {
    let mut segments = path.iter();
    parent.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
        || parent == "libp2p" && path.first().is_some_and(|root| root.starts_with("libp2p_"))
}

fn ends_in(path: &[String], suffix: &str) -> bool {
    let suffix: Vec<_> = suffix.split("::").collect();
    path.windows(suffix.len()).any(|window| window.iter().zip(&suffix).all(|(a, b)| a == b))
}

/// Whether `path` leads to a forbidden one without being it: `std`, `std::collections`, `rand`.
fn leads_to_forbidden(path: &[String]) -> bool {
    let joined = format!("{}::", path.join("::"));
    RULES.iter().flat_map(|rule| rule.named).any(|named| matches!(named, Path(p) if p.starts_with(&joined)))
}

/// What `source` breaks, each with its line. `aliases` are those of its whole crate, since a `use super::*` brings
/// the private ones of another file.
fn violations(source: &Source, aliases: &Aliases, whole_file_is_test: bool) -> Vec<(&'static str, usize)> {
    let mut found = Vec::new();
    for import in &source.imports {
        if (import.is_glob || import.is_public)
            && aliases.resolve(&import.path).iter().any(|p| leads_to_forbidden(p))
        {
            found.push((HIDDEN, import.line));
        }
    }
    for usage in &source.usages {
        let paths = aliases.resolve(&usage.path);
        for rule in RULES.iter().filter(|rule| rule.in_tests || !(usage.is_test || whole_file_is_test)) {
            let breaks = |named: &Named| match named {
                Path(parent) => paths.iter().any(|path| is_below(path, parent)),
                Suffix(suffix) => paths.iter().any(|path| ends_in(path, suffix)),
                Identifier(name) => usage.path.iter().any(|segment| segment == name),
                Macro(name) => usage.is_macro && usage.path.last().is_some_and(|segment| segment == name),
            };
            if rule.named.iter().any(breaks) {
                found.push((rule.name, usage.line));
            }
        }
    }
    found
}

/// The part of the simulator that is a program: it reads files, and runs seeds on several threads.
const PROGRAM: &str = "sim/src/tool/";

/// The simulator is as pure as what it runs, but for its program: one seed is one run in every process.
#[test]
fn pure_crates_are_pure() {
    let mut broken = Vec::new();
    for folder in PURE.into_iter().chain(["sim"]) {
        let mut files = tree::sources(&root().join(folder).join("src"));
        files.retain(|(path, _)| !shown(path).starts_with(PROGRAM));
        assert!(!files.is_empty(), "{folder} has sources");
        let sources: Vec<_> = files.iter().map(|(path, text)| (path, Source::read(text).unwrap())).collect();
        let aliases = Aliases::of(sources.iter().map(|(_, source)| source));
        let test_files: Vec<_> =
            sources.iter().flat_map(|(path, source)| source.test_modules_beside(path)).collect();
        for (path, source) in &sources {
            let is_test = test_files.iter().any(|stem| path.with_extension("").starts_with(stem));
            for (rule, line) in violations(source, &aliases, is_test) {
                broken.push(format!("{}:{line}: {rule}", shown(path)));
            }
        }
    }
    assert!(broken.is_empty(), "pure crates must not name these:\n  {}", broken.join("\n  "));
}

#[test]
fn each_fixture_breaks_the_rule_that_it_names_and_no_other() {
    let mut unbroken: Vec<_> = RULES.iter().map(|rule| rule.name).chain([HIDDEN]).collect();
    let mut clean = 0;
    for (name, finds, text) in fixtures("rs") {
        let source = Source::read(&text).unwrap();
        let found = violations(&source, &Aliases::of([&source]), false);
        // Each line but the first that has a mark must be found, and no line without one.
        let marked: Vec<usize> = (1..)
            .zip(text.lines())
            .skip(1)
            .filter(|(_, line)| line.ends_with("// here"))
            .map(|(n, _)| n)
            .collect();
        let mut lines: Vec<_> = found.iter().map(|(_, line)| *line).collect();
        lines.dedup();
        assert_eq!(lines, marked, "{name}: {found:?}");
        assert!(found.iter().all(|(rule, _)| *rule == finds), "{name}: {found:?}");
        assert_eq!(finds.is_empty(), found.is_empty(), "{name}");
        clean += usize::from(finds.is_empty());
        unbroken.retain(|rule| *rule != finds);
    }
    assert!(unbroken.is_empty(), "no fixture breaks {unbroken:?}");
    assert!(clean > 0, "a clean fixture passes");
}

/// Each path, suffix, identifier and macro of each rule, alone in one line.
#[test]
fn every_name_in_every_rule_is_found() {
    for rule in &RULES {
        for named in rule.named {
            let text = match named {
                Path(name) | Suffix(name) | Identifier(name) => format!("fn f() {{ g({name}) }}"),
                Macro(name) => format!("fn f() {{ {name}!(\"x\") }}"),
            };
            let source = Source::read(&text).unwrap();
            let found = violations(&source, &Aliases::default(), false);
            assert_eq!(found, [(rule.name, 1)], "{named:?}");
        }
    }
}

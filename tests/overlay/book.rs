//! The book keeps its word: every console block of docs/ and of the README is played with real daemons and compared.
//!
//! `CHINWAG_BLESS=1 cargo test --test overlay book` writes what was said into the pages instead, and regenerates the
//! reference of the commands. Read the difference before you commit it.

mod page;
mod shape;
mod stage;

use page::{Fate, Page};
use regex::Regex;
use stage::Stage;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The marks of blocks that are not run, and how many blocks have each. Whoever adds one counts it here.
const NOT_RUN: [(&str, usize); 10] = [
    ("not run: a list of commands, without what they say", 2),
    ("not run: it builds the programs that all other transcripts run", 1),
    ("not run: it is what runs this", 1),
    ("not run: it needs docker", 3),
    ("not run: it needs systemd", 2),
    ("not run: it teaches the reader's own shell", 1),
    ("not run: it would need a member that goes", 2),
    ("not run: the book plays the like of it", 3),
    ("not run: the simulator is a program of its own", 4),
    ("not run: what it finds depends on the machine", 2),
];
/// Commands that are played at least, so that a runner which finds none does not pass.
const PLAYED_MIN: usize = 100;

/// Whether pages are to be rewritten.
fn is_blessing() -> bool {
    std::env::var_os("CHINWAG_BLESS").is_some_and(|v| v == "1")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn src() -> PathBuf {
    root().join("docs/src")
}

/// Plays all blocks of a page, in their order, on one stage.
fn plays(path: &Path) {
    let page = Page::read(path);
    let mut stage = Stage::new();
    let mut otherwise = Vec::new();
    let mut failed = String::new();
    for block in page.blocks.iter().filter(|block| !matches!(block.fate, Fate::NotRun(_))) {
        for other in stage.play(block) {
            failed += &format!(
                "{}:{}: $ {}\n--- shown:\n{}\n--- said:\n{}\n",
                path.display(),
                other.step.lines.0,
                other.step.typed.as_deref().unwrap_or("^C"),
                other.step.said.join("\n"),
                other.said.join("\n")
            );
            otherwise.push(other);
            if !is_blessing() {
                // What follows would only fail after it.
                panic!("{failed}");
            }
        }
    }
    for watcher in stage.end() {
        failed += &format!("{}: a watcher has not said what is shown:\n{watcher}\n", path.display());
    }
    if is_blessing() && !otherwise.is_empty() {
        let mut lines: Vec<String> = page.text.lines().map(str::to_owned).collect();
        for other in otherwise.into_iter().rev() {
            lines.splice(other.step.lines.0..other.step.lines.1, other.said);
        }
        std::fs::write(&page.path, lines.join("\n") + "\n").unwrap();
        eprintln!("blessed:\n{failed}");
        return;
    }
    assert!(failed.is_empty(), "{failed}");
}

/// A test for each page, so that they run beside each other and fail by name.
macro_rules! pages {
    ($($name:ident => $path:literal,)*) => {
        $(#[test] fn $name() { plays(&root().join($path)); })*
        const PLAYED: &[&str] = &[$($path),*];
    };
}

pages! {
    readme => "README.md",
    first_overlay => "docs/src/first-overlay.md",
    several_laptops => "docs/src/several-laptops.md",
    working => "docs/src/working.md",
    running => "docs/src/operating/running.md",
    watching => "docs/src/operating/watching.md",
    trouble => "docs/src/operating/trouble.md",
    membership => "docs/src/protocols/membership.md",
    state => "docs/src/protocols/state.md",
    anti_entropy => "docs/src/protocols/anti-entropy.md",
    dht => "docs/src/protocols/dht.md",
    admission => "docs/src/protocols/admission.md",
    http => "docs/src/reference/http.md",
}

/// Every Markdown file of the book.
fn pages() -> Vec<PathBuf> {
    files(&src(), "md")
}

/// Every file below `dir` whose name ends so.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The targets of a page's links.
fn links(text: &str) -> Vec<String> {
    static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\]\(([^)\s]+)\)").unwrap());
    LINK.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The anchors of a page's headings, as mdBook makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_page_with_a_transcript_is_played_and_what_cannot_run_is_counted() {
    let mut not_run: BTreeMap<String, usize> = BTreeMap::new();
    let mut played = 0;
    let readme = root().join("README.md");
    for path in pages().iter().chain([&readme]) {
        let page = Page::read(path);
        let short = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let mut runs = false;
        for block in &page.blocks {
            match &block.fate {
                Fate::NotRun(why) => *not_run.entry(why.clone()).or_default() += 1,
                _ => {
                    runs = true;
                    played += block.steps.len();
                }
            }
        }
        assert!(
            !runs || PLAYED.contains(&short),
            "{short} has transcripts, and no test in `pages!` plays it"
        );
    }
    eprintln!("{played} commands are played; blocks that are not: {not_run:#?}");
    let counted: Vec<(&str, usize)> = not_run.iter().map(|(why, n)| (why.as_str(), *n)).collect();
    assert_eq!(counted, NOT_RUN, "a block that nobody runs must be counted here");
    assert!(played >= PLAYED_MIN, "only {played} commands are played");
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let summary = std::fs::read_to_string(src().join("SUMMARY.md")).unwrap();
    let mut linked: Vec<PathBuf> = links(&summary).iter().map(|link| src().join(link)).collect();
    linked.sort();
    let mut all = pages();
    all.retain(|path| !path.ends_with("SUMMARY.md"));
    assert_eq!(linked, all, "SUMMARY.md lists each page once");
    let mut dead = Vec::new();
    for path in pages() {
        let text = std::fs::read_to_string(&path).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.starts_with("http")) {
            if let Some(why) = leads_nowhere(&path, &text, &link) {
                dead.push(format!("{}: {link}: {why}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

fn leads_nowhere(from: &Path, text: &str, link: &str) -> Option<&'static str> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => text.to_owned(),
        file => match std::fs::read_to_string(from.parent().unwrap().join(file)) {
            Ok(text) => text,
            Err(_) => return Some("no such file"),
        },
    };
    (!anchor.is_empty() && !anchors(&target).contains(&anchor.to_owned())).then_some("no such heading")
}

#[test]
fn a_dead_link_is_noticed() {
    let page = src().join("introduction.md");
    assert_eq!(leads_nowhere(&page, "# A b\n", "#a-b"), None);
    assert!(leads_nowhere(&page, "# A b\n", "#a-c").is_some());
    assert_eq!(leads_nowhere(&page, "", "SUMMARY.md"), None);
    assert!(leads_nowhere(&page, "", "nowhere.md").is_some());
}

/// The book points into the code, and the code moves.
#[test]
fn every_file_and_every_limit_that_the_book_names_exists() {
    let file =
        Regex::new(r"`((?:api|base|cli|crdt|daemon|dht|examples|gossip|membership|node|tests)/[\w/.-]+)`")
            .unwrap();
    let limit = Regex::new(r"`([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)`").unwrap();
    let limits = std::fs::read_to_string(root().join("base/src/limits.rs")).unwrap();
    let (mut files, mut named) = (0, 0);
    for path in pages() {
        let text = std::fs::read_to_string(&path).unwrap();
        for found in file.captures_iter(&text) {
            assert!(root().join(&found[1]).exists(), "{}: there is no {}", path.display(), &found[1]);
            files += 1;
        }
        // Of the other words in capitals each is an environment variable.
        for found in
            limit.captures_iter(&text).filter(|f| !f[1].starts_with("CHINWAG_") && !f[1].starts_with("XDG_"))
        {
            let declared = format!("pub const {}: ", &found[1]);
            assert!(limits.contains(&declared), "{}: there is no limit {}", path.display(), &found[1]);
            named += 1;
        }
    }
    assert!(files >= 20 && named >= 10, "{files} files, {named} limits");
}

/// The pages that list what the code has must list all of it.
#[test]
fn the_lists_of_the_book_are_complete() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let all = |text: &str, pattern: &str| -> BTreeSet<String> {
        Regex::new(pattern).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    let missing = |what: &str, names: BTreeSet<String>, page: &str, at_least: usize| {
        assert!(names.len() >= at_least, "only {} {what}: {names:?}", names.len());
        let text = read(page);
        let missing: Vec<&String> = names.iter().filter(|name| !text.contains(&format!("`{name}"))).collect();
        assert!(missing.is_empty(), "{page} lacks these {what}: {missing:?}");
    };
    // Paths may be followed by a query or stand behind a method, so that only their end is free.
    let text = read("docs/src/reference/http.md");
    for path in all(&read("api/src/paths.rs"), r#"pub const \w+: &str = "([^"]+)""#) {
        assert!(text.contains(&path), "docs/src/reference/http.md lacks {path}");
    }
    let mut events = BTreeSet::new();
    for file in files(&root().join("daemon/src"), "rs") {
        let text = std::fs::read_to_string(&file).unwrap();
        // Tests have events of their own. Inside a file they come last.
        let text = text.split("#[cfg(test)]").next().unwrap();
        if !file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs") {
            events.extend(all(text, r#"Level::\w+,\s*"(\w+\.[^"]+)""#));
            events.extend(all(text, r#"event = "([^"]+)""#));
        }
    }
    missing("events", events, "docs/src/operating/watching.md", 35);
    let config = read("daemon/src/config.rs");
    let keys = config.split("const KEYS").nth(1).and_then(|rest| rest.split(';').nth(1)).unwrap();
    missing("settings", all(keys, r#""(\w+)""#), "docs/src/operating/running.md", 5);
    missing("variables", all(&config, r#"env = "(\w+)""#), "docs/src/operating/running.md", 5);
    let homes = read("daemon/src/home.rs");
    missing("files", all(&homes, r"//! \| `([\w.]+)` \|"), "docs/src/operating/running.md", 7);
    // Kinds of errors, each in a row with its exit code and its HTTP status.
    for kind in chinwag_api::Kind::ALL {
        let name = serde_json::to_string(&kind).unwrap().replace('"', "");
        let row = format!("| `{name}` | {} | {} |", kind.http_status(), kind.exit().code());
        assert!(text.contains(&row), "docs/src/reference/http.md lacks the row {row}");
    }
}

#[test]
fn the_reference_of_the_commands_is_what_they_say() {
    let path = src().join("reference/cli.md");
    let reference = reference();
    if is_blessing() {
        std::fs::write(&path, reference).unwrap();
        return;
    }
    let page = std::fs::read_to_string(&path).unwrap();
    let first = page.lines().zip(reference.lines()).find(|(page, said)| page != said);
    assert!(
        page == reference,
        "{} is out of date: CHINWAG_BLESS=1 cargo test --test overlay book\n{first:#?}",
        path.display()
    );
}

/// The help of both programs and of every command, as a page.
fn reference() -> String {
    let mut page =
        "# Commands\n\nWhat `--help` says, command by command. This page is generated from it.\n".to_owned();
    let mut waiting = vec![vec!["chinwagd".to_owned()], vec!["chinwag".to_owned()]];
    while let Some(words) = waiting.pop() {
        let help = help(&words);
        page += &format!("\n## {}\n\n```text\n{}\n```\n", words.join(" "), help.trim_end());
        let commands = commands(&help).into_iter().rev();
        waiting.extend(commands.map(|name| words.iter().cloned().chain([name]).collect()));
    }
    page
}

/// What a program says to `--help`.
fn help(words: &[String]) -> String {
    let program = match words[0].as_str() {
        "chinwagd" => env!("CARGO_BIN_EXE_chinwagd"),
        _ => env!("CARGO_BIN_EXE_chinwag"),
    };
    let mut command = std::process::Command::new(program);
    command.args(&words[1..]).arg("--help").env_clear();
    let output = command.output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The commands that a help lists: the indented names under a heading that is not one of clap's own.
fn commands(help: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lists = false;
    for line in help.lines() {
        if let Some(title) = line.strip_suffix(':').filter(|t| !t.starts_with(' ')) {
            lists = !["Options", "Arguments", "Usage"].contains(&title);
        } else if let Some(name) = line.strip_prefix("  ").filter(|_| lists).and_then(|l| l.split(' ').next())
        {
            // Deeper lines go on with the description above them.
            if !name.is_empty() && name != "help" {
                found.push(name.to_owned());
            }
        }
    }
    found
}

#[test]
fn commands_are_found_in_a_help() {
    let help = "About\n\nUsage: x [OPTIONS] <COMMAND>\n\nRun:\n  up       Run\n           on\n  lab      Lab\n\nOptions:\n  -n, --name <NAME>\n";
    assert_eq!(commands(help), ["up", "lab"]);
    let nested =
        "Usage: x dht <COMMAND>\n\nCommands:\n  put   Put\n  help  Print\n\nArguments:\n  <KEY>  K\n";
    assert_eq!(commands(nested), ["put"]);
}

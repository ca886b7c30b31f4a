//! A page of the book as text: its console blocks, and what is marked above them.
//!
//! ```text
//! <!-- not run: docker -->     this block cannot run here, and why
//! <!-- not run yet: dht -->    what it shows is on its way
//! <!-- runs on -->             its last command goes on once it has said what the block shows
//! <!-- watches -->             the same, but it says it only while the blocks below run
//! ```
//!
//! In a block `$` types on the reader's machine and `ada$` on that of ada; `^C` is Ctrl-C. All other lines are what
//! comes back: a line `…` is any lines, and `…` within a line anything.

use std::path::{Path, PathBuf};

/// What becomes of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Each of its commands runs to its end.
    Runs,
    /// Its last command goes on after what it is shown to say.
    RunsOn,
    /// Its last command goes on, and says what is shown while later blocks run.
    Watches,
    /// It does not run here, for this reason.
    NotRun(String),
}

/// One command and what comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Whose machine; empty for the reader's own.
    pub(crate) machine: String,
    /// What is typed; `None` for Ctrl-C.
    pub(crate) typed: Option<String>,
    /// What comes back.
    pub(crate) said: Vec<String>,
    /// The lines of the page that `said` fills: from and to, counted from zero.
    pub(crate) lines: (usize, usize),
}

/// A console block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) fate: Fate,
    pub(crate) steps: Vec<Step>,
    /// Its first line, counted from one as editors do.
    pub(crate) line: usize,
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) blocks: Vec<Block>,
}

impl Page {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let blocks = blocks(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Page { path: path.to_owned(), text, blocks }
    }
}

/// The languages that a block may have. `console` is what runs; the others show no prompt.
const LANGUAGES: [&str; 8] = ["console", "text", "toml", "json", "rust", "rust,ignore", "ini", "yaml"];

/// The console blocks of a page.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut mark = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let at = |what: String| format!("line {}: {what}", number + 1);
        if let Some(language) = line.strip_prefix("```") {
            if !LANGUAGES.contains(&language) {
                return Err(at(format!("a block in `{language}`; there are {}", LANGUAGES.join(", "))));
            }
            let body: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
            if language == "console" {
                let fate = mark.take().unwrap_or(Fate::Runs);
                blocks.push(Block { fate, steps: steps(&body).map_err(at)?, line: number + 1 });
            } else if body.iter().any(|(_, line)| line.starts_with("$ ")) {
                return Err(at(format!("a command in a block in `{language}`, which nobody runs")));
            }
        } else if let Some(comment) = line.strip_prefix("<!-- ").and_then(|l| l.strip_suffix(" -->")) {
            mark = Some(fate(comment).ok_or_else(|| at(format!("what is the mark `{comment}`?")))?);
        } else if mark.is_some() && !line.is_empty() {
            return Err(at("a mark above no block".into()));
        }
    }
    Ok(blocks)
}

fn fate(mark: &str) -> Option<Fate> {
    match mark {
        "runs on" => Some(Fate::RunsOn),
        "watches" => Some(Fate::Watches),
        _ if mark.starts_with("not run: ") || mark.starts_with("not run yet: ") => {
            Some(Fate::NotRun(mark.to_owned()))
        }
        _ => None,
    }
}

fn steps(body: &[(usize, &str)]) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    let mut body = body.iter().peekable();
    while let Some((number, line)) = body.next() {
        if *line == "^C" {
            let machine = steps.last().map(|s| s.machine.clone()).unwrap_or_default();
            steps.push(Step { machine, typed: None, said: Vec::new(), lines: (number + 1, number + 1) });
        } else if let Some((machine, typed)) = prompt(line) {
            let (mut typed, mut end) = (typed.to_owned(), number + 1);
            while typed.ends_with('\\') {
                let (number, more) = body.next().ok_or("a command that goes on in no line")?;
                typed = format!("{typed}\n{more}");
                end = number + 1;
            }
            let machine = machine.to_owned();
            steps.push(Step { machine, typed: Some(typed), said: Vec::new(), lines: (end, end) });
        } else {
            let step = steps.last_mut().ok_or("output of no command")?;
            step.said.push((*line).to_owned());
            step.lines.1 = number + 1;
        }
    }
    Ok(steps)
}

/// The machine and what is typed there, if this is a line with a prompt.
fn prompt(line: &str) -> Option<(&str, &str)> {
    let (machine, typed) = line.split_once("$ ")?;
    machine.chars().all(|c| c.is_ascii_lowercase()).then_some((machine, typed))
}

#[cfg(test)]
mod checked {
    use super::*;

    #[test]
    fn a_page_is_cut_into_commands_and_what_they_say() {
        let page = "# T\n\n```console\n$ a \\\n    b\nout\n\nada$ c\n```\n\n<!-- not run: docker -->\n```console\n$ d\n```\n";
        let found = blocks(page).unwrap();
        assert_eq!(found.len(), 2);
        let [a, c] = found[0].steps.as_slice() else { panic!("{found:?}") };
        assert_eq!((a.machine.as_str(), a.typed.as_deref()), ("", Some("a \\\n    b")));
        assert_eq!((&a.said, a.lines), (&vec!["out".to_owned(), String::new()], (5, 7)));
        assert_eq!((c.machine.as_str(), c.typed.as_deref(), c.lines), ("ada", Some("c"), (8, 8)));
        assert_eq!(found[0].fate, Fate::Runs);
        assert_eq!(found[1].fate, Fate::NotRun("not run: docker".into()));
    }

    #[test]
    fn what_would_go_unnoticed_is_refused() {
        for bad in [
            "```sh\n$ rm\n```",
            "```text\n$ rm\n```",
            "<!-- not urn: x -->\n```console\n$ a\n```",
            "<!-- runs on -->\ntext\n```console\n$ a\n```",
            "```console\nout of nothing\n```",
            "```console\n$ a \\\n```",
        ] {
            assert!(blocks(bad).is_err(), "{bad}");
        }
    }
}

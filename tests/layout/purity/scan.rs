//! A Rust source as the paths that it names. Works on tokens: comments and strings are gone, and what stands inside
//! a macro's call is seen like anything else.

use proc_macro2::{Delimiter, LexError, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// `::`, or a single character.
    Mark(&'static str),
    Other,
}

/// One path in one place.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    pub(crate) is_macro: bool,
    /// Whether it stands in an item under `#[cfg(test)]`.
    pub(crate) is_test: bool,
}

/// One leaf of a `use`.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// The name that it has here; none for a glob.
    name: Option<String>,
    pub(crate) line: usize,
    pub(crate) is_glob: bool,
    pub(crate) is_public: bool,
}

/// A file's imports and all paths that it names, imports included.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) imports: Vec<Import>,
    pub(crate) usages: Vec<Usage>,
    test_modules: Vec<String>,
}

impl Source {
    pub(crate) fn read(text: &str) -> Result<Self, LexError> {
        let mut tokens = Vec::new();
        flatten(text.parse::<TokenStream>()?, &mut tokens);
        let test_runs = test_runs(&tokens);
        let mut source = Source { test_modules: test_modules(&tokens, &test_runs), ..Source::default() };
        let is_test = |at: usize| test_runs.iter().any(|(from, to)| (*from..*to).contains(&at));
        let mut at = 0;
        while at < tokens.len() {
            let is_generic = matches!(tokens.get(at + 1), Some((Token::Mark("<"), _)));
            match &tokens[at].0 {
                Token::Word(word) if word == "use" && !is_generic => {
                    let is_public = at > 0
                        && matches!(&tokens[at - 1].0, Token::Mark(")") | Token::Word(_))
                        && tokens[at - 1].0 != Token::Word("unsafe".into());
                    let first = source.imports.len();
                    let start = at;
                    at = source.read_use(&tokens, at + 1, &[], is_public);
                    for import in &source.imports[first..] {
                        let (path, line) = (import.path.clone(), import.line);
                        source.usages.push(Usage { path, line, is_macro: false, is_test: is_test(start) });
                    }
                }
                Token::Word(_) => {
                    let (path, end) = read_path(&tokens, at);
                    let is_macro = matches!(tokens.get(end), Some((Token::Mark("!"), _)))
                        && !matches!(tokens.get(end + 1), Some((Token::Mark("="), _)));
                    source.usages.push(Usage { path, line: tokens[at].1, is_macro, is_test: is_test(at) });
                    at = end;
                }
                _ => at += 1,
            }
        }
        Ok(source)
    }

    /// The crates of ours that are named, each once, with the first line.
    pub(crate) fn crates_of_ours(&self) -> Vec<(String, usize)> {
        let mut lines = BTreeMap::new();
        for usage in &self.usages {
            if usage.path[0].starts_with("chinwag_") {
                lines.entry(usage.path[0].clone()).or_insert(usage.line);
            }
        }
        lines.into_iter().collect()
    }

    /// Where the modules lie that this file, at `path`, declares under `#[cfg(test)]`, without extension.
    pub(crate) fn test_modules_beside(&self, path: &Path) -> Vec<PathBuf> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(path).to_owned();
        let folder = if ["lib", "main", "mod"].contains(&&*stem) { folder } else { folder.join(stem) };
        self.test_modules.iter().map(|module| folder.join(module)).collect()
    }

    /// Reads one tree of a `use` from `at`, under `prefix`. Returns the place after it.
    fn read_use(
        &mut self,
        tokens: &[(Token, usize)],
        mut at: usize,
        prefix: &[String],
        is_public: bool,
    ) -> usize {
        let mut path = prefix.to_vec();
        while let Some((token, line)) = tokens.get(at) {
            match token {
                Token::Mark("::") => at += 1,
                Token::Word(word) if word == "as" => {
                    if let Some((Token::Word(name), _)) = tokens.get(at + 1) {
                        let last = self.imports.last_mut().expect("a path, because one stands before `as`");
                        last.name = Some(name.clone());
                    }
                    return at + 2;
                }
                Token::Word(word) => {
                    let is_self = word == "self" && !path.is_empty();
                    if !is_self {
                        path.push(word.clone());
                    }
                    at += 1;
                    if !matches!(tokens.get(at), Some((Token::Mark("::"), _))) {
                        let (path, name) = (path.clone(), path.last().cloned());
                        self.imports.push(Import { path, name, line: *line, is_glob: false, is_public });
                        if !matches!(tokens.get(at), Some((Token::Word(word), _)) if word == "as") {
                            return at;
                        }
                    }
                }
                Token::Mark("*") => {
                    self.imports.push(Import { path, name: None, line: *line, is_glob: true, is_public });
                    return at + 1;
                }
                Token::Mark("{") => {
                    at += 1;
                    while !matches!(tokens.get(at), None | Some((Token::Mark("}"), _))) {
                        let next = self.read_use(tokens, at, &path, is_public);
                        at = next.max(at + 1);
                    }
                    return at + 1;
                }
                _ => return at,
            }
        }
        at
    }
}

/// What each name stands for that some `use` of a crate brings in.
#[derive(Debug, Default)]
pub(crate) struct Aliases(BTreeMap<String, BTreeSet<Vec<String>>>);

impl Aliases {
    pub(crate) fn of<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Self {
        let mut aliases = Aliases::default();
        for import in sources.into_iter().flat_map(|source| &source.imports) {
            if let Some(name) = &import.name
                && *import.path != [name.clone()]
            {
                aliases.0.entry(name.clone()).or_default().insert(import.path.clone());
            }
        }
        aliases
    }

    /// The path as it is written, and all that it can stand for.
    pub(crate) fn resolve(&self, path: &[String]) -> BTreeSet<Vec<String>> {
        let mut found = BTreeSet::from([path.to_vec()]);
        let mut open = vec![path.to_vec()];
        while let Some(path) = open.pop() {
            let start =
                path.iter().take_while(|s| ["self", "super", "crate", "Self"].contains(&&***s)).count();
            let Some(first) = path.get(start) else { continue };
            for target in self.0.get(first).into_iter().flatten() {
                let longer: Vec<_> = target.iter().chain(&path[start + 1..]).cloned().collect();
                // An alias of itself (`use a::b as a`) would grow for ever.
                if longer.len() <= 16 && found.insert(longer.clone()) {
                    open.push(longer);
                }
            }
        }
        found
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<(Token, usize)>) {
    let mut joined_colon = false;
    for tree in stream {
        let line = tree.span().start().line;
        let was_colon = std::mem::take(&mut joined_colon);
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push((Token::Mark(open), line));
                flatten(group.stream(), tokens);
                tokens.push((Token::Mark(close), group.span_close().start().line));
            }
            TokenTree::Ident(word) => {
                let word = word.to_string();
                tokens.push((Token::Word(word.trim_start_matches("r#").to_owned()), line));
            }
            TokenTree::Punct(mark) => match mark.as_char() {
                ':' if was_colon => tokens.push((Token::Mark("::"), line)),
                ':' if mark.spacing() == proc_macro2::Spacing::Joint => joined_colon = true,
                '!' => tokens.push((Token::Mark("!"), line)),
                '#' => tokens.push((Token::Mark("#"), line)),
                '*' => tokens.push((Token::Mark("*"), line)),
                ',' => tokens.push((Token::Mark(","), line)),
                ';' => tokens.push((Token::Mark(";"), line)),
                '<' => tokens.push((Token::Mark("<"), line)),
                '=' => tokens.push((Token::Mark("="), line)),
                _ => tokens.push((Token::Other, line)),
            },
            TokenTree::Literal(_) => tokens.push((Token::Other, line)),
        }
    }
}

/// The path that starts with the word at `at`, and the place after it.
fn read_path(tokens: &[(Token, usize)], mut at: usize) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    while let Some((Token::Word(word), _)) = tokens.get(at) {
        path.push(word.clone());
        at += 1;
        match (tokens.get(at), tokens.get(at + 1)) {
            (Some((Token::Mark("::"), _)), Some((Token::Word(_), _))) => at += 1,
            _ => break,
        }
    }
    (path, at)
}

/// The items under `#[cfg(test)]`, as ranges of tokens.
fn test_runs(tokens: &[(Token, usize)]) -> Vec<(usize, usize)> {
    let word = |text: &str| Token::Word(text.to_owned());
    let attribute = [
        Token::Mark("#"),
        Token::Mark("["),
        word("cfg"),
        Token::Mark("("),
        word("test"),
        Token::Mark(")"),
        Token::Mark("]"),
    ];
    let starts = tokens.windows(attribute.len()).enumerate();
    let starts =
        starts.filter(|(_, run)| run.iter().map(|(token, _)| token).eq(&attribute)).map(|(at, _)| at);
    starts.map(|start| (start, end_of_item(tokens, start + attribute.len()))).collect()
}

/// The place after the item that starts at `at`: after its `;`, or after the `}` of its body.
fn end_of_item(tokens: &[(Token, usize)], at: usize) -> usize {
    let mut depth = 0_usize;
    for (place, (token, _)) in tokens.iter().enumerate().skip(at) {
        match token {
            Token::Mark("{" | "(" | "[") => depth += 1,
            Token::Mark(mark @ ("}" | ")" | "]")) => {
                depth = depth.saturating_sub(1);
                if depth == 0 && *mark == "}" {
                    return place + 1;
                }
            }
            Token::Mark(";") if depth == 0 => return place + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The modules in files of their own among the items under `#[cfg(test)]`.
fn test_modules(tokens: &[(Token, usize)], runs: &[(usize, usize)]) -> Vec<String> {
    let name = |(_, end): &(usize, usize)| match &tokens[end.saturating_sub(3)..*end] {
        [(Token::Word(module), _), (Token::Word(name), _), (Token::Mark(";"), _)] if module == "mod" => {
            Some(name.clone())
        }
        _ => None,
    };
    runs.iter().filter_map(name).collect()
}

#[test]
fn groups_globs_and_renames_are_read() {
    let source =
        Source::read("pub use ::a::{b::{self, c as d}, e::*}; r#use!(x); impl Trait + use<'_> {}").unwrap();
    let read: Vec<_> =
        source.imports.iter().map(|i| (i.path.join("::"), i.name.as_deref(), i.is_glob)).collect();
    let expected = [("a::b", Some("b"), false), ("a::b::c", Some("d"), false), ("a::e", None, true)];
    assert_eq!(read, expected.map(|(path, name, glob)| (path.to_owned(), name, glob)));
}

#[test]
fn test_modules_in_other_files_are_known() {
    let source =
        Source::read("#[cfg(test)] mod harness; mod other; #[cfg(test)] mod tests { use x; }").unwrap();
    let beside = |path: &str| source.test_modules_beside(Path::new(path));
    assert_eq!(beside("src/lib.rs"), [Path::new("src/harness")]);
    assert_eq!(beside("src/view.rs"), [Path::new("src/view/harness")]);
}

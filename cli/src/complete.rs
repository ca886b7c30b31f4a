//! What a shell offers after TAB: names and keys as the running daemon knows them at this moment.
//!
//! The shell's script (`chinwag completions SHELL`) runs this program again with [`REQUEST_ENV`] set and the words that
//! have been typed; clap finds which argument is meant, and the functions here say what it may be. Whoever waits for
//! TAB waits for nothing else, so there is an answer within [`ANSWER_WITHIN`] or none, and never an error.
//!
//! Keys and names come from other members, and a shell puts what it is offered into the command line as it is: a key
//! such as `x;reboot` would wait there for Enter. So only what no shell reads as anything but a word is offered.

use crate::args::{Cli, Global};
use crate::choose;
use crate::output::Color;
use chinwag_api::runtime::Runtime;
use chinwag_api::{Client, Failure, KeysQuery};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use std::ffi::OsStr;
use std::future::Future;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

/// Set by the shell's script: which shell asks. Not clap's usual `COMPLETE`, which may be somebody else's.
pub(crate) const REQUEST_ENV: &str = "CHINWAG_COMPLETE";
/// How long TAB may take. A daemon on this machine needs a few milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);
/// Keys that are offered at once: what nobody reads needs no fetching.
const KEYS_OFFERED_MAX: u32 = 200;

/// Answers the shell and ends the process, if it is the shell that asks.
pub(crate) fn answer() {
    CompleteEnv::with_factory(Cli::grouped).var(REQUEST_ENV).complete();
}

/// Completes a key that exists.
pub(crate) fn keys() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let asked = typed.to_str().unwrap_or_default().to_owned();
        offer(typed, keys_of(Runtime::of_user(), typed_words(), asked))
    })
}

/// Completes the name of a member, whether it is alive or not.
pub(crate) fn members() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| offer(typed, members_of(Runtime::of_user(), typed_words())))
}

/// Completes the name of a daemon that runs on this machine.
pub(crate) fn daemons() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| offer(typed, daemons_of(Runtime::of_user())))
}

/// A word and what is said beside it, where the shell shows that.
type Word = (String, String);

async fn keys_of(runtime: Runtime, line: Vec<String>, typed: String) -> Result<Vec<Word>, Failure> {
    // A star or a question mark that was typed stands for itself; what it lets through is sorted out later.
    let query = KeysQuery {
        pattern: Some(format!("{typed}*")),
        limit: Some(KEYS_OFFERED_MAX),
        ..KeysQuery::default()
    };
    let page = client(&runtime, &line)?.keys(&query).await?;
    Ok(page.keys.into_iter().map(|row| (row.key, row.kind.to_string())).collect())
}

async fn members_of(runtime: Runtime, line: Vec<String>) -> Result<Vec<Word>, Failure> {
    let members = client(&runtime, &line)?.members().await?.members;
    Ok(members.into_iter().map(|member| (member.name, member.state.to_string())).collect())
}

async fn daemons_of(runtime: Runtime) -> Result<Vec<Word>, Failure> {
    let live = runtime.list()?.live;
    Ok(live.into_iter().map(|entry| (entry.name.to_string(), format!("pid {}", entry.pid))).collect())
}

/// The daemon that the line means, as far as it has been typed.
fn client(runtime: &Runtime, line: &[String]) -> Result<Client, Failure> {
    Ok(choose::daemon(&chosen(line), runtime)?.with_timeout(ANSWER_WITHIN))
}

/// The flags that choose a daemon. They are read by hand, because a line in the middle of being typed does not parse.
fn chosen(line: &[String]) -> Global {
    let mut name = std::env::var("CHINWAG_NAME").ok();
    let mut socket = None;
    // Some shells make three words of `--name=ada`.
    let mut words = line.iter().map(String::as_str).filter(|word| *word != "=");
    while let Some(word) = words.next() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("-n" | "--name", "") => name = words.next().map(str::to_owned),
            ("--name", value) => name = Some(value.to_owned()),
            ("--socket", "") => socket = words.next().map(PathBuf::from),
            ("--socket", value) => socket = Some(value.into()),
            _ => {}
        }
    }
    Global { name: name.and_then(|name| name.parse().ok()), socket, json: false, color: Color::Never }
}

/// The line so far: what the shell's script passes after `--`.
fn typed_words() -> Vec<String> {
    std::env::args().skip_while(|word| word != "--").skip(1).collect()
}

/// Asks within the bound, and keeps what continues `typed` and is a plain word.
fn offer(
    typed: &OsStr,
    ask: impl Future<Output = Result<Vec<Word>, Failure>> + Send + 'static,
) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else { return Vec::new() };
    let mut words = within(ask).unwrap_or_default();
    words.retain(|(word, _)| word.starts_with(typed) && is_plain(word));
    words.sort();
    words.into_iter().map(|(word, help)| CompletionCandidate::new(word).help(Some(help.into()))).collect()
}

/// The answer, unless there is an error or it takes too long. On a thread of its own, because reading the runtime
/// directory can block where no timer reaches.
fn within<T: Send + 'static>(ask: impl Future<Output = Result<T, Failure>> + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        tell.send(runtime.block_on(ask).ok()?).ok()
    });
    told.recv_timeout(ANSWER_WITHIN).ok()
}

/// Whether every shell reads it as one word and nothing else.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c);
    !word.is_empty() && !word.starts_with('-') && word.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn line(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn offered(typed: &str, words: &[&str]) -> Vec<String> {
        let words = words.iter().map(|w| ((*w).to_owned(), "register".to_owned())).collect();
        let offered = offer(OsStr::new(typed), async { Ok(words) });
        offered.iter().map(|c| c.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_could_do_something_in_a_shell_is_not_offered() {
        assert_eq!(offered("a", &["app/b", "app/a", "zoo"]), ["app/a", "app/b"]);
        let hostile =
            ["a;reboot", "a b", "a$(id)", "a`id`", "a\u{1b}[2J", "a|b", "a*", "a'b", "a\\", "a\nb", "ä"];
        assert_eq!(offered("", &hostile), [""; 0]);
        assert_eq!(offered("", &["--help", "-n"]), [""; 0], "a word is no flag");
    }

    #[test]
    fn the_line_so_far_says_which_daemon() {
        let name = |text: &str| chosen(&line(text)).name.map(|name| name.to_string());
        for text in
            ["chinwag -n ada get", "chinwag get --name ada", "chinwag --name=ada get", "x --name = ada"]
        {
            assert_eq!(name(text).as_deref(), Some("ada"), "{text}");
        }
        assert_eq!(name("chinwag -n"), None);
        assert_eq!(name("chinwag -n bad/name get"), None);
        let socket = |text: &str| chosen(&line(text)).socket;
        assert_eq!(socket("chinwag --socket /x get"), Some("/x".into()));
        assert_eq!(socket("chinwag --socket=/x get"), Some("/x".into()));
    }

    #[test]
    fn nobody_waits_for_a_daemon_that_does_not_answer() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("mute.sock");
        let _mute = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let line = line(&format!("chinwag --socket {} get", socket.display()));
        let begun = Instant::now();
        let asked = keys_of(Runtime::at(dir.path()), line, String::new());
        assert!(offer(OsStr::new(""), asked).is_empty());
        // Generous, because the machine may be busy; without a bound it would be the client's ten seconds.
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());

        let nowhere = Runtime::at(dir.path().join("none"));
        assert!(offer(OsStr::new(""), daemons_of(nowhere.clone())).is_empty());
        assert!(offer(OsStr::new(""), members_of(nowhere, Vec::new())).is_empty());
    }
}

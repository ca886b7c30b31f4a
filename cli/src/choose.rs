//! Which daemon is asked.

use crate::args::Global;
use crate::nearest::nearest;
use chinwag_api::runtime::{Listing, Runtime};
use chinwag_api::{Client, Failure, Kind};
use chinwag_base::Name;
use std::path::Path;

/// Files that a listing tells about; more would hide the answer.
const PASSED_SHOWN_MAX: usize = 5;

/// The daemon that the flags mean, or the only one.
///
/// # Errors
/// Nobody runs, nobody has that name, or several run and none was chosen.
pub(crate) fn daemon(global: &Global, runtime: &Runtime) -> Result<Client, Failure> {
    find(global, runtime)?.ok_or_else(|| match runtime.list() {
        Ok(listing) => nobody(runtime, &listing),
        Err(error) => error.into(),
    })
}

/// Like [`daemon`], but that nobody runs is no error.
///
/// # Errors
/// Nobody has that name, or several run and none was chosen.
pub(crate) fn find(global: &Global, runtime: &Runtime) -> Result<Option<Client>, Failure> {
    if let Some(socket) = &global.socket {
        return Ok(Some(Client::new(socket)));
    }
    let Listing { mut live, .. } = runtime.list()?;
    let names: Vec<String> = live.iter().map(|e| e.name.to_string()).collect();
    match &global.name {
        _ if live.is_empty() => return Ok(None),
        Some(wanted) => live.retain(|e| e.name == *wanted),
        None if live.len() > 1 => return Err(several(&names)),
        None => {}
    }
    match live.pop() {
        Some(entry) => Ok(Some(Client::new(entry.socket))),
        None => Err(nobody_named(global.name.as_ref(), &names)),
    }
}

/// The daemon that runs on this data directory, if one does. A directory that is named, by a flag or by the environment
/// as in a container, says which daemon is meant whether it runs or not.
///
/// # Errors
/// If the runtime directory cannot be read.
pub(crate) fn find_at(data: &Path, runtime: &Runtime) -> Result<Option<Client>, Failure> {
    // A directory that is not there yet is nobody's.
    let Ok(data) = data.canonicalize() else { return Ok(None) };
    let mut live = runtime.list()?.live.into_iter();
    Ok(live.find(|entry| entry.data == data).map(|entry| Client::new(entry.socket)))
}

fn several(names: &[String]) -> Failure {
    let first = names.first().map(String::as_str).unwrap_or_default();
    Failure::new(Kind::Ambiguous, "several daemons run, and none was chosen")
        .because(format!("they are {}", crate::text::list(names)))
        .hint(format!("chinwag -n {first} …"))
        .hint(format!("export CHINWAG_NAME={first}"))
}

fn nobody_named(wanted: Option<&Name>, names: &[String]) -> Failure {
    let wanted = wanted.map_or("", Name::as_str);
    let near = nearest(wanted, names.iter().map(String::as_str)).or(names.first().map(String::as_str));
    Failure::new(Kind::Unreachable, format!("no chinwagd named {wanted} is running for this user"))
        .because(format!("running: {}", crate::text::list(names)))
        .hint(format!("chinwag -n {} …", near.unwrap_or_default()))
}

fn nobody(runtime: &Runtime, listing: &Listing) -> Failure {
    let looked = format!("looked in {}", runtime.path().display());
    let mut failure = Failure::new(Kind::Unreachable, "no chinwagd is running for this user").because(
        match listing.passed.len() {
            0 => format!("{looked}: empty"),
            1 => format!("{looked}: one stale file"),
            n => format!("{looked}: {n} stale files"),
        },
    );
    for passed in listing.passed.iter().take(PASSED_SHOWN_MAX) {
        failure = failure.because(format!("{}: {}", passed.file, passed.why));
    }
    failure.hint("chinwag up").hint("chinwag lab 3")
}

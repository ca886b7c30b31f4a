//! Whether the store of the replicated state is what it should be: what `chinwag check` says.

use crate::driver::Live;
use crate::home::Home;
use crate::records::{self, ExaminedRecords};
use crate::storage::{self, Examined};
use chinwag_api::{Check, CheckedRecords, CheckedStore, Failure, Finding, Verdict};
use std::path::Path;

/// Damaged rows and faults that are named; more would hide the rest.
const NAMED_MAX: usize = 4;

const RESTART: &str = "chinwag leave && chinwag up -d: a start sets damaged rows aside, and other members send what was in them";
const REPORT: &str = "keep a copy of the data directory, and report this: it is a fault of chinwag or of this machine's memory";
const START_OVER: &str = "if other members hold everything: stop the daemon, move store.redb aside and start it; they send it all again";

/// Checks the store in the data directory `dir`, on which no daemon runs. Nothing is changed.
///
/// # Errors
/// If there is no such directory, or its store cannot be opened: a daemon has it open, say.
pub fn check_home(dir: &Path, blobs: bool) -> Result<Check, Failure> {
    if !dir.is_dir() {
        let kind = chinwag_api::Kind::BadRequest;
        return Err(Failure::new(kind, format!("there is no data directory {}", dir.display()))
            .hint("another one: --data DIR"));
    }
    let examined = storage::examine(&Home::peek(dir).store_path())?;
    let kept = records::examine(&Home::peek(dir).records_path(), blobs)?.map(Ok);
    let live = Finding::unknown("live", "no daemon runs on it, so there is nothing to compare it with");
    Ok(match examined {
        None => {
            let mut findings = vec![Finding::unknown("store", "there is none yet; the first start makes it")];
            findings.extend(kept.as_ref().map(of_records));
            Check::new(None, dir.to_owned(), None, kept.and_then(Result::ok).map(counted_records), findings)
        }
        Some(examined) => report(None, dir, &examined, kept, live),
    })
}

/// The report on a running daemon's store, and on what it holds at the same commit.
pub(crate) fn check_running(name: String, dir: &Path, examined: &Examined, kept: Kept, live: Live) -> Check {
    let finding = compare(examined, live);
    report(Some(name), dir, examined, Some(kept), finding)
}

/// The records, or why they cannot be read.
type Kept = Result<ExaminedRecords, String>;

fn report(name: Option<String>, dir: &Path, examined: &Examined, kept: Option<Kept>, live: Finding) -> Check {
    let mut findings = vec![rows(examined), log(examined), cells(examined)];
    findings.extend(unrepaired(examined));
    findings.push(live);
    findings.extend(kept.as_ref().map(of_records));
    let records = kept.and_then(Result::ok).map(counted_records);
    Check::new(name, dir.to_owned(), Some(counted(examined)), records, findings)
}

fn counted_records(examined: ExaminedRecords) -> CheckedRecords {
    CheckedRecords {
        rows: examined.rows as u64,
        blobs: examined.blobs as u64,
        blobs_read: examined.read,
        quarantined_rows: examined.quarantine as u64,
        damaged: examined.bad.len() as u64,
    }
}

/// Records are with other owners too, who bring what is damaged here.
fn of_records(kept: &Kept) -> Finding {
    const AGAIN: &str = "chinwag leave && chinwag up -d: damaged rows are set aside, and the records' other owners bring them again";
    match kept {
        Err(why) => Finding::bad("records", format!("the records of the DHT cannot be read: {why}"), AGAIN)
            .hint("if that does not help: stop the daemon, move records.redb aside and start it"),
        Ok(examined) if !examined.bad.is_empty() => {
            let message =
                format!("of the DHT, {} damaged: {}", n(examined.bad.len(), "thing"), some(&examined.bad, 0));
            Finding::bad("records", message, AGAIN)
        }
        Ok(ExaminedRecords { rows, blobs, read, .. }) => {
            let read = match (blobs, read) {
                (0, _) => String::new(),
                (_, true) => ", and each blob has the bytes that its hash says".to_owned(),
                (_, false) => "; --blobs reads the blobs too".to_owned(),
            };
            Finding::good(
                "records",
                format!("{} of the DHT, {} among them{read}", n(*rows, "record"), n(*blobs, "blob")),
            )
        }
    }
}

fn counted(examined: &Examined) -> CheckedStore {
    let rows = examined.rows;
    CheckedStore {
        log_rows: rows.log as u64,
        cell_rows: rows.cells as u64,
        checkpoint_rows: rows.checkpoint as u64,
        member_rows: rows.members as u64,
        invite_rows: rows.invites as u64,
        quarantined_rows: rows.quarantine as u64,
        damaged_rows: examined.bad.len() as u64,
        cells: examined.audit.cells as u64,
        keys: examined.audit.keys as u64,
        notes: examined.audit.notes as u64,
        unrepaired: examined.unrepaired as u64,
        position: examined.position,
        digest: examined.state.into(),
        clock_digest: examined.clock.into(),
    }
}

/// The first few, and how many more there are.
fn some(words: &[String], more: usize) -> String {
    let shown = words.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
    match words.len().saturating_sub(NAMED_MAX) + more {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

fn rows(examined: &Examined) -> Finding {
    let rows = examined.rows;
    let all = rows.log + rows.cells + rows.checkpoint + rows.members + rows.invites;
    if examined.bad.is_empty() {
        return Finding::good("rows", format!("{all} rows have the right checksums, and can be read"));
    }
    let message = format!("{} of {all} rows are damaged: {}", examined.bad.len(), some(&examined.bad, 0));
    Finding::bad("rows", message, RESTART)
}

fn log(examined: &Examined) -> Finding {
    let gaps: Vec<String> = examined
        .gaps
        .iter()
        .map(|gap| match gap.start() == gap.end() {
            true => gap.start().to_string(),
            false => format!("{} to {}", gap.start(), gap.end()),
        })
        .collect();
    if gaps.is_empty() {
        let (rows, position) = (examined.rows.log, examined.position);
        return Finding::good("log", format!("no row is missing: {rows} up to position {position}"));
    }
    Finding::bad("log", format!("rows are missing at position {}", some(&gaps, 0)), START_OVER)
}

fn cells(examined: &Examined) -> Finding {
    let audit = &examined.audit;
    let faults: Vec<String> = audit.faults.iter().map(ToString::to_string).collect();
    if !faults.is_empty() {
        return Finding::bad("cells", some(&faults, audit.more), REPORT).hint(START_OVER);
    }
    if examined.checkpoint_agrees == Some(false) && examined.bad.is_empty() {
        let message = "the cells are not those of which the checkpoint has the digest";
        return Finding::bad("cells", message, START_OVER).hint(REPORT);
    }
    let counts =
        format!("{} with {} and {}", n(audit.cells, "cell"), n(audit.keys, "key"), n(audit.notes, "note"));
    Finding::good("cells", format!("{counts} agree with the clock, the log and the digests"))
}

fn n(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

fn unrepaired(examined: &Examined) -> Option<Finding> {
    (examined.unrepaired > 0).then(|| {
        let message =
            format!("{} wait for another member to repair them", n(examined.unrepaired, "damaged cell"));
        Finding::warning(
            "repair",
            message,
            "start another member that has them, and see that both are connected",
        )
    })
}

/// The disk and the memory, at one commit.
fn compare(examined: &Examined, live: Live) -> Finding {
    let disk = (examined.position, examined.clock, examined.state, examined.audit.keys);
    if disk == (live.position, live.clock, live.state, live.keys) {
        let digest = chinwag_api::Hex::from(live.state);
        return Finding::good("live", format!("the daemon holds the same: digest {digest:#}"));
    }
    // What is damaged on the disk is whole in memory, and has its finding.
    if !examined.bad.is_empty() {
        let message = "the daemon still holds what the disk has lost, until it ends";
        return Finding::new("live", Verdict::Warning, message).hint(
            "before that: chinwag export > FILE, or see by chinwag members that others hold it (BEHIND 0)",
        );
    }
    let message = format!(
        "the daemon and its disk differ: position {} and {}, {} and {}, digest {:#} and {:#}, clock {:#} and {:#}",
        live.position,
        examined.position,
        n(live.keys, "key"),
        n(examined.audit.keys, "key"),
        chinwag_api::Hex::from(live.state),
        chinwag_api::Hex::from(examined.state),
        chinwag_api::Hex::from(live.clock),
        chinwag_api::Hex::from(examined.clock),
    );
    Finding::bad("live", message, "chinwag export > FILE, and then chinwag leave && chinwag up -d")
        .hint(REPORT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_base::Digest;
    use chinwag_crdt::{Audit, Fault};

    fn well() -> Examined {
        Examined {
            position: 3,
            audit: Audit { cells: 2, keys: 1, ..Audit::default() },
            ..Examined::default()
        }
    }

    fn live() -> Live {
        Live { position: 3, clock: Digest::EMPTY, state: Digest::EMPTY, keys: 1 }
    }

    fn check(examined: &Examined, live: Live) -> (bool, Vec<(String, Verdict)>) {
        let check =
            check_running("ada".into(), Path::new("/d"), examined, Ok(ExaminedRecords::default()), live);
        assert!(check.findings.iter().all(|f| !f.verdict.needs_action() || !f.tries.is_empty()));
        (check.healthy, check.findings.into_iter().map(|f| (f.check, f.verdict)).collect())
    }

    fn of(name: &str, verdict: Verdict) -> (String, Verdict) {
        (name.to_owned(), verdict)
    }

    #[test]
    fn what_agrees_is_healthy() {
        let good = ["rows", "log", "cells", "live", "records"].map(|check| of(check, Verdict::Good));
        assert_eq!(check(&well(), live()), (true, good.to_vec()));
    }

    #[test]
    fn each_thing_that_does_not_agree_is_told() {
        let bad = |examined: Examined, live: Live, finding: (String, Verdict)| {
            let (healthy, findings) = check(&examined, live);
            assert!(!healthy && findings.contains(&finding), "{findings:?}");
        };
        bad(Examined { bad: vec!["k: wrong".into()], ..well() }, live(), of("rows", Verdict::Bad));
        bad(Examined { gaps: vec![2..=2], ..well() }, live(), of("log", Verdict::Bad));
        bad(Examined { unrepaired: 1, ..well() }, live(), of("repair", Verdict::Warning));
        bad(Examined { checkpoint_agrees: Some(false), ..well() }, live(), of("cells", Verdict::Bad));
        let audit = Audit { faults: vec![Fault::Clock], ..well().audit };
        bad(Examined { audit, ..well() }, live(), of("cells", Verdict::Bad));
        bad(well(), Live { position: 4, ..live() }, of("live", Verdict::Bad));
        bad(well(), Live { keys: 2, ..live() }, of("live", Verdict::Bad));
        bad(well(), Live { state: Digest::of("test", b""), ..live() }, of("live", Verdict::Bad));
        bad(well(), Live { clock: Digest::of("test", b""), ..live() }, of("live", Verdict::Bad));
    }

    #[test]
    fn damaged_records_are_told() {
        let of = |kept: Kept| of_records(&kept).verdict;
        let bad = ExaminedRecords { bad: vec!["a blob".into()], ..ExaminedRecords::default() };
        assert_eq!((of(Ok(bad)), of(Err("no".into()))), (Verdict::Bad, Verdict::Bad));
        let blobs = ExaminedRecords { rows: 2, blobs: 1, read: true, ..ExaminedRecords::default() };
        let finding = of_records(&Ok(blobs));
        assert!(finding.message.ends_with("each blob has the bytes that its hash says"), "{finding:?}");
    }

    #[test]
    fn few_are_named() {
        let words: Vec<String> = (0..6).map(|n| n.to_string()).collect();
        assert_eq!(some(&words, 10), "0; 1; 2; 3; and 12 more");
        assert_eq!(some(&words[..2], 0), "0; 1");
    }

    #[test]
    fn a_directory_without_a_store_has_nothing_to_check() {
        let dir = tempfile::tempdir().unwrap();
        let check = check_home(dir.path(), false).unwrap();
        assert!(check.healthy && check.store.is_none(), "{check:?}");
        assert!(check_home(&dir.path().join("missing"), false).is_err());
    }
}

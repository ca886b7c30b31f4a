//! A data directory: its disk, its keys, its papers, its store.

use super::{databases, size, span};
use crate::clock;
use crate::config::{Config, DaemonArgs};
use crate::home::{Home, Papers};
use chinwag_api::{Failure, Finding};
use chinwag_base::{NodeId, OverlayId, WallTime};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// Free space below which the store will soon refuse writes: it grows by doubling.
const FREE_BYTES_BAD: u64 = 16 * 1024 * 1024;
/// Free space that is worth a look: a daemon that is written to fills this within weeks.
const FREE_BYTES_WARNING: u64 = 256 * 1024 * 1024;
/// A group commit is one or two of these, and every write waits for one.
const FSYNC_SLOW: Duration = Duration::from_millis(100);
/// How often it is measured. The median is told.
const FSYNCS: usize = 5;
/// What is written each time: one page of the store.
const FSYNC_BYTES: usize = 4_096;
/// When the end of a grant is told of, and when it is urgent.
const GRANT_WARNING: Duration = Duration::from_secs(30 * 86_400);

/// Examines the data directory at `dir`, whether a daemon runs there or not. Nothing is changed but for a file that is
/// made and removed again to measure the disk.
pub fn examine_home(dir: &Path) -> Vec<Finding> {
    let meta = match fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => meta,
        Ok(_) => {
            let message = format!("{} is not a directory", dir.display());
            return vec![Finding::bad("data", message, "another one: --data DIR")];
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("{} is not there yet: no daemon has run on it", dir.display());
            return vec![Finding::unknown("data", message)];
        }
        Err(error) => {
            let message = format!("{} cannot be looked at: {error}", dir.display());
            return vec![Finding::bad(
                "data",
                message,
                "chinwag doctor, as the user that the daemon runs as",
            )];
        }
    };
    let home = Home::peek(dir);
    let mut findings = vec![directory(dir, &meta)];
    findings.extend(disk(dir));
    findings.extend(databases::examine(dir));
    findings.extend(settings(dir));
    let id = match home.identity() {
        Ok(Some(key)) => {
            findings.push(Finding::good(
                "key",
                format!("identity.key is yours alone; this node is {}", key.id().short()),
            ));
            Some(key.id())
        }
        Ok(None) => {
            findings.push(Finding::unknown("key", "there is none yet; the first start makes it"));
            None
        }
        Err(failure) => {
            findings.push(of_failure("key", &failure));
            None
        }
    };
    if let Err(failure) = home.door_identity() {
        findings.push(of_failure("door", &failure));
    }
    match home.papers() {
        Ok(Some(papers)) => {
            findings.extend(id.map(|id| examine_papers(&papers, id, clock::wall())));
            findings.extend(root(&home, papers.overlay()));
        }
        Ok(None) => findings.push(
            Finding::unknown("grant", "this node belongs to no overlay yet")
                .hint("chinwag init NAME, to make one")
                .hint("chinwag join TOKEN, to enter one"),
        ),
        Err(failure) => findings.push(of_failure("grant", &failure)),
    }
    findings
}

/// Whether a grant admits `node` at the time `now`, and for how long.
pub fn examine_papers(papers: &Papers, node: NodeId, now: WallTime) -> Finding {
    let again = "ask an admin for an invite, and join with a new data directory";
    let name = &papers.name;
    let role = match papers.grant.verify(papers.overlay(), node, now) {
        Ok(role) => role,
        Err(why) => {
            return Finding::bad("grant", format!("this node may not take part in {name}: {why}"), again);
        }
    };
    let left = papers.grant.not_after().unix_ms().saturating_sub(now.unix_ms());
    let left = Duration::from_millis(left);
    match left {
        _ if left.is_zero() => Finding::bad(
            "grant",
            format!(
                "the grant for {name} has ended, and is honoured for some minutes more only because clocks differ"
            ),
            again,
        ),
        _ if left < GRANT_WARNING => {
            Finding::warning("grant", format!("the grant for {name} ends in {}", span(left)), again)
        }
        _ => Finding::good("grant", format!("{role} of {name} for {} more", span(left))),
    }
}

fn of_failure(check: &str, failure: &Failure) -> Finding {
    let mut message = failure.message.clone();
    for why in &failure.because {
        message += &format!("; {why}");
    }
    let mut finding = Finding::new(check, chinwag_api::Verdict::Bad, message);
    finding.tries.clone_from(&failure.tries);
    if finding.tries.is_empty() {
        finding = finding.hint("restore it from a backup, or give the daemon a new directory: --data DIR");
    }
    finding
}

fn directory(dir: &Path, meta: &fs::Metadata) -> Finding {
    let mode = meta.mode() & 0o777;
    let me = rustix::process::geteuid().as_raw();
    let place = dir.display();
    if meta.uid() != me && me != 0 {
        let message = format!("{place} belongs to the user {}, and this is {me}", meta.uid());
        return Finding::bad(
            "data",
            message,
            "run the daemon as that user, or give it another directory: --data DIR",
        );
    }
    if mode & 0o022 != 0 {
        let message =
            format!("{place} can be written by others (mode {mode:03o}), who could put keys of theirs there");
        return Finding::bad("data", message, format!("chmod 700 {place}"));
    }
    Finding::good("data", format!("{place} is yours (mode {mode:03o})"))
}

fn disk(dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let room = "make room on the disk, or move the data directory to another one";
    match rustix::fs::statvfs(dir) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let message = format!("{} free", size(free));
            findings.push(match free {
                _ if free < FREE_BYTES_BAD => {
                    Finding::bad("space", format!("{message}: writes will be refused"), room)
                }
                _ if free < FREE_BYTES_WARNING => Finding::warning("space", message, room),
                _ => Finding::good("space", message),
            });
        }
        Err(error) => findings.push(Finding::unknown("space", format!("the disk does not tell: {error}"))),
    }
    findings.push(match fsync_median(dir) {
        Ok(median) if median > FSYNC_SLOW => {
            let message =
                format!("making 4 KiB durable takes {}, and every write waits for that", span(median));
            Finding::warning("disk", message, "a disk that is less busy, or faster: --data DIR")
        }
        Ok(median) => Finding::good("disk", format!("4 KiB are durable within {}", span(median))),
        Err(error) => {
            let message = format!("{} cannot be written: {error}", dir.display());
            let hint = match error.kind() {
                std::io::ErrorKind::ReadOnlyFilesystem => {
                    "mount it for writing, or --data DIR on another disk"
                }
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => room,
                _ => "a directory that this user may write: --data DIR",
            };
            Finding::bad("disk", message, hint)
        }
    });
    findings
}

/// The median time that a page needs to be durable in `dir`.
fn fsync_median(dir: &Path) -> std::io::Result<Duration> {
    let path = dir.join(format!("doctor-{}.tmp", std::process::id()));
    let measure = || -> std::io::Result<Duration> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let mut times = [Duration::ZERO; FSYNCS];
        for time in &mut times {
            let began = Instant::now();
            file.write_all(&[0x5a; FSYNC_BYTES])?;
            file.sync_data()?;
            *time = began.elapsed();
        }
        times.sort();
        Ok(times[FSYNCS / 2])
    };
    let measured = measure();
    // If it could not be made there is nothing to remove.
    let _ = fs::remove_file(&path);
    measured
}

fn settings(dir: &Path) -> Option<Finding> {
    let path = dir.join("config.toml");
    if !path.exists() {
        return None;
    }
    let args = DaemonArgs { data: Some(dir.to_owned()), ..DaemonArgs::default() };
    Some(match Config::from_args(&args) {
        Ok(_) => Finding::good("config", "config.toml is understood"),
        Err(failure) if failure.tries.is_empty() => {
            of_failure("config", &failure.hint(format!("mend {}", path.display())))
        }
        Err(failure) => of_failure("config", &failure),
    })
}

/// Where the overlay's root key is, as far as this home knows.
fn root(home: &Home, overlay: OverlayId) -> Option<Finding> {
    match home.root() {
        Ok(Some(root)) if OverlayId::of_root(&root.id()) == overlay => Some(Finding::good(
            "root",
            "the overlay's root key is here and yours alone; who has no copy of root.key elsewhere loses it with this disk",
        )),
        Ok(Some(_)) => Some(Finding::warning(
            "root",
            "root.key is of another overlay than the one that this node belongs to",
            "put the right one back from a backup, or move this one away",
        )),
        Ok(None) => {
            Some(Finding::good("root", "the overlay's root key is not in this home, and need not be"))
        }
        Err(failure) => Some(of_failure("root", &failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_api::Verdict;
    use chinwag_base::limits::{EXPIRY_TOLERANCE_MS, GRANT_LIFE_MS};
    use chinwag_base::{Grant, Keypair, Role};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    fn founded() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("home");
        let home = Home::open(&at).unwrap();
        home.found("home".parse().unwrap(), clock::wall(), clock::entropy).unwrap();
        (dir, at)
    }

    fn of(findings: &[Finding], check: &str) -> Finding {
        findings
            .iter()
            .find(|f| f.check == check)
            .unwrap_or_else(|| panic!("no {check}: {findings:#?}"))
            .clone()
    }

    #[test]
    fn a_new_home_is_well_and_left_as_it_was() {
        let (_dir, at) = founded();
        let names = || {
            let mut names: Vec<_> = fs::read_dir(&at).unwrap().map(|f| f.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        let findings = examine_home(&at);
        assert_eq!(names(), before);
        for check in ["data", "key", "grant", "root", "disk"] {
            assert_eq!(of(&findings, check).verdict, Verdict::Good, "{findings:#?}");
        }
        assert!(of(&findings, "grant").message.contains("admin of home for 365 days"), "{findings:#?}");
        assert!(findings.iter().all(|f| !f.verdict.needs_action() || !f.tries.is_empty()));
    }

    #[test]
    fn a_running_daemons_home_can_be_examined_too() {
        let (_dir, at) = founded();
        let _in_use = Home::open(&at).unwrap();
        assert_eq!(of(&examine_home(&at), "key").verdict, Verdict::Good);
    }

    #[test]
    fn open_keys_are_found_each_with_its_remedy() {
        let (_dir, at) = founded();
        let chmod = |file: &str, mode| {
            fs::set_permissions(at.join(file), fs::Permissions::from_mode(mode)).unwrap();
        };
        fs::copy(at.join("identity.key"), at.join("door.key")).unwrap();
        for (file, check) in [("identity.key", "key"), ("root.key", "root"), ("door.key", "door")] {
            chmod(file, 0o644);
            let finding = of(&examine_home(&at), check);
            assert_eq!(finding.verdict, Verdict::Bad, "{finding:?}");
            assert!(finding.message.contains("mode 644"), "{finding:?}");
            assert_eq!(finding.tries, [format!("chmod 600 {}", at.join(file).display())]);
            chmod(file, 0o600);
            let well = examine_home(&at);
            assert!(well.iter().all(|f| f.check != check || f.verdict == Verdict::Good), "{well:?}");
        }
        chmod("", 0o777);
        assert_eq!(
            of(&examine_home(&at), "data").tries,
            [format!("chmod 700 {}/", at.display()).trim_end_matches('/')]
        );
    }

    #[test]
    fn damage_is_told() {
        let (_dir, at) = founded();
        fs::write(at.join("identity.key"), "not a key").unwrap();
        fs::write(at.join("config.toml"), "nmae = 'ada'").unwrap();
        let findings = examine_home(&at);
        assert!(of(&findings, "key").message.contains("is not a key"), "{findings:#?}");
        assert!(of(&findings, "config").message.contains("there is no setting `nmae`"), "{findings:#?}");
        fs::write(at.join("overlay.toml"), "").unwrap();
        assert!(of(&examine_home(&at), "grant").message.contains("is damaged"));
    }

    #[test]
    fn a_directory_that_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let missing = examine_home(&dir.path().join("missing"));
        assert_eq!((missing.len(), missing[0].verdict), (1, Verdict::Unknown));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(examine_home(&file)[0].verdict, Verdict::Bad);
        assert!(fsync_median(&file).is_err(), "the measurement can fail");
    }

    #[test]
    fn a_grants_end_is_told_in_time() {
        let (root, node) = (Keypair::from_secret([1; 32]), Keypair::from_secret([2; 32]).id());
        let now = WallTime::from_unix_ms(1_800_000_000_000);
        let day = 86_400_000;
        let examine = |not_after: WallTime, at: WallTime| {
            let grant = Grant::by_root(&root, node, Role::Member, not_after);
            examine_papers(&Papers { name: "home".parse().unwrap(), grant }, node, at)
        };
        assert_eq!(examine(now.plus_ms(GRANT_LIFE_MS), now).verdict, Verdict::Good);
        let soon = examine(now.plus_ms(9 * day), now);
        assert_eq!(
            (soon.verdict, soon.message.as_str()),
            (Verdict::Warning, "the grant for home ends in 9 days")
        );
        let over = examine(now, now.plus_ms(1_000));
        assert!(over.verdict == Verdict::Bad && over.message.contains("has ended"), "{over:?}");
        let expired = examine(now, now.plus_ms(EXPIRY_TOLERANCE_MS + 1));
        assert!(expired.verdict == Verdict::Bad && expired.message.contains("has expired"), "{expired:?}");
        let grant = Grant::by_root(&root, node, Role::Member, now.plus_ms(GRANT_LIFE_MS));
        let papers = Papers { name: "home".parse().unwrap(), grant };
        let borrowed = examine_papers(&papers, root.id(), now);
        assert!(borrowed.verdict == Verdict::Bad && !borrowed.tries.is_empty(), "{borrowed:?}");
    }
}

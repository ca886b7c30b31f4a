use super::Context;
use crate::output::Tone;
use crate::text::{UNKNOWN, count, list};
use crate::{End, choose, daemon};
use chinwag_api::runtime::{Listing, Runtime};
use chinwag_api::{Client, Doctor, Exit, Failure, Finding, Kind, Verdict};
use chinwag_base::key::printable;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a daemon has to say that it is there. One that is only slow answers well within it.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Look for what is wrong, and say what to do about it
///
/// Examines the data directory, the disk, the keys and the grant, and with a running daemon also its listeners, its
/// connections, UDP, multicast and the clock. Without one it examines what it can. ✓ is well, ! should be looked at, ✗ does not work, and
/// – could not be found out. Exits 1 if somebody has to do something.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Examine this data directory, and the daemon that runs there if one does [default: the chosen daemon's]
    #[arg(long, value_name = "DIR", env = "CHINWAG_DATA")]
    data: Option<PathBuf>,
}

impl DoctorArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        let report = self.examine(context).await?;
        let exit = if report.healthy { Exit::Yes } else { Exit::No };
        if context.out.is_json() {
            context.out.json(&report)?;
            return Ok(exit);
        }
        show_all(context, &report.findings)?;
        Ok(exit)
    }

    async fn examine(&self, context: &Context) -> Result<Doctor, Failure> {
        let mut findings = vec![runtime(&context.runtime)];
        let listing = context.runtime.list().unwrap_or_default();
        findings.extend(running(&listing).await);
        // A runtime directory that cannot be used has its finding already, and leads to no daemon.
        let usable = context.runtime.check().is_ok();
        let client = match &self.data {
            Some(data) if usable && context.global.name.is_none() && context.global.socket.is_none() => {
                choose::find_at(data, &context.runtime)?
            }
            _ if usable || context.global.socket.is_some() => {
                choose::find(&context.global, &context.runtime)?
            }
            _ => None,
        };
        let Some(client) = client else {
            let data = self.data.clone().map_or_else(daemon::default_data, Ok)?;
            let message = "none runs here, so network, members and clock could not be examined";
            findings.push(Finding::unknown("daemon", message).hint("chinwag up"));
            return Ok(without(None, data, findings));
        };
        match client.doctor().await {
            Ok(report) => {
                findings.push(version(&client).await?);
                findings.extend(report.findings);
                Ok(Doctor::new(report.name, report.data, findings))
            }
            Err(failure) if matches!(failure.kind, Kind::Timeout | Kind::Unreachable | Kind::Gone) => {
                let entry = listing.live.into_iter().find(|entry| entry.socket == client.socket());
                let Some(entry) = entry else { return Err(failure) };
                // It has its finding as a daemon that does not answer.
                Ok(without(Some(entry.name.to_string()), entry.data, findings))
            }
            Err(failure) => Err(failure),
        }
    }
}

/// A report without the daemon's own words.
fn without(name: Option<String>, data: PathBuf, mut findings: Vec<Finding>) -> Doctor {
    findings.extend(daemon::examine(&data));
    Doctor::new(name, data, findings)
}

/// A line each, and how many need somebody.
pub(super) fn show_all(context: &mut Context, findings: &[Finding]) -> std::io::Result<()> {
    let width = findings.iter().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
    for finding in findings {
        show(context, finding, width)?;
    }
    let needy = findings.iter().filter(|finding| finding.verdict.needs_action()).count() as u64;
    context.out.say(&match needy {
        0 => "Nothing needs to be done.".to_owned(),
        1 => "1 finding needs somebody to do something.".to_owned(),
        n => format!("{} need somebody to do something.", count(n, "finding")),
    })
}

fn show(context: &mut Context, finding: &Finding, width: usize) -> std::io::Result<()> {
    let (tone, sign) = match finding.verdict {
        Verdict::Good => (Tone::Good, "✓"),
        Verdict::Unknown => (Tone::Faint, UNKNOWN),
        Verdict::Warning => (Tone::Warning, "!"),
        Verdict::Bad => (Tone::Bad, "✗"),
    };
    let sign = context.out.paint(tone, sign);
    let check = printable(&finding.check);
    context.out.line(&format!("{sign} {check:<width$}  {}", printable(&finding.message)))?;
    if !finding.tries.is_empty() {
        let tries: Vec<String> = finding.tries.iter().map(|hint| printable(hint).into_owned()).collect();
        context.out.line(&format!("  {:<width$}  try: {}", "", tries.join("    or: ")))?;
    }
    Ok(())
}

fn runtime(runtime: &Runtime) -> Finding {
    let path = |path: &Path| path.display().to_string();
    match runtime.check() {
        Ok(true) => Finding::good("runtime", format!("{} is yours alone", path(runtime.path()))),
        Ok(false) => Finding::unknown(
            "runtime",
            format!("{} is not there yet; the first start makes it", path(runtime.path())),
        ),
        Err(error) => {
            let failure = Failure::from(error);
            let mut finding = Finding::new("runtime", Verdict::Bad, failure.message);
            finding.tries = failure.tries;
            if finding.tries.is_empty() {
                finding.hint("set CHINWAG_RUNTIME_DIR to a directory of your own")
            } else {
                finding
            }
        }
    }
}

/// The daemons of this user, and whether each answers.
async fn running(listing: &Listing) -> Vec<Finding> {
    let mut answer = Vec::new();
    let mut findings = Vec::new();
    for entry in &listing.live {
        let client = Client::new(&entry.socket).with_timeout(ANSWER_WITHIN);
        match client.version().await {
            Ok(_) => answer.push(entry.name.to_string()),
            Err(failure) => findings.push(Finding::bad(
                "daemon",
                format!("{} (pid {}) runs and does not answer: {}", entry.name, entry.pid, failure.message),
                format!("look into its log; then kill {}, and chinwag up", entry.pid),
            )),
        }
    }
    match answer.as_slice() {
        [] => {}
        [one] => findings.insert(0, Finding::good("daemon", format!("{one} runs and answers"))),
        [first, ..] => {
            let message = format!("{} run and answer; chinwag -n {first} chooses", list(&answer));
            findings.insert(0, Finding::good("daemon", message));
        }
    }
    if !listing.passed.is_empty() {
        let files: Vec<String> = listing.passed.iter().map(|passed| passed.file.clone()).collect();
        let message =
            format!("{} in the runtime directory lead to no daemon, and are passed over", list(&files));
        findings.push(Finding::unknown("runtime", message));
    }
    findings
}

async fn version(client: &Client) -> Result<Finding, Failure> {
    let theirs = client.version().await?.version;
    let ours = env!("CARGO_PKG_VERSION");
    Ok(match theirs == ours {
        true => Finding::good("version", format!("chinwag and chinwagd {ours}")),
        false => Finding::warning(
            "version",
            format!("this program is chinwag {ours}, and the daemon is chinwagd {theirs}"),
            "chinwag leave && chinwag up -d, so that the daemon is of this version too",
        ),
    })
}

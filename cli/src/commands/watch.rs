use super::Context;
use super::get::summary;
use super::write::{place, shown};
use crate::complete;
use crate::{End, output::Tone, text};
use chinwag_api::{Bytes, Change, Exit, Failure, Kind, Pattern, Position, Watched, What};
use chinwag_base::key::printable;
use jiff::tz::TimeZone;
use std::time::Duration;

/// Watch changes as they become visible
///
/// Each line has the time, what happened, the key, the value, the member that wrote it, and how long it took to
/// arrive. It ends with exit code 3 if the daemon goes away.
///
/// With --json each change has its `position`, and a later watch goes on after it with --after: it is told what came
/// in between. A daemon keeps the last 4,096 changes since its start. Where they do not reach back so far, it says
/// so, and tells what each key holds now (`now`).
#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// Which keys: * is any run of characters, ? any one [default: all]
    #[arg(add = complete::keys())]
    pattern: Option<String>,
    /// End after so many changes
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Tell first what came after this position, which a watch with --json has shown
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
    /// If the daemon goes away, wait until it is back, and go on there
    #[arg(long)]
    reconnect: bool,
}

/// How long until a daemon that is away is looked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

impl WatchArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        if let Some(pattern) = &self.pattern {
            pattern.parse::<Pattern>().map_err(|e| Failure::new(Kind::BadRequest, e.to_string()))?;
        }
        let mut shown = Shown {
            left: self.count,
            after: self.after.clone().map(Position),
            widths: Widths::default(),
            has_begun: false,
        };
        loop {
            let failure = match self.watch(context, &mut shown).await {
                Ok(()) => return Ok(Exit::Yes),
                Err(End::Failure(failure)) => failure,
                Err(end) => return Err(end),
            };
            // Nobody to ask at all, or a mistyped name, is told at once.
            let is_away =
                matches!(failure.kind, Kind::Gone | Kind::Unreachable | Kind::Leaving | Kind::Timeout);
            if !(self.reconnect && shown.has_begun && is_away) {
                return Err(failure.into());
            }
            if failure.kind == Kind::Gone {
                let text = context.out.paint_prose(Tone::Warning, "the daemon went away; waiting for it");
                context.out.say(&text)?;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Watches until enough has been shown, or the daemon goes away.
    async fn watch(&self, context: &mut Context, shown: &mut Shown) -> Result<(), End> {
        let client = context.client()?;
        let mut watch = client.watch_after(self.pattern.as_deref(), shown.after.as_ref()).await?;
        while shown.left != Some(0) {
            shown.show(context, watch.next().await?)?;
        }
        Ok(())
    }
}

/// What has been shown.
struct Shown {
    /// How many changes are still to be shown.
    left: Option<u64>,
    /// Where to go on.
    after: Option<Position>,
    /// Widths only grow, so that the columns of a long watch come to rest.
    widths: Widths,
    has_begun: bool,
}

impl Shown {
    fn show(&mut self, context: &mut Context, told: Watched) -> Result<(), End> {
        let out = &mut context.out;
        match &told {
            Watched::Ready(ready) => {
                self.has_begun = true;
                self.after = ready.position.clone();
                if out.is_json() {
                    out.json(ready)?;
                }
            }
            Watched::Change(change) => {
                if out.is_json() {
                    out.json(change)?;
                } else {
                    let line = self.widths.line(change, &time_of_day(change.at_unix_ms));
                    out.line(&line)?;
                }
                self.after = change.position.clone();
                self.left = self.left.map(|n| n - 1);
            }
            Watched::Cell(cell) if out.is_json() => out.json(cell)?,
            Watched::Cell(cell) => {
                let line = format!("{:12}  now    {}  {}", "", printable(&cell.key), summary(&cell.content));
                out.line(&line)?;
            }
            Watched::Reset(reset) if out.is_json() => out.json(reset)?,
            Watched::Reset(reset) => {
                let text = format!("changes were left out: {}; this is there now", printable(&reset.message));
                let text = out.paint_prose(Tone::Warning, &text);
                out.say(&text)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Widths {
    key: usize,
    value: usize,
    origin: usize,
}

impl Widths {
    /// A column wider than this is left ragged.
    const MAX: usize = 40;

    fn line(&mut self, change: &Change, at: &str) -> String {
        let key = place(&change.key, &change.field);
        let value = what(&change.what);
        let origin = printable(&change.origin);
        let grow = |width: &mut usize, text: &str| *width = (*width).max(text.chars().count()).min(Self::MAX);
        grow(&mut self.key, &key);
        grow(&mut self.value, &value);
        grow(&mut self.origin, &origin);
        let (k, v, o) = (self.key, self.value, self.origin);
        let name = change.what.name();
        let mut line =
            format!("{at}  {name:<5}  {key:<k$}  {value:<v$}  {origin:<o$}  +{} ms", change.age_ms);
        let was = (!change.was.is_empty())
            .then(|| format!("was {}", change.was.iter().map(shown).collect::<Vec<_>>().join(", ")));
        let concurrent = change.concurrent.then(|| "concurrent".to_owned());
        let notes: Vec<String> = was.into_iter().chain(concurrent).collect();
        if !notes.is_empty() {
            line += &format!("  {}", notes.join("; "));
        }
        line
    }
}

fn what(what: &What) -> String {
    let value = |value: &Bytes| shown(value);
    match what {
        What::Set { value: v }
        | What::Merge { value: v }
        | What::Add { value: v }
        | What::Rm { value: v } => value(v),
        What::Del {} => text::UNKNOWN.into(),
        What::Enable {} => "on".into(),
        What::Disable {} => "off".into(),
        What::Incr { by, count } => format!("{count} ({:+})", by.0),
    }
}

/// The local time of day: `14:03:22.118`.
pub(crate) fn time_of_day(unix_ms: u64) -> String {
    time_of_day_in(unix_ms, TimeZone::system())
}

fn time_of_day_in(unix_ms: u64, zone: TimeZone) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    match moment {
        Some(moment) => {
            let (time, ms) = (moment.to_zoned(zone), unix_ms % 1_000);
            format!("{:02}:{:02}:{:02}.{ms:03}", time.hour(), time.minute(), time.second())
        }
        None => "--:--:--.---".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_no_clock_shows_do_not_panic() {
        assert_eq!(time_of_day_in(1_700_000_001_234, TimeZone::UTC), "22:13:21.234");
        assert_eq!(time_of_day_in(u64::MAX, TimeZone::UTC), "--:--:--.---");
        assert_eq!(time_of_day_in(i64::MAX as u64, TimeZone::UTC), "--:--:--.---");
    }

    #[test]
    fn a_change_is_one_line_with_columns() {
        let mut widths = Widths::default();
        let change = |what, was: &[&str], concurrent, age_ms| Change {
            at_unix_ms: 0,
            key: "greeting".into(),
            field: Vec::new(),
            what,
            origin: "gamma".into(),
            age_ms,
            was: was.iter().map(|w| (*w).into()).collect(),
            concurrent,
            position: None,
        };
        let set = change(What::Set { value: "hello".into() }, &[], false, 0);
        assert_eq!(widths.line(&set, "T"), "T  set    greeting  \"hello\"  gamma  +0 ms");
        let merge = change(What::Merge { value: "hi".into() }, &["hello"], true, 63);
        assert_eq!(
            widths.line(&merge, "T"),
            "T  merge  greeting  \"hi\"     gamma  +63 ms  was \"hello\"; concurrent"
        );
        let incr =
            change(What::Incr { by: chinwag_api::Count(2), count: chinwag_api::Count(9) }, &[], false, 1);
        assert_eq!(widths.line(&incr, "T"), "T  incr   greeting  9 (+2)   gamma  +1 ms");
    }
}

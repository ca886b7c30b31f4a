use super::Context;
use super::write::shown;
use crate::complete;
use crate::{End, output::Tone, text};
use chinwag_api::{Bytes, Change, Exit, Failure, Kind, Pattern, Watched, What};
use chinwag_base::key::printable;
use jiff::tz::TimeZone;

/// Watch changes as they become visible
///
/// Each line has the time, what happened, the key, the value, the member that wrote it, and how long it took to
/// arrive. It ends with exit code 3 if the daemon goes away.
#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// Which keys: * is any run of characters, ? any one [default: all]
    #[arg(add = complete::keys())]
    pattern: Option<String>,
    /// End after so many changes
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

impl WatchArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<Exit, End> {
        if let Some(pattern) = &self.pattern {
            pattern.parse::<Pattern>().map_err(|e| Failure::new(Kind::BadRequest, e.to_string()))?;
        }
        let mut watch = context.client()?.watch(self.pattern.as_deref()).await?;
        let mut left = self.count;
        // Widths only grow, so that the columns of a long watch come to rest.
        let mut widths = Widths::default();
        while left != Some(0) {
            match watch.next().await? {
                Watched::Ready(ready) if context.out.is_json() => context.out.json(&ready)?,
                Watched::Ready(_) => {}
                Watched::Change(change) => {
                    if context.out.is_json() {
                        context.out.json(&change)?;
                    } else {
                        let line = widths.line(&change, &time_of_day(change.at_unix_ms));
                        context.out.line(&line)?;
                    }
                    left = left.map(|n| n - 1);
                }
                Watched::Reset(reset) if context.out.is_json() => context.out.json(&reset)?,
                Watched::Reset(reset) => {
                    let text = format!("changes were left out: {}", printable(&reset.message));
                    let text = context.out.paint_prose(Tone::Warning, &text);
                    context.out.say(&text)?;
                }
            }
        }
        Ok(Exit::Yes)
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
        let key = printable(&change.key);
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
            what,
            origin: "gamma".into(),
            age_ms,
            was: was.iter().map(|w| (*w).into()).collect(),
            concurrent,
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

//! What the log looks like: `14:03:22.118 INFO  member.suspect name=gamma by=alpha phi=1.2`, or a JSON object.

use crate::clock;
use crate::config::{LogFormat, Logging};
use chinwag_api::{Failure, Kind};
use chinwag_base::Digest;
use chinwag_base::key::printable;
use serde_json::{Map, Value, json};
use std::fmt;
use std::io::{self, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, reload};

/// Lines that wait for a reader that is slow, such as a paused terminal. Beyond it lines are dropped: a daemon that
/// waited for its log would look dead to the others.
const LINES_MAX: usize = 8_192;

/// Hexadecimal digits of a value's name: 64 bits.
const NAME_DIGITS: usize = 16;

/// What the log calls a replicated value, which it never shows.
pub fn name_of(value: &chinwag_base::Value) -> String {
    let mut name = Digest::of("chinwag value in a log", value.as_bytes()).to_string();
    name.truncate(NAME_DIGITS);
    name
}

/// Writes what still waits when it is dropped.
#[must_use = "the last lines are written when it is dropped"]
pub struct Guard {
    #[expect(dead_code, reason = "held for its Drop")]
    writer: WorkerGuard,
    refilter: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

impl Guard {
    /// Logs by another filter from now on.
    ///
    /// # Errors
    /// A filter that does not parse, or a log that is not ours; the old filter stays.
    pub fn refilter(&self, filter: &str) -> Result<(), Failure> {
        (self.refilter)(parse(filter)?).map_err(|e| {
            Failure::new(Kind::Internal, "this program's log has a filter of its own").because(e.to_string())
        })
    }
}

pub(crate) fn parse(filter: &str) -> Result<EnvFilter, Failure> {
    let refused = |why: String| {
        Failure::new(Kind::BadRequest, format!("`{filter}` is not a log filter"))
            .because(why)
            .hint("--log info    or: --log debug    or: --log chinwag=debug,libp2p_swarm=info")
    };
    // tracing-subscriber 0.3.23 looks for the places of the lower-case text in the text itself and panics where the two
    // differ in length, as at `Ⱥ`. No target, level or field of ours has such letters.
    if !filter.is_ascii() {
        return Err(refused("it has letters that no target, level or field has".into()));
    }
    EnvFilter::builder().parse(filter).map_err(|e| refused(e.to_string()))
}

/// Sends the log to standard error, through a thread of its own. The first call in a process decides.
///
/// # Errors
/// A filter that does not parse.
pub fn install(logging: &Logging) -> Result<Guard, Failure> {
    let filter = parse(&logging.filter)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(Deaf(std::io::stderr()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // It would tell of its own failure on the very stream that failed, and panic.
        .log_internal_errors(false)
        .event_format(Lines { format: logging.format })
        .with_filter_reloading();
    let handle = builder.reload_handle();
    // A program that embeds a daemon may have a subscriber of its own, which then stays.
    let _ = tracing::subscriber::set_global_default(builder.finish());
    Ok(Guard { writer: guard, refilter: Box::new(move |filter| handle.reload(filter)) })
}

/// A writer whose failures nobody hears: when the reader of the log is gone, the daemon goes on.
struct Deaf<W>(W);

impl<W: Write> Write for Deaf<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

struct Lines {
    format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut parts = Parts::default();
        event.record(&mut parts);
        let at = clock::wall().unix_ms();
        let level = event.metadata().level();
        let name = parts.event.unwrap_or_else(|| event.metadata().target().to_owned());
        match self.format {
            LogFormat::Json => {
                let row = json!({
                    "at_unix_ms": at,
                    "level": level.as_str().to_lowercase(),
                    "event": name,
                    "fields": parts.fields,
                });
                writeln!(out, "{row}")
            }
            LogFormat::Text => {
                write!(out, "{} {level:<5} {name}", time_of_day(at))?;
                for (field, value) in &parts.fields {
                    write!(out, " {field}={}", text(value))?;
                }
                out.write_char('\n')
            }
        }
    }
}

/// What an event carries: ours bring their fields as one JSON object, libraries bring theirs one by one.
#[derive(Default)]
struct Parts {
    event: Option<String>,
    fields: Map<String, Value>,
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            self.event = Some(value.to_owned());
        } else {
            self.fields.insert(field.name().to_owned(), value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match (field.name(), serde_json::from_str::<Map<String, Value>>(&text)) {
            ("fields", Ok(fields)) => self.fields.extend(fields),
            (name, _) => {
                self.fields.insert(name.to_owned(), text.into());
            }
        }
    }
}

/// A value as it stands in a line: quoted where it would run into the next field, and never with a character that
/// steers a terminal.
fn text(value: &Value) -> String {
    match value {
        Value::String(s) if !s.is_empty() && !s.contains([' ', '"', '=']) => printable(s).into_owned(),
        Value::String(s) => format!("\"{}\"", printable(&s.replace('"', "\\\""))),
        other => other.to_string(),
    }
}

/// Hours, minutes, seconds and milliseconds of the day, UTC.
fn time_of_day(unix_ms: u64) -> String {
    let (ms, s) = (unix_ms % 1_000, unix_ms / 1_000 % 86_400);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3_600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_on_their_line() {
        assert_eq!(text(&json!("plain")), "plain");
        assert_eq!(text(&json!("two words")), "\"two words\"");
        assert_eq!(text(&json!("a\u{1b}[2Jb\nc")), "a\\u{1b}[2Jb\\nc");
        assert_eq!(text(&json!("")), "\"\"");
        assert_eq!(text(&json!(7)), "7");
        assert_eq!(time_of_day(1_700_000_001_234), "22:13:21.234");
    }

    #[test]
    fn a_filter_that_does_not_parse_is_told() {
        let logging = Logging { filter: "chinwag=loud".into(), format: LogFormat::Text };
        assert!(install(&logging).err().unwrap().message.contains("not a log filter"));
    }

    /// It made the library panic: at the start, and in a running daemon that reads its settings again.
    #[test]
    fn a_filter_with_letters_that_grow_in_lower_case_is_told() {
        let filter = " \u{23a}2$e\u{468}<\u{202e}<%\u{ba80a}'y:\u{23a}x\u{82357}{\u{68087}r=\u{b5e81}";
        assert!(parse(filter).is_err());
        assert!(parse("info,chinwag=debug").is_ok());
    }
}

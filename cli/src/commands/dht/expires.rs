//! For how long a record is kept.

use crate::commands::invite::life;
use jiff::tz::TimeZone;

/// A time, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expires {
    /// In milliseconds; `None` is never.
    pub(super) ms: Option<u64>,
}

/// `90s`, `10m`, `2h`, `7d` or `never`.
pub(super) fn parse(text: &str) -> Result<Expires, String> {
    match text {
        "never" => Ok(Expires { ms: None }),
        time => Ok(Expires { ms: Some(life(time).map_err(|e| format!("{e}, or never"))? * 1_000) }),
    }
}

/// A day and its time, here: `2026-12-23 14:03`.
pub(super) fn day(unix_ms: u64) -> String {
    day_in(unix_ms, TimeZone::system())
}

fn day_in(unix_ms: u64, zone: TimeZone) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    moment
        .map_or_else(|| "the end of time".into(), |m| m.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_never() {
        assert_eq!(parse("2h"), Ok(Expires { ms: Some(7_200_000) }));
        assert_eq!(parse("never"), Ok(Expires { ms: None }));
        for bad in ["", "soon", "0s", "366d", "-1d"] {
            assert!(parse(bad).unwrap_err().contains("never"), "{bad}");
        }
    }

    #[test]
    fn times_that_no_clock_shows_do_not_panic() {
        assert_eq!(day_in(1_700_000_001_234, TimeZone::UTC), "2023-11-14 22:13");
        assert_eq!(day_in(u64::MAX, TimeZone::UTC), "the end of time");
    }
}

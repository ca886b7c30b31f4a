//! Numbers, times and tables as people read them.

use chinwag_api::{Bytes, Hex};
use chinwag_base::Address;
use std::time::Duration;

/// What is not known.
pub(crate) const UNKNOWN: &str = "–";

/// `0.4 ms`, `210 ms`, `2.9 s`, `4m12s`, `3h05m`, `2d04h`.
pub(crate) fn time_ms(ms: f64) -> String {
    let s = (ms / 1_000.0) as u64;
    match ms {
        _ if ms < 9.95 => format!("{ms:.1} ms"),
        _ if ms < 999.5 => format!("{ms:.0} ms"),
        _ if ms < 59_950.0 => format!("{:.1} s", ms / 1_000.0),
        _ if s < 3_600 => format!("{}m{:02}s", s / 60, s % 60),
        _ if s < 86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
    }
}

/// A time in whole milliseconds where it is below a second.
pub(crate) fn time(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1_000.0;
    if ms < 999.5 { format!("{ms:.0} ms") } else { time_ms(ms) }
}

/// `1,204`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 KiB`.
pub(crate) fn bytes(n: f64) -> String {
    match n {
        _ if n < 1024.0 => format!("{n:.0} B"),
        _ if n < 1024.0 * 1024.0 => format!("{:.1} KiB", n / 1024.0),
        _ => format!("{:.1} MiB", n / 1024.0 / 1024.0),
    }
}

/// `1 key`, `14 keys`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// `beta`, `beta and alpha`, `beta, alpha and gamma`.
pub(crate) fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// `9c1f a07e`.
pub(crate) fn digest(digest: &Hex) -> String {
    format!("{digest:#}")
}

/// The first address, without its transport.
pub(crate) fn address(addresses: &[Address]) -> String {
    addresses.first().map_or_else(|| UNKNOWN.into(), |a| a.socket.to_string())
}

/// Values in quotation marks, apart by spaces.
pub(crate) fn values(values: &[Bytes]) -> String {
    values.iter().map(Bytes::to_string).collect::<Vec<_>>().join(" ")
}

/// Text that may have several lines, with all else that could steer a terminal escaped.
pub(crate) fn lines(text: &str) -> String {
    let clean = |piece: &str| chinwag_base::key::printable(piece).into_owned();
    let line = |line: &str| line.split('\t').map(clean).collect::<Vec<_>>().join("\t");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// On which side a column's texts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows in columns, two spaces apart. The last column is not padded.
pub(crate) fn table(columns: &[(&str, Side)], rows: &[Vec<String>]) -> Vec<String> {
    let heading: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let all = || std::iter::once(&heading).chain(rows);
    let width =
        |i: usize| all().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let padded = |row: &Vec<String>| {
        let cells = row.iter().zip(columns).zip(&widths).map(|((cell, (_, side)), width)| match side {
            Side::Left => format!("{cell:<width$}"),
            Side::Right => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_precision_that_matters() {
        for (ms, text) in [
            (0.42, "0.4 ms"),
            (9.96, "10 ms"),
            (210.0, "210 ms"),
            (999.6, "1.0 s"),
            (2_900.0, "2.9 s"),
            (59_949.0, "59.9 s"),
            (59_951.0, "0m59s"),
            (252_000.0, "4m12s"),
            (11_100_000.0, "3h05m"),
            (187_200_000.0, "2d04h"),
        ] {
            assert_eq!(time_ms(ms), text);
        }
        assert_eq!(time(Duration::from_micros(38_400)), "38 ms");
        assert_eq!(time(Duration::from_millis(1_700)), "1.7 s");
    }

    #[test]
    fn numbers_are_grouped_and_nouns_agree() {
        assert_eq!(thousands(1_204), "1,204");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(12_345_678), "12,345,678");
        assert_eq!((count(1, "key"), count(0, "key")), ("1 key".into(), "0 keys".into()));
        assert_eq!(bytes(1_229.0), "1.2 KiB");
        let words = |s: &str| list(&s.split_whitespace().map(String::from).collect::<Vec<_>>());
        assert_eq!(
            (words("a"), words("a b"), words("a b c")),
            ("a".into(), "a and b".into(), "a, b and c".into())
        );
    }

    #[test]
    fn tables_line_up_and_have_no_trailing_space() {
        let rows =
            vec![vec!["größe".into(), "–".into(), "x".into()], vec!["b".into(), "12".into(), String::new()]];
        let text = table(&[("NAME", Side::Left), ("φ", Side::Right), ("ADDRESS", Side::Left)], &rows);
        assert_eq!(text, ["NAME    φ  ADDRESS", "größe   –  x", "b      12"]);
    }

    #[test]
    fn several_lines_stay_lines_and_escapes_are_shown() {
        assert_eq!(lines("a\tb\nc\u{1b}[2J\r"), "a\tb\nc\\u{1b}[2J\\r");
    }
}

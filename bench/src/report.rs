//! How results are printed: one JSON object, or a table for people.

use serde_json::Value;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Ends a program: its exit code, after its error in words.
pub fn end(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        note(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

/// Says something to whoever waits, on standard error.
pub fn note(text: &str) {
    // If standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints a result as one JSON object, or else as `text`.
///
/// # Errors
/// If standard output is closed.
pub fn print(json: bool, result: &Value, text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if json { writeln!(stdout, "{result:#}") } else { write!(stdout, "{text}") }
}

/// Rows under a head, in columns: the first to the left, the others to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let lines = || std::iter::once(&head).chain(rows);
    let widths: Vec<usize> = (0..head.len())
        .map(|column| lines().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for row in lines() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A duration in the unit that suits it.
pub fn us(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} us"),
        us if us < 100_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// A rate or a multiple, to three digits or so.
pub fn number(number: f64) -> String {
    match number {
        n if n >= 100.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "100".into()], vec!["long".into(), "2".into()]];
        assert_eq!(table(&["", "n"], &rows), "        n\na     100\nlong    2\n");
    }

    #[test]
    fn units_suit() {
        assert_eq!([9.4, 2_400.0, 10_000_300.0].map(us), ["9 us", "2.40 ms", "10.00 s"]);
        assert_eq!([0.5, 12.34, 1234.5].map(number), ["0.50", "12.3", "1234"]);
    }
}

//! Whom a request was asked of, drawn: each member is a line of the time that it took.

use crate::text::{self, Side, UNKNOWN};
use chinwag_api::DhtAsked;
use chinwag_base::key::printable;

/// Columns of the time line.
const WIDTH: usize = 32;

const COLUMNS: [(&str, Side); 5] = [
    ("RANK", Side::Right),
    ("NAME", Side::Left),
    ("RTT", Side::Right),
    ("ASKED, ANSWERED", Side::Left),
    ("VERDICT", Side::Left),
];

/// A table, its heading first; nothing if nobody was asked.
pub(super) fn lines(asked: &[DhtAsked]) -> Vec<String> {
    if asked.is_empty() {
        return Vec::new();
    }
    let end = |a: &DhtAsked| a.after_us.saturating_add(a.took_us.unwrap_or(0));
    let whole_us = asked.iter().map(end).max().unwrap_or(0).max(1);
    let rows: Vec<Vec<String>> = asked
        .iter()
        .map(|a| {
            let name = printable(&a.name);
            let mut verdict = a.verdict.to_string();
            if let Some(why) = &a.why {
                verdict += &format!(": {}", printable(why));
            }
            vec![
                a.rank.to_string(),
                if a.owner { name.into_owned() } else { format!("{name} (stands in)") },
                a.took_us.map_or_else(|| UNKNOWN.into(), rtt),
                bar(a.after_us, a.took_us, whole_us),
                verdict,
            ]
        })
        .collect();
    text::table(&COLUMNS, &rows)
}

/// `85 µs`, `1.2 ms`.
fn rtt(us: u64) -> String {
    if us < 950 { format!("{us} µs") } else { text::time_ms(us as f64 / 1_000.0) }
}

/// `   ├─────●`: asked, waited for, answered. Who has not answered has no end.
fn bar(after_us: u64, took_us: Option<u64>, whole_us: u64) -> String {
    let column = |us: u64| (us.min(whole_us) as u128 * (WIDTH - 2) as u128 / whole_us as u128) as usize;
    let from = column(after_us);
    let blank = " ".repeat(from);
    match took_us {
        Some(took) => {
            let to = column(after_us.saturating_add(took));
            format!("{blank}├{}●", "─".repeat(to - from))
        }
        None => format!("{blank}├{}", "╌".repeat(WIDTH - 1 - from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_api::DhtVerdict;
    use chinwag_base::NodeId;

    fn asked(rank: u64, after_us: u64, took_us: Option<u64>, verdict: DhtVerdict) -> DhtAsked {
        DhtAsked {
            name: ["alpha", "beta", "al\u{1b}[2J"][rank as usize].into(),
            id: NodeId::from_bytes([7; 32]),
            rank,
            owner: rank < 2,
            after_us,
            took_us,
            verdict,
            why: None,
        }
    }

    #[test]
    fn a_trace_is_a_table_of_times() {
        let rows = lines(&[
            asked(0, 0, Some(1_200), DhtVerdict::Holds),
            asked(1, 0, None, DhtVerdict::Late),
            asked(2, 600, Some(600), DhtVerdict::Absent),
        ]);
        assert_eq!(
            rows,
            [
                "RANK  NAME                        RTT  ASKED, ANSWERED                   VERDICT",
                "   0  alpha                    1.2 ms  ├──────────────────────────────●  holds",
                "   1  beta                          –  ├╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  late",
                "   2  al\\u{1b}[2J (stands in)  600 µs                 ├───────────────●  absent",
            ]
        );
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn no_time_breaks_the_bar() {
        for (after, took) in [(0, Some(0)), (u64::MAX, Some(u64::MAX)), (u64::MAX, None), (0, None)] {
            let row = &lines(&[asked(0, after, took, DhtVerdict::Holds)])[1];
            assert!(row.contains('├'), "{row}");
        }
    }
}

//! What can be wrong with a daemon and its surroundings, examined one by one.
//!
//! A check measures; it does not guess. What it cannot see it says so ([`Verdict::Unknown`]), and whatever somebody has
//! to act on comes with what to try. `home` and `machine` need no running daemon; `live` asks one.
//!
//! [`Verdict::Unknown`]: chinwag_api::Verdict::Unknown

mod check;
mod databases;
mod home;
pub(crate) mod live;
mod machine;
pub(crate) mod quic;

pub use check::check_home;
pub(crate) use check::check_running;
pub use home::{examine_home, examine_papers};
pub use machine::examine_machine;

use std::time::Duration;

/// `3 days`, `1 hour`, `2.5 s`, `12 ms`: two digits are enough to know what to do.
pub(crate) fn span(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1_000.0;
    let whole = |n: f64, noun: &str| format!("{n:.0} {noun}{}", if n.round() == 1.0 { "" } else { "s" });
    match ms {
        _ if ms < 10.0 => format!("{ms:.1} ms"),
        _ if ms < 1_000.0 => format!("{ms:.0} ms"),
        _ if ms < 120_000.0 => format!("{:.1} s", ms / 1_000.0),
        _ if ms < 5_400_000.0 => whole(ms / 60_000.0, "minute"),
        _ if ms < 129_600_000.0 => whole(ms / 3_600_000.0, "hour"),
        _ => whole(ms / 86_400_000.0, "day"),
    }
}

/// `512 B`, `3.2 MiB`, `51 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut n = bytes as f64;
    let mut unit = 0;
    while n >= 1024.0 && unit + 1 < UNITS.len() {
        n /= 1024.0;
        unit += 1;
    }
    if unit == 0 || n >= 10.0 { format!("{n:.0} {}", UNITS[unit]) } else { format!("{n:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        let ms = |ms| span(Duration::from_millis(ms));
        assert_eq!((ms(3), ms(250), ms(2_500)), ("3.0 ms".into(), "250 ms".into(), "2.5 s".into()));
        assert_eq!((ms(180_000), ms(7_199_600)), ("3 minutes".into(), "2 hours".into()));
        assert_eq!(span(Duration::from_secs(3 * 86_400)), "3 days");
        assert_eq!(
            (size(512), size(3_355_443), size(54_760_833_024)),
            ("512 B".into(), "3.2 MiB".into(), "51 GiB".into())
        );
    }
}

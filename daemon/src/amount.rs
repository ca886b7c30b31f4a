//! Settings that are amounts, with their bounds.

use chinwag_base::limits::STATE_BYTES_MAX;
use chinwag_gossip::Config as Gossip;
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// How much history is kept for members that lack it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryMax(pub usize);

/// After how many writes the state is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointEvery(pub u64);

/// With less, a single large write would be history before anybody has it.
const HISTORY_BYTES_MIN: usize = 64 * 1024;
/// History is kept in memory. As much as the state may have is more than anybody can use.
const HISTORY_BYTES_MAX: usize = STATE_BYTES_MAX;
/// With fewer, the disk would write the state more often than the writes.
const CHECKPOINT_EVERY_MIN: u64 = 64;
/// With more, a start would take minutes.
const CHECKPOINT_EVERY_MAX: u64 = 1_000_000;

impl Default for HistoryMax {
    fn default() -> Self {
        HistoryMax(Gossip::default().log_bytes_max)
    }
}

impl Default for CheckpointEvery {
    fn default() -> Self {
        CheckpointEvery(Gossip::default().checkpoint_rows)
    }
}

impl FromStr for HistoryMax {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = parse_bytes(text).ok_or("expected a number of bytes, such as 32MiB or 65536")?;
        let is_possible = (HISTORY_BYTES_MIN as u64..=HISTORY_BYTES_MAX as u64).contains(&bytes);
        let bounds = "expected 64KiB to 1GiB: less would be history before anybody has it, more is of no use";
        if is_possible { Ok(HistoryMax(bytes as usize)) } else { Err(bounds.into()) }
    }
}

impl FromStr for CheckpointEvery {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bounds = format!("expected {CHECKPOINT_EVERY_MIN} to {CHECKPOINT_EVERY_MAX} writes");
        let rows = text.trim().parse().ok();
        rows.filter(|rows| (CHECKPOINT_EVERY_MIN..=CHECKPOINT_EVERY_MAX).contains(rows))
            .map(CheckpointEvery)
            .ok_or(bounds)
    }
}

/// `65536`, `64KiB`, `32M`: powers of 1,024 in any case.
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..)?.trim().to_ascii_lowercase();
    let factor: u64 = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit.is_empty() || unit == "b" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// A setting in a file may be a number or a text.
struct NumberOrText<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = String>> serde::de::Visitor<'_> for NumberOrText<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a text such as \"32MiB\"")
    }
    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<T, E> {
        n.to_string().parse().map_err(E::custom)
    }
    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<T, E> {
        n.to_string().parse().map_err(E::custom)
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for HistoryMax {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(NumberOrText(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for CheckpointEvery {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(NumberOrText(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units_of_1024() {
        for (text, bytes) in [
            ("65536", Some(65_536)),
            ("64KiB", Some(65_536)),
            ("64 kb", Some(65_536)),
            ("2M", Some(2 << 20)),
            ("1g", Some(1 << 30)),
            ("12B", Some(12)),
            ("", None),
            ("M", None),
            ("1.5M", None),
            ("-1", None),
            ("12i", None),
            ("3 apples", None),
            ("99999999999G", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
    }

    #[test]
    fn an_amount_has_bounds() {
        assert_eq!("64KiB".parse(), Ok(HistoryMax(65_536)));
        assert!("63KiB".parse::<HistoryMax>().unwrap_err().contains("64KiB to 1GiB"));
        assert!("2GiB".parse::<HistoryMax>().is_err());
        assert!("much".parse::<HistoryMax>().unwrap_err().contains("such as 32MiB"));
        assert_eq!("64".parse(), Ok(CheckpointEvery(64)));
        assert!("63".parse::<CheckpointEvery>().unwrap_err().contains("64 to 1000000"));
        assert_eq!(HistoryMax::default().0, 32 << 20);
    }

    #[test]
    fn in_a_file_an_amount_is_a_number_or_a_text() {
        #[derive(Deserialize)]
        struct Of {
            h: HistoryMax,
        }
        let parse = |text: &str| toml::from_str::<Of>(text).map(|of| of.h.0).map_err(|e| e.to_string());
        assert_eq!(parse("h = 65536"), Ok(65_536));
        assert_eq!(parse("h = '1 MiB'"), Ok(1 << 20));
        assert!(parse("h = -1").unwrap_err().contains("expected a number of bytes"));
        assert!(parse("h = true").unwrap_err().contains("expected a number, or a text"));
    }
}

//! What can be asked for, and how it is written.

use chinwag_membership::Profile;
use clap::ValueEnum;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A system to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// chinwag's membership.
    Chinwag,
    /// foca 2, SWIM with suspicion and periodic gossip.
    Foca,
    /// chitchat 0.13, Scuttlebutt with phi accrual.
    Chitchat,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            System::Chinwag => "chinwag",
            System::Foca => "foca",
            System::Chitchat => "chitchat",
        })
    }
}

/// How fast failures are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Speed {
    /// Five times a second.
    Fast,
    /// Once a second.
    Lan,
    /// Every two seconds (foca: every five, as its own configuration for this has it).
    Wan,
}

impl From<Speed> for Profile {
    fn from(speed: Speed) -> Profile {
        match speed {
            Speed::Fast => Profile::Fast,
            Speed::Lan => Profile::Lan,
            Speed::Wan => Profile::Wan,
        }
    }
}

/// What becomes of chinwag's frames that the network loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// They come late, and so does what is behind them on their lane.
    Streams,
    /// They are lost, but for the bulk lane's.
    Datagrams,
}

/// What an overlay is made of.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Members.
    pub nodes: usize,
    /// How fast.
    pub profile: Profile,
    /// The part of packets that is lost.
    pub loss: f64,
    /// How chinwag's frames travel.
    pub delivery: Delivery,
}

/// A share, written `20%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').ok_or("a share is written with a per cent sign, such as 20%")?;
        let percent: f64 = percent.parse().map_err(|_| format!("{percent} is not a number"))?;
        if (0.0..=100.0).contains(&percent) {
            Ok(Share(percent / 100.0))
        } else {
            Err("a share is between 0% and 100%".to_owned())
        }
    }
}

/// Some members, written as a number or as a share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    /// So many.
    Count(usize),
    /// Such a part of all.
    Share(f64),
}

impl Part {
    /// How many they are of `all`; at least one, and never all.
    pub fn of(self, all: usize) -> usize {
        let count = match self {
            Part::Count(count) => count,
            Part::Share(part) => (part * all as f64).round() as usize,
        };
        count.clamp(1, all.saturating_sub(1).max(1))
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.ends_with('%') {
            return text.parse::<Share>().map(|share| Part::Share(share.0));
        }
        let count =
            text.parse().map_err(|_| format!("{text} is neither a number nor a share such as 50%"))?;
        Ok(Part::Count(count))
    }
}

/// A time, written `500ms`, `60s` or `10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is not a time such as 500ms, 60s or 10m");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            _ => return Err(wrong()),
        };
        /// A day: more is a slip.
        const MAX_MS: u64 = 24 * 3_600 * 1_000;
        let ms = number.checked_mul(factor).filter(|ms| *ms <= MAX_MS).ok_or("a time is a day at most")?;
        Ok(Span(Duration::from_millis(ms)))
    }
}

/// A range of times, written `1-5s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// The shortest.
    pub shortest: Duration,
    /// The longest.
    pub longest: Duration,
}

impl FromStr for Stall {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (shortest, longest) = text.split_once('-').ok_or("a range of times is written 1-5s")?;
        let longest = longest.trim();
        let unit = longest.trim_start_matches(|c: char| c.is_ascii_digit());
        let shortest = if shortest.ends_with(char::is_alphabetic) {
            shortest.to_owned()
        } else {
            format!("{shortest}{unit}")
        };
        let (Span(shortest), Span(longest)) = (shortest.trim().parse()?, longest.parse()?);
        if shortest.is_zero() || shortest > longest {
            return Err("the shorter time comes first, and is not zero".to_owned());
        }
        Ok(Stall { shortest, longest })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn setting(nodes: usize) -> Setting {
        Setting { nodes, profile: Profile::Lan, loss: 0.0, delivery: Delivery::Streams }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!("20%".parse(), Ok(Share(0.2)));
        assert_eq!("50%".parse::<Part>().map(|some| some.of(16)), Ok(8));
        assert_eq!("3".parse::<Part>().map(|some| some.of(2)), Ok(1));
        assert_eq!("10m".parse(), Ok(Span(Duration::from_secs(600))));
        let stall = Stall { shortest: Duration::from_secs(1), longest: Duration::from_secs(5) };
        assert_eq!("1-5s".parse(), Ok(stall));
        assert_eq!("1s-5s".parse(), Ok(stall));
        assert_eq!("1000ms-5s".parse(), Ok(stall));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!("0.2".parse::<Share>().is_err() && "120%".parse::<Share>().is_err());
        assert!("ten".parse::<Part>().is_err());
        assert!(["5", "s", "5h", "99999999999m"].iter().all(|text| text.parse::<Span>().is_err()));
        assert!(["5s", "5-1s", "0-1s", "a-bs"].iter().all(|text| text.parse::<Stall>().is_err()));
    }
}

//! 128 bits as 32 hexadecimal digits: digests and overlay ids.

use chinwag_base::{Digest, OverlayId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A text that is not 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 hexadecimal digits")]
pub struct HexError;

/// 128 bits that are only compared and shown. As JSON, 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(u128);

impl Hex {
    /// The 128 bits.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

/// All 32 digits. With `{:#}` the first eight in two groups, as people compare them: `9c1f a07e`.
impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            write!(f, "{:04x} {:04x}", (self.0 >> 112) as u16, (self.0 >> 96) as u16)
        } else {
            write!(f, "{:032x}", self.0)
        }
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hex {
    type Err = HexError;
    fn from_str(s: &str) -> Result<Self, HexError> {
        // `from_str_radix` also takes a sign, which is not ours.
        if s.len() != 32 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(HexError);
        }
        u128::from_str_radix(s, 16).map(Hex).map_err(|_| HexError)
    }
}

impl TryFrom<String> for Hex {
    type Error = HexError;
    fn try_from(s: String) -> Result<Self, HexError> {
        s.parse()
    }
}

impl From<Hex> for String {
    fn from(hex: Hex) -> String {
        hex.to_string()
    }
}

impl From<Digest> for Hex {
    fn from(digest: Digest) -> Self {
        Hex(u128::from_be_bytes(digest.to_bytes()))
    }
}

impl From<Hex> for Digest {
    fn from(hex: Hex) -> Self {
        Digest::from_bytes(hex.to_bytes())
    }
}

impl From<OverlayId> for Hex {
    fn from(id: OverlayId) -> Self {
        Hex(u128::from_be_bytes(*id.as_bytes()))
    }
}

impl From<Hex> for OverlayId {
    fn from(hex: Hex) -> Self {
        OverlayId::from_bytes(hex.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_survive_the_round_trip() {
        let digest = Digest::of("t", b"a");
        let hex = Hex::from(digest);
        assert_eq!(hex.to_string(), digest.to_string());
        assert_eq!(format!("{hex:#}"), format!("{digest:#}"));
        assert_eq!(hex.to_string().parse(), Ok(hex));
        let id = OverlayId::from_bytes([7; 16]);
        assert_eq!(OverlayId::from(Hex::from(id)), id);
        for bad in ["", "9c1f", "+0000000000000000000000000000000", &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(bad.parse::<Hex>(), Err(HexError), "{bad}");
        }
    }
}

//! Incremental digests: a sum of keyed hashes.
//!
//! A *sum* rather than an exclusive or, so that an item that is present twice does not vanish from it. Adding and
//! removing an item are each one hash and one addition, in any order.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// A 128-bit digest of a set of items. Equal digests mean equal sets (up to a collision of 128-bit hashes).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(u128);

impl Digest {
    /// The digest of nothing.
    pub const EMPTY: Digest = Digest(0);

    /// The digest of one item. `domain` keeps unlike things apart.
    pub fn of(domain: &'static str, item: &[u8]) -> Self {
        let mut bytes = Self::begin(domain, item.len());
        bytes.extend_from_slice(item);
        Self::of_begun(&bytes)
    }

    /// How the bytes of an item of this domain begin, with room for `room` more: for [`Digest::of_begun`].
    pub fn begin(domain: &'static str, room: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + domain.len() + room);
        bytes.extend_from_slice(&(domain.len() as u64).to_le_bytes());
        bytes.extend_from_slice(domain.as_bytes());
        bytes
    }

    /// The same as [`Digest::of`], of an item that was written behind what [`Digest::begin`] gave: in one piece, which is
    /// hashed faster.
    pub fn of_begun(bytes: &[u8]) -> Self {
        let hash = blake3::hash(bytes);
        let (first, _) = hash.as_bytes().split_first_chunk().expect("16 bytes, because a hash has 32");
        Digest(u128::from_le_bytes(*first))
    }

    /// The digest with these bytes, most significant first.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Digest(u128::from_be_bytes(bytes))
    }

    /// The digest's bytes, most significant first.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl Add for Digest {
    type Output = Digest;
    fn add(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_add(other.0))
    }
}

impl Sub for Digest {
    type Output = Digest;
    fn sub(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_sub(other.0))
    }
}

impl AddAssign for Digest {
    fn add_assign(&mut self, other: Digest) {
        *self = *self + other;
    }
}

impl SubAssign for Digest {
    fn sub_assign(&mut self, other: Digest) {
        *self = *self - other;
    }
}

/// All 32 hexadecimal digits. With `{:#}` the first eight, in two groups, as people compare them: `9c1f a07e`.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            write!(f, "{:04x} {:04x}", (self.0 >> 112) as u16, (self.0 >> 96) as u16)
        } else {
            write!(f, "{:032x}", self.0)
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self:#})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_doubles_do_not_cancel() {
        let (a, b) = (Digest::of("t", b"a"), Digest::of("t", b"b"));
        assert_eq!(a + b, b + a);
        assert_eq!(a + b - a, b);
        assert_ne!(a + a, Digest::EMPTY);
        let mut bytes = Digest::begin("t", 1);
        bytes.push(b'a');
        assert_eq!(Digest::of_begun(&bytes), a);
        assert_eq!(a.to_string(), "16d9bb1a50a24cef0dc5a70fafebbca5");
        assert_ne!(Digest::of("t", b"a"), Digest::of("u", b"a"));
        assert_eq!(format!("{:#}", Digest(0x9c1f_a07e << 96)), "9c1f a07e");
    }
}

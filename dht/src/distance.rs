//! Kademlia's space: 256-bit ids and the XOR metric on them (sections 2 and 2.1 of the paper).

use chinwag_base::NodeId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The number of bits in an id.
pub const ID_BITS: u32 = 256;

/// A place in Kademlia's space: the SHA-256 of what is placed there. Ordered as a number, first byte highest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id([u8; 32]);

impl Id {
    /// Where `preimage` lies.
    pub fn hash(preimage: &[u8]) -> Self {
        Id(Sha256::digest(preimage).into())
    }

    /// Where a member lies: the hash of its `PeerId` in binary form, as every Kademlia of that kind has it.
    pub fn of_node(node: &NodeId) -> Self {
        Id::hash(&node.to_peer_id_bytes())
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Id(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// How far `other` is from here; the same in the other direction.
    pub fn distance(&self, other: &Id) -> Distance {
        Distance(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    /// The bit at `depth`, counted from the highest. Below the last bit all are zero.
    pub(crate) fn bit(&self, depth: u32) -> bool {
        let byte = self.0.get(depth as usize / 8).copied().unwrap_or(0);
        byte >> (7 - depth % 8) & 1 == 1
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0[..4])?;
        f.write_str("…")
    }
}

/// The XOR of two ids. Ordered as a number, which is to say by the length of the prefix that the two share, and then
/// by the tree below it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance([u8; 32]);

impl Distance {
    /// From an id to itself.
    pub const ZERO: Distance = Distance([0; 32]);

    /// The distance's bytes, highest first.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The length in bits of the prefix that the two ids share: 256 from an id to itself.
    pub fn leading_zeros(&self) -> u32 {
        match self.0.iter().position(|byte| *byte != 0) {
            Some(at) => at as u32 * 8 + self.0[at].leading_zeros(),
            None => ID_BITS,
        }
    }

    /// The k-bucket that holds ids this far away (section 2.2): i, if 2^i <= distance < 2^(i+1). None for oneself.
    pub fn bucket(&self) -> Option<u32> {
        (ID_BITS - 1).checked_sub(self.leading_zeros())
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distance({} bits shared)", self.leading_zeros())
    }
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = Id> {
        any::<[u8; 32]>().prop_map(Id)
    }

    /// a + b over 256 bits; `None` if it overflows, in which case the sum is above every distance.
    fn sum(a: Distance, b: Distance) -> Option<Distance> {
        let mut carry = 0;
        let mut bytes = [0; 32];
        for i in (0..32).rev() {
            let digit = u16::from(a.0[i]) + u16::from(b.0[i]) + carry;
            bytes[i] = digit as u8;
            carry = digit >> 8;
        }
        (carry == 0).then_some(Distance(bytes))
    }

    proptest! {
        #[test]
        fn symmetry_and_identity(x in id(), y in id()) {
            prop_assert_eq!(x.distance(&y), y.distance(&x));
            prop_assert_eq!(x.distance(&x), Distance::ZERO);
            prop_assert_eq!(x.distance(&y) == Distance::ZERO, x == y);
        }

        #[test]
        fn triangle_inequality(x in id(), y in id(), z in id()) {
            if let Some(detour) = sum(x.distance(&y), y.distance(&z)) {
                prop_assert!(x.distance(&z) <= detour);
            }
        }

        #[test]
        fn unidirectionality(x in id(), d in any::<[u8; 32]>()) {
            // The one y at this distance, and no other.
            let y = Id(Id(d).distance(&x).0);
            prop_assert_eq!(x.distance(&y).0, d);
        }

        #[test]
        fn who_shares_the_longer_prefix_is_nearer(x in id(), y in id(), z in id()) {
            let (y_away, z_away) = (x.distance(&y), x.distance(&z));
            if y_away.leading_zeros() > z_away.leading_zeros() {
                prop_assert!(y_away < z_away);
            }
        }

        #[test]
        fn the_bucket_is_the_logarithm(x in id(), bit in 0..ID_BITS) {
            let mut bytes = x.0;
            bytes[31 - bit as usize / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(x.distance(&Id(bytes)).bucket(), Some(bit));
        }
    }

    #[test]
    fn oneself_is_in_no_bucket() {
        let here = Id::hash(b"here");
        assert_eq!(here.distance(&here).bucket(), None);
        assert_eq!(here.distance(&here).leading_zeros(), 256);
    }

    #[test]
    fn a_node_lies_where_other_programs_of_the_dht_place_its_peer_id() {
        // SHA-256 of the 38 bytes of a PeerId, by another implementation (Python's hashlib).
        let node = NodeId::from_bytes([7; 32]);
        assert_eq!(
            Id::of_node(&node).to_string(),
            "4379227c8206dfb9a069d64b5aa8f98261ca7de8c1bfb344dff38998c0f37186"
        );
        assert_eq!(
            Id::hash(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}

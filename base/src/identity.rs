//! Who a node is: an Ed25519 key, and what is derived from it.
//!
//! A [`NodeId`] *is* the public key. The `PeerId` of an Ed25519 key is the same bytes behind a fixed
//! prefix, so both print alike (`12D3KooW…`) and either can be made from the other.

use crate::time::WallTime;
use ed25519_dalek::{Signer, SigningKey, Verifier, VerifyingKey};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The "identity" multihash of a `PeerId` (code 0, 36 bytes) of the protobuf {Type: Ed25519, Data: 32 bytes}.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A node's Ed25519 public key. Ordered by its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId([u8; 32]);

/// As arrays compare, but for a call of `memcmp` at each step of each search: keys differ in their first bytes.
impl Ord for NodeId {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        let head =
            |id: &NodeId| u64::from_be_bytes(*id.0.first_chunk().expect("8 bytes, because an id has 32"));
        head(self).cmp(&head(other)).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for NodeId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl NodeId {
    /// The id with these public key bytes. Whether they are a point on the curve shows at the first signature.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        NodeId(bytes)
    }

    /// The public key's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The `PeerId` of this key, in its binary form: what Kademlia hashes to place a node.
    pub fn to_peer_id_bytes(&self) -> [u8; 38] {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// Enough of the id to tell members of one overlay apart: `12D3…q7Vf`.
    pub fn short(&self) -> String {
        let text = self.to_string();
        format!("{}…{}", &text[..4], &text[text.len() - 4..])
    }

    /// Whether `signature` over `message` was made with this id's key.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        f.write_str(&bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// A text that is not a node id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a node id: expected the PeerId of an Ed25519 key, 12D3KooW…")]
pub struct ParseNodeIdError;

impl FromStr for NodeId {
    type Err = ParseNodeIdError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 38];
        let n = bs58::decode(s).onto(&mut bytes[..]).map_err(|_| ParseNodeIdError)?;
        if n != 38 || bytes[..6] != PEER_ID_PREFIX {
            return Err(ParseNodeIdError);
        }
        let mut id = [0; 32];
        id.copy_from_slice(&bytes[6..]);
        Ok(NodeId(id))
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(D::Error::custom)
        } else {
            <[u8; 32]>::deserialize(d).map(NodeId)
        }
    }
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 64]);

impl Signature {
    /// A signature of these bytes.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Signature(bytes)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let (a, b) = self.0.split_at(32);
        let halves: (&[u8; 32], &[u8; 32]) = (
            a.try_into().expect("32 bytes, because 64 split at 32"),
            b.try_into().expect("32 bytes, as above"),
        );
        halves.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let (a, b) = <([u8; 32], [u8; 32])>::deserialize(d)?;
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&a);
        bytes[32..].copy_from_slice(&b);
        Ok(Signature(bytes))
    }
}

/// A node's secret key. Its `Debug` shows the public half only.
#[derive(Clone)]
pub struct Keypair(SigningKey);

impl Keypair {
    /// The key pair with this secret; 32 bytes that must come from a strong source.
    pub fn from_secret(secret: [u8; 32]) -> Self {
        Keypair(SigningKey::from_bytes(&secret))
    }

    /// The secret, to be written to disk or handed to the transport.
    pub fn secret(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public key, which is the node's id.
    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`. Deterministic (RFC 8032).
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({:?})", self.id())
    }
}

/// One process life of a node. Each process start opens a higher one, durably, before its first write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(u64);

impl Generation {
    /// The generation with this number.
    pub const fn new(number: u64) -> Self {
        Generation(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The generation to open after `previous`: above it, above every earlier one by the wall clock, and with 20
    /// random bits, so that neither a disk nor a clock that went back in time, nor a copied data directory, opens
    /// one generation twice.
    pub fn next(previous: Option<Generation>, wall: WallTime, entropy: u32) -> Self {
        const RANDOM_BITS: u32 = 20;
        let after = previous.map_or(0, |g| (g.0 >> RANDOM_BITS) + 1);
        let base = wall.unix_ms().max(after) & (u64::MAX >> RANDOM_BITS);
        Generation(base << RANDOM_BITS | u64::from(entropy) & ((1 << RANDOM_BITS) - 1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A member's own version number within one generation: only the member itself raises it, to refute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(u64);

impl Incarnation {
    /// The incarnation with this number.
    pub const fn new(number: u64) -> Self {
        Incarnation(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one above.
    pub const fn next(self) -> Self {
        Incarnation(self.0.saturating_add(1))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who writes dots: one generation of one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId {
    /// The node.
    pub node: NodeId,
    /// Its process life.
    pub generation: Generation,
}

impl ReplicaId {
    /// Before every other. It is nobody's.
    pub const ZERO: ReplicaId =
        ReplicaId { node: NodeId::from_bytes([0; 32]), generation: Generation::new(0) };
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{}", self.node, self.generation)
    }
}

/// An overlay: the hash of its root public key. 128 bits, because finding another key with the same hash is what
/// an attacker would have to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OverlayId([u8; 16]);

impl OverlayId {
    /// The overlay that this root key founds.
    pub fn of_root(root: &NodeId) -> Self {
        let hash = blake3::derive_key("chinwag 2026 overlay id of a root key", root.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        OverlayId(id)
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        OverlayId(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for OverlayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for OverlayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OverlayId({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_prints_as_the_peer_id_of_the_same_key() {
        let id = Keypair::from_secret([7; 32]).id();
        let text = id.to_string();
        assert!(text.starts_with("12D3KooW"), "{text}");
        assert_eq!(text.parse(), Ok(id));
        assert_eq!("12D3".parse::<NodeId>(), Err(ParseNodeIdError));
        assert_eq!(id.short().chars().count(), 9);
    }

    #[test]
    fn only_the_own_key_verifies() {
        let (a, b) = (Keypair::from_secret([1; 32]), Keypair::from_secret([2; 32]));
        let signature = a.sign(b"hello");
        assert!(a.id().verify(b"hello", &signature));
        assert!(!a.id().verify(b"hellp", &signature));
        assert!(!b.id().verify(b"hello", &signature));
        assert!(!NodeId::from_bytes([0xff; 32]).verify(b"hello", &signature));
    }

    #[test]
    fn generations_rise_even_when_the_clock_goes_back() {
        let first = Generation::next(None, WallTime::from_unix_ms(1_000_000), 5);
        let second = Generation::next(Some(first), WallTime::from_unix_ms(10), 0);
        assert!(second > first);
        let other = Generation::next(Some(first), WallTime::from_unix_ms(10), 1);
        assert_ne!(second, other, "two processes from one copied disk differ by their entropy");
    }
}

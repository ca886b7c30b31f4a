//! The one place where bincode is called: strict, bounded, whole input consumed.
//!
//! bincode is unmaintained (RUSTSEC-2025-0141), so nothing outside this module names it. Three rules keep it safe:
//! every decode has a byte limit (without one, a derive decode can be made to allocate until the process aborts, by
//! a message of 26 bytes), what follows the value is an error, and a value's own type refuses what is not legal.

mod wary;

use self::wary::Wary;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than such a value may have.
    #[error("{len} bytes are more than the {max} that are allowed here")]
    TooLong {
        /// How many there were.
        len: usize,
        /// How many are allowed.
        max: usize,
    },
    /// Cut short, not of this type, or a part that is not legal.
    #[error("it does not decode: {0}")]
    Malformed(String),
    /// The value was followed by something else.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
}

/// Encodes a value, in bincode's standard form (little-endian, variable-length integers).
///
/// # Panics
/// Only for a type whose own `Serialize` fails; ours do not.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    /// Most frames fit, and are not copied while they grow; what is not used is given back.
    const ROOM_BYTES: usize = 1_024;
    let mut bytes = Vec::with_capacity(ROOM_BYTES);
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("a value encodes, because none of our types refuses to");
    bytes.shrink_to_fit();
    bytes
}

/// Decodes a value that fills `bytes` exactly, which are at most `LIMIT`. It allocates in proportion to their number (as
/// much as its type takes in memory for them, and up to twice that while a list grows), never by what they claim.
///
/// # Errors
/// [`DecodeError`].
pub fn decode<const LIMIT: usize, T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > LIMIT {
        return Err(DecodeError::TooLong { len: bytes.len(), max: LIMIT });
    }
    // bincode counts what a value takes in memory, where a number of eight bytes may have come as one: so a frame that
    // keeps to its limit may count eight times as much. A ladder, because the limit is part of the type.
    let (value, read) = match bytes.len() {
        0..=1_024 => bounded::<{ 8 * 1_024 }, T>(bytes),
        1_025..=16_384 => bounded::<{ 8 * 16_384 }, T>(bytes),
        16_385..=262_144 => bounded::<{ 8 * 262_144 }, T>(bytes),
        _ => bounded::<{ 8 * 4_194_304 }, T>(bytes),
    }
    .map_err(|e| DecodeError::Malformed(short(&e.to_string())))?;
    if read != bytes.len() {
        return Err(DecodeError::Trailing(bytes.len() - read));
    }
    Ok(value)
}

fn bounded<const MEMORY: usize, T: DeserializeOwned>(
    bytes: &[u8],
) -> Result<(T, usize), bincode::error::DecodeError> {
    let config = bincode::config::standard().with_limit::<MEMORY>();
    bincode::serde::borrow_decode_from_slice(bytes, config).map(|(Wary(value), read)| (value, read))
}

/// Error texts go to logs, and a peer must not choose how long they are.
fn short(text: &str) -> String {
    const CHARS_MAX: usize = 120;
    crate::key::printable(text).chars().take(CHARS_MAX).collect()
}

/// Bytes as one run instead of a sequence of numbers: the same encoding, but copied at once. For
/// `#[serde(with = "…")]` on an `Arc<[u8]>`.
pub mod bytes {
    use serde::de::{Deserializer, Error, SeqAccess, Visitor};
    use serde::ser::Serializer;
    use std::fmt;
    use std::sync::Arc;

    /// Room that is made on a peer's word before its bytes are there.
    const TRUSTED_BYTES_MAX: usize = 4_096;

    /// Writes the bytes.
    ///
    /// # Errors
    /// Whatever the serializer says.
    pub fn serialize<S: Serializer>(bytes: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// Whatever the deserializer says.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }

    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = Arc<[u8]>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Arc<[u8]>, E> {
            Ok(bytes.into())
        }

        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Arc<[u8]>, E> {
            Ok(bytes.into())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Arc<[u8]>, A::Error> {
            let mut bytes = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(TRUSTED_BYTES_MAX));
            while let Some(byte) = seq.next_element()? {
                bytes.push(byte);
            }
            Ok(bytes.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Nested = Vec<BTreeMap<String, Option<Vec<u64>>>>;

    fn nested() -> impl Strategy<Value = Nested> {
        use prop::collection::{btree_map, vec};
        vec(btree_map(".{0,20}", prop::option::of(vec(any::<u64>(), 0..20)), 0..5), 0..5)
    }

    #[test]
    fn claims_are_not_believed() {
        // A length of 2^63 in front of nothing.
        let claim = [&[253u8][..], &(1u64 << 63).to_le_bytes()].concat();
        assert!(matches!(decode::<1_024, Vec<u8>>(&claim), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<1_024, String>(&claim), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<1_024, Nested>(&claim), Err(DecodeError::Malformed(_))));
        assert_eq!(decode::<4, u8>(&[1, 2]), Err(DecodeError::Trailing(1)));
        assert_eq!(decode::<1, u8>(&[1, 2]), Err(DecodeError::TooLong { len: 2, max: 1 }));
    }

    /// Says whether it was told how many elements there are, and reads none.
    #[derive(Debug, PartialEq)]
    struct Hint(Option<usize>);

    impl<'de> serde::Deserialize<'de> for Hint {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Asks;
            impl<'de> serde::de::Visitor<'de> for Asks {
                type Value = Hint;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a list")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Hint, A::Error> {
                    Ok(Hint(seq.size_hint()))
                }
            }
            deserializer.deserialize_seq(Asks)
        }
    }

    /// What is told of a length is what memory is taken for, up to a megabyte for each list that is open.
    #[test]
    fn nobody_hears_how_long_a_list_says_it_is() {
        let claim = encode(&1_000_000_u32);
        let told = bincode::serde::decode_from_slice::<Hint, _>(&claim, bincode::config::standard());
        assert_eq!(told.unwrap().0, Hint(Some(1_000_000)), "bincode tells");
        assert_eq!(decode::<64, Hint>(&claim), Ok(Hint(None)));
        // At any depth: in an option, in a tuple, in a variant.
        let deep = encode(&(7_u8, Some(Ok::<u32, u8>(1_000_000))));
        let deep = decode::<64, (u8, Option<Result<Hint, u8>>)>(&deep);
        assert_eq!(deep, Ok((7, Some(Ok(Hint(None))))));
    }

    /// Small numbers and short texts take more memory than bytes: a full frame of them must pass all the same.
    #[test]
    fn a_full_frame_of_small_values_decodes() {
        let numbers = vec![1u64; 1_190];
        assert_eq!(decode::<1_200, Vec<u64>>(&encode(&numbers)), Ok(numbers));
        let texts: Vec<(String, Option<u64>)> = vec![(String::new(), Some(7)); 390];
        assert_eq!(decode::<1_200, _>(&encode(&texts)), Ok(texts));
        let many = vec![3u64; 1_000_000];
        assert_eq!(decode::<1_048_576, Vec<u64>>(&encode(&many)), Ok(many));
    }

    proptest! {
        #[test]
        fn round_trip(value in nested()) {
            prop_assert_eq!(decode::<65_536, Nested>(&encode(&value)), Ok(value));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes: Vec<u8>) {
            let _ = decode::<4_096, Nested>(&bytes);
        }
    }
}

//! Hostile bytes for every decoder of chinwag: what the fuzz targets share.
//!
//! A *decoder* is any place where bytes or text from outside become a value: frames of peers, packets of whoever is
//! on the same network, rows of a disk, requests and replies of the API, what people type. `fuzz_targets/` has one
//! target for each group of them; each says at its top what it asserts beyond "no panic". Whoever adds a decoder adds
//! it to a target, and a real value of it to `examples/seeds.rs`.
//!
//! `fuzz/run` runs all targets for a while. Each begins with the small seeds in `corpus/`, which are made from real
//! values: `cargo run --example seeds` in this folder writes them anew.
//!
//! - [`alloc`]: how much a decoder allocates.
//! - [`samples`]: real values, for the seeds and for what a target compares with.
//! - [`script`]: a running node under frames of several peers, with time passing.

pub mod alloc;
pub mod samples;
pub mod script;

use chinwag_base::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most that a decoder may hold at once, for each byte that it was given. A number of eight bytes may have come as
/// one, lists double as they grow, and a set of numbers is first a list: so it is more than the four that a list of
/// larger things needs, and far less than what a lying length would take.
pub const ALLOCATED_PER_BYTE_MAX: usize = 48;

/// The same of frames. Entries and cells in them are packed (`chinwag_crdt::packed`): three bytes may be a part of a cell, which
/// takes 128 in memory and that again, or twice that, while its list grows.
pub const FRAME_ALLOCATED_PER_BYTE_MAX: usize = 144;

/// And however many bytes there are, no more than this for each that a frame may have: what is packed is refused beyond
/// what a frame could have unpacked.
pub const FRAME_ALLOCATED_MAX: usize = ALLOCATED_PER_BYTE_MAX * chinwag_base::limits::BULK_FRAME_BYTES_MAX;

/// Bytes that a decoder may hold whatever it was given: error texts, and the room that is made before bytes are there.
pub const ALLOCATED_BYTES_FREE: usize = 8 * 1_024;

/// Decodes `bytes` as a `T` and checks what holds for each type: memory in proportion to the bytes, and an accepted
/// value that survives being encoded.
pub fn decoded<const LIMIT: usize, T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
) -> Option<T> {
    let (value, held) = alloc::peak(|| codec::decode::<LIMIT, T>(bytes));
    assert_allocation(bytes.len(), held);
    let value = value.ok()?;
    assert!(bytes.len() <= LIMIT);
    let again = codec::encode(&value);
    assert_eq!(codec::decode::<LIMIT, T>(&again).as_ref(), Ok(&value), "it decodes to itself");
    Some(value)
}

/// As [`decoded`], for a type whose every value has one encoding but for the lengths of integers: what is written
/// again is never longer than what was read.
pub fn decoded_tightly<const LIMIT: usize, T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
) -> Option<T> {
    let value = decoded::<LIMIT, T>(bytes)?;
    let again = codec::encode(&value);
    assert!(again.len() <= bytes.len(), "{} bytes became {}", bytes.len(), again.len());
    Some(value)
}

/// Checks what a decoder held at once against what it was given.
pub fn assert_allocation(given: usize, held: usize) {
    let allowed = ALLOCATED_BYTES_FREE + ALLOCATED_PER_BYTE_MAX * given;
    assert!(held <= allowed, "{given} bytes made a decoder hold {held}");
}

/// Checks what decoding a frame held at once against what it was given.
pub fn assert_frame_allocation(given: usize, held: usize) {
    let allowed = ALLOCATED_BYTES_FREE + (FRAME_ALLOCATED_PER_BYTE_MAX * given).min(FRAME_ALLOCATED_MAX);
    assert!(held <= allowed, "{given} bytes made a frame hold {held}");
}

/// The text in `bytes`, if they are text.
pub fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Checks that a text that was parsed prints as something that parses to the same value.
pub fn printed<T>(text: &str) -> Option<T>
where
    T: std::str::FromStr + std::fmt::Display + PartialEq + std::fmt::Debug,
    T::Err: std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            match printed.parse::<T>() {
                Ok(again) => assert_eq!(again, value),
                Err(why) => panic!("{printed:?} does not parse: {why}"),
            }
            Some(value)
        }
        Err(why) => {
            assert_tame(&why.to_string());
            None
        }
    }
}

/// Checks that an error's text cannot steer a terminal.
pub fn assert_tame(told: &str) {
    assert!(!told.contains(chinwag_base::key::is_unprintable), "{told:?}");
}

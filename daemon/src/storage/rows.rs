//! A row: CRC-32 of the encoded value, little-endian, and the encoded value.

use chinwag_base::codec;
use chinwag_base::limits::ROW_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that is kept in a row.
pub(crate) trait Row: Serialize + DeserializeOwned {
    fn to_row(&self) -> Vec<u8> {
        to_row(self)
    }

    fn from_row(row: &[u8]) -> Result<Self, String> {
        let Some((sum, body)) = row.split_first_chunk::<4>() else {
            return Err("the row is cut short".into());
        };
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return Err("the checksum is wrong".into());
        }
        codec::decode::<ROW_BYTES_MAX, Self>(body).map_err(|e| e.to_string())
    }
}

impl<T: Serialize + DeserializeOwned> Row for T {}

/// The row of a value.
pub(crate) fn to_row(value: &impl Serialize) -> Vec<u8> {
    let body = codec::encode(value);
    let mut row = Vec::with_capacity(4 + body.len());
    row.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    row.extend_from_slice(&body);
    row
}

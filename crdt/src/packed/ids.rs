//! Ids of cells: eight bytes each, which is shorter than a number of any length for what is spread over all of its range.

use crate::CellId;
use serde::{Deserialize, Deserializer, Serializer, de};
use std::collections::BTreeSet;

/// Writes them, ascending.
///
/// # Errors
/// Whatever the serializer says.
pub fn serialize<S: Serializer>(ids: &BTreeSet<CellId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(|id| id.to_le_bytes()))
}

/// Reads them.
///
/// # Errors
/// Whatever the deserializer says; or they are not ascending.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<CellId>, D::Error> {
    let ids: Vec<CellId> =
        Vec::<[u8; 8]>::deserialize(deserializer)?.into_iter().map(u64::from_le_bytes).collect();
    if !ids.is_sorted_by(|one, next| one < next) {
        return Err(de::Error::custom("the ids of cells are not ascending"));
    }
    Ok(ids.into_iter().collect())
}

//! Symbols of a sketch: 17 bytes each, however many items they count. Of a count only what [`Symbol::told`] leaves is written.

use crate::Symbol;
use serde::{Deserialize, Deserializer, Serializer};

/// Two sums and a count.
type Told = ([u8; 8], [u8; 8], i8);

/// Writes them.
///
/// # Errors
/// Whatever the serializer says.
pub fn serialize<S: Serializer>(symbols: &[Symbol], serializer: S) -> Result<S::Ok, S::Error> {
    let told = |symbol: &Symbol| -> Told {
        (symbol.sum.to_le_bytes(), symbol.check.to_le_bytes(), symbol.count as i8)
    };
    serializer.collect_seq(symbols.iter().map(told))
}

/// Reads them.
///
/// # Errors
/// Whatever the deserializer says.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Symbol>, D::Error> {
    let heard = |(sum, check, count): Told| Symbol {
        sum: u64::from_le_bytes(sum),
        check: u64::from_le_bytes(check),
        count: count.into(),
    };
    Ok(Vec::<Told>::deserialize(deserializer)?.into_iter().map(heard).collect())
}

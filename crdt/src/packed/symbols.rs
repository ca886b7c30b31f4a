//! Symbols of a sketch: 17 bytes each, however many items they count. Of a count only what [`Symbol::told`] leaves is written.

use crate::Symbol;
use serde::{Deserialize, Deserializer, Serializer};

/// Two sums and a count.
type Told = ([u8; 8], [u8; 8], i8);

fn told(symbol: &Symbol) -> Told {
    (symbol.sum.to_le_bytes(), symbol.check.to_le_bytes(), symbol.count as i8)
}

fn heard((sum, check, count): Told) -> Symbol {
    Symbol { sum: u64::from_le_bytes(sum), check: u64::from_le_bytes(check), count: count.into() }
}

/// Writes them.
///
/// # Errors
/// Whatever the serializer says.
pub fn serialize<S: Serializer>(symbols: &[Symbol], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(symbols.iter().map(told))
}

/// Reads them.
///
/// # Errors
/// Whatever the deserializer says.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Symbol>, D::Error> {
    Ok(Vec::<Told>::deserialize(deserializer)?.into_iter().map(heard).collect())
}

/// A single one.
pub mod one {
    use super::{Deserialize, Deserializer, Serializer, Symbol, Told, heard, told};
    use serde::Serialize as _;

    /// Writes it.
    ///
    /// # Errors
    /// Whatever the serializer says.
    pub fn serialize<S: Serializer>(symbol: &Symbol, serializer: S) -> Result<S::Ok, S::Error> {
        told(symbol).serialize(serializer)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Whatever the deserializer says.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Symbol, D::Error> {
        Told::deserialize(deserializer).map(heard)
    }
}

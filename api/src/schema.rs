//! The name and version that each reply carries.

use chinwag_base::key::printable;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A reply with a name of its own, such as `chinwag.members/1`.
pub trait Schema: Serialize {
    /// The name and the version.
    const SCHEMA: &'static str;
}

/// A reply with its schema written first.
#[derive(Serialize)]
struct Tagged<'a, T> {
    schema: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

/// The reply as one JSON object on one line, its `"schema"` first.
pub fn to_json<T: Schema>(reply: &T) -> String {
    serde_json::to_string(&Tagged { schema: T::SCHEMA, body: reply })
        .expect("a reply encodes, because its maps have text for keys and its types never fail")
}

/// Reads what [`to_json`] writes, and the same without a schema, as a person may write it.
///
/// # Errors
/// What is not understood.
pub fn from_json<T: Schema + DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    #[derive(serde::Deserialize)]
    struct Named {
        schema: Option<String>,
    }
    let named: Named = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    if let Some(schema) = named.schema.filter(|schema| schema != T::SCHEMA) {
        return Err(format!("it is {}, and {} was expected", printable(&schema), T::SCHEMA));
    }
    serde_json::from_slice(json).map_err(|e| e.to_string())
}

/// Gives types their schema, one row each.
macro_rules! schemas {
    ($($type:ty => $schema:literal,)*) => {
        $(impl $crate::schema::Schema for $type { const SCHEMA: &'static str = $schema; })*
    };
}

schemas! {
    crate::Version => "chinwag.version/1",
    crate::Status => "chinwag.status/1",
    crate::Doctor => "chinwag.doctor/1",
    crate::Diff => "chinwag.diff/1",
    crate::Forgotten => "chinwag.forgotten/1",
    crate::Trace => "chinwag.trace/1",
    crate::Check => "chinwag.check/1",
    crate::Compacted => "chinwag.compacted/1",
    crate::Health => "chinwag.health/1",
    crate::Members => "chinwag.members/1",
    crate::Explained => "chinwag.explain/1",
    crate::Reach => "chinwag.reach/1",
    crate::Cell => "chinwag.cell/1",
    crate::Cells => "chinwag.cells/1",
    crate::Keys => "chinwag.keys/1",
    crate::WriteReply => "chinwag.write/1",
    crate::Ready => "chinwag.ready/1",
    crate::Change => "chinwag.change/1",
    crate::Reset => "chinwag.reset/1",
    crate::NodeEvent => "chinwag.event/1",
    crate::InitReply => "chinwag.init/1",
    crate::InviteReply => "chinwag.invite/1",
    crate::JoinReply => "chinwag.join/1",
    crate::LeaveReply => "chinwag.leave/1",
    crate::DhtWritten => "chinwag.dht_write/1",
    crate::DhtCell => "chinwag.dht_cell/1",
    crate::DhtFound => "chinwag.dht_find/1",
    crate::DhtBlob => "chinwag.dht_blob/1",
    crate::DhtAdded => "chinwag.dht_add/1",
    crate::DhtGot => "chinwag.dht_cat/1",
    crate::DhtRecords => "chinwag.dht_records/1",
    crate::Failure => "chinwag.error/1",
    crate::runtime::Entry => "chinwag.runtime/1",
}

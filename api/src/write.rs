//! Writing to the replicated state.

use crate::bytes::{self, Bytes};
use crate::cell::{Count, Kind};
use crate::failure::Failure;
use crate::hex::Hex;
use chinwag_base::key::printable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// `POST /v1/write`: all of the operations or none, durable on the answering daemon before it answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteRequest {
    /// The operations, applied in this order.
    pub ops: Vec<Operation>,
    /// On how many members to wait until they hold the write durably. Without it, on none but this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// How long to wait for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl WriteRequest {
    /// Parses a request's body. A field that no operation has is an error: a mistyped `kind` must not make a delete take
    /// every kind. (serde cannot deny unknown fields in an enum that flattens others.)
    ///
    /// # Errors
    /// A [`Kind::BadRequest`](crate::Kind::BadRequest) that says what is not understood.
    pub fn from_json(body: &[u8]) -> Result<Self, Failure> {
        let bad = |why: String| {
            Failure::new(crate::Kind::BadRequest, "the request's body is not understood").because(why)
        };
        let json: serde_json::Value = serde_json::from_slice(body).map_err(|e| bad(e.to_string()))?;
        for (index, op) in json["ops"].as_array().into_iter().flatten().enumerate() {
            Operation::has_known_fields(op).map_err(|why| bad(why).at(index))?;
        }
        serde_json::from_value(json).map_err(|e| bad(e.to_string()))
    }
}

/// One operation, by its `"op"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum WriteOp {
    /// Sets a register.
    Set {
        /// The key.
        key: String,
        /// The new value.
        #[serde(flatten, with = "bytes::field")]
        value: Bytes,
    },
    /// Deletes what the key holds.
    Del {
        /// The key.
        key: String,
        /// Only the part of this type, where two were written concurrently.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<Kind>,
    },
    /// Adds to a counter.
    Incr {
        /// The key.
        key: String,
        /// By how much; negative takes away.
        by: i64,
    },
    /// Adds elements to a set.
    Add {
        /// The key.
        key: String,
        /// The elements.
        elements: Vec<Bytes>,
    },
    /// Removes elements from a set.
    Rm {
        /// The key.
        key: String,
        /// The elements.
        elements: Vec<Bytes>,
    },
    /// Switches a flag on.
    Enable {
        /// The key.
        key: String,
    },
    /// Switches a flag off. One that is off is not there.
    Disable {
        /// The key.
        key: String,
    },
}

impl WriteOp {
    /// The fields of the operation of this name.
    fn fields(op: &str) -> Option<&'static [&'static str]> {
        match op {
            "set" => Some(&["key", "value", "value_base64"]),
            "del" => Some(&["key", "kind"]),
            "incr" => Some(&["key", "by"]),
            "add" | "rm" => Some(&["key", "elements"]),
            "enable" | "disable" => Some(&["key"]),
            _ => None,
        }
    }

    /// The key it writes.
    pub fn key(&self) -> &str {
        match self {
            WriteOp::Set { key, .. }
            | WriteOp::Del { key, .. }
            | WriteOp::Incr { key, .. }
            | WriteOp::Add { key, .. }
            | WriteOp::Rm { key, .. }
            | WriteOp::Enable { key }
            | WriteOp::Disable { key } => key,
        }
    }
}

/// An operation, where beneath its key, on what condition, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The operation.
    #[serde(flatten)]
    pub op: WriteOp,
    /// The field of the key that it is about: the names down to it. None is the key itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub field: Vec<String>,
    /// Of what sets, adds or enables: after so long it goes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Of what sets, adds or enables: it goes with the daemon that is asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
    /// What must hold of its key; without it nothing.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
}

impl Operation {
    /// The fields of all operations.
    const COMMON: [&'static str; 5] = ["op", "field", "if", "ttl_ms", "ephemeral"];

    /// Parses one operation, as in a request: one line of a batch.
    ///
    /// # Errors
    /// What is not understood.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        let json: serde_json::Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        Operation::has_known_fields(&json)?;
        serde_json::from_value(json).map_err(|e| e.to_string())
    }

    fn has_known_fields(op: &serde_json::Value) -> Result<(), String> {
        let Some(op) = op.as_object() else { return Err("an operation is an object".into()) };
        let name = op.get("op").and_then(|name| name.as_str()).unwrap_or_default();
        // An operation that is not known is told by whoever parses the rest.
        let Some(fields) = WriteOp::fields(name) else { return Ok(()) };
        match op
            .keys()
            .find(|field| !Operation::COMMON.contains(&field.as_str()) && !fields.contains(&field.as_str()))
        {
            Some(unknown) => {
                let unknown = printable(unknown);
                Err(format!(
                    "`{name}` has no field `{unknown}`; it has {}, {}",
                    fields.join(", "),
                    Operation::COMMON[1..].join(", ")
                ))
            }
            None => Ok(()),
        }
    }
}

impl From<WriteOp> for Operation {
    fn from(op: WriteOp) -> Self {
        Operation { op, field: Vec::new(), ttl_ms: None, ephemeral: false, condition: None }
    }
}

/// What must hold of a key for an operation to be done, by what the answering daemon knows. As JSON `"absent"`,
/// `{"value":"…"}` or `{"value_base64":"…"}`, or `{"version":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ConditionForm", into = "ConditionForm")]
pub enum Condition {
    /// Nothing is there.
    Absent,
    /// It is a register with this value and no concurrent ones.
    Value(Bytes),
    /// It is as a read with this version has shown it.
    Version(Hex),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ConditionForm {
    Absent,
    Value(String),
    ValueBase64(String),
    Version(Hex),
}

impl From<Condition> for ConditionForm {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Absent => ConditionForm::Absent,
            Condition::Value(bytes) => match bytes.as_text() {
                Some(text) => ConditionForm::Value(text.to_owned()),
                None => ConditionForm::ValueBase64(bytes.to_base64()),
            },
            Condition::Version(version) => ConditionForm::Version(version),
        }
    }
}

impl TryFrom<ConditionForm> for Condition {
    type Error = String;
    fn try_from(form: ConditionForm) -> Result<Self, String> {
        Ok(match form {
            ConditionForm::Absent => Condition::Absent,
            ConditionForm::Value(text) => Condition::Value(text.as_str().into()),
            ConditionForm::ValueBase64(text) => Condition::Value(Bytes::from_base64(&text)?),
            ConditionForm::Version(version) => Condition::Version(version),
        })
    }
}

/// As on a command line: `absent`, `value=TEXT` or `version=VERSION`.
impl FromStr for Condition {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "absent" => Ok(Condition::Absent),
            Some(("value", value)) => Ok(Condition::Value(value.into())),
            Some(("version", version)) => version.parse().map(Condition::Version).map_err(|_| {
                "a version has 32 hexadecimal digits: it is the field `version` of `chinwag get --json`"
                    .into()
            }),
            _ => Err("expected absent, value=TEXT or version=VERSION".into()),
        }
    }
}

/// How many members must hold a write. As JSON `"majority"`, `"all"` or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wait {
    /// More than half of all members but those that left.
    Majority,
    /// All that are alive at the call.
    All,
    /// So many, the writer among them.
    Members(u32),
}

/// A text that is not a [`Wait`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected majority, all or a number of members")]
pub struct WaitError;

impl FromStr for Wait {
    type Err = WaitError;
    fn from_str(s: &str) -> Result<Self, WaitError> {
        match s {
            "majority" => Ok(Wait::Majority),
            "all" => Ok(Wait::All),
            number => number.parse().map(Wait::Members).map_err(|_| WaitError),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Majority => f.write_str("majority"),
            Wait::All => f.write_str("all"),
            Wait::Members(n) => n.fmt(f),
        }
    }
}

impl Serialize for Wait {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Wait::Members(n) => s.serialize_u32(*n),
            word => s.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected \"majority\", \"all\" or a number of members")]
        enum Form {
            Members(u32),
            Word(String),
        }
        match Form::deserialize(d)? {
            Form::Members(n) => Ok(Wait::Members(n)),
            Form::Word(word) => word.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// A write, named: the dots that it made. Opaque to clients; a read anywhere can wait until it is visible. Where a token is
/// asked for, several may stand with commas between them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// `POST /v1/write`. The write is durable on the answering daemon, whether the wait was met or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteReply {
    /// The write's name, for `?after=`.
    pub token: Token,
    /// How many members hold it durably, as far as this one knows.
    pub holders: u64,
    /// Of how many: all but those that left.
    pub of: u64,
    /// Whether the wait was met; true without one.
    pub met: bool,
    /// How long it took, the wait included.
    pub after_ms: f64,
    /// What became of each operation, in their order.
    pub results: Vec<Outcome>,
}

/// What became of one operation: what its cell holds now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Outcome {
    /// A register was set.
    Set {
        /// The key.
        key: String,
        /// The value.
        #[serde(flatten, with = "bytes::field")]
        value: Bytes,
    },
    /// A cell was deleted.
    Del {
        /// The key.
        key: String,
    },
    /// A counter moved.
    Incr {
        /// The key.
        key: String,
        /// By how much.
        by: i64,
        /// The sum now.
        count: Count,
    },
    /// Elements were added to a set.
    Add {
        /// The key.
        key: String,
        /// How many were not in it before.
        added: u64,
        /// How many it has now.
        size: u64,
    },
    /// Elements were removed from a set.
    Rm {
        /// The key.
        key: String,
        /// How many were in it before.
        removed: u64,
        /// How many it has now.
        size: u64,
    },
    /// A flag is on.
    Enable {
        /// The key.
        key: String,
    },
    /// A flag is off, unless it was enabled concurrently.
    Disable {
        /// The key.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_field_is_refused_before_it_changes_what_is_done() {
        let parse = |ops: &str| WriteRequest::from_json(format!(r#"{{"ops":[{ops}]}}"#).as_bytes());
        let good =
            parse(r#"{"op":"set","key":"k","value":"v"},{"op":"del","key":"k","kind":"set"}"#).unwrap();
        assert_eq!(good.ops.len(), 2);
        let told = |ops: &str| parse(ops).unwrap_err().because.join(" ");
        assert!(told(r#"{"op":"del","key":"k","knid":"set"}"#).contains("`del` has no field `knid`"));
        assert!(
            told(r#"{"op":"add","key":"k","elements":["a"],"value":"b"}"#)
                .contains("it has key, elements, field, if, ttl_ms, ephemeral")
        );
        assert!(told(r#"{"op":"steal","key":"k"}"#).contains("unknown variant"));
        assert!(WriteRequest::from_json(b"{").is_err());
        assert!(WriteRequest::from_json(br#"{"ops":[],"wiat":"all"}"#).is_err());
        assert!(WriteRequest::from_json(br#"{"ops":7}"#).is_err());
        assert!(told("7").contains("an operation is an object"));
    }

    #[test]
    fn it_is_told_which_operation_is_not_understood() {
        let ops = r#"{"ops":[{"op":"incr","key":"n","by":1},{"op":"incr","key":"n","value":1}]}"#;
        assert_eq!(WriteRequest::from_json(ops.as_bytes()).unwrap_err().op, Some(1));
        let told = |line: &str| Operation::from_json(line.as_bytes()).unwrap_err();
        assert_eq!(Operation::from_json(br#"{"op":"del","key":"k"}"#).unwrap().op.key(), "k");
        assert!(told(r#"{"op":"del","key":"k","knid":"set"}"#).contains("no field `knid`"));
        assert!(told("{").contains("EOF"));
        assert!(told("[]").contains("an object"));
    }

    #[test]
    fn a_condition_is_a_word_or_one_field() {
        let op = |condition: &str| {
            let line = format!(r#"{{"op":"set","key":"k","value":"v","if":{condition}}}"#);
            Operation::from_json(line.as_bytes())
        };
        let version = "9c1fa07e000000000000000000000000";
        for (json, condition) in [
            (r#""absent""#, Condition::Absent),
            (r#"{"value":"old"}"#, Condition::Value("old".into())),
            (r#"{"value_base64":"/wA="}"#, Condition::Value(vec![0xff, 0].into())),
            (&format!(r#"{{"version":"{version}"}}"#), Condition::Version(version.parse().unwrap())),
        ] {
            let op = op(json).unwrap();
            assert_eq!(op.condition, Some(condition), "{json}");
            let text = format!(r#"{{"op":"set","key":"k","value":"v","if":{json}}}"#);
            assert_eq!(serde_json::to_string(&op).unwrap(), text);
        }
        assert_eq!(op("null").unwrap().condition, None);
        for bad in [r#""present""#, "{}", r#"{"value":"a","version":"b"}"#, r#"{"version":"9c"}"#, "7"] {
            assert!(op(bad).is_err(), "{bad}");
        }
        let typed = |text: &str| text.parse::<Condition>();
        assert_eq!(typed("absent"), Ok(Condition::Absent));
        assert_eq!(typed("value="), Ok(Condition::Value("".into())));
        assert_eq!(typed("value=a=b"), Ok(Condition::Value("a=b".into())));
        assert_eq!(typed(&format!("version={version}")), Ok(Condition::Version(version.parse().unwrap())));
        assert!(typed("version=9c").unwrap_err().contains("32 hexadecimal digits"));
        assert!(typed("old").unwrap_err().contains("expected absent"));
    }
}

//! Values in JSON: text where they are text, base64 where they are not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chinwag_base::key::KeyError;
use chinwag_base::{Value, key::printable};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The bytes of a value or of a set's element. Within a list it is a string, or `{"base64": "…"}` where the bytes
/// are not UTF-8; as a field of its own, through `#[serde(flatten, with = "bytes::field")]`, it is `value` or
/// `value_base64`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Item", into = "Item")]
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if the bytes are text.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    pub(crate) fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    pub(crate) fn from_base64(text: &str) -> Result<Self, String> {
        STANDARD.decode(text).map(Bytes).map_err(|e| e.to_string())
    }

    /// The value of these bytes.
    ///
    /// # Errors
    /// [`KeyError::ValueTooLong`] above the limit of a value.
    pub fn to_value(&self) -> Result<Value, KeyError> {
        Value::new(self.0.as_slice())
    }
}

/// As a person reads it: text in quotation marks with all that could steer a terminal escaped, else its length.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_text() {
            Some(text) => {
                let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
                let escaped = escaped.replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r");
                write!(f, "\"{}\"", printable(&escaped))
            }
            None => write!(f, "<{} bytes>", self.0.len()),
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes(bytes)
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Bytes(text.as_bytes().to_vec())
    }
}

impl From<&Value> for Bytes {
    fn from(value: &Value) -> Self {
        Bytes(value.as_bytes().to_vec())
    }
}

/// Base64 that must decode.
struct Base64(Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        STANDARD.decode(String::deserialize(d)?).map(Base64).map_err(serde::de::Error::custom)
    }
}

/// The form within a list.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a string or {\"base64\": \"…\"}")]
enum Item {
    Text(String),
    Binary { base64: Base64 },
}

impl From<Item> for Bytes {
    fn from(item: Item) -> Self {
        match item {
            Item::Text(text) => Bytes(text.into_bytes()),
            Item::Binary { base64 } => Bytes(base64.0),
        }
    }
}

impl From<Bytes> for Item {
    fn from(bytes: Bytes) -> Self {
        match String::from_utf8(bytes.0) {
            Ok(text) => Item::Text(text),
            Err(error) => Item::Binary { base64: Base64(error.into_bytes()) },
        }
    }
}

/// The form as a field: `value` or `value_base64`.
pub mod field {
    use super::{Base64, Bytes};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    #[derive(Serialize, Deserialize)]
    struct Fields {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value_base64: Option<Base64>,
    }

    /// Writes `value`, or `value_base64` where the bytes are not text.
    ///
    /// # Errors
    /// Only the serializer's own.
    pub fn serialize<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
        let text = bytes.as_text().map(str::to_owned);
        let value_base64 = text.is_none().then(|| Base64(bytes.0.clone()));
        Fields { value: text, value_base64 }.serialize(s)
    }

    /// Reads exactly one of the two.
    ///
    /// # Errors
    /// If neither or both are there, or the base64 is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        match Fields::deserialize(d)? {
            Fields { value: Some(text), value_base64: None } => Ok(Bytes(text.into_bytes())),
            Fields { value: None, value_base64: Some(bytes) } => Ok(Bytes(bytes.0)),
            Fields { value: None, value_base64: None } => Err(D::Error::missing_field("value")),
            _ => Err(D::Error::custom("value and value_base64 exclude each other")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Row {
        key: String,
        #[serde(flatten, with = "field")]
        value: Bytes,
    }

    fn row(json: &str) -> Result<Row, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn a_value_is_text_or_base64_and_never_both() {
        let text = Row { key: "k".into(), value: "hello".into() };
        assert_eq!(serde_json::to_string(&text).unwrap(), r#"{"key":"k","value":"hello"}"#);
        let binary = Row { key: "k".into(), value: vec![0xff, 0].into() };
        assert_eq!(serde_json::to_string(&binary).unwrap(), r#"{"key":"k","value_base64":"/wA="}"#);
        assert_eq!(row(r#"{"key":"k","value":"hello"}"#), Ok(text));
        assert_eq!(row(r#"{"key":"k","value_base64":"/wA="}"#), Ok(binary));
        assert!(row(r#"{"key":"k"}"#).unwrap_err().contains("missing field `value`"));
        assert!(row(r#"{"key":"k","value":"a","value_base64":"/wA="}"#).unwrap_err().contains("exclude"));
        assert!(row(r#"{"key":"k","value_base64":"?"}"#).is_err());
    }

    #[test]
    fn items_of_a_list_are_strings_where_they_can_be() {
        let items: Vec<Bytes> = vec!["a".into(), vec![0xff].into()];
        let json = serde_json::to_string(&items).unwrap();
        assert_eq!(json, r#"["a",{"base64":"/w=="}]"#);
        assert_eq!(serde_json::from_str::<Vec<Bytes>>(&json).unwrap(), items);
        let error = serde_json::from_str::<Vec<Bytes>>("[7]").unwrap_err().to_string();
        assert!(error.contains("base64"), "{error}");
    }

    #[test]
    fn a_terminal_is_not_steered() {
        assert_eq!(Bytes::from("say \"hi\"\n").to_string(), r#""say \"hi\"\n""#);
        assert_eq!(Bytes::from("\u{1b}[2J").to_string(), "\"\\u{1b}[2J\"");
        assert_eq!(Bytes::from(vec![0xff, 0xfe]).to_string(), "<2 bytes>");
    }
}

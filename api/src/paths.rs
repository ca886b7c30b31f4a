//! The API's paths, and the escaping of what stands in them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `GET`: [`Version`](crate::Version).
pub const VERSION: &str = "/v1/version";
/// `GET`: [`Status`](crate::Status).
pub const STATUS: &str = "/v1/status";
/// `GET`: [`Members`](crate::Members).
pub const MEMBERS: &str = "/v1/members";
/// `GET`, followed by a slash and the escaped name or id of a member: [`Explained`](crate::Explained).
pub const EXPLAIN: &str = "/v1/explain";
/// `GET`: [`Reach`](crate::Reach).
pub const REACH: &str = "/v1/reach";
/// `GET`: [`Cells`](crate::Cells). Followed by a slash and the escaped key: [`Cell`](crate::Cell).
pub const CELLS: &str = "/v1/cells";
/// `GET`: [`Keys`](crate::Keys).
pub const KEYS: &str = "/v1/keys";
/// `POST`: [`WriteReply`](crate::WriteReply).
pub const WRITE: &str = "/v1/write";
/// `GET`: server-sent [`Watched`](crate::Watched).
pub const WATCH: &str = "/v1/watch";
/// `GET`: server-sent [`NodeEvent`](crate::NodeEvent).
pub const EVENTS: &str = "/v1/events";
/// `POST`: [`InitReply`](crate::InitReply).
pub const INIT: &str = "/v1/init";
/// `POST`: [`InviteReply`](crate::InviteReply).
pub const INVITE: &str = "/v1/invite";
/// `POST`: [`JoinReply`](crate::JoinReply).
pub const JOIN: &str = "/v1/join";
/// `POST`: [`LeaveReply`](crate::LeaveReply).
pub const LEAVE: &str = "/v1/leave";
/// `GET`: [`Doctor`](crate::Doctor).
pub const DOCTOR: &str = "/v1/doctor";
/// `GET`: [`Check`](crate::Check).
pub const CHECK: &str = "/v1/check";
/// `POST`: [`Forgotten`](crate::Forgotten).
pub const FORGET: &str = "/v1/forget";
/// `GET`, followed by a slash and the escaped name or id of a member: [`Diff`](crate::Diff).
pub const DIFF: &str = "/v1/diff";
/// `GET`, followed by a slash and the escaped key, and by another and an escaped name for each field:
/// [`Trace`](crate::Trace).
pub const TRACE: &str = "/v1/trace";
/// `POST`: [`Compacted`](crate::Compacted).
pub const COMPACT: &str = "/v1/compact";
/// `POST`: [`DhtWritten`](crate::DhtWritten).
pub const DHT_WRITE: &str = "/v1/dht/write";
/// `GET`, followed by a slash and the escaped key: [`DhtCell`](crate::DhtCell).
pub const DHT_CELLS: &str = "/v1/dht/cells";
/// `GET`, followed by a slash and the escaped key: [`DhtFound`](crate::DhtFound).
pub const DHT_FIND_CELL: &str = "/v1/dht/find/cell";
/// `GET`, followed by a slash and the hash: [`DhtFound`](crate::DhtFound).
pub const DHT_FIND_BLOB: &str = "/v1/dht/find/blob";
/// `POST` raw bytes: [`DhtBlob`](crate::DhtBlob). `GET`, followed by a slash and the hash: raw bytes.
pub const DHT_BLOBS: &str = "/v1/dht/blobs";
/// `GET`: [`DhtRecords`](crate::DhtRecords).
pub const DHT_RECORDS: &str = "/v1/dht/records";
/// `GET`: [`Health`](crate::Health).
pub const HEALTHZ: &str = "/healthz";
/// `GET`: [`Health`](crate::Health).
pub const READYZ: &str = "/readyz";

/// `GET`: OpenMetrics text.
pub const METRICS: &str = "/metrics";

/// The path of a key's cell, or of a field beneath. Slashes in names are escaped too, so that each name is one segment.
pub fn cell(key: &str, field: &[String]) -> String {
    below(CELLS, key, field)
}

/// The path of the trace of a key, or of a field beneath.
pub fn trace(key: &str, field: &[String]) -> String {
    below(TRACE, key, field)
}

fn below(base: &str, key: &str, field: &[String]) -> String {
    let fields: String = field.iter().map(|name| format!("/{}", escape(name))).collect();
    format!("{base}/{}{fields}", escape(key))
}

/// The key and the names of fields that such a path has; `None` if it has none, or a broken escape.
pub fn cell_of(path: &str) -> Option<(String, Vec<String>)> {
    names_below(CELLS, path)
}

/// The same of a trace's path.
pub fn trace_of(path: &str) -> Option<(String, Vec<String>)> {
    names_below(TRACE, path)
}

fn names_below(base: &str, path: &str) -> Option<(String, Vec<String>)> {
    let mut names = path.strip_prefix(base)?.strip_prefix('/')?.split('/').map(unescape);
    let key = names.next()??.into_owned();
    let field = names.map(|name| name.map(Cow::into_owned)).collect::<Option<_>>()?;
    Some((key, field))
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(byte as char);
        } else {
            write!(escaped, "%{byte:02X}").expect("a String takes all that is written");
        }
    }
    escaped
}

/// Undoes [`escape`]. `None` for a broken escape or for what is not UTF-8.
pub fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// A query of these pairs, with its question mark; nothing if all are absent. A pair with an empty value is a flag.
pub fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if let Some(value) = value {
            text.push(if text.is_empty() { '?' } else { '&' });
            text.push_str(name);
            if !value.is_empty() {
                write!(text, "={}", escape(value)).expect("a String takes all that is written");
            }
        }
    }
    text
}

/// A flag of a query: present means yes, unless it says no.
pub(crate) mod flag {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(yes: &bool, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bool(*yes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
        match String::deserialize(d)?.as_str() {
            "" | "1" | "true" | "yes" => Ok(true),
            "0" | "false" | "no" => Ok(false),
            _ => Err(serde::de::Error::custom("expected a flag: nothing, true or false")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_one_segment() {
        assert_eq!(cell("app/größe ?", &[]), "/v1/cells/app%2Fgr%C3%B6%C3%9Fe%20%3F");
        let field = ["a/b".to_owned(), "c".to_owned()];
        assert_eq!(cell("k", &field), "/v1/cells/k/a%2Fb/c");
        assert_eq!(cell_of("/v1/cells/k/a%2Fb/c"), Some(("k".into(), field.clone().into())));
        assert_eq!(trace_of(&trace("k", &field)), Some(("k".into(), field.into())));
        for bad in ["/v1/cells", "/v1/cells/%", "/v1/cells/k/%f"] {
            assert_eq!(cell_of(bad), None, "{bad}");
        }
        assert_eq!(unescape("app%2fa").as_deref(), Some("app/a"));
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }

    #[test]
    fn absent_pairs_leave_no_trace() {
        assert_eq!(query(&[("a", None)]), "");
        assert_eq!(
            query(&[("siblings", Some("")), ("x", None), ("after", Some("a&b"))]),
            "?siblings&after=a%26b"
        );
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "\\PC{0,40}") {
            let escaped = escape(&text);
            prop_assert_eq!(unescape(&escaped), Some(text.into()));
        }

        #[test]
        fn any_text_is_unescaped_or_refused(text in ".{0,40}") {
            let _ = unescape(&text);
        }
    }
}

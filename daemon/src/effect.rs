//! What a write changed for readers, as fields of its row in the log.
//!
//! A value is named by a digest of it, never shown: a log is read by more people, and kept longer, than the store. Who
//! knows a value finds it in the log all the same, and two rows that speak of one value can be seen to.

use crate::log::name_of;
use crate::observe::Row;
use chinwag_api::Count;
use chinwag_base::Value;
use chinwag_crdt::What;
use serde_json::json;

/// Values that a row names at most. A set that is deleted can have any number of elements.
const NAMED_MAX: usize = 16;

impl Row {
    /// With what a write changed. Fields that would say nothing are left out.
    pub(crate) fn with_effect(self, what: &What) -> Self {
        match what {
            What::Set { value, was, concurrent, shown } => {
                let row = self.with("what", "set").with("value", name_of(value)).with_values("was", was);
                row.with_if("concurrent", *concurrent).with_if("hidden", !shown)
            }
            What::Deleted { kind, was, survives } => self
                .with("what", "del")
                .with("kind", kind.as_str())
                .with_values("was", was)
                .with_if("survives", *survives),
            What::Incremented { by, total } => {
                self.with("what", "incr").with("by", json!(Count(*by))).with("total", json!(Count(*total)))
            }
            What::Reset { taken, total } => self
                .with("what", "reset")
                .with("taken", json!(Count(*taken)))
                .with("total", json!(Count(*total))),
            What::Added { element } => self.with("what", "add").with("value", name_of(element)),
            What::Removed { element } => self.with("what", "rm").with("value", name_of(element)),
            What::Enabled => self.with("what", "enable"),
            What::NoEffect => self.with("what", "none"),
        }
    }

    fn with_if(self, name: &str, is_so: bool) -> Self {
        if is_so { self.with(name, true) } else { self }
    }

    fn with_values(self, name: &str, values: &[Value]) -> Self {
        if values.is_empty() {
            return self;
        }
        let named: Vec<String> = values.iter().take(NAMED_MAX).map(name_of).collect();
        let row = self.with(name, named);
        match values.len().saturating_sub(NAMED_MAX) {
            0 => row,
            unnamed => row.with("unnamed", unnamed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chinwag_api::event::Level;
    use chinwag_crdt::Kind;

    fn value(text: &str) -> Value {
        Value::new(text.as_bytes()).unwrap()
    }

    fn fields(what: &What) -> String {
        let row = Row::new(Level::Info, "write.applied").with_effect(what);
        serde_json::to_string(row.fields()).unwrap()
    }

    #[test]
    fn a_value_is_named_and_not_shown() {
        let (secret, other) = (value("a secret"), value("another"));
        assert_eq!(name_of(&secret).len(), 16);
        assert_ne!(name_of(&secret), name_of(&other));
        let what = What::Set { value: secret.clone(), was: vec![other], concurrent: true, shown: false };
        let fields = fields(&what);
        assert!(fields.contains(&name_of(&secret)) && !fields.contains("secret"), "{fields}");
        assert!(fields.contains(r#""concurrent":true,"hidden":true"#), "{fields}");
    }

    #[test]
    fn the_usual_case_is_short() {
        let what = What::Set { value: value("v"), was: vec![], concurrent: false, shown: true };
        assert_eq!(fields(&what), format!(r#"{{"what":"set","value":"{}"}}"#, name_of(&value("v"))));
        let what = What::Incremented { by: 1, total: 7 };
        assert_eq!(fields(&what), r#"{"what":"incr","by":1,"total":7}"#);
    }

    #[test]
    fn a_deleted_set_does_not_fill_the_log() {
        let was = (0..100).map(|n| value(&n.to_string())).collect();
        let fields = fields(&What::Deleted { kind: Kind::Set, was, survives: false });
        assert!(fields.contains(r#""unnamed":84"#) && fields.len() < 500, "{fields}");
    }
}

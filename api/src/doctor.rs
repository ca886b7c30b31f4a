//! What a daemon finds when it examines itself and its surroundings.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It could not be found out, or there is nothing to find out; the message says why.
    Unknown,
    /// It works for now, and somebody should look.
    Warning,
    /// It does not work.
    Bad,
}

impl Verdict {
    /// Whether somebody has to do something.
    pub const fn needs_action(self) -> bool {
        matches!(self, Verdict::Warning | Verdict::Bad)
    }
}

/// One thing that was examined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was examined: a stable name, such as `clock`. Several findings may share it.
    pub check: String,
    /// How it is to be taken.
    pub verdict: Verdict,
    /// What was found.
    pub message: String,
    /// What to do about it, each a command or a short sentence; not empty where somebody has to do something.
    #[serde(default)]
    pub tries: Vec<String>,
}

impl Finding {
    /// A finding that asks for nothing.
    pub fn new(check: &str, verdict: Verdict, message: impl Into<String>) -> Self {
        Finding { check: check.to_owned(), verdict, message: message.into(), tries: Vec::new() }
    }

    /// As it should be.
    pub fn good(check: &str, message: impl Into<String>) -> Self {
        Finding::new(check, Verdict::Good, message)
    }

    /// Not to be found out.
    pub fn unknown(check: &str, message: impl Into<String>) -> Self {
        Finding::new(check, Verdict::Unknown, message)
    }

    /// Somebody should look, and `try` this.
    pub fn warning(check: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding::new(check, Verdict::Warning, message).hint(hint)
    }

    /// It does not work; `try` this.
    pub fn bad(check: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Finding::new(check, Verdict::Bad, message).hint(hint)
    }

    /// The same with one more thing to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.tries.push(hint.into());
        self
    }
}

/// `GET /v1/doctor`, and what `chinwag doctor --json` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doctor {
    /// The daemon that was examined; null where none runs and its data directory alone was.
    pub name: Option<String>,
    /// The data directory.
    pub data: PathBuf,
    /// Whether nobody has to do anything.
    pub healthy: bool,
    /// All that was examined.
    pub findings: Vec<Finding>,
}

impl Doctor {
    /// A report of these findings.
    pub fn new(name: Option<String>, data: PathBuf, findings: Vec<Finding>) -> Self {
        let healthy = !findings.iter().any(|finding| finding.verdict.needs_action());
        Doctor { name, data, healthy, findings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::to_json;

    #[test]
    fn a_report_is_healthy_unless_somebody_has_to_do_something() {
        let report = |findings| Doctor::new(None, "/d".into(), findings);
        assert!(report(vec![Finding::good("key", "a"), Finding::unknown("clock", "b")]).healthy);
        assert!(!report(vec![Finding::good("key", "a"), Finding::warning("grant", "b", "c")]).healthy);
        let report = report(vec![Finding::bad("key", "is open", "chmod 600 k")]);
        assert_eq!(
            to_json(&report),
            r#"{"schema":"chinwag.doctor/1","name":null,"data":"/d","healthy":false,"findings":[{"check":"key","verdict":"bad","message":"is open","tries":["chmod 600 k"]}]}"#
        );
        assert_eq!(serde_json::from_str::<Doctor>(&to_json(&report)).unwrap(), report);
    }
}

//! What goes wrong, told the same way everywhere: what, why, and what to try.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The exit codes of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// It is done, or the answer is yes.
    Yes = 0,
    /// An honest no: no such key, a wait that was not met.
    No = 1,
    /// The command line or the request does not say what to do.
    Usage = 2,
    /// No daemon could be asked.
    Unreachable = 3,
    /// The daemon refused.
    Refused = 4,
    /// No answer in time.
    Timeout = 5,
    /// The condition of a write does not hold, and nothing is written.
    Unmet = 6,
    /// A bug of ours.
    Bug = 70,
}

impl Exit {
    /// The number that the process returns.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The exit with this number.
    pub const fn from_code(code: u8) -> Option<Exit> {
        Some(match code {
            0 => Exit::Yes,
            1 => Exit::No,
            2 => Exit::Usage,
            3 => Exit::Unreachable,
            4 => Exit::Refused,
            5 => Exit::Timeout,
            6 => Exit::Unmet,
            70 => Exit::Bug,
            _ => return None,
        })
    }
}

/// Why something was not done. The kind decides the exit code and the HTTP status, in one table and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The key has no cell.
    NoSuchKey,
    /// The set has no such element.
    NoSuchElement,
    /// No member has this name or id.
    NoSuchMember,
    /// The write is durable here, but not on as many members as were waited for.
    WaitNotMet,
    /// The condition of a write does not hold; the reason says what is there.
    ConditionFailed,
    /// A check that was asked for found behaviour that must not be.
    CheckFailed,
    /// The request or the command line does not say what to do.
    BadRequest,
    /// No such path in the API.
    NotFound,
    /// Several daemons run and none was chosen.
    Ambiguous,
    /// The invite does not read: mistyped, cut short, or no invite at all.
    InviteMistyped,
    /// No daemon runs, or its socket does not answer.
    Unreachable,
    /// The daemon went away while it was asked.
    Gone,
    /// The cell is of another type.
    WrongKind,
    /// Two types were written concurrently; an explicit delete of one resolves it.
    Conflict,
    /// A key, value, element or request over its limit.
    TooLarge,
    /// A counter would leave its range.
    Overflow,
    /// What answers is no chinwagd, or one that this program does not understand.
    Incompatible,
    /// The disk does not take writes; the reason is told.
    Storage,
    /// Too much waits already. Trying again is right.
    Busy,
    /// It needs an overlay, and the daemon has none.
    NoOverlay,
    /// The daemon belongs to an overlay already.
    HasOverlay,
    /// The daemon holds keys that a join would mix with the overlay's.
    HasKeys,
    /// Only an admin may.
    NotAdmin,
    /// Only a member or an admin may write.
    ReadOnly,
    /// The invite's time is over.
    InviteExpired,
    /// The invite has been used as often as it may be.
    InviteUsed,
    /// The inviter does not know the invite.
    InviteUnknown,
    /// The invite is for another overlay.
    InviteForeign,
    /// The inviter could not be reached.
    InviterUnreachable,
    /// An address, a port, a directory or a name is taken.
    Taken,
    /// A file or directory may not be used as it is.
    Permission,
    /// The daemon is leaving.
    Leaving,
    /// The owners of a record do not take it: they have no room for it, or hold it to be wrong. The message tells.
    Refused,
    /// No answer in time.
    Timeout,
    /// A bug of ours.
    Internal,
    /// A kind that this build does not know; the message tells.
    #[serde(other)]
    Unknown,
}

impl Kind {
    /// Every kind but `Unknown`, which is never sent.
    pub const ALL: [Kind; 35] = [
        Kind::NoSuchKey,
        Kind::NoSuchElement,
        Kind::NoSuchMember,
        Kind::WaitNotMet,
        Kind::ConditionFailed,
        Kind::CheckFailed,
        Kind::BadRequest,
        Kind::NotFound,
        Kind::Ambiguous,
        Kind::InviteMistyped,
        Kind::Unreachable,
        Kind::Gone,
        Kind::WrongKind,
        Kind::Conflict,
        Kind::TooLarge,
        Kind::Overflow,
        Kind::Incompatible,
        Kind::Storage,
        Kind::Busy,
        Kind::NoOverlay,
        Kind::HasOverlay,
        Kind::HasKeys,
        Kind::NotAdmin,
        Kind::ReadOnly,
        Kind::InviteExpired,
        Kind::InviteUsed,
        Kind::InviteUnknown,
        Kind::InviteForeign,
        Kind::InviterUnreachable,
        Kind::Taken,
        Kind::Permission,
        Kind::Leaving,
        Kind::Refused,
        Kind::Timeout,
        Kind::Internal,
    ];

    /// The one table: exit code and HTTP status of each kind.
    const fn row(self) -> (Exit, u16) {
        match self {
            Kind::NoSuchKey | Kind::NoSuchElement | Kind::NoSuchMember => (Exit::No, 404),
            Kind::WaitNotMet | Kind::CheckFailed => (Exit::No, 409),
            Kind::ConditionFailed => (Exit::Unmet, 412),
            Kind::BadRequest | Kind::Ambiguous | Kind::InviteMistyped => (Exit::Usage, 400),
            Kind::NotFound => (Exit::Usage, 404),
            Kind::Unreachable | Kind::Gone => (Exit::Unreachable, 503),
            Kind::WrongKind | Kind::Conflict | Kind::Overflow | Kind::HasOverlay | Kind::HasKeys => {
                (Exit::Refused, 409)
            }
            Kind::TooLarge => (Exit::Refused, 413),
            Kind::Storage => (Exit::Refused, 507),
            Kind::Busy | Kind::Leaving => (Exit::Refused, 503),
            Kind::NoOverlay | Kind::Taken | Kind::Refused => (Exit::Refused, 409),
            Kind::NotAdmin | Kind::ReadOnly | Kind::Permission => (Exit::Refused, 403),
            Kind::InviteExpired | Kind::InviteUsed | Kind::InviteUnknown | Kind::InviteForeign => {
                (Exit::Refused, 410)
            }
            Kind::InviterUnreachable | Kind::Incompatible => (Exit::Refused, 502),
            Kind::Timeout => (Exit::Timeout, 504),
            Kind::Internal => (Exit::Bug, 500),
            Kind::Unknown => (Exit::Refused, 500),
        }
    }

    /// The exit code of a command that ends with this kind.
    pub const fn exit(self) -> Exit {
        self.row().0
    }

    /// The HTTP status of a reply with this kind.
    pub const fn http_status(self) -> u16 {
        self.row().1
    }
}

/// An error as people and programs get it: what, why, and what to try. The daemon sends it, the client passes it
/// on, the CLI prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind, for programs.
    pub kind: Kind,
    /// What is wrong, in one line.
    pub message: String,
    /// Why, one line each.
    pub because: Vec<String>,
    /// What to try, one command or step each.
    pub tries: Vec<String>,
    /// Which operation of a write it is about, from 0. Nothing of the write is done then.
    pub op: Option<usize>,
    /// The exit code, which is the kind's own unless a newer daemon sent a kind that this build does not know.
    exit: Exit,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let exit = kind.exit();
        Failure { kind, message: message.into(), because: Vec::new(), tries: Vec::new(), op: None, exit }
    }

    /// About this operation of a write.
    #[must_use]
    pub const fn at(mut self, op: usize) -> Self {
        self.op = Some(op);
        self
    }

    /// With a reason.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.because.push(why.into());
        self
    }

    /// With something to try.
    #[must_use]
    pub fn hint(mut self, what: impl Into<String>) -> Self {
        self.tries.push(what.into());
        self
    }

    /// The exit code.
    pub const fn exit(&self) -> Exit {
        self.exit
    }
}

/// All of it on one line, for logs; the CLI lays it out.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.because.iter().try_for_each(|why| write!(f, ": {why}"))?;
        self.tries.iter().try_for_each(|what| write!(f, "; try: {what}"))
    }
}

impl std::error::Error for Failure {}

#[derive(Serialize, Deserialize)]
struct Wire {
    kind: Kind,
    message: String,
    #[serde(default)]
    because: Vec<String>,
    #[serde(default, rename = "try")]
    tries: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    op: Option<usize>,
    exit: u8,
}

impl Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Wire {
            kind: self.kind,
            message: self.message.clone(),
            because: self.because.clone(),
            tries: self.tries.clone(),
            op: self.op,
            exit: self.exit.code(),
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let Wire { kind, message, because, tries, op, exit } = Wire::deserialize(d)?;
        let exit = match kind {
            // A failure never counts as a success, whatever was sent.
            Kind::Unknown => Exit::from_code(exit).filter(|e| *e != Exit::Yes).unwrap_or(Exit::Refused),
            known => known.exit(),
        };
        Ok(Failure { kind, message, because, tries, op, exit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::to_json;

    #[test]
    fn a_failure_says_what_why_and_what_to_try() {
        let failure = Failure::new(Kind::NoSuchKey, "no such key: greting")
            .because("14 keys are known")
            .hint("chinwag get greeting");
        let json = to_json(&failure);
        assert_eq!(
            json,
            r#"{"schema":"chinwag.error/1","kind":"no_such_key","message":"no such key: greting","because":["14 keys are known"],"try":["chinwag get greeting"],"exit":1}"#
        );
        assert_eq!(serde_json::from_str::<Failure>(&json).unwrap(), failure);
    }

    #[test]
    fn a_kind_from_a_newer_daemon_keeps_its_exit_code_but_never_succeeds() {
        let parse = |exit: u8| -> Failure {
            serde_json::from_str(&format!(r#"{{"kind":"flux","message":"m","exit":{exit}}}"#)).unwrap()
        };
        assert_eq!((parse(5).kind, parse(5).exit()), (Kind::Unknown, Exit::Timeout));
        assert_eq!(parse(0).exit(), Exit::Refused);
        assert_eq!(parse(99).exit(), Exit::Refused);
    }

    #[test]
    fn each_kind_has_an_exit_code_and_an_error_status() {
        for kind in Kind::ALL {
            assert_ne!(kind.exit(), Exit::Yes, "{kind:?}");
            assert!((400..600).contains(&kind.http_status()), "{kind:?}");
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<Kind>(&json).unwrap(), kind);
        }
        let mut all = Kind::ALL.to_vec();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Kind::ALL.len(), "no kind twice");
        for exit in [0, 1, 2, 3, 4, 5, 6, 70] {
            assert_eq!(Exit::from_code(exit).map(Exit::code), Some(exit));
        }
    }
}

//! The contract of the HTTP API: request and reply types, exit codes, error shape.
//!
//! The API is HTTP/JSON on a daemon's Unix socket, with server-sent events where something goes on. It is the only
//! door to a daemon, so that the CLI, curl, a web page and other languages cannot drift apart. This crate is the
//! door's frame: the daemon answers with these types, the CLI reads them, and the tests here hold their text still.
//!
//! # Manners of the JSON
//! - Every reply is one object whose `"schema"` is `chinwag.NAME/VERSION` ([`Schema`]). Fields may be added within a
//!   version; none changes its meaning or goes away. A reader ignores what it does not know.
//! - Keys are `snake_case` with their unit last: `uptime_ms`, `expires_unix_ms`.
//! - Ids, digests and generations are text: they have more digits than a JSON number keeps in most languages.
//! - A value is bytes. Alone it is `"value"` when it is UTF-8 and `"value_base64"` when it is not; in a list it is a
//!   string or `{"base64": "…"}` ([`Bytes`]).
//! - A refusal is `chinwag.error/1` ([`Failure`]), whose kind decides the HTTP status and the exit code ([`Kind`]).
//!
//! | request | reply |
//! |---|---|
//! | `GET /v1/version` | [`Version`] |
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/members` | [`Members`] |
//! | `GET /v1/explain/NAME`, the name or the id of a member | [`Explained`] |
//! | `GET /v1/reach` | [`Reach`] |
//! | `GET /v1/cells/KEY?siblings&after=TOKEN` | [`Cell`] |
//! | `GET /v1/cells?prefix=&siblings&limit=&after=&after_write=TOKEN` | [`Cells`] |
//! | `GET /v1/keys?pattern=&limit=&after=&after_write=TOKEN` | [`Keys`] |
//! | `POST /v1/write` [`WriteRequest`] | [`WriteReply`] |
//! | `GET /v1/watch?pattern=&after=POSITION` | server-sent [`Watched`] |
//! | `GET /v1/events` | server-sent [`NodeEvent`] |
//! | `POST /v1/init` [`InitRequest`] | [`InitReply`] |
//! | `POST /v1/invite` [`InviteRequest`] | [`InviteReply`] |
//! | `POST /v1/join` [`JoinRequest`] | [`JoinReply`] |
//! | `POST /v1/leave` | [`LeaveReply`] |
//! | `GET /v1/doctor` | [`Doctor`] |
//! | `GET /v1/check?blobs` | [`Check`] |
//! | `POST /v1/compact` | [`Compacted`] |
//! | `POST /v1/forget` [`ForgetRequest`] | [`Forgotten`] |
//! | `GET /v1/diff/NAME`, the name or the id of a member | [`Diff`] |
//! | `GET /v1/trace/KEY`, `GET /v1/trace/KEY/FIELD` | [`Trace`] |
//! | `POST /v1/dht/write` [`DhtWrite`] | [`DhtWritten`] |
//! | `GET /v1/dht/cells/KEY?quorum=&siblings&trace&timeout_ms=` | [`DhtCell`] |
//! | `GET /v1/dht/find/cell/KEY`, `GET /v1/dht/find/blob/HASH` | [`DhtFound`] |
//! | `POST /v1/dht/blobs?expires_ms=&quorum=&timeout_ms=`, the blob as its body | [`DhtBlob`] |
//! | `GET /v1/dht/blobs/HASH?timeout_ms=` | the blob, as `application/octet-stream` |
//! | `GET /v1/dht/records?prefix=&limit=&after=` | [`DhtRecords`] |
//! | `GET /metrics` | OpenMetrics text |
//! | `GET /healthz`, `GET /readyz` | 200 or 503, with [`Health`] |

pub mod bytes;
pub mod cell;
pub mod check;
#[cfg(feature = "client")]
pub mod client;
pub mod compact;
pub mod dht;
pub mod diff;
pub mod doctor;
pub mod event;
pub mod explain;
pub mod failure;
pub mod forget;
pub mod glob;
pub mod hex;
pub mod member;
pub mod overlay;
pub mod paths;
pub mod reach;
pub mod runtime;
pub mod schema;
pub mod status;
pub mod trace;
pub mod write;

#[cfg(test)]
mod texts;

pub use bytes::Bytes;
pub use cell::{
    Cell, CellQuery, Cells, CellsQuery, Content, Count, KeyRow, Keys, KeysQuery, Kind as CellKind, Sibling,
};
pub use check::{Check, CheckQuery, CheckedRecords, CheckedStore};
#[cfg(feature = "client")]
pub use client::Client;
pub use compact::Compacted;
pub use dht::{
    BlobHash, DhtAdded, DhtAsked, DhtBlob, DhtBlobQuery, DhtCell, DhtCellQuery, DhtFound, DhtGot, DhtKind,
    DhtOp, DhtRecords, DhtRecordsQuery, DhtRow, DhtStatus, DhtTimeQuery, DhtVerdict, DhtWrite, DhtWritten,
};
pub use diff::{Diff, DiffKey, DiffWriter};
pub use doctor::{Doctor, Finding, Verdict};
pub use event::{Change, NodeEvent, Position, Ready, Reset, WatchQuery, Watched, What};
pub use explain::{Clue, ClueKind, Explained};
pub use failure::{Exit, Failure, Kind};
pub use forget::{ForgetRequest, Forgotten};
pub use glob::Pattern;
pub use hex::Hex;
pub use member::{Member, MemberState, Members};
pub use overlay::{
    InitReply, InitRequest, InviteReply, InviteRequest, JoinReply, JoinRequest, LeaveReply, Overlay, Through,
};
pub use reach::{Hindrance, Reach, ReachAnswer, ReachMember, Unheard};
pub use schema::{Schema, from_json, to_json};
pub use status::{Coming, Counts, Gossip, Health, InStep, OpenDoor, Phi, Problem, Status, Version};
pub use trace::{Trace, TraceMember, TracePath};
pub use write::{Condition, Operation, Outcome, Token, Wait, WriteOp, WriteReply, WriteRequest};

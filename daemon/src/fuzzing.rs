//! The daemon's private decoders, for the fuzz targets in `fuzz/` and for nobody else.
//!
//! Each function hands bytes to the very code that reads them in a running daemon, and gives back what was read in a
//! form that needs no type of this crate: mostly written again, so that a target can compare. Nothing here is stable.

use crate::discovery::packet::{self, Announcement, Message, Service};
use crate::storage::OpenInvite;
use crate::storage::rows::Row;
use chinwag_api::{Failure, Token};
use chinwag_base::{Address, Lane, NodeId, OverlayId};
use chinwag_membership::Record;
use std::path::Path;

pub use crate::home::Papers;

/// What a stream's first bytes are read as: a dialler's and a listener's message of admission, each written again.
pub fn admission(bytes: &[u8]) -> [Option<Vec<u8>>; 2] {
    crate::network::exchange::reread(bytes)
}

/// The frames that a lane's bytes are read as, in steps of `step` bytes, and whether a goodbye came last.
pub fn lane(lane: Lane, bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, bool) {
    crate::network::frame::frames(lane, bytes, step)
}

/// What a multicast packet says to the members of an overlay. The inner `None` is a question.
pub fn mdns(overlay: OverlayId, bytes: &[u8]) -> Option<Option<(NodeId, Vec<Address>)>> {
    packet::read(bytes, &Service::of(overlay)).map(|message| match message {
        Message::Question => None,
        Message::Announcement(Announcement { peer, addresses }) => Some((peer, addresses)),
    })
}

/// The packet that announces a member.
pub fn mdns_announcement(overlay: OverlayId, peer: NodeId, addresses: Vec<Address>) -> Vec<u8> {
    packet::announcement(&Service::of(overlay), "word", &Announcement { peer, addresses })
}

/// The packet that asks for members.
pub fn mdns_question(overlay: OverlayId) -> Vec<u8> {
    packet::question(&Service::of(overlay))
}

/// Whether a datagram answers the doctor's question to a QUIC port.
pub fn quic_answer(bytes: &[u8], id: &[u8; 8]) -> bool {
    crate::doctor::quic::is_answer(bytes, id)
}

/// A row of the log of entries, written again.
pub fn entry_row(row: &[u8]) -> Option<Vec<u8>> {
    chinwag_crdt::Entry::from_row(row).ok().map(|entry| entry.to_row())
}

/// A row of the address book, written again.
pub fn member_row(row: &[u8]) -> Option<Vec<u8>> {
    Record::from_row(row).ok().map(|record| record.to_row())
}

/// A row of the book of invites, written again.
pub fn invite_row(row: &[u8]) -> Option<Vec<u8>> {
    OpenInvite::from_row(row).ok().map(|invite| invite.to_row())
}

/// A row of the index of records under its place, written again.
pub fn record_row(place: &[u8], row: &[u8]) -> Option<Vec<u8>> {
    crate::records::read_row(place, row).ok().map(|held| held.to_row())
}

/// A row of what came in through the open door, written again.
pub fn guest_row(key: &[u8], row: &[u8]) -> Option<Vec<u8>> {
    crate::kad::disk::reread(key, row)
}

/// The text of `overlay.toml`.
pub fn papers(text: &str) -> Result<Papers, String> {
    Papers::parse(text)
}

/// The text of `overlay.toml`, from what it says.
pub fn papers_text(papers: &Papers) -> String {
    papers.to_text()
}

/// The text of `config.toml`: whether it is one, or what is told to whoever wrote it.
pub fn config(text: &str) -> Result<(), Failure> {
    crate::config::File::parse(text, Path::new("config.toml")).map(|_| ())
}

/// Whether a text is a log filter.
pub fn log_filter(text: &str) -> bool {
    crate::log::parse(text).is_ok()
}

/// How many writes a token names, and the token of them.
pub fn token(text: &str) -> Option<(usize, String)> {
    let dots = crate::http::read::dots(&Token(text.to_owned())).ok()?;
    Some((dots.len(), crate::http::read::token(&dots).0))
}

/// The query of a request's path and query.
pub fn query<T: serde::de::DeserializeOwned>(path: &str) -> Option<T> {
    crate::http::parse_query(&path.parse().ok()?).ok()
}

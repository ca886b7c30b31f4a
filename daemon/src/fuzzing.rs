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

/// A row of the log, written again.
pub fn log_row(row: &[u8]) -> Option<Vec<u8>> {
    <(u64, chinwag_crdt::Row)>::from_row(row).ok().map(|row| row.to_row())
}

/// A piece of a cell, written again.
pub fn cell_row(row: &[u8]) -> Option<Vec<u8>> {
    <(chinwag_base::Key, u32, Vec<chinwag_crdt::Part>)>::from_row(row).ok().map(|piece| piece.to_row())
}

/// A row of the log of format 1, written again.
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
    // Several have no token that is theirs.
    if text.contains(',') {
        return None;
    }
    let dots = crate::http::read::dots(&Token(text.to_owned())).ok()?;
    Some((dots.len(), crate::http::read::token(&dots).0))
}

/// The query of a request's path and query.
pub fn query<T: serde::de::DeserializeOwned>(path: &str) -> Option<T> {
    crate::http::parse_query(&path.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The row of this body, with a checksum that is right.
    fn row(body: &[u8]) -> Vec<u8> {
        [&crc32fast::hash(body).to_le_bytes(), body].concat()
    }

    proptest! {
        /// What a short run of the fuzz targets looks for at length: bytes from outside are read or refused.
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in vec(prop_oneof![any::<u8>(), 0..4_u8], 0..300),
            text in "(.{0,60}|[0-9a-f+-]{0,90}|[a-z_]{1,9} = .{0,20})",
            step in 1_usize..9,
        ) {
            for of in Lane::ALL {
                let (frames, goodbye) = lane(of, &bytes, step);
                prop_assert!(frames.iter().all(|frame| (1..=of.frame_bytes_max()).contains(&frame.len())));
                prop_assert_eq!(lane(of, &bytes, usize::MAX), (frames, goodbye));
            }
            for read in [entry_row, member_row, invite_row] {
                prop_assert_eq!(read(&bytes), None, "a checksum is not right by chance");
                if let Some(written) = read(&row(&bytes)) {
                    prop_assert_eq!(read(&written), Some(written));
                }
            }
            let _ = (record_row(&[0; 32], &row(&bytes)), guest_row(&[0; 32], &bytes), admission(&bytes));
            let _ = (papers(&text), config(&text), log_filter(&text), query::<chinwag_api::KeysQuery>(&text));
            if let Some((writes, token_again)) = token(&text) {
                prop_assert_eq!(token(&token_again), Some((writes, token_again)));
            }
        }
    }

    #[test]
    fn a_token_has_digits_only() {
        let dot = |counter| chinwag_crdt::Dot {
            replica: chinwag_base::ReplicaId {
                node: NodeId::from_bytes([1; 32]),
                generation: Default::default(),
            },
            counter,
        };
        let text = crate::http::read::token(&[dot(1), dot(2), dot(3)]).0;
        assert_eq!(token(&text), Some((3, text.clone())));
        assert_eq!(token(&text.to_uppercase()), Some((3, text.clone())));
        assert_eq!(
            token(&text.replacen("01", "+1", 1)),
            None,
            "a sign is none, whatever Rust takes for a number"
        );
    }
}

//! Invites: the token that one person reads out and another types.
//!
//! `cw1` + overlay name + `-` + groups of four characters (Crockford's base 32, which has no I, L, O or U) + a
//! checksum of four. Case and further dashes do not matter.

use crate::address::{Address, Transport};
use crate::codec;
use crate::identity::{NodeId, OverlayId};
use crate::limits::ADDRESSES_MAX;
use crate::name::OverlayName;
use crate::time::WallTime;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "cw1";
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHECKSUM_CHARS: usize = 4;
/// A token with every address that an inviter may list stays below this; longer texts are not looked at.
const TOKEN_BYTES_MAX: usize = 2_048;

/// The one-time secret of an invite.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Secret([u8; 16]);

impl Secret {
    /// A secret of these bytes, which must come from a strong source.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Secret(bytes)
    }

    /// What the inviter keeps: whoever reads its disk cannot redeem the invite.
    pub fn hash(&self) -> [u8; 32] {
        blake3::derive_key("chinwag 2026 invite secret", &self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Everything that a joiner needs to reach its inviter and be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// What the inviter calls the overlay.
    pub overlay_name: OverlayName,
    /// The overlay.
    pub overlay: OverlayId,
    /// Who redeems it.
    pub inviter: NodeId,
    /// Shown once.
    pub secret: Secret,
    /// After this the inviter refuses it.
    pub not_after: WallTime,
    /// Where the inviter listens.
    pub addresses: Vec<Address>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    overlay: OverlayId,
    inviter: NodeId,
    secret: Secret,
    not_after: WallTime,
    places: Vec<Place>,
}

/// Where the inviter listens: an IP address is told once for both transports, because people may have to type it.
#[derive(Serialize, Deserialize)]
struct Place {
    socket: SocketAddr,
    tcp: bool,
    quic: bool,
}

fn to_places(addresses: &[Address]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for address in addresses.iter().take(ADDRESSES_MAX) {
        let (tcp, quic) = (address.transport == Transport::Tcp, address.transport == Transport::Quic);
        match places.iter_mut().find(|place| place.socket == address.socket) {
            Some(place) => {
                place.tcp |= tcp;
                place.quic |= quic;
            }
            None => places.push(Place { socket: address.socket, tcp, quic }),
        }
    }
    places
}

fn from_places(places: &[Place]) -> Vec<Address> {
    let transports = |place: &Place| [(Transport::Tcp, place.tcp), (Transport::Quic, place.quic)];
    places
        .iter()
        .flat_map(|place| {
            transports(place).map(|(transport, has)| (has, Address::new(transport, place.socket)))
        })
        .filter_map(|(has, address)| has.then_some(address))
        .collect()
}

/// Why a text is not an invite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It does not look like a token at all.
    #[error("not an invite: a token starts with {PREFIX} and the overlay's name")]
    NotAToken,
    /// The version is not ours.
    #[error("this invite was made by a newer chinwag, and this one cannot read it")]
    Version,
    /// It looks like a token, but the checksum is wrong.
    #[error("the invite is mistyped or cut short: its checksum does not fit")]
    Mistyped,
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = Payload {
            overlay: self.overlay,
            inviter: self.inviter,
            secret: self.secret,
            not_after: self.not_after,
            places: to_places(&self.addresses),
        };
        let bytes = codec::encode(&payload);
        let mut text = base32(&bytes);
        text.push_str(&checksum(&self.overlay_name, &text));
        write!(f, "{PREFIX}{}", self.overlay_name)?;
        text.as_bytes()
            .chunks(4)
            .try_for_each(|group| write!(f, "-{}", std::str::from_utf8(group).unwrap_or_default()))
    }
}

impl FromStr for Invite {
    type Err = InviteError;
    fn from_str(s: &str) -> Result<Self, InviteError> {
        let s = s.trim();
        if s.len() > TOKEN_BYTES_MAX {
            return Err(InviteError::NotAToken);
        }
        // Dashes do not matter, but for the first, which ends the overlay's name.
        let cut_short = || {
            let looks_right = s.get(..PREFIX.len()).is_some_and(|head| head.eq_ignore_ascii_case(PREFIX));
            if looks_right { InviteError::Mistyped } else { InviteError::NotAToken }
        };
        let (head, body) = s.split_once('-').ok_or_else(cut_short)?;
        let head = head.to_ascii_lowercase();
        let Some(name) = head.strip_prefix(PREFIX) else {
            let newer =
                head.strip_prefix("cw").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            return Err(if newer { InviteError::Version } else { InviteError::NotAToken });
        };
        let overlay_name: OverlayName = name.parse().map_err(|_| InviteError::NotAToken)?;
        let text: String = body.chars().filter(|c| *c != '-' && !c.is_whitespace()).map(normal).collect();
        // All ASCII, or there is no character boundary to trust below.
        if !text.is_ascii() || text.len() <= CHECKSUM_CHARS {
            return Err(InviteError::Mistyped);
        }
        let (text, sum) = text.split_at(text.len() - CHECKSUM_CHARS);
        if checksum(&overlay_name, text) != sum {
            return Err(InviteError::Mistyped);
        }
        let bytes = unbase32(text).ok_or(InviteError::Mistyped)?;
        let payload: Payload =
            codec::decode::<TOKEN_BYTES_MAX, _>(&bytes).map_err(|_| InviteError::Mistyped)?;
        if payload.places.len() > ADDRESSES_MAX {
            return Err(InviteError::Mistyped);
        }
        let Payload { overlay, inviter, secret, not_after, places } = payload;
        let addresses = from_places(&places);
        Ok(Invite { overlay_name, overlay, inviter, secret, not_after, addresses })
    }
}

/// What people type for what was printed: lower case, and the letters that Crockford reads as digits.
fn normal(c: char) -> char {
    match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    }
}

fn checksum(name: &OverlayName, text: &str) -> String {
    let sum = crc32fast::hash(format!("{name}-{text}").as_bytes());
    (0..CHECKSUM_CHARS).map(|i| ALPHABET[(sum >> (5 * i) & 31) as usize] as char).collect()
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut buffer, mut bits) = (0u32, 0u32);
    for byte in bytes {
        buffer = buffer << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(ALPHABET[(buffer >> bits & 31) as usize] as char);
        }
    }
    if bits > 0 {
        text.push(ALPHABET[(buffer << (5 - bits) & 31) as usize] as char);
    }
    text
}

fn unbase32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut buffer, mut bits) = (0u32, 0u32);
    for c in text.bytes() {
        let digit = ALPHABET.iter().position(|a| *a == c)?;
        buffer = buffer << 5 | digit as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    // What is left over is padding and must be zero, or two texts would mean one token.
    (buffer & ((1 << bits) - 1) == 0 && bits < 5).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Keypair;
    use proptest::prelude::*;

    fn invite() -> Invite {
        let inviter = Keypair::from_secret([9; 32]).id();
        Invite {
            overlay_name: "home".parse().unwrap(),
            overlay: OverlayId::of_root(&inviter),
            inviter,
            secret: Secret::from_bytes([5; 16]),
            not_after: WallTime::from_unix_ms(1_700_000_000_000),
            addresses: vec![
                "/ip4/192.168.1.20/tcp/7171".parse().unwrap(),
                "/ip4/192.168.1.20/udp/7171/quic-v1".parse().unwrap(),
                "/ip6/fd00::2/udp/7171/quic-v1".parse().unwrap(),
            ],
        }
    }

    #[test]
    fn a_token_survives_being_typed() {
        let token = invite().to_string();
        assert!(token.starts_with("cw1home-"), "{token}");
        assert_eq!(token.parse(), Ok(invite()));
        assert_eq!(token.to_lowercase().parse(), Ok(invite()));
        assert_eq!(format!(" {}\n", token.replace('0', "o")).parse(), Ok(invite()));
    }

    #[test]
    fn what_is_not_a_token_is_told_apart_from_a_mistyped_one() {
        let token = invite().to_string();
        assert_eq!("hello".parse::<Invite>(), Err(InviteError::NotAToken));
        assert_eq!("".parse::<Invite>(), Err(InviteError::NotAToken));
        assert_eq!(token.replace('-', "").parse::<Invite>(), Err(InviteError::Mistyped));
        assert_eq!("CW1".parse::<Invite>(), Err(InviteError::Mistyped));
        assert_eq!(token.replacen("cw1", "cw2", 1).parse::<Invite>(), Err(InviteError::Version));
        assert_eq!(token[..token.len() - 1].parse::<Invite>(), Err(InviteError::Mistyped));
        assert_eq!("cw1home-ÄÖÜÄÖÜ".parse::<Invite>(), Err(InviteError::Mistyped));
        assert_eq!(token.replacen("home", "hone", 1).parse::<Invite>(), Err(InviteError::Mistyped));
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_noticed(at in 8usize..150, to in 0usize..32) {
            let token = invite().to_string();
            let at = at % token.len();
            prop_assume!(at > 8 && token.as_bytes()[at] != b'-' && token.as_bytes()[at] != ALPHABET[to]);
            let mut bytes = token.into_bytes();
            bytes[at] = ALPHABET[to];
            prop_assert_eq!(String::from_utf8(bytes).unwrap().parse::<Invite>(), Err(InviteError::Mistyped));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,300}") {
            let _ = text.parse::<Invite>();
            let _ = format!("cw1home-{text}").parse::<Invite>();
        }
    }
}

//! Invites: as text, and with a checksum that is right, so that what stands behind it is reached. A token that is read
//! is printed as one that reads the same.
#![no_main]

use chinwag_base::Invite;
use chinwag_fuzz::{alloc, assert_allocation, printed, text};
use libfuzzer_sys::fuzz_target;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fuzz_target!(|bytes: &[u8]| {
    if let Some(text) = text(bytes) {
        let (_, held) = alloc::peak(|| text.parse::<Invite>());
        assert_allocation(text.len(), held);
        printed::<Invite>(text);
    }
    let token = token("home", bytes);
    if let Some(invite) = printed::<Invite>(&token) {
        assert_eq!(invite.overlay_name.as_str(), "home");
        assert_eq!(printed::<Invite>(&token.to_lowercase()), Some(invite));
    }
});

/// The token of this payload, whatever it is.
fn token(name: &str, payload: &[u8]) -> String {
    let mut digits = String::new();
    let (mut buffer, mut bits) = (0_u32, 0);
    for byte in payload {
        (buffer, bits) = (buffer << 8 | u32::from(*byte), bits + 8);
        while bits >= 5 {
            bits -= 5;
            digits.push(ALPHABET[(buffer >> bits & 31) as usize] as char);
        }
    }
    if bits > 0 {
        digits.push(ALPHABET[(buffer << (5 - bits) & 31) as usize] as char);
    }
    let sum = crc32fast::hash(format!("{name}-{digits}").as_bytes());
    let sum: String = (0..4).map(|i| ALPHABET[(sum >> (5 * i) & 31) as usize] as char).collect();
    format!("cw1{name}-{digits}{sum}")
}

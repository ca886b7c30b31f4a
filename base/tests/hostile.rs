//! Texts that anybody types and bytes that any peer sends: each is read or refused, never a panic. What is read survives
//! the way back, and a refusal cannot steer the terminal that shows it.

use chinwag_base::key::is_unprintable;
use chinwag_base::{
    Address, Grant, Invite, Key, Keypair, Name, NodeId, OverlayName, ReplicaId, Role, Signature, Value,
    WallTime, codec,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{Debug, Display};
use std::str::FromStr;

fn printed<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string().parse().ok(), Some(value), "{text:?}"),
        Err(why) => assert!(!why.to_string().contains(is_unprintable), "{why}"),
    }
}

fn decoded<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(value) = codec::decode::<4_096, T>(bytes) {
        assert_eq!(codec::decode::<4_096, T>(&codec::encode(&value)), Ok(value));
    }
}

/// Near what is right, and far from it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,80}",
        "[a-z0-9.-]{0,70}",
        "12D3KooW[1-9A-HJ-NP-Za-km-z]{0,50}",
        "/ip[46]/[0-9a-f.:]{0,20}/(tcp|udp)/[+0-9]{0,6}(/quic-v1)?",
    ]
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in text()) {
        printed::<Name>(&text);
        printed::<OverlayName>(&text);
        printed::<Key>(&text);
        printed::<Address>(&text);
        printed::<NodeId>(&text);
        printed::<Invite>(&text);
    }

    #[test]
    fn any_bytes_are_a_value_or_refused(bytes in vec(prop_oneof![any::<u8>(), 0..4_u8, 250..=255_u8], 0..250)) {
        decoded::<Grant>(&bytes);
        decoded::<Key>(&bytes);
        decoded::<Value>(&bytes);
        decoded::<Name>(&bytes);
        decoded::<Vec<Address>>(&bytes);
        decoded::<(ReplicaId, Role, Option<WallTime>)>(&bytes);
        decoded::<Signature>(&bytes);
    }

    /// A changed byte makes no other grant of the overlay.
    #[test]
    fn a_damaged_grant_admits_nobody(at in 0_usize..300, to: u8) {
        let [root, ada, bob] = [1, 2, 3].map(|n| Keypair::from_secret([n; 32]));
        let admin = Grant::by_root(&root, ada.id(), Role::Admin, WallTime::from_unix_ms(u64::MAX));
        let grant = Grant::by_admin(&ada, &admin, bob.id(), Role::Reader, WallTime::from_unix_ms(9)).unwrap();
        let mut bytes = codec::encode(&grant);
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(damaged) = codec::decode::<4_096, Grant>(&bytes) {
            prop_assert!(damaged.verify_signatures(grant.overlay(), bob.id()).is_err());
        }
    }
}

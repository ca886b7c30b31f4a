//! The codec against another hand: `wincode` writes the same bytes as bincode's standard form, and is the way out of
//! bincode. It has traits of its own instead of serde's, so a type of ours is held against its shape in tuples; an enum
//! is held against a `Result`, whose variants have the numbers 0 and 1 in both.

use chinwag_base::{
    Address, Generation, Grant, Key, Keypair, Name, NodeId, OverlayId, ReplicaId, Role, Value, WallTime,
    codec,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::Serialize;
use std::net::SocketAddr;
use wincode::config::Configuration;

/// The bytes of `value` by our codec, once they are those of its `shape` by the other.
macro_rules! same {
    ($value:expr, $shape:expr) => {{
        let ours = codec::encode($value);
        let theirs = wincode::config::serialize($shape, Configuration::default().with_varint_encoding());
        assert_eq!(ours, theirs.expect("it encodes"), "{:?}", $shape);
        ours
    }};
}

fn number() -> impl Strategy<Value = u64> {
    // Around each border between two lengths of a number.
    let border = prop_oneof![Just(250), Just(1 << 16), Just(1 << 32), Just(u64::MAX - 1), Just(1)];
    prop_oneof![any::<u64>(), (border, 0..3_u64).prop_map(|(at, more)| (at - 1_u64).saturating_add(more))]
}

#[test]
fn what_identifies_is_written_alike() {
    let root = Keypair::from_secret([1; 32]);
    let ada = Keypair::from_secret([2; 32]);
    let overlay = OverlayId::of_root(&root.id());
    same!(&ada.id(), ada.id().as_bytes());
    same!(&overlay, overlay.as_bytes());
    same!(&"ada-laptop".parse::<Name>().unwrap(), &"ada-laptop");
    let until = WallTime::from_unix_ms(1_800_000_000_000);
    let admin = Grant::by_root(&root, ada.id(), Role::Admin, until);
    // Roles, the absent admin and the signature in halves.
    let written = codec::encode(&admin);
    let terms = (*overlay.as_bytes(), *ada.id().as_bytes(), Err::<(), ()>(()), until.unix_ms());
    let theirs = wincode::config::serialize(&terms, Configuration::default().with_varint_encoding()).unwrap();
    let (head, tail) = (&written[..theirs.len()], &written[theirs.len()..]);
    assert_eq!(head[..48], theirs[..48]);
    assert_eq!((head[48], theirs[48]), (2, 1), "the third role, and the second variant");
    assert_eq!(head[49..], theirs[49..]);
    assert_eq!(tail.len(), 64 + 1 + 32);
    assert_eq!(tail[64..], same!(&(None::<u8>, root.id()), &(None::<u8>, *root.id().as_bytes())));
}

/// What a clock says of one replica: its base, and the ranges above it.
type Track = (NodeId, u64, Vec<(u64, u64)>);

proptest! {
    #[test]
    fn numbers_and_texts_are_written_alike(
        numbers in vec(number(), 0..300),
        signed: i64,
        small: (u8, u16, u32, i32, bool),
        text in ".{0,40}",
        option in prop::option::of(number()),
    ) {
        let value = (numbers, signed, small, text, option);
        let bytes = same!(&value, &value);
        prop_assert_eq!(codec::decode::<65_536, _>(&bytes), Ok(value));
    }

    #[test]
    fn maps_and_nested_lists_are_written_alike(
        map in btree_map(".{0,9}", vec(number(), 0..5), 0..9),
        rows in vec((any::<[u8; 32]>(), number(), vec((number(), number()), 0..5)), 0..6),
    ) {
        same!(&map, &map);
        // As a clock travels.
        let ours: Vec<Track> =
            rows.iter().map(|(id, base, runs)| (NodeId::from_bytes(*id), *base, runs.clone())).collect();
        same!(&ours, &rows);
    }

    #[test]
    fn either_of_two_variants_is_written_alike(value in prop::result::maybe_ok(number(), ".{0,9}")) {
        #[derive(Serialize)]
        enum Ours {
            First(u64),
            Second { text: String },
        }
        let ours = match value.clone() {
            Ok(number) => Ours::First(number),
            Err(text) => Ours::Second { text },
        };
        same!(&ours, &value);
    }

    #[test]
    fn our_own_types_are_written_as_their_shapes(
        id: [u8; 32], generation in number(), bytes in vec(any::<u8>(), 0..600), key in "[a-zß/]{1,40}",
    ) {
        let replica = ReplicaId { node: NodeId::from_bytes(id), generation: Generation::new(generation) };
        same!(&replica, &(id, generation));
        same!(&Value::new(bytes.clone()).unwrap(), &bytes);
        same!(&key.parse::<Key>().unwrap(), &key);
    }

    #[test]
    fn addresses_are_written_alike(ip: std::net::IpAddr, port: u16, quic: bool) {
        use chinwag_base::address::Transport;
        let socket = SocketAddr::new(ip, port);
        let (ours, theirs) = if quic { (Transport::Quic, Err(())) } else { (Transport::Tcp, Ok::<(), ()>(())) };
        same!(&Address::new(ours, socket), &(theirs, socket));
    }
}

//! The codec itself and the small types of `base` that travel in it: names, keys, values, addresses, ids, grants,
//! times. The first byte chooses the type.
#![no_main]

use chinwag_base::{
    Address, Digest, Grant, Key, Name, NodeId, OverlayId, OverlayName, ReplicaId, Role, Signature, Value,
    WallTime,
};
use chinwag_fuzz::{decoded, decoded_tightly, samples};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

const LIMIT: usize = 65_536;

// One map: the smallest has room for eleven pairs, so a list of maps takes a hundred times its bytes, and no type of ours
// has one.
type Nested = BTreeMap<String, Option<Vec<u64>>>;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 10 {
        // Of a map that names a key twice the last one counts.
        0 => drop(decoded_tightly::<LIMIT, Nested>(bytes)),
        1 => drop(decoded_tightly::<LIMIT, Value>(bytes)),
        2 => {
            let key = decoded_tightly::<LIMIT, Key>(bytes);
            assert!(key.is_none_or(|key| key.as_str().parse() == Ok(key)));
        }
        3 => {
            let name = decoded_tightly::<LIMIT, Name>(bytes);
            assert!(name.is_none_or(|name| name.as_str().parse() == Ok(name)));
        }
        4 => {
            let name = decoded_tightly::<LIMIT, OverlayName>(bytes);
            assert!(name.is_none_or(|name| name.as_str().parse() == Ok(name)));
        }
        5 => {
            if let Some(address) = decoded_tightly::<LIMIT, Address>(bytes) {
                assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
        6 => {
            if let Some(grant) = decoded_tightly::<LIMIT, Grant>(bytes)
                && grant.overlay() == samples::overlay()
            {
                // Nobody makes a grant of this overlay up: what verifies is one of those that were issued.
                let node = grant.node();
                if grant.verify_signatures(samples::overlay(), node).is_ok() {
                    assert!((0..10).any(|n| samples::grant(n) == grant));
                }
            }
        }
        7 => drop(decoded_tightly::<LIMIT, (ReplicaId, WallTime, Role, Option<Digest>)>(bytes)),
        8 => drop(decoded::<LIMIT, (NodeId, OverlayId, Signature)>(bytes)),
        _ => drop(decoded_tightly::<LIMIT, Vec<(String, Option<u64>, Vec<Value>)>>(bytes)),
    }
});
